//! The HTTP API: what services, customers, officers and anybody may ask of the server, and the documents that tell it.
//!
//! ```text
//! POST /v1/events, /v1/authorize     services      `events`, `authorize`
//! /v1/me/…                           customers     `me`, `steer`, `evidence`, `stream`
//! /v1/officer/…                      officers      `officer`
//! /policy, /v1/logs/…                anybody       `logs`
//! /openapi.json, /asyncapi.json      anybody       `openapi`, `asyncapi`
//! ```
//! In scope: the routes of the API, each with its description. Out of scope: who somebody is (`auth`), pages, the logs'
//! own files. Trust: every route says in its arguments who may ask; what it is asked is a stranger's until it is
//! checked.

mod asyncapi;
mod authorize;
mod body;
mod events;
mod evidence;
mod idempotency;
mod logs;
mod me;
mod officer;
mod openapi;
mod schemas;
mod steer;
mod stream;

use utoipa_axum::router::OpenApiRouter;

use super::health;
use super::site::Site;

pub(crate) use idempotency::Idempotency;

/// The routes of the API, with what `/openapi.json` tells of them.
pub(super) fn routes() -> OpenApiRouter<Site> {
    OpenApiRouter::default()
        .merge(events::routes())
        .merge(authorize::routes())
        .merge(me::routes())
        .merge(officer::routes())
        .merge(logs::routes())
        .merge(health::routes())
        .merge(openapi::routes())
}
