//! A ledger in a temporary folder with a shop that records, what the views of it answer, and a server of it.
//!
//! In scope: what several modules of this program share. Out of scope: what is asserted.

pub(crate) mod hands;
pub(crate) mod http;
pub(crate) mod served;
pub(crate) mod tokens;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{Projections, Trail, dossier, trail};
use sharetrail_ledger::{Engine, InitOptions, Ledger, init};
use sharetrail_producers::{Event, Publisher, Recipient, Role};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Name;
use sharetrail_schemas::Timestamp;
use tempfile::TempDir;

/// A moment in the past, in Unix seconds; events are some seconds after it.
const THEN: i64 = 1_769_860_800;

/// Any port of this machine that is free.
pub(crate) const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The ledger, and its one producer.
pub(crate) const SHOP: &str = "shop.example";

/// Who receives what is [`shared`].
pub(crate) const HOUSE: &str = "mailhouse.example";

/// A word that stands in contents alone.
pub(crate) const SECRET: &str = "boxwood-comb";

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(THEN + seconds)
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A ledger with its folder outside.
pub(crate) struct TestLedger {
    pub(crate) root: PathBuf,
    _folders: [TempDir; 2],
}

impl TestLedger {
    pub(crate) fn new(shards: u32) -> Self {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let root = folders[0].path().join("ledger");
        let base = InitOptions::new(name(SHOP));
        let options = InitOptions {
            shards,
            outside: Some(folders[1].path().to_owned()),
            ..base
        };
        init(&root, &options).unwrap();
        Self {
            root,
            _folders: folders,
        }
    }

    pub(crate) fn open(&self) -> Ledger {
        Ledger::open(&self.root).unwrap()
    }

    /// Records events as the shop, brings the customer maps level, and ends cleanly.
    pub(crate) fn record(&self, events: impl IntoIterator<Item = Event>) {
        self.record_only(events);
        self.at_work(map);
    }

    /// Records events, which no customer map covers then.
    pub(crate) fn record_only(&self, events: impl IntoIterator<Item = Event>) {
        self.at_work(|engine| record(engine, events));
    }

    /// Does something with the ledger at work.
    pub(crate) fn at_work<T>(&self, work: impl FnOnce(&Engine) -> T) -> T {
        let engine = Engine::start(&self.open()).unwrap();
        let done = work(&engine);
        engine.stop().unwrap();
        done
    }

    /// Erases a customer's generation; the customer map covers it then.
    pub(crate) fn erase(&self, customer: &str, generation: u32) -> LeafIndex {
        self.at_work(|engine| {
            let label = engine.vault().label(customer, generation);
            let erased = engine.erase(&label, generation).unwrap();
            map(engine);
            erased.index
        })
    }

    /// Turns a byte amid these bytes of the first shard's archive over. Doing it twice mends them.
    pub(crate) fn turn_over(&self, bytes: &[u8]) {
        let path = self.root.join("sealed/0/00000000000000000000.leaves");
        let mut all = fs::read(&path).unwrap();
        let mut found = all.windows(bytes.len());
        let start = found.position(|window| window == bytes).unwrap();
        all[start + bytes.len() / 2] ^= 0xff;
        fs::write(&path, all).unwrap();
    }

    /// The projection, folded to the end of the log.
    pub(crate) fn project(&self, kind: StoreKind) -> Projections {
        let projections = Projections::open(&self.open(), kind).unwrap();
        projections.catch_up(&|_, _| ()).unwrap();
        projections
    }

    pub(crate) fn trail(&self, projections: &Projections, customer: &str) -> Trail {
        let ledger = self.open();
        trail(&ledger, projections, &ledger.vault().unwrap(), customer).unwrap()
    }

    /// Trail and dossier of each customer, as the JSON that is handed out.
    pub(crate) fn answers(&self, projections: &Projections, customers: &[String]) -> Vec<String> {
        let ledger = self.open();
        let vault = ledger.vault().unwrap();
        let answer = |customer: &String| {
            let trail = self.trail(projections, customer);
            let dossier = dossier(&ledger, projections, &vault, customer).unwrap();
            serde_json::to_string(&(trail, dossier)).unwrap()
        };
        customers.iter().map(answer).collect()
    }
}

/// Brings the customer maps level with the logs.
pub(crate) fn map(engine: &Engine) {
    engine.map(&|_, _| (), &AtomicBool::new(false)).unwrap();
}

/// Records events as the shop; they are sealed then.
pub(crate) fn record(engine: &Engine, events: impl IntoIterator<Item = Event>) {
    record_contents(engine, events.into_iter().map(|event| event.build().unwrap()));
}

/// Records contents as the shop; they are sealed then.
pub(crate) fn record_contents(engine: &Engine, contents: impl IntoIterator<Item = Vec<u8>>) {
    let mut input = Vec::new();
    for content in contents {
        input.extend(content);
        input.push(b'\n');
    }
    let publisher = Publisher::open(engine, &name(SHOP)).unwrap();
    let summary = publisher.record_lines(&input[..], &|_| ()).unwrap();
    assert_eq!((summary.refused, summary.skipped), (Vec::new(), 0));
    publisher.close().unwrap();
}

pub(crate) fn customers(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("customer-{n}")).collect()
}

/// A source of its own for each customer, so that ids need to differ within one customer's events only.
fn shop(customer: &str) -> String {
    format!("/shop/{customer}")
}

pub(crate) fn consent(customer: &str, id: &str) -> Event {
    Event::consent_given(customer)
        .purpose("dpv:Marketing")
        .source(shop(customer))
        .id(id)
}

pub(crate) fn shared(customer: &str, id: &str) -> Event {
    let recipient = Recipient::new(HOUSE, "Mail house", Role::Processor, "IE");
    let event = Event::shared(customer)
        .to(recipient)
        .categories(["pd:Name"])
        .purpose("dpv:Marketing");
    event.description(SECRET).source(shop(customer)).id(id)
}

/// A year of one customer: consent, disclosures before and after it.
pub(crate) fn story(customer: &str) -> Vec<Event> {
    let resting = |id: &str| {
        shared(customer, id)
            .legal_basis("eu-gdpr:A6-1-a")
            .consent("consent")
    };
    vec![
        resting("early").time(at(50)),
        consent(customer, "consent").time(at(100)),
        resting("fine").time(at(150)),
        Event::consent_withdrawn(customer)
            .consent("consent")
            .source(shop(customer))
            .id("withdrawn")
            .time(at(200)),
        resting("late").time(at(250)),
    ]
}

/// Every file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in files_below(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, &target).unwrap();
    }
}
