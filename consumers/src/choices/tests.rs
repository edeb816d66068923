//! Choices of made-up trails: what stands, what is said of it, and that a change does what was asked.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Label, Name};

use super::*;
use crate::trail::{TrailGeneration, Unopened, UnopenedState};

const THEN: i64 = 1_769_860_800;
const PURPOSES: [&str; 3] = ["dpv:Marketing", "dpv:Advertising", "dpv:ServiceProvision"];
const RECIPIENTS: [&str; 2] = ["mail.example", "ads.example"];
/// Nobody ever names it.
const STRANGER: &str = "stranger.example";
const HORIZON: Horizon = Horizon {
    shard: 0,
    current_to: 100,
    last: None,
};

/// A trail in the making; every event has its own second and id.
struct Story {
    contents: Vec<String>,
    ids: u32,
    gaps: Vec<UnopenedState>,
    is_erased: bool,
}

impl Story {
    fn new() -> Self {
        Self {
            contents: Vec::new(),
            ids: 0,
            gaps: Vec::new(),
            is_erased: false,
        }
    }

    fn next(&mut self) -> i64 {
        self.ids += 1;
        i64::from(self.ids)
    }

    /// Adds an event at a second; its id is that of its place.
    fn tell_at(&mut self, seconds: i64, kind: &str, data: &Value) -> String {
        let id = format!("told-{}", self.next());
        let content = json!({
            "specversion": "1.0",
            "id": id,
            "source": "https://shop.example/told",
            "type": format!("org.sharetrail.{kind}.v1"),
            "subject": "customer-42",
            "time": Timestamp::from_unix(THEN + seconds).to_string(),
            "data": data,
        });
        self.contents.push(content.to_string());
        id
    }

    fn tell(&mut self, kind: &str, data: &Value) -> String {
        let seconds = i64::from(self.ids);
        self.tell_at(seconds, kind, data)
    }

    fn given(&mut self, purpose: &str) -> String {
        self.tell("consent.given", &json!({"purposes": [purpose]}))
    }

    fn given_to(&mut self, purpose: &str, id: &str) -> String {
        let data = json!({"purposes": [purpose], "recipient": recipient(id)});
        self.tell("consent.given", &data)
    }

    fn shared(&mut self, purpose: &str, id: &str, basis: Option<&str>) {
        let mut data = json!({
            "purposes": [purpose],
            "recipient": recipient(id),
            "categories": ["pd:Name"],
        });
        if let Some(basis) = basis {
            data["legal_basis"] = json!(basis);
        }
        self.tell("data.shared", &data);
    }

    fn trail(&self) -> Trail {
        let events = self.contents.iter().zip(1..);
        let mut events: Vec<TrailEvent> = events
            .map(|(json, index)| TrailEvent::told(json, index))
            .collect();
        events.sort_by_key(|event| (event.time, event.index));
        let gap = |state: &UnopenedState| Unopened {
            shard: 0,
            index: LeafIndex(99),
            generation: 0,
            producer: Name::new("shop.example").unwrap(),
            state: *state,
            reason: String::new(),
        };
        Trail {
            customer: "customer-42".to_owned(),
            generations: vec![TrailGeneration {
                generation: 0,
                label: Label([1; 32]),
                shard: 0,
                events: 1,
                erased_at: self.is_erased.then_some(LeafIndex(50)),
                erased_by: None,
            }],
            events,
            unopened: self.gaps.iter().map(gap).collect(),
            checkpoints: Vec::new(),
        }
    }

    fn choices(&self) -> Choices {
        Choices::of(&self.trail())
    }

    fn decide(&self, recipient: &str, purpose: &str, categories: &[&str]) -> Decision {
        decide(&self.choices(), recipient, purpose, categories)
    }

    /// The reason why, and the id of the event that decides.
    fn why(&self, recipient: &str, purpose: &str) -> (DecisionReason, Option<String>) {
        let decision = self.decide(recipient, purpose, &[]);
        (decision.reason, decision.by.map(|by| by.id))
    }

    fn is_allowed(&self, recipient: &str, purpose: &str) -> bool {
        self.decide(recipient, purpose, &[]).allowed
    }

    /// Records what a change takes, and says how many events that was.
    fn change(&mut self, of: ChoiceOf, allowed: bool) -> Result<usize, ChoiceError> {
        let producer = Name::new("shop.example").unwrap();
        let time = Timestamp::from_unix(THEN + i64::from(self.ids));
        let choices = self.choices();
        let mut ids = || format!("chosen-{}", self.next());
        let mut origin = Origin {
            producer: &producer,
            time,
            id: &mut ids,
        };
        let change = ChoiceChange { of, allowed };
        let made = choices.contents("customer-42", &change, &mut origin)?;
        let count = made.len();
        let texts = made
            .into_iter()
            .map(|content| String::from_utf8(content).unwrap());
        self.contents.extend(texts);
        Ok(count)
    }

    fn purpose(&mut self, purpose: &str, allowed: bool) -> usize {
        self.change(ChoiceOf::Purpose(purpose.to_owned()), allowed)
            .unwrap()
    }

    fn recipient(&mut self, recipient: &str, allowed: bool) -> usize {
        self.change(ChoiceOf::Recipient(recipient.to_owned()), allowed)
            .unwrap()
    }

    /// What the event that was recorded last says, with its kind.
    fn newest(&self) -> (Kind, TrailEvent) {
        let event = TrailEvent::told(self.contents.last().unwrap(), 1);
        (event.kind, event)
    }
}

fn decide(choices: &Choices, recipient: &str, purpose: &str, categories: &[&str]) -> Decision {
    let categories: Vec<String> = categories.iter().map(|one| (*one).to_owned()).collect();
    let question = Question {
        customer: "customer-42",
        recipient,
        purpose,
        categories: &categories,
    };
    choices.decide(&question, HORIZON)
}

fn recipient(id: &str) -> Value {
    json!({"id": id, "name": id, "role": "processor", "country": "IE", "contact": "privacy@mail.example"})
}

const MARKETING: &str = PURPOSES[0];
const ADVERTISING: &str = PURPOSES[1];
const MAIL: &str = RECIPIENTS[0];
const ADS: &str = RECIPIENTS[1];

#[test]
fn a_consent_covers_its_purposes_and_categories_and_no_more() {
    let mut story = Story::new();
    assert_eq!(story.why(MAIL, MARKETING), (DecisionReason::NoConsent, None));
    let data = json!({"purposes": [MARKETING], "categories": ["pd:Name"]});
    story.tell("consent.given", &data);
    let data = json!({
        "purposes": ["https://w3id.org/dpv#Marketing"],
        "categories": ["https://w3id.org/dpv/pd#Age"],
        "recipient": recipient(ADS),
    });
    let to_ads = story.tell("consent.given", &data);
    assert!(story.decide(MAIL, MARKETING, &["pd:Name"]).allowed);
    assert!(
        story
            .decide(
                MAIL,
                "https://w3id.org/dpv#Marketing",
                &["https://w3id.org/dpv/pd#Name"]
            )
            .allowed
    );
    let decision = story.decide(MAIL, MARKETING, &["pd:Name", "pd:Age", "pd:Email"]);
    assert_eq!(decision.reason, DecisionReason::CategoryNotCovered);
    assert_eq!(decision.uncovered, ["pd:Age", "pd:Email"]);
    // Two consents together.
    let decision = story.decide(ADS, MARKETING, &["pd:Name", "pd:Age"]);
    assert_eq!(decision.reason, DecisionReason::Consented);
    assert_eq!(decision.by.map(|by| by.id), Some(to_ads));
    assert_eq!(decision.since, Some(Timestamp::from_unix(THEN + 1)));
    assert!(!story.is_allowed(ADS, ADVERTISING));
}

#[test]
fn an_end_is_for_the_purposes_and_the_recipient_that_it_names() {
    let mut story = Story::new();
    let data = json!({"purposes": [MARKETING, ADVERTISING]});
    let consent = story.tell("consent.given", &data);
    let data = json!({"consent": consent, "purposes": [MARKETING]});
    let withdrawn = story.tell("consent.withdrawn", &data);
    assert_eq!(
        story.why(MAIL, MARKETING),
        (DecisionReason::Withdrawn, Some(withdrawn))
    );
    assert!(story.is_allowed(MAIL, ADVERTISING));
    let data = json!({"consent": consent, "recipient": recipient(MAIL)});
    let for_mail = story.tell("consent.withdrawn", &data);
    assert_eq!(
        story.why(MAIL, ADVERTISING),
        (DecisionReason::Withdrawn, Some(for_mail.clone()))
    );
    assert!(story.is_allowed(ADS, ADVERTISING) && !story.is_allowed(ADS, MARKETING));
    // A consent to all does not bring back who was withdrawn from by name.
    story.given(ADVERTISING);
    assert_eq!(
        story.why(MAIL, ADVERTISING),
        (DecisionReason::Withdrawn, Some(for_mail))
    );
    story.given_to(ADVERTISING, MAIL);
    assert!(story.is_allowed(MAIL, ADVERTISING));
    let last = story.given(MARKETING);
    let expired = story.tell("consent.expired", &json!({"consent": last}));
    assert_eq!(
        story.why(ADS, MARKETING),
        (DecisionReason::Expired, Some(expired))
    );
}

/// The fault: a service goes by a consent that the customer took back since, or by a refusal that was lifted.
#[test]
fn a_refusal_undoes_what_was_before_it() {
    let mut story = Story::new();
    story.given(MARKETING);
    story.given_to(MARKETING, MAIL);
    let refused = story.tell("consent.refused", &json!({"purposes": [MARKETING]}));
    for recipient in [MAIL, ADS] {
        assert_eq!(
            story.why(recipient, MARKETING),
            (DecisionReason::Refused, Some(refused.clone()))
        );
    }
    story.given(MARKETING);
    assert!(story.is_allowed(MAIL, MARKETING) && story.is_allowed(ADS, MARKETING));
    let data = json!({"purposes": [MARKETING], "recipient": recipient(ADS)});
    story.tell("consent.refused", &data);
    story.given(MARKETING);
    assert!(story.is_allowed(MAIL, MARKETING) && !story.is_allowed(ADS, MARKETING));
    // Times count, not the order in which events came to be on record.
    story.tell_at(-10, "consent.refused", &json!({"purposes": [MARKETING]}));
    assert!(story.is_allowed(MAIL, MARKETING));
}

#[test]
fn an_opt_in_takes_an_opt_out_back_and_is_no_consent() {
    let mut story = Story::new();
    let preference = |outcome: &str| json!({"purposes": [MARKETING], "outcome": outcome});
    story.tell("preference.changed", &preference("opt-in"));
    assert!(!story.is_allowed(MAIL, MARKETING));
    story.given(MARKETING);
    story.tell("preference.changed", &preference(" Opt-Out"));
    assert_eq!(story.why(MAIL, MARKETING).0, DecisionReason::Refused);
    let mut for_mail = preference("opt-in");
    for_mail["recipient"] = recipient(MAIL);
    story.tell("preference.changed", &for_mail);
    assert!(!story.is_allowed(MAIL, MARKETING));
    story.tell("preference.changed", &preference("opt-in"));
    assert!(story.is_allowed(MAIL, MARKETING) && story.is_allowed(ADS, MARKETING));
    story.tell("preference.changed", &preference("weekly"));
    assert!(story.is_allowed(MAIL, MARKETING));
}

/// The fault: a consent that was told wrongly is gone by, though it was put right.
#[test]
fn a_corrected_consent_counts_as_it_was_put_right() {
    let mut story = Story::new();
    let consent = story.given(MARKETING);
    let right = json!({"corrects": consent, "description": "another box", "purposes": [ADVERTISING]});
    story.tell("event.corrected", &right);
    assert!(story.is_allowed(MAIL, ADVERTISING) && !story.is_allowed(MAIL, MARKETING));
}

/// The fault: a consent is gone by that was withdrawn, because the withdrawal first named another.
#[test]
fn a_corrected_end_ends_what_it_was_to_end() {
    let mut story = Story::new();
    let marketing = story.given(MARKETING);
    let advertising = story.given(ADVERTISING);
    let withdrawn = story.tell("consent.withdrawn", &json!({"consent": advertising}));
    let right = json!({"corrects": withdrawn, "description": "the other one", "consent": marketing});
    story.tell("event.corrected", &right);
    assert_eq!(
        story.why(MAIL, MARKETING),
        (DecisionReason::Withdrawn, Some(withdrawn))
    );
    assert!(story.is_allowed(MAIL, ADVERTISING));
    let preference = json!({"purposes": [ADVERTISING], "outcome": "opt-in"});
    let set = story.tell("preference.changed", &preference);
    assert!(story.is_allowed(MAIL, ADVERTISING));
    let right = json!({"corrects": set, "description": "the other way", "outcome": "opt-out"});
    story.tell("event.corrected", &right);
    assert_eq!(story.why(MAIL, ADVERTISING), (DecisionReason::Refused, Some(set)));
}

/// The fault: a producer widens by its correction what a customer told another one.
#[test]
fn a_correction_by_somebody_else_changes_nothing() {
    let mut story = Story::new();
    let consent = story.given(MARKETING);
    let right = json!({"corrects": consent, "description": "another box", "purposes": [ADVERTISING]});
    story.tell("event.corrected", &right);
    let mut trail = story.trail();
    trail.events[1].producer = Name::new("other.example").unwrap();
    let choices = Choices::of(&trail);
    assert!(decide(&choices, MAIL, MARKETING, &[]).allowed);
    assert!(!decide(&choices, MAIL, ADVERTISING, &[]).allowed);
    // Nor one that came after the customer was erased and known anew.
    let mut trail = story.trail();
    trail.events[1].generation = 1;
    assert!(decide(&Choices::of(&trail), MAIL, MARKETING, &[]).allowed);
}

/// The fault: a customer cannot switch who really received their data, only who was named by mistake.
#[test]
fn what_can_be_switched_is_as_it_was_put_right() {
    let mut story = Story::new();
    story.shared(ADVERTISING, ADS, Some("eu-gdpr:A6-1-a"));
    let right = json!({
        "corrects": "told-1",
        "description": "it went to the mail house, for its letters",
        "purposes": [MARKETING],
        "recipient": recipient(MAIL),
    });
    story.tell("event.corrected", &right);
    let choices = story.choices();
    let purposes: Vec<&str> = choices.purposes.iter().map(|one| one.purpose.as_str()).collect();
    assert_eq!(purposes, [MARKETING]);
    assert_eq!(choices.purposes[0].recipients, [MAIL]);
    let recipients: Vec<&str> = choices
        .recipients
        .iter()
        .map(|one| one.recipient.id.as_str())
        .collect();
    assert_eq!(recipients, [MAIL]);
    assert_eq!(story.recipient(MAIL, false), 1);
    assert_eq!(story.choices().recipients[0].state, ChoiceState::Refused);
}

/// The fault: a customer takes back what was given elsewhere, and a consent that is here is gone by all the same.
#[test]
fn a_withdrawal_of_what_is_not_on_record_counts_for_its_purposes() {
    let mut story = Story::new();
    story.given(MARKETING);
    story.given_to(MARKETING, MAIL);
    story.given(ADVERTISING);
    let data = json!({"consent": "kept-elsewhere", "purposes": [MARKETING]});
    let withdrawn = story.tell("consent.withdrawn", &data);
    for recipient in [MAIL, ADS] {
        assert_eq!(
            story.why(recipient, MARKETING),
            (DecisionReason::Withdrawn, Some(withdrawn.clone()))
        );
    }
    assert!(story.is_allowed(MAIL, ADVERTISING));
    story.given(MARKETING);
    assert!(story.is_allowed(MAIL, MARKETING) && story.is_allowed(ADS, MARKETING));
}

/// The fault: whoever spells a recipient otherwise passes by what the customer said against it.
#[test]
fn who_has_no_name_is_granted_nothing() {
    let mut story = Story::new();
    story.given(MARKETING);
    let data = json!({"purposes": [MARKETING], "recipient": recipient(MAIL)});
    story.tell("consent.refused", &data);
    for recipient in ["MAIL.example", "mail.example ", ""] {
        assert!(!story.is_allowed(recipient, MARKETING), "{recipient:?}");
    }
    assert!(story.is_allowed(ADS, MARKETING));
}

#[test]
fn nothing_is_granted_from_what_is_missing() {
    let mut story = Story::new();
    story.given(MARKETING);
    story.gaps = vec![UnopenedState::Erased];
    story.is_erased = true;
    // The customer came back after the erasure.
    assert!(story.is_allowed(MAIL, MARKETING));
    for state in [UnopenedState::Unreadable, UnopenedState::Malformed] {
        story.gaps.push(state);
        assert_eq!(story.why(MAIL, MARKETING), (DecisionReason::Unreadable, None));
        story.gaps.pop();
    }
    story.contents.clear();
    assert_eq!(story.why(MAIL, MARKETING), (DecisionReason::Erased, None));
}

#[test]
fn choices_say_what_can_be_switched() {
    let mut story = Story::new();
    story.shared("dpv:PaymentManagement", ADS, Some("eu-gdpr:A6-1-b"));
    story.shared(MARKETING, MAIL, Some("eu-gdpr:A6-1-a"));
    let consent = story.given(MARKETING);
    let choices = story.choices();
    let told: Vec<(&str, ChoiceState, bool)> = choices
        .purposes
        .iter()
        .map(|one| (one.purpose.as_str(), one.state, one.rests_on_consent))
        .collect();
    let expected = [
        (MARKETING, ChoiceState::Allowed, true),
        ("dpv:PaymentManagement", ChoiceState::NeverAsked, false),
    ];
    assert_eq!(told, expected);
    let (marketing, payment) = (&choices.purposes[0], &choices.purposes[1]);
    assert_eq!(marketing.by.as_ref().map(|by| by.id.clone()), Some(consent));
    assert_eq!(
        (marketing.recipients.as_slice(), marketing.legal_bases.len()),
        (&[MAIL.to_owned()][..], 0)
    );
    assert_eq!(payment.legal_bases, ["eu-gdpr:A6-1-b"]);
    let told: Vec<(&str, ChoiceState, bool)> = choices
        .recipients
        .iter()
        .map(|one| (one.recipient.id.as_str(), one.state, one.steerable))
        .collect();
    let expected = [
        (ADS, ChoiceState::NeverAsked, false),
        (MAIL, ChoiceState::Allowed, true),
    ];
    assert_eq!(told, expected);
    let shown = serde_json::to_value(&choices).unwrap();
    assert_eq!(shown["purposes"][0]["state"], "allowed");
    assert!(shown.get("basis").is_none() && shown["recipients"][0].get("steered").is_none());
    for of in [
        ChoiceOf::Purpose("dpv:PaymentManagement".to_owned()),
        ChoiceOf::Recipient(ADS.to_owned()),
    ] {
        let refused = story.change(of, false);
        assert!(
            matches!(refused, Err(ChoiceError::NotSteerable { .. })),
            "{refused:?}"
        );
    }
    let unknown = story.change(ChoiceOf::Recipient(STRANGER.to_owned()), false);
    assert!(matches!(unknown, Err(ChoiceError::UnknownRecipient { .. })));
    let misspelt = story.change(ChoiceOf::Purpose("dpv:Marketin".to_owned()), true);
    assert!(matches!(misspelt, Err(ChoiceError::Content(_))));
}

/// The fault: a checkbox takes more from a consent than it stands for, or gives more than was there.
#[test]
fn a_purpose_is_switched_by_the_least_that_does_it() {
    let mut story = Story::new();
    let data = json!({
        "purposes": [MARKETING, ADVERTISING],
        "categories": ["pd:Name"],
        "notice": "https://shop.example/privacy",
    });
    let both = story.tell("consent.given", &data);
    assert_eq!(story.purpose(MARKETING, true), 0);
    assert_eq!(story.purpose(MARKETING, false), 1);
    let (kind, event) = story.newest();
    assert_eq!(
        (kind, event.purposes),
        (Kind::ConsentWithdrawn, vec![MARKETING.to_owned()])
    );
    assert_eq!(event.consent.map(|consent| consent.id), Some(both));
    assert_eq!(event.source, "https://shop.example/sharetrail/choices");
    assert!(!story.is_allowed(MAIL, MARKETING) && story.is_allowed(MAIL, ADVERTISING));
    assert_eq!(story.purpose(MARKETING, false), 0);
    assert_eq!(story.purpose(MARKETING, true), 1);
    let (kind, event) = story.newest();
    assert_eq!(
        (kind, event.categories),
        (Kind::ConsentGiven, vec!["pd:Name".to_owned()])
    );
    assert_eq!(event.notice.as_deref(), Some("https://shop.example/privacy"));
    // The only purpose of its consent, which is withdrawn as a whole then.
    assert_eq!(story.purpose(MARKETING, false), 1);
    assert!(story.newest().1.purposes.is_empty());
    // What was never asked is refused.
    assert_eq!(story.purpose("dpv:SellProducts", false), 1);
    assert_eq!(story.newest().0, Kind::ConsentRefused);
    let choices = story.choices();
    let refused = choices
        .purposes
        .iter()
        .filter(|one| one.state == ChoiceState::Refused);
    assert_eq!(refused.count(), 2);
}

#[test]
fn a_recipient_is_switched_for_itself_alone() {
    let mut story = Story::new();
    story.shared(ADVERTISING, MAIL, None);
    story.given(MARKETING);
    // The consent that reaches it is withdrawn for it; what it received for without one is refused.
    assert_eq!(story.recipient(MAIL, false), 2);
    assert!(!story.is_allowed(MAIL, MARKETING) && story.is_allowed(ADS, MARKETING));
    assert_eq!(story.recipient(MAIL, false), 0);
    story.purpose(ADVERTISING, true);
    assert!(!story.is_allowed(MAIL, ADVERTISING) && story.is_allowed(ADS, ADVERTISING));
    let choices = story.choices();
    assert_eq!(choices.recipients[0].state, ChoiceState::Refused);
    assert_eq!(
        choices.recipients[0].recipient.contact.as_deref(),
        Some("privacy@mail.example")
    );
    // Each new consent is as the one before it, so there are two.
    assert_eq!(story.recipient(MAIL, true), 2);
    assert!(story.is_allowed(MAIL, MARKETING) && story.is_allowed(MAIL, ADVERTISING));
    assert_eq!(story.recipient(MAIL, true), 0);
    let (kind, event) = story.newest();
    assert_eq!(kind, Kind::ConsentGiven);
    assert_eq!(
        event.recipient.map(|recipient| recipient.id),
        Some(MAIL.to_owned())
    );
}

/// The fault: whoever turns a recipient on gets a purpose with it that is off; or it never comes back.
#[test]
fn a_recipient_comes_back_without_the_purpose_that_is_off() {
    let mut story = Story::new();
    story.shared(MARKETING, MAIL, None);
    story.given(MARKETING);
    story.recipient(MAIL, false);
    story.purpose(MARKETING, false);
    assert_eq!(story.recipient(MAIL, true), 1);
    assert_eq!(story.newest().0, Kind::PreferenceChanged);
    assert!(!story.is_allowed(MAIL, MARKETING));
    assert_eq!(story.recipient(MAIL, true), 0);
    story.purpose(MARKETING, true);
    assert!(story.is_allowed(MAIL, MARKETING));
}

/// The fault: a service's clock runs ahead, and the customer's no is dated before the yes that it is to undo.
#[test]
fn the_last_word_is_the_last_though_clocks_differ() {
    let mut story = Story::new();
    story.tell_at(3_600, "consent.refused", &json!({"purposes": [MARKETING]}));
    assert_eq!(story.purpose(MARKETING, true), 1);
    assert!(story.is_allowed(MAIL, MARKETING));
    assert_eq!(story.newest().1.time, Timestamp::from_unix(THEN + 3_600));
}

/// The fault: a consent that an opt-out hid comes back when that is taken back, though its purpose was turned off meanwhile.
#[test]
fn a_hidden_consent_is_withdrawn_with_its_purpose() {
    let mut story = Story::new();
    story.shared(MARKETING, ADS, None);
    story.given_to(MARKETING, ADS);
    let data = json!({"purposes": [MARKETING], "recipient": recipient(ADS), "outcome": "opt-out"});
    story.tell("preference.changed", &data);
    assert_eq!(story.purpose(MARKETING, false), 1);
    story.recipient(ADS, true);
    assert!(!story.is_allowed(ADS, MARKETING));
}

/// Something that a service or the customer says elsewhere.
#[derive(Clone, Debug)]
struct Raw {
    kind: usize,
    purposes: Vec<usize>,
    recipient: Option<usize>,
    consent: usize,
}

const KINDS: [&str; 6] = [
    "consent.given",
    "consent.refused",
    "consent.withdrawn",
    "consent.expired",
    "opt-out",
    "opt-in",
];

fn raw() -> impl Strategy<Value = Raw> {
    let purposes = vec(0..PURPOSES.len(), 1..3);
    let recipient = option::of(0..RECIPIENTS.len());
    (0..KINDS.len(), purposes, recipient, 0..8_usize).prop_map(|(kind, purposes, recipient, consent)| Raw {
        kind,
        purposes,
        recipient,
        consent,
    })
}

impl Story {
    /// `consents`: the ids of those given so far.
    fn tell_raw(&mut self, raw: &Raw, consents: &mut Vec<String>) {
        let purposes: Vec<&str> = raw.purposes.iter().map(|&at| PURPOSES[at]).collect();
        let mut data = json!({"purposes": purposes});
        if let Some(at) = raw.recipient {
            data["recipient"] = recipient(RECIPIENTS[at]);
        }
        let kind = KINDS[raw.kind];
        match kind {
            "consent.withdrawn" | "consent.expired" => {
                // Some of them end what nobody gave; some end it as a whole.
                let unknown = || "unknown".to_owned();
                data["consent"] = json!(consents.get(raw.consent).cloned().unwrap_or_else(unknown));
                if raw.consent.is_multiple_of(2) {
                    data.as_object_mut().unwrap().remove("purposes");
                }
                self.tell(kind, &data);
            }
            "opt-out" | "opt-in" => {
                data["outcome"] = json!(kind);
                self.tell("preference.changed", &data);
            }
            _ => {
                let id = self.tell(kind, &data);
                if kind == "consent.given" {
                    consents.push(id);
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Switch {
    Purpose(usize),
    Recipient(usize),
}

fn switch() -> impl Strategy<Value = (Switch, bool)> {
    let of = prop_oneof![
        (0..2_usize).prop_map(Switch::Purpose),
        (0..2_usize).prop_map(Switch::Recipient),
    ];
    (of, any::<bool>())
}

proptest! {
    /// The fault: after some history of words a switch does not do what it says.
    #[test]
    fn a_change_gives_what_was_asked(words in vec(raw(), 0..12), purpose in 0..3_usize, party in 0..2_usize) {
        let (mut story, mut consents) = (Story::new(), Vec::new());
        for id in RECIPIENTS {
            story.shared(MARKETING, id, None);
        }
        for word in &words {
            story.tell_raw(word, &mut consents);
        }
        let purpose = PURPOSES[purpose];
        story.purpose(purpose, true);
        prop_assert!(story.is_allowed(STRANGER, purpose));
        prop_assert_eq!(story.purpose(purpose, true), 0);
        story.purpose(purpose, false);
        for id in [MAIL, ADS, STRANGER] {
            prop_assert!(!story.is_allowed(id, purpose), "{id}");
        }
        prop_assert_eq!(story.purpose(purpose, false), 0);
        let party = RECIPIENTS[party];
        story.recipient(party, false);
        for purpose in PURPOSES {
            prop_assert!(!story.is_allowed(party, purpose), "{purpose}");
        }
        prop_assert_eq!(story.recipient(party, false), 0);
        story.recipient(party, true);
        prop_assert!(!story.is_allowed(party, purpose));
        prop_assert_eq!(story.recipient(party, true), 0);
        story.purpose(purpose, true);
        prop_assert!(story.is_allowed(STRANGER, purpose));
    }

    /// The fault: one switch undoes another. Data flows only where purpose and recipient are both on; the last word on
    /// each of them counts.
    #[test]
    fn both_purpose_and_recipient_must_be_on(switches in vec(switch(), 0..12)) {
        let mut story = Story::new();
        for id in RECIPIENTS {
            story.shared(MARKETING, id, None);
            story.shared(ADVERTISING, id, None);
        }
        let (mut purposes, mut recipients) = ([None; 2], [None; 2]);
        for (of, allowed) in switches {
            match of {
                Switch::Purpose(at) => {
                    story.purpose(PURPOSES[at], allowed);
                    purposes[at] = Some(allowed);
                }
                Switch::Recipient(at) => {
                    story.recipient(RECIPIENTS[at], allowed);
                    recipients[at] = Some(allowed);
                }
            }
            for (purpose, is_on) in PURPOSES.iter().zip(purposes) {
                for (recipient, is_wanted) in RECIPIENTS.iter().zip(recipients) {
                    let allowed = story.is_allowed(recipient, purpose);
                    if is_on == Some(false) || is_wanted == Some(false) {
                        prop_assert!(!allowed, "{recipient} for {purpose}");
                    } else if is_on == Some(true) {
                        prop_assert!(allowed, "{recipient} for {purpose}");
                    }
                }
            }
        }
    }

    /// The fault: the order in which events came to be on record changes what was said when.
    #[test]
    fn what_stands_does_not_depend_on_the_order_of_reading(words in vec(raw(), 0..10)) {
        let (mut story, mut consents) = (Story::new(), Vec::new());
        for word in &words {
            story.tell_raw(word, &mut consents);
        }
        let forward = story.choices();
        let mut trail = story.trail();
        trail.events.reverse();
        let backward = Choices::of(&trail);
        for purpose in PURPOSES {
            for id in RECIPIENTS {
                let one = decide(&forward, id, purpose, &[]);
                prop_assert_eq!(one, decide(&backward, id, purpose, &[]));
            }
        }
    }
}
