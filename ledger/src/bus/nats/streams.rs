//! The streams of a ledger: finding, making, closing them, and telling one from another that took its place.
//!
//! In scope: one live stream a shard, its settings, its id. Out of scope: messages. Trust: JetStream's word on which
//! stream there is; what it holds is checked by whoever reads.
//!
//! The live stream of a shard is the one that takes in the shard's frames. A closed one takes in nothing, is sealed, and
//! keeps what it holds.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::api::{LONG_PATIENCE, PATIENCE, STREAM_NOT_FOUND};
use super::connect::{Backoff, Link};
use super::names::BusNames;
use crate::bus::{StreamId, StreamInfo, StreamSeq};
use crate::error::LedgerError;

/// While a cluster chooses a leader it may say that a stream is not there; it is gone when it says so for this long.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(5);
/// The shortest memory for repeats that JetStream allows: repeats are the sequencer's business.
const DUPLICATES_NS: u64 = 100_000_000;

/// What JetStream says of a stream.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) name: String,
    pub(super) id: StreamId,
    pub(super) last: u64,
    /// Whether it takes in the shard's frames.
    pub(super) live: bool,
    config: Value,
}

impl Told {
    pub(super) fn info(&self) -> StreamInfo {
        StreamInfo {
            id: self.id,
            last: StreamSeq(self.last),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    config: Value,
    created: String,
    state: StateAnswer,
}

#[derive(Deserialize)]
struct StateAnswer {
    last_seq: u64,
}

#[derive(Deserialize)]
struct NamesAnswer {
    total: u64,
    #[serde(default)]
    streams: Option<Vec<String>>,
}

/// A stream's id: its name and the moment it was made.
fn stream_id(name: &str, created: &str) -> StreamId {
    let mut hasher = Sha256::new();
    hasher.update(b"sharetrail nats stream v1\n");
    hasher.update(name.as_bytes());
    hasher.update(with_nanoseconds(created).as_bytes());
    let digest = hasher.finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    StreamId(id)
}

/// RFC 3339 with nine digits of the second: servers leave zeros at the end out.
fn with_nanoseconds(created: &str) -> String {
    let Some(moment) = created.strip_suffix('Z') else {
        return created.to_owned();
    };
    let (whole, fraction) = moment.split_once('.').unwrap_or((moment, ""));
    format!("{whole}.{fraction:0<9}Z")
}

/// The settings of a stream that loses nothing by itself.
fn config(name: &str, takes_in: &str, replicas: u8) -> Value {
    json!({
        "name": name,
        "subjects": [takes_in],
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "num_replicas": replicas,
        "max_consumers": -1,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_bytes": -1,
        "max_age": 0,
        "max_msg_size": -1,
        "duplicate_window": DUPLICATES_NS,
        "deny_delete": true,
        "deny_purge": true,
        "allow_direct": false,
        "metadata": {"sharetrail": "1"},
    })
}

/// The settings of the stream under the bucket: the last value of each key, read from its leader only.
pub(super) fn bucket_config(names: &BusNames, replicas: u8) -> Value {
    let mut config = config(&names.bucket_stream(), &names.bucket_key(">"), replicas);
    config["max_msgs_per_subject"] = json!(1);
    config
}

/// What JetStream says of one shard's streams, over one connection.
pub(super) struct Streams<'a> {
    pub(super) link: &'a Link,
    pub(super) names: &'a BusNames,
    pub(super) shard: u32,
}

impl Streams<'_> {
    fn told(&self, name: String, answer: Answer) -> Told {
        let live = answer.config["subjects"]
            .as_array()
            .is_some_and(|list| list.iter().any(|one| *one == self.names.all_frames(self.shard)));
        Told {
            id: stream_id(&name, &answer.created),
            last: answer.state.last_seq,
            live,
            config: answer.config,
            name,
        }
    }

    /// A stream by its name; nothing where there is none at the moment.
    pub(super) async fn look(&self, name: &str) -> Result<Option<Told>, LedgerError> {
        let what = format!("STREAM.INFO.{name}");
        match self.link.api::<Answer>(&what, &Value::Null, PATIENCE).await? {
            Ok(answer) => Ok(Some(self.told(name.to_owned(), answer))),
            Err(fault) if fault.err_code == STREAM_NOT_FOUND => Ok(None),
            Err(fault) => Err(fault.unexpected(&what)),
        }
    }

    /// The live stream; nothing where there is none at the moment.
    pub(super) async fn live(&self) -> Result<Option<Told>, LedgerError> {
        let takes_in = json!({ "subject": self.names.all_frames(self.shard) });
        for name in stream_names(self.link, &takes_in).await? {
            if self.names.stream_number(self.shard, &name).is_some()
                && let Some(told) = self.look(&name).await?
                && told.live
            {
                return Ok(Some(told));
            }
        }
        Ok(None)
    }

    /// The live stream; nothing once it was missing for [`GONE_AFTER`].
    pub(super) async fn live_patiently(&self) -> Result<Option<Told>, LedgerError> {
        let (end, mut backoff) = (Instant::now() + GONE_AFTER, Backoff::new());
        loop {
            let found = self.live().await?;
            if found.is_some() || Instant::now() >= end {
                return Ok(found);
            }
            backoff.pause().await;
        }
    }

    /// The live stream, or the error that it is gone.
    pub(super) async fn live_or_gone(&self) -> Result<Told, LedgerError> {
        let gone = || self.lost("its stream is gone from the bus".into());
        self.live_patiently().await?.ok_or_else(gone)
    }

    /// An error that names the shard.
    pub(super) fn lost(&self, what: String) -> LedgerError {
        LedgerError::Stream {
            shard: self.shard,
            what,
        }
    }

    /// The numbers of all streams the shard ever had and that are still there, rising.
    pub(super) async fn numbers(&self) -> Result<Vec<u64>, LedgerError> {
        let all = stream_names(self.link, &json!({})).await?;
        let mut numbers: Vec<u64> = all
            .iter()
            .filter_map(|name| self.names.stream_number(self.shard, name))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Makes a stream that takes in the shard's frames.
    pub(super) async fn make(&self, number: u64, replicas: u8) -> Result<Told, LedgerError> {
        let name = self.names.stream(self.shard, number);
        let config = config(&name, &self.names.all_frames(self.shard), replicas);
        let answer = change(self.link, "CREATE", &name, &config).await?;
        Ok(self.told(name, answer))
    }

    /// Closes the live stream and opens the next; takes up where an earlier attempt broke off.
    pub(super) async fn next(&self, replicas: u8) -> Result<Told, LedgerError> {
        if let Some(told) = self.live_patiently().await? {
            let mut config = told.config.clone();
            let number = self
                .names
                .stream_number(self.shard, &told.name)
                .unwrap_or_default();
            config["subjects"] = json!([self.names.closed(self.shard, number)]);
            change(self.link, "UPDATE", &told.name, &config).await?;
        }
        let newest = self.numbers().await?.last().copied().unwrap_or(0);
        if newest > 0 {
            self.seal(&self.names.stream(self.shard, newest)).await?;
        }
        self.make(newest + 1, replicas).await
    }

    /// Whether a stream of the shard is still there and was closed: it takes nothing in any more.
    pub(super) async fn was_closed(&self, id: StreamId) -> Result<bool, LedgerError> {
        for number in self.numbers().await? {
            let told = self.look(&self.names.stream(self.shard, number)).await?;
            if told.is_some_and(|told| told.id == id && !told.live) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn seal(&self, name: &str) -> Result<(), LedgerError> {
        let Some(told) = self.look(name).await? else {
            return Ok(());
        };
        let mut config = told.config;
        if config["sealed"] == json!(true) {
            return Ok(());
        }
        config["sealed"] = json!(true);
        change(self.link, "UPDATE", name, &config).await.map(|_| ())
    }
}

async fn change(link: &Link, deed: &str, name: &str, config: &Value) -> Result<Answer, LedgerError> {
    let what = format!("STREAM.{deed}.{name}");
    let answer = link.api(&what, config, LONG_PATIENCE).await?;
    answer.map_err(|fault| fault.unexpected(&what))
}

/// Makes the stream under the bucket.
pub(super) async fn make_bucket(link: &Link, names: &BusNames, replicas: u8) -> Result<(), LedgerError> {
    let config = bucket_config(names, replicas);
    change(link, "CREATE", &names.bucket_stream(), &config)
        .await
        .map(|_| ())
}

/// The names of all streams that answer to `filter`.
pub(super) async fn stream_names(link: &Link, filter: &Value) -> Result<Vec<String>, LedgerError> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let mut body = filter.clone();
        body["offset"] = json!(names.len());
        let answer = link.api::<NamesAnswer>("STREAM.NAMES", &body, PATIENCE).await?;
        let answer = answer.map_err(|fault| fault.unexpected("STREAM.NAMES"))?;
        let page = answer.streams.unwrap_or_default();
        let ended = page.is_empty();
        names.extend(page);
        if ended || names.len() as u64 >= answer.total {
            return Ok(names);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_name_and_moment_and_not_on_how_the_moment_is_written() {
        let id = stream_id("ledger_a_0_1", "2026-11-21T22:49:13.3065Z");
        assert_eq!(id, stream_id("ledger_a_0_1", "2026-11-21T22:49:13.306500000Z"));
        assert_ne!(id, stream_id("ledger_a_0_2", "2026-11-21T22:49:13.3065Z"));
        assert_ne!(id, stream_id("ledger_a_0_1", "2026-11-21T22:49:13.306500001Z"));
        assert_eq!(
            with_nanoseconds("2026-11-21T22:49:13Z"),
            "2026-11-21T22:49:13.000000000Z"
        );
    }
}
