//! Whether the server is well: for whatever starts and watches it.
//!
//! In scope: `/healthz`, `/readyz`, `/metrics`. Out of scope: what is counted (`metrics`). Trust: the first two say
//! nothing about anybody. The numbers are for this machine alone unless the operator opened them; a proxy on this
//! machine passes on other people's requests, and says so. Whom it names makes nobody near, be it trusted or not.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use tokio::time::timeout;
use url::Url;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::connections::Remote;
use super::nothing_here;
use super::problem::{CommonProblems, Problem, ProblemError, ProblemKind};
use super::settings::is_loopback;
use super::site::{Parts, Site, blocking};

/// Leaves that a shard's projection may be behind its log: about a second's worth at full speed.
const LAG_MAX: u64 = 50_000;
/// How long a look at all shards may take.
const LOOK_WAIT: Duration = Duration::from_secs(2);
/// What proxies add to what they pass on.
const PASSED_ON: [&str; 6] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Site> {
    OpenApiRouter::default()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
}

/// How far a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
struct ShardLevel {
    /// The shard.
    shard: u32,
    /// Leaves under its published checkpoint.
    leaves: u64,
    /// How many of them are folded; null while nobody asks for a trail, when the projection is at rest.
    folded: Option<u64>,
}

impl ShardLevel {
    fn lag(self) -> u64 {
        self.folded.map_or(0, |folded| self.leaves.saturating_sub(folded))
    }
}

/// That requests are answered from what is new.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    /// Always true; where it is not so, the answer is a problem.
    ready: bool,
    /// Every shard.
    shards: Vec<ShardLevel>,
}

/// Whether the server answers
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    tag = "host",
    responses(
        CommonProblems,
        (status = 200, description = "It does.", body = String, content_type = "text/plain"),
    ),
    security(()),
)]
pub(super) fn healthz() -> Ready<&'static str> {
    ready("ok\n")
}

/// Whether the server has what it answers from
///
/// It has once every shard has a published checkpoint and what was recorded until a moment ago is folded.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "host",
    responses(
        CommonProblems,
        (status = 200, description = "It has.", body = Readiness),
        (status = 503, description = "Not yet.", body = Problem, content_type = "application/problem+json"),
    ),
    security(()),
)]
async fn readyz(State(site): State<Site>) -> Result<Json<Readiness>, Problem> {
    let shards = levels(&site).await?;
    let behind: Vec<ProblemError> = shards
        .iter()
        .filter(|level| level.lag() > LAG_MAX)
        .map(|level| ProblemError {
            field: format!("/shards/{}", level.shard),
            reason: format!("{} leaves are not folded yet", level.lag()),
        })
        .collect();
    if behind.is_empty() {
        Ok(Json(Readiness { ready: true, shards }))
    } else {
        let detail = "what was recorded last is being folded";
        Err(Problem::new(ProblemKind::NotReady, detail).with_errors(behind))
    }
}

/// What the server has counted
///
/// For Prometheus, on this machine alone unless the operator says otherwise.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "host",
    responses(
        CommonProblems,
        (
            status = 200,
            description = "OpenMetrics text.",
            body = String,
            content_type = "application/openmetrics-text",
        ),
    ),
    security(()),
)]
async fn metrics(
    State(site): State<Site>,
    Extension(Remote(from)): Extension<Remote>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let is_near = from.ip().to_canonical().is_loopback() && !is_passed_on(&site, &headers);
    if !is_near && !site.settings.open_metrics {
        return Err(nothing_here());
    }
    // Where it cannot be told now how far the shards are, the last numbers stay.
    for level in levels(&site).await.unwrap_or_default() {
        site.metrics.set_shard(level.shard, level.leaves, level.folded);
    }
    let text = blocking(move || {
        site.metrics.set_findings(site.watch.count());
        Ok(site.metrics.text())
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

/// Whether a proxy passes on what somebody else asks: it says so, or they asked for the public name.
fn is_passed_on(site: &Parts, headers: &HeaderMap) -> bool {
    let public = site.settings.public_url.as_deref();
    let public = public.and_then(|url| Url::parse(url).ok());
    let public = public.filter(|url| url.host().is_some_and(|host| !is_loopback(&host)));
    let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let is_public = public
        .zip(asked)
        .is_some_and(|(public, asked)| public.authority().eq_ignore_ascii_case(asked));
    is_public || PASSED_ON.iter().any(|name| headers.contains_key(*name))
}

/// How far every shard is. Whoever asks while another look is under way is told so: a store that is folded for minutes
/// must not take all threads that wait for files.
async fn levels(site: &Site) -> Result<Vec<ShardLevel>, Problem> {
    let busy = || {
        let detail = "what this host answers from is being read in";
        Problem::new(ProblemKind::NotReady, detail)
    };
    let turn = Arc::clone(&site.look).try_acquire_owned().map_err(|_| busy())?;
    let site = site.clone();
    let looked = blocking(move || {
        let found = look(&site);
        drop(turn);
        found
    });
    match timeout(LOOK_WAIT, looked).await {
        Ok(found) => found,
        Err(_) => Err(busy()),
    }
}

fn look(site: &Parts) -> Result<Vec<ShardLevel>, Problem> {
    let folded = site.shelf.folded();
    let level = |shard: u32| -> Result<ShardLevel, Problem> {
        let reader = site.ledger.reader(shard).map_err(|error| {
            tracing::warn!(target: "http", shard, %error, "no checkpoint can be read");
            let detail = format!("shard {shard} has no published checkpoint that can be read");
            Problem::new(ProblemKind::NotReady, detail)
        })?;
        let folded = folded.as_ref();
        Ok(ShardLevel {
            shard,
            leaves: reader.size().0,
            folded: folded.and_then(|folded| folded.get(shard as usize).copied()),
        })
    };
    (0..site.ledger.shards()).map(level).collect()
}
