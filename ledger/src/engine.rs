//! The engine: bus, vault and sequencers of one ledger, at work in this process.
//!
//! In scope: holding the folder, the thread that drives the sequencers, waiting for it, ending cleanly.
//! Out of scope: what the sequencers decide. Trust: as its parts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use sharetrail_proof::checkpoint::log_origin;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{ChainId, Shard};
use sharetrail_proof::registry::Registry;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, watch};

use crate::bus::{Bus, EmbeddedBus, StreamSeq};
use crate::error::{At, LedgerError};
use crate::keys;
use crate::ledger::Ledger;
use crate::register::Register;
use crate::sequencer::{Observer, Sequencer, ShardView, Sources, Unobserved, message_hash, recover};
use crate::vault::Vault;

/// Bytes of frames that are put on record under one checkpoint.
const ROUND_BYTES: usize = 8 << 20;
const IDLE_MS: u64 = 250;

type Question = Box<dyn FnOnce(&[Sequencer]) + Send>;

/// A ledger at work: holds its folder, runs its bus and its sequencers.
pub struct Engine {
    ledger: Ledger,
    bus: Arc<EmbeddedBus>,
    vault: Arc<Vault>,
    views: Vec<watch::Receiver<Arc<ShardView>>>,
    questions: mpsc::Sender<Question>,
    wake: Arc<Notify>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<Result<(), LedgerError>>>>,
    notices: Vec<String>,
    /// Gone once the engine has ended.
    runtime: Option<Runtime>,
    /// One registry change at a time: two would get the same number.
    operator: Mutex<()>,
}

impl Engine {
    /// Takes the ledger up: heals what an unclean stop left, refuses to go on from less than was ever signed, and
    /// sequences what waits on the bus.
    pub fn start(ledger: &Ledger) -> Result<Self, LedgerError> {
        let nobody: Arc<dyn Observer> = Arc::new(Unobserved);
        Self::start_observed(ledger, &nobody)
    }

    /// As [`Engine::start`], with somebody who is told of each step.
    pub fn start_observed(ledger: &Ledger, observer: &Arc<dyn Observer>) -> Result<Self, LedgerError> {
        let lock = Arc::new(ledger.folder().lock()?);
        let (bus, mut notices) = EmbeddedBus::open(&ledger.folder().bus(), ledger.shards())?;
        let bus = bus.holding(&lock);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .build()
            .at("start a runtime for", ledger.root())?;
        let mut sequencers = Vec::new();
        for shard in 0..ledger.shards() {
            sequencers.push(take_up(ledger, &bus, &runtime, shard, observer, &mut notices)?);
        }
        vault_is_there(ledger, &sequencers)?;
        let vault = ledger.open_vault(true)?;
        let destroyed = vault.destroy(sequencers.iter().flat_map(Sequencer::erased_labels))?;
        if destroyed > 0 {
            notices.push(format!(
                "vault: destroyed {destroyed} keys of customers whose erasure is on record"
            ));
        }
        let views = sequencers.iter().map(Sequencer::view).collect();
        let (bus, wake, stop) = (
            Arc::new(bus),
            Arc::new(Notify::new()),
            Arc::new(AtomicBool::new(false)),
        );
        let (questions, asked) = mpsc::channel();
        let work = Work {
            sequencers,
            bus: Arc::clone(&bus),
            asked,
            wake: Arc::clone(&wake),
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new()
            .name("sequencer".into())
            .spawn(move || work.run());
        let thread = Mutex::new(Some(thread.at("start a thread for", ledger.root())?));
        let engine = Self {
            ledger: ledger.clone(),
            bus,
            vault: Arc::new(vault),
            views,
            questions,
            wake,
            stop,
            thread,
            notices,
            runtime: Some(runtime),
            operator: Mutex::new(()),
        };
        engine.sequence_what_waits()?;
        Ok(engine)
    }

    fn sequence_what_waits(&self) -> Result<(), LedgerError> {
        for shard in 0..self.ledger.shards() {
            let last = self.block_on(self.bus.info(shard))?.last;
            self.wait(shard, move |view| (view.seq >= last).then_some(Ok(())))?;
        }
        Ok(())
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The bus.
    pub fn bus(&self) -> &Arc<EmbeddedBus> {
        &self.bus
    }

    /// The vault.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// What was found and healed at the start, a line each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// What is known of a shard, as it changes.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn view(&self, shard: u32) -> watch::Receiver<Arc<ShardView>> {
        self.views[shard as usize].clone()
    }

    /// Held while the registry is changed.
    pub(crate) fn registry_turn(&self) -> std::sync::MutexGuard<'_, ()> {
        self.operator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn block_on<T: Send>(
        &self,
        future: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        let runtime = self
            .runtime
            .as_ref()
            .ok_or_else(|| LedgerError::Stopped("it ended".into()))?;
        if Handle::try_current().is_err() {
            return runtime.block_on(future);
        }
        // Called from within somebody's runtime, whose thread must not block on another one.
        let answer = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join());
        answer.unwrap_or_else(|_| Err(LedgerError::Stopped("a waiting thread panicked".into())))
    }

    /// Waits until a view answers; an answer comes from the view or from the shard's halt.
    fn wait<T: Send>(
        &self,
        shard: u32,
        answer: impl Fn(&ShardView) -> Option<Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        let mut view = self.view(shard);
        self.block_on(async move {
            loop {
                let now = Arc::clone(&view.borrow_and_update());
                if let Some(answer) = answer(&now) {
                    return answer;
                }
                if let Some(reason) = &now.halted {
                    return Err(LedgerError::Stopped(reason.clone()));
                }
                if view.changed().await.is_err() {
                    return Err(LedgerError::Stopped("it ended".into()));
                }
            }
        })
    }

    /// Waits until the batch that was published as message `seq` is sealed, and says where the chain's head is then.
    pub fn wait_for(
        &self,
        shard: u32,
        chain: ChainId,
        number: u64,
        seq: StreamSeq,
    ) -> Result<LeafIndex, LedgerError> {
        self.wait(shard, move |view| {
            let sealed = view
                .heads
                .get(&chain)
                .filter(|head| head.number >= number)
                .map(|head| Ok(head.index));
            let refused = view.rejected.get(&chain).filter(|refused| refused.seq == seq);
            sealed.or_else(|| refused.map(|refused| Err(LedgerError::Rejected(refused.reason.clone()))))
        })
    }

    /// Asks the sequencers between two rounds.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&[Sequencer]) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (reply, answer) = mpsc::channel();
        let stopped = || LedgerError::Stopped("it ended".into());
        let question: Question = Box::new(move |sequencers| drop(reply.send(question(sequencers))));
        self.questions.send(question).map_err(|_| stopped())?;
        self.wake.notify_one();
        answer.recv().map_err(|_| stopped())
    }

    /// The registries as the logs of all shards have them.
    pub(crate) fn registries(&self) -> Result<Vec<Registry>, LedgerError> {
        self.ask(|sequencers| {
            sequencers
                .iter()
                .map(|one| one.state().registry().clone())
                .collect()
        })
    }

    /// The registry as shard 0's log has it.
    pub fn registry(&self) -> Result<Registry, LedgerError> {
        self.ask(|sequencers| sequencers[0].state().registry().clone())
    }

    /// Ends cleanly: what is on the bus is sealed, and the next start has nothing to heal.
    pub fn stop(self) -> Result<(), LedgerError> {
        self.end()
    }

    fn end(&self) -> Result<(), LedgerError> {
        self.stop.store(true, Ordering::Release);
        self.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let panicked = |_| LedgerError::Stopped("the sequencer's thread panicked".into());
        thread.map_or(Ok(()), |thread| thread.join().map_err(panicked)?)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `stop`; the files are whole either way.
        let _ = self.end();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A vault that is gone must not be replaced by an empty one: new keys would be made for old labels.
fn vault_is_there(ledger: &Ledger, sequencers: &[Sequencer]) -> Result<(), LedgerError> {
    let path = ledger.folder().vault().join("slots");
    if path.exists() || sequencers.iter().all(|sequencer| sequencer.state().events() == 0) {
        return Ok(());
    }
    Err(LedgerError::Vault(format!(
        "{} is missing, and events are on record; bring it back from a backup",
        path.display()
    )))
}

fn take_up(
    ledger: &Ledger,
    bus: &EmbeddedBus,
    runtime: &Runtime,
    shard: u32,
    observer: &Arc<dyn Observer>,
    notices: &mut Vec<String>,
) -> Result<Sequencer, LedgerError> {
    let info = runtime.block_on(bus.info(shard))?;
    let outside = ledger.outside()?;
    let place =
        Shard::new(shard, ledger.shards()).map_err(|error| LedgerError::Invalid(error.to_string()))?;
    let sources = Sources {
        folder: ledger.folder(),
        outside,
        shard,
        origin: log_origin(ledger.name(), place),
        signer: keys::read(&ledger.folder().keys().join(keys::log_file(shard)))?,
        observer: Arc::clone(observer),
        stream: info.id,
    };
    let sequencer = recover(sources, notices)?;
    same_stream(ledger, bus, runtime, shard)?;
    Ok(sequencer)
}

/// The message at the cursor must be the one that was read there.
fn same_stream(ledger: &Ledger, bus: &EmbeddedBus, runtime: &Runtime, shard: u32) -> Result<(), LedgerError> {
    let Some(cursor) = Register::peek(&ledger.folder().register(shard))?.and_then(|head| head.cursor) else {
        return Ok(());
    };
    let lost = |what: String| LedgerError::Stream { shard, what };
    let info = runtime.block_on(bus.info(shard))?;
    if info.id.to_string() != cursor.stream {
        return Err(lost(format!(
            "the stream is {}, and stream {} was read up to message {}",
            info.id, cursor.stream, cursor.seq.0
        )));
    }
    if info.last < cursor.seq {
        return Err(lost(format!(
            "the stream ends at message {}, and message {} was read",
            info.last.0, cursor.seq.0
        )));
    }
    if cursor.seq.0 == 0 {
        return Ok(());
    }
    let messages = runtime.block_on(bus.read(shard, StreamSeq(cursor.seq.0 - 1), 1))?;
    let same = messages
        .first()
        .is_some_and(|message| message_hash(message) == cursor.hash);
    if same {
        Ok(())
    } else {
        Err(lost(format!(
            "message {} is not the one that was read",
            cursor.seq.0
        )))
    }
}

struct Work {
    sequencers: Vec<Sequencer>,
    bus: Arc<EmbeddedBus>,
    asked: mpsc::Receiver<Question>,
    wake: Arc<Notify>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(mut self) -> Result<(), LedgerError> {
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| LedgerError::Stopped(error.to_string()))?;
        let mut arrivals = self.bus.arrivals();
        let mut halted = vec![false; self.sequencers.len()];
        let mut first_error = None;
        loop {
            arrivals.borrow_and_update();
            let stopping = self.stop.load(Ordering::Acquire);
            let mut worked = false;
            for (sequencer, halted) in self
                .sequencers
                .iter_mut()
                .zip(&mut halted)
                .filter(|(_, halted)| !**halted)
            {
                match round(&runtime, &self.bus, sequencer) {
                    Ok(some) => worked |= some,
                    Err(error) => {
                        sequencer.halt(&error);
                        *halted = true;
                        first_error.get_or_insert(error);
                    }
                }
            }
            while let Ok(question) = self.asked.try_recv() {
                question(&self.sequencers);
            }
            if stopping && !worked {
                break;
            }
            if !worked {
                runtime.block_on(async {
                    tokio::select! {
                        _ = arrivals.changed() => {}
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep(Duration::from_millis(IDLE_MS)) => {}
                    }
                });
            }
        }
        for (mut sequencer, halted) in self.sequencers.into_iter().zip(halted) {
            if halted {
                // What stopped the shard is told; its last snapshot must not be written while somebody takes it up again.
                let _ = sequencer.end_snapshot();
            } else {
                sequencer.close()?;
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

fn round(runtime: &Runtime, bus: &EmbeddedBus, sequencer: &mut Sequencer) -> Result<bool, LedgerError> {
    let messages = runtime.block_on(bus.read(sequencer.shard(), sequencer.cursor(), ROUND_BYTES))?;
    sequencer.take(&messages)?;
    Ok(!messages.is_empty())
}

/// Sequences what waits on the bus, if nobody else holds the ledger: then somebody else will. Whether it did, and what
/// was healed.
pub fn catch_up(ledger: &Ledger) -> Result<Option<Vec<String>>, LedgerError> {
    match Engine::start(ledger) {
        Ok(engine) => {
            let notices = engine.notices().to_vec();
            engine.stop()?;
            Ok(Some(notices))
        }
        Err(error) if error.is_locked() => Ok(None),
        Err(error) => Err(error),
    }
}
