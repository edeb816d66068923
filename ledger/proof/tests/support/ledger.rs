//! A whole ledger in memory, and the dossiers of its customers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use sharetrail_proof::acceptance::Accepted;
use sharetrail_proof::customer::{commitment, label, prove_label};
use sharetrail_proof::dossier::{Base64, Builder, ContentEvidence, Dossier};
use sharetrail_proof::entry::{Entry, ErasureEntry, EventEntry, Genesis, RegistryAction};
use sharetrail_proof::hash::{Hash, LeafIndex};
use sharetrail_proof::name::{Label, Name, OPERATOR, Shard};
use sharetrail_proof::note::NoteSigner;
use sharetrail_proof::policy::Policy;
use sharetrail_proof::vrf::VrfSecretKey;

use super::{LEDGER, Log, chain, key_registered, ledger_id, name, party, seed, signer};

/// An event before it is signed.
#[derive(Clone)]
pub(crate) struct Event {
    pub(crate) entry: EventEntry,
    pub(crate) opening: [u8; 32],
    pub(crate) content: String,
}

/// All shards, and the keys that a company holds.
pub(crate) struct Ledger {
    pub(crate) vrf: VrfSecretKey,
    pub(crate) operator: NoteSigner,
    pub(crate) recovery: NoteSigner,
    pub(crate) logs: Vec<Log>,
    contents: HashMap<Hash, Event>,
}

impl Ledger {
    /// A ledger with nothing but its genesis entries.
    pub(crate) fn empty(shards: u32) -> Self {
        let vrf = VrfSecretKey::from_seed(&seed("vrf"));
        let (operator, recovery) = (signer("operator", "operator"), signer("recovery", "recovery"));
        let genesis = |shard| Genesis {
            ledger: name(LEDGER),
            id: ledger_id(),
            shard,
            vrf: vrf.public(),
            operator: operator.verifier().clone(),
            recovery: recovery.verifier().clone(),
        };
        let logs = Shard::all(shards).map(|shard| Log::new(genesis(shard))).collect();
        Self {
            vrf,
            operator,
            recovery,
            logs,
            contents: HashMap::new(),
        }
    }

    /// A ledger that knows the producer `till`, and its key.
    pub(crate) fn with_till(shards: u32) -> (Self, NoteSigner) {
        let (mut ledger, till) = (Self::empty(shards), signer("till", "till"));
        ledger.register(&[("till", party()), ("till", key_registered(&till))]);
        (ledger, till)
    }

    pub(crate) fn log(&self, shard: u32) -> &Log {
        &self.logs[usize::try_from(shard).unwrap()]
    }

    pub(crate) fn log_mut(&mut self, shard: u32) -> &mut Log {
        &mut self.logs[usize::try_from(shard).unwrap()]
    }

    fn count(&self) -> u32 {
        u32::try_from(self.logs.len()).unwrap()
    }

    /// One batch of registry entries by the operator, the same on every shard.
    pub(crate) fn register(&mut self, actions: &[(&str, RegistryAction)]) {
        for log in &mut self.logs {
            let entries = log.registry_entries(actions);
            log.push(&self.operator, chain("operator"), &entries);
        }
    }

    pub(crate) fn label(&self, customer: &str, generation: u32) -> Label {
        label(&self.vrf, &name(LEDGER), customer, generation)
    }

    /// The shard on which that label lives.
    pub(crate) fn shard_of(&self, customer: &str, generation: u32) -> u32 {
        self.label(customer, generation).shard(self.count())
    }

    /// A customer whose generations from 0 on live on these shards.
    pub(crate) fn customer_on(&self, shards: &[u32]) -> String {
        let lives = |id: &String| {
            (0..)
                .zip(shards)
                .all(|(number, shard)| self.shard_of(id, number) == *shard)
        };
        (0..1_000)
            .map(|number| format!("customer-{number}"))
            .find(lives)
            .unwrap()
    }

    pub(crate) fn event(&self, customer: &str, generation: u32, number: u32) -> Event {
        let opening = seed(&format!("opening {customer} {generation} {number}"));
        let content = format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"/till","type":"org.sharetrail.data.shared.v1","subject":"{customer}"}}"#
        );
        let entry = EventEntry {
            id: *seed(&format!("id {customer} {number}")).first_chunk().unwrap(),
            label: self.label(customer, generation),
            commitment: commitment(&opening, content.as_bytes()),
        };
        Event {
            entry,
            opening,
            content,
        }
    }

    /// The entries of events, whose contents are kept for dossiers.
    pub(crate) fn keep(&mut self, events: &[Event]) -> Vec<Vec<u8>> {
        let kept = events.iter().map(|event| (event.entry.commitment, event.clone()));
        self.contents.extend(kept);
        events
            .iter()
            .map(|event| event.entry.to_bytes().to_vec())
            .collect()
    }

    /// One batch with events of one customer, where their label lives.
    pub(crate) fn record(
        &mut self,
        by: &NoteSigner,
        customer: &str,
        generation: u32,
        numbers: Range<u32>,
    ) -> Accepted {
        let events: Vec<Event> = numbers
            .map(|number| self.event(customer, generation, number))
            .collect();
        let entries = self.keep(&events);
        let shard = self.shard_of(customer, generation);
        self.log_mut(shard)
            .push(by, chain(by.verifier().name()), &entries)
    }

    /// Records the erasure of a label and forgets what it was about.
    pub(crate) fn erase(&mut self, customer: &str, generation: u32) -> Accepted {
        let (label, operator) = (self.label(customer, generation), self.operator.clone());
        self.contents.retain(|_, event| event.entry.label != label);
        let entry = ErasureEntry { label, generation }.to_bytes().to_vec();
        let shard = self.shard_of(customer, generation);
        self.log_mut(shard).push(&operator, chain("operator"), &[entry])
    }

    /// Loses the contents of a label without an erasure.
    pub(crate) fn lose(&mut self, customer: &str, generation: u32) {
        let label = self.label(customer, generation);
        self.contents.retain(|_, event| event.entry.label != label);
    }

    /// Trusts all logs and wants no witness.
    pub(crate) fn policy(&self) -> Policy {
        Policy::new(
            name(LEDGER),
            ledger_id(),
            self.logs.iter().map(|log| log.signer.verifier().clone()),
        )
    }

    /// The dossier of a customer with generations 0 to `generations` - 1.
    pub(crate) fn dossier(&self, customer: &str, generations: u32) -> Dossier {
        self.collect(customer, generations).finish()
    }

    /// All parts of that dossier; what is told further belongs to the last generation.
    pub(crate) fn collect(&self, customer: &str, generations: u32) -> Builder {
        let mut builder = Builder::new(name(LEDGER), customer);
        let mut parties = BTreeMap::<u32, BTreeSet<Name>>::new();
        for generation in 0..generations {
            let (label, proof) = prove_label(&self.vrf, &name(LEDGER), customer, generation);
            let shard = label.shard(self.count());
            let parties = parties.entry(shard).or_default();
            parties.insert(name(OPERATOR));
            builder.generation(label, proof);
            for (index, _) in self.log(shard).pick(|entry| entry.label() == Some(label)) {
                parties.insert(self.log(shard).batch_of(index).1.producer);
                self.tell(&mut builder, shard, index);
            }
        }
        for (shard, parties) in &parties {
            let log = self.log(*shard);
            builder.shard(
                *shard,
                &log.checkpoint(),
                &log.entries[0],
                log.proof(LeafIndex(0)),
            );
            let involved = |entry: &Entry<'_>| matches!(entry, Entry::Registry(one) if parties.contains(&one.record.party));
            for (index, _) in log.pick(involved) {
                self.tell(&mut builder, *shard, index);
            }
        }
        builder
    }

    /// Adds one entry of a log with its batch.
    pub(crate) fn tell(&self, builder: &mut Builder, shard: u32, index: LeafIndex) {
        let log = self.log(shard);
        let (place, bytes) = (log.place(index), log.entry(index));
        builder.batch(
            shard,
            place.batch,
            log.note_at(place.batch),
            log.proof(place.batch),
        );
        match Entry::parse(bytes).unwrap() {
            Entry::Event(event) => builder.event(bytes, place, self.content(&event)),
            Entry::Erasure(_) => builder.erasure(bytes, place),
            _ => builder.registry(bytes, place),
        }
    }

    fn content(&self, entry: &EventEntry) -> ContentEvidence {
        let log = self.log(entry.label.shard(self.count()));
        match self.contents.get(&entry.commitment) {
            Some(event) => ContentEvidence::Opened {
                opening: Base64(event.opening.to_vec()),
                json: event.content.clone(),
            },
            None if log.state.erased(&entry.label).is_some() => ContentEvidence::Erased {},
            None => ContentEvidence::Unreadable {},
        }
    }
}
