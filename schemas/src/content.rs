//! Contents: the bytes of an event and what they say.
//!
//! In scope: the two ways in, [`parse`] for what is to be recorded and [`read`] for what was. Out of scope: the rules
//! for attributes (see `envelope`) and fields (see `data`). Trust: the bytes are untrusted, `now` is trusted.

use serde_json::error::Category;

use crate::data::Data;
use crate::diagnose::diagnose;
use crate::envelope::{Envelope, EventType};
use crate::error::ContentError;
use crate::kind::{Detail, Kind};
use crate::text::{CustomerId, Id, Source};
use crate::time::Timestamp;
use crate::upcast::{Version, upcast};

/// Longest content, in bytes.
pub const MAX_CONTENT_BYTES: usize = 65_536;

/// How far ahead of the caller's clock an event's time may be, in seconds: clocks differ, and time zones are mistaken.
pub const MAX_AHEAD_SECONDS: i64 = 24 * 60 * 60;

/// A valid content: its bytes and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content<'a> {
    bytes: &'a [u8],
    id: Id<'a>,
    source: Source<'a>,
    kind: Kind,
    version: Version,
    customer: CustomerId<'a>,
    time: Timestamp,
    data: Data<'a>,
}

impl<'a> Content<'a> {
    /// The JSON, byte for byte as it was given.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The event's id, unique within its source.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the event was noticed: a URI reference.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The kind of event.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The version of the kind that the bytes are written in. The fields are always given in the newest version.
    pub fn version(&self) -> u32 {
        self.version.number()
    }

    /// The customer id.
    pub fn customer(&self) -> &str {
        &self.customer
    }

    /// When it happened.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The fields, each of them present or not: for code that shows or folds any kind.
    pub fn data(&self) -> &Data<'a> {
        &self.data
    }

    /// The fields sorted by kind, required ones as they are: for code that is about one kind.
    pub fn detail(&self) -> Detail<'_> {
        Detail::new(self.kind, &self.data)
    }
}

/// Checks a content that is to be recorded.
///
/// `bytes`: exactly the JSON as given, at most [`MAX_CONTENT_BYTES`]. `now`: the caller's clock; an event may be at
/// most [`MAX_AHEAD_SECONDS`] ahead of it.
///
/// # Errors
/// [`ContentError`] names the first field that is wrong, what was expected there and what was found.
pub fn parse(bytes: &[u8], now: Timestamp) -> Result<Content<'_>, ContentError> {
    let content = read(bytes)?;
    let limit = now.plus(MAX_AHEAD_SECONDS);
    if content.time > limit {
        return Err(ContentError::TooFarAhead {
            found: content.time,
            limit,
        });
    }
    Ok(content)
}

/// Reads a content that was recorded before: the same checks as [`parse`] makes, except for the clock.
///
/// Contents in an older version of their kind are given in the words of the newest.
///
/// # Errors
/// [`ContentError`], as for [`parse`].
pub fn read(bytes: &[u8]) -> Result<Content<'_>, ContentError> {
    if bytes.len() > MAX_CONTENT_BYTES {
        return Err(ContentError::TooLong {
            found: bytes.len(),
            limit: MAX_CONTENT_BYTES,
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| ContentError::NotUtf8 {
        position: error.valid_up_to(),
    })?;
    match serde_json::from_str::<Envelope<'_>>(text) {
        Ok(envelope) => complete(bytes, envelope).ok_or_else(|| explain(text, None)),
        Err(error) if error.classify() == Category::Data => Err(explain(text, Some(&error))),
        Err(error) => Err(not_json(&error)),
    }
}

/// The content, if all that is required came and nothing that its kind does not have.
fn complete<'a>(bytes: &'a [u8], envelope: Envelope<'a>) -> Option<Content<'a>> {
    let EventType { kind, version } = envelope.event_type?;
    let data = envelope.data?;
    envelope.specversion?;
    kind.allows(data.bits()).then_some(())?;
    Some(Content {
        bytes,
        id: envelope.id?,
        source: envelope.source?,
        kind,
        version,
        customer: envelope.customer?,
        time: envelope.time?,
        data: upcast(version, data),
    })
}

/// Why the fast reader refused `text`. The slow one refuses the same texts, which the property tests hold it to; if
/// it ever did not, the fast one's own words would stand in.
fn explain(text: &str, error: Option<&serde_json::Error>) -> ContentError {
    let fault = diagnose(text);
    debug_assert!(fault.is_some(), "the fast reader refused what the slow one takes");
    fault
        .or_else(|| error.map(not_json))
        .unwrap_or_else(|| ContentError::Invalid {
            field: "$".to_owned(),
            expected: "a valid content",
            found: "another".to_owned(),
        })
}

/// What the JSON parser says.
pub(crate) fn not_json(error: &serde_json::Error) -> ContentError {
    ContentError::NotJson {
        line: error.line(),
        column: error.column(),
        found: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"org.sharetrail.consent.withdrawn.v1",
        "subject":"customer-42","time":"2026-01-31T12:00:00Z","data":{"consent":"enrol-42"}}"#;

    #[test]
    fn a_content_says_what_it_says() {
        let content = read(EVENT.as_bytes()).unwrap();
        assert_eq!(
            (content.id(), content.source(), content.customer()),
            ("1", "/shop", "customer-42")
        );
        assert_eq!((content.kind(), content.version()), (Kind::ConsentWithdrawn, 1));
        assert_eq!(
            (content.bytes(), content.time().seconds()),
            (EVENT.as_bytes(), 1_769_860_800)
        );
        let Detail::ConsentWithdrawn(detail) = content.detail() else {
            panic!("{:?}", content.detail())
        };
        assert_eq!((detail.consent.id.as_str(), detail.purposes), ("enrol-42", None));
    }

    #[test]
    fn only_the_recording_path_looks_at_the_clock() {
        let noon = 1_769_860_800;
        assert!(parse(EVENT.as_bytes(), Timestamp::from_unix(noon - MAX_AHEAD_SECONDS)).is_ok());
        let error = parse(
            EVENT.as_bytes(),
            Timestamp::from_unix(noon - MAX_AHEAD_SECONDS - 1),
        )
        .unwrap_err();
        let (found, limit) = (Timestamp::from_unix(noon), Timestamp::from_unix(noon - 1));
        assert_eq!(error, ContentError::TooFarAhead { found, limit });
        assert!(error.is_transient());
    }

    #[test]
    fn bytes_that_are_no_content_are_told_apart() {
        let long = vec![b' '; 70 * 1_024];
        assert_eq!(
            read(&long).unwrap_err(),
            ContentError::TooLong {
                found: 71_680,
                limit: 65_536
            }
        );
        let mut torn = EVENT.as_bytes().to_vec();
        torn[3] = 0xff;
        assert_eq!(read(&torn).unwrap_err(), ContentError::NotUtf8 { position: 3 });
        for text in ["", "{", "{}x", r#"{"id":"\ud800"}"#, &format!("{EVENT}{EVENT}")] {
            assert!(
                matches!(read(text.as_bytes()), Err(ContentError::NotJson { .. })),
                "{text}"
            );
        }
    }
}
