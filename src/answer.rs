//! What a command answers, as an exit code.
//!
//! In scope: sorting errors into refusals and failures. Out of scope: their wording.

use std::process::ExitCode;

use sharetrail_consumers::ConsumerError;
use sharetrail_ledger::LedgerError;
use sharetrail_producers::PublishError;
use sharetrail_proof::dossier::DossierError;

/// What a command answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Yes, or done.
    Yes,
    /// Disproved or refused.
    No,
    /// Could not be checked, bad usage or bad input.
    Unknown,
    /// The user interrupted it.
    Interrupted,
}

impl Answer {
    /// The answer that an error is.
    pub(crate) fn of_error(error: &anyhow::Error) -> Self {
        let refused = error
            .downcast_ref::<LedgerError>()
            .is_some_and(LedgerError::is_refusal)
            || error
                .downcast_ref::<ConsumerError>()
                .is_some_and(ConsumerError::is_refusal)
            || error.downcast_ref::<PublishError>().is_some_and(refuses)
            || error
                .downcast_ref::<DossierError>()
                .is_some_and(DossierError::is_disproof);
        if refused { Self::No } else { Self::Unknown }
    }

    fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Unknown => 2,
            Self::Interrupted => 130,
        }
    }
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> Self {
        Self::from(answer.code())
    }
}

fn refuses(error: &PublishError) -> bool {
    match error {
        PublishError::Ledger(error) => error.is_refusal(),
        other => other.is_refusal(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_from_failures() {
        let refused = anyhow::Error::new(LedgerError::Rejected("its key is revoked".into()));
        assert_eq!(Answer::of_error(&refused), Answer::No);
        assert_eq!(
            Answer::of_error(&refused.context("while it was recorded")),
            Answer::No
        );
        for refused in [
            LedgerError::Denied("the user may not".into()),
            LedgerError::Refused("rejected: its key is revoked".into()),
        ] {
            assert_eq!(Answer::of_error(&anyhow::Error::new(refused)), Answer::No);
        }
        let failed = anyhow::Error::new(LedgerError::NotALedger("nowhere".into()));
        assert_eq!(Answer::of_error(&failed), Answer::Unknown);
    }
}
