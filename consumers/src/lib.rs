//! What is read out of a ledger: projections, trails, dossiers.
//!
//! In scope: the trail projection (which leaves are whose), the trail of one customer with what is wrong in
//! it, and the dossier that proves a trail offline. Out of scope: writing to a ledger, signing, publishing,
//! showing; the logs are served as files to auditors, and the archive to other hosts.
//!
//! Trust: the ledger's folder is believed where its checkpoints cover it, and the vault is trusted. A
//! projection is not: it says where to look, and what is found there is checked. It can hide a leaf, though;
//! that a trail is whole follows from the log alone, by a rebuild.

mod dossier;
mod error;
pub mod http;
mod logs;
mod opening;
mod projection;
pub mod store;
mod trail;

pub use dossier::dossier;
pub use error::ConsumerError;
pub use projection::{CaughtUp, LeafRef, Projections, rebuild};
pub use trail::{
    CategorySummary, Finding, NoConsent, RecipientSummary, Totals, Trail, TrailCheckpoint, TrailEvent,
    TrailGeneration, TrailRecipient, TrailReference, TrailRequest, TrailSeries, Unopened, UnopenedState,
    trail,
};
