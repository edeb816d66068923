//! Reading JSON objects key by key.
//!
//! serde's derived readers take a list for a struct and `null` for a missing option; an object here is an object, and
//! a key that is there has a value.
//!
//! In scope: the machinery. Out of scope: which objects there are. Trust: the input is untrusted.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, de};

/// An object with a fixed set of keys.
pub(crate) trait Record<'de>: Sized {
    /// Reads all members.
    fn read<A: de::MapAccess<'de>>(map: A) -> Result<Self, A::Error>;
}

/// Takes objects only.
pub(crate) struct RecordVisitor<T>(pub(crate) PhantomData<T>);

impl<'de, T: Record<'de>> de::Visitor<'de> for RecordVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::read(map)
    }
}

/// Reads the value of a key into its place, which must still be empty: serde leaves repeated keys to the reader.
pub(crate) fn put<'de, T: Deserialize<'de>, A: de::MapAccess<'de>>(
    place: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    if place.is_some() {
        return Err(de::Error::custom("a repeated key"));
    }
    *place = Some(map.next_value()?);
    Ok(())
}
