//! What a caller gives: the parameters of a query, and texts that people write.
//!
//! In scope: each parameter at most once and none that is not known, the length and the characters of a text. Out of scope:
//! what the values mean. Trust: all of it is a stranger's. Whatever is wrong is told at once, each with its name.

use std::convert::Infallible;
use std::future::ready;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use url::form_urlencoded;

use super::problem::{Problem, ProblemError, ProblemKind};

/// Characters of a value in a query.
const VALUE_MAX: usize = 256;
/// Characters of a text that a person writes. An event's own texts may be twice as long.
const WRITTEN_MAX: usize = 2_000;
/// Unknown parameters that are told by name.
const UNKNOWN_MAX: usize = 8;
/// Characters of an unknown name that are told.
const NAME_MAX: usize = 40;

/// The parameters of a query, taken out one by one. Those that nobody takes are not known.
pub(crate) struct Given {
    pairs: Vec<(String, String)>,
    faults: Vec<ProblemError>,
}

impl Given {
    /// The parameters of a query string as it was sent.
    pub(crate) fn of(query: &str) -> Self {
        Self::new(form_urlencoded::parse(query.as_bytes()).into_owned())
    }

    /// Parameters by name.
    pub(crate) fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            pairs: pairs.into_iter().collect(),
            faults: Vec::new(),
        }
    }

    /// The value of a parameter; none where it is left out or empty, as a form leaves it.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let mut values: Vec<String> = self
            .pairs
            .extract_if(.., |pair| pair.0 == name)
            .map(|(_, value)| value)
            .collect();
        if values.len() > 1 {
            self.refuse(name, "it is given more than once");
            return None;
        }
        let value = values.pop().filter(|value| !value.is_empty())?;
        if value.chars().count() > VALUE_MAX {
            self.refuse(name, format!("it is longer than {VALUE_MAX} characters"));
            return None;
        }
        if value.chars().any(char::is_control) {
            self.refuse(name, "it holds a control character");
            return None;
        }
        Some(value)
    }

    /// As [`Given::take`], read by `parse`, which says what is wrong where it cannot.
    pub(crate) fn read<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = self.take(name)?;
        match parse(&value) {
            Ok(read) => Some(read),
            Err(reason) => {
                self.refuse(name, reason);
                None
            }
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(&mut self, name: &str, least: u64, most: u64) -> Option<u64> {
        self.read(name, |text| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| is_plain);
            let number = number.filter(|number: &u64| (least..=most).contains(number));
            number.ok_or_else(|| format!("it is not a whole number from {least} to {most}"))
        })
    }

    /// Notes what is wrong with a parameter.
    pub(crate) fn refuse(&mut self, name: &str, reason: impl Into<String>) {
        self.faults.push(fault(name, reason));
    }

    /// What is wrong with the parameters taken so far.
    pub(crate) fn faults(&self) -> &[ProblemError] {
        &self.faults
    }

    /// Refuses what was wrong, and what nobody took.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let unknown: Vec<String> = self.pairs.iter().map(|(name, _)| name.clone()).collect();
        for name in unknown.iter().take(UNKNOWN_MAX) {
            let told: String = name.chars().take(NAME_MAX).collect();
            self.refuse(&told, "there is no such parameter here");
        }
        refused("the query cannot be answered", self.faults)
    }
}

impl<S> FromRequestParts<S> for Given {
    type Rejection = Infallible;

    fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> impl Future<Output = Result<Self, Self::Rejection>> + Send {
        ready(Ok(Self::of(parts.uri.query().unwrap_or_default())))
    }
}

/// One thing that is wrong with what was given.
pub(crate) fn fault(field: &str, reason: impl Into<String>) -> ProblemError {
    ProblemError {
        field: field.to_owned(),
        reason: reason.into(),
    }
}

/// A problem where anything is wrong.
pub(crate) fn refused(what: &str, faults: Vec<ProblemError>) -> Result<(), Problem> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(Problem::new(ProblemKind::BadRequest, what).with_errors(faults))
}

/// A text that a person wrote, without space around it; none where nothing is left. Line ends are those of contents.
pub(crate) fn written(field: &str, text: Option<&str>) -> Result<Option<String>, Problem> {
    let text = text.unwrap_or_default().replace("\r\n", "\n");
    let text = text.trim();
    let is_odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    let mut faults = Vec::new();
    if text.chars().count() > WRITTEN_MAX {
        faults.push(fault(
            field,
            format!("it is longer than {WRITTEN_MAX} characters"),
        ));
    }
    if text.chars().any(is_odd) {
        faults.push(fault(field, "it holds a control character"));
    }
    refused("a text cannot be taken as it is", faults)?;
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(given: Given) -> Vec<String> {
        let Err(problem) = given.finish() else {
            return Vec::new();
        };
        let told = serde_json::to_value(&problem).unwrap();
        let errors = told["errors"].as_array().unwrap().iter();
        errors
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The fault: a filter that is misspelt is passed over, and somebody takes the whole for the part.
    #[test]
    fn what_nobody_takes_is_refused_by_name() {
        let mut given = Given::of("limit=5&recipent=a.example&x");
        assert_eq!(given.number("limit", 1, 200), Some(5));
        assert_eq!(given.take("recipient"), None);
        assert_eq!(fields(given), ["recipent", "x"]);
    }

    #[test]
    fn a_parameter_is_given_once_and_within_its_bounds() {
        let mut given = Given::of("a=1&a=2&b=&c=0&d=+1&e=999999999999999999999&f=%00");
        for name in ["a", "c", "d", "e", "f"] {
            assert_eq!(given.number(name, 1, 200), None, "{name}");
        }
        assert_eq!(given.take("b"), None);
        assert_eq!(fields(given), ["a", "c", "d", "e", "f"]);
    }

    #[test]
    fn texts_are_trimmed_and_bounded() {
        let kept = written("description", Some(" one\r\ntwo\t ")).map_err(|_| "refused");
        assert_eq!(kept, Ok(Some("one\ntwo".to_owned())));
        for nothing in [None, Some(""), Some(" \r\n ")] {
            assert_eq!(written("description", nothing).map_err(|_| "refused"), Ok(None));
        }
        let long = "ä".repeat(WRITTEN_MAX);
        assert!(written("description", Some(&long)).is_ok());
        assert!(written("description", Some(&format!("{long}ä"))).is_err());
        assert!(written("description", Some("a\u{0}b")).is_err());
    }
}
