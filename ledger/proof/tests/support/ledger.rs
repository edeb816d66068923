//! A whole ledger in memory with its customer maps, and the dossiers and certificates of its customers.
//!
//! Out of the box each map log has two roots: one of the genesis entry alone, one of all that is in the log. A test that
//! calls [`Ledger::seal`] says itself when roots are sealed. What an operator would leave out, it tells with `left_out`
//! and `unmapped`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use sharetrail_proof::acceptance::Accepted;
use sharetrail_proof::checkpoint::{Checkpoint, map_origin};
use sharetrail_proof::customer::{commitment, label, prove_label};
use sharetrail_proof::dossier::{Base64, Builder, Certificate, ContentEvidence, Dossier, MapPart};
use sharetrail_proof::entry::{Entry, ErasureEntry, EventEntry, Genesis, RegistryAction, party_label};
use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
use sharetrail_proof::map::MapPath;
use sharetrail_proof::name::{Label, Name, OPERATOR, Shard};
use sharetrail_proof::note::NoteSigner;
use sharetrail_proof::policy::Policy;
use sharetrail_proof::tree::{inclusion_proof, prove_consistency};
use sharetrail_proof::vrf::VrfSecretKey;

use super::{
    LEDGER, Log, Map, TIME, chain, hashes, key_registered, ledger_id, name, party, root, seed, signer,
};

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
    /// The keys of the map logs.
    pub(crate) maps: Vec<NoteSigner>,
    /// Entries, by shard and index, that dossiers leave out.
    pub(crate) left_out: BTreeSet<(u32, LeafIndex)>,
    /// Entries, by shard and index, that the maps leave out: the operator forged them.
    pub(crate) unmapped: BTreeSet<(u32, LeafIndex)>,
    /// How many leaves of each map log dossiers know of, where that is not all.
    pub(crate) map_leaves: Option<usize>,
    /// By shard, of how many entries each root was sealed.
    moments: Vec<Vec<usize>>,
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
        let origins = Shard::all(shards).map(|shard| map_origin(&name(LEDGER), shard));
        Self {
            maps: origins.map(|origin| signer(&origin, &origin)).collect(),
            vrf,
            operator,
            recovery,
            logs,
            left_out: BTreeSet::new(),
            unmapped: BTreeSet::new(),
            map_leaves: None,
            moments: Shard::all(shards).map(|_| Vec::new()).collect(),
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

    /// Trusts all logs and map logs and wants no witness.
    pub(crate) fn policy(&self) -> Policy {
        let logs = self.logs.iter().map(|log| &log.signer).chain(&self.maps);
        Policy::new(
            name(LEDGER),
            ledger_id(),
            logs.map(|signer| signer.verifier().clone()),
        )
    }

    /// Seals a map root over all that is on record, on each shard.
    pub(crate) fn seal(&mut self) {
        for (moments, log) in self.moments.iter_mut().zip(&self.logs) {
            moments.push(log.entries.len());
        }
    }

    /// The sizes of the record log at which roots were sealed, as far as dossiers know of them.
    fn moments(&self, shard: u32) -> Vec<usize> {
        let mut moments = self.moments[usize::try_from(shard).unwrap()].clone();
        if moments.is_empty() {
            moments = vec![1, self.log(shard).entries.len()];
            moments.dedup();
        }
        moments.truncate(self.map_leaves.unwrap_or(usize::MAX));
        moments
    }

    /// The map over the first `size` entries of a shard's log.
    fn map_at(&self, shard: u32, size: usize) -> Map {
        let indexed = (0..).map(LeafIndex).zip(&self.log(shard).entries[..size]);
        let mapped = indexed.filter(|(index, _)| !self.unmapped.contains(&(shard, *index)));
        Map::of(mapped.map(|(_, entry)| entry))
    }

    /// The map of the last root that was sealed.
    pub(crate) fn map(&self, shard: u32) -> Map {
        self.map_at(shard, *self.moments(shard).last().unwrap())
    }

    /// When the root over the first `size` entries was sealed.
    pub(crate) fn sealed_at(size: usize) -> u64 {
        TIME + u64::try_from(size).unwrap()
    }

    /// The texts of a map log's leaves.
    pub(crate) fn map_log(&self, shard: u32) -> Vec<String> {
        let log = self.log(shard);
        let leaf = |size: usize| {
            let map = self.map_at(shard, size);
            let (origin, log_root) = (log.signer.verifier().name(), root(&log.entries[..size]));
            format!(
                "sharetrail.org/map@v1\n{}\n{}\n{}\n{origin}\n{size}\n{log_root}\n",
                map.root(),
                map.labels(),
                Self::sealed_at(size),
            )
        };
        self.moments(shard).into_iter().map(leaf).collect()
    }

    /// What a dossier holds of a shard's map log.
    pub(crate) fn map_part(&self, shard: u32) -> MapPart {
        let (log, sizes) = (self.log(shard), self.moments(shard));
        let last = sizes.len() - 1;
        let part = self.map_part_of(shard, last);
        let [old, new] = [sizes[last], log.entries.len()].map(|size| TreeSize(u64::try_from(size).unwrap()));
        MapPart {
            consistency: prove_consistency(hashes(&log.entries).as_slice(), old, new).unwrap(),
            ..part
        }
    }

    /// The same with the leaf at a position, be it the last or not, and nothing that links it to the record log.
    pub(crate) fn map_part_of(&self, shard: u32, position: usize) -> MapPart {
        let texts = self.map_log(shard);
        let leaves: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        let signer = &self.maps[usize::try_from(shard).unwrap()];
        let size = TreeSize(u64::try_from(leaves.len()).unwrap());
        let checkpoint = Checkpoint::new(signer.verifier().name().to_owned(), size, root(&leaves));
        let index = LeafIndex(u64::try_from(position).unwrap());
        MapPart {
            checkpoint: signer.sign(&checkpoint.to_text()),
            leaf: texts[position].clone(),
            path: inclusion_proof(&hashes(&leaves), index).unwrap(),
            ..MapPart::default()
        }
    }

    /// The dossier of a customer with generations 0 to `generations` - 1; with none, the proof that there is nothing.
    pub(crate) fn dossier(&self, customer: &str, generations: u32) -> Dossier {
        self.collect(customer, generations).finish()
    }

    /// All parts of that dossier; what is told further belongs to the last generation.
    pub(crate) fn collect(&self, customer: &str, generations: u32) -> Builder {
        self.collect_with(customer, generations, &[])
    }

    /// The same, with what the registry says of further parties.
    pub(crate) fn collect_with(&self, customer: &str, generations: u32, others: &[&str]) -> Builder {
        let mut builder = Builder::new(name(LEDGER), customer);
        let mut parties = BTreeMap::<u32, BTreeSet<Name>>::new();
        for generation in 0..generations {
            let (label, proof) = prove_label(&self.vrf, &name(LEDGER), customer, generation);
            let shard = label.shard(self.count());
            let parties = parties.entry(shard).or_default();
            builder.generation(label, proof, self.map(shard).path(&label));
            for index in self.leaves_of(shard, label) {
                parties.insert(self.log(shard).batch_of(index).1.producer);
                self.tell(&mut builder, shard, index);
            }
        }
        let (label, proof) = prove_label(&self.vrf, &name(LEDGER), customer, generations);
        let shard = label.shard(self.count());
        parties.entry(shard).or_default();
        builder.absence(generations, label, proof, self.map(shard).path(&label));
        for (shard, mut parties) in parties {
            parties.extend(self.registered(shard, others));
            self.tell_shard(&mut builder, shard, parties);
        }
        builder
    }

    /// Those of these parties of which a shard has registry entries; of others there is nothing to show.
    fn registered(&self, shard: u32, parties: &[&str]) -> BTreeSet<Name> {
        let parties = parties.iter().map(|party| name(party));
        parties
            .filter(|party| !self.leaves_of(shard, party_label(party)).is_empty())
            .collect()
    }

    /// Whether a builder was told a batch that this party signed.
    fn signed(&self, builder: &Builder, shard: u32, party: &Name) -> bool {
        let log = self.log(shard);
        let mut batches = log.pick(|entry| matches!(entry, Entry::Batch(_)));
        batches.any(|(index, _)| {
            let signer = || log.batch_of(LeafIndex(index.0 + 1)).1.producer;
            builder.has_batch(shard, index) && signer() == *party
        })
    }

    /// The certificate of an erasure that is on record.
    pub(crate) fn certificate(&self, customer: &str, generation: u32) -> Certificate {
        self.certificate_with(customer, generation, &[])
    }

    /// The same, with what the registry says of further parties.
    pub(crate) fn certificate_with(&self, customer: &str, generation: u32, others: &[&str]) -> Certificate {
        let (label, proof) = prove_label(&self.vrf, &name(LEDGER), customer, generation);
        let shard = label.shard(self.count());
        let mut builder = Builder::new(name(LEDGER), customer);
        builder.generation(label, proof, MapPath::default());
        let is_erasure = |entry: &Entry<'_>| matches!(entry, Entry::Erasure(one) if one.label == label);
        let (index, _) = self.log(shard).pick(is_erasure).next().unwrap();
        self.tell(&mut builder, shard, index);
        self.tell_shard(&mut builder, shard, self.registered(shard, others));
        builder.certificate()
    }

    /// The indexes of a label's leaves that dossiers do not leave out.
    pub(crate) fn leaves_of(&self, shard: u32, label: Label) -> Vec<LeafIndex> {
        let picked = self.log(shard).pick(|entry| entry.label() == Some(label));
        picked
            .map(|(index, _)| index)
            .filter(|index| !self.left_out.contains(&(shard, *index)))
            .collect()
    }

    /// Adds what all labels of a shard stand on, with the operator as a party wherever it signed something.
    pub(crate) fn tell_shard(&self, builder: &mut Builder, shard: u32, parties: BTreeSet<Name>) {
        let (log, map) = (self.log(shard), self.map(shard));
        builder.shard(shard, &log.checkpoint(), &log.entries[0], log.proof(LeafIndex(0)));
        builder.map(shard, self.map_part(shard));
        for party in parties {
            self.tell_party(builder, shard, &map, party);
        }
        let operator = name(OPERATOR);
        if self.signed(builder, shard, &operator) {
            self.tell_party(builder, shard, &map, operator);
        }
    }

    fn tell_party(&self, builder: &mut Builder, shard: u32, map: &Map, party: Name) {
        let label = party_label(&party);
        for index in self.leaves_of(shard, label) {
            self.tell(builder, shard, index);
        }
        builder.party(shard, party, map.path(&label));
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
