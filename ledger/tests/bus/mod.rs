//! The buses: one suite of promises over both, and the faults of each.
//!
//! In scope: the embedded bus on its files, the bus on real nats-servers. Out of scope: what a frame says.

mod embedded;
mod nats;
mod promises;
