//! A ledger at work with its server, and somebody who asks.
//!
//! In scope: what the tests of what people ask share. Out of scope: what is asserted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jsonwebtoken::get_current_timestamp;
use serde_json::Value;
use sharetrail_consumers::http::{Hands, HandsError, HttpServer, HttpSettings, Recorded};
use sharetrail_consumers::{Shelf, Watch};
use sharetrail_ledger::Ledger;
use sharetrail_producers::Event;
use sharetrail_schemas::Timestamp;

use crate::support::hands::TestHands;
use crate::support::http::{Answer, ask};
use crate::support::served::{Served, wide_limits};
use crate::support::tokens::Tokens;
use crate::support::{SHOP, TestLedger, at, name, shared};

pub(crate) const CUSTOMER: &str = "customer-42";
pub(crate) const OTHER: &str = "customer-7";
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// A ledger at work and its server. What ends first stands first.
pub(crate) struct World {
    pub(crate) server: HttpServer,
    pub(crate) beside: Beside,
    hands: Arc<TestHands>,
    shelf: Arc<Shelf>,
    pub(crate) ledger: Ledger,
    pub(crate) tokens: Tokens,
    _place: TestLedger,
}

/// What is done beside a server, again and again: folding, mapping, looking.
pub(crate) struct Beside {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    fn new(hands: &Arc<TestHands>, shelf: &Arc<Shelf>, watch: &Arc<Watch>) -> Self {
        let (hands, shelf, watch) = (Arc::clone(hands), Arc::clone(shelf), Arc::clone(watch));
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let work = move || {
            while !told.load(Ordering::Acquire) {
                hands.map();
                shelf.catch_up().unwrap();
                watch.look(&told).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        Self {
            stop,
            thread: Some(std::thread::spawn(work)),
        }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Answer {
    /// The fields that a problem names.
    pub(crate) fn fields(&self) -> Vec<String> {
        let json = self.json();
        let errors = json["errors"].as_array().into_iter().flatten();
        errors
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl World {
    pub(crate) fn new(events: impl IntoIterator<Item = Event>) -> Self {
        let (place, tokens) = (TestLedger::new(2), Tokens::new());
        place.record(events);
        let settings = HttpSettings {
            oidc: Some(tokens.settings()),
            limits: wide_limits(),
            ..HttpSettings::default()
        };
        let Served {
            server,
            hands,
            shelf,
            watch,
            ledger,
        } = Served::new(&place, settings, None);
        Self {
            server,
            beside: Beside::new(&hands, &shelf, &watch),
            hands,
            shelf,
            ledger,
            tokens,
            _place: place,
        }
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.ask("GET", path, &[("Authorization", &bearer)], "")
    }

    /// Asks as nobody.
    pub(crate) fn get_open(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        self.ask("POST", path, &headers, &body.to_string())
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = format!("{method} {path}");
        ask(self.server.address(), &request, headers, body.as_bytes())
    }

    pub(crate) fn get_as(&self, customer: &str, path: &str) -> Answer {
        self.get(path, &self.tokens.customer(customer))
    }

    pub(crate) fn post_as(&self, customer: &str, path: &str, body: &Value) -> Answer {
        self.post(path, &self.tokens.customer(customer), body)
    }

    /// Records an event as the shop does; whoever asks then reads it.
    pub(crate) fn record(&self, event: Event) -> Recorded {
        let content = event.build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let record =
            || runtime.block_on(async { self.hands.record(&name(SHOP), content.clone()).sealed.await });
        // A producer that knows a customer from before an erasure is told once that they have another label.
        let recorded = record().or_else(|error| match error {
            HandsError::Rejected(_) => record(),
            error => Err(error),
        });
        let recorded = recorded.unwrap();
        self.shelf.cover(recorded.shard, recorded.index).unwrap();
        recorded
    }

    /// The ids of the events that an answer of `/v1/me/trail` shows.
    pub(crate) fn ids(&self, query: &str) -> Vec<String> {
        let answer = self.get_as(CUSTOMER, &format!("/v1/me/trail?{query}"));
        assert_eq!(answer.status, 200, "{query}: {}", answer.json());
        ids(&answer.json())
    }
}

pub(crate) fn ids(page: &Value) -> Vec<String> {
    let events = page["events"].as_array().unwrap().iter();
    events
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + WAIT;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "{what} has not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A moment some seconds from now.
pub(crate) fn soon(seconds: i64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(get_current_timestamp()).unwrap() + seconds)
}

/// Disclosures, one every ten seconds; and some of another customer, which nobody else may see.
pub(crate) fn disclosures(count: i64) -> Vec<Event> {
    let own = (0..count).map(|n| shared(CUSTOMER, &format!("share-{n}")).time(at(n * 10)));
    own.chain((0..5).map(|n| shared(OTHER, &format!("other-{n}")).time(at(n))))
        .collect()
}
