//! Sentences of made-up events: what each kind says, and that nothing else gets in.

use sharetrail_schemas::{Field, Right};

use super::super::parts::samples::{self, MARKUP, check_escaped, recipient, reference, shared};
use super::super::words::english;
use super::*;
use crate::trail::{Finding, NoConsent, TrailRequest, TrailSeries};

/// An event of a kind with what these fields of it hold.
fn event(kind: Kind, fields: &[Field]) -> TrailEvent {
    let has = |name: &str| fields.iter().any(|field| field.name() == name);
    let text = |name: &str| has(name).then(|| "customer".to_owned());
    let terms = |name: &str, terms: [&str; 2]| {
        let given = terms.map(str::to_owned).to_vec();
        if has(name) { given } else { Vec::new() }
    };
    TrailEvent {
        recipient: has("recipient").then(|| recipient("mail.example")),
        categories: terms("categories", ["pd:Name", "pd:PhysicalAddress"]),
        purposes: terms("purposes", ["dpv:DirectMarketing", "dpv:PaymentManagement"]),
        origin: text("origin"),
        outcome: text("outcome"),
        description: text("description"),
        consent: has("consent").then(|| reference("consent-1")),
        request: has("request").then(|| TrailRequest {
            id: "request-1".to_owned(),
            right: Right::Erasure,
            regime: None,
            status: None,
            due: None,
        }),
        ..samples::event(kind, "one", 1)
    }
}

#[track_caller]
fn check_whole(kind: Kind, sentence: &str) {
    assert!(sentence.ends_with('.'), "{kind}: {sentence}");
    for odd in ["{", "}", "[", "]", "  ", " .", " ,", english().timeline.unnamed] {
        assert!(!sentence.contains(odd), "{kind}: {odd:?} in {sentence}");
    }
}

/// The fault: a kind whose sentence leaves out to whom data went, or which.
#[test]
fn every_kind_tells_who_what_and_why() {
    for &kind in Kind::ALL {
        let all: Vec<Field> = kind.needs().iter().chain(kind.may()).copied().collect();
        let sentence = tell(&event(kind, &all), english()).sentence();
        check_whole(kind, &sentence);
        for (field, told) in [
            ("recipient", "The mail.example (service provider, Ireland)"),
            ("categories", "name and physical address"),
            ("purposes", "direct marketing and payment management"),
        ] {
            let has = all.iter().any(|one| one.name() == field);
            assert_eq!(sentence.contains(told), has, "{kind}, {field}: {sentence}");
        }
        let least = tell(&event(kind, kind.needs()), english()).sentence();
        check_whole(kind, &least);
    }
}

#[test]
fn a_disclosure_reads_as_a_sentence() {
    let mut one = shared("spring", 3, "mail.example", &["pd:Name", "pd:PhysicalAddress"]);
    one.legal_basis = Some("eu-gdpr:A6-1-a".to_owned());
    one.consent = Some(reference("consent-1"));
    one.country = Some("US".to_owned());
    one.safeguard = Some("eu-gdpr:A46-2-c".to_owned());
    one.onward_of = Some(reference("before"));
    one.benefit = Some("5.00 off".to_owned());
    let told = tell(&one, english());
    assert_eq!(
        told.sentence(),
        "shop.example shared your name and physical address with The mail.example (service provider, Ireland), for \
         direct marketing."
    );
    let text = told.text(english());
    for part in [
        "Legal ground: your consent (GDPR Art. 6(1)(a)).",
        "Rests on your consent: event consent-1 of https://shop.example/all.",
        "Went to: United States.",
        "Safeguard abroad: standard contractual clauses (GDPR Art. 46(2)(c)).",
        "Passed on from: event before of https://shop.example/all.",
        "You got: 5.00 off.",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_series_is_told_with_its_span() {
    let mut one = shared("all", 9, "mail.example", &["pd:Name"]);
    one.series = Some(TrailSeries {
        first: samples::time(1),
        count: 1_200,
        last: samples::time(9),
    });
    let sentence = tell(&one, english()).sentence();
    assert!(sentence.ends_with(", for direct marketing (1,200 times, 1 January 2026 to 9 January 2026)."));
}

/// The fault: what a producer wrote is read as a pattern, or becomes markup.
#[test]
fn what_fills_a_hole_is_only_shown() {
    let mut one = shared("one", 1, "mail.example", &[MARKUP]);
    let odd = "{by} [x] {{";
    one.recipient.as_mut().unwrap().name = format!("{odd}{MARKUP}");
    let told = tell(&one, english());
    assert!(told.sentence().contains(odd));
    check_escaped(&told.markup().into_string());
    assert!(
        told.markup()
            .into_string()
            .contains("<a href=\"/me/recipients/mail.example\">")
    );
}

#[test]
fn the_facts_tell_where_an_event_is_on_record() {
    let mut one = shared("one", 7, "mail.example", &["pd:Name"]);
    one.retention = Some("P2Y".to_owned());
    let told = facts(&one, english());
    let text = |name: &str| told.iter().find(|fact| fact.name == name).map(|fact| &*fact.text);
    assert_eq!(text("On record"), Some("leaf 7 of shard 0"));
    assert_eq!(text("Signed by"), Some("shop.example"));
    assert_eq!(text("Kept for"), Some("2 years"));
    assert_eq!(text("Event"), Some("event one of https://shop.example/all"));
    assert_eq!(text("Contract"), None);
}

#[test]
fn laws_that_no_words_are_known_for_are_told_as_they_are() {
    for (term, expected) in [
        ("eu-gdpr:A6-1-f", "a legitimate interest (GDPR Art. 6(1)(f))"),
        ("dpv:Consent", "Consent"),
        ("hipaa:164.512-b", "hipaa:164.512-b"),
    ] {
        assert_eq!(law(term, english()), expected);
    }
}

#[test]
fn findings_are_sentences() {
    let why = NoConsent::Expired;
    let mut found = TrailFinding::from(Finding::WithoutConsent { why });
    let mut event = event(Kind::DataShared, &[]);
    let told = finding(&event, &found, english());
    assert!(told.ends_with('.') && told.contains("ended"));
    // What was corrected away is told with where.
    event.corrected_at = vec![LeafIndex(7), LeafIndex(1_009)];
    assert_eq!(finding(&event, &found, english()), told);
    found.corrected_away = true;
    let away = finding(&event, &found, english());
    assert!(away.starts_with(&told) && away.ends_with("as it was told; corrected since at leaf 1,009."));
    event.corrected_at.clear();
    assert!(finding(&event, &found, english()).ends_with("that decides was corrected since."));
}
