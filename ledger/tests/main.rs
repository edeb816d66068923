//! The ledger from outside: sequencing, archives, keys and buses, and what a crash or a lying disk does to them.
//!
//! One program, as each is linked with everything that it tests. Every module says what it is for.

mod bus;
mod crash;
mod desk;
mod erase;
mod files;
mod mapper;
mod rollback;
mod rules;
mod support;
