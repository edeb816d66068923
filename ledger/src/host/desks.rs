//! What a host answers over the bus: labels and keys for producers, slots for other hosts, the operator's commands.
//!
//! The leader of shard 0 is the one that answers producers and commands, so that there is one at a time. In scope: the
//! threads that listen. Out of scope: what is granted (the desk), carrying commands out (whoever has the engine).
//! Trust: requests are untrusted until they open under their secret.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sharetrail_proof::name::Name;
use sharetrail_proof::note::VerifierKey;
use tokio::runtime::Runtime;

use super::keyring::Keyring;
use super::lease::Freshness;
use super::post::Common;
use super::{runtime, start};
use crate::bus::BusNames;
use crate::bus::{Incoming, Reply};
use crate::desk::{Commands, Desk, Nonce, Peer, Rights};
use crate::engine::Door;
use crate::error::LedgerError;
use crate::wire::{Control, ControlReply, Held};

/// Threads that answer producers.
const CLERKS: usize = 2;
const TICK: Duration = Duration::from_millis(250);
/// How often slots are fetched that another host may have made while this one was away.
const PULL_EVERY: Duration = Duration::from_secs(1);
const HOST_WAIT: Duration = Duration::from_secs(3);

type Thread = JoinHandle<Result<(), LedgerError>>;

/// A command of the operator that waits to be carried out.
pub(crate) struct Command {
    control: Control,
    nonce: Nonce,
    reply: Option<Reply>,
    commands: Arc<Commands>,
}

impl Command {
    /// What is to be done.
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// Tells the operator what came of it.
    pub(crate) fn answer(self, outcome: &Result<(), LedgerError>) {
        let bytes = self.commands.reply(&self.nonce, &ControlReply::of(outcome));
        if let (Some(reply), Ok(bytes)) = (self.reply, bytes) {
            // Whoever asked may have gone.
            let _ = reply.send(bytes);
        }
    }
}

/// The commands that came in.
pub(super) struct Desks {
    sender: mpsc::Sender<Command>,
    waiting: Mutex<mpsc::Receiver<Command>>,
}

impl Default for Desks {
    fn default() -> Self {
        let (sender, waiting) = mpsc::channel();
        Self {
            sender,
            waiting: Mutex::new(waiting),
        }
    }
}

impl Desks {
    pub(super) fn take_command(&self, wait: Duration) -> Option<Command> {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.recv_timeout(wait).ok()
    }
}

/// Which keys are valid, as shard 0's log has them.
struct Registered {
    door: Door,
}

impl Rights for Registered {
    fn valid_keys(&self, producer: &Name) -> Result<Vec<VerifierKey>, LedgerError> {
        let stopped = || LedgerError::Bus("shard 0 does not answer on this host".into());
        let (reply, answer) = mpsc::channel();
        let producer = producer.clone();
        let question = Box::new(move |sequencer: &crate::sequencer::Sequencer| {
            let keys = sequencer.state().registry().party(&producer);
            let keys = keys.map(|keys| keys.keys.as_slice()).unwrap_or_default();
            let valid = keys.iter().filter(|period| period.until.is_none());
            // Whoever asked may have gone.
            let _ = reply.send(valid.map(|period| period.key.clone()).collect());
        });
        self.door.questions.send((0, question)).map_err(|_| stopped())?;
        self.door.wake.notify_one();
        answer.recv_timeout(HOST_WAIT).map_err(|_| stopped())
    }
}

/// What every listening thread needs.
struct Listener {
    common: Arc<Common>,
    fresh: Arc<Freshness>,
    desk: Arc<Desk>,
}

impl Listener {
    fn leads(&self) -> bool {
        self.fresh.is_certain()
    }

    /// Listens on a bus subject until the host stops; begins again when the bus was away.
    fn listen(&self, runtime: &Runtime, bus_subject: &str, mut each: impl FnMut(Incoming)) {
        while !self.common.stop.load(Ordering::Acquire) {
            let Ok(mut incoming) = runtime.block_on(self.common.nats.listen(bus_subject)) else {
                std::thread::sleep(TICK);
                continue;
            };
            while !self.common.stop.load(Ordering::Acquire) {
                let next = runtime.block_on(async { tokio::time::timeout(TICK, incoming.recv()).await });
                match next {
                    Ok(Some(message)) => each(message),
                    Ok(None) => break,
                    Err(_) => {}
                }
            }
        }
    }
}

/// Opens all desks of this host.
pub(super) fn open(
    common: &Arc<Common>,
    fresh: &Arc<Freshness>,
    door: &Door,
    desks: &Arc<Desks>,
    keyring: &Arc<Keyring>,
) -> Result<Vec<Thread>, LedgerError> {
    let rights = Arc::new(Registered { door: door.clone() });
    let (theirs, certain) = (Arc::clone(common), Arc::clone(fresh));
    let replicate = Box::new(move |slots: &[u8]| {
        let instead = show_slots(&theirs, slots)?;
        // Whoever leads by now makes keys too, and may not have seen these.
        let lost = || LedgerError::Bus("the lease on shard 0 is in doubt; another host answers".into());
        certain.is_certain().then_some(instead).ok_or_else(lost)
    });
    let desk = Arc::new(Desk::new(Arc::clone(&common.vault), rights, replicate));
    let listener = || Listener {
        common: Arc::clone(common),
        fresh: Arc::clone(fresh),
        desk: Arc::clone(&desk),
    };
    let mut threads = vec![
        hear(common, listener())?,
        take_slots(common, listener())?,
        fetch_slots(common, listener())?,
        take_commands(common, listener(), desks)?,
    ];
    threads.extend(serve_producers(common, listener(), keyring)?);
    Ok(threads)
}

/// What other archives hold.
fn hear(common: &Arc<Common>, listener: Listener) -> Result<Thread, LedgerError> {
    let runtime = runtime(&common.ledger)?;
    start(&common.ledger, "held", move || {
        let all = listener.common.nats.names().all_held();
        listener.listen(&runtime, &all, |message| {
            if let Ok(held) = Held::parse(&message.payload) {
                listener.common.hosts.heard(held);
            }
        });
        Ok(())
    })
}

/// Slots that another host made.
fn take_slots(common: &Arc<Common>, listener: Listener) -> Result<Thread, LedgerError> {
    let (runtime, host) = (runtime(&common.ledger)?, common.ledger.host()?);
    start(&common.ledger, "slots", move || {
        let mine = listener.common.nats.names().slots(&host);
        listener.listen(&runtime, &mine, |message| {
            let answer = listener.desk.answer_host(&message.payload);
            if let Some(reply) = message.reply {
                let _ = reply.send(answer);
            }
        });
        Ok(())
    })
}

/// Slots that were made while this host was away, or before it joined.
fn fetch_slots(common: &Arc<Common>, listener: Listener) -> Result<Thread, LedgerError> {
    let runtime = runtime(&common.ledger)?;
    start(&common.ledger, "fetch-slots", move || {
        let mut positions: BTreeMap<Name, u32> = BTreeMap::new();
        let mut next = Instant::now();
        while !listener.common.stop.load(Ordering::Acquire) {
            if Instant::now() >= next {
                next = Instant::now() + PULL_EVERY;
                let alive = listener.common.hosts.alive();
                if alive.is_empty() {
                    next = Instant::now() + TICK;
                }
                for (host, _) in alive {
                    let position = positions.entry(host.clone()).or_default();
                    if let Err(error) = pull(&listener, &runtime, &host, position) {
                        listener.common.notice(format!("keys of host {host}: {error}"));
                        next = Instant::now() + HOST_WAIT;
                    }
                }
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    })
}

fn pull(listener: &Listener, runtime: &Runtime, host: &Name, position: &mut u32) -> Result<(), LedgerError> {
    let (nats, vault) = (&listener.common.nats, listener.desk.vault());
    let peer = Peer::new(vault);
    loop {
        let asked = peer.pull(*position)?;
        let to = nats.names().slots(host);
        let reply = runtime.block_on(nats.request(&to, asked.bytes().to_vec(), HOST_WAIT))?;
        let found = peer.pulled(&asked, &reply)?;
        if found.next == *position {
            return Ok(());
        }
        vault.adopt_slots(&found.slots)?;
        *position = found.next;
    }
}

/// Shows new slots to all hosts at work; gives what stands there instead.
fn show_slots(common: &Common, slots: &[u8]) -> Result<Vec<u8>, LedgerError> {
    let (runtime, peer) = (runtime(&common.ledger)?, Peer::new(&common.vault));
    // A host that has just joined fetches what was there before its first sign of life; from then on it is shown all.
    common.hosts.look(&runtime)?;
    let others = common.hosts.alive();
    let mut instead = Vec::new();
    for (host, _) in others {
        let asked = peer.push(slots)?;
        let to = common.nats.names().slots(&host);
        match runtime.block_on(common.nats.request(&to, asked.bytes().to_vec(), HOST_WAIT)) {
            Ok(reply) => instead.extend(peer.pushed(&asked, &reply)?),
            // A host that has just died does not hold the others up for longer than its signs of life last.
            Err(error) if common.hosts.alive().iter().any(|(name, _)| *name == host) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(instead)
}

/// Producers' requests for labels and keys.
fn serve_producers(
    common: &Arc<Common>,
    listener: Listener,
    keyring: &Arc<Keyring>,
) -> Result<Vec<Thread>, LedgerError> {
    let (sender, requests) = mpsc::sync_channel::<(Name, Incoming)>(256);
    let requests = Arc::new(Mutex::new(requests));
    let mut threads = Vec::new();
    for _ in 0..CLERKS {
        let (desk, requests) = (Arc::clone(&listener.desk), Arc::clone(&requests));
        let (keyring, common, fresh) = (
            Arc::clone(keyring),
            Arc::clone(common),
            Arc::clone(&listener.fresh),
        );
        let ledger = common.ledger.clone();
        threads.push(start(&ledger, "clerk", move || {
            let mut term = 0;
            loop {
                let next = requests.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((producer, message)) = next else {
                    return Ok(());
                };
                if fresh.terms() != term {
                    term = fresh.terms();
                    keyring.doubt();
                }
                let answer = keyring.check().and_then(|()| {
                    let answer = desk.answer(&producer, &message.payload);
                    if let Some(trouble) = desk.trouble() {
                        common.notice(format!("customers' keys: {}", trouble.what));
                    }
                    keyring.register().map(|()| answer)
                });
                match (answer, message.reply) {
                    // Whoever asked may have gone.
                    (Ok(answer), Some(reply)) => drop(reply.send(answer)),
                    (Ok(_), None) => {}
                    // Not answered is asked again.
                    (Err(error), _) => common.notice(error.to_string()),
                }
            }
        })?);
    }
    let runtime = runtime(&common.ledger)?;
    threads.push(start(&common.ledger, "vault", move || {
        let all = listener.common.nats.names().all_vault();
        listener.listen(&runtime, &all, |message| {
            let producer = BusNames::last(&message.bus_subject);
            if let Some(producer) = producer.filter(|_| listener.leads()) {
                // Whoever is not answered asks again.
                let _ = sender.try_send((producer, message));
            }
        });
        Ok(())
    })?);
    Ok(threads)
}

/// The operator's commands.
fn take_commands(
    common: &Arc<Common>,
    listener: Listener,
    desks: &Arc<Desks>,
) -> Result<Thread, LedgerError> {
    let (runtime, sender) = (runtime(&common.ledger)?, desks.sender.clone());
    let commands = Arc::new(Commands::new(&common.vault));
    start(&common.ledger, "control", move || {
        let here = listener.common.nats.names().control();
        listener.listen(&runtime, &here, |message| {
            if !listener.leads() {
                return;
            }
            if let Some((nonce, control)) = commands.open(&message.payload) {
                let command = Command {
                    control,
                    nonce,
                    reply: message.reply,
                    commands: Arc::clone(&commands),
                };
                // Nobody takes commands any more once the host stops.
                let _ = sender.send(command);
            }
        });
        Ok(())
    })
}
