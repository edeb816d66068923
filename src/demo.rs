//! `sharetrail` alone: a small ledger in a temporary folder, its story, its proof, what a changed byte does to it, an
//! erasure, and a server to look at it all.
//!
//! In scope: telling. Out of scope: the story itself (see `story`), and anything that the other commands do not do: the
//! demonstration calls what they call. Everything lies in one temporary folder, keys too, which is removed at the end.
//!
//! Trust: whoever reaches the server on this machine may be anybody there: the issuer lets them choose. It listens on the
//! loopback only, and no other command has that issuer.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use sharetrail_consumers::http::{DemoIssuer, DemoPerson, HttpSettings};
use sharetrail_consumers::{Trail, certificate, dossier, trail};
use sharetrail_ledger::{Engine, InitOptions, Ledger, init, keys, status};
use sharetrail_producers::{Pending, Publisher};
use sharetrail_proof::name::Name;
use sharetrail_proof::policy::Policy;
use tokio::runtime::Builder;

use crate::answer::Answer;
use crate::interrupt::until_told_to_stop;
use crate::opened::{self, Opened};
use crate::output::{Output, Page, counted, number};
use crate::serve::{Serving, serve};
use crate::story::{self, ASKING, CUSTOMER, Chapter, ERASED, MONTH_DIGIT, STRANGER, WITHDRAWN};
use crate::trail as trail_page;
use crate::verify::Verdict;

/// Where the server is looked for first.
const PORT: u16 = 8433;

#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Tell the story and end: no server
    #[arg(long)]
    story: bool,
    /// Serve at this address, which must be on the loopback; without it, at port 8433 or at any that is free
    #[arg(long, value_name = "ADDR", conflicts_with = "story")]
    listen: Option<SocketAddr>,
}

/// Tells the story, and serves it until told to stop.
pub(crate) fn run(args: &Args, output: &Output) -> anyhow::Result<Answer> {
    if let Some(address) = args.listen.filter(|address| !address.ip().is_loopback()) {
        bail!(
            "{address} is not on the loopback: in the demonstration everybody may be anybody; `sharetrail serve` is for \
             others"
        );
    }
    let folder = tempfile::tempdir()
        .context("cannot make a temporary folder; set TMPDIR to one that can be written")?;
    let (ledger, mut summary, is_as_told) = tell(folder.path(), output)?;
    let answer = if is_as_told { Answer::Yes } else { Answer::No };
    if args.story {
        output.give(&summary, write_next)?;
        return Ok(answer);
    }
    let stop = until_told_to_stop()?;
    let serving = Serving {
        listen: args.listen.unwrap_or_else(free_address),
        url: None,
        peers: Vec::new(),
        settings: generous(),
        demo: Some(DemoIssuer::new(people())?),
    };
    serve(&ledger, serving, &stop, &mut |url| {
        summary["links"] = json!(links(url).map(|(who, link)| json!({ "as": who, "url": link })));
        summary["policy"] = json!(format!("{url}/policy"));
        output.give(&summary, |page| {
            write_next(page);
            write_links(page, url);
        })
    })?;
    Ok(answer)
}

/// The ledger after its story, the summary, and whether everything held that was to hold.
fn tell(folder: &Path, output: &Output) -> anyhow::Result<(Ledger, Value, bool)> {
    let started = Instant::now();
    let ledger = make(folder, output)?;
    record(&ledger, output)?;
    let opened = opened::open(ledger.root())?;
    let told = show(&opened, output)?;
    let (bytes, policy) = prove(&opened, output)?;
    let verdict = Verdict::on(&bytes, &policy)?;
    output.tell(|page| verdict.write(page))?;
    let (at, altered) = alter(bytes).context("the dossier lacks the event that the story is about")?;
    let disproof = disprove(at, &altered, &policy, output)?;
    let absence = absent(&opened, &policy, output)?;
    let (erasure, erased) = erase(&opened, &policy, output)?;
    let summary = json!({
        "ledger": ledger.name(),
        "events": status(&ledger)?.events,
        "customer": CUSTOMER,
        "trail": told.totals(),
        "dossier_bytes": altered.len(),
        "verification": verdict.summary()["verdict"],
        "absence": { "customer": STRANGER, "verification": absence.summary()["verdict"] },
        "altered": { "byte": at, "verification": disproof.summary() },
        "erasure": erased,
        "seconds": started.elapsed().as_secs_f64(),
    });
    let hold = [verdict, absence, erasure];
    let is_as_told = hold.iter().all(|one| one.answer() == Answer::Yes) && disproof.answer() == Answer::No;
    Ok((ledger, summary, is_as_told))
}

/// Nobody but whoever sits here can ask: they may try it out as hard as they like.
fn generous() -> HttpSettings {
    let mut settings = HttpSettings::default();
    settings.limits.stranger_per_second = 5_000;
    settings.limits.customer_per_second = 5_000;
    settings
}

/// The usual port of `serve`, or any other where something listens there.
fn free_address() -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    match TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

/// Whom one can be in the demonstration.
fn people() -> Vec<DemoPerson> {
    let one = |id: &str, name: &str, told: &str, is_officer| DemoPerson {
        id: id.to_owned(),
        name: name.to_owned(),
        told: told.to_owned(),
        is_officer,
    };
    vec![
        one(
            CUSTOMER,
            "Customer 417",
            "withdrew a consent, and was mailed once more",
            false,
        ),
        one(ASKING, "Customer 101", "asked who has the address", false),
        one(ERASED, "Customer 388", "was erased", false),
        one(STRANGER, "Customer 512", "the shop knows nothing about", false),
        one(
            "officer",
            "The privacy officer",
            "answers requests and looks at findings",
            true,
        ),
    ]
}

/// Where to look, and as whom.
fn links(url: &str) -> [(&'static str, String); 3] {
    [
        ("customer", format!("{url}/me")),
        ("officer", format!("{url}/officer")),
        ("auditor", format!("{url}/auditor")),
    ]
}

fn make(folder: &Path, output: &Output) -> anyhow::Result<Ledger> {
    let name = Name::new("shop.example")?;
    let options = InitOptions {
        outside: Some(folder.join("outside")),
        ..InitOptions::new(name)
    };
    let made = init(&folder.join("ledger"), &options)?;
    output.tell(|page| {
        page.heading("Sharetrail: who received what of a customer's data, with proof");
        page.blank();
        page.text(
            0,
            "A shop opens a ledger in a temporary folder. It gets a key of its own to sign with, and a trust \
                      policy: the one small file that everybody else needs to check what the shop says.",
        );
    })?;
    Ok(made.ledger)
}

fn record(ledger: &Ledger, output: &Output) -> anyhow::Result<()> {
    let engine = Engine::start(ledger)?;
    for (id, name, country, contact) in story::PARTIES {
        keys::register_party(&engine, &Name::new(id)?, name, Some(country), Some(contact))?;
    }
    let publisher = Publisher::open(&engine, &ledger.settings().default_producer)?;
    let mut pending = Vec::new();
    for (number, Chapter { title, text, events }) in (1..).zip(story::chapters()) {
        output.tell(|page| {
            page.blank();
            page.heading(&format!("{number}. {title}"));
            page.text(0, text);
        })?;
        for event in events {
            pending.push(publisher.publish(event)?);
        }
    }
    publisher.close()?;
    all_sealed(pending)?;
    engine.stop()?;
    let events = counted(status(ledger)?.events, "event");
    let leaves = counted(ledger.reader(0)?.size().0, "leaf");
    output.tell(|page| {
        page.blank();
        page.holds(&format!(
            "{events} sealed: the log's signed checkpoint covers {leaves}"
        ));
    })
}

/// An event that was refused would make another story.
fn all_sealed(pending: Vec<Pending>) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread()
        .build()
        .context("cannot wait for the events")?;
    for one in pending {
        runtime.block_on(one.sealed())?;
    }
    Ok(())
}

fn show(opened: &Opened, output: &Output) -> anyhow::Result<Trail> {
    let told = trail(&opened.ledger, &opened.projections, &opened.vault, CUSTOMER)?;
    output.tell(|page| {
        page.blank();
        page.heading(&format!("What {CUSTOMER} sees"));
        page.text(
            0,
            "sharetrail trail customer-417 shows the events of this customer, and of nobody else:",
        );
        page.blank();
        trail_page::write(page, &told);
    })?;
    Ok(told)
}

/// The dossier as a file's bytes, and the policy as somebody else has it.
fn prove(opened: &Opened, output: &Output) -> anyhow::Result<(Vec<u8>, Policy)> {
    let made = dossier(&opened.ledger, &opened.projections, &opened.vault, CUSTOMER)?;
    let bytes = made.to_bytes();
    output.tell(|page| {
        page.blank();
        page.heading("Proof to take away");
        let size = number(bytes.len() as u64);
        page.text(0, &format!("sharetrail dossier writes one file of {size} bytes. With it and the policy anybody can \
                               check this trail, on another machine, without asking the shop. sharetrail verify says:"));
        page.blank();
    })?;
    Ok((bytes, opened.ledger.policy()?))
}

/// That nothing is on record about somebody is a proof like any other.
fn absent(opened: &Opened, policy: &Policy, output: &Output) -> anyhow::Result<Verdict> {
    let made = dossier(&opened.ledger, &opened.projections, &opened.vault, STRANGER)?;
    let verdict = Verdict::on(&made.to_bytes(), policy)?;
    output.tell(|page| {
        page.blank();
        page.heading("Nothing is a proof too");
        page.text(
            0,
            "Somebody asks what the shop knows about them, and it knows nothing. sharetrail verify says of the file for \
             them:",
        );
        page.blank();
        verdict.write(page);
    })?;
    Ok(verdict)
}

/// The dossier with the withdrawal moved from May to September: one byte, and where it is.
fn alter(mut dossier: Vec<u8>) -> Option<(usize, Vec<u8>)> {
    let start = dossier
        .windows(WITHDRAWN.len())
        .position(|window| window == WITHDRAWN.as_bytes())?;
    let at = start + MONTH_DIGIT;
    dossier[at] = b'9';
    Some((at, dossier))
}

fn disprove(at: usize, altered: &[u8], policy: &Policy, output: &Output) -> anyhow::Result<Verdict> {
    let verdict = Verdict::on(altered, policy)?;
    output.tell(|page| {
        page.blank();
        page.heading("One byte");
        let place = number(at as u64);
        page.text(0, &format!("The mailing in June looks bad. Somebody changes byte {place} of the dossier from 5 to 9: now \
                               the withdrawal reads September, and the mailing came before it. sharetrail verify says:"));
        page.blank();
        verdict.write(page);
    })?;
    Ok(verdict)
}

/// Erases a customer; the verdict on the certificate, and what there was to erase.
fn erase(opened: &Opened, policy: &Policy, output: &Output) -> anyhow::Result<(Verdict, Value)> {
    let (ledger, projections) = (&opened.ledger, &opened.projections);
    let engine = Engine::start(ledger)?;
    engine.erase(&opened.vault.label(ERASED, 0), 0)?;
    engine.map(&|_, _| (), &AtomicBool::new(false))?;
    engine.stop()?;
    projections.catch_up(&|_, _| ())?;
    let vault = ledger.vault()?;
    let told = trail(ledger, projections, &vault, ERASED)?.totals();
    let made = certificate(ledger, projections, &vault, ERASED, 0)?;
    let verdict = Verdict::on(&made.to_bytes(), policy)?;
    output.tell(|page| {
        page.blank();
        page.heading("Forgotten, and every proof still holds");
        let events = counted(told.erased, "event");
        page.text(0, &format!("In July {ERASED} asks to be erased. sharetrail erase puts that on record and destroys the \
                               key: {events} that nobody can read any more. Of the certificate sharetrail verify says:"));
        page.blank();
        verdict.write(page);
    })?;
    let summary = json!({
        "customer": ERASED,
        "erased": told.erased,
        "readable": told.events - told.erased,
        "verification": verdict.summary()["verdict"],
    });
    Ok((verdict, summary))
}

fn write_next(page: &mut Page) {
    page.blank();
    page.heading("Your own ledger");
    for (command, what) in [
        ("sharetrail init shop.example", "make one"),
        (
            "sharetrail record events.jsonl",
            "put events on record, one JSON object a line",
        ),
        (
            "sharetrail trail CUSTOMER",
            "show what happened to a customer's data",
        ),
        ("sharetrail dossier CUSTOMER -o FILE", "write the proof of it"),
        ("sharetrail verify FILE --policy POLICY", "check one, anywhere"),
        ("sharetrail erase CUSTOMER --yes", "make it unreadable, provably"),
        ("sharetrail audit", "check the whole ledger"),
        ("sharetrail --help", "all the rest"),
    ] {
        page.verbatim(2, &format!("{command:<40} {what}"));
    }
}

fn write_links(page: &mut Page, url: &str) {
    page.blank();
    page.heading("Look at it");
    for (who, link) in links(url) {
        let article = if who == "customer" { "a" } else { "the" };
        page.verbatim(2, &format!("{:<40} {link}", format!("as {article} {who}")));
    }
    page.text(
        0,
        "Sign in as whomever you like: the demonstration has an issuer of its own, on this machine only. Ctrl-C ends it, and \
         nothing is left behind.",
    );
}
