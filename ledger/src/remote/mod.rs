//! A ledger seen from a producer's host, over the bus alone.
//!
//! In scope: hearing the heads of every shard and checking their checkpoints against the policy, asking the vault for
//! labels and keys. Out of scope: making, sending and keeping frames (producers).
//! Trust: the credentials folder. Heads that do not open under the policy are told and never used. Of heads that do, only
//! the checkpoint is signed: a batch counts as sealed once its proof holds under it, and what heads say besides (rejected
//! batches, positions, who leads) is the word of whoever may publish heads.

mod credentials;
mod enrol;
mod heads;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sharetrail_proof::name::Name;
use sharetrail_proof::note::NoteSigner;
use sharetrail_proof::policy::Policy;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::bus::nats::{Incoming, NatsBus};
use crate::desk::{Access, MAX_CUSTOMERS};
use crate::error::{At, LedgerError};
use crate::facts::Facts;
use crate::ledger::Ledger;
use crate::vault::{Grant, Grants, Leased};
pub use credentials::Credentials;
pub use enrol::{Enrolled, FirstUser, enrol, first_user, host_user, withdraw};
use heads::{Listener, Notices};
pub use heads::{RemoteView, VerifiedHeads};

/// For how long the vault is asked again while it cannot be reached.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one question to the vault waits for its answer.
const TRY: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long to wait before listening anew, where the bus ended it.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);

/// A ledger at the other end of the bus, as one producer sees it.
pub struct Remote {
    credentials: Credentials,
    /// Where the credentials are a ledger's folder.
    ledger: Option<Ledger>,
    bus: Arc<NatsBus>,
    access: Access,
    shards: Vec<Arc<Listener>>,
    notices: Arc<Mutex<Notices>>,
    handle: Handle,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Remote {
    /// Connects with the credentials in a folder, and listens to the heads of every shard.
    pub fn connect(folder: &Path) -> Result<Self, LedgerError> {
        Self::with(Credentials::open(folder)?, None)
    }

    /// Connects as a producer whose key lies in a ledger's folder that another process holds.
    pub fn of_ledger(ledger: &Ledger, producer: &Name) -> Result<Self, LedgerError> {
        Self::with(Credentials::of_ledger(ledger, producer)?, Some(ledger.clone()))
    }

    fn with(credentials: Credentials, ledger: Option<Ledger>) -> Result<Self, LedgerError> {
        let folder = credentials.folder().to_owned();
        let folder = folder.as_path();
        let facts = credentials.facts();
        let bus = NatsBus::connect(&facts.name, facts.shards(), credentials.bus_settings(), folder)?;
        let bus = Arc::new(bus);
        let notices = Arc::new(Mutex::new(Notices::default()));
        let policy = Arc::new(credentials.policy().clone());
        let shards: Vec<_> = facts
            .genesis
            .iter()
            .map(|genesis| Arc::new(Listener::new(genesis, &policy, &notices)))
            .collect();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .at("start a runtime for", folder)?;
        let handle = runtime.handle().clone();
        for shard in &shards {
            // Refused or unreachable is told now, not by silence later.
            let received = runtime.block_on(bus.listen(&bus.names().heads(shard.shard())))?;
            runtime.spawn(listen(Arc::clone(shard), Arc::clone(&bus), received));
        }
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("heads".into()).spawn(move || {
            // Ends when the sender is dropped.
            let _ = runtime.block_on(stopped);
        });
        let signing_key = credentials.signer().verifier().id();
        Ok(Self {
            access: Access::new(facts, credentials.producer(), signing_key, credentials.access()),
            credentials,
            ledger,
            bus,
            shards,
            notices,
            handle,
            stop: Some(stop),
            thread: Some(thread.at("start a thread for", folder)?),
        })
    }

    /// What never changes of the ledger.
    pub fn facts(&self) -> &Arc<Facts> {
        self.credentials.facts()
    }

    /// Whose credentials they are.
    pub fn producer(&self) -> &Name {
        self.credentials.producer()
    }

    /// The ledger whose folder the credentials are; none where they stand alone. Its archive may be behind the log.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// The producer's signing key.
    pub fn signer(&self) -> &NoteSigner {
        self.credentials.signer()
    }

    /// The bus.
    pub fn bus(&self) -> &Arc<NatsBus> {
        &self.bus
    }

    /// The credentials folder.
    pub fn folder(&self) -> &Path {
        self.credentials.folder()
    }

    /// Which keys are trusted.
    pub fn policy(&self) -> &Policy {
        self.credentials.policy()
    }

    /// Where frames wait until they are sealed.
    pub fn outbox(&self) -> PathBuf {
        self.folder().join("outbox")
    }

    /// Every heads of a shard from now on that its checkpoint vouches for. Whoever falls far behind misses some.
    ///
    /// # Panics
    /// If `shard` is not below the number of shards.
    pub fn heads(&self, shard: u32) -> broadcast::Receiver<Arc<VerifiedHeads>> {
        self.shards[shard as usize].subscribe()
    }

    /// What was heard of a shard last.
    ///
    /// # Panics
    /// If `shard` is not below the number of shards.
    pub fn view(&self, shard: u32) -> watch::Receiver<Arc<RemoteView>> {
        self.shards[shard as usize].view()
    }

    /// What was wrong with what the bus said since the last call, a line each; no line is told twice.
    pub fn take_notices(&self) -> Vec<String> {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        notices.take()
    }

    /// Waits for a future of the bus. Not to be called from asynchronous code.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Asks the vault for at most 1,024 customers, again and again while it cannot be reached.
    fn ask(&self, customers: &[&str]) -> Result<Leased, LedgerError> {
        let bus_subject = self.bus.names().vault(self.producer());
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let asked = self.access.ask(customers)?;
            let since = Instant::now();
            let request = self.bus.request(&bus_subject, asked.bytes().to_vec(), TRY);
            let answer = self
                .block_on(request)
                .and_then(|reply| self.access.read(&asked, customers, &reply, since));
            match answer {
                Err(error) if error.is_transient() && begun.elapsed() < PATIENCE => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                other => return other,
            }
        }
    }
}

impl Grants for Remote {
    /// The vault grants to the producer of the credentials alone.
    fn grants(&self, producer: &Name, customers: &[&str]) -> Result<Leased, LedgerError> {
        if producer != self.producer() {
            let text = format!(
                "these are the credentials of {}, not of {producer}",
                self.producer()
            );
            return Err(LedgerError::Invalid(text));
        }
        let mut all = Leased {
            grants: Vec::<Grant>::with_capacity(customers.len()),
            until: None,
        };
        for some in customers.chunks(MAX_CUSTOMERS) {
            let leased = self.ask(some)?;
            all.grants.extend(leased.grants);
            // The first lease to end ends them all.
            all.until = match (all.until, leased.until) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        Ok(all)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread only waits; were it to panic, nothing would be left to do.
            let _ = thread.join();
        }
    }
}

/// Hears the heads of one shard, for as long as the runtime lives.
async fn listen(shard: Arc<Listener>, bus: Arc<NatsBus>, mut received: mpsc::Receiver<Incoming>) {
    loop {
        while let Some(incoming) = received.recv().await {
            shard.hear(&incoming.payload);
        }
        // The bus ended it: the connection was closed, or a right was taken away.
        shard.tell("the bus does not let this producer hear the heads any more; it is tried again");
        received = loop {
            tokio::time::sleep(LISTEN_PAUSE).await;
            match bus.listen(&bus.names().heads(shard.shard())).await {
                Ok(received) => break received,
                Err(error) => shard.tell(&format!("cannot listen to the heads: {error}")),
            }
        };
    }
}
