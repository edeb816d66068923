//! The attributes around `data`, as `CloudEvents` 1.0 defines them for JSON.
//!
//! In scope: which attributes there are, reading them in one pass. Out of scope: whether all that are required came
//! (see `content`), the errors (see `diagnose`). Trust: the input is untrusted.
//!
//! Spec: `CloudEvents` 1.0.2, §Context Attributes; its JSON format, §2 and §3.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, de};

use crate::data::Data;
use crate::kind::Kind;
use crate::leaf::Leaf;
use crate::object::{Record, RecordVisitor, put};
use crate::text::{CustomerId, Id, RawText, Source};
use crate::time::Timestamp;
use crate::upcast::Version;

/// Attributes that stand for themselves in a content, with their rules. `type` and `data` are not among them.
pub(crate) const ATTRIBUTES: &[Attribute] = &[
    Attribute {
        name: "specversion",
        required: true,
        leaf: Leaf::SpecVersion,
    },
    Attribute {
        name: "id",
        required: true,
        leaf: Leaf::Id,
    },
    Attribute {
        name: "source",
        required: true,
        leaf: Leaf::Uri,
    },
    Attribute {
        name: "subject",
        required: true,
        leaf: Leaf::Customer,
    },
    Attribute {
        name: "time",
        required: true,
        leaf: Leaf::Time,
    },
    Attribute {
        name: "datacontenttype",
        required: false,
        leaf: Leaf::ContentType,
    },
    Attribute {
        name: "dataschema",
        required: false,
        leaf: Leaf::Uri,
    },
];

/// An attribute whose value is a text. One that is not required may also be `null`, which means left out.
pub(crate) struct Attribute {
    /// Its key.
    pub(crate) name: &'static str,
    /// Whether it must be there.
    pub(crate) required: bool,
    /// Its rule.
    pub(crate) leaf: Leaf,
}

/// What was read, whether or not it is complete.
#[derive(Default)]
pub(crate) struct Envelope<'a> {
    /// `specversion`.
    pub(crate) specversion: Option<SpecVersion>,
    /// `id`.
    pub(crate) id: Option<Id<'a>>,
    /// `source`.
    pub(crate) source: Option<Source<'a>>,
    /// `type`.
    pub(crate) event_type: Option<EventType>,
    /// `subject`.
    pub(crate) customer: Option<CustomerId<'a>>,
    /// `time`.
    pub(crate) time: Option<Timestamp>,
    /// `data`.
    pub(crate) data: Option<Data<'a>>,
    content_type: Option<OrNull<ContentType>>,
    schema: Option<OrNull<Source<'a>>>,
    extensions: Vec<Cow<'a, str>>,
}

/// A `type` that names a known kind in a known version.
pub(crate) struct EventType {
    /// The kind.
    pub(crate) kind: Kind,
    /// The version.
    pub(crate) version: Version,
}

/// The `specversion` 1.0.
pub(crate) struct SpecVersion;

/// The `datacontenttype` application/json.
struct ContentType;

/// A value that may be `null`, which means left out. It is checked and not kept.
struct OrNull<T>(PhantomData<T>);

/// Whether `name` can name an extension (`CloudEvents` 1.0.2, §Naming Conventions).
pub(crate) fn is_extension_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

impl<'de> Deserialize<'de> for Envelope<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RecordVisitor(PhantomData))
    }
}

impl<'de> Record<'de> for Envelope<'de> {
    fn read<A: de::MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut envelope = Self::default();
        while let Some(RawText(key)) = map.next_key()? {
            envelope.put(key, &mut map)?;
        }
        Ok(envelope)
    }
}

impl<'de> Envelope<'de> {
    fn put<A: de::MapAccess<'de>>(&mut self, key: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        match &*key {
            "specversion" => put(&mut self.specversion, map),
            "id" => put(&mut self.id, map),
            "source" => put(&mut self.source, map),
            "type" => put(&mut self.event_type, map),
            "subject" => put(&mut self.customer, map),
            "time" => put(&mut self.time, map),
            "data" => put(&mut self.data, map),
            "datacontenttype" => put(&mut self.content_type, map),
            "dataschema" => put(&mut self.schema, map),
            _ => self.skip_extension(key, map),
        }
    }

    fn skip_extension<A: de::MapAccess<'de>>(
        &mut self,
        key: Cow<'de, str>,
        map: &mut A,
    ) -> Result<(), A::Error> {
        if !is_extension_name(&key) || self.extensions.contains(&key) {
            return Err(de::Error::custom("an unknown or repeated attribute"));
        }
        self.extensions.push(key);
        map.next_value::<ExtensionValue>().map(|_| ())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrNull<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<T>::deserialize(deserializer).map(|_| Self(PhantomData))
    }
}

impl<'de> Deserialize<'de> for SpecVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        follow(Leaf::SpecVersion, deserializer).map(|()| Self)
    }
}

impl<'de> Deserialize<'de> for ContentType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        follow(Leaf::ContentType, deserializer).map(|()| Self)
    }
}

/// Reads a text that need not be kept, because its rule leaves it only one value.
fn follow<'de, D: Deserializer<'de>>(leaf: Leaf, deserializer: D) -> Result<(), D::Error> {
    let text = RawText::deserialize(deserializer)?;
    leaf.check(&text.0)
        .map_err(|_| de::Error::custom(leaf.expected()))
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = RawText::deserialize(deserializer)?;
        let (kind, version) = Kind::from_type(&text.0).map_err(|_| de::Error::custom("an unknown type"))?;
        Ok(Self { kind, version })
    }
}

/// A value that an extension can have: text, true or false, a whole number of 32 bits, or nothing. It is not kept.
struct ExtensionValue;

struct ExtensionVisitor;

impl de::Visitor<'_> for ExtensionVisitor {
    type Value = ExtensionValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, true or false, a whole number of 32 bits, or null")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(ExtensionValue)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(ExtensionValue)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        i32::try_from(number).map(|_| ExtensionValue).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        i32::try_from(number).map(|_| ExtensionValue).map_err(E::custom)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(ExtensionValue)
    }
}

impl<'de> Deserialize<'de> for ExtensionValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ExtensionVisitor)
    }
}
