//! Checkpoints: the head of a tree in three lines (C2SP tlog-checkpoint).
//!
//! In scope: the text, with extension lines; the types that tell a checked checkpoint from text.
//! Out of scope: which keys to trust (see [`crate::policy`]).
//! Trust: a [`Checkpoint`] is a claim; a [`VerifiedCheckpoint`] was signed by the key of its origin in a policy.

use std::fmt::Write as _;

use thiserror::Error;

use crate::hash::{Hash, TreeSize};
use crate::name::{Name, Shard, decimal};

/// What is wrong with a checkpoint's text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a checkpoint: {reason}")]
#[non_exhaustive]
pub struct CheckpointError {
    /// What the format wants and does not find.
    pub reason: &'static str,
}

/// Origin, size, root and extension lines of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log this is: a unique name, also the name of the key that signs.
    pub origin: String,
    /// The number of leaves.
    pub size: TreeSize,
    /// The RFC 6962 root over them.
    pub root: Hash,
    /// Further lines. A record log has none, a batch has one.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    pub fn new(origin: String, size: TreeSize, root: Hash) -> Self {
        Self {
            origin,
            size,
            root,
            extensions: Vec::new(),
        }
    }

    /// Reads the signed text of a note.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let wrong = |reason| CheckpointError { reason };
        let body = text
            .strip_suffix('\n')
            .ok_or(wrong("the last line does not end"))?;
        let mut lines = body.split('\n');
        let origin = lines
            .next()
            .filter(|line| !line.is_empty())
            .ok_or(wrong("no origin line"))?;
        let size = lines
            .next()
            .and_then(decimal)
            .ok_or(wrong("the second line is not a size"))?;
        let root = lines
            .next()
            .and_then(Hash::from_base64)
            .ok_or(wrong("the third line is not a root hash"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(wrong("an empty extension line"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: TreeSize(size),
            root,
            extensions,
        })
    }

    /// The text to sign, with its last newline.
    pub fn to_text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root);
        for line in &self.extensions {
            writeln!(text, "{line}").expect("writing to a string does not fail");
        }
        text
    }
}

/// A checkpoint that its log signed, and a quorum of witnesses where the policy wants one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    cosignatures: Vec<(String, u64)>,
    auditors: Vec<(String, u64)>,
}

impl VerifiedCheckpoint {
    pub(crate) fn new(
        checkpoint: Checkpoint,
        cosignatures: Vec<(String, u64)>,
        auditors: Vec<(String, u64)>,
    ) -> Self {
        Self {
            checkpoint,
            cosignatures,
            auditors,
        }
    }

    /// What was signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The number of leaves.
    pub fn size(&self) -> TreeSize {
        self.checkpoint.size
    }

    /// The root.
    pub fn root(&self) -> &Hash {
        &self.checkpoint.root
    }

    /// Which witnesses of the policy cosigned, and when (Unix seconds).
    pub fn cosignatures(&self) -> &[(String, u64)] {
        &self.cosignatures
    }

    /// Which auditors of the policy cosigned, by the names of their keys, and when (Unix seconds).
    ///
    /// An auditor's cosignature on a map log says that it recomputed the map. It counts for no quorum.
    pub fn auditors(&self) -> &[(String, u64)] {
        &self.auditors
    }
}

/// The origin of a shard's record log: `<ledger>/log/<shard>of<P>`.
pub fn log_origin(ledger: &Name, shard: Shard) -> String {
    format!("{ledger}/log/{shard}")
}

/// The origin of a shard's map log: `<ledger>/map/<shard>of<P>`.
pub fn map_origin(ledger: &Name, shard: Shard) -> String {
    format!("{ledger}/map/{shard}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_nothing_else_does() {
        let one = Checkpoint::new("shop.example/log/0of1".into(), TreeSize(7), Hash::ZERO);
        let text = one.to_text();
        assert_eq!(Checkpoint::parse(&text), Ok(one));
        for bad in [
            "",
            "a\n",
            "a\n07\n",
            &text.replace('7', "+7"),
            text.trim_end(),
            &format!("{text}\n"),
        ] {
            assert!(Checkpoint::parse(bad).is_err(), "{bad:?}");
        }
    }
}
