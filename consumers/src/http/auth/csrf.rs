//! Whether a change was asked for by a page of this server, and not by another site that a browser has open.
//!
//! In scope: where a request comes from by the browser's own word, what forms carry. Out of scope: who is signed in.
//! Trust: browsers say truly which site a request comes from; a page of another site cannot read ours. Requests with a
//! bearer token need none of this: no browser adds one by itself.

use axum::http::{HeaderMap, Method};
use subtle::ConstantTimeEq;
use url::Url;

use super::Person;
use crate::http::problem::{Problem, ProblemKind};

const FETCH_SITE: &str = "sec-fetch-site";
const ORIGIN: &str = "origin";
const HOST: &str = "host";

/// Checks what a form of a page carries against the session it is sent in.
pub(crate) fn check_csrf(person: &Person, given: &str) -> Result<(), Problem> {
    let Some(csrf) = &person.session else {
        return Ok(());
    };
    if bool::from(csrf.as_bytes().ct_eq(given.as_bytes())) {
        return Ok(());
    }
    let text = "the form was made in another session; open the page again and send it from there";
    Err(Problem::new(ProblemKind::Forbidden, text))
}

/// Whether a method changes nothing.
pub(super) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Checks that a request comes from a page of this server. `base`: where browsers reach it; `host_counts`: whether it
/// may be reached under other names too, so that what the browser calls it counts.
pub(super) fn check_origin(headers: &HeaderMap, base: &str, host_counts: bool) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_ours = match (text(FETCH_SITE), text(ORIGIN)) {
        // An origin can be hidden by the page's own rules; this cannot be set by any page.
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => is_origin_of(origin, base) || (host_counts && is_at(origin, text(HOST))),
        (None, None) => false,
    };
    if is_ours {
        return Ok(());
    }
    let text =
        "a change made with the sign-in cookie must come from a page of this server; programs send a token";
    Err(Problem::new(ProblemKind::Forbidden, text))
}

fn is_origin_of(origin: &str, base: &str) -> bool {
    origin_of(base).is_some_and(|base| base == origin)
}

/// Whether an origin is the host that the request is for, by the browser's own spelling of both.
fn is_at(origin: &str, host: Option<&str>) -> bool {
    let place = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    place.is_some() && place == host
}

/// Scheme, host and port of a URL as browsers write them.
pub(super) fn origin_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.host()?;
    Some(url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const BASE: &str = "https://trail.shop.example";

    type Given = [(&'static str, &'static str)];

    fn is_taken(given: &Given, base: &str, host_counts: bool) -> bool {
        let pairs = given
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        check_origin(&pairs.collect::<HeaderMap>(), base, host_counts).is_ok()
    }

    /// The fault: a page of another site makes a signed-in browser change a customer's choices.
    #[test]
    fn a_change_comes_from_our_own_pages() {
        let is_ours = |given: &Given| is_taken(given, BASE, false);
        assert!(is_ours(&[(FETCH_SITE, "same-origin")]));
        assert!(is_ours(&[(ORIGIN, BASE)]));
        assert!(is_ours(&[(FETCH_SITE, "same-origin"), (ORIGIN, "null")]));
        let nothing: &Given = &[];
        for bad in [
            nothing,
            &[(FETCH_SITE, "cross-site")],
            &[(FETCH_SITE, "same-site")],
            &[(FETCH_SITE, "none")],
            &[(FETCH_SITE, "cross-site"), (ORIGIN, BASE)],
            &[(ORIGIN, "null")],
            &[(ORIGIN, "https://shop.example")],
            &[(ORIGIN, "http://trail.shop.example")],
            &[(ORIGIN, "https://trail.shop.example.evil.example")],
            &[(ORIGIN, "https://evil.example"), (HOST, "evil.example")],
        ] {
            assert!(!is_ours(bad), "{bad:?}");
        }
    }

    /// The fault: on this machine the server has several names, and forms work under one of them only.
    #[test]
    fn without_a_public_url_the_name_that_was_called_counts() {
        let at = |origin, host| is_taken(&[(ORIGIN, origin), (HOST, host)], "http://127.0.0.1:8433", true);
        assert!(at("http://localhost:8433", "localhost:8433"));
        assert!(at("http://127.0.0.1:8433", "localhost:8433"));
        assert!(!at("http://localhost:80", "localhost:8433"));
        assert!(!at("localhost:8433", "localhost:8433"));
    }

    #[test]
    fn a_form_belongs_to_its_session() {
        let person = Person::for_tests(Some("a"), false);
        let csrf = person.csrf();
        assert!(check_csrf(&person, &csrf).is_ok());
        for bad in ["", "x", &csrf[1..]] {
            let refused = check_csrf(&person, bad).unwrap_err();
            assert_eq!(refused.kind(), ProblemKind::Forbidden);
        }
        let by_token = Person {
            session: None,
            from_cookie: false,
            ..person
        };
        assert_eq!(by_token.csrf(), "");
        assert!(check_csrf(&by_token, "").is_ok());
    }
}
