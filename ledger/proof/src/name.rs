//! Names and numbers that identify things: ledgers, producers and parties, shards, chains.
//!
//! In scope: their syntax, which is part of the formats. Out of scope: what they stand for.
//! Trust: a value of these types has the right syntax, nothing more.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The producer name that signs registry and erasure entries.
pub const OPERATOR: &str = "operator";
/// The producer name of the offline recovery key, which may replace the operator key and do nothing else.
pub const RECOVERY: &str = "recovery";
/// The largest number of shards of a ledger.
pub const MAX_SHARDS: u32 = 4_096;

/// Why a piece of text is not a name, a shard, a chain or a ledger id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// Names match `[a-z0-9.-]{1,63}` and hold a letter or a digit.
    #[error("{found:?} is not a name: 1 to 63 of a-z, 0-9, '.' and '-', with a letter or digit among them")]
    Name {
        /// The text as given.
        found: String,
    },
    /// A shard is written `<index>of<count>` with index < count ≤ [`MAX_SHARDS`].
    #[error("{found:?} is not a shard such as 0of1")]
    Shard {
        /// The text as given.
        found: String,
    },
    /// A chain is 32, a ledger id 64 lower-case hexadecimal digits.
    #[error("{found:?} is not {digits} lower-case hexadecimal digits")]
    Hex {
        /// The text as given.
        found: String,
        /// How many digits there must be.
        digits: usize,
    },
}

/// The name of a ledger, a producer or a party: 1 to 63 of `a-z`, `0-9`, `.` and `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks the syntax.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
        // A name also stands in paths, where dots alone would lead elsewhere.
        let says_something = text.bytes().any(|byte| byte.is_ascii_alphanumeric());
        if (1..=63).contains(&text.len()) && text.bytes().all(fits) && says_something {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Name {
                found: text.chars().take(80).collect(),
            })
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// One of the `count` shards of a ledger. Written `<index>of<count>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// `index` < `count`, 1 ≤ `count` ≤ [`MAX_SHARDS`].
    pub fn new(index: u32, count: u32) -> Result<Self, NameError> {
        if index < count && count <= MAX_SHARDS {
            Ok(Self { index, count })
        } else {
            Err(NameError::Shard {
                found: format!("{index}of{count}"),
            })
        }
    }

    /// The position of this shard, from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    /// The number of shards of the ledger, which never changes.
    pub fn count(self) -> u32 {
        self.count
    }

    /// All shards of a ledger with `count` of them.
    pub fn all(count: u32) -> impl Iterator<Item = Self> {
        (0..count.min(MAX_SHARDS)).map(move |index| Self { index, count })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}of{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::Shard {
            found: text.chars().take(80).collect(),
        };
        let (index, count) = text.split_once("of").ok_or_else(wrong)?;
        let index = decimal(index)
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(wrong)?;
        let count = decimal(count)
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(wrong)?;
        Self::new(index, count)
    }
}

/// Reads a decimal number that has no sign, no leading zero and no other way of being written.
pub fn decimal(text: &str) -> Option<u64> {
    let canonical = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                let wrong = || NameError::Hex { found: text.chars().take(80).collect(), digits: $bytes * 2 };
                let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| wrong())?;
                Ok(Self(bytes.try_into().map_err(|_| wrong())?))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// The chain of one outbox on one shard: 16 random bytes, written as 32 hexadecimal digits.
    ChainId,
    16
);
hex_id!(
    /// The random id of a ledger: tells apart two ledgers that chose the same name.
    LedgerId,
    32
);
hex_id!(
    /// The 32-byte pseudonym under which a customer, or a party of the registry, stands in the log.
    Label,
    32
);

impl Label {
    /// The one shard that this label lives on: its first 8 bytes modulo the number of shards.
    pub fn shard(&self, count: u32) -> u32 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        let shard = u64::from_be_bytes(first) % u64::from(count.max(1));
        u32::try_from(shard).expect("a remainder is smaller than its u32 divisor")
    }
}

impl Serialize for Shard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Shard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_alphabet_and_length() {
        for good in ["a", "shop.example", "a-b.c9", &"x".repeat(63)] {
            assert_eq!(Name::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "-.-", "Shop", "a b", "a/b", "ä", &"x".repeat(64)] {
            assert!(matches!(Name::new(bad), Err(NameError::Name { .. })), "{bad}");
        }
    }

    #[test]
    fn shards_have_one_way_of_being_written() {
        assert_eq!("3of4".parse(), Shard::new(3, 4));
        for bad in [
            "4of4", "03of4", "3of04", "of4", "3of", "-1of2", "+1of2", "0of5000", "3 of4",
        ] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_label_lives_on_the_shard_of_its_first_eight_bytes() {
        let mut bytes = [0xff; 32];
        bytes[..8].copy_from_slice(&10_u64.to_be_bytes());
        assert_eq!(Label(bytes).shard(4), 2);
        assert_eq!(Label(bytes).shard(1), 0);
    }
}
