//! The words for data categories, purposes, legal bases and transfer safeguards.
//!
//! `pd:Purchase` is short for `https://w3id.org/dpv/pd#Purchase`; `dpv:` and `eu-gdpr:` likewise. The tables, their
//! source (W3C DPV 2.3) and licence are in `vocabulary/README.md`.
//!
//! In scope: which terms exist, what each may be used for, labels, the nearest known term. Out of scope: broader and
//! narrower terms, other laws' terms (their form is checked, their meaning is not known here).
//! Trust: the tables are compiled in; terms that are asked for are untrusted.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use crate::nearest::nearest;

/// What a term may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sense {
    /// A category of personal data.
    Category,
    /// A purpose.
    Purpose,
    /// A legal basis.
    Basis,
    /// What permits a transfer to another country.
    Transfer,
    /// Anything else that the vocabulary describes.
    Other,
}

/// What the vocabularies say of a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// It is known, with this sense.
    Known(Sense),
    /// Its prefix is known, the term is not.
    Unknown,
    /// Its prefix is none of ours.
    Foreign,
}

struct Term {
    sense: Sense,
    label: &'static str,
}

struct Vocabulary {
    prefix: &'static str,
    base: &'static str,
    terms: HashMap<&'static str, Term>,
}

static VOCABULARIES: LazyLock<[Vocabulary; 3]> = LazyLock::new(|| {
    [
        Vocabulary::load(
            "pd:",
            "https://w3id.org/dpv/pd#",
            include_str!("../vocabulary/pd.tsv"),
        ),
        Vocabulary::load(
            "dpv:",
            "https://w3id.org/dpv#",
            include_str!("../vocabulary/dpv.tsv"),
        ),
        Vocabulary::load(
            "eu-gdpr:",
            "https://w3id.org/dpv/legal/eu/gdpr#",
            include_str!("../vocabulary/eu-gdpr.tsv"),
        ),
    ]
});

impl Vocabulary {
    fn load(prefix: &'static str, base: &'static str, table: &'static str) -> Self {
        Self {
            prefix,
            base,
            terms: table.lines().map(row).collect(),
        }
    }
}

/// The English label of a term, short or in full: `pd:Purchase` gives `Purchase`.
pub fn label(term: &str) -> Option<&'static str> {
    let (vocabulary, name) = split(term)?;
    vocabulary.terms.get(name).map(|term| term.label)
}

/// The term with its prefix instead of its vocabulary's IRI, so that both forms of a term compare as equal; any other
/// text as it is.
pub fn short_form(term: &str) -> Cow<'_, str> {
    match split(term) {
        Some((vocabulary, name)) if !term.starts_with(vocabulary.prefix) => {
            Cow::Owned(format!("{}{name}", vocabulary.prefix))
        }
        _ => Cow::Borrowed(term),
    }
}

/// What the vocabularies say of `term`.
pub(crate) fn lookup(term: &str) -> Lookup {
    match split(term) {
        None => Lookup::Foreign,
        Some((vocabulary, name)) => vocabulary
            .terms
            .get(name)
            .map_or(Lookup::Unknown, |term| Lookup::Known(term.sense)),
    }
}

/// The term of this sense that is nearest to `found`, in short form. A `found` without prefix is compared with the
/// bare names.
pub(crate) fn nearest_term(found: &str, sense: Sense) -> Option<String> {
    let found = short_form(found);
    let names = VOCABULARIES.iter().flat_map(|vocabulary| {
        let fitting = vocabulary
            .terms
            .iter()
            .filter(move |(_, term)| term.sense == sense);
        fitting.map(move |(name, _)| (vocabulary.prefix, *name))
    });
    let mut terms: Vec<String> = names.map(|(prefix, name)| format!("{prefix}{name}")).collect();
    // A map has no order of its own: without one, two terms equally near would take turns.
    terms.sort_unstable();
    if found.contains(':') {
        nearest(&found, terms.iter().map(String::as_str)).map(str::to_owned)
    } else {
        let name = nearest(
            &found,
            terms.iter().filter_map(|term| Some(term.split_once(':')?.1)),
        )?;
        terms
            .iter()
            .find(|term| term.split_once(':').is_some_and(|(_, bare)| bare == name))
            .cloned()
    }
}

fn split(term: &str) -> Option<(&'static Vocabulary, &str)> {
    VOCABULARIES.iter().find_map(|vocabulary| {
        let name = term
            .strip_prefix(vocabulary.prefix)
            .or_else(|| term.strip_prefix(vocabulary.base))?;
        Some((vocabulary, name))
    })
}

fn row(line: &'static str) -> (&'static str, Term) {
    let mut columns = line.split('\t');
    let mut column = || {
        columns
            .next()
            .expect("a row of a compiled-in table has three columns")
    };
    let (name, sense, label) = (column(), column(), column());
    let sense = match sense {
        "category" => Sense::Category,
        "purpose" => Sense::Purpose,
        "basis" => Sense::Basis,
        "transfer" => Sense::Transfer,
        _ => Sense::Other,
    };
    (name, Term { sense, label })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_found_short_and_in_full() {
        for term in ["pd:Purchase", "https://w3id.org/dpv/pd#Purchase"] {
            assert_eq!(lookup(term), Lookup::Known(Sense::Category));
            assert_eq!(label(term), Some("Purchase"));
            assert_eq!(short_form(term), "pd:Purchase");
        }
    }

    #[test]
    fn senses_are_told_apart() {
        assert_eq!(lookup("dpv:DirectMarketing"), Lookup::Known(Sense::Purpose));
        assert_eq!(lookup("dpv:LegitimateInterest"), Lookup::Known(Sense::Basis));
        assert_eq!(lookup("eu-gdpr:A6-1-b"), Lookup::Known(Sense::Basis));
        assert_eq!(lookup("eu-gdpr:A46-2-c"), Lookup::Known(Sense::Transfer));
        assert_eq!(lookup("eu-gdpr:A17"), Lookup::Known(Sense::Other));
        assert_eq!(lookup("eu-gdpr:A99"), Lookup::Unknown);
        assert_eq!(lookup("hipaa:164.512-b"), Lookup::Foreign);
    }

    #[test]
    fn a_misspelt_term_meets_its_neighbour() {
        assert_eq!(
            nearest_term("pd:Purchse", Sense::Category).as_deref(),
            Some("pd:Purchase")
        );
        assert_eq!(
            nearest_term("Purchase", Sense::Category).as_deref(),
            Some("pd:Purchase")
        );
        assert_eq!(
            nearest_term("eu-gdpr:A6-1a", Sense::Basis).as_deref(),
            Some("eu-gdpr:A6-1-a")
        );
    }
}
