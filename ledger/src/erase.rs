//! Erasing a customer: from the wish to the key that is gone.
//!
//! ```text
//! intended   vault/erasing holds the label: no key of it is granted any more
//! waited     on a distributed bus, until every lease on the key has ended
//! on record  the erasure entry, on the operator's chain in the label's shard, sealed
//! destroyed  each host: the key overwritten, the key-encryption key exchanged, the wish forgotten
//! ```
//! What is intended is finished at the next start, wherever it was interrupted. Destroying hangs on the entry in this host's
//! own log and on nothing else: each host meets it there, as leader, as follower, or when it starts.
//! In scope: that order, waiting, the thread that destroys. Out of scope: the vault's files ([`crate::vault`]), the entry
//! ([`crate::operator`]), which label is a customer's (whoever asks).
//! Trust: the log at this host. That a key was destroyed is the word of each host for itself.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sharetrail_proof::entry::{Entry, ErasureEntry};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Label;

use crate::desk::LEASE;
use crate::engine::{Engine, held};
use crate::error::LedgerError;
use crate::host::{self, Command, Host, Role};
use crate::ledger::Ledger;
use crate::operator;
use crate::sequencer::{Observer, Step};
use crate::vault::Vault;
use crate::wire::Control;

/// How long after its lease ended a key counts as still in use.
const MARGIN: Duration = Duration::from_secs(2);
/// How often the keeper looks whether something is left to do.
const TICK: Duration = Duration::from_millis(250);
/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// A customer's label that is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The shard of the label.
    pub shard: u32,
    /// Where its erasure entry is.
    pub index: LeafIndex,
    /// Whether this host's key-encryption key was exchanged since, so that no old copy of its vault opens. Where it was not
    /// yet, it is tried again until it is.
    pub rotated: bool,
}

/// Destroys the keys of labels whose erasure is on record, and exchanges the key-encryption key.
pub(crate) struct Keeper {
    vault: Arc<Vault>,
    observer: Arc<dyn Observer>,
    /// Labels whose erasure came to be on record, with their generations, until nothing of it is left to do.
    waiting: Mutex<Vec<(Label, u32)>>,
    wake: Condvar,
    /// Why the keeper does nothing any more until the next start, if so. Held while it works.
    stopped: Mutex<Option<String>>,
    told: Mutex<Vec<String>>,
}

impl Keeper {
    pub(crate) fn new(vault: &Arc<Vault>, observer: &Arc<dyn Observer>) -> Self {
        Self {
            vault: Arc::clone(vault),
            observer: Arc::clone(observer),
            waiting: Mutex::default(),
            wake: Condvar::new(),
            stopped: Mutex::default(),
            told: Mutex::default(),
        }
    }

    pub(crate) fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// What the operator should know of, since the last call.
    pub(crate) fn take_told(&self) -> Vec<String> {
        std::mem::take(&mut *held(&self.told))
    }

    fn say(&self, text: String) {
        let mut told = held(&self.told);
        if !told.contains(&text) {
            told.push(text);
        }
    }

    fn step(&self, step: Step) -> Result<(), LedgerError> {
        self.observer.step(0, step)
    }

    /// One at a time, and nothing any more once an observer stopped it.
    fn in_turn<T>(&self, work: impl FnOnce() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
        let mut stopped = held(&self.stopped);
        if let Some(why) = &*stopped {
            return Err(LedgerError::Stopped(why.clone()));
        }
        let outcome = work();
        if let Err(LedgerError::Stopped(why)) = &outcome {
            *stopped = Some(why.clone());
        }
        for text in self.vault.take_told() {
            self.say(format!("vault: {text}"));
        }
        outcome
    }

    fn intend(&self, label: &Label, generation: u32) -> Result<(), LedgerError> {
        self.in_turn(|| {
            self.vault.intend(label, generation)?;
            self.step(Step::ErasureIntended)
        })
    }

    /// Destroys at once the keys of all labels that a log says are erased. The key-encryption key is exchanged later.
    pub(crate) fn note(&self, erased: &[(Label, u32)]) -> Result<(), LedgerError> {
        let destroyed = self.in_turn(|| self.vault.destroy(erased, false, &|step| self.step(step)))?;
        if destroyed > 0 {
            self.say(format!(
                "vault: destroyed {destroyed} keys of customers whose erasure is on record"
            ));
        }
        let intended = self.vault.intentions();
        if !intended.is_empty() {
            let done = erased.iter().filter(|one| intended.contains(one));
            self.tell(done.copied().collect());
        }
        Ok(())
    }

    /// Erasures came to be on record: the keys are destroyed soon.
    pub(crate) fn tell(&self, erased: Vec<(Label, u32)>) {
        if !erased.is_empty() {
            held(&self.waiting).extend(erased);
            self.wake.notify_all();
        }
    }

    /// Does all that is due; when it returns, it is done.
    pub(crate) fn settle(&self) -> Result<(), LedgerError> {
        self.in_turn(|| {
            let waiting = held(&self.waiting).clone();
            let done = |step| self.step(step);
            self.vault.destroy(&waiting, true, &done)?;
            if self.vault.rotation_is_due() {
                self.vault.rotate(&done)?;
            }
            self.vault.forget(&waiting)?;
            held(&self.waiting).retain(|one| !waiting.contains(one));
            Ok(())
        })
    }

    /// At a start: what an earlier process left is done; what cannot be done now is told, and tried again by
    /// [`Keeper::run`].
    pub(crate) fn begin(&self) -> Result<(), LedgerError> {
        match self.settle() {
            Err(error @ LedgerError::Stopped(_)) => return Err(error),
            Err(error) => self.say(not_settled(&error)),
            Ok(()) => {}
        }
        if !self.vault.opens()? {
            self.say(
                "vault: no customer's key opens under the key-encryption key: is the vault an old copy, or another host's? \
                 `sharetrail restore` takes keys from a newer one of this host"
                    .into(),
            );
        }
        Ok(())
    }

    /// Does what is due until told to stop.
    pub(crate) fn run(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let is_due = self.vault.rotation_is_due();
            let waiting = held(&self.waiting);
            if !is_due && waiting.is_empty() {
                // Whoever panicked while holding the list left it whole.
                drop(self.wake.wait_timeout(waiting, TICK));
                continue;
            }
            drop(waiting);
            match self.settle() {
                Ok(()) => {}
                Err(LedgerError::Stopped(_)) => return,
                Err(error) => {
                    self.say(not_settled(&error));
                    rest(stop);
                }
            }
        }
    }

    /// Looks again at once.
    pub(crate) fn wake(&self) {
        let _waiting = held(&self.waiting);
        self.wake.notify_all();
    }
}

fn not_settled(error: &LedgerError) -> String {
    format!(
        "vault: keys of erased customers, or old copies of them, are not all destroyed yet: {error}; it is tried again"
    )
}

fn rest(stop: &AtomicBool) {
    let until = Instant::now() + AGAIN;
    while Instant::now() < until && !stop.load(Ordering::Acquire) {
        std::thread::sleep(TICK);
    }
}

/// The keeper's thread.
pub(crate) fn start_keeper(
    ledger: &Ledger,
    keeper: &Arc<Keeper>,
    stop: &Arc<AtomicBool>,
) -> Result<JoinHandle<Result<(), LedgerError>>, LedgerError> {
    let (keeper, stop) = (Arc::clone(keeper), Arc::clone(stop));
    host::start(ledger, "keeper", move || {
        keeper.run(&stop);
        Ok(())
    })
}

/// An erasure that was asked for and is not done.
struct Begun {
    /// Since when this host grants no key of it, and no other host grants keys at all: leases count from then.
    since: Instant,
    /// In which of this host's terms on shard 0 that was; none before it was first asked.
    term: Option<u64>,
    /// When it is to be tried, at the earliest.
    next: Instant,
    /// Who waits for it.
    commands: Vec<Command>,
    /// Whoever asks the host that leads to carry it out.
    asking: Option<JoinHandle<()>>,
}

impl Begun {
    /// How long there are still leases, where they last so long. Another host that led in between granted some anew.
    fn left(&mut self, leases: Duration, term: u64) -> Duration {
        if self.term != Some(term) {
            (self.term, self.since) = (Some(term), Instant::now());
        }
        leases.saturating_sub(self.since.elapsed())
    }
}

/// Erasures that were asked for and are not done, as this process knows them.
#[derive(Default)]
pub(crate) struct Erasures {
    begun: Mutex<BTreeMap<Label, Begun>>,
}

impl Erasures {
    fn with<T>(&self, label: Label, work: impl FnOnce(&mut Begun) -> T) -> T {
        let now = Instant::now();
        let mut begun = held(&self.begun);
        work(begun.entry(label).or_insert_with(|| Begun {
            since: now,
            term: None,
            next: now,
            commands: Vec::new(),
            asking: None,
        }))
    }

    /// Answers a command when the label is erased.
    pub(crate) fn answer_later(&self, label: Label, command: Command) {
        self.with(label, |begun| begun.commands.push(command));
    }

    /// How long there are still leases on a key of the label, where they last so long. `term`: this host's on shard 0.
    fn left(&self, label: Label, leases: Duration, term: u64) -> Duration {
        self.with(label, |begun| begun.left(leases, term))
    }

    fn is_due(&self, label: Label, leases: Duration, term: u64) -> bool {
        self.with(label, |begun| {
            begun.left(leases, term).is_zero() && Instant::now() >= begun.next
        })
    }

    fn labels(&self) -> Vec<Label> {
        held(&self.begun).keys().copied().collect()
    }

    fn put_off(&self, label: Label) {
        self.with(label, |begun| begun.next = Instant::now() + AGAIN);
    }

    fn answer(&self, label: Label, outcome: &Result<(), LedgerError>) {
        let commands = self.with(label, |begun| std::mem::take(&mut begun.commands));
        for command in commands {
            command.answer(outcome);
        }
    }

    fn done(&self, label: Label) {
        self.answer(label, &Ok(()));
        held(&self.begun).remove(&label);
    }

    /// Of what was begun, whatever is not intended any more was done meanwhile: another host may have put it on record.
    fn forget_done(&self, begun: &[Label], intended: &[(Label, u32)]) {
        let is_intended = |label: &Label| intended.iter().any(|(one, _)| one == label);
        for label in begun.iter().filter(|label| !is_intended(label)) {
            self.done(*label);
        }
    }
}

impl Engine {
    /// Erases a customer's label for good: no key of it is granted any more, the erasure is put on record, and the key is
    /// destroyed. On a distributed bus this waits until every lease on the key has ended, about a minute. Interrupted, it
    /// is finished by [`Engine::finish_erasures`], or when it is asked again; then it gives where the erasure is on record.
    ///
    /// # Errors
    /// [`LedgerError::Invalid`] if the label is known under another generation or never had a key here, or another host
    /// leads shard 0 and must be asked.
    pub fn erase(&self, label: &Label, generation: u32) -> Result<Erased, LedgerError> {
        let erased = self.erase_unless(label, generation, &|_| (), &AtomicBool::new(false))?;
        erased.ok_or_else(|| LedgerError::Stopped("it ended while leases were waited for".into()))
    }

    /// As [`Engine::erase`], for somebody who watches. `waiting`: told how long leases are waited for, before they are.
    /// `stop`: set by whoever wants it to end while it waits; then nothing is given, and nothing is on record yet. It stays
    /// noted: no key is granted, and it is finished like one that was interrupted otherwise.
    ///
    /// # Errors
    /// As [`Engine::erase`].
    pub fn erase_unless(
        &self,
        label: &Label,
        generation: u32,
        waiting: &dyn Fn(Duration),
        stop: &AtomicBool,
    ) -> Result<Option<Erased>, LedgerError> {
        self.check_leads_vault()?;
        if self.intend(*label, generation)? {
            if !self.wait_out(*label, waiting, stop) {
                return Ok(None);
            }
            // Whoever leads by now may have granted a key meanwhile.
            self.check_leads_vault()?;
        }
        let erased = self.carry_out(*label, generation)?;
        if erased.rotated {
            self.erasures().done(*label);
        }
        Ok(Some(erased))
    }

    /// Waits until every lease on a key of the label has ended; whether it has, or was told to stop.
    fn wait_out(&self, label: Label, waiting: &dyn Fn(Duration), stop: &AtomicBool) -> bool {
        let leases = self.leases();
        let mut left = self.erasures().left(label, leases, self.term());
        if !left.is_zero() {
            waiting(left);
        }
        while !left.is_zero() && !stop.load(Ordering::Acquire) {
            std::thread::sleep(left.min(TICK));
            left = self.erasures().left(label, leases, self.term());
        }
        left.is_zero()
    }

    /// Goes on with erasures that were asked for and are not done, as far as it can now; what cannot be done is told as a
    /// notice and tried again. Cheap where there are none; whoever serves a ledger calls it every few seconds.
    pub fn finish_erasures(&self) -> Result<(), LedgerError> {
        // Looked at first: what is begun meanwhile is not among the intended ones yet, and not done either.
        let begun = self.erasures().labels();
        let intended = self.vault().intentions();
        self.erasures().forget_done(&begun, &intended);
        for (label, generation) in intended {
            if !self.leads_vault() {
                self.ask_leader(label, generation);
            } else if self.erasures().is_due(label, self.leases(), self.term()) {
                self.finish(label, generation)?;
            }
        }
        Ok(())
    }

    fn finish(&self, label: Label, generation: u32) -> Result<(), LedgerError> {
        match self.carry_out(label, generation) {
            Ok(Erased { rotated: true, .. }) => self.erasures().done(label),
            Ok(_) => self.erasures().put_off(label),
            Err(error @ LedgerError::Stopped(_)) => return Err(error),
            Err(error) => {
                self.erasures().put_off(label);
                self.keeper().say(format!(
                    "the erasure of label {label} is not on record yet: {error}; it is tried again"
                ));
                if !error.is_transient() {
                    self.erasures().answer(label, &Err(error));
                }
            }
        }
        Ok(())
    }

    /// Whether this host is the one that grants keys, so that it can stop granting one.
    fn leads_vault(&self) -> bool {
        self.host().is_none_or(|host| host.role(0) == Role::Leading)
    }

    fn check_leads_vault(&self) -> Result<(), LedgerError> {
        if self.leads_vault() {
            return Ok(());
        }
        let text = "another host leads shard 0, and erasures are carried out there";
        Err(LedgerError::Invalid(text.into()))
    }

    /// Which of this host's terms on shard 0 it is.
    fn term(&self) -> u64 {
        self.host().map_or(0, Host::vault_terms)
    }

    /// How long a key that was granted may be used.
    fn leases(&self) -> Duration {
        self.host().map_or(Duration::ZERO, |_| LEASE + MARGIN)
    }

    /// Notes that a label is to be erased; false where that is on record already.
    pub(crate) fn intend(&self, label: Label, generation: u32) -> Result<bool, LedgerError> {
        match self.erased_generation(&label)? {
            Some(other) if other != generation => Err(LedgerError::Invalid(format!(
                "label {label} was erased as generation {other} of its customer, not {generation}"
            ))),
            Some(_) => Ok(false),
            None if !self.vault().knows(&label)? => Err(LedgerError::Invalid(format!(
                "the vault never had a key of label {label}, so there is nothing to destroy; if events are on record under it, \
                 bring the vault back with `sharetrail restore` first"
            ))),
            None => {
                self.keeper().intend(&label, generation)?;
                // From here on its leases count.
                self.erasures().left(label, Duration::ZERO, self.term());
                Ok(true)
            }
        }
    }

    fn erased_generation(&self, label: &Label) -> Result<Option<u32>, LedgerError> {
        let label = *label;
        let shard = label.shard(self.ledger().shards());
        self.ask(shard, move |one| one.state().erased(&label))
    }

    /// Puts the erasure on record unless it is, and destroys what is to be destroyed here.
    fn carry_out(&self, label: Label, generation: u32) -> Result<Erased, LedgerError> {
        let shard = label.shard(self.ledger().shards());
        if self.erased_generation(&label)?.is_none() {
            let _turn = self.registry_turn();
            match operator::erase(self, shard, &ErasureEntry { label, generation }) {
                // Another host, or another thread here, was faster.
                Err(LedgerError::Rejected(_)) if self.erased_generation(&label)?.is_some() => {}
                other => other?,
            }
        }
        let index = self.erasure_index(shard, &label)?;
        self.keeper().tell(vec![(label, generation)]);
        let rotated = match self.keeper().settle() {
            Ok(()) => true,
            Err(error @ LedgerError::Stopped(_)) => return Err(error),
            // The key itself is gone, which does not come again.
            Err(error) if self.vault().is_gone(&label)? => {
                self.keeper().say(not_settled(&error));
                false
            }
            Err(error) => return Err(error),
        };
        Ok(Erased {
            shard,
            index,
            rotated,
        })
    }

    /// Where a label's erasure entry is. It is on record: an operator's batch holds it.
    fn erasure_index(&self, shard: u32, label: &Label) -> Result<LeafIndex, LedgerError> {
        let mut found = None;
        operator::visit(self, shard, &mut |index, entry| {
            if matches!(Entry::parse(entry), Ok(Entry::Erasure(erasure)) if erasure.label == *label) {
                found = Some(index);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        found.ok_or_else(|| {
            LedgerError::Invalid(format!(
                "the erasure of label {label} is on record in shard {shard}, and is not under its published checkpoint yet; \
                 ask again"
            ))
        })
    }

    /// Has the host that leads carry an erasure out, without waiting for it.
    fn ask_leader(&self, label: Label, generation: u32) {
        let (ledger, keeper) = (self.ledger().clone(), Arc::clone(self.keeper()));
        self.erasures().with(label, |begun| {
            let is_asking = begun.asking.as_ref().is_some_and(|one| !one.is_finished());
            if is_asking || Instant::now() < begun.next {
                return;
            }
            begun.next = Instant::now() + AGAIN;
            let ask = move || {
                if let Err(error) = host::command(&ledger, &Control::Erase { label, generation }) {
                    keeper.say(format!(
                        "the host that leads shard 0 was asked for the erasure of label {label}: {error}; it is asked again"
                    ));
                }
            };
            // Without a thread now, there may be one the next time.
            begun.asking = std::thread::Builder::new()
                .name("ask-leader".into())
                .spawn(ask)
                .ok();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABEL: Label = Label([1; 32]);

    /// The fault: leases that another host granted while it led are not waited out.
    #[test]
    fn leases_count_anew_in_each_term() {
        let (erasures, long) = (Erasures::default(), Duration::from_hours(1));
        let before = erasures.left(LABEL, long, 1);
        std::thread::sleep(Duration::from_millis(20));
        let within = erasures.left(LABEL, long, 1);
        assert!(within + Duration::from_millis(20) <= before);
        let anew = erasures.left(LABEL, long, 2);
        assert!(anew > within && !erasures.is_due(LABEL, long, 2));
        assert!(erasures.is_due(LABEL, Duration::ZERO, 2));
    }

    /// The fault: an erasure that is begun while others are looked through counts as done, and whoever asked is told so.
    #[test]
    fn what_was_begun_since_is_not_done() {
        let erasures = Erasures::default();
        let looked_at = erasures.labels();
        erasures.left(LABEL, Duration::ZERO, 0);
        erasures.forget_done(&looked_at, &[]);
        assert_eq!(erasures.labels(), [LABEL]);
        erasures.forget_done(&erasures.labels(), &[(LABEL, 0)]);
        assert_eq!(erasures.labels(), [LABEL]);
        erasures.forget_done(&erasures.labels(), &[]);
        assert!(erasures.labels().is_empty());
    }
}
