//! Asking, and how long answers take.
//!
//! In scope: requests over connections that are kept, at a steady rate or as fast as answers come. At a steady rate a
//! request's time runs from when it was due, whether or not a connection was free then, so that a server that stalls is
//! not measured as one that was asked less. Out of scope: what the answers say, but for their status and length.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sharetrail_proof::hash::TreeSize;
use sharetrail_proof::tiles::Tile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::ground::{Ground, Serving};

/// Connections that ask.
const CONNECTIONS: u32 = 32;
/// Customers who ask.
const CUSTOMERS: u32 = 2_000;

/// How long answers took.
#[derive(Default)]
pub(crate) struct Latencies {
    micros: Vec<u64>,
    seconds: f64,
}

/// What came of asking beside idle connections.
pub(crate) struct Beside {
    pub(crate) latencies: Latencies,
    pub(crate) idle_left: usize,
}

impl Latencies {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(crate) fn per_second(&self) -> f64 {
        self.micros.len() as f64 / self.seconds
    }

    /// The latency that this part of all stays below.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index of a short list"
    )]
    pub(crate) fn quantile_ms(&self, part: f64) -> f64 {
        let at = (self.micros.len() as f64 * part) as usize;
        let at = at.min(self.micros.len().saturating_sub(1));
        self.micros.get(at).map_or(0.0, |micros| *micros as f64 / 1_000.0)
    }
}

/// Requests that are asked in turn.
pub(crate) struct Load {
    address: String,
    requests: Arc<Vec<Vec<u8>>>,
}

impl Load {
    /// Trails of some customers.
    pub(crate) fn trails(serving: &Serving, ground: &Ground) -> Result<Self> {
        let step = (ground.customers / CUSTOMERS).max(1);
        let customers = (0..ground.customers).step_by(step as usize);
        let requests = customers.map(|customer| {
            let token = ground.token(customer)?;
            Ok(request(&serving.address, "/v1/me/trail?limit=20", Some(&token)))
        });
        Ok(Self {
            address: serving.address.clone(),
            requests: Arc::new(requests.collect::<Result<_>>()?),
        })
    }

    /// Full tiles of the log.
    pub(crate) fn tiles(serving: &Serving, ground: &Ground) -> Result<Self> {
        let size = TreeSize(ground.leaves);
        let tiles = (0..ground.leaves / 256).filter_map(|index| Tile::at(0, index, size));
        let requests: Vec<_> = tiles
            .map(|tile| request(&serving.address, &format!("/log/0/{tile}"), None))
            .collect();
        ensure!(!requests.is_empty(), "the log has no full tile");
        Ok(Self {
            address: serving.address.clone(),
            requests: Arc::new(requests),
        })
    }

    /// Asks at a steady rate.
    pub(crate) async fn steady(&self, rate: u32, time: Duration) -> Result<Latencies> {
        let between = Duration::from_secs(1) * CONNECTIONS / rate;
        let (began, mut asking) = (Instant::now(), JoinSet::new());
        for number in 0..CONNECTIONS {
            let (mut asker, start) = (self.asker(number).await?, began + between * number / CONNECTIONS);
            asking.spawn(async move {
                let mut due = start;
                while due < began + time {
                    sleep_until(due.into()).await;
                    asker.ask().await?;
                    asker.note(due);
                    due += between;
                }
                anyhow::Ok(asker.micros)
            });
        }
        gather(asking, began).await
    }

    /// Asks as fast as answers come.
    pub(crate) async fn flat_out(&self, time: Duration) -> Result<Latencies> {
        let (began, mut asking) = (Instant::now(), JoinSet::new());
        for number in 0..CONNECTIONS {
            let mut asker = self.asker(number).await?;
            asking.spawn(async move {
                while began.elapsed() < time {
                    let asked = Instant::now();
                    asker.ask().await?;
                    asker.note(asked);
                }
                anyhow::Ok(asker.micros)
            });
        }
        gather(asking, began).await
    }

    /// Asks at a steady rate while many connections are open and say nothing.
    pub(crate) async fn beside_idle(&self, idle: usize, rate: u32, time: Duration) -> Result<Beside> {
        let mut silent = Vec::with_capacity(idle);
        for _ in 0..idle {
            silent.push(
                TcpStream::connect(&self.address)
                    .await
                    .context("an idle connection")?,
            );
        }
        let latencies = self.steady(rate, time).await?;
        let is_open = |stream: &&TcpStream| {
            let mut byte = [0];
            matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        };
        let idle_left = silent.iter().filter(is_open).count();
        Ok(Beside { latencies, idle_left })
    }

    async fn asker(&self, number: u32) -> Result<Asker> {
        let stream = TcpStream::connect(&self.address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        Ok(Asker {
            stream,
            requests: Arc::clone(&self.requests),
            next: self.requests.len() * number as usize / CONNECTIONS as usize,
            buffer: vec![0; 1 << 16],
            micros: Vec::new(),
        })
    }
}

/// One connection.
struct Asker {
    stream: TcpStream,
    requests: Arc<Vec<Vec<u8>>>,
    next: usize,
    buffer: Vec<u8>,
    micros: Vec<u64>,
}

impl Asker {
    fn note(&mut self, since: Instant) {
        let micros = since.elapsed().as_micros();
        self.micros.push(u64::try_from(micros).unwrap_or(u64::MAX));
    }

    /// One request and its whole answer.
    async fn ask(&mut self) -> Result<()> {
        let request = &self.requests[self.next % self.requests.len()];
        self.next += 1;
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            ensure!(read > 0, "the server closed the connection");
            filled += read;
            if let Some(whole) = whole(&self.buffer[..filled])? {
                ensure!(filled == whole, "bytes after the answer");
                return Ok(());
            }
        }
    }
}

/// The length of an answer, once its head is there and all of its body.
fn whole(answer: &[u8]) -> Result<Option<usize>> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&answer[..head]).context("the head is text")?;
    ensure!(text.starts_with("HTTP/1.1 200 "), "the server answers: {text}");
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>())
    });
    let length = length.context("the answer tells its length")??;
    let whole = head + 4 + length;
    Ok((answer.len() >= whole).then_some(whole))
}

fn request(host: &str, path: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}\r\n").into_bytes()
}

async fn gather(mut asking: JoinSet<Result<Vec<u64>>>, began: Instant) -> Result<Latencies> {
    let mut told = Latencies::default();
    while let Some(one) = asking.join_next().await {
        told.micros.extend(one.context("an asker panicked")??);
    }
    told.seconds = began.elapsed().as_secs_f64();
    told.micros.sort_unstable();
    Ok(told)
}
