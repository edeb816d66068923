//! A made-up loyalty programme: households that enrol, shop, are mailed to and redeem coupons.
//!
//! The same events each time, in the order of their times. Every third household was on a mailing list weeks before it
//! gave its consent.

use std::fmt::Write;

use serde_json::{Value, json};

/// When every household enrolled.
pub(crate) const ENROLLED: &str = "2017-01-01T11:53:26Z";
/// When the mailing went out that some got before they had enrolled.
pub(crate) const EARLY: &str = "2016-11-14T00:00:00Z";
/// When the other mailing went out.
pub(crate) const LATE: &str = "2017-03-08T00:00:00Z";

/// An event, as a service gives it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) customer: String,
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) time: String,
    /// Its JSON.
    pub(crate) line: String,
}

/// `each` events, at least 4, of each of so many households.
pub(crate) fn events(households: usize, each: usize) -> Vec<Event> {
    let mut all: Vec<Event> = (1..=households)
        .flat_map(|household| of_household(household, each))
        .collect();
    all.sort_by(|one, other| one.time.cmp(&other.time));
    all
}

/// One content a line.
pub(crate) fn lines(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        writeln!(text, "{}", event.line).expect("writing to a string does not fail");
    }
    text
}

/// The customer id of a household, counted from 1.
pub(crate) fn customer(household: usize) -> String {
    format!("household-{household}")
}

/// Whether the household was mailed to before it enrolled.
pub(crate) fn was_mailed_early(household: usize) -> bool {
    household.is_multiple_of(3)
}

/// Whether the household redeemed a coupon.
pub(crate) fn has_redeemed(household: usize) -> bool {
    household.is_multiple_of(5)
}

fn of_household(household: usize, each: usize) -> Vec<Event> {
    let mut found = vec![enrolment(household), mailing(household, 13, LATE, "A", "US")];
    if was_mailed_early(household) {
        found.push(mailing(household, 24, EARLY, "C", "IE"));
    }
    if has_redeemed(household) {
        found.push(redemption(household));
    }
    found.extend((found.len()..each).map(|number| basket(household, number)));
    found
}

fn event(kind: &str, place: &str, id: String, household: usize, time: &str, data: &Value) -> Event {
    let (customer, source) = (customer(household), format!("https://shop.example/{place}"));
    let json = json!({
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": format!("org.sharetrail.{kind}.v1"),
        "subject": customer,
        "time": time,
        "data": data,
    });
    Event {
        customer,
        source,
        id,
        time: time.to_owned(),
        line: json.to_string(),
    }
}

fn enrolment(household: usize) -> Event {
    let data = json!({
        "purposes": ["dpv:Marketing"],
        "categories": ["pd:PurchasesAndSpendingHabit"],
        "notice": "https://shop.example/privacy/2017",
        "method": "enrolment form",
    });
    let id = format!("enrol-{household}");
    event("consent.given", "loyalty", id, household, ENROLLED, &data)
}

fn mailing(household: usize, campaign: u32, time: &str, house: &str, country: &str) -> Event {
    let recipient = format!("mailhouse-{}.example", house.to_lowercase());
    let data = json!({
        "recipient": {
            "id": recipient,
            "name": format!("Campaign mail house {house}"),
            "role": "processor",
            "country": country,
            "contact": format!("privacy@{recipient}"),
        },
        "categories": ["pd:Name", "pd:PhysicalAddress", "pd:PurchasesAndSpendingHabit"],
        "purposes": ["dpv:DirectMarketing"],
        "legal_basis": "eu-gdpr:A6-1-a",
        "consent": format!("enrol-{household}"),
        "description": format!("address list of campaign {campaign}"),
    });
    let id = format!("mail-{campaign}-{household}");
    event("data.shared", "campaigns", id, household, time, &data)
}

fn redemption(household: usize) -> Event {
    let data = json!({
        "recipient": {
            "id": "clearing.example",
            "name": "Coupon clearing house",
            "role": "third-party",
            "country": "US",
            "contact": "privacy@clearing.example",
        },
        "categories": ["pd:Purchase", "pd:Transaction"],
        "purposes": ["dpv:PaymentManagement"],
        "legal_basis": "eu-gdpr:A6-1-b",
        "country": "US",
        "safeguard": "eu-gdpr:A46-2-c",
        "sale": false,
        "description": format!("coupon {} of campaign 13", 51_380_000 + household),
    });
    let (id, time) = (format!("redemption-{household}"), "2017-03-20T00:00:00Z");
    event("data.transferred", "coupons", id, household, time, &data)
}

fn basket(household: usize, number: usize) -> Event {
    let (month, day, hour) = (1 + number % 12, 1 + (household + number) % 28, 12 + number % 9);
    let items = 1 + (household * 7 + number * 3) % 40;
    let mut data = json!({
        "categories": ["pd:Purchase", "pd:Location"],
        "purposes": ["dpv:ServiceProvision"],
        "legal_basis": "eu-gdpr:A6-1-b",
        "origin": "customer",
        "description": format!("basket of {items} items, {items}.50 spent at store {}", 300 + household % 60),
    });
    if number.is_multiple_of(2) {
        data["benefit"] = json!("0.90 off");
    }
    let (id, time) = (
        format!("basket-{household}-{number}"),
        format!("2017-{month:02}-{day:02}T{hour:02}:05:00Z"),
    );
    event("data.collected", "checkout", id, household, &time, &data)
}
