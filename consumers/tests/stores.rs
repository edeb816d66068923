//! The conformance suite of the stores: every case runs on every engine.
//!
//! In scope: what [`Store`] promises, and how its errors answer. Out of scope: crashes and losses of power, which no
//! store promises to survive; projections are rebuilt from the log instead.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sharetrail_consumers::store::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Store, StoreError, StoreKind, open};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;
type Model = BTreeMap<Vec<u8>, Vec<u8>>;

macro_rules! on_every_engine {
    ($($case:ident),+ $(,)?) => {
        mod on_sled {
            $(#[test] fn $case() { super::$case(super::StoreKind::Sled); })+
        }
        mod on_fjall {
            $(#[test] fn $case() { super::$case(super::StoreKind::Fjall); })+
        }
    };
}

on_every_engine!(
    a_row_is_read_written_overwritten_and_removed,
    an_empty_value_is_not_a_missing_row,
    the_later_of_two_rows_with_one_key_wins,
    long_keys_and_large_values_come_back_whole,
    lengths_beyond_the_limits_are_refused,
    a_scan_shows_rows_in_key_order,
    a_scan_stops_at_the_boundaries_of_its_prefix,
    a_scan_ends_when_the_visitor_breaks,
    reopening_after_a_flush_keeps_every_row,
    a_second_opening_is_locked,
    a_folder_of_another_format_is_corrupt,
    a_file_in_the_folders_place_is_neither_locked_nor_corrupt,
    fifty_thousand_rows_are_all_counted,
    threads_share_a_store,
    a_store_behaves_like_a_sorted_map,
);

fn open_in(kind: StoreKind, folder: &Path) -> Box<dyn Store> {
    let store = open(kind, folder).unwrap();
    assert_eq!(store.kind(), kind);
    store
}

fn refusal(kind: StoreKind, folder: &Path) -> StoreError {
    match open(kind, folder) {
        Ok(_) => panic!("{kind} opened {}", folder.display()),
        Err(error) => error,
    }
}

fn put_all(store: &dyn Store, rows: &[(Vec<u8>, Vec<u8>)]) {
    let mut rows = rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    store.put(&mut rows).unwrap();
}

fn put_keys(store: &dyn Store, keys: &[&[u8]]) {
    store.put(&mut keys.iter().map(|key| (*key, *key))).unwrap();
}

fn scanned(store: &dyn Store, prefix: &[u8]) -> Rows {
    let mut rows = Rows::new();
    let mut keep = |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    store.scan(prefix, &mut keep).unwrap();
    rows
}

fn scanned_keys(store: &dyn Store, prefix: &[u8]) -> Vec<Vec<u8>> {
    scanned(store, prefix).into_iter().map(|(key, _)| key).collect()
}

/// Rows whose keys are `first` to `last`, big-endian, so that their order is the numbers' order.
fn numbered(first: u64, last: u64) -> Rows {
    let row = |number: u64| {
        (
            number.to_be_bytes().to_vec(),
            format!("value of {number}").into_bytes(),
        )
    };
    (first..=last).map(row).collect()
}

fn a_row_is_read_written_overwritten_and_removed(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    assert_eq!(store.get(b"customer").unwrap(), None);
    store.remove(b"customer").unwrap();

    store.put_one(b"customer", b"first").unwrap();
    assert_eq!(store.get(b"customer").unwrap(), Some(b"first".to_vec()));
    store.put_one(b"customer", b"second, longer").unwrap();
    assert_eq!(store.get(b"customer").unwrap(), Some(b"second, longer".to_vec()));
    assert_eq!(store.get(b"custome").unwrap(), None);
    assert_eq!(store.get(b"customers").unwrap(), None);

    store.remove(b"customer").unwrap();
    assert_eq!(store.get(b"customer").unwrap(), None);
    assert_eq!(scanned(&*store, b""), Rows::new());
}

fn an_empty_value_is_not_a_missing_row(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    store.put_one(b"mark", b"").unwrap();
    assert_eq!(store.get(b"mark").unwrap(), Some(Vec::new()));
    assert_eq!(scanned(&*store, b""), [(b"mark".to_vec(), b"".to_vec())]);
}

fn the_later_of_two_rows_with_one_key_wins(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    let rows = [
        (b"k".to_vec(), b"early".to_vec()),
        (b"k".to_vec(), b"late".to_vec()),
    ];
    put_all(&*store, &rows);
    assert_eq!(scanned(&*store, b"k"), [(b"k".to_vec(), b"late".to_vec())]);
    store.flush().unwrap();
    drop(store);
    let store = open_in(kind, folder.path());
    assert_eq!(store.get(b"k").unwrap(), Some(b"late".to_vec()));
}

fn long_keys_and_large_values_come_back_whole(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    let rows: Rows = (0..20_u8)
        .map(|number| {
            let mut key = vec![0xab_u8; 63];
            key.push(number);
            let byte = |at: u32| (at % 251).to_le_bytes()[0] ^ number;
            (key, (0..100 * 1_024).map(byte).collect())
        })
        .collect();
    put_all(&*store, &rows);
    store.put_one(&[0xff; MAX_KEY_BYTES], b"longest").unwrap();
    store.flush().unwrap();
    drop(store);

    let store = open_in(kind, folder.path());
    assert!(scanned(&*store, &[0xab; 63]) == rows, "large values differ");
    assert_eq!(store.get(&rows[7].0).unwrap().as_ref(), Some(&rows[7].1));
    assert_eq!(
        store.get(&[0xff; MAX_KEY_BYTES]).unwrap(),
        Some(b"longest".to_vec())
    );
}

fn lengths_beyond_the_limits_are_refused(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    let (long_key, long_value) = (vec![1_u8; MAX_KEY_BYTES + 1], vec![1_u8; MAX_VALUE_BYTES + 1]);
    let refusals = [
        store.put_one(b"", b"value").unwrap_err(),
        store.put_one(&long_key, b"value").unwrap_err(),
        store.put_one(b"key", &long_value).unwrap_err(),
        store.get(b"").unwrap_err(),
        store.get(&long_key).unwrap_err(),
        store.remove(b"").unwrap_err(),
        store.remove(&long_key).unwrap_err(),
    ];
    for error in refusals {
        assert!(matches!(error, StoreError::RowSize { .. }), "{error:?}");
        assert!(!error.is_locked() && !error.is_corrupt());
    }
    assert_eq!(scanned(&*store, b""), Rows::new());
    assert_eq!(scanned(&*store, &long_key), Rows::new());
}

fn a_scan_shows_rows_in_key_order(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    let keys: [&[u8]; 6] = [b"b", b"\xff\xff", b"a", b"\x00", b"ab", b"\xff"];
    put_keys(&*store, &keys);
    let mut sorted: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    sorted.sort();
    assert_eq!(scanned_keys(&*store, b""), sorted);
}

fn a_scan_stops_at_the_boundaries_of_its_prefix(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    let keys: [&[u8]; 9] = [
        b"a",
        b"a\x00",
        b"a\xff",
        b"a\xff\xff",
        b"b",
        b"\xfe\xff",
        b"\xff",
        b"\xff\x00",
        b"\xff\xff",
    ];
    put_keys(&*store, &keys);

    let expected = |prefix: &[u8]| -> Vec<Vec<u8>> {
        keys.iter()
            .filter(|key| key.starts_with(prefix))
            .map(|key| key.to_vec())
            .collect()
    };
    let prefixes: [&[u8]; 9] = [
        b"",
        b"a",
        b"a\x00",
        b"a\xff",
        b"b",
        b"\xfe",
        b"\xff",
        b"\xff\xff",
        b"\xff\xff\xff",
    ];
    for prefix in prefixes {
        assert_eq!(
            scanned_keys(&*store, prefix),
            expected(prefix),
            "prefix {prefix:02x?}"
        );
    }
    assert_eq!(scanned_keys(&*store, b"a").len(), 4, "the prefix is itself a key");
    assert_eq!(scanned_keys(&*store, b"c"), Vec::<Vec<u8>>::new());
}

fn a_scan_ends_when_the_visitor_breaks(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    put_all(&*store, &numbered(0, 99));
    let mut seen = 0_u64;
    let mut stop_at_third = |key: &[u8], _: &[u8]| {
        assert_eq!(key, seen.to_be_bytes());
        seen += 1;
        if seen == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    store.scan(b"", &mut stop_at_third).unwrap();
    assert_eq!(seen, 3);
}

fn reopening_after_a_flush_keeps_every_row(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    put_all(&*store, &numbered(0, 1_999));
    store.flush().unwrap();
    drop(store);

    let store = open_in(kind, folder.path());
    assert_eq!(scanned(&*store, b""), numbered(0, 1_999));
    store.remove(&0_u64.to_be_bytes()).unwrap();
    put_all(&*store, &numbered(2_000, 2_999));
    store.flush().unwrap();
    drop(store);

    assert_eq!(scanned(&*open_in(kind, folder.path()), b""), numbered(1, 2_999));
}

fn a_second_opening_is_locked(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    store.put_one(b"key", b"value").unwrap();
    let error = refusal(kind, folder.path());
    assert!(error.is_locked(), "{error:?}");
    assert!(!error.is_corrupt());

    assert_eq!(
        store.get(b"key").unwrap(),
        Some(b"value".to_vec()),
        "the refusal disturbed the first opening"
    );
    store.flush().unwrap();
    drop(store);
    assert_eq!(
        open_in(kind, folder.path()).get(b"key").unwrap(),
        Some(b"value".to_vec())
    );
}

fn a_folder_of_another_format_is_corrupt(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    drop(open_in(kind, folder.path()));
    let format = match kind {
        StoreKind::Sled => "conf",
        StoreKind::Fjall => "version",
    };
    let format = folder.path().join(format);
    assert!(format.is_file(), "the engine keeps its format elsewhere now");
    std::fs::write(format, "written by something else altogether").unwrap();

    let error = refusal(kind, folder.path());
    assert!(error.is_corrupt(), "{error:?}");
    assert!(!error.is_locked());
}

fn a_file_in_the_folders_place_is_neither_locked_nor_corrupt(kind: StoreKind) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = refusal(kind, file.path());
    assert!(matches!(error, StoreError::Engine { .. }), "{error:?}");
    assert!(!error.is_locked() && !error.is_corrupt());
}

fn fifty_thousand_rows_are_all_counted(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    put_all(&*store, &numbered(0, 49_999));
    let mut count = 0_u64;
    let mut visit = |key: &[u8], _: &[u8]| {
        assert_eq!(key, count.to_be_bytes());
        count += 1;
        ControlFlow::Continue(())
    };
    store.scan(b"", &mut visit).unwrap();
    assert_eq!(count, 50_000);

    // Of eight bytes the last two change within a prefix of six: numbers 0 to 65,535 share the first one.
    assert_eq!(scanned(&*store, &[0; 6]).len(), 50_000);
    assert_eq!(scanned(&*store, &[0, 0, 0, 0, 0, 0, 1]).len(), 256);
}

fn threads_share_a_store(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let store = open_in(kind, folder.path());
    let shared = &*store;
    std::thread::scope(|scope| {
        for writer in 0..4_u64 {
            scope.spawn(move || {
                for row in numbered(writer * 500, writer * 500 + 499) {
                    shared.put_one(&row.0, &row.1).unwrap();
                    assert_eq!(shared.get(&row.0).unwrap(), Some(row.1));
                }
            });
        }
    });
    assert_eq!(scanned(shared, b""), numbered(0, 1_999));
}

/// One step of the property test. Keys come from few bytes, so that steps meet the same rows.
#[derive(Clone, Debug)]
enum Step {
    Put(Rows),
    Remove(Vec<u8>),
    Get(Vec<u8>),
    Scan(Vec<u8>),
    Reopen,
}

fn any_key(shortest: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0x00_u8, 0x61, 0xfe, 0xff]), shortest..5)
}

fn any_step() -> impl Strategy<Value = Step> {
    let small = prop::collection::vec(any::<u8>(), 0..40);
    let large = prop::collection::vec(any::<u8>(), 4_000..6_000);
    let value = prop_oneof![15 => small, 1 => large];
    let rows = prop::collection::vec((any_key(1), value), 1..12);
    prop_oneof![
        8 => rows.prop_map(Step::Put),
        4 => any_key(1).prop_map(Step::Remove),
        4 => any_key(1).prop_map(Step::Get),
        4 => any_key(0).prop_map(Step::Scan),
        1 => Just(Step::Reopen),
    ]
}

fn a_store_behaves_like_a_sorted_map(kind: StoreKind) {
    let config = ProptestConfig {
        cases: 24,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    };
    let steps = prop::collection::vec(any_step(), 1..60);
    let outcome = TestRunner::new(config).run(&steps, |steps| {
        compare_with_model(kind, &steps);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{kind}: {error}");
    }
}

fn compare_with_model(kind: StoreKind, steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_in(kind, folder.path());
    let mut model = Model::new();
    for step in steps {
        match step {
            Step::Put(rows) => {
                put_all(&*store, rows);
                model.extend(rows.iter().cloned());
            }
            Step::Remove(key) => {
                store.remove(key).unwrap();
                model.remove(key);
            }
            Step::Get(key) => assert_eq!(store.get(key).unwrap().as_ref(), model.get(key)),
            Step::Scan(prefix) => assert_eq!(scanned(&*store, prefix), rows_of(&model, prefix)),
            Step::Reopen => {
                store.flush().unwrap();
                drop(store);
                store = open_in(kind, folder.path());
            }
        }
    }
    assert_eq!(scanned(&*store, b""), rows_of(&model, b""));
}

fn rows_of(model: &Model, prefix: &[u8]) -> Rows {
    let rows = model.iter().filter(|(key, _)| key.starts_with(prefix));
    rows.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[test]
fn a_kind_is_read_from_its_own_name_only() {
    for kind in StoreKind::ALL {
        assert_eq!(kind.to_string().parse::<StoreKind>().unwrap(), kind);
    }
    assert_eq!(StoreKind::default(), StoreKind::Sled);
    for text in ["", "Sled", "sled ", "rocksdb"] {
        let error = text.parse::<StoreKind>().unwrap_err();
        assert!(
            matches!(&error, StoreError::UnknownKind { found } if found == text),
            "{error:?}"
        );
    }
}
