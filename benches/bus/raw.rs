//! The bus alone: the same frames through the plain client, and through the ledger's bus.
//!
//! In scope: the plain client as a publisher would use it (one message of a producer and shard on its way at a time), the
//! plain client at its best (many on their way), and [`NatsBus`], which retries, keeps order and tells errors apart. All
//! wait for the acknowledgement of every message. Out of scope: a sequencer.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture};
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use async_nats::{ConnectOptions, Subject};
use bytes::Bytes;
use sharetrail_cluster::Cluster;
use sharetrail_ledger::bus::{Bus, NatsBus};
use sharetrail_proof::name::Name;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Setting;
use crate::frames::{Lane, Mill, SHARDS};
use crate::live::bus_settings;
use crate::results::Results;
use crate::run::{Limits, Meter, Sent, drive, progress};

/// As many as the ledger's bus opens.
const CONNECTIONS: usize = 4;
/// Bytes on their way on one connection when the client is at its best; the better one counts.
const WINDOWS: [usize; 2] = [1 << 20, 8 << 20];
const MESSAGES_MAX: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures all batch sizes of a setting.
pub(crate) fn measure(
    setting: Setting,
    mill: &mut Mill,
    limits: Limits,
    runtime: &Runtime,
    results: &mut Results,
) -> Result<()> {
    for &batch in setting.batches {
        progress(&format!(
            "the bus alone: {} node(s), sync {}, {batch} events a message",
            setting.nodes,
            setting.sync()
        ));
        let lanes = mill.cut(batch)?;
        let cluster = setting.start()?;
        let wire = runtime.block_on(Wire::connect(&cluster, setting.nodes))?;
        runtime.block_on(wire.make_streams(0))?;
        let mut best = price(
            &cluster,
            results,
            setting,
            "raw bus, one in flight",
            batch,
            || runtime.block_on(wire.one_in_flight(&lanes, limits.time)),
        )?;
        for (window, run) in WINDOWS.into_iter().zip(1..) {
            let what = format!("raw bus, {} MiB in flight", window >> 20);
            runtime.block_on(wire.make_streams(run))?;
            let many = price(&cluster, results, setting, &what, batch, || {
                runtime.block_on(wire.many_in_flight(&lanes, limits.time, window, run))
            })?;
            best = if many.per_second() > best.per_second() {
                many
            } else {
                best
            };
        }
        let ledger = Name::new("durable.example")?;
        let bus = NatsBus::connect(&ledger, SHARDS, &bus_settings(&cluster)?, Path::new("/"))?;
        runtime.block_on(bus.make())?;
        let bus: Arc<dyn Bus> = Arc::new(bus);
        let durable = price(&cluster, results, setting, "durable", batch, || {
            runtime.block_on(publish(&bus, &lanes, limits.time))
        })?;
        drop(bus);
        results.durable_beside_raw(setting, batch, durable.per_second(), best.per_second());
    }
    Ok(())
}

fn price(
    cluster: &Cluster,
    results: &mut Results,
    setting: Setting,
    what: &str,
    batch: usize,
    send: impl FnOnce() -> Result<Sent>,
) -> Result<Sent> {
    let stores = (0..cluster.nodes()).map(|node| cluster.store(node)).collect();
    let meter = Meter::start(stores);
    let sent = send()?;
    ensure!(sent.events > 0, "{what}: nothing was sent");
    let mut row = setting.row(what, batch);
    row.per_second = sent.per_second();
    row.mb_per_second = Some(crate::run::ratio(sent.bytes, sent.seconds) / 1e6);
    meter.read(sent.events, &mut row);
    results.push(row);
    Ok(sent)
}

async fn publish(bus: &Arc<dyn Bus>, lanes: &[Arc<Lane>], time: Duration) -> Result<Sent> {
    let (bus, targets) = (Arc::clone(bus), lanes.to_vec());
    let send = move |lane: usize, frame: Bytes| {
        let lane = &targets[lane];
        let stored = bus.publish(lane.shard, &lane.producer, frame.to_vec());
        async move {
            stored.await?;
            anyhow::Ok(())
        }
    };
    drive(lanes, time, true, send).await
}

/// The plain client.
struct Wire {
    connections: Vec<Context>,
    replicas: usize,
}

impl Wire {
    async fn connect(cluster: &Cluster, replicas: usize) -> Result<Self> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let urls: Vec<String> = cluster.url().split(',').map(str::to_owned).collect();
            let client = ConnectOptions::new().connect(urls).await.context("connecting")?;
            connections.push(ContextBuilder::new().timeout(PATIENCE).build(client));
        }
        Ok(Self {
            connections,
            replicas,
        })
    }

    /// Makes the streams of a run. Those of the runs before stay: deleting them would cost the next run time.
    async fn make_streams(&self, run: usize) -> Result<()> {
        for shard in 0..SHARDS {
            let config = Config {
                name: format!("raw_{run}_{shard}"),
                subjects: vec![format!("raw.{run}.{shard}.*")],
                num_replicas: self.replicas,
                discard: DiscardPolicy::New,
                deny_delete: true,
                deny_purge: true,
                duplicate_window: Duration::from_millis(100),
                ..Config::default()
            };
            let made = self.connections[0].create_stream(config).await;
            made.context("making a stream")?;
        }
        Ok(())
    }

    /// As the ledger sends: each lane waits for an acknowledgement before its next message.
    async fn one_in_flight(&self, lanes: &[Arc<Lane>], time: Duration) -> Result<Sent> {
        let targets: Vec<(Context, Subject)> = lanes
            .iter()
            .enumerate()
            .map(|(number, lane)| (self.connections[number % CONNECTIONS].clone(), target(lane, 0)))
            .collect();
        let targets = Arc::new(targets);
        let send = move |lane: usize, frame: Bytes| {
            let targets = Arc::clone(&targets);
            async move {
                let (context, bus_subject) = &targets[lane];
                context.publish(bus_subject.clone(), frame).await?.await?;
                anyhow::Ok(())
            }
        };
        drive(lanes, time, true, send).await
    }

    /// Every connection keeps so many bytes on their way.
    async fn many_in_flight(
        &self,
        lanes: &[Arc<Lane>],
        time: Duration,
        window: usize,
        run: usize,
    ) -> Result<Sent> {
        let (began, mut tasks) = (Instant::now(), JoinSet::new());
        for (number, context) in self.connections.iter().enumerate() {
            let lanes: Vec<Arc<Lane>> = lanes.iter().skip(number).step_by(CONNECTIONS).cloned().collect();
            let targets = lanes.iter().map(|lane| target(lane, run)).collect();
            let pipeline = Pipeline {
                context: context.clone(),
                lanes,
                targets,
                window,
            };
            tasks.spawn(pipeline.run(began, time));
        }
        let mut all = Sent::default();
        while let Some(one) = tasks.join_next().await {
            let one = one??;
            (all.events, all.bytes) = (all.events + one.events, all.bytes + one.bytes);
        }
        all.seconds = began.elapsed().as_secs_f64();
        Ok(all)
    }
}

fn target(lane: &Lane, run: usize) -> Subject {
    format!("raw.{run}.{}.{}", lane.shard, lane.producer).into()
}

/// One connection at its best.
struct Pipeline {
    context: Context,
    lanes: Vec<Arc<Lane>>,
    targets: Vec<Subject>,
    window: usize,
}

impl Pipeline {
    /// Sends the lanes' frames in turn until the time is up, and waits for all that is on its way.
    async fn run(self, began: Instant, time: Duration) -> Result<Sent> {
        let longest = self.lanes.iter().map(|lane| lane.batches.len()).max();
        let (mut waiting, mut flying, mut sent) = (Waiting::new(), 0, Sent::default());
        for place in (0..longest.unwrap_or(0)).cycle() {
            if began.elapsed() >= time {
                break;
            }
            for (lane, bus_subject) in self.lanes.iter().zip(&self.targets) {
                let Some(batch) = lane.batches.get(place) else {
                    continue;
                };
                let length = batch.frame.len();
                while !waiting.is_empty() && (flying + length > self.window || waiting.len() >= MESSAGES_MAX)
                {
                    flying -= acknowledged(&mut waiting, &mut sent).await?;
                }
                let publish = self.context.publish(bus_subject.clone(), batch.frame.clone());
                waiting.push_back((publish.await?, batch.events, length));
                flying += length;
            }
        }
        while !waiting.is_empty() {
            acknowledged(&mut waiting, &mut sent).await?;
        }
        Ok(sent)
    }
}

type Waiting = VecDeque<(PublishAckFuture, u64, usize)>;

/// Waits for the first of them; gives its bytes.
async fn acknowledged(waiting: &mut Waiting, sent: &mut Sent) -> Result<usize> {
    let (acknowledgement, events, length) = waiting.pop_front().context("nothing is on its way")?;
    acknowledgement.await?;
    sent.add(events, length);
    Ok(length)
}
