//! `/peer/<shard>/leaves`: leaves with their sealed contents, for the ledger's other hosts.
//!
//! In scope: who may ask, reading the question. Out of scope: the formats, which client and server share
//! ([`sharetrail_ledger::host::peer`]). Trust: only a request that was signed with the hosts' secret in these minutes
//! is looked at. What is given is covered by the published checkpoint, and sealed.

use axum::extract::State;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use sharetrail_ledger::Ledger;
use sharetrail_ledger::host::peer::{SIZE_HEADER, leaves_from, minute_now};
use sharetrail_proof::hash::LeafIndex;

use super::observe::{Role, note_role};
use super::{Logs, number, read_files, shard};
use crate::error::ConsumerError;

/// `GET /peer/<shard>/leaves?from=<index>`.
pub(super) async fn leaves(State(logs): State<Logs>, uri: Uri, headers: HeaderMap) -> Response {
    if !is_admitted(&logs, &uri, &headers) {
        let challenge = [(header::WWW_AUTHENTICATE, "Sharetrail")];
        return (StatusCode::UNAUTHORIZED, challenge).into_response();
    }
    note_role(Role::Host);
    let from = uri.query().and_then(|query| query.strip_prefix("from="));
    let Some(from) = from.and_then(number).map(LeafIndex) else {
        let text = "say where to begin: ?from=<leaf index>\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    let place = uri.path().strip_prefix("/peer/");
    let place = place.and_then(|rest| rest.strip_suffix("/leaves"));
    let place = place.and_then(|number| shard(&logs.ledger, number));
    read_files(move || place.map_or(Ok(None), |shard| answer(&logs.ledger, shard, from))).await
}

fn is_admitted(logs: &Logs, uri: &Uri, headers: &HeaderMap) -> bool {
    let whole = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let authorization = headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    authorization.is_some_and(|value| logs.key.admits(value, whole, minute_now()))
}

fn answer(ledger: &Ledger, shard: u32, from: LeafIndex) -> Result<Option<Response>, ConsumerError> {
    let reader = ledger.reader(shard)?;
    let bytes = leaves_from(&reader, from)?;
    let size = (
        HeaderName::from_static(SIZE_HEADER),
        HeaderValue::from(reader.size().0),
    );
    let kept = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(Some(([size, kept], bytes).into_response()))
}
