//! Recording events: the builder, the publisher, the bulk door.
//!
//! In scope: everything between a service's event and a frame on the bus, and the two promises a caller can wait for:
//! *accepted* (durable on the bus) and *sealed* (covered by a published checkpoint, with proof). Out of scope: deciding
//! what enters the log (the sequencer). Trust: the vault's labels are checked by their proofs when they are new; the
//! index of what was recorded is derived from the log and can be deleted.

mod bulk;
mod cutter;
mod error;
mod event;
mod index;
mod lines;
mod pending;
mod prepare;
mod publisher;
mod sealer;
mod tickets;

pub use bulk::{BadLine, RecordProgress, RecordSummary};
pub use error::PublishError;
pub use event::{Event, EventError, Recipient, Right, Role};
pub use pending::{Outcome, Pending, Receipt};
pub use publisher::Publisher;
