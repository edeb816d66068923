//! The first page: what this is, for whoever is not signed in; everybody else is led to their own start.
//!
//! In scope: that page. Out of scope: signing in. Trust: strangers see it; it tells nothing of any customer.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};

use super::assets::{Icon, icon};
use super::layout::{Frame, Nav, can_sign_in, page};
use super::words::{self, Words};
use crate::http::auth::{MaybePerson, Person};
use crate::http::site::Site;

pub(super) fn routes() -> Router<Site> {
    let first = |State(site): State<Site>, MaybePerson(person): MaybePerson| async move {
        answer(&site, person.as_ref())
    };
    Router::new().route("/", get(first))
}

fn answer(site: &Site, person: Option<&Person>) -> Response {
    match person {
        Some(person) if person.customer.is_some() => Redirect::to("/me").into_response(),
        Some(person) if person.is_officer => Redirect::to("/officer").into_response(),
        _ => landing(site, person),
    }
}

fn landing(site: &Site, person: Option<&Person>) -> Response {
    let words = words::english();
    let company = site.settings.company_name(&site.ledger);
    let frame = Frame {
        site,
        person,
        title: words.overview.landing.title,
        active: Nav::None,
        scripts: &[],
    };
    let entrance = if person.is_some() {
        Entrance::Unknown
    } else if can_sign_in(site) {
        Entrance::Open
    } else {
        Entrance::None
    };
    page(&frame, &content(company, entrance, words))
}

/// How somebody gets in from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entrance {
    Open,
    /// Nobody can sign in on this server.
    None,
    /// Somebody is signed in who is nobody here.
    Unknown,
}

fn content(company: &str, entrance: Entrance, words: &Words) -> Markup {
    let texts = &words.overview.landing;
    let signs = [Icon::People, Icon::Check, Icon::Shield, Icon::Download];
    html! {
        div.stack.landing {
            div.hero.stack {
                h1 { (texts.heading) }
                p.lead { ((texts.lead)(company)) }
                @match entrance {
                    Entrance::Open => { p.actions { a.btn.btn-large href="/signin" { (words.common.sign_in) } } }
                    Entrance::None => { p.notice.notice-warn { (texts.no_sign_in) } }
                    Entrance::Unknown => { p.notice.notice-warn { (texts.nobody) } }
                }
            }
            div.cards {
                @for ((title, text), sign) in texts.points.iter().zip(signs) {
                    section.card {
                        h2 { (icon(sign)) (title) }
                        p { (text) }
                    }
                }
            }
            section.stack {
                h2 { (texts.others) }
                ul {
                    li { a href="/auditor" { (texts.auditors) } }
                    li { a href="/verifier.html" { (texts.offline) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::tests::check_main;
    use super::*;

    #[test]
    fn strangers_are_told_what_this_is_and_where_to_sign_in() {
        let words = words::english();
        let open = content("The <Shop>", Entrance::Open, words);
        check_main(&open);
        let open = open.into_string();
        assert!(open.contains("href=\"/signin\"") && open.contains("The &lt;Shop&gt;"));
        for closed in [Entrance::None, Entrance::Unknown] {
            let html = content("The Shop", closed, words).into_string();
            assert!(!html.contains("/signin"), "{closed:?}");
        }
    }
}
