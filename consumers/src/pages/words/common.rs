//! Texts that are on every page: the frame, roles, laws, errors, dates.
//!
//! In scope: what no single page owns. Out of scope: sentences about events (see `timeline`).
//! Trust: texts of ours; what fills them is escaped where it becomes markup.

use sharetrail_schemas::{Right, Role};

use super::Forms;
use crate::http::problem::Look;

/// The texts of the frame and of what all pages share.
pub(crate) struct Common {
    /// The language's tag, for `html lang`.
    pub(crate) lang: &'static str,
    pub(crate) product: &'static str,
    pub(crate) title: fn(page: &str, company: &str) -> String,
    pub(crate) skip: &'static str,
    pub(crate) data_trail: &'static str,
    pub(crate) home: fn(company: &str) -> String,
    pub(crate) signed_in_as: fn(name: &str) -> String,
    pub(crate) sign_in: &'static str,
    pub(crate) sign_out: &'static str,
    pub(crate) navigation: Navigation,
    pub(crate) footer: Footer,
    pub(crate) good: &'static str,
    pub(crate) warning: &'static str,
    pub(crate) bad: &'static str,
    pub(crate) and: &'static str,
    pub(crate) from_to: fn(first: &str, last: &str) -> String,
    pub(crate) day: fn(year: i16, month: &str, day: i8) -> String,
    pub(crate) month: fn(year: i16, month: &str) -> String,
    pub(crate) months: [&'static str; 12],
    pub(crate) thousands: &'static str,
    pub(crate) label: fn(term: &str) -> Option<&'static str>,
    pub(crate) law: fn(term: &str) -> Option<String>,
    pub(crate) role: fn(Role) -> &'static str,
    pub(crate) right: fn(Right) -> &'static str,
    pub(crate) duration: fn(iso: &str) -> Option<String>,
    pub(crate) events: Forms,
    pub(crate) error: Errors,
}

/// The names of pages in the navigation.
pub(crate) struct Navigation {
    pub(crate) customer: &'static str,
    pub(crate) officer: &'static str,
    pub(crate) overview: &'static str,
    pub(crate) sharing: &'static str,
    pub(crate) timeline: &'static str,
    pub(crate) choices: &'static str,
    pub(crate) requests: &'static str,
    pub(crate) proof: &'static str,
    pub(crate) officer_requests: &'static str,
    pub(crate) officer_findings: &'static str,
    pub(crate) officer_recipients: &'static str,
}

/// The texts at the foot of a page.
pub(crate) struct Footer {
    pub(crate) label: &'static str,
    pub(crate) promise: &'static str,
    pub(crate) auditors: &'static str,
    pub(crate) verifier: &'static str,
    pub(crate) api: &'static str,
}

/// What an error page says.
pub(crate) struct Errors {
    /// What it is and what to do, by status.
    pub(crate) told: fn(status: u16) -> (&'static str, &'static str),
    /// What to do where it is not known whether a change is done, and the name of the way to where one sees it.
    pub(crate) look: fn(Look) -> (&'static str, &'static str),
    pub(crate) details: &'static str,
    pub(crate) home: &'static str,
}

pub(crate) const ENGLISH: Common = Common {
    lang: "en",
    product: "Sharetrail",
    title: |page, company| format!("{page} · {company} data trail"),
    skip: "Skip to the content",
    data_trail: "data trail",
    home: |company| format!("{company} data trail, first page"),
    signed_in_as: |name| format!("Signed in as {name}"),
    sign_in: "Sign in",
    sign_out: "Sign out",
    navigation: Navigation {
        customer: "Your data",
        officer: "Privacy officer",
        overview: "Overview",
        sharing: "Who has my data",
        timeline: "Timeline",
        choices: "Choices",
        requests: "Requests",
        proof: "Proof",
        officer_requests: "Requests to decide",
        officer_findings: "Findings",
        officer_recipients: "Recipients",
    },
    footer: Footer {
        label: "About this site",
        promise: "What is on record here is signed and can only be added to. Check it yourself: what is changed \
                  later shows, whoever changed it.",
        auditors: "For auditors",
        verifier: "Check a dossier offline",
        api: "The HTTP API",
    },
    good: "In order",
    warning: "Please note",
    bad: "Not in order",
    and: "and",
    from_to: |first, last| format!("{first} to {last}"),
    day: |year, month, day| format!("{day} {month} {year}"),
    month: |year, month| format!("{month} {year}"),
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    thousands: ",",
    label: sharetrail_schemas::label,
    law: english_law,
    role: english_role,
    right: english_right,
    duration: english_duration,
    events: Forms {
        one: "event",
        many: "events",
    },
    error: Errors {
        told: english_error,
        look: english_look,
        details: "In detail",
        home: "Go to the first page",
    },
};

/// A legal basis or safeguard of the GDPR in plain words; none where the term is not one of them.
fn english_law(term: &str) -> Option<String> {
    let rest = term.strip_prefix("eu-gdpr:A")?;
    let (words, article) = plain_law(rest)?;
    Some(format!("{words} (GDPR Art. {article})"))
}

fn plain_law(rest: &str) -> Option<(&'static str, String)> {
    let mut parts = rest.split('-');
    let number = parts.next()?;
    let paragraph = parts.next().filter(|part| part.len() == 1)?;
    let letter = parts.next().filter(|part| part.len() == 1).unwrap_or_default();
    let words = match (number, paragraph, letter) {
        ("6", "1", "a") => "your consent",
        ("6", "1", "b") => "needed for your contract",
        ("6", "1", "c") => "a law demands it",
        ("6", "1", "d") | ("49", "1", "f") => "to protect somebody’s life or health",
        ("6", "1", "e") => "a task in the public interest",
        ("6", "1", "f") => "a legitimate interest",
        ("9", "2", "a") => "your explicit consent",
        ("45", "3", _) => "a country that the EU has found to protect data adequately",
        ("46", "2", "b") => "binding rules within a group of companies",
        ("46", "2", "c" | "d") => "standard contractual clauses",
        ("46", "2", "e") => "an approved code of conduct",
        ("46", "2", "f") => "an approved certification",
        ("46", "3", "a") => "contractual clauses that an authority approved",
        ("49", "1", "a") => "your explicit consent to the transfer",
        ("49", "1", "b" | "c") => "needed for a contract",
        ("49", "1", "d") => "important reasons of public interest",
        ("49", "1", "e") => "needed for legal claims",
        _ => return None,
    };
    let article = if letter.is_empty() {
        format!("{number}({paragraph})")
    } else {
        format!("{number}({paragraph})({letter})")
    };
    Some((words, article))
}

fn english_role(role: Role) -> &'static str {
    match role {
        Role::Processor => "service provider",
        Role::JointController => "jointly responsible",
        Role::Affiliate => "same group of companies",
        Role::ThirdParty => "third party",
        Role::Authority => "public authority",
        other => other.name(),
    }
}

fn english_right(right: Right) -> &'static str {
    match right {
        Right::Access => "to see your data",
        Right::Erasure => "to have your data deleted",
        Right::Rectification => "to have your data corrected",
        Right::Portability => "to take your data with you",
        Right::Objection => "to have a use of your data stopped",
        Right::Restriction => "to have the use of your data paused",
        other => other.name(),
    }
}

/// `P2Y6M` gives `2 years and 6 months`; none where it reads otherwise.
fn english_duration(iso: &str) -> Option<String> {
    let rest = iso.strip_prefix('P')?;
    let (date, time) = rest.split_once('T').unwrap_or((rest, ""));
    let date_units = [('Y', "year"), ('M', "month"), ('W', "week"), ('D', "day")];
    let time_units = [('H', "hour"), ('M', "minute"), ('S', "second")];
    let mut told = spans(date, &date_units)?;
    told.extend(spans(time, &time_units)?);
    match told.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        [first @ .., last] => Some(format!("{} and {last}", first.join(", "))),
    }
}

/// `2Y6M` gives `2 years` and `6 months`.
fn spans(text: &str, units: &[(char, &str)]) -> Option<Vec<String>> {
    let mut told = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(|character: char| !character.is_ascii_digit()) {
        let (digits, unit_on) = rest.split_at(at);
        let letter = unit_on.chars().next()?;
        let (_, unit) = units.iter().find(|(known, _)| *known == letter)?;
        let number: u64 = digits.parse().ok()?;
        let plural = if number == 1 { "" } else { "s" };
        told.push(format!("{number} {unit}{plural}"));
        rest = &unit_on[letter.len_utf8()..];
    }
    rest.is_empty().then_some(told)
}

fn english_error(status: u16) -> (&'static str, &'static str) {
    match status {
        400 | 422 => (
            "That could not be understood",
            "Something in the address or in the form is not as it must be. Go back, look it over, and send \
             it again.",
        ),
        401 => (
            "Please sign in",
            "This page is for somebody who is signed in. Sign in on the first page and come back.",
        ),
        403 => (
            "This is not for you to see",
            "You are signed in, and this page belongs to somebody else or to another role. If you came here \
             by a form, load the page anew and send it again.",
        ),
        404 => (
            "There is no such page",
            "The address leads nowhere, or what it led to belongs to somebody else.",
        ),
        405 => (
            "That cannot be done here",
            "The address exists, but not for this kind of request. Go back and use the page’s own buttons.",
        ),
        409 => (
            "Something else came in between",
            "What you sent does not fit what is on record by now. Load the page anew and look again.",
        ),
        413 => (
            "That is too much at once",
            "What you sent is larger than this site takes. Send less.",
        ),
        429 => (
            "That was a little fast",
            "Too many requests came from you in a short time. Wait a moment and try again.",
        ),
        504 => (
            "It is not known yet whether it was done",
            "What you asked for is on its way. Look in a minute whether it is there, and do it again only if \
             it is not.",
        ),
        503 => (
            "Not ready yet",
            "The site is still reading its records, or something it needs is away. Wait a moment and try \
             again; nothing is lost.",
        ),
        _ => (
            "Something went wrong here",
            "This is a fault of the site, not yours. What is on record is not touched by it. Try again later.",
        ),
    }
}

fn english_look(look: Look) -> (&'static str, &'static str) {
    match look {
        Look::Choices => (
            "Your choice may be on record by now, or in a moment. Look at your choices in a minute, and choose again \
             only if they are as they were.",
            "Look at your choices",
        ),
        Look::Requests => (
            "Your request may be on record by now, or in a moment. Look at your requests in a minute, and ask again \
             only if this one is not there.",
            "Look at your requests",
        ),
        Look::OfficerRequests => (
            "Your decision may be on record by now, or in a moment. Look in a minute whether the request is still \
             open, and decide it again only if it is. If you granted a deletion, and it is granted by then, grant it \
             once more: only then does the deletion begin.",
            "Look at the requests",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_are_told_in_plain_words() {
        for (term, expected) in [
            ("eu-gdpr:A6-1-a", Some("your consent (GDPR Art. 6(1)(a))")),
            (
                "eu-gdpr:A6-1-b-contract-performance",
                Some("needed for your contract (GDPR Art. 6(1)(b))"),
            ),
            (
                "eu-gdpr:A46-2-c",
                Some("standard contractual clauses (GDPR Art. 46(2)(c))"),
            ),
            (
                "eu-gdpr:A45-3",
                Some("a country that the EU has found to protect data adequately (GDPR Art. 45(3))"),
            ),
            ("eu-gdpr:A", None),
            ("eu-gdpr:A6", None),
            ("hipaa:164.512-b", None),
        ] {
            assert_eq!(english_law(term).as_deref(), expected, "{term}");
        }
    }

    /// The fault: half a month for `PT30M`, or a bad text that is told as a span.
    #[test]
    fn durations_read_as_spans() {
        for (iso, expected) in [
            ("P2Y6M", Some("2 years and 6 months")),
            ("P1Y", Some("1 year")),
            ("PT30M", Some("30 minutes")),
            ("P1Y2M3DT4H", Some("1 year, 2 months, 3 days and 4 hours")),
            ("P", None),
            ("P5", None),
            ("PM", None),
            ("2 years", None),
            ("P1é", None),
        ] {
            assert_eq!(english_duration(iso).as_deref(), expected, "{iso}");
        }
    }
}
