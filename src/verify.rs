//! `verify`: checks a dossier against a trust policy, without a ledger.
//!
//! In scope: reading the two files, telling what is proven, on whose word, and what is not. Out of scope: the checks
//! (`sharetrail-proof`). Trust: the policy is believed, the dossier is not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sharetrail_proof::checkpoint::VerifiedCheckpoint;
use sharetrail_proof::dossier::{
    Dossier, DossierError, Fault, VerifiedContent, VerifiedDossier, VerifiedEvent,
};
use sharetrail_proof::name::Shard;
use sharetrail_proof::policy::Policy;
use sharetrail_schemas::Timestamp;

use crate::answer::Answer;
use crate::output::{Output, Page, counted, number};

/// The most faults that are told one by one to people; JSON has them all.
const FAULTS_SHOWN: usize = 10;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The dossier
    file: PathBuf,
    /// The trust policy; without it, the one in the ledger's folder, if there is one
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Checks a dossier.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    let policy = policy(root, args.policy.as_deref())?;
    let bytes = fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let verdict =
        Verdict::on(&bytes, &policy).with_context(|| format!("cannot check {}", args.file.display()))?;
    output.give(&verdict.summary(), |page| verdict.write(page))?;
    Ok(verdict.answer())
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
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse::<Policy>()
        .with_context(|| format!("{} is not a trust policy", path.display()))
}

/// What a verification says.
pub(crate) enum Verdict {
    /// Every check holds.
    Holds(VerifiedDossier),
    /// At least one does not.
    Fails(DossierError),
}

impl Verdict {
    /// Checks the bytes of a dossier.
    ///
    /// # Errors
    /// If they are no dossier, so that nothing was checked.
    pub(crate) fn on(bytes: &[u8], policy: &Policy) -> Result<Self, DossierError> {
        match Dossier::parse(bytes).and_then(|dossier| dossier.verify(policy)) {
            Ok(verified) => Ok(Self::Holds(verified)),
            Err(error) if error.is_disproof() => Ok(Self::Fails(error)),
            Err(error) => Err(error),
        }
    }

    /// Yes, unless a check failed or an event cannot be read that should be.
    pub(crate) fn answer(&self) -> Answer {
        match self {
            Self::Holds(verified) if unreadable(verified).next().is_none() => Answer::Yes,
            _ => Answer::No,
        }
    }

    /// The verdict for people.
    pub(crate) fn write(&self, page: &mut Page) {
        match self {
            Self::Holds(verified) => write_what_holds(page, verified),
            Self::Fails(error) => write_what_fails(page, error),
        }
    }

    /// The verdict for machines.
    pub(crate) fn summary(&self) -> Value {
        match self {
            Self::Holds(verified) => summary(verified, self.answer() == Answer::Yes),
            Self::Fails(DossierError::Disproved(faults)) => {
                let fault = |fault: &Fault| json!({ "at": fault.at, "what": fault.kind.to_string() });
                json!({ "verdict": "disproved", "faults": faults.iter().map(fault).collect::<Vec<_>>() })
            }
            Self::Fails(error) => {
                json!({ "verdict": "disproved", "faults": [{ "at": "$", "what": error.to_string() }] })
            }
        }
    }
}

fn unreadable(verified: &VerifiedDossier) -> impl Iterator<Item = &VerifiedEvent> {
    verified
        .events
        .iter()
        .filter(|event| event.content == VerifiedContent::Unreadable)
}

fn write_what_holds(page: &mut Page, verified: &VerifiedDossier) {
    page.heading(&format!(
        "Dossier of {}, from the ledger {}",
        verified.customer, verified.ledger
    ));
    for (shard, checkpoint) in &verified.checkpoints {
        let leaves = counted(checkpoint.size().0, "leaf");
        page.holds(&format!(
            "The checkpoint of {leaves} of shard {shard} is signed with the log's key in the policy"
        ));
    }
    let labels = counted(verified.generations.len() as u64, "label");
    page.holds(&format!("The customer's: {labels}, each shown by its VRF proof"));
    let events = counted(verified.events.len() as u64, "event");
    page.holds(&format!(
        "On record: {events}, each found in its signed batch, and in the log under the checkpoint"
    ));
    write_signers(page, verified);
    write_contents(page, verified);
    write_witnesses(page, &verified.checkpoints);
    page.warns(
        0,
        "Not proven: that nothing was left out. A dossier of this version proves authenticity and presence.",
    );
    if unreadable(verified).next().is_none() {
        page.heading("Verified: every check holds.");
    } else {
        page.heading("Authentic, and not in order: events on record cannot be read.");
    }
}

/// Who signed how many events, with which key.
fn write_signers(page: &mut Page, verified: &VerifiedDossier) {
    let mut signers: BTreeMap<(&str, String, u32, u64), u64> = BTreeMap::new();
    for event in &verified.events {
        let signer = (
            event.producer.as_str(),
            event.key.to_string(),
            event.shard,
            event.key_since.0,
        );
        *signers.entry(signer).or_default() += 1;
    }
    for ((producer, key, shard, since), count) in &signers {
        let (events, since) = (counted(*count, "event"), number(*since));
        page.holds(&format!(
            "Signed by {producer}: {events}, with key {key}, registered at leaf {since} of shard {shard}"
        ));
    }
}

fn write_contents(page: &mut Page, verified: &VerifiedDossier) {
    let is_opened = |event: &&VerifiedEvent| matches!(event.content, VerifiedContent::Opened(_));
    let opened = verified.events.iter().filter(is_opened).count() as u64;
    if opened > 0 {
        page.holds(&format!(
            "Unchanged: {}, each the one its entry commits to, about this customer",
            counted(opened, "content")
        ));
    }
    for one in &verified.generations {
        if let Some(index) = one.erased_at {
            let index = number(index.0);
            page.holds(&format!(
                "Erased: generation {}; the erasure is on record at leaf {index}",
                one.generation
            ));
        }
    }
    let unreadable: Vec<&VerifiedEvent> = unreadable(verified).collect();
    for event in unreadable.iter().take(FAULTS_SHOWN) {
        let (index, producer) = (number(event.index.0), &event.producer);
        let place = format!("leaf {index} of shard {}", event.shard);
        page.fails(
            0,
            &format!("Unreadable: {place}, signed by {producer}: nothing was erased, and it does not open"),
        );
    }
    write_rest(page, unreadable.len());
}

fn write_witnesses(page: &mut Page, checkpoints: &[(Shard, VerifiedCheckpoint)]) {
    for (shard, checkpoint) in checkpoints {
        for (witness, time) in checkpoint.cosignatures() {
            page.holds(&format!(
                "Cosigned: shard {shard}, by the witness {witness} at {}",
                utc(*time)
            ));
        }
    }
    if checkpoints
        .iter()
        .any(|(_, checkpoint)| checkpoint.cosignatures().is_empty())
    {
        page.warns(
            0,
            "No independent witness cosigned: a split view is not excluded.",
        );
    }
}

fn utc(seconds: u64) -> Timestamp {
    Timestamp::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}

fn write_what_fails(page: &mut Page, error: &DossierError) {
    page.heading("Disproved: this dossier does not hold.");
    match error {
        DossierError::Disproved(faults) => {
            for fault in faults.iter().take(FAULTS_SHOWN) {
                page.fails(0, &fault.to_string());
            }
            write_rest(page, faults.len());
        }
        other => page.fails(0, &other.to_string()),
    }
    page.text(
        0,
        "Either the file was changed since it was made, or it is not from the ledger that the policy names.",
    );
}

fn write_rest(page: &mut Page, all: usize) {
    if all > FAULTS_SHOWN {
        page.text(
            2,
            &format!(
                "and {} more; --json tells them all",
                number((all - FAULTS_SHOWN) as u64)
            ),
        );
    }
}

fn summary(verified: &VerifiedDossier, is_in_order: bool) -> Value {
    let checkpoint = |(shard, one): &(Shard, VerifiedCheckpoint)| {
        let cosignatures: Vec<Value> = one
            .cosignatures()
            .iter()
            .map(|(witness, time)| json!({ "witness": witness, "time": time }))
            .collect();
        json!({ "shard": shard.index(), "size": one.size(), "root": one.root(), "cosignatures": cosignatures })
    };
    let generations = verified
        .generations
        .iter()
        .map(|one| json!({ "generation": one.generation, "label": one.label, "erased_at": one.erased_at }));
    json!({
        "verdict": if is_in_order { "verified" } else { "unreadable" },
        "ledger": verified.ledger,
        "customer": verified.customer,
        "complete": "not proven",
        "checkpoints": verified.checkpoints.iter().map(checkpoint).collect::<Vec<_>>(),
        "generations": generations.collect::<Vec<_>>(),
        "events": verified.events.iter().map(event).collect::<Vec<_>>(),
    })
}

fn event(one: &VerifiedEvent) -> Value {
    let (state, content) = match &one.content {
        VerifiedContent::Opened(json) => ("opened", Some(json)),
        VerifiedContent::Erased => ("erased", None),
        VerifiedContent::Unreadable => ("unreadable", None),
    };
    json!({
        "generation": one.generation,
        "shard": one.shard,
        "index": one.index,
        "producer": one.producer,
        "key": one.key.to_string(),
        "key_since": one.key_since,
        "state": state,
        "content": content,
    })
}
