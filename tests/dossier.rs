//! `dossier` and `verify`: one file and a policy prove a whole trail anywhere, or that there is none, and no changed byte
//! goes unseen.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::support::dice::Dice;
use crate::support::loyalty::{customer, events, lines};
use crate::support::{LEDGER, Run, World, bare, list, run, text_of};
use serde_json::Value;
use sharetrail_proof::policy::Policy;
use sharetrail_proof::tlog_proof::TlogProof;

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
        let taken = Self::from(world);
        let made = taken.make(household).exits(0).json();
        assert_eq!(made["customer"], customer(household));
        assert_eq!(made["events"], each);
        assert_eq!(made["bytes"], taken.bytes().len());
        taken
    }

    /// The policy of a ledger, and no dossier yet.
    fn from(world: World) -> Self {
        let folder = world.path("third");
        fs::create_dir(&folder).expect("a folder can be made");
        fs::copy(world.ledger().join("policy"), folder.join("policy")).expect("there is a policy");
        Self { world, folder }
    }

    fn make(&self, household: usize) -> Run {
        self.make_with(&[&customer(household)])
    }

    /// Makes the dossier, in the place of the last one.
    fn make_again(&self, arguments: &[&str]) -> Run {
        self.make_with(&[arguments, &["--force"]].concat())
    }

    fn make_with(&self, arguments: &[&str]) -> Run {
        let file = text_of(&self.file());
        self.world
            .run(&[&["dossier", "-o", &file][..], arguments].concat())
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

    /// What the dossier says about a party.
    fn never_shared_with(&self, party: &str) -> Run {
        verify(
            &self.folder,
            &[
                "customer.dossier",
                "--policy",
                "policy",
                "--never-shared-with",
                party,
            ],
        )
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
    is_complete(&taken.world, &verdict);
    let left: Vec<_> = fs::read_dir(&taken.folder)
        .expect("the folder is there")
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

/// Asserts that the verdict covers all that is on record, by the operator's word, and that no auditor or witness is claimed.
#[track_caller]
fn is_complete(world: &World, verdict: &Value) {
    assert_eq!(verdict["complete"]["on_the_word_of"], "operator");
    assert!(verdict["complete"]["up_to"].as_u64() > Some(0));
    assert_eq!(verdict["not_covered"], 0);
    let status = world.status();
    let maps = list(&verdict["maps"]);
    assert!(!maps.is_empty());
    for map in maps {
        let shard = map["shard"].as_u64().expect("a number");
        let shards = list(&status["shards"]).iter();
        let shard = shards.filter(|one| one["shard"] == shard).collect::<Vec<_>>()[0];
        assert_eq!(
            (&map["covered"], &map["root"]),
            (&shard["leaves"], &shard["map"]["root"])
        );
        assert!(list(&map["auditors"]).is_empty() && list(&map["cosignatures"]).is_empty());
    }
    let registered: Vec<&Value> = list(&verdict["parties"])
        .iter()
        .filter(|party| party["registered"] == true)
        .map(|party| &party["party"])
        .collect();
    assert!(registered.contains(&&Value::from(LEDGER)) || list(&verdict["events"]).is_empty());
}

/// The fault: whoever asks for somebody unknown gets no proof, or one that would hold for a customer.
#[test]
fn that_nothing_is_on_record_is_proven_too() {
    let world = World::with_ledger(3);
    world.record(&events(6, 4)).exits(0);
    let taken = Taken::from(world);
    let made = taken.make(3_000).exits(0).json();
    assert_eq!(made["events"], 0);
    assert_eq!(made["generations"], 0);
    let verdict = taken.verify().exits(0).json();
    assert_eq!(verdict["verdict"], "verified");
    assert_eq!(verdict["customer"], customer(3_000));
    assert!(list(&verdict["generations"]).is_empty() && list(&verdict["events"]).is_empty());
    assert_eq!(verdict["absence"]["generation"], 0);
    is_complete(&taken.world, &verdict);
    let page = taken.world.text(&["verify", &text_of(&taken.file())]).exits(0);
    assert!(page.stdout.contains(&customer(3_000)), "{page:#?}");
    let text = String::from_utf8(taken.bytes()).expect("JSON is text");
    let about_another = text.replace(&customer(3_000), &customer(3));
    assert_ne!(about_another, text);
    taken.verify_bytes(about_another.as_bytes()).exits(1);
}

/// The fault: an event that came after the last customer map is left out, or passes for one that is covered.
#[test]
fn what_the_map_does_not_cover_yet_is_told() {
    let taken = Taken::of_household(3, 6);
    let mut recorder = taken.world.recorder();
    let mut input = recorder.stdin.take().expect("its input is a pipe");
    input
        .write_all(lines(&events(6, 400)).as_bytes())
        .expect("it reads its input");
    // The input stays open: the ledger is held, and nobody brings the maps level.
    let on_record = || list(&taken.world.trail(&customer(3))["events"]).len();
    taken.world.wait_until(|| on_record() > 6);
    let made = taken.make_again(&[&customer(3)]).exits(0).json();
    let (all, later) = (made["events"].as_u64(), made["not_covered"].as_u64());
    assert!(all > Some(6));
    assert_eq!(later.map(|later| later + 6), all);
    let verdict = taken.verify().exits(0).json();
    assert_eq!(verdict["not_covered"].as_u64(), later);
    let covered = |event: &&Value| event["covered"] == true;
    assert_eq!(list(&verdict["events"]).iter().filter(covered).count(), 6);
    drop(input);
    Run::of(&recorder.wait_with_output().expect("it ends")).exits(0);
    let made = taken.make_again(&[&customer(3)]).exits(0).json();
    assert_eq!(made["events"], 400);
    assert_eq!(made["not_covered"], 0);
    is_complete(&taken.world, &taken.verify().exits(0).json());
}

/// The fault: "never" where the recipient may stand under another name, or where it is on record.
#[test]
fn a_dossier_says_whether_a_party_received_anything() {
    let taken = Taken::of_household(1, 6);
    let (broker, house) = ("broker.example", "mailhouse-a.example");
    let told = taken.never_shared_with(broker).exits(2).json();
    assert_eq!(told["verdict"], "verified");
    assert_eq!(told["never_shared"]["answer"], "cannot_say");
    assert!(list(&told["never_shared"]["reasons"]).len() > 1, "{told}");
    // Its name is in the event, whoever registered it.
    taken.never_shared_with(house).exits(1);
    for party in [broker, house] {
        let arguments = ["keys", "party", party, "--name", "A company", "--country", "IE"];
        taken.world.run(&arguments).exits(0);
    }
    taken.make_again(&[&customer(1), "--party", broker]).exits(0);
    let told = taken.never_shared_with(broker).exits(0).json();
    assert_eq!(told["never_shared"]["answer"], "never");
    assert_eq!(told["never_shared"]["up_to"], told["complete"]["up_to"]);
    let told = taken.never_shared_with(house).exits(1).json();
    assert_eq!(told["never_shared"]["answer"], "shared");
    assert_eq!(list(&told["never_shared"]["events"]).len(), 1);
    // Not asked for, the dossier does not show who the broker is.
    taken.make_again(&[&customer(1)]).exits(0);
    let told = taken.never_shared_with(broker).exits(2).json();
    assert_eq!(
        told["never_shared"]["reasons"][0]["reason"],
        "party_not_registered"
    );
}

/// The fault: the label that an auditor drew leads to another customer's dossier, or to none.
#[test]
fn a_dossier_is_made_by_label() {
    let taken = Taken::of_household(2, 4);
    let label = |household| {
        let trail = taken.world.trail(&customer(household));
        let label = trail["generations"][0]["label"].as_str().expect("a text");
        label.to_owned()
    };
    for household in [1, 5] {
        let made = taken.make_again(&["--label", &label(household)]).exits(0).json();
        assert_eq!(made["customer"], customer(household));
        assert_eq!(taken.verify().exits(0).json()["customer"], customer(household));
    }
    let before = taken.bytes();
    for arguments in [
        &["--label", &"07".repeat(32)][..],
        &["--label", "x"],
        &["--label", &label(1), &customer(1)],
        &[],
    ] {
        assert!(!taken.make_again(arguments).exits(2).error().is_empty());
    }
    assert_eq!(taken.bytes(), before);
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

/// The fault: other tools cannot check the exported proofs; or an export is written over another one by accident.
#[test]
fn each_event_has_a_proof_for_other_tools() {
    let taken = Taken::of_household(2, 4);
    let folder = taken.folder.join("proofs");
    let (name, text) = (customer(2), text_of(&folder));
    let arguments = [name.as_str(), "--tlog-proofs", &text];
    taken.make_again(&arguments).exits(0);
    let policy = fs::read_to_string(taken.folder.join("policy")).expect("there is a policy");
    let policy: Policy = policy.parse().expect("it is a policy");
    let mut count = 0;
    for event in list(&taken.verify().exits(0).json()["events"]) {
        let file = format!("{}-{}", event["shard"], event["index"]);
        let proof = fs::read_to_string(folder.join(format!("{file}.tlog-proof"))).expect("there is a proof");
        let entry = fs::read(folder.join(format!("{file}.entry"))).expect("there is an entry");
        let proof: TlogProof = proof.parse().expect("it is a proof");
        proof.verify(&entry, &policy).expect("it holds");
        count += 1;
    }
    assert_eq!(count, 4);
    fs::remove_file(taken.file()).expect("the dossier is there");
    assert!(!taken.make_with(&arguments).exits(2).error().is_empty());
    assert!(!taken.file().exists());
    taken.make_again(&arguments).exits(0);
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
