//! The proof crate from outside: vectors of the standards, golden files, properties, and what a forger would try.
//!
//! One program, as each is linked with everything that it tests. Every module says what it is for.

mod acceptance;
mod customer;
mod dossier;
mod entry;
mod frame;
mod map;
mod note;
mod parsers;
mod policy;
mod registry;
mod support;
mod tiles;
mod tlog_proof;
mod tree;
mod vrf;
