//! Findings: disclosures that rest on a consent which was not there.
//!
//! A disclosure rests on consent if it names a consent event or a legal basis that is consent. Which consent
//! it is: the one it names; otherwise any that covers its purposes. Terms are compared as they are: the
//! vocabulary's broader and narrower terms are not known here, so a disclosure that names no consent is given
//! the benefit of the doubt if some consent stood at that time.
//!
//! In scope: what is sure by the events of the trail alone. Where some of them do not open, nothing is
//! concluded from what is missing. Out of scope: whether another legal basis would have done; which countries
//! need a safeguard.
//! Trust: the times and references are their producers' word.

use serde::Serialize;
use sharetrail_schemas::{Kind, Timestamp};

use super::TrailEvent;
use super::event::shown;

/// What is wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// The data was disclosed before the consent that it rests on was given.
    BeforeConsent {
        /// When the consent was given.
        #[serde(serialize_with = "shown")]
        given: Timestamp,
    },
    /// The data was disclosed after that consent had been withdrawn.
    AfterWithdrawal {
        /// When it was withdrawn.
        #[serde(serialize_with = "shown")]
        withdrawn: Timestamp,
    },
    /// The data was disclosed, and no consent stood.
    WithoutConsent {
        /// Why none did.
        why: NoConsent,
    },
}

/// Why no consent stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NoConsent {
    /// There is none on record.
    NoneOnRecord,
    /// The customer was asked and refused.
    Refused,
    /// It had ended by itself.
    Expired,
}

/// Fills in the findings of all events, and which disclosures did not happen. `complete`: all of the
/// customer's events are among them.
pub(super) fn judge(events: &mut [TrailEvent], complete: bool) {
    let failures: Vec<&TrailEvent> = events
        .iter()
        .filter(|event| event.kind == Kind::DisclosureFailed)
        .collect();
    let failed: Vec<bool> = events.iter().map(|event| has_failed(event, &failures)).collect();
    for (event, failed) in events.iter_mut().zip(failed) {
        event.failed = failed;
    }
    let consents = Consents::among(events, complete);
    let findings: Vec<Option<Finding>> = events.iter().map(|event| consents.finding(event)).collect();
    for (event, finding) in events.iter_mut().zip(findings) {
        event.findings.extend(finding);
    }
}

fn has_failed(event: &TrailEvent, failures: &[&TrailEvent]) -> bool {
    let names_it = |failure: &&TrailEvent| {
        let reference = failure.disclosure.as_ref();
        reference.is_some_and(|reference| event.is_named_by(reference, failure))
    };
    event.is_disclosure() && failures.iter().any(names_it)
}

/// The events that give, refuse and end consent.
struct Consents<'a> {
    given: Vec<&'a TrailEvent>,
    refused: Vec<&'a TrailEvent>,
    ended: Vec<&'a TrailEvent>,
    complete: bool,
}

/// How a consent ended for a disclosure.
#[derive(Clone, Copy)]
struct End {
    time: Timestamp,
    is_withdrawal: bool,
}

impl<'a> Consents<'a> {
    fn among(events: &'a [TrailEvent], complete: bool) -> Self {
        let all = |kinds: &[Kind]| -> Vec<&'a TrailEvent> {
            events
                .iter()
                .filter(|event| kinds.contains(&event.kind))
                .collect()
        };
        Self {
            given: all(&[Kind::ConsentGiven]),
            refused: all(&[Kind::ConsentRefused]),
            ended: all(&[Kind::ConsentWithdrawn, Kind::ConsentExpired]),
            complete,
        }
    }

    fn finding(&self, event: &TrailEvent) -> Option<Finding> {
        if event.disclosures() == 0 || !rests_on_consent(event) {
            return None;
        }
        let is_named = |other: &TrailEvent| {
            event
                .consent
                .as_ref()
                .is_some_and(|named| other.is_named_by(named, event))
        };
        if event.consent.is_some() {
            let consents: Vec<_> = self
                .given
                .iter()
                .copied()
                .filter(|consent| is_named(consent))
                .collect();
            let refused = self.refused.iter().any(|refusal| is_named(refusal));
            self.judge(event, &consents, refused)
        } else if self.complete {
            let refused = self
                .refused
                .iter()
                .any(|refusal| shares_a_purpose(refusal, event));
            self.judge(event, &self.that_may_cover(event), refused)
        } else {
            None
        }
    }

    /// The consents that name all purposes of the disclosure. If none of them had been given by then and
    /// others had, all: one of those may be broader.
    fn that_may_cover(&self, event: &TrailEvent) -> Vec<&'a TrailEvent> {
        let covers = |consent: &TrailEvent| {
            event
                .purposes
                .iter()
                .all(|purpose| consent.purposes.contains(purpose))
        };
        let covering: Vec<_> = self
            .given
            .iter()
            .copied()
            .filter(|consent| covers(consent))
            .collect();
        let was_given = |consent: &&TrailEvent| consent.time <= event.span().0;
        if !covering.iter().any(was_given) && self.given.iter().any(was_given) {
            return self.given.clone();
        }
        covering
    }

    /// What follows if these are the consents that the disclosure can rest on.
    fn judge(&self, event: &TrailEvent, consents: &[&TrailEvent], refused: bool) -> Option<Finding> {
        let (first, last) = event.span();
        let standing = consents.iter().filter(|consent| consent.time <= first);
        let ends: Vec<Option<End>> = standing
            .map(|consent| self.end_of(consent, event, last))
            .collect();
        if ends.iter().any(Option::is_none) {
            return None;
        }
        if let Some(end) = ends.into_iter().flatten().max_by_key(|end| end.time) {
            return Some(end.finding());
        }
        if let Some(given) = consents.iter().map(|consent| consent.time).min() {
            return Some(Finding::BeforeConsent { given });
        }
        let without = |why| Some(Finding::WithoutConsent { why });
        if refused {
            return without(NoConsent::Refused);
        }
        if self.complete {
            without(NoConsent::NoneOnRecord)
        } else {
            None
        }
    }

    /// How `consent` had ended for the disclosure before `last`, the earliest end of several.
    fn end_of(&self, consent: &TrailEvent, event: &TrailEvent, last: Timestamp) -> Option<End> {
        let ends = self.ended.iter().filter(|end| {
            let named = end
                .consent
                .as_ref()
                .is_some_and(|reference| consent.is_named_by(reference, end));
            named && end.time < last && end.time >= consent.time && ends_it(end, consent, event)
        });
        let first = ends.min_by_key(|end| end.time)?;
        Some(End {
            time: first.time,
            is_withdrawal: first.kind == Kind::ConsentWithdrawn,
        })
    }
}

impl End {
    fn finding(self) -> Finding {
        if self.is_withdrawal {
            Finding::AfterWithdrawal { withdrawn: self.time }
        } else {
            Finding::WithoutConsent {
                why: NoConsent::Expired,
            }
        }
    }
}

/// Without purposes an end is the whole consent's; with purposes it is that of the disclosures for one of
/// them, or of the consent if it names all that the consent named.
fn ends_it(end: &TrailEvent, consent: &TrailEvent, event: &TrailEvent) -> bool {
    end.purposes.is_empty()
        || shares_a_purpose(end, event)
        || consent
            .purposes
            .iter()
            .all(|purpose| end.purposes.contains(purpose))
}

fn shares_a_purpose(one: &TrailEvent, other: &TrailEvent) -> bool {
    one.purposes
        .iter()
        .any(|purpose| other.purposes.contains(purpose))
}

fn rests_on_consent(event: &TrailEvent) -> bool {
    event.consent.is_some() || event.legal_basis.as_deref().is_some_and(is_consent)
}

/// GDPR Articles 6(1)(a) and 9(2)(a), and the vocabularies' own terms for consent.
fn is_consent(basis: &str) -> bool {
    const TERMS: [&str; 9] = [
        "eu-gdpr:A6-1-a",
        "eu-gdpr:A6-1-a-explicit-consent",
        "eu-gdpr:A6-1-a-non-explicit-consent",
        "eu-gdpr:A9-2-a",
        "eu-gdpr:Consent",
        "dpv:Consent",
        "dpv:ExpressedConsent",
        "dpv:ExplicitlyExpressedConsent",
        "dpv:InformedConsent",
    ];
    TERMS.contains(&basis)
}

#[cfg(test)]
mod tests;
