//! What hosts and producers tell each other in clear, as JSON: heads of shards, what followers hold, commands.
//!
//! In scope: these messages, to and from bytes, with their limits. Out of scope: carrying them (the bus), and customers'
//! keys, which only ever travel encrypted (the desk).
//! Trust: none; a parsed message has the right shape. Its checkpoint counts once a policy opens it, a batch counts as
//! sealed once its proof holds under that checkpoint, and the rest is word of mouth.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
use sharetrail_proof::name::{ChainId, Label, MAX_SHARDS, Name};
use sharetrail_proof::note::{KeyKind, MAX_NOTE_BYTES, VerifierKey};

use crate::bus::StreamSeq;
use crate::error::LedgerError;

/// The most bytes of a message.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// Sealed batches that one message of [`Heads::messages`] tells of.
const SEALED_A_MESSAGE: usize = 256;
/// Rejected notes that one message of [`Heads::messages`] tells of.
const REJECTED_A_MESSAGE: usize = 64;
/// The most characters of a reason that [`Heads::messages`] sends.
const REASON_CHARACTERS: usize = 300;
/// The most bytes of a text that a message may hold.
const MAX_TEXT_BYTES: usize = 4_096;
/// A tree has at most 2^63 leaves.
const MAX_PATH: usize = 63;
/// Lower-case hexadecimal digits of a stream's id.
const STREAM_DIGITS: usize = 32;

/// What a sequencer tells of a shard after a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heads {
    /// The shard.
    pub shard: u32,
    /// The id of the stream that serves it.
    pub stream: String,
    /// The last message that was decided on.
    pub seq: StreamSeq,
    /// The last message of the stream.
    pub last: StreamSeq,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// Batches that came in since the last heads, new or repeated, and are on record.
    pub sealed: Vec<SealedBatch>,
    /// Batches that came in since the last heads and were not let in.
    pub rejected: Vec<RejectedNote>,
    /// Where chains stand that a batch came for which does not continue them.
    #[serde(default)]
    pub heads: Vec<ChainNumber>,
    /// Why the shard has halted, if it has.
    pub halted: Option<String>,
    /// Which host leads the shard.
    pub holder: String,
}

/// Where a chain stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainNumber {
    /// The chain.
    pub chain: ChainId,
    /// The number of the batch that is due.
    pub next: u64,
    /// The hash of the last note's text; the genesis entry's leaf hash where none is on record.
    pub prev: Hash,
}

/// A batch that the checkpoint of its [`Heads`] covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedBatch {
    /// Its chain.
    pub chain: ChainId,
    /// Its number in the chain.
    pub number: u64,
    /// Where its batch entry is.
    pub index: LeafIndex,
    /// The inclusion path of the batch entry under the checkpoint.
    pub proof: Vec<Hash>,
}

/// A batch that was not let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectedNote {
    /// Its chain.
    pub chain: ChainId,
    /// Its number in the chain.
    pub number: u64,
    /// The hash of the note's text.
    pub hash: Hash,
    /// The entry that is at fault, where it is one.
    pub position: Option<usize>,
    /// Why.
    pub reason: String,
}

impl Heads {
    /// The message.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Several messages that say the same together, each small enough for the bus.
    pub fn messages(mut self) -> Vec<Vec<u8>> {
        let (mut sealed, mut rejected) = (
            std::mem::take(&mut self.sealed).into_iter(),
            std::mem::take(&mut self.rejected).into_iter(),
        );
        let mut heads = std::mem::take(&mut self.heads).into_iter();
        let mut messages = Vec::new();
        loop {
            self.sealed = sealed.by_ref().take(SEALED_A_MESSAGE).collect();
            self.rejected = rejected.by_ref().take(REJECTED_A_MESSAGE).collect();
            self.heads = heads.by_ref().take(SEALED_A_MESSAGE).collect();
            for note in &mut self.rejected {
                note.reason = note.reason.chars().take(REASON_CHARACTERS).collect();
            }
            messages.push(self.to_bytes());
            if sealed.len() == 0 && rejected.len() == 0 && heads.len() == 0 {
                return messages;
            }
        }
    }

    /// Reads a message.
    pub fn parse(bytes: &[u8]) -> Result<Self, LedgerError> {
        let heads: Self = parse(bytes, "heads")?;
        let texts = [heads.halted.as_deref().unwrap_or_default(), &heads.holder];
        let stream = heads.stream.len() == STREAM_DIGITS
            && heads
                .stream
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let fits = heads.shard < MAX_SHARDS
            && stream
            && heads.seq <= heads.last
            && heads.checkpoint.len() <= MAX_NOTE_BYTES
            && heads.sealed.iter().all(|batch| batch.proof.len() <= MAX_PATH)
            && heads
                .rejected
                .iter()
                .all(|note| note.reason.len() <= MAX_TEXT_BYTES)
            && texts.iter().all(|text| text.len() <= MAX_TEXT_BYTES);
        in_range(fits, heads, "heads")
    }
}

/// What a follower tells: its archive holds this checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The follower.
    pub host: Name,
    /// The shard.
    pub shard: u32,
    /// The number of leaves on its disk.
    pub size: TreeSize,
    /// Their root.
    pub root: Hash,
}

impl Held {
    /// The message.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads a message.
    pub fn parse(bytes: &[u8]) -> Result<Self, LedgerError> {
        let held: Self = parse(bytes, "held")?;
        in_range(held.shard < MAX_SHARDS, held, "held")
    }
}

/// A command to the host that leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Control {
    /// Registers a producer with this key, or gives one that has no valid key this one.
    Register {
        /// Whose key.
        producer: Name,
        /// The key.
        key: VerifierKey,
    },
    /// Ends the producer's valid keys and begins this one.
    Rotate {
        /// Whose key.
        producer: Name,
        /// The new key.
        key: VerifierKey,
    },
    /// Ends the producer's valid keys.
    Revoke {
        /// Whose keys.
        producer: Name,
    },
    /// Registers a party, such as a recipient, without a key; or what is to be known of it from now on.
    Party {
        /// Its name in the ledger.
        party: Name,
        /// Its name as people read it.
        name: String,
        /// ISO 3166-1 alpha-2.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        country: Option<String>,
        /// How to reach it about privacy.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        contact: Option<String>,
    },
    /// Closes the shard's stream and opens the next.
    NextStream {
        /// The shard.
        shard: u32,
    },
    /// Erases a customer's label: no key of it is given any more, the leases end, it is put on record, the key is destroyed.
    /// Answered when all of that is done on the host that leads shard 0.
    Erase {
        /// The label.
        label: Label,
        /// Which generation of the customer it is.
        generation: u32,
    },
}

impl Control {
    /// What it is, for people.
    pub fn told(&self) -> String {
        match self {
            Self::Register { producer, .. } => format!("register a key of {producer}"),
            Self::Rotate { producer, .. } => format!("rotate the key of {producer}"),
            Self::Revoke { producer } => format!("revoke the keys of {producer}"),
            Self::Party { party, .. } => format!("register {party}"),
            Self::NextStream { shard } => format!("close the stream of shard {shard} and open the next"),
            Self::Erase { label, generation } => format!("erase generation {generation} under label {label}"),
        }
    }

    /// The message.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads a message. A key must be a note key that bears the producer's name.
    pub fn parse(bytes: &[u8]) -> Result<Self, LedgerError> {
        let control: Self = parse(bytes, "control")?;
        let fits = match &control {
            Self::Register { producer, key } | Self::Rotate { producer, key } => {
                key.kind() == KeyKind::Note && key.name() == producer.as_str()
            }
            Self::Revoke { .. } | Self::Erase { .. } => true,
            Self::Party {
                name,
                country,
                contact,
                ..
            } => [Some(name), country.as_ref(), contact.as_ref()]
                .into_iter()
                .flatten()
                .all(|text| text.len() <= MAX_TEXT_BYTES),
            Self::NextStream { shard } => *shard < MAX_SHARDS,
        };
        in_range(fits, control, "control")
    }
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ControlReply {
    /// It is done, and on record in every shard.
    Done,
    /// It is not.
    Failed {
        /// Why.
        why: String,
        /// Whether it was looked at and not let in.
        refused: bool,
    },
}

impl ControlReply {
    /// The answer that a result makes.
    pub fn of(result: &Result<(), LedgerError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => Self::Failed {
                why: error.to_string().chars().take(MAX_TEXT_BYTES / 4).collect(),
                refused: error.is_refusal(),
            },
        }
    }

    /// The message.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Reads a message.
    pub fn parse(bytes: &[u8]) -> Result<Self, LedgerError> {
        let reply: Self = parse(bytes, "control reply")?;
        let fits = match &reply {
            Self::Done => true,
            Self::Failed { why, .. } => why.len() <= MAX_TEXT_BYTES,
        };
        in_range(fits, reply, "control reply")
    }
}

fn to_bytes(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("plain strings, numbers and lists always serialise")
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, LedgerError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        let text = format!("a {what} message of {} bytes; at most 1 MiB", bytes.len());
        return Err(LedgerError::Invalid(text));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| LedgerError::Invalid(format!("not a {what} message: {error}")))
}

fn in_range<T>(fits: bool, message: T, what: &str) -> Result<T, LedgerError> {
    if fits {
        Ok(message)
    } else {
        let text = format!("a {what} message with a value out of range");
        Err(LedgerError::Invalid(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sharetrail_proof::note::NoteSigner;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn heads(sealed: u64, rejected: u64) -> Heads {
        let batch = |number| SealedBatch {
            chain: ChainId([7; 16]),
            number,
            index: LeafIndex(u64::MAX),
            proof: vec![Hash([0xff; 32]); MAX_PATH],
        };
        let note = |number| RejectedNote {
            chain: ChainId([8; 16]),
            number,
            hash: Hash::ZERO,
            position: Some(3),
            reason: "\u{1}".repeat(1_000),
        };
        Heads {
            shard: 3,
            stream: "0f".repeat(16),
            seq: StreamSeq(5),
            last: StreamSeq(9),
            checkpoint: "\n".repeat(MAX_NOTE_BYTES),
            sealed: (0..sealed).map(batch).collect(),
            rejected: (0..rejected).map(note).collect(),
            heads: Vec::new(),
            halted: None,
            holder: "a".into(),
        }
    }

    #[test]
    fn heads_read_back_and_what_is_out_of_range_does_not() {
        let one = heads(2, 1);
        assert_eq!(Heads::parse(&one.to_bytes()).unwrap(), one);
        let alter: [fn(&mut Heads); 7] = [
            |heads| heads.shard = MAX_SHARDS,
            |heads| heads.stream = "0F".repeat(16),
            |heads| heads.stream.truncate(31),
            |heads| heads.seq = StreamSeq(10),
            |heads| heads.checkpoint.push('\n'),
            |heads| heads.sealed[1].proof.push(Hash::ZERO),
            |heads| heads.holder = "x".repeat(MAX_TEXT_BYTES + 1),
        ];
        for alter in alter {
            let mut bad = one.clone();
            alter(&mut bad);
            assert!(matches!(
                Heads::parse(&bad.to_bytes()),
                Err(LedgerError::Invalid(_))
            ));
        }
        let bytes = one.to_bytes();
        for bad in [&bytes[..bytes.len() - 1], b"", b"{}", b"[]"] {
            assert!(matches!(Heads::parse(bad), Err(LedgerError::Invalid(_))));
        }
        let long = [&bytes[..], &vec![b' '; MAX_MESSAGE_BYTES]].concat();
        assert!(matches!(Heads::parse(&long), Err(LedgerError::Invalid(_))));
    }

    #[test]
    fn many_batches_go_in_messages_that_fit() {
        let (sealed, rejected) = (SEALED_A_MESSAGE as u64 * 2 + 1, REJECTED_A_MESSAGE as u64 + 1);
        let mut found = (Vec::new(), Vec::new());
        let messages = heads(sealed, rejected).messages();
        assert_eq!(messages.len(), 3);
        for message in messages {
            let part = Heads::parse(&message).unwrap();
            found.0.extend(part.sealed.iter().map(|batch| batch.number));
            found.1.extend(part.rejected.iter().map(|note| note.number));
        }
        assert_eq!(found, ((0..sealed).collect(), (0..rejected).collect()));
        assert_eq!(heads(0, 0).messages().len(), 1);
    }

    #[test]
    fn a_command_with_anothers_key_is_refused() {
        let key = |name| NoteSigner::from_seed(name, &[1; 32]).unwrap().verifier().clone();
        let good = Control::Register {
            producer: name("till.example"),
            key: key("till.example"),
        };
        assert_eq!(Control::parse(&good.to_bytes()).unwrap(), good);
        let bad = Control::Rotate {
            producer: name("till.example"),
            key: key("web.example"),
        };
        assert!(matches!(
            Control::parse(&bad.to_bytes()),
            Err(LedgerError::Invalid(_))
        ));
        let party = |text: String| Control::Party {
            party: name("courier.example"),
            name: text,
            country: Some("IE".into()),
            contact: None,
        };
        let next = Control::NextStream { shard: 4 };
        let erase = Control::Erase {
            label: Label([7; 32]),
            generation: 2,
        };
        for control in [next, erase, party("Courier Ltd".into())] {
            assert_eq!(Control::parse(&control.to_bytes()).unwrap(), control);
        }
        let long = party("x".repeat(MAX_TEXT_BYTES + 1));
        assert!(matches!(
            Control::parse(&long.to_bytes()),
            Err(LedgerError::Invalid(_))
        ));
        let reply = ControlReply::of(&Err(LedgerError::Invalid("no".into())));
        assert_eq!(ControlReply::parse(&reply.to_bytes()).unwrap(), reply);
        assert_eq!(ControlReply::of(&Ok(())), ControlReply::Done);
    }

    #[test]
    fn held_reads_back() {
        let held = Held {
            host: name("host-a"),
            shard: 1,
            size: TreeSize(77),
            root: Hash([3; 32]),
        };
        assert_eq!(Held::parse(&held.to_bytes()).unwrap(), held);
    }
}
