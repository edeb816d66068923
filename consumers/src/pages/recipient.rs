//! One recipient: who that is, what they received, what I chose for them.
//!
//! In scope: everything in the trail that names the recipient. Out of scope: gathering what was received (`sharing`),
//! the switch (`choices`). Trust: the trail's events; the id in the address is untrusted and must be in the trail.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use sharetrail_schemas::Timestamp;

use super::choices::{saved, switch_form};
use super::layout::{Frame, Nav, PageError, error_page, page};
use super::parts::{place_link, table};
use super::sentence::{finding, law, tell};
use super::sharing::{Row, findings, passed_on, rows, terms};
use super::words::{self, Words};
use crate::choices::{Choices, RecipientChoice};
use crate::http::auth::PageCustomer;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::reading::trail_of;
use crate::http::site::Site;
use crate::trail::{Received, Trail, TrailRecipient};

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/me/recipients/{id}", get(show))
}

async fn show(
    State(site): State<Site>,
    PageCustomer(customer): PageCustomer,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let Path(id) = id.map_err(Problem::from)?;
    let trail = trail_of(&site, &customer.id).await?;
    let words = words::english();
    let Some(known) = Known::of(&trail, &id) else {
        let detail = (words.sharing.recipient.unknown)(&id);
        let problem = Problem::new(ProblemKind::NotFound, detail);
        return Ok(error_page(&site, Some(&customer.person), &problem));
    };
    let frame = Frame {
        site: &site,
        person: Some(&customer.person),
        title: &known.recipient.name,
        active: Nav::Sharing,
        scripts: &[],
    };
    let main = known.main(words, &customer.person.csrf(), query.as_deref());
    Ok(page(&frame, &main))
}

/// All that a trail says about one recipient.
struct Known<'a> {
    trail: &'a Trail,
    /// As it was told last; contact and address as they were told last at all.
    recipient: TrailRecipient,
    /// As they were put right; also those that were told to be to it first.
    disclosures: Vec<Received<'a>>,
    choice: Option<RecipientChoice>,
}

impl<'a> Known<'a> {
    /// None where nothing in the trail names the recipient.
    fn of(trail: &'a Trail, id: &str) -> Option<Self> {
        let mut told: Option<TrailRecipient> = None;
        for event in &trail.events {
            let Some(recipient) = event.recipient.as_ref().filter(|recipient| recipient.id == id) else {
                continue;
            };
            let before = told.take();
            let (contact, address) = before.map(|one| (one.contact, one.address)).unwrap_or_default();
            told = Some(TrailRecipient {
                contact: recipient.contact.clone().or(contact),
                address: recipient.address.clone().or(address),
                ..recipient.clone()
            });
        }
        let is_its = |event: &Received<'_>| event.recipient.as_ref().is_some_and(|one| one.id == id);
        let choices = Choices::of(trail).recipients;
        Some(Self {
            trail,
            recipient: told?,
            disclosures: trail.received().into_iter().filter(is_its).collect(),
            choice: choices.into_iter().find(|choice| choice.recipient.id == id),
        })
    }

    /// What stands in `main`.
    fn main(&self, words: &Words, csrf: &str, query: Option<&str>) -> Markup {
        let texts = &words.sharing.recipient;
        let recipient = &self.recipient;
        html! {
            div.stack {
                p { a href="/me/sharing" { (texts.back) } }
                h1 { (recipient.name) }
                (saved(words, self.trail, query))
                (self.lead(words))
                (self.who(words))
                @if !self.disclosures.is_empty() { (self.received(words)) }
                (self.findings(words))
                (self.onward(words))
                @if let Some(choice) = &self.choice {
                    section.stack aria-labelledby="choice" {
                        h2 #choice { (texts.choice) }
                        (switch_form(words, self.trail, choice, csrf))
                    }
                }
                p {
                    a href={ "/me/timeline?recipient=" (recipient.id) } { ((texts.timeline)(&recipient.name)) }
                }
            }
        }
    }

    fn lead(&self, words: &Words) -> Markup {
        let texts = &words.sharing.recipient;
        let sum = |count: fn(&Received<'a>) -> u64| {
            let counts = self.disclosures.iter().map(count);
            counts.fold(0, u64::saturating_add)
        };
        let (count, away) = (sum(Received::disclosures), sum(Received::corrected_away));
        let times = |count| words.counted(count, &words.timeline.times);
        let span = self.span().filter(|_| count > 0);
        html! {
            @if let Some((first, last)) = span {
                p.lead { ((texts.lead)(&times(count), &words.days(first, last))) }
            } @else if away == 0 {
                p.lead { (texts.lead_none) }
            }
            @if away > 0 { p.lead { ((words.sharing.corrected_away)(&times(away))) } }
        }
    }

    /// From the first disclosure to the last.
    fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let spans = || self.disclosures.iter().map(|event| event.span());
        let first = spans().map(|(first, _)| first).min()?;
        let last = spans().map(|(_, last)| last).max()?;
        Some((first, last))
    }

    fn who(&self, words: &Words) -> Markup {
        let texts = &words.sharing.recipient;
        let recipient = &self.recipient;
        let countries: BTreeSet<&str> = self
            .disclosures
            .iter()
            .filter_map(|event| event.country.as_deref())
            .collect();
        let countries: Vec<String> = countries
            .into_iter()
            .map(|code| words.country(code).to_owned())
            .collect();
        let safeguards: BTreeSet<&str> = self
            .disclosures
            .iter()
            .filter_map(|event| event.safeguard.as_deref())
            .collect();
        let safeguards: Vec<String> = safeguards.into_iter().map(|term| law(term, words)).collect();
        html! {
            section.stack aria-labelledby="who" {
                h2 #who { (texts.who) }
                dl.pair {
                    dt { (texts.role) } dd { ((texts.role_about)(recipient.role)) }
                    dt { (texts.country) } dd { (words.country(&recipient.country)) }
                    @if !countries.is_empty() {
                        dt { (texts.countries) } dd { (words.list(&countries)) }
                    }
                    dt { (texts.safeguards) }
                    dd {
                        @if safeguards.is_empty() {
                            (texts.safeguards_none)
                        } @else {
                            (words::capitalised(&words.list(&safeguards)))
                        }
                    }
                    dt { (texts.contact) }
                    dd { (recipient.contact.as_deref().unwrap_or(texts.contact_none)) }
                    @if let Some(address) = &recipient.address {
                        dt { (texts.address) } dd.written { (address) }
                    }
                    dt { (texts.id) } dd { code { (recipient.id) } }
                }
            }
        }
    }

    fn received(&self, words: &Words) -> Markup {
        let (texts, names) = (&words.sharing.recipient, &words.sharing.table);
        let head = [
            names.category,
            names.purposes,
            names.bases,
            names.times,
            names.when,
            names.findings,
        ];
        let received = rows(self.disclosures.iter());
        let rows = html! { @for row in &received { (received_row(words, row)) } };
        html! {
            section.stack aria-labelledby="received" {
                h2 #received { (texts.received) }
                (table("received-table", &(texts.received_caption)(&self.recipient.name), &head, &rows))
            }
        }
    }

    fn findings(&self, words: &Words) -> Markup {
        let texts = &words.sharing.recipient;
        let wrong: Vec<_> = self
            .disclosures
            .iter()
            .filter(|event| !event.findings.is_empty())
            .collect();
        html! {
            section.stack aria-labelledby="findings" {
                h2 #findings { (texts.findings) }
                @if wrong.is_empty() {
                    p { (texts.findings_none) }
                } @else {
                    ul.findings {
                        @for event in wrong {
                            li {
                                p {
                                    ((texts.finding_at)(&words.day(event.time))) " "
                                    (tell(event, words).markup())
                                }
                                @for found in &event.findings {
                                    p { strong { (finding(event, found, words)) } }
                                }
                                p.muted { (place_link(words, self.trail, event)) }
                            }
                        }
                    }
                }
            }
        }
    }

    /// To whom it passed data on, and from whom it was given data.
    fn onward(&self, words: &Words) -> Markup {
        let texts = &words.sharing.recipient;
        let events = self.trail.as_put_right();
        let all = passed_on(&events);
        let mut given: BTreeMap<&str, (&TrailRecipient, u64)> = BTreeMap::new();
        let mut taken: BTreeMap<&str, (&TrailRecipient, u64)> = BTreeMap::new();
        for told in &all {
            let (sums, other) = if told.from.id == self.recipient.id {
                (&mut given, told.to)
            } else if told.to.id == self.recipient.id {
                (&mut taken, told.from)
            } else {
                continue;
            };
            let (_, times) = sums.entry(other.id.as_str()).or_insert((other, 0));
            *times = times.saturating_add(told.times);
        }
        let times = |number| words.counted(number, &words.timeline.times);
        html! {
            @if !given.is_empty() || !taken.is_empty() {
                section.stack aria-labelledby="onward" {
                    h2 #onward { (texts.onward) }
                    ul {
                        @for (to, number) in given.values() {
                            @let role = (words.common.role)(to.role);
                            @let country = words.country(&to.country);
                            @let text = (texts.onward_to)(&to.name, role, country, &times(*number));
                            li { a href={ "/me/recipients/" (to.id) } { (text) } }
                        }
                        @for (from, number) in taken.values() {
                            @let text = (texts.onward_from)(&from.name, &times(*number));
                            li { a href={ "/me/recipients/" (from.id) } { (text) } }
                        }
                    }
                }
            }
        }
    }
}

fn received_row(words: &Words, row: &Row<'_>) -> Markup {
    let names = &words.sharing.table;
    let bases: Vec<String> = row.bases.iter().map(|basis| law(basis, words)).collect();
    html! {
        tr {
            th scope="row" { (words.term(row.category)) }
            td { (terms(words, &row.purposes, names.none_told)) }
            td {
                @if bases.is_empty() {
                    (names.none_told)
                } @else {
                    (words::capitalised(&words.list(&bases)))
                }
            }
            td.number { (words.number(row.times)) }
            td { (words.days(row.first, row.last)) }
            td { (findings(words.sharing, words, row.findings)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parts::samples::{
        MARKUP, check_escaped, check_forms, event, reference, shared, time, trail,
    };
    use super::*;
    use crate::trail::{Finding, TrailEvent};
    use sharetrail_schemas::Kind;

    fn usual() -> Trail {
        let mut first = shared("s1", 2, "mail.example", &["pd:Name"]);
        if let Some(recipient) = &mut first.recipient {
            recipient.contact = Some("privacy@mail.example".to_owned());
        }
        first.legal_basis = Some("eu-gdpr:A6-1-a".to_owned());
        let mut last = shared("s2", 8, "mail.example", &["pd:Name"]);
        last.legal_basis = Some("eu-gdpr:A6-1-a".to_owned());
        last.safeguard = Some("eu-gdpr:A46-2-c".to_owned());
        last.findings = vec![Finding::AfterWithdrawal { withdrawn: time(5) }.into()];
        let onward = TrailEvent {
            onward_of: Some(reference("s1")),
            ..shared("s3", 9, "print.example", &["pd:Name"])
        };
        let given = TrailEvent {
            purposes: vec!["dpv:DirectMarketing".to_owned()],
            ..event(Kind::ConsentGiven, "yes", 1)
        };
        trail(vec![given, first, last, onward])
    }

    fn html(trail: &Trail, id: &str) -> String {
        let known = Known::of(trail, id).unwrap();
        known.main(words::english(), "token", None).into_string()
    }

    /// The fault: another customer's recipients can be looked up by guessing.
    #[test]
    fn only_who_is_in_the_trail_has_a_page() {
        assert!(Known::of(&usual(), "other.example").is_none());
        assert!(Known::of(&usual(), "").is_none());
        assert!(Known::of(&usual(), "print.example").is_some());
    }

    /// The fault: a later event that leaves the contact out takes it away.
    #[test]
    fn contacts_stay_known() {
        let html = html(&usual(), "mail.example");
        assert!(html.contains("privacy@mail.example"));
        assert!(html.contains("Standard contractual clauses"));
        assert!(html.contains("/me/timeline?recipient=mail.example"));
        assert!(html.contains("2 times"));
    }

    #[test]
    fn findings_and_onward_transfers_are_told() {
        let told = usual();
        let page = html(&told, "mail.example");
        assert!(page.contains("5 January 2026"));
        assert!(page.contains("/me/recipients/print.example"));
        let page = html(&told, "print.example");
        assert!(page.contains("/me/recipients/mail.example"));
        assert!(page.contains(words::english().sharing.recipient.findings_none));
    }

    #[test]
    fn the_switch_is_a_form_with_a_token() {
        let page = html(&usual(), "mail.example");
        check_forms(&page, "token");
        assert!(page.contains("name=\"back\" value=\"mail.example\""));
        assert_eq!(page.matches("type=\"checkbox\"").count(), 1);
    }

    #[test]
    fn what_a_recipient_is_called_is_escaped() {
        let mut told = usual();
        for event in &mut told.events {
            if let Some(recipient) = &mut event.recipient {
                recipient.name = MARKUP.to_owned();
                recipient.address = Some(MARKUP.to_owned());
            }
        }
        check_escaped(&html(&told, "mail.example"));
    }
}
