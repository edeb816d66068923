//! `erase`: what was recorded about a customer cannot be read by anybody any more, and every proof still holds.
//!
//! In scope: the command on a ledger in a folder, all files after it, interruptions, old backups. Out of scope: several
//! hosts on a bus (`nats`), the steps of an erasure (the ledger's tests).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::support::dice::Dice;
use crate::support::loyalty::{Event, customer, events};
use crate::support::{LEDGER, Run, World, bare, list, run, text_of};
use memchr::memmem;
use serde_json::Value;

/// Whose erasure it is; no other household's id begins like this one's.
const ERASED: usize = 5;
/// Words that stand in contents of this customer and in no others.
const WORDS: [&str; 3] = ["coupon 51380005", "redemption-5", "basket-5-7"];
const HOUSEHOLDS: usize = 9;
const EACH: usize = 12;
const SEED: u64 = 17;
/// A slot of a vault, and where in it label and wrapped key are.
const SLOT: usize = 160;

/// A ledger with events of several customers.
fn recorded(shards: u32) -> (World, Vec<Event>) {
    let world = World::with_ledger(shards);
    let all = events(HOUSEHOLDS, EACH);
    world.record(&all).exits(0);
    (world, all)
}

/// The label of a customer's generation, as the trail tells it.
fn label(world: &World, household: usize, generation: usize) -> String {
    let trail = world.trail(&customer(household));
    let label = trail["generations"][generation]["label"].as_str();
    label.expect("a label is a text").to_owned()
}

/// The customer's key as it lies in the vault: wrapped.
fn wrapped_key(world: &World, label: &str) -> Vec<u8> {
    let bytes = fs::read(world.ledger().join("vault/slots")).expect("there is a vault");
    let pairs = (0..label.len()).step_by(2).map(|at| &label[at..at + 2]);
    let label: Vec<u8> = pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("a label is hexadecimal"))
        .collect();
    let slot = bytes.chunks(SLOT).find(|slot| slot[8..40] == label);
    slot.expect("the customer has a key")[80..112].to_vec()
}

/// The key-encryption key, wherever it lies outside of the ledger's folder.
fn key_encryption_key(world: &World) -> Vec<u8> {
    let files = files_below(&world.path("home"));
    let file = files.iter().find(|path| path.ends_with("vault.kek"));
    fs::read(file.expect("there is one")).expect("it can be read")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).expect("the folder is there") {
            let path = item.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

/// The files of the ledger, and of the folder outside of it, that hold any of these.
fn files_with(world: &World, wanted: &[&[u8]]) -> Vec<PathBuf> {
    let mut files = files_below(&world.ledger());
    files.extend(files_below(&world.path("home")));
    assert!(files.len() > 20, "{files:?}");
    files.retain(|path| {
        let bytes = fs::read(path).expect("it can be read");
        let holds = |wanted: &&[u8]| memmem::find(&bytes, wanted).is_some();
        wanted.iter().any(holds)
    });
    files
}

/// What has to be gone: the customer id, what the contents said, the key and what it was wrapped under.
fn nothing_is_left(world: &World, keys: &[Vec<u8>]) {
    let id = customer(ERASED);
    let mut wanted: Vec<&[u8]> = vec![id.as_bytes()];
    wanted.extend(WORDS.iter().map(|word| word.as_bytes()));
    wanted.extend(keys.iter().map(Vec::as_slice));
    let found = files_with(world, &wanted);
    assert!(found.is_empty(), "{found:?}");
}

/// Asserts that a generation of the customer is on record and cannot be read.
#[track_caller]
fn is_erased(trail: &Value, generation: usize, events: usize) -> u64 {
    let told = &trail["generations"][generation];
    assert_eq!(told["events"], events);
    assert!(told["erased_by"].is_string(), "{told}");
    let unopened = list(&trail["unopened"]).iter();
    let of_it = unopened.filter(|one| one["generation"] == generation);
    assert_eq!(of_it.clone().count(), events);
    assert!(of_it.into_iter().all(|one| one["state"] == "erased"));
    told["erased_at"].as_u64().expect("its erasure is on record")
}

/// Asserts that all the others' trails are as they were.
#[track_caller]
fn others_are_as_they_were(world: &World, all: &[Event]) {
    for household in (1..=HOUSEHOLDS).filter(|household| *household != ERASED) {
        let trail = world.trail(&customer(household));
        let recorded = all.iter().filter(|event| event.customer == customer(household));
        let recorded: Vec<&str> = recorded.map(|event| event.line.as_str()).collect();
        let shown = list(&trail["events"])
            .iter()
            .map(|event| event["content"].as_str());
        assert!(shown.eq(recorded.into_iter().map(Some)), "household {household}");
        assert!(list(&trail["unopened"]).is_empty());
    }
}

fn erase(world: &World, arguments: &[&str]) -> Run {
    let customer = customer(ERASED);
    world.run(&[&["erase", &customer][..], arguments].concat())
}

/// The verdict of somebody who has only a file and the policy.
fn verified_elsewhere(world: &World, file: &Path) -> Value {
    let folder = world.path("third");
    fs::create_dir_all(&folder).expect("a folder can be made");
    fs::copy(world.ledger().join("policy"), folder.join("policy")).expect("there is a policy");
    fs::copy(file, folder.join("file")).expect("there is a file");
    let mut command = bare(&folder);
    run(command.args(["verify", "file", "--policy", "policy"]))
        .exits(0)
        .json()
}

/// The fault: something of an erased customer can still be read, or found on disk; or what is left cannot be proven.
#[test]
fn an_erased_customer_cannot_be_read_and_every_proof_still_holds() {
    let (world, all) = recorded(2);
    let label = label(&world, ERASED, 0);
    let keys = [wrapped_key(&world, &label), key_encryption_key(&world)];
    let old = world.path("old.dossier");
    let arguments = ["dossier", &customer(ERASED), "-o", &text_of(&old)];
    world.run(&arguments).exits(0);

    let file = world.path("certificate");
    let done = erase(&world, &["--yes", "-o", &text_of(&file)]).exits(0).json();
    assert_eq!(done["events"], EACH);
    assert_eq!(done["label"], label.as_str());
    assert_eq!(done["erased_before"], false);
    assert_eq!(done["rotated"], true);
    nothing_is_left(&world, &keys);

    let trail = world.trail(&customer(ERASED));
    assert!(list(&trail["events"]).is_empty());
    assert_eq!(
        is_erased(&trail, 0, EACH),
        done["index"].as_u64().expect("a number")
    );
    others_are_as_they_were(&world, &all);
    assert_ne!(key_encryption_key(&world), keys[1]);

    let certificate = verified_elsewhere(&world, &file);
    assert_eq!(certificate["kind"], "erasure");
    assert_eq!(certificate["customer"], customer(ERASED));
    assert_eq!(certificate["ledger"], LEDGER);
    assert_eq!(certificate["index"], done["index"]);
    assert_eq!(certificate["generation"], 0);
    let verdict = verified_elsewhere(&world, &old);
    assert_eq!(list(&verdict["events"]).len(), EACH, "the old dossier");
    let new = world.path("new.dossier");
    let arguments = ["dossier", &customer(ERASED), "-o", &text_of(&new)];
    world.run(&arguments).exits(0);
    let verdict = verified_elsewhere(&world, &new);
    let states = list(&verdict["events"]).iter().map(|event| &event["state"]);
    assert!(states.clone().all(|state| state == "erased"));
    assert_eq!(states.count(), EACH);
    assert_eq!(verdict["absence"]["generation"], 1);
    world.run(&["rebuild"]).exits(0);
    is_erased(&world.trail(&customer(ERASED)), 0, EACH);
}

#[test]
fn nothing_is_erased_without_a_yes_and_nobody_unknown() {
    let (world, _) = recorded(1);
    let before = world.trail(&customer(ERASED));
    let refused = erase(&world, &[]).exits(2);
    assert!(!refused.error().is_empty());
    let plan = refused.json();
    assert_eq!(plan["customer"], customer(ERASED));
    assert_eq!(plan["events"], EACH);
    assert_eq!(plan["would_erase"], true);
    assert_eq!(list(&plan["labels"]).len(), 1);
    assert_eq!(plan["labels"][0]["label"], label(&world, ERASED, 0));
    let told = world.text(&["erase", &customer(ERASED)]).exits(2);
    assert!(told.stdout.contains(&EACH.to_string()), "{told:#?}");
    assert_eq!(world.trail(&customer(ERASED)), before);
    let stranger = world.run(&["erase", "household-3000", "--yes"]);
    assert!(!stranger.exits(2).error().is_empty());
}

/// The fault: whoever lost the certificate cannot have it again; or a second erasure counts as another one.
#[test]
fn an_erasure_asked_for_again_gives_the_certificate_again() {
    let (world, _) = recorded(2);
    let first = erase(&world, &["--yes"]).exits(0).json();
    assert_eq!(first["certificate"], Value::Null);
    let file = world.path("certificate");
    let again = erase(&world, &["--yes", "-o", &text_of(&file)]).exits(0).json();
    assert_eq!(again["erased_before"], true);
    assert_eq!(again["index"], first["index"]);
    assert_eq!(verified_elsewhere(&world, &file)["index"], first["index"]);
    let leaves = |world: &World| {
        let shards = world.status()["shards"].clone();
        list(&shards)
            .iter()
            .map(|shard| shard["leaves"].clone())
            .collect::<Vec<Value>>()
    };
    let before = leaves(&world);
    assert!(
        !erase(&world, &["--yes", "-o", &text_of(&file)])
            .exits(2)
            .error()
            .is_empty()
    );
    erase(&world, &["--yes", "-o", &text_of(&file), "--force"]).exits(0);
    assert_eq!(leaves(&world), before);
}

/// The fault: a key that was made after the erasure, for events that were then refused, has the customer erased twice.
#[test]
fn a_generation_without_events_is_not_erased() {
    let (world, all) = recorded(2);
    let first = erase(&world, &["--yes"]).exits(0).json();
    let known: Vec<Event> = all
        .into_iter()
        .filter(|event| event.customer == customer(ERASED))
        .collect();
    // Each is known by its source and id, and was erased.
    let refused = world.record(&known);
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    let trail = world.trail(&customer(ERASED));
    assert_eq!(list(&trail["generations"]).len(), 2);
    assert_eq!(trail["generations"][1]["events"], 0);
    let again = erase(&world, &["--yes"]).exits(0).json();
    assert_eq!(again["erased_before"], true);
    assert_eq!(
        (&again["generation"], &again["index"]),
        (&first["generation"], &first["index"])
    );
    assert_eq!(
        world.trail(&customer(ERASED))["generations"],
        trail["generations"]
    );
}

/// The fault: somebody who has the old label, out of an old dossier, finds the customer's new events.
#[test]
fn what_is_recorded_later_has_another_label() {
    let (world, all) = recorded(2);
    let old = label(&world, ERASED, 0);
    erase(&world, &["--yes"]).exits(0);
    let known: Vec<&str> = all.iter().map(|event| event.id.as_str()).collect();
    let mut later = events(HOUSEHOLDS, EACH + 4);
    later.retain(|event| event.customer == customer(ERASED) && !known.contains(&event.id.as_str()));
    assert_eq!(later.len(), 4);
    world.record(&later).exits(0);
    let trail = world.trail(&customer(ERASED));
    assert_eq!(list(&trail["generations"]).len(), 2);
    assert_eq!(trail["generations"][0]["label"], old.as_str());
    assert_ne!(trail["generations"][1]["label"], old.as_str());
    assert_eq!(list(&trail["events"]).len(), 4);
    is_erased(&trail, 0, EACH);
    let file = world.path("customer.dossier");
    let arguments = ["dossier", &customer(ERASED), "-o", &text_of(&file)];
    world.run(&arguments).exits(0);
    let verdict = verified_elsewhere(&world, &file);
    assert_eq!(list(&verdict["events"]).len(), EACH + 4);
    assert_eq!(verdict["absence"]["generation"], 2);
    // The old certificate can be had, and nothing of the new ones is erased for it.
    let certificate = world.path("certificate");
    let arguments = ["-o", &text_of(&certificate), "--generation"];
    for refused in [&["1"][..], &["2"], &["0", "--yes"]] {
        let refused = erase(&world, &[&arguments[..], refused].concat()).exits(2);
        assert!(!refused.error().is_empty());
    }
    let again = erase(&world, &[&arguments[..], &["0"]].concat()).exits(0).json();
    assert_eq!(again["erased_before"], true);
    assert_eq!(verified_elsewhere(&world, &certificate)["generation"], 0);
    assert_eq!(list(&world.trail(&customer(ERASED))["events"]).len(), 4);
    // The new ones can be erased like the old ones.
    let done = erase(&world, &["--yes"]).exits(0).json();
    assert_eq!(done["generation"], 1);
    is_erased(&world.trail(&customer(ERASED)), 1, 4);
}

/// Copies a folder with its modes, as a backup does.
fn copy(from: &Path, to: &Path) {
    let copied = run(Command::new("cp").arg("-a").args([from, to]));
    assert_eq!(copied.code, Some(0), "{copied:#?}");
}

/// The fault: a backup from before the erasure brings the customer's key back.
#[test]
fn an_old_backup_does_not_bring_the_customer_back() {
    let (world, all) = recorded(2);
    let (ledger, old, newer) = (world.ledger(), world.path("old"), world.path("newer"));
    copy(&ledger, &old);
    erase(&world, &["--yes"]).exits(0);
    fs::rename(&ledger, &newer).expect("the ledger is there");
    copy(&old, &ledger);

    let shows_nothing = |world: &World| {
        let shown = world.run(&["trail", &customer(ERASED)]);
        let events = serde_json::from_str::<Value>(&shown.stdout).ok();
        let events = events.map_or(0, |trail| list(&trail["events"]).len());
        assert_eq!(events, 0, "{shown:#?}");
    };
    shows_nothing(&world);
    let restored = world
        .run(&["restore", "--from", &text_of(&newer)])
        .exits(0)
        .json();
    assert_eq!(restored["complete"], true);
    shows_nothing(&world);
    is_erased(&world.trail(&customer(ERASED)), 0, EACH);
    others_are_as_they_were(&world, &all);

    // The vault alone, from before, into the ledger as it is now.
    fs::remove_dir_all(ledger.join("vault")).expect("there is a vault");
    copy(&old.join("vault"), &ledger.join("vault"));
    shows_nothing(&world);
}

/// The fault: an erasure that is cut off anywhere is neither done nor undone.
#[test]
fn an_erasure_that_is_killed_is_finished_at_the_next_start() {
    let rounds: u64 = if env::var_os("SHARETRAIL_QUICK").is_some() {
        5
    } else {
        25
    };
    let (world, all) = recorded(1);
    let (start, mut dice) = (world.path("start"), Dice::new(SEED));
    let (ledger, home, home_before) = (world.ledger(), world.path("home"), world.path("home-before"));
    copy(&ledger, &start);
    copy(&home, &home_before);
    let key = wrapped_key(&world, &label(&world, ERASED, 0));
    let began = Instant::now();
    erase(&world, &["--yes"]).exits(0);
    let usual = u64::try_from(began.elapsed().as_micros()).expect("a test is not that long");
    for round in 0..rounds {
        for (folder, before) in [(&ledger, &start), (&home, &home_before)] {
            fs::remove_dir_all(folder).expect("the folder is there");
            copy(before, folder);
        }
        let kek = key_encryption_key(&world);
        let delay = Duration::from_micros(dice.below(usual + usual / 4));
        let mut command = world.command();
        command.args(["--json", "erase", &customer(ERASED), "--yes"]);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        thread::sleep(delay);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let told = format!("seed {SEED}, round {round}, after {delay:?}");

        // Any command that takes the ledger up finishes what was begun; before that there may be nothing to finish.
        let trail = world.run(&["trail", &customer(ERASED)]).exits(0).json();
        let is_begun = !trail["generations"][0]["erased_at"].is_null();
        assert!(
            is_begun || list(&trail["events"]).len() == EACH,
            "{told}: {trail}"
        );
        if is_begun {
            is_erased(&trail, 0, EACH);
            nothing_is_left(&world, &[key.clone(), kek.clone()]);
        }
        let done = erase(&world, &["--yes"]).exits(0).json();
        assert_eq!(done["erased_before"], is_begun, "{told}");
        is_erased(&world.trail(&customer(ERASED)), 0, EACH);
        nothing_is_left(&world, &[key.clone(), kek]);
        let status = world.status();
        assert!(
            list(&status["shards"][0]["problems"]).is_empty(),
            "{told}: {status}"
        );
    }
    others_are_as_they_were(&world, &all);
}

/// The fault: two processes erase in one folder, or one that holds it is passed over.
#[test]
fn a_ledger_that_is_held_is_not_erased_from_beside() {
    let (world, _) = recorded(1);
    let mut recorder = world.recorder();
    let refused = erase(&world, &["--yes"]).exits(2);
    assert!(!refused.error().is_empty());
    drop(recorder.stdin.take());
    Run::of(&recorder.wait_with_output().expect("it ends")).exits(0);
    assert_eq!(list(&world.trail(&customer(ERASED))["events"]).len(), EACH);
    erase(&world, &["--yes"]).exits(0);
}
