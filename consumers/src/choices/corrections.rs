//! Events as their producers put them right: the one place where corrections are applied.
//!
//! The log hides nothing: an event stays as it was told, and so does its correction. What is concluded from an event
//! (what the customer chose, who received what) is concluded from it as it was put right. What is the matter with a
//! disclosure is judged both ways (see `trail::consent` and `watch::concern`), so that no correction ends a finding
//! unseen.
//!
//! - A correction counts if it comes from the producer that signed what it corrects, in the same generation of the
//!   customer. Anybody else's word stays on record and changes nothing.
//! - A field that it gives replaces that field as a whole; one that it leaves out stays as it was told. So a field can
//!   be exchanged, never taken away. Kind, time and description stay the event's own; a series has times of its own.
//! - A correction corrects one event: of those that its reference fits, the one recorded last before it; where there is
//!   none before it, the first. An id alone may fit many, one for each source of its host: name the source then. So all
//!   corrections together cost no more than their number.
//! - A correction of a correction counts for the event that was corrected first. Of several that give the same field,
//!   the one told last counts. Order is by claimed time, then by place in the log.
//!
//! In scope: that rule. Out of scope: judging what comes out; showing it.
//! Trust: as the trail's. Times and references are their producers' word; who signed is not.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;

use sharetrail_proof::hash::LeafIndex;
use sharetrail_schemas::Kind;

use super::fold::in_order;
use crate::trail::{TrailEvent, TrailReference, host};

/// Where an event stands among one customer's: each generation has a log of its own.
type Place = (u32, LeafIndex);

/// What was put right among one customer's events. By default nothing was.
#[derive(Default)]
pub(crate) struct Corrections<'a> {
    /// By the place of the event that they correct; each stands once.
    of: HashMap<Place, Vec<&'a TrailEvent>>,
}

/// What the events have in common that one reference can be to.
#[derive(PartialEq, Eq, Hash)]
struct Named<'a> {
    producer: &'a str,
    generation: u32,
    id: &'a str,
    source: Source<'a>,
}

#[derive(PartialEq, Eq, Hash)]
enum Source<'a> {
    Exactly(&'a str),
    OnHost(Option<String>),
}

/// An event as it was put right; read like the event itself.
#[derive(Clone, Debug)]
pub(crate) struct Corrected<'a> {
    told: &'a TrailEvent,
    /// None where nothing was corrected.
    right: Option<Box<TrailEvent>>,
    /// What puts it right, in the order in which it was told.
    by: Vec<&'a TrailEvent>,
}

impl<'a> Corrections<'a> {
    /// The corrections among events in any order.
    pub(crate) fn among(events: &'a [TrailEvent]) -> Self {
        let corrections: Vec<(&TrailEvent, &TrailReference)> = events
            .iter()
            .filter(|event| event.kind == Kind::EventCorrected)
            .filter_map(|event| Some((event, event.corrects.as_ref()?)))
            .collect();
        let ids: HashSet<&str> = corrections.iter().map(|(_, named)| named.id.as_str()).collect();
        let mut named: HashMap<Named<'a>, Vec<&'a TrailEvent>> = HashMap::new();
        for event in events.iter().filter(|event| ids.contains(event.id.as_str())) {
            for source in [
                Source::Exactly(&event.source),
                Source::OnHost(host(&event.source)),
            ] {
                let name = Named::new(event, &event.id, source);
                named.entry(name).or_default().push(event);
            }
        }
        for fitting in named.values_mut() {
            fitting.sort_by_key(|event| event.index);
        }
        let mut of: HashMap<Place, Vec<&'a TrailEvent>> = HashMap::new();
        for (correction, reference) in corrections {
            let source = match &reference.source {
                Some(source) => Source::Exactly(source),
                None => Source::OnHost(host(&correction.source)),
            };
            let name = Named::new(correction, &reference.id, source);
            let fitting = named.get(&name).map(Vec::as_slice).unwrap_or_default();
            let before = fitting.partition_point(|event| event.index < correction.index);
            if let Some(corrected) = fitting.get(before.saturating_sub(1)) {
                of.entry(place(corrected)).or_default().push(correction);
            }
        }
        Self { of }
    }

    /// Whether nothing was ever corrected.
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The event, with what was put right. A correction stays as it was told: nothing is concluded from it alone, and a
    /// long row of them, each correcting the one before, would be held once for each.
    pub(crate) fn apply(&self, event: &'a TrailEvent) -> Corrected<'a> {
        let by = if event.kind == Kind::EventCorrected {
            Vec::new()
        } else {
            self.all_of(event)
        };
        let right = (!by.is_empty()).then(|| {
            let mut right = Box::new(event.clone());
            for correction in &by {
                put_right(&mut right, correction);
            }
            right
        });
        Corrected {
            told: event,
            right,
            by,
        }
    }

    /// The corrections of an event that is none, theirs, and so on, in order. Each corrects one event, so this comes upon
    /// each once at most, and never upon those that only correct each other.
    fn all_of(&self, event: &TrailEvent) -> Vec<&'a TrailEvent> {
        let mut found = Vec::new();
        let mut waiting = vec![place(event)];
        while let Some(corrected) = waiting.pop() {
            let direct = self.of.get(&corrected).map(Vec::as_slice).unwrap_or_default();
            found.extend_from_slice(direct);
            waiting.extend(direct.iter().map(|correction| place(correction)));
        }
        found.sort_by_key(|correction| in_order(correction));
        found
    }
}

impl<'a> Named<'a> {
    /// The events of whoever told `by` that have this id and source.
    fn new(by: &'a TrailEvent, id: &'a str, source: Source<'a>) -> Self {
        Self {
            producer: by.producer.as_str(),
            generation: by.generation,
            id,
            source,
        }
    }
}

fn place(event: &TrailEvent) -> Place {
    (event.generation, event.index)
}

impl<'a> Corrected<'a> {
    /// The event as it was told, whatever was put right.
    pub(crate) fn as_told(told: &'a TrailEvent) -> Self {
        Self {
            told,
            right: None,
            by: Vec::new(),
        }
    }

    /// Where in its log it was put right; in the order in which that was told.
    pub(crate) fn corrected_at(&self) -> Vec<LeafIndex> {
        self.by.iter().map(|correction| correction.index).collect()
    }

    /// A reference as it was given last, and the event that gives it: one without a source is to that event's host.
    pub(crate) fn reference(
        &self,
        field: impl Fn(&TrailEvent) -> Option<&TrailReference>,
    ) -> Option<(&'a TrailReference, &'a TrailEvent)> {
        let mut newest_first = self.by.iter().rev().copied().chain([self.told]);
        newest_first.find_map(|event| Some((field(event)?, event)))
    }

    /// The consent that it rests on, or that it ends.
    pub(crate) fn consent_named(&self) -> Option<(&'a TrailReference, &'a TrailEvent)> {
        self.reference(|event| event.consent.as_ref())
    }

    /// The event, to be kept.
    pub(crate) fn into_event(self) -> TrailEvent {
        self.right.map_or_else(|| self.told.clone(), |right| *right)
    }
}

impl Deref for Corrected<'_> {
    type Target = TrailEvent;

    fn deref(&self) -> &TrailEvent {
        self.right.as_deref().unwrap_or(self.told)
    }
}

/// Takes over every field that the correction gives.
fn put_right(event: &mut TrailEvent, correction: &TrailEvent) {
    if !correction.categories.is_empty() {
        event.categories.clone_from(&correction.categories);
    }
    if !correction.purposes.is_empty() {
        event.purposes.clone_from(&correction.purposes);
    }
    exchange(&mut event.legal_basis, correction.legal_basis.as_ref());
    exchange(&mut event.recipient, correction.recipient.as_ref());
    exchange(&mut event.origin, correction.origin.as_ref());
    exchange(&mut event.notice, correction.notice.as_ref());
    exchange(&mut event.benefit, correction.benefit.as_ref());
    exchange(&mut event.retention, correction.retention.as_ref());
    exchange(&mut event.country, correction.country.as_ref());
    exchange(&mut event.safeguard, correction.safeguard.as_ref());
    exchange(&mut event.sale, correction.sale.as_ref());
    exchange(&mut event.consent, correction.consent.as_ref());
    exchange(&mut event.onward_of, correction.onward_of.as_ref());
    exchange(&mut event.disclosure, correction.disclosure.as_ref());
    exchange(&mut event.outcome, correction.outcome.as_ref());
    exchange(&mut event.series, correction.series.as_ref());
    exchange(&mut event.contract, correction.contract.as_ref());
    exchange(&mut event.method, correction.method.as_ref());
    exchange(&mut event.request, correction.request.as_ref());
}

fn exchange<T: Clone>(told: &mut Option<T>, right: Option<&T>) {
    if let Some(right) = right {
        *told = Some(right.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The fault: a field is put right on record, and what is concluded rests on the wrong one.
    #[test]
    fn a_correction_takes_over_every_field_that_it_can_give() {
        let examples = include_str!("../../../schemas/examples/event.corrected.v1.json");
        let examples: Value = serde_json::from_str(examples).unwrap();
        let example = &examples["valid"];
        let mut fields = Kind::EventCorrected.may().iter();
        assert!(fields.all(|field| example["data"].get(field.name()).is_some()));
        let told = json!({
            "specversion": "1.0",
            "id": "basket-3",
            "source": "https://shop.example/checkout",
            "type": "org.sharetrail.data.shared.v1",
            "subject": "customer-42",
            "time": "2026-01-30T12:00:00Z",
            "data": {
                "recipient": {"id": "ads.example", "name": "Ads", "role": "third-party", "country": "US"},
                "categories": ["pd:Age"],
                "purposes": ["dpv:Advertising"],
                "description": "as it was told",
            },
        });
        let events = [
            TrailEvent::told(&told.to_string(), 3),
            TrailEvent::told(&example.to_string(), 7),
        ];
        let [told, correction] = &events;
        let corrected = Corrections::among(&events).apply(told);
        assert_eq!(corrected.corrected_at(), [LeafIndex(7)]);
        let expected = TrailEvent {
            index: told.index,
            source: told.source.clone(),
            id: told.id.clone(),
            kind: told.kind,
            time: told.time,
            description: told.description.clone(),
            corrects: None,
            content: told.content.clone(),
            ..correction.clone()
        };
        assert_eq!(corrected.into_event(), expected);
    }

    /// Something that is told by an event of this kind at a place of the log.
    fn told(kind: &str, source: &str, id: &str, index: u64, data: &Value) -> TrailEvent {
        let content = json!({
            "specversion": "1.0",
            "id": id,
            "source": source,
            "type": format!("org.sharetrail.{kind}.v1"),
            "subject": "customer-42",
            "time": "2026-01-30T12:00:00Z",
            "data": data,
        });
        TrailEvent::told(&content.to_string(), index)
    }

    fn consent(source: &str, index: u64) -> TrailEvent {
        let data = json!({"purposes": ["dpv:Marketing"]});
        told("consent.given", source, "one-id", index, &data)
    }

    fn correction(index: u64, corrects: &Value) -> TrailEvent {
        let data = json!({
            "corrects": corrects,
            "description": "it was told wrongly",
            "purposes": ["dpv:Marketing"],
        });
        told(
            "event.corrected",
            "https://shop.example/desk",
            &format!("right-{index}"),
            index,
            &data,
        )
    }

    /// Where each event of [`consent`] was corrected.
    fn places(events: &[TrailEvent]) -> Vec<Vec<u64>> {
        let corrections = Corrections::among(events);
        let consents = events.iter().filter(|event| event.kind == Kind::ConsentGiven);
        let at = |event| corrections.apply(event).corrected_at();
        consents
            .map(|event| at(event).into_iter().map(|leaf| leaf.0).collect())
            .collect()
    }

    /// The fault: many events of one id, and as many corrections by that id alone, fill the memory with their product.
    #[test]
    fn a_correction_counts_for_one_event_however_many_it_names() {
        const MANY: u64 = 3_000;
        let id = json!("one-id");
        let source = |number: u64| format!("https://shop.example/{number}");
        // All events first: the corrections are of the last one.
        let mut events: Vec<TrailEvent> = (0..MANY).map(|n| consent(&source(n), n)).collect();
        events.extend((MANY..2 * MANY).map(|index| correction(index, &id)));
        let corrections = Corrections::among(&events);
        let held: usize = corrections.of.values().map(Vec::len).sum();
        assert_eq!(held as u64, MANY);
        let found = places(&events);
        assert_eq!(found.iter().map(Vec::len).sum::<usize>() as u64, MANY);
        assert_eq!(
            found.last().map(Vec::as_slice),
            Some(&(MANY..2 * MANY).collect::<Vec<_>>()[..])
        );
        // By turns: each is of the event before it.
        let by_turns = (0..MANY).flat_map(|n| [consent(&source(n), 2 * n), correction(2 * n + 1, &id)]);
        let found = places(&by_turns.collect::<Vec<_>>());
        assert!((0..MANY).map(|n| vec![2 * n + 1]).eq(found));
    }

    /// The fault: an event cannot be put right because another one has its id; or a correction that was recorded first is
    /// lost.
    #[test]
    fn a_reference_with_a_source_is_to_that_source() {
        let first = json!({"source": "https://shop.example/1", "id": "one-id"});
        let events = [
            correction(0, &first),
            consent("https://shop.example/1", 1),
            consent("https://shop.example/2", 2),
            correction(3, &first),
            consent("https://other.example/1", 4),
            correction(5, &json!("one-id")),
        ];
        assert_eq!(places(&events), [vec![0, 3], vec![5], vec![]]);
    }

    /// The fault: corrections that name each other are followed for ever.
    #[test]
    fn corrections_of_each_other_come_to_an_end() {
        let mut around = correction(1, &json!("right-2"));
        around.index = LeafIndex(9);
        let events = [
            consent("https://shop.example/1", 0),
            around,
            correction(2, &json!("right-1")),
            correction(3, &json!("right-3")),
        ];
        assert_eq!(places(&events), [Vec::<u64>::new()]);
        assert_eq!(Corrections::among(&events).of.len(), 3);
    }
}
