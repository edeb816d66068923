//! The customer map, computed again beside the fold of the record log, and held to each leaf of the map log.
//!
//! In scope: which leaf stands under which label, the map at each map leaf, order of the map leaves. Out of scope: the
//! map's trie (the ledger's crate), the record log's rules (`fold`). Trust: the map is computed from the record log's
//! entries alone; what the map log says is only compared.
//!
//! A map leaf whose record checkpoint or root is wrong makes those behind it wrong too, so each of these faults is told
//! where it begins, and again only where it begins again.

use serde::{Deserialize, Serialize};
use sharetrail_ledger::map::MapTree;
use sharetrail_proof::entry::{ERASURE, EVENT, EVENT_BYTES, Entry, REGISTRY};
use sharetrail_proof::hash::{Hash, LeafHash, TreeSize};
use sharetrail_proof::map::MapLeaf;
use sharetrail_proof::name::Label;
use sharetrail_proof::tree::CompactRange;

use super::error::AuditError;
use super::fault::{Fault, FaultKind, Faults, LogKind};
use super::leaves::Leaves;

/// Leaves of labels that are kept until the map takes them: 32 MiB.
const PENDING_MAX: usize = 500_000;

/// Seconds by which the operator's clock may be ahead of the auditor's.
const AHEAD_SECONDS_MAX: u64 = 600;

/// The label whose leaves an entry counts among; the mapper's rule.
fn label_of(entry: &[u8]) -> Option<Label> {
    match *entry.first()? {
        EVENT if entry.len() == EVENT_BYTES => entry[17..].first_chunk::<32>().copied().map(Label),
        REGISTRY | ERASURE => Entry::parse(entry).ok()?.label(),
        _ => None,
    }
}

/// What is kept of the map leaves that were passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Passed {
    /// Record-log size of the last one.
    pub(crate) size: u64,
    /// Its time.
    pub(crate) time: u64,
    /// Whether its checkpoint was wrong, its root, its number of labels.
    pub(crate) wrong: [bool; 3],
}

/// The map log's side of an audit.
pub(crate) struct Mapped<'a> {
    pub(crate) tree: MapTree,
    pub(crate) leaves: Leaves<'a>,
    pending: Vec<(Label, LeafHash)>,
    pub(crate) passed: Passed,
    /// Whether the map log cannot be read any further, which was told.
    pub(crate) over: bool,
    /// What a record checkpoint must be called.
    origin: String,
    shard: u32,
    /// The latest time that a map leaf may have.
    latest: u64,
    /// Map leaves that name another record-log root than the entries give: index and what it names. They are faults unless
    /// it is the entries that are wrong.
    pub(crate) doubted: Vec<(u64, TreeSize, Hash)>,
}

impl<'a> Mapped<'a> {
    /// `now`: Unix seconds.
    pub(crate) fn new(
        shard: u32,
        origin: String,
        tree: MapTree,
        leaves: Leaves<'a>,
        passed: Passed,
        now: u64,
    ) -> Self {
        Self {
            tree,
            leaves,
            pending: Vec::new(),
            passed,
            over: false,
            origin,
            shard,
            latest: now.saturating_add(AHEAD_SECONDS_MAX),
            doubted: Vec::new(),
        }
    }

    /// Takes over an entry that the next map leaf covers.
    pub(crate) fn add(&mut self, entry: &[u8], hash: LeafHash) -> Result<(), AuditError> {
        if let Some(label) = label_of(entry) {
            self.pending.push((label, hash));
            if self.pending.len() >= PENDING_MAX {
                self.tree.apply(&mut self.pending)?;
            }
        }
        Ok(())
    }

    /// The record-log size at which the map is compared next, if any more map leaf says one that can be.
    ///
    /// `at`: the size that the record log is folded to, `end`: that of its checkpoint.
    pub(crate) fn next_stop(
        &mut self,
        at: u64,
        end: u64,
        faults: &mut Faults,
    ) -> Result<Option<u64>, AuditError> {
        while !self.over {
            let next = match self.leaves.peek()? {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(None),
                Err(broken) => {
                    let index = self.leaves.range().size().0;
                    faults.add(Fault::at(
                        self.shard,
                        LogKind::Map,
                        index,
                        broken.kind,
                        broken.what,
                    ));
                    self.over = true;
                    break;
                }
            };
            let (index, passed) = (next.index, self.passed.size);
            let (kind, what) = match &next.leaf {
                Err(why) => (FaultKind::MapLeaf, why.clone()),
                Ok(leaf) => {
                    let size = leaf.checkpoint.size.0;
                    if size > end {
                        let what = format!("it covers {size} leaves, and the record log's checkpoint {end}");
                        (FaultKind::MapAhead, what)
                    } else if size <= passed || size < at {
                        let what = format!("it covers {size} leaves, and the map leaf before it {passed}");
                        (FaultKind::MapOrder, what)
                    } else {
                        return Ok(Some(size));
                    }
                }
            };
            faults.add(Fault::at(self.shard, LogKind::Map, index, kind, what));
            self.leaves.pass();
        }
        Ok(None)
    }

    /// Compares the map leaf whose turn it is with the record log folded to the size that it names.
    pub(crate) fn compare(
        &mut self,
        record: &CompactRange,
        within_batch: bool,
        faults: &mut Faults,
    ) -> Result<(), AuditError> {
        self.tree.apply(&mut self.pending)?;
        let Ok(Some(next)) = self.leaves.peek()? else {
            return Ok(());
        };
        let (index, Ok(leaf)) = (next.index, next.leaf.clone()) else {
            return Ok(());
        };
        let mut tell =
            |kind, what: String| faults.add(Fault::at(self.shard, LogKind::Map, index, kind, what));
        if leaf.time < self.passed.time {
            let what = format!("its time is {}, before that of the map leaf before it", leaf.time);
            tell(FaultKind::MapOrder, what);
        }
        // Times do not fall, so those behind it are to come too.
        if leaf.time > self.latest && self.passed.time <= self.latest {
            let what = format!(
                "its time is {}, more than ten minutes after that of the audit",
                leaf.time
            );
            tell(FaultKind::MapOrder, what);
        }
        if leaf.checkpoint.origin != self.origin {
            let what = format!(
                "it names the log {:?}, not {}",
                leaf.checkpoint.origin, self.origin
            );
            tell(FaultKind::MapRecord, what);
        }
        if within_batch {
            let what = "the record log has no checkpoint within a batch";
            tell(FaultKind::MapRecord, what.to_owned());
        }
        let before = self.passed.wrong;
        let found = self.differences(record, &leaf);
        if found[0] && !before[0] {
            let checkpoint = &leaf.checkpoint;
            self.doubted.push((index, checkpoint.size, checkpoint.root));
        }
        if found[1] && !before[1] {
            let (sealed, computed) = (leaf.root, self.tree.root());
            let what = format!("the map's root is {computed}, and {sealed} was sealed");
            tell(FaultKind::MapRoot, what);
        }
        if found[2] && !before[2] {
            let (sealed, computed) = (leaf.labels, self.tree.labels());
            let what = format!("the map has {computed} labels, and {sealed} was sealed");
            tell(FaultKind::MapLabels, what);
        }
        self.passed = Passed {
            size: leaf.checkpoint.size.0,
            time: leaf.time,
            wrong: found,
        };
        self.leaves.pass();
        Ok(())
    }

    /// Whether checkpoint, root and number of labels of a map leaf are wrong.
    fn differences(&self, record: &CompactRange, leaf: &MapLeaf) -> [bool; 3] {
        [
            record.root() != leaf.checkpoint.root,
            self.tree.root() != leaf.root,
            self.tree.labels() != leaf.labels,
        ]
    }
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::entry::{ErasureEntry, EventEntry};

    use super::*;

    /// The fault: a leaf counts for another label than in the ledger's own map.
    #[test]
    fn labels_are_those_that_entries_parse_to() {
        let label = Label([9; 32]);
        let event = EventEntry {
            id: [1; 16],
            label,
            commitment: Hash([2; 32]),
        };
        let erasure = ErasureEntry { label, generation: 3 };
        let (event, erasure) = (event.to_bytes(), erasure.to_bytes());
        let cases: [&[u8]; 7] = [
            &event,
            &event[..80],
            &erasure,
            &[],
            &[EVENT],
            &[3, 1],
            &[REGISTRY; 40],
        ];
        for entry in cases {
            let expected = Entry::parse(entry).ok().and_then(|entry| entry.label());
            assert_eq!(label_of(entry), expected, "{entry:?}");
        }
    }
}
