//! The register on the bus: a small bucket of keys that change only from a known revision to the next.
//!
//! In scope: reading, conditional writing, listing. Out of scope: what the values say. Trust: the bucket may be rolled
//! back like any stream; whoever reads compares it with an archive.
//!
//! The bucket is laid out as NATS lays out a key-value bucket, so that its tools can show it, but read from the stream's
//! leader only: a copy that lags behind would show an old lease.

use std::collections::HashMap;

use async_nats::{HeaderMap, Request};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use super::api::{NO_MESSAGE, PATIENCE, STREAM_NOT_FOUND, WRONG_REVISION, parse};
use super::connect::{Backoff, Link, Trouble};
use super::names::BusNames;
use super::streams::{GONE_AFTER, make_bucket};
use crate::error::LedgerError;

/// How long one try to write waits.
const TRY: Duration = Duration::from_secs(3);
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// A value of the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// What was written.
    pub value: Vec<u8>,
    /// The number of the write that wrote it.
    pub revision: u64,
}

/// The key's revision is another than was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict;

#[derive(Deserialize)]
struct MessageAnswer {
    message: Stored,
}

#[derive(Deserialize)]
struct Stored {
    seq: u64,
    #[serde(default)]
    data: String,
    #[serde(default)]
    hdrs: String,
}

impl Stored {
    /// Whether somebody removed the key with a tool; its revision counts all the same.
    fn is_removed(&self) -> bool {
        let headers = data_encoding::BASE64
            .decode(self.hdrs.as_bytes())
            .unwrap_or_default();
        String::from_utf8_lossy(&headers).contains("KV-Operation:")
    }
}

#[derive(Deserialize)]
struct KeysAnswer {
    state: KeysState,
}

#[derive(Deserialize)]
struct KeysState {
    #[serde(default)]
    subjects: HashMap<String, u64>,
}

#[derive(Deserialize)]
struct Ack {
    stream: String,
    seq: u64,
}

/// The register, over one connection.
pub(super) struct Bucket<'a> {
    pub(super) link: &'a Link,
    pub(super) names: &'a BusNames,
}

impl Bucket<'_> {
    /// Asks the bucket's stream; a stream that is missing is believed missing after [`GONE_AFTER`].
    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        what: &str,
        body: &Value,
    ) -> Result<Option<T>, LedgerError> {
        let (end, mut backoff) = (Instant::now() + GONE_AFTER, Backoff::new());
        loop {
            match self.link.api(what, body, PATIENCE).await? {
                Ok(answer) => return Ok(Some(answer)),
                Err(fault) if fault.err_code == NO_MESSAGE => return Ok(None),
                Err(fault) if fault.err_code == STREAM_NOT_FOUND && Instant::now() < end => {}
                Err(fault) if fault.err_code == STREAM_NOT_FOUND => return Err(self.gone()),
                Err(fault) => return Err(fault.unexpected(what)),
            }
            backoff.pause().await;
        }
    }

    fn gone(&self) -> LedgerError {
        LedgerError::Bus(format!("the register (bucket {}) is gone", self.names.bucket()))
    }

    async fn last(&self, key: &str) -> Result<Option<Stored>, LedgerError> {
        let what = format!("STREAM.MSG.GET.{}", self.names.bucket_stream());
        let body = json!({ "last_by_subj": self.names.bucket_key(key) });
        let answer = self.ask::<MessageAnswer>(&what, &body).await?;
        Ok(answer.map(|answer| answer.message))
    }

    pub(super) async fn entry(&self, key: &str) -> Result<Option<Registered>, LedgerError> {
        check_key(key)?;
        let Some(stored) = self.last(key).await?.filter(|stored| !stored.is_removed()) else {
            return Ok(None);
        };
        let value = data_encoding::BASE64.decode(stored.data.as_bytes());
        let value = value.map_err(|error| LedgerError::Bus(format!("the value of {key}: {error}")))?;
        Ok(Some(Registered {
            value,
            revision: stored.seq,
        }))
    }

    pub(super) async fn update(
        &self,
        key: &str,
        value: Vec<u8>,
        expected: u64,
    ) -> Result<Result<u64, Conflict>, LedgerError> {
        check_key(key)?;
        let (value, mut expected) = (Bytes::from(value), expected);
        let (end, mut backoff) = (Instant::now() + PATIENCE, Backoff::new());
        // Set once a try may have gone through unheard: then a conflict may be with ourselves.
        let mut unheard = false;
        loop {
            let why = match self.write(key, &value, expected).await? {
                Written::As(revision) => return Ok(Ok(revision)),
                Written::Conflict => {
                    let last = self.last(key).await?;
                    if expected == 0 && last.as_ref().is_some_and(Stored::is_removed) {
                        expected = last.map_or(0, |stored| stored.seq);
                        "the key was removed".into()
                    } else {
                        let ours = data_encoding::BASE64.encode(&value);
                        let is_own = |stored: &Stored| stored.seq > expected && stored.data == ours;
                        let own = last.filter(|stored| unheard && is_own(stored));
                        return Ok(own.map(|stored| stored.seq).ok_or(Conflict));
                    }
                }
                Written::NotYet { why, sent } => {
                    unheard |= sent;
                    why
                }
            };
            if Instant::now() >= end {
                return Err(LedgerError::Bus(format!("{key} cannot be written: {why}")));
            }
            backoff.pause().await;
        }
    }

    async fn write(&self, key: &str, value: &Bytes, expected: u64) -> Result<Written, LedgerError> {
        let bus_subject = self.names.bucket_key(key);
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED, expected.to_string());
        let request = Request::new().headers(headers).payload(value.clone());
        let message = match self.link.ask(&bus_subject, request, TRY).await {
            Ok(message) => message,
            Err(Trouble::Denied(text)) => return Err(LedgerError::Denied(text)),
            Err(Trouble::Unsendable(text)) => return Err(LedgerError::Invalid(format!("{key}: {text}"))),
            Err(trouble) => {
                return Ok(Written::NotYet {
                    sent: matches!(trouble, Trouble::Lost | Trouble::Silent),
                    why: trouble.told(),
                });
            }
        };
        match parse::<Ack>(&message.payload) {
            Ok(Ok(ack)) if ack.stream == self.names.bucket_stream() => Ok(Written::As(ack.seq)),
            Ok(Err(fault)) if WRONG_REVISION.contains(&fault.err_code) => Ok(Written::Conflict),
            Ok(Err(fault)) if fault.is_transient() => Ok(Written::NotYet {
                why: fault.description,
                sent: true,
            }),
            Ok(Err(fault)) => Err(fault.unexpected(&bus_subject)),
            Ok(Ok(ack)) => Err(LedgerError::Bus(format!(
                "{bus_subject} is answered by stream {}",
                ack.stream
            ))),
            Err(error) => Err(LedgerError::Bus(format!("{bus_subject}: {error}"))),
        }
    }

    pub(super) async fn keys(&self, prefix: &str) -> Result<Vec<String>, LedgerError> {
        let what = format!("STREAM.INFO.{}", self.names.bucket_stream());
        let body = json!({ "subjects_filter": self.names.bucket_key(">") });
        let answer = self.ask::<KeysAnswer>(&what, &body).await?;
        let stem = self.names.bucket_key("");
        let mut keys: Vec<String> = answer
            .map(|answer| answer.state.subjects)
            .unwrap_or_default()
            .into_keys()
            .filter_map(|bus_subject| Some(bus_subject.strip_prefix(&stem)?.to_owned()))
            .filter(|key| key.starts_with(prefix))
            .collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// Makes the bucket if it is gone; whether it was.
    pub(super) async fn mend(&self, replicas: u8) -> Result<bool, LedgerError> {
        let what = format!("STREAM.INFO.{}", self.names.bucket_stream());
        let (end, mut backoff) = (Instant::now() + GONE_AFTER, Backoff::new());
        loop {
            match self.link.api::<Value>(&what, &Value::Null, PATIENCE).await? {
                Ok(_) => return Ok(false),
                Err(fault) if fault.err_code != STREAM_NOT_FOUND => return Err(fault.unexpected(&what)),
                Err(_) if Instant::now() >= end => break,
                Err(_) => backoff.pause().await,
            }
        }
        make_bucket(self.link, self.names, replicas).await?;
        Ok(true)
    }
}

/// What became of one try to write.
enum Written {
    As(u64),
    Conflict,
    /// It may go through when tried again; `sent`: it may have gone through already.
    NotYet {
        why: String,
        sent: bool,
    },
}

fn check_key(key: &str) -> Result<(), LedgerError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'=');
    if key.bytes().all(fits) && key.split('.').all(|token| !token.is_empty()) {
        Ok(())
    } else {
        Err(LedgerError::Invalid(format!("{key:?} is no key of the register")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_or_more_tokens() {
        assert!(
            ["shard.0", "host.a_b", "a"]
                .iter()
                .all(|key| check_key(key).is_ok())
        );
        assert!(
            ["", ".", "a.", "a.*", "a b", ">"]
                .iter()
                .all(|key| check_key(key).is_err())
        );
    }

    #[test]
    fn a_key_that_a_tool_removed_is_known_by_its_header() {
        let with = |headers: &str| Stored {
            seq: 1,
            data: String::new(),
            hdrs: data_encoding::BASE64.encode(headers.as_bytes()),
        };
        assert!(with("NATS/1.0\r\nKV-Operation: DEL\r\n\r\n").is_removed());
        assert!(!with("NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: 1\r\n\r\n").is_removed());
        assert!(!with("").is_removed());
    }
}
