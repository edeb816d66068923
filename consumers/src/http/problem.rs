//! What is answered when a request is not done: problems as in RFC 9457, with types that never change.
//!
//! In scope: the kinds, their form, what becomes of this crate's errors. Out of scope: pages, which show a problem as
//! HTML. Trust: whoever reads a problem is a stranger. It names no path of this host, and of a customer only what they
//! sent.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::rejection::{BytesRejection, FormRejection, JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use sharetrail_ledger::LedgerError;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use super::hands::HandsError;
use crate::error::ConsumerError;

/// What every type begins with; docs/api.md says what each means.
const TYPES: &str = "https://sharetrail.org/problems/";
const MEDIA_TYPE: &str = "application/problem+json";
/// When to ask again where nobody knows better.
const ASK_AGAIN_SECONDS: u32 = 2;
/// What is said where the reason may name paths of this host; whoever asked can do nothing about it.
const UNREADABLE: &str = "this host cannot read its archive; `sharetrail status` on it tells more";

/// What kind of problem it is. What a program decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// The request does not parse, or a parameter does not fit.
    BadRequest,
    /// An event breaks a rule of its schema.
    InvalidEvent,
    /// Nobody is signed in, or the token is not good.
    Unauthenticated,
    /// Whoever asks may not.
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    /// The request did not come, or was not done, in its time.
    Timeout,
    /// An event with the same source and id has another content.
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    /// The idempotency key came with another request before.
    IdempotencyMismatch,
    /// The request with this idempotency key is at work.
    IdempotencyBusy,
    /// The ledger refused the event.
    Rejected,
    TooManyRequests,
    /// It may go through in a moment.
    NotReady,
    /// It may be done by now or later, and doing it twice does harm.
    OutcomeUnknown,
    /// This host is at fault.
    Failed,
    /// What lies on this host's disk contradicts its own checkpoints.
    Damaged,
}

impl ProblemKind {
    /// Status, the end of the type, and the title.
    fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (
                StatusCode::BAD_REQUEST,
                "bad-request",
                "The request does not parse",
            ),
            Self::InvalidEvent => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid-event",
                "An event breaks a rule of its schema",
            ),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "Sign in first"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "This is not yours to ask"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is nothing here"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "This cannot be done here",
            ),
            Self::NotAcceptable => (
                StatusCode::NOT_ACCEPTABLE,
                "not-acceptable",
                "It does not come in the form that was asked for",
            ),
            Self::Timeout => (
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "The request took too long",
            ),
            Self::Conflict => (
                StatusCode::CONFLICT,
                "conflict",
                "It contradicts what is on record",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The request is too large",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "This content type is not taken here",
            ),
            Self::IdempotencyMismatch => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "Another request came with this idempotency key",
            ),
            Self::IdempotencyBusy => (
                StatusCode::CONFLICT,
                "idempotency-key-in-use",
                "The request with this idempotency key is at work",
            ),
            Self::Rejected => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "rejected",
                "The ledger refused the event",
            ),
            Self::TooManyRequests => (
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests in a short time",
            ),
            Self::NotReady => (
                StatusCode::SERVICE_UNAVAILABLE,
                "not-ready",
                "Ask again in a moment",
            ),
            Self::OutcomeUnknown => (
                StatusCode::GATEWAY_TIMEOUT,
                "outcome-unknown",
                "It may be done; look before you repeat it",
            ),
            Self::Failed => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "failed",
                "Something is wrong on this host",
            ),
            Self::Damaged => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "damaged",
                "What lies on this host contradicts what was published",
            ),
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        self.facts().0
    }
}

/// Where people look whether a change was done of which that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Choices,
    Requests,
    /// Those that an officer decides.
    OfficerRequests,
}

impl Look {
    /// Where to look for a change that was asked for on a page at this address.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "/me/choices" => Some(Self::Choices),
            "/me/requests" => Some(Self::Requests),
            path if path.starts_with("/officer/requests/") => Some(Self::OfficerRequests),
            _ => None,
        }
    }
}

/// Something about one field of what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ProblemError {
    /// The field: a JSON pointer, or the name of a parameter.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// Why a request was not done (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Says what kind of problem it is; never changes.
    #[serde(rename = "type", serialize_with = "write_type")]
    #[schema(value_type = String, format = "uri")]
    kind: ProblemKind,
    /// The kind in words.
    #[schema(value_type = String)]
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is the matter with this request.
    detail: String,
    /// Which fields are at fault, where it is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<ProblemError>,
    /// Seconds until it is worth asking again.
    #[serde(skip)]
    again: Option<u32>,
    /// For pages; programs read it in `detail`.
    #[serde(skip)]
    look: Option<Look>,
}

// Serde hands a reference to what it serializes.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn write_type<S: Serializer>(kind: &ProblemKind, serializer: S) -> Result<S::Ok, S::Error> {
    let (_, slug, _) = kind.facts();
    serializer.collect_str(&format_args!("{TYPES}{slug}"))
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let (status, _, title) = kind.facts();
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            again: None,
            look: None,
        }
    }

    pub(crate) fn with_errors(self, errors: Vec<ProblemError>) -> Self {
        Self { errors, ..self }
    }

    /// Says when it is worth asking again.
    pub(crate) fn with_wait(self, seconds: u32) -> Self {
        Self {
            again: Some(seconds.max(1)),
            ..self
        }
    }

    /// Says where people see whether it was done.
    pub(crate) fn with_look(self, look: Option<Look>) -> Self {
        Self { look, ..self }
    }

    pub(crate) fn look(&self) -> Option<Look> {
        self.look
    }

    pub(crate) fn kind(&self) -> ProblemKind {
        self.kind
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.kind.status()
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn errors(&self) -> &[ProblemError] {
        &self.errors
    }

    /// This host is at fault. The operator's log gets the reason, whoever asked does not.
    pub(crate) fn failed(reason: &dyn std::fmt::Display) -> Self {
        tracing::error!(target: "http", %reason, "a request failed");
        Self::new(ProblemKind::Failed, UNREADABLE)
    }

    /// What was read here does not fit what was published: the customer is to know that, the operator gets the place.
    fn damaged(reason: &dyn std::fmt::Display) -> Self {
        tracing::error!(target: "http", %reason, "what lies on this host is damaged");
        let detail = "this host's copy of the ledger contradicts its own checkpoints; an operator must run `sharetrail audit`";
        Self::new(ProblemKind::Damaged, detail)
    }

    /// What an extractor says about a request that does not fit.
    fn refused(status: StatusCode, text: String) -> Self {
        let kind = match status {
            StatusCode::PAYLOAD_TOO_LARGE => ProblemKind::TooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemKind::UnsupportedMediaType,
            status if status.is_server_error() => return Self::failed(&text),
            _ => ProblemKind::BadRequest,
        };
        Self::new(kind, text)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (kind, again) = (self.kind, self.again);
        let mut response = (kind.status(), Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if kind == ProblemKind::Unauthenticated {
            let challenge = HeaderValue::from_static("Bearer realm=\"sharetrail\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if matches!(kind, ProblemKind::Timeout | ProblemKind::OutcomeUnknown) {
            // What is left of a request that did not come whole cannot be told from the next one.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let is_passing = matches!(
            kind,
            ProblemKind::TooManyRequests | ProblemKind::NotReady | ProblemKind::IdempotencyBusy
        );
        if is_passing {
            let seconds = again.unwrap_or(ASK_AGAIN_SECONDS);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<ConsumerError> for Problem {
    fn from(error: ConsumerError) -> Self {
        match error {
            ConsumerError::NothingOnRecord { .. } => Self::new(
                ProblemKind::NotFound,
                "there is nothing on record under this customer id",
            ),
            ConsumerError::NotErased { generation, .. } => Self::new(
                ProblemKind::NotFound,
                format!("no erasure is on record in generation {generation}"),
            ),
            ConsumerError::NoMap { .. } | ConsumerError::NotCovered { .. } => Self::new(
                ProblemKind::NotReady,
                "the customer map that covers what was recorded last is being sealed",
            ),
            ConsumerError::Behind { .. } => {
                Self::new(ProblemKind::NotReady, "what was recorded last is being read in")
            }
            ConsumerError::Ledger(error) => Self::from_ledger(&error),
            error @ (ConsumerError::Log { .. } | ConsumerError::Index { .. }) => Self::damaged(&error),
            error if error.is_locked() => {
                Self::new(ProblemKind::NotReady, "another command reads what is needed here")
            }
            error => Self::failed(&error),
        }
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        Self::from_ledger(&error)
    }
}

impl Problem {
    fn from_ledger(error: &LedgerError) -> Self {
        let detail = match error {
            LedgerError::Bus(_) => "the bus does not answer at the moment",
            LedgerError::Erasing => "the customer is being erased at this moment",
            LedgerError::Stopped(_) => "the sequencer has stopped; an operator must look at it",
            LedgerError::LeaseLost { .. } => "another host has taken over",
            error if error.is_locked() => "another process is at work on what is needed here",
            error @ LedgerError::Damaged { .. } => return Self::damaged(error),
            error => return Self::failed(error),
        };
        Self::new(ProblemKind::NotReady, detail)
    }
}

impl From<HandsError> for Problem {
    fn from(error: HandsError) -> Self {
        match error {
            HandsError::Invalid { field, reason } => {
                let errors = field.map(|field| ProblemError {
                    field,
                    reason: reason.clone(),
                });
                Self::new(ProblemKind::InvalidEvent, reason).with_errors(errors.into_iter().collect())
            }
            HandsError::Conflict(reason) => Self::new(ProblemKind::Conflict, reason),
            HandsError::Rejected(reason) => Self::new(ProblemKind::Rejected, reason),
            HandsError::UnknownProducer(producer) => Self::new(
                ProblemKind::Forbidden,
                format!("this host does not sign for {producer}"),
            ),
            HandsError::Stopped(reason) => {
                tracing::warn!(target: "http", %reason, "nothing is recorded at the moment");
                Self::new(ProblemKind::NotReady, "nothing is recorded at the moment")
            }
            HandsError::Failed(reason) => Self::failed(&reason),
        }
    }
}

/// Extractors say what does not fit, and with which status.
macro_rules! from_rejections {
    ($($rejection:ty),* $(,)?) => {
        $(
            impl From<$rejection> for Problem {
                fn from(rejection: $rejection) -> Self {
                    Self::refused(rejection.status(), rejection.body_text())
                }
            }
        )*
    };
}

from_rejections!(
    BytesRejection,
    FormRejection,
    JsonRejection,
    PathRejection,
    QueryRejection,
);

/// What any route of the API may answer beside what it says itself.
pub(crate) struct CommonProblems;

impl IntoResponses for CommonProblems {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let kinds = [
            ProblemKind::BadRequest,
            ProblemKind::Unauthenticated,
            ProblemKind::Forbidden,
            ProblemKind::NotFound,
            ProblemKind::MethodNotAllowed,
            ProblemKind::NotAcceptable,
            ProblemKind::Timeout,
            ProblemKind::Conflict,
            ProblemKind::TooLarge,
            ProblemKind::UnsupportedMediaType,
            ProblemKind::InvalidEvent,
            ProblemKind::TooManyRequests,
            ProblemKind::Failed,
            ProblemKind::NotReady,
        ];
        let described = kinds.map(|kind| {
            let (status, _, title) = kind.facts();
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Problem")))
                .build();
            let response = ResponseBuilder::new()
                .description(describe(kind, title))
                .content(MEDIA_TYPE, content)
                .build();
            (status.as_str().to_owned(), RefOr::T(response))
        });
        described.into()
    }
}

/// Some statuses stand for several kinds.
fn describe(kind: ProblemKind, title: &str) -> String {
    let title = match kind {
        ProblemKind::Conflict => {
            "It contradicts what is on record, or the request with this idempotency key is at work"
        }
        ProblemKind::InvalidEvent => {
            "What was sent breaks a rule, was refused, or came with an idempotency key of another request"
        }
        ProblemKind::Failed => {
            "Something is wrong on this host, or what lies there contradicts what was published"
        }
        _ => title,
    };
    format!("{title}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of(response: &Response, name: header::HeaderName) -> Option<&str> {
        response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The fault: a program that decides on `type` meets another spelling, or a field that should be left out is `[]`.
    #[test]
    fn a_problem_has_the_form_of_the_rfc() {
        let problem = Problem::new(ProblemKind::IdempotencyMismatch, "another body");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "https://sharetrail.org/problems/idempotency-key-reused",
                "title": "Another request came with this idempotency key",
                "status": 422,
                "detail": "another body",
            })
        );
        let errors = vec![ProblemError {
            field: "/subject".into(),
            reason: "too long".into(),
        }];
        let json = serde_json::to_value(problem.with_errors(errors)).unwrap();
        assert_eq!(json["errors"][0]["field"], "/subject");
    }

    #[test]
    fn an_answer_says_what_to_do_next() {
        let response = Problem::new(ProblemKind::Unauthenticated, "").into_response();
        assert_eq!(response.status(), 401);
        assert!(header_of(&response, header::WWW_AUTHENTICATE).is_some());
        assert_eq!(header_of(&response, header::CONTENT_TYPE), Some(MEDIA_TYPE));
        let response = Problem::new(ProblemKind::TooManyRequests, "")
            .with_wait(7)
            .into_response();
        assert_eq!(header_of(&response, header::RETRY_AFTER), Some("7"));
        let response = Problem::new(ProblemKind::NotReady, "").into_response();
        assert_eq!(header_of(&response, header::RETRY_AFTER), Some("2"));
    }

    /// The fault: a program that repeats by itself whatever it is told to try later asks for the same thing twice.
    #[test]
    fn what_may_be_done_is_not_to_be_tried_later() {
        let problem = Problem::new(ProblemKind::OutcomeUnknown, "look");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "https://sharetrail.org/problems/outcome-unknown");
        let response = problem.into_response();
        assert_eq!(response.status(), 504);
        assert_eq!(header_of(&response, header::RETRY_AFTER), None);
    }

    /// The fault: a stranger learns where this host keeps its files, or a question about nobody is a fault of the host.
    #[test]
    fn what_went_wrong_here_is_not_told_to_strangers() {
        let error = ConsumerError::Gone {
            path: "/srv/secret/place".into(),
        };
        let problem = Problem::from(error);
        assert_eq!(problem.kind(), ProblemKind::Failed);
        assert!(!problem.detail().contains("secret"));
        let customer = "someone".to_owned();
        let problem = Problem::from(ConsumerError::NothingOnRecord { customer });
        assert_eq!(problem.kind(), ProblemKind::NotFound);
        assert!(!problem.detail().contains("someone"));
        let problem = Problem::from(ConsumerError::NoMap { shard: 0 });
        assert_eq!(problem.kind(), ProblemKind::NotReady);
        let locked = LedgerError::Locked {
            path: "/srv/secret/place".into(),
            pid: None,
        };
        let problem = Problem::from(ConsumerError::Ledger(locked));
        assert_eq!(problem.kind(), ProblemKind::NotReady);
        assert!(!problem.detail().contains("secret"));
    }
}
