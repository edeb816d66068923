//! Who has my data: a picture of where data went, and the same as a table.
//!
//! In scope: gathering disclosures by kind of data and recipient, following what recipients passed on, markup. Out of
//! scope: where the picture's boxes lie (see `flow`), one recipient (see `recipient`).
//! Trust: the trail's events, whose names and terms are their producers' words; all of them are escaped.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use sharetrail_schemas::{Kind, Timestamp};

use super::flow::{self, COLUMNS, Flows, Node, Picture, Strand, Who};
use super::layout::{Frame, Nav, PageError, page};
use super::parts::{Tone, day, notice, table};
use super::sentence::law;
use super::words::sharing::Sharing;
use super::words::{self, Words};
use crate::http::auth::PageCustomer;
use crate::http::reading::trail_of;
use crate::http::site::Site;
use crate::trail::{Received, Trail, TrailEvent, TrailRecipient, TrailReference};

/// How far what is passed on and on is followed back.
const PASSED_ON_MAX: usize = 32;
/// Above the picture, for the headings of its columns.
const HEAD: u32 = 34;

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/me/sharing", get(show))
}

async fn show(State(site): State<Site>, PageCustomer(customer): PageCustomer) -> Result<Response, PageError> {
    let trail = trail_of(&site, &customer.id).await?;
    let words = words::english();
    let frame = Frame {
        site: &site,
        person: Some(&customer.person),
        title: words.common.navigation.sharing,
        active: Nav::Sharing,
        scripts: &[],
    };
    Ok(page(&frame, &sharing(words, &trail)))
}

/// Data that somebody who had received it passed on.
pub(super) struct PassedOn<'a> {
    /// The event that tells it.
    pub(super) event: &'a TrailEvent,
    /// Who passed it on.
    pub(super) from: &'a TrailRecipient,
    /// Who had it from the company itself.
    origin: &'a TrailRecipient,
    /// Who was given it.
    pub(super) to: &'a TrailRecipient,
    /// How often.
    pub(super) times: u64,
}

/// What recipients passed on, as disclosures and receipts tell it. `events`: as they were put right.
pub(super) fn passed_on(events: &[TrailEvent]) -> Vec<PassedOn<'_>> {
    let named = Named::among(events);
    let told = events.iter().filter_map(|event| {
        let to = event.recipient.as_ref()?;
        let times = named.times(event)?;
        let first = named.received_by(event)?;
        let from = first.recipient.as_ref()?;
        if from.id == to.id {
            return None;
        }
        Some(PassedOn {
            event,
            from,
            origin: named.origin(first)?,
            to,
            times,
        })
    });
    told.collect()
}

/// The events of a trail by their ids.
struct Named<'a> {
    events: HashMap<&'a str, Vec<&'a TrailEvent>>,
}

impl<'a> Named<'a> {
    fn among(events: &'a [TrailEvent]) -> Self {
        let mut named: HashMap<&str, Vec<&TrailEvent>> = HashMap::new();
        for event in events {
            named.entry(&event.id).or_default().push(event);
        }
        Self { events: named }
    }

    fn find(&self, reference: &TrailReference, from: &TrailEvent) -> Option<&'a TrailEvent> {
        let mut candidates = self.events.get(reference.id.as_str())?.iter().copied();
        candidates.find(|event| event.is_named_by(reference, from))
    }

    /// How often an event tells that data moved: a receipt only if no disclosure tells the same.
    fn times(&self, event: &TrailEvent) -> Option<u64> {
        if event.kind != Kind::DataReceived {
            return Some(event.disclosures()).filter(|times| *times > 0);
        }
        let told = event.disclosure.as_ref();
        let told = told.and_then(|reference| self.find(reference, event));
        told.is_none_or(|told| told.onward_of.is_none()).then_some(1)
    }

    /// The event by which whoever passed the data on had received it.
    fn received_by(&self, event: &TrailEvent) -> Option<&'a TrailEvent> {
        let earlier = self.find(event.onward_of.as_ref()?, event)?;
        let is_receipt = earlier.is_disclosure() || earlier.kind == Kind::DataReceived;
        (is_receipt && earlier.recipient.is_some()).then_some(earlier)
    }

    /// Who had the data from the company, if it was passed on by `event` and perhaps others before.
    fn origin(&self, event: &'a TrailEvent) -> Option<&'a TrailRecipient> {
        let mut first = event;
        for _ in 0..PASSED_ON_MAX {
            let Some(earlier) = self.received_by(first) else {
                break;
            };
            first = earlier;
        }
        first.recipient.as_ref()
    }
}

/// What one recipient received of one kind of data.
pub(super) struct Row<'a> {
    pub(super) category: &'a str,
    pub(super) recipient: &'a TrailRecipient,
    pub(super) purposes: BTreeSet<&'a str>,
    pub(super) bases: BTreeSet<&'a str>,
    pub(super) times: u64,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) findings: usize,
}

/// What was received, by recipient and kind of data; recipients are named as they were told last.
pub(super) fn rows<'a>(disclosures: impl Iterator<Item = &'a Received<'a>>) -> Vec<Row<'a>> {
    let mut rows: BTreeMap<(&str, &str), Row<'a>> = BTreeMap::new();
    for event in disclosures {
        let Some(recipient) = &event.recipient else {
            continue;
        };
        let (first, last) = event.span();
        let categories: BTreeSet<&str> = event.categories.iter().map(String::as_str).collect();
        for category in categories {
            let row = rows
                .entry((recipient.id.as_str(), category))
                .or_insert_with(|| Row {
                    category,
                    recipient,
                    purposes: BTreeSet::new(),
                    bases: BTreeSet::new(),
                    times: 0,
                    first,
                    last,
                    findings: 0,
                });
            row.recipient = recipient;
            row.purposes.extend(event.purposes.iter().map(String::as_str));
            row.bases.extend(event.legal_basis.as_deref());
            row.times = row.times.saturating_add(event.disclosures());
            row.first = row.first.min(first);
            row.last = row.last.max(last);
            row.findings += event.findings.len();
        }
    }
    rows.into_values().collect()
}

/// What one recipient received from the company itself.
struct Receiver<'a> {
    /// As it was told last.
    recipient: &'a TrailRecipient,
    /// How often each kind of data.
    categories: BTreeMap<&'a str, u64>,
    purposes: BTreeSet<&'a str>,
    times: u64,
    /// How often it was told first, and is not as corrected.
    corrected_away: u64,
    first: Timestamp,
    last: Timestamp,
    findings: usize,
}

/// Who received what, whoever received the most first.
fn receivers<'a>(disclosures: impl Iterator<Item = &'a Received<'a>>) -> Vec<Receiver<'a>> {
    let mut receivers: BTreeMap<&str, Receiver<'a>> = BTreeMap::new();
    for event in disclosures {
        let Some(recipient) = &event.recipient else {
            continue;
        };
        let (first, last) = event.span();
        let receiver = receivers
            .entry(recipient.id.as_str())
            .or_insert_with(|| Receiver {
                recipient,
                categories: BTreeMap::new(),
                purposes: BTreeSet::new(),
                times: 0,
                corrected_away: 0,
                first,
                last,
                findings: 0,
            });
        receiver.recipient = recipient;
        let times = event.disclosures();
        let categories: BTreeSet<&str> = event.categories.iter().map(String::as_str).collect();
        for category in categories {
            let sum = receiver.categories.entry(category).or_default();
            *sum = sum.saturating_add(times);
        }
        receiver
            .purposes
            .extend(event.purposes.iter().map(String::as_str));
        receiver.times = receiver.times.saturating_add(times);
        receiver.corrected_away = receiver.corrected_away.saturating_add(event.corrected_away());
        receiver.first = receiver.first.min(first);
        receiver.last = receiver.last.max(last);
        receiver.findings += event.findings.len();
    }
    let mut receivers: Vec<Receiver<'a>> = receivers.into_values().collect();
    receivers.sort_by_key(|one| (std::cmp::Reverse(one.times), one.recipient.id.as_str()));
    receivers
}

/// All that the page shows.
struct Shared<'a> {
    /// Recipients as they were told last.
    recipients: BTreeMap<&'a str, &'a TrailRecipient>,
    direct: Vec<Row<'a>>,
    receivers: Vec<Receiver<'a>>,
    onward: Vec<PassedOn<'a>>,
    /// Disclosures by recipient, whatever the kinds of data, and what is wrong with them.
    sums: BTreeMap<&'a str, Sum>,
    disclosures: u64,
}

/// Disclosures to one recipient.
#[derive(Clone, Copy, Default)]
struct Sum {
    times: u64,
    /// How often it was told first, and is not as corrected.
    corrected_away: u64,
    findings: usize,
}

impl<'a> Shared<'a> {
    /// `events`: as they were put right.
    fn of(events: &'a [TrailEvent], received: &'a [Received<'a>]) -> Self {
        let onward = passed_on(events);
        let mut recipients = BTreeMap::new();
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        let mut disclosures: u64 = 0;
        for event in received {
            disclosures = disclosures.saturating_add(event.disclosures());
            if let Some(recipient) = &event.recipient {
                recipients.insert(recipient.id.as_str(), recipient);
                let sum = sums.entry(recipient.id.as_str()).or_default();
                sum.times = sum.times.saturating_add(event.disclosures());
                sum.corrected_away = sum.corrected_away.saturating_add(event.corrected_away());
                sum.findings += event.findings.len();
            }
        }
        for told in &onward {
            for recipient in [told.from, told.origin, told.to] {
                recipients.entry(recipient.id.as_str()).or_insert(recipient);
            }
        }
        let places = onward.iter().map(|told| (told.event.shard, told.event.index));
        let places: BTreeSet<_> = places.collect();
        let is_direct = |event: &&Received<'_>| !places.contains(&(event.shard, event.index));
        Self {
            recipients,
            direct: rows(received.iter().filter(is_direct)),
            receivers: receivers(received.iter().filter(is_direct)),
            onward,
            sums,
            disclosures,
        }
    }

    fn flows(&self) -> Flows {
        let strand = |from: &str, to: &str, count| Strand {
            from: from.to_owned(),
            to: to.to_owned(),
            count,
        };
        let received = self.direct.iter().filter(|row| row.times > 0);
        let onward = self.onward.iter();
        Flows {
            received: received
                .map(|row| strand(row.category, &row.recipient.id, row.times))
                .collect(),
            onward: onward
                .map(|told| strand(&told.origin.id, &told.to.id, told.times))
                .collect(),
        }
    }
}

/// What stands in `main`.
fn sharing(words: &Words, trail: &Trail) -> Markup {
    let texts = words.sharing;
    let (events, received) = (trail.as_put_right(), trail.received());
    let shared = Shared::of(&events, &received);
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    html! {
        div.stack {
            h1 { (words.common.navigation.sharing) }
            @if shared.recipients.is_empty() {
                p.lead { (if trail.unopened.is_empty() { texts.lead_none } else { texts.lead_unknown }) }
            } @else {
                @let organisations = words.counted(count(shared.recipients.len()), &texts.organisations);
                @let times = words.counted(shared.disclosures, &words.timeline.times);
                p.lead { ((texts.lead)(&organisations, &times)) }
            }
            @if !trail.unopened.is_empty() {
                @let events = words.counted(count(trail.unopened.len()), &words.common.events);
                (notice(words, Tone::Warn, &html! {
                    p { ((texts.unopened)(&events)) " " a href="/me/timeline" { (texts.unopened_more) } }
                }))
            }
            @if !shared.recipients.is_empty() {
                section.stack aria-labelledby="picture" {
                    h2 #picture { (texts.picture.heading) }
                    p.muted.flow-note { (texts.picture.note) }
                    (picture(words, &shared))
                    (bars(words, &shared))
                }
                section.stack aria-labelledby="as-table" {
                    h2 #as-table { (texts.table.heading) }
                    (direct_table(words, &shared.receivers))
                }
                @if !shared.onward.is_empty() {
                    section.stack aria-labelledby="onward" {
                        h2 #onward { (texts.table.onward_heading) }
                        (onward_table(words, &shared.onward))
                    }
                }
            }
        }
    }
}

/// How many findings, or that there are none.
pub(super) fn findings(texts: &Sharing, words: &Words, number: usize) -> Markup {
    let number = u64::try_from(number).unwrap_or(u64::MAX);
    html! {
        @if number == 0 {
            (texts.findings_none)
        } @else {
            span.tag.tag-bad { (words.counted(number, &texts.findings)) }
        }
    }
}

/// Terms of a set inside of a cell.
pub(super) fn terms(words: &Words, terms: &BTreeSet<&str>, none: &str) -> String {
    let named: Vec<String> = terms.iter().map(|term| words.term_within(term)).collect();
    if named.is_empty() {
        none.to_owned()
    } else {
        words::capitalised(&words.list(&named))
    }
}

fn direct_table(words: &Words, receivers: &[Receiver<'_>]) -> Markup {
    let texts = &words.sharing.table;
    let head = [
        texts.recipient,
        texts.country,
        texts.category,
        texts.purposes,
        texts.times,
        texts.when,
        texts.findings,
    ];
    let rows = html! {
        @for one in receivers {
            tr {
                th scope="row" { (who(words, one.recipient)) }
                td { (words.country(&one.recipient.country)) }
                td {
                    @if one.categories.is_empty() { (texts.none_told) }
                    @else {
                        ul.plain {
                            @for (category, times) in &one.categories {
                                li {
                                    (words.term(category)) " "
                                    span.muted { (words.counted(*times, &words.timeline.times)) }
                                }
                            }
                        }
                    }
                }
                td { (terms(words, &one.purposes, texts.none_told)) }
                td.number {
                    (words.number(one.times))
                    @if one.corrected_away > 0 {
                        span.cell-more { (corrected_away(words, one.corrected_away)) }
                    }
                }
                td { (words.days(one.first, one.last)) }
                td { (findings(words.sharing, words, one.findings)) }
            }
        }
    };
    table("who-has-what", texts.caption, &head, &rows)
}

/// That it was told so often, and corrected since.
fn corrected_away(words: &Words, number: u64) -> String {
    (words.sharing.corrected_away)(&words.counted(number, &words.timeline.times))
}

/// A recipient, who has a page, and what it is to the company.
fn who(words: &Words, recipient: &TrailRecipient) -> Markup {
    html! {
        a href={ "/me/recipients/" (recipient.id) } { (recipient.name) }
        span.cell-more { ((words.common.role)(recipient.role)) }
    }
}

fn onward_table(words: &Words, onward: &[PassedOn<'_>]) -> Markup {
    let texts = &words.sharing.table;
    let head = [
        texts.onward_from,
        texts.onward_to,
        texts.country,
        texts.category,
        texts.safeguard,
        texts.times,
        texts.last,
    ];
    let rows = html! {
        @for told in onward {
            @let country = told.event.country.as_deref().unwrap_or(&told.to.country);
            tr {
                th scope="row" { a href={ "/me/recipients/" (told.from.id) } { (told.from.name) } }
                td { (who(words, told.to)) }
                td { (words.country(country)) }
                td {
                    @if told.event.categories.is_empty() {
                        (texts.none_told)
                    } @else {
                        (words::capitalised(&words.terms_within(&told.event.categories)))
                    }
                }
                td {
                    @match &told.event.safeguard {
                        Some(safeguard) => { (words::capitalised(&law(safeguard, words))) }
                        None => { (texts.none_told) }
                    }
                }
                td.number { (words.number(told.times)) }
                td { (day(words, told.event.span().1)) }
            }
        }
    };
    table("passed-on", texts.onward_caption, &head, &rows)
}

fn picture(words: &Words, shared: &Shared<'_>) -> Markup {
    let texts = &words.sharing.picture;
    let drawn = flow::draw(&shared.flows());
    let [categories, recipients, onward] = description(&drawn);
    let description = (texts.description)(
        &words.counted(categories, &texts.categories),
        &words.counted(recipients, &words.sharing.organisations),
        &words.counted(onward, &texts.onward),
    );
    let height = drawn.height + HEAD + 2;
    html! {
        div.flow-scroll role="region" aria-label=(texts.region) tabindex="0" {
            svg.flow role="img" aria-labelledby="flow-title flow-description"
                viewBox={ "-1 -" (HEAD) " " (drawn.width + 2) " " (height) }
                width=(drawn.width + 2) height=(height) {
                title #flow-title { (texts.title) }
                desc #flow-description { (description) }
                @for ((column, nodes), heading) in COLUMNS.iter().zip(&drawn.columns).zip(texts.columns) {
                    @if !nodes.is_empty() {
                        text.flow-heading x=(column.left) y="-14" { (heading) }
                    }
                }
                @for band in &drawn.bands {
                    @let from = name(words, shared, band.column, &drawn.columns[band.column][band.from]);
                    @let next = band.column + 1;
                    @let to = name(words, shared, next, &drawn.columns[next][band.to]);
                    @let times = words.counted(band.count, &words.timeline.times);
                    path.flow-band.flow-band-onward[band.column == 1] d=(band.path()) {
                        title { ((texts.band)(&from, &to, &times)) }
                    }
                }
                @for (column, nodes) in drawn.columns.iter().enumerate() {
                    @for node in nodes { (boxed(words, shared, column, node)) }
                }
            }
        }
    }
}

/// How many categories, recipients and onward recipients a picture shows, folded ones counted.
fn description(drawn: &Picture) -> [u64; 3] {
    let meant = |node: &Node| match &node.who {
        Who::One(_) => 1,
        Who::Others(number) => u64::try_from(*number).unwrap_or(u64::MAX),
    };
    [0, 1, 2].map(|column: usize| drawn.columns[column].iter().map(meant).sum())
}

fn name(words: &Words, shared: &Shared<'_>, column: usize, node: &Node) -> String {
    match &node.who {
        Who::One(category) if column == 0 => words.term(category),
        Who::One(id) => shared
            .recipients
            .get(id.as_str())
            .map_or_else(|| id.clone(), |recipient| recipient.name.clone()),
        Who::Others(number) => {
            let number = u64::try_from(*number).unwrap_or(u64::MAX);
            words.counted(number, &words.sharing.picture.others[column])
        }
    }
}

/// A box with what it stands for; what does not fit is in its title and in the table.
fn boxed(words: &Words, shared: &Shared<'_>, column: usize, node: &Node) -> Markup {
    let place = &COLUMNS[column];
    let whole = name(words, shared, column, node);
    let recipient = match &node.who {
        Who::One(id) if column > 0 => shared.recipients.get(id.as_str()).copied(),
        _ => None,
    };
    let sums = recipient.and_then(|recipient| shared.sums.get(recipient.id.as_str()));
    let findings = sums.map_or(0, |sum| u64::try_from(sum.findings).unwrap_or(u64::MAX));
    // Who receives several kinds of data at once receives once, though each kind has a band of its own.
    let received = if column == 1 {
        sums.map(|sum| sum.times)
    } else {
        Some(node.count)
    };
    let times = received.map(|times| words.counted(times, &words.timeline.times));
    let middle = node.height / 2;
    let long = usize::try_from(place.width / 9).unwrap_or_default();
    html! {
        g.flow-node.flow-node-bad[findings > 0] {
            rect x=(place.left) y=(node.top) width=(place.width) height=(node.height) rx="8" {}
            svg x=(place.left) y=(node.top) width=(place.width) height=(node.height) {
                title { (whole) @if let Some(times) = &times { ": " (times) } }
                @if column == 0 {
                    text x="12" y=(middle + 5) { (short(&whole, long)) }
                } @else {
                    text.flow-name x="12" y=(middle.saturating_sub(12)) { (short(&whole, long)) }
                    @if let Some(recipient) = recipient {
                        @let role = (words.common.role)(recipient.role);
                        text.flow-sub x="12" y=(middle + 6) {
                            (short(&format!("{role} · {}", words.country(&recipient.country)), long + 6))
                        }
                    }
                    text.flow-sub x="12" y=(middle + 24) {
                        @if let Some(times) = &times { (times) }
                        @if findings > 0 {
                            " · "
                            tspan.flow-flag { (words.counted(findings, &words.sharing.findings)) }
                        }
                    }
                }
            }
        }
    }
}

/// At most so many characters of a name.
fn short(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let kept = name.chars().take(most.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// The picture for narrow windows: a bar for each recipient.
fn bars(words: &Words, shared: &Shared<'_>) -> Markup {
    let most = shared
        .sums
        .values()
        .map(|sum| sum.times)
        .max()
        .unwrap_or_default();
    let mut sorted: Vec<_> = shared.sums.iter().collect();
    sorted.sort_by_key(|(id, sum)| (std::cmp::Reverse(sum.times), **id));
    let width = |times: u64| (u128::from(times) * 100).div_ceil(u128::from(most.max(1)));
    html! {
        ul.flow-bars aria-label=(words.sharing.picture.bars) {
            @for (id, sum) in sorted {
                @if let Some(recipient) = shared.recipients.get(id) {
                    li {
                        a href={ "/me/recipients/" (recipient.id) } { (recipient.name) }
                        " "
                        span.muted {
                            ((words.common.role)(recipient.role)) ", " (words.country(&recipient.country))
                        }
                        svg.flow-bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"
                            focusable="false" {
                            rect.flow-bar-all width="100" height="8" {}
                            rect.flow-bar-own width=(width(sum.times)) height="8" {}
                        }
                        span { (words.counted(sum.times, &words.timeline.times)) }
                        @if sum.corrected_away > 0 { " " (corrected_away(words, sum.corrected_away)) }
                        @if sum.findings > 0 { " " (findings(words.sharing, words, sum.findings)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parts::samples::{self, check_escaped, event, recipient, reference, shared, trail};
    use super::*;
    use crate::trail::Finding;

    fn onward(id: &str, day: u64, to: &str, of: &str) -> TrailEvent {
        TrailEvent {
            onward_of: Some(reference(of)),
            ..shared(id, day, to, &["pd:Name"])
        }
    }

    fn pairs(trail: &Trail) -> Vec<(String, String, String, u64)> {
        passed_on(&trail.events)
            .iter()
            .map(|told| {
                (
                    told.origin.id.clone(),
                    told.from.id.clone(),
                    told.to.id.clone(),
                    told.times,
                )
            })
            .collect()
    }

    /// The fault: an onward transfer that is drawn as the company's own, or a chain that is followed for ever.
    #[test]
    fn what_is_passed_on_is_followed_back() {
        let told = trail(vec![
            shared("s1", 1, "a.example", &["pd:Name"]),
            onward("s2", 2, "b.example", "s1"),
            onward("s3", 3, "c.example", "s2"),
            onward("round", 4, "d.example", "round"),
        ]);
        let text = |text: &str| text.to_owned();
        assert_eq!(
            pairs(&told),
            [
                (text("a.example"), text("a.example"), text("b.example"), 1),
                (text("a.example"), text("b.example"), text("c.example"), 1),
            ]
        );
        let received = told.received();
        let shown = Shared::of(&told.events, &received);
        let direct: Vec<&str> = shown.direct.iter().map(|row| row.recipient.id.as_str()).collect();
        assert_eq!(direct, ["a.example", "d.example"]);
        assert_eq!(shown.flows().onward.len(), 2);
    }

    /// The fault: one passing on is counted twice, because who passed on and who received both tell it.
    #[test]
    fn a_receipt_counts_where_no_disclosure_tells_the_same() {
        let receipt = |id: &str, disclosure: &str| TrailEvent {
            recipient: Some(recipient("b.example")),
            onward_of: Some(reference("s1")),
            disclosure: Some(reference(disclosure)),
            ..event(Kind::DataReceived, id, 5)
        };
        let first = || shared("s1", 1, "a.example", &["pd:Name"]);
        let both = trail(vec![
            first(),
            onward("s2", 2, "b.example", "s1"),
            receipt("r1", "s2"),
        ]);
        assert_eq!(pairs(&both).len(), 1);
        let alone = trail(vec![first(), receipt("r1", "elsewhere")]);
        assert_eq!(pairs(&alone).len(), 1);
    }

    /// The fault: what went out together is counted once for each kind of data, or what names no kind not at all.
    #[test]
    fn receivers_are_told_once_with_all_that_they_received() {
        let told = trail(vec![
            shared("s1", 1, "a.example", &["pd:Name", "pd:Age"]),
            shared("s2", 2, "b.example", &["pd:Name"]),
            shared("s3", 9, "b.example", &[]),
        ]);
        let received = told.received();
        let found = receivers(received.iter());
        let sums: Vec<_> = found
            .iter()
            .map(|one| (one.recipient.id.as_str(), one.times, one.categories.len()))
            .collect();
        assert_eq!(sums, [("b.example", 2, 1), ("a.example", 1, 2)]);
        assert_eq!(
            (found[0].first, found[0].last),
            (samples::time(2), samples::time(9))
        );
    }

    #[test]
    fn rows_are_by_recipient_and_kind_of_data() {
        let told = trail(vec![
            shared("s1", 1, "a.example", &["pd:Name", "pd:Age"]),
            shared("s2", 9, "a.example", &["pd:Name"]),
            shared("s3", 2, "b.example", &["pd:Name"]),
        ]);
        let received = told.received();
        let found = rows(received.iter());
        let sums: Vec<_> = found
            .iter()
            .map(|row| (row.recipient.id.as_str(), row.category, row.times))
            .collect();
        assert_eq!(
            sums,
            [
                ("a.example", "pd:Age", 1),
                ("a.example", "pd:Name", 2),
                ("b.example", "pd:Name", 1)
            ]
        );
        assert_eq!(
            (found[1].first, found[1].last),
            (samples::time(1), samples::time(9))
        );
    }

    /// The fault: a recipient's name becomes markup, in the page or in the picture.
    #[test]
    fn names_are_escaped_in_picture_and_table() {
        let mut evil = shared("s1", 1, "a.example", &["x:<script>"]);
        if let Some(recipient) = &mut evil.recipient {
            recipient.name = samples::MARKUP.to_owned();
        }
        let given = samples::time(3);
        evil.findings = vec![Finding::BeforeConsent { given }.into()];
        let html = sharing(words::english(), &trail(vec![evil])).into_string();
        check_escaped(&html);
        assert_eq!(html.matches("<h1").count(), 1);
        // A picture has a name and a description, and each table a caption.
        assert!(html.contains("role=\"img\"") && html.contains("<desc id=\"flow-description\">"));
        assert_eq!(html.matches("<table").count(), html.matches("<caption").count());
        assert!(html.contains("flow-node-bad"));
    }

    /// The fault: SVG elements without an end tag swallow all that comes after them.
    #[test]
    fn elements_of_the_picture_are_closed() {
        let told = trail(vec![
            shared("s1", 1, "a.example", &["pd:Name"]),
            onward("s2", 2, "b.example", "s1"),
        ]);
        let html = sharing(words::english(), &told).into_string();
        for name in ["svg", "g", "path", "rect", "text", "tspan", "title", "desc"] {
            let opened =
                html.matches(&format!("<{name} ")).count() + html.matches(&format!("<{name}>")).count();
            assert_eq!(opened, html.matches(&format!("</{name}>")).count(), "{name}");
        }
    }

    #[test]
    fn a_trail_without_disclosures_says_so() {
        let html = sharing(words::english(), &trail(Vec::new())).into_string();
        assert!(html.contains(words::english().sharing.lead_none));
        assert!(!html.contains("<svg") && !html.contains("<table"));
    }

    #[test]
    fn long_names_are_cut_by_characters() {
        assert_eq!(short("Größe", 5), "Größe");
        assert_eq!(short("Größenmaß", 5), "Größ…");
    }
}
