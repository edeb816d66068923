//! How long one event waits.
//!
//! In scope: events handed to a publisher at a steady rate; from when an event was due until it is accepted, and until
//! there is a receipt for it. An event that is handed in late because the publisher made its caller wait has waited since
//! it was due. Out of scope: what the rate should be.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use sharetrail_producers::{Pending, Publisher};
use tokio::runtime::Runtime;

use crate::Setting;
use crate::results::{Quantiles, Wait};
use crate::run::ratio;

/// Events a second that are waited for: a receipt costs reading, which must not be the load.
const SAMPLES_PER_SECOND: f64 = 200.0;

/// Of a burst, so many are waited for: enough that every shard's last batch is among theirs.
const LAST: usize = 200;

/// A steady load.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) per_second: f64,
    pub(crate) time: Duration,
}

/// Events a second, sealed, when they are handed in as fast as they are taken.
pub(crate) fn burst(publisher: &Publisher, contents: &[Vec<u8>], runtime: &Runtime) -> Result<f64> {
    let (began, mut last) = (Instant::now(), VecDeque::new());
    for content in contents {
        last.push_back(publisher.publish_json(content.clone())?);
        if last.len() > LAST {
            last.pop_front();
        }
    }
    for pending in last {
        runtime.block_on(pending.sealed())?;
    }
    Ok(ratio(contents.len() as u64, began.elapsed().as_secs_f64()))
}

/// The waiting times at a load; ends when the time is up or all contents are handed in.
pub(crate) fn measure(
    publisher: &Publisher,
    contents: &[Vec<u8>],
    load: &Load,
    setting: Setting,
    runtime: &Runtime,
) -> Result<Wait> {
    let (began, mut watched, mut handed_in) = (Instant::now(), Vec::new(), 0_u64);
    let every = sampling(load.per_second);
    let mut due_in = Duration::ZERO;
    let gap = Duration::from_secs_f64(1.0 / load.per_second);
    for content in contents {
        let due = began + due_in;
        due_in += gap;
        if due_in > load.time {
            break;
        }
        let now = Instant::now();
        if due > now {
            thread::sleep(due - now);
        }
        let pending = publisher.publish_json(content.clone())?;
        if handed_in.is_multiple_of(every) {
            watched.push(runtime.spawn(watch(pending, due)));
        }
        handed_in += 1;
    }
    let reached = ratio(handed_in, began.elapsed().as_secs_f64());
    let (mut accepted, mut sealed) = (Vec::new(), Vec::new());
    for one in watched {
        let (first, second) = runtime.block_on(one)??;
        accepted.push(first);
        sealed.push(second);
    }
    Ok(Wait {
        load: load.name,
        nodes: setting.nodes,
        sync: setting.sync(),
        per_second: reached,
        samples: sealed.len(),
        accepted: Quantiles::of(accepted),
        sealed: Quantiles::of(sealed),
    })
}

/// One event of so many is waited for.
fn sampling(per_second: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is positive, and far below 2^52"
    )]
    let every = (per_second / SAMPLES_PER_SECOND).ceil() as u64;
    every.max(1)
}

/// Milliseconds until an event is accepted, and until it is sealed.
async fn watch(mut pending: Pending, due: Instant) -> Result<(f64, f64)> {
    let millis = || due.elapsed().as_secs_f64() * 1e3;
    pending.accepted().await?;
    let accepted = millis();
    pending.sealed().await?;
    Ok((accepted, millis()))
}
