//! A verdict for people: one plain line for each thing that is proven, and for each that is not.
//!
//! In scope: wording. Out of scope: what holds. Trust: texts out of the file are untrusted; the page makes them safe.

use std::collections::BTreeMap;

use sharetrail_consumers::{Disclosure, Reason};
use sharetrail_proof::checkpoint::VerifiedCheckpoint;
use sharetrail_proof::dossier::{
    DossierError, VerifiedContent, VerifiedDossier, VerifiedErasure, VerifiedEvent, VerifiedGeneration,
    VerifiedMap,
};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Shard;
use sharetrail_schemas::Timestamp;

use super::{Reading, unreadable};
use crate::output::{Page, counted, number};

/// The most of a kind that is told one by one to people; JSON has them all.
const SHOWN: usize = 10;

/// A dossier of which every check holds.
pub(super) fn dossier(page: &mut Page, verified: &VerifiedDossier) {
    page.heading(&format!(
        "Dossier of {}, from the ledger {}",
        verified.customer, verified.ledger
    ));
    whose(page, verified);
    for map in &verified.maps {
        page.holds(&complete(map));
    }
    for (shard, checkpoint) in &verified.checkpoints {
        page.holds(&signed(*shard, checkpoint));
    }
    if !verified.events.is_empty() {
        let events = counted(verified.events.len() as u64, "event");
        page.holds(&format!(
            "On record: {events}, each found in its signed batch, and in the log under the checkpoint"
        ));
    }
    signers(page, verified);
    contents(page, verified);
    for one in &verified.generations {
        erased(page, verified, one);
    }
    not_covered(page, verified);
    let maps = verified.maps.iter().map(|map| (map.shard, &map.checkpoint));
    let logs = verified.checkpoints.iter().map(|(shard, log)| (*shard, log));
    witnesses(page, logs, maps);
    if unreadable(verified).next().is_none() {
        page.heading("Verified: every check holds.");
    } else {
        page.heading("Authentic, and not in order: events on record cannot be read.");
    }
}

fn whose(page: &mut Page, verified: &VerifiedDossier) {
    let (customer, absence) = (&verified.customer, &verified.absence);
    if verified.generations.is_empty() {
        page.holds(&format!(
            "Nothing is on record about {customer}, as sealed at {}: the label that this customer would have is proven, and the \
             customer map of shard {} does not hold it",
            utc(verified.as_of()),
            absence.shard
        ));
        return;
    }
    let labels = counted(verified.generations.len() as u64, "label");
    page.holds(&format!(
        "Whose: {labels}, proven by VRF to be all that {customer} has: under the next one there is nothing"
    ));
}

/// Up to where a shard's map says that everything is there, and on whose word.
fn complete(map: &VerifiedMap) -> String {
    let (covered, time) = (number(map.leaf.checkpoint.size.0), utc(map.leaf.time));
    format!(
        "Complete up to leaf {covered} of shard {}, as sealed at {time}: {}",
        map.shard.index(),
        word(map)
    )
}

fn word(map: &VerifiedMap) -> String {
    let auditors = map.checkpoint.auditors().iter();
    let told: Vec<String> = auditors
        .map(|(auditor, time)| format!("{auditor} at {}", utc(*time)))
        .collect();
    if told.is_empty() {
        "by the operator's word".to_owned()
    } else {
        format!("recomputed by auditor {}", told.join(" and "))
    }
}

fn signed(shard: Shard, checkpoint: &VerifiedCheckpoint) -> String {
    let leaves = counted(checkpoint.size().0, "leaf");
    format!(
        "The checkpoint of {leaves} of shard {} is signed with the log's key in the policy",
        shard.index()
    )
}

/// Who signed how many events, with which key.
fn signers(page: &mut Page, verified: &VerifiedDossier) {
    let mut signers: BTreeMap<(&str, String, u32, u64), u64> = BTreeMap::new();
    for event in &verified.events {
        let signer = (
            event.producer.as_str(),
            event.key.to_string(),
            event.shard,
            event.key_since.0,
        );
        *signers.entry(signer).or_default() += 1;
    }
    for ((producer, key, shard, since), count) in &signers {
        let (events, since) = (counted(*count, "event"), number(*since));
        page.holds(&format!(
            "Signed by {producer}: {events}, with key {key}, registered at leaf {since} of shard {shard}"
        ));
    }
}

fn contents(page: &mut Page, verified: &VerifiedDossier) {
    let is_opened = |event: &&VerifiedEvent| matches!(event.content, VerifiedContent::Opened(_));
    let opened = verified.events.iter().filter(is_opened).count() as u64;
    if opened > 0 {
        page.holds(&format!(
            "Unchanged: {}, each the one its entry commits to, about this customer",
            counted(opened, "content")
        ));
    }
    let unreadable: Vec<&VerifiedEvent> = unreadable(verified).collect();
    for event in unreadable.iter().take(SHOWN) {
        let place = place(event.shard, event.index);
        page.fails(
            0,
            &format!(
                "Unreadable: {place}, signed by {}: nothing was erased, and it does not open",
                event.producer
            ),
        );
    }
    rest(page, unreadable.len());
}

fn erased(page: &mut Page, verified: &VerifiedDossier, one: &VerifiedGeneration) {
    let Some(index) = one.erased_at else { return };
    let of_it = |event: &&VerifiedEvent| event.generation == one.generation;
    let events = counted(verified.events.iter().filter(of_it).count() as u64, "event");
    let map = verified
        .maps
        .iter()
        .find(|map| one.erasure_covered && map.shard.index() == one.shard);
    let when = map.map_or_else(String::new, |map| {
        format!(", no later than {}", utc(map.leaf.time))
    });
    page.holds(&format!(
        "Erased: {events} of generation {}; the erasure is on record at {}{when}",
        one.generation,
        place(one.shard, index)
    ));
}

/// What is on record, and perhaps not all of it.
fn not_covered(page: &mut Page, verified: &VerifiedDossier) {
    let later: Vec<&VerifiedEvent> = verified.events.iter().filter(|event| !event.covered).collect();
    if later.is_empty() {
        return;
    }
    let events = counted(later.len() as u64, "later event");
    let verb = if later.len() == 1 { "is" } else { "are" };
    page.warns(
        0,
        &format!("Not covered yet: {events} {verb} on record and proven, and there may be others like that:"),
    );
    for event in later.iter().take(SHOWN) {
        page.text(2, &place(event.shard, event.index));
    }
    rest(page, later.len());
}

fn witnesses<'a>(
    page: &mut Page,
    logs: impl Iterator<Item = (Shard, &'a VerifiedCheckpoint)>,
    maps: impl Iterator<Item = (Shard, &'a VerifiedCheckpoint)>,
) {
    let logs = logs.map(|(shard, checkpoint)| ("log", shard, checkpoint));
    let maps = maps.map(|(shard, checkpoint)| ("map log", shard, checkpoint));
    let mut all_cosigned = true;
    for (what, shard, checkpoint) in logs.chain(maps) {
        for (witness, time) in checkpoint.cosignatures() {
            let (shard, time) = (shard.index(), utc(*time));
            page.holds(&format!(
                "Cosigned: the {what} of shard {shard}, by the witness {witness} at {time}"
            ));
        }
        all_cosigned &= !checkpoint.cosignatures().is_empty();
    }
    if !all_cosigned {
        page.warns(
            0,
            "No independent witness cosigned: a split view is not excluded.",
        );
    }
}

/// A certificate of which every check holds.
pub(super) fn erasure(page: &mut Page, verified: &VerifiedErasure) {
    page.heading(&format!(
        "Erasure certificate of {}, from the ledger {}",
        verified.customer, verified.ledger
    ));
    let map = &verified.map;
    let (shard, time) = (map.shard.index(), utc(map.leaf.time));
    page.holds(&format!(
        "Whose: label {}, proven by VRF to be that of {} in generation {}",
        verified.label, verified.customer, verified.generation
    ));
    page.holds(&format!(
        "Erased: the operator put it on record at {}, no later than {time}",
        place(shard, verified.index)
    ));
    page.holds(&format!(
        "Signed by operator, with key {}, valid since leaf {} of shard {shard}",
        verified.key,
        number(verified.key_since.0)
    ));
    page.holds(&complete(map));
    page.holds(&signed(map.shard, &verified.checkpoint));
    let log = std::iter::once((map.shard, &verified.checkpoint));
    witnesses(page, log, std::iter::once((map.shard, &map.checkpoint)));
    page.warns(
        0,
        "It proves what the operator declared. That no copy of a content exists, nobody can prove.",
    );
    page.heading("Verified: every check holds.");
}

/// A file of which a check does not hold.
pub(super) fn faults(page: &mut Page, error: &DossierError) {
    page.heading("Disproved: this file does not hold.");
    match error {
        DossierError::Disproved(faults) => {
            for fault in faults.iter().take(SHOWN) {
                page.fails(0, &fault.to_string());
            }
            rest(page, faults.len());
        }
        other => page.fails(0, &other.to_string()),
    }
    page.text(
        0,
        "Either the file was changed since it was made, or it is not from the ledger that the policy names.",
    );
}

/// What a dossier says about one party.
pub(super) fn reading(page: &mut Page, reading: &Reading) {
    let party = &reading.party;
    match &reading.disclosure {
        Disclosure::Never { up_to, mentions } => {
            page.holds(&format!(
                "Never shared with {party}, complete as sealed at {}: every event can be read, every recipient is \
                 registered, and none is it",
                utc(*up_to)
            ));
            if !mentions.is_empty() {
                page.warns(0, &format!("{party} is named where nothing was disclosed to it:"));
                places(page, mentions);
            }
        }
        Disclosure::Shared { events } => {
            page.fails(
                0,
                &format!("{party} has data of this customer, as these events say:"),
            );
            places(page, events);
        }
        Disclosure::CannotSay { reasons } => {
            page.warns(
                0,
                &format!("Cannot say whether anything was shared with {party}:"),
            );
            for reason in reasons.iter().take(SHOWN) {
                page.text(2, &why(reason));
            }
            rest(page, reasons.len());
        }
    }
}

fn why(reason: &Reason) -> String {
    match reason {
        Reason::PartyNotRegistered => {
            "the dossier does not show it to be registered; `sharetrail keys party` registers it, and `sharetrail dossier \
             --party` shows it"
                .to_owned()
        }
        Reason::Erased { generation } => format!("what the events of generation {generation} said was erased"),
        Reason::Unreadable { shard, index } => format!("{} cannot be read", place(*shard, *index)),
        Reason::Malformed { shard, index } => {
            format!("{} does not say what an event must say", place(*shard, *index))
        }
        Reason::RecipientNotRegistered {
            shard,
            index,
            recipient,
        } => format!(
            "{} discloses to {recipient}, which is not shown to be registered",
            place(*shard, *index)
        ),
        _ => "for another reason; `sharetrail verify` of a newer version may tell it".to_owned(),
    }
}

fn places(page: &mut Page, places: &[(u32, LeafIndex)]) {
    for (shard, index) in places.iter().take(SHOWN) {
        page.text(2, &place(*shard, *index));
    }
    rest(page, places.len());
}

fn place(shard: u32, index: LeafIndex) -> String {
    format!("leaf {} of shard {shard}", number(index.0))
}

fn rest(page: &mut Page, all: usize) {
    if all > SHOWN {
        let more = number((all - SHOWN) as u64);
        page.text(2, &format!("and {more} more; --json tells them all"));
    }
}

fn utc(seconds: u64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}
