//! Questions to JetStream itself, asked again while it only cannot answer yet.
//!
//! In scope: the request, its error in the answer, patience. Out of scope: what is asked. Trust: as [`super::connect`].

use std::time::Duration;

use async_nats::Request;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::connect::{Backoff, Link, Trouble};
use crate::error::LedgerError;

/// How long one try waits for its answer.
const TRY: Duration = Duration::from_secs(3);
/// For how long the same is asked again.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The same where a cluster has to agree on something new first.
pub(super) const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// There is no such stream.
pub(super) const STREAM_NOT_FOUND: u64 = 10_059;
/// The stream holds no such message.
pub(super) const NO_MESSAGE: u64 = 10_037;
/// Faults that say 500 and last all the same: no storage, no memory, no cluster for that many replicas.
const LASTING: [u64; 3] = [10_047, 10_028, 10_074];
/// The expected revision is not the last one; the second, while another write is under way.
pub(super) const WRONG_REVISION: [u64; 2] = [10_071, 10_164];

/// Why JetStream does not do what it was asked.
#[derive(Debug, Deserialize)]
pub(super) struct Fault {
    /// As in HTTP: from 500 on, it mostly goes through later.
    #[serde(default)]
    pub(super) code: u16,
    /// Which fault exactly.
    #[serde(default)]
    pub(super) err_code: u64,
    /// In words.
    #[serde(default)]
    pub(super) description: String,
}

impl Fault {
    pub(super) fn is_transient(&self) -> bool {
        self.code >= 500 && !LASTING.contains(&self.err_code)
    }

    /// The fault where nobody expected one.
    pub(super) fn unexpected(&self, what: &str) -> LedgerError {
        LedgerError::Bus(format!(
            "{what}: {} (JetStream error {})",
            self.description, self.err_code
        ))
    }
}

/// The error that an answer of JetStream holds.
#[derive(Deserialize)]
struct Faulty {
    #[serde(default)]
    error: Option<Fault>,
}

/// Tells an error in an answer from its content.
pub(super) fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<Result<T, Fault>, serde_json::Error> {
    if let Some(fault) = serde_json::from_slice::<Faulty>(payload)?.error {
        return Ok(Err(fault));
    }
    serde_json::from_slice(payload).map(Ok)
}

impl Link {
    /// Asks JetStream (`$JS.API.<what>`) and gives its answer or its fault. Asks again for up to `patience` while no
    /// answer comes or JetStream says that it cannot at the moment; so only ask what may be done twice.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        what: &str,
        body: &Value,
        patience: Duration,
    ) -> Result<Result<T, Fault>, LedgerError> {
        let bus_subject = format!("$JS.API.{what}");
        let payload = if body.is_null() {
            Bytes::new()
        } else {
            Bytes::from(body.to_string())
        };
        let (end, mut backoff) = (Instant::now() + patience, Backoff::new());
        loop {
            let request = Request::new().payload(payload.clone());
            let why = match self.ask(&bus_subject, request, TRY).await {
                Ok(message) => match parse(&message.payload) {
                    Ok(Err(fault)) if fault.is_transient() => fault.description,
                    Ok(answer) => return Ok(answer),
                    Err(error) => format!("its answer makes no sense ({error})"),
                },
                Err(Trouble::Denied(text)) => return Err(LedgerError::Denied(text)),
                Err(trouble) => trouble.told(),
            };
            if Instant::now() >= end {
                return Err(LedgerError::Bus(format!(
                    "JetStream does not answer {what}: {why}"
                )));
            }
            backoff.pause().await;
        }
    }
}
