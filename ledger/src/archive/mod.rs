//! The archive of a shard: what is on record, and the tree over it.
//!
//! Two folders. `sealed/<shard>/` holds each leaf with its sealed content in append-only files and is what a checkpoint
//! promises: it is synced before a checkpoint is registered. `log/<shard>/` is a C2SP tlog-tiles tree (tiles, bundles,
//! checkpoint) that any static file server can serve; it is derived from the first, and made again from it after an
//! unclean stop. In scope: writing both, reading both. Out of scope: what may be appended (the sequencer's rules).
//! Trust: files are checked against a registered checkpoint before they are built upon.

mod batches;
mod leaves;
mod reader;
mod tiles;

pub(crate) use batches::{Batches, NoBatch, batch_in, frame_of, scan_batches};
pub use leaves::{Leaf, VisitLeaf};
pub(crate) use leaves::{LeafFiles, LeafWriter, append_leaf, split_leaf};
pub use reader::Reader;
pub(crate) use reader::{proving, tile_reader};
pub(crate) use tiles::{TreeWriter, read_bundle};
