//! Progress bars on the standard error, for work that takes longer than a second.
//!
//! In scope: when to show one, and how it looks. Out of scope: what is counted. Nothing is shown where the standard
//! error is no terminal.

use std::sync::Once;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const PATIENCE: Duration = Duration::from_secs(1);

/// A progress bar that shows itself once the work has taken a while.
pub(crate) struct Bar {
    line: ProgressBar,
    started: Instant,
    shown: Once,
}

impl Bar {
    /// For input of so many bytes, where that is known.
    pub(crate) fn of_bytes(length: Option<u64>) -> Self {
        match length {
            Some(_) => Self::new(
                length,
                "{bar:30} {decimal_bytes} of {decimal_total_bytes}  {wide_msg}",
            ),
            None => Self::new(length, "{spinner} {decimal_bytes}  {wide_msg}"),
        }
    }

    /// For leaves that are folded.
    pub(crate) fn of_leaves() -> Self {
        Self::new(Some(0), "{bar:30} {human_pos} of {human_len} leaves  {wide_msg}")
    }

    fn new(length: Option<u64>, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template(template).expect("the templates above are well-formed");
        bar.set_style(style.progress_chars("━╸ "));
        Self {
            line: bar,
            started: Instant::now(),
            shown: Once::new(),
        }
    }

    /// How long the work has taken.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Moves on to `position` of `length`.
    pub(crate) fn leaves(&self, position: u64, length: u64) {
        self.at(position, Some(length), || {
            format!("{}/s", crate::output::number(rate(position, self.elapsed())))
        });
    }

    /// Moves on to `position`, and says how it goes.
    pub(crate) fn at(&self, position: u64, length: Option<u64>, message: impl FnOnce() -> String) {
        if self.elapsed() < PATIENCE {
            return;
        }
        self.shown
            .call_once(|| self.line.set_draw_target(ProgressDrawTarget::stderr()));
        if let Some(length) = length {
            self.line.set_length(length);
        }
        self.line.set_position(position);
        self.line.set_message(message());
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.line.finish_and_clear();
    }
}

/// So many a second.
pub(crate) fn rate(count: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(count) * 1_000 / elapsed.as_millis().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_a_second() {
        assert_eq!(rate(500, Duration::from_millis(250)), 2_000);
        assert_eq!(rate(5, Duration::ZERO), 5_000);
    }

    #[test]
    fn the_templates_are_well_formed() {
        for bar in [Bar::of_bytes(Some(1)), Bar::of_bytes(None), Bar::of_leaves()] {
            bar.end();
        }
    }
}
