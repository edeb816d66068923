//! `erase`: makes what is recorded about a customer unreadable for ever, and writes the certificate of it.
//!
//! In scope: saying first what will be done, having it done here or by the host that leads, the certificate. Out of scope:
//! the steps of an erasure (the ledger). What is written was verified against the ledger's own policy before.
//!
//! Trust: whoever runs this may do it; `--yes` is no protection, only a pause.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{ConsumerError, Projections, TrailGeneration, certificate, trail};
use sharetrail_ledger::wire::Control;
use sharetrail_ledger::{Engine, Ledger, host};
use sharetrail_proof::dossier::Certificate;
use sharetrail_proof::entry::ERASURE;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Label;

use crate::answer::Answer;
use crate::bar::Bar;
use crate::dossier::{check_free, save};
use crate::interrupt::until_told_to_stop;
use crate::opened::{self, store_kind};
use crate::output::{Output, Page, counted, note, number};

/// How long an erasure that another host carried out may take to come to this folder's log.
const LOG_WAIT: Duration = Duration::from_mins(1);
/// How long the customer map may take to cover it where another process seals the maps.
const MAP_WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The company's own id of the customer
    customer: String,
    /// Do it: an erasure cannot be taken back
    #[arg(long)]
    yes: bool,
    /// The file for the certificate, which verifies with the policy alone
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrite the file if it is there
    #[arg(long)]
    force: bool,
    /// Erase nothing: write the certificate of this generation's erasure again; the first one is 0
    #[arg(long, value_name = "N", requires = "output", conflicts_with = "yes")]
    generation: Option<u32>,
}

/// What is to be erased, or was.
struct Plan {
    label: Label,
    generation: u32,
    shard: u32,
    events: u64,
    /// Where the erasure is on record already.
    erased_at: Option<LeafIndex>,
}

/// What came of it.
struct Done {
    index: LeafIndex,
    /// Whether old backups of the vault open nothing any more; not known where another host did it.
    rotated: Option<bool>,
}

/// Erases a customer, or says what would be erased.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    if let Some(file) = &args.output {
        check_free(file, args.force)?;
    }
    sharetrail_schemas::check_customer_id(&args.customer)?;
    let (ledger, plan) = plan(root, &args.customer, args.generation)?;
    let done = if let Some(index) = plan.erased_at {
        Done { index, rotated: None }
    } else {
        announce(args, &plan, output)?;
        match erase(&ledger, &plan)? {
            Some(done) => done,
            None => return interrupted(args, &plan, output),
        }
    };
    let certified = args.output.as_ref().map(|file| {
        let made = certify(&ledger, &args.customer, plan.generation)?;
        save(file, &made.to_bytes(), args.force)?;
        anyhow::Ok(file.as_path())
    });
    // That it is done is said first, whatever became of the file.
    let file = certified.as_ref().and_then(|made| made.as_ref().ok()).copied();
    let kek = ledger.outside()?.join("vault.kek");
    output.give(&summary(args, &plan, &done, file), |page| {
        write(page, args, &plan, &done, &kek);
        if let Some(file) = file {
            write_certificate(page, file);
        }
    })?;
    match certified {
        // Not the same command again: events of this customer that came meanwhile would be erased too.
        Some(Err(error)) => Err(error.context(format!(
            "the customer is erased; the certificate was not written: for it, run the command again with --generation {} in \
             the place of --yes",
            plan.generation
        ))),
        _ => Ok(Answer::Yes),
    }
}

/// Says what will be erased; an error where it is not to be done.
fn announce(args: &Args, plan: &Plan, output: &Output) -> anyhow::Result<()> {
    if args.yes {
        // Machines are told once, when it is done.
        return output.tell(|page| write_plan(page, &args.customer, plan));
    }
    output.give(&would_erase(args, plan), |page| {
        write_plan(page, &args.customer, plan);
    })?;
    bail!(
        "erasing {} cannot be taken back; say so with --yes",
        args.customer
    )
}

/// It was told to stop before the erasure was on record.
fn interrupted(args: &Args, plan: &Plan, output: &Output) -> anyhow::Result<Answer> {
    let mut told = would_erase(args, plan);
    told["interrupted"] = Value::Bool(true);
    output.give(&told, |page| {
        page.warns(
            0,
            &format!(
                "Interrupted: it is noted that {} is to be erased, and not on record yet. No key of theirs is given any more. \
                 `sharetrail serve` finishes it, or the same command again",
                args.customer
            ),
        );
    })?;
    Ok(Answer::Interrupted)
}

/// The generation of the customer that has events; the last one that was erased if none has. `erased`: that one, whose
/// erasure is on record.
fn plan(root: &Path, customer: &str, erased: Option<u32>) -> anyhow::Result<(Ledger, Plan)> {
    let opened = opened::open(root)?;
    let told = trail(&opened.ledger, &opened.projections, &opened.vault, customer)?;
    let owned = || customer.to_owned();
    let found = if let Some(generation) = erased {
        let is_it = |one: &&TrailGeneration| one.generation == generation && one.erased_at.is_some();
        let found = told.generations.iter().find(is_it);
        found.ok_or_else(|| ConsumerError::NotErased {
            customer: owned(),
            generation,
        })?
    } else {
        let last = last_with_events(&told.generations, |one| (one.events, one.erased_at.is_some()));
        last.ok_or_else(|| ConsumerError::NothingOnRecord { customer: owned() })?
    };
    let plan = Plan {
        label: found.label,
        generation: found.generation,
        shard: found.shard,
        events: found.events,
        erased_at: found.erased_at,
    };
    Ok((opened.ledger, plan))
}

/// The last generation, but for one that a key was made for after an erasure, and that has no events: whoever asks to erase
/// an erased customer again means the one before. `facts`: events, and whether it is erased.
fn last_with_events<T>(generations: &[T], facts: impl Fn(&T) -> (u64, bool)) -> Option<&T> {
    match generations {
        [.., before, last] if facts(last) == (0, false) && facts(before).1 => Some(before),
        _ => generations.last(),
    }
}

/// Erases here, or has the host that leads do it; nothing if it was told to stop before.
fn erase(ledger: &Ledger, plan: &Plan) -> anyhow::Result<Option<Done>> {
    match Engine::start(ledger) {
        Ok(engine) => here(engine, plan),
        Err(error) if error.is_locked() && ledger.settings().bus.is_some() => {
            elsewhere(ledger, plan).map(Some)
        }
        Err(error) => Err(error.into()),
    }
}

fn here(engine: Engine, plan: &Plan) -> anyhow::Result<Option<Done>> {
    engine.notices().iter().for_each(|notice| note(notice));
    let stop = until_told_to_stop()?;
    let waiting = |left: Duration| {
        // Rounded up: less than it takes would be no promise.
        let seconds = counted(left.as_secs() + 1, "second");
        note(&format!(
            "waiting {seconds}, until no producer may use the customer's key any more; Ctrl-C ends the command, and \
             `sharetrail serve` goes on with the erasure"
        ));
    };
    let erased = engine.erase_unless(&plan.label, plan.generation, &waiting, &stop)?;
    let Some(erased) = erased else {
        engine.stop()?;
        return Ok(None);
    };
    // The certificate needs a customer map that knows of it.
    let bar = Bar::of_leaves();
    let mapped = engine.map(&|done, total| bar.leaves(done, total), &AtomicBool::new(false));
    bar.end();
    engine.notices().iter().for_each(|notice| note(notice));
    engine.stop()?;
    if let Err(error) = mapped {
        note(&format!(
            "the customer map does not cover the erasure yet: {error}"
        ));
    }
    Ok(Some(Done {
        index: erased.index,
        rotated: Some(erased.rotated),
    }))
}

fn elsewhere(ledger: &Ledger, plan: &Plan) -> anyhow::Result<Done> {
    let control = Control::Erase {
        label: plan.label,
        generation: plan.generation,
    };
    host::command(ledger, &control)?;
    let (kind, until) = (store_kind(ledger)?, Instant::now() + LOG_WAIT);
    loop {
        if let Some(index) = on_record(ledger, kind, &plan.label)? {
            let rotated = None;
            return Ok(Done { index, rotated });
        }
        if Instant::now() >= until {
            bail!(
                "the host that leads has erased the customer, and the log in {} does not show it yet; is `sharetrail serve` \
                 at work here?",
                ledger.root().display()
            );
        }
        std::thread::sleep(PAUSE);
    }
}

/// Where the erasure of a label is, as far as this folder's log goes.
fn on_record(ledger: &Ledger, kind: StoreKind, label: &Label) -> anyhow::Result<Option<LeafIndex>> {
    let projections = Projections::open(ledger, kind)?;
    projections.catch_up(&|_, _| ())?;
    let leaves = projections.leaves(label)?;
    let erasure = leaves.iter().find(|leaf| leaf.kind == ERASURE);
    Ok(erasure.map(|leaf| leaf.index))
}

/// The certificate, once a customer map covers the erasure.
fn certify(ledger: &Ledger, customer: &str, generation: u32) -> anyhow::Result<Certificate> {
    let (kind, until) = (store_kind(ledger)?, Instant::now() + MAP_WAIT);
    let made = loop {
        match try_certify(ledger, kind, customer, generation) {
            Err(error) if error.is_not_covered() && Instant::now() < until => std::thread::sleep(PAUSE),
            made => break made?,
        }
    };
    made.verify(&ledger.policy()?)
        .context("this certificate would not verify; nothing was written")?;
    Ok(made)
}

fn try_certify(
    ledger: &Ledger,
    kind: StoreKind,
    customer: &str,
    generation: u32,
) -> Result<Certificate, ConsumerError> {
    // Opened for each try, so that whoever projects gets a turn in between.
    let projections = Projections::open(ledger, kind)?;
    projections.catch_up(&|_, _| ())?;
    certificate(ledger, &projections, &ledger.vault()?, customer, generation)
}

/// What is erased if it is confirmed, for machines.
fn would_erase(args: &Args, plan: &Plan) -> Value {
    json!({
        "customer": args.customer,
        "events": plan.events,
        "labels": [{ "label": plan.label, "generation": plan.generation, "shard": plan.shard }],
        "would_erase": true,
    })
}

fn summary(args: &Args, plan: &Plan, done: &Done, file: Option<&Path>) -> Value {
    json!({
        "customer": args.customer,
        "generation": plan.generation,
        "label": plan.label,
        "shard": plan.shard,
        "events": plan.events,
        "index": done.index,
        "erased_before": plan.erased_at.is_some(),
        "rotated": done.rotated,
        "certificate": file.map(|file| file.display().to_string()),
    })
}

fn write_plan(page: &mut Page, customer: &str, plan: &Plan) {
    page.heading(&format!("Erasing {customer}"));
    let events = counted(plan.events, "event");
    page.field(2, "events", &format!("{events} that nobody will ever read again"));
    page.field(
        2,
        "label",
        &format!(
            "{}, generation {}, in shard {}",
            plan.label, plan.generation, plan.shard
        ),
    );
    page.field(
        2,
        "stays",
        "that there were so many events under this label, when they came, who signed them, and that they were erased",
    );
    page.field(
        2,
        "backups",
        "the key-encryption key is exchanged: backups of the vault from before will open nothing, for no customer",
    );
}

fn write(page: &mut Page, args: &Args, plan: &Plan, done: &Done, kek: &Path) {
    let (customer, index) = (&args.customer, number(done.index.0));
    let place = format!("leaf {index} of shard {}", plan.shard);
    if plan.erased_at.is_some() {
        let events = counted(plan.events, "event");
        page.holds(&format!(
            "{customer} is erased already: {events}, on record at {place}"
        ));
        return;
    }
    page.holds(&format!(
        "{customer} is erased: on record at {place}, and the key destroyed"
    ));
    match done.rotated {
        Some(true) => page.holds("The key-encryption key is exchanged"),
        Some(false) => page.warns(
            0,
            "The key-encryption key is not exchanged yet: whoever is at work next tries again; `sharetrail status` tells",
        ),
        None => page.text(
            0,
            "Each host destroys its key and exchanges its key-encryption key as its log shows it.",
        ),
    }
    page.text(
        0,
        &format!(
            "Back up the vault and {} again, apart from each other, and let the old backups go.",
            kek.display()
        ),
    );
}

fn write_certificate(page: &mut Page, file: &Path) {
    let file = file.display();
    page.holds(&format!("{file} is the certificate. To check it anywhere:"));
    page.verbatim(2, &format!("sharetrail verify {file} --policy POLICY"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault: whoever asks twice erases, with the second erasure, a label that nothing stands under.
    #[test]
    fn a_generation_that_is_empty_after_an_erasure_is_passed_over() {
        const LIVING: (u64, bool) = (7, false);
        const ERASED: (u64, bool) = (5, true);
        const EMPTY: (u64, bool) = (0, false);
        for (generations, expected) in [
            (vec![], None),
            (vec![EMPTY], Some(0)),
            (vec![LIVING], Some(0)),
            (vec![ERASED], Some(0)),
            (vec![ERASED, LIVING], Some(1)),
            (vec![ERASED, EMPTY], Some(0)),
            (vec![ERASED, ERASED, EMPTY], Some(1)),
            (vec![ERASED, (0, true)], Some(1)),
        ] {
            let numbered: Vec<_> = generations.iter().copied().enumerate().collect();
            let found = last_with_events(&numbered, |(_, facts)| *facts);
            assert_eq!(found.map(|(number, _)| *number), expected, "{generations:?}");
        }
    }
}
