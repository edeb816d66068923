//! Answering services before they share, out of this host's own files.
//!
//! What a customer said is kept after the first question. The next one costs a look at how far the projection is
//! folded; where the customer's shard has grown, at the customer's leaves too. Only where there is a new one is the
//! trail read again. No label is computed and no archive is read otherwise.
//!
//! In scope: that cache and when it no longer holds. Out of scope: what the answer is (see `decide`), folding the
//! projection on. An answer is as new as the projection: where it is folded once a second, a choice binds a second
//! after it was sealed, or at once for whoever calls [`Shelf::cover`] first.
//! Trust: as the trail's. Customer ids and what they chose are in memory, never on disk; and not for long where nobody
//! asks about them any more, whether they were erased or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sharetrail_ledger::{Ledger, Vault};

use super::decide::{Authorize, Basis, Decision, Horizon, Question};
use crate::error::ConsumerError;
use crate::living::Living;
use crate::projection::Projections;
use crate::shelf::Shelf;
use crate::trail::trail;

/// Customers whose words are kept, about; fewer where they said much.
const CUSTOMERS_KEPT: usize = 100_000;
/// Memory for them, about.
const BYTES_KEPT: u64 = 128 << 20;
/// What a customer takes who said nothing.
const BYTES_A_CUSTOMER: u64 = 512;
/// What a word takes, about.
const BYTES_A_WORD: u64 = 512;
/// How long a customer is kept whom nobody asks about, and how often that is looked at.
const KEPT_SECONDS: u64 = 600;
const SWEEP_SECONDS: u64 = 60;

/// Answers whether data may be shared; threads may share it.
pub struct Authorizer {
    ledger: Ledger,
    vault: Arc<Vault>,
    shelf: Arc<Shelf>,
    known: Cache<String, Arc<Known>, Weight>,
    begun: Instant,
    /// When idle customers were let go of last, in seconds since it began.
    swept: AtomicU64,
}

/// What is known of a customer, or that nothing is.
struct Known {
    basis: Basis,
    living: Living,
    /// When it was asked for last, in seconds since the authorizer began.
    used: AtomicU64,
}

impl Known {
    fn horizon(&self) -> Horizon {
        Horizon {
            shard: self.living.shard,
            current_to: self.living.folded(),
            last: self.living.last,
        }
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<String, Arc<Known>> for Weight {
    fn weight(&self, customer: &String, known: &Arc<Known>) -> u64 {
        let bytes_of =
            |count: usize, each: u64| u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(each);
        bytes_of(known.basis.words.len(), BYTES_A_WORD)
            .saturating_add(bytes_of(customer.len(), 1))
            .saturating_add(BYTES_A_CUSTOMER)
    }
}

impl Authorizer {
    /// Answers out of a ledger. Nothing is read yet.
    pub fn new(ledger: &Ledger, vault: &Arc<Vault>, shelf: &Arc<Shelf>) -> Self {
        Self {
            ledger: ledger.clone(),
            vault: Arc::clone(vault),
            shelf: Arc::clone(shelf),
            known: Cache::with_weighter(CUSTOMERS_KEPT, BYTES_KEPT, Weight),
            begun: Instant::now(),
            swept: AtomicU64::new(0),
        }
    }

    /// Answers a question, as new as the projection; see [`Authorize::authorize`]. Can read files, and wait for another
    /// process to let go of them.
    pub fn authorize(&self, question: &Question<'_>) -> Result<Decision, ConsumerError> {
        let projections = self.shelf.projections()?;
        let known = self.known(&projections, question.customer)?;
        Ok(known.basis.decide(question, known.horizon()))
    }

    /// Lets go of what a customer said, who was erased.
    pub fn forget(&self, customer: &str) {
        self.known.remove(customer);
    }

    /// Lets go of those whom nobody asks about, now and then.
    fn sweep(&self, now: u64) {
        let last = self.swept.load(Ordering::Relaxed);
        if now.saturating_sub(last) < SWEEP_SECONDS {
            return;
        }
        let turn = self
            .swept
            .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        if turn.is_ok() {
            self.known.retain(|_, known| {
                let used = known.used.load(Ordering::Relaxed);
                now.saturating_sub(used) < KEPT_SECONDS
            });
        }
    }

    fn known(&self, projections: &Projections, customer: &str) -> Result<Arc<Known>, ConsumerError> {
        let now = self.begun.elapsed().as_secs();
        self.sweep(now);
        // Asked first: what is looked up after it covers at least as much.
        let folded = projections.folded()?;
        if let Some(known) = self.known.get(customer)
            && known.living.is_current(projections, &folded)?
        {
            known.used.store(now, Ordering::Relaxed);
            return Ok(known);
        }
        let known = Arc::new(self.read(projections, customer, &folded)?);
        self.known.insert(customer.to_owned(), Arc::clone(&known));
        Ok(known)
    }

    fn read(
        &self,
        projections: &Projections,
        customer: &str,
        folded: &[u64],
    ) -> Result<Known, ConsumerError> {
        let trail = trail(&self.ledger, projections, &self.vault, customer)?;
        Ok(Known {
            basis: Basis::of(&trail),
            living: Living::of(&trail, &self.ledger, &self.vault, folded),
            used: AtomicU64::new(self.begun.elapsed().as_secs()),
        })
    }
}

impl Authorize for Authorizer {
    fn authorize(&self, question: &Question<'_>) -> Result<Decision, ConsumerError> {
        Authorizer::authorize(self, question)
    }
}
