//! Changing a choice: which events to record so that it is as the customer wants it.
//!
//! A purpose and a recipient are chosen apart, and both must be on for data to flow. So what turns a recipient on gives
//! consent only for purposes that are not off, and what turns a purpose on brings no recipient back that is off.
//!
//! In scope: the contents of those events, checked. Out of scope: recording them, whose the customer is.
//! Trust: the caller knows that it is the customer's own wish; ids and the time are the caller's. An event that the new
//! ones must overrule may be ahead of the caller's clock (by a day at most): they then bear its time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sharetrail_proof::name::Name;
use sharetrail_schemas::{ContentError, Field, Kind, Timestamp, short_form};
use thiserror::Error;
use utoipa::ToSchema;

use super::decide::DecisionReason;
use super::fold::{OPT_IN, Said, Saying, Scope, Word};
use super::{ChoiceState, Choices, RecipientChoice};
use crate::trail::{TrailRecipient, TrailReference};

/// By which means choices are made, as events say it.
const METHOD: &str = "the customer's own choice in Sharetrail";

/// What a choice is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChoiceOf {
    /// A purpose, for all recipients: a term of `dpv`, short or in full.
    Purpose(String),
    /// A recipient, for all purposes: the name by which events know it.
    Recipient(String),
}

/// What a choice is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChoiceChange {
    /// Which choice.
    pub of: ChoiceOf,
    /// Whether the customer allows it.
    pub allowed: bool,
}

/// Where new events come from. Their source is below `https://<producer>/sharetrail/`.
pub struct Origin<'a> {
    /// In whose name they will be signed.
    pub producer: &'a Name,
    /// When the customer said it.
    pub time: Timestamp,
    /// Makes ids, none twice: events of all customers share one source.
    pub id: &'a mut dyn FnMut() -> String,
}

impl Origin<'_> {
    pub(crate) fn source(&self, what: &str) -> String {
        format!("https://{}/sharetrail/{what}", self.producer)
    }

    pub(crate) fn next_id(&mut self) -> String {
        (self.id)()
    }
}

/// Why a wish cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChoiceError {
    /// What was given makes no valid event; the error names the field.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Nobody of that name received the customer's data, or was ever named by a consent.
    #[error("no recipient {recipient:?} in the trail: check its id")]
    UnknownRecipient {
        /// The name as given.
        recipient: String,
    },
    /// Data flows for it because of a contract or a law, not by consent.
    #[error(
        "{what} does not rest on consent, so it cannot be switched; an objection can be asked for as a request"
    )]
    NotSteerable {
        /// The purpose or the recipient.
        what: String,
    },
    /// The request has its answer.
    #[error("request {id:?} is closed already")]
    Closed {
        /// The request's id.
        id: String,
    },
}

/// An event in the making.
pub(crate) struct Draft<'a> {
    kind: Kind,
    customer: &'a str,
    source: String,
    id: String,
    time: Timestamp,
    data: Map<String, Value>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(kind: Kind, customer: &'a str, source: String, id: String, time: Timestamp) -> Self {
        Self {
            kind,
            customer,
            source,
            id,
            time,
            data: Map::new(),
        }
    }

    pub(crate) fn set(mut self, field: Field, value: impl Into<Value>) -> Self {
        self.data.insert(field.name().to_owned(), value.into());
        self
    }

    /// The JSON, checked as it will be when it is recorded, but for the clock.
    pub(crate) fn build(self) -> Result<Vec<u8>, ChoiceError> {
        let event = json!({
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.kind.type_name(),
            "subject": self.customer,
            "time": self.time.to_string(),
            "data": self.data,
        });
        let json = event.to_string().into_bytes();
        sharetrail_schemas::read(&json)?;
        Ok(json)
    }
}

impl Choices {
    /// The events that make a choice what the customer wants; none if it is so already. Each is the JSON of one
    /// content.
    ///
    /// A purpose that is turned off: every consent to it is withdrawn; where none stands, a refusal is recorded. A
    /// recipient that is turned off: every consent that lets it receive is withdrawn for it alone, and what no consent
    /// covers is refused. What is turned on is consented to, with the categories and the notice of the last consent to
    /// it. A recipient whose purposes are off is only taken back from its own refusal.
    ///
    /// # Errors
    /// [`ChoiceError`] where the choice is none of the customer's, or `customer` or an id of `origin` is not valid.
    pub fn contents(
        &self,
        customer: &str,
        change: &ChoiceChange,
        origin: &mut Origin<'_>,
    ) -> Result<Vec<Vec<u8>>, ChoiceError> {
        let said = self.basis.words.all();
        let newest = said.words().next_back().map(|word| word.time);
        let time = newest.map_or(origin.time, |newest| newest.max(origin.time));
        let mut making = Making {
            choices: self,
            said,
            customer,
            time,
            origin,
            made: Vec::new(),
        };
        match (&change.of, change.allowed) {
            (ChoiceOf::Purpose(purpose), true) => making.purpose_on(&short_form(purpose))?,
            (ChoiceOf::Purpose(purpose), false) => making.purpose_off(&short_form(purpose))?,
            (ChoiceOf::Recipient(recipient), true) => making.recipient_on(recipient)?,
            (ChoiceOf::Recipient(recipient), false) => making.recipient_off(recipient)?,
        }
        Ok(making.made)
    }
}

/// The events of one change.
struct Making<'a, 'o> {
    choices: &'a Choices,
    said: Said<'a>,
    customer: &'a str,
    time: Timestamp,
    origin: &'a mut Origin<'o>,
    made: Vec<Vec<u8>>,
}

impl<'a> Making<'a, '_> {
    fn draft(&mut self, kind: Kind) -> Draft<'a> {
        let (source, id) = (self.origin.source("choices"), self.origin.next_id());
        Draft::new(kind, self.customer, source, id, self.time).set(Field::Method, METHOD)
    }

    fn make(&mut self, draft: Draft<'_>) -> Result<(), ChoiceError> {
        self.made.push(draft.build()?);
        Ok(())
    }

    fn check_purpose(&self, purpose: &str) -> Result<(), ChoiceError> {
        let known = self.choices.purposes.iter().find(|one| one.purpose == purpose);
        match known {
            Some(known) if !known.rests_on_consent => Err(ChoiceError::NotSteerable {
                what: purpose.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn recipient(&self, id: &str) -> Result<&'a RecipientChoice, ChoiceError> {
        let found = self.choices.recipients.iter().find(|one| one.recipient.id == id);
        let unknown = || ChoiceError::UnknownRecipient {
            recipient: id.to_owned(),
        };
        let found = found.ok_or_else(unknown)?;
        if found.steerable {
            Ok(found)
        } else {
            let what = id.to_owned();
            Err(ChoiceError::NotSteerable { what })
        }
    }

    fn purpose_off(&mut self, purpose: &str) -> Result<(), ChoiceError> {
        self.check_purpose(purpose)?;
        let standing = self.said.standing_for_somebody(purpose);
        for consent in &standing {
            let mut draft = self.draft(Kind::ConsentWithdrawn);
            draft = draft.set(Field::Consent, reference(&consent.name));
            if consent.purposes.iter().any(|other| other != purpose) {
                draft = draft.set(Field::Purposes, json!([purpose]));
            }
            self.make(draft)?;
        }
        if standing.is_empty() && !is_off(self.said, purpose) {
            let draft = self.draft(Kind::ConsentRefused);
            self.make(draft.set(Field::Purposes, json!([purpose])))?;
        }
        Ok(())
    }

    fn purpose_on(&mut self, purpose: &str) -> Result<(), ChoiceError> {
        self.check_purpose(purpose)?;
        let scope = Scope {
            recipient: None,
            purpose,
        };
        if !self.said.standing(scope).is_empty() {
            return Ok(());
        }
        let about_it = |word: &&Word| word.saying == Saying::Yes && word.covers(purpose);
        let newest_first: Vec<&Word> = self.said.words().rev().filter(about_it).collect();
        let general = newest_first.iter().find(|word| word.recipient.is_none());
        let last = general.or(newest_first.first()).copied();
        let choices = self.choices;
        let known = choices.purposes.iter().find(|one| one.purpose == purpose);
        let flowing = known.map_or(&[][..], |known| known.categories.as_slice());
        let draft = self.draft(Kind::ConsentGiven);
        let draft = draft.set(Field::Purposes, json!([purpose]));
        self.make(as_before(draft, last, flowing))
    }

    fn recipient_off(&mut self, id: &str) -> Result<(), ChoiceError> {
        let choice = self.recipient(id)?;
        let consents = self.said.words().filter(|word| word.saying == Saying::Yes);
        let standing: Vec<&Word> = consents
            .filter(|consent| self.said.lets_receive(consent, id))
            .collect();
        let mut left: Vec<&str> = choice.steered.iter().map(String::as_str).collect();
        for consent in standing {
            let draft = self.draft(Kind::ConsentWithdrawn);
            let draft = draft.set(Field::Consent, reference(&consent.name));
            self.make(draft.set(Field::Recipient, as_given(&choice.recipient)))?;
            left.retain(|purpose| !consent.covers(purpose));
        }
        left.retain(|purpose| !self.said.is_refused_by_name(id, purpose));
        if !left.is_empty() {
            let draft = self.draft(Kind::ConsentRefused);
            let draft = draft.set(Field::Recipient, as_given(&choice.recipient));
            self.make(draft.set(Field::Purposes, json!(left)))?;
        }
        Ok(())
    }

    fn recipient_on(&mut self, id: &str) -> Result<(), ChoiceError> {
        let (choice, said) = (self.recipient(id)?, self.said);
        let is_refused = |purpose: &&String| said.is_refused_by_name(id, purpose);
        if choice.state == ChoiceState::Allowed && !choice.steered.iter().any(|one| is_refused(&one)) {
            return Ok(());
        }
        let (off, open): (Vec<&String>, Vec<&String>) =
            choice.steered.iter().partition(|purpose| is_off(said, purpose));
        for (last, purposes) in by_last_consent(said, id, &open) {
            let draft = self.draft(Kind::ConsentGiven);
            let draft = draft.set(Field::Recipient, as_given(&choice.recipient));
            let draft = draft.set(Field::Purposes, json!(purposes));
            self.make(as_before(draft, last, &choice.categories))?;
        }
        let refused: Vec<&String> = off.into_iter().filter(is_refused).collect();
        if !refused.is_empty() {
            let draft = self.draft(Kind::PreferenceChanged);
            let draft = draft.set(Field::Recipient, as_given(&choice.recipient));
            let draft = draft.set(Field::Purposes, json!(refused));
            self.make(draft.set(Field::Outcome, OPT_IN))?;
        }
        Ok(())
    }
}

/// Whether the customer turned a purpose off for all.
fn is_off(said: Said<'_>, purpose: &str) -> bool {
    let scope = Scope {
        recipient: None,
        purpose,
    };
    let reason = said.denial(scope).map(|denial| denial.reason);
    matches!(reason, Some(DecisionReason::Refused | DecisionReason::Withdrawn))
}

/// A consent, if there was one, and purposes that it was the last to cover.
type Alike<'a> = (Option<&'a Word>, Vec<&'a String>);

/// Purposes for which nothing lets a recipient receive, together where one consent was the last to do so: each new
/// consent is to be as the one before it.
fn by_last_consent<'a>(said: Said<'a>, recipient: &str, purposes: &[&'a String]) -> Vec<Alike<'a>> {
    let mut found: BTreeMap<Option<usize>, Alike<'a>> = BTreeMap::new();
    for &purpose in purposes {
        let scope = Scope {
            recipient: Some(recipient),
            purpose,
        };
        if !said.standing(scope).is_empty() {
            continue;
        }
        let mut backwards = said.words().enumerate().rev();
        let last = backwards.find(|(_, word)| {
            let is_for_it = word.recipient.as_deref().is_none_or(|named| named == recipient);
            word.saying == Saying::Yes && word.covers(purpose) && is_for_it
        });
        let (at, word) = last.unzip();
        found.entry(at).or_insert((word, Vec::new())).1.push(purpose);
    }
    found.into_values().collect()
}

/// A consent with the categories and the notice of the one before it; where there is none, for what is known to flow.
fn as_before<'a>(draft: Draft<'a>, last: Option<&Word>, flowing: &[String]) -> Draft<'a> {
    let categories = last.map_or(flowing, |last| last.categories.as_slice());
    let draft = if categories.is_empty() {
        draft
    } else {
        draft.set(Field::Categories, json!(categories))
    };
    match last.and_then(|last| last.notice.as_deref()) {
        Some(notice) => draft.set(Field::Notice, notice),
        None => draft,
    }
}

fn reference(name: &TrailReference) -> Value {
    match &name.source {
        Some(source) => json!({"source": source, "id": name.id}),
        None => json!(name.id),
    }
}

/// A recipient as events give it.
fn as_given(recipient: &TrailRecipient) -> Value {
    let mut given = json!({
        "id": recipient.id,
        "name": recipient.name,
        "role": recipient.role.name(),
        "country": recipient.country,
    });
    for (key, value) in [("contact", &recipient.contact), ("address", &recipient.address)] {
        if let Some(value) = value {
            given[key] = json!(value);
        }
    }
    given
}
