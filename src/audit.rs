//! `audit`: checks a whole ledger from its public files and the policy alone.
//!
//! In scope: arguments, the page, writing cosigned checkpoints, making an auditor's key. Out of scope: the checks
//! (consumers). Trust: the policy is believed, and the state folder is this auditor's own; the ledger is not believed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sharetrail_consumers::audit::{Audit, AuditOptions, AuditReport, Sampled, Source, audit};
use sharetrail_ledger::files;
use sharetrail_proof::note::{Cosigner, MAX_NOTE_BYTES};
use sharetrail_proof::policy::Policy;
use sharetrail_schemas::Timestamp;
use tempfile::TempDir;

use crate::answer::Answer;
use crate::bar::{Bar, rate};
use crate::interrupt;
use crate::output::{Output, Page, counted, note, number};
use crate::verify::read_policy;

/// The most faults and labels that are told one by one to people; JSON has them all.
const SHOWN: usize = 20;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A ledger's folder, or the URL where its log/ and map/ are served; without it, the ledger
    #[arg(value_name = "DIR|URL")]
    place: Option<String>,
    /// The trust policy; without it, the one in the folder, which is the operator's
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Keep in this folder how far the audit is: it goes on from there, and the next one checks what is new
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// If all is in order, cosign the checkpoints of the map logs with this key; needs --policy
    #[arg(long, value_name = "KEYFILE")]
    cosign: Option<PathBuf>,
    /// Write the cosigned checkpoints to this folder, as map-SHARD.cosigned, and not into the ledger's
    #[arg(long, value_name = "FOLDER", requires = "cosign")]
    output: Option<PathBuf>,
    /// Draw this many labels by lot; dossiers of them can be asked for, and checked with --dossiers
    #[arg(long, value_name = "N", requires = "seed")]
    sample: Option<u64>,
    /// What the sample follows from: a text that the operator could not know before the audit
    #[arg(long, value_name = "TEXT", requires = "sample")]
    seed: Option<String>,
    /// Check every dossier in this folder against the audited ledger, and that the sample has one each
    #[arg(long, value_name = "FOLDER")]
    dossiers: Option<PathBuf>,
    /// Make an auditor's key in this file, and do nothing else
    #[arg(long, value_name = "FILE", requires = "name", conflicts_with_all = ["cosign", "sample", "dossiers", "state"])]
    new_key: Option<PathBuf>,
    /// The name of the new key
    #[arg(long, value_name = "NAME", requires = "new_key")]
    name: Option<String>,
}

/// Audits a ledger.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    if let (Some(file), Some(name)) = (&args.new_key, &args.name) {
        return new_key(file, name, output);
    }
    if args.cosign.is_some() && args.policy.is_none() {
        bail!(
            "--cosign needs --policy FILE: the policy in the audited folder is the operator's, who names the keys in it; \
             get it from somebody you believe"
        );
    }
    let source = match &args.place {
        Some(place) => Source::parse(place)?,
        None => Source::folder(root),
    };
    let policy = policy(&source, args)?;
    let cosigner = args.cosign.as_deref().map(|file| cosigner(file, &policy));
    let cosigner = cosigner.transpose()?;
    if cosigner.is_some() {
        // Known before anything is audited, so that no audit is in vain.
        cosigned_path(args, &source, 0)?;
        if let Some(folder) = &args.output {
            files::make_folder(folder)?;
        }
    }
    if let Some(folder) = &args.dossiers {
        std::fs::read_dir(folder)
            .with_context(|| format!("cannot read the folder of dossiers {}", folder.display()))?;
    }
    let scratch = Scratch::new(args.state.as_deref())?;
    let (bar, now) = (Bar::of_leaves(), now());
    let stop = interrupt::until_told_to_stop()?;
    let progress = |done, total| bar.leaves(done, total);
    let options = AuditOptions::new(scratch.path(), now, &stop, &progress);
    let audited = audit(&source, &policy, &options);
    bar.end();
    let mut audited = audited?;
    let seconds = bar.elapsed();
    let mut found = Found::default();
    let done = if audited.report().interrupted {
        Ok(())
    } else {
        after(&mut audited, args, &source, cosigner.as_ref(), &mut found)
    };
    // The audit is given first, whatever went wrong behind it: it may have taken hours.
    let report = audited.report();
    let speed = rate(report.checked, seconds);
    let summary = summary(report, &found, seconds.as_secs_f64(), speed);
    output.give(&summary, |page| write(page, report, &found, speed))?;
    let answer = answer(report, args);
    match done {
        Err(error) if answer == Answer::No => output.error(&error),
        done => done?,
    }
    Ok(answer)
}

fn answer(report: &AuditReport, args: &Args) -> Answer {
    if !report.faults.is_empty() {
        return Answer::No;
    }
    if !report.interrupted {
        return Answer::Yes;
    }
    if args.state.is_none() {
        note("with --state FOLDER, an interrupted audit can go on");
    }
    Answer::Interrupted
}

/// Unix seconds.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The state folder, or one that goes away.
enum Scratch {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Scratch {
    fn new(state: Option<&Path>) -> anyhow::Result<Self> {
        match state {
            Some(folder) => Ok(Self::Kept(folder.to_owned())),
            None => Ok(Self::Temporary(
                tempfile::tempdir().context("cannot make a temporary folder; name one with --state")?,
            )),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(folder) => folder,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

fn policy(source: &Source, args: &Args) -> anyhow::Result<Policy> {
    let of_ledger = source.as_folder().map(|folder| folder.join("policy"));
    let Some(path) = args.policy.clone().or(of_ledger) else {
        bail!("no trust policy: name the ledger's with --policy FILE; get it from somebody you believe");
    };
    let policy = read_policy(&path)?;
    if args.policy.is_none() {
        note(&format!(
            "audited under {}, the operator's own policy; who does not believe it names another with --policy FILE",
            path.display()
        ));
    }
    Ok(policy)
}

/// Read before anything is audited, so that a wrong key costs no audit.
fn cosigner(file: &Path, policy: &Policy) -> anyhow::Result<Cosigner> {
    let cosigner = Cosigner::parse(&files::read_private(file)?)
        .with_context(|| format!("{} is not an auditor's key", file.display()))?;
    if !policy.auditors().contains(cosigner.verifier()) {
        note(&format!(
            "the policy does not name this auditor; to be believed, it needs the line: #sharetrail auditor {}",
            cosigner.verifier()
        ));
    }
    Ok(cosigner)
}

fn new_key(file: &Path, name: &str, output: &Output) -> anyhow::Result<Answer> {
    let cosigner = Cosigner::from_seed(name, &files::random()?)?;
    files::write_private(file, &format!("{}\n", cosigner.to_secret_text()))?;
    let key = cosigner.verifier().to_string();
    let summary = json!({ "file": file.display().to_string(), "key": key });
    output.give(&summary, |page| {
        page.holds(&format!("{}: keep it private", file.display()));
        page.text(
            2,
            "Whoever is to believe this auditor needs this line in the trust policy:",
        );
        page.verbatim(2, &format!("#sharetrail auditor {key}"));
    })?;
    Ok(Answer::Yes)
}

/// What was done beside the audit itself.
#[derive(Default)]
struct Found {
    sample: Vec<Sampled>,
    dossiers: Option<u64>,
    cosigned: Vec<PathBuf>,
}

/// Sample, dossiers, cosignatures: in this order, so that a wrong dossier keeps the auditor from signing.
fn after(
    audited: &mut Audit<'_>,
    args: &Args,
    source: &Source,
    cosigner: Option<&Cosigner>,
    found: &mut Found,
) -> anyhow::Result<()> {
    let wanted = args.sample.zip(args.seed.as_deref());
    // A ledger with faults may have no map to draw from.
    if let Some((count, seed)) = wanted.filter(|_| audited.report().is_clean()) {
        found.sample = audited.sample(count, seed)?;
    }
    if let Some(folder) = &args.dossiers {
        found.dossiers = Some(audited.check_dossiers(folder, &found.sample)?);
    }
    if let Some(cosigner) = cosigner.filter(|_| audited.report().is_clean()) {
        cosign(audited, args, source, cosigner, &mut found.cosigned)?;
    }
    Ok(())
}

/// Where cosigned checkpoints of a shard lie: in the folder asked for, and where dossiers find them.
fn cosigned_places(args: &Args, source: &Source, shard: u32) -> impl Iterator<Item = PathBuf> {
    let asked = args.output.as_deref();
    let asked = asked.map(|folder| folder.join(format!("map-{shard}.cosigned")));
    let of_ledger = source.as_folder();
    let of_ledger = of_ledger.map(|folder| folder.join("map").join(shard.to_string()).join("cosigned"));
    asked.into_iter().chain(of_ledger)
}

/// Where the cosigned checkpoint of a shard goes: the first of its places.
fn cosigned_path(args: &Args, source: &Source, shard: u32) -> anyhow::Result<PathBuf> {
    cosigned_places(args, source, shard)
        .next()
        .context("name the folder for the cosigned checkpoints with --output FOLDER")
}

/// A note that was cosigned before, if there is one.
fn earlier(path: &Path) -> anyhow::Result<Option<String>> {
    let cannot = || {
        format!(
            "cannot read {}, which may be cosigned already; move it away",
            path.display()
        )
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.with_context(cannot)?,
    };
    let mut text = String::new();
    let mut file = file.take(MAX_NOTE_BYTES as u64 + 1);
    file.read_to_string(&mut text).with_context(cannot)?;
    if text.len() > MAX_NOTE_BYTES {
        bail!("{} is too long for a cosigned note; move it away", path.display());
    }
    Ok(Some(text))
}

/// Writes the cosigned checkpoints, if they extend those that this key cosigned before; what other auditors cosigned is
/// kept beside. `paths`: is told each that was written.
fn cosign(
    audited: &mut Audit<'_>,
    args: &Args,
    source: &Source,
    cosigner: &Cosigner,
    paths: &mut Vec<PathBuf>,
) -> anyhow::Result<()> {
    let mut notes: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for shard in &audited.report().shards {
        for place in cosigned_places(args, source, shard.shard) {
            notes.entry(shard.shard).or_default().extend(earlier(&place)?);
        }
    }
    let notes = |shard: u32| notes.get(&shard).cloned().unwrap_or_default();
    for (shard, note) in audited.cosign(cosigner, now(), &notes)? {
        let path = cosigned_path(args, source, shard)?;
        files::replace(&path, note.as_bytes(), 0o644)?;
        paths.push(path);
    }
    Ok(())
}

fn summary(report: &AuditReport, found: &Found, seconds: f64, speed: u64) -> Value {
    let mut summary = json!(report);
    let paths = found.cosigned.iter().map(|path| path.display().to_string());
    let verdict = match (report.faults.is_empty(), report.interrupted) {
        (false, _) => "faults",
        (true, true) => "interrupted",
        (true, false) => "clean",
    };
    let more = json!({
        "verdict": verdict,
        "seconds": seconds,
        "rate": speed,
        "sample": found.sample,
        "dossiers": found.dossiers,
        "cosigned": paths.collect::<Vec<_>>(),
    });
    if let (Some(all), Value::Object(more)) = (summary.as_object_mut(), more) {
        all.extend(more);
    }
    summary
}

fn write(page: &mut Page, report: &AuditReport, found: &Found, speed: u64) {
    let counts = &report.counts;
    page.heading(&format!("Audit of {}", report.ledger));
    page.field(2, "id", &report.id.to_string());
    for shard in &report.shards {
        let leaves = counted(shard.counts.entries, "leaf");
        let (batches, events) = (
            counted(shard.counts.batches, "batch"),
            counted(shard.counts.events, "event"),
        );
        let labels = counted(shard.counts.labels, "label");
        let maps = counted(shard.counts.map_leaves, "map root");
        let text = format!("{leaves}: {batches}, {events}; {labels}, {maps}");
        page.field(2, &format!("shard {}", shard.shard), &text);
    }
    page.field(
        2,
        "checked",
        &format!("{} ({}/s)", counted(report.checked, "leaf"), number(speed)),
    );
    page.blank();
    if !report.faults.is_empty() {
        write_faults(page, report);
    } else if report.interrupted {
        page.heading("Interrupted: nothing wrong so far.");
    } else {
        write_what_holds(page, report);
    }
    if !report.interrupted && counts.unmapped > 0 {
        let leaves = counted(counts.unmapped, "leaf");
        page.warns(
            0,
            &format!("Not mapped yet: {leaves} at the ends of the logs; the next map roots cover them"),
        );
    }
    if !report.on_its_way.is_empty() {
        let shards: Vec<_> = report.on_its_way.iter().map(u32::to_string).collect();
        let shards = shards.join(", ");
        page.warns(
            0,
            &format!(
                "A registry entry of the last ten minutes is not in shard {shards} yet: nothing is cosigned before it is"
            ),
        );
    }
    write_sample(page, &found.sample);
    if let Some(count) = found.dossiers {
        page.text(
            0,
            &format!("Compared with this audit: {}", counted(count, "dossier")),
        );
    }
    for path in &found.cosigned {
        page.holds(&format!("Cosigned: {}", path.display()));
    }
}

fn write_what_holds(page: &mut Page, report: &AuditReport) {
    page.holds("Every batch has a valid key, a right signature and its place in its chain");
    page.holds(
        "The roots of the record logs are those of their entries, under every checkpoint that is named",
    );
    page.holds("Registry and genesis are the same in all shards");
    match report.shards.iter().filter_map(|shard| shard.mapped_at).min() {
        Some(time) => {
            let time = Timestamp::from_unix(i64::try_from(time).unwrap_or(i64::MAX));
            page.holds(&format!(
                "Every root of the customer maps was computed again: they are complete, the oldest of them at {time}"
            ));
        }
        None => page.warns(0, "No customer map was sealed yet: nothing says what is complete"),
    }
    let without = report.shards.iter().filter(|shard| shard.mapped_at.is_none());
    let without: Vec<_> = without.map(|shard| shard.shard.to_string()).collect();
    if !without.is_empty() && without.len() < report.shards.len() {
        let shards = without.join(", ");
        page.warns(
            0,
            &format!("No customer map was sealed yet in shard {shards}: nothing says what is complete there"),
        );
    }
    page.heading("Clean: no fault was found.");
}

fn write_faults(page: &mut Page, report: &AuditReport) {
    page.heading("Not in order:");
    for fault in report.faults.iter().take(SHOWN) {
        page.fails(0, &fault.to_string());
    }
    let all = report.faults.len() as u64 + report.more_faults;
    let rest = all.saturating_sub(SHOWN as u64);
    if rest > 0 {
        page.text(
            2,
            &format!("and {} more; --json tells up to 1,000 a shard", number(rest)),
        );
    }
}

fn write_sample(page: &mut Page, sample: &[Sampled]) {
    if sample.is_empty() {
        return;
    }
    page.heading(&format!("Sample of {}", counted(sample.len() as u64, "label")));
    for one in sample.iter().take(SHOWN) {
        let leaves = counted(one.count, "leaf");
        match &one.party {
            Some(party) => page.text(
                2,
                &format!(
                    "{} shard {}: {leaves}, of the party {party}",
                    one.label, one.shard
                ),
            ),
            None if one.erased => page.text(
                2,
                &format!("{} shard {}: {leaves}, erased: no dossier", one.label, one.shard),
            ),
            None => page.verbatim(2, &format!("{} shard {}: {leaves}", one.label, one.shard)),
        }
    }
    let rest = sample.len().saturating_sub(SHOWN);
    if rest > 0 {
        page.text(
            2,
            &format!("and {} more; --json tells them all", number(rest as u64)),
        );
    }
}
