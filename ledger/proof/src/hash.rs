//! Hashes, leaf indexes and tree sizes: the newtypes that every proof is written in.
//!
//! In scope: RFC 6962 §2.1 leaf and node hashing, text forms. Out of scope: trees (see [`crate::tree`]).
//! Trust: none needed; these are values.

use std::fmt;

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::base64;
use crate::lanes::Messages;

/// A SHA-256 hash: an interior node, a root or a commitment. Displayed as standard base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// 32 zero bytes: never the hash of anything, used where a format says "none".
    pub const ZERO: Self = Self([0; 32]);

    /// SHA-256 over the parts, one after the other.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The root of the empty tree, SHA-256 of nothing (RFC 6962 §2.1).
    pub fn empty_root() -> Self {
        Self::of(&[])
    }

    /// `SHA-256(0x01 ‖ left ‖ right)` (RFC 6962 §2.1).
    pub fn node(left: &Self, right: &Self) -> Self {
        let mut bytes = [0x01; 65];
        bytes[1..33].copy_from_slice(&left.0);
        bytes[33..].copy_from_slice(&right.0);
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 44 characters of standard base64.
    pub fn from_base64(text: &str) -> Option<Self> {
        if text.len() != 44 {
            return None;
        }
        Some(Self(base64::decode(text)?.try_into().ok()?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_base64(&text).ok_or_else(|| serde::de::Error::custom("expected 32 bytes in base64"))
    }
}

/// `SHA-256(0x00 ‖ entry)` (RFC 6962 §2.1): the hash of an entry, the same in its batch's tree and in the log's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafHash(pub Hash);

/// Nodes over neighbouring hashes, `hashes` taken two by two; an odd last one is passed over.
pub fn node_hashes(hashes: &[Hash]) -> Vec<Hash> {
    let mut messages = Messages::new(65, hashes.len() / 2);
    for pair in hashes.chunks_exact(2) {
        messages.push(&[&[0x01], &pair[0].0, &pair[1].0]);
    }
    messages.hash()
}

/// The leaf hashes of many entries; neighbours of one length are hashed side by side.
pub fn leaf_hashes(entries: &[&[u8]]) -> Vec<LeafHash> {
    let mut hashes = Vec::with_capacity(entries.len());
    for run in entries.chunk_by(|a, b| a.len() == b.len()) {
        let mut messages = Messages::new(run[0].len() + 1, run.len());
        for entry in run {
            messages.push(&[&[0x00], entry]);
        }
        hashes.extend(messages.hash().into_iter().map(LeafHash));
    }
    hashes
}

impl LeafHash {
    /// Hashes an entry's bytes.
    pub fn of(entry: &[u8]) -> Self {
        Self(Hash::of(&[&[0x00], entry]))
    }
}

/// The position of a leaf in a log, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeafIndex(pub u64);

/// The number of leaves of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TreeSize(pub u64);

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
