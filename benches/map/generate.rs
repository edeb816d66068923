//! Made-up ledgers of many labels.
//!
//! In scope: events that nobody could open, in batches that a registered producer signed, put on record by the ledger's own
//! bus and sequencer; among them the events of one real customer. Out of scope: mapping them. Each run makes the same
//! labels, so that two can be compared.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sharetrail_ledger::bus::{BusFuture, StreamSeq};
use sharetrail_ledger::{Chain, Engine, InitOptions, Ledger, init, keys};
use sharetrail_producers::Publisher;
use sharetrail_proof::entry::{EVENT_BYTES, EventEntry};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{Label, Name};
use tokio::runtime::{Builder, Runtime};

use crate::input::Input;

/// Whose dossier is made.
pub(crate) const CUSTOMER: &str = "household-of-the-dossier";
/// How many events that customer has.
pub(crate) const CUSTOMER_EVENTS: u32 = 20;
/// The shortest sealed content that an event may have. Nobody opens these.
const SEALED: &[u8] = &[0];
/// Frames that are made and not on the bus yet.
const MADE_MAX: usize = 64;
/// Frames that are on the bus and not on record yet.
const WAITING_MAX: u64 = 1_000;

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Events up to which the labels are all met.
    pub(crate) spread: u64,
    /// How many labels there are then.
    pub(crate) labels: u64,
    /// Events that are on record already.
    pub(crate) from: u64,
    /// Events that are to be on record.
    pub(crate) to: u64,
    /// Events of a batch.
    pub(crate) batch: u64,
    /// Whether the real customer is among them.
    pub(crate) with_customer: bool,
}

/// What was made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Generated {
    pub(crate) events: u64,
    pub(crate) leaves: u64,
    pub(crate) seconds: f64,
}

/// The ledger in a folder.
pub(crate) fn open(home: &Path) -> Result<Ledger> {
    Ok(Ledger::open(&home.join("ledger"))?)
}

/// Makes a ledger in a new folder, or goes on with the one that lies there.
pub(crate) fn generate(home: &Path, plan: &Plan) -> Result<Generated> {
    let (ledger, mill) = (begun(home)?, Name::new("mill")?);
    let engine = Engine::start(&ledger)?;
    if plan.from == 0 {
        keys::add_producer(&engine, &mill)?;
    }
    let began = Instant::now();
    let chain = Chain::open(&engine, &keys::valid_signer(&engine, &mill)?, 0)?;
    let plan = *plan;
    let (frames, made) = sync_channel(MADE_MAX);
    let published = thread::scope(|scope| {
        scope.spawn(move || make(chain, &plan, &frames));
        publish(&engine, &mill, &plan, made)
    });
    published?;
    let on_record = engine.view(0).borrow().events;
    let own = if plan.with_customer {
        u64::from(CUSTOMER_EVENTS)
    } else {
        0
    };
    ensure!(
        on_record == plan.to + own,
        "{on_record} events are on record, not {}",
        plan.to + own
    );
    engine.stop()?;
    Ok(Generated {
        events: on_record,
        leaves: ledger.reader(0)?.size().0,
        seconds: began.elapsed().as_secs_f64(),
    })
}

fn begun(home: &Path) -> Result<Ledger> {
    if home.join("ledger").exists() {
        return open(home);
    }
    let options = InitOptions {
        store: "fjall".into(),
        outside: Some(home.join("outside")),
        ..InitOptions::new(Name::new("shop.example")?)
    };
    Ok(init(&home.join("ledger"), &options)?.ledger)
}

/// Cuts frames until all are made, or nobody takes them any more.
fn make(mut chain: Chain, plan: &Plan, frames: &SyncSender<(u64, Vec<u8>)>) {
    let mut next = plan.from;
    while next < plan.to {
        let end = plan.to.min(next + plan.batch);
        let entries: Vec<_> = (next..end).map(|event| entry(event, plan)).collect();
        let slices: Vec<&[u8]> = entries.iter().map(<[u8; EVENT_BYTES]>::as_slice).collect();
        let frame = chain.cut(&slices, &vec![SEALED; slices.len()]).frame;
        if frames.send((end, frame)).is_err() {
            return;
        }
        next = end;
    }
}

/// The made-up event of this number.
fn entry(event: u64, plan: &Plan) -> [u8; EVENT_BYTES] {
    let met = |events: u64| plan.labels.min(events * plan.labels / plan.spread);
    let known = met(event);
    let is_new = known == 0 || met(event + 1) > known;
    let number = if is_new { known } else { mixed(event) % known };
    let mut id = [0; 16];
    id.copy_from_slice(&words(2, event)[..16]);
    EventEntry {
        id,
        label: Label(words(0, number)),
        commitment: Hash(words(1, event)),
    }
    .to_bytes()
}

/// 32 bytes that look random and are the same each time.
fn words(kind: u64, number: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    let seed = mixed(number ^ (kind << 56));
    for (place, part) in (0_u64..).zip(bytes.chunks_exact_mut(8)) {
        part.copy_from_slice(&mixed(seed.wrapping_add(place)).to_be_bytes());
    }
    bytes
}

/// `SplitMix64`: no two numbers give the same.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Puts the frames on the bus as fast as the sequencer takes them off; the customer's events in between.
fn publish(engine: &Engine, mill: &Name, plan: &Plan, made: Receiver<(u64, Vec<u8>)>) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut customer = plan.with_customer.then(|| Customer::new(engine)).transpose()?;
    let mut sending: VecDeque<BusFuture<'static, StreamSeq>> = VecDeque::new();
    let (mut last, mut told) = (0, Instant::now());
    for (events, frame) in made {
        sending.push_back(engine.bus().publish(0, mill, frame));
        if sending.len() >= MADE_MAX
            && let Some(oldest) = sending.pop_front()
        {
            last = runtime.block_on(oldest)?.0;
            reach(engine, &runtime, last.saturating_sub(WAITING_MAX))?;
        }
        if let Some(customer) = &mut customer {
            customer.publish_due(events, plan.to, &runtime)?;
        }
        if told.elapsed().as_secs() >= 5 {
            told = Instant::now();
            eprintln!("  {events} of {} events are on the bus", plan.to);
        }
    }
    for rest in sending {
        last = runtime.block_on(rest)?.0;
    }
    if let Some(customer) = customer {
        customer.publisher.close()?;
    }
    reach(engine, &runtime, last)
}

/// Waits until the sequencer has decided on a message.
fn reach(engine: &Engine, runtime: &Runtime, seq: u64) -> Result<()> {
    let mut view = engine.view(0);
    let decided = view.wait_for(|view| view.seq.0 >= seq || view.halted.is_some());
    let halted = runtime
        .block_on(decided)
        .context("the sequencer has ended")?
        .halted
        .clone();
    halted.map_or(Ok(()), |why| Err(anyhow!("the shard has halted: {why}")))
}

/// The one whose events can be opened.
struct Customer {
    publisher: Publisher,
    contents: Vec<Vec<u8>>,
    published: usize,
}

impl Customer {
    fn new(engine: &Engine) -> Result<Self> {
        let own = |content: Vec<u8>| -> Result<Vec<u8>> {
            let mut event: Value = serde_json::from_slice(&content)?;
            event["subject"] = json!(CUSTOMER);
            Ok(event.to_string().into_bytes())
        };
        let contents = Input::made_up(CUSTOMER_EVENTS).contents.into_iter().map(own);
        Ok(Self {
            publisher: Publisher::open(engine, &engine.ledger().settings().default_producer)?,
            contents: contents.collect::<Result<_>>()?,
            published: 0,
        })
    }

    /// Publishes what is due once so many of all events are on the bus.
    fn publish_due(&mut self, events: u64, all: u64, runtime: &Runtime) -> Result<()> {
        let due = usize::try_from(events * u64::from(CUSTOMER_EVENTS) / all)?;
        for content in &self.contents[self.published..due] {
            let mut pending = self.publisher.publish_json(content.clone())?;
            runtime.block_on(pending.accepted())?;
        }
        self.published = due;
        Ok(())
    }
}
