//! The evidence of a Sharetrail ledger, and how to check it.
//!
//! In scope: what an entry, a batch, a frame, a note, a tree, a checkpoint, a policy and a dossier *are*, byte by
//! byte, and every check that makes one believable. An auditor can read and build this crate alone.
//!
//! Out of scope: where bytes come from, where they go, what an event says (the schemas), time and randomness: callers
//! pass both in. There is no file, socket, clock or random number in this crate.
//!
//! Trust: every byte that enters is untrusted. `parse` takes bytes apart, `open` checks signatures, `verify` checks
//! proofs; a type whose name says `Verified` comes from nowhere else.

pub mod acceptance;
mod base64;
pub mod batch;
pub mod checkpoint;
pub mod customer;
pub mod dossier;
pub mod entry;
pub mod frame;
pub mod hash;
mod lanes;
pub mod map;
pub mod name;
pub mod note;
pub mod policy;
pub mod registry;
pub mod tiles;
pub mod tlog_proof;
pub mod tree;
pub mod vrf;
