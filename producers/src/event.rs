//! Building an event, field by field.
//!
//! ```
//! use sharetrail_producers::{Event, Recipient, Role};
//!
//! let json = Event::shared("customer-42")
//!     .to(Recipient::new("mailhouse.example", "Mail house", Role::Processor, "IE").contact("privacy@mailhouse.example"))
//!     .categories(["pd:Name", "pd:PhysicalAddress"])
//!     .purpose("dpv:DirectMarketing")
//!     .legal_basis("eu-gdpr:A6-1-a")
//!     .consent("enrol-42")
//!     .source("https://shop.example/campaigns")
//!     .build()?;
//! assert!(json.starts_with(b"{"));
//! # Ok::<(), sharetrail_producers::EventError>(())
//! ```
//!
//! An event left to itself gets a random id and the current time. It has no source of its own: either
//! [`Event::source`] names one, or whoever publishes it sets one with [`Event::with_default_source`]; without either
//! it is refused, since an id means nothing without the source that gave it.
//!
//! In scope: writing contents. Out of scope: their rules (`sharetrail-schemas` has them, and checks every event that
//! is built here), publishing. Trust: the caller's words are checked, the system's clock and randomness are trusted.

use serde_json::{Map, Value, json};
use sharetrail_schemas::{ContentError, Field, Kind, Timestamp, parse};

pub use sharetrail_schemas::{Right, Role};

/// Why an event cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// What was said is not a valid content.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// No id could be drawn: the system gave no random bytes.
    #[error("no random id: {0}")]
    Randomness(getrandom::Error),
}

/// Who receives data.
#[derive(Debug, Clone)]
#[must_use]
pub struct Recipient(Value);

impl Recipient {
    /// A recipient by the ledger's name for it, its name for people, its role and its ISO 3166-1 country.
    pub fn new(id: &str, name: &str, role: Role, country: &str) -> Self {
        Self(json!({"id": id, "name": name, "role": role.name(), "country": country}))
    }

    /// Where a customer can turn to.
    pub fn contact(mut self, contact: &str) -> Self {
        self.0["contact"] = contact.into();
        self
    }

    /// Its postal address.
    pub fn address(mut self, address: &str) -> Self {
        self.0["address"] = address.into();
        self
    }
}

/// An event in the making. Nothing is checked before [`Event::build`].
#[derive(Debug, Clone)]
#[must_use = "an event is nothing before it is built"]
pub struct Event {
    kind: Kind,
    customer: String,
    id: Option<String>,
    source: Option<String>,
    time: Option<Timestamp>,
    data: Map<String, Value>,
}

macro_rules! constructors {
    ($($name:ident $kind:ident,)+) => {
        /// One constructor for each kind; each takes the customer id.
        impl Event {$(
            #[doc = concat!("An event of the kind [`Kind::", stringify!($kind), "`].")]
            pub fn $name(customer: impl Into<String>) -> Self {
                Self::new(Kind::$kind, customer)
            }
        )+}
    };
}

constructors! {
    collected DataCollected, accessed DataAccessed, derived DataDerived, shared DataShared,
    transferred DataTransferred, received DataReceived, corrected DataCorrected, disclosure_failed DisclosureFailed,
    consent_given ConsentGiven, consent_refused ConsentRefused, consent_withdrawn ConsentWithdrawn,
    consent_expired ConsentExpired, preference_changed PreferenceChanged, request_opened RequestOpened,
    request_updated RequestUpdated, request_closed RequestClosed, recipient_notified RecipientNotified,
    recipient_confirmed RecipientConfirmed, relationship_started RelationshipStarted,
    relationship_ended RelationshipEnded, breach_notified BreachNotified, dispute_opened DisputeOpened,
    dispute_resolved DisputeResolved, event_corrected EventCorrected,
}

macro_rules! texts {
    ($($(#[doc = $doc:literal])+ $name:ident $field:ident,)+) => {
        /// Fields that are one text.
        impl Event {$(
            $(#[doc = $doc])+
            pub fn $name(self, $name: &str) -> Self {
                self.set(Field::$field, $name)
            }
        )+}
    };
}

texts! {
    /// The legal basis: a term of `eu-gdpr`, or another law's.
    legal_basis LegalBasis,
    /// Where the data came from.
    origin Origin,
    /// The URI of the privacy notice in force.
    notice Notice,
    /// What happened, in a sentence.
    description Description,
    /// What the customer got out of it.
    benefit Benefit,
    /// How long the data is kept: an ISO 8601 duration.
    retention Retention,
    /// The country the data went to.
    country Country,
    /// What permits the transfer there.
    safeguard Safeguard,
    /// The id of the consent event, of a source on the same host.
    consent Consent,
    /// The id of the event by which the data had come.
    onward_of OnwardOf,
    /// The id of the disclosure that is meant.
    disclosure Disclosure,
    /// The id of the event that is corrected.
    corrects Corrects,
    /// How it ended, or what is set now.
    outcome Outcome,
    /// The contract it rests on.
    contract Contract,
    /// The means by which it was done.
    method Method,
}

impl Event {
    /// An event of any kind.
    pub fn new(kind: Kind, customer: impl Into<String>) -> Self {
        Self {
            kind,
            customer: customer.into(),
            id: None,
            source: None,
            time: None,
            data: Map::new(),
        }
    }

    /// The id; with the source it names the event for ever. Give the same one when the same event is told again.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The source: a URI reference of the service that noticed the event.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The source, unless the event already has one.
    pub fn with_default_source(mut self, source: &str) -> Self {
        self.source.get_or_insert_with(|| source.to_owned());
        self
    }

    /// When it happened.
    pub fn time(mut self, time: Timestamp) -> Self {
        self.time = Some(time);
        self
    }

    /// The recipient.
    pub fn to(self, recipient: Recipient) -> Self {
        self.set(Field::Recipient, recipient.0)
    }

    /// The data categories, instead of those given before: terms of `pd`.
    pub fn categories<T: Into<String>>(self, categories: impl IntoIterator<Item = T>) -> Self {
        self.set(Field::Categories, strings(categories))
    }

    /// The purposes, instead of those given before: terms of `dpv`.
    pub fn purposes<T: Into<String>>(self, purposes: impl IntoIterator<Item = T>) -> Self {
        self.set(Field::Purposes, strings(purposes))
    }

    /// The only purpose.
    pub fn purpose(self, purpose: &str) -> Self {
        self.purposes([purpose])
    }

    /// Whether money or other value was given for the data.
    pub fn sale(self, sale: bool) -> Self {
        self.set(Field::Sale, sale)
    }

    /// The salted digests of what was sent: pairs of field name and base64 SHA-256.
    pub fn payload<'p>(self, digests: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        let entry = |(field, digest): (&str, &str)| json!({"field": field, "digest": digest});
        self.set(Field::Payload, digests.into_iter().map(entry).collect::<Value>())
    }

    /// The span of repeated disclosures that this event tells as one.
    pub fn series(self, first: Timestamp, count: u64, last: Timestamp) -> Self {
        let series = json!({"first": first.to_string(), "count": count, "last": last.to_string()});
        self.set(Field::Series, series)
    }

    /// The customer's request that the event belongs to.
    pub fn request(self, id: &str, right: Right) -> Self {
        self.set(Field::Request, json!({"id": id, "right": right.name()}))
    }

    /// Any field, as JSON: for references with a source of their own and requests with a due date.
    pub fn set(mut self, field: Field, value: impl Into<Value>) -> Self {
        self.data.insert(field.name().to_owned(), value.into());
        self
    }

    /// The event's JSON, checked as it will be when it is recorded.
    ///
    /// # Errors
    /// [`EventError::Content`] names the field that is wrong or missing.
    pub fn build(self) -> Result<Vec<u8>, EventError> {
        let now = jiff::Timestamp::now();
        let id = self.id.map_or_else(random_id, Ok)?;
        let time = self.time.map_or_else(|| now.to_string(), |time| time.to_string());
        let mut event = json!({
            "specversion": "1.0",
            "id": id,
            "type": self.kind.type_name(),
            "subject": self.customer,
            "time": time,
            "data": self.data,
        });
        if let Some(source) = self.source {
            event["source"] = source.into();
        }
        let json = event.to_string().into_bytes();
        parse(&json, Timestamp::from_unix(now.as_second()))?;
        Ok(json)
    }
}

fn strings<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Value {
    texts.into_iter().map(Into::<String>::into).collect()
}

fn random_id() -> Result<String, EventError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(EventError::Randomness)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use sharetrail_schemas::read;

    use super::*;

    fn given() -> Event {
        Event::consent_given("customer-42").purpose("dpv:Marketing")
    }

    fn wrong_field(event: Event) -> Option<String> {
        match event.build() {
            Err(EventError::Content(error)) => error.field().map(str::to_owned),
            _ => None,
        }
    }

    #[test]
    fn what_is_said_is_in_the_content() {
        let time = Timestamp::from_unix(1_769_860_800);
        let recipient =
            Recipient::new("clearing.example", "Clearing", Role::ThirdParty, "US").address("1 Main St");
        let event = Event::transferred("customer-42")
            .to(recipient)
            .categories(["pd:Purchase"]);
        let event = event
            .purpose("dpv:PaymentManagement")
            .sale(false)
            .series(time, 2, time);
        let json = event
            .source("/coupons")
            .id("coupon-1")
            .time(time)
            .build()
            .unwrap();
        let content = read(&json).unwrap();
        assert_eq!(
            (content.kind(), content.customer()),
            (Kind::DataTransferred, "customer-42")
        );
        assert_eq!(
            (content.source(), content.id(), content.time()),
            ("/coupons", "coupon-1", time)
        );
        let address = content
            .data()
            .recipient()
            .and_then(|recipient| recipient.address.as_deref());
        assert_eq!(
            (address, content.data().sale()),
            (Some("1 Main St"), Some(&false))
        );
        assert_eq!(content.data().series().map(|series| series.count), Some(2));
    }

    #[test]
    fn an_event_needs_a_source_from_somebody() {
        assert_eq!(wrong_field(given()).as_deref(), Some("source"));
        for (event, source) in [(given(), "/shop"), (given().source("/till"), "/till")] {
            let json = event.with_default_source("/shop").build().unwrap();
            assert_eq!(read(&json).unwrap().source(), source);
        }
    }

    #[test]
    fn ids_are_random_unless_given() {
        let ids = [(); 2].map(|()| {
            let json = given().source("/shop").build().unwrap();
            read(&json).unwrap().id().to_owned()
        });
        assert_eq!(ids[0].len(), 32);
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn a_missing_field_is_named() {
        let event = Event::request_closed("customer-42").request("r-1", Right::Erasure);
        assert_eq!(
            wrong_field(event.source("/privacy")).as_deref(),
            Some("data.outcome")
        );
    }
}
