//! `serve`: works on a ledger until told to stop.
//!
//! In scope: arguments, notices as they come, projecting and mapping what is sealed, finishing erasures, reading trails for
//! the officer, renewed certificates, ending cleanly. Out of scope: sequencing, leases, answering producers (the engine),
//! answering requests (the HTTP server).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use sharetrail_consumers::http::{DemoIssuer, HttpOptions, HttpServer, HttpSettings};
use sharetrail_consumers::{Shelf, Watch};
use sharetrail_ledger::{Engine, HostOptions, Ledger, Role};

use crate::answer::Answer;
use crate::hands::EngineHands;
use crate::interrupt::until_told_to_stop;
use crate::journal::{self, Journal};
use crate::opened::store_kind;
use crate::output::{Output, note};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Serve the pages, the HTTP API, the logs and, to other hosts, the archive at this address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8433")]
    listen: SocketAddr,
    /// Where other hosts reach this one, if that differs from --listen
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Copy the archive from this host if it is missing here; besides those that announce themselves
    #[arg(long = "peer", value_name = "URL")]
    peers: Vec<String>,
    /// What is told of requests, on the standard error; no personal data is
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        default_value = "off",
        env = "SHARETRAIL_JOURNAL"
    )]
    journal: Journal,
}

/// How often the projector looks for new leaves, and lets go of the projections so that others can read them.
const PROJECT_EVERY: Duration = Duration::from_secs(1);
/// How often the customer maps are brought level; a root is sealed once a second at most.
const MAP_EVERY: Duration = Duration::from_secs(1);
/// How often erasures are looked for that were asked for and are not on record yet.
const ERASE_EVERY: Duration = Duration::from_secs(5);
/// How often new trails are read for the officer.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether the files of TLS have changed.
const RENEW_EVERY: Duration = Duration::from_mins(1);
/// How often the same error of a thread is told.
const TELL_EVERY: Duration = Duration::from_mins(1);
const TICK: Duration = Duration::from_millis(100);

/// What is served, and to whom.
pub(crate) struct Serving {
    pub(crate) listen: SocketAddr,
    /// Where other hosts reach this one, if not at the address that is listened at.
    pub(crate) url: Option<String>,
    pub(crate) peers: Vec<String>,
    pub(crate) settings: HttpSettings,
    /// The issuer of the demonstration; none anywhere else.
    pub(crate) demo: Option<DemoIssuer>,
}

/// Serves until a signal.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    let ledger = Ledger::open(root)?;
    let settings = HttpSettings::read(ledger.root())?;
    journal::start(args.journal)?;
    let stop = until_told_to_stop()?;
    let serving = Serving {
        listen: args.listen,
        url: args.url.clone(),
        peers: args.peers.clone(),
        settings,
        demo: None,
    };
    serve(&ledger, serving, &stop, &mut |url| {
        let ready = json!({ "serving": ledger.name(), "url": url, "shards": ledger.shards() });
        output.give(&ready, |page| {
            page.holds(&format!("Serving {} at {url}; Ctrl-C ends.", ledger.name()));
        })
    })?;
    Ok(Answer::Yes)
}

/// Serves until told to stop. `ready` is called once requests are answered, with where.
pub(crate) fn serve(
    ledger: &Ledger,
    serving: Serving,
    stop: &AtomicBool,
    ready: &mut dyn FnMut(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let engine = Arc::new(Engine::serve(ledger, &HostOptions::shared(serving.peers))?);
    let shelf = Arc::new(Shelf::new(ledger, store_kind(ledger)?));
    // Before anybody asks: whoever asks first would wait for all of it.
    shelf.catch_up()?;
    let watch = Watch::new(ledger, engine.vault(), &shelf);
    let hands = Arc::new(EngineHands::new(&engine, &shelf));
    let server = HttpServer::open(HttpOptions {
        ledger: ledger.clone(),
        vault: Arc::clone(engine.vault()),
        shelf: Arc::clone(&shelf),
        watch: Arc::clone(&watch),
        hands: Arc::clone(&hands) as _,
        settings: serving.settings,
        listen: serving.listen,
        secret: *engine.vault().peer_secret().bytes(),
        demo: serving.demo,
    })?;
    let url = serving.url.unwrap_or_else(|| server.url());
    if let Some(host) = engine.host() {
        host.announce_url(url.clone());
    }
    let outcome = ready(&url).and_then(|()| {
        let parts = Parts {
            ledger,
            engine: &engine,
            shelf: &shelf,
            watch: &watch,
            server: &server,
        };
        work(&parts, stop)
    });
    // Nobody asks any more, then nothing is recorded any more, then the engine ends.
    server.stop();
    hands.close();
    drop(hands);
    engine.notices().iter().for_each(|notice| note(notice));
    let engine =
        Arc::into_inner(engine).context("something still works on the ledger; it ends with the process")?;
    engine.stop()?;
    outcome
}

/// What the threads work on.
#[derive(Clone, Copy)]
struct Parts<'a> {
    ledger: &'a Ledger,
    engine: &'a Engine,
    shelf: &'a Shelf,
    watch: &'a Watch,
    server: &'a HttpServer,
}

/// Projects, maps, finishes erasures, reads trails for the officer, renews certificates and tends the engine, until told to
/// stop.
fn work(parts: &Parts<'_>, stop: &AtomicBool) -> anyhow::Result<()> {
    let Parts {
        ledger,
        engine,
        shelf,
        watch,
        server,
    } = *parts;
    std::thread::scope(|scope| {
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let project = || repeat("projector", PROJECT_EVERY, stop, || fold(shelf));
        let map = || {
            repeat("mapper", MAP_EVERY, stop, || {
                Ok(engine.map_paced(&|_, _| (), stop)?)
            });
        };
        let erase = || {
            repeat("erasures", ERASE_EVERY, stop, || {
                engine.finish_erasures()?;
                Ok(())
            });
        };
        let look = || repeat("watch", WATCH_EVERY, stop, || Ok(watch.look(stop)?));
        let renew = || {
            let mut were_wrong = false;
            repeat("certificates", RENEW_EVERY, stop, || {
                renew(server, &mut were_wrong)
            });
        };
        let threads = [
            named("projector").spawn_scoped(scope, project),
            named("mapper").spawn_scoped(scope, map),
            named("erasures").spawn_scoped(scope, erase),
            named("watch").spawn_scoped(scope, look),
            named("certificates").spawn_scoped(scope, renew),
        ];
        let outcome = match threads.iter().find_map(|thread| thread.as_ref().err()) {
            Some(error) => Err(anyhow::anyhow!("cannot start a thread: {error}")),
            None => tend(ledger, engine, stop, &|| {
                let ended = threads.iter().flatten().find(|thread| thread.is_finished());
                ended.map(|thread| thread.thread().name().unwrap_or_default().to_owned())
            }),
        };
        stop.store(true, Ordering::Release);
        for thread in threads.into_iter().flatten() {
            // One that panicked has told so; what it does is derived, or done at the next start.
            let _ = thread.join();
        }
        outcome
    })
}

/// Tells what happens and carries out the operator's commands, until told to stop, every shard has halted or a thread has
/// ended. `ended`: the name of one that has, if one has.
fn tend(
    ledger: &Ledger,
    engine: &Engine,
    stop: &AtomicBool,
    ended: &dyn Fn() -> Option<String>,
) -> anyhow::Result<()> {
    let mut roles = vec![Role::Beginning; ledger.shards() as usize];
    while !stop.load(Ordering::Acquire) {
        for notice in engine.notices() {
            note(&notice);
        }
        for (shard, before) in (0_u32..).zip(&mut roles) {
            let role = role(engine, shard);
            if role != *before {
                note(&told(shard, &role));
                *before = role;
            }
        }
        if roles.iter().all(|role| matches!(role, Role::Halted(_))) {
            anyhow::bail!("every shard has halted; see what was said above");
        }
        if let Some(name) = ended()
            && !stop.load(Ordering::Acquire)
        {
            anyhow::bail!(
                "the thread {name:?} has ended, see what was said above; start `sharetrail serve` again"
            );
        }
        match engine.host() {
            Some(_) => {
                if let Some(done) = engine.tend(TICK) {
                    note(&done);
                }
            }
            None => std::thread::sleep(TICK),
        }
    }
    Ok(())
}

fn role(engine: &Engine, shard: u32) -> Role {
    let halted = engine.view(shard).borrow().halted.clone().map(Role::Halted);
    let shared = engine.host().map(|host| host.role(shard));
    halted.or(shared).unwrap_or(Role::Leading)
}

fn told(shard: u32, role: &Role) -> String {
    match role {
        Role::Leading => format!("shard {shard}: led by this host"),
        Role::Following => format!("shard {shard}: led by another host; this one keeps its archive level"),
        Role::Halted(why) => format!("shard {shard}: halted: {why}"),
        _ => format!("shard {shard}: beginning"),
    }
}

/// Does something at its pace until told to stop. An error is told at once, and then once a minute while it is of the same
/// kind.
fn repeat(name: &str, every: Duration, stop: &AtomicBool, mut work: impl FnMut() -> anyhow::Result<()>) {
    let mut last = LastError::default();
    while !stop.load(Ordering::Acquire) {
        let began = Instant::now();
        if let Err(error) = work() {
            let error = format!("{error:#}");
            if last.is_news(&error, Instant::now()) {
                note(&format!("{name}: {error}; it is tried again"));
            }
        }
        while began.elapsed() < every && !stop.load(Ordering::Acquire) {
            std::thread::sleep(TICK);
        }
    }
}

/// The error that was told last, by its kind, and when.
#[derive(Default)]
struct LastError(Option<(String, Instant)>);

impl LastError {
    /// Whether an error is to be told now; then it is the last one. That it went well in between makes no news of it.
    fn is_news(&mut self, error: &str, now: Instant) -> bool {
        let kind = kind(error);
        let is_old =
            |(last, when): &(String, Instant)| *last == kind && now.duration_since(*when) < TELL_EVERY;
        if self.0.as_ref().is_some_and(is_old) {
            return false;
        }
        self.0 = Some((kind, now));
        true
    }
}

/// What is the same in errors of a kind: numbers, labels and roots differ from one to the next.
fn kind(error: &str) -> String {
    let has_digit = |word: &&str| word.contains(|c: char| c.is_ascii_digit());
    let words: Vec<&str> = error.split_whitespace().filter(|word| !has_digit(word)).collect();
    words.join(" ")
}

/// Folds what is sealed into the projections, and lets go of them where nobody asks.
fn fold(shelf: &Shelf) -> anyhow::Result<()> {
    let done = shelf.catch_up();
    shelf.notices().iter().for_each(|notice| note(notice));
    shelf.rest();
    done?;
    Ok(())
}

/// Has the server read the files of TLS again. `were_wrong`: whether they were not good the last time.
fn renew(server: &HttpServer, were_wrong: &mut bool) -> anyhow::Result<()> {
    let renewed = server.renew_certificates();
    if let Some(news) = news_of_files(renewed.as_ref().ok().copied(), were_wrong) {
        note(news);
    }
    renewed.context("the server goes on with what it read before; put right the file that is named here")?;
    Ok(())
}

/// What there is to tell of files that were read again. `renewed`: whether they have changed; none where they are not good.
/// Whoever was told that one is not good is to hear, too, that all is well again, though it was put back as it was.
fn news_of_files(renewed: Option<bool>, were_wrong: &mut bool) -> Option<&'static str> {
    let were_wrong = std::mem::replace(were_wrong, renewed.is_none());
    if renewed? {
        Some("certificates: they have changed and were read again; whoever connects from now on gets them")
    } else if were_wrong {
        Some("certificates: they are good again, and as the server has read them before")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault: an operator who put back a bad file is left to believe that it is bad still, or is told each minute that
    /// all is well.
    #[test]
    fn files_of_tls_that_are_good_again_are_told_once() {
        let mut were_wrong = false;
        let mut told = |renewed| {
            let news = news_of_files(renewed, &mut were_wrong);
            news.map(|news| (news.contains("good again"), news.contains("have changed")))
        };
        for (renewed, news) in [
            (Some(false), None),
            (None, None),
            (None, None),
            (Some(false), Some((true, false))),
            (Some(false), None),
            (None, None),
            (Some(true), Some((false, true))),
            (Some(false), None),
        ] {
            assert_eq!(told(renewed), news, "{renewed:?}");
        }
    }

    /// The fault: an error that comes again every second, with other numbers, fills the journal; or another one is not told.
    #[test]
    fn an_error_is_told_once_a_minute_unless_it_is_another() {
        let (mut last, start) = (LastError::default(), Instant::now());
        for (seconds, error, is_news) in [
            (0, "shard 0: 17 leaves are missing", true),
            (1, "shard 0: 17 leaves are missing", false),
            (2, "shard 1: 18 leaves are missing", false),
            (59, "shard 0: 9 leaves are missing", false),
            (60, "shard 0: 9 leaves are missing", true),
            (61, "no space is left", true),
            (62, "no space is left", false),
            (63, "shard 0: 9 leaves are missing", true),
        ] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(last.is_news(error, now), is_news, "after {seconds} s: {error}");
        }
    }
}
