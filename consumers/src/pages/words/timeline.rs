//! Texts about events: a sentence for each kind, what stands beside it, filters, findings.
//!
//! A sentence is a pattern. A hole such as `{what}` is filled from the event's signed fields; a part in `[…]` is left
//! out where one of its holes has nothing to be filled with. The holes: `by` who signed, `what` categories, `why`
//! purposes, `whom` recipient, `from` origin, `times` a series, `outcome`, `right` what is asked for, `kind`.
//!
//! In scope: texts. Out of scope: filling them (see `pages::sentence`). Trust: texts of ours; what fills them is
//! escaped where it becomes markup.

use sharetrail_schemas::Kind;

use super::{Forms, english};
use crate::trail::{Finding, NoConsent, UnopenedState};

/// The texts about events.
pub(crate) struct Timeline {
    pub(crate) heading: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) sentence: fn(Kind) -> &'static str,
    pub(crate) kind: fn(Kind) -> &'static str,
    pub(crate) unnamed: &'static str,
    pub(crate) whom: fn(name: &str, role: &str, country: &str) -> String,
    pub(crate) origin: fn(origin: &str) -> String,
    pub(crate) series: fn(times: &str, days: &str) -> String,
    pub(crate) times: Forms,
    pub(crate) reference: fn(id: &str, source: Option<&str>) -> String,
    pub(crate) note: fn(label: &str, text: &str) -> String,
    pub(crate) benefit: &'static str,
    pub(crate) sold: fn(bool) -> &'static str,
    pub(crate) failed: &'static str,
    pub(crate) corrected: fn(leaf: &str) -> String,
    pub(crate) corrected_often: fn(times: &str, leaf: &str) -> String,
    pub(crate) finding: fn(&Finding) -> String,
    /// After a finding: where its event was corrected last; where it was not, something that it rests on was.
    pub(crate) corrected_away: fn(leaf: Option<&str>) -> String,
    pub(crate) facts: Facts,
    pub(crate) see: &'static str,
    pub(crate) pointed: fn(kind: &str, day: &str) -> String,
    pub(crate) details: &'static str,
    pub(crate) details_of: fn(kind: &str, day: &str) -> String,
    pub(crate) content: &'static str,
    pub(crate) unopened: Unreadable,
    pub(crate) filter: Filters,
    pub(crate) pages: Pages,
}

/// The names of an event's fields.
pub(crate) struct Facts {
    pub(crate) description: &'static str,
    pub(crate) legal_basis: &'static str,
    pub(crate) consent: &'static str,
    pub(crate) consent_ended: &'static str,
    pub(crate) country: &'static str,
    pub(crate) safeguard: &'static str,
    pub(crate) onward_of: &'static str,
    pub(crate) sale: &'static str,
    pub(crate) time: &'static str,
    pub(crate) series: &'static str,
    pub(crate) origin: &'static str,
    pub(crate) retention: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) notice: &'static str,
    pub(crate) contract: &'static str,
    pub(crate) method: &'static str,
    pub(crate) request: &'static str,
    pub(crate) regime: &'static str,
    pub(crate) status: &'static str,
    pub(crate) due: &'static str,
    pub(crate) disclosure: &'static str,
    pub(crate) corrects: &'static str,
    pub(crate) recipient: &'static str,
    pub(crate) contact: &'static str,
    pub(crate) address: &'static str,
    pub(crate) producer: &'static str,
    pub(crate) event: &'static str,
    pub(crate) place: &'static str,
    pub(crate) placed: fn(index: &str, shard: u32) -> String,
}

/// About events that cannot be shown.
pub(crate) struct Unreadable {
    pub(crate) heading: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) state: fn(UnopenedState) -> &'static str,
    pub(crate) told: fn(place: &str, producer: &str) -> String,
    pub(crate) reason: &'static str,
    pub(crate) erased: fn(count: &str) -> String,
}

/// The form of filters.
pub(crate) struct Filters {
    pub(crate) heading: &'static str,
    pub(crate) active: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) recipient: &'static str,
    pub(crate) purpose: &'static str,
    pub(crate) category: &'static str,
    pub(crate) country: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) any: &'static str,
    pub(crate) findings: &'static str,
    pub(crate) show: &'static str,
    pub(crate) clear: &'static str,
    pub(crate) faults: &'static str,
    pub(crate) none: &'static str,
    pub(crate) nothing: &'static str,
    pub(crate) nothing_left: &'static str,
}

/// Going from page to page.
pub(crate) struct Pages {
    pub(crate) label: &'static str,
    pub(crate) newer: &'static str,
    pub(crate) older: &'static str,
    pub(crate) newest: &'static str,
    pub(crate) showing: fn(first: &str, last: &str, all: &str) -> String,
}

pub(crate) const ENGLISH: Timeline = Timeline {
    heading: "Timeline",
    lead: "Everything on record about your data, newest first. Each sentence is made from the fields of one signed \
           event, and from nothing else.",
    sentence: english_sentence,
    kind: english_kind,
    unnamed: "something that is not named",
    whom: |name, role, country| format!("{name} ({role}, {country})"),
    origin: |origin| {
        if origin == "customer" {
            "you".to_owned()
        } else {
            origin.to_owned()
        }
    },
    series: |times, days| format!("{times}, {days}"),
    times: Forms {
        one: "time",
        many: "times",
    },
    reference: |id, source| match source {
        Some(source) => format!("event {id} of {source}"),
        None => format!("event {id}"),
    },
    note: |label, text| {
        let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
        format!("{label}: {text}{stop}")
    },
    benefit: "You got",
    sold: |is_sold| {
        if is_sold {
            "yes, value was given for the data"
        } else {
            "no, nothing was given for the data"
        }
    },
    failed: "Did not happen: a later event says so",
    corrected: |leaf| format!("corrected at leaf {leaf}"),
    corrected_often: |times, leaf| format!("corrected {times} times, the last at leaf {leaf}"),
    finding: english_finding,
    corrected_away: |leaf| match leaf {
        Some(leaf) => format!("So it is as it was told; corrected since at leaf {leaf}."),
        None => {
            "So it is as it was told; the consent or refusal that decides was corrected since.".to_owned()
        }
    },
    facts: Facts {
        description: "What happened",
        legal_basis: "Legal ground",
        consent: "Rests on your consent",
        consent_ended: "The consent that ended",
        country: "Went to",
        safeguard: "Safeguard abroad",
        onward_of: "Passed on from",
        sale: "Sold",
        time: "Time",
        series: "How often",
        origin: "Came from",
        retention: "Kept for",
        outcome: "Outcome",
        notice: "Privacy notice",
        contract: "Contract",
        method: "Means",
        request: "Request",
        regime: "Under the law",
        status: "State",
        due: "To be answered by",
        disclosure: "The disclosure it is about",
        corrects: "The event it corrects",
        recipient: "Recipient’s name in the ledger",
        contact: "Recipient’s contact",
        address: "Recipient’s address",
        producer: "Signed by",
        event: "Event",
        place: "On record",
        placed: |index, shard| format!("leaf {index} of shard {shard}"),
    },
    see: "See the entry",
    pointed: |kind, day| format!("{kind}, {day}"),
    details: "Details",
    details_of: |kind, day| format!("of “{kind}” on {day}"),
    content: "The event as it was signed, byte for byte",
    unopened: Unreadable {
        heading: "Events that cannot be shown",
        lead: "They are on record, and their number is proven; what they say cannot be read.",
        state: |state| match state {
            UnopenedState::Erased => "erased",
            UnopenedState::Unreadable => "does not open",
            UnopenedState::Malformed => "opens, but does not say what an event must say",
        },
        told: |place, producer| format!("{place}, signed by {producer}"),
        reason: "In detail",
        erased: |count| {
            format!("{count} erased: that they happened stays on record, what they said is gone.")
        },
    },
    filter: Filters {
        heading: "Filter the timeline",
        active: "A filter is set",
        kind: "What happened",
        recipient: "Organisation",
        purpose: "Purpose",
        category: "Kind of data",
        country: "Country",
        from: "From",
        to: "To",
        any: "Any",
        findings: "Only what is not in order",
        show: "Show",
        clear: "Show everything",
        faults: "These filters could not be understood",
        none: "No event fits this filter.",
        nothing: "Nothing is on record about you.",
        nothing_left: "There is nothing that can be read.",
    },
    pages: Pages {
        label: "Pages of the timeline",
        newer: "Newer",
        older: "Older",
        newest: "Newest",
        showing: |first, last, all| format!("Events {first} to {last} of {all}"),
    },
};

fn english_sentence(kind: Kind) -> &'static str {
    match kind {
        Kind::DataCollected => "{by} collected your {what}[ from {from}][, for {why}][ ({times})].",
        Kind::DataAccessed => "{by} looked at or used your {what}[, for {why}][; it was {whom}][ ({times})].",
        Kind::DataDerived => "{by} derived new data about you, {what}[, for {why}][, from {from}].",
        Kind::DataShared => "{by} shared your {what} with {whom}[, for {why}][ ({times})].",
        Kind::DataTransferred => "{by} handed your {what} over to {whom}[, for {why}][ ({times})].",
        Kind::DataReceived => "{whom} confirmed that it received what was sent[: {what}][, for {why}].",
        Kind::DataCorrected => "{by} put your {what} right[, for {why}][, from {from}].",
        Kind::DisclosureFailed => {
            "A disclosure[ of your {what}][ to {whom}][, for {why},] did not happen after all: {outcome}."
        }
        Kind::ConsentGiven => "You consented to {why}[ by {whom}][, with your {what}].",
        Kind::ConsentRefused => {
            "You were asked to consent to {why}[ by {whom}][, with your {what}], and refused."
        }
        Kind::ConsentWithdrawn => "You withdrew your consent[ to {why}][ for {whom}][, with your {what}].",
        Kind::ConsentExpired => "Your consent[ to {why}][ for {whom}][, with your {what},] ended by itself.",
        Kind::PreferenceChanged => "You chose “{outcome}” for {why}[ by {whom}][, with your {what}].",
        Kind::RequestOpened => "You asked {right}[: {what}][, at {whom}].",
        Kind::RequestUpdated => "Your request {right} went on[: {outcome}].",
        Kind::RequestClosed => "Your request {right} was answered: {outcome}[, for your {what}].",
        Kind::RecipientNotified => {
            "{whom} was told of a change to your data[: {what}][, outcome: {outcome}]."
        }
        Kind::RecipientConfirmed => {
            "{whom} confirmed that it did what it was told[, for your {what}][: {outcome}]."
        }
        Kind::RelationshipStarted => "You became a customer of {by}[, with your {what}][, for {why}].",
        Kind::RelationshipEnded => "You ceased to be a customer of {by}[: {outcome}].",
        Kind::BreachNotified => "{by} told you of a breach that concerns your {what}[, at {whom}].",
        Kind::DisputeOpened => {
            "You disputed what is on record[ about your {what}][, for {why}][, at {whom}]."
        }
        Kind::DisputeResolved => "A dispute was settled: {outcome}.",
        Kind::EventCorrected => {
            "{by} corrected what an earlier event said[; the data: {what}][; the purposes: {why}][; \
                                 the recipient: {whom}]."
        }
        _ => "{by} recorded an event of the kind {kind}[ about your {what}][, for {why}][, with {whom}].",
    }
}

fn english_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::DataCollected => "Collected",
        Kind::DataAccessed => "Looked at",
        Kind::DataDerived => "Derived",
        Kind::DataShared => "Shared",
        Kind::DataTransferred => "Handed over",
        Kind::DataReceived => "Receipt confirmed",
        Kind::DataCorrected => "Data put right",
        Kind::DisclosureFailed => "Disclosure did not happen",
        Kind::ConsentGiven => "Consent given",
        Kind::ConsentRefused => "Consent refused",
        Kind::ConsentWithdrawn => "Consent withdrawn",
        Kind::ConsentExpired => "Consent ended",
        Kind::PreferenceChanged => "Preference set",
        Kind::RequestOpened => "Request opened",
        Kind::RequestUpdated => "Request went on",
        Kind::RequestClosed => "Request answered",
        Kind::RecipientNotified => "Recipient told",
        Kind::RecipientConfirmed => "Recipient confirmed",
        Kind::RelationshipStarted => "Became a customer",
        Kind::RelationshipEnded => "Ceased to be a customer",
        Kind::BreachNotified => "Told of a breach",
        Kind::DisputeOpened => "Dispute opened",
        Kind::DisputeResolved => "Dispute settled",
        Kind::EventCorrected => "Event corrected",
        other => other.name(),
    }
}

fn english_finding(finding: &Finding) -> String {
    let day = |time| english().day(time);
    match finding {
        Finding::BeforeConsent { given } => {
            format!(
                "This rests on your consent, and you gave it only later, on {}.",
                day(*given)
            )
        }
        Finding::AfterWithdrawal { withdrawn } => {
            format!("You had withdrawn your consent to this on {}.", day(*withdrawn))
        }
        Finding::WithoutConsent { why } => english_no_consent(*why).to_owned(),
        Finding::AgainstChoice { refused } => {
            format!(
                "This is against your choice: you had refused it on {}.",
                day(*refused)
            )
        }
    }
}

fn english_no_consent(why: NoConsent) -> &'static str {
    match why {
        NoConsent::NoneOnRecord => "This rests on your consent, and none is on record.",
        NoConsent::Refused => "This rests on your consent, and you had refused it.",
        NoConsent::Expired => "This rests on your consent, and that had ended by itself.",
    }
}
