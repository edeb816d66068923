//! The pages: what customers, officers and auditors see in a browser.
//!
//! Server-rendered HTML that works without scripts, but for the proof. Nothing is loaded from another host, and no
//! page has inline styles or scripts.
//!
//! In scope: markup, texts, forms. Out of scope: who may see what (see `http::auth`), what is shown (trails,
//! choices, requests, the officer's view). Trust: what is on record is its producers' word and may hold anything;
//! it becomes markup only escaped.

pub(crate) mod assets;
mod auditor;
mod choices;
mod downloads;
mod flow;
mod landing;
mod layout;
mod officer;
mod overview;
mod parts;
mod proof;
mod recipient;
mod report;
mod requests;
mod sentence;
mod sharing;
mod timeline;
pub(crate) mod words;

use axum::Router;

pub(crate) use self::layout::error_page;
use crate::http::site::Site;

/// All pages and what they load.
pub(crate) fn routes() -> Router<Site> {
    Router::new()
        .merge(assets::routes())
        .merge(landing::routes())
        .merge(overview::routes())
        .merge(timeline::routes())
        .merge(downloads::routes())
        .merge(proof::routes())
        .merge(sharing::routes())
        .merge(recipient::routes())
        .merge(choices::routes())
        .merge(requests::routes())
        .merge(officer::routes())
        .merge(auditor::routes())
}
