//! What an event says: kinds, fields, vocabulary, JSON Schemas and the validation of contents.
//!
//! A content is one `CloudEvents` 1.0 JSON object, kept byte for byte. [`parse`] checks everything a content must
//! hold before it is recorded; [`read`] gives the same view of a content that was recorded before.
//!
//! ```
//! use sharetrail_schemas::{Kind, Timestamp, parse};
//!
//! let bytes = br#"{"specversion":"1.0","id":"mail-1","source":"https://shop.example/campaigns",
//!     "type":"org.sharetrail.data.shared.v1","subject":"customer-42","time":"2026-01-31T12:00:00Z","data":{
//!     "recipient":{"id":"mailhouse.example","name":"Mail house","role":"processor","country":"IE"},
//!     "categories":["pd:Name"],"purposes":["dpv:DirectMarketing"]}}"#;
//! let content = parse(bytes, Timestamp::from_unix(1_769_900_000))?;
//! assert_eq!(content.kind(), Kind::DataShared);
//! assert_eq!(content.data().recipient().map(|recipient| recipient.name.as_str()), Some("Mail house"));
//! # Ok::<(), sharetrail_schemas::ContentError>(())
//! ```
//!
//! One table of fields (`data`) and one of kinds (`kind`) are the source of the Rust types, of the validation and of
//! the JSON Schemas. A content is read in one pass into types that carry their own checks; only when that fails is
//! it read again, slowly, to say which field is wrong and why (`diagnose`).
//!
//! In scope: the meaning and form of contents. Out of scope: commitments, sealing, storage, clocks and files.
//! Trust: contents are untrusted bytes; the caller's clock is trusted.

mod content;
mod country;
mod data;
mod diagnose;
mod envelope;
mod error;
mod kind;
mod leaf;
mod nearest;
mod object;
mod record;
mod schema;
mod shape;
mod text;
mod time;
mod tree;
mod upcast;
mod vocabulary;

pub use content::{Content, MAX_AHEAD_SECONDS, MAX_CONTENT_BYTES, parse, read};
pub use data::{Data, Field};
pub use error::ContentError;
pub use kind::{
    BreachNotified, ConsentExpired, ConsentGiven, ConsentRefused, ConsentWithdrawn, DataAccessed,
    DataCollected, DataCorrected, DataDerived, DataReceived, DataShared, DataTransferred, Detail,
    DisclosureFailed, DisputeOpened, DisputeResolved, EventCorrected, Kind, PreferenceChanged,
    RecipientConfirmed, RecipientNotified, RelationshipEnded, RelationshipStarted, RequestClosed,
    RequestOpened, RequestUpdated,
};
pub use record::{Payload, Recipient, Reference, Request, Right, Role, Series};
pub use schema::json_schema;
pub use text::{
    Category, Country, CustomerId, Digest, Duration, Id, LegalBasis, List, Party, Purpose, Safeguard, Source,
    Text, check_customer_id,
};
pub use time::Timestamp;
pub use vocabulary::{label, short_form};
