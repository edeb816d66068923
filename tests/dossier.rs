//! `dossier` and `verify`: one file and a policy prove a trail anywhere, and no changed byte goes unseen.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::dice::Dice;
use support::loyalty::{customer, events};
use support::{LEDGER, Run, World, bare, list, run, text_of};

/// Bytes that are changed, one at a time.
const FLIPS: usize = 200;
const SEED: u64 = 6_962;

/// A ledger, and a folder that holds nothing but a dossier out of it and its policy.
struct Taken {
    world: World,
    folder: PathBuf,
}

impl Taken {
    /// With `each` events of the customer whose dossier it is.
    fn of_household(household: usize, each: usize) -> Self {
        let world = World::with_ledger(2);
        world.record(&events(6, each)).exits(0);
        let folder = world.path("third");
        fs::create_dir(&folder).expect("a folder can be made");
        fs::copy(world.ledger().join("policy"), folder.join("policy")).expect("there is a policy");
        let taken = Self { world, folder };
        let made = taken.make(household).exits(0).json();
        assert_eq!(made["customer"], customer(household));
        assert_eq!(made["events"], each);
        assert_eq!(made["bytes"], taken.bytes().len());
        taken
    }

    fn make(&self, household: usize) -> Run {
        let file = text_of(&self.file());
        self.world.run(&["dossier", &customer(household), "-o", &file])
    }

    fn file(&self) -> PathBuf {
        self.folder.join("customer.dossier")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.file()).expect("the dossier is there")
    }

    fn verify(&self) -> Run {
        verify(&self.folder, &["customer.dossier", "--policy", "policy"])
    }

    /// The verdict on other bytes.
    fn verify_bytes(&self, bytes: &[u8]) -> Run {
        fs::write(self.folder.join("other.dossier"), bytes).expect("a file can be written");
        verify(&self.folder, &["other.dossier", "--policy", "policy"])
    }
}

fn verify(folder: &Path, arguments: &[&str]) -> Run {
    run(bare(folder).arg("verify").args(arguments))
}

#[test]
fn a_dossier_and_a_policy_are_enough() {
    let taken = Taken::of_household(3, 12);
    let verdict = taken.verify().exits(0).json();
    assert_eq!(verdict["verdict"], "verified");
    assert_eq!(verdict["ledger"], LEDGER);
    assert_eq!(verdict["customer"], customer(3));
    let proven = list(&verdict["events"]);
    assert_eq!(proven.len(), 12);
    let trail = taken.world.trail(&customer(3));
    let shown = |event: &Value, field: &str| event[field].to_string();
    let sorted = |events: &[Value], field: &str| {
        let mut found: Vec<String> = events.iter().map(|event| shown(event, field)).collect();
        found.sort_unstable();
        found
    };
    for field in ["content", "index", "shard", "producer"] {
        assert_eq!(
            sorted(proven, field),
            sorted(list(&trail["events"]), field),
            "{field}"
        );
    }
    let left: Vec<_> = fs::read_dir(&taken.folder)
        .expect("the folder is there")
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_dossier_is_not_written_over_by_accident() {
    let taken = Taken::of_household(1, 4);
    let before = taken.bytes();
    assert!(!taken.make(2).exits(2).error().is_empty());
    assert_eq!(taken.bytes(), before);
    let (file, name) = (text_of(&taken.file()), customer(2));
    taken
        .world
        .run(&["dossier", &name, "-o", &file, "--force"])
        .exits(0);
    assert_eq!(taken.verify().exits(0).json()["customer"], customer(2));
}

#[test]
fn every_changed_byte_is_seen() {
    let taken = Taken::of_household(3, 8);
    let bytes = taken.bytes();
    let mut dice = Dice::new(SEED);
    let places = (0..FLIPS).map(|_| (dice.place(bytes.len()), dice.below(8)));
    for (place, bit) in places.collect::<Vec<_>>() {
        let mut changed = bytes.clone();
        changed[place] ^= 1 << bit;
        let verdict = taken.verify_bytes(&changed);
        assert_eq!(
            verdict.code,
            Some(1),
            "seed {SEED}, byte {place}, bit {bit}: {verdict:#?}"
        );
        let verdict = verdict.json();
        assert_eq!(verdict["verdict"], "disproved");
        assert!(!list(&verdict["faults"]).is_empty());
    }
    for place in [bytes.len() - 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        taken.verify_bytes(&changed).exits(1);
    }
}

#[test]
fn what_is_no_dossier_cannot_be_checked() {
    let taken = Taken::of_household(2, 4);
    let bytes = taken.bytes();
    for (name, other) in [
        ("empty", &b""[..]),
        ("half", &bytes[..bytes.len() / 2]),
        ("without its end", &bytes[..bytes.len() - 3]),
        ("not JSON", &b"Dear customer,\n"[..]),
        ("another JSON", &b"{\"specversion\":\"1.0\"}\n"[..]),
    ] {
        let refused = taken.verify_bytes(other).exits(2);
        assert!(!refused.error().is_empty(), "{name}");
        assert!(refused.stdout.is_empty(), "{name}");
    }
    let nowhere = verify(&taken.folder, &["nowhere.dossier", "--policy", "policy"]);
    assert!(!nowhere.exits(2).error().is_empty());
}

#[test]
fn the_policy_decides_what_is_believed() {
    let taken = Taken::of_household(2, 4);
    let other = World::with_ledger(2);
    fs::copy(other.ledger().join("policy"), taken.folder.join("other")).expect("there is a policy");
    let disproved = verify(&taken.folder, &["customer.dossier", "--policy", "other"]);
    assert_eq!(disproved.exits(1).json()["verdict"], "disproved");
    for arguments in [
        &["customer.dossier"][..],
        &["customer.dossier", "--policy", "nowhere"],
        &["customer.dossier", "--policy", "customer.dossier"],
    ] {
        assert!(
            !verify(&taken.folder, arguments).exits(2).error().is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_dossier_grows_with_the_ledger_and_the_old_one_still_holds() {
    let taken = Taken::of_household(3, 6);
    let old = taken.bytes();
    taken.world.record(&events(6, 20)).exits(0);
    fs::remove_file(taken.file()).expect("the dossier is there");
    let made = taken.make(3).exits(0).json();
    assert_eq!(made["events"], 20);
    assert_eq!(list(&taken.verify().exits(0).json()["events"]).len(), 20);
    let verdict = taken.verify_bytes(&old).exits(0).json();
    assert_eq!(list(&verdict["events"]).len(), 6);
}
