//! Signing in and out, as a browser does it with the demonstration's issuer.
//!
//! In scope: cookies, the way there and back, what another site may do, the demonstration's own tokens. Out of scope: TLS
//! (`tls`), who may do what once signed in (`auth`).

use std::collections::BTreeMap;

use serde_json::json;
use sharetrail_consumers::http::{DemoIssuer, DemoPerson};

use super::{A, FORM, Host, JSON, leads_to_sign_in};
use crate::support::http::Answer;
use crate::support::{HOUSE, SECRET};

fn demo() -> Host {
    let people = vec![
        DemoPerson {
            id: A.into(),
            name: "Ada".into(),
            told: "has a comb".into(),
            is_officer: false,
        },
        DemoPerson {
            id: "olga".into(),
            name: "Olga".into(),
            told: "decides".into(),
            is_officer: true,
        },
    ];
    Host::new(None, Some(DemoIssuer::new(people).unwrap()))
}

/// A browser, as far as it keeps cookies.
struct Browser<'a> {
    host: &'a Host,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn new(host: &'a Host) -> Self {
        Self {
            host,
            cookies: BTreeMap::new(),
        }
    }

    fn go(&mut self, method: &str, place: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let path = place.strip_prefix(&self.host.url()).unwrap_or(place);
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let cookie = pairs.collect::<Vec<_>>().join("; ");
        let mut headers = headers.to_vec();
        if !cookie.is_empty() {
            headers.push(("Cookie", cookie.as_str()));
        }
        let answer = self.host.ask(method, path, &headers, body);
        for (name, value) in answer.cookies() {
            if value.is_empty() {
                self.cookies.remove(&name);
            } else {
                self.cookies.insert(name, value);
            }
        }
        answer
    }

    fn get(&mut self, place: &str) -> Answer {
        self.go("GET", place, &[], "")
    }

    /// The page to choose whom to be, on the way to `to`.
    fn choice(&mut self, to: &str) -> String {
        let answer = self.get(&format!("/signin?to={to}"));
        answer.location().to_owned()
    }

    /// Signs in, and gives where one ends up.
    fn sign_in(&mut self, who: &str, to: &str) -> String {
        let choice = self.choice(to);
        assert_eq!(self.get(&choice).status, 200);
        let back = self.get(&format!("{choice}&who={who}")).location().to_owned();
        self.get(&back).location().to_owned()
    }
}

impl Answer {
    /// Where it leads.
    #[track_caller]
    fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text());
        self.header("location").unwrap()
    }

    /// `name=value` of the cookies that it sets.
    fn cookies(&self) -> BTreeMap<String, String> {
        let set = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        let pair = |(_, value): &(String, String)| {
            let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        set.map(pair).collect()
    }
}

/// What a page's forms carry.
fn csrf(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("name=\"csrf\" value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// The fault: the flow works with one page and not with the other, or leaves somebody signed in who has signed out.
#[test]
fn a_browser_signs_in_and_out() {
    let host = demo();
    let mut browser = Browser::new(&host);
    let asked = browser.get("/me/timeline?kind=data.shared");
    assert_eq!(
        asked.location(),
        "/signin?to=%2Fme%2Ftimeline%3Fkind%3Ddata.shared"
    );
    let to = browser.sign_in(A, "%2Fme%2Fchoices");
    assert_eq!(to, "/me/choices");
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["sharetrail"]);
    let page = browser.get("/me/choices");
    assert_eq!(page.status, 200);
    let trail = browser.get("/v1/me/trail");
    assert!(trail.status == 200 && trail.holds(SECRET));
    assert_eq!(browser.get("/officer").status, 403);
    let origin = host.url();
    let ours = [("Origin", origin.as_str()), ("Content-Type", FORM)];
    assert_eq!(browser.go("POST", "/signout", &ours, "csrf=x").status, 403);
    assert_eq!(browser.get("/me").status, 200);
    let body = format!("csrf={}", csrf(&page));
    let session = browser.cookies.clone();
    assert_eq!(browser.go("POST", "/signout", &ours, &body).location(), "/");
    assert!(browser.cookies.is_empty());
    browser.cookies = session;
    assert!(leads_to_sign_in(&browser.get("/me")));
    assert_eq!(browser.get("/v1/me/trail").status, 401);
}

/// The fault: signing in again leaves the first session open, under a number that somebody may have planted.
#[test]
fn signing_in_changes_the_number_of_the_session() {
    let host = demo();
    let mut browser = Browser::new(&host);
    browser.cookies.insert("sharetrail".into(), "planted".into());
    browser.sign_in(A, "/me");
    let first = browser.cookies.clone();
    assert_ne!(first["sharetrail"], "planted");
    browser.sign_in("olga", "/officer");
    assert_ne!(first["sharetrail"], browser.cookies["sharetrail"]);
    assert_eq!(browser.get("/officer").status, 200);
    assert_eq!(browser.get("/me").status, 403);
    browser.cookies = first;
    assert!(leads_to_sign_in(&browser.get("/me")));
}

/// The fault: somebody else's way back signs a browser in, a way back works twice, or leads to another server.
#[test]
fn the_way_back_belongs_to_one_browser_and_one_sign_in() {
    let host = demo();
    let (mut browser, mut other) = (Browser::new(&host), Browser::new(&host));
    let choice = browser.choice("/me");
    let back = browser.get(&format!("{choice}&who={A}")).location().to_owned();
    assert_eq!(other.get(&back).status, 401);
    other.choice("/me");
    assert_eq!(other.get(&back).status, 401);
    let kept = browser.cookies.clone();
    // The code was not used up by those who had no right to it.
    assert_eq!(browser.get(&back).location(), "/me");
    browser.cookies = kept;
    assert_eq!(browser.get(&back).status, 401);
    for evil in [
        "//evil.example",
        "https://evil.example",
        "/%5Cevil.example",
        "/.//evil.example",
    ] {
        assert_eq!(browser.sign_in(A, evil), "/", "{evil}");
    }
    let under_another_name = [("Host", "localhost:1")];
    let moved = browser.go("GET", "/signin?to=/me", &under_another_name, "");
    assert_eq!(moved.location(), format!("{}/signin?to=%2Fme", host.url()));
}

/// The fault: a page of another site changes what a signed-in customer has chosen.
#[test]
fn another_site_changes_nothing() {
    let host = demo();
    let mut browser = Browser::new(&host);
    browser.sign_in(A, "/me");
    let url = host.url();
    let mut change = |path: &str, kind: &str, headers: &[(&'static str, &str)]| {
        let mut all = headers.to_vec();
        all.push(("Content-Type", kind));
        browser.go("POST", path, &all, "{}").status
    };
    let without: &[(&str, &str)] = &[];
    for headers in [
        without,
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site"), ("Origin", "http://127.0.0.1:1")],
    ] {
        assert_eq!(change("/v1/me/choices", JSON, headers), 403, "{headers:?}");
        assert_eq!(change("/me/choices", FORM, headers), 403, "{headers:?}");
        assert_eq!(change("/signout", FORM, headers), 403, "{headers:?}");
    }
    for headers in [
        &[("Origin", url.as_str())][..],
        &[("Sec-Fetch-Site", "same-origin")],
    ] {
        let status = change("/v1/me/choices", JSON, headers);
        assert!((400..500).contains(&status) && status != 403, "{status}");
        assert_eq!(change("/me/choices", FORM, headers), 403, "without csrf");
    }
    assert_eq!(browser.get("/me").status, 200);
}

/// The fault: the demo's tokens are no tokens, or a page of another site that leads to this machine gets one.
#[test]
fn the_demo_gives_tokens_to_this_machine() {
    let host = demo();
    let token = host.get("/demo/token/birch-42", &[]);
    assert_eq!(
        (token.status, token.header("cache-control")),
        (200, Some("no-store"))
    );
    let bearer = format!("Bearer {}", token.text());
    let trail = host.get("/v1/me/trail", &[("Authorization", &bearer)]);
    assert!(trail.status == 200 && trail.holds("whalebone-fan"));
    let service = host.get("/demo/service-token", &[]).text();
    assert_eq!(service, host.get("/demo/service-token", &[]).text());
    let bearer = format!("Bearer {service}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", JSON)];
    let question = json!({ "customer": A, "recipient": HOUSE, "purpose": "dpv:Marketing" });
    let answer = host.ask("POST", "/v1/authorize", &headers, &question.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    for path in ["/demo/token/birch-42", "/demo/service-token", "/demo/issuer/jwks"] {
        let answer = host.get(path, &[("Host", "evil.example")]);
        assert_eq!(answer.status, 403, "{path}");
    }
}
