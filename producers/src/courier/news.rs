//! What is heard of a shard, and what it says of a frame.
//!
//! In scope: heads that came over the bus, and the view of a sequencer in this process, as one kind of news. Out of scope:
//! what follows from it ([`super::line`]). Trust: heads come with a checkpoint that a policy has opened; a batch in them
//! counts as sealed if its proof holds under that checkpoint. Rejections are word of mouth of whoever leads the shard.

use std::sync::Arc;
use std::time::Duration;

use sharetrail_ledger::bus::{Bus, StreamSeq};
use sharetrail_ledger::remote::VerifiedHeads;
use sharetrail_ledger::wire::{ChainNumber, RejectedNote, SealedBatch};
use sharetrail_ledger::{Ledger, LedgerError, ShardView};
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::name::ChainId;
use sharetrail_proof::tree::{InclusionProof, verify_inclusion};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};

/// How often the stream is looked at where the sequencer is in this process.
const LOOK: Duration = Duration::from_secs(1);

/// What is heard of a shard.
pub(crate) struct News {
    /// The stream that serves it.
    pub(crate) stream: String,
    /// The last message that was decided on.
    pub(crate) seq: StreamSeq,
    /// The last message of the stream.
    pub(crate) last: StreamSeq,
    /// Why the shard has halted, if it has.
    pub(crate) halted: Option<String>,
    /// What became of batches.
    pub(crate) answers: Answers,
}

/// What became of batches.
pub(crate) enum Answers {
    /// As its leader tells it over the bus: of what came in since the last time.
    Told {
        /// The checkpoint's size.
        size: TreeSize,
        /// The checkpoint's root.
        root: Hash,
        /// The checkpoint's note.
        note: String,
        /// Batches on record.
        sealed: Vec<SealedBatch>,
        /// Batches that were not let in.
        rejected: Vec<RejectedNote>,
        /// Where chains stand that a batch came for which does not continue them.
        heads: Vec<ChainNumber>,
    },
    /// As the archive here has it.
    Seen {
        /// The ledger.
        ledger: Ledger,
        /// The shard.
        shard: u32,
        /// Its view.
        view: Arc<ShardView>,
    },
}

/// Which frame is asked about.
pub(crate) struct Asked<'a> {
    pub(crate) chain: ChainId,
    pub(crate) number: u64,
    /// The hash of its note's text.
    pub(crate) hash: &'a Hash,
    /// The leaf hash that its batch entry has.
    pub(crate) leaf: &'a LeafHash,
    /// How many entries it has.
    pub(crate) entries: usize,
}

/// Where a frame is on record.
#[derive(Clone)]
pub(crate) struct Sealed {
    /// Where its batch entry is.
    pub(crate) index: LeafIndex,
    /// Size and root of the log if it ends with this batch.
    pub(crate) cursor: Option<(TreeSize, Hash)>,
    /// The path that proves it and the checkpoint note that it leads to.
    pub(crate) proof: Option<(InclusionProof, String)>,
}

/// Where the log has a chain.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    /// The number that is due.
    pub(crate) next: u64,
    /// The hash of the last note's text; none where no batch of the chain is on record.
    pub(crate) prev: Option<Hash>,
}

/// Why a frame was not let in.
#[derive(Clone)]
pub(crate) struct Rejected {
    /// The message it came in, where that is known: the same note may have come before, under another signature.
    pub(crate) seq: Option<StreamSeq>,
    /// The entry at fault, where it is one.
    pub(crate) position: Option<usize>,
    pub(crate) reason: String,
}

/// What is heard of a frame.
pub(crate) enum Answer {
    Nothing,
    Sealed(Sealed),
    Rejected(Rejected),
    /// Its place in the chain is another's for good.
    Taken,
    /// It is said to be on record, and the proof does not hold.
    Unproven,
}

impl Answers {
    pub(crate) fn about(&self, asked: &Asked<'_>) -> Result<Answer, LedgerError> {
        match self {
            Self::Told {
                size,
                root,
                note,
                sealed,
                rejected,
                ..
            } => Ok(told(asked, (*size, root, note.as_str()), sealed, rejected)),
            Self::Seen { ledger, shard, view } => seen(asked, ledger, *shard, view),
        }
    }

    /// Where the log has the chain, if something is said of it.
    pub(crate) fn standing(&self, chain: ChainId) -> Option<Standing> {
        match self {
            Self::Told { heads, .. } => {
                let head = heads.iter().rev().find(|head| head.chain == chain)?;
                let prev = (head.next > 0).then_some(head.prev);
                Some(Standing {
                    next: head.next,
                    prev,
                })
            }
            Self::Seen { view, .. } => Some(match view.heads.get(&chain) {
                Some(head) => Standing {
                    next: head.number + 1,
                    prev: Some(head.hash),
                },
                None => Standing { next: 0, prev: None },
            }),
        }
    }
}

fn told(
    asked: &Asked<'_>,
    (size, root, note): (TreeSize, &Hash, &str),
    sealed: &[SealedBatch],
    rejected: &[RejectedNote],
) -> Answer {
    let mut answer = Answer::Nothing;
    for batch in sealed
        .iter()
        .filter(|batch| batch.chain == asked.chain && batch.number == asked.number)
    {
        let path = InclusionProof(batch.proof.clone());
        if verify_inclusion(asked.leaf, batch.index, size, &path, root).is_ok() {
            return Answer::Sealed(Sealed {
                index: batch.index,
                cursor: None,
                proof: Some((path, note.to_owned())),
            });
        }
        answer = Answer::Unproven;
    }
    let note = rejected
        .iter()
        .find(|note| note.chain == asked.chain && note.number == asked.number && note.hash == *asked.hash);
    note.map_or(answer, |note| {
        Answer::Rejected(Rejected {
            seq: None,
            position: note.position,
            reason: note.reason.clone(),
        })
    })
}

fn seen(asked: &Asked<'_>, ledger: &Ledger, shard: u32, view: &ShardView) -> Result<Answer, LedgerError> {
    let head = view.heads.get(&asked.chain);
    if head.is_some_and(|head| head.number >= asked.number) {
        let found = ledger.find_batch(shard, asked.chain, asked.number, asked.hash)?;
        let sealed = |index: LeafIndex| {
            let end = TreeSize(index.0 + 1 + asked.entries as u64);
            let cursor = (view.checkpoint.size == end).then_some((end, view.checkpoint.root));
            Sealed {
                index,
                cursor,
                proof: None,
            }
        };
        return Ok(found.map_or(Answer::Taken, |index| Answer::Sealed(sealed(index))));
    }
    let rejected = view.rejected.get(&asked.chain);
    let rejected = rejected.filter(|one| one.number == asked.number && one.hash == *asked.hash);
    Ok(rejected.map_or(Answer::Nothing, |one| {
        Answer::Rejected(Rejected {
            seq: Some(one.seq),
            position: one.position,
            reason: one.reason.clone(),
        })
    }))
}

/// Hands on what comes over the bus, until nobody listens.
pub(crate) async fn from_bus(mut heads: broadcast::Receiver<Arc<VerifiedHeads>>, out: mpsc::Sender<News>) {
    loop {
        match heads.recv().await {
            Ok(heads) => {
                if out.send(of_heads(&heads)).await.is_err() {
                    return;
                }
            }
            // What was missed comes again: a frame that stays without an answer is sent again, and answered again.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

fn of_heads(verified: &VerifiedHeads) -> News {
    let heads = &verified.heads;
    News {
        stream: heads.stream.clone(),
        seq: heads.seq,
        last: heads.last,
        halted: heads.halted.clone(),
        answers: Answers::Told {
            size: verified.checkpoint.size(),
            root: *verified.checkpoint.root(),
            note: heads.checkpoint.clone(),
            sealed: heads.sealed.clone(),
            rejected: heads.rejected.clone(),
            heads: heads.heads.clone(),
        },
    }
}

/// Hands on what the sequencer in this process has decided, and what its stream is, until nobody listens or it ends.
pub(crate) async fn from_view(
    ledger: Ledger,
    bus: Arc<dyn Bus>,
    shard: u32,
    mut views: watch::Receiver<Arc<ShardView>>,
    out: mpsc::Sender<News>,
) {
    let mut stream = None;
    let mut looked = tokio::time::Instant::now();
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        if stream.is_none() || looked.elapsed() >= LOOK {
            // Where the bus cannot be reached, what was known of the stream holds until it can.
            stream = bus.info(shard).await.ok().or(stream);
            looked = tokio::time::Instant::now();
        }
        if let Some(stream) = stream {
            let news = News {
                stream: stream.id.to_string(),
                seq: view.seq,
                last: stream.last.max(view.seq),
                halted: view.halted.clone(),
                answers: Answers::Seen {
                    ledger: ledger.clone(),
                    shard,
                    view,
                },
            };
            if out.send(news).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
