//! The measurements, each in a process of its own: so that what one leaves in memory is not another's.
//!
//! In scope: mapping, projecting, the first dossier of a process, an audit; what each took. Out of scope: the ledgers
//! ([`crate::generate`]), showing results. What the operating system keeps of files in memory stays from one to the next.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sharetrail_consumers::{Projections, dossier};
use sharetrail_ledger::{Engine, Ledger};
use sharetrail_proof::dossier::{ContentEvidence, Dossier};
use sharetrail_proof::hash::TreeSize;

use crate::generate::{CUSTOMER, CUSTOMER_EVENTS, open};

/// How often what is warm is done, for an average.
const ROUNDS: u32 = 20;
/// Leaves between two notes of the time.
const NOTED_EVERY: u64 = 10_000;

/// How far something had come, and when.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) leaves: u64,
    pub(crate) seconds: f64,
}

/// Notes how far something has come.
struct Course {
    began: Instant,
    samples: Mutex<Vec<Sample>>,
}

impl Course {
    fn begin() -> Self {
        Self {
            began: Instant::now(),
            samples: Mutex::default(),
        }
    }

    fn note(&self, leaves: u64, of: u64) {
        let seconds = self.began.elapsed().as_secs_f64();
        let mut samples = self.samples.lock().expect("nobody panics here");
        let last = samples.last().map_or(0, |last| last.leaves);
        if leaves >= last + NOTED_EVERY || (leaves == of && leaves > last) {
            if leaves / 1_000_000 > last / 1_000_000 {
                eprintln!("  {leaves} of {of} leaves");
            }
            samples.push(Sample { leaves, seconds });
        }
    }

    fn end(self) -> Vec<Sample> {
        self.samples.into_inner().expect("nobody panics here")
    }
}

/// What mapping came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Mapped {
    pub(crate) samples: Vec<Sample>,
    pub(crate) seconds: f64,
    pub(crate) leaves: u64,
    pub(crate) labels: u64,
    /// Leaves of the map log.
    pub(crate) roots: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) mapping_bytes: u64,
    pub(crate) map_bytes: u64,
    pub(crate) ledger_bytes: u64,
}

/// Maps a ledger until its map log is level with its record log.
pub(crate) fn map(home: &Path) -> Result<Mapped> {
    let ledger = open(home)?;
    let engine = Engine::start(&ledger)?;
    let (course, stop) = (Course::begin(), AtomicBool::new(false));
    engine.map(&|done, all| course.note(done, all), &stop)?;
    let seconds = course.began.elapsed().as_secs_f64();
    engine.stop()?;
    let reader = ledger.map_reader(0)?.context("nothing was mapped")?;
    let leaves = ledger.reader(0)?.size().0;
    ensure!(
        reader.leaf().checkpoint.size.0 == leaves,
        "the map log ends at {} of {leaves} leaves",
        reader.leaf().checkpoint.size
    );
    let size: TreeSize = reader.size();
    Ok(Mapped {
        samples: course.end(),
        seconds,
        leaves,
        labels: reader.leaf().labels,
        roots: size.0,
        peak_bytes: peak_bytes()?,
        mapping_bytes: bytes_in(&ledger.root().join("mapping"))?,
        map_bytes: bytes_in(&ledger.root().join("map"))?,
        ledger_bytes: bytes_in(ledger.root())?,
    })
}

/// What projecting came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Projected {
    pub(crate) leaves: u64,
    pub(crate) seconds: f64,
    pub(crate) peak_bytes: u64,
}

/// Folds the projection, which says where a customer's leaves are.
pub(crate) fn project(home: &Path) -> Result<Projected> {
    let (ledger, began, course) = (open(home)?, Instant::now(), Course::begin());
    let projections = projections(&ledger)?;
    projections.catch_up(&|done, all| course.note(done, all))?;
    drop(projections);
    Ok(Projected {
        leaves: ledger.reader(0)?.size().0,
        seconds: began.elapsed().as_secs_f64(),
        peak_bytes: peak_bytes()?,
    })
}

fn projections(ledger: &Ledger) -> Result<Projections> {
    Ok(Projections::open(ledger, ledger.settings().store.parse()?)?)
}

/// What a dossier came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Proven {
    pub(crate) open_ms: f64,
    pub(crate) first_ms: f64,
    pub(crate) warm_ms: f64,
    pub(crate) verify_ms: f64,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    /// Of these, the contents as they stand in the file.
    pub(crate) content_bytes: u64,
}

impl Proven {
    /// What the file has beside the contents.
    pub(crate) fn evidence_bytes(&self) -> u64 {
        self.bytes - self.content_bytes
    }
}

/// Makes the first dossier of this process, and verifies it.
pub(crate) fn prove(home: &Path) -> Result<Proven> {
    let began = Instant::now();
    let ledger = open(home)?;
    let (projections, vault) = (projections(&ledger)?, ledger.vault()?);
    let open_ms = millis(began);
    let began = Instant::now();
    let made = dossier(&ledger, &projections, &vault, CUSTOMER)?;
    let first_ms = millis(began);
    let warm_ms = timed(|| Ok(dossier(&ledger, &projections, &vault, CUSTOMER)?))?;
    let (bytes, policy) = (made.to_bytes(), ledger.policy()?);
    let verify_ms = timed(|| Ok(Dossier::parse(&bytes)?.verify(&policy)?))?;
    let verified = Dossier::parse(&bytes)?.verify(&policy)?;
    let covered = verified.events.iter().filter(|event| event.covered).count();
    ensure!(
        covered == CUSTOMER_EVENTS as usize && verified.events.len() == covered,
        "{covered} of {CUSTOMER_EVENTS} events are proven to be all"
    );
    Ok(Proven {
        open_ms,
        first_ms,
        warm_ms,
        verify_ms,
        events: covered as u64,
        bytes: bytes.len() as u64,
        content_bytes: content_bytes(&made)?,
    })
}

fn content_bytes(dossier: &Dossier) -> Result<u64> {
    let mut bytes = 0;
    let events = dossier.generations.iter().flat_map(|one| &one.events);
    for event in events {
        if let ContentEvidence::Opened { json, .. } = &event.content {
            bytes += serde_json::to_string(json)?.len() as u64;
        }
    }
    Ok(bytes)
}

fn millis(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

/// Milliseconds of one call, on average.
fn timed<T>(mut call: impl FnMut() -> Result<T>) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..ROUNDS {
        call()?;
    }
    Ok(millis(began) / f64::from(ROUNDS))
}

/// The most memory that this process ever held.
pub(crate) fn peak_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("reading how much memory was used")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: u64 = kib.context("the system does not say it")?.trim().parse()?;
    Ok(kib << 10)
}

fn bytes_in(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for item in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let item = item?;
        bytes += if item.file_type()?.is_dir() {
            bytes_in(&item.path())?
        } else {
            item.metadata()?.len()
        };
    }
    Ok(bytes)
}
