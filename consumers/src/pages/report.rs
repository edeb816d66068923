//! The whole trail on paper: a summary, who received what, every event in order, and what it was read from.
//!
//! In scope: that page, which is laid out for printing. Out of scope: proof; a report says that it is none.
//! Trust: the trail.

use axum::response::Response;
use maud::{Markup, html};

use super::layout::{Frame, Nav, page};
use super::parts::{day, scrolling};
use super::sentence::{corrected, finding, tell};
use super::words::{self, Words};
use crate::http::auth::Customer;
use crate::http::site::Site;
use crate::trail::{RecipientSummary, Trail, TrailEvent};

/// A customer's report.
pub(super) fn report(site: &Site, customer: &Customer, trail: &Trail) -> Response {
    let words = words::english();
    let frame = Frame {
        site,
        person: Some(&customer.person),
        title: words.overview.report.heading,
        active: Nav::None,
        scripts: &[],
    };
    let company = site.settings.company_name(&site.ledger);
    page(&frame, &content(trail, company, words))
}

fn content(trail: &Trail, company: &str, words: &Words) -> Markup {
    let texts = &words.overview.report;
    html! {
        article.stack.report {
            p.screen-only { a href="/me" { (texts.back) } " · " (texts.print) }
            h1 { (texts.heading) }
            p.lead { ((texts.about)(&trail.customer, company)) }
            section.stack {
                h2 { (texts.summary) }
                (summary(trail, words))
            }
            @let recipients = trail.recipients();
            @if !recipients.is_empty() {
                section.stack {
                    h2 { (texts.who) }
                    (scrolling(texts.who, &table(&recipients, words)))
                }
            }
            @if !trail.events.is_empty() {
                section.stack {
                    h2 { (texts.timeline) }
                    ol.report-events { @for event in &trail.events { li { (line(event, words)) } } }
                }
            }
            (state(trail, words))
        }
    }
}

fn summary(trail: &Trail, words: &Words) -> Markup {
    let texts = &words.overview.report;
    let totals = trail.totals();
    let unopened = u64::try_from(trail.unopened.len()).unwrap_or(u64::MAX);
    let ends = trail.events.first().zip(trail.events.last());
    html! {
        dl.pair {
            dt { (texts.events) } dd { (words.number(totals.events)) }
            @if let Some((first, last)) = ends {
                dt { (texts.span) } dd { (words.days(first.time, last.time)) }
            }
            dt { (texts.disclosures) } dd { (words.number(totals.disclosures)) }
            dt { (texts.recipients) } dd { (words.number(totals.recipients)) }
            dt { (texts.findings) } dd { (words.number(totals.findings)) }
            dt { (texts.unopened) } dd { (words.number(unopened)) }
        }
    }
}

fn table(recipients: &[RecipientSummary], words: &Words) -> Markup {
    let texts = &words.overview.report;
    html! {
        table {
            caption.visually-hidden { (texts.who) }
            thead { tr { @for name in texts.columns { th scope="col" { (name) } } } }
            tbody {
                @for one in recipients {
                    tr {
                        th scope="row" {
                            (one.name)
                            @if one.corrected_away > 0 {
                                @let times = words.counted(one.corrected_away, &words.timeline.times);
                                span.cell-more { ((words.sharing.corrected_away)(&times)) }
                            }
                        }
                        td { ((words.common.role)(one.role)) }
                        td { (words.country(&one.country)) }
                        td.number { (words.number(one.disclosures)) }
                        td { (words.terms_within(&one.categories)) }
                        td { (words.terms_within(&one.purposes)) }
                    }
                }
            }
        }
    }
}

fn line(event: &TrailEvent, words: &Words) -> Markup {
    html! {
        b { (day(words, event.time)) } " "
        (tell(event, words).text(words))
        @if event.failed { " " i { (words.timeline.failed) "." } }
        @if let Some(corrected) = corrected(&event.corrected_at, words) {
            " " i { (words::capitalised(&corrected)) "." }
        }
        @for found in &event.findings {
            " " strong { (words.common.bad) ": " (finding(event, found, words)) }
        }
    }
}

/// The checkpoints under which the trail was read.
fn state(trail: &Trail, words: &Words) -> Markup {
    let texts = &words.overview.report;
    html! {
        section.stack {
            h2 { (texts.state) }
            @if !trail.checkpoints.is_empty() {
                p { (texts.state_lead) }
                ul {
                    @for head in &trail.checkpoints {
                        li {
                            ((texts.checkpoint)(head.shard, &words.number(head.size.0)))
                            " " code { (head.root) }
                        }
                    }
                }
            }
            p { (texts.check) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::tests::check_main;
    use super::super::parts::samples::{MARKUP, check_escaped, shared, trail};
    use super::*;

    /// The fault: an event that is on record and not in the report.
    #[test]
    fn every_event_is_on_paper() {
        let mut odd = shared("odd", 2, "print.example", &["pd:Purchase"]);
        odd.description = Some(MARKUP.to_owned());
        odd.failed = true;
        let told = trail(vec![shared("one", 1, "mail.example", &["pd:Name"]), odd]);
        let main = content(&told, "The Shop", words::english());
        check_main(&main);
        let html = main.into_string();
        check_escaped(&html);
        assert_eq!(html.matches("<li>").count(), 2);
        assert!(html.contains("The mail.example") && html.contains("The print.example"));
        assert!(html.contains("1 January 2026 to 2 January 2026") && html.contains("customer-42"));
    }
}
