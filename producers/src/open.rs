//! Putting a publisher together: on an engine in this process, or on a ledger at the other end of the bus.
//!
//! In scope: which parts a publisher has where. On an embedded bus frames go straight to it, because what it stored is
//! durable here; on any other bus they go through the outbox. Out of scope: what the parts do.
//! Trust: on an engine, the folder; on a remote ledger, the credentials folder.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use sharetrail_ledger::bus::Bus;
use sharetrail_ledger::remote::{Remote, VerifiedHeads};
use sharetrail_ledger::{Chain, Engine, Facts, Grants, Ledger, ShardView, Vault, keys};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{ChainId, Name};
use sharetrail_proof::note::NoteSigner;
use tokio::sync::{broadcast, mpsc, watch};

use crate::courier::{Courier, News, Office, from_bus, from_view};
use crate::cutter::{BatchEvent, Chains, Cutter, Way};
use crate::error::PublishError;
use crate::index::{Index, Sources};
use crate::moving::Moving;
use crate::notices::Notices;
use crate::outbox::{self, Opened, ShardOutbox};
use crate::prepare::{Repeats, Surroundings, Workshop};
use crate::publisher::{Dispatch, Ends, Publisher, start, start_ends, start_workers};
use crate::sealer::Sealer;
use crate::settle::Settler;

/// Batches on their way to a checkpoint before the cutter waits.
const FLYING_MAX: usize = 24;
/// Batches that wait for a courier before the cutter waits.
const WAITING_MAX: usize = 4;
/// News that waits for a courier.
const NEWS_MAX: usize = 16;

type View = watch::Receiver<Arc<ShardView>>;

/// What a publisher is made of.
struct Parts {
    facts: Arc<Facts>,
    producer: Name,
    signer: NoteSigner,
    grants: Arc<dyn Grants>,
    bus: Arc<dyn Bus>,
    index: Arc<Index>,
    notices: Arc<Notices>,
    /// Where its folder is at hand and level with the log: there repeats are compared and receipts are proven.
    ledger: Option<Ledger>,
    /// Beside it.
    vault: Option<Arc<Vault>>,
    /// Where everything goes over the bus.
    remote: Option<Arc<Remote>>,
}

/// Where news of the shards comes from.
enum Hearing {
    Views(Vec<View>),
    Bus(Vec<broadcast::Receiver<Arc<VerifiedHeads>>>),
}

/// How frames get onto the bus.
enum Delivery {
    Direct(Vec<Chain>, Vec<View>),
    Kept(Vec<Opened>, Hearing),
}

impl Publisher {
    /// Opens the outbox of a producer whose key lies in the ledger's folder.
    pub fn open(engine: &Engine, producer: &Name) -> Result<Self, PublishError> {
        let ledger = engine.ledger().clone();
        let signer = keys::valid_signer(engine, producer)?;
        let outbox = ledger.outbox(producer);
        let lock = Arc::new(outbox::lock(&outbox)?);
        let is_durable = engine.bus_is_durable_here();
        let sources = Sources {
            ledger: &ledger,
            vault: engine.vault(),
            producer,
        };
        let index = Arc::new(Index::open(sources, &lock, !is_durable)?);
        let views: Vec<View> = (0..ledger.shards()).map(|shard| engine.view(shard)).collect();
        let delivery = if is_durable {
            let chains: Result<Vec<_>, _> = (0..ledger.shards())
                .map(|shard| Chain::open(engine, &signer, shard))
                .collect();
            Delivery::Direct(chains?, views)
        } else {
            Delivery::Kept(open_shards(&outbox, ledger.shards())?, Hearing::Views(views))
        };
        let parts = Parts {
            facts: Arc::clone(ledger.facts()),
            producer: producer.clone(),
            signer,
            grants: engine.grants(),
            bus: Arc::clone(engine.bus()),
            index,
            notices: Arc::default(),
            ledger: Some(ledger),
            vault: Some(Arc::clone(engine.vault())),
            remote: None,
        };
        put_together(parts, delivery)
    }

    /// Opens the outbox of the producer whose credentials these are. Everything goes over the bus. An event is accepted
    /// once it is in the outbox and on the bus, and sealed once its batch is proven to be on record. Where the credentials
    /// are a ledger's folder, what its archive holds is known to be on record.
    pub fn open_remote(remote: &Arc<Remote>) -> Result<Self, PublishError> {
        let (facts, producer) = (Arc::clone(remote.facts()), remote.producer().clone());
        let outbox = remote.outbox().join(producer.as_str());
        let lock = Arc::new(outbox::lock(&outbox)?);
        // Before the outbox is read: what is sealed meanwhile is heard.
        let heads = (0..facts.shards()).map(|shard| remote.heads(shard)).collect();
        let shards = open_shards(&outbox, facts.shards())?;
        let (index, was_made) = match remote.ledger() {
            Some(ledger) => (follow(ledger, &producer, &lock)?, false),
            None => Index::open_alone(&outbox, &lock)?,
        };
        let notices = Notices::default();
        if was_made && shards.iter().any(|shard| !shard.is_new) {
            notices.say(format!(
                "the index of recorded events in {} was lost and is begun anew: events recorded before are not known \
                 here any more, and would be recorded again",
                outbox.display()
            ));
        }
        let parts = Parts {
            facts,
            producer,
            signer: remote.signer().clone(),
            grants: Arc::clone(remote) as Arc<dyn Grants>,
            bus: Arc::clone(remote.bus()) as Arc<dyn Bus>,
            index: Arc::new(index),
            notices: Arc::new(notices),
            ledger: None,
            vault: None,
            remote: Some(Arc::clone(remote)),
        };
        put_together(parts, Delivery::Kept(shards, Hearing::Bus(heads)))
    }
}

/// The index beside an archive. What was recorded from another folder, or was lost here with the power, is in the archive;
/// what is sealed from now on may come to it later, so contents are compared by their MACs.
fn follow(ledger: &Ledger, producer: &Name, lock: &Arc<File>) -> Result<Index, PublishError> {
    let vault = ledger.vault()?;
    let sources = Sources {
        ledger,
        vault: &vault,
        producer,
    };
    Index::open(sources, lock, true)
}

fn open_shards(outbox: &Path, shards: u32) -> Result<Vec<Opened>, PublishError> {
    let opened: Result<_, _> = (0..shards)
        .map(|shard| ShardOutbox::open(outbox, shard))
        .collect();
    Ok(opened?)
}

fn put_together(parts: Parts, delivery: Delivery) -> Result<Publisher, PublishError> {
    let (stopping, moving) = (Arc::new(AtomicBool::new(false)), Arc::new(Moving::default()));
    let around = Surroundings {
        facts: Arc::clone(&parts.facts),
        producer: parts.producer.clone(),
        grants: Arc::clone(&parts.grants),
        repeats: parts
            .ledger
            .clone()
            .zip(parts.vault.clone())
            .map_or(Repeats::Index, |(ledger, vault)| Repeats::Archive(ledger, vault)),
        notices: Arc::clone(&parts.notices),
        stopping: Arc::clone(&stopping),
    };
    let workshop = Arc::new(Workshop::new(around, &parts.index));
    let settler = Settler {
        moving: Arc::clone(&moving),
        index: Arc::clone(&parts.index),
        workshop: Arc::clone(&workshop),
    };
    let (stop, stopped) = watch::channel(false);
    let mut threads = Vec::new();
    let (way, office) = match delivery {
        Delivery::Direct(chains, views) => {
            let ledger = parts
                .ledger
                .clone()
                .expect("a bus is durable here where the ledger's folder is");
            let (way, sealer) = direct(&parts, ledger, chains, views, settler)?;
            threads.push(sealer);
            (way, None)
        }
        Delivery::Kept(shards, hearing) => {
            let (way, office, couriers) = kept(&parts, shards, hearing, settler, &stopped)?;
            threads.push(couriers);
            (way, Some(office))
        }
    };
    let (workers, prepared) = start_workers(&workshop, &mut threads)?;
    let dispatch = Arc::new(Mutex::new(Dispatch::new(workers, Arc::clone(&moving))));
    let collector = start_ends(Cutter::new(&moving, way), prepared, &dispatch, &mut threads)?;
    Ok(Publisher {
        ledger: parts.ledger,
        default_source: format!("https://{}/", parts.producer),
        dispatch,
        collector: Some(collector),
        threads,
        index: parts.index,
        notices: parts.notices,
        ends: Ends {
            stop,
            stopping,
            office,
        },
        remote: parts.remote,
        _held: (parts.bus, parts.grants),
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, PublishError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.map_err(|error| PublishError::Stopped {
        reason: error.to_string(),
    })
}

type Thread = std::thread::JoinHandle<()>;

fn direct(
    parts: &Parts,
    ledger: Ledger,
    chains: Vec<Chain>,
    views: Vec<View>,
    settler: Settler,
) -> Result<(Way, Thread), PublishError> {
    let chains = Arc::new(Chains::new(Arc::clone(&parts.bus), chains));
    let (out, flying) = mpsc::channel(FLYING_MAX);
    let sealer = Sealer {
        ledger,
        chains: Arc::clone(&chains),
        settler,
        views,
    };
    let runtime = runtime()?;
    let thread = start("sealer", move || {
        runtime.block_on(Arc::new(sealer).run(flying));
    })?;
    Ok((Way::Direct { chains, out }, thread))
}

fn kept(
    parts: &Parts,
    shards: Vec<Opened>,
    hearing: Hearing,
    settler: Settler,
    stopped: &watch::Receiver<bool>,
) -> Result<(Way, Arc<Office>, Thread), PublishError> {
    let office = Arc::new(Office {
        facts: Arc::clone(&parts.facts),
        producer: parts.producer.clone(),
        signer: parts.signer.clone(),
        bus: Arc::clone(&parts.bus),
        settler,
        notices: Arc::clone(&parts.notices),
        index_is_alone: parts.ledger.is_none(),
        ended: Mutex::default(),
        left_over_rejected: AtomicU64::new(0),
    });
    let (mut doors, mut couriers, mut tells) = (Vec::new(), Vec::new(), Vec::new());
    for (shard, opened) in (0_u32..).zip(shards) {
        let head = |chain| hearing.head(shard, chain);
        let courier = Courier::new(&office, shard, opened, head)?;
        let (door, batches) = mpsc::channel::<Vec<BatchEvent>>(WAITING_MAX);
        let (tell, news) = mpsc::channel::<News>(NEWS_MAX);
        doors.push(door);
        tells.push(tell);
        couriers.push(courier.run(batches, news, stopped.clone()));
    }
    let (runtime, ledger, bus) = (runtime()?, parts.ledger.clone(), Arc::clone(&parts.bus));
    let thread = start("couriers", move || {
        runtime.block_on(async move {
            let mut at_work = tokio::task::JoinSet::new();
            for courier in couriers {
                at_work.spawn(courier);
            }
            match (hearing, ledger) {
                (Hearing::Bus(heads), _) => {
                    for (heads, tell) in heads.into_iter().zip(tells) {
                        tokio::spawn(from_bus(heads, tell));
                    }
                }
                (Hearing::Views(views), Some(ledger)) => {
                    for ((shard, view), tell) in (0..).zip(views).zip(tells) {
                        tokio::spawn(from_view(ledger.clone(), Arc::clone(&bus), shard, view, tell));
                    }
                }
                // Without news the couriers end, and say so.
                (Hearing::Views(_), None) => drop(tells),
            }
            while at_work.join_next().await.is_some() {}
        });
    })?;
    Ok((Way::Kept(doors), office, thread))
}

impl Hearing {
    /// Where the log has a chain, where that is known here.
    fn head(&self, shard: u32, chain: ChainId) -> Option<(u64, Hash)> {
        let Self::Views(views) = self else { return None };
        let view = views.get(shard as usize)?.borrow();
        view.heads.get(&chain).map(|head| (head.number, head.hash))
    }
}
