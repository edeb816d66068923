//! Texts that carry their checks: whoever holds a [`Country`] holds a country.
//!
//! In scope: borrowed text types, one per rule of `leaf`, and lists of them. Out of scope: the rules themselves.
//! Trust: every text is untrusted until it is one of these types.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, de};

use crate::error::ContentError;
use crate::leaf::Leaf;

/// Most entries of one list: a disclosure that needs more is more than one disclosure.
pub(crate) const MAX_LIST: usize = 256;

/// A JSON string as it stands, borrowed unless it holds escapes. A plain `Cow` inside of an `Option` would be copied.
pub(crate) struct RawText<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for RawText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(RawTextVisitor)
    }
}

struct RawTextVisitor;

impl<'de> de::Visitor<'de> for RawTextVisitor {
    type Value = RawText<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(RawText(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(RawText(Cow::Owned(text.to_owned())))
    }
}

macro_rules! checked_texts {
    ($($(#[doc = $doc:literal])+ $name:ident = $leaf:ident;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name<'a>(Cow<'a, str>);

        impl<'a> $name<'a> {
            /// The text, as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Checks a text; the error is for whoever reads the JSON, the field is named later.
            pub(crate) fn checked<E: de::Error>(text: Cow<'a, str>) -> Result<Self, E> {
                match Leaf::$leaf.check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(_) => Err(E::custom(Leaf::$leaf.expected())),
                }
            }
        }

        impl Deref for $name<'_> {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl<'de: 'a, 'a> Deserialize<'de> for $name<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::checked(RawText::deserialize(deserializer)?.0)
            }
        }
    )+};
}

checked_texts! {
    /// A data category: a term of the `pd` vocabulary.
    Category = Category;
    /// A purpose: a term of the `dpv` vocabulary.
    Purpose = Purpose;
    /// A legal basis: a term of `eu-gdpr` or `dpv`, or `prefix:term` of another law.
    LegalBasis = Basis;
    /// What permits a transfer to another country: a term of `eu-gdpr`, or `prefix:term` of another law.
    Safeguard = Safeguard;
    /// An ISO 3166-1 alpha-2 country code.
    Country = Country;
    /// The name by which the ledger knows a party: 1 to 63 of `a-z`, `0-9`, `.` and `-`.
    Party = Party;
    /// Free text for people: 1 to 4,096 bytes, no control characters other than line feed and tab.
    Text = Text;
    /// The id of an event or of a request: 1 to 1,024 bytes, no control characters.
    Id = Id;
    /// A URI reference of 1 to 1,024 bytes.
    Source = Uri;
    /// The company's own id of a customer: 1 to 256 bytes, NFC, no control characters, no leading or trailing space.
    CustomerId = Customer;
    /// An ISO 8601 duration in whole numbers, such as `P2Y6M`.
    Duration = Duration;
    /// A SHA-256 hash in standard base64 with padding, the form in which the log's own texts write hashes.
    Digest = Digest;
}

/// Checks a customer id by the rule of [`CustomerId`], for callers that are given one outside of a content.
///
/// # Errors
/// [`ContentError::Length`] or [`ContentError::Invalid`] for the field `subject`.
pub fn check_customer_id(id: &str) -> Result<(), ContentError> {
    Leaf::Customer
        .check(id)
        .map_err(|reason| Leaf::Customer.refusal(reason, "subject", id))
}

/// A list of 1 to 256 entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T>(Vec<T>);

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<T>::deserialize(deserializer)?;
        if (1..=MAX_LIST).contains(&entries.len()) {
            Ok(Self(entries))
        } else {
            Err(de::Error::custom("a list of 1 to 256 entries"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customer_ids_have_one_spelling() {
        for id in [
            "customer-42",
            "42",
            "Zo\u{eb}",
            "a b",
            "\u{1f600}",
            &"x".repeat(256),
        ] {
            assert_eq!(check_customer_id(id), Ok(()), "{id:?}");
        }
        for id in [" 42", "42 ", "4\n2", "4\u{0}2", "Zoe\u{308}", "\u{a0}42"] {
            assert!(
                matches!(check_customer_id(id), Err(ContentError::Invalid { .. })),
                "{id:?}"
            );
        }
        let long = check_customer_id(&"x".repeat(257)).unwrap_err();
        assert!(matches!(
            long,
            ContentError::Length {
                found: 257,
                max: 256,
                ..
            }
        ));
        assert!(matches!(
            check_customer_id("").unwrap_err(),
            ContentError::Length { found: 0, .. }
        ));
    }

    #[test]
    fn texts_are_borrowed_unless_escaped() {
        let plain: Text<'_> = serde_json::from_str(r#""plain""#).unwrap();
        assert!(matches!(plain.0, Cow::Borrowed("plain")));
        let escaped: Text<'_> = serde_json::from_str(r#""line\nfeed""#).unwrap();
        assert_eq!(escaped.as_str(), "line\nfeed");
    }

    #[test]
    fn lists_are_never_empty() {
        assert!(serde_json::from_str::<List<Country<'_>>>("[]").is_err());
        assert_eq!(
            serde_json::from_str::<List<Country<'_>>>(r#"["IE","US"]"#)
                .unwrap()
                .len(),
            2
        );
    }
}
