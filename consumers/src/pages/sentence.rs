//! One plain sentence an event.
//!
//! In scope: filling the patterns of `words::timeline` from an event's signed fields, and from nothing else; the
//! facts that stand beside the sentence. Out of scope: where they stand on a page. Trust: the fields are their
//! signers' words and may hold anything. They fill holes and are never read as patterns, and become markup only
//! escaped.

use maud::{Markup, html};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_schemas::Kind;

use super::words::{Words, iso_day};
use crate::trail::{TrailEvent, TrailFinding, TrailReference};

/// A part of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Words of the pattern.
    Pattern(&'static str),
    /// What fills a hole.
    Filled(String),
    /// A recipient, who has a page.
    Recipient { id: String, text: String },
}

/// A field of an event, with its name for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Telling {
    parts: Vec<Part>,
    /// What happened in its producer's words, and by what right.
    pub(crate) notes: Vec<Fact>,
    /// What the customer got out of it.
    pub(crate) benefit: Option<String>,
}

/// Tells an event.
pub(crate) fn tell(event: &TrailEvent, words: &Words) -> Telling {
    let pattern = (words.timeline.sentence)(event.kind);
    Telling {
        parts: filled(pattern, words.timeline.unnamed, &|hole| fill(event, words, hole)),
        notes: notes(event, words),
        benefit: event.benefit.clone(),
    }
}

impl Telling {
    /// The sentence alone.
    pub(crate) fn sentence(&self) -> String {
        let texts = self.parts.iter().map(|part| match part {
            Part::Pattern(text) => *text,
            Part::Filled(text) | Part::Recipient { text, .. } => text.as_str(),
        });
        texts.collect()
    }

    /// The sentence, its notes and the benefit, as plain text.
    pub(crate) fn text(&self, words: &Words) -> String {
        let mut sentences = vec![self.sentence()];
        let note = words.timeline.note;
        sentences.extend(self.notes.iter().map(|fact| note(fact.name, &fact.text)));
        sentences.extend(self.benefit.iter().map(|got| note(words.timeline.benefit, got)));
        sentences.join(" ")
    }

    /// The sentence alone, with the recipient leading to its page.
    pub(crate) fn markup(&self) -> Markup {
        html! {
            @for part in &self.parts {
                @match part {
                    Part::Pattern(text) => { (text) }
                    Part::Filled(text) => { b { (text) } }
                    Part::Recipient { id, text } => { a href={ "/me/recipients/" (id) } { (text) } }
                }
            }
        }
    }
}

/// What is wrong with an event, in a sentence; and in another one, that it was so only as it was told.
pub(crate) fn finding(event: &TrailEvent, found: &TrailFinding, words: &Words) -> String {
    let sentence = (words.timeline.finding)(&found.finding);
    if found.corrected_away {
        let away = corrected_away(&event.corrected_at, words);
        format!("{sentence} {away}")
    } else {
        sentence
    }
}

/// That something was so only as it was told.
pub(crate) fn corrected_away(places: &[LeafIndex], words: &Words) -> String {
    let last = places.last().map(|leaf| words.number(leaf.0));
    (words.timeline.corrected_away)(last.as_deref())
}

/// That an event was put right, and where last.
pub(crate) fn corrected(places: &[LeafIndex], words: &Words) -> Option<String> {
    let last = words.number(places.last()?.0);
    let times = u64::try_from(places.len()).unwrap_or(u64::MAX);
    if times == 1 {
        Some((words.timeline.corrected)(&last))
    } else {
        Some((words.timeline.corrected_often)(&words.number(times), &last))
    }
}

/// A legal basis or a safeguard in plain words; the vocabulary's label where there are none, else as it is.
pub(crate) fn law(term: &str, words: &Words) -> String {
    (words.common.law)(term).unwrap_or_else(|| (words.common.label)(term).unwrap_or(term).to_owned())
}

/// Everything else that an event says, and where it is on record.
pub(crate) fn facts(event: &TrailEvent, words: &Words) -> Vec<Fact> {
    let names = &words.timeline.facts;
    let reference = |to: &TrailReference| reference(to, words);
    let request = event.request.as_ref();
    let recipient = event.recipient.as_ref();
    let duration = |iso: &String| (words.common.duration)(iso).unwrap_or_else(|| iso.clone());
    let place = (names.placed)(&words.number(event.index.0), event.shard);
    let all = [
        (names.time, Some(event.time.to_string())),
        (names.series, series(event, words)),
        (names.origin, event.origin.clone()),
        (names.retention, event.retention.as_ref().map(duration)),
        (names.outcome, event.outcome.clone()),
        (names.notice, event.notice.clone()),
        (names.contract, event.contract.clone()),
        (names.method, event.method.clone()),
        (names.request, request.map(|request| request.id.clone())),
        (names.regime, request.and_then(|request| request.regime.clone())),
        (names.status, request.and_then(|request| request.status.clone())),
        (names.due, request.and_then(|request| request.due).map(iso_day)),
        (names.disclosure, event.disclosure.as_ref().map(reference)),
        (names.corrects, event.corrects.as_ref().map(reference)),
        (names.recipient, recipient.map(|recipient| recipient.id.clone())),
        (
            names.contact,
            recipient.and_then(|recipient| recipient.contact.clone()),
        ),
        (
            names.address,
            recipient.and_then(|recipient| recipient.address.clone()),
        ),
        (names.producer, Some(event.producer.to_string())),
        (
            names.event,
            Some((words.timeline.reference)(&event.id, Some(&event.source))),
        ),
        (names.place, Some(place)),
    ];
    given(all)
}

fn notes(event: &TrailEvent, words: &Words) -> Vec<Fact> {
    let names = &words.timeline.facts;
    let country = event
        .country
        .as_deref()
        .map(|code| words.country(code).to_owned());
    let is_end = matches!(event.kind, Kind::ConsentWithdrawn | Kind::ConsentExpired);
    let consent = if is_end {
        names.consent_ended
    } else {
        names.consent
    };
    let sold = |sale| (words.timeline.sold)(sale).to_owned();
    let all = [
        (names.description, event.description.clone()),
        (
            names.legal_basis,
            event.legal_basis.as_deref().map(|term| law(term, words)),
        ),
        (consent, event.consent.as_ref().map(|to| reference(to, words))),
        (names.country, country),
        (
            names.safeguard,
            event.safeguard.as_deref().map(|term| law(term, words)),
        ),
        (
            names.onward_of,
            event.onward_of.as_ref().map(|to| reference(to, words)),
        ),
        (names.sale, event.sale.map(sold)),
    ];
    given(all)
}

fn given(all: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Vec<Fact> {
    let facts = all.into_iter().filter_map(|(name, text)| {
        let text = text?;
        Some(Fact { name, text })
    });
    facts.collect()
}

fn reference(to: &TrailReference, words: &Words) -> String {
    (words.timeline.reference)(&to.id, to.source.as_deref())
}

fn series(event: &TrailEvent, words: &Words) -> Option<String> {
    let series = event.series?;
    let times = words.counted(series.count, &words.timeline.times);
    Some((words.timeline.series)(
        &times,
        &words.days(series.first, series.last),
    ))
}

/// What fills a hole; none where the event does not say.
fn fill(event: &TrailEvent, words: &Words, hole: &str) -> Option<Part> {
    let terms = |terms: &[String]| (!terms.is_empty()).then(|| words.terms_within(terms));
    let text = match hole {
        "by" => event.producer.to_string(),
        "kind" => event.kind.to_string(),
        "what" => terms(&event.categories)?,
        "why" => terms(&event.purposes)?,
        "from" => (words.timeline.origin)(event.origin.as_deref()?),
        "times" => series(event, words)?,
        // A pattern ends the sentence by itself.
        "outcome" => event.outcome.as_deref()?.trim_end_matches('.').to_owned(),
        "right" => (words.common.right)(event.request.as_ref()?.right).to_owned(),
        "whom" => {
            let recipient = event.recipient.as_ref()?;
            let role = (words.common.role)(recipient.role);
            let country = words.country(&recipient.country);
            return Some(Part::Recipient {
                id: recipient.id.clone(),
                text: (words.timeline.whom)(&recipient.name, role, country),
            });
        }
        _ => return None,
    };
    Some(Part::Filled(text))
}

/// Fills a pattern. `unnamed` stands where a hole that is not in `[…]` has nothing to be filled with.
fn filled(pattern: &'static str, unnamed: &'static str, fill: &dyn Fn(&str) -> Option<Part>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    loop {
        let (plain, after) = rest.split_once('[').unwrap_or((rest, ""));
        parts.extend(segment(plain, Some(unnamed), fill).unwrap_or_default());
        if after.is_empty() {
            return parts;
        }
        let (optional, next) = after.split_once(']').unwrap_or((after, ""));
        parts.extend(segment(optional, None, fill).unwrap_or_default());
        rest = next;
    }
}

/// Fills the holes of a part of a pattern; none where one stays empty and nothing stands in for it.
fn segment(
    text: &'static str,
    unnamed: Option<&'static str>,
    fill: &dyn Fn(&str) -> Option<Part>,
) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('{') {
        let (hole, next) = after.split_once('}').unwrap_or((after, ""));
        parts.push(Part::Pattern(plain));
        parts.push(fill(hole).or_else(|| unnamed.map(Part::Pattern))?);
        rest = next;
    }
    parts.push(Part::Pattern(rest));
    Some(parts)
}

#[cfg(test)]
pub(super) mod tests;
