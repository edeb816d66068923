//! `GET /v1/me/stream`: a customer is told of each new leaf as it comes, by server-sent events.
//!
//! In scope: the form of what is sent, going on after the last event that came. Out of scope: finding what is new (`streams`).
//! Trust: the route asks for a customer's token or session, and the stream ends when that does. What is sent says that
//! there is something new; what it says is read from the trail.

use std::convert::Infallible;
use std::future::pending;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::decimal;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::auth::{Customer, SessionEnd};
use crate::http::given::{Given, fault};
use crate::http::problem::{CommonProblems, Problem, ProblemKind};
use crate::http::site::Site;
use crate::http::streams::{Listening, NewLeaf};

/// How often something is sent that says nothing, so that nobody in between takes the stream for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// When a browser asks again after a stream has ended.
const ASK_AGAIN: Duration = Duration::from_secs(3);
/// The longest stream: whoever listens on asks again, and goes on where it ended.
const STREAM_TIME: Duration = Duration::from_mins(30);
/// The header by which a browser says which event came last.
const LAST_EVENT_ID: &str = "last-event-id";
const EVENT: &str = "trail";

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Site> {
    OpenApiRouter::default().routes(routes!(listen))
}

/// What is new
///
/// Server-sent events, one for each new leaf of whoever asks, named `trail`. The `id` of an event is shard and index; a
/// browser that was cut off sends it back as `Last-Event-ID`, and is told what came since. Without it, the stream begins with
/// what comes next. A comment is sent every 15 seconds.
#[utoipa::path(
    get,
    path = "/v1/me/stream",
    operation_id = "me_stream",
    tag = "customers",
    params(
        ("Last-Event-ID" = Option<String>, Header, pattern = "^[0-9]+-[0-9]+$", example = "0-17",
            description = "The `id` of the event that came last."),
    ),
    responses(
        (status = 200, body = NewLeaf, content_type = "text/event-stream",
            description = "Events whose `data` is this, until the token expires, whoever asks signs out, or the server \
                ends."),
        CommonProblems,
    ),
    security(("oidc" = []), ("session" = [])),
)]
async fn listen(
    State(site): State<Site>,
    customer: Customer,
    given: Given,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    given.finish()?;
    let after = headers.get(LAST_EVENT_ID).map(last_event).transpose()?;
    let until = Instant::now() + left(customer.person.ends, SystemTime::now());
    let listening = site.streams.open(&site, &customer.id, after).await?;
    let telling = Telling {
        listening,
        until,
        session_end: customer.person.session_end,
        has_begun: false,
    };
    let events = unfold(telling, Telling::go_on);
    let kept_alive = KeepAlive::new().interval(HEARTBEAT);
    // A proxy that collects an answer before it passes it on would hold everything back.
    let unbuffered = (
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(([unbuffered], Sse::new(events).keep_alive(kept_alive)).into_response())
}

/// What is told to somebody, and how far that is.
struct Telling {
    listening: Listening,
    until: Instant,
    /// Of the session by which it was asked for; none where a token was shown.
    session_end: Option<SessionEnd>,
    has_begun: bool,
}

type Told = Result<Event, Infallible>;

impl Telling {
    async fn go_on(mut self) -> Option<(Told, Self)> {
        if !self.has_begun {
            self.has_begun = true;
            // Whoever listens knows by it that nothing is missed from here on.
            let first = Event::default().comment("listening").retry(ASK_AGAIN);
            return Some((Ok(first), self));
        }
        let leaf = tokio::select! {
            // In this order, so that nothing is told after somebody has signed out.
            biased;
            () = ended(self.session_end.as_mut()) => None,
            leaf = self.listening.next(self.until) => leaf,
        };
        Some((Ok(event(&leaf?)), self))
    }
}

/// Waits until a session has ended; for ever where there is none.
async fn ended(session: Option<&mut SessionEnd>) {
    match session {
        Some(end) => end.come().await,
        None => pending().await,
    }
}

fn event(leaf: &NewLeaf) -> Event {
    let data = serde_json::to_string(leaf).expect("numbers and texts are JSON");
    Event::default()
        .event(EVENT)
        .id(format!("{}-{}", leaf.shard, leaf.index))
        .data(data)
}

/// Which leaf came last, as an event's id tells it.
fn last_event(value: &HeaderValue) -> Result<(u32, LeafIndex), Problem> {
    let parts = value.to_str().ok().and_then(|text| text.split_once('-'));
    let place = parts.and_then(|(shard, index)| {
        let shard = decimal(shard).and_then(|shard| u32::try_from(shard).ok())?;
        Some((shard, LeafIndex(decimal(index)?)))
    });
    place.ok_or_else(|| {
        let fault = fault(
            "Last-Event-ID",
            "it is not the id of an event of this stream, such as 0-17",
        );
        Problem::new(ProblemKind::BadRequest, "it cannot be told where to go on").with_errors(vec![fault])
    })
}

/// How long a stream may last for somebody whose token ends then, in Unix seconds.
fn left(ends: u64, now: SystemTime) -> Duration {
    let end = UNIX_EPOCH.checked_add(Duration::from_secs(ends));
    let left = end.map(|end| end.duration_since(now).unwrap_or_default());
    left.unwrap_or(STREAM_TIME).min(STREAM_TIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_is_read_as_it_was_told() {
        let read = |text: &'static str| last_event(&HeaderValue::from_static(text)).ok();
        assert_eq!(read("3-17"), Some((3, LeafIndex(17))));
        for bad in [
            "",
            "3",
            "-",
            "3-",
            "-17",
            "03-17",
            "3-17-1",
            "4294967296-0",
            "x-1",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    /// The fault: whoever once had a token listens for ever.
    #[test]
    fn a_stream_lasts_no_longer_than_the_token() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        assert_eq!(left(1_010, now), Duration::from_secs(10));
        assert_eq!(left(900, now), Duration::ZERO);
        assert_eq!(left(u64::MAX, now), STREAM_TIME);
    }
}
