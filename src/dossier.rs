//! `dossier`: writes the file that proves a customer's trail, or that there is none.
//!
//! In scope: files, permissions, never overwriting by accident, finding a customer by label. Out of scope: putting a
//! dossier together. What is written was verified against the ledger's own policy before.
//!
//! Trust: a dossier says what happened to a person, so only its owner can read the file.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;
use sharetrail_consumers::{customer_of, dossier_about};
use sharetrail_proof::dossier::{Dossier, EventEvidence, ShardEvidence, VerifiedDossier};
use sharetrail_proof::hash::{Hash, LeafIndex};
use sharetrail_proof::name::{Label, Name};
use sharetrail_proof::tlog_proof::TlogProof;
use sharetrail_proof::tree::InclusionProof;
use tempfile::NamedTempFile;

use crate::answer::Answer;
use crate::opened::{self, Opened};
use crate::output::{Output, Page, counted, number};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The company's own id of the customer
    #[arg(required_unless_present = "label")]
    customer: Option<String>,
    /// The customer whose label this is, where an auditor has drawn a label
    #[arg(long, value_name = "LABEL", conflicts_with = "customer")]
    label: Option<Label>,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
    /// Also show whether this party is registered, so that `verify --never-shared-with` can answer; may be repeated
    #[arg(long = "party", value_name = "PARTY")]
    parties: Vec<Name>,
    /// Also write each event's entry and its .tlog-proof into this folder, new or empty, for other C2SP tools
    #[arg(long, value_name = "DIR")]
    tlog_proofs: Option<PathBuf>,
}

/// Writes a dossier.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    check_free(&args.output, args.force)?;
    if let Some(folder) = &args.tlog_proofs {
        check_empty(folder, args.force)?;
    }
    if let Some(customer) = &args.customer {
        sharetrail_schemas::check_customer_id(customer)?;
    }
    let opened = opened::open(root)?;
    let customer = whom(args, &opened)?;
    let made = dossier_about(
        &opened.ledger,
        &opened.projections,
        &opened.vault,
        &customer,
        &args.parties,
    )?;
    let verified = made
        .verify(&opened.ledger.policy()?)
        .context("this dossier would not verify; nothing was written")?;
    let bytes = made.to_bytes();
    save(&args.output, &bytes, args.force)?;
    if let Some(folder) = &args.tlog_proofs {
        export(&made, opened.ledger.shards(), folder, args.force)?;
    }
    let summary = summary(args, &verified, bytes.len() as u64);
    output.give(&summary, |page| write(page, args, &verified, bytes.len() as u64))?;
    Ok(Answer::Yes)
}

/// The customer that was named, or whose label was.
fn whom(args: &Args, opened: &Opened) -> anyhow::Result<String> {
    match (&args.customer, &args.label) {
        (Some(customer), _) => Ok(customer.clone()),
        (None, Some(label)) => {
            let found = customer_of(&opened.ledger, &opened.projections, &opened.vault, label);
            Ok(found?)
        }
        (None, None) => bail!("name a customer, or a label with --label"),
    }
}

/// Told before any work is done; [`save`] cannot overwrite by accident either.
pub(crate) fn check_free(path: &Path, force: bool) -> anyhow::Result<()> {
    if path.exists() && !force {
        return Err(is_there(path));
    }
    Ok(())
}

/// As [`check_free`], for a folder of files.
fn check_empty(folder: &Path, force: bool) -> anyhow::Result<()> {
    let is_used = match fs::read_dir(folder) {
        Ok(mut items) => items.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
    };
    if is_used && !force {
        bail!(
            "{} is not empty; choose another folder, or overwrite what is there with --force",
            folder.display()
        );
    }
    Ok(())
}

fn is_there(path: &Path) -> anyhow::Error {
    anyhow::anyhow!(
        "{} is there already; choose another file, or overwrite it with --force",
        path.display()
    )
}

/// Writes the file whole or not at all.
pub(crate) fn save(path: &Path, bytes: &[u8], force: bool) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder).with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    let placed = if force {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    match placed {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(is_there(path)),
        Err(error) => Err(error.error).with_context(cannot),
    }
}

/// Each event's entry and its place in the log, in files that other tools read.
fn export(dossier: &Dossier, shards: u32, folder: &Path, force: bool) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for generation in &dossier.generations {
        let number = generation.label.shard(shards);
        let Some(shard) = dossier.shards.iter().find(|one| one.shard == number) else {
            bail!("the dossier holds no evidence of shard {number}");
        };
        for event in &generation.events {
            export_event(dossier, shard, event, folder, force)?;
        }
    }
    Ok(())
}

fn export_event(
    dossier: &Dossier,
    shard: &ShardEvidence,
    event: &EventEvidence,
    folder: &Path,
    force: bool,
) -> anyhow::Result<()> {
    let batch = shard
        .batches
        .get(event.leaf.batch as usize)
        .context("the dossier lacks a batch")?;
    let index = LeafIndex(batch.index + 1 + u64::from(event.leaf.position));
    let hashes: Option<Vec<Hash>> = event
        .leaf
        .path
        .iter()
        .map(|at| dossier.hashes.get(*at as usize).copied())
        .collect();
    let path = InclusionProof(hashes.context("the dossier lacks a hash")?);
    let proof = TlogProof {
        extra: None,
        index,
        path,
        checkpoint: shard.checkpoint.clone(),
    };
    let name = format!("{}-{index}", shard.shard);
    save(
        &folder.join(format!("{name}.tlog-proof")),
        proof.to_string().as_bytes(),
        force,
    )?;
    save(&folder.join(format!("{name}.entry")), &event.leaf.entry.0, force)
}

fn summary(args: &Args, verified: &VerifiedDossier, bytes: u64) -> serde_json::Value {
    json!({
        "ledger": verified.ledger,
        "customer": verified.customer,
        "generations": verified.generations.len(),
        "events": verified.events.len(),
        "not_covered": not_covered(verified),
        "complete_up_to": verified.as_of(),
        "file": args.output.display().to_string(),
        "bytes": bytes,
        "tlog_proofs": args.tlog_proofs.as_ref().map(|folder| folder.display().to_string()),
    })
}

/// Events that came after the customer map.
fn not_covered(verified: &VerifiedDossier) -> u64 {
    verified.events.iter().filter(|event| !event.covered).count() as u64
}

fn write(page: &mut Page, args: &Args, verified: &VerifiedDossier, bytes: u64) {
    let file = args.output.display();
    let (customer, size) = (&verified.customer, number(bytes));
    if verified.generations.is_empty() {
        page.holds(&format!(
            "{file} proves that nothing is on record about {customer}, in {size} bytes"
        ));
    } else {
        let events = counted(verified.events.len() as u64, "event");
        page.holds(&format!("{file} proves {events} of {customer}, in {size} bytes"));
    }
    let later = not_covered(verified);
    if later > 0 {
        page.warns(
            2,
            &format!("{} came after the last customer map", counted(later, "event")),
        );
    }
    if let Some(folder) = &args.tlog_proofs {
        page.holds(&format!(
            "{} holds each entry and its .tlog-proof",
            folder.display()
        ));
    }
    page.text(
        2,
        "To check it anywhere, with only this file and the ledger's policy:",
    );
    page.verbatim(2, &format!("sharetrail verify {file} --policy POLICY"));
}
