//! What pages load: style, scripts, signs; and the verifier as one file that needs no network.
//!
//! Everything is part of the program. An asset's address holds a hash of its bytes, so that browsers may keep it
//! for ever.
//!
//! In scope: joining the parts, addresses, hashes, the verifier's page with its own policy. Out of scope: what the
//! parts do. Trust: nothing of a request becomes a path; a name is looked up among those that there are.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use data_encoding::{BASE64, HEXLOWER};
use maud::PreEscaped;
use sha2::{Digest, Sha256};

use super::layout::PageError;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::site::Site;

const BASE: &str = include_str!("../../assets/base.css");
const STYLE: &str = include_str!("../../assets/style.css");
/// The verdict's, on the Proof page and on the verifier's own.
const VERDICT: &str = include_str!("../../assets/verifier/verifier.css");
const PRINT: &str = include_str!("../../assets/print.css");
/// Those of single pages, which the verifier's page does not need.
const PAGES: [&str; 2] = [
    include_str!("../../assets/flow.css"),
    include_str!("../../assets/controls.css"),
];

/// The verifier's modules, each before those that use it: as `ORDER` says.
const MODULES: &[(&str, &str)] = &[
    ("bytes.js", include_str!("../../assets/verifier/bytes.js")),
    ("sha.js", include_str!("../../assets/verifier/sha.js")),
    ("json.js", include_str!("../../assets/verifier/json.js")),
    ("tree.js", include_str!("../../assets/verifier/tree.js")),
    ("curve.js", include_str!("../../assets/verifier/curve.js")),
    ("engine.js", include_str!("../../assets/verifier/engine.js")),
    ("vrf.js", include_str!("../../assets/verifier/vrf.js")),
    ("note.js", include_str!("../../assets/verifier/note.js")),
    ("policy.js", include_str!("../../assets/verifier/policy.js")),
    ("entry.js", include_str!("../../assets/verifier/entry.js")),
    ("registry.js", include_str!("../../assets/verifier/registry.js")),
    ("map.js", include_str!("../../assets/verifier/map.js")),
    ("content.js", include_str!("../../assets/verifier/content.js")),
    ("reading.js", include_str!("../../assets/verifier/reading.js")),
    (
        "examination.js",
        include_str!("../../assets/verifier/examination.js"),
    ),
    ("shard.js", include_str!("../../assets/verifier/shard.js")),
    ("dossier.js", include_str!("../../assets/verifier/dossier.js")),
    ("event.js", include_str!("../../assets/verifier/event.js")),
    (
        "recipients.js",
        include_str!("../../assets/verifier/recipients.js"),
    ),
    ("verdict.js", include_str!("../../assets/verifier/verdict.js")),
    ("words.js", include_str!("../../assets/verifier/words.js")),
    ("elements.js", include_str!("../../assets/verifier/elements.js")),
    ("asking.js", include_str!("../../assets/verifier/asking.js")),
    ("render.js", include_str!("../../assets/verifier/render.js")),
    ("page.js", include_str!("../../assets/verifier/page.js")),
    ("main.js", include_str!("../../assets/verifier/main.js")),
];
const PROOF: &str = include_str!("../../assets/proof.js");
const VERIFIER: &str = include_str!("../../assets/verifier/page.html");

/// How long browsers may keep what never changes under its name.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Hex digits of a hash in a name.
const HASH_DIGITS: usize = 16;

/// Something that pages load.
struct Asset {
    name: &'static str,
    /// Where it is: `/assets/style-0123456789abcdef.css`.
    address: String,
    etag: String,
    media_type: &'static str,
    bytes: Bytes,
}

static ASSETS: LazyLock<[Asset; 4]> = LazyLock::new(|| {
    let script = "text/javascript; charset=utf-8";
    [
        Asset::new("style.css", "text/css; charset=utf-8", style()),
        Asset::new("verifier.js", script, verifier_bundle()),
        Asset::new("proof.js", script, PROOF.to_owned()),
        Asset::new(
            "favicon.svg",
            "image/svg+xml",
            include_str!("../../assets/favicon.svg").to_owned(),
        ),
    ]
});

static VERIFIER_PAGE: LazyLock<VerifierPage> = LazyLock::new(VerifierPage::new);

/// Where an asset is, by its name without hash.
pub(crate) fn url(name: &str) -> &'static str {
    let found = ASSETS.iter().find(|asset| asset.name == name);
    &found
        .expect("pages name only assets that are part of the program")
        .address
}

/// The verifier's modules as one script: their imports are dropped, and nothing is exported.
pub(crate) fn verifier_bundle() -> String {
    let modules = MODULES.iter().map(|(_, source)| bundled(source));
    modules.collect()
}

/// The verifier as one file, with its style and its script inside.
pub(crate) fn verifier_html() -> &'static str {
    &VERIFIER_PAGE.html
}

pub(super) fn routes() -> Router<Site> {
    let asset = |name: Result<Path<String>, PathRejection>, headers: HeaderMap| async move {
        let name = name.map(|Path(name)| name).unwrap_or_default();
        answer(&name, &headers)
    };
    Router::new()
        .route("/assets/{name}", get(asset))
        .route("/verifier.html", get(|| async { verifier() }))
}

impl Asset {
    fn new(name: &'static str, media_type: &'static str, text: String) -> Self {
        let hash = HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
        let hash = &hash[..HASH_DIGITS];
        let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
        Self {
            name,
            address: format!("/assets/{stem}-{hash}.{ending}"),
            etag: format!("\"{hash}\""),
            media_type,
            bytes: Bytes::from(text),
        }
    }
}

fn answer(name: &str, headers: &HeaderMap) -> Response {
    let is_it = |asset: &&Asset| asset.address.strip_prefix("/assets/") == Some(name);
    let Some(asset) = ASSETS.iter().find(is_it) else {
        let problem = Problem::new(ProblemKind::NotFound, "there is no such file");
        return PageError(problem).into_response();
    };
    let kept = headers.get(header::IF_NONE_MATCH);
    let is_kept = kept
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| tags == "*" || tags.contains(&asset.etag));
    let caching = [
        (header::ETAG, asset.etag.as_str()),
        (header::CACHE_CONTROL, FOR_EVER),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    if is_kept {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let media_type = [(header::CONTENT_TYPE, asset.media_type)];
    (caching, media_type, asset.bytes.clone()).into_response()
}

fn verifier() -> Response {
    let headers: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, &VERIFIER_PAGE.policy),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, verifier_html()).into_response()
}

fn style() -> String {
    let parts = [BASE, STYLE, VERDICT].into_iter().chain(PAGES).chain([PRINT]);
    parts.collect()
}

/// A module without what joins it to others.
fn bundled(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    for line in source.lines().filter(|line| !line.starts_with("import ")) {
        text.push_str(line.strip_prefix("export ").unwrap_or(line));
        text.push('\n');
    }
    text
}

/// The verifier's page, and the policy that lets it run its own script and nothing else.
struct VerifierPage {
    html: String,
    policy: String,
}

impl VerifierPage {
    fn new() -> Self {
        let style = [BASE, STYLE, VERDICT, PRINT].concat();
        let html = VERIFIER
            .replacen("/*STYLE*/", &style, 1)
            .replacen("/*SCRIPT*/", &verifier_bundle(), 1);
        let (script, style) = (hash_of(&html, "script"), hash_of(&html, "style"));
        let shared = format!(
            "default-src 'none'; script-src {script}; style-src {style}; base-uri 'none'; form-action 'none'"
        );
        // A policy in the page, which holds for the file on a disk, cannot say who may frame it.
        let meta = format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{shared}\">");
        Self {
            html: html.replacen("<!--CSP-->", &meta, 1),
            policy: format!("{shared}; frame-ancestors 'none'"),
        }
    }
}

/// The hash by which a policy knows the text of the only element of a kind, and with which nothing else goes.
fn hash_of(html: &str, element: &str) -> String {
    let text = inlined(html, element).unwrap_or_default();
    format!("'sha256-{}'", BASE64.encode(&Sha256::digest(text.as_bytes())))
}

/// What stands between the first tag of a kind and its end.
fn inlined<'a>(html: &'a str, element: &str) -> Option<&'a str> {
    let (_, after) = html.split_once(&format!("<{element}"))?;
    let (_, text) = after.split_once('>')?;
    let (text, _) = text.split_once(&format!("</{element}>"))?;
    Some(text)
}

/// A sign. It is never alone: a word beside it says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Icon {
    Check,
    Clock,
    Cross,
    Download,
    Gift,
    People,
    Shield,
    Trail,
    Warn,
}

/// The drawing of a sign, for markup.
pub(crate) fn icon(icon: Icon) -> PreEscaped<&'static str> {
    PreEscaped(match icon {
        Icon::Check => include_str!("../../assets/icons/check.svg"),
        Icon::Clock => include_str!("../../assets/icons/clock.svg"),
        Icon::Cross => include_str!("../../assets/icons/cross.svg"),
        Icon::Download => include_str!("../../assets/icons/download.svg"),
        Icon::Gift => include_str!("../../assets/icons/gift.svg"),
        Icon::People => include_str!("../../assets/icons/people.svg"),
        Icon::Shield => include_str!("../../assets/icons/shield.svg"),
        Icon::Trail => include_str!("../../assets/icons/trail.svg"),
        Icon::Warn => include_str!("../../assets/icons/warn.svg"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault: a page that names a file nobody serves.
    #[test]
    fn every_address_leads_to_its_bytes() {
        for asset in ASSETS.iter() {
            let file = url(asset.name).strip_prefix("/assets/").unwrap();
            assert!(
                file.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
            );
            let response = answer(file, &HeaderMap::new());
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[header::CACHE_CONTROL], FOR_EVER);
            assert_eq!(response.headers()[header::CONTENT_TYPE], asset.media_type);
            let mut asking = HeaderMap::new();
            asking.insert(header::IF_NONE_MATCH, asset.etag.parse().unwrap());
            assert_eq!(answer(file, &asking).status(), StatusCode::NOT_MODIFIED);
        }
        for unknown in ["style.css", "", "..", "style-0.css", "../base.css"] {
            let status = answer(unknown, &HeaderMap::new()).status();
            assert_eq!(status, StatusCode::NOT_FOUND, "{unknown:?}");
        }
    }

    #[test]
    fn the_modules_are_those_that_order_names() {
        let order: Vec<&str> = include_str!("../../assets/verifier/ORDER").lines().collect();
        let names: Vec<&str> = MODULES.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, order);
    }

    /// The fault: a line is left that only a module may have, or a policy that refuses the page's own script.
    #[test]
    fn the_verifier_is_whole_in_one_file() {
        let bundle = verifier_bundle();
        let is_joint = |line: &str| line.starts_with("import ") || line.starts_with("export ");
        assert!(!bundle.lines().any(is_joint));
        let html = verifier_html();
        for left in ["/*STYLE*/", "/*SCRIPT*/", "<!--CSP-->"] {
            assert!(!html.contains(left), "{left}");
        }
        assert_eq!(html.matches("<script").count(), 1);
        assert_eq!(html.matches("<style").count(), 1);
        assert!(inlined(html, "script").unwrap().contains(bundle.trim()));
        assert!(!html.contains(" style=") && !html.contains(" src=\"http"));
        for element in ["script", "style"] {
            let hash = hash_of(html, element);
            assert!(VERIFIER_PAGE.policy.contains(&hash), "{element}");
            assert!(html.contains(&hash), "{element}");
        }
    }

    #[test]
    fn a_module_is_cut_free_of_the_others() {
        let module = "import { a } from \"./a.js\";\nexport const b = a;\nconst important = 1;\n";
        assert_eq!(bundled(module), "const b = a;\nconst important = 1;\n");
    }
}
