//! `POST /v1/events`: what services put on record.
//!
//! In scope: one event, an array or lines; accepted, or sealed with receipts; what is told where some are refused. Out
//! of scope: cutting and validating (`body`), keys of requests (`idempotency`), recording itself ([`Hands`]). Trust: an
//! event is signed in the name of the producer that the service has shown to be, whatever the event says.
//!
//! [`Hands`]: crate::http::hands::Hands

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use data_encoding::BASE64;
use serde::Serialize;
use sharetrail_proof::checkpoint::log_origin;
use sharetrail_proof::name::{Name, Shard};
use sharetrail_schemas::Timestamp;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::{
    self, BATCH, Checked, EVENT, EventError, FAULTS_MAX, Faults, Form, JSON, JSONL, NDJSON, Place,
};
use super::idempotency::{Answer, Begin, Key, Turn, fingerprint};
use super::schemas::{self, Event, EventBatch};
use crate::http::auth::Service;
use crate::http::given::Given;
use crate::http::hands::{Accepted, HandsError, Recorded, Recording};
use crate::http::problem::{CommonProblems, Problem, ProblemKind};
use crate::http::site::{Parts, Site, blocking};

/// Events whose receipts one answer holds.
const RECEIPTS_MAX: usize = 1_024;
const POLICY_PATH: &str = "/policy";

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Site> {
    OpenApiRouter::default().routes(routes!(record_events))
}

/// What an answer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "snake_case")]
enum Wait {
    /// The events are durable and will be on record.
    Accepted,
    /// They are on record, under a published checkpoint.
    Sealed,
}

impl Wait {
    fn of(mut given: Given) -> Result<Self, Problem> {
        let wait = given.read("wait", |text| match text {
            "accepted" => Ok(Self::Accepted),
            "sealed" => Ok(Self::Sealed),
            _ => Err("it is neither accepted nor sealed".to_owned()),
        });
        given.finish()?;
        Ok(wait.unwrap_or(Self::Accepted))
    }
}

/// How far an event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Reached {
    /// It is durable and will be on record.
    Accepted,
    /// It is on record now.
    Recorded,
    /// It was on record before; it is there once.
    AlreadyRecorded,
}

/// An event that is on record, or will be.
#[derive(Debug, Serialize, ToSchema)]
struct EventState {
    /// Its line, counted from 1, where events came as lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// Its position, counted from 0, where events came as an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// Its source.
    source: String,
    /// Its id.
    id: String,
    /// How far it came.
    state: Reached,
}

/// Events that are durable and will be on record.
#[derive(Debug, Serialize, ToSchema)]
struct EventsAccepted {
    /// How many are new.
    accepted: u64,
    /// How many were on record before.
    already_recorded: u64,
    /// All of them, in the order in which they came.
    events: Vec<EventState>,
}

/// Where an event is on record, with the proof.
#[derive(Debug, Serialize, ToSchema)]
struct Receipt {
    /// Its line, counted from 1, where events came as lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// Its position, counted from 0, where events came as an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// Its source.
    source: String,
    /// Its id.
    id: String,
    /// The ledger's name.
    ledger: String,
    /// The origin of the log that holds it, by which the policy knows the log's key.
    origin: String,
    /// Where the policy is, against which the proof is verified. Compare it with one that came to you another way.
    policy: String,
    /// The shard whose log holds it.
    shard: u32,
    /// Its place in the log.
    index: u64,
    /// Whether it was on record before.
    already_recorded: bool,
    /// Its entry in the log, base64.
    entry: String,
    /// That the log holds the entry: a C2SP tlog-proof.
    tlog_proof: String,
}

/// Events that are on record, with their receipts.
#[derive(Debug, Serialize, ToSchema)]
struct EventsRecorded {
    /// How many are new.
    recorded: u64,
    /// How many were on record before.
    already_recorded: u64,
    /// All of them, in the order in which they came.
    events: Vec<Receipt>,
}

/// Why events were refused, and which are on record all the same.
#[derive(Debug, Serialize, ToSchema)]
struct EventsProblem {
    #[serde(flatten)]
    problem: Problem,
    /// The events that were refused, each with its reason; the first thousand of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<EventError>,
    /// The events of the same request that are on record, or will be. None where a rule of a schema is broken: then
    /// nothing of the request was taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    events: Vec<EventState>,
}

impl From<Problem> for Box<EventsProblem> {
    fn from(problem: Problem) -> Self {
        Self::new(EventsProblem {
            problem,
            errors: Vec::new(),
            events: Vec::new(),
        })
    }
}

impl From<Faults> for Box<EventsProblem> {
    fn from(faults: Faults) -> Self {
        let Faults { count, told } = faults;
        let is_alone = matches!(&told[..], [one] if one.line.is_none() && one.position.is_none());
        let detail = match &told[..] {
            [one] if is_alone && one.field.is_empty() => one.reason.clone(),
            [one] if is_alone => format!("{}: {}", one.field, one.reason),
            _ => format!("{count} of the events cannot be taken, so none was; `errors` says which and why"),
        };
        Self::new(EventsProblem {
            problem: Problem::new(ProblemKind::InvalidEvent, detail),
            errors: told,
            events: Vec::new(),
        })
    }
}

impl EventsProblem {
    fn into_answer(self) -> Answer {
        Answer::problem(self.problem.clone(), &self)
    }
}

/// Record events
///
/// Puts events on record, signed in the name of the service's producer. Each keeps the bytes in which it came. All of a
/// request's events are validated before any is recorded: where one breaks a rule of its schema, the answer is 422 and
/// nothing was taken. What is refused later (the same `source` and `id` with another content, or a refusal of the
/// ledger) is refused event by event: the problem lists what was refused in `errors` and what is on record in `events`.
///
/// Sending an event again is safe: its `source` and `id` say that it is the same, and it is on record once. With an
/// `Idempotency-Key` the whole answer is the same too, for a day and as long as this process runs and has memory for
/// it.
#[utoipa::path(
    post,
    path = "/v1/events",
    operation_id = "record_events",
    tag = "services",
    params(
        (
            "wait" = inline(Option<Wait>),
            Query,
            description = "Whether to answer once the events are accepted (202), or once they are sealed, with \
                receipts (200); then at most 1,024 events.",
        ),
        (
            "Idempotency-Key" = Option<String>,
            Header,
            description = "Chosen by the service, one for each request. The same key with the same request gets the \
                first answer again.",
            nullable = false,
            max_length = 257,
            min_length = 1,
            pattern = r#"^("[!#-\[\]-~]{1,255}"|[!#-\[\]-~]{1,255})$"#,
        ),
    ),
    request_body(
        description = "One event, an array of at most 1,024, or one event a line.",
        content(
            (Event = EVENT, example = schemas::event),
            (Event = JSON, example = schemas::event),
            (EventBatch = BATCH, example = schemas::events),
            (String = NDJSON, example = schemas::lines),
            (String = JSONL, example = schemas::lines),
        ),
    ),
    responses(
        CommonProblems,
        (
            status = 200,
            description = "The events are on record (`wait=sealed`).",
            headers(("Idempotency-Replayed" = String, description = "`true`: it was given before.")),
            body = EventsRecorded,
        ),
        (
            status = 202,
            description = "The events are durable and will be on record.",
            headers(("Idempotency-Replayed" = String, description = "`true`: it was given before.")),
            body = EventsAccepted,
        ),
        (
            status = 409,
            description = "Another event has this source and id, or the request with this idempotency key is at work.",
            body = EventsProblem,
            content_type = "application/problem+json",
        ),
        (
            status = 422,
            description = "An event breaks a rule of its schema, or was refused, or the idempotency key came with \
                another request.",
            body = EventsProblem,
            content_type = "application/problem+json",
        ),
    ),
    security(("service" = []), ("mutualTLS" = [])),
)]
async fn record_events(
    State(site): State<Site>,
    service: Service,
    given: Given,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Answer, Problem> {
    let wait = Wait::of(given)?;
    let form = Form::of(&headers)?;
    let key = Key::of(&headers)?;
    let work = Work {
        site,
        producer: service.producer,
        form,
        wait,
        body: body?,
    };
    let mut turn = None;
    if let Some(key) = key {
        match work.begin(&key).await? {
            Begin::Replay(answer) => return Ok(answer),
            Begin::Fresh(fresh) => turn = Some(fresh),
        }
    }
    // Whoever asked may go away; what was begun goes on, and its answer is kept for when they come back.
    let answer = tokio::spawn(work.done(turn)).await;
    answer.map_err(|error| Problem::failed(&error))
}

/// A request at work.
struct Work {
    site: Site,
    producer: Name,
    form: Form,
    wait: Wait,
    body: Bytes,
}

/// An event that was handed in.
struct Begun {
    event: Checked,
    recording: Recording,
}

impl Work {
    /// Whether the request was sent before.
    async fn begin(&self, key: &Key) -> Result<Begin, Problem> {
        let marks = [self.form as u8, self.wait as u8];
        let body = self.body.clone();
        let request = blocking(move || Ok(fingerprint(marks, &body))).await?;
        self.site.idempotency.begin(&self.producer, key, request)
    }

    /// Does it.
    async fn done(self, turn: Option<Turn>) -> Answer {
        let answer = self
            .recorded()
            .await
            .unwrap_or_else(|problem| problem.into_answer());
        if let Some(turn) = turn {
            turn.finish(&answer);
        }
        answer
    }

    async fn recorded(self) -> Result<Answer, Box<EventsProblem>> {
        let (site, wait) = (self.site.clone(), self.wait);
        let begun = blocking(move || Ok(self.hand_in())).await??;
        match wait {
            Wait::Accepted => accepted(begun).await,
            Wait::Sealed => sealed(&site, begun).await,
        }
    }

    /// Validates all events, then hands them in.
    fn hand_in(&self) -> Result<Vec<Begun>, Box<EventsProblem>> {
        let now = Timestamp::from_unix(jiff::Timestamp::now().as_second());
        let checked = body::check(body::cut(self.form, &self.body)?, now)?;
        if self.wait == Wait::Sealed && checked.len() > RECEIPTS_MAX {
            let text = format!(
                "with wait=sealed a request holds at most {RECEIPTS_MAX} events, this one {}; send parts of it",
                checked.len()
            );
            return Err(Problem::new(ProblemKind::TooLarge, text).into());
        }
        let begin = |event: Checked| {
            let recording = self.site.hands.record(&self.producer, event.content.to_vec());
            Begun { event, recording }
        };
        Ok(checked.into_iter().map(begin).collect())
    }
}

/// Waits until all are durable.
async fn accepted(begun: Vec<Begun>) -> Result<Answer, Box<EventsProblem>> {
    let (mut events, mut refusals) = (Vec::with_capacity(begun.len()), Refusals::default());
    for Begun { event, recording } in begun {
        match recording.accepted.await {
            Ok(Accepted::Accepted) => events.push(state(event, Reached::Accepted)),
            Ok(Accepted::AlreadyRecorded(_)) => events.push(state(event, Reached::AlreadyRecorded)),
            Err(error) => refusals.add(event.place, error),
        }
    }
    let events = refusals.or_else(events)?;
    let (accepted, already_recorded) = counted(&events, |event| event.state != Reached::AlreadyRecorded);
    let said = EventsAccepted {
        accepted,
        already_recorded,
        events,
    };
    Ok(Answer::json(StatusCode::ACCEPTED, &said))
}

/// Waits until all are under a published checkpoint.
async fn sealed(site: &Parts, begun: Vec<Begun>) -> Result<Answer, Box<EventsProblem>> {
    let (mut recorded, mut refusals) = (Vec::with_capacity(begun.len()), Refusals::default());
    for Begun { event, recording } in begun {
        match recording.sealed.await {
            Ok(found) => recorded.push((event, found)),
            Err(error) => refusals.add(event.place, error),
        }
    }
    if !refusals.is_empty() {
        let states = recorded.into_iter().map(|(event, found)| {
            let reached = if found.already_recorded {
                Reached::AlreadyRecorded
            } else {
                Reached::Recorded
            };
            state(event, reached)
        });
        return Err(Box::new(refusals.told(states.collect())));
    }
    let receipts: Result<Vec<_>, Problem> = recorded
        .into_iter()
        .map(|(event, found)| receipt(site, event, found))
        .collect();
    let events = receipts?;
    let (recorded, already_recorded) = counted(&events, |receipt| !receipt.already_recorded);
    let said = EventsRecorded {
        recorded,
        already_recorded,
        events,
    };
    Ok(Answer::json(StatusCode::OK, &said))
}

/// How many are new, and how many are not.
fn counted<T>(events: &[T], is_new: impl Fn(&T) -> bool) -> (u64, u64) {
    let new = events.iter().filter(|event| is_new(event)).count();
    (new as u64, (events.len() - new) as u64)
}

fn state(event: Checked, reached: Reached) -> EventState {
    EventState {
        line: event.place.line(),
        position: event.place.position(),
        source: event.source,
        id: event.id,
        state: reached,
    }
}

fn receipt(site: &Parts, event: Checked, found: Recorded) -> Result<Receipt, Problem> {
    let ledger = site.ledger.name();
    let shard = Shard::new(found.shard, site.ledger.shards()).map_err(|error| Problem::failed(&error))?;
    // Relative as long as nobody knows how the server is reached.
    let base = site.url.get().map_or("", String::as_str);
    Ok(Receipt {
        line: event.place.line(),
        position: event.place.position(),
        source: event.source,
        id: event.id,
        ledger: ledger.to_string(),
        origin: log_origin(ledger, shard),
        policy: format!("{base}{POLICY_PATH}"),
        shard: found.shard,
        index: found.index.0,
        already_recorded: found.already_recorded,
        entry: BASE64.encode(&found.entry),
        tlog_proof: found.tlog_proof,
    })
}

/// Events that were refused after they had been handed in.
#[derive(Default)]
struct Refusals {
    count: usize,
    /// The first of them.
    errors: Vec<EventError>,
    /// The worst of their kinds.
    worst: Option<ProblemKind>,
    /// The last error and what it came to: one that meets every event is told to the operator once.
    last: Option<(HandsError, Problem)>,
}

impl Refusals {
    fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, place: Place, error: HandsError) {
        let field = match &error {
            HandsError::Invalid { field, .. } => field.clone().unwrap_or_default(),
            HandsError::Conflict(_) => "id".to_owned(),
            _ => String::new(),
        };
        let (_, problem) = match self.last.take() {
            Some(last) if last.0 == error => self.last.insert(last),
            _ => self.last.insert((error.clone(), Problem::from(error))),
        };
        self.count += 1;
        if self.errors.len() < FAULTS_MAX {
            self.errors.push(EventError::new(place, &field, problem.detail()));
        }
        let kind = problem.kind();
        if self.worst.is_none_or(|worst| weight(kind) > weight(worst)) {
            self.worst = Some(kind);
        }
    }

    /// The events, if none was refused.
    fn or_else(self, events: Vec<EventState>) -> Result<Vec<EventState>, Box<EventsProblem>> {
        if self.is_empty() {
            return Ok(events);
        }
        Err(Box::new(self.told(events)))
    }

    /// The problem; `events` are on record all the same.
    fn told(self, events: Vec<EventState>) -> EventsProblem {
        let kind = self.worst.unwrap_or(ProblemKind::Failed);
        let detail = match &self.errors[..] {
            [one] if events.is_empty() => one.reason.clone(),
            _ => format!(
                "{} of {} events were refused; `errors` says which and why, `events` what is on record",
                self.count,
                self.count + events.len()
            ),
        };
        EventsProblem {
            problem: Problem::new(kind, detail),
            errors: self.errors,
            events,
        }
    }
}

/// What a whole request comes to where its events meet several kinds of refusal: first what passes, because then it is
/// right to send the request again, then what never will.
fn weight(kind: ProblemKind) -> u8 {
    match kind {
        ProblemKind::Failed => 5,
        ProblemKind::NotReady => 4,
        ProblemKind::Forbidden => 3,
        ProblemKind::Conflict => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn told(problem: &EventsProblem) -> Value {
        serde_json::to_value(problem).unwrap()
    }

    fn on_record(id: &str) -> EventState {
        EventState {
            line: Some(1),
            position: None,
            source: "/shop".into(),
            id: id.into(),
            state: Reached::Accepted,
        }
    }

    /// The fault: a member stands twice in a problem, or a client cannot tell which of its events are on record.
    #[test]
    fn a_refusal_tells_what_was_refused_and_what_was_not() {
        let mut refusals = Refusals::default();
        refusals.add(Place::Line(2), HandsError::Rejected("no key".into()));
        refusals.add(Place::Line(4), HandsError::Conflict("other content".into()));
        let problem = refusals.told(vec![on_record("1"), on_record("3")]);
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(text.matches("\"errors\":").count(), 1);
        let json = told(&problem);
        assert_eq!(
            (&json["status"], &json["errors"][0]["line"]),
            (&Value::from(409), &Value::from(2))
        );
        assert_eq!(json["errors"][1]["field"], "id");
        assert_eq!(json["errors"][1]["reason"], "other content");
        assert_eq!(json["events"][1]["id"], "3");
        assert_eq!(json["events"][1]["state"], "accepted");
    }

    /// The fault: a request of which a part failed for a moment is told to be wrong for good.
    #[test]
    fn what_passes_comes_before_what_does_not() {
        let errors = [
            HandsError::Conflict("a".into()),
            HandsError::Stopped("b".into()),
            HandsError::Rejected("c".into()),
        ];
        let mut refusals = Refusals::default();
        for error in errors {
            refusals.add(Place::Alone, error);
        }
        assert_eq!(refusals.told(Vec::new()).problem.kind(), ProblemKind::NotReady);
    }

    #[test]
    fn one_refused_event_speaks_for_itself() {
        let mut refusals = Refusals::default();
        let reason = "unknown country".to_owned();
        let field = Some("data.country".to_owned());
        refusals.add(Place::Alone, HandsError::Invalid { field, reason });
        let json = told(&refusals.told(Vec::new()));
        assert_eq!(
            (&json["detail"], &json["status"]),
            (&"unknown country".into(), &422.into())
        );
        assert_eq!(json["errors"][0]["field"], "data.country");
        assert_eq!(json.get("events"), None);
    }

    #[test]
    fn bad_events_are_told_with_their_places() {
        let fault = |place| EventError::new(place, "data.country", "unknown");
        let alone = Faults {
            count: 1,
            told: vec![fault(Place::Alone)],
        };
        let json = told(&Box::<EventsProblem>::from(alone));
        assert_eq!(json["detail"], "data.country: unknown");
        assert_eq!(json["type"], "https://sharetrail.org/problems/invalid-event");
        let many = Faults {
            count: 2,
            told: vec![fault(Place::Position(0)), fault(Place::Position(7))],
        };
        let json = told(&Box::<EventsProblem>::from(many));
        assert_eq!(json["errors"][1]["position"], 7);
        assert_eq!(json["errors"][1].get("line"), None);
    }
}
