//! For auditors: where everything is that checks the ledger without believing this server.
//!
//! In scope: the heads of the logs, where the policy, the files, the verifier and the documents are, the command for an
//! audit. Out of scope: serving those. Trust: open to all, and nothing here is about a customer. What the page shows is
//! this server's word; an auditor checks the files themselves.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::note::Note;

use super::layout::{Frame, Nav, PageError, page};
use super::parts::table;
use super::words::{self, Words};
use crate::http::auth::MaybePerson;
use crate::http::problem::Problem;
use crate::http::site::{Parts, Site, blocking};

/// Shards whose heads are shown; a ledger may have thousands.
const SHARDS_SHOWN: u32 = 32;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/auditor", get(show))
}

async fn show(State(site): State<Site>, MaybePerson(person): MaybePerson) -> Result<Response, PageError> {
    let heads = {
        let site = site.clone();
        blocking(move || heads(&site)).await?
    };
    let words = words::english();
    let frame = Frame {
        site: &site,
        person: person.as_ref(),
        title: words.officer.auditor.title,
        active: Nav::Auditor,
        scripts: &[],
    };
    let shown = ForAuditors {
        ledger: site.ledger.name().as_str(),
        shards: site.ledger.shards(),
        url: site.url.get().map_or("", String::as_str),
        heads: &heads,
    };
    Ok(page(&frame, &shown.main(words)))
}

/// The published checkpoints of a shard.
struct Heads {
    shard: u32,
    log: Checkpoint,
    /// None before a map is sealed.
    map: Option<Checkpoint>,
}

fn heads(site: &Parts) -> Result<Vec<Heads>, Problem> {
    let shards = 0..site.ledger.shards().min(SHARDS_SHOWN);
    let head = |shard: u32| -> Result<Heads, Problem> {
        let map = site.ledger.map_reader(shard)?;
        let map = map.map(|map| checkpoint(map.note())).transpose()?;
        let log = site.ledger.reader(shard)?.checkpoint().clone();
        Ok(Heads { shard, log, map })
    };
    shards.map(head).collect()
}

fn checkpoint(note: &str) -> Result<Checkpoint, Problem> {
    let note = Note::parse(note).map_err(|error| Problem::failed(&error))?;
    Checkpoint::parse(note.text()).map_err(|error| Problem::failed(&error))
}

/// All that the page shows.
struct ForAuditors<'a> {
    ledger: &'a str,
    shards: u32,
    /// How the server is reached from outside.
    url: &'a str,
    heads: &'a [Heads],
}

impl ForAuditors<'_> {
    /// What stands in `main`.
    fn main(&self, words: &Words) -> Markup {
        let texts = &words.officer.auditor;
        html! {
            div.stack {
                h1 { (texts.title) }
                p.lead { ((texts.lead)(self.ledger)) }
                div.grid-2 {
                    section.card.stack aria-labelledby="policy" {
                        h2 #policy { (texts.policy) }
                        p { (texts.policy_text) }
                        p.actions { a.btn href="/policy" download="policy" { (texts.policy_link) } }
                    }
                    section.card.stack aria-labelledby="offline" {
                        h2 #offline { (texts.offline) }
                        p { (texts.offline_text) }
                        p.actions { a.btn.btn-quiet href="/verifier.html" { (texts.offline_link) } }
                    }
                }
                section.stack aria-labelledby="audit" {
                    h2 #audit { (texts.audit) }
                    p { (texts.audit_text) }
                    pre.command role="region" aria-label=(texts.command) tabindex="0" {
                        code { "sharetrail audit " (self.url) " --policy policy" }
                    }
                    p.muted { (texts.audit_more) }
                }
                section.stack aria-labelledby="heads" {
                    h2 #heads { (texts.heads) }
                    p { (texts.heads_text) }
                    (self.heads(words))
                }
                section.stack aria-labelledby="documents" {
                    h2 #documents { (texts.documents) }
                    p { (texts.api_text) }
                    ul {
                        li { a href="/openapi.json" { (texts.openapi) } }
                        li { a href="/asyncapi.json" { (texts.asyncapi) } }
                    }
                }
            }
        }
    }

    fn heads(&self, words: &Words) -> Markup {
        let texts = &words.officer.auditor;
        let head = [texts.log, texts.size, texts.root, texts.note];
        let rows = html! {
            @for heads in self.heads {
                @let shard = heads.shard;
                tr {
                    th scope="row" { ((texts.record_log)(shard)) br; code { (heads.log.origin) } }
                    (size_and_root(words, &heads.log))
                    td {
                        a href={ "/log/" (shard) "/checkpoint" } {
                            (texts.checkpoint) span.visually-hidden { " " (heads.log.origin) }
                        }
                        @if heads.log.size.0 > 0 {
                            br;
                            a href={ "/v1/logs/" (shard) "/consistency?from=1&to=" (heads.log.size) } {
                                (texts.consistency) span.visually-hidden { " " (heads.log.origin) }
                            }
                        }
                    }
                }
                tr {
                    @match &heads.map {
                        Some(map) => {
                            th scope="row" { ((texts.map_log)(shard)) br; code { (map.origin) } }
                            (size_and_root(words, map))
                            td {
                                a href={ "/map/" (shard) "/checkpoint" } {
                                    (texts.checkpoint) span.visually-hidden { " " (map.origin) }
                                }
                            }
                        }
                        None => {
                            th scope="row" { ((texts.map_log)(shard)) }
                            td colspan="3" { (texts.map_none) }
                        }
                    }
                }
            }
        };
        let shown = u64::try_from(self.heads.len()).unwrap_or(u64::MAX);
        let all = u64::from(self.shards);
        html! {
            (table("heads-table", texts.heads_caption, &head, &rows))
            @if shown < all {
                p.muted { ((texts.heads_more)(&words.number(shown), &words.number(all))) }
            }
        }
    }
}

fn size_and_root(words: &Words, head: &Checkpoint) -> Markup {
    html! {
        td.number { (words.number(head.size.0)) }
        td { code.hash { (head.root) } }
    }
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::hash::{Hash, TreeSize};

    use super::*;

    fn head(origin: &str, size: u64) -> Checkpoint {
        Checkpoint::new(origin.to_owned(), TreeSize(size), Hash([7; 32]))
    }

    /// The fault: an auditor copies a command that does not run, or a root of another log.
    #[test]
    fn the_page_names_the_heads_and_the_command() {
        let heads = [
            Heads {
                shard: 0,
                log: head("shop.example/log/0of2", 1_234),
                map: Some(head("shop.example/map/0of2", 5)),
            },
            Heads {
                shard: 1,
                log: head("shop.example/log/1of2", 1),
                map: None,
            },
        ];
        let words = words::english();
        let shown = ForAuditors {
            ledger: "shop.example",
            shards: 3,
            url: "https://trail.shop.example",
            heads: &heads,
        };
        let html = shown.main(words).into_string();
        assert!(html.contains("sharetrail audit https://trail.shop.example --policy policy"));
        assert!(html.contains("shop.example/map/0of2") && html.contains("1,234"));
        assert!(html.contains(&Hash([7; 32]).to_string()));
        assert!(html.contains("href=\"/log/1/checkpoint\"") && !html.contains("href=\"/map/1/checkpoint\""));
        assert!(html.contains("consistency?from=1&amp;to=1234"));
        assert!(html.contains(words.officer.auditor.map_none));
        assert!(html.contains(&(words.officer.auditor.heads_more)("2", "3")));
    }
}
