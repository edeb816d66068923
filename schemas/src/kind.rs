//! The kinds of event and the fields that each has: the one table of them.
//!
//! From the table come the enum [`Kind`], a struct for each kind with its required fields as they are and its other
//! fields as options, and the enum [`Detail`] over those structs. A legal basis is required nowhere: the laws of the
//! United States and others know none; where one is needed and missing, that is a finding, not a refusal.
//!
//! In scope: which kind has which fields. Out of scope: the fields' own rules (see `data`).
//! Trust: [`Detail`] is made from checked contents only.

use std::fmt;

use crate::data::{Data, Field, named};
use crate::nearest::nearest;
use crate::shape::Member;
use crate::upcast::Version;

/// What stands before the kind in a content's `type`.
pub(crate) const TYPE_PREFIX: &str = "org.sharetrail.";

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal: needs [$($need:ident),*] may [$($may:ident),*];)+) => {
        /// A kind of event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind { $($(#[doc = $doc])+ $kind,)+ }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The name, such as `data.shared`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// The kind with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$kind),)+ _ => None }
            }

            /// What it means, in a sentence or two.
            pub fn about(self) -> &'static str {
                match self { $(Self::$kind => concat!($($doc),+).trim(),)+ }
            }

            /// The fields that must be in its `data`.
            pub const fn needs(self) -> &'static [Field] {
                match self { $(Self::$kind => &[$(named::$need),*],)+ }
            }

            /// The fields that can be in its `data`.
            pub const fn may(self) -> &'static [Field] {
                match self { $(Self::$kind => &[$(named::$may),*],)+ }
            }

            /// Whether these fields are all that it needs, and none that it does not have.
            pub(crate) const fn allows(self, fields: u32) -> bool {
                let (needs, may) = match self {
                    $(Self::$kind => (0 $(| named::$need.bit())*, 0 $(| named::$may.bit())*),)+
                };
                fields & needs == needs && fields & !(needs | may) == 0
            }
        }

        $($(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $kind<'e> {
            $(#[doc = concat!("`", stringify!($need), "`, which this kind requires; see [`Data::", stringify!($need), "`].")]
            pub $need: &'e named::$need<'e>,)*
            $(#[doc = concat!("`", stringify!($may), "`, if given; see [`Data::", stringify!($may), "`].")]
            pub $may: Option<&'e named::$may<'e>>,)*
        })+

        /// An event's fields, by its kind.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Detail<'e> { $($(#[doc = $doc])+ $kind($kind<'e>),)+ }

        impl<'e> Detail<'e> {
            /// Sorts checked fields by kind.
            pub(crate) fn new(kind: Kind, data: &'e Data<'_>) -> Self {
                match kind {
                    $(Kind::$kind => Self::$kind($kind {
                        $($need: data.$need().expect("a content that lacks a required field is refused"),)*
                        $($may: data.$may(),)*
                    }),)+
                }
            }
        }
    };
}

kinds! {
    /// Data came to the company. Where it came from is required, since GDPR Articles 13 and 14 differ by it.
    DataCollected = "data.collected":
        needs [categories, purposes, origin]
        may [legal_basis, notice, description, benefit, retention, consent, contract, method, payload,
             series];
    /// Somebody of the company, or working for it, looked at or used the data.
    DataAccessed = "data.accessed":
        needs [categories, purposes]
        may [recipient, legal_basis, description, consent, method, series, request];
    /// New data about the customer was made from other data: a score, a segment, a guess.
    DataDerived = "data.derived":
        needs [categories, purposes]
        may [legal_basis, origin, notice, description, benefit, retention, consent, contract, method,
             payload];
    /// Data was given to a processor, a joint controller or an affiliate. Required are the recipient, what and
    /// what for (GDPR Articles 15 and 30); a legal basis is not, because the laws of other countries know none.
    DataShared = "data.shared":
        needs [recipient, categories, purposes]
        may [legal_basis, notice, description, benefit, retention, country, safeguard, sale, consent,
             onward_of, payload, series, contract, method, request];
    /// Data was given to a third party or an authority. What it must tell is the same as for sharing.
    DataTransferred = "data.transferred":
        needs [recipient, categories, purposes]
        may [legal_basis, notice, description, benefit, retention, country, safeguard, sale, consent,
             onward_of, payload, series, contract, method, request];
    /// A recipient's own word that it received a disclosure.
    DataReceived = "data.received":
        needs [recipient, disclosure]
        may [categories, purposes, description, retention, country, onward_of, payload, method, outcome];
    /// Data was put right. The event by which the wrong data had come can be named; data older than the ledger
    /// has none.
    DataCorrected = "data.corrected":
        needs [categories]
        may [purposes, origin, description, payload, method, request, corrects];
    /// A disclosure that was told did not happen after all.
    DisclosureFailed = "disclosure.failed":
        needs [disclosure, outcome]
        may [recipient, categories, purposes, description, method];
    /// The customer consented. The purposes are required: consent to anything is none (GDPR Article 4(11)).
    ConsentGiven = "consent.given":
        needs [purposes]
        may [categories, recipient, legal_basis, notice, description, benefit, retention, country, sale,
             method];
    /// The customer was asked for consent and refused.
    ConsentRefused = "consent.refused":
        needs [purposes]
        may [categories, recipient, notice, description, method];
    /// The customer withdrew a consent. Withdrawing one purpose of several names that purpose.
    ConsentWithdrawn = "consent.withdrawn":
        needs [consent]
        may [purposes, categories, recipient, description, outcome, method, request];
    /// A consent ended by itself.
    ConsentExpired = "consent.expired":
        needs [consent]
        may [purposes, categories, recipient, description, outcome];
    /// The customer set how their data may be used, such as an opt-out of its sale.
    PreferenceChanged = "preference.changed":
        needs [purposes, outcome]
        may [categories, recipient, notice, description, sale, method, request];
    /// The customer asked for a right.
    RequestOpened = "request.opened":
        needs [request]
        may [categories, recipient, disclosure, description, method];
    /// A request went on: verified, prolonged, passed on.
    RequestUpdated = "request.updated":
        needs [request]
        may [description, outcome, method];
    /// A request was answered. The outcome is required: done, or refused and why.
    RequestClosed = "request.closed":
        needs [request, outcome]
        may [categories, description, method];
    /// A recipient was told of a correction, an erasure, a restriction or an objection (GDPR Article 19).
    RecipientNotified = "recipient.notified":
        needs [recipient]
        may [categories, consent, disclosure, description, outcome, method, request, corrects];
    /// A recipient confirmed that it did what it was told.
    RecipientConfirmed = "recipient.confirmed":
        needs [recipient]
        may [categories, consent, disclosure, description, outcome, method, request, corrects];
    /// The customer became one.
    RelationshipStarted = "relationship.started":
        needs []
        may [categories, purposes, legal_basis, origin, notice, description, benefit, contract, method];
    /// The customer ceased to be one.
    RelationshipEnded = "relationship.ended":
        needs []
        may [description, outcome, retention, contract, method];
    /// The customer was told of a breach: what data and what happened (GDPR Article 34).
    BreachNotified = "breach.notified":
        needs [categories, description]
        may [recipient, notice, country, outcome, disclosure, method];
    /// The customer disputes what the trail says or lacks.
    DisputeOpened = "dispute.opened":
        needs [description]
        may [categories, purposes, recipient, disclosure, method, request];
    /// A dispute was settled.
    DisputeResolved = "dispute.resolved":
        needs [outcome]
        may [description, disclosure, method, request];
    /// An earlier event told something wrong. The fields given here are the right ones; fields left out stay as
    /// they were told.
    EventCorrected = "event.corrected":
        needs [corrects, description]
        may [categories, purposes, legal_basis, recipient, origin, notice, benefit, retention, country,
             safeguard, sale, consent, onward_of, disclosure, outcome, payload, series, contract,
             method, request];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why a content's `type` is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TypeFault<'t> {
    /// It does not read `org.sharetrail.<kind>.v<N>`.
    Form,
    /// There is no such kind.
    Kind(&'t str),
    /// The kind has no such version.
    Version(Kind, &'t str),
}

impl Kind {
    /// Reads a content's `type`.
    pub(crate) fn from_type(text: &str) -> Result<(Self, Version), TypeFault<'_>> {
        let name = text.strip_prefix(TYPE_PREFIX).ok_or(TypeFault::Form)?;
        let (name, version) = name.rsplit_once(".v").ok_or(TypeFault::Form)?;
        let kind = Self::from_name(name).ok_or(TypeFault::Kind(name))?;
        let version = Version::from_digits(version).ok_or(TypeFault::Version(kind, version))?;
        Ok((kind, version))
    }

    /// The `type` of a content of this kind in its newest version, such as `org.sharetrail.data.shared.v1`.
    pub fn type_name(self) -> String {
        format!("{TYPE_PREFIX}{self}.v1")
    }

    /// The known kind that a misspelt name probably means.
    pub(crate) fn nearest(found: &str) -> Option<&'static str> {
        nearest(found, Self::ALL.iter().map(|kind| kind.name()))
    }

    /// The members of its `data`, the required ones first.
    pub(crate) fn members(self) -> Vec<Member> {
        let needs = self
            .needs()
            .iter()
            .map(|field| Member::required(field.name(), field.shape()));
        let may = self
            .may()
            .iter()
            .map(|field| Member::optional(field.name(), field.shape()));
        needs.chain(may).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read() {
        assert_eq!(
            Kind::from_type("org.sharetrail.data.shared.v1"),
            Ok((Kind::DataShared, Version::V1))
        );
        assert_eq!(
            Kind::from_type("com.example.data.shared.v1"),
            Err(TypeFault::Form)
        );
        assert_eq!(
            Kind::from_type("org.sharetrail.data.shared"),
            Err(TypeFault::Form)
        );
        assert_eq!(
            Kind::from_type("org.sharetrail.data.shred.v1"),
            Err(TypeFault::Kind("data.shred"))
        );
        let later = Err(TypeFault::Version(Kind::DataShared, "2"));
        assert_eq!(Kind::from_type("org.sharetrail.data.shared.v2"), later);
        assert_eq!(Kind::nearest("data.shred"), Some("data.shared"));
    }

    #[test]
    fn no_kind_names_a_field_twice() {
        for &kind in Kind::ALL {
            let bits = kind
                .needs()
                .iter()
                .chain(kind.may())
                .fold(0, |bits, field| bits | field.bit());
            assert_eq!(bits.count_ones() as usize, kind.members().len(), "{kind}");
            assert_eq!(Kind::from_type(&kind.type_name()), Ok((kind, Version::V1)));
        }
    }
}
