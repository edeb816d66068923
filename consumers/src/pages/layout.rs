//! What every page has: head, navigation, foot, headers; and the pages that tell what went wrong.
//!
//! In scope: the frame, small pieces that many pages show. Out of scope: what stands in `main`. Trust: texts become
//! markup through maud, which escapes them. No page has inline styles or scripts, and the policy sent with each
//! forbids them.

use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::assets::{self, Icon, icon};
use super::words::{self, Words};
use crate::http::auth::Person;
use crate::http::problem::{Look, Problem, ProblemKind};
use crate::http::site::Site;

/// Scripts, styles and requests are this host's or none.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A page around what it says.
pub(crate) struct Frame<'a> {
    pub(crate) site: &'a Site,
    pub(crate) person: Option<&'a Person>,
    pub(crate) title: &'a str,
    pub(crate) active: Nav,
    /// Assets to load as modules, in their order.
    pub(crate) scripts: &'a [&'a str],
}

/// Where a page stands in the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nav {
    None,
    Overview,
    Sharing,
    Timeline,
    Choices,
    Requests,
    Proof,
    OfficerRequests,
    OfficerFindings,
    OfficerRecipients,
    Auditor,
}

/// A page whose `main` is given; that holds the only `h1`.
pub(crate) fn page(frame: &Frame<'_>, main: &Markup) -> Response {
    let words = words::english();
    let company = frame.site.settings.company_name(&frame.site.ledger);
    let shell = Shell {
        title: (words.common.title)(frame.title, company),
        top: html! {
            div.site-bar {
                (brand(company, words))
                (account(frame.person, can_sign_in(frame.site), words))
            }
            (navigation(frame.person, frame.active, words))
        },
        active: frame.active,
        scripts: frame.scripts,
    };
    respond(document(&shell, main, words))
}

/// What went wrong, as a page.
pub(crate) fn error_page(site: &Site, person: Option<&Person>, problem: &Problem) -> Response {
    let words = words::english();
    let (title, _) = (words.common.error.told)(problem.status().as_u16());
    let frame = Frame {
        site,
        person,
        title,
        active: Nav::None,
        scripts: &[],
    };
    with_status_of(problem, page(&frame, &told(problem, words)))
}

/// What went wrong with a page, where it is not known whose page it is.
#[derive(Debug)]
pub(crate) struct PageError(pub(crate) Problem);

impl From<Problem> for PageError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let words = words::english();
        let (title, _) = (words.common.error.told)(problem.status().as_u16());
        let shell = Shell {
            title: (words.common.title)(title, words.common.product),
            top: html! { div.site-bar { (brand(words.common.product, words)) } },
            active: Nav::None,
            scripts: &[],
        };
        with_status_of(&problem, respond(document(&shell, &told(&problem, words), words)))
    }
}

/// Whether there is anywhere to sign in.
pub(super) fn can_sign_in(site: &Site) -> bool {
    site.settings.oidc.is_some()
}

/// The parts of a document that differ from page to page.
struct Shell<'a> {
    title: String,
    top: Markup,
    active: Nav,
    scripts: &'a [&'a str],
}

fn document(shell: &Shell<'_>, main: &Markup, words: &Words) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(words.common.lang) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (shell.title) }
                link rel="stylesheet" href=(assets::url("style.css"));
                link rel="icon" type="image/svg+xml" href=(assets::url("favicon.svg"));
                @for script in shell.scripts { script type="module" src=(assets::url(script)) {} }
            }
            body {
                a.skip href="#content" { (words.common.skip) }
                header.site-header { (shell.top) }
                main #content tabindex="-1" { (main) }
                (foot(shell.active, words))
            }
        }
    }
}

fn brand(company: &str, words: &Words) -> Markup {
    html! {
        a.brand href="/" aria-label=((words.common.home)(company)) {
            (icon(Icon::Trail))
            span { b { (company) } " " span.brand-what { (words.common.data_trail) } }
        }
    }
}

fn account(person: Option<&Person>, can_sign_in: bool, words: &Words) -> Markup {
    let common = words.common;
    let Some(person) = person else {
        return html! {
            @if can_sign_in { a.btn.btn-quiet href="/signin" { (common.sign_in) } }
        };
    };
    let name = person.name.as_deref().or(person.customer.as_deref());
    html! {
        div.account {
            @if let Some(name) = name { span.muted { ((common.signed_in_as)(name)) } }
            @if person.from_cookie {
                form method="post" action="/signout" {
                    input type="hidden" name="csrf" value=(person.csrf());
                    button.btn.btn-quiet type="submit" { (common.sign_out) }
                }
            }
        }
    }
}

fn navigation(person: Option<&Person>, active: Nav, words: &Words) -> Markup {
    let names = &words.common.navigation;
    let customer = [
        (Nav::Overview, "/me", names.overview),
        (Nav::Sharing, "/me/sharing", names.sharing),
        (Nav::Timeline, "/me/timeline", names.timeline),
        (Nav::Choices, "/me/choices", names.choices),
        (Nav::Requests, "/me/requests", names.requests),
        (Nav::Proof, "/me/proof", names.proof),
    ];
    let officer = [
        (Nav::OfficerRequests, "/officer", names.officer_requests),
        (Nav::OfficerFindings, "/officer/findings", names.officer_findings),
        (
            Nav::OfficerRecipients,
            "/officer/recipients",
            names.officer_recipients,
        ),
    ];
    let is_customer = person.is_some_and(|person| person.customer.is_some());
    let is_officer = person.is_some_and(|person| person.is_officer);
    html! {
        @if is_customer { (links(names.customer, &customer, active)) }
        @if is_officer { (links(names.officer, &officer, active)) }
    }
}

fn links(label: &str, items: &[(Nav, &str, &str)], active: Nav) -> Markup {
    html! {
        nav.site-nav aria-label=(label) {
            ul {
                @for (nav, address, name) in items {
                    li { a href=(address) aria-current=[(*nav == active).then_some("page")] { (name) } }
                }
            }
        }
    }
}

fn foot(active: Nav, words: &Words) -> Markup {
    let texts = &words.common.footer;
    let auditor = (active == Nav::Auditor).then_some("page");
    html! {
        footer.site-footer {
            p { (texts.promise) }
            nav aria-label=(texts.label) {
                ul {
                    li { a href="/auditor" aria-current=[auditor] { (texts.auditors) } }
                    li { a href="/verifier.html" { (texts.verifier) } }
                    li { a href="/openapi.json" { (texts.api) } }
                }
            }
        }
    }
}

/// A problem in people's words: what it is, what to do, and what the server says of it.
fn told(problem: &Problem, words: &Words) -> Markup {
    let texts = &words.common.error;
    let (title, advice) = (texts.told)(problem.status().as_u16());
    let look = problem
        .look()
        .map(|look| (look_address(look), (texts.look)(look)));
    let advice = look.map_or(advice, |(_, (advice, _))| advice);
    // Of a fault of ours, whoever asks learns nothing that helps; of a change of unknown outcome it is for programs.
    let has_details = !matches!(problem.kind(), ProblemKind::Failed | ProblemKind::OutcomeUnknown);
    html! {
        div.stack.narrow {
            h1 { (title) }
            p.lead { (advice) }
            @if has_details {
                p.muted { (texts.details) ": " (problem.detail()) }
                @if !problem.errors().is_empty() {
                    ul.muted {
                        @for error in problem.errors() { li { code { (error.field) } ": " (error.reason) } }
                    }
                }
            }
            p.actions {
                @if problem.kind() == ProblemKind::Unauthenticated {
                    a.btn href="/signin" { (words.common.sign_in) }
                }
                @if let Some((address, (_, name))) = look {
                    a.btn href=(address) { (name) }
                }
                a.btn.btn-quiet href="/" { (texts.home) }
            }
        }
    }
}

/// The page on which people see whether a change was done.
fn look_address(look: Look) -> &'static str {
    match look {
        Look::Choices => "/me/choices",
        Look::Requests => "/me/requests",
        Look::OfficerRequests => "/officer",
    }
}

/// Gives a page the problem's status, and when to come back.
fn with_status_of(problem: &Problem, mut page: Response) -> Response {
    *page.status_mut() = problem.status();
    let plain = problem.clone().into_response();
    for name in [header::RETRY_AFTER, header::CONNECTION] {
        if let Some(value) = plain.headers().get(&name) {
            page.headers_mut().insert(name, value.clone());
        }
    }
    page
}

/// Pages hold personal data: nobody keeps them, and nobody else learns of them by a link.
fn respond(page: Markup) -> Response {
    // With `no-referrer`, browsers would not tell forms' origins either, and that is how forms are known as ours.
    let headers: [(HeaderName, &str); 6] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    (StatusCode::OK, headers, page.into_string()).into_response()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use axum::body::to_bytes;

    use super::*;

    /// Asserts of what a page says that the whole of it is as pages must be.
    #[track_caller]
    pub(in crate::pages) fn check_main(main: &Markup) {
        let shell = Shell {
            title: "Page".to_owned(),
            top: Markup::default(),
            active: Nav::None,
            scripts: &["verifier.js", "proof.js"],
        };
        check_page(&document(&shell, main, words::english()).into_string());
    }

    /// Refuses what the policy would refuse, and what a reader would stumble over.
    #[track_caller]
    fn check_page(html: &str) {
        assert!(!html.contains(" style="), "an inline style");
        assert!(!html.contains("<style"), "an inline style sheet");
        for script in html.split("<script").skip(1) {
            let tag = script.split('>').next().unwrap_or_default();
            assert!(tag.contains(" src=\"/assets/"), "an inline script");
        }
        for handler in [" onclick=", " onload=", " onsubmit=", "javascript:"] {
            assert!(!html.contains(handler), "{handler}");
        }
        assert_eq!(html.matches("<h1").count(), 1, "one main heading");
        assert_eq!(html.matches("<main").count(), 1);
        assert!(html.starts_with("<!DOCTYPE html><html lang=\"en\">"));
        let ids: Vec<&str> = html
            .split(" id=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let distinct: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len(), "an id stands twice: {ids:?}");
        for target in ["aria-labelledby=\"", "aria-describedby=\"", "<label for=\""] {
            for rest in html.split(target).skip(1) {
                let id = rest.split('"').next().unwrap_or_default();
                assert!(distinct.contains(id), "{target}{id} leads nowhere");
            }
        }
    }

    async fn body(response: Response) -> String {
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// The fault: an error's text, which repeats what a stranger sent, becomes markup.
    #[tokio::test]
    async fn an_error_page_tells_what_and_escapes_it() {
        let detail = "no organisation with the name <script>alert(1)</script>";
        let problem = Problem::new(ProblemKind::NotFound, detail);
        let response = PageError(problem).into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], POLICY);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let html = body(response).await;
        check_page(&html);
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    }

    /// The fault: a browser that is to wait is not told how long.
    #[tokio::test]
    async fn an_error_page_keeps_what_the_problem_says_to_programs() {
        let response = PageError(Problem::new(ProblemKind::NotReady, "in a moment")).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }

    /// The fault: somebody whose choice may be recorded is shown an address for programs, and no way to see it.
    #[tokio::test]
    async fn a_change_of_unknown_outcome_leads_to_the_page_where_it_is_seen() {
        for (look, address) in [
            (Look::Choices, "/me/choices"),
            (Look::Requests, "/me/requests"),
            (Look::OfficerRequests, "/officer"),
        ] {
            let problem = Problem::new(ProblemKind::OutcomeUnknown, "look there (GET /v1/me/choices)");
            let response = PageError(problem.with_look(Some(look))).into_response();
            assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
            let html = body(response).await;
            check_page(&html);
            assert!(
                html.contains(&format!("<a class=\"btn\" href=\"{address}\">")),
                "{html}"
            );
            assert!(!html.contains("/v1/"), "{html}");
        }
        let elsewhere = PageError(Problem::new(ProblemKind::OutcomeUnknown, "look")).into_response();
        assert!(!body(elsewhere).await.contains("class=\"btn\""));
    }

    #[test]
    fn the_page_one_is_on_is_marked() {
        let items = [
            (Nav::Overview, "/me", "Overview"),
            (Nav::Proof, "/me/proof", "Proof"),
        ];
        let html = links("Your data", &items, Nav::Proof).into_string();
        assert_eq!(html.matches("aria-current=\"page\"").count(), 1);
        assert!(html.contains("<a href=\"/me/proof\" aria-current=\"page\">Proof</a>"));
    }
}
