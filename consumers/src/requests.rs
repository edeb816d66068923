//! A customer's requests: to see their data, to have it corrected or deleted, to object.
//!
//! A request is opened by one event, goes on by others, and is closed by one with its outcome. Which request an event
//! is about is said by the request's id and right; where two hosts gave the same id, the one of the event's own host
//! is meant, or else the one that waits.
//!
//! In scope: requests with their states and due dates out of one trail, the contents that open and close one. Out of
//! scope: doing what is asked, recording, all customers' requests (see `watch`).
//! Trust: as the trail's. A request whose opening is not in the trail is not shown; what was erased is not either.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp as Moment};
use serde::Serialize;
use serde_json::json;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_schemas::{Field, Kind, Right, Timestamp};
use utoipa::ToSchema;

use crate::choices::{ChoiceError, Draft, Origin};
use crate::trail::{Trail, TrailEvent, same_host, shown, shown_if_any};

/// The law that customers ask under here.
const REGIME: &str = "eu-gdpr";
/// By which means requests are opened and closed here.
const METHOD: &str = "Sharetrail";
/// A month, where the calendar has none.
const MONTH_SECONDS: i64 = 30 * 86_400;

const GRANTED: &str = "granted";
const REFUSED: &str = "refused";

/// A request of a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[non_exhaustive]
pub struct CustomerRequest {
    /// The request's id.
    pub id: String,
    /// The source of the event that opened it.
    pub source: String,
    /// What is asked for.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String)]
    pub right: Right,
    /// How far it is.
    pub state: RequestState,
    /// When it was opened.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub opened: Timestamp,
    /// When it must be answered: as the events say, otherwise one calendar month after it was opened (GDPR Article
    /// 12(3)).
    #[serde(serialize_with = "shown")]
    #[schema(value_type = String, format = DateTime)]
    pub due: Timestamp,
    /// When it was closed, if it was.
    #[serde(serialize_with = "shown_if_any")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed: Option<Timestamp>,
    /// How it was closed, in the event's own words.
    pub outcome: Option<String>,
    /// What the customer wrote.
    pub description: Option<String>,
    /// What was written to the customer when it was closed, or last before.
    pub answer: Option<String>,
    /// The law it is asked under.
    pub regime: Option<String>,
    /// The shard whose log holds the event that opened it.
    pub shard: u32,
    /// Where in that log.
    #[schema(value_type = u64)]
    pub index: LeafIndex,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RequestState {
    /// It waits for an answer.
    Open,
    /// It went on, and waits for an answer.
    InProgress,
    /// It was closed, and granted.
    Granted,
    /// It was closed, and refused.
    Refused,
    /// It was closed; whether it was granted is not said in words that are known here.
    Closed,
}

impl RequestState {
    /// Whether it waits for an answer.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::InProgress)
    }

    /// By the first word of an outcome, such as `refused: the identity was not proven`.
    fn of_outcome(outcome: &str) -> Self {
        let words = outcome.split(|c: char| !c.is_alphabetic());
        let first = words
            .map(str::to_lowercase)
            .find(|word| !word.is_empty())
            .unwrap_or_default();
        match first.as_str() {
            GRANTED | "done" | "fulfilled" | "completed" | "approved" | "complied" => Self::Granted,
            REFUSED | "denied" | "rejected" | "declined" => Self::Refused,
            _ => Self::Closed,
        }
    }
}

/// The requests of a trail, the newest first.
pub fn requests(trail: &Trail) -> Vec<CustomerRequest> {
    let opened = trail
        .events
        .iter()
        .filter(|event| event.kind == Kind::RequestOpened);
    let mut found: Vec<CustomerRequest> = opened.filter_map(CustomerRequest::opened_by).collect();
    // What a request was prolonged by, before what closed it, whatever their times say.
    for kind in [Kind::RequestUpdated, Kind::RequestClosed] {
        for event in trail.events.iter().filter(|event| event.kind == kind) {
            if let Some(request) = meant_by(event, &mut found) {
                request.go_on(event);
            }
        }
    }
    found.sort_by_key(|request| (request.opened, request.shard, request.index));
    found.reverse();
    found
}

/// The request that an event is about.
fn meant_by<'a>(event: &TrailEvent, all: &'a mut [CustomerRequest]) -> Option<&'a mut CustomerRequest> {
    let meant = event.request.as_ref()?;
    let fitting = all
        .iter_mut()
        .filter(|request| request.id == meant.id && request.right == meant.right);
    fitting.max_by_key(|request| {
        let is_of_its_host = same_host(&request.source, &event.source);
        (
            is_of_its_host,
            request.state.is_open(),
            request.opened,
            request.index,
        )
    })
}

impl CustomerRequest {
    fn opened_by(event: &TrailEvent) -> Option<Self> {
        let request = event.request.as_ref()?;
        Some(Self {
            id: request.id.clone(),
            source: event.source.clone(),
            right: request.right,
            state: RequestState::Open,
            opened: event.time,
            due: request.due.unwrap_or_else(|| a_month_after(event.time)),
            closed: None,
            outcome: None,
            description: event.description.clone(),
            answer: None,
            regime: request.regime.clone(),
            shard: event.shard,
            index: event.index,
        })
    }

    fn go_on(&mut self, event: &TrailEvent) {
        if event.description.is_some() {
            self.answer.clone_from(&event.description);
        }
        if event.kind == Kind::RequestClosed {
            let outcome = event.outcome.clone().unwrap_or_default();
            self.state = RequestState::of_outcome(&outcome);
            self.closed = Some(event.time);
            self.outcome = Some(outcome);
        } else {
            self.state = RequestState::InProgress;
            let due = event.request.as_ref().and_then(|request| request.due);
            self.due = due.unwrap_or(self.due);
        }
    }
}

/// The same day of the next month, or its last day where it has none such (GDPR Article 12(3)); UTC.
fn a_month_after(time: Timestamp) -> Timestamp {
    let next = Moment::from_second(time.seconds()).and_then(|moment| {
        let month = Span::new().months(1);
        moment.to_zoned(TimeZone::UTC).checked_add(month)
    });
    match next {
        Ok(next) => Timestamp::from_unix(next.timestamp().as_second()),
        // The calendar ends there.
        Err(_) => Timestamp::from_unix(time.seconds().saturating_add(MONTH_SECONDS)),
    }
}

/// The event that opens a request of a customer: the JSON of one content. It is due in a month.
///
/// # Errors
/// [`ChoiceError::Content`] if `customer`, `description` or what `origin` gives is not valid.
pub fn open_content(
    customer: &str,
    right: Right,
    description: Option<&str>,
    origin: &mut Origin<'_>,
) -> Result<Vec<u8>, ChoiceError> {
    let (source, id) = (origin.source("requests"), origin.next_id());
    let request = json!({
        "id": id,
        "right": right.name(),
        "regime": REGIME,
        "status": "open",
        "due": a_month_after(origin.time).to_string(),
    });
    let draft = Draft::new(Kind::RequestOpened, customer, source, id, origin.time);
    let draft = draft.set(Field::Request, request).set(Field::Method, METHOD);
    described(draft, description).build()
}

/// The event that closes a request: the JSON of one content. Granting an erasure says so and erases nothing.
///
/// # Errors
/// [`ChoiceError::Closed`] if it is closed; [`ChoiceError::Content`] if `customer`, `description` or what `origin` gives
/// is not valid.
pub fn close_content(
    customer: &str,
    request: &CustomerRequest,
    granted: bool,
    description: Option<&str>,
    origin: &mut Origin<'_>,
) -> Result<Vec<u8>, ChoiceError> {
    if !request.state.is_open() {
        let id = request.id.clone();
        return Err(ChoiceError::Closed { id });
    }
    let mut about = json!({
        "id": request.id,
        "right": request.right.name(),
        "status": "closed",
        "due": request.due.to_string(),
    });
    if let Some(regime) = &request.regime {
        about["regime"] = json!(regime);
    }
    let (source, id) = (origin.source("requests"), origin.next_id());
    let draft = Draft::new(Kind::RequestClosed, customer, source, id, origin.time);
    let draft = draft.set(Field::Request, about).set(Field::Method, METHOD);
    let draft = draft.set(Field::Outcome, if granted { GRANTED } else { REFUSED });
    described(draft, description).build()
}

/// With what somebody wrote, unless that is nothing.
fn described<'a>(draft: Draft<'a>, description: Option<&str>) -> Draft<'a> {
    // A form sends line ends as two characters, of which a text may hold one.
    let written = description.map(|written| written.replace("\r\n", "\n"));
    match written
        .as_deref()
        .map(str::trim)
        .filter(|written| !written.is_empty())
    {
        Some(written) => draft.set(Field::Description, written),
        None => draft,
    }
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::name::Name;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn trail(contents: &[String]) -> Trail {
        let events = contents.iter().zip(1..);
        Trail {
            customer: "customer-42".to_owned(),
            generations: Vec::new(),
            events: events
                .map(|(json, index)| TrailEvent::told(json, index))
                .collect(),
            unopened: Vec::new(),
            checkpoints: Vec::new(),
        }
    }

    fn event(kind: &str, host: &str, day: u32, data: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"{kind}-{day}","source":"https://{host}/privacy",
            "type":"org.sharetrail.{kind}.v1","subject":"customer-42","time":"2026-01-{day:02}T08:00:00Z","data":{{{data}}}}}"#
        )
    }

    fn asked(host: &str, id: &str, day: u32) -> String {
        let data = format!(r#""request":{{"id":"{id}","right":"access"}},"description":"please""#);
        event("request.opened", host, day, &data)
    }

    fn closed(host: &str, id: &str, day: u32, outcome: &str) -> String {
        let data = format!(r#""request":{{"id":"{id}","right":"access"}},"outcome":"{outcome}""#);
        event("request.closed", host, day, &data)
    }

    fn written(content: Vec<u8>) -> String {
        String::from_utf8(content).unwrap()
    }

    /// The fault: a month is taken for thirty days, or runs over the end of a short one.
    #[test]
    fn an_answer_is_due_a_calendar_month_later() {
        for (opened, due) in [
            ("2026-01-15T10:00:00Z", "2026-02-15T10:00:00Z"),
            ("2026-01-31T10:00:00Z", "2026-02-28T10:00:00Z"),
            ("2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z"),
            ("2026-12-31T23:59:59Z", "2027-01-31T23:59:59Z"),
        ] {
            assert_eq!(a_month_after(at(opened)), at(due), "{opened}");
        }
        let never = Timestamp::from_unix(i64::MAX);
        assert_eq!(a_month_after(never), never);
    }

    #[test]
    fn what_is_opened_and_closed_here_is_read_back() {
        let producer = Name::new("shop.example").unwrap();
        let mut count = 0;
        let mut ids = || {
            count += 1;
            format!("id-{count}")
        };
        let mut origin = Origin {
            producer: &producer,
            time: at("2026-01-31T10:00:00Z"),
            id: &mut ids,
        };
        let words = Some(" delete\r\nall of it ");
        let opened = open_content("customer-42", Right::Erasure, words, &mut origin).unwrap();
        let opened = written(opened);
        let request = requests(&trail(std::slice::from_ref(&opened))).remove(0);
        assert_eq!(
            (request.state, request.right),
            (RequestState::Open, Right::Erasure)
        );
        assert_eq!(request.due, at("2026-02-28T10:00:00Z"));
        assert_eq!(request.description.as_deref(), Some("delete\nall of it"));
        assert_eq!(request.source, "https://shop.example/sharetrail/requests");
        assert_eq!(request.index, LeafIndex(1));
        for (granted, state) in [(true, RequestState::Granted), (false, RequestState::Refused)] {
            let words = Some("as you asked");
            let closed = close_content("customer-42", &request, granted, words, &mut origin).unwrap();
            let all = requests(&trail(&[opened.clone(), written(closed)]));
            assert_eq!((all.len(), all[0].state), (1, state));
            assert_eq!(all[0].closed, Some(at("2026-01-31T10:00:00Z")));
            assert_eq!(all[0].answer.as_deref(), words);
            assert_eq!(all[0].due, request.due);
            let again = close_content("customer-42", &all[0], granted, None, &mut origin);
            assert!(matches!(again, Err(ChoiceError::Closed { .. })));
        }
        let long = "x".repeat(5_000);
        let refused = open_content("customer-42", Right::Access, Some(&long), &mut origin);
        assert!(matches!(refused, Err(ChoiceError::Content(_))));
    }

    #[test]
    fn outcomes_are_known_by_their_first_word() {
        for (outcome, state) in [
            ("granted", RequestState::Granted),
            ("Done.", RequestState::Granted),
            ("refused: the identity was not proven", RequestState::Refused),
            ("Denied", RequestState::Refused),
            ("not granted", RequestState::Closed),
            ("-", RequestState::Closed),
        ] {
            assert_eq!(RequestState::of_outcome(outcome), state, "{outcome}");
        }
    }

    /// The fault: the answer to one request closes another that happens to have the same id.
    #[test]
    fn an_answer_belongs_to_the_request_of_its_host() {
        let all = requests(&trail(&[
            asked("shop.example", "1", 1),
            asked("web.example", "1", 2),
            closed("shop.example", "1", 3, "granted"),
        ]));
        let told: Vec<(&str, RequestState)> = all
            .iter()
            .map(|request| (request.source.as_str(), request.state))
            .collect();
        assert_eq!(
            told,
            [
                ("https://web.example/privacy", RequestState::Open),
                ("https://shop.example/privacy", RequestState::Granted),
            ]
        );
        // An answer from a third place goes to the one that waits.
        let all = requests(&trail(&[
            asked("shop.example", "1", 1),
            asked("web.example", "1", 2),
            closed("web.example", "1", 3, "refused"),
            closed("officer.example", "1", 4, "granted"),
        ]));
        assert_eq!(
            (all[0].state, all[1].state),
            (RequestState::Refused, RequestState::Granted)
        );
        // Another right is another request, and one that was never opened is none.
        let other = r#""request":{"id":"1","right":"erasure"},"outcome":"granted""#;
        let all = requests(&trail(&[
            asked("shop.example", "1", 1),
            event("request.closed", "shop.example", 2, other),
        ]));
        assert_eq!((all.len(), all[0].state), (1, RequestState::Open));
    }

    #[test]
    fn a_request_that_is_prolonged_is_due_later() {
        let about = r#"{"id":"1","right":"access","due":"2026-04-01T00:00:00Z"}"#;
        let data = format!(r#""request":{about},"description":"it takes longer""#);
        let all = requests(&trail(&[
            asked("shop.example", "1", 1),
            event("request.updated", "shop.example", 5, &data),
        ]));
        let request = &all[0];
        assert_eq!(request.state, RequestState::InProgress);
        assert_eq!(request.due, at("2026-04-01T00:00:00Z"));
        assert_eq!(request.answer.as_deref(), Some("it takes longer"));
        assert_eq!(request.description.as_deref(), Some("please"));
    }
}
