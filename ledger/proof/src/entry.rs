//! Entries: what goes into the log for ever. Their first byte says which kind they are.
//!
//! In scope: the five kinds, to and from bytes. Out of scope: who may write which (see [`crate::batch`] and
//! [`crate::registry`]), and what an event's content says.
//! Trust: a parsed entry has the right shape, nothing more.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hash::Hash;
use crate::name::{Label, LedgerId, Name, OPERATOR, RECOVERY, Shard};
use crate::note::{KeyKind, VerifierKey};
use crate::vrf::VrfPublicKey;

/// First byte of a genesis entry.
pub const GENESIS: u8 = 0x00;
/// First byte of an event entry.
pub const EVENT: u8 = 0x01;
/// First byte of a registry entry.
pub const REGISTRY: u8 = 0x02;
/// First byte of a batch entry.
pub const BATCH: u8 = 0x03;
/// First byte of an erasure entry.
pub const ERASURE: u8 = 0x04;
/// Bytes of an event entry.
pub const EVENT_BYTES: usize = 81;
/// Bytes of an erasure entry.
pub const ERASURE_BYTES: usize = 37;
/// The most bytes of any entry: what fits a bundle's u16 length.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// The `format` of a genesis entry.
pub const GENESIS_FORMAT: &str = "sharetrail.org/genesis@v1";

/// What is wrong with an entry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryError {
    /// No bytes, or a first byte that no kind has.
    #[error("unknown kind of entry {found:?}")]
    UnknownKind {
        /// The first byte, if there is one.
        found: Option<u8>,
    },
    /// An entry of a fixed length has another one.
    #[error("an entry of kind {kind} has {expected} bytes, not {found}")]
    Length {
        /// The first byte.
        kind: u8,
        /// Bytes it must have.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },
    /// The JSON of a genesis or registry entry is not the JSON of one.
    #[error("entry of kind {kind}: {reason}")]
    Json {
        /// The first byte.
        kind: u8,
        /// What is wrong, and where.
        reason: String,
    },
}

/// 16 bytes that are equal for the same `source` and `id` of the same customer and producer: a hint for finding
/// repeats, not evidence.
pub type EntryId = [u8; 16];

/// An event: pseudonymous, and bound to its content by a commitment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventEntry {
    /// For finding repeats.
    pub id: EntryId,
    /// Whose event it is.
    pub label: Label,
    /// Binds the content.
    pub commitment: Hash,
}

impl EventEntry {
    /// The 81 bytes.
    pub fn to_bytes(&self) -> [u8; EVENT_BYTES] {
        let mut bytes = [EVENT; EVENT_BYTES];
        bytes[1..17].copy_from_slice(&self.id);
        bytes[17..49].copy_from_slice(&self.label.0);
        bytes[49..].copy_from_slice(&self.commitment.0);
        bytes
    }
}

/// The first leaf of a shard: with the policy, the root of trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The ledger's name.
    pub ledger: Name,
    /// The ledger's random id.
    pub id: LedgerId,
    /// This shard, of how many.
    pub shard: Shard,
    /// The key that labels are made with. Never changes.
    pub vrf: VrfPublicKey,
    /// The key that signs registry and erasure entries until the registry says otherwise.
    pub operator: VerifierKey,
    /// The offline key that may replace the operator key.
    pub recovery: VerifierKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GenesisJson {
    format: String,
    ledger: Name,
    id: LedgerId,
    shard: u32,
    shards: u32,
    vrf: Hash,
    operator: String,
    recovery: String,
}

impl Genesis {
    /// The entry's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = GenesisJson {
            format: GENESIS_FORMAT.into(),
            ledger: self.ledger.clone(),
            id: self.id,
            shard: self.shard.index(),
            shards: self.shard.count(),
            vrf: Hash(*self.vrf.bytes()),
            operator: self.operator.to_string(),
            recovery: self.recovery.to_string(),
        };
        with_json(&[GENESIS], &json)
    }

    fn parse(json: &[u8]) -> Result<Self, String> {
        let bytes = json;
        let json: GenesisJson = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if json.format != GENESIS_FORMAT {
            return Err(format!("format {:?}, expected {GENESIS_FORMAT:?}", json.format));
        }
        let key = |text: &str, name: &str| {
            let key = text.parse::<VerifierKey>().map_err(|error| error.to_string())?;
            let fits = key.name() == name && key.kind() == KeyKind::Note;
            if fits {
                Ok(key)
            } else {
                Err(format!("not a note key named {name}"))
            }
        };
        let genesis = Self {
            ledger: json.ledger,
            id: json.id,
            shard: Shard::new(json.shard, json.shards).map_err(|error| error.to_string())?,
            vrf: VrfPublicKey::parse(&json.vrf.0).map_err(|error| error.to_string())?,
            operator: key(&json.operator, OPERATOR)?,
            recovery: key(&json.recovery, RECOVERY)?,
        };
        // One way of writing it: the hash of what we would write is the hash of what is on record.
        if genesis.to_bytes()[1..] == *bytes {
            Ok(genesis)
        } else {
            Err("not in its canonical form".into())
        }
    }
}

/// What a registry entry does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", deny_unknown_fields)]
#[non_exhaustive]
pub enum RegistryAction {
    /// A party is made known: its name as people read it, its country and how to reach it. Never a natural person.
    #[serde(rename = "party.registered")]
    PartyRegistered {
        /// The party's full name.
        name: String,
        /// ISO 3166-1 alpha-2.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        country: Option<String>,
        /// How to reach it about privacy.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        contact: Option<String>,
    },
    /// A key of the party is valid from here on.
    #[serde(rename = "key.registered")]
    KeyRegistered {
        /// The key, in vkey form; its name is the party's.
        key: String,
    },
    /// The party's valid keys end here, and this one begins.
    #[serde(rename = "key.rotated")]
    KeyRotated {
        /// The new key.
        key: String,
    },
    /// The key is not valid from here on.
    #[serde(rename = "key.revoked")]
    KeyRevoked {
        /// The key that ends.
        key: String,
    },
    /// The operator key ends here, and this one begins. The party is `operator`.
    #[serde(rename = "operator.replaced")]
    OperatorReplaced {
        /// The new operator key; its name is `operator`.
        key: String,
    },
}

/// A registry entry's JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryRecord {
    /// Counts the ledger's registry entries from 0; the same in every shard.
    pub seq: u64,
    /// The leaf hash of the registry entry before, as base64; for `seq` 0 the ledger's id.
    pub prev: Hash,
    /// The party it is about.
    pub party: Name,
    /// When it was written, Unix seconds, by the operator's clock.
    pub time: u64,
    /// What it does.
    #[serde(flatten)]
    pub action: RegistryAction,
}

/// A registry entry: in clear, about a party.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryEntry {
    /// The party's label in the customer map.
    pub label: Label,
    /// What it says.
    pub record: RegistryRecord,
}

/// The label of a party: `SHA-256("sharetrail registry v1\n" ‖ u16 length ‖ name)`.
pub fn party_label(party: &Name) -> Label {
    Label(Hash::of(&[b"sharetrail registry v1\n", &prefixed(party.as_str())]).0)
}

impl RegistryEntry {
    /// The entry about `record.party`.
    pub fn new(record: RegistryRecord) -> Self {
        Self {
            label: party_label(&record.party),
            record,
        }
    }

    /// The entry's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = vec![REGISTRY];
        head.extend_from_slice(&self.label.0);
        with_json(&head, &self.record)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (label, json) = bytes.split_first_chunk::<32>().ok_or("too short for a label")?;
        let record: RegistryRecord = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let entry = Self {
            label: Label(*label),
            record,
        };
        if entry.label != party_label(&entry.record.party) {
            return Err(format!("the label is not that of {}", entry.record.party));
        }
        // One way of writing each entry: what parses must be what we would write, so no field can be smuggled in.
        let canonical = entry.to_bytes();
        if canonical[33..] == *json {
            Ok(entry)
        } else {
            Err("not in its canonical form".into())
        }
    }
}

/// An erasure: the events under the label cannot be opened any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasureEntry {
    /// The label that ends.
    pub label: Label,
    /// Which generation of the customer it was, from 0.
    pub generation: u32,
}

impl ErasureEntry {
    /// The 37 bytes.
    pub fn to_bytes(&self) -> [u8; ERASURE_BYTES] {
        let mut bytes = [ERASURE; ERASURE_BYTES];
        bytes[1..33].copy_from_slice(&self.label.0);
        bytes[33..].copy_from_slice(&self.generation.to_be_bytes());
        bytes
    }
}

/// Any entry, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Leaf 0.
    Genesis(Box<Genesis>),
    /// An event.
    Event(EventEntry),
    /// A party or a key.
    Registry(Box<RegistryEntry>),
    /// A batch note, not yet parsed, directly before the batch's entries.
    Batch(&'a str),
    /// An erasure.
    Erasure(ErasureEntry),
}

impl<'a> Entry<'a> {
    /// Takes an entry apart. A genesis entry that breaks the rules of names and keys is refused too.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let (&kind, rest) = bytes
            .split_first()
            .ok_or(EntryError::UnknownKind { found: None })?;
        let json = |reason| EntryError::Json { kind, reason };
        match kind {
            GENESIS => Ok(Self::Genesis(Box::new(Genesis::parse(rest).map_err(json)?))),
            EVENT => parse_event(bytes).map(Self::Event),
            REGISTRY => Ok(Self::Registry(Box::new(
                RegistryEntry::parse(rest).map_err(json)?,
            ))),
            BATCH => std::str::from_utf8(rest)
                .map(Self::Batch)
                .map_err(|error| json(error.to_string())),
            ERASURE => parse_erasure(bytes).map(Self::Erasure),
            found => Err(EntryError::UnknownKind { found: Some(found) }),
        }
    }

    /// The label whose leaves this entry counts among, if any.
    pub fn label(&self) -> Option<Label> {
        match self {
            Self::Event(event) => Some(event.label),
            Self::Registry(registry) => Some(registry.label),
            Self::Erasure(erasure) => Some(erasure.label),
            Self::Genesis(_) | Self::Batch(_) => None,
        }
    }
}

fn parse_event(bytes: &[u8]) -> Result<EventEntry, EntryError> {
    let wrong = EntryError::Length {
        kind: EVENT,
        expected: EVENT_BYTES,
        found: bytes.len(),
    };
    let bytes: &[u8; EVENT_BYTES] = bytes.try_into().map_err(|_| wrong)?;
    let mut event = EventEntry {
        id: [0; 16],
        label: Label([0; 32]),
        commitment: Hash::ZERO,
    };
    event.id.copy_from_slice(&bytes[1..17]);
    event.label.0.copy_from_slice(&bytes[17..49]);
    event.commitment.0.copy_from_slice(&bytes[49..]);
    Ok(event)
}

fn parse_erasure(bytes: &[u8]) -> Result<ErasureEntry, EntryError> {
    let wrong = EntryError::Length {
        kind: ERASURE,
        expected: ERASURE_BYTES,
        found: bytes.len(),
    };
    let bytes: &[u8; ERASURE_BYTES] = bytes.try_into().map_err(|_| wrong)?;
    let mut label = [0; 32];
    label.copy_from_slice(&bytes[1..33]);
    let mut generation = [0; 4];
    generation.copy_from_slice(&bytes[33..]);
    Ok(ErasureEntry {
        label: Label(label),
        generation: u32::from_be_bytes(generation),
    })
}

fn with_json(head: &[u8], json: &impl Serialize) -> Vec<u8> {
    let mut bytes = head.to_vec();
    serde_json::to_writer(&mut bytes, json).expect("plain strings and numbers always serialise");
    bytes
}

/// A string inside a hash: its length as u16, big-endian, then its bytes. Callers' limits keep it under 64 KiB.
pub(crate) fn prefixed(text: &str) -> Vec<u8> {
    let length =
        u16::try_from(text.len()).expect("names and customer ids are at most 256 bytes, sources 1,024");
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
