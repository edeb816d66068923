//! The officer's pages, out of made-up requests and findings.

use sharetrail_proof::name::Name;
use sharetrail_schemas::{Kind, Role};

use super::super::parts::samples::{MARKUP, check_escaped, check_forms, event, recipient, time, trail};
use super::*;
use crate::requests::requests;
use crate::trail::{Finding, TrailEvent, TrailRequest};

fn watched(number: u64, right: Right) -> WatchedRequest {
    let opened = TrailEvent {
        request: Some(TrailRequest {
            id: format!("r{number}"),
            right,
            regime: Some("eu-gdpr".to_owned()),
            status: Some("open".to_owned()),
            due: Some(time(31)),
        }),
        description: Some(MARKUP.to_owned()),
        ..event(Kind::RequestOpened, &format!("r{number}"), number)
    };
    let mut found = requests(&trail(vec![opened]));
    WatchedRequest {
        customer: MARKUP.to_owned(),
        request: found.remove(0),
        is_being_erased: false,
    }
}

fn found(number: u64, concern: Concern) -> WatchedFinding {
    WatchedFinding {
        shard: 0,
        index: LeafIndex(number),
        producer: Name::new("shop.example").unwrap(),
        customer: Some(MARKUP.to_owned()),
        kind: Some(Kind::DataShared),
        time: Some(time(3)),
        recipient: Some(recipient("mail.example")),
        concern,
        corrected_at: Vec::new(),
        corrected_away: false,
    }
}

fn unregistered(number: u64) -> WatchedFinding {
    let recipient = "mail.example".to_owned();
    found(number, Concern::UnregisteredRecipient { recipient })
}

fn decision(pairs: &[(&str, &str)]) -> Decision {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Decision::read(&pairs.collect::<Pairs>())
}

fn fields(decision: &Decision, about: &WatchedRequest) -> Vec<String> {
    let faults = decision.check(about).err().unwrap_or_default();
    faults.into_iter().map(|fault| fault.field).collect()
}

fn main(requests: &[WatchedRequest], wrong: Option<&Wrong>, done: Option<&str>) -> String {
    main_from(requests, 0, wrong, done)
}

fn main_from(requests: &[WatchedRequest], from: usize, wrong: Option<&Wrong>, done: Option<&str>) -> String {
    let shown = ToDecide {
        requests,
        from,
        progress: (5, 5),
        done,
        wrong,
        csrf: "token",
        now: time(40),
    };
    shown.main(words::english()).into_string()
}

/// The fault: one slip erases a customer, or a customer is refused and not told why.
#[test]
fn an_erasure_is_confirmed_and_a_refusal_has_a_reason() {
    let (erasure, access) = (watched(7, Right::Erasure), watched(8, Right::Access));
    assert_eq!(
        fields(&decision(&[("decision", "grant")]), &erasure),
        ["confirm-0-7"]
    );
    assert_eq!(
        fields(&decision(&[("decision", "refuse")]), &erasure),
        ["reason-0-7"]
    );
    assert_eq!(fields(&decision(&[]), &access), ["decision-0-8"]);
    let granted = decision(&[("decision", "grant")]);
    assert_eq!(granted.check(&access).ok(), Some((true, None)));
    let sure = decision(&[("decision", "grant"), ("confirm", "yes")]);
    assert_eq!(sure.check(&erasure).ok(), Some((true, None)));
    let refused = decision(&[("decision", "refuse"), ("reason", "because"), ("confirm", "yes")]);
    assert_eq!(
        refused.check(&erasure).ok(),
        Some((false, Some("because".to_owned())))
    );
}

/// The fault: what a customer calls themselves or writes becomes markup on the officer's page.
#[test]
fn requests_are_escaped_and_their_forms_carry_the_token() {
    let html = main(
        &[watched(7, Right::Erasure), watched(8, Right::Access)],
        None,
        None,
    );
    check_escaped(&html);
    check_forms(&html, "token");
    assert_eq!(html.matches("action=\"/officer/requests/0/").count(), 2);
    // Only an erasure asks for the tick, and both were due nine days ago.
    assert_eq!(html.matches("name=\"confirm\"").count(), 1);
    assert_eq!(html.matches(words::english().officer.requests.overdue).count(), 2);
    let mut ids: Vec<&str> = html
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "ids stand once on a page");
}

#[test]
fn a_decision_that_is_wrong_is_shown_again_where_it_was_made() {
    let requests = [watched(7, Right::Access), watched(8, Right::Access)];
    let sent = decision(&[("decision", "refuse")]);
    let wrong = Wrong {
        place: (0, LeafIndex(8)),
        faults: sent.check(&requests[1]).err().unwrap_or_default(),
        decision: sent,
    };
    let html = main(&requests, Some(&wrong), None);
    assert!(html.contains("href=\"#reason-0-8\"") && html.contains("id=\"reason-0-8-fault\""));
    assert!(!html.contains("reason-0-7-fault"));
    assert_eq!(html.matches(" checked").count(), 1);
}

/// The fault: an erasure that is under way is decided a second time.
#[test]
fn whoever_is_being_erased_has_no_form() {
    let mut erasing = watched(7, Right::Erasure);
    erasing.is_being_erased = true;
    let html = main(&[erasing], None, Some("erasing"));
    assert!(!html.contains("<form"));
    assert!(html.contains(words::english().officer.requests.erasing_now));
    assert!(!main(&[], None, Some(MARKUP)).contains("script"));
}

/// The fault: a request that nobody can come to, or a decision that was wrong and is not shown again.
#[test]
fn pages_of_requests_follow_each_other() {
    let all: Vec<WatchedRequest> = (0..120).map(|number| watched(number, Right::Access)).collect();
    let forms = |html: &str| -> Vec<u64> {
        let addresses = html.split("action=\"/officer/requests/0/").skip(1);
        let numbers = addresses.filter_map(|rest| rest.split('"').next()?.parse::<u64>().ok());
        numbers.collect()
    };
    let (mut from, mut read) = (0, Vec::new());
    loop {
        let html = main_from(&all, from, None, None);
        read.extend(forms(&html));
        let mut links = html.split("href=\"/officer?from=").skip(1);
        let next = links
            .next()
            .and_then(|rest| rest.split('"').next()?.parse::<usize>().ok());
        let Some(next) = next else { break };
        from = next;
    }
    assert_eq!(read, (0..120).collect::<Vec<u64>>());
    // A page that is gone, and one that begins in between.
    assert_eq!(forms(&main_from(&all, 5_000, None, None))[0], 0);
    assert_eq!(forms(&main_from(&all, 70, None, None))[0], 50);
    let sent = decision(&[]);
    let wrong = Wrong {
        place: (0, LeafIndex(115)),
        faults: sent.check(&all[115]).err().unwrap_or_default(),
        decision: sent,
    };
    let html = main_from(&all, 0, Some(&wrong), None);
    assert!(html.contains("id=\"decision-0-115-fault\""));
    assert!(html.contains("aria-describedby=\"decision-0-115-fault\""));
    assert!(!main(&all[..50], None, None).contains("<nav"), "these are all");
}

/// The fault: an officer reads that there is nothing, while most is not read yet.
#[test]
fn nothing_is_said_to_be_nothing_only_when_all_is_read() {
    let texts = &words::english().officer;
    let page = FindingsPage::of(&[], &Asked::default());
    for (read, is_all) in [((9, 9), true), ((3, 9), false)] {
        let pages = [
            findings(words::english(), &page, &Asked::default(), read).into_string(),
            recipients(words::english(), &[], read).into_string(),
        ];
        for (html, none) in pages.iter().zip([texts.findings.none, texts.recipients.none]) {
            assert_eq!(html.contains(none), is_all, "{html}");
            assert_eq!(html.contains(texts.none_yet), !is_all, "{html}");
        }
    }
}

/// The fault: an officer compares a finding with the event as it was told first, and thinks one of them wrong.
#[test]
fn a_finding_says_that_its_event_was_put_right() {
    let mut once = unregistered(1);
    once.corrected_at = vec![LeafIndex(1_009)];
    let mut twice = unregistered(2);
    twice.corrected_at = vec![LeafIndex(12), LeafIndex(11)];
    let shown = |finding: WatchedFinding| {
        let page = FindingsPage::of(&[finding], &Asked::default());
        findings(words::english(), &page, &Asked::default(), (9, 9)).into_string()
    };
    assert!(shown(once).contains("corrected at leaf 1,009"));
    assert!(shown(twice).contains("corrected 2 times, the last at leaf 11"));
    assert!(!shown(unregistered(3)).contains("corrected at leaf"));
    // What it is no longer, since then, is told apart.
    let mut away = unregistered(4);
    away.corrected_at = vec![LeafIndex(9)];
    assert!(!shown(away.clone()).contains("as it was told; corrected since"));
    away.corrected_away = true;
    let html = shown(away);
    assert!(
        html.contains("So it is as it was told; corrected since at leaf 9.") && !html.contains("tag-bad")
    );
}

/// The fault: a page that leaves one out or shows one twice, also where one event has several findings.
#[test]
fn pages_of_findings_follow_each_other() {
    let all: Vec<WatchedFinding> = (0..60)
        .flat_map(|number| {
            let country = "US".to_owned();
            let mut away = unregistered(number);
            away.corrected_away = true;
            [
                found(number, Concern::NoSafeguard { country }),
                unregistered(number),
                away,
            ]
        })
        .collect();
    let mut asked = Asked::default();
    let mut read = Vec::new();
    loop {
        let page = FindingsPage::of(&all, &asked);
        let more = page.has_more();
        let address = asked.address(page.shown.last());
        read.extend(page.shown);
        if !more {
            break;
        }
        asked = Asked::read(address.split_once('?').map(|(_, query)| query));
    }
    assert_eq!(read, all);
}

#[test]
fn findings_are_filtered_by_kind_and_recipient() {
    let reason = "it does not open".to_owned();
    let mut unread = found(1, Concern::Unreadable { reason });
    unread.recipient = None;
    let all = [unread, unregistered(2)];
    let count = |query: &str| FindingsPage::of(&all, &Asked::read(Some(query))).total;
    assert_eq!(count(""), 2);
    assert_eq!(count("kind=unreadable"), 1);
    assert_eq!(count("recipient=mail.example"), 1);
    assert_eq!(count("recipient=other.example"), 0);
    // No kind of ours: all are shown.
    assert_eq!(count("kind=%3Cscript%3E"), 2);
    // A cursor that points at nothing begins anew.
    assert_eq!(
        FindingsPage::of(&all, &Asked::read(Some("after=0.99.consent"))).before,
        0
    );
}

#[test]
fn findings_are_told_in_sentences_and_escaped() {
    let consent = Concern::Consent(Finding::AgainstChoice { refused: time(2) });
    let reason = MARKUP.to_owned();
    let all = [found(1, consent), found(2, Concern::Unreadable { reason })];
    let asked = Asked {
        recipient: "\"><script>".to_owned(),
        ..Asked::default()
    };
    let page = FindingsPage::of(&all, &Asked::default());
    let html = findings(words::english(), &page, &asked, (3, 9)).into_string();
    check_escaped(&html);
    assert!(html.contains("2 January 2026"));
    assert!(html.contains(&(words::english().officer.progress)("3", "9")));
    assert_eq!(html.matches("<caption").count(), 1);
    let kinds = words::english().officer.findings.kinds;
    assert!(
        all.iter()
            .all(|one| kinds.iter().any(|(name, _)| *name == one.concern.name()))
    );
}

#[test]
fn recipients_are_summed_and_escaped() {
    let sums = RecipientTotals {
        id: "mail.example".to_owned(),
        name: MARKUP.to_owned(),
        role: Role::Processor,
        country: "IE".to_owned(),
        disclosures: 12_345,
        corrected_away: 3,
        customers: 40,
        first: time(1),
        last: time(9),
        concerns: 2,
        registered: false,
    };
    let html = recipients(words::english(), &[sums], (1, 1)).into_string();
    check_escaped(&html);
    assert!(html.contains("12,345") && html.contains("Ireland"));
    assert!(html.contains("Told 3 times first; corrected since to another organisation."));
    assert!(html.contains("recipient=mail.example"));
    assert!(html.contains(words::english().officer.recipients.not_registered));
}
