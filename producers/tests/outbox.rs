//! The files of an outbox: whatever a crash or the disk leaves of them, no frame that was kept whole is lost, and none comes
//! back that another took the place of.
//!
//! In scope: every prefix of a file, every flipped bit, replacements, other chains, segments that go, the lock. Out of
//! scope: sending (the courier's own tests).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::Rng;
use sharetrail_ledger::LedgerError;
use sharetrail_producers::outbox::{self, EventName, KeptFrame, Mark, Opened, ShardOutbox};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::ChainId;

fn frame(number: u64, round: u64, bytes: usize) -> KeptFrame {
    let byte = u8::try_from((number * 16 + round) % 251).unwrap();
    let name = EventName {
        key: [byte; 16],
        mac: [byte ^ 0xFF; 16],
    };
    KeptFrame {
        number,
        round,
        bytes: Arc::new(vec![byte; bytes]),
        names: vec![name; 1 + usize::from(byte % 3)],
    }
}

fn frames(numbers: impl IntoIterator<Item = u64>, round: u64) -> Vec<KeptFrame> {
    numbers
        .into_iter()
        .map(|number| frame(number, round, 50))
        .collect()
}

fn open(folder: &Path) -> Opened {
    ShardOutbox::open(folder, 0).unwrap()
}

fn mark(number: u64, round: u64) -> Mark {
    Mark {
        number,
        hash: Hash([3; 32]),
        round,
    }
}

/// The folder of the only chain.
fn chain_folder(folder: &Path) -> PathBuf {
    let chain = open(folder).outbox.chain();
    folder.join("frames/0").join(chain.to_string())
}

fn segment(folder: &Path, number: u64) -> PathBuf {
    chain_folder(folder).join(format!("{number:020}.seg"))
}

/// The fault: what was kept is not there after a restart, or in another order, or not the same bytes.
#[test]
fn what_was_kept_is_there_until_it_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path());
    assert!(opened.is_new && opened.unsealed.is_empty() && opened.notices.is_empty());
    let mut outbox = opened.outbox;
    let chain = outbox.chain();
    outbox.keep(&frames(0..3, 0)).unwrap();
    outbox.keep(&frames(3..5, 0)).unwrap();
    for sealed in 0..5 {
        drop(outbox);
        let opened = open(folder.path());
        assert!(!opened.is_new && opened.notices.is_empty());
        assert_eq!(opened.outbox.chain(), chain);
        assert_eq!(opened.unsealed, frames(sealed..5, 0));
        outbox = opened.outbox;
        outbox.sealed(mark(sealed, 0)).unwrap();
        assert_eq!(outbox.mark(), Some(mark(sealed, 0)));
    }
    drop(outbox);
    assert!(open(folder.path()).unsealed.is_empty());
}

/// The fault: a crash in the middle of a write makes the outbox unreadable, loses a frame that was whole, or brings half a
/// frame.
#[test]
fn after_a_crash_at_any_byte_all_whole_records_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = open(folder.path()).outbox;
    let path = segment(folder.path(), 1);
    let mut ends = vec![fs::metadata(&path).unwrap().len()];
    for number in 0..3 {
        outbox.keep(&frames([number], 0)).unwrap();
        ends.push(fs::metadata(&path).unwrap().len());
    }
    drop(outbox);
    let whole = fs::read(&path).unwrap();
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let opened = open(folder.path());
        let kept = ends[1..].iter().filter(|end| **end <= cut as u64).count() as u64;
        assert_eq!(opened.unsealed, frames(0..kept, 0), "{cut}");
        let is_clean = ends.contains(&(cut as u64));
        assert_eq!(opened.notices.is_empty(), is_clean, "{cut}");
        // What is written next stands behind the last whole record.
        let mut outbox = opened.outbox;
        outbox.keep(&frames([kept], 0)).unwrap();
        drop(outbox);
        let again = open(folder.path());
        assert_eq!(again.unsealed, frames(0..=kept, 0), "{cut}");
    }
}

/// The fault: one flipped bit takes more than the record it is in, or an altered frame is taken for a kept one.
#[test]
fn a_flipped_bit_costs_its_record_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = open(folder.path()).outbox;
    outbox.keep(&frames(0..4, 0)).unwrap();
    drop(outbox);
    let path = segment(folder.path(), 1);
    let whole = fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &flipped).unwrap();
        let opened = open(folder.path());
        assert!(!opened.notices.is_empty(), "bit {bit}");
        let all = frames(0..4, 0);
        let lost = all
            .iter()
            .filter(|frame| !opened.unsealed.contains(frame))
            .count();
        assert!(lost <= 1 && opened.unsealed.len() == 4 - lost, "bit {bit}");
        assert!(
            opened.unsealed.is_sorted_by_key(|frame| frame.number),
            "bit {bit}"
        );
    }
}

/// The fault: a crash while a rejected frame and those behind it are replaced loses events, or leaves both the old and the new
/// ones to be sent.
#[test]
fn a_replacement_is_there_as_a_whole_or_not_at_all() {
    // As many as before, fewer, or none at all.
    for left in [3_u64, 1, 0] {
        let folder = tempfile::tempdir().unwrap();
        let mut outbox = open(folder.path()).outbox;
        let path = segment(folder.path(), 1);
        outbox.keep(&frames(0..5, 0)).unwrap();
        let before = fs::metadata(&path).unwrap().len();
        outbox.replace(1, 2, &frames(2..2 + left, 1)).unwrap();
        drop(outbox);
        let whole = fs::read(&path).unwrap();
        let replaced = [frames(0..2, 0), frames(2..2 + left, 1)].concat();
        for cut in usize::try_from(before).unwrap()..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let found = open(folder.path());
            let expected = if cut == whole.len() {
                replaced.clone()
            } else {
                frames(0..5, 0)
            };
            assert_eq!(found.unsealed, expected, "{left} left, cut at {cut}");
            assert_eq!(found.round, u64::from(cut == whole.len()));
        }
        fs::write(&path, &whole).unwrap();
        let mut outbox = open(folder.path()).outbox;
        outbox.keep(&frames([2 + left], 1)).unwrap();
        drop(outbox);
        let expected = [frames(0..2, 0), frames(2..=2 + left, 1)].concat();
        assert_eq!(open(folder.path()).unsealed, expected);
    }
}

/// The fault: segments grow for ever, or one goes while a frame in it is not sealed, or a replaced frame comes back when what
/// took its place has gone.
#[test]
fn segments_go_once_all_in_them_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = open(folder.path()).outbox;
    let large = |number| frame(number, 0, 1 << 20);
    for number in 0..40 {
        outbox.keep(&[large(number)]).unwrap();
    }
    let count = || {
        let items = fs::read_dir(chain_folder(folder.path())).unwrap();
        let is_segment = |path: PathBuf| path.extension().is_some_and(|end| end == "seg");
        items
            .filter(|item| is_segment(item.as_ref().unwrap().path()))
            .count()
    };
    assert_eq!(count(), 3);
    outbox.sealed(mark(3, 0)).unwrap();
    assert_eq!(count(), 3);
    outbox.sealed(mark(20, 0)).unwrap();
    assert_eq!(count(), 2);
    outbox.replace(1, 21, &frames([21], 1)).unwrap();
    outbox.sealed(mark(21, 1)).unwrap();
    drop(outbox);
    assert!(open(folder.path()).unsealed.is_empty());
}

/// The fault: giving a chain up half-way leaves two chains to go on with, or none.
#[test]
fn another_chain_counts_once_its_id_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = open(folder.path()).outbox;
    let old = outbox.chain();
    outbox.keep(&frames(7..9, 2)).unwrap();
    let id_file = folder.path().join("0");
    let old_id = fs::read(&id_file).unwrap();
    let old_folder = chain_folder(folder.path());
    let old_bytes = fs::read(old_folder.join(format!("{:020}.seg", 1))).unwrap();
    let new = ChainId([8; 16]);
    outbox.begin_chain(new, 3, &frames(0..2, 3)).unwrap();
    assert_eq!((outbox.chain(), outbox.mark()), (new, None));
    drop(outbox);
    let opened = open(folder.path());
    assert_eq!((opened.outbox.chain(), opened.unsealed), (new, frames(0..2, 3)));
    assert!(!old_folder.exists());
    // A crash before the id was written: the old one goes on, and nothing is left of the new.
    fs::create_dir(&old_folder).unwrap();
    fs::write(old_folder.join(format!("{:020}.seg", 1)), old_bytes).unwrap();
    fs::write(&id_file, old_id).unwrap();
    let opened = open(folder.path());
    assert_eq!((opened.outbox.chain(), opened.unsealed), (old, frames(7..9, 2)));
    assert!(!folder.path().join("frames/0").join(new.to_string()).exists());
}

/// The fault: frames that were accepted are forgotten because a small file beside them is gone, or a damaged one is believed.
#[test]
fn the_small_files_may_be_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut outbox = open(folder.path()).outbox;
    let chain = outbox.chain();
    outbox.keep(&frames(0..4, 0)).unwrap();
    outbox.sealed(mark(1, 0)).unwrap();
    drop(outbox);
    fs::remove_file(folder.path().join("0")).unwrap();
    let opened = open(folder.path());
    assert_eq!((opened.outbox.chain(), opened.is_new), (chain, false));
    assert_eq!(opened.unsealed, frames(2..4, 0));
    let sealed = chain_folder(folder.path()).join("sealed");
    let whole = fs::read(&sealed).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&sealed, &flipped).unwrap();
        let opened = open(folder.path());
        assert_eq!(opened.unsealed, frames(0..4, 0), "bit {bit}");
        assert_eq!(
            (opened.outbox.mark(), opened.notices.len()),
            (None, 1),
            "bit {bit}"
        );
    }
    fs::write(folder.path().join("0"), "no id\n").unwrap();
    let refused = ShardOutbox::open(folder.path(), 0);
    assert!(matches!(refused, Err(LedgerError::Damaged { .. })));
}

/// The fault: any other order of keeping, replacing, sealing and restarting than the ones above loses or doubles a frame.
#[test]
fn a_model_agrees() {
    for seed in 0..crate::support::rounds(40) {
        let folder = tempfile::tempdir().unwrap();
        let mut rng = Rng(seed);
        let mut outbox = open(folder.path()).outbox;
        let (mut model, mut next, mut round): (Vec<KeptFrame>, u64, u64) = (Vec::new(), 0, 0);
        for _ in 0..60 {
            match rng.below(5) {
                0 | 1 => {
                    let new = frames(next..next + 1 + rng.below(3), round);
                    outbox.keep(&new).unwrap();
                    next += new.len() as u64;
                    model.extend(new);
                }
                2 if !model.is_empty() => {
                    round += 1;
                    let from = model[0].number;
                    let left = rng.below(model.len() as u64 + 1);
                    model = frames(from..from + left, round);
                    outbox.replace(round, from, &model).unwrap();
                    next = from + left;
                }
                3 if !model.is_empty() => {
                    let count = 1 + usize::try_from(rng.below(model.len() as u64)).unwrap();
                    let last = model.drain(..count).next_back().unwrap();
                    outbox.sealed(mark(last.number, round)).unwrap();
                }
                _ => {
                    drop(outbox);
                    let opened = open(folder.path());
                    assert_eq!(opened.unsealed, model, "seed {seed}");
                    assert_eq!((opened.round, opened.notices.len()), (round, 0), "seed {seed}");
                    outbox = opened.outbox;
                }
            }
        }
    }
}

/// The fault: two users of one outbox cut the same numbers.
#[test]
fn an_outbox_is_locked_against_a_second_user() {
    let folder = tempfile::tempdir().unwrap();
    let held = outbox::lock(folder.path()).unwrap();
    let second = outbox::lock(folder.path());
    assert!(second.is_err_and(|error| error.is_locked()));
    drop(held);
    assert!(outbox::lock(folder.path()).is_ok());
}
