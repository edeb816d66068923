//! Telling customers of each new leaf as it comes.
//!
//! One thread's work a second for all streams together: it looks at the sizes of the logs, and asks the projections only
//! where one grew, so that an idle server holds nothing open.
//!
//! In scope: who listens, what each was told, how many may listen, ending. Out of scope: the form of what is sent (see
//! `api::stream`). Trust: as the trail's; a leaf is opened with its customer's key, for that customer alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use sharetrail_proof::entry::{ERASURE, Entry};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Label;
use sharetrail_schemas::Timestamp;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use utoipa::ToSchema;

use super::problem::{Problem, ProblemKind};
use super::site::{Parts, Site, blocking};
use crate::error::ConsumerError;
use crate::logs::{Logs, pasts};
use crate::opening::{Opener, Reading};
use crate::projection::{LeafRef, Projections};

/// Streams at once.
const STREAMS_MAX: usize = 2_000;
/// Streams of one customer at once: some windows of a browser.
const CUSTOMER_MAX: usize = 6;
/// Leaves that wait for a slow reader; the rest is told once it has read.
const WAITING_MAX: usize = 64;
const TICK: Duration = Duration::from_secs(1);
/// Seconds after which it is worth asking for another stream.
const ASK_AGAIN_SECONDS: u32 = 30;
/// What an erasure is called where events are called by their kinds.
const ERASED: &str = "erasure";

/// A new leaf of a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct NewLeaf {
    /// The shard whose log holds it.
    pub(crate) shard: u32,
    /// Where in that log.
    #[schema(value_type = u64)]
    pub(crate) index: LeafIndex,
    /// The kind of event; `erasure` where the customer's past was erased; null where the event does not open.
    pub(crate) kind: Option<String>,
    /// When it happened, by its producer's word.
    pub(crate) time: Option<String>,
}

/// The streams of a server.
pub(crate) struct Streams {
    state: Arc<Mutex<State>>,
    end: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    watched: Vec<Watched>,
    /// How many streams each customer has.
    open: HashMap<String, usize>,
    total: usize,
    /// Whether somebody looks for new leaves.
    is_at_work: bool,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            end: watch::Sender::new(false),
        }
    }
}

impl Streams {
    /// Begins to tell a customer of new leaves. `after`: the last one they were told of before, if it is theirs.
    pub(crate) async fn open(
        &self,
        site: &Site,
        customer: &str,
        after: Option<(u32, LeafIndex)>,
    ) -> Result<Listening, Problem> {
        let place = Place::take(&self.state, customer)?;
        let (parts, owned) = (site.clone(), customer.to_owned());
        let (sender, leaves) = mpsc::channel(WAITING_MAX);
        let watched = blocking(move || Ok(Watched::start(&parts, owned, after, sender)?)).await?;
        let end = self.end.subscribe();
        if self.have_ended() {
            return Err(Problem::new(ProblemKind::NotReady, "the server is about to end"));
        }
        let is_at_work = {
            let mut state = held(&self.state);
            state.watched.push(watched);
            std::mem::replace(&mut state.is_at_work, true)
        };
        if !is_at_work {
            tokio::spawn(tell_all(site.clone()));
        }
        Ok(Listening {
            leaves,
            end,
            _place: place,
        })
    }

    /// Ends all streams. There are none any more after it.
    pub(crate) fn close(&self) {
        self.end.send_replace(true);
    }

    /// Whether the server ends.
    pub(crate) fn have_ended(&self) -> bool {
        *self.end.borrow()
    }

    /// Whoever listens; nothing where nobody does, and then nobody looks any more.
    fn take_up(&self) -> Option<Vec<Watched>> {
        let mut state = held(&self.state);
        state.watched.retain(|one| !one.sender.is_closed());
        state.is_at_work = !state.watched.is_empty();
        state.is_at_work.then(|| std::mem::take(&mut state.watched))
    }

    fn put_back(&self, watched: Vec<Watched>) {
        held(&self.state).watched.extend(watched);
    }
}

/// What a customer is told, until they go, the server ends, or their token does.
pub(crate) struct Listening {
    leaves: Receiver<NewLeaf>,
    end: watch::Receiver<bool>,
    _place: Place,
}

impl Listening {
    /// The next leaf; nothing once it has ended. `until`: when the token of whoever listens expires.
    pub(crate) async fn next(&mut self, until: Instant) -> Option<NewLeaf> {
        tokio::select! {
            leaf = self.leaves.recv() => leaf,
            _ = self.end.changed() => None,
            () = sleep_until(until) => None,
        }
    }
}

/// A customer's place among those who listen.
struct Place {
    state: Arc<Mutex<State>>,
    customer: String,
}

impl Place {
    fn take(state: &Arc<Mutex<State>>, customer: &str) -> Result<Self, Problem> {
        let mut open = held(state);
        let own = open.open.get(customer).copied().unwrap_or_default();
        let what = if own >= CUSTOMER_MAX {
            "you have too many streams open; close one"
        } else if open.total >= STREAMS_MAX {
            "too many streams are open; ask again later"
        } else {
            open.open.insert(customer.to_owned(), own + 1);
            open.total += 1;
            return Ok(Self {
                state: Arc::clone(state),
                customer: customer.to_owned(),
            });
        };
        Err(Problem::new(ProblemKind::TooManyRequests, what).with_wait(ASK_AGAIN_SECONDS))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = held(&self.state);
        state.total = state.total.saturating_sub(1);
        let left = state
            .open
            .get(&self.customer)
            .map_or(0, |open| open.saturating_sub(1));
        if left == 0 {
            state.open.remove(&self.customer);
        } else if let Some(open) = state.open.get_mut(&self.customer) {
            *open = left;
        }
    }
}

/// Looks for new leaves once a second, as long as somebody listens.
async fn tell_all(site: Site) {
    let shards = usize::try_from(site.ledger.shards()).expect("a ledger has few shards");
    let mut looked = vec![0; shards];
    let mut end = site.streams.end.subscribe();
    loop {
        tokio::select! {
            () = sleep(TICK) => {}
            _ = end.changed() => {}
        }
        let Some(mut watched) = site.streams.take_up() else {
            return;
        };
        if *end.borrow() {
            return;
        }
        let parts = site.clone();
        let work = move || {
            let outcome = tell(&parts, &mut watched, &mut looked);
            Ok((watched, looked, outcome))
        };
        // Where it panicked, all streams end, and whoever listened asks again.
        let Ok((told, sizes, outcome)) = blocking(work).await else {
            looked = vec![0; shards];
            continue;
        };
        if let Err(error) = outcome {
            tracing::warn!(target: "http", %error, "new leaves cannot be told at the moment");
        }
        site.streams.put_back(told);
        looked = sizes;
    }
}

/// Tells all who are due. `looked`: leaves of each shard that everybody was told of.
fn tell(site: &Parts, watched: &mut [Watched], looked: &mut [u64]) -> Result<(), ConsumerError> {
    let shards: BTreeSet<u32> = watched.iter().map(|one| one.shard).collect();
    let mut grown = BTreeSet::new();
    for shard in shards {
        if site.ledger.reader(shard)?.size().0 > size_on(looked, shard) {
            grown.insert(shard);
        }
    }
    let is_due = |one: &Watched| one.is_due || grown.contains(&one.shard);
    if !watched.iter().any(is_due) {
        return Ok(());
    }
    let projections = site.shelf.projections()?;
    // What is not folded yet is looked for again.
    let folded = projections.folded()?;
    let mut outcome = Ok(());
    for one in watched.iter_mut().filter(|one| is_due(one)) {
        if let Err(error) = one.look(site, &projections) {
            one.is_due = true;
            outcome = Err(error);
        }
    }
    for shard in grown {
        if let Some(size) = looked.get_mut(shard as usize) {
            *size = size_on(&folded, shard);
        }
    }
    outcome
}

/// Somebody who listens, and what they are told next.
struct Watched {
    customer: String,
    sender: Sender<NewLeaf>,
    generation: u32,
    label: Label,
    shard: u32,
    /// What comes before is told.
    next: LeafIndex,
    /// Whether there may be more to tell, though no log grew.
    is_due: bool,
}

impl Watched {
    fn start(
        site: &Parts,
        customer: String,
        after: Option<(u32, LeafIndex)>,
        sender: Sender<NewLeaf>,
    ) -> Result<Self, ConsumerError> {
        let projections = site.shelf.projections()?;
        let mut one = Self {
            customer,
            sender,
            generation: 0,
            label: Label([0; 32]),
            shard: 0,
            next: LeafIndex(0),
            is_due: true,
        };
        one.turn_to(site, 0);
        loop {
            let leaves = projections.leaves_on(one.shard, &one.label)?;
            let is_after = |leaf: &&LeafRef| after == Some((leaf.shard, leaf.index));
            if let Some(told) = leaves.iter().find(is_after) {
                one.next = following(told);
                return Ok(one);
            }
            if leaves.iter().all(|leaf| leaf.kind != ERASURE) {
                one.next = leaves.last().map_or(LeafIndex(0), following);
                return Ok(one);
            }
            one.turn_to(site, one.generation.saturating_add(1));
        }
    }

    fn turn_to(&mut self, site: &Parts, generation: u32) {
        self.generation = generation;
        self.label = site.vault.label(&self.customer, generation);
        self.shard = self.label.shard(site.ledger.shards());
        self.next = LeafIndex(0);
        self.is_due = true;
    }

    /// Tells what is new, as far as there is room.
    fn look(&mut self, site: &Parts, projections: &Projections) -> Result<(), ConsumerError> {
        let leaves = projections.leaves_on(self.shard, &self.label)?;
        let new = leaves.iter().filter(|leaf| leaf.index >= self.next);
        let new: Vec<LeafRef> = new.copied().take(self.sender.capacity()).collect();
        let read = || self.read(site, projections, &new);
        let told = if new.is_empty() {
            Vec::new()
        } else {
            projections.with_sound_index(read)?
        };
        for (leaf, told) in new.iter().zip(told) {
            if self.sender.try_send(told).is_err() {
                break;
            }
            self.next = following(leaf);
        }
        self.is_due = leaves.last().is_some_and(|last| last.index >= self.next);
        let is_over = leaves
            .iter()
            .any(|leaf| leaf.kind == ERASURE && leaf.index < self.next);
        if is_over {
            self.turn_to(site, self.generation.saturating_add(1));
        }
        Ok(())
    }

    fn read(
        &self,
        site: &Parts,
        projections: &Projections,
        new: &[LeafRef],
    ) -> Result<Vec<NewLeaf>, ConsumerError> {
        let pasts = pasts(&site.ledger, projections, &site.vault, &self.customer)?;
        let Some(past) = pasts.iter().find(|past| past.label == self.label) else {
            return Ok(Vec::new());
        };
        let mut logs = Logs::new(&site.ledger);
        let mut opener = Opener::new(&self.customer, past);
        let mut told = Vec::new();
        for at in new {
            let log = logs.log(at.shard)?;
            let leaf = log.leaf(at, &past.label)?;
            let producer = log.batch_of(at)?.batch.producer.clone();
            let (kind, time) = match Entry::parse(&leaf.entry) {
                Ok(Entry::Event(event)) => facts(opener.open(&producer, &event, &leaf.sealed)),
                _ => (Some(ERASED.to_owned()), None),
            };
            told.push(NewLeaf {
                shard: at.shard,
                index: at.index,
                kind,
                time: time.map(|time| time.to_string()),
            });
        }
        Ok(told)
    }
}

/// Kind and time of an event that opens.
fn facts(reading: Reading) -> (Option<String>, Option<Timestamp>) {
    let Reading::Opened { json, .. } = reading else {
        return (None, None);
    };
    match sharetrail_schemas::read(json.as_bytes()) {
        Ok(content) => (Some(content.kind().name().to_owned()), Some(content.time())),
        Err(_) => (None, None),
    }
}

fn following(leaf: &LeafRef) -> LeafIndex {
    LeafIndex(leaf.index.0.saturating_add(1))
}

fn size_on(sizes: &[u64], shard: u32) -> u64 {
    sizes.get(shard as usize).copied().unwrap_or_default()
}

fn held(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Whoever panicked while holding it left whole streams and counts.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(state: &Arc<Mutex<State>>, customer: &str, count: usize) -> Vec<Place> {
        (0..count)
            .map_while(|_| Place::take(state, customer).ok())
            .collect()
    }

    /// The fault: one customer's windows keep everybody else from listening, or a place that was left stays taken.
    #[test]
    fn places_are_few_for_one_and_free_again_when_left() {
        let streams = Streams::default();
        let state = &streams.state;
        let own = taken(state, "customer-42", CUSTOMER_MAX + 1);
        assert_eq!(own.len(), CUSTOMER_MAX);
        let other = taken(state, "customer-7", 1);
        assert_eq!(held(state).total, CUSTOMER_MAX + 1);
        drop(own);
        assert_eq!(held(state).total, 1);
        assert_eq!(held(state).open.len(), 1);
        assert_eq!(taken(state, "customer-42", CUSTOMER_MAX).len(), CUSTOMER_MAX);
        drop(other);
        assert!(held(state).open.is_empty());
    }

    #[test]
    fn places_are_bounded_over_all_customers() {
        let streams = Streams::default();
        let customers = (0..=STREAMS_MAX).map(|n| format!("customer-{n}"));
        let places: Vec<_> = customers
            .map_while(|customer| Place::take(&streams.state, &customer).ok())
            .collect();
        assert_eq!(places.len(), STREAMS_MAX);
    }
}
