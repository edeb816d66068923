//! `.tlog-proof` files: one leaf's inclusion, in the standard text form (C2SP tlog-proof).
//!
//! In scope: writing, parsing, verifying. Out of scope: what the entry says. Trust: a parsed proof is a claim.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;
use thiserror::Error;

use crate::base64;
use crate::checkpoint::VerifiedCheckpoint;
use crate::hash::{Hash, LeafHash, LeafIndex};
use crate::name::decimal;
use crate::policy::{Policy, PolicyError};
use crate::tree::{InclusionProof, ProofError, verify_inclusion};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// What is wrong with a `.tlog-proof`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TlogProofError {
    /// A line that the format does not allow.
    #[error("tlog-proof line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What the format wants.
        reason: &'static str,
    },
    /// The checkpoint is not one that the policy believes.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The leaf is not where the proof says.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

/// One leaf's inclusion in a checkpointed tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque, unauthenticated.
    pub extra: Option<Vec<u8>>,
    /// Where the leaf is.
    pub index: LeafIndex,
    /// Sibling hashes, leaf to root.
    pub path: InclusionProof,
    /// The checkpoint note, verbatim.
    pub checkpoint: String,
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", BASE64.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.path.0 {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofError;
    fn from_str(text: &str) -> Result<Self, TlogProofError> {
        let wrong = |line, reason| TlogProofError::Line { line, reason };
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or(wrong(1, "no empty line before the checkpoint"))?;
        let mut lines = head
            .split('\n')
            .enumerate()
            .map(|(number, line)| (number + 1, line))
            .peekable();
        if lines.next() != Some((1, FIRST_LINE)) {
            return Err(wrong(1, "expected c2sp.org/tlog-proof@v1"));
        }
        let extra = lines
            .next_if(|(_, line)| line.starts_with("extra "))
            .map(|(_, line)| &line[6..]);
        let extra = extra
            .map(|data| base64::decode(data).ok_or(wrong(2, "extra is not base64")))
            .transpose()?;
        let (number, line) = lines.next().ok_or(wrong(2, "no index line"))?;
        let index = line
            .strip_prefix("index ")
            .and_then(decimal)
            .ok_or(wrong(number, "expected 'index <number>'"))?;
        let path: Result<Vec<Hash>, _> = lines
            .map(|(number, line)| Hash::from_base64(line).ok_or(wrong(number, "not a hash in base64")))
            .collect();
        Ok(Self {
            extra,
            index: LeafIndex(index),
            path: InclusionProof(path?),
            checkpoint: checkpoint.to_owned(),
        })
    }
}

impl TlogProof {
    /// Checks that the log that `policy` knows holds `entry` at the index.
    pub fn verify(&self, entry: &[u8], policy: &Policy) -> Result<VerifiedCheckpoint, TlogProofError> {
        let checkpoint = policy.open(&self.checkpoint)?;
        verify_inclusion(
            &LeafHash::of(entry),
            self.index,
            checkpoint.size(),
            &self.path,
            checkpoint.root(),
        )?;
        Ok(checkpoint)
    }
}
