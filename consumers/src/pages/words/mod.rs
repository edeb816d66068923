//! Every text that pages show to people, one file an area.
//!
//! Another language is one more constant in each file, one more variant of [`Language`] and its arm in
//! [`Language::words`]; pages are to ask `Accept-Language` once there is more than one.
//!
//! In scope: texts, names of terms and countries, dates and numbers as people write them. Out of scope: markup.
//! Trust: terms and names come out of contents and are given back as they are; markup makes them safe to show.

pub(crate) mod common;
pub(crate) mod countries;
pub(crate) mod officer;
pub(crate) mod overview;
pub(crate) mod proof;
pub(crate) mod sharing;
pub(crate) mod steering;
pub(crate) mod timeline;

use jiff::tz::Offset;
use sharetrail_schemas::Timestamp;

/// A language that pages are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    English,
}

/// All texts of one language.
pub(crate) struct Words {
    pub(crate) common: &'static common::Common,
    pub(crate) countries: &'static [(&'static str, &'static str)],
    pub(crate) officer: &'static officer::OfficerWords,
    pub(crate) overview: &'static overview::Overview,
    pub(crate) proof: &'static proof::Proof,
    pub(crate) sharing: &'static sharing::Sharing,
    pub(crate) steering: &'static steering::Steering,
    pub(crate) timeline: &'static timeline::Timeline,
}

static ENGLISH: Words = Words {
    common: &common::ENGLISH,
    countries: &countries::ENGLISH,
    officer: &officer::ENGLISH,
    overview: &overview::ENGLISH,
    proof: &proof::ENGLISH,
    sharing: &sharing::ENGLISH,
    steering: &steering::ENGLISH,
    timeline: &timeline::ENGLISH,
};

/// The texts in English.
pub(crate) fn english() -> &'static Words {
    Language::English.words()
}

impl Language {
    /// The texts in this language.
    pub(crate) fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
        }
    }
}

impl Words {
    /// The name of a country; a code that is none, as it is.
    pub(crate) fn country<'a>(&self, code: &'a str) -> &'a str {
        let found = self.countries.binary_search_by_key(&code, |&(known, _)| known);
        found.map_or(code, |at| self.countries[at].1)
    }

    /// What a term means, as a heading or a cell begins: `Physical address`.
    pub(crate) fn term(&self, term: &str) -> String {
        let within = self.term_within(term);
        if (self.common.label)(term).is_some() {
            capitalised(&within)
        } else {
            within
        }
    }

    /// What a term means, inside of a sentence: `physical address`. A term that no vocabulary knows, as it is.
    pub(crate) fn term_within(&self, term: &str) -> String {
        let Some(label) = (self.common.label)(term) else {
            return term.to_owned();
        };
        let words: Vec<String> = label.split(' ').map(lowered).collect();
        words.join(" ")
    }

    /// Several terms inside of a sentence: `name, physical address and purchase`.
    pub(crate) fn terms_within(&self, terms: &[String]) -> String {
        let named: Vec<String> = terms.iter().map(|term| self.term_within(term)).collect();
        self.list(&named)
    }

    /// Things in a row, as a sentence names them.
    pub(crate) fn list(&self, things: &[String]) -> String {
        match things {
            [] => String::new(),
            [only] => only.clone(),
            [first @ .., last] => format!("{} {} {last}", first.join(", "), self.common.and),
        }
    }

    /// The day, in UTC: `11 June 2025`.
    pub(crate) fn day(&self, time: Timestamp) -> String {
        let Some(date) = date(time) else {
            return time.to_string();
        };
        (self.common.day)(date.year(), self.month_of(date), date.day())
    }

    /// The month, in UTC: `June 2025`.
    pub(crate) fn month(&self, time: Timestamp) -> String {
        let Some(date) = date(time) else {
            return time.to_string();
        };
        (self.common.month)(date.year(), self.month_of(date))
    }

    /// From one day to another: `3 March 2025 to 11 June 2025`, or one day where both are the same.
    pub(crate) fn days(&self, first: Timestamp, last: Timestamp) -> String {
        let (first, last) = (self.day(first), self.day(last));
        if first == last {
            first
        } else {
            (self.common.from_to)(&first, &last)
        }
    }

    /// `1,234`
    pub(crate) fn number(&self, number: u64) -> String {
        let digits = number.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push_str(self.common.thousands);
            }
            text.push(digit);
        }
        text
    }

    /// `1 event`, `1,234 events`
    pub(crate) fn counted(&self, number: u64, forms: &Forms) -> String {
        let noun = if number == 1 { forms.one } else { forms.many };
        format!("{} {noun}", self.number(number))
    }

    fn month_of(&self, date: jiff::civil::Date) -> &'static str {
        let months = &self.common.months;
        usize::try_from(date.month())
            .ok()
            .and_then(|month| months.get(month.checked_sub(1)?))
            .copied()
            .unwrap_or_default()
    }
}

/// A noun for one thing and for several.
pub(crate) struct Forms {
    pub(crate) one: &'static str,
    pub(crate) many: &'static str,
}

/// The day as machines write it: `2025-06-11`.
pub(crate) fn iso_day(time: Timestamp) -> String {
    date(time).map_or_else(|| time.to_string(), |date| date.to_string())
}

fn date(time: Timestamp) -> Option<jiff::civil::Date> {
    let time = jiff::Timestamp::from_second(time.seconds()).ok()?;
    Some(Offset::UTC.to_datetime(time).date())
}

/// A word of a label without its capital, unless it is an abbreviation such as `IP` or `eID`.
fn lowered(word: &str) -> String {
    let is_abbreviation = word.chars().skip(1).any(char::is_uppercase);
    let is_letter = word.chars().count() == 1;
    if is_abbreviation || is_letter {
        word.to_owned()
    } else {
        word.to_lowercase()
    }
}

/// The text with a capital at its start.
pub(crate) fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + characters.as_str()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_numbers_read_as_people_write_them() {
        let words = english();
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let (march, june) = (time("2025-03-03T08:00:00Z"), time("2025-06-11T23:59:59Z"));
        assert_eq!(words.day(june), "11 June 2025");
        assert_eq!(words.month(june), "June 2025");
        assert_eq!(words.days(march, june), "3 March 2025 to 11 June 2025");
        assert_eq!(words.days(march, march), "3 March 2025");
        assert_eq!(iso_day(june), "2025-06-11");
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(words.number(number), text);
        }
    }

    /// The fault: a lower-cased `IP`, or a term of another vocabulary that is bent.
    #[test]
    fn terms_fit_into_sentences() {
        let words = english();
        let terms = ["pd:Name", "pd:PhysicalAddress", "x:Y"].map(str::to_owned);
        assert_eq!(words.terms_within(&terms), "name, physical address and x:Y");
        assert_eq!(words.term("pd:PhysicalAddress"), "Physical address");
        assert_eq!(words.term_within("pd:IPAddress"), "IP address");
        assert_eq!(words.term("x:y"), "x:y");
        assert_eq!(words.list(&[]), "");
    }

    #[test]
    fn a_time_beyond_the_calendar_is_still_told() {
        let words = english();
        let beyond = Timestamp::from_unix(i64::MAX);
        assert_eq!(words.day(beyond), beyond.to_string());
    }
}
