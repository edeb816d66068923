//! The story that the demonstration tells: a loyalty programme, and a share too many.
//!
//! In scope: the words and the events. Out of scope: recording and showing them (see `demo`).

use sharetrail_producers::{Event, Recipient, Right, Role};
use sharetrail_schemas::Timestamp;

/// The customer whose trail is shown.
pub(crate) const CUSTOMER: &str = "customer-417";

/// A customer id of whom nothing is recorded.
pub(crate) const STRANGER: &str = "customer-512";

/// The customer who asks to be erased.
pub(crate) const ERASED: &str = "customer-388";

/// Another customer of the shop, who waits for an answer.
pub(crate) const ASKING: &str = "customer-101";

/// When the customer withdrew the consent: the month's last digit is the byte that the story changes.
pub(crate) const WITHDRAWN: &str = "2025-05-02T09:30:00Z";

/// The position of that digit in [`WITHDRAWN`].
pub(crate) const MONTH_DIGIT: usize = 6;

/// A part of the story.
pub(crate) struct Chapter {
    /// Its heading.
    pub(crate) title: &'static str,
    /// What happens.
    pub(crate) text: &'static str,
    /// What is recorded of it.
    pub(crate) events: Vec<Event>,
}

/// The story, in the order of its times.
pub(crate) fn chapters() -> Vec<Chapter> {
    vec![
        sign_up(),
        purchases(),
        share(),
        transfer(),
        withdrawal(),
        late_share(),
        requests(),
    ]
}

/// Recipients that the shop registers: id, name, country, contact.
pub(crate) const PARTIES: [(&str, &str, &str, &str); 3] = [
    (
        "mailhouse.example",
        "Campaign mail house",
        "IE",
        "privacy@mailhouse.example",
    ),
    (
        "clearing.example",
        "Coupon clearing house",
        "US",
        "privacy@clearing.example",
    ),
    (
        "postal.example",
        "Postal delivery service",
        "IE",
        "data@postal.example",
    ),
];

fn sign_up() -> Chapter {
    let mut events = vec![
        Event::relationship_started(CUSTOMER)
            .id("member-417")
            .source("https://shop.example/loyalty")
            .time(at("2025-01-08T10:00:00Z"))
            .description("joined the loyalty programme"),
    ];
    for (number, time) in [
        ("417", "2025-01-08T10:02:00Z"),
        ("101", "2025-01-09T15:20:00Z"),
        ("388", "2025-01-11T11:45:00Z"),
    ] {
        events.extend(enrolment(number, time));
    }
    Chapter {
        title: "Three customers join a loyalty programme",
        text: "They give their names and addresses, and their consent to advertising by post. Each of these facts is an \
               event: checked, encrypted under a key of that customer, signed by the shop, and put into a log that can \
               only grow.",
        events,
    }
}

fn enrolment(number: &str, time: &str) -> [Event; 2] {
    let customer = format!("customer-{number}");
    let consent = Event::consent_given(customer.as_str())
        .id(format!("consent-{number}"))
        .categories(["pd:Name", "pd:PhysicalAddress", "pd:Purchase"])
        .purpose("dpv:DirectMarketing")
        .notice("https://shop.example/privacy/2025")
        .method("enrolment form");
    let profile = Event::collected(customer)
        .id(format!("profile-{number}"))
        .categories(["pd:Name", "pd:PhysicalAddress", "pd:EmailAddress"])
        .purpose("dpv:ServiceProvision")
        .legal_basis("eu-gdpr:A6-1-b")
        .origin("customer");
    [consent, profile].map(|event| event.source("https://shop.example/loyalty").time(at(time)))
}

fn purchases() -> Chapter {
    Chapter {
        title: "They shop",
        text: "Each basket is collected to run the programme, and the customer gets something for it. That is told too: \
               a trail is to say what the customer had of it.",
        events: vec![
            basket(
                CUSTOMER,
                "b-1001",
                "2025-01-25T17:05:00Z",
                "basket of 14 items, 52.30 spent",
                "1.80 off",
            ),
            basket(
                "customer-101",
                "b-1002",
                "2025-02-02T09:40:00Z",
                "basket of 3 items, 8.15 spent",
                "0.20 off",
            ),
            basket(
                CUSTOMER,
                "b-1003",
                "2025-02-19T18:30:00Z",
                "basket of 6 items, 21.70 spent",
                "0.75 off",
            ),
            basket(
                "customer-388",
                "b-1004",
                "2025-02-21T12:10:00Z",
                "basket of 9 items, 33.90 spent",
                "1.10 off",
            ),
        ],
    }
}

fn basket(customer: &str, id: &str, time: &str, description: &str, benefit: &str) -> Event {
    Event::collected(customer)
        .id(id)
        .source("https://shop.example/checkout")
        .time(at(time))
        .categories(["pd:Purchase"])
        .purpose("dpv:PersonalisedBenefits")
        .legal_basis("eu-gdpr:A6-1-b")
        .origin("customer")
        .description(description)
        .benefit(benefit)
}

fn share() -> Chapter {
    Chapter {
        title: "The shop hands addresses to a mail house",
        text: "A processor in Ireland prints the spring vouchers. It rests on the consent from January, which the event \
               names. The mail house passes the letters on to the post, and that is told too.",
        events: vec![
            mailing(CUSTOMER, "417", "spring", "2025-03-03T08:00:00Z"),
            mailing(ASKING, "101", "spring", "2025-03-03T08:00:00Z"),
            onward(CUSTOMER, "417"),
        ],
    }
}

fn mailing(customer: &str, number: &str, campaign: &str, time: &str) -> Event {
    let house = Recipient::new("mailhouse.example", "Campaign mail house", Role::Processor, "IE");
    Event::shared(customer)
        .id(format!("{campaign}-{number}"))
        .source("https://shop.example/campaigns")
        .time(at(time))
        .to(house.contact("privacy@mailhouse.example"))
        .categories(["pd:Name", "pd:PhysicalAddress"])
        .purpose("dpv:DirectMarketing")
        .legal_basis("eu-gdpr:A6-1-a")
        .consent(&format!("consent-{number}"))
        .description(&format!("address list of the {campaign} campaign"))
}

/// The mail house says itself whom it gave the addresses to.
fn onward(customer: &str, number: &str) -> Event {
    let post = Recipient::new("postal.example", "Postal delivery service", Role::Processor, "IE");
    Event::shared(customer)
        .id(format!("delivery-{number}"))
        .source("https://shop.example/campaigns")
        .time(at("2025-03-04T06:30:00Z"))
        .to(post.contact("data@postal.example"))
        .categories(["pd:Name", "pd:PhysicalAddress"])
        .purpose("dpv:DirectMarketing")
        .legal_basis("eu-gdpr:A6-1-a")
        .consent(&format!("consent-{number}"))
        .onward_of(&format!("spring-{number}"))
        .description("the mail house handed the letters to the post")
}

fn transfer() -> Chapter {
    let house = Recipient::new(
        "clearing.example",
        "Coupon clearing house",
        Role::ThirdParty,
        "US",
    );
    let redeemed = Event::transferred(CUSTOMER)
        .id("coupon-9")
        .source("https://shop.example/coupons")
        .time(at("2025-03-22T16:45:00Z"))
        .to(house.contact("privacy@clearing.example"))
        .categories(["pd:Purchase", "pd:Transaction"])
        .purpose("dpv:PaymentManagement")
        .legal_basis("eu-gdpr:A6-1-b")
        .country("US")
        .safeguard("eu-gdpr:A46-2-c")
        .sale(false)
        .description("redeemed a coupon of the spring campaign")
        .benefit("5.00 off");
    Chapter {
        title: "A coupon is redeemed, and data goes abroad",
        text: "The coupon is settled by a third party in the United States, under standard contractual clauses.",
        events: vec![redeemed],
    }
}

fn withdrawal() -> Chapter {
    let withdrawn = Event::consent_withdrawn(CUSTOMER)
        .id("withdrawal-417")
        .source("https://shop.example/loyalty")
        .time(at(WITHDRAWN))
        .consent("consent-417")
        .method("account page");
    Chapter {
        title: "The customer has had enough of advertising",
        text: "On the 2nd of May customer-417 withdraws the consent.",
        events: vec![withdrawn],
    }
}

fn late_share() -> Chapter {
    Chapter {
        title: "In June the shop mails once more",
        text: "The summer campaign goes out with last month's list, and customer-417 is still on it. The ledger records \
               what happened, not what should have.",
        events: vec![
            mailing(CUSTOMER, "417", "summer", "2025-06-11T08:00:00Z"),
            mailing(ASKING, "101", "summer", "2025-06-11T08:00:00Z"),
        ],
    }
}

fn requests() -> Chapter {
    let asked = Event::request_opened(ASKING)
        .id("access-101")
        .source("https://shop.example/privacy")
        .request("access-101", Right::Access)
        .method("letter")
        .description("wants to know who has the address");
    Chapter {
        title: "Somebody asks",
        text: "Another customer writes a letter: who has my address? The clock for the answer runs from today, and the \
               privacy officer sees it run.",
        events: vec![asked],
    }
}

fn at(time: &str) -> Timestamp {
    time.parse().expect("the story's times are well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_the_story_is_valid() {
        for event in chapters().into_iter().flat_map(|chapter| chapter.events) {
            let told = format!("{event:?}");
            assert!(event.build().is_ok(), "{told}");
        }
    }

    #[test]
    fn the_digit_that_is_changed_is_the_months() {
        assert_eq!(WITHDRAWN.as_bytes().get(MONTH_DIGIT), Some(&b'5'));
    }
}
