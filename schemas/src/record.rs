//! The objects inside of `data`: recipients, references to other events, requests, series and payload digests.
//!
//! Each type and its description (`…_MEMBERS`), which the diagnosis and the JSON Schemas use, come from one list.
//!
//! In scope: their members and rules. Out of scope: which kind of event has which of them.
//! Trust: values of these types have passed their checks.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, de};

use crate::leaf::Leaf;
use crate::object::{Record, RecordVisitor, put};
use crate::shape::{Member, Shape};
use crate::text::{Country, Digest, Id, Party, RawText, Source, Text};
use crate::time::Timestamp;

macro_rules! choice {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $variant_doc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[doc = $variant_doc])+ $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in the content.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The one that this word names.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.name())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = RawText::deserialize(deserializer)?;
                Self::from_name(&text.0).ok_or_else(|| de::Error::custom("an unknown word"))
            }
        }
    };
}

choice! {
    /// What a recipient is to the company, in the words of the GDPR.
    Role {
        /// Works on the company's behalf (GDPR Article 4(8)).
        Processor = "processor",
        /// Decides together with the company (Article 26).
        JointController = "joint-controller",
        /// Belongs to the same group of companies.
        Affiliate = "affiliate",
        /// Anyone else (Article 4(10)).
        ThirdParty = "third-party",
        /// A public authority.
        Authority = "authority",
    }
}

choice! {
    /// What a customer asks for.
    Right {
        /// To see the data (GDPR Article 15).
        Access = "access",
        /// To have it deleted (Article 17).
        Erasure = "erasure",
        /// To have it corrected (Article 16).
        Rectification = "rectification",
        /// To take it along (Article 20).
        Portability = "portability",
        /// To object to its use (Article 21), an opt-out of its sale included.
        Objection = "objection",
        /// To have its use suspended (Article 18).
        Restriction = "restriction",
    }
}

/// An object: its type, its description and its reader from one list of members.
macro_rules! record {
    (
        $(#[doc = $doc:literal])+
        $vis:vis $name:ident $(<$life:lifetime>)?, $members:ident
        needs { $($(#[doc = $need_doc:literal])+ $need:ident: $need_type:ty = $need_shape:expr;)* }
        may { $($(#[doc = $may_doc:literal])+ $may:ident: $may_type:ty = $may_shape:expr;)* }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[non_exhaustive]
        $vis struct $name $(<$life>)? {
            $($(#[doc = $need_doc])+ $vis $need: $need_type,)*
            $($(#[doc = $may_doc])+ $vis $may: Option<$may_type>,)*
        }

        /// The members, for the diagnosis and the JSON Schemas.
        pub(crate) const $members: &[Member] = &[
            $(Member::required(stringify!($need), $need_shape),)*
            $(Member::optional(stringify!($may), $may_shape),)*
        ];

        impl<'de $(: $life, $life)?> Record<'de> for $name $(<$life>)? {
            fn read<A: de::MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
                $(let mut $need: Option<$need_type> = None;)*
                $(let mut $may: Option<$may_type> = None;)*
                while let Some(RawText(key)) = map.next_key()? {
                    $(if key == stringify!($need) { put(&mut $need, &mut map)?; continue; })*
                    $(if key == stringify!($may) { put(&mut $may, &mut map)?; continue; })*
                    return Err(de::Error::custom("an unknown key"));
                }
                let missing = || <A::Error as de::Error>::custom("a missing key");
                Ok(Self { $($need: $need.ok_or_else(missing)?,)* $($may,)* })
            }
        }

        impl<'de $(: $life, $life)?> Deserialize<'de> for $name $(<$life>)? {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_map(RecordVisitor(PhantomData))
            }
        }
    };
}

record! {
    /// Who received data. Name, country and role are required, so that every disclosure can be told in full to the
    /// customer (GDPR Article 15(1)(c), US state laws that ask for specific third parties).
    pub Recipient<'a>, RECIPIENT_MEMBERS
    needs {
        /// The name by which the ledger knows it.
        id: Party<'a> = Shape::One(Leaf::Party);
        /// Its name for people.
        name: Text<'a> = Shape::One(Leaf::Text);
        /// What it is to the company.
        role: Role = Shape::One(Leaf::Role);
        /// Where it is established.
        country: Country<'a> = Shape::One(Leaf::Country);
    }
    may {
        /// Where a customer can turn to: a mail address, a telephone number, a page.
        contact: Text<'a> = Shape::One(Leaf::Text);
        /// Its postal address, if known (HIPAA, 45 CFR 164.528(b)(2)(ii)).
        address: Text<'a> = Shape::One(Leaf::Text);
    }
}

record! {
    /// One field of what was sent, as a salted digest: evidence of the payload without the payload.
    pub Payload<'a>, PAYLOAD_MEMBERS
    needs {
        /// The field's name in the company's own system.
        field: Text<'a> = Shape::One(Leaf::Text);
        /// Salted SHA-256 of its value, in base64; the salt stays with the company.
        digest: Digest<'a> = Shape::One(Leaf::Digest);
    }
    may {}
}

record! {
    /// A customer's request, known by its id from its opening to its closing.
    pub Request<'a>, REQUEST_MEMBERS
    needs {
        /// The request's id.
        id: Id<'a> = Shape::One(Leaf::Id);
        /// What is asked for.
        right: Right = Shape::One(Leaf::Right);
    }
    may {
        /// The law it is asked under, such as `eu-gdpr`.
        regime: Text<'a> = Shape::One(Leaf::Text);
        /// How far it is.
        status: Text<'a> = Shape::One(Leaf::Text);
        /// When it must be answered.
        due: Timestamp = Shape::One(Leaf::Time);
    }
}

record! {
    /// A [`Reference`] written as an object.
    FullReference<'a>, REFERENCE_MEMBERS
    needs {
        /// The other event's source.
        source: Source<'a> = Shape::One(Leaf::Uri);
        /// The other event's id.
        id: Id<'a> = Shape::One(Leaf::Id);
    }
    may {}
}

record! {
    /// A [`Series`] before it is known to run forward.
    Span, SERIES_MEMBERS
    needs {
        /// When the first one happened.
        first: Timestamp = Shape::One(Leaf::Time);
        /// How many there were.
        count: u64 = Shape::Count;
        /// When the last one happened.
        last: Timestamp = Shape::One(Leaf::Time);
    }
    may {}
}

/// Another event of the same customer: `{"source": …, "id": …}`, or only its id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reference<'a> {
    /// The other event's source; none means a source on the same host as this event's.
    pub source: Option<Source<'a>>,
    /// The other event's id.
    pub id: Id<'a>,
}

struct ReferenceVisitor;

impl<'de> de::Visitor<'de> for ReferenceVisitor {
    type Value = Reference<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an id or an object of source and id")
    }

    fn visit_borrowed_str<E: de::Error>(self, id: &'de str) -> Result<Self::Value, E> {
        Ok(Reference {
            source: None,
            id: Id::checked(Cow::Borrowed(id))?,
        })
    }

    fn visit_str<E: de::Error>(self, id: &str) -> Result<Self::Value, E> {
        Ok(Reference {
            source: None,
            id: Id::checked(Cow::Owned(id.to_owned()))?,
        })
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let FullReference { source, id } = FullReference::read(map)?;
        Ok(Reference {
            source: Some(source),
            id,
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Reference<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReferenceVisitor)
    }
}

/// Repeated disclosures to one recipient for one purpose, told as one event (HIPAA, 45 CFR 164.528(b)(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Series {
    /// When the first one happened.
    pub first: Timestamp,
    /// How many there were, at least 1.
    pub count: u64,
    /// When the last one happened, not before the first.
    pub last: Timestamp,
}

impl<'de> Deserialize<'de> for Series {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Span { first, count, last } = Span::deserialize(deserializer)?;
        if count >= 1 && first <= last {
            Ok(Self { first, count, last })
        } else {
            Err(de::Error::custom("a series that does not run forward"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_an_id_or_an_object() {
        let short: Reference<'_> = serde_json::from_str(r#""enrol-1""#).unwrap();
        assert_eq!((short.source, short.id.as_str()), (None, "enrol-1"));
        let full: Reference<'_> = serde_json::from_str(r#"{"source":"https://a.example","id":"1"}"#).unwrap();
        assert_eq!(full.source.as_deref(), Some("https://a.example"));
        for wrong in [
            "1",
            "{}",
            r#"{"id":"1"}"#,
            r#""""#,
            r#"{"source":"a b","id":"1"}"#,
        ] {
            assert!(serde_json::from_str::<Reference<'_>>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn null_is_not_the_same_as_left_out() {
        let request = r#"{"id":"1","right":"access"}"#;
        assert_eq!(serde_json::from_str::<Request<'_>>(request).unwrap().due, None);
        assert!(serde_json::from_str::<Request<'_>>(r#"{"id":"1","right":"access","due":null}"#).is_err());
    }

    #[test]
    fn a_list_is_not_an_object() {
        assert!(serde_json::from_str::<Request<'_>>(r#"["1","access"]"#).is_err());
    }

    #[test]
    fn a_series_runs_forward() {
        let series = |first: &str, count: u64, last: &str| {
            let text = format!(r#"{{"first":"{first}","count":{count},"last":"{last}"}}"#);
            serde_json::from_str::<Series>(&text).is_ok()
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        assert!(series(early, 2, late) && series(early, 1, early));
        assert!(!series(late, 2, early) && !series(early, 0, late));
    }
}
