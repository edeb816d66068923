//! A ledger at work with its server, and somebody who asks.
//!
//! In scope: what the tests of what people ask share. Out of scope: what is asserted.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sharetrail_consumers::http::{
    Hands, HandsError, HttpOptions, HttpServer, HttpSettings, LimitSettings, Recorded,
};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{Shelf, Watch};
use sharetrail_ledger::Ledger;
use sharetrail_producers::Event;
use sharetrail_schemas::Timestamp;
use tempfile::TempDir;
use ureq::Agent;

use crate::support::hands::TestHands;
use crate::support::tokens::Tokens;
use crate::support::{TestLedger, at, name, shared};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
pub(crate) const CUSTOMER: &str = "customer-42";
pub(crate) const OTHER: &str = "customer-7";
pub(crate) const SHOP: &str = "shop.example";
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// A ledger at work and its server. What ends first stands first.
pub(crate) struct World {
    pub(crate) server: HttpServer,
    pub(crate) beside: Beside,
    hands: Arc<TestHands>,
    shelf: Arc<Shelf>,
    pub(crate) ledger: Ledger,
    pub(crate) tokens: Tokens,
    pub(crate) agent: Agent,
    _keys: TempDir,
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

/// An answer with a JSON body, or none.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

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
        let (place, keys) = (TestLedger::new(2), tempfile::tempdir().unwrap());
        place.record(events);
        let ledger = place.open();
        let tokens = Tokens::new(keys.path());
        let hands = TestHands::new(&ledger, &[SHOP]);
        let vault = Arc::clone(hands.engine.vault());
        let shelf = Arc::new(Shelf::new(&ledger, StoreKind::Sled));
        let watch = Watch::new(&ledger, &vault, &shelf);
        let settings = HttpSettings {
            oidc: Some(tokens.settings()),
            limits: LimitSettings {
                customer_per_second: 100_000,
                stranger_per_second: 100_000,
                ..LimitSettings::default()
            },
            ..HttpSettings::default()
        };
        let beside = Beside::new(&hands, &shelf, &watch);
        let options = HttpOptions {
            ledger: ledger.clone(),
            vault,
            shelf: Arc::clone(&shelf),
            watch,
            hands: Arc::clone(&hands) as Arc<dyn Hands>,
            settings,
            listen: ANY_PORT,
            secret: [8; 32],
            demo: None,
        };
        let config = Agent::config_builder().http_status_as_error(false);
        Self {
            server: HttpServer::open(options).unwrap(),
            beside,
            hands,
            shelf,
            ledger,
            tokens,
            agent: config.build().new_agent(),
            _keys: keys,
            _place: place,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> Answer {
        let request = self.agent.get(self.url(path));
        let request = request.header("authorization", format!("Bearer {token}"));
        read(request.call().unwrap())
    }

    /// Asks as nobody.
    pub(crate) fn get_open(&self, path: &str) -> Answer {
        read(self.agent.get(self.url(path)).call().unwrap())
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        let request = self.agent.post(self.url(path));
        let request = request.header("authorization", format!("Bearer {token}"));
        read(
            request
                .content_type("application/json")
                .send(body.to_string())
                .unwrap(),
        )
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
        let record = || runtime.block_on(self.hands.record(&name(SHOP), content.clone()).sealed);
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

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Answer {
    let location = answer.headers().get("location");
    Answer {
        status: answer.status().as_u16(),
        location: location.map(|value| value.to_str().unwrap().to_owned()),
        body: answer.body_mut().read_to_vec().unwrap(),
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

pub(crate) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A moment some seconds from now.
pub(crate) fn soon(seconds: i64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(unix()).unwrap() + seconds)
}

/// Disclosures, one every ten seconds; and some of another customer, which nobody else may see.
pub(crate) fn disclosures(count: i64) -> Vec<Event> {
    let own = (0..count).map(|n| shared(CUSTOMER, &format!("share-{n}")).time(at(n * 10)));
    own.chain((0..5).map(|n| shared(OTHER, &format!("other-{n}")).time(at(n))))
        .collect()
}
