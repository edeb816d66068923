//! Recording events: the builder, the publisher, the bulk door.
//!
//! In scope: everything between a service's event and a frame on the bus, the outbox that keeps a frame until it is proven
//! to be on record, and the two promises a caller can wait for: *accepted* (durable on the bus) and *sealed* (covered by a
//! published checkpoint, with proof). Out of scope: deciding what enters the log (the sequencer). Trust: the vault's
//! labels are checked by their proofs when they are new. Where the log is at hand, the index of what was recorded is
//! derived from it and can be deleted; over the bus alone it is all that tells a repeat.

mod bulk;
mod courier;
mod cutter;
mod error;
mod event;
mod index;
mod lines;
mod moving;
mod notices;
mod open;
pub mod outbox;
mod pending;
mod prepare;
mod publisher;
mod sealer;
mod settle;
mod tickets;

pub use bulk::{BadLine, RecordProgress, RecordSummary};
pub use error::PublishError;
pub use event::{Event, EventError, Recipient, Right, Role};
pub use pending::{InBatch, Outcome, Pending, Receipt, ReceiptError};
pub use publisher::{Closed, Publisher};
