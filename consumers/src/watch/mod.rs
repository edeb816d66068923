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

use serde::Serialize;
use sharetrail_ledger::{Ledger, Vault};
use sharetrail_proof::entry::{EVENT, Entry, party_label};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Label, Name};
use utoipa::ToSchema;

pub use self::concern::{Concern, WatchedFinding};
use self::concern::concerns;
use self::sums::{Share, sums};
pub use self::sums::RecipientTotals;
use crate::error::ConsumerError;
use crate::logs::Logs;
use crate::opening::customer_of;
use crate::projection::{LeafRef, Projections};
use crate::requests::{CustomerRequest, RequestState, requests};
use crate::shelf::Shelf;
use crate::trail::{Trail, trail};

/// Leaves that are looked through before their customers' trails are read.
const CHUNK_LEAVES: u64 = 16_384;

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
            state: Mutex::new(State {
                read: vec![0; ledger.shards() as usize],
                ..State::default()
            }),
        })
    }

    /// Reads what is new, until it is level or told to stop. To be called every second or so; what was read before an error
    /// stays read.
    pub fn look(&self, stop: &AtomicBool) -> Result<(), ConsumerError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sizes = Vec::new();
        for shard in 0..self.ledger.shards() {
            sizes.push(self.ledger.reader(shard)?.size().0);
        }
        let read = {
            let mut state = self.state();
            state.total = sizes.iter().sum();
            state.read.clone()
        };
        if read == sizes {
            return Ok(());
        }
        let projections = self.shelf.projections()?;
        if projections.folded()? != sizes {
            self.shelf.catch_up()?;
        }
        for (shard, from) in (0..).zip(read) {
            self.follow(&projections, shard, from, stop)?;
        }
        Ok(())
    }

    /// How many leaves were looked through, and how many there are.
    pub fn progress(&self) -> (u64, u64) {
        let state = self.state();
        (state.read.iter().sum(), state.total)
    }

    /// What an officer sees now.
    pub fn view(&self) -> Arc<WatchView> {
        let mut state = self.state();
        let made = state.view.take().unwrap_or_else(|| Arc::new(state.make_view()));
        state.view = Some(Arc::clone(&made));
        made
    }

    /// A page of findings, the newest first, after one that was shown before, by shard and index; all that are about one
    /// event come together, so that a page can be a little longer than `limit`.
    pub fn findings_page(&self, after: Option<(u32, u64)>, limit: usize) -> Vec<WatchedFinding> {
        let view = self.view();
        let place = |finding: &WatchedFinding| (finding.shard, finding.index.0);
        let start = after.map_or(0, |after| {
            let last = view.findings.iter().rposition(|finding| place(finding) == after);
            last.map_or(view.findings.len(), |last| last + 1)
        });
        let mut end = view.findings.len().min(start.saturating_add(limit.max(1)));
        while end < view.findings.len() && place(&view.findings[end]) == place(&view.findings[end - 1]) {
            end += 1;
        }
        view.findings[start..end].to_vec()
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
        let end = folded.get(shard as usize).copied().unwrap_or_default().min(reader.size().0);
        while from < end && !stop.load(Ordering::Acquire) {
            let until = end.min(from + CHUNK_LEAVES);
            let mut labels = Vec::new();
            reader.scan(LeafIndex(from), &mut |index, entry, _| {
                if index.0 >= until {
                    return ControlFlow::Break(());
                }
                match Entry::parse(entry) {
                    Ok(Entry::Event(event)) => labels.push((event.label, index.0)),
                    Ok(Entry::Erasure(erasure)) => labels.push((erasure.label, index.0)),
                    _ => {}
                }
                ControlFlow::Continue(())
            })?;
            for (label, index) in labels {
                if stop.load(Ordering::Acquire) {
                    return Ok(());
                }
                let is_read = self.state().labels.get(&label).is_some_and(|known| known.judged > index);
                if !is_read {
                    self.read_label(projections, shard, label)?;
                }
            }
            from = until;
            if let Some(read) = self.state().read.get_mut(shard as usize) {
                *read = until;
            }
        }
        Ok(())
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
        let folded = projections.folded()?;
        let told = trail(&self.ledger, projections, &self.vault, customer)?;
        let mut unknown = |shard: u32, party: &str| self.is_registered(projections, shard, party);
        let findings = concerns(&told, &mut unknown);
        let open = requests(&told).into_iter().filter(is_open).collect();
        let shares = sums(&told, &findings);
        self.state().keep(&told, &folded, Seen { findings, requests: open, shares });
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
        state.labels.insert(label, Known { whose: whose.clone(), judged });
        let seen = Seen { findings, ..Seen::default() };
        state.customers.insert(whose, seen);
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
                concern: Concern::Unreadable { reason: reason.to_owned() },
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

fn is_open(request: &CustomerRequest) -> bool {
    matches!(request.state, RequestState::Open | RequestState::InProgress)
}

impl State {
    /// Replaces what was read of a customer. `folded`: leaves by shard that the trail has taken into account at least.
    fn keep(&mut self, told: &Trail, folded: &[u64], seen: Seen) {
        let id: Arc<str> = told.customer.as_str().into();
        for generation in &told.generations {
            let judged = folded.get(generation.shard as usize).copied().unwrap_or_default();
            let whose = Whose::Customer(Arc::clone(&id));
            // It may have had no name before.
            self.customers.remove(&Whose::Label(generation.label));
            self.labels.insert(generation.label, Known { whose, judged });
        }
        let waits = seen.requests.iter().any(|request| request.right == sharetrail_schemas::Right::Erasure);
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

    fn make_view(&self) -> WatchView {
        let is_registered = |shard: u32, recipient: &str| self.registered.contains(&(shard, recipient.to_owned()));
        let mut view = WatchView::default();
        let mut totals: BTreeMap<&str, RecipientTotals> = BTreeMap::new();
        for (whose, seen) in &self.customers {
            let still = seen.findings.iter().filter(|finding| match &finding.concern {
                Concern::UnregisteredRecipient { recipient } => !is_registered(finding.shard, recipient),
                _ => true,
            });
            view.findings.extend(still.cloned());
            for share in &seen.shares {
                share.add_to(&mut totals);
            }
            if let Whose::Customer(customer) = whose {
                view.requests.extend(seen.requests.iter().map(|request| WatchedRequest {
                    customer: customer.to_string(),
                    request: request.clone(),
                    is_being_erased: self.erasing.contains(&**customer),
                }));
            }
        }
        view.findings.sort_by_key(|one| {
            let place = (one.shard, one.index);
            (one.time.is_some(), std::cmp::Reverse((one.time, place)), one.concern.name())
        });
        view.requests.sort_by_key(|one| (one.request.due, one.request.shard, one.request.index));
        view.recipients = totals.into_values().collect();
        for recipient in &mut view.recipients {
            recipient.registered = self.registered.iter().any(|(_, party)| *party == recipient.id);
        }
        let most = |one: &RecipientTotals| (std::cmp::Reverse(one.disclosures), one.id.clone());
        view.recipients.sort_by_key(most);
        view
    }
}
