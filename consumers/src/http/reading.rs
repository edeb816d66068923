//! What is read for one customer: the trail, kept in memory for a while; the dossier and certificates, made each time.
//!
//! In scope: when a trail that is kept still holds, how much is kept and for how long, waiting for the customer map. Out of
//! scope: who may ask, how it is shown. Trust: a kept trail is held against the index each time. It is in memory only, and
//! nobody who was erased stays in it for longer than nobody asks.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sharetrail_proof::name::Name;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, SemaphorePermit};
use tokio::time::sleep;

use super::problem::{Problem, ProblemKind};
use super::site::{Parts, Site, blocking};
use crate::certificate::certificate;
use crate::dossier::dossier_about;
use crate::error::ConsumerError;
use crate::living::Living;
use crate::trail::{Trail, UnopenedState, trail};

/// Events of a trail that is kept; longer ones are read each time.
const EVENTS_MAX: usize = 2_000;
/// Bytes of all trails that are kept, as far as they can be told from their contents.
const KEPT_BYTES: u64 = 256 << 20;
/// Bytes of an event beside its content, about.
const EVENT_BYTES: usize = 1_200;
/// Bytes of a usual trail: 20 events.
const USUAL_BYTES: u64 = 40 << 10;
/// How long a trail is kept that nobody asks for.
const KEPT_TIME: Duration = Duration::from_mins(2);
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How long the customer map is waited for.
const MAP_WAIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(150);
/// Dossiers and certificates that are made at once: one takes all cores for a moment.
const MAKING_MAX: usize = 2;
/// Customers at work on from which on those who are done are looked for and let go of.
const TURNS: usize = 1_024;

/// The trail of a customer, as far as the projections are folded.
pub(crate) async fn trail_of(site: &Site, customer: &str) -> Result<Arc<Trail>, Problem> {
    site.trails.keep_swept();
    let (site, customer) = (site.clone(), customer.to_owned());
    blocking(move || Ok(site.trails.read(&site, &customer)?)).await
}

/// The dossier of a customer, as the file that is handed out; it shows these parties too.
pub(crate) async fn dossier_of(site: &Site, customer: &str, parties: Vec<Name>) -> Result<Vec<u8>, Problem> {
    let _turn = site.trails.dossiers.of(customer).await;
    let _place = site.trails.place().await?;
    once_covered(|| {
        let (site, customer, parties) = (site.clone(), customer.to_owned(), parties.clone());
        move || -> Result<Vec<u8>, ConsumerError> {
            let projections = site.shelf.projections()?;
            let made = dossier_about(&site.ledger, &projections, &site.vault, &customer, &parties)?;
            Ok(made.to_bytes())
        }
    })
    .await
}

/// The certificate of the erasure that ended a generation of a customer, as the file that is handed out.
pub(crate) async fn certificate_of(site: &Site, customer: &str, generation: u32) -> Result<Vec<u8>, Problem> {
    let _turn = site.trails.dossiers.of(customer).await;
    let _place = site.trails.place().await?;
    once_covered(|| {
        let (site, customer) = (site.clone(), customer.to_owned());
        move || -> Result<Vec<u8>, ConsumerError> {
            let projections = site.shelf.projections()?;
            let made = certificate(&site.ledger, &projections, &site.vault, &customer, generation)?;
            Ok(made.to_bytes())
        }
    })
    .await
}

/// Does what needs a customer map, again and again for a moment while the map does not cover it yet.
pub(crate) async fn once_covered<T, W>(work: impl Fn() -> W) -> Result<T, Problem>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, ConsumerError> + Send + 'static,
{
    let until = Instant::now() + MAP_WAIT;
    loop {
        let attempt = work();
        match blocking(move || Ok(attempt())).await? {
            Err(error) if is_passing(&error) && Instant::now() < until => sleep(PAUSE).await,
            done => return Ok(done?),
        }
    }
}

/// One at a time for each customer; one who asks without end keeps nobody else waiting. Only hashes of customers are
/// kept, under a key of this run.
#[derive(Default)]
pub(crate) struct Turns {
    taken: std::sync::Mutex<HashMap<u64, Weak<Mutex<()>>>>,
    hasher: RandomState,
}

impl Turns {
    /// Waits until nobody else is at work on what is this customer's.
    pub(crate) async fn of(&self, customer: &str) -> OwnedMutexGuard<()> {
        self.turn(customer).lock_owned().await
    }

    fn turn(&self, customer: &str) -> Arc<Mutex<()>> {
        let key = self.hasher.hash_one(customer);
        // A map is whole whenever somebody panics.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = taken.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        if taken.len() >= TURNS {
            taken.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::new(Mutex::new(()));
        taken.insert(key, Arc::downgrade(&turn));
        turn
    }
}

fn is_passing(error: &ConsumerError) -> bool {
    error.is_not_covered() || matches!(error, ConsumerError::Behind { .. })
}

/// The trails that were read last.
pub(crate) struct Trails {
    kept: Arc<Kept>,
    is_swept: AtomicBool,
    /// Whoever asks for one file after the other keeps nobody else waiting.
    dossiers: Turns,
    /// Whoever changes something about a customer sees what was changed before.
    pub(crate) changes: Turns,
    making: Semaphore,
    erasing: std::sync::Mutex<BTreeSet<String>>,
}

impl Default for Trails {
    fn default() -> Self {
        let usual = usize::try_from(KEPT_BYTES / USUAL_BYTES).expect("a few thousand");
        Self {
            kept: Arc::new(Kept {
                trails: Cache::with_weighter(usual, KEPT_BYTES, ByBytes),
                begun: Instant::now(),
            }),
            is_swept: AtomicBool::new(false),
            dossiers: Turns::default(),
            changes: Turns::default(),
            making: Semaphore::new(MAKING_MAX),
            erasing: std::sync::Mutex::default(),
        }
    }
}

impl Trails {
    /// Lets go of a customer's trail at once.
    pub(crate) fn forget(&self, customer: &str) {
        self.kept.trails.remove(customer);
    }

    /// Notes that a customer is being erased; false where that is so already.
    pub(crate) fn begin_erasing(&self, customer: &str) -> bool {
        self.erasing().insert(customer.to_owned())
    }

    /// Whether a customer is being erased at this moment, as far as this server knows.
    pub(crate) fn is_erasing(&self, customer: &str) -> bool {
        self.erasing().contains(customer)
    }

    /// Notes that it has ended, well or not.
    pub(crate) fn end_erasing(&self, customer: &str) {
        self.erasing().remove(customer);
    }

    fn erasing(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        // A set is whole whenever somebody panics.
        self.erasing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place among those for whom a dossier is made.
    async fn place(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let closed = |_| Problem::new(ProblemKind::NotReady, "the server is about to end");
        self.making.acquire().await.map_err(closed)
    }

    fn read(&self, site: &Parts, customer: &str) -> Result<Arc<Trail>, ConsumerError> {
        let projections = site.shelf.projections()?;
        let kept = &self.kept;
        // Asked first: a trail that is read then has at least these leaves.
        let folded = projections.folded()?;
        if let Some(known) = kept.trails.get(customer) {
            if known.living.is_current(&projections, &folded)? {
                known.used.store(kept.seconds(), Ordering::Relaxed);
                return Ok(Arc::clone(&known.trail));
            }
            kept.trails.remove(customer);
        }
        let read = Arc::new(trail(&site.ledger, &projections, &site.vault, customer)?);
        if is_settled(&read) {
            let known = Known {
                bytes: bytes(&read),
                trail: Arc::clone(&read),
                living: Living::of(&read, &site.ledger, &site.vault, &folded),
                used: AtomicU64::new(kept.seconds()),
            };
            kept.trails.insert(customer.to_owned(), Arc::new(known));
        }
        Ok(read)
    }

    /// Has what nobody asks for any more let go of, as long as there is a server.
    fn keep_swept(&self) {
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(&self.kept)));
        }
    }
}

async fn sweep(kept: Weak<Kept>) {
    loop {
        sleep(SWEEP_EVERY).await;
        let Some(kept) = kept.upgrade() else {
            return;
        };
        kept.sweep();
    }
}

struct Kept {
    trails: Cache<String, Arc<Known>, ByBytes>,
    begun: Instant,
}

impl Kept {
    fn seconds(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    fn sweep(&self) {
        let now = self.seconds();
        self.trails.retain(|_, known| {
            let used = known.used.load(Ordering::Relaxed);
            now.saturating_sub(used) < KEPT_TIME.as_secs()
        });
    }
}

/// A trail that was read, and what tells whether it still is all there is.
struct Known {
    trail: Arc<Trail>,
    bytes: u64,
    living: Living,
    /// When it was asked for last, in seconds.
    used: AtomicU64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<String, Arc<Known>> for ByBytes {
    fn weight(&self, _: &String, known: &Arc<Known>) -> u64 {
        known.bytes
    }
}

/// Whether nothing but new leaves can make it another trail. The time of an erasure comes with a later customer map, and
/// what could not be read may be mended.
fn is_settled(trail: &Trail) -> bool {
    let events = trail.events.len() + trail.unopened.len();
    let mut generations = trail.generations.iter();
    events <= EVENTS_MAX
        && generations.all(|one| one.erased_at.is_some() == one.erased_by.is_some())
        && trail
            .unopened
            .iter()
            .all(|one| one.state != UnopenedState::Unreadable)
}

fn bytes(trail: &Trail) -> u64 {
    let contents: usize = trail.events.iter().map(|event| event.content.len()).sum();
    let events = trail.events.len() + trail.unopened.len() + 1;
    // Terms and texts stand in the content, and once more beside it.
    u64::try_from(2 * contents + events * EVENT_BYTES).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::hash::LeafIndex;
    use sharetrail_proof::name::Label;
    use sharetrail_schemas::Timestamp;

    use super::*;
    use crate::trail::{TrailGeneration, Unopened};

    fn trail(generations: Vec<TrailGeneration>, unopened: Vec<Unopened>) -> Trail {
        Trail {
            customer: "customer-42".into(),
            generations,
            events: Vec::new(),
            unopened,
            checkpoints: Vec::new(),
        }
    }

    fn generation(erased_at: Option<u64>, erased_by: Option<i64>) -> TrailGeneration {
        TrailGeneration {
            generation: 0,
            label: Label([1; 32]),
            shard: 0,
            events: 1,
            erased_at: erased_at.map(LeafIndex),
            erased_by: erased_by.map(Timestamp::from_unix),
        }
    }

    fn unopened(state: UnopenedState) -> Unopened {
        Unopened {
            shard: 0,
            index: LeafIndex(5),
            generation: 0,
            producer: Name::new("shop.example").unwrap(),
            state,
            reason: String::new(),
        }
    }

    /// The fault: the time of an erasure never comes, or what was mended stays unreadable, until the server starts anew.
    #[test]
    fn what_changes_without_a_new_leaf_is_not_kept() {
        let erased = || vec![unopened(UnopenedState::Erased)];
        assert!(is_settled(&trail(Vec::new(), Vec::new())));
        assert!(is_settled(&trail(vec![generation(None, None)], Vec::new())));
        assert!(is_settled(&trail(vec![generation(Some(9), Some(1))], erased())));
        assert!(!is_settled(&trail(vec![generation(Some(9), None)], erased())));
        let unreadable = vec![unopened(UnopenedState::Unreadable)];
        assert!(!is_settled(&trail(vec![generation(None, None)], unreadable)));
    }

    /// The fault: one customer waits for others, or not even for themselves; or all who ever asked are kept.
    #[test]
    fn one_at_a_time_is_at_work_for_a_customer() {
        let turns = Turns::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let first = turns.of("customer-42").await;
            let moment = Duration::from_millis(20);
            assert!(
                tokio::time::timeout(moment, turns.of("customer-42"))
                    .await
                    .is_err()
            );
            for n in 0..3 * TURNS {
                drop(turns.of(&format!("other-{n}")).await);
            }
            assert!(turns.taken.lock().unwrap().len() <= TURNS);
            assert!(
                tokio::time::timeout(moment, turns.of("customer-42"))
                    .await
                    .is_err()
            );
            drop(first);
            assert!(
                tokio::time::timeout(moment, turns.of("customer-42"))
                    .await
                    .is_ok()
            );
        });
    }
}
