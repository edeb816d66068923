//! Subtree hashes out of tiles: a [`NodeSource`] over whatever fetches tiles.
//!
//! In scope: which tile holds a subtree's hash, hashing the levels between tiles, remembering tiles. Out of scope:
//! fetching. Trust: tiles are untrusted; only their length is checked here.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::{HASH_BYTES, Tile, TileError};
use crate::hash::{Hash, TreeSize};
use crate::tree::{NodeSource, root_of_hashes};

/// Where the hash of a complete subtree is: `count` hashes of a tile, from `offset` on, of which it is the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePlace {
    /// The level of the tile.
    pub tile_level: u8,
    /// The index of the tile.
    pub tile_index: u64,
    /// The first hash, 0 to 255.
    pub offset: usize,
    /// How many hashes: a power of two, at most 128.
    pub count: usize,
}

impl NodePlace {
    /// The place of the subtree of 2^`level` leaves that begins at leaf `index` · 2^`level`.
    ///
    /// Spec: tlog-tiles, "Merkle Tree": a tile holds every eighth level, the levels between are hashed.
    pub fn of(level: u8, index: u64) -> Self {
        let (tile_level, inner) = (level / 8, level % 8);
        Self {
            tile_level,
            tile_index: index >> (8 - inner),
            // 256 hashes a tile: the low byte of the first hash's position in its level.
            offset: usize::from((index << inner).to_le_bytes()[0]),
            count: 1 << inner,
        }
    }

    /// The subtree's hash, from the bytes of its tile; none if they end before.
    ///
    /// Spec: tlog-tiles, "Merkle Tree".
    pub fn hash_in(&self, tile: &[u8]) -> Option<Hash> {
        let (hashes, _) = tile.as_chunks::<HASH_BYTES>();
        let hashes = hashes.get(self.offset..self.offset.checked_add(self.count)?)?;
        Some(root_of_hashes(hashes.iter().map(|hash| Hash(*hash)).collect()))
    }
}

/// Why a hash could not be read out of tiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError<E> {
    /// The tile could not be had.
    #[error("cannot read {tile}")]
    Fetch {
        /// The tile asked for.
        tile: Tile,
        /// What the fetching function said.
        #[source]
        source: E,
    },
    /// The tile is not what it must be, or the tree has no such node.
    #[error(transparent)]
    Tile(#[from] TileError),
}

/// Remembers tiles for a [`TileReader`]. All tiles it is given belong to the same log.
///
/// The unit type remembers nothing; [`RecentTiles`] in a [`RefCell`] serves one thread, in a [`Mutex`] several.
pub trait TileCache {
    /// The bytes of this very tile, width included, if they are remembered.
    fn get(&self, tile: &Tile) -> Option<Arc<[u8]>>;

    /// Remembers the bytes of a tile, which have the right length.
    fn put(&self, tile: Tile, bytes: &Arc<[u8]>);

    /// A node between the levels of tiles, if it was computed before and is remembered.
    fn node(&self, _level: u8, _index: u64) -> Option<Hash> {
        None
    }

    /// Remembers a node that cost some hashing. A complete subtree never changes, so it holds for every size.
    fn put_node(&self, _level: u8, _index: u64, _hash: Hash) {}
}

/// A node over fewer hashes of its tile is computed again faster than it is looked up.
const WORTH_REMEMBERING: usize = 8;

/// The tiles read last, up to a number of them.
#[derive(Clone, Debug)]
pub struct RecentTiles {
    capacity: usize,
    tiles: VecDeque<(Tile, Arc<[u8]>)>,
    nodes: HashMap<(u8, u64), Hash>,
}

/// Nodes that are remembered beside the tiles: proofs of one log share those near its root.
const NODES_MAX: usize = 16_384;

impl RecentTiles {
    /// Room for `capacity` tiles of at most 8 KiB. A proof in a tree of 2^32 leaves touches at most 8.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            tiles: VecDeque::new(),
            nodes: HashMap::new(),
        }
    }

    fn find(&self, wanted: &Tile) -> Option<Arc<[u8]>> {
        let found = self.tiles.iter().find(|(tile, _)| tile == wanted);
        found.map(|(_, bytes)| Arc::clone(bytes))
    }

    /// The oldest goes first: a proof reads its tiles one after the other, so use need not be tracked.
    fn add(&mut self, tile: Tile, bytes: &Arc<[u8]>) {
        self.tiles.push_back((tile, Arc::clone(bytes)));
        while self.tiles.len() > self.capacity {
            self.tiles.pop_front();
        }
    }
}

impl RecentTiles {
    fn add_node(&mut self, level: u8, index: u64, hash: Hash) {
        if self.nodes.len() >= NODES_MAX {
            self.nodes.clear();
        }
        self.nodes.insert((level, index), hash);
    }
}

impl Default for RecentTiles {
    /// Room for 32 tiles, 256 KiB.
    fn default() -> Self {
        Self::new(32)
    }
}

impl TileCache for () {
    fn get(&self, _: &Tile) -> Option<Arc<[u8]>> {
        None
    }

    fn put(&self, _: Tile, _: &Arc<[u8]>) {}
}

impl TileCache for RefCell<RecentTiles> {
    fn get(&self, tile: &Tile) -> Option<Arc<[u8]>> {
        self.borrow().find(tile)
    }

    fn put(&self, tile: Tile, bytes: &Arc<[u8]>) {
        self.borrow_mut().add(tile, bytes);
    }

    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        self.borrow().nodes.get(&(level, index)).copied()
    }

    fn put_node(&self, level: u8, index: u64, hash: Hash) {
        self.borrow_mut().add_node(level, index, hash);
    }
}

// A thread that panicked while it held the lock can have lost a tile, not spoilt one: the cache stays good.
impl TileCache for Mutex<RecentTiles> {
    fn get(&self, tile: &Tile) -> Option<Arc<[u8]>> {
        self.lock().unwrap_or_else(PoisonError::into_inner).find(tile)
    }

    fn put(&self, tile: Tile, bytes: &Arc<[u8]>) {
        self.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(tile, bytes);
    }

    fn node(&self, level: u8, index: u64) -> Option<Hash> {
        self.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .nodes
            .get(&(level, index))
            .copied()
    }

    fn put_node(&self, level: u8, index: u64, hash: Hash) {
        self.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add_node(level, index, hash);
    }
}

/// The nodes of a tree of one size, out of tiles that a function fetches.
///
/// `fetch` gets the tile, partial or full, as it is in the tree of that size, and answers with its bytes: exactly as
/// many as [`Tile::byte_len`]. Where a partial tile is gone, the front of [`Tile::full`] serves.
#[derive(Debug)]
pub struct TileReader<F, C = RefCell<RecentTiles>> {
    size: TreeSize,
    fetch: F,
    cache: C,
}

impl<F> TileReader<F> {
    /// Reads the tree of `size` leaves and remembers the last 32 tiles, for one thread.
    pub fn new<B, E>(size: TreeSize, fetch: F) -> Self
    where
        F: Fn(Tile) -> Result<B, E>,
        B: Into<Arc<[u8]>>,
    {
        Self::with_cache(size, fetch, RefCell::default())
    }
}

impl<F, C: TileCache> TileReader<F, C> {
    /// Reads the tree of `size` leaves and remembers tiles as `cache` does.
    pub fn with_cache<B, E>(size: TreeSize, fetch: F, cache: C) -> Self
    where
        F: Fn(Tile) -> Result<B, E>,
        B: Into<Arc<[u8]>>,
    {
        Self { size, fetch, cache }
    }

    /// The size of the tree, which decides how wide its last tiles are.
    pub fn size(&self) -> TreeSize {
        self.size
    }

    fn bytes<B, E>(&self, tile: Tile) -> Result<Arc<[u8]>, ReadError<E>>
    where
        F: Fn(Tile) -> Result<B, E>,
        B: Into<Arc<[u8]>>,
    {
        if let Some(bytes) = self.cache.get(&tile) {
            return Ok(bytes);
        }
        let bytes: Arc<[u8]> = (self.fetch)(tile)
            .map_err(|source| ReadError::Fetch { tile, source })?
            .into();
        check_length(tile, &bytes)?;
        self.cache.put(tile, &bytes);
        Ok(bytes)
    }
}

fn check_length(tile: Tile, bytes: &[u8]) -> Result<(), TileError> {
    let (expected, found) = (tile.byte_len(), bytes.len());
    if found != expected {
        return Err(TileError::WrongLength {
            tile,
            expected,
            found,
        });
    }
    Ok(())
}

impl<F, C, B, E> NodeSource for TileReader<F, C>
where
    F: Fn(Tile) -> Result<B, E>,
    B: Into<Arc<[u8]>>,
    C: TileCache,
{
    type Error = ReadError<E>;

    /// At most one tile is fetched, and at most 127 nodes are hashed.
    fn node(&self, level: u8, index: u64) -> Result<Hash, ReadError<E>> {
        let missing = TileError::NoSuchNode {
            level,
            index,
            size: self.size,
        };
        let complete = self.size.0.checked_shr(u32::from(level)).unwrap_or(0);
        if index >= complete {
            return Err(missing.into());
        }
        let place = NodePlace::of(level, index);
        let Some(tile) = Tile::at(place.tile_level, place.tile_index, self.size) else {
            return Err(missing.into());
        };
        if place.count < WORTH_REMEMBERING {
            return place.hash_in(&self.bytes(tile)?).ok_or_else(|| missing.into());
        }
        if let Some(hash) = self.cache.node(level, index) {
            return Ok(hash);
        }
        let hash = place.hash_in(&self.bytes(tile)?).ok_or(missing)?;
        self.cache.put_node(level, index, hash);
        Ok(hash)
    }
}
