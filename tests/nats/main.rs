//! The program on real nats-servers: producers, hosts and the bus as separate processes, any of which may end at any
//! moment.
//!
//! In scope: what reaches the log and what is told, from outside. Out of scope: the bus alone and the harness, which have
//! tests of their own. One test runs at a time: a cluster with hosts and producers is company enough for two cores.

mod bus;
mod chaos;
mod count;
mod hosts;
mod local;
mod loss;
mod process;
mod producers;
mod refusals;
mod site;
mod traffic;
mod watch;

#[path = "../support/mod.rs"]
mod support;
