//! The timeline of made-up trails: what is shown, what a filter leaves, where pages begin.

use super::super::layout::tests::check_main;
use super::super::parts::samples::{MARKUP, check_escaped, event, shared, trail};
use super::*;
use crate::trail::{Finding, TrailFinding, Unopened};

fn asked(query: &str) -> (Wish, Given) {
    let mut given = Given::of(query);
    (Wish::take(&mut given), given)
}

fn shown(trail: &Trail, query: &str) -> String {
    let (wish, given) = asked(query);
    let main = content(trail, &wish, given.faults(), words::english());
    check_main(&main);
    main.into_string()
}

/// More than two pages of events, the first of them of the day 1.
fn long() -> Trail {
    let days = 1..=u64::try_from(2 * PAGE_EVENTS + 3).unwrap();
    trail(
        days.map(|day| event(Kind::RelationshipStarted, &format!("e-{day}"), day))
            .collect(),
    )
}

/// The fault: an event that stands on two pages, or on none.
#[test]
fn pages_join_up_in_both_directions() {
    let trail = long();
    let events: Vec<&TrailEvent> = trail.events.iter().rev().collect();
    let mut seen = Vec::new();
    let mut after = None;
    let mut starts = vec![None];
    loop {
        let window = Window::after(&events, after);
        seen.extend(window.shown.iter().map(|event| event.index.0));
        let Some(older) = window.older else { break };
        after = Some(older);
        starts.push(after);
    }
    let expected: Vec<u64> = events.iter().map(|event| event.index.0).collect();
    assert_eq!(seen, expected);
    assert_eq!(starts.len(), 3);
    for pair in starts.windows(2) {
        assert_eq!(Window::after(&events, pair[1]).newer, pair[0]);
    }
    assert_eq!(Window::after(&events, None).before, 0);
}

/// The fault: an address out of an old mail gives an empty page or a panic.
#[test]
fn a_page_that_is_not_there_is_the_first_one() {
    let trail = long();
    let first = shown(&trail, "");
    for odd in [
        "page=9.9",
        "page=0.1",
        "page=x",
        "page=-1.-1",
        "page=0.99999999999999999999",
    ] {
        assert_eq!(shown(&trail, odd), first, "{odd}");
    }
    let none = content(
        &super::super::parts::samples::trail(Vec::new()),
        &Wish::default(),
        &[],
        words::english(),
    );
    let none = none.into_string();
    assert!(none.contains(words::english().timeline.filter.nothing) && !none.contains("<form"));
}

#[test]
fn filters_stay_set_from_page_to_page() {
    let (wish, _) = asked("recipient=mail.example&findings=only&from=2026-01-01&kind=");
    let address = wish.address(Some((0, LeafIndex(7))));
    assert_eq!(
        address,
        "/me/timeline?recipient=mail.example&from=2026-01-01&findings=only&page=0.7"
    );
    assert_eq!(Wish::default().address(None), ADDRESS);
    let trail = trail(vec![
        shared("one", 1, "mail.example", &["pd:Name"]),
        shared("two", 2, "print.example", &["pd:Purchase"]),
    ]);
    let html = shown(&trail, "recipient=mail.example");
    assert!(html.contains("id=\"event-0-1\"") && !html.contains("id=\"event-0-2\""));
    assert!(html.contains("<option value=\"mail.example\" selected>"));
    assert!(html.contains("<details class=\"card\" open>"));
}

#[test]
fn a_filter_that_does_not_read_is_told_and_leads_to_its_field() {
    let html = shown(&long(), "from=yesterday&kind=data.shred");
    assert!(html.contains("role=\"alert\""));
    assert!(html.contains("href=\"#filter-from\"") && html.contains("href=\"#filter-kind\""));
}

/// The fault: what a producer wrote becomes markup in the customer's browser.
#[test]
fn contents_are_escaped() {
    let mut one = shared("one", 1, "mail.example", &[MARKUP]);
    one.description = Some(MARKUP.to_owned());
    one.benefit = Some(MARKUP.to_owned());
    one.purposes = vec![MARKUP.to_owned()];
    one.content = format!("{{\"x\":\"{MARKUP}\"}}");
    one.recipient.as_mut().unwrap().name = MARKUP.to_owned();
    let mut told = trail(vec![one]);
    told.customer = MARKUP.to_owned();
    check_escaped(&shown(&told, ""));
    let html = shown(&told, "recipient=%22%3E%3Cscript%3E&purpose=%3Cscript%3E");
    assert!(!html.contains("<script"));
}

#[test]
fn findings_and_what_does_not_open_are_shown() {
    let mut late = shared("late", 9, "mail.example", &["pd:Name"]);
    let withdrawn = "2026-01-05T00:00:00Z".parse().unwrap();
    late.findings = vec![Finding::AfterWithdrawal { withdrawn }.into()];
    let mut told = trail(vec![shared("good", 2, "mail.example", &["pd:Name"]), late]);
    told.unopened.push(Unopened {
        shard: 0,
        index: LeafIndex(12),
        generation: 0,
        producer: sharetrail_proof::name::Name::new("shop.example").unwrap(),
        state: UnopenedState::Unreadable,
        reason: "the seal does not open".to_owned(),
    });
    let html = shown(&told, "");
    assert!(html.contains("You had withdrawn your consent to this on 5 January 2026."));
    assert!(html.contains("leaf 12 of shard 0") && html.contains("the seal does not open"));
    let only = shown(&told, "findings=only");
    assert!(only.contains("id=\"event-0-9\"") && !only.contains("id=\"event-0-2\""));
}

/// The fault: an event was put right, and its page says nothing; or what was wrong with it before is gone.
#[test]
fn what_was_corrected_says_so() {
    let mut once = shared("once", 9, "mail.example", &["pd:Name"]);
    let withdrawn = "2026-01-05T00:00:00Z".parse().unwrap();
    let mut away = TrailFinding::from(Finding::AfterWithdrawal { withdrawn });
    away.corrected_away = true;
    once.findings = vec![away];
    once.corrected_at = vec![LeafIndex(1_009)];
    let html = shown(&trail(vec![once.clone()]), "findings=only");
    assert!(html.contains("<span class=\"tag tag-warn\">corrected at leaf 1,009</span>"));
    assert!(html.contains("on 5 January 2026. So it is as it was told; corrected since at leaf 1,009."));
    assert!(html.contains("notice-warn") && !html.contains("notice-bad"));
    once.corrected_at.clear();
    once.findings.clear();
    assert!(!shown(&trail(vec![once]), "").contains("corrected"));
}

/// The fault: a consent is named by its id, which says nothing to the customer who gave it.
#[test]
fn events_that_are_named_can_be_gone_to() {
    let given = event(Kind::ConsentGiven, "yes", 1);
    let ended = |id: &str| TrailEvent {
        consent: Some(super::super::parts::samples::reference(id)),
        ..event(Kind::ConsentWithdrawn, "no", 2)
    };
    let html = shown(&trail(vec![given.clone(), ended("yes")]), "");
    assert!(html.contains("Consent given, 1 January 2026</a>"));
    // Where the event is not in the trail, its id is all there is.
    assert!(shown(&trail(vec![given, ended("other")]), "").contains("event other of"));
}

#[test]
fn an_event_can_be_linked_to_wherever_it_stands() {
    let trail = long();
    let newest = trail.events.last().unwrap();
    assert_eq!(
        address_of(&trail, newest),
        format!("{ADDRESS}#event-0-{}", newest.index)
    );
    let oldest = trail.events.first().unwrap();
    assert_eq!(
        address_of(&trail, oldest),
        format!("{ADDRESS}?page=0.2#event-0-1")
    );
    assert!(shown(&trail, "page=0.2").contains("id=\"event-0-1\""));
}
