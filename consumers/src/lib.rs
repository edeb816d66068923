//! What is read out of a ledger: projections, trails, dossiers, audits.
//!
//! In scope: the trail projection (which leaves are whose), the trail of one customer with what is wrong in
//! it, the dossier that proves a trail offline, the certificate of an erasure, and what a dossier says about one
//! recipient; the audit of a whole ledger from its public files. Out of scope: writing to a ledger, signing, publishing,
//! showing; the logs are served as files to auditors, and the archive to other hosts.
//!
//! Trust: the ledger's folder is believed where its checkpoints cover it, and the vault is trusted. A
//! projection is not: it says where to look, and what is found there is checked. It can hide a leaf from a trail;
//! a dossier that lacks one does not fit the customer map.

pub mod audit;
mod certificate;
pub mod choices;
mod dossier;
mod error;
pub mod http;
mod living;
mod logs;
mod opening;
mod pages;
mod projection;
mod reading;
pub mod requests;
mod shelf;
pub mod store;
mod trail;
mod watch;

pub use certificate::certificate;
pub use dossier::{dossier, dossier_about};
pub use error::ConsumerError;
pub use opening::customer_of;
pub use projection::{CaughtUp, LeafRef, Projections, rebuild};
pub use reading::{Disclosure, Reason, never_shared};
pub use shelf::Shelf;
pub use trail::{
    CategorySummary, Finding, NoConsent, RecipientSummary, Totals, Trail, TrailCheckpoint, TrailEvent,
    TrailFinding, TrailGeneration, TrailRecipient, TrailReference, TrailRequest, TrailSeries, Unopened,
    UnopenedState, trail,
};
pub use watch::{Concern, RecipientTotals, Watch, WatchView, WatchedFinding, WatchedRequest};
