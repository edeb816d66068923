//! The mapper with small roots, and several hosts around a register in memory.
//!
//! In scope: where roots are sealed, that every one of them is right, what a host takes over and what it refuses, work that
//! is stopped and taken up again. Out of scope: crashes at single steps and lost files (`ledger/tests/mapper.rs`).

mod resumed;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sharetrail_proof::entry::{BATCH, Entry, EventEntry};
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex};
use sharetrail_proof::map::{MapValue, leaf_hash, subtree_root};
use sharetrail_proof::name::Label;
use sharetrail_proof::note::Note;
use sharetrail_proof::tree::root_of;
use tempfile::TempDir;

use super::drive::{Mappers, Pace, Turn};
use super::log::leaves_in;
use super::remap::remap_held;
use super::*;
use crate::chain::Chain;
use crate::engine::Engine;
use crate::sequencer::{Unobserved, stated};
use crate::settings::Settings;
use crate::testing;

/// Events under a root in these tests.
const LIMIT: usize = 50;

struct World {
    folder: TempDir,
    ledger: Ledger,
}

fn world() -> World {
    let (folder, ledger) = testing::ledger(1);
    World { folder, ledger }
}

/// Puts batches on record, each of some events of customers that are known by a number.
fn record(ledger: &Ledger, batches: &[Vec<u8>]) {
    let engine = Engine::start(ledger).unwrap();
    let signer = keys::producer_signer(ledger, ledger.name()).unwrap();
    let mut chain = Chain::open(&engine, &signer, 0).unwrap();
    for batch in batches {
        let entries: Vec<[u8; 81]> = batch.iter().map(|&customer| event(customer)).collect();
        let entries: Vec<&[u8]> = entries.iter().map(<[u8; 81]>::as_slice).collect();
        let cut = chain.cut(&entries, &vec![&[1_u8][..]; entries.len()]);
        let sent = engine.bus().publish(0, chain.producer(), cut.frame);
        engine.block_on(sent).unwrap();
        engine
            .wait_for_cut(0, chain.id(), (cut.number, cut.hash))
            .unwrap();
    }
    engine.stop().unwrap();
}

fn event(customer: u8) -> [u8; 81] {
    // The label of a customer: its bits are spread as those of a true one are.
    let label = Hash::of(&[&[customer]]);
    let entry = EventEntry {
        id: crate::files::random().unwrap(),
        label: Label(label.0),
        commitment: Hash([customer; 32]),
    };
    entry.to_bytes()
}

fn mappers(ledger: &Ledger) -> Mappers {
    let nobody: Arc<dyn Observer> = Arc::new(Unobserved);
    Mappers::with_limit(ledger, &nobody, LIMIT)
}

fn run(
    mappers: &Mappers,
    ledger: &Ledger,
    register: Option<&dyn MapRegister>,
) -> Result<Vec<String>, LedgerError> {
    let (stop, mut notices) = (AtomicBool::new(false), Vec::new());
    let turn = Turn {
        register,
        pace: Pace::AtOnce,
        progress: &|_, _| (),
        stop: &stop,
    };
    mappers.run(ledger, &turn, &mut notices).map(|()| notices)
}

/// As [`run`], with mappers that are taken up anew, until so many leaves are folded: how many were, each time it was told,
/// and the notices.
fn run_until(
    ledger: &Ledger,
    register: Option<&dyn MapRegister>,
    until: u64,
) -> Result<(Vec<u64>, Vec<String>), LedgerError> {
    let (stop, mut notices) = (AtomicBool::new(false), Vec::new());
    let sizes = RefCell::new(Vec::new());
    let progress = |folded: u64, _: u64| {
        sizes.borrow_mut().push(folded);
        if folded >= until {
            stop.store(true, Ordering::Release);
        }
    };
    let turn = Turn {
        register,
        pace: Pace::AtOnce,
        progress: &progress,
        stop: &stop,
    };
    mappers(ledger).run(ledger, &turn, &mut notices)?;
    Ok((sizes.into_inner(), notices))
}

/// How far the map on disk is folded, and how many leaves of the map log were made by then that nobody decided on.
fn kept(ledger: &Ledger) -> (u64, Option<u64>) {
    let fold = Fold::open(&ledger.folder().mapping(0), LIMIT).unwrap();
    (fold.size().0, fold.undecided().map(|undecided| undecided.size.0))
}

/// Batches that make a root each, and several commits together.
fn many() -> Vec<Vec<u8>> {
    (0..24_u8).map(|batch| (batch..batch + 50).collect()).collect()
}

/// The published note of the map log; empty where there is none.
fn note(ledger: &Ledger) -> String {
    fs::read_to_string(ledger.folder().map(0).join("checkpoint")).unwrap_or_default()
}

fn leaves(ledger: &Ledger) -> Vec<MapLeaf> {
    let note = note(ledger);
    let (size, root) = stated(Note::parse(&note).unwrap().text()).unwrap();
    let folder = ledger.folder().map(0);
    let leaves: Vec<MapLeaf> = (0..size.0.div_ceil(256))
        .flat_map(|number| leaves_in(&folder, size, number).unwrap())
        .collect();
    let hash = |leaf: &MapLeaf| LeafHash::of(leaf.to_text().as_bytes());
    assert_eq!(root_of(&leaves.iter().map(hash).collect::<Vec<_>>()), root);
    leaves
}

fn entries(ledger: &Ledger) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut visit = |_: LeafIndex, entry: &[u8], _: &[u8]| {
        found.push(entry.to_vec());
        ControlFlow::Continue(())
    };
    ledger.reader(0).unwrap().scan(LeafIndex(0), &mut visit).unwrap();
    found
}

/// The root of the map over these entries, and how many labels it has, computed from nothing.
fn naive(entries: &[Vec<u8>]) -> (Hash, u64) {
    let mut labels: BTreeMap<Label, Vec<LeafHash>> = BTreeMap::new();
    for entry in entries {
        if let Some(label) = Entry::parse(entry).unwrap().label() {
            labels.entry(label).or_default().push(LeafHash::of(entry));
        }
    }
    let value = |hashes: &Vec<LeafHash>| MapValue {
        count: hashes.len() as u64,
        root: root_of(hashes),
    };
    let leaf = |(label, hashes): (&Label, &Vec<LeafHash>)| (*label, leaf_hash(label, &value(hashes).hash()));
    let leaves: Vec<(Label, Hash)> = labels.iter().map(leaf).collect();
    (subtree_root(0, &leaves), leaves.len() as u64)
}

/// Every leaf of the map log is what the record log gives at its size.
fn assert_roots(ledger: &Ledger) {
    let (entries, mut before) = (entries(ledger), 0);
    for leaf in leaves(ledger) {
        let size = usize::try_from(leaf.checkpoint.size.0).unwrap();
        assert!(size > before, "{size}");
        assert_eq!((leaf.root, leaf.labels), naive(&entries[..size]), "{size}");
        let root = ledger.reader(0).unwrap().root_at(leaf.checkpoint.size).unwrap();
        assert_eq!(leaf.checkpoint.root, root, "{size}");
        before = size;
    }
    let reader = ledger.map_reader(0).unwrap().unwrap();
    assert_eq!(Some(reader.leaf()), leaves(ledger).last());
}

/// The fault: a map that is far behind is held in memory whole, or a root cuts a batch in two.
#[test]
fn far_behind_no_root_adds_more_than_its_limit_and_each_ends_with_a_batch() {
    let World {
        folder: _folder,
        ledger,
    } = world();
    let sizes = [20_u8, 20, 20, 49, 50, 51, 1, 70, 10];
    let batches: Vec<Vec<u8>> = sizes.iter().map(|&events| (0..events).collect()).collect();
    record(&ledger, &batches);
    run(&mappers(&ledger), &ledger, None).unwrap();
    assert_roots(&ledger);
    let (entries, leaves) = (entries(&ledger), leaves(&ledger));
    assert!(leaves.len() >= 7, "{}", leaves.len());
    let (mut from, mut single) = (0, HashSet::new());
    for leaf in &leaves {
        let to = usize::try_from(leaf.checkpoint.size.0).unwrap();
        let labelled = entries[from..to]
            .iter()
            .filter(|entry| Entry::parse(entry).unwrap().label().is_some())
            .count();
        let notes = entries[from..to].iter().filter(|entry| entry[0] == BATCH).count();
        assert!(labelled <= LIMIT || notes == 1, "{labelled} in {notes} batches");
        if notes == 1 {
            single.insert(labelled);
        }
        assert!(entries.get(to).is_none_or(|entry| entry[0] == BATCH));
        from = to;
    }
    assert!(single.contains(&51) && single.contains(&70), "{single:?}");
    assert_eq!(from, entries.len());
    // Between two checkpoints of the record log there is no unfinished bundle of the right width.
    let done = remap_held(&ledger, LIMIT, &|_, _| ()).unwrap();
    assert_eq!(done[0].leaves, leaves.len() as u64);
}

#[test]
fn folding_anew_gives_every_root_again_and_a_root_that_does_not_come_out_is_named() {
    let World {
        folder: _folder,
        ledger,
    } = world();
    for round in 1..6_u8 {
        record(&ledger, &[(0..round * 4).collect(), vec![round; 30]]);
        run(&mappers(&ledger), &ledger, None).unwrap();
    }
    let (before, leaves) = (note(&ledger), leaves(&ledger));
    let done = remap_held(&ledger, LIMIT, &|_, _| ()).unwrap();
    assert_eq!(
        (done[0].leaves, done[0].labels, done[0].covered),
        (
            leaves.len() as u64,
            leaves.last().unwrap().labels,
            ledger.reader(0).unwrap().size().0
        )
    );
    assert!(done[0].notices.is_empty(), "{:?}", done[0].notices);
    assert_eq!(note(&ledger), before);
    assert_roots(&ledger);
    assert_eq!(run(&mappers(&ledger), &ledger, None).unwrap(), [""; 0]);
    // An entry in a bundle is not the one that was signed.
    let bundle = fs::read_dir(ledger.folder().log(0).join("tile/entries/000.p"))
        .unwrap()
        .map(|item| item.unwrap().path())
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&bundle).unwrap();
    let at = bytes.len() - 1;
    bytes[at] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let failed = remap_held(&ledger, LIMIT, &|_, _| ());
    assert!(matches!(failed, Err(LedgerError::Damaged { .. })));
    assert_eq!(note(&ledger), before);
}

/// What several hosts see of one register.
#[derive(Default)]
struct Shared {
    registered: Option<Registered>,
    /// How often another host is faster.
    faster: u32,
    /// Whether fetched moments come with another time.
    lies: bool,
    fetched: u64,
}

/// A host's place at the register.
struct Seat<'a> {
    shared: &'a Mutex<Shared>,
    leads: bool,
    peer: Option<&'a Ledger>,
}

impl<'a> Seat<'a> {
    fn leading(shared: &'a Mutex<Shared>) -> Self {
        Self {
            shared,
            leads: true,
            peer: None,
        }
    }

    fn following(shared: &'a Mutex<Shared>, peer: &'a Ledger) -> Self {
        Self {
            shared,
            leads: false,
            peer: Some(peer),
        }
    }
}

impl MapRegister for Seat<'_> {
    fn registered(&self, _: u32) -> Result<Option<Registered>, LedgerError> {
        Ok(self.shared.lock().unwrap().registered.clone())
    }

    fn register(&self, _: u32, next: &Registered) -> Result<bool, LedgerError> {
        let mut shared = self.shared.lock().unwrap();
        if shared.faster > 0 {
            shared.faster -= 1;
            return Ok(false);
        }
        let mut next = next.clone();
        // Fewer than hosts keep, so that some must be fetched.
        next.moments.drain(..next.moments.len().saturating_sub(2));
        shared.registered = Some(next);
        Ok(true)
    }

    fn may_extend(&self, _: u32) -> bool {
        self.leads
    }

    fn fetch(&self, _: u32, from: u64, to: u64) -> Result<Vec<Moment>, LedgerError> {
        let mut shared = self.shared.lock().unwrap();
        let Some(peer) = self.peer else {
            return Err(LedgerError::Peer {
                url: "none".into(),
                what: format!("{from} to {to}"),
            });
        };
        shared.fetched += to - from;
        let all = leaves(peer);
        let range = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
        let moment = |leaf: &MapLeaf| Moment {
            time: leaf.time + u64::from(shared.lies),
            ..Moment::of(leaf)
        };
        Ok(all[range].iter().map(moment).collect())
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let path = item.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Another host of the ledger, as it is now, with a folder outside of its own.
fn another_host(world: &World, name: &str) -> Ledger {
    let root = world.folder.path().join(name);
    copy_tree(world.ledger.root(), &root);
    let outside: PathBuf = world.folder.path().join(format!("{name}-outside"));
    let settings = Settings {
        outside: Some(outside),
        ..world.ledger.settings().clone()
    };
    settings.write(&root.join("ledger.toml")).unwrap();
    let host = Ledger::open(&root).unwrap();
    copy_tree(&world.ledger.outside().unwrap(), &host.outside().unwrap());
    host
}

/// The other host's archive comes to be as long as this one's.
fn bring_archive(from: &Ledger, to: &Ledger) {
    copy_tree(&from.folder().log(0), &to.folder().log(0));
    copy_tree(&from.folder().sealed(0), &to.folder().sealed(0));
}

/// The fault: two hosts publish map logs that contradict each other, or one that follows never becomes level.
#[test]
fn a_host_that_follows_makes_the_same_map_log_byte_for_byte() {
    let world = world();
    let one = &world.ledger;
    let other = another_host(&world, "other");
    let shared = Mutex::new(Shared::default());
    let leads = Seat::leading(&shared);
    let follows = Seat::following(&shared, one);
    let (theirs, ours) = (mappers(one), mappers(&other));
    run(&ours, &other, Some(&follows)).unwrap();
    assert_eq!(note(&other), "", "who does not lead adds nothing");
    for round in 1..4_u8 {
        record(one, &[vec![round; 40], (0..40).collect(), vec![1; 40]]);
        run(&theirs, one, Some(&leads)).unwrap();
        let behind = note(&other);
        run(&ours, &other, Some(&follows)).unwrap();
        assert_eq!(note(&other), behind, "its record log does not reach that far");
        bring_archive(one, &other);
        run(&ours, &other, Some(&follows)).unwrap();
        assert_eq!(note(&other), note(one));
        assert_roots(&other);
    }
    assert!(shared.lock().unwrap().fetched > 0);
    let outside = |ledger: &Ledger| fs::read(ledger.outside().unwrap().join("maps/0")).unwrap();
    assert_eq!(outside(one), outside(&other));
}

/// The fault: a root that another host was faster with is written here too; or the host never gets level again.
#[test]
fn a_host_that_is_overtaken_signs_nothing_and_follows() {
    let World {
        folder: _folder,
        ledger,
    } = world();
    let shared = Mutex::new(Shared::default());
    let seat = Seat::leading(&shared);
    let mappers = mappers(&ledger);
    record(&ledger, &[vec![1; 10]]);
    run(&mappers, &ledger, Some(&seat)).unwrap();
    let before = note(&ledger);
    record(&ledger, &[vec![2; 10], vec![3; 10]]);
    shared.lock().unwrap().faster = 1;
    run(&mappers, &ledger, Some(&seat)).unwrap();
    assert_eq!(note(&ledger), before);
    run(&mappers, &ledger, Some(&seat)).unwrap();
    assert_ne!(note(&ledger), before);
    assert_roots(&ledger);
}

#[test]
fn what_a_peer_makes_up_is_never_signed() {
    let world = world();
    let one = &world.ledger;
    let other = another_host(&world, "other");
    let shared = Mutex::new(Shared::default());
    let leads = Seat::leading(&shared);
    let follows = Seat::following(&shared, one);
    record(one, &[vec![1; 45], vec![2; 45], vec![3; 45], vec![4; 45]]);
    run(&mappers(one), one, Some(&leads)).unwrap();
    bring_archive(one, &other);
    shared.lock().unwrap().lies = true;
    let ours = mappers(&other);
    for _ in 0..2 {
        let failed = run(&ours, &other, Some(&follows));
        assert!(matches!(failed, Err(LedgerError::Diverged { .. })));
        assert_eq!(note(&other), "");
    }
    shared.lock().unwrap().lies = false;
    run(&ours, &other, Some(&follows)).unwrap();
    assert_eq!(note(&other), note(one));
}

/// The fault: after the bus lost its register, the leader begins the map log anew.
#[test]
fn a_register_that_was_rolled_back_or_lost_is_put_right_by_who_leads() {
    let World {
        folder: _folder,
        ledger,
    } = world();
    let shared = Mutex::new(Shared::default());
    let seat = |leads| Seat {
        shared: &shared,
        leads,
        peer: None,
    };
    let mappers = mappers(&ledger);
    record(&ledger, &[vec![1; 10]]);
    run(&mappers, &ledger, Some(&seat(true))).unwrap();
    let old = shared.lock().unwrap().registered.clone();
    record(&ledger, &[vec![2; 10]]);
    run(&mappers, &ledger, Some(&seat(true))).unwrap();
    let (new, signed) = (shared.lock().unwrap().registered.clone(), note(&ledger));
    for lost in [old, None] {
        shared.lock().unwrap().registered = lost.clone();
        run(&mappers, &ledger, Some(&seat(false))).unwrap();
        assert_eq!(shared.lock().unwrap().registered, lost);
        run(&mappers, &ledger, Some(&seat(true))).unwrap();
        assert_eq!(shared.lock().unwrap().registered, new);
        assert_eq!(note(&ledger), signed);
    }
    // Another history.
    let other = Checkpoint::new(map_origin_of(&ledger), TreeSize(1), Hash([9; 32])).to_text();
    shared.lock().unwrap().registered = Some(Registered {
        checkpoint: other,
        moments: new.unwrap().moments,
    });
    let failed = run(&mappers, &ledger, Some(&seat(true)));
    assert!(matches!(failed, Err(LedgerError::Diverged { .. })));
    assert_eq!(note(&ledger), signed);
}

fn map_origin_of(ledger: &Ledger) -> String {
    map_origin(ledger.name(), Shard::new(0, 1).unwrap())
}

/// The fault: each call seals a root of its own, however short after the one before.
#[test]
fn at_a_measured_pace_a_second_passes_between_two_roots() {
    let World {
        folder: _folder,
        ledger,
    } = world();
    let mappers = mappers(&ledger);
    let (stop, mut notices) = (AtomicBool::new(false), Vec::new());
    let turn = Turn {
        register: None,
        pace: Pace::Measured,
        progress: &|_, _| (),
        stop: &stop,
    };
    let began = Instant::now();
    mappers.run(&ledger, &turn, &mut notices).unwrap();
    record(&ledger, &[vec![1; 10]]);
    mappers.run(&ledger, &turn, &mut notices).unwrap();
    if began.elapsed() < Duration::from_secs(1) {
        assert_eq!(leaves(&ledger).len(), 1);
    }
    std::thread::sleep(Duration::from_millis(1_100));
    mappers.run(&ledger, &turn, &mut notices).unwrap();
    assert_eq!(leaves(&ledger).len(), 2);
    assert_roots(&ledger);
}

/// The fault: of two checkpoints that were decided on, only the larger one is compared with the tree.
#[test]
fn a_smaller_checkpoint_of_another_history_is_refused() {
    let World {
        folder: _folder,
        ledger,
    } = world();
    for round in 1..3_u8 {
        record(&ledger, &[vec![round; 10]]);
        run(&mappers(&ledger), &ledger, None).unwrap();
    }
    let before = note(&ledger);
    let other = Checkpoint::new(map_origin_of(&ledger), TreeSize(1), Hash([9; 32])).to_text();
    let (mut head, _) = MapHead::open(&ledger.folder().register(0)).unwrap();
    head.decide(&other).unwrap();
    let failed = run(&mappers(&ledger), &ledger, None);
    assert!(matches!(failed, Err(LedgerError::Forked { size: 1, .. })));
    assert_eq!(note(&ledger), before);
}

/// The fault: who folds on until a size is reached that the record log does not have never ends.
#[test]
fn the_record_log_is_read_no_further_than_it_goes() {
    let World {
        folder: _folder,
        ledger,
    } = world();
    let (_, key) = keys_of(&ledger, 0).unwrap();
    let record = RecordLog::open(&ledger, 0, &key).unwrap();
    let beyond = TreeSize(record.size().0 + 1);
    let failed = record.gather(record.size(), beyond, LIMIT);
    assert!(matches!(failed, Err(LedgerError::RolledBack { .. })));
}

/// Lets time pass once a first root is published, and notes it.
#[derive(Default)]
struct Pause(Mutex<Option<u64>>);

impl Observer for Pause {
    fn step(&self, _: u32, step: Step) -> Result<(), LedgerError> {
        let mut noted = self.0.lock().unwrap();
        if step == Step::MapPublished && noted.is_none() {
            std::thread::sleep(Duration::from_millis(1_100));
            *noted = Some(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs());
        }
        Ok(())
    }
}

/// The fault: all roots of a long catch-up bear the time at which it began.
#[test]
fn each_root_of_a_catch_up_has_a_time_of_its_own_and_times_do_not_fall() {
    let World {
        folder: _folder,
        ledger,
    } = world();
    record(&ledger, &many()[..3]);
    let pause = Arc::new(Pause::default());
    let observer = Arc::clone(&pause) as Arc<dyn Observer>;
    run(&Mappers::with_limit(&ledger, &observer, LIMIT), &ledger, None).unwrap();
    let times: Vec<u64> = leaves(&ledger).iter().map(|leaf| leaf.time).collect();
    assert!(times.len() >= 3 && times.is_sorted(), "{times:?}");
    assert!(times[1] >= pause.0.lock().unwrap().unwrap(), "{times:?}");
    assert_roots(&ledger);
}
