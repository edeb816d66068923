//! A ledger in a temporary folder, batches made by hand, copies of folders, a seeded generator.
//!
//! In scope: what several of the ledger's tests need. Out of scope: checks of a whole archive (`sound`).

pub(crate) mod sound;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sharetrail_ledger::bus::StreamSeq;
use sharetrail_ledger::{Chain, Engine, InitOptions, Ledger, LedgerError, Observer, Step, init, keys};
use sharetrail_proof::customer::commitment;
use sharetrail_proof::entry::EventEntry;
use sharetrail_proof::name::Name;
use tempfile::TempDir;

/// A generator that gives the same numbers for the same seed (splitmix64).
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next().to_le_bytes()[0]);
    }
}

/// Rounds of a slow test: fewer where `SHARETRAIL_QUICK` is set, never none.
pub(crate) fn rounds(full: u32) -> u32 {
    if std::env::var_os("SHARETRAIL_QUICK").is_some() {
        full.div_ceil(8)
    } else {
        full
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

/// A ledger with the folder outside of it in another temporary folder.
pub(crate) struct TestLedger {
    pub(crate) root: PathBuf,
    pub(crate) outside: PathBuf,
    pub(crate) folder: TempDir,
    _elsewhere: TempDir,
}

impl TestLedger {
    pub(crate) fn new(shards: u32) -> Self {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = folder.path().join("ledger");
        let base = InitOptions::new(name("shop.example"));
        let options = InitOptions {
            shards,
            outside: Some(elsewhere.path().to_owned()),
            ..base
        };
        let made = init(&root, &options).unwrap();
        Self {
            root,
            outside: made.outside,
            folder,
            _elsewhere: elsewhere,
        }
    }

    pub(crate) fn open(&self) -> Ledger {
        Ledger::open(&self.root).unwrap()
    }

    pub(crate) fn start(&self) -> Engine {
        Engine::start(&self.open()).unwrap()
    }

    /// Another place in the temporary folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A copy of the ledger's folder as it lies now.
    pub(crate) fn copy(&self, name: &str) -> PathBuf {
        let to = self.beside(name);
        copy_tree(&self.root, &to);
        to
    }

    /// Puts a copy in the place of the ledger's folder.
    pub(crate) fn put_back(&self, copy: &Path) {
        fs::remove_dir_all(&self.root).unwrap();
        copy_tree(copy, &self.root);
    }
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy_tree(&item.path(), &target);
        } else {
            fs::copy(item.path(), &target).unwrap();
        }
    }
    let mode = fs::metadata(from).unwrap().permissions().mode();
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).unwrap();
}

/// Every file below a folder with its bytes, by relative path; the lock's content means nothing.
pub(crate) fn files_in(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap() != "lock" {
                let name = path.strip_prefix(root).unwrap().to_owned();
                match fs::read(&path) {
                    Ok(bytes) => {
                        found.insert(name, bytes);
                    }
                    // An engine at work has put a wider tile in its place.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => panic!("{}: {error}", path.display()),
                }
            }
        }
    }
    found
}

/// Makes batches of one producer on one shard.
pub(crate) struct Outbox {
    pub(crate) chain: Chain,
    pub(crate) shard: u32,
    shards: u32,
    rng: Rng,
}

impl Outbox {
    pub(crate) fn open(engine: &Engine, producer: &str, shard: u32, seed: u64) -> Self {
        let signer = keys::producer_signer(engine.ledger(), &name(producer)).unwrap();
        let chain = Chain::open(engine, &signer, shard).unwrap();
        Self {
            chain,
            shard,
            shards: engine.ledger().shards(),
            rng: Rng(seed),
        }
    }

    /// A customer whose label lives on this shard.
    pub(crate) fn customer(&mut self, engine: &Engine) -> String {
        loop {
            let customer = format!("customer-{}", self.rng.below(40));
            if engine.vault().label(&customer, 0).shard(self.shards) == self.shard {
                return customer;
            }
        }
    }

    /// An event of a customer: its entry and its sealed content.
    pub(crate) fn event(&mut self, engine: &Engine, customer: &str) -> (Vec<u8>, Vec<u8>) {
        let grant = engine
            .vault()
            .grants(self.chain.producer(), &[customer])
            .unwrap()
            .remove(0);
        let sealer = grant.key.sealer();
        let (mut opening, mut nonce) = ([0; 32], [0; 24]);
        self.rng.fill(&mut opening);
        self.rng.fill(&mut nonce);
        let content = format!("what {customer} bought, {}", self.rng.next());
        let id = sealer.entry_id("/till", &content);
        let commitment = commitment(&opening, content.as_bytes());
        let entry = EventEntry {
            id,
            label: grant.label,
            commitment,
        }
        .to_bytes();
        let mut sealed = Vec::new();
        sealer.seal(&entry, &opening, content.as_bytes(), &nonce, &mut sealed);
        (entry.to_vec(), sealed)
    }

    /// Signs the next batch over these entries.
    pub(crate) fn cut(&mut self, events: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let entries: Vec<&[u8]> = events.iter().map(|(entry, _)| entry.as_slice()).collect();
        let sealed: Vec<&[u8]> = events.iter().map(|(_, sealed)| sealed.as_slice()).collect();
        self.chain.cut(&entries, &sealed).frame
    }

    /// The next batch, of `events` events of customers of this shard.
    pub(crate) fn batch(&mut self, engine: &Engine, events: usize) -> Vec<u8> {
        let events: Vec<_> = (0..events)
            .map(|_| {
                let customer = self.customer(engine);
                self.event(engine, &customer)
            })
            .collect();
        self.cut(&events)
    }

    /// Publishes a frame as this producer; it is accepted when this returns.
    pub(crate) fn publish(&self, engine: &Engine, frame: &[u8]) -> StreamSeq {
        publish(engine, self.shard, self.chain.producer(), frame)
    }

    /// Puts a new batch on record, and gives its frame.
    pub(crate) fn record(&mut self, engine: &Engine, events: usize) -> Vec<u8> {
        let frame = self.batch(engine, events);
        let seq = self.publish(engine, &frame);
        assert!(decided(engine, self.shard, seq), "the shard halted");
        frame
    }
}

pub(crate) fn publish(engine: &Engine, shard: u32, producer: &Name, frame: &[u8]) -> StreamSeq {
    wait(engine.bus().publish(shard, producer, frame.to_vec())).unwrap()
}

/// Waits until a shard has decided on a message, or has halted: then it is false.
pub(crate) fn decided(engine: &Engine, shard: u32, seq: StreamSeq) -> bool {
    let mut view = engine.view(shard);
    wait(async {
        loop {
            let now = Arc::clone(&view.borrow_and_update());
            if now.halted.is_some() || now.seq >= seq {
                return now.halted.is_none();
            }
            if view.changed().await.is_err() {
                return false;
            }
        }
    })
}

/// The error with which a ledger refuses to start.
pub(crate) fn refusal(ledger: &Ledger) -> LedgerError {
    match Engine::start(ledger) {
        Err(error) => error,
        Ok(_) => panic!("it started"),
    }
}

/// Stops a shard when it reaches a step for the nth time after being armed.
pub(crate) struct StopAt {
    shard: u32,
    step: Step,
    left: AtomicU32,
}

impl StopAt {
    pub(crate) fn new(shard: u32, step: Step) -> Arc<Self> {
        Arc::new(Self {
            shard,
            step,
            left: AtomicU32::new(0),
        })
    }

    pub(crate) fn arm(&self, nth: u32) {
        self.left.store(nth, Ordering::SeqCst);
    }

    pub(crate) fn start(self: &Arc<Self>, ledger: &Ledger) -> Engine {
        let observer: Arc<dyn Observer> = Arc::clone(self) as Arc<dyn Observer>;
        Engine::start_observed(ledger, &observer).unwrap()
    }
}

impl Observer for StopAt {
    fn step(&self, shard: u32, step: Step) -> Result<(), LedgerError> {
        if shard != self.shard || step != self.step || self.left.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            1 => Err(LedgerError::Stopped("a power cut".into())),
            _ => Ok(()),
        }
    }
}
