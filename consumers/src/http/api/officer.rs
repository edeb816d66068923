//! What officers ask: requests to decide, what is the matter, who received what, over all customers.
//!
//! In scope: the routes and their forms. Out of scope: how the view over all customers comes about (`watch`), carrying a
//! decision out (`steering`). Trust: every route asks for an officer's token. What is shown is customers' data: no cache keeps
//! it.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::decimal;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::auth::Officer;
use crate::http::given::{Given, written};
use crate::http::paging::limit;
use crate::http::problem::{CommonProblems, Problem, ProblemKind};
use crate::http::site::{Parts, Site, blocking};
use crate::http::steering::{Decided, decide};
use crate::watch::{RecipientTotals, WatchedFinding, WatchedRequest};

/// The first byte of a cursor.
const CURSOR_VERSION: u8 = 1;

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<Site> {
    OpenApiRouter::default()
        .routes(routes!(list_requests))
        .routes(routes!(decide_request))
        .routes(routes!(list_findings))
        .routes(routes!(list_recipients))
}

/// How far the trails of all customers are read.
#[derive(Debug, Serialize, ToSchema)]
struct WatchProgress {
    /// Leaves that were looked through.
    read: u64,
    /// Leaves there are. Until all are read, what is shown is not all.
    total: u64,
}

impl WatchProgress {
    fn of(site: &Parts) -> Self {
        let (read, total) = site.watch.progress();
        Self { read, total }
    }
}

/// Requests of customers that wait for an answer.
#[derive(Debug, Serialize, ToSchema)]
struct OpenRequests {
    /// The soonest due first.
    requests: Vec<WatchedRequest>,
    /// How far this was read.
    progress: WatchProgress,
}

/// The requests to decide
///
/// Every request of a customer that waits for an answer, the soonest due first.
#[utoipa::path(
    get,
    path = "/v1/officer/requests",
    operation_id = "officer_requests",
    tag = "officers",
    responses(
        (status = 200, description = "The requests.", body = OpenRequests),
        CommonProblems,
    ),
    security(("oidc" = [])),
)]
async fn list_requests(State(site): State<Site>, _: Officer, given: Given) -> Result<Response, Problem> {
    given.finish()?;
    let list = move || {
        Ok(OpenRequests {
            requests: site.watch.requests(),
            progress: WatchProgress::of(&site),
        })
    };
    Ok(Json(blocking(list).await?).into_response())
}

/// What an officer decides about a request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "granted": true, "description": "Deleted as asked for; invoices are kept until 2036." }))]
struct RequestAnswer {
    /// Whether what is asked for is done.
    granted: bool,
    /// What the customer is told: what was done, or why it was refused.
    #[schema(max_length = 2000)]
    description: Option<String>,
}

/// What became of a decision.
#[derive(Debug, Serialize, ToSchema)]
struct RequestDecided {
    /// Where the request stands now.
    state: RequestDecidedState,
}

/// Where a request stands after a decision.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RequestDecidedState {
    /// It is closed; the answer is on record.
    Closed,
    /// It is closed, and the customer is being erased: that takes up to some minutes.
    Erasing,
}

/// Decides a request
///
/// Closes the request that stands at this leaf; the answer is on record when this returns. A granted erasure is carried out
/// after that: the answer is 202 then.
#[utoipa::path(
    post,
    path = "/v1/officer/requests/{shard}/{index}",
    operation_id = "officer_decide",
    tag = "officers",
    params(
        ("shard" = u32, Path, description = "The shard of the request."),
        ("index" = u64, Path, description = "The leaf by which the request was opened."),
    ),
    request_body(content = RequestAnswer, content_type = "application/json"),
    responses(
        (status = 200, description = "It is closed.", body = RequestDecided),
        (status = 202, description = "It is closed, and the customer is being erased.", body = RequestDecided),
        (status = 504, description = "It may be done, and is not known to be; look before you repeat it.",
            body = Problem, content_type = "application/problem+json"),
        CommonProblems,
    ),
    security(("oidc" = [])),
)]
async fn decide_request(
    State(site): State<Site>,
    _: Officer,
    place: Result<Path<(String, String)>, PathRejection>,
    given: Given,
    answer: Result<Json<RequestAnswer>, JsonRejection>,
) -> Result<Response, Problem> {
    given.finish()?;
    let Path((shard, index)) = place?;
    let Json(answer) = answer?;
    let shard = decimal(&shard).and_then(|shard| u32::try_from(shard).ok());
    let (Some(shard), Some(index)) = (shard, decimal(&index)) else {
        return Err(Problem::new(ProblemKind::NotFound, "no request can be there"));
    };
    let description = written("description", answer.description.as_deref())?;
    let decided = decide(&site, shard, LeafIndex(index), answer.granted, description).await?;
    let (status, state) = match decided {
        Decided::Closed => (StatusCode::OK, RequestDecidedState::Closed),
        Decided::Erasing => (StatusCode::ACCEPTED, RequestDecidedState::Erasing),
    };
    Ok((status, Json(RequestDecided { state })).into_response())
}

/// A page of what is the matter.
#[derive(Debug, Serialize, ToSchema)]
struct FindingsPage {
    /// The newest first; those whose time is not known before all others.
    findings: Vec<WatchedFinding>,
    /// The cursor of the page that follows, where one does.
    next: Option<String>,
    /// How far this was read.
    progress: WatchProgress,
}

/// What is the matter
///
/// Disclosures without a consent that stood, to somebody who is not registered, to a third country without a safeguard; and
/// events that cannot be opened. An event is judged as its producer put it right, and as it was told: what is the matter
/// only as it was told is marked by `corrected_away`. `corrected_at` says at which leaves it was put right. All that is about
/// one event comes on one page, which can be a little longer for it.
#[utoipa::path(
    get,
    path = "/v1/officer/findings",
    operation_id = "officer_findings",
    tag = "officers",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 200,
            description = "How many; 50 if left out."),
        ("cursor" = Option<String>, Query, max_length = 256,
            description = "`next` of the page before."),
    ),
    responses(
        (status = 200, description = "A page of findings.", body = FindingsPage),
        CommonProblems,
    ),
    security(("oidc" = [])),
)]
async fn list_findings(State(site): State<Site>, _: Officer, mut given: Given) -> Result<Response, Problem> {
    let limit = limit(&mut given);
    let after = given.read("cursor", Place::read);
    given.finish()?;
    let page = blocking(move || Ok(findings(&site, after, limit))).await?;
    Ok(Json(page).into_response())
}

fn findings(site: &Parts, after: Option<Place>, limit: usize) -> FindingsPage {
    let view = site.watch.view();
    let all = &view.findings;
    let start = after.map_or(0, |after| all.partition_point(|one| Place::of(one) <= after));
    let mut end = all.len().min(start.saturating_add(limit));
    while end > start && end < all.len() && Place::of(&all[end]) == Place::of(&all[end - 1]) {
        end += 1;
    }
    let last = all[start..end].last().filter(|_| end < all.len());
    FindingsPage {
        next: last.map(|last| Place::of(last).write()),
        findings: all[start..end].to_vec(),
        progress: WatchProgress::of(site),
    }
}

/// Where a finding stands in the order of all: by whether its time is known, then the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    is_timed: bool,
    newest: Reverse<(i64, u32, u32, u64)>,
}

impl Place {
    fn of(finding: &WatchedFinding) -> Self {
        let time = finding.time.map_or((0, 0), |time| (time.seconds(), time.nanos()));
        Self {
            is_timed: finding.time.is_some(),
            newest: Reverse((time.0, time.1, finding.shard, finding.index.0)),
        }
    }

    fn write(&self) -> String {
        let Reverse((seconds, nanos, shard, index)) = self.newest;
        let mut bytes = vec![CURSOR_VERSION, u8::from(self.is_timed)];
        bytes.extend(seconds.to_be_bytes());
        bytes.extend(nanos.to_be_bytes());
        bytes.extend(shard.to_be_bytes());
        bytes.extend(index.to_be_bytes());
        BASE64URL_NOPAD.encode(&bytes)
    }

    fn read(text: &str) -> Result<Self, String> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        let place = bytes.as_deref().and_then(Self::from_bytes);
        place.ok_or_else(|| "it was not given out here".into())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[version, is_timed], rest) = bytes.split_first_chunk()?;
        let (seconds, rest) = rest.split_first_chunk()?;
        let (nanos, rest) = rest.split_first_chunk()?;
        let (shard, index) = rest.split_first_chunk()?;
        let newest = (
            i64::from_be_bytes(*seconds),
            u32::from_be_bytes(*nanos),
            u32::from_be_bytes(*shard),
            u64::from_be_bytes(index.try_into().ok()?),
        );
        (version == CURSOR_VERSION && is_timed < 2).then_some(Self {
            is_timed: is_timed == 1,
            newest: Reverse(newest),
        })
    }
}

/// Who received data.
#[derive(Debug, Serialize, ToSchema)]
struct RecipientsTotals {
    /// The most disclosures first.
    recipients: Vec<RecipientTotals>,
    /// How far this was read.
    progress: WatchProgress,
}

/// Disclosures by recipient
///
/// Who received data of how many customers, and whether the registry knows them.
#[utoipa::path(
    get,
    path = "/v1/officer/recipients",
    operation_id = "officer_recipients",
    tag = "officers",
    responses(
        (status = 200, description = "The recipients.", body = RecipientsTotals),
        CommonProblems,
    ),
    security(("oidc" = [])),
)]
async fn list_recipients(State(site): State<Site>, _: Officer, given: Given) -> Result<Response, Problem> {
    given.finish()?;
    let list = move || {
        Ok(RecipientsTotals {
            recipients: site.watch.recipients(),
            progress: WatchProgress::of(&site),
        })
    };
    Ok(Json(blocking(list).await?).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for place in [
            Place {
                is_timed: true,
                newest: Reverse((-1, 999_999_999, 3, u64::MAX)),
            },
            Place {
                is_timed: false,
                newest: Reverse((0, 0, 0, 0)),
            },
        ] {
            let text = place.write();
            assert_eq!(Place::read(&text), Ok(place));
            for bad in [&text[2..], &format!("{text}AA"), "", "*"] {
                assert!(Place::read(bad).is_err(), "{bad}");
            }
        }
    }

    /// The fault: the page that follows begins with what is older than all that was not shown yet.
    #[test]
    fn the_newest_comes_first_and_what_has_no_time_before_it() {
        let timed = |seconds, index| Place {
            is_timed: true,
            newest: Reverse((seconds, 0, 0, index)),
        };
        let untimed = Place {
            is_timed: false,
            newest: Reverse((0, 0, 0, 5)),
        };
        assert!(untimed < timed(9, 0) && timed(9, 0) < timed(8, 7) && timed(8, 7) < timed(8, 6));
    }
}
