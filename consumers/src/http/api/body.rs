//! The body of `POST /v1/events`: in which form it comes, and the events in it.
//!
//! In scope: media types, cutting, validating all events before any is recorded. Out of scope: recording them. Trust:
//! the body is a stranger's. Every event keeps the bytes in which it came; nothing is written anew.

use std::iter;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sharetrail_schemas::{ContentError, Timestamp, parse};
use utoipa::ToSchema;

use crate::http::problem::{Problem, ProblemKind};

/// One event.
pub(super) const EVENT: &str = "application/cloudevents+json";
/// One event too.
pub(super) const JSON: &str = "application/json";
/// An array of events.
pub(super) const BATCH: &str = "application/cloudevents-batch+json";
/// One event a line.
pub(super) const NDJSON: &str = "application/x-ndjson";
/// One event a line too.
pub(super) const JSONL: &str = "application/jsonl";

/// Events of an array.
pub(super) const BATCH_MAX: usize = 1_024;
/// Events that are told of one by one where they are refused; the rest is counted.
pub(super) const FAULTS_MAX: usize = 1_000;
/// Characters of a parser's message that are told: it may quote what it found.
const MESSAGE_CHARACTERS: usize = 200;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What the headers of `CloudEvents`' binary mode begin with.
const BINARY_MODE: &str = "ce-";

/// In which form events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    One,
    Batch,
    Lines,
}

impl Form {
    /// The form that the headers of a request tell.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let encoding = headers.get(header::CONTENT_ENCODING);
        if encoding.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(unsupported("the body is compressed; send it as it is"));
        }
        let mut types = headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(value), None) = (types.next(), types.next()) else {
            return Err(unsupported("name one Content-Type"));
        };
        let mut parts = value.to_str().unwrap_or_default().split(';');
        let media = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let form = match media.as_str() {
            EVENT | JSON => Self::One,
            BATCH => Self::Batch,
            NDJSON | JSONL => Self::Lines,
            _ => return Err(unsupported("this Content-Type is not one of events")),
        };
        if !parts.all(is_utf8) {
            return Err(unsupported(
                "events are in UTF-8, and there is no parameter but charset",
            ));
        }
        let is_structured = media == EVENT || media == BATCH;
        if !is_structured && headers.keys().any(|name| name.as_str().starts_with(BINARY_MODE)) {
            let text = "the binary mode of CloudEvents (headers that begin with ce-) is not taken: send the whole \
                        event, its attributes and its data, as one JSON object in the body";
            return Err(Problem::new(ProblemKind::BadRequest, text));
        }
        Ok(form)
    }
}

fn unsupported(what: &str) -> Problem {
    let text = format!(
        "{what}: an event is {EVENT} or {JSON}, an array of events {BATCH}, events as lines {NDJSON} or {JSONL}"
    );
    Problem::new(ProblemKind::UnsupportedMediaType, text)
}

fn is_utf8(parameter: &str) -> bool {
    let parameter = parameter.trim();
    let is_charset = |(name, value): (&str, &str)| {
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset")
            && ["utf-8", "utf8"]
                .iter()
                .any(|known| value.eq_ignore_ascii_case(known))
    };
    parameter.is_empty() || parameter.split_once('=').is_some_and(is_charset)
}

/// Where an event stands in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the body.
    Alone,
    /// In the array, from 0.
    Position(u64),
    /// From 1, blank lines counted.
    Line(u64),
}

impl Place {
    pub(super) fn position(self) -> Option<u64> {
        match self {
            Self::Position(position) => Some(position),
            _ => None,
        }
    }

    pub(super) fn line(self) -> Option<u64> {
        match self {
            Self::Line(line) => Some(line),
            _ => None,
        }
    }
}

/// A part of a body that should be an event.
#[derive(Debug)]
pub(super) struct Piece {
    place: Place,
    content: Bytes,
}

/// Cuts a body into the parts that should be events.
pub(super) fn cut(form: Form, body: &Bytes) -> Result<Box<dyn Iterator<Item = Piece> + '_>, Problem> {
    let bad = |text: &str| Err(Problem::new(ProblemKind::BadRequest, text));
    let text = body.trim_ascii();
    if text.is_empty() {
        return bad("the body is empty; there is no event in it");
    }
    match form {
        Form::One if text.starts_with(b"[") => {
            bad("the body is an array; send it with Content-Type: application/cloudevents-batch+json")
        }
        Form::One => {
            let place = Place::Alone;
            let content = body.clone();
            Ok(Box::new(iter::once(Piece { place, content })))
        }
        Form::Batch => Ok(Box::new(batch(body)?.into_iter())),
        Form::Lines => Ok(Box::new(lines(body))),
    }
}

/// The rules of `sharetrail record`: lines end with LF or CRLF, a byte order mark and blank lines are passed over.
fn lines(body: &Bytes) -> impl Iterator<Item = Piece> {
    let text = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&body[..]);
    let numbered = (1..).zip(text.split(|byte| *byte == b'\n'));
    numbered.filter_map(move |(number, line)| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        (!line.trim_ascii().is_empty()).then(|| Piece {
            place: Place::Line(number),
            content: body.slice_ref(line),
        })
    })
}

fn batch(body: &Bytes) -> Result<Vec<Piece>, Problem> {
    let elements: Elements<'_> = serde_json::from_slice(body).map_err(|error| {
        let reason: String = error.to_string().chars().take(MESSAGE_CHARACTERS).collect();
        let text = format!("the body is not a JSON array of events: {reason}");
        Problem::new(ProblemKind::BadRequest, text)
    })?;
    if elements.count > BATCH_MAX {
        let text = format!(
            "an array holds at most {BATCH_MAX} events, this one {}; send more of them as lines, {NDJSON}",
            elements.count
        );
        return Err(Problem::new(ProblemKind::TooLarge, text));
    }
    let pieces = (0..).zip(elements.texts).map(|(position, text)| Piece {
        place: Place::Position(position),
        content: body.slice_ref(text.get().as_bytes()),
    });
    Ok(pieces.collect())
}

/// The elements of a JSON array as they stand there, no more of them than may be; and how many there are.
struct Elements<'a> {
    texts: Vec<&'a RawValue>,
    count: usize,
}

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Elements<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut elements = Elements {
            texts: Vec::new(),
            count: 0,
        };
        while let Some(text) = sequence.next_element::<&'de RawValue>()? {
            elements.count += 1;
            if elements.count <= BATCH_MAX {
                elements.texts.push(text);
            }
        }
        Ok(elements)
    }
}

/// An event that fits its schema.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) place: Place,
    pub(super) source: String,
    pub(super) id: String,
    pub(super) content: Bytes,
}

/// What is wrong with one event of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct EventError {
    /// Its line, counted from 1, where events came as lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub(super) line: Option<u64>,
    /// Its position, counted from 0, where events came as an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) position: Option<u64>,
    /// The field at fault, such as `data.recipient.country`; empty where it is the event as a whole.
    pub(super) field: String,
    /// What is wrong with it.
    pub(super) reason: String,
}

impl EventError {
    pub(super) fn new(place: Place, field: &str, reason: &str) -> Self {
        Self {
            line: place.line(),
            position: place.position(),
            field: field.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn of(place: Place, error: &ContentError) -> Self {
        let (field, text) = (error.field().unwrap_or_default(), error.to_string());
        let reason = text.strip_prefix(field).and_then(|rest| rest.strip_prefix(": "));
        Self::new(place, field, reason.unwrap_or(&text))
    }
}

/// The bad events of a body.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// How many there are.
    pub(super) count: usize,
    /// The first of them.
    pub(super) told: Vec<EventError>,
}

/// Validates all events; what is given is good as a whole, or else everything that is not is told.
pub(super) fn check(pieces: impl Iterator<Item = Piece>, now: Timestamp) -> Result<Vec<Checked>, Faults> {
    let (mut checked, mut faults) = (Vec::new(), Faults::default());
    for Piece { place, content } in pieces {
        let said = parse(&content, now).map(|said| (said.source().to_owned(), said.id().to_owned()));
        match said {
            Ok((source, id)) if faults.count == 0 => checked.push(Checked {
                place,
                source,
                id,
                content,
            }),
            // It will not be recorded, for others are bad.
            Ok(_) => {}
            Err(error) => {
                faults.count += 1;
                if faults.told.len() < FAULTS_MAX {
                    faults.told.push(EventError::of(place, &error));
                }
            }
        }
    }
    if faults.count == 0 {
        Ok(checked)
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix(1_769_900_000);

    fn event(id: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/shop",
            "type":"org.sharetrail.consent.withdrawn.v1",
            "subject":"customer-42","time":"2026-01-31T12:00:00Z", "data":{{"consent":"enrol-42"}} }}"#
        )
        .replace('\n', " ")
    }

    fn form(content_type: &str) -> Result<Form, ProblemKind> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap());
        Form::of(&headers).map_err(|problem| problem.kind())
    }

    fn pieces(form: Form, body: &str) -> Result<Vec<(Place, Bytes)>, ProblemKind> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let cut = cut(form, &body).map_err(|problem| problem.kind())?;
        Ok(cut.map(|piece| (piece.place, piece.content)).collect())
    }

    #[test]
    fn every_media_type_of_events_is_known_with_and_without_charset() {
        for (media, expected) in [
            (EVENT, Form::One),
            (JSON, Form::One),
            (BATCH, Form::Batch),
            (NDJSON, Form::Lines),
            (JSONL, Form::Lines),
        ] {
            for parameters in ["", "; charset=utf-8", ";charset=\"UTF-8\"", " ; "] {
                assert_eq!(
                    form(&format!("{media}{parameters}")),
                    Ok(expected),
                    "{media}{parameters}"
                );
            }
            assert_eq!(form(&media.to_uppercase()), Ok(expected));
        }
    }

    /// The fault: bytes in another form, or another charset, are taken for events.
    #[test]
    fn other_media_types_are_refused() {
        for other in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=iso-8859-1",
            "application/json; profile=x",
            "application/json2",
            "application/cloudevents",
        ] {
            assert_eq!(form(other), Err(ProblemKind::UnsupportedMediaType), "{other}");
        }
        let mut headers = HeaderMap::new();
        assert!(Form::of(&headers).is_err());
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        assert!(Form::of(&headers).is_err());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(Form::of(&headers).is_err());
    }

    /// The fault: the data of an event in binary mode is taken for the event.
    #[test]
    fn the_binary_mode_is_refused_by_its_name() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert("ce-id", HeaderValue::from_static("1"));
        let refused = Form::of(&headers).map_err(|problem| problem.kind());
        assert_eq!(refused, Err(ProblemKind::BadRequest));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT));
        assert!(Form::of(&headers).is_ok());
    }

    /// The fault: what is committed to are not the bytes that the service sent.
    #[test]
    fn every_event_keeps_its_bytes() {
        let (one, two) = (event("1"), event("2"));
        let spaced = format!("\n {one} \n");
        assert_eq!(
            pieces(Form::One, &spaced),
            Ok(vec![(Place::Alone, Bytes::from(spaced.clone()))])
        );
        let expected = vec![
            (Place::Position(0), Bytes::from(one.clone())),
            (Place::Position(1), Bytes::from(two.clone())),
        ];
        assert_eq!(
            pieces(Form::Batch, &format!(" [ {one} ,\t{two}\n]\n")),
            Ok(expected)
        );
        let expected = vec![
            (Place::Line(2), Bytes::from(one.clone())),
            (Place::Line(4), Bytes::from(format!(" {two} "))),
        ];
        let text = format!("\u{feff} \t\n{one}\r\n\r\n {two} ");
        assert_eq!(pieces(Form::Lines, &text), Ok(expected));
    }

    #[test]
    fn a_body_that_is_not_of_its_form_is_refused() {
        for form in [Form::One, Form::Batch, Form::Lines] {
            for empty in ["", " \r\n\t"] {
                assert_eq!(pieces(form, empty), Err(ProblemKind::BadRequest), "{form:?}");
            }
        }
        assert_eq!(pieces(Form::One, "[]"), Err(ProblemKind::BadRequest));
        for bad in ["{}", "[{}", "[{}] []", "\"x\"", "[{},]"] {
            assert_eq!(pieces(Form::Batch, bad), Err(ProblemKind::BadRequest), "{bad}");
        }
        assert_eq!(pieces(Form::Batch, "[]"), Ok(Vec::new()));
        let many = |count| format!("[{}]", vec!["1"; count].join(","));
        assert_eq!(
            pieces(Form::Batch, &many(BATCH_MAX)).map(|found| found.len()),
            Ok(BATCH_MAX)
        );
        assert_eq!(
            pieces(Form::Batch, &many(BATCH_MAX + 1)),
            Err(ProblemKind::TooLarge)
        );
    }

    /// The fault: a bad event is told with the number of another, or the good half of a body is recorded.
    #[test]
    fn every_bad_event_is_told_and_nothing_is_taken() {
        let body = [
            event("1"),
            event("2").replace("enrol-42", ""),
            "{".into(),
            event("4"),
        ]
        .join("\n");
        let body = Bytes::from(body);
        let faults = check(cut(Form::Lines, &body).unwrap(), NOW).unwrap_err();
        assert_eq!(faults.count, 2);
        let told: Vec<_> = faults.told.iter().map(|fault| fault.line).collect();
        assert_eq!(told, [Some(2), Some(3)]);
        let body = Bytes::from(format!("[{},{}]", event("1"), event("2").replace("1.0", "0.3")));
        let faults = check(cut(Form::Batch, &body).unwrap(), NOW).unwrap_err();
        let [fault] = &faults.told[..] else {
            panic!("{faults:?}")
        };
        assert_eq!((fault.position, fault.line), (Some(1), None));
        assert_eq!(fault.field, "specversion");
        assert!(!fault.reason.starts_with("specversion"));
    }

    #[test]
    fn good_events_say_who_they_are() {
        let body = Bytes::from(event("7"));
        let checked = check(cut(Form::One, &body).unwrap(), NOW).unwrap();
        assert_eq!(
            (checked[0].source.as_str(), checked[0].id.as_str()),
            ("/shop", "7")
        );
        assert_eq!(checked[0].content, body);
    }

    /// The fault: an answer as long as the body, for a body of nothing but short bad lines.
    #[test]
    fn so_many_bad_events_are_told_and_the_rest_is_counted() {
        let body = Bytes::from("1\n".repeat(FAULTS_MAX + 5));
        let faults = check(cut(Form::Lines, &body).unwrap(), NOW).unwrap_err();
        assert_eq!((faults.count, faults.told.len()), (FAULTS_MAX + 5, FAULTS_MAX));
    }
}
