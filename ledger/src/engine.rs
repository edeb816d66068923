//! The engine: bus, vault and sequencers of one ledger, at work in this process.
//!
//! In scope: holding the folder, the thread that drives the sequencers, waiting for it, ending cleanly.
//! Out of scope: what the sequencers decide. Trust: as its parts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use sharetrail_proof::checkpoint::log_origin;
use sharetrail_proof::hash::{Hash, LeafIndex};
use sharetrail_proof::name::{ChainId, Shard};
use sharetrail_proof::registry::Registry;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Notify, watch};

use crate::bus::{Bus, EmbeddedBus, StreamId, StreamSeq};
use crate::erase::{Erasures, Keeper, start_keeper};
use crate::error::{At, LedgerError};
use crate::folder::Lock;
use crate::host::{Host, HostOptions};
use crate::keys;
use crate::ledger::Ledger;
use crate::mapper::{Mappers, Pace, Turn};
use crate::register::Register;
use crate::sequencer::{Observer, Sequencer, ShardView, Sources, Unobserved, message_hash, recover};
use crate::vault::{Grants, Vault};
use crate::wire::Control;

/// Bytes of frames that are put on record under one checkpoint.
const ROUND_BYTES: usize = 8 << 20;
const IDLE_MS: u64 = 250;
/// How long one thing is waited for that another host may have to do.
const FAR_WAIT: Duration = Duration::from_secs(10);

/// A question to the sequencer of a shard, answered between two rounds.
pub(crate) type Question = (u32, Box<dyn FnOnce(&Sequencer) + Send>);

/// How a shard's thread is reached.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) questions: mpsc::Sender<Question>,
    pub(crate) wake: Arc<Notify>,
}

/// A ledger at work: holds its folder, runs its bus and its sequencers.
pub struct Engine {
    ledger: Ledger,
    bus: Arc<dyn Bus>,
    /// What only a distributed bus can do.
    host: Option<Host>,
    vault: Arc<Vault>,
    views: Vec<watch::Receiver<Arc<ShardView>>>,
    doors: Vec<Door>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<Result<(), LedgerError>>>>,
    notices: Mutex<Vec<String>>,
    /// Taken up shard by shard when the maps are first needed.
    mappers: Mappers,
    /// Gone once the engine has ended.
    runtime: Option<Runtime>,
    /// One registry change at a time: two would get the same number.
    operator: Mutex<()>,
    keeper: Arc<Keeper>,
    erasures: Erasures,
    /// Held as long as the engine lives; the embedded bus holds it longer, while somebody can publish.
    _lock: Arc<Lock>,
}

impl Engine {
    /// Takes the ledger up: heals what an unclean stop left, refuses to go on from less than was ever signed, and
    /// sequences what waits on the bus. On a distributed bus, all shards are led by this process then; if another host
    /// leads one, that is [`LedgerError::HeldElsewhere`].
    pub fn start(ledger: &Ledger) -> Result<Self, LedgerError> {
        let nobody: Arc<dyn Observer> = Arc::new(Unobserved);
        Self::start_observed(ledger, &nobody)
    }

    /// As [`Engine::start`], with somebody who is told of each step.
    pub fn start_observed(ledger: &Ledger, observer: &Arc<dyn Observer>) -> Result<Self, LedgerError> {
        match &ledger.settings().bus {
            None => Self::start_embedded(ledger, observer),
            Some(_) => Self::start_distributed(ledger, observer, &HostOptions::alone()),
        }
    }

    /// Works on the ledger beside other hosts: leads the shards whose lease it gets and follows the others. On the
    /// embedded bus, which has one host, the same as [`Engine::start`].
    pub fn serve(ledger: &Ledger, options: &HostOptions) -> Result<Self, LedgerError> {
        Self::serve_observed(ledger, options, &(Arc::new(Unobserved) as Arc<dyn Observer>))
    }

    /// As [`Engine::serve`], with somebody who is told of each step.
    pub fn serve_observed(
        ledger: &Ledger,
        options: &HostOptions,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, LedgerError> {
        match &ledger.settings().bus {
            None => Self::start_embedded(ledger, observer),
            Some(_) => Self::start_distributed(ledger, observer, options),
        }
    }

    fn start_embedded(ledger: &Ledger, observer: &Arc<dyn Observer>) -> Result<Self, LedgerError> {
        let lock = Arc::new(ledger.folder().lock()?);
        let (bus, mut notices) = EmbeddedBus::open(&ledger.folder().bus(), ledger.shards())?;
        let bus: Arc<dyn Bus> = Arc::new(bus.holding(&lock));
        let runtime = runtime_for(ledger)?;
        let mut sequencers = Vec::new();
        for shard in 0..ledger.shards() {
            sequencers.push(take_up(ledger, &*bus, &runtime, shard, observer, &mut notices)?);
        }
        vault_is_there(ledger, sequencers.iter().all(|one| one.state().events() == 0))?;
        let vault = Arc::new(ledger.open_vault(true)?);
        let keeper = Arc::new(Keeper::new(&vault, observer));
        sequencers.iter().try_for_each(|one| keeper.note(&one.erased()))?;
        keeper.begin()?;
        let views = sequencers.iter().map(Sequencer::view).collect();
        let (wake, stop) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (questions, asked) = mpsc::channel();
        let work = Work {
            sequencers,
            bus: Arc::clone(&bus),
            asked,
            wake: Arc::clone(&wake),
            stop: Arc::clone(&stop),
            keeper: Arc::clone(&keeper),
        };
        let thread = std::thread::Builder::new()
            .name("sequencer".into())
            .spawn(move || work.run());
        let thread = thread.at("start a thread for", ledger.root())?;
        let door = Door { questions, wake };
        let engine = Self {
            ledger: ledger.clone(),
            bus,
            host: None,
            vault,
            mappers: Mappers::new(ledger, observer),
            views,
            doors: (0..ledger.shards()).map(|_| door.clone()).collect(),
            stop,
            threads: Mutex::new(vec![thread]),
            notices: Mutex::new(notices),
            runtime: Some(runtime),
            operator: Mutex::new(()),
            keeper,
            erasures: Erasures::default(),
            _lock: lock,
        };
        engine.keep()?;
        engine.sequence_what_waits()?;
        engine.finish_erasures()?;
        Ok(engine)
    }

    fn start_distributed(
        ledger: &Ledger,
        observer: &Arc<dyn Observer>,
        options: &HostOptions,
    ) -> Result<Self, LedgerError> {
        let lock = Arc::new(ledger.folder().lock()?);
        let runtime = runtime_for(ledger)?;
        let sizes = (0..ledger.shards()).map(|shard| Ok(ledger.reader(shard)?.size().0));
        let sizes: Vec<u64> = sizes.collect::<Result<_, LedgerError>>()?;
        vault_is_there(ledger, sizes.iter().all(|&size| size <= 1))?;
        let vault = Arc::new(ledger.open_vault(true)?);
        let stop = Arc::new(AtomicBool::new(false));
        let keeper = Arc::new(Keeper::new(&vault, observer));
        let started = Host::start(ledger, &keeper, observer, options, &stop)?;
        let engine = Self {
            ledger: ledger.clone(),
            bus: Arc::clone(started.host.nats()) as Arc<dyn Bus>,
            host: Some(started.host),
            vault,
            mappers: Mappers::new(ledger, observer),
            views: started.views,
            doors: started.doors,
            stop,
            threads: Mutex::new(started.threads),
            notices: Mutex::new(started.notices),
            runtime: Some(runtime),
            operator: Mutex::new(()),
            keeper,
            erasures: Erasures::default(),
            _lock: lock,
        };
        engine.keeper.begin()?;
        engine.keep()?;
        if !options.shares() {
            engine.lead_all()?;
            engine.sequence_what_waits()?;
        }
        Ok(engine)
    }

    /// Starts the thread that destroys what the log says is erased.
    fn keep(&self) -> Result<(), LedgerError> {
        let thread = start_keeper(&self.ledger, &self.keeper, &self.stop)?;
        held(&self.threads).push(thread);
        Ok(())
    }

    /// Waits until every shard is led here.
    fn lead_all(&self) -> Result<(), LedgerError> {
        let Some(host) = &self.host else { return Ok(()) };
        (0..self.ledger.shards()).try_for_each(|shard| self.block_on(host.led(shard)))
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
    pub fn bus(&self) -> &Arc<dyn Bus> {
        &self.bus
    }

    /// Whether what the bus acknowledges is safe in this folder: otherwise an outbox keeps it until it is sealed.
    pub fn bus_is_durable_here(&self) -> bool {
        self.host.is_none()
    }

    /// This host among others; none on the embedded bus.
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// The vault.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// Where a publisher in this process gets labels and keys from.
    pub fn grants(&self) -> Arc<dyn Grants> {
        match &self.host {
            Some(host) => Arc::clone(host.keyring()) as Arc<dyn Grants>,
            None => Arc::clone(&self.vault) as Arc<dyn Grants>,
        }
    }

    /// What was found and healed, a line each: at the start, and by hosts since the last call.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = std::mem::take(&mut *held(&self.notices));
        notices.extend(self.host.as_ref().map(Host::take_notices).unwrap_or_default());
        notices.extend(self.keeper.take_told());
        notices
    }

    /// What is known of a shard, as it changes.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn view(&self, shard: u32) -> watch::Receiver<Arc<ShardView>> {
        self.views[shard as usize].clone()
    }

    pub(crate) fn keeper(&self) -> &Arc<Keeper> {
        &self.keeper
    }

    pub(crate) fn erasures(&self) -> &Erasures {
        &self.erasures
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
        let limit = self.host.as_ref().map(|_| FAR_WAIT);
        self.wait_within(limit, async move {
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

    /// On a distributed bus what is waited for may never come: the shard may be led by nobody.
    fn wait_within<T: Send>(
        &self,
        limit: Option<Duration>,
        wait: impl Future<Output = Result<T, LedgerError>> + Send,
    ) -> Result<T, LedgerError> {
        let Some(limit) = limit else {
            return self.block_on(wait);
        };
        let late = || LedgerError::Bus("a shard was not sealed in time; is it led by a host at work?".into());
        self.block_on(async {
            tokio::time::timeout(limit, wait)
                .await
                .unwrap_or_else(|_| Err(late()))
        })
    }

    /// Waits until a batch is sealed or rejected. On a distributed bus it is an error that is transient if neither happens
    /// in a while: then the batch is to be published again.
    pub(crate) fn wait_for_cut(
        &self,
        shard: u32,
        chain: ChainId,
        cut: (u64, Hash),
    ) -> Result<(), LedgerError> {
        let (number, hash) = cut;
        self.wait(shard, move |view| {
            let sealed = view.heads.get(&chain).filter(|head| head.number >= number);
            let refused = view.rejected.get(&chain);
            let refused = refused.filter(|refused| (refused.number, refused.hash) == (number, hash));
            let refused = refused.map(|refused| Err(LedgerError::Rejected(refused.reason.clone())));
            sealed.map(|_| Ok(())).or(refused)
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

    /// Asks a shard's sequencer between two rounds.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        shard: u32,
        question: impl FnOnce(&Sequencer) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (reply, answer) = mpsc::channel();
        let stopped = || LedgerError::Stopped("it ended".into());
        let question = Box::new(move |sequencer: &Sequencer| drop(reply.send(question(sequencer))));
        let door = &self.doors[shard as usize];
        door.questions.send((shard, question)).map_err(|_| stopped())?;
        door.wake.notify_one();
        match &self.host {
            None => answer.recv().map_err(|_| stopped()),
            Some(_) => answer
                .recv_timeout(FAR_WAIT)
                .map_err(|_| LedgerError::Bus(format!("shard {shard} does not answer on this host"))),
        }
    }

    /// The registries as the logs of all shards have them.
    pub(crate) fn registries(&self) -> Result<Vec<Registry>, LedgerError> {
        (0..self.ledger.shards())
            .map(|shard| self.ask(shard, |one| one.state().registry().clone()))
            .collect()
    }

    /// The registry as shard 0's log has it.
    pub fn registry(&self) -> Result<Registry, LedgerError> {
        self.ask(0, |one| one.state().registry().clone())
    }

    /// Carries out a command of the operator that comes over the bus within `wait`; what it was, if one came. An erasure is
    /// begun, and done and answered by [`Engine::finish_erasures`].
    pub fn tend(&self, wait: Duration) -> Option<String> {
        let command = self.host.as_ref()?.take_command(wait)?;
        let control = command.control().clone();
        let outcome = match &control {
            Control::Register { producer, key } => keys::register(self, producer, key).map(|_| ()),
            Control::Rotate { producer, key } => keys::rotate_to(self, producer, key),
            Control::Revoke { producer } => keys::revoke(self, producer),
            Control::Party {
                party,
                name,
                country,
                contact,
            } => keys::register_party(self, party, name, country.as_deref(), contact.as_deref()).map(|_| ()),
            Control::NextStream { shard } => self.next_stream(*shard).map(|_| ()),
            // It takes a minute, in which other commands are not to wait: it is answered when it is done.
            Control::Erase { label, generation } => match self.intend(*label, *generation) {
                Ok(true) => {
                    self.erasures.answer_later(*label, command);
                    return Some(format!("begun: {}", control.told()));
                }
                Ok(false) => self.keeper.settle(),
                Err(error) => Err(error),
            },
        };
        let told = match &outcome {
            Ok(()) => format!("carried out: {}", control.told()),
            Err(error) => format!("not carried out: {}: {error}", control.told()),
        };
        command.answer(&outcome);
        Some(told)
    }

    /// Folds every shard's log into its customer map and seals the roots, until the maps cover what is published now.
    /// `progress`: told how many leaves of all logs are folded, and how many there are. `stop`: set by whoever wants it to
    /// end soon. On a distributed bus, a shard that another host leads is followed as far as that host's roots are known.
    pub fn map(&self, progress: &dyn Fn(u64, u64), stop: &AtomicBool) -> Result<(), LedgerError> {
        self.map_at(Pace::AtOnce, progress, stop)
    }

    /// As [`Engine::map`], for whoever calls it again and again: of each shard, at most one root a second is sealed.
    pub fn map_paced(&self, progress: &dyn Fn(u64, u64), stop: &AtomicBool) -> Result<(), LedgerError> {
        self.map_at(Pace::Measured, progress, stop)
    }

    fn map_at(&self, pace: Pace, progress: &dyn Fn(u64, u64), stop: &AtomicBool) -> Result<(), LedgerError> {
        let register = self.host.as_ref().map(Host::maps);
        let turn = Turn {
            register: register.as_deref(),
            pace,
            progress,
            stop,
        };
        let mut notices = Vec::new();
        let mapped = self.mappers.run(&self.ledger, &turn, &mut notices);
        held(&self.notices).extend(notices);
        mapped
    }

    /// Closes a shard's stream and opens the next; gives the new one's id. What was sealed stays in the archive, and what
    /// was not comes again from the outboxes.
    pub fn next_stream(&self, shard: u32) -> Result<String, LedgerError> {
        let host = self.host.as_ref().ok_or_else(|| {
            LedgerError::Invalid(
                "the bus of this ledger lies in its folder and has no stream to close".into(),
            )
        })?;
        if shard >= self.ledger.shards() {
            return Err(LedgerError::Invalid(format!("the ledger has no shard {shard}")));
        }
        let last = self.block_on(self.bus.info(shard))?.last;
        self.wait(shard, move |view| (view.seq >= last).then_some(Ok(())))?;
        let next = self.block_on(host.nats().next_stream(shard))?;
        Ok(next.id.to_string())
    }

    /// Ends cleanly: what is on the bus is sealed, and the next start has nothing to heal.
    pub fn stop(self) -> Result<(), LedgerError> {
        self.end()
    }

    fn end(&self) -> Result<(), LedgerError> {
        self.stop.store(true, Ordering::Release);
        self.doors.iter().for_each(|door| door.wake.notify_one());
        self.keeper.wake();
        let threads = std::mem::take(&mut *held(&self.threads));
        let panicked = |_| LedgerError::Stopped("the sequencer's thread panicked".into());
        let ends: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().map_err(panicked).and_then(|end| end))
            .collect();
        // What the sequencers put on record last.
        let settled = self.keeper.settle();
        ends.into_iter().chain([settled]).collect()
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

/// A thread that panicked while it held one of these left it as it was between two steps.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A runtime to wait in, for one thread.
pub(crate) fn runtime_for(ledger: &Ledger) -> Result<Runtime, LedgerError> {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.at("start a runtime for", ledger.root())
}

/// A vault that is gone must not be replaced by an empty one: new keys would be made for old labels.
pub(crate) fn vault_is_there(ledger: &Ledger, is_new: bool) -> Result<(), LedgerError> {
    let path = ledger.folder().vault().join("slots");
    if path.exists() || is_new {
        return Ok(());
    }
    Err(LedgerError::Vault(format!(
        "{} is missing, and events are on record; bring it back from a backup",
        path.display()
    )))
}

fn take_up(
    ledger: &Ledger,
    bus: &dyn Bus,
    runtime: &Runtime,
    shard: u32,
    observer: &Arc<dyn Observer>,
    notices: &mut Vec<String>,
) -> Result<Sequencer, LedgerError> {
    let info = runtime.block_on(bus.info(shard))?;
    let sequencer = recover(sources(ledger, shard, observer, info.id, None)?, notices)?;
    same_stream(ledger, bus, runtime, shard)?;
    Ok(sequencer)
}

/// What a shard of a ledger is taken up from.
pub(crate) fn sources<'a>(
    ledger: &'a Ledger,
    shard: u32,
    observer: &Arc<dyn Observer>,
    stream: StreamId,
    view: Option<watch::Sender<Arc<ShardView>>>,
) -> Result<Sources<'a>, LedgerError> {
    let place =
        Shard::new(shard, ledger.shards()).map_err(|error| LedgerError::Invalid(error.to_string()))?;
    Ok(Sources {
        folder: ledger.folder(),
        outside: ledger.outside()?,
        shard,
        origin: log_origin(ledger.name(), place),
        signer: keys::read(&ledger.folder().keys().join(keys::log_file(shard)))?,
        observer: Arc::clone(observer),
        stream,
        view,
    })
}

/// The message at the cursor must be the one that was read there.
fn same_stream(ledger: &Ledger, bus: &dyn Bus, runtime: &Runtime, shard: u32) -> Result<(), LedgerError> {
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

/// The thread that sequences all shards of an embedded bus, in turn.
struct Work {
    sequencers: Vec<Sequencer>,
    bus: Arc<dyn Bus>,
    asked: mpsc::Receiver<Question>,
    wake: Arc<Notify>,
    stop: Arc<AtomicBool>,
    keeper: Arc<Keeper>,
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
                match round(&runtime, &*self.bus, sequencer) {
                    Ok(some) => {
                        worked |= some;
                        self.keeper.tell(sequencer.take_erased());
                    }
                    Err(error) => {
                        sequencer.halt(&error);
                        *halted = true;
                        first_error.get_or_insert(error);
                    }
                }
            }
            while let Ok((shard, question)) = self.asked.try_recv() {
                question(&self.sequencers[shard as usize]);
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

fn round(runtime: &Runtime, bus: &dyn Bus, sequencer: &mut Sequencer) -> Result<bool, LedgerError> {
    let messages = runtime.block_on(bus.read(sequencer.shard(), sequencer.cursor(), ROUND_BYTES))?;
    sequencer.take(&messages)?;
    Ok(!messages.is_empty())
}

/// Sequences what waits on the bus, if nobody else holds the ledger: then somebody else will. Whether it did, and what
/// was healed.
pub fn catch_up(ledger: &Ledger) -> Result<Option<Vec<String>>, LedgerError> {
    catch_up_and(ledger, &|_| Ok(()))
}

/// As [`catch_up`]; the customer maps cover the logs then. `progress`: as in [`Engine::map`].
pub fn catch_up_mapped(
    ledger: &Ledger,
    progress: &dyn Fn(u64, u64),
) -> Result<Option<Vec<String>>, LedgerError> {
    catch_up_and(ledger, &|engine| engine.map(progress, &AtomicBool::new(false)))
}

fn catch_up_and(
    ledger: &Ledger,
    then: &dyn Fn(&Engine) -> Result<(), LedgerError>,
) -> Result<Option<Vec<String>>, LedgerError> {
    // What is sealed lies in this folder and can be read without the bus.
    let without_bus = |error: LedgerError| format!("{error}; shown is what is sealed in this folder");
    let engine = match Engine::start(ledger) {
        Ok(engine) => engine,
        Err(error) if error.is_locked() => return Ok(None),
        Err(error) if error.is_transient() => return Ok(Some(vec![without_bus(error)])),
        Err(error) => return Err(error),
    };
    let done = then(&engine);
    let mut notices = engine.notices();
    engine.stop()?;
    match done {
        Ok(()) => {}
        Err(error) if error.is_transient() => notices.push(without_bus(error)),
        Err(error) => return Err(error),
    }
    Ok(Some(notices))
}
