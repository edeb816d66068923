//! Every checkpoint that hosts publish, looked at all the time; and archives held against each other.
//!
//! In scope: that no two of them contradict each other, whoever signed. Out of scope: what the entries say.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sharetrail_ledger::Ledger;
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::tiles::{Tile, TileReader};
use sharetrail_proof::tree::{prove_consistency, root_of, verify_consistency};

use crate::process::wait_for;
use crate::site::{Host, Serve};

const TICK: Duration = Duration::from_millis(3);

/// A checkpoint that a host published, as a note.
struct Published {
    shard: u32,
    note: String,
}

/// Looks at the published checkpoints of some hosts until it is ended.
pub(crate) struct Watch {
    /// The folder of the logs: those of the records, or those of the maps.
    logs: &'static str,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<Published>>>,
}

impl Watch {
    pub(crate) fn start(hosts: &[&Host], shards: u32) -> Self {
        Self::of("log", hosts, shards)
    }

    /// Looks at the map logs' checkpoints.
    pub(crate) fn start_maps(hosts: &[&Host], shards: u32) -> Self {
        Self::of("map", hosts, shards)
    }

    fn of(logs: &'static str, hosts: &[&Host], shards: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let place = |host: &&Host, shard: u32| host.root.join(format!("{logs}/{shard}/checkpoint"));
        let places: Vec<(u32, PathBuf)> = hosts
            .iter()
            .flat_map(|host| (0..shards).map(move |shard| (shard, place(host, shard))))
            .collect();
        let flag = Arc::clone(&stop);
        let thread = Some(thread::spawn(move || look(&places, &flag)));
        Self { logs, stop, thread }
    }

    /// Asserts that all that was seen leads to what this ledger's folder holds now.
    #[track_caller]
    pub(crate) fn all_lead_to(mut self, ledger: &Ledger) {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().expect("it is ended once");
        let seen = thread.join().expect("whoever looks does not fail");
        assert!(!seen.is_empty(), "nothing was published");
        lead_to(ledger, self.logs, &seen);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // After a test that failed nobody asks what was seen.
        self.stop.store(true, Ordering::Release);
    }
}

fn look(places: &[(u32, PathBuf)], stop: &AtomicBool) -> Vec<Published> {
    let mut last: Vec<String> = vec![String::new(); places.len()];
    let mut seen = Vec::new();
    loop {
        let is_last = stop.load(Ordering::Acquire);
        for ((shard, path), last) in places.iter().zip(&mut last) {
            // A host's folder may be away, or not be there yet.
            let Ok(note) = fs::read_to_string(path) else {
                continue;
            };
            if note != *last {
                last.clone_from(&note);
                seen.push(Published { shard: *shard, note });
            }
        }
        if is_last {
            return seen;
        }
        thread::sleep(TICK);
    }
}

#[track_caller]
fn lead_to(ledger: &Ledger, logs: &str, seen: &[Published]) {
    let policy = ledger.policy().expect("it has a policy");
    let mut roots: BTreeMap<(u32, TreeSize), Hash> = BTreeMap::new();
    for Published { shard, note } in seen {
        let opened = policy.open(note).expect("every checkpoint is signed");
        let root = *roots.entry((*shard, opened.size())).or_insert(*opened.root());
        assert_eq!(root, *opened.root(), "two histories of shard {shard} were signed");
    }
    for shard in 0..ledger.shards() {
        let folder = ledger.root().join(logs).join(shard.to_string());
        let note = fs::read_to_string(folder.join("checkpoint")).expect("the shard has a log");
        let last = policy.open(&note).expect("the last checkpoint is signed");
        let tiles = TileReader::new(last.size(), |tile| read_tile(&folder, tile));
        for ((_, size), root) in roots.range((shard, TreeSize(0))..(shard + 1, TreeSize(0))) {
            let proof = prove_consistency(&tiles, *size, last.size()).expect("the log is not shorter");
            verify_consistency(*size, root, last.size(), last.root(), &proof).expect("the log only grew");
        }
    }
}

/// A tile as it is served; the full one may have replaced it meanwhile.
fn read_tile(folder: &Path, tile: Tile) -> io::Result<Vec<u8>> {
    let read = |tile: Tile| fs::read(folder.join(tile.to_string()));
    let mut bytes = read(tile).or_else(|_| read(tile.full()))?;
    bytes.truncate(tile.byte_len());
    Ok(bytes)
}

/// Waits until the hosts' archives and vaults have grown to the same size, then asserts that the archives are the same,
/// leaf by leaf.
#[track_caller]
pub(crate) fn become_the_same(one: (&Host, &Serve), other: (&Host, &Serve)) {
    let (hosts, serves) = ([one.0, other.0], [one.1, other.1]);
    let ledgers = hosts.map(Host::ledger);
    let state = |ledger: &Ledger| -> (u64, Vec<(TreeSize, Hash)>) {
        let of_shard = |shard| {
            let reader = ledger.reader(shard).expect("the shard has an archive");
            (reader.size(), reader.checkpoint().root)
        };
        let customers = ledger.vault().expect("the host has a vault").customers();
        (customers, (0..ledger.shards()).map(of_shard).collect())
    };
    let tails = || serves.map(|serve| serve.process.tail()).concat();
    wait_for("both hosts are level", tails, || {
        (state(&ledgers[0]) == state(&ledgers[1])).then_some(())
    });
    are_the_same(hosts[0], hosts[1]);
}

/// Asserts that two archives hold the same bytes under the same checkpoints, and what those commit to.
#[track_caller]
pub(crate) fn are_the_same(one: &Host, other: &Host) {
    let (one, other) = (one.ledger(), other.ledger());
    for shard in 0..one.shards() {
        let readers = [&one, &other].map(|ledger| ledger.reader(shard).expect("the shard has an archive"));
        assert_eq!(readers[0].note(), readers[1].note(), "shard {shard}");
        let leaves = readers.each_ref().map(|reader| {
            let mut leaves = Vec::new();
            let visit = &mut |_: LeafIndex, entry: &[u8], sealed: &[u8]| {
                leaves.push((entry.to_vec(), sealed.to_vec()));
                ControlFlow::Continue(())
            };
            reader.scan(LeafIndex(0), visit).expect("the archive can be read");
            leaves
        });
        assert_eq!(leaves[0].len() as u64, readers[0].size().0, "shard {shard}");
        let differs = leaves[0]
            .iter()
            .zip(&leaves[1])
            .position(|(one, other)| one != other);
        assert_eq!(
            (differs, leaves[0].len()),
            (None, leaves[1].len()),
            "shard {shard}"
        );
        let hashes: Vec<LeafHash> = leaves[0].iter().map(|(entry, _)| LeafHash::of(entry)).collect();
        assert_eq!(root_of(&hashes), readers[0].checkpoint().root, "shard {shard}");
    }
}
