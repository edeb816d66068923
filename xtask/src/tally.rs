//! What passed, failed and was skipped.
//!
//! In scope: counting steps and tests, reading the summaries of Rust's test programs, the closing report. Out of
//! scope: deciding what is run. Nothing is skipped without a line that says so.

use std::fmt::Write as _;

/// The counts of a whole run, and why something failed or was skipped.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    remarks: Vec<String>,
}

impl Tally {
    /// One more step passed.
    pub(crate) fn pass(&mut self) {
        self.passed += 1;
    }

    /// One more step failed: `why` names it.
    pub(crate) fn fail(&mut self, why: impl Into<String>) {
        self.failed += 1;
        self.remark(why.into());
    }

    /// One more step was skipped: `why` names it and says what is missing.
    pub(crate) fn skip(&mut self, why: impl Into<String>) {
        self.skipped += 1;
        self.remark(why.into());
    }

    /// Adds what test programs said.
    pub(crate) fn add(&mut self, summary: &Summary) {
        self.passed += summary.passed;
        self.failed += summary.failed;
        self.skipped += summary.ignored;
        if summary.failed > 0 {
            self.remark(format!("cargo test: {} failed", summary.failed));
        }
        if summary.ignored > 0 {
            self.remark(format!("cargo test: {} ignored", summary.ignored));
        }
    }

    /// Adds what another has counted; its remarks were printed when they were made.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.remarks.extend(other.remarks);
    }

    fn remark(&mut self, text: String) {
        println!("{text}");
        self.remarks.push(text);
    }

    /// All remarks once more, then the counts alone on the last line.
    pub(crate) fn report(&self) -> String {
        let mut text = String::from("\n");
        for remark in &self.remarks {
            text.push_str(remark);
            text.push('\n');
        }
        writeln!(
            text,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
        .expect("a string takes any text");
        text
    }

    /// Whether nothing failed.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0
    }
}

/// The sum of the `test result:` lines of Rust's test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Summary {
    /// Takes one printed line; adds it up if it is a summary.
    pub(crate) fn hear(&mut self, line: &str) {
        if let Some([passed, failed, ignored]) = counts(line) {
            self.passed += passed;
            self.failed += failed;
            self.ignored += ignored;
        }
    }

    /// Whether a test failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// Whether no test was heard of at all.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn counts(line: &str) -> Option<[u64; 3]> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut parts = rest.split("; ");
    let mut next = |word: &str| parts.next()?.strip_suffix(word)?.parse::<u64>().ok();
    Some([next(" passed")?, next(" failed")?, next(" ignored")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.02s";
    const BAD: &str =
        "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.02s";

    fn heard(lines: &[&str]) -> Summary {
        let mut summary = Summary::default();
        for line in lines {
            summary.hear(line);
        }
        summary
    }

    #[test]
    fn summaries_add_up_and_other_lines_do_not() {
        let summary = heard(&[
            "running 3 tests",
            GOOD,
            "test a ... ok",
            "test result: what?",
            BAD,
        ]);
        assert_eq!(
            summary,
            Summary {
                passed: 8,
                failed: 2,
                ignored: 1
            }
        );
        assert!(summary.has_failed() && !summary.is_empty());
        assert!(heard(&["test result: ok. many passed; 0 failed; 0 ignored"]).is_empty());
    }

    #[test]
    fn the_counts_stand_alone_on_the_last_line() {
        let mut tally = Tally::default();
        tally.pass();
        tally.skip("cannot bring: a thing");
        tally.add(&heard(&[GOOD]));
        assert!(tally.is_clean());
        let mut beside = Tally::default();
        beside.fail("cargo fmt: exit status: 1");
        tally.absorb(beside);
        assert!(tally.report().contains("cargo fmt: exit status: 1"));
        let report = tally.report();
        assert!(report.lines().any(|line| line == "cannot bring: a thing"));
        assert!(report.ends_with("\n4 passed, 1 failed, 2 skipped\n"));
        assert!(!tally.is_clean());
    }
}
