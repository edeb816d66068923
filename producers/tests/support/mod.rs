//! A ledger in a temporary folder, contents by the line, and waiting that ends.
//!
//! In scope: what several of the publisher's tests need. Out of scope: what is asserted.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sharetrail_ledger::bus::BusSettings;
use sharetrail_ledger::{Chain, Cut, Engine, InitOptions, Ledger, LedgerError, Observer, Step, init, keys};
use sharetrail_producers::{Event, Publisher, RecordSummary};
use sharetrail_proof::entry::{EVENT, ErasureEntry};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Name;
use sharetrail_schemas::Timestamp;
use tempfile::TempDir;

/// A moment in the past, in Unix seconds.
pub(crate) const THEN: i64 = 1_769_860_800;

/// A generator that gives the same numbers for the same seed (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// Fewer where `SHARETRAIL_QUICK` is set, never none.
pub(crate) fn rounds(full: u64) -> u64 {
    if std::env::var_os("SHARETRAIL_QUICK").is_some() {
        full.div_ceil(8)
    } else {
        full
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Waits for an answer; that none comes at all is the fault which many of these tests look for.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let answer = runtime.block_on(async { tokio::time::timeout(Duration::from_mins(2), future).await });
    answer.expect("nobody ever answers: a dead-lock")
}

/// A ledger with its folder outside.
pub(crate) struct TestLedger {
    pub(crate) root: PathBuf,
    _folders: [TempDir; 2],
}

impl TestLedger {
    pub(crate) fn new(shards: u32) -> Self {
        Self::over(shards, None)
    }

    /// With its bus on a server, where one is named.
    pub(crate) fn over(shards: u32, bus: Option<BusSettings>) -> Self {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let root = folders[0].path().join("ledger");
        let base = InitOptions::new(name("shop.example"));
        let options = InitOptions {
            shards,
            outside: Some(folders[1].path().to_owned()),
            // A server of a test keeps its files where temporary ones lie.
            accept_risk: bus.is_some(),
            bus,
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

    pub(crate) fn start(&self) -> Engine {
        Engine::start(&self.open()).unwrap()
    }

    /// As [`TestLedger::start`], on a host that destroys no key before the next start: as between an erasure's entry and
    /// its end.
    pub(crate) fn start_keeping_keys(&self) -> Engine {
        let keeps: Arc<dyn Observer> = Arc::new(KeepsKeys);
        Engine::start_observed(&self.open(), &keeps).unwrap()
    }

    /// Events on record in all shards.
    pub(crate) fn events(&self) -> u64 {
        self.count(EVENT)
    }

    /// Entries of a kind on record in all shards.
    pub(crate) fn count(&self, kind: u8) -> u64 {
        let ledger = self.open();
        let mut count = 0;
        for shard in 0..ledger.shards() {
            let mut visit = |_: LeafIndex, entry: &[u8], _: &[u8]| {
                count += u64::from(entry.first() == Some(&kind));
                ControlFlow::Continue(())
            };
            ledger
                .reader(shard)
                .unwrap()
                .scan(LeafIndex(0), &mut visit)
                .unwrap();
        }
        count
    }
}

pub(crate) fn publisher(engine: &Engine) -> Publisher {
    Publisher::open(engine, &name("shop.example")).unwrap()
}

/// An event of a customer; another `at` makes it another content with the same source and id.
pub(crate) fn event(customer: &str, id: &str, at: i64) -> Event {
    let event = Event::consent_given(customer)
        .purpose("dpv:Marketing")
        .source("https://shop.example/till");
    event.id(id).time(Timestamp::from_unix(at))
}

/// The same as one line of JSON.
pub(crate) fn line(customer: &str, id: &str, at: i64) -> Vec<u8> {
    let mut json = event(customer, id, at).build().unwrap();
    json.push(b'\n');
    json
}

pub(crate) fn record(publisher: &Publisher, input: &[u8]) -> RecordSummary {
    publisher.record_lines(input, &|_| ()).unwrap()
}

/// Stops the vault before it destroys a key.
struct KeepsKeys;

impl Observer for KeepsKeys {
    fn step(&self, _: u32, step: Step) -> Result<(), LedgerError> {
        if step == Step::VaultMarked {
            return Err(LedgerError::Stopped("no key is destroyed".into()));
        }
        Ok(())
    }
}

/// Puts the erasure of a customer on record, without telling any publisher. Its key is destroyed soon after.
pub(crate) fn erase(engine: &Engine, customer: &str) {
    let (ledger, operator) = (engine.ledger(), name("operator"));
    let label = engine.vault().label(customer, 0);
    let shard = label.shard(ledger.shards());
    let signer = keys::producer_signer(ledger, &operator).unwrap();
    let mut chain = Chain::open(engine, &signer, shard).unwrap();
    let entry = ErasureEntry { label, generation: 0 }.to_bytes();
    let Cut { number, frame, .. } = chain.cut(&[&entry], &[&[]]);
    let seq = wait(engine.bus().publish(shard, &operator, frame)).unwrap();
    engine.wait_for(shard, chain.id(), number, seq).unwrap();
}
