//! `audit`: a third party checks a whole ledger with its public files and the policy alone, and cosigns it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::loyalty::{customer, events};
use crate::support::{Run, World, bare, list, run, text_of};
use serde_json::Value;

/// An auditor's folder: the policy, a copy of what the ledger serves, and nothing of its secrets.
struct Auditor {
    world: World,
    folder: PathBuf,
}

impl Auditor {
    /// Of a ledger with so many households, whose customer maps are level.
    fn of(households: usize, shards: u32) -> Self {
        let world = World::with_ledger(shards);
        world.record(&events(households, 6)).exits(0);
        let folder = world.path("auditor");
        fs::create_dir(&folder).expect("a folder can be made");
        let auditor = Self { world, folder };
        auditor.dossier(&customer(1), "first.dossier").exits(0);
        auditor.take();
        auditor
    }

    /// Makes a customer's dossier, which brings the maps level.
    fn dossier(&self, customer: &str, file: &str) -> Run {
        let file = text_of(&self.folder.join(file));
        self.world.run(&["dossier", customer, "-o", &file, "--force"])
    }

    /// Copies what is public once more.
    fn take(&self) {
        let ledger = self.world.ledger();
        let site = self.site();
        if site.exists() {
            fs::remove_dir_all(&site).expect("it is a folder");
        }
        for part in ["log", "map"] {
            copy(&ledger.join(part), &site.join(part));
        }
        fs::copy(ledger.join("policy"), self.folder.join("policy")).expect("there is a policy");
    }

    fn site(&self) -> PathBuf {
        self.folder.join("site")
    }

    /// Puts other files in the place of the copy.
    fn show(&self, site: &Path) {
        fs::remove_dir_all(self.site()).expect("it is a folder");
        copy(site, &self.site());
    }

    /// Makes the auditor's key.
    fn new_key(&self) -> Run {
        let arguments = ["audit", "--new-key", "auditor.key", "--name", "auditor.example"];
        run(bare(&self.folder).args(arguments))
    }

    /// Runs `audit` on the copy.
    fn audit(&self, arguments: &[&str]) -> Run {
        let mut command = bare(&self.folder);
        command
            .args(["audit", "site", "--policy", "policy"])
            .args(arguments);
        run(&mut command)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for item in fs::read_dir(from).expect("there is a folder") {
        let path = item.expect("it can be read").path();
        let target = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file can be copied");
        }
    }
}

/// The kinds of the faults that were told.
fn kinds(told: &Value) -> Vec<&str> {
    let faults = list(&told["faults"]).iter();
    faults
        .map(|fault| fault["kind"].as_str().expect("a text"))
        .collect()
}

#[test]
fn a_ledger_in_order_is_clean_wherever_it_is_read_from() {
    let auditor = Auditor::of(7, 2);
    let told = auditor.audit(&[]).exits(0).json();
    assert_eq!(told["verdict"], "clean");
    assert_eq!(told["events"], 7 * 6);
    assert_eq!(told["unmapped"], 0);
    assert_eq!(told["entries"], told["checked"]);
    assert_eq!(list(&told["shards"]).len(), 2);
    assert!(kinds(&told).is_empty());
    // The operator does the same in the ledger's folder, without any argument.
    let own = auditor.world.run(&["audit"]).exits(0).json();
    assert_eq!(own["entries"], told["entries"]);
    assert!(auditor.world.text(&["audit"]).exits(0).stdout.contains("Clean"));
}

#[test]
fn a_changed_byte_is_found_with_its_place() {
    let auditor = Auditor::of(7, 1);
    let folder = auditor.site().join("log/0/tile/entries");
    let size = auditor.audit(&[]).exits(0).json()["entries"].to_string();
    let path = folder.join("000.p").join(size);
    let mut bytes = fs::read(&path).expect("there is a bundle");
    // The last byte of the last entry, an event's commitment.
    *bytes.last_mut().expect("it is not empty") ^= 1;
    fs::write(&path, bytes).expect("it can be written");
    let told = auditor.audit(&[]).exits(1).json();
    assert_eq!(told["verdict"], "faults");
    assert!(
        kinds(&told).contains(&"entry") && kinds(&told).contains(&"batch-root"),
        "{told}"
    );
    let fault = &list(&told["faults"])[0];
    assert!(fault["shard"].is_number() && fault["index"].is_number() && fault["log"].is_string());
}

#[test]
fn what_cannot_be_checked_is_neither_clean_nor_disproved() {
    let auditor = Auditor::of(1, 1);
    let ask = |arguments: &[&str]| run(bare(&auditor.folder).arg("audit").args(arguments));
    for arguments in [
        &["nowhere", "--policy", "policy"][..],
        &["site"],
        &["site", "--policy", "nowhere"],
        &["http://127.0.0.1:9/", "--policy", "policy"],
        &["ftp://127.0.0.1/", "--policy", "policy"],
        &["site", "--policy", "policy", "--cosign", "nowhere"],
        &["site", "--cosign", "nowhere", "--output", "cosigned"],
    ] {
        assert!(!ask(arguments).exits(2).error().is_empty(), "{arguments:?}");
    }
    ask(&["site", "--policy", "policy", "--sample", "3"]).exits(2);
    // Who cosigns under the operator's own policy says what the operator says.
    let refused = auditor.world.run(&["audit", "--cosign", "nowhere"]).exits(2);
    assert!(refused.error().contains("--policy"), "{refused:#?}");
    let own = auditor.world.run(&["audit"]).exits(0);
    assert!(own.stderr.contains("the operator's own policy"), "{own:#?}");
    let named = auditor.audit(&[]).exits(0);
    assert!(!named.stderr.contains("note: "), "{named:#?}");
}

#[test]
fn an_audit_with_a_state_looks_at_what_is_new_and_notices_what_was_changed() {
    let auditor = Auditor::of(3, 1);
    let first = auditor.audit(&["--state", "state"]).exits(0).json();
    let old = auditor.folder.join("old");
    copy(&auditor.site(), &old);
    let all = events(5, 6);
    auditor.world.record(&all).exits(0);
    auditor.dossier(&customer(5), "fifth.dossier").exits(0);
    auditor.take();
    let second = auditor.audit(&["--state", "state"]).exits(0).json();
    let number = |value: &Value| value.as_u64().expect("a number");
    assert_eq!(number(&second["events"]), all.len() as u64);
    assert_eq!(
        number(&second["checked"]),
        number(&second["entries"]) - number(&first["entries"])
    );
    // Then the operator puts the old files back.
    auditor.show(&old);
    assert_eq!(auditor.audit(&[]).exits(0).json()["verdict"], "clean");
    let told = auditor.audit(&["--state", "state"]).exits(1).json();
    assert_eq!(kinds(&told), ["rolled-back"]);
}

#[test]
fn an_auditor_cosigns_and_dossiers_carry_it() {
    let auditor = Auditor::of(4, 2);
    let key = auditor.new_key().exits(0).json();
    let key = key["key"].as_str().expect("a text");
    auditor.new_key().exits(2);

    let told = auditor
        .audit(&["--cosign", "auditor.key", "--output", "cosigned"])
        .exits(0)
        .json();
    assert_eq!(list(&told["cosigned"]).len(), 2);
    let policy = auditor.world.ledger().join("policy");
    let text = fs::read_to_string(&policy).expect("there is a policy");
    fs::write(&policy, format!("{text}#sharetrail auditor {key}\n")).expect("it can be written");
    for shard in 0..2 {
        let note = auditor.folder.join(format!("cosigned/map-{shard}.cosigned"));
        let place = auditor.world.ledger().join(format!("map/{shard}/cosigned"));
        fs::copy(note, place).expect("it can be copied");
    }
    auditor.dossier(&customer(2), "second.dossier").exits(0);
    auditor.take();
    let mut verify = bare(&auditor.folder);
    verify.args(["verify", "second.dossier", "--policy", "policy"]);
    let verified = run(&mut verify).exits(0);
    assert!(verified.stdout.contains("auditor.example"), "{verified:#?}");
    // The audit itself counts what was cosigned before as a cosignature, and nothing else has changed.
    auditor.audit(&[]).exits(0);
}

/// The fault: who audits without a state cosigns a history that takes back what the same key cosigned before.
#[test]
fn nothing_is_cosigned_that_takes_back_what_was_cosigned() {
    let auditor = Auditor::of(3, 1);
    let old = auditor.folder.join("old");
    copy(&auditor.site(), &old);
    auditor.world.record(&events(5, 6)).exits(0);
    auditor.dossier(&customer(5), "fifth.dossier").exits(0);
    auditor.take();
    auditor.new_key().exits(0);
    let arguments = ["--cosign", "auditor.key", "--output", "cosigned"];
    auditor.audit(&arguments).exits(0);
    // The same once more is what it extends.
    auditor.audit(&arguments).exits(0);
    let place = auditor.folder.join("cosigned/map-0.cosigned");
    let cosigned = fs::read(&place).expect("it was cosigned");

    auditor.show(&old);
    let told = auditor.audit(&arguments).exits(1).json();
    assert_eq!(kinds(&told), ["rolled-back"]);
    assert!(list(&told["cosigned"]).is_empty());
    assert_eq!(fs::read(&place).expect("it is there"), cosigned);
    // Also where the earlier note lies where dossiers find it.
    fs::copy(&place, auditor.site().join("map/0/cosigned")).expect("it can be copied");
    let elsewhere = ["--cosign", "auditor.key", "--output", "elsewhere"];
    assert_eq!(kinds(&auditor.audit(&elsewhere).exits(1).json()), ["rolled-back"]);
}

/// The fault: hours of auditing are lost because a file behind it cannot be read or written.
#[test]
fn what_goes_wrong_after_the_audit_does_not_take_the_report_away() {
    let auditor = Auditor::of(2, 1);
    auditor.new_key().exits(0);
    let place = auditor.folder.join("cosigned/map-0.cosigned");
    fs::create_dir_all(&place).expect("a folder can be made");
    let arguments = ["--cosign", "auditor.key", "--output", "cosigned"];
    let failed = auditor.audit(&arguments).exits(2);
    assert_eq!(failed.json()["verdict"], "clean");
    assert!(failed.error().contains("map-0.cosigned"), "{failed:#?}");

    fs::remove_dir(&place).expect("it is empty");
    fs::write(&place, vec![b'x'; 100_000]).expect("it can be written");
    assert!(auditor.audit(&arguments).exits(2).error().contains("too long"));
}

#[test]
fn a_sample_is_answered_with_dossiers() {
    let auditor = Auditor::of(6, 1);
    let arguments = ["--state", "state", "--sample", "3", "--seed", "dice"];
    let told = auditor.audit(&arguments).exits(0).json();
    let sample = list(&told["sample"]);
    assert_eq!(sample.len(), 3);
    fs::create_dir(auditor.folder.join("dossiers")).expect("a folder can be made");
    for (number, one) in sample.iter().enumerate() {
        if one["party"].is_null() {
            let label = one["label"].as_str().expect("a text");
            let file = text_of(&auditor.folder.join(format!("dossiers/{number}.dossier")));
            let made = auditor.world.run(&["dossier", "--label", label, "-o", &file]);
            made.exits(0);
        }
    }
    // Making them may have put new roots on record; what was drawn stays drawn.
    auditor.take();
    let checked = [&arguments[..], &["--dossiers", "dossiers"]].concat();
    let again = auditor.audit(&checked).exits(0).json();
    assert_eq!(again["sample"], told["sample"]);
    assert!(again["dossiers"].as_u64().expect("a number") >= 2);

    let first = fs::read_dir(auditor.folder.join("dossiers"))
        .expect("it is a folder")
        .next();
    let first = first.expect("it is not empty").expect("it can be read").path();
    fs::remove_file(first).expect("it can be removed");
    let told = auditor.audit(&checked).exits(1).json();
    assert_eq!(kinds(&told), ["sample-missing"]);
}
