//! Pieces of markup that several pages are made of, and what addresses and forms say to them.
//!
//! In scope: notices, tables, dates, places in the log, faults of a form, texts out of forms. Out of scope: the frame
//! (see `layout`), what any one page says. Trust: addresses and forms are untrusted. An address only points at what is on
//! record; what a page says is read there.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_schemas::Timestamp;

use super::assets::{Icon, icon};
use super::timeline::address_of;
use super::words::{Words, iso_day};
use crate::trail::{Trail, TrailEvent};

/// The most characters of a text that somebody writes into a form.
pub(super) const TEXT_CHARACTERS: usize = 1_000;
/// The most places that an address can ask for.
const PLACES_MAX: usize = 64;

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warn,
    Bad,
}

/// A notice; how things stand is told by colour, sign and word.
pub(super) fn notice(words: &Words, tone: Tone, body: &Markup) -> Markup {
    let (class, sign, word) = match tone {
        Tone::Good => ("notice-good", Icon::Check, words.common.good),
        Tone::Warn => ("notice-warn", Icon::Warn, words.common.warning),
        Tone::Bad => ("notice-bad", Icon::Cross, words.common.bad),
    };
    html! {
        div.notice.(class) {
            (icon(sign))
            div.notice-body {
                span.visually-hidden { (word) ": " }
                (body)
            }
        }
    }
}

/// A day, for people and machines.
pub(super) fn day(words: &Words, time: Timestamp) -> Markup {
    html! { time datetime=(iso_day(time)) { (words.day(time)) } }
}

/// A region of its own, which scrolls where the window is narrow.
pub(super) fn scrolling(label: &str, table: &Markup) -> Markup {
    html! {
        div.table-wrap role="region" aria-label=(label) tabindex="0" { (table) }
    }
}

/// A table that scrolls by itself where the window is narrow. `id` names it on its page.
pub(super) fn table(id: &str, caption: &str, head: &[&str], rows: &Markup) -> Markup {
    html! {
        div.table-wrap role="region" aria-labelledby=(id) tabindex="0" {
            table {
                caption id=(id) { (caption) }
                thead { tr { @for name in head { th scope="col" { (name) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// Where something is on record.
pub(super) fn placed(words: &Words, shard: u32, index: LeafIndex) -> String {
    (words.timeline.facts.placed)(&words.number(index.0), shard)
}

/// A link to where the timeline tells an event; whoever hears it also hears which one, since many of them are alike.
pub(super) fn place_link(words: &Words, trail: &Trail, event: &TrailEvent) -> Markup {
    html! {
        a href=(address_of(trail, event)) {
            (words.timeline.see)
            span.visually-hidden { ", " (placed(words, event.shard, event.index)) }
        }
    }
}

/// The hidden field that shows that a form is ours.
pub(super) fn csrf_field(csrf: &str) -> Markup {
    html! { input type="hidden" name="csrf" value=(csrf); }
}

/// What is wrong with a form, with the id of the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FormFault {
    pub(super) field: String,
    pub(super) reason: &'static str,
}

/// What is wrong with a form, before the form; each fault leads to its field.
pub(super) fn fault_summary(heading: &str, faults: &[FormFault]) -> Markup {
    html! {
        @if !faults.is_empty() {
            div.notice.notice-bad.fault-summary role="alert" {
                p { strong { (heading) } }
                ul {
                    @for fault in faults {
                        li { a href={ "#" (fault.field) } { (fault.reason) } }
                    }
                }
            }
        }
    }
}

/// What is wrong with one field, beside it; the field's `aria-describedby` is its id and `-fault`.
pub(super) fn fault_of(faults: &[FormFault], field: &str) -> Markup {
    html! {
        @for fault in faults.iter().filter(|fault| fault.field == field) {
            p.field-fault id={ (field) "-fault" } { (fault.reason) }
        }
    }
}

/// The ids that describe a field: its hint's, and its fault's where there is one.
pub(super) fn described_by(faults: &[FormFault], field: &str) -> String {
    let is_at_fault = faults.iter().any(|fault| fault.field == field);
    if is_at_fault {
        format!("{field}-fault {field}-hint")
    } else {
        format!("{field}-hint")
    }
}

/// The same page with another status: a form that is shown again.
pub(super) fn with_status(status: StatusCode, mut response: Response) -> Response {
    *response.status_mut() = status;
    response
}

/// What a form says, name by name, in its order.
pub(super) type Pairs = Vec<(String, String)>;

/// One value of a form; empty where it is not there.
pub(super) fn value_of<'a>(pairs: &'a [(String, String)], name: &str) -> &'a str {
    let mut named = pairs.iter().filter(|(given, _)| given == name);
    named.next().map_or("", |(_, value)| value)
}

/// The present moment, against which things are overdue.
pub(super) fn now() -> Timestamp {
    Timestamp::from_unix(jiff::Timestamp::now().as_second())
}

/// One value of an address's query.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut values = pairs.filter(|(key, _)| key == name);
    values.next().map(|(_, value)| value.into_owned())
}

/// The places of a list such as `0.15,1.2`; what is not a place is left out.
pub(super) fn places(list: &str) -> Vec<(u32, LeafIndex)> {
    let place = |text: &str| {
        let (shard, index) = text.split_once('.')?;
        Some((shard.parse().ok()?, LeafIndex(index.parse().ok()?)))
    };
    list.split(',').take(PLACES_MAX).filter_map(place).collect()
}

/// A list of places, as [`places`] reads it.
pub(super) fn list_of_places(places: &[(u32, LeafIndex)]) -> String {
    let texts: Vec<String> = places
        .iter()
        .take(PLACES_MAX)
        .map(|(shard, index)| format!("{shard}.{index}"))
        .collect();
    texts.join(",")
}

/// The event of a trail that is on record at a place.
pub(super) fn event_at(trail: &Trail, (shard, index): (u32, LeafIndex)) -> Option<&TrailEvent> {
    let mut events = trail.events.iter();
    events.find(|event| (event.shard, event.index) == (shard, index))
}

/// A text out of a form is too long, or is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAText;

/// A text out of a form, with line feeds alone between its lines; none where nothing was written.
pub(super) fn written(text: &str) -> Result<Option<String>, NotAText> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let text = text.trim();
    let is_odd = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if text.chars().count() > TEXT_CHARACTERS || text.chars().any(is_odd) {
        return Err(NotAText);
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
pub(super) mod samples {
    //! Made-up trails for the tests of pages.

    use sharetrail_proof::name::Name;
    use sharetrail_schemas::{Kind, Role};

    use super::*;
    use crate::trail::{TrailRecipient, TrailReference};

    /// What an unkind producer may write.
    pub(in crate::pages) const MARKUP: &str = "<script>alert(\"1\")</script>";

    /// Asserts that nothing of [`MARKUP`] became markup, and that no style or script stands in a page.
    #[track_caller]
    pub(in crate::pages) fn check_escaped(markup: &str) {
        assert!(!markup.contains("<script"), "{markup}");
        assert!(!markup.contains(" style="), "{markup}");
        assert!(markup.contains("&lt;script&gt;"), "{markup}");
    }

    /// Asserts that every form that is posted carries the token.
    #[track_caller]
    pub(in crate::pages) fn check_forms(markup: &str, csrf: &str) {
        let field = format!("name=\"csrf\" value=\"{csrf}\"");
        let forms: Vec<&str> = markup.split("<form").skip(1).collect();
        assert!(!forms.is_empty(), "{markup}");
        for form in forms {
            let form = form.split("</form>").next().unwrap_or_default();
            assert!(
                !form.contains("method=\"post\"") || form.contains(&field),
                "{form}"
            );
        }
    }

    pub(in crate::pages) fn time(day: i64) -> Timestamp {
        Timestamp::from_unix(1_767_225_600 + (day - 1) * 86_400)
    }

    pub(in crate::pages) fn recipient(id: &str) -> TrailRecipient {
        TrailRecipient {
            id: id.to_owned(),
            name: format!("The {id}"),
            role: Role::Processor,
            country: "IE".to_owned(),
            contact: None,
            address: None,
        }
    }

    pub(in crate::pages) fn reference(id: &str) -> TrailReference {
        TrailReference {
            source: Some("https://shop.example/all".to_owned()),
            id: id.to_owned(),
        }
    }

    /// An event on a day of January 2026, whose leaf has the number of that day.
    pub(in crate::pages) fn event(kind: Kind, id: &str, day: u64) -> TrailEvent {
        TrailEvent {
            shard: 0,
            index: LeafIndex(day),
            generation: 0,
            producer: Name::new("shop.example").unwrap(),
            source: "https://shop.example/all".to_owned(),
            id: id.to_owned(),
            kind,
            time: time(i64::try_from(day).unwrap()),
            recipient: None,
            categories: Vec::new(),
            purposes: Vec::new(),
            legal_basis: None,
            consent: None,
            origin: None,
            notice: None,
            description: None,
            benefit: None,
            retention: None,
            country: None,
            safeguard: None,
            sale: None,
            outcome: None,
            contract: None,
            method: None,
            series: None,
            request: None,
            onward_of: None,
            disclosure: None,
            corrects: None,
            failed: false,
            corrected_at: Vec::new(),
            findings: Vec::new(),
            content: String::new(),
        }
    }

    /// A disclosure for direct marketing.
    pub(in crate::pages) fn shared(id: &str, day: u64, to: &str, categories: &[&str]) -> TrailEvent {
        TrailEvent {
            recipient: Some(recipient(to)),
            categories: categories.iter().map(|&category| category.to_owned()).collect(),
            purposes: vec!["dpv:DirectMarketing".to_owned()],
            ..event(Kind::DataShared, id, day)
        }
    }

    pub(in crate::pages) fn trail(events: Vec<TrailEvent>) -> Trail {
        Trail {
            customer: "customer-42".to_owned(),
            generations: Vec::new(),
            events,
            unopened: Vec::new(),
            checkpoints: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{event, trail};
    use super::*;
    use sharetrail_schemas::Kind;

    /// The fault: a browser's line ends are control characters, so that every text of two lines is refused.
    #[test]
    fn texts_of_forms_are_taken_as_they_were_meant() {
        assert_eq!(written(" one\r\ntwo\t \r\n"), Ok(Some("one\ntwo".to_owned())));
        assert_eq!(written(" \r\n "), Ok(None));
        assert_eq!(written("a\u{0}b"), Err(NotAText));
        assert_eq!(
            written(&"ä".repeat(TEXT_CHARACTERS)),
            Ok(Some("ä".repeat(TEXT_CHARACTERS)))
        );
        assert_eq!(written(&"x".repeat(TEXT_CHARACTERS + 1)), Err(NotAText));
    }

    /// The fault: an address makes a page say that something was recorded which was not.
    #[test]
    fn an_address_only_points_at_what_is_on_record() {
        assert_eq!(
            places("0.15,1.2,x,3,-1.2,<b>"),
            [(0, LeafIndex(15)), (1, LeafIndex(2))]
        );
        let back = list_of_places(&[(0, LeafIndex(15)), (1, LeafIndex(2))]);
        assert_eq!(back, "0.15,1.2");
        let trail = trail(vec![event(Kind::ConsentGiven, "yes", 15)]);
        assert!(event_at(&trail, (0, LeafIndex(15))).is_some());
        assert!(event_at(&trail, (1, LeafIndex(15))).is_none());
        assert_eq!(places(&"0.1,".repeat(1_000)).len(), PLACES_MAX);
    }

    #[test]
    fn parameters_are_decoded_and_may_lack() {
        assert_eq!(parameter(Some("a=1&b=x%20y&b=z"), "b").as_deref(), Some("x y"));
        assert_eq!(parameter(Some("a=1"), "b"), None);
        assert_eq!(parameter(None, "b"), None);
    }

    #[test]
    fn a_fault_is_told_above_the_form_and_beside_its_field() {
        let faults = [FormFault {
            field: "reason".to_owned(),
            reason: "Say why.",
        }];
        let summary = fault_summary("Again:", &faults).into_string();
        assert!(summary.contains("role=\"alert\"") && summary.contains("href=\"#reason\""));
        assert_eq!(described_by(&faults, "reason"), "reason-fault reason-hint");
        assert_eq!(described_by(&[], "reason"), "reason-hint");
        assert!(fault_of(&faults, "other").into_string().is_empty());
        assert!(fault_summary("Again:", &[]).into_string().is_empty());
    }
}
