//! The program on real nats-servers: producers, hosts and the bus as separate processes, any of which may end at any
//! moment.
//!
//! In scope: what reaches the log and what is told, from outside. Out of scope: the bus alone and the harness, which have
//! tests of their own. Three clusters are at work at a time.

mod backup;
mod bus;
mod chaos;
mod commands;
mod count;
mod erase;
mod hosts;
mod local;
mod loss;
mod maps;
mod process;
mod producers;
mod refusals;
mod site;
mod tls;
mod traffic;
mod watch;

#[path = "../support/mod.rs"]
mod support;
