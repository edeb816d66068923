//! What a customer chose: for which purposes and to which recipients their data may go.
//!
//! Choices are folded from the events of a trail, as their producers put them right (`corrections`): consent given,
//! refused, withdrawn and expired, and preferences. A customer changes one by recording further events, and a service
//! asks before it shares.
//!
//! In scope: the fold, the choices to show, the answer to a service's question here or at a server, the contents that
//! change a choice. Out of scope: recording them, showing them, findings about what was shared (see the trail).
//!
//! Trust: as the trail's: times and references are their producers' word. Terms are compared as they are; broader and
//! narrower ones are not known here, so consent to `dpv:Marketing` is none to `dpv:DirectMarketing`. In doubt the
//! answer is no.

mod authorize;
mod change;
mod corrections;
mod decide;
mod fold;
mod remote;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sharetrail_schemas::{Kind, Timestamp};
use utoipa::ToSchema;

pub use self::authorize::Authorizer;
pub(crate) use self::change::Draft;
pub use self::change::{ChoiceChange, ChoiceError, ChoiceOf, Origin};
pub(crate) use self::corrections::{Corrected, Corrections};
use self::decide::Basis;
pub use self::decide::{Authorize, Decision, DecisionReason, Horizon, OwnedQuestion, Question};
use self::fold::Word;
pub(crate) use self::fold::{Denial, Said, Scope, Words};
pub use self::remote::RemoteAuthorizer;
use crate::trail::{Trail, TrailEvent, TrailRecipient, TrailReference, rests_on_consent, shown_if_any};

/// What one customer chose, as far as the trail goes.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[non_exhaustive]
pub struct Choices {
    /// By purpose: every one that data was handled for or that the customer was asked about.
    pub purposes: Vec<PurposeChoice>,
    /// By recipient's id: every one that received data or that a consent or a refusal names.
    pub recipients: Vec<RecipientChoice>,
    #[serde(skip)]
    basis: Basis,
}

/// How it stands with a purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct PurposeChoice {
    /// The purpose, in short form.
    pub purpose: String,
    /// Allowed where consent to it stands, be it for one recipient only.
    pub state: ChoiceState,
    /// Since when it is so; none where the customer was never asked.
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// The event that decides.
    pub by: Option<TrailReference>,
    /// The categories of data that were handled for it or that consent to it names, sorted.
    pub categories: Vec<String>,
    /// The ids of those who received data for it, sorted.
    pub recipients: Vec<String>,
    /// Whether the customer's choice decides. Where not, data is handled for it because of a contract or a law, and it
    /// cannot be switched.
    pub rests_on_consent: bool,
    /// The other legal bases that events name for it, in short form, sorted.
    pub legal_bases: Vec<String>,
}

/// How it stands with a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct RecipientChoice {
    /// Who, as told last.
    pub recipient: TrailRecipient,
    /// Allowed where consent lets it receive data for one of its purposes. Refused where none does and the customer
    /// said no to it, or to its purposes.
    pub state: ChoiceState,
    /// Since when it is so; none where the customer was never asked.
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// The event that decides.
    pub by: Option<TrailReference>,
    /// The purposes that it received data for, or that words of the customer about it name, sorted.
    pub purposes: Vec<String>,
    /// The categories that it received, sorted.
    pub categories: Vec<String>,
    /// Whether the customer's choice decides. Where not, all that it received rests on a contract or a law.
    pub steerable: bool,
    /// The purposes that the customer's choice about it is for.
    #[serde(skip)]
    steered: Vec<String>,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChoiceState {
    /// Consent stands.
    Allowed,
    /// None does: the customer refused or withdrew it.
    Refused,
    /// None does, and the customer did not say no: never asked, or what was given has expired.
    NeverAsked,
}

impl Choices {
    /// What the customer of this trail chose.
    pub fn of(trail: &Trail) -> Self {
        let basis = Basis::of(trail);
        let corrections = Corrections::among(&trail.events);
        let events: Vec<Corrected<'_>> = trail
            .events
            .iter()
            .map(|event| corrections.apply(event))
            .collect();
        Self {
            purposes: purposes(&events, basis.words.all()),
            recipients: recipients(&events, basis.words.all()),
            basis,
        }
    }

    /// Whether data may be shared, by these choices alone; the question's customer is taken to be theirs. `horizon`:
    /// how far the trail looked.
    pub fn decide(&self, question: &Question<'_>, horizon: Horizon) -> Decision {
        self.basis.decide(question, horizon)
    }
}

/// What happens for a purpose.
#[derive(Default)]
struct Flow<'a> {
    categories: BTreeSet<&'a str>,
    recipients: BTreeSet<&'a str>,
    legal_bases: BTreeSet<&'a str>,
    rests_on_consent: bool,
}

fn purposes(events: &[Corrected<'_>], said: Said<'_>) -> Vec<PurposeChoice> {
    let flows = flows(events, said);
    let choices = flows.iter().map(|(purpose, flow)| flow.choice(purpose, said));
    choices.collect()
}

fn recipients(events: &[Corrected<'_>], said: Said<'_>) -> Vec<RecipientChoice> {
    let parties = parties(events, said);
    let choices = parties.iter().map(|(id, party)| party.choice(id, said));
    choices.collect()
}

fn flows<'a>(events: &'a [Corrected<'_>], said: Said<'a>) -> BTreeMap<&'a str, Flow<'a>> {
    let mut flows: BTreeMap<&str, Flow<'_>> = BTreeMap::new();
    for event in events.iter().filter(|event| is_handling(event)) {
        for purpose in &event.purposes {
            let flow = flows.entry(purpose).or_default();
            flow.categories
                .extend(event.categories.iter().map(String::as_str));
            if event.is_disclosure() {
                flow.recipients
                    .extend(event.recipient.as_ref().map(|to| to.id.as_str()));
            }
            flow.rests_on_consent |= is_steered(event);
            if !rests_on_consent(event) {
                flow.legal_bases.extend(event.legal_basis.as_deref());
            }
        }
    }
    for word in said.words() {
        for purpose in &word.purposes {
            let flow = flows.entry(purpose).or_default();
            flow.rests_on_consent = true;
            flow.categories.extend(word.categories.iter().map(String::as_str));
        }
    }
    flows
}

/// Whether the event tells that data was handled.
fn is_handling(event: &TrailEvent) -> bool {
    let handles = matches!(
        event.kind,
        Kind::DataCollected
            | Kind::DataAccessed
            | Kind::DataDerived
            | Kind::DataShared
            | Kind::DataTransferred
    );
    handles && !event.failed
}

/// Whether the customer's choice decides about what the event tells. A disclosure that names no legal basis has only
/// consent left to rest on.
fn is_steered(event: &TrailEvent) -> bool {
    rests_on_consent(event) || (event.is_disclosure() && event.legal_basis.is_none())
}

impl Flow<'_> {
    fn choice(&self, purpose: &str, said: Said<'_>) -> PurposeChoice {
        let scope = Scope {
            recipient: None,
            purpose,
        };
        let standing = said.standing_for_somebody(purpose);
        let (state, word) = how_it_stands(standing.last().copied(), said.last_denial(scope));
        PurposeChoice {
            purpose: purpose.to_owned(),
            state,
            since: word.map(|word| word.time),
            by: word.map(|word| word.name.clone()),
            categories: owned(&self.categories),
            recipients: owned(&self.recipients),
            rests_on_consent: self.rests_on_consent,
            legal_bases: owned(&self.legal_bases),
        }
    }
}

/// What a recipient has to do with the customer.
struct Party<'a> {
    told_last: &'a TrailRecipient,
    purposes: BTreeSet<&'a str>,
    categories: BTreeSet<&'a str>,
    steered: BTreeSet<&'a str>,
}

fn parties<'a>(events: &'a [Corrected<'_>], said: Said<'a>) -> BTreeMap<&'a str, Party<'a>> {
    let mut parties: BTreeMap<&str, Party<'_>> = BTreeMap::new();
    let named: BTreeSet<&str> = said
        .words()
        .filter_map(|word| word.recipient.as_deref())
        .collect();
    for event in events {
        let Some(recipient) = &event.recipient else {
            continue;
        };
        let is_disclosure = event.disclosures() > 0;
        if !is_disclosure && !named.contains(recipient.id.as_str()) {
            continue;
        }
        let party = parties
            .entry(&recipient.id)
            .or_insert_with(|| Party::new(recipient));
        party.told_last = recipient;
        if is_disclosure {
            party.receives(event, said);
        }
    }
    for word in said.words() {
        let party = word.recipient.as_deref().and_then(|id| parties.get_mut(id));
        if let Some(party) = party {
            party.purposes.extend(word.purposes.iter().map(String::as_str));
            party.steered.extend(word.purposes.iter().map(String::as_str));
        }
    }
    parties
}

impl<'a> Party<'a> {
    fn new(recipient: &'a TrailRecipient) -> Self {
        Self {
            told_last: recipient,
            purposes: BTreeSet::new(),
            categories: BTreeSet::new(),
            steered: BTreeSet::new(),
        }
    }

    fn receives(&mut self, event: &'a Corrected<'_>, said: Said<'a>) {
        self.purposes.extend(event.purposes.iter().map(String::as_str));
        self.categories
            .extend(event.categories.iter().map(String::as_str));
        if is_steered(event) {
            self.steered.extend(event.purposes.iter().map(String::as_str));
        }
        // What it rests on may have been given for a broader purpose.
        if let Some((reference, from)) = event.consent_named() {
            for (_, consent) in said.consents_named(reference, from) {
                self.steered.extend(consent.purposes.iter().map(String::as_str));
            }
        }
    }

    fn choice(&self, id: &str, said: Said<'_>) -> RecipientChoice {
        let scope = |purpose| Scope {
            recipient: Some(id),
            purpose,
        };
        let scopes: Vec<Scope<'_>> = self.steered.iter().copied().map(scope).collect();
        let standing = scopes
            .iter()
            .filter_map(|&scope| said.standing(scope).last().copied());
        let denials = scopes.iter().filter_map(|&scope| said.last_denial(scope));
        let (state, word) = how_it_stands(
            standing.max_by_key(|word| word.time),
            denials.max_by_key(|denial| denial.position),
        );
        RecipientChoice {
            recipient: self.told_last.clone(),
            state,
            since: word.map(|word| word.time),
            by: word.map(|word| word.name.clone()),
            purposes: owned(&self.purposes),
            categories: owned(&self.categories),
            steerable: !self.steered.is_empty(),
            steered: owned(&self.steered),
        }
    }
}

/// How it stands, and by which word: the consent that stands, otherwise the last word against it.
fn how_it_stands<'a>(
    standing: Option<&'a Word>,
    denial: Option<Denial<'a>>,
) -> (ChoiceState, Option<&'a Word>) {
    match (standing, denial) {
        (Some(word), _) => (ChoiceState::Allowed, Some(word)),
        (None, Some(denial)) if denial.reason != DecisionReason::Expired => {
            (ChoiceState::Refused, Some(denial.word))
        }
        (None, _) => (ChoiceState::NeverAsked, None),
    }
}

fn owned(terms: &BTreeSet<&str>) -> Vec<String> {
    terms.iter().map(|term| (*term).to_owned()).collect()
}

#[cfg(test)]
mod tests;
