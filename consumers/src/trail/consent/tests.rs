//! Findings about made-up trails: what is sure, and what is not said.

use super::*;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Name;
use sharetrail_schemas::read;

use super::super::event::OnRecord;

const RECIPIENT: &str = r#""recipient":{"id":"mail.example","name":"Mail","role":"processor","country":"IE"},"categories":["pd:Name"]"#;

fn event(kind: &str, id: &str, day: u32, data: &str) -> TrailEvent {
    let json = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"https://shop.example/{kind}","type":"org.sharetrail.{kind}.v1",
        "subject":"customer-42","time":"2026-01-{day:02}T00:00:00Z","data":{{{data}}}}}"#
    );
    let at = OnRecord {
        shard: 0,
        index: LeafIndex(1),
        generation: 0,
        producer: Name::new("shop.example").unwrap(),
    };
    TrailEvent::new(at, &read(json.as_bytes()).unwrap(), &json)
}

fn shared(day: u32, data: &str) -> TrailEvent {
    event(
        "data.shared",
        "share",
        day,
        &format!(r#"{RECIPIENT},"purposes":["dpv:DirectMarketing"]{data}"#),
    )
}

fn given(id: &str, day: u32, purpose: &str) -> TrailEvent {
    event("consent.given", id, day, &format!(r#""purposes":["{purpose}"]"#))
}

fn ended(kind: &str, day: u32, data: &str) -> TrailEvent {
    event(kind, "end", day, &format!(r#""consent":"enrol"{data}"#))
}

fn time(day: i64) -> Timestamp {
    Timestamp::from_unix(1_767_225_600 + (day - 1) * 86_400)
}

/// Asserts what is found about the first of `events`.
#[track_caller]
fn check(events: Vec<TrailEvent>, complete: bool, expected: Option<Finding>) {
    let known = if complete { Known::All } else { Known::Part };
    check_known(events, known, expected);
}

#[track_caller]
fn check_known(events: Vec<TrailEvent>, known: Known, expected: Option<Finding>) {
    check_both(events, known, expected.map(TrailFinding::from));
}

/// The log has the order in which the events are given.
#[track_caller]
fn check_both(mut events: Vec<TrailEvent>, known: Known, expected: impl IntoIterator<Item = TrailFinding>) {
    for (event, index) in events.iter_mut().zip(0..) {
        event.index = LeafIndex(index);
    }
    judge(&mut events, known);
    assert_eq!(events[0].findings, expected.into_iter().collect::<Vec<_>>());
    assert!(events[1..].iter().all(|event| event.findings.is_empty()));
}

const NAMED: &str = r#","consent":"enrol""#;
const BASIS: &str = r#","legal_basis":"eu-gdpr:A6-1-a""#;

#[test]
fn a_consent_that_stands_is_no_finding() {
    check(
        vec![shared(5, NAMED), given("enrol", 5, "dpv:Marketing")],
        true,
        None,
    );
    check(
        vec![shared(5, BASIS), given("enrol", 1, "dpv:DirectMarketing")],
        true,
        None,
    );
    // Another purpose's consent may be a broader one.
    check(
        vec![shared(5, BASIS), given("enrol", 1, "dpv:Marketing")],
        true,
        None,
    );
    check(vec![shared(5, r#","legal_basis":"eu-gdpr:A6-1-b""#)], true, None);
}

#[test]
fn a_disclosure_before_its_consent_is_found() {
    let before = Some(Finding::BeforeConsent { given: time(6) });
    for data in [NAMED, BASIS] {
        check(
            vec![shared(5, data), given("enrol", 6, "dpv:DirectMarketing")],
            true,
            before,
        );
    }
    check(
        vec![shared(5, NAMED), given("enrol", 6, "dpv:Marketing")],
        false,
        before,
    );
    let series = r#","consent":"enrol","series":{"first":"2026-01-05T00:00:00Z","count":3,"last":"2026-01-09T00:00:00Z"}"#;
    check(
        vec![shared(9, series), given("enrol", 6, "dpv:Marketing")],
        true,
        before,
    );
}

#[test]
fn a_disclosure_after_a_withdrawal_is_found() {
    let after = Some(Finding::AfterWithdrawal { withdrawn: time(3) });
    let consent = || given("enrol", 1, "dpv:Marketing");
    check(
        vec![shared(5, NAMED), consent(), ended("consent.withdrawn", 3, "")],
        true,
        after,
    );
    check(
        vec![shared(3, NAMED), consent(), ended("consent.withdrawn", 3, "")],
        true,
        None,
    );
    for purpose in ["dpv:Marketing", "dpv:DirectMarketing"] {
        let purposes = format!(r#","purposes":["{purpose}"]"#);
        check(
            vec![
                shared(5, NAMED),
                consent(),
                ended("consent.withdrawn", 3, &purposes),
            ],
            true,
            after,
        );
    }
    let others = r#","purposes":["dpv:Personalisation"]"#;
    check(
        vec![shared(5, NAMED), consent(), ended("consent.withdrawn", 3, others)],
        true,
        None,
    );
    let expired = Some(Finding::WithoutConsent {
        why: NoConsent::Expired,
    });
    check(
        vec![shared(5, NAMED), consent(), ended("consent.expired", 3, "")],
        true,
        expired,
    );
}

/// The fault: a withdrawal that first named another consent, and was put right, is not held against anybody.
#[test]
fn a_corrected_withdrawal_counts_as_it_was_put_right() {
    let end = event("consent.withdrawn", "end", 3, r#""consent":"other""#);
    let data = r#""corrects":"end","description":"the other one","consent":"enrol""#;
    let right = event("event.corrected", "right", 4, data);
    let after = Some(Finding::AfterWithdrawal { withdrawn: time(3) });
    let consent = || given("enrol", 1, "dpv:Marketing");
    check(vec![shared(5, NAMED), consent(), end.clone()], true, None);
    check(vec![shared(5, NAMED), consent(), end, right], true, after);
}

fn corrected(id: &str, of: &str, data: &str) -> TrailEvent {
    let data = format!(r#""corrects":"{of}","description":"it was told wrongly",{data}"#);
    event("event.corrected", id, 9, &data)
}

fn away(finding: Finding) -> TrailFinding {
    TrailFinding {
        finding,
        corrected_away: true,
    }
}

/// The fault: whoever disclosed against the customer's will corrects the disclosure, or the will, and nobody is told.
#[test]
fn no_correction_ends_a_finding_unseen() {
    let after = Finding::AfterWithdrawal { withdrawn: time(3) };
    let given = || {
        [
            given("enrol", 1, "dpv:Marketing"),
            given("other", 1, "dpv:Marketing"),
        ]
    };
    let told = |right: Option<TrailEvent>| -> Vec<TrailEvent> {
        let end = ended("consent.withdrawn", 3, "");
        let all = [shared(5, NAMED)].into_iter().chain(given());
        all.chain([end]).chain(right).collect()
    };
    let check = |right, expected: TrailFinding| check_both(told(right), Known::All, [expected]);
    check(None, after.into());
    // Another consent, another time.
    check(
        Some(corrected("right", "share", r#""consent":"other""#)),
        away(after),
    );
    let series = r#""series":{"first":"2026-01-02T00:00:00Z","count":2,"last":"2026-01-02T01:00:00Z"}"#;
    check(Some(corrected("right", "share", series)), away(after));
    // The withdrawal was of another consent, all at once.
    check(
        Some(corrected("right", "end", r#""consent":"other""#)),
        away(after),
    );
    // What stays the same is told once.
    check(
        Some(corrected("right", "share", r#""country":"FR""#)),
        after.into(),
    );
    // Wrong as it was told, and otherwise wrong as it was put right.
    let early = r#""series":{"first":"2025-12-31T00:00:00Z","count":2,"last":"2025-12-31T01:00:00Z"}"#;
    let before = Finding::BeforeConsent { given: time(1) };
    check_both(
        told(Some(corrected("right", "share", early))),
        Known::All,
        [before.into(), away(after)],
    );
}

/// The fault: whoever has a service token of another producer says that its disclosures did not happen.
#[test]
fn only_its_own_producer_says_that_a_disclosure_did_not_happen() {
    let after = Finding::AfterWithdrawal { withdrawn: time(3) };
    let failure = || {
        event(
            "disclosure.failed",
            "f",
            6,
            r#""disclosure":"share","outcome":"bounced""#,
        )
    };
    let judged = |failure: TrailEvent| {
        let end = ended("consent.withdrawn", 3, "");
        let mut events = vec![shared(5, NAMED), given("enrol", 1, "dpv:Marketing"), end, failure];
        judge(&mut events, Known::All);
        let share = events.swap_remove(0);
        (share.disclosures(), share.findings)
    };
    assert_eq!(judged(failure()), (0, Vec::new()));
    let mut foreign = failure();
    foreign.producer = Name::new("till").unwrap();
    let mut later = failure();
    later.generation = 1;
    for failure in [foreign, later] {
        assert_eq!(judged(failure), (1, vec![TrailFinding::from(after)]));
    }
}

#[test]
fn a_missing_consent_is_found_only_in_a_whole_trail() {
    let without = |why| Some(Finding::WithoutConsent { why });
    for data in [NAMED, BASIS] {
        check(vec![shared(5, data)], true, without(NoConsent::NoneOnRecord));
        check(vec![shared(5, data)], false, None);
        let refused = event(
            "consent.refused",
            "enrol",
            1,
            r#""purposes":["dpv:DirectMarketing"]"#,
        );
        check(vec![shared(5, data), refused], true, without(NoConsent::Refused));
    }
}

#[test]
fn a_reference_is_to_the_same_host_or_to_the_source_it_names() {
    let elsewhere = r#","consent":{"source":"https://other.example/consent.given","id":"enrol"}"#;
    let consent = || given("enrol", 1, "dpv:Marketing");
    let none = Some(Finding::WithoutConsent {
        why: NoConsent::NoneOnRecord,
    });
    check(vec![shared(5, elsewhere), consent()], true, none);
    let here = r#","consent":{"source":"https://shop.example/consent.given","id":"enrol"}"#;
    check(vec![shared(5, here), consent()], true, None);
}

#[test]
fn a_disclosure_that_did_not_happen_is_no_disclosure() {
    let failure = event(
        "disclosure.failed",
        "f",
        6,
        r#""disclosure":"share","outcome":"bounced""#,
    );
    let mut events = vec![shared(5, NAMED), failure];
    judge(&mut events, Known::All);
    assert!(events[0].failed && events[0].findings.is_empty() && !events[1].failed);
    assert_eq!(events[0].disclosures(), 0);
}

const TO_MAIL: &str = r#","recipient":{"id":"mail.example","name":"Mail","role":"processor","country":"IE"}"#;
const TO_OTHERS: &str =
    r#","recipient":{"id":"other.example","name":"Other","role":"processor","country":"IE"}"#;
const DIRECT: &str = "dpv:DirectMarketing";

fn refused(day: u32, data: &str) -> TrailEvent {
    event(
        "consent.refused",
        "refusal",
        day,
        &format!(r#""purposes":["{DIRECT}"]{data}"#),
    )
}

/// The fault: who keeps one recipient from the data stops all others too, in the findings; or stops nobody.
#[test]
fn a_withdrawal_for_one_recipient_ends_the_consent_for_it_alone() {
    let after = Some(Finding::AfterWithdrawal { withdrawn: time(3) });
    let consent = || given("enrol", 1, DIRECT);
    for data in [NAMED, BASIS] {
        for (recipient, expected) in [(TO_MAIL, after), (TO_OTHERS, None)] {
            let end = ended("consent.withdrawn", 3, recipient);
            check(vec![shared(5, data), consent(), end], true, expected);
        }
    }
    let end = || ended("consent.withdrawn", 3, TO_MAIL);
    check(vec![shared(3, NAMED), consent(), end()], true, None);
    // Without its consent's name, and by no other law: the recipient is refused all the same.
    let against = Some(Finding::AgainstChoice { refused: time(3) });
    check(vec![shared(5, ""), consent(), end()], true, against);
    // A consent to anybody does not bring back who was refused by name; one that names it does.
    check(
        vec![shared(5, ""), consent(), end(), given("again", 4, DIRECT)],
        true,
        against,
    );
    let by_name = event(
        "consent.given",
        "again",
        4,
        &format!(r#""purposes":["{DIRECT}"]{TO_MAIL}"#),
    );
    check(vec![shared(5, ""), consent(), end(), by_name], true, None);
}

/// The fault: a disclosure that the customer had refused looks like any other, because it names no consent.
#[test]
fn a_disclosure_against_a_refusal_is_found() {
    let against = Some(Finding::AgainstChoice { refused: time(3) });
    for recipient in ["", TO_MAIL] {
        check(vec![shared(5, ""), refused(3, recipient)], true, against);
        check(
            vec![
                shared(5, NAMED),
                given("enrol", 1, "dpv:Marketing"),
                refused(3, recipient),
            ],
            true,
            against,
        );
        // It happened before, or at the same moment.
        check(vec![shared(3, ""), refused(3, recipient)], true, None);
        // A contract does not ask for consent.
        let contract = r#","legal_basis":"eu-gdpr:A6-1-b""#;
        check(vec![shared(5, contract), refused(3, recipient)], true, None);
        // What does not open may have lifted it; what was erased was before.
        check(vec![shared(5, ""), refused(3, recipient)], false, None);
        check_known(
            vec![shared(5, ""), refused(3, recipient)],
            Known::SinceErasure,
            against,
        );
    }
    check(vec![shared(5, ""), refused(3, TO_OTHERS)], true, None);
    // The consent that the disclosure names came later, and may be a broader one.
    check(
        vec![
            shared(5, NAMED),
            given("enrol", 4, "dpv:Marketing"),
            refused(3, ""),
        ],
        true,
        None,
    );
    check(
        vec![shared(5, ""), given("enrol", 4, DIRECT), refused(3, "")],
        true,
        None,
    );
    // An older kind of finding says it already.
    let before = Some(Finding::BeforeConsent { given: time(6) });
    check(
        vec![shared(5, NAMED), given("enrol", 6, DIRECT), refused(3, "")],
        true,
        before,
    );
}

/// The fault: opting out is taken for a remark.
#[test]
fn an_opt_out_is_a_refusal_until_it_is_taken_back() {
    let preference = |id: &str, day: u32, outcome: &str| {
        event(
            "preference.changed",
            id,
            day,
            &format!(r#""purposes":["{DIRECT}"],"outcome":"{outcome}""#),
        )
    };
    let against = Some(Finding::AgainstChoice { refused: time(2) });
    let consent = || given("enrol", 1, DIRECT);
    let out = || preference("out", 2, "opt-out");
    check(vec![shared(5, BASIS), consent(), out()], true, against);
    check(
        vec![shared(5, BASIS), consent(), out(), preference("in", 3, "opt-in")],
        true,
        None,
    );
    check(
        vec![shared(5, BASIS), consent(), preference("other", 2, "weekly")],
        true,
        None,
    );
}

/// The fault: a share that names no legal basis goes unnoticed after the only consent to it was withdrawn.
#[test]
fn without_any_basis_a_withdrawn_purpose_counts_as_refused() {
    let against = Some(Finding::AgainstChoice { refused: time(3) });
    let consent = || given("enrol", 1, DIRECT);
    let end = || ended("consent.withdrawn", 3, "");
    check(vec![shared(5, ""), consent(), end()], true, against);
    check(
        vec![shared(5, ""), consent(), end(), given("again", 4, DIRECT)],
        true,
        None,
    );
    check(
        vec![shared(5, ""), consent(), ended("consent.expired", 3, "")],
        true,
        None,
    );
}
