//! A trail in numbers: who received what, how often, since when.
//!
//! A disclosure counts as its producer put it right: once, for the recipient that is named now. Where that is another one
//! than was told first, the first stays listed: the log says that it was told so, and it may have the data. Nothing is
//! counted for it; `corrected_away` says how often it was told. The officer's sums are made from the same lists.
//!
//! In scope: counting the events of one trail. Out of scope: aggregates over customers.
//! Trust: as the trail's. Disclosures that did not happen are not counted.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use serde::Serialize;
use sharetrail_schemas::{Role, Timestamp};
use utoipa::ToSchema;

use super::event::shown;
use super::{Trail, TrailEvent, TrailFinding, TrailRecipient, UnopenedState};
use crate::choices::{Corrected, Corrections};

/// A trail in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct Totals {
    /// Events on record, opened or not.
    pub events: u64,
    /// Disclosures as they were put right, each of a series counted.
    pub disclosures: u64,
    /// Organisations that received data, or were told to have.
    pub recipients: u64,
    /// Categories of data that events are about.
    pub categories: u64,
    /// What is wrong, over all events; also what was corrected away.
    pub findings: u64,
    /// Events that were erased.
    pub erased: u64,
    /// Events that do not open or do not read, though nothing was erased.
    pub unreadable: u64,
}

/// What one organisation received, or was told to have.
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
    /// Disclosures that were told to be to it first, and that their producers corrected to be to somebody else. They are
    /// not among `disclosures`; in all else here they are.
    pub corrected_away: u64,
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

/// A disclosure as it counts for one recipient; read like the event.
#[derive(Clone, Debug)]
pub(crate) struct Received<'a> {
    event: Corrected<'a>,
    is_corrected_away: bool,
    /// What is wrong with it, as far as it is about this recipient.
    pub(crate) findings: Vec<TrailFinding>,
}

impl<'a> Received<'a> {
    /// For whom a disclosure counts: one recipient, or two where it was exchanged.
    fn of(told: &'a TrailEvent, corrections: &Corrections<'a>) -> Vec<Self> {
        let right = corrections.apply(told);
        let to = |event: &TrailEvent| event.recipient.as_ref().map(|recipient| recipient.id.clone());
        let findings = told.findings.clone();
        if to(told) == to(&right) {
            return vec![Self {
                event: right,
                is_corrected_away: false,
                findings,
            }];
        }
        let (away, standing) = findings.into_iter().partition(|found| found.corrected_away);
        vec![
            Self {
                event: Corrected::as_told(told),
                is_corrected_away: true,
                findings: away,
            },
            Self {
                event: right,
                is_corrected_away: false,
                findings: standing,
            },
        ]
    }

    /// How many disclosures count for the recipient.
    pub(crate) fn disclosures(&self) -> u64 {
        if self.is_corrected_away {
            0
        } else {
            self.event.disclosures()
        }
    }

    /// How many were told, and corrected to be to somebody else.
    pub(crate) fn corrected_away(&self) -> u64 {
        if self.is_corrected_away {
            self.event.disclosures()
        } else {
            0
        }
    }
}

impl Deref for Received<'_> {
    type Target = TrailEvent;

    fn deref(&self) -> &TrailEvent {
        &self.event
    }
}

impl Trail {
    /// The events as their producers put them right. Most have no correction, and are not copied.
    pub(crate) fn as_put_right(&self) -> Cow<'_, [TrailEvent]> {
        let corrections = Corrections::among(&self.events);
        if corrections.is_empty() {
            return Cow::Borrowed(&self.events);
        }
        let right = self
            .events
            .iter()
            .map(|told| corrections.apply(told).into_event());
        Cow::Owned(right.collect())
    }

    /// Who received what, disclosure by disclosure, in the trail's order; what did not happen is left out.
    pub(crate) fn received(&self) -> Vec<Received<'_>> {
        let corrections = Corrections::among(&self.events);
        let happened = self.events.iter().filter(|event| event.disclosures() > 0);
        happened
            .flat_map(|told| Received::of(told, &corrections))
            .collect()
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
                .received()
                .iter()
                .map(Received::disclosures)
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
        let received = self.received();
        let mut found: BTreeMap<&str, Vec<(&TrailRecipient, &Received<'_>)>> = BTreeMap::new();
        for event in &received {
            if let Some(recipient) = &event.recipient {
                found.entry(&recipient.id).or_default().push((recipient, event));
            }
        }
        found.values().filter_map(|received| summary(received)).collect()
    }

    /// What the events are about, by category.
    pub fn categories(&self) -> Vec<CategorySummary> {
        let events = self.as_put_right();
        let mut found: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for event in events.iter() {
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
fn summary(received: &[(&TrailRecipient, &Received<'_>)]) -> Option<RecipientSummary> {
    let (told_last, _) = received.last()?;
    let events = || received.iter().map(|(_, event)| *event);
    Some(RecipientSummary {
        id: told_last.id.clone(),
        name: told_last.name.clone(),
        role: told_last.role,
        country: told_last.country.clone(),
        disclosures: events().map(Received::disclosures).fold(0, u64::saturating_add),
        corrected_away: events()
            .map(Received::corrected_away)
            .fold(0, u64::saturating_add),
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
