//! What an officer should look at: one event, and what is the matter with it.
//!
//! In scope: judging one customer's trail. Out of scope: all customers together, which parties are registered (whoever
//! asks says so). Trust: as the trail's. Everything here is derived from contents and stays in memory.

use serde::Serialize;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Name;
use sharetrail_schemas::{Kind, Timestamp};
use utoipa::ToSchema;

use super::countries::needs_safeguard;
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
}

/// All that is the matter in one customer's trail. `is_registered`: shard and recipient's id.
pub(super) fn concerns(
    trail: &Trail,
    is_registered: &mut dyn FnMut(u32, &str) -> bool,
) -> Vec<WatchedFinding> {
    let mut found = Vec::new();
    for event in &trail.events {
        let mut add = |concern| found.push(of_event(&trail.customer, event, concern));
        for finding in &event.findings {
            add(Concern::Consent(*finding));
        }
        if event.disclosures() == 0 {
            continue;
        }
        if let Some(recipient) = &event.recipient
            && !is_registered(event.shard, &recipient.id)
        {
            let recipient = recipient.id.clone();
            add(Concern::UnregisteredRecipient { recipient });
        }
        if let Some(country) = unguarded(event) {
            let country = country.to_owned();
            add(Concern::NoSafeguard { country });
        }
    }
    let faults = trail
        .unopened
        .iter()
        .filter(|one| one.state != UnopenedState::Erased);
    found.extend(faults.map(|one| of_unopened(&trail.customer, one)));
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
    }
}
