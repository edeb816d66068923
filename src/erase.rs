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
use sharetrail_consumers::{ConsumerError, Projections, certificate, trail};
use sharetrail_ledger::wire::Control;
use sharetrail_ledger::{Engine, Ledger, host};
use sharetrail_proof::dossier::Certificate;
use sharetrail_proof::entry::ERASURE;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Label;

use crate::answer::Answer;
use crate::bar::Bar;
use crate::dossier::{check_free, save};
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
    let (ledger, plan) = plan(root, &args.customer)?;
    if plan.erased_at.is_none() {
        output.tell(|page| write_plan(page, &args.customer, &plan))?;
        if !args.yes {
            bail!(
                "erasing {} cannot be taken back; say so with --yes",
                args.customer
            );
        }
    }
    let done = match plan.erased_at {
        Some(index) => Done {
            index,
            rotated: None,
        },
        None => erase(&ledger, &plan)?,
    };
    let certified = match &args.output {
        Some(file) => Some(certify(&ledger, &args.customer, plan.generation).and_then(|made| {
            save(file, &made.to_bytes(), args.force)?;
            Ok(file.as_path())
        })),
        None => None,
    };
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
        Some(Err(error)) => Err(error.context(
            "the customer is erased; the certificate was not written: run the same command again for it",
        )),
        _ => Ok(Answer::Yes),
    }
}

/// The living generation of the customer; the last one that was erased if none lives.
fn plan(root: &Path, customer: &str) -> anyhow::Result<(Ledger, Plan)> {
    let opened = opened::open(root)?;
    let told = trail(&opened.ledger, &opened.projections, &opened.vault, customer)?;
    let Some(last) = told.generations.last() else {
        let customer = customer.to_owned();
        return Err(ConsumerError::NothingOnRecord { customer }.into());
    };
    let plan = Plan {
        label: last.label,
        generation: last.generation,
        shard: last.shard,
        events: last.events,
        erased_at: last.erased_at,
    };
    Ok((opened.ledger, plan))
}

/// Erases here, or has the host that leads do it.
fn erase(ledger: &Ledger, plan: &Plan) -> anyhow::Result<Done> {
    match Engine::start(ledger) {
        Ok(engine) => here(engine, plan),
        Err(error) if error.is_locked() && ledger.settings().bus.is_some() => elsewhere(ledger, plan),
        Err(error) => Err(error.into()),
    }
}

fn here(engine: Engine, plan: &Plan) -> anyhow::Result<Done> {
    engine.notices().iter().for_each(|notice| note(notice));
    let erased = engine.erase(&plan.label, plan.generation)?;
    // The certificate needs a customer map that knows of it.
    let bar = Bar::of_leaves();
    let mapped = engine.map(&|done, total| bar.leaves(done, total), &AtomicBool::new(false));
    bar.end();
    engine.notices().iter().for_each(|notice| note(notice));
    engine.stop()?;
    if let Err(error) = mapped {
        note(&format!("the customer map does not cover the erasure yet: {error}"));
    }
    Ok(Done {
        index: erased.index,
        rotated: Some(erased.rotated),
    })
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
    page.field(2, "events", &format!("{} become unreadable for everybody, for ever", number(plan.events)));
    page.field(
        2,
        "label",
        &format!("{}, generation {}, in shard {}", plan.label, plan.generation, plan.shard),
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
        page.holds(&format!("{customer} is erased already: {events}, on record at {place}"));
        return;
    }
    page.holds(&format!("{customer} is erased: on record at {place}, and the key destroyed"));
    match done.rotated {
        Some(true) => page.holds("The key-encryption key is exchanged"),
        Some(false) => page.warns(
            0,
            "The key-encryption key is not exchanged yet: it is at the next start; `sharetrail status` tells",
        ),
        None => page.text(0, "Each host destroys its key and exchanges its key-encryption key as its log shows it."),
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
