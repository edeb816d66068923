//! Frames that are sealed before the clock starts.
//!
//! In scope: real frames, as a publisher would make them, of any number of events; one lane for each producer and shard,
//! because one frame of a chain is on its way at a time. Out of scope: sending them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use sharetrail_ledger::{Chain, Engine, InitOptions, Ledger, init, keys};
use sharetrail_proof::customer::{Sealer, commitment};
use sharetrail_proof::entry::{EVENT_BYTES, EventEntry};
use sharetrail_proof::frame::MAX_FRAME_BYTES;
use sharetrail_proof::name::{Label, Name};

/// Shards of every ledger here.
pub(crate) const SHARDS: u32 = 4;
/// Customers whose keys are asked for at once.
const GRANTS: usize = 1_000;
/// Bytes that one lane sends before it starts anew.
const LANE_BYTES_MAX: usize = 16 << 20;

/// One producer's frames for one shard.
pub(crate) struct Lane {
    pub(crate) shard: u32,
    pub(crate) producer: Name,
    pub(crate) batches: Vec<Batch>,
}

/// A frame and how many events it holds.
pub(crate) struct Batch {
    pub(crate) events: u64,
    pub(crate) frame: Bytes,
}

struct Sealed {
    entry: [u8; EVENT_BYTES],
    content: Vec<u8>,
}

struct Outbox {
    chain: Chain,
    shard: u32,
    sealed: Vec<Sealed>,
}

/// Cuts sealed events into frames.
pub(crate) struct Mill {
    outboxes: Vec<Outbox>,
}

/// The names of the producers that the mill works for.
pub(crate) fn producers() -> Result<Vec<Name>> {
    let names = ["till-1", "till-2", "till-3", "till-4"];
    names.into_iter().map(|name| Ok(Name::new(name)?)).collect()
}

/// What a ledger to measure on is to be, in `home`.
pub(crate) fn options(home: &Path) -> Result<InitOptions> {
    Ok(InitOptions {
        shards: SHARDS,
        producer: Some(Name::new("shop.example")?),
        store: "fjall".into(),
        outside: Some(home.join("outside")),
        ..InitOptions::new(Name::new("shop.example")?)
    })
}

/// Registers the mill's producers.
pub(crate) fn register(engine: &Engine) -> Result<()> {
    for producer in producers()? {
        keys::add_producer(engine, &producer)?;
    }
    Ok(())
}

impl Mill {
    /// A ledger on the embedded bus, whose only use is that its frames are real.
    pub(crate) fn beside(home: &Path, contents: &[Vec<u8>]) -> Result<(Engine, Self)> {
        let ledger = init(&home.join("ledger"), &options(home)?)?.ledger;
        let engine = Engine::start(&ledger)?;
        register(&engine)?;
        let mill = Self::new(&engine, contents)?;
        Ok((engine, mill))
    }

    /// Seals the contents, each for one of the producers in turn.
    pub(crate) fn new(engine: &Engine, contents: &[Vec<u8>]) -> Result<Self> {
        let producers = producers()?;
        let mut outboxes = Vec::new();
        for (number, producer) in producers.iter().enumerate() {
            let theirs: Vec<&[u8]> = contents
                .iter()
                .skip(number)
                .step_by(producers.len())
                .map(Vec::as_slice)
                .collect();
            let mut shards = seal(engine, producer, &theirs)?;
            let signer = keys::valid_signer(engine, producer)?;
            for shard in 0..SHARDS {
                outboxes.push(Outbox {
                    chain: Chain::open(engine, &signer, shard)?,
                    shard,
                    sealed: std::mem::take(&mut shards[shard as usize]),
                });
            }
        }
        Ok(Self { outboxes })
    }

    /// One lane an outbox, in frames of so many events, going on where the log has each chain.
    pub(crate) fn cut(&mut self, events: usize) -> Result<Vec<Arc<Lane>>> {
        let lanes: Result<Vec<_>> = self
            .outboxes
            .iter_mut()
            .map(|outbox| outbox.cut(events))
            .collect();
        let lanes = lanes?;
        ensure!(
            lanes.iter().all(|lane| !lane.batches.is_empty()),
            "too few events for every lane; raise --events"
        );
        Ok(lanes)
    }
}

impl Outbox {
    fn cut(&mut self, events: usize) -> Result<Arc<Lane>> {
        self.chain.resume();
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for chunk in self.sealed.chunks(events) {
            let entries: Vec<&[u8]> = chunk.iter().map(|one| &one.entry[..]).collect();
            let contents: Vec<&[u8]> = chunk.iter().map(|one| one.content.as_slice()).collect();
            let frame = self.chain.cut(&entries, &contents).frame;
            ensure!(
                frame.len() <= MAX_FRAME_BYTES,
                "{events} events make a frame of {} bytes",
                frame.len()
            );
            bytes += frame.len();
            batches.push(Batch {
                events: chunk.len() as u64,
                frame: frame.into(),
            });
            if bytes > LANE_BYTES_MAX {
                break;
            }
        }
        Ok(Arc::new(Lane {
            shard: self.shard,
            producer: self.chain.producer().clone(),
            batches,
        }))
    }
}

/// Seals contents for one producer; gives them by shard.
fn seal(engine: &Engine, producer: &Name, contents: &[&[u8]]) -> Result<Vec<Vec<Sealed>>> {
    let customers = customers(engine, producer, contents)?;
    let mut shards: Vec<Vec<Sealed>> = (0..SHARDS).map(|_| Vec::new()).collect();
    let mut random = vec![[0_u8; 56]; contents.len()];
    getrandom::fill(random.as_flattened_mut()).map_err(|error| anyhow!("{error}"))?;
    for (bytes, random) in contents.iter().zip(&random) {
        let parsed = sharetrail_schemas::read(bytes)?;
        let (label, sealer) = customers
            .get(parsed.customer())
            .context("every customer was asked for")?;
        let (opening, nonce) = random.split_first_chunk::<32>().expect("56 bytes");
        let nonce = nonce.first_chunk::<24>().expect("56 bytes");
        let entry = EventEntry {
            id: sealer.entry_id(parsed.source(), parsed.id()),
            label: *label,
            commitment: commitment(opening, bytes),
        }
        .to_bytes();
        let mut content = Vec::new();
        sealer.seal(&entry, opening, bytes, nonce, &mut content);
        shards[label.shard(SHARDS) as usize].push(Sealed { entry, content });
    }
    Ok(shards)
}

fn customers(
    engine: &Engine,
    producer: &Name,
    contents: &[&[u8]],
) -> Result<HashMap<String, (Label, Sealer)>> {
    let mut names = Vec::new();
    for content in contents {
        names.push(sharetrail_schemas::read(content)?.customer().to_owned());
    }
    names.sort_unstable();
    names.dedup();
    let mut found = HashMap::new();
    for some in names.chunks(GRANTS) {
        let asked: Vec<&str> = some.iter().map(String::as_str).collect();
        let grants = engine.vault().grants(producer, &asked)?;
        for (name, grant) in some.iter().zip(grants) {
            found.insert(name.clone(), (grant.label, grant.key.sealer()));
        }
    }
    Ok(found)
}

/// The events on record in all shards.
pub(crate) fn on_record(engine: &Engine, ledger: &Ledger) -> u64 {
    (0..ledger.shards())
        .map(|shard| engine.view(shard).borrow().events)
        .sum()
}
