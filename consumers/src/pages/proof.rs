//! The page on which customers check their trail on their own machine.
//!
//! In scope: what stands around the check, and what is read without it. Out of scope: the check itself, which is
//! `assets/proof.js` over the verifier's modules. Trust: the page comes from whom it is to check; so it tells how
//! to check without it, and by whose policy. The page of a demonstration bears a mark of its run, which is its
//! ledger's id, as each start makes a ledger; what a browser makes of it stands in `assets/proof.js`.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};

use super::layout::{Frame, Nav, page};
use super::words::proof::Proof;
use super::words::{self, Words};
use crate::http::auth::PageCustomer;
use crate::http::site::Site;

/// The check, and what starts it on the page.
const SCRIPTS: [&str; 2] = ["verifier.js", "proof.js"];

/// The classes of the states that are explained.
const STATES: [&str; 3] = ["tag-good", "tag-warn", "tag-bad"];

pub(super) fn routes() -> Router<Site> {
    let proof = |State(site): State<Site>, customer: PageCustomer| async move { answer(&site, &customer) };
    Router::new().route("/me/proof", get(proof))
}

fn answer(site: &Site, PageCustomer(customer): &PageCustomer) -> Response {
    let words = words::english();
    let frame = Frame {
        site,
        person: Some(&customer.person),
        title: words.common.navigation.proof,
        active: Nav::Proof,
        scripts: &SCRIPTS,
    };
    page(
        &frame,
        &content(&site.ledger.id().to_string(), site.is_demo, words),
    )
}

fn content(ledger: &str, is_demo: bool, words: &Words) -> Markup {
    let texts = words.proof;
    html! {
        div.stack {
            h1 { (texts.heading) }
            p.lead { (texts.lead) }
            section.stack aria-labelledby="verdict" {
                h2.visually-hidden #verdict { (texts.verdict) }
                noscript { (without_script(texts)) }
                div #proof data-dossier="/v1/me/dossier" data-policy="/policy" data-ledger=(ledger)
                    data-demo=[is_demo.then_some(ledger)] {
                    p.muted.needs-script { (texts.waiting) }
                }
            }
            section.stack aria-labelledby="states" {
                h2 #states { (texts.states.heading) }
                dl.states {
                    @for ((word, meaning), class) in texts.states.all.iter().zip(STATES) {
                        dt { span.tag.(class) { (word) } }
                        dd { (meaning) }
                    }
                }
            }
            (own_files(texts))
            div.grid-2 {
                (explained("checked", texts.checked, &texts.checks))
                (explained("whose-word", texts.words, &texts.whose_word))
            }
        }
    }
}

fn without_script(texts: &Proof) -> Markup {
    let texts = &texts.no_script;
    html! {
        div.notice.notice-warn {
            div.stack {
                p { b { (texts.heading) } }
                p { (texts.text) }
                ul {
                    li {
                        a href="/me/download/dossier.json" { (texts.dossier) } " " (texts.then)
                        " " code { (texts.command) }
                    }
                    li { (texts.or) " " a href="/verifier.html" { (texts.verifier) } }
                }
            }
        }
    }
}

fn own_files(texts: &Proof) -> Markup {
    let texts = &texts.own;
    html! {
        section.card.stack aria-labelledby="own-files" {
            h2 #own-files { (texts.heading) }
            p { (texts.lead) }
            div.grid-2 {
                div.field {
                    label for="policy-file" { (texts.policy) }
                    input #policy-file type="file" aria-describedby="policy-file-hint";
                    p.hint #policy-file-hint { (texts.policy_hint) }
                }
                div.field {
                    label for="dossier-file" { (texts.dossier) }
                    input #dossier-file type="file" accept=".json,application/json"
                        aria-describedby="dossier-file-hint";
                    p.hint #dossier-file-hint { (texts.dossier_hint) }
                }
            }
            p { (texts.offline) " " a href="/verifier.html" { (texts.verifier) } }
        }
    }
}

fn explained(id: &str, heading: &str, points: &[(&str, &str)]) -> Markup {
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (heading) }
            dl.points {
                @for (name, text) in points {
                    dt { (name) }
                    dd { (text) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::tests::check_main;
    use super::*;

    /// The fault: the script does not find what it is to fill, or a reader without scripts is left with nothing.
    #[test]
    fn the_page_has_what_the_check_needs_and_a_way_without_it() {
        let main = content("shop.example+1", false, words::english());
        check_main(&main);
        let html = main.into_string();
        for part in [
            "id=\"proof\" data-dossier=\"/v1/me/dossier\" data-policy=\"/policy\" data-ledger=\"shop.example+1\"",
            "id=\"policy-file\"",
            "id=\"dossier-file\"",
            "<noscript>",
            "/me/download/dossier.json",
            "/verifier.html",
        ] {
            assert!(html.contains(part), "{part}");
        }
    }

    /// The fault: a browser takes a true ledger for a demonstration, and does not miss the one that it remembers; or the
    /// second demonstration in a browser is told to be altered.
    #[test]
    fn only_the_page_of_a_demonstration_bears_the_mark_of_its_run() {
        let html = |is_demo| content("0a1b", is_demo, words::english()).into_string();
        assert!(!html(false).contains("data-demo"));
        assert!(html(true).contains(" data-ledger=\"0a1b\" data-demo=\"0a1b\""));
    }
}
