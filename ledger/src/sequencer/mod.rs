//! The sequencer of a shard: takes frames off the bus, decides, puts what it accepts on record, signs.
//!
//! The order of steps is the promise: check, leaves on disk, tiles written, checkpoint registered, copied outside,
//! signed, published. Nothing is signed that is not on disk. In scope: one shard's steps. Out of scope: the thread that
//! drives it ([`crate::engine`]), taking up after a stop ([`recover`]).
//! Trust: frames are untrusted; the files were checked by [`recover`].

mod recover;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use sharetrail_proof::acceptance::{Accepted, ChainHead, LogState, Rejection, Verdict};
use sharetrail_proof::batch::text_hash;
use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::entry::{ERASURE, Entry};
use sharetrail_proof::frame::Frame;
use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
use sharetrail_proof::name::{ChainId, Label, Name};
use sharetrail_proof::note::{Note, NoteSigner};
use sharetrail_proof::tree::{CompactRange, prove_inclusion, range_at};
use tokio::sync::watch;

use crate::archive::{LeafFiles, LeafWriter, TreeWriter, proving, tile_reader};
use crate::bus::{Message, StreamId, StreamSeq};
use crate::error::LedgerError;
use crate::files;
use crate::folder::Folder;
use crate::register::{Cursor, Head, IncidentKind, OutsideCopy, Register};

pub(crate) use recover::{Sources, empty_view, recover, recover_behind, recover_quietly, state_at};

/// Leaves after which the tiles are synced and the state is noted, so that a start has little to fold again.
const SNAPSHOT_LEAVES: u64 = 65_536;
/// Chains whose rejected batch is remembered: anybody with a key can begin chains.
const REJECTED_MAX: usize = 1_000;

/// The steps of putting frames on record, in order; those of sealing a map root, in order; and those of an erasure, in
/// order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Frames were decided on; nothing is written.
    Decided,
    /// Leaves and sealed contents are on disk.
    LeavesSynced,
    /// Tiles and bundles are written.
    TilesWritten,
    /// The checkpoint is registered.
    Registered,
    /// The checkpoint is copied outside the folder.
    CopiedOutside,
    /// The checkpoint is signed.
    Signed,
    /// The checkpoint is published.
    Published,
    /// Tiles are synced and the state is noted.
    Snapshot,
    /// The customer map is folded on; nothing of it lasts yet.
    MapApplied,
    /// The map leaf is on disk.
    MapWritten,
    /// The map log's checkpoint is registered.
    MapRegistered,
    /// The moment and the checkpoint are copied outside the folder.
    MapCopiedOutside,
    /// The map log's checkpoint is signed.
    MapSigned,
    /// The map log's checkpoint is published.
    MapPublished,
    /// The customer map is on disk.
    MapCommitted,
    /// The vault holds that a label is to be erased.
    ErasureIntended,
    /// The vault holds that its key-encryption key is to be exchanged.
    VaultMarked,
    /// The keys of erased labels are overwritten.
    KeyDestroyed,
    /// The next key-encryption key is on disk.
    KekWritten,
    /// The slots are written anew, under the next key-encryption key.
    SlotsWritten,
    /// They have taken the place of the slots before.
    SlotsReplaced,
    /// The old key-encryption key is overwritten.
    KekOverwritten,
    /// The next one has taken its place.
    KekReplaced,
}

/// Told of each step of the sequencer, of the mapper and of an erasure, before the next; an error stops the shard, or the
/// vault's work, there.
pub trait Observer: Send + Sync {
    /// A step of a shard is done. Those of the vault, which has no shards, are told with shard 0.
    fn step(&self, shard: u32, step: Step) -> Result<(), LedgerError>;
}

/// Who else must agree to a decision before it may be signed.
pub(crate) trait Gate: Send {
    /// Agrees once the decision stands where no other host can decide otherwise. An error means that it may not be signed.
    fn pass(&mut self, head: &Head) -> Result<(), LedgerError>;
}

/// Nobody else is to be asked: the folder's lock keeps others out.
pub(crate) struct Alone;

impl Gate for Alone {
    fn pass(&mut self, _: &Head) -> Result<(), LedgerError> {
        Ok(())
    }
}

/// What became of batches since it was last asked for: producers are told of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// On record, new or as a repeat: chain, number, where the batch entry is.
    pub(crate) sealed: Vec<(ChainId, u64, LeafIndex)>,
    /// Not let in, with the chain.
    pub(crate) rejected: Vec<(ChainId, RejectedBatch)>,
    /// Chains that a batch came for which does not continue them, with the last number and note hash on record.
    pub(crate) standing: Vec<(ChainId, Option<(u64, Hash)>)>,
}

/// An observer that lets everything pass.
pub(crate) struct Unobserved;

impl Observer for Unobserved {
    fn step(&self, _: u32, _: Step) -> Result<(), LedgerError> {
        Ok(())
    }
}

/// What is known of a shard after its last published checkpoint.
#[derive(Clone, Debug)]
pub struct ShardView {
    /// The signed checkpoint.
    pub note: String,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// Events on record.
    pub events: u64,
    /// The last message of the stream that was decided on.
    pub seq: StreamSeq,
    /// The head of every chain.
    pub heads: BTreeMap<ChainId, ChainHead>,
    /// Chains whose next number was rejected, until it is accepted.
    pub rejected: BTreeMap<ChainId, RejectedBatch>,
    /// Why the shard has halted, if it has.
    pub halted: Option<String>,
    /// What keeps the shard from going on for now, if something does: the bus does not answer, another host is behind.
    pub trouble: Option<String>,
}

/// A batch that was not let in; whoever signed it may cut its number anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedBatch {
    /// Its number in the chain.
    pub number: u64,
    /// The hash of its note's text.
    pub hash: Hash,
    /// The message it came in.
    pub seq: StreamSeq,
    /// The entry that is at fault, where it is one.
    pub position: Option<usize>,
    /// Why.
    pub reason: String,
}

/// One shard's sequencer.
pub(crate) struct Sequencer {
    shard: u32,
    folder: Folder,
    origin: String,
    signer: NoteSigner,
    state: LogState,
    leaves: LeafWriter,
    tree: TreeWriter,
    register: Register,
    outside: OutsideCopy,
    cursor: Cursor,
    rejected: BTreeMap<ChainId, RejectedBatch>,
    pending_batches: BTreeMap<ChainId, Vec<(u64, LeafIndex)>>,
    snapshot_size: u64,
    snapshot: Option<JoinHandle<Result<(), LedgerError>>>,
    observer: Arc<dyn Observer>,
    view: watch::Sender<Arc<ShardView>>,
    gate: Box<dyn Gate>,
    answers: Answers,
    /// Whether a gap in the stream is told and passed over, because what stood there comes again from an outbox.
    passes_gaps: bool,
    /// Whether something was decided on that no published checkpoint covers yet.
    midway: bool,
    /// Labels whose erasure was put on record since that was last asked for.
    erased: Vec<(Label, u32)>,
}

impl Sequencer {
    /// Whether something was decided on that no published checkpoint covers yet: after an error, it is to be taken up anew.
    pub(crate) fn is_midway(&self) -> bool {
        self.midway
    }

    /// Who must agree from now on.
    pub(crate) fn set_gate(&mut self, gate: Box<dyn Gate>) {
        self.gate = gate;
    }

    /// Gaps in the stream are told as incidents from now on, and do not halt the shard.
    pub(crate) fn pass_gaps(&mut self) {
        self.passes_gaps = true;
    }

    /// What became of batches since the last call.
    pub(crate) fn take_answers(&mut self) -> Answers {
        std::mem::take(&mut self.answers)
    }

    /// The tree over what is here.
    pub(crate) fn range(&self) -> &CompactRange {
        self.tree.range()
    }

    /// The decision as it stands now, signed or not.
    pub(crate) fn head(&self) -> Head {
        Head {
            checkpoint: self.checkpoint().to_text(),
            cursor: Some(self.cursor.clone()),
        }
    }

    /// Goes on from another place of the stream, or of another stream; what is on record is passed over there.
    pub(crate) fn move_cursor(&mut self, cursor: Cursor) -> Result<(), LedgerError> {
        self.cursor = cursor;
        self.register.decide(&self.head())
    }

    /// As [`Sequencer::move_cursor`], to be registered with the next checkpoint.
    pub(crate) fn set_cursor(&mut self, cursor: Cursor) {
        self.cursor = cursor;
    }

    /// The size of the checkpoint that was last published here.
    pub(crate) fn published_size(&self) -> Result<TreeSize, LedgerError> {
        Ok(self.published()?.map_or(TreeSize(0), |(size, _)| size))
    }

    fn published(&self) -> Result<Option<(TreeSize, String)>, LedgerError> {
        let note = files::read_if_there(&self.folder.checkpoint(self.shard))?;
        let text = note
            .and_then(|note| String::from_utf8(note).ok())
            .as_deref()
            .and_then(note_text);
        Ok(text.and_then(|text| stated(&text).map(|(size, _)| (size, text))))
    }

    /// Registers the checkpoint that was last published as the last decision, and ends: what came after it was never signed.
    /// The stream is read again from its beginning.
    pub(crate) fn back_to_published(mut self) -> Result<TreeSize, LedgerError> {
        self.end_snapshot()?;
        let path = self.folder.checkpoint(self.shard);
        let nothing = || LedgerError::damaged(&path, None, "not a checkpoint");
        let (size, checkpoint) = self.published()?.ok_or_else(nothing)?;
        if size < self.size() {
            self.register.decide(&Head {
                checkpoint,
                cursor: None,
            })?;
        }
        Ok(size)
    }

    /// Where the stream was read up to.
    pub(crate) fn full_cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Notes something that the operator should know of.
    pub(crate) fn incident(&self, kind: IncidentKind, what: String) -> Result<(), LedgerError> {
        self.register.incident(kind, what)
    }

    /// Whether the first `size` leaves have this root; none where there are fewer.
    pub(crate) fn has(&self, size: TreeSize, root: &Hash) -> Result<Option<bool>, LedgerError> {
        if size > self.size() {
            return Ok(None);
        }
        if size == self.size() {
            return Ok(Some(self.tree.root() == *root));
        }
        self.tree.write_partials()?;
        let log = self.folder.log(self.shard);
        let tiles = tile_reader(&log, self.size());
        let found = range_at(&tiles, size).map_err(|error| proving(&log, error))?;
        Ok(Some(found.root() == *root))
    }

    /// The proofs that these leaves are under the checkpoint as it stands.
    pub(crate) fn inclusions(&self, indexes: &[LeafIndex]) -> Result<Vec<Vec<Hash>>, LedgerError> {
        let log = self.folder.log(self.shard);
        let tiles = tile_reader(&log, self.size());
        let prove = |index: &LeafIndex| {
            let proof = prove_inclusion(&tiles, *index, self.size()).map_err(|error| proving(&log, error))?;
            Ok(proof.0)
        };
        indexes.iter().map(prove).collect()
    }

    pub(crate) fn shard(&self) -> u32 {
        self.shard
    }

    /// The last message decided on.
    pub(crate) fn cursor(&self) -> StreamSeq {
        self.cursor.seq
    }

    pub(crate) fn state(&self) -> &LogState {
        &self.state
    }

    pub(crate) fn view(&self) -> watch::Receiver<Arc<ShardView>> {
        self.view.subscribe()
    }

    /// Labels whose keys must be gone, with their generations.
    pub(crate) fn erased(&self) -> Vec<(Label, u32)> {
        self.state.erasures().collect()
    }

    /// As [`Sequencer::erased`], those that a published checkpoint came to cover since the last call.
    pub(crate) fn take_erased(&mut self) -> Vec<(Label, u32)> {
        if self.midway {
            return Vec::new();
        }
        std::mem::take(&mut self.erased)
    }

    /// Decides on messages that follow the cursor, and seals what it accepts.
    pub(crate) fn take(&mut self, messages: &[Message]) -> Result<(), LedgerError> {
        self.answers = Answers::default();
        for message in messages {
            self.in_turn(message)?;
            self.decide(message)?;
            self.cursor.seq = message.seq;
        }
        let Some(last) = messages.last() else {
            return Ok(());
        };
        self.cursor.hash = message_hash(last);
        self.seal()
    }

    /// Decides on messages without sealing them: more will follow before the next checkpoint that another host registered.
    pub(crate) fn take_along(&mut self, messages: &[Message]) -> Result<(), LedgerError> {
        // Whoever leads has answered these.
        self.answers = Answers::default();
        for message in messages {
            self.in_turn(message)?;
            self.decide(message)?;
            self.cursor.seq = message.seq;
            self.cursor.hash = message_hash(message);
        }
        self.leaves.commit()
    }

    fn in_turn(&mut self, message: &Message) -> Result<(), LedgerError> {
        let due = self.cursor.seq.0 + 1;
        if message.seq.0 == due {
            return Ok(());
        }
        if self.passes_gaps && message.seq.0 > due {
            let gone = message.seq.0 - due;
            let what = format!(
                "stream {}: {gone} messages from {due} to {} are gone; what was not sealed of them comes again from the \
                 outboxes",
                self.cursor.stream,
                message.seq.0 - 1
            );
            return self.register.incident(IncidentKind::Gap, what);
        }
        let what = format!("message {} came where {due} was due", message.seq.0);
        Err(LedgerError::Stream {
            shard: self.shard,
            what,
        })
    }

    /// The number of leaves.
    pub(crate) fn size(&self) -> TreeSize {
        self.tree.size()
    }

    /// Takes over a batch of another archive of this log; it counts once [`Sequencer::seal_adopted`] returns.
    pub(crate) fn adopt(&mut self, frame: &[u8]) -> Result<(), LedgerError> {
        let wrong = |what: String| {
            LedgerError::damaged(self.folder.root(), None, format!("a batch of the copy: {what}"))
        };
        let parsed = Frame::parse(frame).map_err(|error| wrong(error.to_string()))?;
        self.midway = true;
        self.answers = Answers::default();
        match self.state.accept(&parsed) {
            Ok(Verdict::Accepted(accepted)) => {
                self.append(&parsed, &accepted)?;
                self.leaves.commit()
            }
            Ok(_) => Err(wrong("it is there twice".into())),
            Err(rejection) => Err(wrong(rejection.to_string())),
        }
    }

    /// Compares what is here, adopted leaves included, with checkpoints that are known to have been signed.
    pub(crate) fn gives(&self, known: &[(TreeSize, Hash)]) -> Result<(), LedgerError> {
        self.tree.write_partials()?;
        let log = self.folder.log(self.shard);
        let tiles = tile_reader(&log, self.size());
        for (size, root) in known.iter().filter(|(size, _)| *size <= self.size()) {
            let found = range_at(&tiles, *size)
                .map_err(|error| proving(&log, error))?
                .root();
            if found != *root {
                let from = "a signed checkpoint".to_owned();
                return Err(LedgerError::Forked {
                    shard: self.shard,
                    size: size.0,
                    known: *root,
                    found,
                    from,
                });
            }
        }
        Ok(())
    }

    /// Seals what was adopted, and ends.
    pub(crate) fn seal_adopted(mut self) -> Result<(), LedgerError> {
        self.seal()?;
        self.close()
    }

    /// Seals what was taken along or adopted, and goes on.
    pub(crate) fn seal_now(&mut self) -> Result<(), LedgerError> {
        self.seal()
    }

    /// Makes what was adopted last, and registers it here alone: it is proven, and not signed yet.
    pub(crate) fn note_progress(&mut self) -> Result<(), LedgerError> {
        self.leaves.commit()?;
        self.tree.write_partials()?;
        self.note_batches()?;
        self.register.decide(&self.head())
    }

    /// The size and root as they stand.
    pub(crate) fn tip(&self) -> (TreeSize, Hash) {
        (self.tree.size(), self.tree.root())
    }

    /// Registers what was taken up from disk anew with whoever must agree, signs and publishes it.
    pub(crate) fn publish_again(&mut self) -> Result<(), LedgerError> {
        if self.midway {
            return self.seal();
        }
        let head = self.head();
        self.gate.pass(&head)?;
        self.outside.keep(&head.checkpoint)?;
        self.publish(&head.checkpoint)
    }

    fn decide(&mut self, message: &Message) -> Result<(), LedgerError> {
        self.midway = true;
        let decided = Frame::parse(&message.frame)
            .map_err(Rejection::from)
            .and_then(|frame| {
                if frame.batch.producer != message.producer {
                    return Err(Rejection::NoValidKey {
                        producer: message.producer.clone(),
                    });
                }
                self.state.accept(&frame).map(|verdict| (frame, verdict))
            });
        match decided {
            Ok((frame, Verdict::Accepted(accepted))) => self.append(&frame, &accepted),
            Ok((frame, Verdict::Earlier { chain, number })) => self.earlier(message, &frame, chain, number),
            Err(rejection) => self.reject(message, &rejection),
        }
    }

    fn append(&mut self, frame: &Frame<'_>, accepted: &Accepted) -> Result<(), LedgerError> {
        self.leaves.push(&accepted.batch_entry, &[])?;
        for (entry, sealed) in frame.entries.iter().zip(&frame.sealed) {
            self.leaves.push(entry, sealed)?;
        }
        let entries: Vec<&[u8]> = std::iter::once(&accepted.batch_entry[..])
            .chain(frame.entries.iter().copied())
            .collect();
        self.tree.extend(&entries, &accepted.leaves)?;
        for entry in frame
            .entries
            .iter()
            .filter(|entry| entry.first() == Some(&ERASURE))
        {
            if let Ok(Entry::Erasure(erasure)) = Entry::parse(entry) {
                self.erased.push((erasure.label, erasure.generation));
            }
        }
        let batch = &accepted.batch;
        self.pending_batches
            .entry(batch.chain)
            .or_default()
            .push((batch.number, accepted.index));
        self.rejected.remove(&batch.chain);
        self.answers
            .sealed
            .push((batch.chain, batch.number, accepted.index));
        Ok(())
    }

    /// The number is on record already: the same note is a repeat and ignored, another is refused.
    fn earlier(
        &mut self,
        message: &Message,
        frame: &Frame<'_>,
        chain: ChainId,
        number: u64,
    ) -> Result<(), LedgerError> {
        self.leaves.commit()?;
        self.note_batches()?;
        let index = self.register.batch(chain, number)?;
        let leaf = LeafFiles::new(&self.folder.sealed(self.shard)).leaf(index)?;
        if leaf.entry.get(1..) == Some(frame.note_text.as_bytes()) {
            self.answers.sealed.push((chain, number, index));
            return Ok(());
        }
        // Only a batch that the producer signed is a fork; anything else is a stranger's noise.
        let rejection = self
            .state
            .check_signature(frame)
            .err()
            .unwrap_or(Rejection::Fork { number });
        self.reject(message, &rejection)
    }

    fn reject(&mut self, message: &Message, rejection: &Rejection) -> Result<(), LedgerError> {
        let reason = rejection.to_string();
        let frame = Frame::parse(&message.frame).ok();
        let note = frame.as_ref().map_or("", |frame| frame.note_text);
        // Names that the registry does not know share one allowance: anybody can make up names.
        let known = self.state.registry().party(&message.producer).is_some();
        let whose = if known {
            message.producer.clone()
        } else {
            Name::new("unknown").expect("a valid name")
        };
        self.register.reject(&whose, message.seq, note, &reason)?;
        // Only whoever signed for the chain is answered on it: a stranger's batch must not disturb its owner.
        let signed = frame.filter(|frame| self.was_signed(frame));
        if let Some((batch, hash)) = signed
            .map(|frame| (frame.batch, text_hash(frame.note.text())))
            .filter(|(batch, _)| batch.producer == message.producer)
        {
            let head = self.state.head(batch.chain).map(|head| (head.number, head.hash));
            let next = head.map_or(0, |(number, _)| number + 1);
            if batch.number != next {
                self.answers.standing.push((batch.chain, head));
            }
            if batch.number == next {
                let rejected = RejectedBatch {
                    number: batch.number,
                    hash,
                    seq: message.seq,
                    position: rejection.position(),
                    reason,
                };
                self.answers.rejected.push((batch.chain, rejected.clone()));
                self.rejected.insert(batch.chain, rejected);
                if self.rejected.len() > REJECTED_MAX {
                    let oldest = self.rejected.iter().min_by_key(|(_, rejected)| rejected.seq);
                    if let Some(chain) = oldest.map(|(chain, _)| *chain) {
                        self.rejected.remove(&chain);
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether a key that the producer has, or once had, signed the frame.
    fn was_signed(&self, frame: &Frame<'_>) -> bool {
        let keys = self.state.registry().party(&frame.batch.producer);
        keys.is_some_and(|keys| {
            keys.keys
                .iter()
                .any(|period| frame.note.verify(&period.key).is_ok())
        })
    }

    fn note_batches(&mut self) -> Result<(), LedgerError> {
        for (chain, batches) in std::mem::take(&mut self.pending_batches) {
            self.register.note_batches(chain, &batches)?;
        }
        Ok(())
    }

    fn done(&self, step: Step) -> Result<(), LedgerError> {
        self.observer.step(self.shard, step)
    }

    /// Everything from the decision to the published checkpoint, in the order that keeps the promises.
    fn seal(&mut self) -> Result<(), LedgerError> {
        self.done(Step::Decided)?;
        self.leaves.commit()?;
        self.done(Step::LeavesSynced)?;
        self.tree.write_partials()?;
        self.note_batches()?;
        self.done(Step::TilesWritten)?;
        let head = self.head();
        let text = head.checkpoint.clone();
        self.register.decide(&head)?;
        self.done(Step::Registered)?;
        self.gate.pass(&head)?;
        self.outside.keep(&text)?;
        self.done(Step::CopiedOutside)?;
        self.publish(&text)?;
        self.midway = false;
        self.tree.remove_replaced()?;
        if self.tree.size().0 - self.snapshot_size >= SNAPSHOT_LEAVES {
            self.begin_snapshot()?;
        }
        Ok(())
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::new(self.origin.clone(), self.tree.size(), self.tree.root())
    }

    fn publish(&mut self, text: &str) -> Result<(), LedgerError> {
        let note = self.signer.sign(text);
        self.done(Step::Signed)?;
        files::replace_unsynced(&self.folder.checkpoint(self.shard), note.as_bytes())?;
        self.done(Step::Published)?;
        self.view.send_replace(Arc::new(self.shard_view(note)));
        Ok(())
    }

    fn shard_view(&self, note: String) -> ShardView {
        ShardView {
            note,
            checkpoint: self.checkpoint(),
            events: self.state.events(),
            seq: self.cursor.seq,
            heads: self
                .state
                .heads()
                .map(|(chain, head)| (chain, head.clone()))
                .collect(),
            rejected: self.rejected.clone(),
            halted: None,
            trouble: None,
        }
    }

    /// Tells whoever waits that this shard goes no further.
    pub(crate) fn halt(&self, error: &LedgerError) {
        self.view.send_modify(|view| {
            let mut halted = (**view).clone();
            halted.halted = Some(error.to_string());
            *view = Arc::new(halted);
        });
    }

    /// Syncs the tiles beside the work, then notes the state as it is now.
    fn begin_snapshot(&mut self) -> Result<(), LedgerError> {
        self.end_snapshot()?;
        self.snapshot_size = self.tree.size().0;
        let (log, path, bytes) = self.snapshot_parts();
        let work = move || TreeWriter::sync(&log).and_then(|()| files::replace(&path, &bytes, 0o600));
        let thread = std::thread::Builder::new().name("snapshot".into()).spawn(work);
        let failed = |source| LedgerError::File {
            doing: "start a thread for",
            path: self.folder.root().to_owned(),
            source,
        };
        self.snapshot = Some(thread.map_err(failed)?);
        self.done(Step::Snapshot)
    }

    fn snapshot_parts(&self) -> (PathBuf, PathBuf, Vec<u8>) {
        let bytes = serde_json::to_vec(&self.state).expect("strings and numbers always serialise");
        (self.folder.log(self.shard), self.register.snapshot_path(), bytes)
    }

    pub(crate) fn end_snapshot(&mut self) -> Result<(), LedgerError> {
        let Some(thread) = self.snapshot.take() else {
            return Ok(());
        };
        let panicked = |_| LedgerError::Stopped("the thread that notes the state panicked".into());
        thread.join().map_err(panicked)?
    }

    /// Ends cleanly: the next start has nothing to fold again.
    pub(crate) fn close(mut self) -> Result<(), LedgerError> {
        self.end_snapshot()?;
        if self.midway || self.snapshot_size == self.tree.size().0 {
            return Ok(());
        }
        let (log, path, bytes) = self.snapshot_parts();
        TreeWriter::sync(&log)?;
        files::replace(&path, &bytes, 0o600)
    }
}

/// The size and root that a checkpoint text states.
pub(crate) fn stated(text: &str) -> Option<(TreeSize, Hash)> {
    let checkpoint = Checkpoint::parse(text).ok()?;
    Some((checkpoint.size, checkpoint.root))
}

/// The text of a published checkpoint note.
pub(crate) fn note_text(note: &str) -> Option<String> {
    Some(Note::parse(note).ok()?.text().to_owned())
}

/// Where a stream that was never read begins.
pub(crate) fn fresh_cursor(stream: StreamId) -> Cursor {
    Cursor {
        stream: stream.to_string(),
        seq: StreamSeq(0),
        hash: Hash::ZERO,
    }
}

/// What the cursor remembers of a message: its length and its first 4 KiB, which hold the whole note and with it the root
/// and the signature. Hashing all of every frame would cost as much as the frame's events.
pub(crate) fn message_hash(message: &Message) -> Hash {
    let length = (message.frame.len() as u64).to_be_bytes();
    Hash::of(&[&length, &message.frame[..message.frame.len().min(4_096)]])
}
