//! Plain words for what a trail says.
//!
//! In scope: kinds, terms, legal bases, recipients, dates, findings. Out of scope: where they stand on a page.
//! Trust: terms and names come out of contents; a page makes them safe to show.

use sharetrail_consumers::{Finding, NoConsent, TrailEvent, TrailReference};
use sharetrail_schemas::{Kind, Role, Timestamp, label};

use crate::output::number;

/// The date, in UTC.
pub(crate) fn date(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('T')
        .map_or(text.clone(), |(date, _)| date.to_owned())
}

/// `2017-01-01 to 2017-12-30`, or one date where both are the same.
pub(crate) fn dates(first: Timestamp, last: Timestamp) -> String {
    let (first, last) = (date(first), date(last));
    if first == last {
        format!("on {first}")
    } else {
        format!("{first} to {last}")
    }
}

/// What a term means: its label where the vocabulary has one.
pub(crate) fn term(term: &str) -> String {
    label(term).unwrap_or(term).to_owned()
}

/// What several terms mean.
pub(crate) fn terms(terms: &[String]) -> String {
    let labels: Vec<String> = terms.iter().map(|one| term(one)).collect();
    labels.join(", ")
}

/// A legal basis or a safeguard: `consent (GDPR Art. 6(1)(a))`.
pub(crate) fn law(name: &str) -> String {
    let words = label(name).map(|label| label.split_once(") ").map_or(label, |(_, words)| words));
    match (article(name), words) {
        (Some(article), Some(words)) => format!("{words} (GDPR {article})"),
        _ => term(name),
    }
}

/// `Art. 6(1)(a)` for `eu-gdpr:A6-1-a`, and for what is more special than that.
fn article(term: &str) -> Option<String> {
    let mut parts = term.strip_prefix("eu-gdpr:A")?.split('-');
    let number = parts
        .next()
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))?;
    let paragraphs = parts.take_while(|part| part.len() == 1);
    Some(paragraphs.fold(format!("Art. {number}"), |text, part| text + "(" + part + ")"))
}

/// `Campaign mail house A (US, processor)`.
pub(crate) fn party(name: &str, country: &str, role: Role) -> String {
    format!("{name} ({country}, {})", role.name().replace('-', " "))
}

/// What happened, to whom: `Shared with Campaign mail house A (US, processor)`.
pub(crate) fn title(event: &TrailEvent) -> String {
    let (deed, link) = deed(event.kind);
    match (&event.recipient, &event.request) {
        (Some(to), _) => format!("{deed} {link} {}", party(&to.name, &to.country, to.role)),
        (None, Some(request)) => format!("{deed}: {}", request.right),
        (None, None) => deed.to_owned(),
    }
}

/// What was done, and how a recipient is joined to it.
fn deed(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::DataCollected => ("Collected", "for"),
        Kind::DataAccessed => ("Looked at", "by"),
        Kind::DataDerived => ("Derived from other data", "for"),
        Kind::DataShared => ("Shared", "with"),
        Kind::DataTransferred => ("Transferred", "to"),
        Kind::DataReceived => ("Received", "by"),
        Kind::DataCorrected => ("Data put right", "at"),
        Kind::DisclosureFailed => ("Disclosure did not happen", "to"),
        Kind::ConsentGiven => ("Consent given", "for"),
        Kind::ConsentRefused => ("Consent refused", "for"),
        Kind::ConsentWithdrawn => ("Consent withdrawn", "for"),
        Kind::ConsentExpired => ("Consent expired", "for"),
        Kind::PreferenceChanged => ("Preference set", "for"),
        Kind::RequestOpened => ("Request opened", "about"),
        Kind::RequestUpdated => ("Request went on", "about"),
        Kind::RequestClosed => ("Request closed", "about"),
        Kind::RecipientNotified => ("Word sent", "to"),
        Kind::RecipientConfirmed => ("Confirmed", "by"),
        Kind::RelationshipStarted => ("Became a customer", "of"),
        Kind::RelationshipEnded => ("Ceased to be a customer", "of"),
        Kind::BreachNotified => ("Told of a breach", "at"),
        Kind::DisputeOpened => ("Dispute opened", "about"),
        Kind::DisputeResolved => ("Dispute settled", "about"),
        Kind::EventCorrected => ("An earlier event corrected", "about"),
        other => (other.name(), "for"),
    }
}

/// What else an event says, name by name.
pub(crate) fn details(event: &TrailEvent) -> Vec<(&'static str, String)> {
    let all = [
        ("what", some(terms(&event.categories))),
        ("why", some(terms(&event.purposes))),
        ("basis", event.legal_basis.as_deref().map(law)),
        ("consent", event.consent.as_ref().map(reference)),
        ("note", event.description.clone()),
        ("benefit", event.benefit.clone()),
        ("from", event.origin.clone()),
        ("country", event.country.clone()),
        ("safeguard", event.safeguard.as_deref().map(law)),
        ("sale", event.sale.map(sale)),
        (
            "times",
            event
                .series
                .map(|series| format!("{}, {}", series.count, dates(series.first, series.last))),
        ),
        ("outcome", event.outcome.clone()),
        ("kept", event.retention.clone()),
        ("contract", event.contract.clone()),
        ("means", event.method.clone()),
        ("notice", event.notice.clone()),
        (
            "contact",
            event
                .recipient
                .as_ref()
                .and_then(|recipient| recipient.contact.clone()),
        ),
        ("onward of", event.onward_of.as_ref().map(reference)),
        ("about", event.disclosure.as_ref().map(reference)),
        ("corrects", event.corrects.as_ref().map(reference)),
    ];
    all.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn some(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

fn sale(sold: bool) -> String {
    let words = if sold {
        "value was given for the data"
    } else {
        "no: nothing was given for the data"
    };
    words.to_owned()
}

fn reference(other: &TrailReference) -> String {
    match &other.source {
        Some(source) => format!("event {} of {source}", other.id),
        None => format!("event {}", other.id),
    }
}

/// What is wrong with an event, and whether that is so only as it was told.
pub(crate) fn finding(event: &TrailEvent, is_corrected_away: bool, finding: &Finding) -> String {
    let wrong = wrong(finding);
    match event.corrected_at.last() {
        _ if !is_corrected_away => wrong,
        Some(leaf) => format!(
            "{wrong} (as it was told; corrected since at leaf {})",
            number(leaf.0)
        ),
        None => format!("{wrong} (as it was told; the consent or refusal that decides was corrected since)"),
    }
}

fn wrong(finding: &Finding) -> String {
    match finding {
        Finding::BeforeConsent { given } => format!("before consent: given {}", date(*given)),
        Finding::AfterWithdrawal { withdrawn } => {
            format!("after consent was withdrawn, on {}", date(*withdrawn))
        }
        Finding::WithoutConsent { why } => format!("without consent: {}", no_consent(*why)),
        Finding::AgainstChoice { refused } => {
            format!("against the customer's choice: refused on {}", date(*refused))
        }
        _ => "not in order".to_owned(),
    }
}

fn no_consent(why: NoConsent) -> &'static str {
    match why {
        NoConsent::NoneOnRecord => "none is on record",
        NoConsent::Refused => "the customer had refused",
        NoConsent::Expired => "it had expired",
        _ => "none stood",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_are_told_in_words_and_by_article() {
        for (term, expected) in [
            ("eu-gdpr:A6-1-a", "consent (GDPR Art. 6(1)(a))"),
            (
                "eu-gdpr:A6-1-b-contract-performance",
                "contract performance (GDPR Art. 6(1)(b))",
            ),
            (
                "eu-gdpr:A46-2-c",
                "Standard Contractual Clauses (SCC) by EC (GDPR Art. 46(2)(c))",
            ),
            ("dpv:Consent", "Consent"),
            ("hipaa:164.512-b", "hipaa:164.512-b"),
        ] {
            assert_eq!(law(term), expected);
        }
    }

    #[test]
    fn terms_are_told_by_their_labels() {
        let given = ["pd:Name", "pd:PhysicalAddress", "x:y"].map(str::to_owned);
        assert_eq!(terms(&given), "Name, Physical Address, x:y");
    }

    #[test]
    fn dates_are_days() {
        let (first, last) = (
            Timestamp::from_unix(1_483_228_800),
            Timestamp::from_unix(1_514_764_799),
        );
        assert_eq!(date(first), "2017-01-01");
        assert_eq!(dates(first, last), "2017-01-01 to 2017-12-31");
        assert_eq!(dates(first, first), "on 2017-01-01");
    }
}
