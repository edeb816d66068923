//! A trail in numbers: who received what, how often, since when.
//!
//! In scope: counting the events of one trail. Out of scope: aggregates over customers.
//! Trust: as the trail's. Disclosures that did not happen are not counted.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sharetrail_schemas::{Role, Timestamp};
use utoipa::ToSchema;

use super::event::shown;
use super::{Trail, TrailEvent, TrailRecipient, UnopenedState};

/// A trail in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct Totals {
    /// Events on record, opened or not.
    pub events: u64,
    /// Disclosures told, each of a series counted.
    pub disclosures: u64,
    /// Organisations that received data.
    pub recipients: u64,
    /// Categories of data that events are about.
    pub categories: u64,
    /// What is wrong, over all events.
    pub findings: u64,
    /// Events that were erased.
    pub erased: u64,
    /// Events that do not open or do not read, though nothing was erased.
    pub unreadable: u64,
}

/// What one organisation received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct RecipientSummary {
    /// The name by which the ledger knows it.
    pub id: String,
    /// Its name for people, as told last.
    pub name: String,
    /// What it is to the company, as told last.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String)]
    pub role: Role,
    /// Where it is established, as told last.
    pub country: String,
    /// Disclosures to it, each of a series counted.
    pub disclosures: u64,
    /// The categories of data it received, sorted.
    pub categories: Vec<String>,
    /// The purposes it received them for, sorted.
    pub purposes: Vec<String>,
    /// When it first received data.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub first: Timestamp,
    /// When it last received data.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub last: Timestamp,
    /// What is wrong with these disclosures.
    pub findings: u64,
}

/// How often a category of data was disclosed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct CategorySummary {
    /// The category, in short form.
    pub category: String,
    /// Events about it, of any kind.
    pub events: u64,
    /// Disclosures of it, each of a series counted.
    pub disclosures: u64,
}

impl Trail {
    /// The events that say that data left the company, in the trail's order; those that did not happen are
    /// left out.
    pub fn disclosures(&self) -> impl Iterator<Item = &TrailEvent> {
        self.events.iter().filter(|event| event.disclosures() > 0)
    }

    /// The trail in numbers.
    pub fn totals(&self) -> Totals {
        let erased = self
            .unopened
            .iter()
            .filter(|one| one.state == UnopenedState::Erased)
            .count();
        Totals {
            events: count(self.events.len() + self.unopened.len()),
            disclosures: self
                .disclosures()
                .map(TrailEvent::disclosures)
                .fold(0, u64::saturating_add),
            recipients: count(self.recipients().len()),
            categories: count(self.categories().len()),
            findings: self.events.iter().map(|event| count(event.findings.len())).sum(),
            erased: count(erased),
            unreadable: count(self.unopened.len() - erased),
        }
    }

    /// Who received what, by the recipient's id.
    pub fn recipients(&self) -> Vec<RecipientSummary> {
        let mut found: BTreeMap<&str, Vec<(&TrailRecipient, &TrailEvent)>> = BTreeMap::new();
        for event in self.disclosures() {
            if let Some(recipient) = &event.recipient {
                found.entry(&recipient.id).or_default().push((recipient, event));
            }
        }
        found.values().filter_map(|received| summary(received)).collect()
    }

    /// What the events are about, by category.
    pub fn categories(&self) -> Vec<CategorySummary> {
        let mut found: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for event in &self.events {
            for category in event.categories.iter().collect::<BTreeSet<_>>() {
                let (events, disclosures) = found.entry(category).or_default();
                *events += 1;
                *disclosures = disclosures.saturating_add(event.disclosures());
            }
        }
        let summaries = found
            .into_iter()
            .map(|(category, (events, disclosures))| CategorySummary {
                category: category.to_owned(),
                events,
                disclosures,
            });
        summaries.collect()
    }
}

/// `received`: in the trail's order, so that what was told last comes last.
fn summary(received: &[(&TrailRecipient, &TrailEvent)]) -> Option<RecipientSummary> {
    let (told_last, _) = received.last()?;
    let events = || received.iter().map(|(_, event)| *event);
    Some(RecipientSummary {
        id: told_last.id.clone(),
        name: told_last.name.clone(),
        role: told_last.role,
        country: told_last.country.clone(),
        disclosures: events().map(TrailEvent::disclosures).fold(0, u64::saturating_add),
        categories: distinct(events().flat_map(|event| &event.categories)),
        purposes: distinct(events().flat_map(|event| &event.purposes)),
        first: events().map(|event| event.span().0).min()?,
        last: events().map(|event| event.span().1).max()?,
        findings: events().map(|event| count(event.findings.len())).sum(),
    })
}

fn distinct<'a>(terms: impl Iterator<Item = &'a String>) -> Vec<String> {
    let sorted: BTreeSet<&String> = terms.collect();
    sorted.into_iter().cloned().collect()
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
