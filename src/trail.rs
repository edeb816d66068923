//! `trail`: what happened to one customer's data.
//!
//! In scope: the page. Out of scope: folding and judging a trail, proving it (`dossier`).

use std::path::Path;

use serde::Serialize;
use sharetrail_consumers::{
    RecipientSummary, Totals, Trail, TrailEvent, TrailGeneration, UnopenedState, trail,
};
use sharetrail_proof::hash::LeafIndex;

use crate::answer::Answer;
use crate::opened;
use crate::output::{Output, Page, Style, counted, number};
use crate::words;

const INDENT: usize = 12;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The company's own id of the customer
    customer: String,
}

/// A trail for machines: what people see summed up, summed up.
#[derive(Serialize)]
struct TrailAnswer<'a> {
    #[serde(flatten)]
    trail: &'a Trail,
    totals: Totals,
    recipients: Vec<RecipientSummary>,
}

/// Shows a trail.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    sharetrail_schemas::check_customer_id(&args.customer)?;
    let opened = opened::open(root)?;
    let told = trail(&opened.ledger, &opened.projections, &opened.vault, &args.customer)?;
    let answer = TrailAnswer {
        trail: &told,
        totals: told.totals(),
        recipients: told.recipients(),
    };
    output.give(&answer, |page| write(page, &told))?;
    Ok(Answer::Yes)
}

/// A trail for people.
pub(crate) fn write(page: &mut Page, trail: &Trail) {
    if trail.generations.is_empty() {
        page.text(
            0,
            &format!(
                "Nothing is on record about {}: check the spelling of the customer id.",
                trail.customer
            ),
        );
        return;
    }
    head(page, trail);
    timeline(page, trail);
    unopened(page, trail);
    recipients(page, trail);
}

fn head(page: &mut Page, trail: &Trail) {
    let totals = trail.totals();
    page.heading(&format!("Trail of {}", trail.customer));
    page.field(2, "events", &on_record(trail, &totals));
    page.field(2, "sent out", &sent_out(&totals));
    for generation in &trail.generations {
        page.field(2, "label", &place(trail, generation));
    }
    if totals.findings > 0 {
        let what = if totals.findings == 1 {
            "disclosure is"
        } else {
            "disclosures are"
        };
        page.fails(
            2,
            &format!("{} {what} not in order: see below", number(totals.findings)),
        );
    }
}

fn on_record(trail: &Trail, totals: &Totals) -> String {
    let events = counted(totals.events, "event");
    match (trail.events.first(), trail.events.last()) {
        (Some(first), Some(last)) => format!("{events}, {}", words::dates(first.time, last.time)),
        _ => events,
    }
}

fn sent_out(totals: &Totals) -> String {
    match totals.disclosures {
        0 if totals.erased + totals.unreadable > 0 => {
            "not known: there are events that cannot be read".to_owned()
        }
        0 => "never: nothing was shared or transferred".to_owned(),
        times => {
            let others = if totals.erased + totals.unreadable > 0 {
                "; what others there were cannot be read"
            } else {
                ""
            };
            format!(
                "{}, to {}{others}",
                counted(times, "time"),
                counted(totals.recipients, "recipient")
            )
        }
    }
}

/// Where a generation is on record. Half a label is enough to recognise it by; JSON has it whole.
fn place(trail: &Trail, generation: &TrailGeneration) -> String {
    let label = generation.label.to_string();
    let short = label.get(..16).unwrap_or(&label);
    let checkpoint = trail.checkpoints.iter().find(|one| one.shard == generation.shard);
    let leaves = checkpoint.map_or(0, |one| one.size.0);
    let place = format!(
        "{short}… in shard {}, under the checkpoint of {}",
        generation.shard,
        counted(leaves, "leaf")
    );
    match generation.erased_at {
        Some(index) => format!("{place}; {}", erased(generation, index)),
        None => place,
    }
}

/// `12 events erased at leaf 1,234, no later than 2026-01-31T12:00:00Z`
fn erased(generation: &TrailGeneration, index: LeafIndex) -> String {
    let events = counted(generation.events, "event");
    let when = generation
        .erased_by
        .map_or_else(String::new, |time| format!(", no later than {time}"));
    format!("{events} erased at leaf {}{when}", number(index.0))
}

fn timeline(page: &mut Page, trail: &Trail) {
    let mut year = String::new();
    for one in &trail.events {
        let date = words::date(one.time);
        let its_year = date.split('-').next().unwrap_or_default();
        if its_year != year {
            its_year.clone_into(&mut year);
            page.blank();
            page.heading(&year);
        }
        event(page, &date, one);
    }
}

fn event(page: &mut Page, date: &str, event: &TrailEvent) {
    page.dated(
        &format!("{date:<11}"),
        &words::title(event),
        &format!("leaf {}", number(event.index.0)),
    );
    for (name, value) in words::details(event) {
        page.field(INDENT, name, &value);
    }
    for finding in &event.findings {
        page.fails(
            INDENT,
            &words::finding(event, finding.corrected_away, &finding.finding),
        );
    }
    if let Some(leaf) = event.corrected_at.last() {
        page.warns(
            INDENT,
            &format!("corrected since, last at leaf {}", number(leaf.0)),
        );
    }
    if event.failed {
        page.warns(INDENT, "did not happen, as another event of its producer says");
    }
}

fn unopened(page: &mut Page, trail: &Trail) {
    let totals = trail.totals();
    if totals.erased > 0 {
        page.blank();
        let verb = if totals.erased == 1 { "was" } else { "were" };
        let events = counted(totals.erased, "event");
        page.text(
            0,
            &format!("{events} {verb} erased: what happened is on record as an entry, what it said is gone."),
        );
    }
    if totals.unreadable == 0 {
        return;
    }
    page.blank();
    page.text_at(0, Style::Bold, "Not readable, though nothing was erased");
    for one in trail
        .unopened
        .iter()
        .filter(|one| one.state != UnopenedState::Erased)
    {
        let index = number(one.index.0);
        page.fails(
            2,
            &format!(
                "leaf {index} of shard {}, signed by {}: {}",
                one.shard, one.producer, one.reason
            ),
        );
    }
}

fn recipients(page: &mut Page, trail: &Trail) {
    let all = trail.recipients();
    if all.is_empty() {
        return;
    }
    page.blank();
    page.heading("Who received what");
    for one in &all {
        recipient(page, one);
    }
}

fn recipient(page: &mut Page, one: &RecipientSummary) {
    page.text(2, &words::party(&one.name, &one.country, one.role));
    page.field(
        4,
        "times",
        &format!(
            "{}, {}",
            number(one.disclosures),
            words::dates(one.first, one.last)
        ),
    );
    if one.corrected_away > 0 {
        let times = counted(one.corrected_away, "time");
        page.warns(
            4,
            &format!("told {times} first; corrected since to another recipient"),
        );
    }
    page.field(4, "what", &words::terms(&one.categories));
    page.field(4, "why", &words::terms(&one.purposes));
    if one.findings > 0 {
        page.fails(4, &format!("{} not in order", number(one.findings)));
    }
}
