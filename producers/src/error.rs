//! Why an event is not on record.
//!
//! In scope: one error for callers of the publisher. Trust: none needed.

use sharetrail_ledger::LedgerError;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_schemas::ContentError;
use thiserror::Error;

use crate::event::EventError;

/// Why an event is not on record.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The content breaks a rule of its schema.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The event could not be built.
    #[error(transparent)]
    Event(#[from] EventError),
    /// Another content with the same source and id is on record, or on its way there.
    #[error("an event with source {source_uri:?} and id {id:?} is on record{} with another content; give this one another id, or record an event.corrected", leaf.map(|leaf| format!(" (leaf {leaf})")).unwrap_or_default())]
    Conflict {
        /// The event's source.
        source_uri: String,
        /// The event's id.
        id: String,
        /// Where the other is, once it is sealed.
        leaf: Option<LeafIndex>,
    },
    /// The event is on record under a label of its customer that was erased since; it is not recorded under the next.
    #[error(
        "the event with source {source_uri:?} and id {id:?} was recorded (leaf {leaf}) before its customer was erased; it is not recorded again. Give a new one another id"
    )]
    Erased {
        /// The event's source.
        source_uri: String,
        /// The event's id.
        id: String,
        /// Where it is.
        leaf: LeafIndex,
    },
    /// The sequencer refused the event's batch.
    #[error("rejected: {reason}")]
    Rejected {
        /// Why.
        reason: String,
    },
    /// The publisher has stopped.
    #[error("the publisher has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
    /// The ledger's folder.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The index of what was recorded.
    #[error("the index of recorded events in {}: {reason}; {}", folder.display(), remedy(*is_derived))]
    Index {
        /// Where it is.
        folder: std::path::PathBuf,
        /// What went wrong.
        reason: String,
        /// Whether it can be made again from the log. Otherwise it is all that tells a repeat.
        is_derived: bool,
    },
    /// The input of a bulk recording could not be read.
    #[error("cannot read the input: {0}")]
    Input(#[source] std::io::Error),
    /// The vault gave a label that is not the customer's.
    #[error("the vault gave a label that is not proven to be the customer's; nothing was recorded for them")]
    Label,
}

fn remedy(is_derived: bool) -> &'static str {
    if is_derived {
        "delete the folder, it is made again"
    } else {
        "move the folder away to begin anew; what was recorded before would then be recorded again"
    }
}

impl PublishError {
    /// Whether this event is at fault, rather than the publisher or the disk under it.
    pub fn is_about_the_event(&self) -> bool {
        matches!(
            self,
            Self::Content(_)
                | Self::Event(_)
                | Self::Conflict { .. }
                | Self::Erased { .. }
                | Self::Rejected { .. }
                | Self::Label
        )
    }

    /// Whether the event was looked at and refused, rather than not looked at.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Conflict { .. } | Self::Erased { .. } | Self::Rejected { .. }
        )
    }

    /// The field that is at fault, if it is one.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Content(error) | Self::Event(EventError::Content(error)) => error.field(),
            Self::Conflict { .. } | Self::Erased { .. } => Some("id"),
            _ => None,
        }
    }
}
