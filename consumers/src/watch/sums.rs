//! Disclosures by recipient, over all customers.
//!
//! Made from each customer's own list of recipients ([`Trail::recipients`]), so that officer and customers count the same:
//! as producers put their events right, with the recipient that was told first listed too.
//!
//! In scope: one customer's share of the sums, adding shares up. Out of scope: keeping them. Trust: as the trail's.

use std::collections::BTreeMap;

use serde::Serialize;
use sharetrail_schemas::{Role, Timestamp};
use utoipa::ToSchema;

use crate::trail::{Trail, shown};

/// What one organisation received, of all customers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct RecipientTotals {
    /// The name by which the ledger knows it.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it is to the company.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String)]
    pub role: Role,
    /// Where it is established, ISO 3166-1.
    pub country: String,
    /// Disclosures to it, each of a series counted.
    pub disclosures: u64,
    /// Disclosures that were told to be to it first, and that their producers corrected to be to somebody else; not among
    /// `disclosures`.
    pub corrected_away: u64,
    /// Customers whose data it received.
    pub customers: u64,
    /// When it first received data, or was told to have.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub first: Timestamp,
    /// When it last received data, or was told to have.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub last: Timestamp,
    /// What is the matter with these disclosures.
    pub concerns: u64,
    /// Whether the ledger's registry knows it.
    pub registered: bool,
}

/// What one organisation received of one customer.
pub(super) struct Share(RecipientTotals);

impl Share {
    /// Adds this share to the sums.
    pub(super) fn add_to<'a>(&'a self, totals: &mut BTreeMap<&'a str, RecipientTotals>) {
        let ours = &self.0;
        let Some(sum) = totals.get_mut(ours.id.as_str()) else {
            totals.insert(&ours.id, ours.clone());
            return;
        };
        let told = |one: &RecipientTotals| (one.last, one.name.clone(), one.country.clone());
        if told(ours) > told(sum) {
            // As told last; the same of two that were told at once, whoever is read first.
            (sum.name, sum.role, sum.country) = (ours.name.clone(), ours.role, ours.country.clone());
        }
        sum.disclosures = sum.disclosures.saturating_add(ours.disclosures);
        sum.corrected_away = sum.corrected_away.saturating_add(ours.corrected_away);
        sum.customers += ours.customers;
        sum.first = sum.first.min(ours.first);
        sum.last = sum.last.max(ours.last);
    }
}

/// The shares of one customer's trail. What is the matter is counted by whoever knows what still is.
pub(super) fn sums(trail: &Trail) -> Vec<Share> {
    let shares = trail.recipients().into_iter().map(|received| {
        Share(RecipientTotals {
            concerns: 0,
            id: received.id,
            name: received.name,
            role: received.role,
            country: received.country,
            disclosures: received.disclosures,
            corrected_away: received.corrected_away,
            customers: u64::from(received.disclosures > 0),
            first: received.first,
            last: received.last,
            registered: false,
        })
    });
    shares.collect()
}
