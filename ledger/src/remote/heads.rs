//! Heads of one shard: heard, checked, told on.
//!
//! In scope: opening their checkpoint, remembering the highest, telling what does not fit. Out of scope: proofs of
//! batches, which whoever waits for them checks. Trust: see [`super`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sharetrail_proof::checkpoint::{VerifiedCheckpoint, log_origin};
use sharetrail_proof::entry::Genesis;
use sharetrail_proof::policy::Policy;
use tokio::sync::{broadcast, watch};

use crate::error::LedgerError;
use crate::wire::Heads;

/// Heads that a slow subscriber may be behind before it misses some.
const HEADS_MAX: usize = 1_024;
/// Notices that are kept.
const NOTICES_MAX: usize = 1_000;

/// Heads whose checkpoint opened under the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedHeads {
    /// What was told.
    pub heads: Heads,
    /// Its checkpoint.
    pub checkpoint: VerifiedCheckpoint,
}

/// What was heard of a shard last.
#[derive(Clone, Debug, Default)]
pub struct RemoteView {
    /// The last heads; none until the first came.
    pub heads: Option<Arc<VerifiedHeads>>,
    /// When they came.
    pub heard: Option<Instant>,
    /// How many heads were refused.
    pub refused: u64,
}

/// What is told, each line once.
#[derive(Debug, Default)]
pub(super) struct Notices {
    lines: Vec<String>,
    /// How many of them were taken.
    taken: usize,
}

impl Notices {
    /// What was told since the last call.
    pub(super) fn take(&mut self) -> Vec<String> {
        let since = std::mem::replace(&mut self.taken, self.lines.len());
        self.lines[since..].to_vec()
    }

    fn tell(&mut self, line: String) {
        if self.lines.len() < NOTICES_MAX && !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }
}

/// Hears the heads of one shard.
pub(super) struct Listener {
    shard: u32,
    origin: String,
    policy: Arc<Policy>,
    notices: Arc<Mutex<Notices>>,
    view: watch::Sender<Arc<RemoteView>>,
    heads: broadcast::Sender<Arc<VerifiedHeads>>,
}

impl Listener {
    pub(super) fn new(genesis: &Genesis, policy: &Arc<Policy>, notices: &Arc<Mutex<Notices>>) -> Self {
        Self {
            shard: genesis.shard.index(),
            origin: log_origin(&genesis.ledger, genesis.shard),
            policy: Arc::clone(policy),
            notices: Arc::clone(notices),
            view: watch::Sender::new(Arc::default()),
            heads: broadcast::Sender::new(HEADS_MAX),
        }
    }

    pub(super) fn shard(&self) -> u32 {
        self.shard
    }

    pub(super) fn view(&self) -> watch::Receiver<Arc<RemoteView>> {
        self.view.subscribe()
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<VerifiedHeads>> {
        self.heads.subscribe()
    }

    pub(super) fn tell(&self, what: &str) {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        notices.tell(format!("shard {}: {what}", self.shard));
    }

    /// Takes a message that came on the shard's bus subject.
    pub(super) fn hear(&self, message: &[u8]) {
        let known = self.view.borrow().heads.clone();
        match self.check(message, known.as_deref()) {
            Ok(verified) => {
                let verified = Arc::new(verified);
                self.view.send_modify(|view| {
                    *view = Arc::new(RemoteView {
                        heads: Some(Arc::clone(&verified)),
                        heard: Some(Instant::now()),
                        refused: view.refused,
                    });
                });
                // Nobody may be listening now.
                let _ = self.heads.send(verified);
            }
            Err(what) => {
                self.view.send_modify(|view| {
                    *view = Arc::new(RemoteView {
                        refused: view.refused + 1,
                        ..RemoteView::clone(view)
                    });
                });
                self.tell(&what);
            }
        }
    }

    /// The heads, if they may be used; else why not. `known`: the last ones.
    fn check(&self, message: &[u8], known: Option<&VerifiedHeads>) -> Result<VerifiedHeads, String> {
        let heads = Heads::parse(message).map_err(|error: LedgerError| format!("heads refused: {error}"))?;
        if heads.shard != self.shard {
            return Err(format!("heads refused: they are of shard {}", heads.shard));
        }
        // Heads come every second, mostly under the same note: its signature is checked once.
        let same = known.filter(|known| known.heads.checkpoint == heads.checkpoint);
        let checkpoint = if let Some(known) = same {
            known.checkpoint.clone()
        } else {
            let opened = self.policy.open(&heads.checkpoint);
            opened.map_err(|error| format!("heads refused: {error}"))?
        };
        let origin = &checkpoint.checkpoint().origin;
        if *origin != self.origin {
            return Err(format!("heads refused: the checkpoint is of {origin}"));
        }
        if let Some(known) = known.map(|known| &known.checkpoint) {
            let (size, before) = (checkpoint.size(), known.size());
            if size < before {
                return Err(format!(
                    "a checkpoint of {size} leaves came after one of {before}: the log was rolled back, or an old \
                     message came late"
                ));
            }
            if size == before && checkpoint.root() != known.root() {
                return Err(format!(
                    "two checkpoints of {size} leaves are signed, with roots {} and {}: the log has two histories. \
                     Keep both and tell the operator",
                    known.root(),
                    checkpoint.root()
                ));
            }
        }
        Ok(VerifiedHeads { heads, checkpoint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::StreamSeq;
    use sharetrail_proof::checkpoint::Checkpoint;
    use sharetrail_proof::hash::{Hash, TreeSize};
    use sharetrail_proof::name::{LedgerId, Name, Shard};
    use sharetrail_proof::note::NoteSigner;
    use sharetrail_proof::vrf::VrfSecretKey;

    struct Place {
        signer: NoteSigner,
        listener: Listener,
        notices: Arc<Mutex<Notices>>,
    }

    fn place() -> Place {
        let (ledger, shard) = (Name::new("shop.example").unwrap(), Shard::new(1, 2).unwrap());
        let signer = NoteSigner::from_seed(&log_origin(&ledger, shard), &[1; 32]).unwrap();
        let key = |name| NoteSigner::from_seed(name, &[2; 32]).unwrap().verifier().clone();
        let genesis = Genesis {
            ledger: ledger.clone(),
            id: LedgerId([3; 32]),
            shard,
            vrf: VrfSecretKey::from_seed(&[4; 32]).public(),
            operator: key("operator"),
            recovery: key("recovery"),
        };
        let policy = Arc::new(Policy::new(ledger, genesis.id, [signer.verifier().clone()]));
        let notices = Arc::new(Mutex::new(Notices::default()));
        Place {
            listener: Listener::new(&genesis, &policy, &notices),
            signer,
            notices,
        }
    }

    impl Place {
        fn heads(&self, size: u64, root: u8) -> Heads {
            let origin = self.signer.verifier().name().to_owned();
            let checkpoint = Checkpoint::new(origin, TreeSize(size), Hash([root; 32]));
            Heads {
                shard: 1,
                stream: "0".repeat(32),
                seq: StreamSeq(size),
                last: StreamSeq(size),
                checkpoint: self.signer.sign(&checkpoint.to_text()),
                sealed: Vec::new(),
                rejected: Vec::new(),
                heads: Vec::new(),
                halted: None,
                holder: "host-a".into(),
            }
        }

        fn hear(&self, heads: &Heads) {
            self.listener.hear(&heads.to_bytes());
        }

        /// The size heard last, how many were refused, how many notices there are.
        fn state(&self) -> (Option<u64>, u64, usize) {
            let view = self.listener.view();
            let view = view.borrow();
            let size = view.heads.as_ref().map(|heads| heads.checkpoint.size().0);
            (size, view.refused, self.notices.lock().unwrap().lines.len())
        }
    }

    #[test]
    fn heads_that_verify_reach_the_view_and_every_subscriber() {
        let place = place();
        let mut subscribed = place.listener.subscribe();
        for (size, root) in [(5, 1), (5, 1), (9, 2)] {
            place.hear(&place.heads(size, root));
            let heard = subscribed.try_recv().unwrap();
            let found = (heard.checkpoint.size(), *heard.checkpoint.root());
            assert_eq!(found, (TreeSize(size), Hash([root; 32])));
        }
        assert_eq!(place.state(), (Some(9), 0, 0));
    }

    #[test]
    fn heads_that_nobody_trusted_signed_are_told_once_and_not_used() {
        let (place, mut forged) = (place(), place().heads(5, 1));
        let stranger = NoteSigner::from_seed(place.signer.verifier().name(), &[9; 32]).unwrap();
        let text = forged.checkpoint.split("\n\n").next().unwrap().to_owned() + "\n";
        forged.checkpoint = stranger.sign(&text);
        let mut subscribed = place.listener.subscribe();
        place.hear(&forged);
        place.hear(&forged);
        assert_eq!(place.state(), (None, 2, 1));
        let mut another = place.heads(5, 1);
        another.shard = 0;
        place.hear(&another);
        place.listener.hear(b"{}");
        assert_eq!(place.state(), (None, 4, 3));
        assert!(subscribed.try_recv().is_err());
    }

    #[test]
    fn a_smaller_checkpoint_or_another_root_is_told_and_not_used() {
        let place = place();
        place.hear(&place.heads(9, 1));
        place.hear(&place.heads(8, 1));
        assert_eq!(place.state(), (Some(9), 1, 1));
        place.hear(&place.heads(9, 2));
        assert_eq!(place.state(), (Some(9), 2, 2));
        let take = || place.notices.lock().unwrap().take().len();
        assert_eq!((take(), take()), (2, 0));
        place.hear(&place.heads(9, 2));
        assert_eq!((take(), place.state().1), (0, 3));
        place.hear(&place.heads(10, 3));
        assert_eq!(place.state(), (Some(10), 3, 2));
    }
}
