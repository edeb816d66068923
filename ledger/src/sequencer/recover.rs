//! Taking up a shard after a stop: what is on record, whether it is all there, and whether it may be signed on.
//!
//! In scope: cutting off what was never registered; folding the last leaves again (which also writes their tiles anew);
//! refusing to go on from less than was ever signed. Out of scope: bringing missing history back ([`crate::restore`]).
//! Trust: the archive is believed only where it gives the registered root.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sharetrail_proof::acceptance::{Accepted, ChainHead, LogState, Verdict};
use sharetrail_proof::batch::Batch;
use sharetrail_proof::entry::{EVENT, Entry, Genesis};
use sharetrail_proof::frame::Frame;
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::name::ChainId;
use sharetrail_proof::note::{Note, NoteSigner};
use sharetrail_proof::tree::range_at;
use tokio::sync::watch;

use super::{Alone, Answers, Observer, Sequencer, ShardView, fresh_cursor, note_text, stated};
use crate::archive::{Leaf, LeafFiles, LeafWriter, TreeWriter, batch_in, proving, scan_batches, tile_reader};
use crate::bus::{StreamId, StreamSeq};
use crate::error::LedgerError;
use crate::files;
use crate::folder::Folder;
use crate::register::{OutsideCopy, Register};

/// What a shard is taken up from.
pub(crate) struct Sources<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) outside: PathBuf,
    pub(crate) shard: u32,
    pub(crate) origin: String,
    pub(crate) signer: NoteSigner,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) stream: StreamId,
    /// Where the shard is watched already, if it is; otherwise a new place is made.
    pub(crate) view: Option<watch::Sender<Arc<ShardView>>>,
}

/// A log that was folded from its archive, and gives the registered root.
struct Folded {
    state: LogState,
    tree: TreeWriter,
    snapshot_size: u64,
    batches: BTreeMap<ChainId, Vec<(u64, LeafIndex)>>,
}

/// Takes a shard up. Says what was healed on the way. A shard that may not be signed on is an error, and untouched but
/// for leaves that were never registered.
pub(crate) fn recover(sources: Sources<'_>, notices: &mut Vec<String>) -> Result<Sequencer, LedgerError> {
    let taken = take_up(sources, notices, true)?;
    let mut sequencer = taken.sequencer;
    if taken.copy.as_deref() != Some(&taken.checkpoint) {
        sequencer.outside.keep(&taken.checkpoint)?;
    }
    sequencer.publish(&taken.checkpoint)?;
    Ok(sequencer)
}

/// Takes a shard up and publishes nothing yet: other hosts are asked first. See [`Sequencer::publish_again`].
pub(crate) fn recover_quietly(
    sources: Sources<'_>,
    notices: &mut Vec<String>,
) -> Result<Sequencer, LedgerError> {
    Ok(take_up(sources, notices, true)?.sequencer)
}

/// Takes a shard up that may hold less than was signed, to bring the rest back. It publishes nothing. All leaves are
/// folded again, so that damage anywhere is found, and tiles that are not as they should be are made anew.
pub(crate) fn recover_behind(
    sources: Sources<'_>,
    notices: &mut Vec<String>,
) -> Result<Sequencer, LedgerError> {
    Ok(take_up(sources, notices, false)?.sequencer)
}

struct TakenUp {
    sequencer: Sequencer,
    checkpoint: String,
    copy: Option<String>,
}

fn take_up(sources: Sources<'_>, notices: &mut Vec<String>, to_sign: bool) -> Result<TakenUp, LedgerError> {
    let Sources {
        folder,
        outside,
        shard,
        origin,
        signer,
        observer,
        stream,
        view,
    } = sources;
    let (register, head) = Register::open(&folder.register(shard))?;
    let path = folder.register(shard).join("head");
    let head = head.ok_or_else(|| LedgerError::damaged(&path, None, "no checkpoint was ever registered"))?;
    let (size, root) =
        stated(&head.checkpoint).ok_or_else(|| LedgerError::damaged(&path, None, "not a checkpoint"))?;
    let (outside, copy) = OutsideCopy::open(&outside, shard)?;
    let published =
        files::read_if_there(&folder.checkpoint(shard))?.and_then(|note| String::from_utf8(note).ok());
    let published = published.as_deref().and_then(note_text);
    let known = [
        ("the published checkpoint", published.as_deref()),
        ("the copy outside the folder", copy.as_deref()),
    ];
    if to_sign {
        not_beyond(shard, size, &known)?;
    }
    if copy.is_none() {
        notices.push(format!(
            "shard {shard}: no copy of the last checkpoint outside the folder; made anew"
        ));
    }
    let leaves = cut(folder, shard, size, notices)?;
    let Folded {
        state,
        tree,
        snapshot_size,
        batches,
    } = fold(folder, shard, &register, size, root, to_sign, notices)?;
    if to_sign {
        extends(folder, shard, size, root, &known)?;
    }
    let view = view.unwrap_or_else(|| watch::channel(Arc::new(empty_view(&head.checkpoint))).0);
    let mut sequencer = Sequencer {
        shard,
        folder: folder.clone(),
        origin,
        signer,
        state,
        leaves,
        tree,
        register,
        outside,
        cursor: head.cursor.unwrap_or_else(|| fresh_cursor(stream)),
        rejected: BTreeMap::new(),
        pending_batches: batches,
        snapshot_size,
        snapshot: None,
        observer,
        view,
        gate: Box::new(Alone),
        answers: Answers::default(),
        passes_gaps: false,
        midway: false,
        erased: Vec::new(),
    };
    sequencer.note_batches()?;
    sequencer.mend_chains(notices)?;
    Ok(TakenUp {
        sequencer,
        checkpoint: head.checkpoint,
        copy,
    })
}

impl Sequencer {
    /// Notes anew where all batches are, if what was noted does not reach every chain's head.
    fn mend_chains(&mut self, notices: &mut Vec<String>) -> Result<(), LedgerError> {
        let reaches = |(chain, head): (ChainId, &ChainHead)| {
            self.register
                .batch(chain, head.number)
                .is_ok_and(|index| index == head.index)
        };
        if self.state.heads().all(reaches) {
            return Ok(());
        }
        notices.push(format!(
            "shard {}: the list of where batches are was damaged; made anew",
            self.shard
        ));
        let mut found: BTreeMap<ChainId, Vec<(u64, LeafIndex)>> = BTreeMap::new();
        let leaves = LeafFiles::new(&self.folder.sealed(self.shard));
        leaves.scan(LeafIndex(1), self.tree.size(), &mut |index, entry, _| {
            if let Some(batch) = batch_in(entry) {
                found.entry(batch.chain).or_default().push((batch.number, index));
            }
            ControlFlow::Continue(())
        })?;
        self.pending_batches = found;
        self.note_batches()
    }
}

/// What is known of a shard of which nothing was published yet by this process.
pub(crate) fn empty_view(text: &str) -> ShardView {
    let (size, root) = stated(text).unwrap_or((TreeSize(0), Hash::empty_root()));
    ShardView {
        note: String::new(),
        checkpoint: sharetrail_proof::checkpoint::Checkpoint::new(String::new(), size, root),
        events: 0,
        seq: StreamSeq(0),
        heads: BTreeMap::new(),
        rejected: BTreeMap::new(),
        halted: None,
        trouble: None,
    }
}

/// Refuses to go on when a larger checkpoint is known to have been decided on.
fn not_beyond(shard: u32, have: TreeSize, known: &[(&str, Option<&str>)]) -> Result<(), LedgerError> {
    for (from, text) in known {
        let Some((size, _)) = text.and_then(stated) else {
            continue;
        };
        if size > have {
            return Err(LedgerError::RolledBack {
                shard,
                known: size.0,
                have: have.0,
                from: (*from).into(),
            });
        }
    }
    Ok(())
}

/// Refuses to go on when another history was signed.
fn extends(
    folder: &Folder,
    shard: u32,
    size: TreeSize,
    root: Hash,
    known: &[(&str, Option<&str>)],
) -> Result<(), LedgerError> {
    let log = folder.log(shard);
    let tiles = tile_reader(&log, size);
    for (from, text) in known {
        let Some((old, signed)) = text.and_then(stated) else {
            continue;
        };
        let found = if old == size {
            root
        } else {
            range_at(&tiles, old)
                .map_err(|error| proving(&log, error))?
                .root()
        };
        if found != signed {
            return Err(LedgerError::Forked {
                shard,
                size: old.0,
                known: signed,
                found,
                from: (*from).into(),
            });
        }
    }
    Ok(())
}

/// Drops leaves beyond the registered size, and the tiles that may have been written for them.
fn cut(
    folder: &Folder,
    shard: u32,
    size: TreeSize,
    notices: &mut Vec<String>,
) -> Result<LeafWriter, LedgerError> {
    let sealed = folder.sealed(shard);
    let beyond = LeafFiles::count_beyond(&sealed, size)?;
    if beyond > 0 {
        notices.push(format!(
            "shard {shard}: dropped {beyond} leaves that were never registered; they are read again"
        ));
    }
    let writer = LeafWriter::open(&sealed, size)?;
    TreeWriter::remove_beyond(&folder.log(shard), size, TreeSize(size.0 + beyond))?;
    Ok(writer)
}

/// Folds the log from the last snapshot on; from the beginning, if what the snapshot builds on is not all there.
fn fold(
    folder: &Folder,
    shard: u32,
    register: &Register,
    size: TreeSize,
    root: Hash,
    from_snapshot: bool,
    notices: &mut Vec<String>,
) -> Result<Folded, LedgerError> {
    let snapshot = register
        .snapshot()?
        .filter(|state| from_snapshot && state.size() <= size);
    if let Some(state) = snapshot {
        let from = state.size();
        match resume(folder, shard, state).and_then(|folded| replay(folder, shard, folded, from, size)) {
            Ok(folded) if folded.tree.root() == root => return Ok(folded),
            Ok(_) => notices.push(format!(
                "shard {shard}: the tiles do not give the registered root; all are made anew"
            )),
            Err(error) => notices.push(format!(
                "shard {shard}: {error}; all tiles are made anew from the leaves"
            )),
        }
    }
    let folded = from_genesis(folder, shard, size)?;
    if folded.tree.mended() > 0 {
        notices.push(format!(
            "shard {shard}: {} tiles and bundles were damaged or missing; made anew",
            folded.tree.mended()
        ));
    }
    if folded.tree.root() == root {
        return Ok(folded);
    }
    let found = folded.tree.root();
    Err(LedgerError::Forked {
        shard,
        size: size.0,
        known: root,
        found,
        from: "the register".into(),
    })
}

fn resume(folder: &Folder, shard: u32, state: LogState) -> Result<Folded, LedgerError> {
    let log = folder.log(shard);
    let range =
        range_at(&tile_reader(&log, state.size()), state.size()).map_err(|error| proving(&log, error))?;
    let snapshot_size = state.size().0;
    Ok(Folded {
        state,
        tree: TreeWriter::resume(&log, range)?,
        snapshot_size,
        batches: BTreeMap::new(),
    })
}

fn from_genesis(folder: &Folder, shard: u32, size: TreeSize) -> Result<Folded, LedgerError> {
    let genesis = genesis(&folder.sealed(shard))?;
    let mut tree = TreeWriter::new(&folder.log(shard));
    let entry = genesis.to_bytes();
    tree.extend(&[&entry], &[LeafHash::of(&entry)])?;
    let folded = Folded {
        state: LogState::new(&genesis),
        tree,
        snapshot_size: 0,
        batches: BTreeMap::new(),
    };
    replay(folder, shard, folded, TreeSize(1), size)
}

fn genesis(path: &Path) -> Result<Genesis, LedgerError> {
    let leaf = LeafFiles::new(path).genesis()?;
    match Entry::parse(&leaf.entry) {
        Ok(Entry::Genesis(genesis)) => Ok(*genesis),
        _ => Err(LedgerError::damaged(
            path,
            Some(0),
            "leaf 0 is not a genesis entry",
        )),
    }
}

/// Feeds the archive's batches from `from` to `to` through the same rules that let them in.
fn replay(
    folder: &Folder,
    shard: u32,
    mut folded: Folded,
    from: TreeSize,
    to: TreeSize,
) -> Result<Folded, LedgerError> {
    let path = folder.sealed(shard);
    let mut each = |batch: &[Leaf]| apply(&path, &mut folded, batch);
    if !scan_batches(&path, LeafIndex(from.0), to, &mut each)? {
        return Err(LedgerError::damaged(&path, None, "the last batch is not whole"));
    }
    folded.tree.write_partials()?;
    folded.tree.remove_replaced()?;
    Ok(folded)
}

fn apply(path: &Path, folded: &mut Folded, group: &[Leaf]) -> Result<(), LedgerError> {
    let accepted = accept(path, &mut folded.state, group)?;
    let all: Vec<&[u8]> = group.iter().map(|leaf| leaf.entry.as_slice()).collect();
    folded.tree.extend(&all, &accepted.leaves)?;
    let batch = &accepted.batch;
    folded
        .batches
        .entry(batch.chain)
        .or_default()
        .push((batch.number, accepted.index));
    Ok(())
}

/// The state of a shard's log at `size`, folded from the last one that was noted.
pub(crate) fn state_at(folder: &Folder, shard: u32, size: TreeSize) -> Result<LogState, LedgerError> {
    let path = folder.sealed(shard);
    let noted = files::read_if_there(&folder.register(shard).join("snapshot"))?;
    let noted: Option<LogState> = noted.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut state = match noted.filter(|state| state.size() <= size) {
        Some(state) => state,
        None => LogState::new(&genesis(&path)?),
    };
    let from = LeafIndex(state.size().0);
    scan_batches(&path, from, size, &mut |batch: &[Leaf]| {
        accept(&path, &mut state, batch).map(drop)
    })?;
    Ok(state)
}

/// Lets a batch of the archive in by the rules that let it in once.
fn accept(path: &Path, state: &mut LogState, group: &[Leaf]) -> Result<Accepted, LedgerError> {
    let wrong = |what: String| LedgerError::damaged(path, None, what);
    let index = state.size();
    let text = std::str::from_utf8(&group[0].entry[1..]).map_err(|error| wrong(error.to_string()))?;
    let note = Note::parse(text).map_err(|error| wrong(error.to_string()))?;
    let batch = Batch::parse(note.text()).map_err(|error| wrong(error.to_string()))?;
    let entries: Vec<&[u8]> = group[1..].iter().map(|leaf| leaf.entry.as_slice()).collect();
    // Whether a content was there was decided when the batch was accepted; its bytes may have been deleted since.
    let sealed = entries
        .iter()
        .map(|entry| {
            if entry.first() == Some(&EVENT) {
                &[0][..]
            } else {
                &[]
            }
        })
        .collect();
    let frame = Frame {
        note_text: text,
        note,
        batch,
        entries,
        sealed,
    };
    match state.accept(&frame) {
        Ok(Verdict::Accepted(accepted)) => Ok(accepted),
        Ok(_) => Err(wrong(format!("the batch at leaf {index} is there twice"))),
        Err(error) => Err(wrong(format!("the batch at leaf {index} breaks a rule: {error}"))),
    }
}
