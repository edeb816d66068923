//! Batches: entries that one producer signs at once, chained.
//!
//! A batch note is a checkpoint of the batch's own little tree, with one extension line that links it to the batch
//! before: `prev <base64>`. In scope: that text. Out of scope: the signature ([`crate::note`]), who may sign
//! ([`crate::registry`]), and whether the chain holds ([`crate::acceptance`]).
//! Trust: a parsed batch note is a claim.

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::{Hash, TreeSize};
use crate::name::{ChainId, Name, NameError, Shard, decimal};

/// The most entries of a batch.
pub const MAX_BATCH_ENTRIES: usize = 1_024;

/// What is wrong with a batch note's text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Not a checkpoint at all.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The origin is not `<ledger>/batch/<shard>of<P>/<producer>/<chain>/<number>`.
    #[error("{found:?} is not the origin of a batch")]
    Origin {
        /// The origin line.
        found: String,
    },
    /// A name in the origin.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No entries, or more than [`MAX_BATCH_ENTRIES`].
    #[error("a batch has 1 to 1,024 entries, not {found}")]
    Count {
        /// What the note says.
        found: u64,
    },
    /// The extension is not one line `prev <base64>`.
    #[error("a batch note has one line 'prev <base64 of 32 bytes>' after the root")]
    Prev,
}

/// What a producer says of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The ledger it is meant for.
    pub ledger: Name,
    /// The shard it is meant for.
    pub shard: Shard,
    /// Who signs.
    pub producer: Name,
    /// The chain of the producer's outbox on this shard.
    pub chain: ChainId,
    /// The position in the chain, from 0.
    pub number: u64,
    /// The number of entries, 1 to [`MAX_BATCH_ENTRIES`].
    pub count: u32,
    /// The RFC 6962 root over the entries.
    pub root: Hash,
    /// The hash of the note's text before; for number 0 the leaf hash of the shard's genesis entry.
    pub prev: Hash,
}

impl Batch {
    /// The text to sign.
    pub fn to_text(&self) -> String {
        let Self {
            ledger,
            shard,
            producer,
            chain,
            number,
            count,
            root,
            prev,
        } = self;
        format!("{ledger}/batch/{shard}/{producer}/{chain}/{number}\n{count}\n{root}\nprev {prev}\n")
    }

    /// Reads the signed text of a batch note.
    pub fn parse(text: &str) -> Result<Self, BatchError> {
        let checkpoint = Checkpoint::parse(text)?;
        let Checkpoint {
            origin,
            size: TreeSize(size),
            root,
            extensions,
        } = &checkpoint;
        let (ledger, shard, producer, chain, number) = parse_origin(origin)?;
        let count = u32::try_from(*size)
            .ok()
            .filter(|&n| n >= 1 && n as usize <= MAX_BATCH_ENTRIES);
        let count = count.ok_or(BatchError::Count { found: *size })?;
        let [line] = extensions.as_slice() else {
            return Err(BatchError::Prev);
        };
        let prev = line
            .strip_prefix("prev ")
            .and_then(Hash::from_base64)
            .ok_or(BatchError::Prev)?;
        Ok(Self {
            ledger,
            shard,
            producer,
            chain,
            number,
            count,
            root: *root,
            prev,
        })
    }
}

/// What the next batch's `prev` must be: SHA-256 of this note's text.
pub fn text_hash(text: &str) -> Hash {
    Hash::of(&[text.as_bytes()])
}

fn parse_origin(origin: &str) -> Result<(Name, Shard, Name, ChainId, u64), BatchError> {
    let wrong = || BatchError::Origin {
        found: origin.chars().take(200).collect(),
    };
    let parts: Vec<&str> = origin.split('/').collect();
    let [ledger, "batch", shard, producer, chain, number] = parts.as_slice() else {
        return Err(wrong());
    };
    let number = decimal(number).ok_or_else(wrong)?;
    Ok((
        ledger.parse()?,
        shard.parse()?,
        producer.parse()?,
        chain.parse()?,
        number,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        Batch {
            ledger: Name::new("shop.example").unwrap(),
            shard: Shard::new(1, 4).unwrap(),
            producer: Name::new("till").unwrap(),
            chain: ChainId([7; 16]),
            number: 12,
            count: 1_024,
            root: Hash([1; 32]),
            prev: Hash([2; 32]),
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        assert_eq!(Batch::parse(&batch().to_text()), Ok(batch()));
    }

    #[test]
    fn bounds_and_shapes_are_kept() {
        let text = batch().to_text();
        for count in [0, 1_025, u64::MAX] {
            let bad = text.replace("\n1024\n", &format!("\n{count}\n"));
            assert_eq!(Batch::parse(&bad), Err(BatchError::Count { found: count }));
        }
        assert_eq!(
            Batch::parse(&text.replace("prev ", "next ")),
            Err(BatchError::Prev)
        );
        assert!(matches!(
            Batch::parse(&text.replace("/12", "/012")),
            Err(BatchError::Origin { .. })
        ));
        assert!(matches!(
            Batch::parse(&text.replace("/till/", "/Till/")),
            Err(BatchError::Name(_))
        ));
        assert!(matches!(
            Batch::parse(&text.replace("/batch/", "/log/")),
            Err(BatchError::Origin { .. })
        ));
    }
}
