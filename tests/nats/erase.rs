//! A customer is erased while hosts come and go: it is finished, once, and nothing of the key is left on any of them.
//!
//! In scope: the command given beside a host that does not lead, the leader killed while the leases of producers run out,
//! what lies in folders afterwards, a producer elsewhere that goes on. Out of scope: the steps of an erasure on one host.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use memchr::memmem;
use sharetrail_proof::dossier::{Certificate, Dossier};
use sharetrail_proof::entry::Entry;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Label;

use crate::process::wait_for;
use crate::site::{Host, Site};
use crate::support::loyalty::{Event, customer, events, lines};
use crate::support::{list, text_of};
use crate::watch::{Watch, become_the_same};

const SHARDS: u32 = 2;
/// Whose erasure it is; no other household's name begins like this one's.
const ERASED: usize = 10;
/// Words that stand in one content of this customer and in no other's.
const WORDS: &str = "coupon 51380010";
/// How long an erasure may take: leases of a minute run out first, on the second host anew.
const ERASING: Duration = Duration::from_mins(3);
/// A slot of a vault, and where in it label and wrapped key are.
const SLOT: usize = 160;

fn label_of(host: &Host, generation: u32) -> Label {
    let vault = host.ledger().vault().expect("the host has a vault");
    vault.label(&customer(ERASED), generation)
}

/// The customer's key as it lies in a host's vault: wrapped.
#[track_caller]
fn wrapped_key(host: &Host, label: &Label) -> Vec<u8> {
    let bytes = fs::read(host.root.join("vault/slots")).expect("the host has a vault");
    let slot = bytes.chunks(SLOT).find(|slot| slot[8..40] == label.0);
    slot.expect("the customer has a key")[80..112].to_vec()
}

/// Whether the host has noted that this label is to be erased.
fn is_asked(host: &Host, label: &Label) -> bool {
    let noted = fs::read(host.root.join("vault/erasing")).unwrap_or_default();
    holds(&noted, &label.0) || holds(&noted, label.to_string().as_bytes())
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    memmem::find(bytes, wanted).is_some()
}

/// The files in a folder that hold any of these.
fn files_with(folder: &Path, wanted: &[&[u8]], found: &mut Vec<String>) {
    for item in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = item.path();
        if path.is_dir() {
            files_with(&path, wanted, found);
        } else {
            // A file that went away meanwhile holds nothing.
            let bytes = fs::read(&path).unwrap_or_default();
            let is_found = wanted.iter().any(|wanted| holds(&bytes, wanted));
            found.extend(is_found.then(|| text_of(&path)));
        }
    }
}

/// What is on record under a label: events, and where its erasure entries are.
#[track_caller]
fn on_record(host: &Host, label: &Label) -> (Vec<LeafIndex>, Vec<LeafIndex>) {
    let (ledger, mut events, mut erasures) = (host.ledger(), Vec::new(), Vec::new());
    let reader = ledger
        .reader(label.shard(SHARDS))
        .expect("the shard has an archive");
    let visit = &mut |index: LeafIndex, entry: &[u8], _: &[u8]| {
        match Entry::parse(entry) {
            Ok(Entry::Event(event)) if event.label == *label => events.push(index),
            Ok(Entry::Erasure(erasure)) if erasure.label == *label => erasures.push(index),
            _ => {}
        }
        ControlFlow::Continue(())
    };
    reader.scan(LeafIndex(0), visit).expect("the archive can be read");
    (events, erasures)
}

/// Asks for the erasure again until it is done; then there is a certificate.
#[track_caller]
fn certificate(host: &Host, file: &Path) -> Certificate {
    let (began, path) = (Instant::now(), text_of(file));
    loop {
        // What the command before wrote, if it came so far.
        let _ = fs::remove_file(file);
        let run = host.run(&["erase", &customer(ERASED), "--yes", "-o", &path]);
        if run.code == Some(0) {
            let bytes = fs::read(file).expect("the certificate is there");
            return Certificate::parse(&bytes).expect("a certificate was written");
        }
        assert!(run.code == Some(2) && began.elapsed() < ERASING, "{run:#?}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Events of the erased customer alone, of which none was recorded before.
fn later_events(count: usize) -> Vec<Event> {
    let all = events(ERASED, 40 + count);
    let own = all.into_iter().filter(|event| event.customer == customer(ERASED));
    own.filter(|event| {
        let number = event
            .id
            .rsplit('-')
            .next()
            .and_then(|number| number.parse::<usize>().ok());
        event.id.starts_with("basket-") && number.is_some_and(|number| number >= 40)
    })
    .collect()
}

/// The faults: an erasure that its host's end leaves half done, or that two hosts put on record; a key that a host keeps; a
/// producer that goes on under the old label.
#[test]
fn nats_server_an_erasure_is_finished_by_whoever_leads_and_leaves_no_key_on_any_host() {
    let site = Site::new(1, SHARDS);
    let first = site.init();
    let second = site.another_host(&first, "host-b");
    let mut leading = first.serve(&[]);
    first.wait_to_lead(&leading);
    let following = second.serve(&[&leading.url]);
    let till = site.enrol(&first, "till");
    let watch = Watch::start(&[&first, &second], SHARDS);
    let maps = Watch::start_maps(&[&first, &second], SHARDS);
    let all = events(12, 30);
    assert!(lines(&all).contains(WORDS));
    till.record_all(&all);
    become_the_same((&first, &leading), (&second, &following));
    let label = label_of(&second, 0);
    let keys = [&first, &second].map(|host| wrapped_key(host, &label));
    let before = on_record(&second, &label);
    assert_eq!((before.0.len(), before.1.len()), (30, 0));

    let file = site.path("erasure.json");
    let asked = second.start(&["erase", &customer(ERASED), "--yes", "-o", &text_of(&file)]);
    wait_for(
        "the host that leads has taken the erasure in",
        || format!("{}{}", asked.tail(), leading.process.tail()),
        || is_asked(&first, &label).then_some(()),
    );
    leading.process.kill();
    drop(leading);
    assert_eq!(
        on_record(&second, &label),
        before,
        "it was put on record before the leases had run out"
    );
    drop(asked);
    second.wait_to_lead(&following);
    let back = first.serve(&[&following.url]);
    let certificate = certificate(&second, &file);
    let policy = second.ledger().policy().expect("it has a policy");
    let erased = certificate.verify(&policy).expect("it proves the erasure");
    assert_eq!(
        (erased.customer.as_str(), erased.generation),
        (customer(ERASED).as_str(), 0)
    );
    assert_eq!(erased.label, label);

    become_the_same((&first, &back), (&second, &following));
    let after = on_record(&first, &label);
    assert_eq!(after, (before.0, vec![erased.index]));
    let id = customer(ERASED);
    let wanted: [&[u8]; 4] = [id.as_bytes(), WORDS.as_bytes(), &keys[0], &keys[1]];
    let folders: [&Path; 6] = [
        &first.root,
        &first.home,
        &second.root,
        &second.home,
        &till.folder,
        site.cluster.folder(),
    ];
    wait_for(
        "nothing of the key is left",
        || format!("{}{}", back.process.tail(), following.process.tail()),
        || {
            let mut found = Vec::new();
            for folder in folders {
                files_with(folder, &wanted, &mut found);
            }
            let is_clean = found.is_empty() && !is_asked(&first, &label) && !is_asked(&second, &label);
            if !found.is_empty() {
                println!("still there: {}", found.join(", "));
            }
            is_clean.then_some(())
        },
    );

    let later = later_events(5);
    assert_eq!(later.len(), 5);
    till.record_all(&later);
    become_the_same((&first, &back), (&second, &following));
    assert_eq!(on_record(&first, &label), after);
    let next = label_of(&first, 1);
    assert_eq!(on_record(&first, &next).0.len(), later.len());

    is_proven(&site, &first, (30, 5), erased.index);
    let other = second.run(&["trail", &customer(ERASED + 1)]).exits(0).json();
    assert_eq!(list(&other["events"]).len(), 30);
    watch.all_lead_to(&second.ledger());
    maps.all_lead_to(&second.ledger());
    following.stop();
    back.stop();
}

/// Asserts that the dossier shows what was erased, where, and what came later.
#[track_caller]
fn is_proven(site: &Site, host: &Host, (erased, later): (usize, usize), index: LeafIndex) {
    let file = site.path("erased.dossier");
    host.run(&["dossier", &customer(ERASED), "-o", &text_of(&file)])
        .exits(0);
    let bytes = fs::read(&file).expect("the dossier is there");
    let policy = host.ledger().policy().expect("it has a policy");
    let dossier = Dossier::parse(&bytes).expect("a dossier was written");
    let verified = dossier.verify(&policy).expect("it proves what it says");
    let of = |generation| {
        let events = verified.events.iter();
        events.filter(|event| event.generation == generation).count()
    };
    assert_eq!(
        (of(0), of(1), verified.events.len()),
        (erased, later, erased + later)
    );
    let erasures: Vec<Option<LeafIndex>> = verified.generations.iter().map(|one| one.erased_at).collect();
    assert_eq!(erasures, [Some(index), None]);
    assert_eq!(verified.absence.generation, 2);
}
