//! A producer's chain on one shard: numbers, links, signatures.
//!
//! In scope: the chain's id, which lives in the outbox folder; where the log says the chain stands, or where its owner
//! knows it to stand; cutting and signing the next batch. Out of scope: what is in a batch.
//! Trust: the log's head of this chain is what counts.

use std::path::Path;
use std::sync::Arc;

use sharetrail_proof::batch::{Batch, text_hash};
use sharetrail_proof::frame;
use sharetrail_proof::hash::{Hash, LeafHash, leaf_hashes};
use sharetrail_proof::name::{ChainId, Name, Shard};
use sharetrail_proof::note::NoteSigner;
use sharetrail_proof::tree::root_of;
use tokio::sync::watch;

use crate::engine::Engine;
use crate::error::LedgerError;
use crate::facts::Facts;
use crate::files;
use crate::sequencer::ShardView;

/// A chain that is ready to be continued.
pub struct Chain {
    ledger: Name,
    shard: Shard,
    producer: Name,
    id: ChainId,
    /// The leaf hash of the shard's genesis entry, which the first batch names.
    genesis: Hash,
    next: u64,
    prev: Hash,
    signer: NoteSigner,
    /// Where the log is followed; none where whoever cuts keeps the place ([`Chain::resume_at`]).
    view: Option<watch::Receiver<Arc<ShardView>>>,
}

/// A signed batch.
pub struct Cut {
    /// Its number in the chain.
    pub number: u64,
    /// The hash of its note's text.
    pub hash: Hash,
    /// The message for the bus.
    pub frame: Vec<u8>,
}

impl Chain {
    /// The outbox's chain on a shard, at the place where the log has it.
    pub fn open(engine: &Engine, signer: &NoteSigner, shard: u32) -> Result<Self, LedgerError> {
        let ledger = engine.ledger();
        let mut chain = Self::begin(ledger.facts(), signer, shard, ChainId([0; 16]))?;
        let outbox = ledger.folder().outbox().join(chain.producer.as_str());
        chain.id = chain_id(&outbox.join(shard.to_string()))?;
        chain.view = Some(engine.view(shard));
        chain.resume();
        Ok(chain)
    }

    /// A chain that its owner keeps the place of, at its beginning.
    pub fn begin(facts: &Facts, signer: &NoteSigner, shard: u32, id: ChainId) -> Result<Self, LedgerError> {
        let producer: Name = signer
            .verifier()
            .name()
            .parse()
            .map_err(|_| LedgerError::Invalid("not a producer's key".into()))?;
        let genesis = facts
            .genesis
            .get(shard as usize)
            .ok_or_else(|| LedgerError::Invalid(format!("the ledger has no shard {shard}")))?;
        let first = LeafHash::of(&genesis.to_bytes()).0;
        Ok(Self {
            ledger: facts.name.clone(),
            shard: genesis.shard,
            producer,
            id,
            genesis: first,
            next: 0,
            prev: first,
            signer: signer.clone(),
            view: None,
        })
    }

    /// Goes back to where the log has the chain: what was rejected may be cut anew. A chain whose owner keeps its place
    /// stays where it is.
    pub fn resume(&mut self) {
        let Some(view) = &self.view else { return };
        let head = view
            .borrow()
            .heads
            .get(&self.id)
            .map(|head| (head.number + 1, head.hash));
        (self.next, self.prev) = head.unwrap_or((0, self.genesis));
    }

    /// Goes on with batch `next`, which names `prev`, the hash of the note's text before.
    pub fn resume_at(&mut self, next: u64, prev: Hash) {
        (self.next, self.prev) = (next, prev);
    }

    /// What batch number 0 names as the one before: the leaf hash of the shard's genesis entry.
    pub fn genesis(&self) -> Hash {
        self.genesis
    }

    /// The chain's id.
    pub fn id(&self) -> ChainId {
        self.id
    }

    /// Who signs.
    pub fn producer(&self) -> &Name {
        &self.producer
    }

    /// Signs the next batch. `entries`: 1 to 1,024, with as many sealed contents.
    pub fn cut(&mut self, entries: &[&[u8]], sealed: &[&[u8]]) -> Cut {
        let leaves = leaf_hashes(entries);
        let batch = Batch {
            ledger: self.ledger.clone(),
            shard: self.shard,
            producer: self.producer.clone(),
            chain: self.id,
            number: self.next,
            count: u32::try_from(entries.len()).expect("a batch has at most 1,024 entries"),
            root: root_of(&leaves),
            prev: self.prev,
        };
        let text = batch.to_text();
        self.prev = text_hash(&text);
        self.next += 1;
        let frame = frame::encode(&self.signer.sign(&text), entries, sealed);
        Cut {
            number: batch.number,
            hash: self.prev,
            frame,
        }
    }
}

fn chain_id(path: &Path) -> Result<ChainId, LedgerError> {
    if let Some(bytes) = files::read_if_there(path)? {
        let text = String::from_utf8(bytes).unwrap_or_default();
        return text
            .trim_end()
            .parse()
            .map_err(|_| LedgerError::damaged(path, None, "not a chain's id"));
    }
    let id = ChainId(files::random()?);
    files::make_private_folder(path.parent().unwrap_or(path))?;
    files::replace(path, format!("{id}\n").as_bytes(), 0o600)?;
    Ok(id)
}
