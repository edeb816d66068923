//! Points in time, as RFC 3339 writes them.
//!
//! In scope: reading any offset, comparing, printing in UTC. Out of scope: clocks, time zones by name.
//! Trust: none needed; these are values.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use crate::leaf::{Leaf, Reason};
use crate::text::RawText;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// A point in time: Unix seconds and, where given, nanoseconds. Displayed as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

impl Timestamp {
    /// The time `seconds` after 1970-01-01T00:00:00Z.
    pub const fn from_unix(seconds: i64) -> Self {
        Self { seconds, nanos: 0 }
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after [`Self::seconds`], below 1,000,000,000.
    pub const fn nanos(self) -> u32 {
        self.nanos
    }

    /// This time and `seconds` more.
    pub(crate) const fn plus(self, seconds: i64) -> Self {
        Self {
            seconds: self.seconds.saturating_add(seconds),
            nanos: self.nanos,
        }
    }

    /// Reads an RFC 3339 time with any offset and at most nine digits of a second's fraction; `T` and `Z` are capitals.
    pub(crate) fn from_rfc3339(text: &str) -> Option<Self> {
        utc_seconds(text.as_bytes())
            .map(Self::from_unix)
            .or_else(|| any_offset(text))
    }
}

impl FromStr for Timestamp {
    type Err = crate::ContentError;

    /// Reads an RFC 3339 time; the error names the field `time`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_rfc3339(text).ok_or_else(|| Leaf::Time.refusal(Reason::Form, "time", text))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i32::try_from(self.nanos).expect("fewer than 1,000,000,000 nanoseconds fit");
        match jiff::Timestamp::new(self.seconds, nanos) {
            Ok(time) => fmt::Display::fmt(&time, formatter),
            // A caller's clock may lie outside of the years that a calendar covers.
            Err(_) => write!(formatter, "{} s after 1970", self.seconds),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = RawText::deserialize(deserializer)?;
        Self::from_rfc3339(&text.0).ok_or_else(|| de::Error::custom(Leaf::Time.expected()))
    }
}

/// The form `YYYY-MM-DDTHH:MM:SSZ`, which nearly all events use: several times faster than the general reader.
fn utc_seconds(text: &[u8]) -> Option<i64> {
    let separators = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'Z'),
    ];
    if text.len() != 20 || separators.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute, second) = (
        number(&text[11..13])?,
        number(&text[14..16])?,
        number(&text[17..19])?,
    );
    let is_date = (1..=9998).contains(&year) && (1..=12).contains(&month);
    let is_real = is_date && (1..=days_in_month(year, month)).contains(&day);
    let is_time = hour < 24 && minute < 60 && second < 60;
    (is_real && is_time)
        .then(|| days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn any_offset(text: &str) -> Option<Timestamp> {
    if !is_rfc3339(text.as_bytes()) {
        return None;
    }
    let total = text.parse::<jiff::Timestamp>().ok()?.as_nanosecond();
    let seconds = i64::try_from(total.div_euclid(NANOS_PER_SECOND)).ok()?;
    let nanos = u32::try_from(total.rem_euclid(NANOS_PER_SECOND)).ok()?;
    Some(Timestamp { seconds, nanos })
}

/// Whether `text` has the form of an RFC 3339 §5.6 time: the calendar library reads more forms than these.
fn is_rfc3339(text: &[u8]) -> bool {
    let Some((start, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let is_start = start
        .iter()
        .zip(b"0000-00-00T00:00:00")
        .all(|(&byte, &form)| fits(byte, form));
    let rest = match rest.strip_prefix(b".") {
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            &fraction[digits..]
        }
        None => rest,
    };
    let is_offset = rest.len() == 6
        && matches!(rest[0], b'+' | b'-')
        && rest[1..]
            .iter()
            .zip(b"00:00")
            .all(|(&byte, &form)| fits(byte, form));
    is_start && (rest == b"Z" || is_offset)
}

fn fits(byte: u8, form: u8) -> bool {
    if form == b'0' {
        byte.is_ascii_digit()
    } else {
        byte == form
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar; years are counted from March, so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_path_agrees_with_the_calendar_library() {
        for seconds in (-62_135_596_800..253_370_764_799).step_by(86_400 * 17 + 3_601) {
            let text = jiff::Timestamp::from_second(seconds).unwrap().to_string();
            assert_eq!(utc_seconds(text.as_bytes()), Some(seconds), "{text}");
        }
    }

    #[test]
    fn offsets_and_fractions_are_read() {
        let time = Timestamp::from_rfc3339("2026-01-31T14:00:00.25+02:00").unwrap();
        assert_eq!((time.seconds(), time.nanos()), (1_769_860_800, 250_000_000));
        assert_eq!(
            Timestamp::from_rfc3339("1969-12-31T23:59:59.5Z").map(Timestamp::nanos),
            Some(500_000_000)
        );
    }

    #[test]
    fn other_forms_are_refused() {
        let refused = [
            "",
            "2026-01-31",
            "2026-02-29T00:00:00Z",
            "2026-01-31T12:00Z",
            "2026-01-31 12:00:00Z",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:00:00+0200",
            "2026-01-31T12:00:00Z[UTC]",
            "2026-01-31T12:00:00.1234567890Z",
        ];
        for text in refused {
            assert_eq!(Timestamp::from_rfc3339(text), None, "{text}");
        }
    }
}
