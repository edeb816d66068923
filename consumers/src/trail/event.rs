//! One event of a trail, in owned words.
//!
//! In scope: what a content says, field by field, and where it is on record. Out of scope: judging it (see
//! `consent`).
//! Trust: made from contents that fit their entries' commitments.

use std::fmt::Display;
use std::ops::Deref;

use serde::{Deserialize, Serialize, Serializer};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Name;
use sharetrail_schemas::{
    Content, Data, Kind, List, Recipient, Reference, Right, Role, Timestamp, short_form,
};
use utoipa::ToSchema;

use super::TrailFinding;

/// An event that is on record and opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct TrailEvent {
    /// The shard whose log holds it.
    pub shard: u32,
    /// Where in that log.
    #[schema(value_type = u64)]
    pub index: LeafIndex,
    /// Which generation of the customer.
    pub generation: u32,
    /// Who signed its batch.
    #[schema(value_type = String)]
    pub producer: Name,
    /// Where the event was noticed: with `id`, its name.
    pub source: String,
    /// The event's id within its source.
    pub id: String,
    /// What kind of event.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String)]
    pub kind: Kind,
    /// When it happened, by its producer's word.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Who received the data, or is told or asked.
    pub recipient: Option<TrailRecipient>,
    /// The categories of data, in short form.
    pub categories: Vec<String>,
    /// The purposes, in short form.
    pub purposes: Vec<String>,
    /// The legal basis, in short form.
    pub legal_basis: Option<String>,
    /// The consent event it rests on, or that it ends.
    pub consent: Option<TrailReference>,
    /// Where the data came from.
    pub origin: Option<String>,
    /// The privacy notice in force.
    pub notice: Option<String>,
    /// What happened, in a sentence.
    pub description: Option<String>,
    /// What the customer got out of it.
    pub benefit: Option<String>,
    /// How long the data is kept, as an ISO 8601 duration.
    pub retention: Option<String>,
    /// The country the data went to, where that is not the recipient's.
    pub country: Option<String>,
    /// What permits the transfer to that country, in short form.
    pub safeguard: Option<String>,
    /// Whether value was given for the data.
    pub sale: Option<bool>,
    /// How it ended, or what is set now.
    pub outcome: Option<String>,
    /// The contract it rests on.
    pub contract: Option<String>,
    /// By which means.
    pub method: Option<String>,
    /// The span of repeated disclosures told as one.
    pub series: Option<TrailSeries>,
    /// The customer's request it belongs to.
    pub request: Option<TrailRequest>,
    /// The event by which the data had come to whoever passes it on.
    pub onward_of: Option<TrailReference>,
    /// The disclosure that is received, failed, notified or disputed.
    pub disclosure: Option<TrailReference>,
    /// The event that is corrected.
    pub corrects: Option<TrailReference>,
    /// Whether another event of its producer says that this disclosure did not happen.
    pub failed: bool,
    /// Where in the same log its producer put it right, the last word last; empty where nobody did. The fields stay as
    /// they were told.
    #[schema(value_type = Vec<u64>)]
    pub corrected_at: Vec<LeafIndex>,
    /// What is wrong with it, as it was put right and as it was told.
    pub findings: Vec<TrailFinding>,
    /// The event's JSON, byte for byte as recorded.
    pub content: String,
}

/// An organisation that received data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct TrailRecipient {
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
    /// Where a customer can turn to.
    pub contact: Option<String>,
    /// Its postal address.
    pub address: Option<String>,
}

/// Another event of the same customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[non_exhaustive]
pub struct TrailReference {
    /// Its source; none means a source on the same host as that of the event that refers to it.
    pub source: Option<String>,
    /// Its id.
    pub id: String,
}

impl TrailReference {
    /// Whether it names the event with this `source` and `id`; `from`: the source of the event that holds it.
    pub(crate) fn names(&self, from: &str, source: &str, id: &str) -> bool {
        self.id == id
            && match &self.source {
                Some(named) => named == source,
                None => same_host(from, source),
            }
    }
}

/// Repeated disclosures told as one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct TrailSeries {
    /// When the first one happened.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub first: Timestamp,
    /// How many there were.
    pub count: u64,
    /// When the last one happened.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub last: Timestamp,
}

/// A customer's request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct TrailRequest {
    /// The request's id.
    pub id: String,
    /// What is asked for.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String)]
    pub right: Right,
    /// The law it is asked under.
    pub regime: Option<String>,
    /// How far it is.
    pub status: Option<String>,
    /// When it must be answered.
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due: Option<Timestamp>,
}

/// Where an event is on record.
#[derive(Clone, Debug)]
pub(super) struct OnRecord {
    pub(super) shard: u32,
    pub(super) index: LeafIndex,
    pub(super) generation: u32,
    pub(super) producer: Name,
}

impl TrailEvent {
    /// What `content`, whose bytes are `json`, says.
    pub(super) fn new(at: OnRecord, content: &Content<'_>, json: &str) -> Self {
        let data = content.data();
        Self {
            shard: at.shard,
            index: at.index,
            generation: at.generation,
            producer: at.producer,
            source: content.source().to_owned(),
            id: content.id().to_owned(),
            kind: content.kind(),
            time: content.time(),
            recipient: data.recipient().map(recipient),
            categories: terms(data.categories()),
            purposes: terms(data.purposes()),
            legal_basis: term(data.legal_basis()),
            consent: data.consent().map(reference),
            origin: text(data.origin()),
            notice: text(data.notice()),
            description: text(data.description()),
            benefit: text(data.benefit()),
            retention: text(data.retention()),
            country: text(data.country()),
            safeguard: term(data.safeguard()),
            sale: data.sale().copied(),
            outcome: text(data.outcome()),
            contract: text(data.contract()),
            method: text(data.method()),
            series: series(data),
            request: request(data),
            onward_of: data.onward_of().map(reference),
            disclosure: data.disclosure().map(reference),
            corrects: data.corrects().map(reference),
            failed: false,
            corrected_at: Vec::new(),
            findings: Vec::new(),
            content: json.to_owned(),
        }
    }

    /// Whether it says that data left the company: shared or transferred.
    pub fn is_disclosure(&self) -> bool {
        matches!(self.kind, Kind::DataShared | Kind::DataTransferred)
    }

    /// How many disclosures it tells: one, or as many as its series counts; none if it did not happen.
    pub fn disclosures(&self) -> u64 {
        let told = self.series.map_or(1, |series| series.count);
        if self.is_disclosure() && !self.failed {
            told
        } else {
            0
        }
    }

    /// When the first and the last of what it tells happened.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        self.series
            .map_or((self.time, self.time), |series| (series.first, series.last))
    }

    /// Whether `reference`, which `from` holds, names this event.
    pub(crate) fn is_named_by(&self, reference: &TrailReference, from: &Self) -> bool {
        reference.names(&from.source, &self.source, &self.id)
    }

    /// Whether the same producer told both, in one generation of the customer: only then may one take back what the other
    /// says.
    pub(crate) fn is_by_the_producer_of(&self, other: &Self) -> bool {
        (&self.producer, self.generation) == (&other.producer, other.generation)
    }

    /// A reference that names this event wherever it stands.
    pub(crate) fn name(&self) -> TrailReference {
        TrailReference {
            source: Some(self.source.clone()),
            id: self.id.clone(),
        }
    }
}

#[cfg(test)]
impl TrailEvent {
    /// What a content says, as if it stood at this index.
    pub(crate) fn told(json: &str, index: u64) -> Self {
        let at = OnRecord {
            shard: 0,
            index: LeafIndex(index),
            generation: 0,
            producer: Name::new("shop.example").unwrap(),
        };
        Self::new(at, &sharetrail_schemas::read(json.as_bytes()).unwrap(), json)
    }
}

/// Whether two sources are of one host, or both of none.
pub(crate) fn same_host(one: &str, other: &str) -> bool {
    host(one) == host(other)
}

/// The host of a URI, in lower case, without user and port; nothing where it has none.
pub(crate) fn host(source: &str) -> Option<String> {
    let (_, rest) = source.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (name, port) = host.rsplit_once(':').unwrap_or((host, ""));
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    let bare = if is_port { name } else { host };
    Some(bare.to_ascii_lowercase())
}

fn text<T: Deref<Target = str>>(field: Option<&T>) -> Option<String> {
    field.map(|text| (**text).to_owned())
}

fn term<T: Deref<Target = str>>(field: Option<&T>) -> Option<String> {
    field.map(|term| short_form(term).into_owned())
}

fn terms<T: Deref<Target = str>>(field: Option<&List<T>>) -> Vec<String> {
    field.map_or_else(Vec::new, |list| {
        list.iter().map(|term| short_form(term).into_owned()).collect()
    })
}

fn recipient(given: &Recipient<'_>) -> TrailRecipient {
    TrailRecipient {
        id: given.id.as_str().to_owned(),
        name: given.name.as_str().to_owned(),
        role: given.role,
        country: given.country.as_str().to_owned(),
        contact: text(given.contact.as_ref()),
        address: text(given.address.as_ref()),
    }
}

fn reference(given: &Reference<'_>) -> TrailReference {
    TrailReference {
        source: text(given.source.as_ref()),
        id: given.id.as_str().to_owned(),
    }
}

fn series(data: &Data<'_>) -> Option<TrailSeries> {
    let given = data.series()?;
    Some(TrailSeries {
        first: given.first,
        count: given.count,
        last: given.last,
    })
}

fn request(data: &Data<'_>) -> Option<TrailRequest> {
    let given = data.request()?;
    Some(TrailRequest {
        id: given.id.as_str().to_owned(),
        right: given.right,
        regime: text(given.regime.as_ref()),
        status: text(given.status.as_ref()),
        due: given.due,
    })
}

/// Writes a value as people read it.
pub(crate) fn shown<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Writes a value as people read it, where there is one.
#[allow(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub(crate) fn shown_if_any<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_without_user_port_and_case() {
        for (source, expected) in [
            ("https://shop.example/campaigns", Some("shop.example")),
            ("https://Shop.Example:8443?x", Some("shop.example")),
            ("https://me@shop.example#a", Some("shop.example")),
            ("https://[::1]:80/", Some("[::1]")),
            ("https://[::1]/", Some("[::1]")),
            ("/shop", None),
            ("urn:shop:1", None),
        ] {
            assert_eq!(host(source).as_deref(), expected, "{source}");
        }
    }
}
