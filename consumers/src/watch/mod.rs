//! The officer's view: what is wrong, what is asked for and who received what, over all customers.
//!
//! It is read out of the trails, one customer after the other, as leaves come; and kept in memory only, because nothing
//! but vault and sealed contents may hold customers' data in clear on disk. After a start it reads all trails once, beside
//! everything else, and says how far it is. A customer who is erased drops out with their share of every sum.
//!
//! In scope: following the logs, the sums. Out of scope: judging one trail (`concern`), deciding requests, showing.
//! Trust: as the trail's: the vault, and the archive under its checkpoints.

mod concern;
mod countries;
mod sums;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use sharetrail_ledger::{Ledger, Vault};
use sharetrail_proof::entry::{EVENT, Entry, party_label};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Label, Name};
use sharetrail_schemas::Right;
use utoipa::ToSchema;

use self::concern::concerns;
pub use self::concern::{Concern, WatchedFinding};
pub use self::sums::RecipientTotals;
use self::sums::{Share, sums};
use crate::error::ConsumerError;
use crate::logs::Logs;
use crate::opening::customer_of;
use crate::projection::{LeafRef, Projections};
use crate::requests::{CustomerRequest, RequestState, requests};
use crate::shelf::Shelf;
use crate::trail::{Trail, trail};

/// Leaves that are looked through before their customers' trails are read.
const CHUNK_LEAVES: u64 = 16_384;
/// How long after a trail could not be read it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Trails that cannot be read, beside which others are: more than these are a fault of the whole ledger.
const FAILED_MAX: usize = 1_000;

/// A request of some customer that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct WatchedRequest {
    /// Whose it is.
    pub customer: String,
    /// What is asked for.
    pub request: CustomerRequest,
    /// Whether it was granted and the customer is being erased at this moment.
    pub is_being_erased: bool,
}

/// What an officer sees, at one moment.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct WatchView {
    /// What is the matter: the newest first; those without a time before all others.
    pub findings: Vec<WatchedFinding>,
    /// Requests that wait for an answer; the soonest due first.
    pub requests: Vec<WatchedRequest>,
    /// Who received what, the most disclosures first.
    pub recipients: Vec<RecipientTotals>,
}

/// Reads all customers' trails as they grow.
pub struct Watch {
    ledger: Ledger,
    vault: Arc<Vault>,
    shelf: Arc<Shelf>,
    /// Whoever looks holds this.
    turn: Mutex<()>,
    /// Whoever reads a trail and keeps it holds this: what was read later is kept later.
    reading: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Leaves looked through, and leaves there were at the last look, by shard.
    read: Vec<u64>,
    total: u64,
    /// By the label of each of their generations.
    labels: HashMap<Label, Known>,
    customers: HashMap<Whose, Seen>,
    /// Labels whose trail could not be read, and when that was tried last.
    failed: HashSet<(u32, Label)>,
    tried: Option<Instant>,
    /// Parties that are registered, by shard. One that is not may be so later.
    registered: HashSet<(u32, String)>,
    /// Customers of whom an erasure was granted.
    erasing: HashSet<String>,
    /// Made when somebody asks, dropped when something changes.
    view: Option<Arc<WatchView>>,
}

/// What is known of a label.
struct Known {
    whose: Whose,
    /// Leaves of its shard that were folded when its trail was read: what it has below is in there.
    judged: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Whose {
    Customer(Arc<str>),
    /// Nothing under the label opens.
    Label(Label),
}

/// What was read out of one trail.
#[derive(Default)]
struct Seen {
    findings: Vec<WatchedFinding>,
    requests: Vec<CustomerRequest>,
    shares: Vec<Share>,
}

impl Watch {
    /// Nothing is read yet.
    pub fn new(ledger: &Ledger, vault: &Arc<Vault>, shelf: &Arc<Shelf>) -> Arc<Self> {
        Arc::new(Self {
            ledger: ledger.clone(),
            vault: Arc::clone(vault),
            shelf: Arc::clone(shelf),
            turn: Mutex::new(()),
            reading: Mutex::new(()),
            state: Mutex::new(State {
                read: vec![0; ledger.shards() as usize],
                ..State::default()
            }),
        })
    }

    /// Reads what is new, until it is level or told to stop. To be called every second or so. A trail that cannot be read
    /// keeps no other from being read, and is tried again; the first such error is told at the end.
    pub fn look(&self, stop: &AtomicBool) -> Result<(), ConsumerError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sizes = Vec::new();
        for shard in 0..self.ledger.shards() {
            sizes.push(self.ledger.reader(shard)?.size().0);
        }
        let (read, is_again) = {
            let mut state = self.state();
            state.total = sizes.iter().sum();
            (state.read.clone(), state.is_to_try_again())
        };
        if read == sizes && !is_again {
            return Ok(());
        }
        let projections = self.shelf.beside()?;
        if projections.folded()? != sizes {
            self.shelf.catch_up()?;
        }
        let mut outcome = if is_again {
            self.try_again(&projections, stop)
        } else {
            Ok(())
        };
        for (shard, from) in (0..).zip(read) {
            let followed = self.follow(&projections, shard, from, stop);
            outcome = outcome.and(followed);
        }
        outcome
    }

    /// How many leaves were looked through, and how many there are. While a trail cannot be read, some are left.
    pub fn progress(&self) -> (u64, u64) {
        let state = self.state();
        let read: u64 = state.read.iter().sum();
        (read.saturating_sub(state.failed.len() as u64), state.total)
    }

    /// How many findings there are.
    pub fn count(&self) -> usize {
        let state = self.state();
        state
            .customers
            .values()
            .map(|seen| state.left(seen).count())
            .sum()
    }

    /// What an officer sees now.
    pub fn view(&self) -> Arc<WatchView> {
        let mut state = self.state();
        let made = state.view.take().unwrap_or_else(|| Arc::new(state.make_view()));
        state.view = Some(Arc::clone(&made));
        made
    }

    /// Requests that wait for an answer; the soonest due first.
    pub fn requests(&self) -> Vec<WatchedRequest> {
        self.view().requests.clone()
    }

    /// Who received what, the most disclosures first.
    pub fn recipients(&self) -> Vec<RecipientTotals> {
        self.view().recipients.clone()
    }

    /// Notes that a customer is being erased, which may take a minute, so that nobody decides the same again.
    pub fn mark_erasing(&self, customer: &str) {
        let mut state = self.state();
        state.erasing.insert(customer.to_owned());
        state.view = None;
    }

    /// Notes that the erasure of a customer has ended, well or not.
    pub fn end_erasing(&self, customer: &str) {
        let mut state = self.state();
        state.erasing.remove(customer);
        state.view = None;
    }

    /// Reads a customer's trail again at once, whose leaves have just come.
    pub fn refresh(&self, customer: &str) -> Result<(), ConsumerError> {
        let projections = self.shelf.projections()?;
        self.read_customer(&projections, customer)
    }

    fn follow(
        &self,
        projections: &Projections,
        shard: u32,
        mut from: u64,
        stop: &AtomicBool,
    ) -> Result<(), ConsumerError> {
        let reader = self.ledger.reader(shard)?;
        // What is not folded yet is for the next look.
        let folded = projections.folded()?;
        let end = folded
            .get(shard as usize)
            .copied()
            .unwrap_or_default()
            .min(reader.size().0);
        let mut failed = None;
        while from < end && !stop.load(Ordering::Acquire) {
            let until = end.min(from + CHUNK_LEAVES);
            let (mut labels, mut parties) = (Vec::new(), Vec::new());
            reader.scan(LeafIndex(from), &mut |index, entry, _| {
                if index.0 >= until {
                    return ControlFlow::Break(());
                }
                match Entry::parse(entry) {
                    Ok(Entry::Event(event)) => labels.push((event.label, index.0)),
                    Ok(Entry::Erasure(erasure)) => labels.push((erasure.label, index.0)),
                    Ok(Entry::Registry(registry)) => parties.push(registry.record.party.clone()),
                    _ => {}
                }
                ControlFlow::Continue(())
            })?;
            self.are_registered(shard, &parties);
            for (label, index) in labels {
                if stop.load(Ordering::Acquire) {
                    return Ok(());
                }
                if !self.is_done_with(shard, &label, index)
                    && let Err(error) = self.try_label(projections, shard, label)
                {
                    if self.state().failed.len() > FAILED_MAX {
                        return Err(error);
                    }
                    failed.get_or_insert(error);
                }
            }
            from = until;
            if let Some(read) = self.state().read.get_mut(shard as usize) {
                *read = until;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Whether a leaf is in what was read of its label, or waits with it for the next try.
    fn is_done_with(&self, shard: u32, label: &Label, index: u64) -> bool {
        let state = self.state();
        let is_read = state.labels.get(label).is_some_and(|known| known.judged > index);
        is_read || state.failed.contains(&(shard, *label))
    }

    /// Reads once more what could not be read before.
    fn try_again(&self, projections: &Projections, stop: &AtomicBool) -> Result<(), ConsumerError> {
        let failed: Vec<(u32, Label)> = {
            let mut state = self.state();
            state.tried = Some(Instant::now());
            state.failed.iter().copied().collect()
        };
        let mut outcome = Ok(());
        for (shard, label) in failed {
            if stop.load(Ordering::Acquire) {
                break;
            }
            let read = self.try_label(projections, shard, label);
            outcome = outcome.and(read);
        }
        outcome
    }

    /// Reads the trail of a label's customer, and notes whether that went well.
    fn try_label(&self, projections: &Projections, shard: u32, label: Label) -> Result<(), ConsumerError> {
        let outcome = self.read_label(projections, shard, label);
        let mut state = self.state();
        if outcome.is_ok() {
            state.failed.remove(&(shard, label));
        } else {
            if state.failed.is_empty() {
                state.tried = Some(Instant::now());
            }
            state.failed.insert((shard, label));
        }
        outcome
    }

    /// Notes that the registry of a shard names these parties.
    fn are_registered(&self, shard: u32, parties: &[Name]) {
        if parties.is_empty() {
            return;
        }
        let mut state = self.state();
        for party in parties {
            state.registered.insert((shard, party.as_str().to_owned()));
        }
        state.view = None;
    }

    fn read_label(&self, projections: &Projections, shard: u32, label: Label) -> Result<(), ConsumerError> {
        let known = self.state().labels.get(&label).map(|known| known.whose.clone());
        if let Some(Whose::Customer(customer)) = known {
            return self.read_customer(projections, &customer);
        }
        match customer_of(&self.ledger, projections, &self.vault, &label) {
            Ok(customer) => self.read_customer(projections, &customer),
            Err(ConsumerError::Label { reason, .. }) => self.read_nameless(projections, shard, label, reason),
            Err(error) => Err(error),
        }
    }

    fn read_customer(&self, projections: &Projections, customer: &str) -> Result<(), ConsumerError> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let folded = projections.folded()?;
        let told = trail(&self.ledger, projections, &self.vault, customer)?;
        let mut unknown = |shard: u32, party: &str| self.is_registered(projections, shard, party);
        let findings = concerns(&told, &mut unknown);
        let open = requests(&told).into_iter().filter(is_open).collect();
        let shares = sums(&told);
        self.state().keep(
            &told,
            &folded,
            Seen {
                findings,
                requests: open,
                shares,
            },
        );
        Ok(())
    }

    /// A label under which nothing opens: erased, or a fault.
    fn read_nameless(
        &self,
        projections: &Projections,
        shard: u32,
        label: Label,
        reason: &str,
    ) -> Result<(), ConsumerError> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let leaves = projections.leaves_on(shard, &label)?;
        let is_erased = leaves.iter().any(|leaf| leaf.kind != EVENT);
        let findings = if is_erased {
            Vec::new()
        } else {
            self.unreadable(&leaves, &label, reason)?
        };
        let judged = leaves.last().map_or(0, |leaf| leaf.index.0 + 1);
        let whose = Whose::Label(label);
        let mut state = self.state();
        state.labels.insert(
            label,
            Known {
                whose: whose.clone(),
                judged,
            },
        );
        if findings.is_empty() {
            state.customers.remove(&whose);
        } else {
            let seen = Seen {
                findings,
                ..Seen::default()
            };
            state.customers.insert(whose, seen);
        }
        state.view = None;
        Ok(())
    }

    fn unreadable(
        &self,
        leaves: &[LeafRef],
        label: &Label,
        reason: &str,
    ) -> Result<Vec<WatchedFinding>, ConsumerError> {
        let mut logs = Logs::new(&self.ledger);
        let mut found = Vec::new();
        for at in leaves {
            let log = logs.log(at.shard)?;
            log.leaf(at, label)?;
            found.push(WatchedFinding {
                shard: at.shard,
                index: at.index,
                producer: log.batch_of(at)?.batch.producer.clone(),
                customer: None,
                kind: None,
                time: None,
                recipient: None,
                concern: Concern::Unreadable {
                    reason: reason.to_owned(),
                },
                corrected_at: Vec::new(),
                corrected_away: false,
            });
        }
        Ok(found)
    }

    /// Whether a recipient has a registry entry on a shard. A store that cannot say so is told elsewhere.
    fn is_registered(&self, projections: &Projections, shard: u32, party: &str) -> bool {
        let key = (shard, party.to_owned());
        if self.state().registered.contains(&key) {
            return true;
        }
        let Ok(name) = Name::new(party) else {
            return false;
        };
        let leaves = projections.leaves_on(shard, &party_label(&name));
        let is_there = leaves.is_ok_and(|leaves| !leaves.is_empty());
        if is_there {
            self.state().registered.insert(key);
        }
        is_there
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a thread that panicked left is a trail that is read again, or not at all.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something is left to do. A deletion that was granted is done once the trail that it was asked in is erased.
fn is_open(request: &CustomerRequest) -> bool {
    request.state.is_open() || (request.state == RequestState::Granted && request.right == Right::Erasure)
}

impl State {
    /// Replaces what was read of a customer. `folded`: leaves by shard that the trail has taken into account at least.
    fn keep(&mut self, told: &Trail, folded: &[u64], seen: Seen) {
        let id: Arc<str> = told.customer.as_str().into();
        for generation in &told.generations {
            let judged = folded.get(generation.shard as usize).copied().unwrap_or_default();
            let nameless = Whose::Label(generation.label);
            // It may have had no name before.
            self.customers.remove(&nameless);
            // Whose it was is not remembered once it is erased.
            let whose = if generation.erased_at.is_some() {
                nameless
            } else {
                Whose::Customer(Arc::clone(&id))
            };
            self.labels.insert(generation.label, Known { whose, judged });
        }
        let waits = seen
            .requests
            .iter()
            .any(|request| request.right == Right::Erasure);
        if !waits {
            self.erasing.remove(&*id);
        }
        let is_nothing = seen.findings.is_empty() && seen.requests.is_empty() && seen.shares.is_empty();
        if is_nothing {
            self.customers.remove(&Whose::Customer(id));
        } else {
            self.customers.insert(Whose::Customer(id), seen);
        }
        self.view = None;
    }

    /// Whether something could not be read, and it is time to try again.
    fn is_to_try_again(&self) -> bool {
        let is_time = self.tried.is_none_or(|tried| tried.elapsed() >= AGAIN_AFTER);
        is_time && !self.failed.is_empty()
    }

    /// What is the matter still: a recipient may have been registered since.
    fn left<'a>(&'a self, seen: &'a Seen) -> impl Iterator<Item = &'a WatchedFinding> {
        seen.findings
            .iter()
            .filter(move |finding| match &finding.concern {
                Concern::UnregisteredRecipient { recipient } => {
                    !self.registered.contains(&(finding.shard, recipient.clone()))
                }
                _ => true,
            })
    }

    fn make_view(&self) -> WatchView {
        let mut view = WatchView::default();
        let mut totals: BTreeMap<&str, RecipientTotals> = BTreeMap::new();
        for (whose, seen) in &self.customers {
            view.findings.extend(self.left(seen).cloned());
            for share in &seen.shares {
                share.add_to(&mut totals);
            }
            if let Whose::Customer(customer) = whose {
                view.requests
                    .extend(seen.requests.iter().map(|request| WatchedRequest {
                        customer: customer.to_string(),
                        request: request.clone(),
                        is_being_erased: self.erasing.contains(&**customer),
                    }));
            }
        }
        view.findings.sort_by_key(|one| {
            let place = (one.shard, one.index);
            (
                one.time.is_some(),
                std::cmp::Reverse((one.time, place)),
                (one.concern.name(), one.corrected_away),
            )
        });
        view.requests
            .sort_by_key(|one| (one.request.due, one.request.shard, one.request.index));
        for finding in &view.findings {
            let about = finding.recipient.as_ref();
            if let Some(sum) = about.and_then(|recipient| totals.get_mut(recipient.id.as_str())) {
                sum.concerns += 1;
            }
        }
        view.recipients = totals.into_values().collect();
        for recipient in &mut view.recipients {
            recipient.registered = self.registered.iter().any(|(_, party)| *party == recipient.id);
        }
        let most = |one: &RecipientTotals| (std::cmp::Reverse(one.disclosures), one.id.clone());
        view.recipients.sort_by_key(most);
        view
    }
}
