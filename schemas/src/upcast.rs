//! Old versions of a kind, told in today's words.
//!
//! Contents are kept byte for byte for ever, so every version that was ever accepted stays readable. A reader sees
//! the fields of the newest version only: what is read passes through [`upcast`], and nothing behind it knows of
//! versions. Bytes, commitments and signatures are never changed.
//!
//! In scope: fields renamed or split between versions. Out of scope: anything that needs more than the event itself.
//! Trust: the data has passed the checks of its own version.

use crate::data::Data;

/// A version of a kind's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Written `v1` in the type.
    V1,
}

impl Version {
    /// The numbers of all versions, oldest first.
    pub(crate) const NUMBERS: &'static [u32] = &[1];

    /// The version written as `text`, such as `1`.
    pub(crate) fn from_digits(text: &str) -> Option<Self> {
        (text == "1").then_some(Self::V1)
    }

    /// The version with this number.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        (number == 1).then_some(Self::V1)
    }

    /// Its number.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
        }
    }
}

/// Gives the data of any version as the newest one. Version 1 is the newest, so it passes as it is; the pattern
/// stops compiling when a second version is added and nothing is said here about the first.
pub(crate) fn upcast(version: Version, data: Data<'_>) -> Data<'_> {
    let Version::V1 = version;
    data
}
