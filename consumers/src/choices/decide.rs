//! Deciding whether data may be shared: the question, the answer, and what it rests on.
//!
//! In scope: the answer out of the words of one customer; its JSON. Out of scope: folding the words (see `fold`), where
//! they come from (see `authorize`), asking over HTTP (see `remote`).
//! Trust: as the trail's. What is on record counts from the moment it can be read, even where its time lies ahead: an
//! event is at most a day ahead of the clock of whoever recorded it.

use serde::{Deserialize, Serialize};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Name;
use sharetrail_schemas::{Timestamp, short_form};
use utoipa::ToSchema;

use super::fold::{Scope, Words};
use crate::error::ConsumerError;
use crate::trail::{Trail, TrailReference, UnopenedState, shown_if_any};

/// May this be shared?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Question<'a> {
    /// The company's own id of the customer.
    pub customer: &'a str,
    /// Who is to receive the data: the name by which events know it.
    pub recipient: &'a str,
    /// What for: a term of `dpv`, short or in full.
    pub purpose: &'a str,
    /// Which data: terms of `pd`, short or in full; none asks for the purpose as such.
    pub categories: &'a [String],
}

/// A [`Question`] in words of its own, as it comes over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnedQuestion {
    /// The company's own id of the customer.
    pub customer: String,
    /// Who is to receive the data: the name by which events know it.
    pub recipient: String,
    /// What for: a term of `dpv`, short or in full.
    pub purpose: String,
    /// Which data: terms of `pd`, short or in full; none asks for the purpose as such.
    #[serde(default)]
    pub categories: Vec<String>,
}

impl OwnedQuestion {
    /// The question.
    pub fn as_question(&self) -> Question<'_> {
        Question {
            customer: &self.customer,
            recipient: &self.recipient,
            purpose: &self.purpose,
            categories: &self.categories,
        }
    }
}

/// Yes or no, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct Decision {
    /// Whether the data may be shared. True only where the reason is [`DecisionReason::Consented`].
    pub allowed: bool,
    /// Why.
    pub reason: DecisionReason,
    /// The event that decides, where one does: the consent given last, or the last word against it.
    pub by: Option<TrailReference>,
    /// When that happened.
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// The categories that were asked for and that no consent covers.
    pub uncovered: Vec<String>,
    /// The shard on which the customer's events come to be on record.
    pub shard: u32,
    /// How many leaves of that shard the answer takes into account: whatever the customer has on record there below
    /// this index counts, and whatever comes later does not.
    pub current_to: u64,
    /// The customer's last leaf below that index; none where there is none since the customer is known or was erased.
    #[schema(value_type = Option<u64>)]
    pub last: Option<LeafIndex>,
}

/// Why data may be shared, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecisionReason {
    /// The customer consented, and that stands.
    Consented,
    /// No consent for this purpose and recipient is on record.
    NoConsent,
    /// The customer withdrew it.
    Withdrawn,
    /// The customer refused.
    Refused,
    /// It ended by itself.
    Expired,
    /// Consent stands, but not for all of these categories.
    CategoryNotCovered,
    /// Some of the customer's events cannot be read. They may be a withdrawal, so nothing is granted.
    Unreadable,
    /// The customer was erased, and nothing is on record since.
    Erased,
}

/// How far an answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// See [`Decision::shard`].
    pub shard: u32,
    /// See [`Decision::current_to`].
    pub current_to: u64,
    /// See [`Decision::last`].
    pub last: Option<LeafIndex>,
}

/// Whoever can be asked before data is shared.
pub trait Authorize {
    /// Answers the question. What the customer changed after [`Decision::current_to`] is not in the answer.
    ///
    /// # Errors
    /// [`ConsumerError`] where there is no answer; data must not be shared then.
    fn authorize(&self, question: &Question<'_>) -> Result<Decision, ConsumerError>;
}

/// What decisions are made from: the words of one customer.
#[derive(Clone, Debug, Default)]
pub(super) struct Basis {
    pub(super) words: Words,
    gap: Option<Gap>,
}

/// Why the words cannot be gone by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Erased,
    Unreadable,
}

impl Basis {
    /// Out of a whole trail.
    pub(super) fn of(trail: &Trail) -> Self {
        let unreadable = |state: UnopenedState| state != UnopenedState::Erased;
        let was_erased = trail.generations.iter().any(|one| one.erased_at.is_some());
        let gap = if trail.unopened.iter().any(|one| unreadable(one.state)) {
            Some(Gap::Unreadable)
        } else if was_erased && trail.events.is_empty() {
            Some(Gap::Erased)
        } else {
            None
        };
        Self {
            words: Words::of(&trail.events),
            gap,
        }
    }

    /// Answers a question about this customer.
    pub(super) fn decide(&self, question: &Question<'_>, horizon: Horizon) -> Decision {
        let purpose = short_form(question.purpose);
        let scope = Scope {
            recipient: Some(question.recipient),
            purpose: &purpose,
        };
        let said = self.words.all();
        let standing = said.standing(scope);
        let covers = |category: &str| {
            let mut all = standing.iter().map(|consent| &consent.categories);
            all.any(|covered| covered.is_empty() || covered.iter().any(|one| *one == short_form(category)))
        };
        // Another spelling of a recipient would pass by what was said against it by name.
        let is_a_name = Name::new(question.recipient).is_ok();
        let mut uncovered = Vec::new();
        let (reason, word) = match (self.gap, standing.last()) {
            (Some(Gap::Unreadable), _) => (DecisionReason::Unreadable, None),
            (Some(Gap::Erased), _) => (DecisionReason::Erased, None),
            (None, Some(consent)) if is_a_name => {
                let asked = question.categories.iter();
                uncovered = asked.filter(|category| !covers(category)).cloned().collect();
                let reason = if uncovered.is_empty() {
                    DecisionReason::Consented
                } else {
                    DecisionReason::CategoryNotCovered
                };
                (reason, Some(*consent))
            }
            (None, _) => match said.last_denial(scope) {
                Some(denial) => (denial.reason, Some(denial.word)),
                None => (DecisionReason::NoConsent, None),
            },
        };
        Decision {
            allowed: reason == DecisionReason::Consented,
            reason,
            by: word.map(|word| word.name.clone()),
            since: word.map(|word| word.time),
            uncovered,
            shard: horizon.shard,
            current_to: horizon.current_to,
            last: horizon.last,
        }
    }
}
