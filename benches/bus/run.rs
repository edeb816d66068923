//! What all measurements share: how long and how much, sending down lanes, the price of it.
//!
//! In scope: limits, the loop that sends, processor time and disk. Out of scope: where it is sent.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use sharetrail_cluster::usage;
use tokio::task::JoinSet;

use crate::frames::Lane;
use crate::results::Row;

/// Events a second at low load.
pub(crate) const LOW_LOAD: usize = 1_000;

/// How long and how much.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) time: Duration,
    pub(crate) events: usize,
}

impl Limits {
    pub(crate) fn new(seconds: f64, events: u32) -> Result<Self> {
        ensure!(
            seconds > 0.0 && seconds <= 600.0,
            "--seconds takes more than 0 and at most 600"
        );
        ensure!(
            (1_000..=2_000_000).contains(&events),
            "--events takes 1,000 to 2,000,000"
        );
        Ok(Self {
            time: Duration::from_secs_f64(seconds),
            events: usize::try_from(events)?,
        })
    }

    /// Events at low load.
    pub(crate) fn low(self) -> usize {
        LOW_LOAD * usize::try_from(self.time.as_secs() + 1).expect("it is at most 600 seconds")
    }

    /// Events that are handed in one by one as fast as they are taken.
    pub(crate) fn burst(self) -> usize {
        self.events / 2
    }

    /// Events that all measurements of a setting need together, each under an id of its own: the whole way, the burst,
    /// low load, high load.
    pub(crate) fn made_up(self) -> u32 {
        let all = self.events + self.burst() + self.low() + self.events;
        u32::try_from(all).expect("it is at most 6,000,000")
    }
}

/// Tells whoever waits at a terminal what goes on.
pub(crate) fn progress(what: &str) {
    eprintln!("bench bus: {what}");
}

/// What was sent, and how long it took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

impl Sent {
    pub(crate) fn add(&mut self, events: u64, bytes: usize) {
        self.events += events;
        self.bytes += bytes as u64;
    }

    pub(crate) fn per_second(&self) -> f64 {
        ratio(self.events, self.seconds)
    }
}

pub(crate) fn ratio(count: u64, by: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let count = count as f64;
    count / by
}

/// Sends down each lane one frame after the other, all lanes at once, until the time is up or all is sent; with `again`
/// a lane that is through starts anew. `send` gets the lane's number and a frame.
pub(crate) async fn drive<S, F>(lanes: &[Arc<Lane>], time: Duration, again: bool, send: S) -> Result<Sent>
where
    S: Fn(usize, Bytes) -> F + Clone + Send + 'static,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (began, mut tasks) = (Instant::now(), JoinSet::new());
    for (number, lane) in lanes.iter().enumerate() {
        let (lane, send) = (Arc::clone(lane), send.clone());
        tasks.spawn(async move {
            let mut sent = Sent::default();
            let rounds = if again { usize::MAX } else { 1 };
            let batches = std::iter::repeat_n(&lane.batches, rounds).flatten();
            for batch in batches.take_while(|_| began.elapsed() < time) {
                send(number, batch.frame.clone()).await?;
                sent.add(batch.events, batch.frame.len());
            }
            anyhow::Ok(sent)
        });
    }
    let mut all = Sent::default();
    while let Some(lane) = tasks.join_next().await {
        let lane = lane??;
        (all.events, all.bytes) = (all.events + lane.events, all.bytes + lane.bytes);
    }
    all.seconds = began.elapsed().as_secs_f64();
    Ok(all)
}

/// The price of what is done while it is there.
pub(crate) struct Meter<'a> {
    cpu: f64,
    disk: u64,
    folders: Vec<&'a Path>,
}

impl<'a> Meter<'a> {
    /// Counts the processor time of this process and of every program that it started, and what these folders take.
    pub(crate) fn start(folders: Vec<&'a Path>) -> Self {
        Self {
            cpu: cpu(),
            disk: disk(&folders),
            folders,
        }
    }

    /// Writes what was spent on so many events into a row.
    pub(crate) fn read(&self, events: u64, row: &mut Row) {
        row.cpu_us = Some((cpu() - self.cpu) * 1e6 / ratio(events.max(1), 1.0));
        if !self.folders.is_empty() {
            let grown = disk(&self.folders).saturating_sub(self.disk);
            row.disk_bytes = Some(ratio(grown, ratio(events.max(1), 1.0)));
        }
    }
}

fn cpu() -> f64 {
    usage::cpu_seconds_of_family(std::process::id())
}

fn disk(folders: &[&Path]) -> u64 {
    folders.iter().map(|folder| usage::disk_bytes(folder)).sum()
}
