//! Why a content is refused.
//!
//! In scope: one error enum, with the field's path, what was expected and what was found. Out of scope: finding the
//! field (see `diagnose`). Trust: `found` quotes the content, clipped; it may hold customer data, so a log of these
//! errors is as confidential as the contents.

use crate::time::Timestamp;

/// Longest piece of a content that an error quotes, in characters.
const MAX_QUOTE_CHARS: usize = 120;

/// Why a content is refused. Paths are written like `data.recipient.country` and `data.categories[2]`; `$` is the
/// content itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// The content is longer than a content may be.
    #[error("the content has {found} bytes, the limit is {limit}")]
    TooLong {
        /// Its length in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The content is not UTF-8.
    #[error("the content is not UTF-8 at byte {position}")]
    NotUtf8 {
        /// The first byte that belongs to no character, counted from 0.
        position: usize,
    },
    /// The content is not exactly one JSON value.
    #[error("the content is not one JSON object: {found}")]
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The column in bytes, counted from 1; 0 where the line is empty.
        column: usize,
        /// What the JSON parser found there.
        found: String,
    },
    /// A key stands twice in one object.
    #[error("{field}: stands twice")]
    Duplicate {
        /// The field.
        field: String,
    },
    /// A required field is not there.
    #[error("{field}: missing, expected {expected}")]
    Missing {
        /// The field.
        field: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A field that the kind does not have.
    #[error("{field}: no such field here{}", suggestion(.nearest.as_deref()))]
    UnknownField {
        /// The field.
        field: String,
        /// The nearest name that is known here, if one is near.
        nearest: Option<String>,
    },
    /// A JSON value of the wrong type.
    #[error("{field}: expected {expected}, found {found}")]
    WrongType {
        /// The field.
        field: String,
        /// What should be there.
        expected: &'static str,
        /// The JSON type that is there.
        found: &'static str,
    },
    /// A value of the right JSON type that breaks its field's rule.
    #[error("{field}: expected {expected}, found {found:?}")]
    Invalid {
        /// The field.
        field: String,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A text or list that is too short or too long.
    #[error("{field}: expected {min} to {max} {unit}, found {found}")]
    Length {
        /// The field.
        field: String,
        /// The least length.
        min: usize,
        /// The greatest length.
        max: usize,
        /// What the lengths count.
        unit: &'static str,
        /// The length that is there.
        found: usize,
    },
    /// A word that its vocabulary does not hold.
    #[error("{field}: expected {expected}, found the unknown {found:?}{}", suggestion(.nearest.as_deref()))]
    UnknownTerm {
        /// The field.
        field: String,
        /// Which vocabulary the field takes.
        expected: &'static str,
        /// What is there.
        found: String,
        /// The nearest word that the field takes, if one is near.
        nearest: Option<String>,
    },
    /// A term that is known, but means something else than the field asks for.
    #[error("{field}: expected {expected}; {found:?} is a term, but not such a one")]
    MisplacedTerm {
        /// The field.
        field: String,
        /// Which terms the field takes.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The type names no kind of event.
    #[error("type: unknown kind {found:?}{}", suggestion(.nearest.as_deref()))]
    UnknownKind {
        /// The kind that is there, without `org.sharetrail.` and version.
        found: String,
        /// The nearest known kind, if one is near.
        nearest: Option<String>,
    },
    /// The type names a version that the kind does not have.
    #[error("type: {kind} has no version {found:?}, known are {known:?}")]
    UnknownVersion {
        /// The kind.
        kind: &'static str,
        /// The version that is there.
        found: String,
        /// The versions that are known.
        known: &'static [u32],
    },
    /// The event is said to happen too far in the future.
    #[error("time: {found} is later than {limit}")]
    TooFarAhead {
        /// The time that is there.
        found: Timestamp,
        /// The latest time that is accepted now.
        limit: Timestamp,
    },
}

impl ContentError {
    /// The path of the field that is wrong; none where the content as a whole is.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::TooLong { .. } | Self::NotUtf8 { .. } | Self::NotJson { .. } => None,
            Self::Duplicate { field }
            | Self::Missing { field, .. }
            | Self::UnknownField { field, .. }
            | Self::WrongType { field, .. }
            | Self::Invalid { field, .. }
            | Self::Length { field, .. }
            | Self::UnknownTerm { field, .. }
            | Self::MisplacedTerm { field, .. } => Some(field),
            Self::UnknownKind { .. } | Self::UnknownVersion { .. } => Some("type"),
            Self::TooFarAhead { .. } => Some("time"),
        }
    }

    /// Whether a later attempt with the same bytes may succeed: only the clock can change the answer.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::TooFarAhead { .. })
    }
}

/// The beginning of `text`: an error must not carry 64 KiB into a log line.
pub(crate) fn quote(text: &str) -> String {
    text.chars().take(MAX_QUOTE_CHARS).collect()
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (the nearest is {name})"))
}
