//! `verify`: checks a dossier or an erasure certificate against a trust policy, without a ledger.
//!
//! In scope: reading the two files, telling what is proven, on whose word, and what is not. Out of scope: the checks
//! (`sharetrail-proof`), what the contents say about a recipient (`sharetrail-consumers`). Trust: the policy is believed,
//! the file is not.

mod page;
mod summary;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;
use sharetrail_consumers::{Disclosure, never_shared};
use sharetrail_proof::dossier::{
    Certificate, Dossier, DossierError, FileKind, MAX_DOSSIER_BYTES, VerifiedContent, VerifiedDossier,
    VerifiedErasure, VerifiedEvent, kind_of,
};
use sharetrail_proof::name::Name;
use sharetrail_proof::policy::Policy;

use crate::answer::Answer;
use crate::output::{Output, Page};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The dossier or the erasure certificate
    file: PathBuf,
    /// The trust policy; without it, the one in the ledger's folder, if there is one
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Also say whether anything was ever shared with this party
    ///
    /// Exit code 0: never, in all that was on record as sealed at the time that is told. 1: it was. 2: the dossier does
    /// not say.
    #[arg(long, value_name = "PARTY")]
    never_shared_with: Option<Name>,
}

/// Checks a file.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    let policy = policy(root, args.policy.as_deref())?;
    let bytes = File::open(&args.file).and_then(|file| at_most(file, MAX_DOSSIER_BYTES));
    let bytes = bytes.with_context(|| format!("cannot read {}", args.file.display()))?;
    let verdict =
        Verdict::on(&bytes, &policy).with_context(|| format!("cannot check {}", args.file.display()))?;
    let reading = match &args.never_shared_with {
        Some(party) => verdict.about(party)?,
        None => None,
    };
    let mut summary = verdict.summary();
    if let Some(reading) = &reading {
        summary["never_shared"] = summary::reading(reading);
    }
    output.give(&summary, |page| {
        verdict.write(page);
        if let Some(reading) = &reading {
            page::reading(page, reading);
        }
    })?;
    Ok(verdict.answer_with(reading.as_ref()))
}

/// What is read of a file: `limit` bytes, and one more where there are more, so that too long a file is known to be.
fn at_most(file: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn policy(root: &Path, given: Option<&Path>) -> anyhow::Result<Policy> {
    let of_ledger = root.join("policy");
    let path = given.unwrap_or(&of_ledger);
    if given.is_none() && !path.exists() {
        bail!(
            "no trust policy: name one with --policy FILE ({} is not there either)",
            path.display()
        );
    }
    read_policy(path)
}

/// The trust policy in a file.
pub(crate) fn read_policy(path: &Path) -> anyhow::Result<Policy> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse::<Policy>()
        .with_context(|| format!("{} is not a trust policy", path.display()))
}

/// What a dossier says about one party.
pub(crate) struct Reading {
    party: Name,
    disclosure: Disclosure,
}

/// What a verification says.
pub(crate) enum Verdict {
    /// Every check of a dossier holds.
    Dossier(Box<VerifiedDossier>),
    /// Every check of an erasure certificate holds.
    Erasure(Box<VerifiedErasure>),
    /// At least one does not.
    Fails(DossierError),
}

impl Verdict {
    /// Checks the bytes of a dossier or of a certificate.
    ///
    /// # Errors
    /// If they are neither, so that nothing was checked.
    pub(crate) fn on(bytes: &[u8], policy: &Policy) -> Result<Self, DossierError> {
        let verdict = match kind_of(bytes) {
            Some(FileKind::Certificate) => Certificate::parse(bytes)
                .and_then(|certificate| certificate.verify(policy))
                .map(|verified| Self::Erasure(Box::new(verified))),
            _ => Dossier::parse(bytes)
                .and_then(|dossier| dossier.verify(policy))
                .map(|verified| Self::Dossier(Box::new(verified))),
        };
        match verdict {
            Err(error) if error.is_disproof() => Ok(Self::Fails(error)),
            other => other,
        }
    }

    /// What it says about one party; nothing if it does not hold.
    fn about(&self, party: &Name) -> anyhow::Result<Option<Reading>> {
        match self {
            Self::Dossier(verified) => Ok(Some(Reading {
                party: party.clone(),
                disclosure: never_shared(verified, party),
            })),
            Self::Erasure(_) => {
                bail!("a certificate says nothing about recipients; only a dossier does")
            }
            Self::Fails(_) => Ok(None),
        }
    }

    /// Yes, unless a check failed or an event cannot be read that should be.
    pub(crate) fn answer(&self) -> Answer {
        let holds = match self {
            Self::Dossier(verified) => unreadable(verified).next().is_none(),
            Self::Erasure(_) => true,
            Self::Fails(_) => false,
        };
        if holds { Answer::Yes } else { Answer::No }
    }

    fn answer_with(&self, reading: Option<&Reading>) -> Answer {
        match reading.map(|reading| &reading.disclosure) {
            None | Some(Disclosure::Never { .. }) => self.answer(),
            Some(Disclosure::Shared { .. }) => Answer::No,
            Some(Disclosure::CannotSay { .. }) => Answer::Unknown,
        }
    }

    /// The verdict for people.
    pub(crate) fn write(&self, page: &mut Page) {
        match self {
            Self::Dossier(verified) => page::dossier(page, verified),
            Self::Erasure(verified) => page::erasure(page, verified),
            Self::Fails(error) => page::faults(page, error),
        }
    }

    /// The verdict for machines.
    pub(crate) fn summary(&self) -> Value {
        match self {
            Self::Dossier(verified) => summary::dossier(verified, self.answer() == Answer::Yes),
            Self::Erasure(verified) => summary::erasure(verified),
            Self::Fails(error) => summary::faults(error),
        }
    }
}

/// Events that do not open though nothing was erased.
fn unreadable(verified: &VerifiedDossier) -> impl Iterator<Item = &VerifiedEvent> {
    verified
        .events
        .iter()
        .filter(|event| event.content == VerifiedContent::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault: a file without an end fills the memory.
    #[test]
    fn no_more_is_read_than_can_be_checked() {
        for (length, read) in [(0, 0), (3, 3), (4, 4), (5, 5), (6, 5), (900, 5)] {
            let bytes = vec![7_u8; length];
            assert_eq!(at_most(&bytes[..], 4).unwrap(), bytes[..read]);
        }
        assert_eq!(at_most(io::repeat(7), 4).unwrap().len(), 5);
    }
}
