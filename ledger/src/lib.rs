//! A Sharetrail ledger on disk: the bus, the sequencer, the archive, the register and the vault.
//!
//! In scope: everything between an accepted frame and a sealed checkpoint, and the keys. Out of scope: what an event
//! says (schemas), making frames (producers), showing anything (consumers).
//!
//! Trust: the bus is not trusted (a frame counts once its note, key, chain and root hold), the archive is checked
//! against the checkpoints at every start, the vault and the key files are trusted and must be private.

pub mod archive;
pub mod bus;
mod chain;
mod clock;
pub mod desk;
mod engine;
mod erase;
pub mod error;
mod facts;
pub mod files;
mod folder;
pub mod host;
mod init;
pub mod keys;
mod ledger;
pub mod map;
mod mapper;
mod operator;
mod register;
pub mod remote;
mod restore;
mod sequencer;
mod settings;
mod status;
#[cfg(test)]
mod testing;
mod vault;
pub mod wire;

pub use archive::{Leaf, Reader, VisitLeaf};
pub use chain::{Chain, Cut};
pub use engine::{Engine, catch_up, catch_up_mapped};
pub use erase::Erased;
pub use error::LedgerError;
pub use facts::Facts;
pub use host::{Host, HostOptions, Role};
pub use init::{InitOptions, Initialised, init};
pub use ledger::Ledger;
pub use mapper::{MapReader, Remapped, remap};
pub use register::{Incident, IncidentKind};
pub use restore::{Restored, RestoredShard, restore};
pub use sequencer::{Observer, RejectedBatch, ShardView, Step};
pub use settings::{STORES, Settings};
pub use status::{
    BusStatus, ChainStatus, HostStatus, LeaseStatus, MapStatus, ShardStatus, Status, VaultStatus, status,
};
pub use vault::{CustomerGeneration, Grant, Grants, Leased, Vault};
