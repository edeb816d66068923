//! The trie on disk, held to a naive model that keeps every label in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sharetrail_proof::hash::{Hash, LeafHash};
use sharetrail_proof::map::{EMPTY, MapValue, leaf_hash, subtree_root, verify_absent, verify_present};
use sharetrail_proof::name::Label;
use sharetrail_proof::tree::CompactRange;

use super::{Found, MapSnapshot, MapTree};
use crate::error::LedgerError;

/// A fixed stream of numbers (xorshift64*), so that a run that fails can be repeated.
struct Numbers(u64);

impl Numbers {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.draw() % end
    }
}

fn label(number: u64) -> Label {
    Label(Hash::of(&[b"label", &number.to_be_bytes()]).0)
}

/// Shares all but its last two bytes with every other such label.
fn near(number: u16) -> Label {
    let mut label = Label([0xab; 32]);
    label.0[30..].copy_from_slice(&number.to_be_bytes());
    label
}

#[derive(Clone, Default)]
struct Model(BTreeMap<Label, CompactRange>);

impl Model {
    fn apply(&mut self, updates: &[(Label, LeafHash)]) {
        for (label, leaf) in updates {
            self.0.entry(*label).or_default().push(*leaf);
        }
    }

    fn value(&self, label: &Label) -> Option<MapValue> {
        self.0.get(label).map(|range| MapValue {
            count: range.size().0,
            root: range.root(),
        })
    }

    fn root(&self) -> Hash {
        let leaf = |label: &Label| leaf_hash(label, &self.value(label).unwrap().hash());
        let leaves: Vec<_> = self.0.keys().map(|label| (*label, leaf(label))).collect();
        subtree_root(0, &leaves)
    }
}

/// A map in a folder of its own, and what it should hold.
struct Case {
    _folder: tempfile::TempDir,
    path: PathBuf,
    tree: MapTree,
    model: Model,
    numbers: Numbers,
}

impl Case {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mapping");
        Self {
            tree: MapTree::open(&path).unwrap(),
            _folder: folder,
            path,
            model: Model::default(),
            numbers: Numbers(seed),
        }
    }

    fn leaf(&mut self) -> LeafHash {
        LeafHash::of(&self.numbers.draw().to_be_bytes())
    }

    fn apply(&mut self, labels: impl IntoIterator<Item = Label>) {
        let mut updates: Vec<_> = labels.into_iter().map(|label| (label, self.leaf())).collect();
        self.model.apply(&updates);
        self.tree.apply(&mut updates).unwrap();
        assert!(updates.is_empty());
        assert_eq!(self.tree.root(), self.model.root());
        assert_eq!(self.tree.labels(), self.model.0.len() as u64);
    }

    fn apply_random(&mut self, count: u64, labels: u64) {
        let labels: Vec<_> = (0..count).map(|_| label(self.numbers.below(labels))).collect();
        self.apply(labels);
    }

    fn reopen(&mut self) {
        self.tree = MapTree::open(&self.path).unwrap();
    }

    fn snapshot(&self) -> MapSnapshot {
        MapSnapshot::open(&self.path).unwrap().unwrap()
    }

    fn page_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.path)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut pages: Vec<_> = entries.filter(|path| is_page_file(path)).collect();
        pages.sort();
        pages
    }
}

fn is_page_file(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with("pages-")
}

fn is_damaged<T>(result: &Result<T, LedgerError>) -> bool {
    matches!(result, Err(LedgerError::Damaged { .. }))
}

/// The answer is the model's, and its path proves it.
fn assert_finds(snapshot: &MapSnapshot, model: &Model, label: &Label) {
    let Found { value, path } = snapshot.find(label).unwrap();
    assert_eq!(value, model.value(label), "{label}");
    match value {
        Some(value) => verify_present(label, &value, &path, &snapshot.root()).unwrap(),
        None => verify_absent(label, &path, &snapshot.root()).unwrap(),
    }
}

fn assert_holds(snapshot: &MapSnapshot, model: &Model, step: usize) {
    assert_eq!(snapshot.root(), model.root());
    assert_eq!(snapshot.labels(), model.0.len() as u64);
    for (rank, label) in model.0.keys().enumerate().step_by(step) {
        assert_finds(snapshot, model, label);
        let found = snapshot.nth(rank as u64).unwrap();
        assert_eq!(found, Some((*label, model.value(label).unwrap())));
    }
    assert_eq!(snapshot.nth(model.0.len() as u64).unwrap(), None);
    for number in 0..50 {
        assert_finds(snapshot, model, &label(u64::MAX - number));
    }
}

#[test]
fn an_empty_map_holds_nothing_and_proves_it() {
    let mut case = Case::new(1);
    assert!(MapSnapshot::open(&case.path).unwrap().is_none());
    assert!(MapSnapshot::open(&case.path.join("none")).unwrap().is_none());
    case.apply([]);
    assert_eq!(case.tree.root(), EMPTY);
    assert_eq!(case.tree.mark(), b"");
    case.tree.commit(b"nothing").unwrap();
    case.reopen();
    assert_eq!(case.tree.mark(), b"nothing");
    assert_eq!(case.snapshot().mark(), b"nothing");
    assert_holds(&case.snapshot(), &case.model, 1);
}

/// Faults at the edges of a bucket: the one label that is passed up, 32 and 33 labels, each growing by one.
#[test]
fn a_map_that_grows_label_by_label_is_the_models() {
    let mut case = Case::new(2);
    for number in 0_u64..120 {
        case.apply([label(number)]);
        case.tree.commit(&number.to_be_bytes()).unwrap();
        if number < 40 || number.is_multiple_of(20) {
            assert_holds(&case.snapshot(), &case.model, 1);
        }
    }
}

#[test]
fn random_batches_give_the_models_roots_values_ranks_and_paths() {
    for seed in 1..4 {
        let mut case = Case::new(seed);
        for round in 0..12_u8 {
            for _ in 0..case.numbers.below(3) {
                let count = case.numbers.below(5_000);
                case.apply_random(count, 1 << (4 * seed + 3));
            }
            case.tree.commit(&[round]).unwrap();
            assert_eq!(case.tree.mark(), [round]);
            assert_holds(&case.snapshot(), &case.model, 97);
            if round.is_multiple_of(3) {
                case.reopen();
                assert_eq!(case.tree.mark(), [round]);
                assert_eq!(case.tree.root(), case.model.root());
            }
        }
        assert_holds(&case.snapshot(), &case.model, 1);
    }
}

/// The order within a label is part of its root: sorting by label must not disturb it.
#[test]
fn many_leaves_of_one_label_keep_their_order() {
    let mut case = Case::new(5);
    for count in [1_u64, 7, 8, 9, 100, 3_000] {
        let labels: Vec<_> = (0..count)
            .map(|at| if at.is_multiple_of(7) { label(at) } else { label(0) })
            .collect();
        case.apply(labels);
    }
    case.tree.commit(b"").unwrap();
    assert_holds(&case.snapshot(), &case.model, 1);
}

/// Sixty-two nodes below each other; a path of 256 siblings.
#[test]
fn labels_that_share_all_but_their_last_bits_work() {
    let mut case = Case::new(6);
    case.apply([near(0), near(1)]);
    case.tree.commit(b"").unwrap();
    assert_holds(&case.snapshot(), &case.model, 1);
    assert_eq!(case.snapshot().find(&near(0)).unwrap().path.siblings.len(), 256);
    case.apply((0..3_000).map(near));
    case.apply((0..500).map(label));
    case.tree.commit(b"").unwrap();
    let snapshot = case.snapshot();
    assert_holds(&snapshot, &case.model, 11);
    for number in 2_990..3_010 {
        assert_finds(&snapshot, &case.model, &near(number));
    }
    let mut far = near(0);
    for bit in 0..256 {
        far.0[bit / 8] ^= 0x80 >> (bit % 8);
        assert_finds(&snapshot, &case.model, &far);
        far.0[bit / 8] ^= 0x80 >> (bit % 8);
    }
}

#[test]
fn what_was_applied_and_not_committed_is_gone_after_opening_anew() {
    let mut case = Case::new(7);
    case.apply_random(4_000, 2_000);
    case.tree.commit(b"kept").unwrap();
    let (kept, bytes) = (case.model.clone(), case.tree.disk_bytes());
    case.apply_random(4_000, 4_000);
    assert_ne!(case.tree.root(), kept.root());
    assert_eq!(case.snapshot().root(), kept.root());
    case.reopen();
    case.model = kept;
    assert_eq!(case.tree.root(), case.model.root());
    assert_eq!(case.tree.disk_bytes(), bytes);
    let on_disk: u64 = case
        .page_files()
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!(on_disk, bytes);
    // What is written in the place of what was dropped is read as what it is.
    case.apply_random(4_000, 3_000);
    case.tree.commit(b"next").unwrap();
    assert_holds(&case.snapshot(), &case.model, 13);
}

#[test]
fn a_map_that_was_never_committed_leaves_nothing() {
    let mut case = Case::new(8);
    case.apply_random(4_000, 2_000);
    assert!(!case.page_files().is_empty());
    assert!(MapSnapshot::open(&case.path).unwrap().is_none());
    case.reopen();
    assert_eq!(case.tree.root(), EMPTY);
    assert!(case.page_files().is_empty());
}

#[test]
fn a_snapshot_answers_as_of_its_version_whatever_comes_after() {
    let mut case = Case::new(9);
    case.tree.garbage_bytes = 0;
    case.apply_random(3_000, 1_000);
    case.tree.commit(b"first").unwrap();
    let (snapshot, model, files) = (case.snapshot(), case.model.clone(), case.page_files());
    for _ in 0..10 {
        case.apply_random(3_000, 2_000);
        case.tree.commit(b"later").unwrap();
    }
    assert!(case.page_files().iter().all(|file| !files.contains(file)));
    assert_eq!(snapshot.mark(), b"first");
    assert_holds(&snapshot, &model, 3);
    MapTree::clear(&case.path).unwrap();
    assert_holds(&snapshot, &model, 17);
    assert!(MapSnapshot::open(&case.path).unwrap().is_none());
    case.reopen();
    assert_eq!((case.tree.root(), case.tree.labels()), (EMPTY, 0));
}

/// Garbage must not grow without end, and what is live must be all there after copying.
#[test]
fn compaction_keeps_what_is_live_and_nothing_else() {
    let mut case = Case::new(10);
    case.tree.garbage_bytes = 0;
    let (mut epochs, mut largest) = (Vec::new(), 0);
    for round in 0..30_u8 {
        case.apply_random(2_500, 1_500);
        case.tree.commit(&[round]).unwrap();
        assert_eq!(case.snapshot().mark(), [round]);
        epochs.extend(case.page_files());
        largest = largest.max(case.tree.disk_bytes());
        if round % 10 == 9 {
            assert_holds(&case.snapshot(), &case.model, 7);
            case.reopen();
            case.tree.garbage_bytes = 0;
        }
    }
    epochs.sort();
    epochs.dedup();
    assert!(epochs.len() > case.page_files().len());
    // About 200 bytes a label and as much again in nodes at the very most, and two and a half times that with garbage
    // and the batch that brought it over the limit.
    assert!(largest < 1_500 * 400 * 4, "{largest}");
    assert_eq!(case.tree.root(), case.model.root());
}

#[test]
fn readers_meet_whole_versions_while_files_are_replaced() {
    let mut case = Case::new(11);
    case.tree.garbage_bytes = 0;
    case.apply_random(2_500, 500);
    case.tree.commit(&case.tree.root().0).unwrap();
    let path = case.path.clone();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for look in 0..400 {
                let snapshot = MapSnapshot::open(&path).unwrap().unwrap();
                assert_eq!(snapshot.mark(), snapshot.root().0);
                let (label, value) = snapshot.nth(look % snapshot.labels()).unwrap().unwrap();
                assert_eq!(snapshot.find(&label).unwrap().value, Some(value));
            }
        });
        let mut rounds = 0;
        while rounds < 10 || !reader.is_finished() {
            let labels: Vec<_> = (0..2_500).map(|_| label(case.numbers.below(500))).collect();
            let mut updates: Vec<_> = labels.into_iter().map(|label| (label, case.leaf())).collect();
            case.tree.apply(&mut updates).unwrap();
            let root = case.tree.root();
            case.tree.commit(&root.0).unwrap();
            rounds += 1;
        }
        reader.join().unwrap();
    });
}

/// A file that nobody removed who may is damage, and no endless search for a newer head.
#[test]
fn a_page_file_that_is_missing_or_short_is_damage() {
    let mut case = Case::new(12);
    case.apply_random(500, 200);
    case.tree.commit(b"").unwrap();
    let file = case.page_files().remove(0);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    assert!(is_damaged(&MapSnapshot::open(&case.path)));
    assert!(is_damaged(&MapTree::open(&case.path)));
    fs::remove_file(&file).unwrap();
    assert!(is_damaged(&MapSnapshot::open(&case.path)));
    assert!(is_damaged(&MapTree::open(&case.path)));
    MapTree::clear(&case.path).unwrap();
    case.reopen();
    assert_eq!(case.tree.root(), EMPTY);
}

#[test]
fn a_flipped_byte_in_the_head_is_damage() {
    let mut case = Case::new(13);
    case.apply_random(100, 50);
    case.tree.commit(b"mark").unwrap();
    let head = case.path.join("head");
    let whole = fs::read(&head).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&head, &flipped).unwrap();
        assert!(is_damaged(&MapSnapshot::open(&case.path)));
        assert!(is_damaged(&MapTree::open(&case.path)));
    }
    fs::write(&head, &whole[..whole.len() / 2]).unwrap();
    assert!(is_damaged(&MapTree::open(&case.path)));
}

/// Every page is in use after one batch, so each flip must be met, and none may change an answer.
#[test]
fn a_flipped_byte_in_a_page_is_damage_and_never_another_answer() {
    let mut case = Case::new(14);
    case.apply((0..120).map(label));
    case.tree.commit(b"").unwrap();
    let known: Vec<_> = case.model.0.keys().copied().collect();
    let mut flips = 0;
    for file in case.page_files() {
        let whole = fs::read(&file).unwrap();
        for at in (0..whole.len()).step_by(101) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x04;
            fs::write(&file, &flipped).unwrap();
            let snapshot = case.snapshot();
            let mut damaged = 0;
            for (rank, label) in known.iter().enumerate() {
                let (found, ranked) = (snapshot.find(label), snapshot.nth(rank as u64));
                damaged += usize::from(is_damaged(&found)) + usize::from(is_damaged(&ranked));
                assert!(is_damaged(&found) || found.unwrap().value == case.model.value(label));
                assert!(is_damaged(&ranked) || ranked.unwrap().unwrap().0 == *label);
            }
            assert!(damaged > 0, "byte {at}");
            let mut updates: Vec<_> = known.iter().map(|label| (*label, case.leaf())).collect();
            let mut tree = MapTree::open(&case.path).unwrap();
            assert!(is_damaged(&tree.apply(&mut updates)), "byte {at}");
            assert_eq!((tree.root(), updates.len()), (case.model.root(), known.len()));
            flips += 1;
        }
        fs::write(&file, &whole).unwrap();
    }
    assert!(flips > 50);
    assert_holds(&case.snapshot(), &case.model, 1);
}

/// A checksum alone would take an old page for the new one: it covers the root that the parent names.
#[test]
fn a_whole_page_in_the_place_of_another_is_damage() {
    let mut case = Case::new(15);
    case.apply([label(1)]);
    case.tree.commit(b"").unwrap();
    case.apply([label(2)]);
    case.apply([label(1)]);
    case.tree.commit(b"").unwrap();
    let file = case.page_files().remove(0);
    let bytes = fs::read(&file).unwrap();
    // One label with one leaf, twice that, then one label with two leaves: pages of 101, 198 and 198 bytes.
    assert_eq!(bytes.len(), 101 + 198 + 198);
    let mut swapped = bytes.clone();
    swapped.copy_within(101..299, 299);
    fs::write(&file, &swapped).unwrap();
    assert!(is_damaged(&case.snapshot().find(&label(1))));
    fs::write(&file, &bytes).unwrap();
    assert_holds(&case.snapshot(), &case.model, 1);
}

#[test]
fn an_error_leaves_the_tree_usable() {
    let mut case = Case::new(16);
    case.apply((0..120).map(label));
    case.tree.commit(b"").unwrap();
    let file = case.page_files().remove(0);
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[3] ^= 1;
    fs::write(&file, &flipped).unwrap();
    let mut updates: Vec<_> = (0..120).map(|number| (label(number), case.leaf())).collect();
    let sorted = {
        let mut sorted = updates.clone();
        sorted.sort_by_key(|update| update.0);
        sorted
    };
    assert!(is_damaged(&case.tree.apply(&mut updates)));
    assert_eq!(updates, sorted);
    fs::write(&file, &whole).unwrap();
    case.tree.apply(&mut updates).unwrap();
    case.model.apply(&sorted);
    case.tree.commit(b"").unwrap();
    assert_holds(&case.snapshot(), &case.model, 1);
}
