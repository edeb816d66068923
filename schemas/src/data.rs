//! The fields that an event's `data` can have: the one table of them.
//!
//! From the table come the enum [`Field`], the struct [`Data`] with a getter for each field, the reader of `data`,
//! and the shapes for the diagnosis and the JSON Schemas. Which kind has which of them stands in `kind`.
//!
//! In scope: names, types and rules of fields. Out of scope: the attributes around `data` (see `envelope`).
//! Trust: values of these types have passed their checks; the reader's input is untrusted.

use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, de};

use crate::leaf::Leaf;
use crate::object::{Record, RecordVisitor, put};
use crate::record::{
    PAYLOAD_MEMBERS, Payload, RECIPIENT_MEMBERS, REFERENCE_MEMBERS, REQUEST_MEMBERS, Recipient, Reference,
    Request, SERIES_MEMBERS, Series,
};
use crate::shape::Shape;
use crate::text::{Category, Country, Duration, LegalBasis, List, Purpose, RawText, Safeguard, Source, Text};

macro_rules! fields {
    (<$life:lifetime> $($(#[doc = $doc:literal])+ $field:ident $variant:ident: $type:ty = $shape:expr;)+) => {
        /// A field of `data`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Field { $($(#[doc = $doc])+ $variant,)+ }

        impl Field {
            /// All fields.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its key in `data`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field),)+ }
            }

            /// The field with this key.
            pub fn from_name(name: &str) -> Option<Self> {
                $(if name == stringify!($field) { return Some(Self::$variant); })+
                None
            }

            pub(crate) const fn shape(self) -> Shape {
                match self { $(Self::$variant => $shape,)+ }
            }
        }

        /// The fields of one event's `data`, each as its own checked type; none where the event does not have it.
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct Data<$life> { $($field: Option<$type>,)+ }

        impl<$life> Data<$life> {
            $($(#[doc = $doc])+ pub fn $field(&self) -> Option<&$type> { self.$field.as_ref() })+

            /// The fields that are there, as a set of [`Field::bit`]s.
            pub(crate) fn bits(&self) -> u32 {
                0 $(| (u32::from(self.$field.is_some()) * Field::$variant.bit()))+
            }

            fn put<A: de::MapAccess<$life>>(&mut self, field: Field, map: &mut A) -> Result<(), A::Error> {
                match field { $(Field::$variant => put(&mut self.$field, map),)+ }
            }
        }

        /// Fields under their keys, so that `kind` can write its table with nothing but keys.
        pub(crate) mod named {
            #![allow(non_upper_case_globals, non_camel_case_types, reason = "keys are snake_case")]

            use super::{
                Category, Country, Duration, Field, LegalBasis, List, Payload, Purpose, Recipient, Reference, Request,
                Safeguard, Series, Source, Text,
            };

            $(pub(crate) const $field: Field = Field::$variant;)+
            $(pub(crate) type $field<$life> = $type;)+
        }
    };
}

fields! { <'a>
    /// The categories of data the event is about.
    categories Categories: List<Category<'a>> = Shape::Many(Leaf::Category);
    /// The purposes it was done for.
    purposes Purposes: List<Purpose<'a>> = Shape::Many(Leaf::Purpose);
    /// The legal basis it was done on.
    legal_basis LegalBasis: LegalBasis<'a> = Shape::One(Leaf::Basis);
    /// The organisation that received the data, or that is told or asked.
    recipient Recipient: Recipient<'a> = Shape::Record(RECIPIENT_MEMBERS);
    /// Where the data came from: the customer, or a named other source (GDPR Article 14(2)(f)).
    origin Origin: Text<'a> = Shape::One(Leaf::Text);
    /// The privacy notice that was in force.
    notice Notice: Source<'a> = Shape::One(Leaf::Uri);
    /// What happened, in a sentence.
    description Description: Text<'a> = Shape::One(Leaf::Text);
    /// What the customer got out of it.
    benefit Benefit: Text<'a> = Shape::One(Leaf::Text);
    /// How long the data is kept.
    retention Retention: Duration<'a> = Shape::One(Leaf::Duration);
    /// The country the data went to, where that is not the recipient's.
    country Country: Country<'a> = Shape::One(Leaf::Country);
    /// What permits the transfer to that country.
    safeguard Safeguard: Safeguard<'a> = Shape::One(Leaf::Safeguard);
    /// Whether money or other value was given for the data.
    sale Sale: bool = Shape::Flag;
    /// The consent event it rests on, or that it ends.
    consent Consent: Reference<'a> = Shape::Reference(REFERENCE_MEMBERS);
    /// The event by which the data had come to whoever passes it on.
    onward_of OnwardOf: Reference<'a> = Shape::Reference(REFERENCE_MEMBERS);
    /// The disclosure that is received, failed, notified or disputed.
    disclosure Disclosure: Reference<'a> = Shape::Reference(REFERENCE_MEMBERS);
    /// How it ended, or what is set now.
    outcome Outcome: Text<'a> = Shape::One(Leaf::Text);
    /// Digests of what was sent, field by field.
    payload Payload: List<Payload<'a>> = Shape::Records(PAYLOAD_MEMBERS);
    /// The span of repeated disclosures told as one.
    series Series: Series = Shape::Span(SERIES_MEMBERS);
    /// The contract it rests on.
    contract Contract: Text<'a> = Shape::One(Leaf::Text);
    /// The means by which it was done: a form, a system, a telephone call.
    method Method: Text<'a> = Shape::One(Leaf::Text);
    /// The customer's request it belongs to.
    request Request: Request<'a> = Shape::Record(REQUEST_MEMBERS);
    /// The event that is corrected. A field of its own: `disclosure` and `onward_of` name disclosures, and any event
    /// can be wrong.
    corrects Corrects: Reference<'a> = Shape::Reference(REFERENCE_MEMBERS);
}

impl Field {
    /// This field's place in a set of fields.
    pub(crate) const fn bit(self) -> u32 {
        1 << (self as u32)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = RawText::deserialize(deserializer)?;
        Self::from_name(&text.0).ok_or_else(|| de::Error::custom("an unknown field"))
    }
}

impl<'de> Deserialize<'de> for Data<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RecordVisitor(PhantomData))
    }
}

impl<'de> Record<'de> for Data<'de> {
    fn read<A: de::MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut data = Self::default();
        while let Some(field) = map.next_key()? {
            data.put(field, &mut map)?;
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_a_bit_and_a_name_of_its_own() {
        let bits = Field::ALL.iter().fold(0, |bits, field| bits | field.bit());
        assert_eq!(bits.count_ones() as usize, Field::ALL.len());
        for &field in Field::ALL {
            assert_eq!(Field::from_name(field.name()), Some(field));
        }
    }

    #[test]
    fn fields_are_read_once() {
        let data: Data<'_> = serde_json::from_str(r#"{"sale":true,"categories":["pd:Name"]}"#).unwrap();
        assert_eq!(data.sale(), Some(&true));
        assert_eq!(data.bits(), Field::Sale.bit() | Field::Categories.bit());
        for wrong in [
            r#"{"sale":true,"sale":true}"#,
            r#"{"sale":null}"#,
            r#"{"sold":true}"#,
            "[]",
        ] {
            assert!(serde_json::from_str::<Data<'_>>(wrong).is_err(), "{wrong}");
        }
    }
}
