//! Everything on record about a customer, newest first: one sentence an event, filters, pages.
//!
//! A page is asked for by the place of the event before it, so that new events move nothing.
//!
//! In scope: that page, and an event as other pages show it too. Out of scope: the sentences (see `sentence`),
//! which events a filter means (see `http::filter`). Trust: an address is a stranger's; it chooses among the
//! customer's own events.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_schemas::Kind;
use url::form_urlencoded;

use super::assets::{Icon, icon};
use super::layout::{Frame, Nav, error_page, page};
use super::parts::{Tone, day, notice, placed, places, with_status};
use super::sentence::{Fact, corrected, facts, finding, tell};
use super::words::{self, Words};
use crate::http::auth::PageCustomer;
use crate::http::filter::TrailFilter;
use crate::http::given::Given;
use crate::http::problem::ProblemError;
use crate::http::reading::trail_of;
use crate::http::site::Site;
use crate::trail::{Trail, TrailEvent, UnopenedState};

const ADDRESS: &str = "/me/timeline";
/// Events of a page.
const PAGE_EVENTS: usize = 25;

/// Where an event is on record.
type Place = (u32, LeafIndex);

pub(super) fn routes() -> Router<Site> {
    Router::new().route(ADDRESS, get(timeline))
}

async fn timeline(
    State(site): State<Site>,
    PageCustomer(customer): PageCustomer,
    mut given: Given,
) -> Response {
    let words = words::english();
    let trail = match trail_of(&site, &customer.id).await {
        Ok(trail) => trail,
        Err(problem) => return error_page(&site, Some(&customer.person), &problem),
    };
    let wish = Wish::take(&mut given);
    let frame = Frame {
        site: &site,
        person: Some(&customer.person),
        title: words.timeline.heading,
        active: Nav::Timeline,
        scripts: &[],
    };
    let status = if given.faults().is_empty() {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    with_status(
        status,
        page(&frame, &content(&trail, &wish, given.faults(), words)),
    )
}

/// What of the trail is to be shown.
#[derive(Clone, Debug, Default)]
struct Wish {
    filter: TrailFilter,
    /// Only events that something is wrong with.
    findings: bool,
    /// The event before the first one of the page.
    after: Option<Place>,
}

impl Wish {
    fn take(given: &mut Given) -> Self {
        Self {
            filter: TrailFilter::take(given),
            findings: given.take("findings").is_some(),
            after: given.take("page").and_then(|text| places(&text).first().copied()),
        }
    }

    fn is_filter(&self) -> bool {
        self.findings || !self.filter.is_empty()
    }

    fn matches(&self, event: &TrailEvent) -> bool {
        self.filter.matches(event) && (!self.findings || !event.findings.is_empty())
    }

    /// The address of the page of these events that begins after one; of the first page where it is none.
    fn address(&self, after: Option<Place>) -> String {
        let mut query = form_urlencoded::Serializer::new(self.filter.query());
        if self.findings {
            query.append_pair("findings", "only");
        }
        if let Some((shard, index)) = after {
            query.append_pair("page", &format!("{shard}.{index}"));
        }
        let query = query.finish();
        if query.is_empty() {
            ADDRESS.to_owned()
        } else {
            format!("{ADDRESS}?{query}")
        }
    }
}

/// The address of the timeline with one thing filtered for.
pub(super) fn filtered(name: &str, value: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair(name, value);
    format!("{ADDRESS}?{}", query.finish())
}

/// The address at which an event stands first.
pub(super) fn address_of(trail: &Trail, event: &TrailEvent) -> String {
    let newer = trail
        .events
        .iter()
        .skip_while(|one| place(one) != place(event))
        .nth(1);
    let page = Wish::default().address(newer.map(place));
    format!("{page}#{}", anchor(event))
}

fn place(event: &TrailEvent) -> Place {
    (event.shard, event.index)
}

fn anchor(event: &TrailEvent) -> String {
    format!("event-{}-{}", event.shard, event.index)
}

fn content(trail: &Trail, wish: &Wish, faults: &[ProblemError], words: &Words) -> Markup {
    let texts = words.timeline;
    let events: Vec<&TrailEvent> = trail
        .events
        .iter()
        .rev()
        .filter(|one| wish.matches(one))
        .collect();
    let window = Window::after(&events, wish.after);
    html! {
        div.stack {
            h1 { (texts.heading) }
            p.lead { (texts.lead) }
            (told_faults(faults, words))
            @if wish.is_filter() || !trail.events.is_empty() { (filters(trail, wish, words)) }
            @if events.is_empty() {
                p.notice { (none(trail, wish, words)) }
            } @else {
                (showing(&window, words))
                @for (month, events) in by_month(window.shown, words) {
                    section.stack.of-month {
                        h2.month { (month) }
                        (list(trail, &events, words))
                    }
                }
                (pager(wish, &window, words))
            }
            @if !wish.is_filter() && window.older.is_none() { (unopened(trail, words)) }
        }
    }
}

/// Why there is no event to show.
fn none(trail: &Trail, wish: &Wish, words: &Words) -> &'static str {
    let texts = &words.timeline.filter;
    if wish.is_filter() {
        texts.none
    } else if trail.unopened.is_empty() {
        texts.nothing
    } else {
        texts.nothing_left
    }
}

/// The events of one page, and where the pages beside it begin.
struct Window<'a> {
    shown: &'a [&'a TrailEvent],
    /// Events before it.
    before: usize,
    all: usize,
    /// After which event the newer page begins, if there is one; none for the first page.
    newer: Option<Place>,
    /// After which event the older page begins, if there is one.
    older: Option<Place>,
}

impl<'a> Window<'a> {
    /// The page that begins after an event; the first one where there is no such event.
    fn after(events: &'a [&'a TrailEvent], after: Option<Place>) -> Self {
        let found = after.and_then(|after| events.iter().position(|event| place(event) == after));
        let start = found.map_or(0, |at| at + 1);
        let start = if start < events.len() { start } else { 0 };
        let end = events.len().min(start + PAGE_EVENTS);
        let before = |at: usize| {
            at.checked_sub(1)
                .and_then(|at| events.get(at))
                .map(|event| place(event))
        };
        Self {
            shown: events.get(start..end).unwrap_or_default(),
            before: start,
            all: events.len(),
            newer: before(start.saturating_sub(PAGE_EVENTS)),
            older: if end < events.len() { before(end) } else { None },
        }
    }
}

fn by_month<'a>(events: &[&'a TrailEvent], words: &Words) -> Vec<(String, Vec<&'a TrailEvent>)> {
    let mut months: Vec<(String, Vec<&'a TrailEvent>)> = Vec::new();
    for &event in events {
        let month = words.month(event.time);
        match months.last_mut() {
            Some((last, events)) if *last == month => events.push(event),
            _ => months.push((month, vec![event])),
        }
    }
    months
}

fn showing(window: &Window<'_>, words: &Words) -> Markup {
    let number = |count: usize| words.number(u64::try_from(count).unwrap_or(u64::MAX));
    let (first, last) = (window.before + 1, window.before + window.shown.len());
    html! {
        p.muted { ((words.timeline.pages.showing)(&number(first), &number(last), &number(window.all))) }
    }
}

fn pager(wish: &Wish, window: &Window<'_>, words: &Words) -> Markup {
    let texts = &words.timeline.pages;
    html! {
        @if window.before > 0 || window.older.is_some() {
            nav.pager aria-label=(texts.label) {
                @if window.newer.is_some() { a.btn.btn-quiet href=(wish.address(None)) { (texts.newest) } }
                @if window.before > 0 {
                    a.btn.btn-quiet rel="prev" href=(wish.address(window.newer)) { (texts.newer) }
                }
                @if window.older.is_some() {
                    a.btn.btn-quiet rel="next" href=(wish.address(window.older)) { (texts.older) }
                }
            }
        }
    }
}

/// Events in the order they are given, with all they say.
fn list(trail: &Trail, events: &[&TrailEvent], words: &Words) -> Markup {
    html! {
        ol.timeline {
            @for event in events {
                li.event id=(anchor(event)) {
                    (headline(event, words))
                    (notes(trail, event, words))
                    (details(event, words))
                }
            }
        }
    }
}

/// When, what, what the customer got, and what is wrong with it.
pub(super) fn headline(event: &TrailEvent, words: &Words) -> Markup {
    let texts = words.timeline;
    let told = tell(event, words);
    html! {
        p.event-head {
            (day(words, event.time)) " "
            span.tag { ((texts.kind)(event.kind)) }
            @if event.failed { " " span.tag.tag-warn { (texts.failed) } }
            @if let Some(corrected) = corrected(&event.corrected_at, words) {
                " " span.tag.tag-warn { (corrected) }
            }
        }
        p.event-sentence { (told.markup()) }
        @if let Some(benefit) = &told.benefit {
            p.event-benefit { (icon(Icon::Gift)) span { (texts.benefit) ": " b { (benefit) } } }
        }
        @for found in &event.findings {
            @let tone = if found.corrected_away { Tone::Warn } else { Tone::Bad };
            (notice(words, tone, &html! { (finding(event, found, words)) }))
        }
    }
}

/// What happened in the producer's words, and by what right; other events that it names lead to where they stand.
fn notes(trail: &Trail, event: &TrailEvent, words: &Words) -> Markup {
    let names = &words.timeline.facts;
    let named = |name: &str| {
        let reference = if name == names.consent || name == names.consent_ended {
            event.consent.as_ref()
        } else if name == names.onward_of {
            event.onward_of.as_ref()
        } else {
            None
        }?;
        let mut events = trail.events.iter();
        events.find(|one| one.is_named_by(reference, event))
    };
    let told = tell(event, words);
    html! {
        @if !told.notes.is_empty() {
            dl.pair {
                @for fact in &told.notes {
                    dt { (fact.name) }
                    dd {
                        @if let Some(other) = named(fact.name) {
                            @let kind = (words.timeline.kind)(other.kind);
                            a href=(address_of(trail, other)) {
                                ((words.timeline.pointed)(kind, &words.day(other.time)))
                            }
                        } @else {
                            (fact.text)
                        }
                    }
                }
            }
        }
    }
}

fn details(event: &TrailEvent, words: &Words) -> Markup {
    let texts = words.timeline;
    let of = (texts.details_of)((texts.kind)(event.kind), &words.day(event.time));
    html! {
        details {
            summary { (texts.details) span.visually-hidden { " " (of) } }
            (pairs(&facts(event, words)))
            p.muted { (texts.content) }
            pre.raw { (event.content) }
        }
    }
}

fn pairs(facts: &[Fact]) -> Markup {
    html! {
        dl.pair { @for fact in facts { dt { (fact.name) } dd { (fact.text) } } }
    }
}

/// What is on record and cannot be shown.
fn unopened(trail: &Trail, words: &Words) -> Markup {
    let texts = &words.timeline.unopened;
    let erased = trail.totals().erased;
    let others = trail
        .unopened
        .iter()
        .filter(|one| one.state != UnopenedState::Erased);
    html! {
        @if !trail.unopened.is_empty() {
            section.stack aria-labelledby="unopened" {
                h2 #unopened { (texts.heading) }
                p { (texts.lead) }
                @if erased > 0 { p { ((texts.erased)(&words.counted(erased, &words.common.events))) } }
                ul {
                    @for one in others {
                        li {
                            span.tag.tag-bad { ((texts.state)(one.state)) } " "
                            ((texts.told)(&placed(words, one.shard, one.index), one.producer.as_str()))
                            details { summary { (texts.reason) } p { (one.reason) } }
                        }
                    }
                }
            }
        }
    }
}

fn told_faults(faults: &[ProblemError], words: &Words) -> Markup {
    html! {
        @if !faults.is_empty() {
            div.notice.notice-bad.fault-summary role="alert" {
                div {
                    p { b { (words.timeline.filter.faults) } }
                    ul {
                        @for fault in faults {
                            li { a href={ "#filter-" (fault.field) } { (fault.field) ": " (fault.reason) } }
                        }
                    }
                }
            }
        }
    }
}

fn filters(trail: &Trail, wish: &Wish, words: &Words) -> Markup {
    let texts = &words.timeline.filter;
    let filter = &wish.filter;
    let offers = Offers::of(trail, filter, words);
    html! {
        details.card open[wish.is_filter()] {
            summary {
                (texts.heading)
                @if wish.is_filter() { " " span.tag { (texts.active) } }
            }
            form.filters method="get" action=(ADDRESS) {
                (choice("kind", texts.kind, &offers.kinds, filter, words))
                (choice("recipient", texts.recipient, &offers.recipients, filter, words))
                (choice("purpose", texts.purpose, &offers.purposes, filter, words))
                (choice("category", texts.category, &offers.categories, filter, words))
                (choice("country", texts.country, &offers.countries, filter, words))
                (date("from", texts.from, filter))
                (date("to", texts.to, filter))
                div.switch {
                    input #filter-findings type="checkbox" name="findings" value="only" checked[wish.findings];
                    label for="filter-findings" { (texts.findings) }
                }
                div.actions {
                    button.btn type="submit" { (texts.show) }
                    @if wish.is_filter() { a.btn.btn-quiet href=(ADDRESS) { (texts.clear) } }
                }
            }
        }
    }
}

/// What a filter can be set to, by value; only what occurs in the trail, and what is set.
struct Offers {
    kinds: Vec<(String, String)>,
    recipients: Vec<(String, String)>,
    purposes: Vec<(String, String)>,
    categories: Vec<(String, String)>,
    countries: Vec<(String, String)>,
}

impl Offers {
    fn of(trail: &Trail, filter: &TrailFilter, words: &Words) -> Self {
        let events = &trail.events;
        let recipients = events.iter().filter_map(|event| event.recipient.as_ref());
        let names: BTreeMap<&str, &str> = recipients.clone().map(|one| (&*one.id, &*one.name)).collect();
        let countries = events.iter().filter_map(|event| event.country.as_deref());
        let countries = countries.chain(recipients.map(|one| &*one.country));
        let kind_name = |name: &str| {
            Kind::from_name(name)
                .map_or_else(|| name.to_owned(), |kind| (words.timeline.kind)(kind).to_owned())
        };
        let purposes = events
            .iter()
            .flat_map(|event| &event.purposes)
            .map(String::as_str);
        let categories = events
            .iter()
            .flat_map(|event| &event.categories)
            .map(String::as_str);
        Self {
            kinds: offered(
                events.iter().map(|event| event.kind.name()),
                filter.text("kind"),
                &kind_name,
            ),
            recipients: offered(names.keys().copied(), filter.text("recipient"), &|id| {
                (*names.get(id).unwrap_or(&id)).to_owned()
            }),
            purposes: offered(purposes, filter.text("purpose"), &|term| words.term(term)),
            categories: offered(categories, filter.text("category"), &|term| words.term(term)),
            countries: offered(countries, filter.text("country"), &|code| {
                words.country(code).to_owned()
            }),
        }
    }
}

/// Each value once, in the order of its names.
fn offered<'a>(
    values: impl Iterator<Item = &'a str>,
    set: &'a str,
    name: &dyn Fn(&str) -> String,
) -> Vec<(String, String)> {
    let set = Some(set).filter(|set| !set.is_empty());
    let distinct: BTreeSet<&str> = values.chain(set).collect();
    let mut offered: Vec<(String, String)> = distinct
        .into_iter()
        .map(|value| (value.to_owned(), name(value)))
        .collect();
    offered.sort_by(|one, other| one.1.cmp(&other.1));
    offered
}

fn choice(
    name: &str,
    label: &str,
    offers: &[(String, String)],
    filter: &TrailFilter,
    words: &Words,
) -> Markup {
    let set = filter.text(name);
    html! {
        div.field {
            label for={ "filter-" (name) } { (label) }
            select id={ "filter-" (name) } name=(name) {
                option value="" { (words.timeline.filter.any) }
                @for (value, text) in offers {
                    option value=(value) selected[value == set] { (text) }
                }
            }
        }
    }
}

fn date(name: &str, label: &str, filter: &TrailFilter) -> Markup {
    // A time that came by an address is shown as its day, which is all that the field takes.
    let set = filter.text(name);
    let day = set.get(..10).unwrap_or(set);
    html! {
        div.field {
            label for={ "filter-" (name) } { (label) }
            input id={ "filter-" (name) } type="date" name=(name) value=(day);
        }
    }
}

#[cfg(test)]
mod tests;
