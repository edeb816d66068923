//! The program as its users run it: processes, folders, sockets, other people's verifiers and browsers.
//!
//! One program, as each is linked with everything that it tests. Every module says what it is for.

mod api;
mod audit;
mod browser;
mod demo;
mod dossier;
mod erase;
mod fuzz_corpus;
mod interop;
mod kill;
mod loyalty;
mod readme;
mod record;
mod restore;
mod support;
mod tidy;
mod trail;
