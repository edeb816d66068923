//! The customer map on disk: a trie over labels that is written copy-on-write, so that it can be read while it grows.
//!
//! ```text
//! head:                 "STMAP001" ‖ u64 epoch ‖ u8 kind of the root ‖ entry of the root ‖ u64 live bytes
//!                       ‖ u8 files ‖ u64 length of each ‖ u32 length ‖ mark ‖ u32 CRC-32 of all that
//! pages-<epoch>-<n>:    pages, one after the other
//! page:                 body ‖ u32 CRC-32 of the body and of the root that the page's parent names
//! body of a bucket:     up to 32 records, sorted by label
//! record:               32 label ‖ 32 leaf hash ‖ count (LEB128) ‖ 32 for each hash of the label's compact range
//! body of a node:       u32 kinds of the 16 children, two bits each, the first lowest ‖ an entry for each that is not empty
//! entry:                u64 labels ‖ 32 root of the subtree ‖ u8 file ‖ 7 bytes offset ‖ u32 length of its page
//! ```
//! A node stands at every fourth bit of a label, a bucket where a node would have 32 labels or fewer. Nothing is written
//! over: a version of the map is the entry of its root, and the head, which is replaced whole, names the last one that was
//! committed. What newer versions no longer use is garbage; when there is much of it, what is live is copied into a new
//! epoch, and the files of the old one are removed.
//!
//! In scope: leaves per label to roots, paths and samples; what makes a version last. Out of scope: which leaves, and when
//! a root is sealed (the mapper). Memory: one batch of updates and a few MiB, whatever the number of labels.
//! Trust: all of it is derived and may be deleted. Every page is held to its checksum and to its parent, every path to
//! the root; damage is an error with its place. One process writes at a time, which the caller sees to.

mod bucket;
mod head;
mod node;
mod pages;
mod snapshot;
mod tree;
mod worker;

#[cfg(test)]
mod tests;

pub use snapshot::{Found, MapSnapshot};
pub use tree::MapTree;

/// The most labels of a bucket; one more makes it a node.
const BUCKET_LABELS: usize = 32;
