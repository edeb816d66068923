//! The rules for single texts: what an id, a country, a term, … may look like.
//!
//! In scope: one rule per [`Leaf`], in the words of an error. Out of scope: which field has which rule (see `data`,
//! `record`, `envelope`). Trust: every text is untrusted.

use crate::country::is_country;
use crate::error::{ContentError, quote};
use crate::nearest::nearest;
use crate::record::{Right, Role};
use crate::time::Timestamp;
use crate::vocabulary::{self, Lookup, Sense};

/// A rule for a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaf {
    /// The version of `CloudEvents`.
    SpecVersion,
    /// The media type of `data`.
    ContentType,
    /// An event's or request's id.
    Id,
    /// A URI reference.
    Uri,
    /// The company's id of a customer.
    Customer,
    /// A time.
    Time,
    /// Free text for people.
    Text,
    /// The name by which the ledger knows a party.
    Party,
    /// A country.
    Country,
    /// A category of personal data.
    Category,
    /// A purpose.
    Purpose,
    /// A legal basis, of the GDPR or another law.
    Basis,
    /// What permits a transfer to another country, under the GDPR or another law.
    Safeguard,
    /// A length of time.
    Duration,
    /// A SHA-256 hash.
    Digest,
    /// What a recipient is to the company.
    Role,
    /// What a customer asks for.
    Right,
}

/// Why a text breaks its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is too short or too long.
    Length,
    /// It is not written as the rule says.
    Form,
    /// Its vocabulary does not hold it.
    Unknown,
    /// It is a term, but of another sense.
    Misplaced,
}

impl Leaf {
    /// Checks `text` against this rule.
    pub(crate) fn check(self, text: &str) -> Result<(), Reason> {
        if self
            .max_bytes()
            .is_some_and(|max| text.is_empty() || text.len() > max)
        {
            return Err(Reason::Length);
        }
        let fits = match self {
            Self::SpecVersion => text == "1.0",
            Self::ContentType => text == "application/json",
            Self::Id => !text.contains(char::is_control),
            Self::Uri => text.bytes().all(is_uri_byte),
            Self::Customer => is_customer_id(text),
            Self::Time => Timestamp::from_rfc3339(text).is_some(),
            Self::Text => !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'),
            Self::Party => is_party_name(text),
            Self::Country => is_country(text),
            Self::Duration => is_duration(text),
            Self::Digest => is_digest(text),
            Self::Category => return check_term(text, Sense::Category),
            Self::Purpose => return check_term(text, Sense::Purpose),
            Self::Basis => return check_law(text, Sense::Basis),
            Self::Safeguard => return check_law(text, Sense::Transfer),
            Self::Role => return Role::from_name(text).map(|_| ()).ok_or(Reason::Unknown),
            Self::Right => return Right::from_name(text).map(|_| ()).ok_or(Reason::Unknown),
        };
        if fits { Ok(()) } else { Err(Reason::Form) }
    }

    /// The greatest length in bytes, for rules that have no form of their own to bound it.
    pub(crate) const fn max_bytes(self) -> Option<usize> {
        match self {
            Self::Id | Self::Uri => Some(1_024),
            Self::Customer => Some(256),
            Self::Text => Some(4_096),
            _ => None,
        }
    }

    /// The rule in words.
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::SpecVersion => "\"1.0\"",
            Self::ContentType => "\"application/json\"",
            Self::Id => "an id without control characters",
            Self::Uri => "a URI reference",
            Self::Customer => "a customer id in NFC, without control characters, leading or trailing space",
            Self::Time => "an RFC 3339 time such as 2026-01-31T12:00:00Z",
            Self::Text => "a text without control characters other than line feed and tab",
            Self::Party => "a name of a-z, 0-9, '.' and '-', at most 63 characters",
            Self::Country => "an ISO 3166-1 alpha-2 country code",
            Self::Category => "a data category of the pd vocabulary",
            Self::Purpose => "a purpose of the dpv vocabulary",
            Self::Basis => "a legal basis of eu-gdpr or dpv, or prefix:term of another law",
            Self::Safeguard => {
                "a transfer safeguard of eu-gdpr (Articles 45, 46, 49), or prefix:term of another law"
            }
            Self::Duration => "an ISO 8601 duration such as P2Y6M",
            Self::Digest => "32 bytes in standard base64 with padding",
            Self::Role => "one of processor, joint-controller, affiliate, third-party, authority",
            Self::Right => "one of access, erasure, rectification, portability, objection, restriction",
        }
    }

    /// The error for a `found` text that breaks this rule for this `reason`.
    pub(crate) fn refusal(self, reason: Reason, field: &str, found: &str) -> ContentError {
        let (field, expected) = (field.to_owned(), self.expected());
        match (reason, self.max_bytes()) {
            (Reason::Length, Some(max)) => ContentError::Length {
                field,
                min: 1,
                max,
                unit: "bytes",
                found: found.len(),
            },
            (Reason::Unknown, _) => ContentError::UnknownTerm {
                field,
                expected,
                found: quote(found),
                nearest: self.nearest(found),
            },
            (Reason::Misplaced, _) => ContentError::MisplacedTerm {
                field,
                expected,
                found: quote(found),
            },
            (Reason::Form | Reason::Length, _) => ContentError::Invalid {
                field,
                expected,
                found: quote(found),
            },
        }
    }

    fn nearest(self, found: &str) -> Option<String> {
        match self {
            Self::Category => vocabulary::nearest_term(found, Sense::Category),
            Self::Purpose => vocabulary::nearest_term(found, Sense::Purpose),
            Self::Basis => vocabulary::nearest_term(found, Sense::Basis),
            Self::Safeguard => vocabulary::nearest_term(found, Sense::Transfer),
            Self::Role => nearest(found, Role::ALL.iter().map(|role| role.name())).map(str::to_owned),
            Self::Right => nearest(found, Right::ALL.iter().map(|right| right.name())).map(str::to_owned),
            _ => None,
        }
    }
}

/// NFC, so that one person cannot get two trails from two spellings that look the same.
fn is_customer_id(text: &str) -> bool {
    let is_clean = !text.contains(char::is_control) && text.trim().len() == text.len();
    is_clean && (text.is_ascii() || unicode_normalization::is_nfc(text))
}

/// The characters of RFC 3986: what it leaves out must be percent-encoded.
fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)
}

fn is_party_name(text: &str) -> bool {
    let is_name_byte =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    (1..=63).contains(&text.len()) && text.bytes().all(is_name_byte)
}

/// ISO 8601 `PnYnMnWnDTnHnMnS` in whole numbers, with at least one of them.
fn is_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix('P') else {
        return false;
    };
    let (date, time) = match rest.split_once('T') {
        Some((date, time)) if !time.is_empty() => (date, time),
        Some(_) => return false,
        None => (rest, ""),
    };
    !rest.is_empty() && text.len() <= 64 && has_units(date, b"YMWD") && has_units(time, b"HMS")
}

/// Whether `text` is a row of numbers, each with one of `units`, in the order of `units` and none twice.
fn has_units(text: &str, mut units: &[u8]) -> bool {
    let mut has_digit = false;
    for byte in text.bytes() {
        if byte.is_ascii_digit() {
            has_digit = true;
            continue;
        }
        match units.iter().position(|&unit| unit == byte) {
            Some(at) if has_digit => units = &units[at + 1..],
            _ => return false,
        }
        has_digit = false;
    }
    !has_digit
}

/// 43 characters and `=`; the last character carries four bits only, so two of its bits are zero.
fn is_digest(text: &str) -> bool {
    let Some(digits) = text.strip_suffix('=') else {
        return false;
    };
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    digits.len() == 43 && digits.bytes().all(is_digit) && b"AEIMQUYcgkosw048".contains(&digits.as_bytes()[42])
}

fn check_term(text: &str, wanted: Sense) -> Result<(), Reason> {
    match vocabulary::lookup(text) {
        Lookup::Known(sense) if sense == wanted => Ok(()),
        Lookup::Known(_) => Err(Reason::Misplaced),
        Lookup::Unknown | Lookup::Foreign => Err(Reason::Unknown),
    }
}

/// A law that is not ours to know is taken at its form: `hipaa:164.512-b`.
fn check_law(text: &str, wanted: Sense) -> Result<(), Reason> {
    match vocabulary::lookup(text) {
        Lookup::Foreign if is_law_term(text) => Ok(()),
        Lookup::Foreign => Err(Reason::Form),
        Lookup::Known(_) | Lookup::Unknown => check_term(text, wanted),
    }
}

fn is_law_term(text: &str) -> bool {
    let Some((prefix, term)) = text.split_once(':') else {
        return false;
    };
    let is_prefix_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_term_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_()".contains(&byte);
    let is_prefix = (1..=32).contains(&prefix.len()) && prefix.bytes().all(is_prefix_byte);
    is_prefix && (1..=128).contains(&term.len()) && term.bytes().all(is_term_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(leaf: Leaf, accepted: &[&str], refused: &[(&str, Reason)]) {
        for text in accepted {
            assert_eq!(leaf.check(text), Ok(()), "{leaf:?} {text:?}");
        }
        for (text, reason) in refused {
            assert_eq!(leaf.check(text), Err(*reason), "{leaf:?} {text:?}");
        }
    }

    #[test]
    fn durations_are_whole_numbers_in_order() {
        let refused = [
            "", "P", "PT", "P1", "1Y", "PY", "P1D1Y", "P1Y1Y", "P1H", "PT1D", "P1.5Y", "P1YT", "p1y", "-P1Y",
        ];
        check(
            Leaf::Duration,
            &["P2Y", "P2Y6M", "P30D", "P4W", "PT36H", "P1Y2M3W4DT5H6M7S"],
            &refused.map(|text| (text, Reason::Form)),
        );
    }

    #[test]
    fn digests_are_canonical_base64_of_32_bytes() {
        let zeros = format!("{}=", "A".repeat(43));
        let loose = format!("{}B=", "A".repeat(42));
        let bare = "A".repeat(43);
        let refused = [loose.as_str(), bare.as_str(), "", "=", "AAAA"];
        check(
            Leaf::Digest,
            &[zeros.as_str()],
            &refused.map(|text| (text, Reason::Form)),
        );
    }

    #[test]
    fn uris_hold_no_spaces_or_control_characters() {
        let long = "a".repeat(1_025);
        check(
            Leaf::Uri,
            &["https://shop.example/a?b=%20#c", "/relative", "urn:x:y", "#frag"],
            &[
                ("a b", Reason::Form),
                ("a\n", Reason::Form),
                ("ä", Reason::Form),
                ("", Reason::Length),
                (long.as_str(), Reason::Length),
            ],
        );
    }

    #[test]
    fn a_term_must_mean_what_its_field_asks_for() {
        check(
            Leaf::Category,
            &["pd:Name"],
            &[("dpv:Marketing", Reason::Misplaced), ("pd:Nam", Reason::Unknown)],
        );
        check(
            Leaf::Purpose,
            &["dpv:Marketing"],
            &[("dpv:Collect", Reason::Misplaced), ("x:y", Reason::Unknown)],
        );
        check(
            Leaf::Basis,
            &[
                "eu-gdpr:A6-1-f",
                "dpv:LegitimateInterest",
                "hipaa:164.512-b",
                "us-ca-ccpa:1798.140(e)",
            ],
            &[
                ("eu-gdpr:A46-2-c", Reason::Misplaced),
                ("eu-gdpr:A6-9", Reason::Unknown),
                ("consent", Reason::Form),
            ],
        );
        check(
            Leaf::Safeguard,
            &["eu-gdpr:A45-3", "uk-gdpr:A46"],
            &[("eu-gdpr:A6-1-a", Reason::Misplaced)],
        );
    }
}
