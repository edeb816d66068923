//! Behind a reverse proxy: whose limits of rate a request counts against, and what a proxy's word does not change.
//!
//! In scope: that what `trusted_proxies` names reaches the limits. Out of scope: how the header is read (`http::proxies`).

use sharetrail_consumers::http::{HttpSettings, LimitSettings};

use crate::support::TestLedger;
use crate::support::http::ask;
use crate::support::served::Served;

/// How many requests are let through at once where one a second is.
const AT_ONCE: usize = 10;
/// More than are let through, however slow the machine is.
const TRIES: usize = 100;

fn settings(trusted: &[&str]) -> HttpSettings {
    HttpSettings {
        trusted_proxies: trusted.iter().map(|text| text.parse().unwrap()).collect(),
        limits: LimitSettings {
            stranger_per_second: 1,
            ..LimitSettings::default()
        },
        ..HttpSettings::default()
    }
}

/// How many requests that say to come from there are answered before one is refused.
fn answered(served: &Served, forwarded: &[&str]) -> usize {
    let headers: Vec<(&str, &str)> = forwarded.iter().map(|line| ("X-Forwarded-For", *line)).collect();
    let is_answered = |_: &usize| {
        let answer = ask(served.server.address(), "GET /policy", &headers, b"");
        assert!([200, 429].contains(&answer.status), "{}", answer.text());
        answer.status == 200
    };
    (0..TRIES).take_while(is_answered).count()
}

/// The fault: all strangers behind a proxy share one limit, so that one of them keeps the others out; or one of them is
/// held to none, by writing another address before the proxy's.
#[test]
fn strangers_behind_a_trusted_proxy_have_a_limit_each() {
    let place = TestLedger::new(1);
    let served = Served::new(&place, settings(&["127.0.0.0/8"]), None);
    let first = answered(&served, &["203.0.113.1"]);
    assert!((AT_ONCE..TRIES).contains(&first), "{first}");
    let second = answered(&served, &["203.0.113.2"]);
    assert!((AT_ONCE..TRIES).contains(&second), "{second}");
    for again in [
        &["198.51.100.1, 203.0.113.1"][..],
        &["198.51.100.2", "203.0.113.1"],
        &["198.51.100.3, 203.0.113.1:49152, 127.0.0.9"],
    ] {
        let count = answered(&served, again);
        assert!(count < AT_ONCE, "{again:?}: {count}");
    }
    // What names nobody counts as the proxy's own, which is one more.
    let nobody = answered(&served, &["unknown"]);
    assert!((AT_ONCE..TRIES).contains(&nobody), "{nobody}");
    let silent = answered(&served, &[]);
    assert!(silent < AT_ONCE, "{silent}");
}

/// The fault: whoever connects by themselves has a new limit with each address that they make up.
#[test]
fn nobody_else_says_where_a_request_comes_from() {
    let named: [&[&str]; 2] = [&[], &["192.0.2.1", "fd00::/8"]];
    for trusted in named {
        let place = TestLedger::new(1);
        let served = Served::new(&place, settings(trusted), None);
        let first = answered(&served, &["203.0.113.1"]);
        assert!((AT_ONCE..TRIES).contains(&first), "{first}");
        let second = answered(&served, &["203.0.113.2"]);
        assert!(second < AT_ONCE, "{second}");
    }
}

/// The fault: a stranger whom a trusted proxy passes on reads the numbers of this machine by saying that they are on it.
#[test]
fn whom_a_proxy_names_is_not_on_this_machine() {
    let either: [&[&str]; 2] = [&[], &["127.0.0.0/8"]];
    for trusted in either {
        let place = TestLedger::new(1);
        let served = Served::new(&place, settings(trusted), None);
        let status = |headers: &[(&str, &str)]| {
            let answer = ask(served.server.address(), "GET /metrics", headers, b"");
            answer.status
        };
        assert_eq!(status(&[]), 200);
        for named in [
            "127.0.0.1",
            "::1",
            "203.0.113.1",
            "127.0.0.1, 127.0.0.1",
            "unknown",
            "",
        ] {
            assert_eq!(
                status(&[("X-Forwarded-For", named)]),
                404,
                "{trusted:?}: {named:?}"
            );
        }
    }
}
