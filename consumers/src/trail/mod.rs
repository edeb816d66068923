//! The trail: one customer's view of what happened to their data.
//!
//! Folded from the index (which leaves), the archive (what was recorded) and the vault (what opens it), never
//! stored.
//!
//! In scope: all events of all generations, what does not open and whose fault that is, what is wrong with
//! disclosures, and sums. Out of scope: proof (see the dossier), showing.
//!
//! Trust: the vault, and the archive under its checkpoint; each entry is checked to be the label's and each
//! content against its entry's commitment. Who signed is taken from the batch note, whose signature the
//! sequencer checked.

mod consent;
mod event;
mod totals;

use serde::Serialize;
use sharetrail_ledger::{Ledger, Vault};
use sharetrail_proof::entry::Entry;
use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
use sharetrail_proof::name::{Label, Name};
use sharetrail_schemas::Timestamp;
use utoipa::ToSchema;

use self::consent::Known;
pub(crate) use self::consent::rests_on_consent;
pub use self::consent::{Finding, NoConsent, TrailFinding};
use self::event::OnRecord;
pub use self::event::{TrailEvent, TrailRecipient, TrailReference, TrailRequest, TrailSeries};
pub(crate) use self::event::{host, same_host, shown, shown_if_any};
pub(crate) use self::totals::Received;
pub use self::totals::{CategorySummary, RecipientSummary, Totals};
use crate::error::ConsumerError;
use crate::logs::{Log, Logs, Past, pasts, with_level_index, wrong};
use crate::opening::{Opener, Reading};
use crate::projection::{LeafRef, Projections};

/// What happened to one customer's data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct Trail {
    /// The customer id, as asked for.
    pub customer: String,
    /// Oldest first; empty for a customer of whom the ledger knows nothing.
    pub generations: Vec<TrailGeneration>,
    /// The events that open, by time and then in log order.
    pub events: Vec<TrailEvent>,
    /// The events that do not, in log order.
    pub unopened: Vec<Unopened>,
    /// The checkpoints under which all this was read, by shard.
    pub checkpoints: Vec<TrailCheckpoint>,
}

/// One generation of the customer: one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct TrailGeneration {
    /// How often the customer was erased before.
    pub generation: u32,
    /// The label in the log.
    #[schema(value_type = String)]
    pub label: Label,
    /// The shard it lives on.
    pub shard: u32,
    /// Events under the label, opened or not.
    pub events: u64,
    /// Where its erasure is on record, if it is.
    #[schema(value_type = Option<u64>)]
    pub erased_at: Option<LeafIndex>,
    /// No later than when, if it is and a customer map was sealed since: by the operator's clock.
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub erased_by: Option<Timestamp>,
}

/// An event on record that cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct Unopened {
    /// The shard whose log holds it.
    pub shard: u32,
    /// Where in that log.
    #[schema(value_type = u64)]
    pub index: LeafIndex,
    /// Which generation of the customer.
    pub generation: u32,
    /// Who signed its batch, and answers for it where it is unreadable.
    #[schema(value_type = String)]
    pub producer: Name,
    /// What is the matter.
    pub state: UnopenedState,
    /// The same in words.
    pub reason: String,
}

/// Why an event cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnopenedState {
    /// The customer was erased; the erasure is on record.
    Erased,
    /// It does not open, or is about somebody else: a fault of its signer or of the folder.
    Unreadable,
    /// It opens, and does not say what an event must say.
    Malformed,
}

/// The head of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct TrailCheckpoint {
    /// The shard.
    pub shard: u32,
    /// The number of leaves.
    #[schema(value_type = u64)]
    pub size: TreeSize,
    /// The root over them.
    #[schema(value_type = String)]
    pub root: Hash,
}

/// The trail of a customer, as far as the projection is folded.
///
/// `customer`: the company's own id. A customer of whom nothing is known has an empty trail.
pub fn trail(
    ledger: &Ledger,
    projections: &Projections,
    vault: &Vault,
    customer: &str,
) -> Result<Trail, ConsumerError> {
    with_level_index(projections, |tries| {
        let folded = projections.folded()?;
        let pasts = pasts(ledger, projections, vault, customer)?;
        let mut telling = Telling {
            ledger,
            logs: Logs::new(ledger),
            trail: Trail::of(customer),
        };
        for past in &pasts {
            let folded = folded.get(past.shard as usize).copied();
            if tries == 0 {
                telling.logs.check_level(past, folded.unwrap_or_default())?;
            }
            telling.generation(past)?;
        }
        Ok(telling.finish())
    })
}

impl Trail {
    fn of(customer: &str) -> Self {
        Self {
            customer: customer.to_owned(),
            generations: Vec::new(),
            events: Vec::new(),
            unopened: Vec::new(),
            checkpoints: Vec::new(),
        }
    }
}

struct Telling<'a> {
    ledger: &'a Ledger,
    logs: Logs<'a>,
    trail: Trail,
}

impl Telling<'_> {
    fn generation(&mut self, past: &Past) -> Result<(), ConsumerError> {
        let customer = self.trail.customer.clone();
        let mut opener = Opener::new(&customer, past);
        let before = self.trail.events.len() + self.trail.unopened.len();
        for leaf in &past.leaves {
            self.leaf(past, leaf, &mut opener)?;
        }
        let events = self.trail.events.len() + self.trail.unopened.len() - before;
        let erased_by = self.erased_by(past)?;
        self.trail.generations.push(TrailGeneration {
            generation: past.generation,
            label: past.label,
            shard: past.shard,
            events: u64::try_from(events).unwrap_or(u64::MAX),
            erased_at: past.erasure(),
            erased_by,
        });
        Ok(())
    }

    /// The time of the first customer map that knows of the erasure.
    fn erased_by(&self, past: &Past) -> Result<Option<Timestamp>, ConsumerError> {
        let Some(index) = past.erasure() else {
            return Ok(None);
        };
        let Some(map) = self.ledger.map_reader(past.shard)? else {
            return Ok(None);
        };
        let sealed = map.covered_at(index)?;
        let seconds = sealed.and_then(|seconds| i64::try_from(seconds).ok());
        Ok(seconds.map(Timestamp::from_unix))
    }

    fn leaf(&mut self, past: &Past, at: &LeafRef, opener: &mut Opener<'_>) -> Result<(), ConsumerError> {
        let log = self.logs.log(at.shard)?;
        let leaf = log.leaf(at, &past.label)?;
        let event = match Entry::parse(&leaf.entry) {
            Ok(Entry::Event(event)) => event,
            Ok(Entry::Erasure(_)) => return Ok(()),
            _ => return Err(wrong(at, "neither an event nor an erasure")),
        };
        let producer = log.batch_of(at)?.batch.producer.clone();
        let reading = opener.open(&producer, &event, &leaf.sealed);
        self.tell(
            OnRecord {
                shard: at.shard,
                index: at.index,
                generation: past.generation,
                producer,
            },
            reading,
        );
        Ok(())
    }

    fn tell(&mut self, at: OnRecord, reading: Reading) {
        let (state, reason) = match reading {
            Reading::Opened { json, .. } => match sharetrail_schemas::read(json.as_bytes()) {
                Ok(content) => return self.trail.events.push(TrailEvent::new(at, &content, &json)),
                Err(error) => (UnopenedState::Malformed, error.to_string()),
            },
            Reading::Erased => (UnopenedState::Erased, "the customer was erased".to_owned()),
            Reading::Unreadable { reason } => (UnopenedState::Unreadable, reason),
        };
        let OnRecord {
            shard,
            index,
            generation,
            producer,
        } = at;
        self.trail.unopened.push(Unopened {
            shard,
            index,
            generation,
            producer,
            state,
            reason,
        });
    }

    fn finish(self) -> Trail {
        let Self { logs, mut trail, .. } = self;
        let checkpoint = |log: &Log| {
            let head = log.reader().checkpoint();
            TrailCheckpoint {
                shard: log.reader().shard(),
                size: head.size,
                root: head.root,
            }
        };
        trail.checkpoints = logs.opened().map(checkpoint).collect();
        trail
            .events
            .sort_by_key(|event| (event.time, event.generation, event.index));
        let known = Known::beside(&trail.unopened);
        consent::judge(&mut trail.events, known);
        trail
    }
}
