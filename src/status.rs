//! `status`: a ledger at a glance.
//!
//! In scope: the page. Out of scope: proving anything. Problems are told and leave the exit code at 0: the question was
//! how things stand.

use std::path::Path;

use sharetrail_ledger::{
    BusStatus, ChainStatus, LeaseStatus, Ledger, MapStatus, ShardStatus, Status, status,
};
use sharetrail_schemas::Timestamp;

use crate::answer::Answer;
use crate::output::{Output, Page, counted, number};

/// Shows the state of the ledger.
pub(crate) fn run(root: &Path, output: &Output) -> anyhow::Result<Answer> {
    let ledger = Ledger::open(root)?;
    let found = status(&ledger)?;
    output.give(&found, |page| write(page, &found))?;
    Ok(Answer::Yes)
}

fn write(page: &mut Page, status: &Status) {
    page.heading(&format!(
        "{}: {} on record",
        status.ledger,
        counted(status.events, "event")
    ));
    page.field(2, "id", &status.id.to_string());
    page.field(2, "at work", &at_work(status));
    if status.vault.erasures_pending > 0 {
        let erasures = counted(status.vault.erasures_pending, "erasure");
        page.warns(
            2,
            &format!(
                "{erasures} asked for and not done yet: `sharetrail serve` tries again every few seconds, and the next start \
                 goes on too"
            ),
        );
    }
    if status.vault.rotation_due {
        page.warns(
            2,
            "A key was destroyed and the key-encryption key is not exchanged yet: until it is, old copies of the vault open. \
             Whoever is at work here tries again every few seconds, and so does the next start",
        );
    }
    if let Some(bus) = &status.bus {
        write_bus(page, bus);
    }
    for one in &status.shards {
        page.blank();
        shard(page, one);
    }
}

fn write_bus(page: &mut Page, bus: &BusStatus) {
    page.field(2, "bus", &format!("{}, this host is {}", bus.url, bus.host));
    if let Some(why) = &bus.unreachable {
        page.fails(2, why);
        return;
    }
    for host in &bus.hosts {
        let url = host.url.as_deref().unwrap_or("no address");
        let state = if host.ended { "ended" } else { url };
        page.field(2, "host", &format!("{}: {state}", host.name));
    }
    if let (Some(here), Some(registered)) = (bus.keys_here, bus.keys_registered) {
        let text = format!(
            "{} of customers here, {} given out",
            counted(here, "key"),
            number(registered)
        );
        page.field(2, "keys", &text);
    }
    for problem in &bus.problems {
        page.fails(2, problem);
    }
    for risk in &bus.risks {
        page.fails(2, risk);
    }
    if let Some(why) = &bus.cannot_check {
        page.warns(2, &format!("cannot check how the bus keeps its data: {why}"));
    }
}

fn write_lease(page: &mut Page, lease: &LeaseStatus) {
    let holder = lease.holder.as_deref().unwrap_or("nobody");
    let leaves = counted(lease.leaves, "leaf");
    page.field(
        2,
        "lease",
        &format!("{holder}, taken {}; {leaves} registered", times(lease.term)),
    );
    for one in &lease.replicas {
        let part = if one.leader { "leader" } else { "follower" };
        let lag = if one.current {
            String::new()
        } else {
            format!(", not current, {} behind", counted(one.lag, "message"))
        };
        let held = counted(one.messages, "message");
        page.field(
            2,
            "replica",
            &format!(
                "{} ({part}): {held} from {} to {}, {} deleted{lag}",
                one.node,
                number(one.first),
                number(one.last),
                number(one.deleted)
            ),
        );
    }
    if let Some(why) = &lease.cannot_check {
        page.warns(2, &format!("cannot check the replicas: {why}"));
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        _ => format!("{} times", number(count)),
    }
}

fn at_work(status: &Status) -> String {
    match (status.held, status.held_by) {
        (_, Some(process)) => format!("process {process}"),
        (true, None) => "a process".to_owned(),
        (false, None) => "nobody".to_owned(),
    }
}

fn shard(page: &mut Page, one: &ShardStatus) {
    page.heading(&format!("Shard {}", one.shard));
    let events = counted(one.events, "event");
    page.field(
        2,
        "log",
        &format!(
            "{}: {events}, {}",
            counted(one.leaves, "leaf"),
            counted(one.batches, "batch")
        ),
    );
    page.field(2, "root", &one.root.to_string());
    page.field(2, "sealed", &sealed_at(one.sealed_at));
    match &one.map {
        Some(map) => write_map(page, one, map),
        None => page.field(
            2,
            "map",
            "none is sealed yet; `sharetrail serve` seals one, or whoever reads",
        ),
    }
    let messages = counted(one.stream_messages, "message");
    page.field(
        2,
        "stream",
        &format!(
            "{}: {messages}, {} not sequenced yet",
            one.stream,
            number(one.waiting)
        ),
    );
    if let Some(lease) = &one.lease {
        write_lease(page, lease);
    }
    if one.rejected > 0 {
        page.warns(2, &format!("{} rejected", counted(one.rejected, "batch")));
    }
    for chain in &one.chains {
        page.field(2, "chain", &told(chain));
    }
    for incident in &one.incidents {
        let when = sealed_at(Some(incident.time));
        page.warns(2, &format!("{when}: {}", incident.what));
    }
    for problem in &one.problems {
        page.fails(2, problem);
    }
}

/// What the customer map covers.
fn write_map(page: &mut Page, shard: &ShardStatus, map: &MapStatus) {
    let (labels, sealed) = (counted(map.labels, "label"), sealed_at(map.sealed_at));
    let covered = match shard.leaves.saturating_sub(map.covered) {
        0 => "covers every leaf".to_owned(),
        behind => format!("{} behind", counted(behind, "leaf")),
    };
    page.field(
        2,
        "map",
        &format!("{labels}, {covered}; root {} sealed {sealed}", number(map.leaves)),
    );
    for problem in &map.problems {
        page.fails(2, problem);
    }
}

fn sealed_at(time: Option<u64>) -> String {
    let time = time
        .and_then(|seconds| i64::try_from(seconds).ok())
        .map(Timestamp::from_unix);
    time.map_or_else(|| "never".to_owned(), |time| time.to_string())
}

fn told(chain: &ChainStatus) -> String {
    let short = chain.chain.get(..8).unwrap_or(&chain.chain);
    let batches = counted(chain.batches, "batch");
    format!(
        "{short}… of {}: {batches}, the last at leaf {}",
        chain.producer,
        number(chain.head_index.0)
    )
}
