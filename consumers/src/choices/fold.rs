//! What a customer said about sharing, in the order in which it was said.
//!
//! Each event that gives, refuses or ends consent, or sets a preference, is a word. Words are asked by scope: a
//! recipient and a purpose, or a purpose and nobody in particular. Terms are compared as they are.
//!
//! - A consent covers the purposes it names, for the recipient it names or, where it names none, for all.
//! - An end (withdrawn, expired) ends the consent it refers to: for the purposes it names, or all; for the recipient it
//!   names, or all. That it may name categories too changes nothing: in doubt the whole purpose ends. A withdrawal of a
//!   consent that is not on record undoes, for the purposes it names, what was given before it, as a refusal does.
//! - A refusal undoes the consents before it, for its purposes and its recipient, or all. An opt-out is a refusal; an
//!   opt-in of the same recipient (or likewise of none) takes it back, and is no consent by itself.
//! - A no that names a recipient, by refusal or withdrawal, holds until a later yes that names it: a consent or an
//!   opt-in. A consent to all recipients does not bring that one back.
//! - Each event counts as it was put right (see `corrections`); its place stays.
//!
//! In scope: that fold, and what stands in a scope, now or before a moment. Out of scope: categories, showing,
//! deciding.
//! Trust: as the trail's; times and references are their producers' word. Order is by claimed time, then by place in the log.

use sharetrail_proof::hash::LeafIndex;
use sharetrail_schemas::{Kind, Timestamp};

use super::corrections::{Corrected, Corrections};
use super::decide::DecisionReason;
use crate::trail::{TrailEvent, TrailReference};

/// What a word does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saying {
    /// Consents.
    Yes,
    /// Refuses.
    No,
    /// Refuses until it is taken back.
    OptOut,
    /// Takes an opt-out back, or a no to one recipient.
    OptIn,
    /// Ends a consent, by the customer's will.
    Withdrawal,
    /// Ends a consent, by itself.
    Expiry,
}

impl Saying {
    fn of(event: &TrailEvent) -> Option<Self> {
        match event.kind {
            Kind::ConsentGiven => Some(Self::Yes),
            Kind::ConsentRefused => Some(Self::No),
            Kind::ConsentWithdrawn => Some(Self::Withdrawal),
            Kind::ConsentExpired => Some(Self::Expiry),
            Kind::PreferenceChanged => {
                let outcome = event.outcome.as_deref()?.trim();
                if outcome.eq_ignore_ascii_case(OPT_OUT) {
                    Some(Self::OptOut)
                } else if outcome.eq_ignore_ascii_case(OPT_IN) {
                    Some(Self::OptIn)
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    fn is_an_end(self) -> bool {
        matches!(self, Self::Withdrawal | Self::Expiry)
    }
}

/// The outcome of a preference that refuses.
const OPT_OUT: &str = "opt-out";
/// The outcome of a preference that takes a refusal back.
pub(super) const OPT_IN: &str = "opt-in";

/// One thing that was said.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) saying: Saying,
    pub(crate) time: Timestamp,
    /// The event that says it.
    pub(crate) name: TrailReference,
    /// Of an end that names none: those of the consents that it ends.
    pub(crate) purposes: Vec<String>,
    pub(crate) recipient: Option<String>,
    /// Of a consent: what it covers; nothing means all.
    pub(crate) categories: Vec<String>,
    pub(crate) notice: Option<String>,
    /// Positions: of an end, the consents that it ends; of a consent, its ends.
    links: Vec<usize>,
}

impl Word {
    fn new(event: &TrailEvent, saying: Saying) -> Self {
        Self {
            saying,
            time: event.time,
            name: event.name(),
            purposes: event.purposes.clone(),
            recipient: event.recipient.as_ref().map(|recipient| recipient.id.clone()),
            categories: event.categories.clone(),
            notice: event.notice.clone(),
            links: Vec::new(),
        }
    }

    /// Whether it is about this purpose. A no to one recipient that names no purpose, and no consent that is known,
    /// is a no to all of them.
    pub(super) fn covers(&self, purpose: &str) -> bool {
        let is_for_all = self.purposes.is_empty() && self.recipient.is_some();
        is_for_all || self.purposes.iter().any(|named| named == purpose)
    }

    fn names(&self, recipient: &str) -> bool {
        self.recipient.as_deref() == Some(recipient)
    }
}

/// All that one customer said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words(Vec<Word>);

impl Words {
    /// Out of events in any order, as they were put right.
    pub(crate) fn of(events: &[TrailEvent]) -> Self {
        Self::put_right(events, &Corrections::among(events))
    }

    /// Out of events in any order, as these corrections put them right.
    pub(crate) fn put_right<'a>(events: &'a [TrailEvent], corrections: &Corrections<'a>) -> Self {
        let mut told: Vec<(Corrected<'_>, Saying)> = events
            .iter()
            .map(|event| corrections.apply(event))
            .filter_map(|event| Saying::of(&event).map(|saying| (event, saying)))
            .collect();
        told.sort_by_key(|(event, _)| in_order(event));
        let words = told.iter().map(|(event, saying)| Word::new(event, *saying));
        let mut words = Self(words.collect());
        for (position, (end, saying)) in told.iter().enumerate() {
            if saying.is_an_end()
                && let Some((reference, from)) = end.consent_named()
            {
                let is_meant = |(consent, saying): &(Corrected<'_>, Saying)| {
                    *saying == Saying::Yes && consent.is_named_by(reference, from)
                };
                let consents = (0..told.len()).filter(|&other| is_meant(&told[other]));
                words.link(position, consents.collect());
            }
        }
        words
    }

    fn link(&mut self, end: usize, consents: Vec<usize>) {
        if self.0[end].purposes.is_empty() {
            let theirs = consents
                .iter()
                .flat_map(|&consent| self.0[consent].purposes.clone());
            let theirs: Vec<String> = theirs.collect();
            self.0[end].purposes = theirs;
        }
        for &consent in &consents {
            self.0[consent].links.push(end);
        }
        self.0[end].links = consents;
    }

    /// How many words there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Said<'_> {
        Said(&self.0)
    }

    /// What had been said before a moment.
    pub(crate) fn until(&self, time: Timestamp) -> Said<'_> {
        Said(&self.0[..self.0.partition_point(|word| word.time < time)])
    }
}

/// By time; what has the same time, by its place in the log.
pub(super) fn in_order(event: &TrailEvent) -> (Timestamp, u32, LeafIndex) {
    (event.time, event.generation, event.index)
}

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// None: nobody in particular.
    pub(crate) recipient: Option<&'a str>,
    pub(crate) purpose: &'a str,
}

/// Why nothing stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Denial<'a> {
    /// The position of the word.
    pub(crate) position: usize,
    /// The last word against it.
    pub(crate) word: &'a Word,
    pub(crate) reason: DecisionReason,
}

/// What was said up to some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a>(&'a [Word]);

impl<'a> Said<'a> {
    /// The words, in order.
    pub(crate) fn words(self) -> std::slice::Iter<'a, Word> {
        self.0.iter()
    }

    fn last(self, is_it: impl Fn(usize, &Word) -> bool) -> Option<usize> {
        (0..self.0.len()).rev().find(|&at| is_it(at, &self.0[at]))
    }

    /// The consents that `reference`, which `from` holds, names.
    pub(crate) fn consents_named(
        self,
        reference: &TrailReference,
        from: &TrailEvent,
    ) -> impl Iterator<Item = (usize, &'a Word)> {
        self.0.iter().enumerate().filter(move |(_, word)| {
            let (source, id) = (word.name.source.as_deref().unwrap_or_default(), &word.name.id);
            word.saying == Saying::Yes && reference.names(&from.source, source, id)
        })
    }

    /// The consents that stand in a scope, in order.
    pub(crate) fn standing(self, scope: Scope<'_>) -> Vec<&'a Word> {
        let nos = self.nos(scope);
        let standing = self.0.iter().enumerate().filter(|(at, word)| {
            let is_for_it = word.recipient.is_none() || word.recipient.as_deref() == scope.recipient;
            let is_about_it = word.saying == Saying::Yes && word.covers(scope.purpose) && is_for_it;
            is_about_it && nos.admit(*at, word) && !self.is_ended(word, scope)
        });
        standing.map(|(_, word)| word).collect()
    }

    /// The consents that stand for a purpose, each in the scope of its own recipient, or would stand again if an opt-out
    /// were taken back.
    pub(crate) fn standing_for_somebody(self, purpose: &str) -> Vec<&'a Word> {
        let standing = self.0.iter().enumerate().filter(|(at, word)| {
            let recipient = word.recipient.as_deref();
            let scope = Scope { recipient, purpose };
            let is_about_it = word.saying == Saying::Yes && word.covers(purpose);
            is_about_it && !self.is_ended(word, scope) && !self.is_undone_for_good(*at, scope)
        });
        standing.map(|(_, word)| word).collect()
    }

    /// Whether a no that nothing takes back came after a consent.
    fn is_undone_for_good(self, consent: usize, scope: Scope<'_>) -> bool {
        (consent..self.0.len()).any(|at| {
            let word = &self.0[at];
            let is_for_it = word.recipient.is_none() || word.recipient.as_deref() == scope.recipient;
            is_for_it && word.saying != Saying::OptOut && self.is_no(at, scope.purpose)
        })
    }

    /// Whether a consent stands for a recipient, for any of its purposes.
    pub(crate) fn lets_receive(self, consent: &Word, recipient: &str) -> bool {
        consent.purposes.iter().any(|purpose| {
            let scope = Scope {
                recipient: Some(recipient),
                purpose,
            };
            let standing = self.standing(scope);
            standing.iter().any(|word| std::ptr::eq(*word, consent))
        })
    }

    /// The last word against a scope in which nothing stands.
    pub(crate) fn denial(self, scope: Scope<'_>) -> Option<Denial<'a>> {
        if self.standing(scope).is_empty() {
            self.last_denial(scope)
        } else {
            None
        }
    }

    /// The last word against a scope, whether or not something stands.
    pub(super) fn last_denial(self, scope: Scope<'_>) -> Option<Denial<'a>> {
        let mut backwards = self.0.iter().enumerate().rev();
        backwards.find_map(|(position, word)| {
            let reason = self.reason(position, scope)?;
            Some(Denial {
                position,
                word,
                reason,
            })
        })
    }

    /// Why a word speaks against a scope, if it does.
    fn reason(self, at: usize, scope: Scope<'_>) -> Option<DecisionReason> {
        let word = &self.0[at];
        let reason = match word.saying {
            Saying::No => DecisionReason::Refused,
            Saying::OptOut if !self.is_taken_back(at, scope.purpose) => DecisionReason::Refused,
            Saying::Withdrawal => DecisionReason::Withdrawn,
            Saying::Expiry => DecisionReason::Expired,
            Saying::Yes | Saying::OptIn | Saying::OptOut => return None,
        };
        let is_meant = match (word.recipient.as_deref(), scope.recipient) {
            (Some(named), Some(asked)) => named == asked && !self.is_lifted(at, asked, scope.purpose),
            (Some(_), None) => false,
            (None, None) => word.saying != Saying::Expiry || self.ends_one_of(word, None),
            (None, asked) => !word.saying.is_an_end() || self.ends_one_of(word, asked),
        };
        (is_meant && word.covers(scope.purpose)).then_some(reason)
    }

    /// Whether an end that names nobody ends a consent to all, or one to this recipient.
    fn ends_one_of(self, end: &Word, recipient: Option<&str>) -> bool {
        let mut consents = end.links.iter().filter_map(|&at| self.0.get(at));
        let is_meant = |named: Option<&str>| named.is_none() || named == recipient;
        end.links.is_empty() || consents.any(|consent| is_meant(consent.recipient.as_deref()))
    }

    /// Whether a no that names the recipient is in force for the purpose.
    pub(crate) fn is_refused_by_name(self, recipient: &str, purpose: &str) -> bool {
        let no = self.no_to(recipient, purpose);
        no.is_some_and(|at| !self.is_lifted(at, recipient, purpose))
    }

    fn nos(self, scope: Scope<'_>) -> Nos {
        let general = self.last(|at, word| word.recipient.is_none() && self.is_no(at, scope.purpose));
        let own = scope.recipient.and_then(|recipient| {
            let at = self.no_to(recipient, scope.purpose)?;
            Some((at, self.is_lifted(at, recipient, scope.purpose)))
        });
        Nos {
            general,
            by_name: own.map(|(at, _)| at),
            is_lifted: own.is_none_or(|(_, is_lifted)| is_lifted),
        }
    }

    fn no_to(self, recipient: &str, purpose: &str) -> Option<usize> {
        self.last(|at, word| word.names(recipient) && self.is_no(at, purpose))
    }

    /// Whether a word undoes all consents before it in its scope.
    fn is_no(self, at: usize, purpose: &str) -> bool {
        let word = &self.0[at];
        let says_no = match word.saying {
            Saying::No => true,
            Saying::OptOut => !self.is_taken_back(at, purpose),
            // Of what is not on record nothing else would end.
            Saying::Withdrawal => word.recipient.is_some() || word.links.is_empty(),
            Saying::Yes | Saying::OptIn | Saying::Expiry => false,
        };
        says_no && word.covers(purpose)
    }

    fn is_taken_back(self, opt_out: usize, purpose: &str) -> bool {
        let recipient = &self.0[opt_out].recipient;
        let mut later = self.0[opt_out..].iter();
        later.any(|word| word.saying == Saying::OptIn && word.recipient == *recipient && word.covers(purpose))
    }

    /// Whether a yes that names the recipient came later.
    fn is_lifted(self, no: usize, recipient: &str, purpose: &str) -> bool {
        let mut later = self.0[no..].iter();
        later.any(|word| {
            let is_yes = matches!(word.saying, Saying::Yes | Saying::OptIn);
            is_yes && word.names(recipient) && word.covers(purpose)
        })
    }

    fn is_ended(self, consent: &Word, scope: Scope<'_>) -> bool {
        let mut ends = consent.links.iter().filter_map(|&at| self.0.get(at));
        ends.any(|end| {
            let is_for_it = end.recipient.is_none() || end.recipient.as_deref() == scope.recipient;
            is_for_it && end.covers(scope.purpose)
        })
    }
}

/// The refusals in a scope.
#[derive(Clone, Copy)]
struct Nos {
    /// The last one that names nobody.
    general: Option<usize>,
    /// The last one that names the recipient.
    by_name: Option<usize>,
    /// Whether a yes that names the recipient came after it.
    is_lifted: bool,
}

impl Nos {
    /// Whether they leave a consent standing that covers the scope.
    fn admit(self, at: usize, consent: &Word) -> bool {
        let is_last = self.general < Some(at) && self.by_name < Some(at);
        is_last && (self.is_lifted || consent.recipient.is_some())
    }
}
