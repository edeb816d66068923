//! What an officer should look at: one event, and what is the matter with it.
//!
//! An event is judged twice: as its producer put it right (see [`crate::choices`]), and as it was told. So a correction can
//! bring a finding about, and none ends one unseen: what was the matter only as it was told stays, marked as corrected
//! away, about the recipient that was told. Every finding says where its event was corrected.
//!
//! In scope: judging one customer's trail. Out of scope: all customers together, which parties are registered (whoever
//! asks says so), consent (the trail has judged it). Trust: as the trail's. Everything here is derived from contents and
//! stays in memory.

use serde::Serialize;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Name;
use sharetrail_schemas::{Kind, Timestamp};
use utoipa::ToSchema;

use super::countries::needs_safeguard;
use crate::choices::Corrections;
use crate::trail::{Finding, Trail, TrailEvent, TrailRecipient, Unopened, UnopenedState, shown_if_any};

/// What is the matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "concern", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Concern {
    /// Data was disclosed without the consent that it rests on, or against the customer's choice.
    Consent(Finding),
    /// Data was disclosed to somebody who is not registered in the ledger.
    UnregisteredRecipient {
        /// The recipient's id.
        recipient: String,
    },
    /// Data went to a third country, and no safeguard is named (GDPR Articles 44 to 49).
    NoSafeguard {
        /// The country, ISO 3166-1.
        country: String,
    },
    /// The event cannot be opened or read, and nothing was erased.
    Unreadable {
        /// Why not.
        reason: String,
    },
}

impl Concern {
    /// A word for the kind of concern, as it stands in its JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Consent(_) => "consent",
            Self::UnregisteredRecipient { .. } => "unregistered_recipient",
            Self::NoSafeguard { .. } => "no_safeguard",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}

/// An event that an officer should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct WatchedFinding {
    /// The shard whose log holds the event.
    pub shard: u32,
    /// Where in that log.
    #[schema(value_type = u64)]
    pub index: LeafIndex,
    /// Who signed it.
    #[schema(value_type = String)]
    pub producer: Name,
    /// Whose it is; not known where nothing under the label can be opened.
    pub customer: Option<String>,
    /// The kind of event, where it opens.
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>)]
    pub kind: Option<Kind>,
    /// When it happened, by its producer's word.
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub time: Option<Timestamp>,
    /// Who received the data.
    pub recipient: Option<TrailRecipient>,
    /// What is the matter.
    pub concern: Concern,
    /// Where in the same log its producer put it right, the last word last; empty where nobody did.
    #[schema(value_type = Vec<u64>)]
    pub corrected_at: Vec<LeafIndex>,
    /// Whether it is the matter only as it was told first, and no longer as it was put right: the event, or the consent
    /// that it rests on; left out where not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub corrected_away: bool,
}

/// All that is the matter in one customer's trail. `is_registered`: shard and recipient's id.
pub(super) fn concerns(
    trail: &Trail,
    is_registered: &mut dyn FnMut(u32, &str) -> bool,
) -> Vec<WatchedFinding> {
    let corrections = Corrections::among(&trail.events);
    let mut found = Vec::new();
    for event in &trail.events {
        let right = corrections.apply(event);
        let mut add = |concern, corrected_away| {
            let about: &TrailEvent = if corrected_away { event } else { &right };
            found.push(WatchedFinding {
                corrected_away,
                ..of_event(&trail.customer, about, concern)
            });
        };
        for found in &event.findings {
            add(Concern::Consent(found.finding), found.corrected_away);
        }
        let standing = transfer(&right, is_registered);
        let away = if event.corrected_at.is_empty() {
            Vec::new()
        } else {
            transfer(event, is_registered)
        };
        let away: Vec<Concern> = away
            .into_iter()
            .filter(|concern| !standing.contains(concern))
            .collect();
        for concern in standing {
            add(concern, false);
        }
        for concern in away {
            add(concern, true);
        }
    }
    let faults = trail
        .unopened
        .iter()
        .filter(|one| one.state != UnopenedState::Erased);
    found.extend(faults.map(|one| of_unopened(&trail.customer, one)));
    found
}

/// What is the matter with where a disclosure went, consent apart.
fn transfer(event: &TrailEvent, is_registered: &mut dyn FnMut(u32, &str) -> bool) -> Vec<Concern> {
    if event.disclosures() == 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some(recipient) = &event.recipient
        && !is_registered(event.shard, &recipient.id)
    {
        let recipient = recipient.id.clone();
        found.push(Concern::UnregisteredRecipient { recipient });
    }
    if let Some(country) = unguarded(event) {
        let country = country.to_owned();
        found.push(Concern::NoSafeguard { country });
    }
    found
}

/// The third country that a disclosure went to without a safeguard.
fn unguarded(event: &TrailEvent) -> Option<&str> {
    let recipients = event
        .recipient
        .as_ref()
        .map(|recipient| recipient.country.as_str());
    let country = event.country.as_deref().or(recipients)?;
    (event.safeguard.is_none() && needs_safeguard(country)).then_some(country)
}

fn of_event(customer: &str, event: &TrailEvent, concern: Concern) -> WatchedFinding {
    WatchedFinding {
        shard: event.shard,
        index: event.index,
        producer: event.producer.clone(),
        customer: Some(customer.to_owned()),
        kind: Some(event.kind),
        time: Some(event.time),
        recipient: event.recipient.clone(),
        concern,
        corrected_at: event.corrected_at.clone(),
        corrected_away: false,
    }
}

fn of_unopened(customer: &str, one: &Unopened) -> WatchedFinding {
    WatchedFinding {
        shard: one.shard,
        index: one.index,
        producer: one.producer.clone(),
        customer: Some(customer.to_owned()),
        kind: None,
        time: None,
        recipient: None,
        concern: Concern::Unreadable {
            reason: one.reason.clone(),
        },
        corrected_at: Vec::new(),
        corrected_away: false,
    }
}
