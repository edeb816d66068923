//! What anybody may ask about the logs beside their files: whom to believe, and that a log only ever grew.
//!
//! In scope: the trust policy, consistency proofs between any two sizes. Out of scope: checkpoints, tiles and entries, which
//! are served as files. Trust: nothing here is believed by whoever asks: a proof is checked against checkpoints, and the policy
//! is to be had another way too.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sharetrail_proof::hash::TreeSize;
use sharetrail_proof::name::decimal;
use sharetrail_proof::tree::ConsistencyProof;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::given::Given;
use crate::http::problem::{CommonProblems, Problem, ProblemKind};
use crate::http::site::{Parts, Site, blocking};

/// The routes.
pub(crate) fn routes() -> OpenApiRouter<Site> {
    OpenApiRouter::default()
        .routes(routes!(policy))
        .routes(routes!(consistency))
}

/// The trust policy
///
/// Whom to believe when a dossier, a certificate or a log of this ledger is verified: the keys of its logs, its id, its
/// auditors and witnesses (C2SP tlog-policy). Compare it with one that came to you another way.
#[utoipa::path(
    get,
    path = "/policy",
    operation_id = "policy",
    tag = "logs",
    responses(
        (status = 200, description = "The policy.", body = String, content_type = "text/plain"),
        CommonProblems,
    ),
    security(()),
)]
async fn policy(State(site): State<Site>) -> Result<Response, Problem> {
    let text = blocking(move || Ok(site.ledger.policy()?.to_string())).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, text).into_response())
}

/// That a log only grew.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "shard": 0,
    "from": 3,
    "to": 7,
    "hashes": ["47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="],
    "checkpoint": "shop.example/log/0of1\n7\n…\n\n— shop.example/log/0of1 …\n",
}))]
struct Consistency {
    /// The shard.
    shard: u32,
    /// Leaves of the earlier tree.
    from: u64,
    /// Leaves of the later tree.
    to: u64,
    /// The proof (RFC 9162 §2.1.4), base64.
    #[schema(value_type = Vec<String>)]
    hashes: ConsistencyProof,
    /// The log's checkpoint as it is published now, which has at least `to` leaves.
    checkpoint: String,
}

/// That a log only grew
///
/// The proof that the log of `to` leaves begins with the log of `from` leaves, unaltered. Whoever has kept an earlier
/// checkpoint checks with it that no history was rewritten.
#[utoipa::path(
    get,
    path = "/v1/logs/{shard}/consistency",
    operation_id = "consistency",
    tag = "logs",
    params(
        ("shard" = u32, Path, description = "The shard, from 0."),
        ("from" = u64, Query, description = "Leaves of the earlier tree.", example = 3),
        ("to" = Option<u64>, Query, example = 7,
            description = "Leaves of the later tree; those of the checkpoint if left out."),
    ),
    responses(
        (status = 200, description = "The proof.", body = Consistency),
        CommonProblems,
    ),
    security(()),
)]
async fn consistency(
    State(site): State<Site>,
    Path(shard): Path<String>,
    mut given: Given,
) -> Result<Response, Problem> {
    let from = given.number("from", 0, u64::MAX);
    if from.is_none() && given.faults().is_empty() {
        given.refuse(
            "from",
            "it is missing: the number of leaves of an earlier checkpoint",
        );
    }
    let to = given.number("to", 0, u64::MAX);
    given.finish()?;
    let shard = decimal(&shard).and_then(|shard| u32::try_from(shard).ok());
    let shard = shard.filter(|shard| *shard < site.ledger.shards());
    let shard =
        shard.ok_or_else(|| Problem::new(ProblemKind::NotFound, "the ledger has no shard of this number"))?;
    let proof = blocking(move || prove(&site, shard, from.unwrap_or_default(), to)).await?;
    Ok(([(header::CACHE_CONTROL, "no-cache")], Json(proof)).into_response())
}

fn prove(site: &Parts, shard: u32, from: u64, to: Option<u64>) -> Result<Consistency, Problem> {
    let reader = site.ledger.reader(shard)?;
    let size = reader.size();
    let to = to.unwrap_or(size.0);
    let what = if from > to {
        "a log cannot shrink: `from` is above `to`".to_owned()
    } else if to > size.0 {
        format!("the log has {size} leaves, and `to` is above that")
    } else {
        let hashes = reader.consistency_between(TreeSize(from), TreeSize(to))?;
        return Ok(Consistency {
            shard,
            from,
            to,
            hashes,
            checkpoint: reader.note().to_owned(),
        });
    };
    Err(Problem::new(ProblemKind::BadRequest, what))
}
