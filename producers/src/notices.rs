//! What a publisher has to tell that is about no single event: what it found in its outbox, whom it waits for.
//!
//! In scope: keeping notices until somebody takes them, and not saying the same every second. Trust: none needed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most notices that are kept; the oldest go.
const KEPT_MAX: usize = 256;
const SELDOM: Duration = Duration::from_mins(1);

/// Notices that nobody has taken yet.
#[derive(Default)]
pub(crate) struct Notices {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: VecDeque<String>,
    said: HashMap<String, Instant>,
}

impl Notices {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn say(&self, notice: String) {
        let mut state = self.state();
        if state.kept.len() == KEPT_MAX {
            state.kept.pop_front();
        }
        state.kept.push_back(notice);
    }

    /// Says it, unless something about `what` was said within the last minute.
    pub(crate) fn say_once_a_minute(&self, what: &str, notice: impl FnOnce() -> String) {
        let now = Instant::now();
        let lately = |at: &Instant| now.duration_since(*at) < SELDOM;
        if self.state().said.get(what).is_some_and(lately) {
            return;
        }
        self.state().said.insert(what.to_owned(), now);
        self.say(notice());
    }

    /// Gives all notices that were not taken before.
    pub(crate) fn take(&self) -> Vec<String> {
        self.state().kept.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_often_is_told_once() {
        let notices = Notices::default();
        for round in 0..5 {
            notices.say_once_a_minute("bus", || format!("bus {round}"));
            notices.say_once_a_minute("vault", || format!("vault {round}"));
        }
        assert_eq!(notices.take(), ["bus 0", "vault 0"]);
        assert!(notices.take().is_empty());
    }

    #[test]
    fn only_so_many_are_kept() {
        let notices = Notices::default();
        (0..KEPT_MAX + 7).for_each(|round| notices.say(round.to_string()));
        let kept = notices.take();
        assert_eq!((kept.len(), kept[0].as_str()), (KEPT_MAX, "7"));
    }
}
