//! Random ledgers, the same in every run: several shards, erased generations, rotated keys, events that no map covers yet.
//! Of each dossier of them: it holds; changed in any bit, or in which events it shows, or in whose it is, it does not.

use sharetrail_proof::dossier::{Dossier, FaultKind, VerifiedDossier};
use sharetrail_proof::entry::Entry;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::note::NoteSigner;
use sharetrail_proof::policy::Policy;

use crate::dossier::{fault, faults, verified};
use crate::support::{Ledger, Random, key_registered, key_rotated, party, signer};

const CUSTOMERS: [&str; 3] = ["alice", "bob", "carol"];
const LEDGERS: u64 = 6;
/// Bits that are flipped in each dossier, one at a time.
const FLIPS: usize = 16;

/// What was done with a customer.
#[derive(Clone, Copy, Default)]
struct Past {
    /// How often erased.
    erased: u32,
    /// How many events in all.
    events: u32,
    /// Whether there are any since the last erasure.
    lives: bool,
}

impl Past {
    /// How many generations a dossier shows.
    fn generations(self) -> u32 {
        self.erased + u32::from(self.lives)
    }
}

/// A random ledger, and what was done with each of [`CUSTOMERS`].
fn random_ledger(random: &mut Random, steps: usize) -> (Ledger, [Past; 3]) {
    let shards = u32::try_from(1 + random.below(3)).unwrap();
    let (mut ledger, mut till) = Ledger::with_till(shards);
    let crm = signer("crm", "crm");
    ledger.register(&[("crm", party()), ("crm", key_registered(&crm))]);
    let mut pasts = [Past::default(); 3];
    for step in 0..steps {
        match random.below(10) {
            0 => {
                till = signer("till", &format!("till after step {step}"));
                ledger.register(&[("till", key_rotated(&till))]);
            }
            1 => ledger.seal(),
            2 => {
                let who = random.below(3);
                ledger.erase(CUSTOMERS[who], pasts[who].erased);
                pasts[who].erased += 1;
                pasts[who].lives = false;
            }
            _ => {
                let by = if random.once_in(3) { &crm } else { &till };
                record(&mut ledger, by, random, &mut pasts);
            }
        }
    }
    (ledger, pasts)
}

fn record(ledger: &mut Ledger, by: &NoteSigner, random: &mut Random, pasts: &mut [Past; 3]) {
    let who = random.below(3);
    let past = &mut pasts[who];
    let end = past.events + 1 + u32::try_from(random.below(3)).unwrap();
    ledger.record(by, CUSTOMERS[who], past.erased, past.events..end);
    past.events = end;
    past.lives = true;
}

/// Runs `check` with each dossier of each random ledger.
fn each(seed: u64, check: impl Fn(&mut Random, &mut Ledger, &str, Past)) {
    for number in 0..LEDGERS {
        let mut random = Random::new(seed * 1_000 + number);
        let (mut ledger, pasts) = random_ledger(&mut random, 12);
        for (customer, past) in CUSTOMERS.into_iter().zip(pasts) {
            check(&mut random, &mut ledger, customer, past);
        }
    }
}

/// The generation, position in it and index of each event.
fn events(dossier: &Dossier, verdict: &VerifiedDossier) -> Vec<(usize, usize, LeafIndex, bool)> {
    let places = dossier
        .generations
        .iter()
        .enumerate()
        .flat_map(|(generation, one)| (0..one.events.len()).map(move |number| (generation, number)));
    places
        .zip(&verdict.events)
        .map(|((generation, number), event)| (generation, number, event.index, event.covered))
        .collect()
}

fn holds(bytes: &[u8], policy: &Policy) -> bool {
    Dossier::parse(bytes).is_ok_and(|dossier| dossier.verify(policy).is_ok())
}

fn flip(random: &mut Random, bytes: &[u8], policy: &Policy) {
    let mut changed = bytes.to_vec();
    let (position, bit) = (random.below(bytes.len()), random.below(8));
    changed[position] ^= 1 << bit;
    assert!(
        !holds(&changed, policy),
        "bit {bit} of byte {position} of {}",
        bytes.len()
    );
}

#[test]
fn each_dossier_holds_and_with_any_bit_flipped_it_does_not() {
    each(1, |random, ledger, customer, past| {
        let dossier = ledger.dossier(customer, past.generations());
        let verdict = verified(ledger, &dossier);
        assert_eq!(verdict.events.len(), usize::try_from(past.events).unwrap());
        assert_eq!(verdict.absence.generation, past.generations());
        let (bytes, policy) = (dossier.to_bytes(), ledger.policy());
        assert!(holds(&bytes, &policy));
        for _ in 0..FLIPS {
            flip(random, &bytes, &policy);
        }
    });
}

/// Some hundred positions of a dossier that is too large to try them all.
#[test]
fn a_large_dossier_with_any_bit_flipped_does_not_hold() {
    let mut random = Random::new(2);
    let (ledger, pasts) = random_ledger(&mut random, 60);
    let dossier = ledger.dossier(CUSTOMERS[0], pasts[0].generations());
    verified(&ledger, &dossier);
    let (bytes, policy) = (dossier.to_bytes(), ledger.policy());
    for _ in 0..200 {
        flip(&mut random, &bytes, &policy);
    }
}

/// Without its paths it is dropped from the file; without anything that would show that it was there, from the dossier.
/// Of an event that the map does not cover yet nobody could tell, and no dossier says that there are no others.
#[test]
fn no_covered_event_can_be_dropped() {
    each(3, |_, ledger, customer, past| {
        let good = ledger.dossier(customer, past.generations());
        let verdict = verified(ledger, &good);
        for (generation, number, index, covered) in events(&good, &verdict) {
            let shard = verdict.generations[generation].shard;
            ledger.left_out.insert((shard, index));
            let anew = ledger.dossier(customer, past.generations());
            ledger.left_out.clear();
            if !covered {
                let left = &anew.generations[generation];
                if left.events.is_empty() && left.erasure.is_none() {
                    let at = format!("generations[{generation}]");
                    assert_eq!(*fault(&faults(ledger, &anew), &at), FaultKind::Unneeded);
                } else {
                    assert_eq!(verified(ledger, &anew).events.len() + 1, verdict.events.len());
                }
                continue;
            }
            let at = format!("generations[{generation}].map");
            let mut cut = good.clone();
            cut.generations[generation].events.remove(number);
            for dropped in [anew, cut] {
                assert!(matches!(
                    fault(&faults(ledger, &dropped), &at),
                    FaultKind::Incomplete(_) | FaultKind::NotAbsent(_)
                ));
            }
        }
    });
}

#[test]
fn no_event_can_be_doubled_or_put_elsewhere() {
    each(4, |_, ledger, customer, past| {
        let good = ledger.dossier(customer, past.generations());
        let verdict = verified(ledger, &good);
        for (generation, number, _, _) in events(&good, &verdict) {
            let at = format!("generations[{generation}].events[{}]", number + 1);
            let shown = &good.generations[generation].events;
            let mut doubled = good.clone();
            doubled.generations[generation]
                .events
                .insert(number, shown[number].clone());
            assert_eq!(*fault(&faults(ledger, &doubled), &at), FaultKind::Order);
            if number + 1 < shown.len() {
                let mut reordered = good.clone();
                reordered.generations[generation].events.swap(number, number + 1);
                assert_eq!(*fault(&faults(ledger, &reordered), &at), FaultKind::Order);
            }
        }
    });
}

/// Of another customer, or of another generation of the same.
#[test]
fn no_event_can_be_added() {
    each(5, |_, ledger, customer, past| {
        let Some(last) = past.generations().checked_sub(1) else {
            return;
        };
        let (own, shard) = (ledger.label(customer, last), ledger.shard_of(customer, last));
        let others: Vec<LeafIndex> = ledger
            .log(shard)
            .pick(|entry| matches!(entry, Entry::Event(event) if event.label != own))
            .map(|(index, _)| index)
            .collect();
        for index in others.into_iter().take(5) {
            let mut builder = ledger.collect(customer, past.generations());
            ledger.tell(&mut builder, shard, index);
            let found = faults(ledger, &builder.finish());
            // Where its producer is nobody whose keys are shown, it does not even come to the label.
            let is_foreign = |kind: &FaultKind| match kind {
                FaultKind::Label { expected, .. } => *expected == own,
                FaultKind::Key { .. } => true,
                _ => false,
            };
            assert!(found.iter().any(|fault| is_foreign(&fault.kind)), "{found:?}");
        }
    });
}

#[test]
fn no_dossier_of_one_customer_is_anothers() {
    each(6, |_, ledger, customer, past| {
        for other in CUSTOMERS.into_iter().filter(|other| *other != customer) {
            let mut dossier = ledger.dossier(customer, past.generations());
            other.clone_into(&mut dossier.customer);
            let found = faults(ledger, &dossier);
            assert!(matches!(fault(&found, "absence.proof"), FaultKind::Vrf(_)));
            for generation in 0..past.generations() {
                let at = format!("generations[{generation}].proof");
                assert!(matches!(fault(&found, &at), FaultKind::Vrf(_)));
            }
        }
    });
}
