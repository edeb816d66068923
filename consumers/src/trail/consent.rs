//! Findings: disclosures that rest on a consent which was not there, or that the customer had refused.
//!
//! A disclosure rests on consent if it names a consent event or a legal basis that is consent. Which consent
//! it is: the one it names; otherwise any that covers its purposes. Terms are compared as they are: the
//! vocabulary's broader and narrower terms are not known here, so a disclosure that names no consent is given
//! the benefit of the doubt if some consent stood at that time.
//!
//! An end that names a recipient ends the consent for that recipient only. What the customer refused is read from the
//! same words as choices are (see [`crate::choices`]): a disclosure is against them where nothing stood for its
//! recipient and purpose, and the last word on these was a no. A disclosure that names another legal basis is not
//! held against them.
//!
//! Disclosures are judged twice: with all events as their producers put them right (see [`crate::choices`]), and with all
//! as they were told. What holds as it was put right is a finding. What holds only as it was told stays one, marked as
//! corrected away: nobody writes a finding off unseen, by correcting the disclosure or the consent that it rests on. What
//! held only in between is in the trail, and no finding. What did not happen is judged neither way; that it did not counts
//! only from the producer that told it.
//!
//! In scope: what is sure by the events of the trail alone. Where some of them do not open, nothing is
//! concluded from what is missing. Out of scope: whether another legal basis would have done; which countries
//! need a safeguard.
//! Trust: the times and references are their producers' word.

use std::collections::HashMap;

use serde::Serialize;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_schemas::{Kind, Timestamp};
use utoipa::ToSchema;

use super::event::shown;
use super::{TrailEvent, TrailReference, Unopened, UnopenedState};
use crate::choices::{Corrected, Corrections, DecisionReason, Denial, Said, Scope, Words};

/// What is wrong with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "finding", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// The data was disclosed before the consent that it rests on was given.
    BeforeConsent {
        /// When the consent was given.
        #[serde(serialize_with = "shown")]
        #[schema(value_type = String, format = DateTime)]
        given: Timestamp,
    },
    /// The data was disclosed after that consent had been withdrawn.
    AfterWithdrawal {
        /// When it was withdrawn.
        #[serde(serialize_with = "shown")]
        #[schema(value_type = String, format = DateTime)]
        withdrawn: Timestamp,
    },
    /// The data was disclosed, and no consent stood.
    WithoutConsent {
        /// Why none did.
        why: NoConsent,
    },
    /// The data was disclosed to a recipient, or for a purpose, that the customer had refused.
    AgainstChoice {
        /// When it was refused.
        #[serde(serialize_with = "shown")]
        #[schema(value_type = String, format = DateTime)]
        refused: Timestamp,
    },
}

/// What is wrong with an event, and whether it is so still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct TrailFinding {
    /// What is wrong.
    #[serde(flatten)]
    pub finding: Finding,
    /// Whether it is so only with the events as they were told first, and no longer as their producers put them right;
    /// left out where not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub corrected_away: bool,
}

impl From<Finding> for TrailFinding {
    fn from(finding: Finding) -> Self {
        Self {
            finding,
            corrected_away: false,
        }
    }
}

/// Why no consent stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
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

/// How many of the customer's events are there to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// All of them.
    All,
    /// All since the customer was erased.
    SinceErasure,
    /// Not all: some do not open.
    Part,
}

impl Known {
    /// What is known beside these.
    pub(super) fn beside(unopened: &[Unopened]) -> Self {
        if unopened.is_empty() {
            Self::All
        } else if unopened.iter().all(|one| one.state == UnopenedState::Erased) {
            Self::SinceErasure
        } else {
            Self::Part
        }
    }
}

/// Fills in the findings of all events, where they were put right, and which disclosures did not happen.
pub(super) fn judge(events: &mut [TrailEvent], known: Known) {
    let marks = marks(events);
    for (event, (failed, corrected_at)) in events.iter_mut().zip(marks) {
        event.failed = failed;
        event.corrected_at = corrected_at;
    }
    let findings = findings(events, known);
    for (event, found) in events.iter_mut().zip(findings) {
        event.findings.extend(found);
    }
}

/// Whether it failed and where it was put right, event by event.
fn marks(events: &[TrailEvent]) -> Vec<(bool, Vec<LeafIndex>)> {
    let corrections = Corrections::among(events);
    let mut failures: HashMap<&str, Vec<(&TrailReference, &TrailEvent)>> = HashMap::new();
    for failure in events.iter().filter(|event| event.kind == Kind::DisclosureFailed) {
        let failure = corrections.apply(failure);
        if let Some((reference, from)) = failure.reference(|told| told.disclosure.as_ref()) {
            failures.entry(&reference.id).or_default().push((reference, from));
        }
    }
    let has_failed = |event: &TrailEvent| {
        let mut named = failures.get(event.id.as_str()).into_iter().flatten();
        let is_it = |(reference, from): &(&TrailReference, &TrailEvent)| {
            from.is_by_the_producer_of(event) && event.is_named_by(reference, from)
        };
        event.is_disclosure() && named.any(is_it)
    };
    events
        .iter()
        .map(|event| (has_failed(event), corrections.apply(event).corrected_at()))
        .collect()
}

/// What is wrong, event by event: as it was put right, then what was so only as it was told.
fn findings(events: &[TrailEvent], known: Known) -> Vec<Vec<TrailFinding>> {
    let corrections = Corrections::among(events);
    let right = judged(events, &corrections, known);
    let told = if corrections.is_empty() {
        right.clone()
    } else {
        judged(events, &Corrections::default(), known)
    };
    let merge = |(right, told): (Option<Finding>, Option<Finding>)| {
        let away = told.filter(|told| right != Some(*told));
        let away = away.map(|finding| TrailFinding {
            finding,
            corrected_away: true,
        });
        right.map(TrailFinding::from).into_iter().chain(away).collect()
    };
    right.into_iter().zip(told).map(merge).collect()
}

/// What is wrong with each event as these corrections put all of them right.
fn judged<'a>(events: &'a [TrailEvent], corrections: &Corrections<'a>, known: Known) -> Vec<Option<Finding>> {
    let right: Vec<Corrected<'_>> = events.iter().map(|event| corrections.apply(event)).collect();
    let consents = Consents::among(&right, known == Known::All);
    // A word that does not open may have lifted a no.
    let has_a_no = known != Known::Part && events.iter().any(can_say_no);
    let words = has_a_no.then(|| Words::put_right(events, corrections));
    let finding = |event: &Corrected<'_>| {
        let against = || words.as_ref().and_then(|words| against_choice(words, event));
        consents.finding(event).or_else(against)
    };
    right.iter().map(finding).collect()
}

fn can_say_no(event: &TrailEvent) -> bool {
    matches!(
        event.kind,
        Kind::ConsentRefused | Kind::ConsentWithdrawn | Kind::PreferenceChanged
    )
}

/// A disclosure that the customer had refused by then: its recipient, or one of its purposes.
fn against_choice(words: &Words, event: &Corrected<'_>) -> Option<Finding> {
    let has_another_basis = !rests_on_consent(event) && event.legal_basis.is_some();
    if event.disclosures() == 0 || has_another_basis {
        return None;
    }
    let recipient = event.recipient.as_ref()?;
    let said = words.until(event.span().1);
    let refusals = event.purposes.iter().filter_map(|purpose| {
        let scope = Scope {
            recipient: Some(&recipient.id),
            purpose,
        };
        let denial = said.denial(scope)?;
        (is_a_refusal(&denial, event) && !is_lifted(said, &denial, event)).then_some(denial.word.time)
    });
    refusals.min().map(|refused| Finding::AgainstChoice { refused })
}

/// Whether the denial speaks against this disclosure. Of a withdrawal that names no recipient, a disclosure that
/// rests on consent has been judged already, by the consents that it can rest on.
fn is_a_refusal(denial: &Denial<'_>, event: &TrailEvent) -> bool {
    match denial.reason {
        DecisionReason::Refused => true,
        DecisionReason::Withdrawn => denial.word.recipient.is_some() || !rests_on_consent(event),
        _ => false,
    }
}

/// Whether the consent that the disclosure names was given after the no. It may be for a broader purpose, and counts as
/// covering this one.
fn is_lifted(said: Said<'_>, denial: &Denial<'_>, event: &Corrected<'_>) -> bool {
    let Some((reference, from)) = event.consent_named() else {
        return false;
    };
    let recipient = event.recipient.as_ref().map(|recipient| recipient.id.as_str());
    said.consents_named(reference, from).any(|(position, consent)| {
        let fits = match consent.recipient.as_deref() {
            Some(named) => recipient == Some(named),
            None => denial.word.recipient.is_none(),
        };
        position > denial.position && fits
    })
}

/// The events that give, refuse and end consent.
struct Consents<'a> {
    given: Vec<&'a Corrected<'a>>,
    refused: Vec<&'a Corrected<'a>>,
    ended: Vec<&'a Corrected<'a>>,
    complete: bool,
}

/// How a consent ended for a disclosure.
#[derive(Clone, Copy)]
struct End {
    time: Timestamp,
    is_withdrawal: bool,
}

impl<'a> Consents<'a> {
    fn among(events: &'a [Corrected<'a>], complete: bool) -> Self {
        let all = |kinds: &[Kind]| -> Vec<&'a Corrected<'a>> {
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

    fn finding(&self, event: &Corrected<'_>) -> Option<Finding> {
        if event.disclosures() == 0 || !rests_on_consent(event) {
            return None;
        }
        if let Some((named, from)) = event.consent_named() {
            let is_named = |other: &TrailEvent| other.is_named_by(named, from);
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
    fn that_may_cover(&self, event: &TrailEvent) -> Vec<&'a Corrected<'a>> {
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
        let any_was_given =
            |consents: &[&Corrected<'_>]| consents.iter().any(|consent| consent.time <= event.span().0);
        if !any_was_given(&covering) && any_was_given(&self.given) {
            return self.given.clone();
        }
        covering
    }

    /// What follows if these are the consents that the disclosure can rest on.
    fn judge(&self, event: &TrailEvent, consents: &[&Corrected<'_>], refused: bool) -> Option<Finding> {
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
            let named = end.consent_named();
            let named = named.is_some_and(|(reference, from)| consent.is_named_by(reference, from));
            let is_meant = named && is_for_its_recipient(end, event);
            is_meant && end.time < last && end.time >= consent.time && ends_it(end, consent, event)
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

/// Without a recipient an end is for all of them.
fn is_for_its_recipient(end: &TrailEvent, event: &TrailEvent) -> bool {
    let named = end.recipient.as_ref();
    named.is_none_or(|named| event.recipient.as_ref().is_some_and(|to| to.id == named.id))
}

fn shares_a_purpose(one: &TrailEvent, other: &TrailEvent) -> bool {
    one.purposes
        .iter()
        .any(|purpose| other.purposes.contains(purpose))
}

/// Whether what the event tells rests on consent, by its own word.
pub(crate) fn rests_on_consent(event: &TrailEvent) -> bool {
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
