//! A ledger at work on a real bus.
//!
//! In scope: frames until they are sealed and projected; events from JSON lines through a publisher; how long single
//! events wait. The projector folds meanwhile, as it does in `serve`. Out of scope: the bus alone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use sharetrail_cluster::Cluster;
use sharetrail_consumers::Projections;
use sharetrail_consumers::store::StoreKind;
use sharetrail_ledger::bus::BusSettings;
use sharetrail_ledger::{Engine, InitOptions, Ledger, init};
use sharetrail_producers::Publisher;
use sharetrail_proof::name::Name;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::Setting;
use crate::frames::{Lane, Mill, SHARDS, on_record, options, register};
use crate::input::Input;
use crate::latency::{self, Load};
use crate::results::{Results, Row};
use crate::run::{LOW_LOAD, Limits, Meter, Sent, drive, progress, ratio};

/// How much of the maximum is a high load.
const HIGH_LOAD: f64 = 0.8;
const TICK: Duration = Duration::from_millis(2);

/// Where the bus is.
pub(crate) fn bus_settings(cluster: &Cluster) -> Result<BusSettings> {
    Ok(BusSettings {
        replicas: u8::try_from(cluster.nodes())?,
        monitor: Some(cluster.monitor()),
        ..BusSettings::new(cluster.url())
    })
}

/// A ledger, its engine and its cluster.
pub(crate) struct Live {
    setting: Setting,
    engine: Engine,
    ledger: Ledger,
    mill: Mill,
    projections: Projections,
    cluster: Cluster,
    home: TempDir,
}

impl Live {
    /// Makes a ledger on a new cluster and seals the contents for it.
    pub(crate) fn start(setting: Setting, contents: &[Vec<u8>]) -> Result<Self> {
        progress(&format!(
            "a ledger on {} node(s), sync {}",
            setting.nodes,
            setting.sync()
        ));
        let (cluster, home) = (setting.start()?, tempfile::tempdir()?);
        let options = InitOptions {
            bus: Some(bus_settings(&cluster)?),
            // The server's default sync is one: what it gains is to be seen.
            accept_risk: true,
            ..options(home.path())?
        };
        let ledger = init(&home.path().join("ledger"), &options)?.ledger;
        let engine = Engine::start(&ledger)?;
        register(&engine)?;
        let mill = Mill::new(&engine, contents)?;
        let projections = Projections::open(&ledger, StoreKind::Fjall)?;
        Ok(Self {
            setting,
            engine,
            ledger,
            mill,
            projections,
            cluster,
            home,
        })
    }

    pub(crate) fn stop(self) -> Result<()> {
        drop(self.projections);
        self.engine.stop()?;
        Ok(())
    }

    /// Frames of each size, from the first one sent until the last one is sealed, and until all is projected.
    pub(crate) fn sealed(&mut self, limits: Limits, runtime: &Runtime, results: &mut Results) -> Result<()> {
        for &batch in self.setting.batches {
            progress(&format!("sealing {batch} events a message"));
            let lanes = self.mill.cut(batch)?;
            let before = on_record(&self.engine, &self.ledger);
            let meter = self.meter();
            let began = Instant::now();
            let (sent, sealed) = self.beside_projector(|| {
                let sent = runtime.block_on(self.send(&lanes, limits.time))?;
                Ok((sent, began.elapsed()))
            })?;
            let projected = began.elapsed();
            let found = on_record(&self.engine, &self.ledger) - before;
            ensure!(
                found == sent.events,
                "{} events were acknowledged, and {found} are on record",
                sent.events
            );
            let mut row = self.setting.row("sealed", batch);
            row.per_second = ratio(sent.events, sealed.as_secs_f64());
            results.push(row);
            let mut row = self.setting.row("sealed and projected", batch);
            row.per_second = ratio(sent.events, projected.as_secs_f64());
            row.mb_per_second = Some(ratio(sent.bytes, projected.as_secs_f64()) / 1e6);
            "bus, archive and projection".clone_into(&mut row.note);
            meter.read(sent.events, &mut row);
            results.push(row);
        }
        Ok(())
    }

    /// Bus and ledger count together.
    fn meter(&self) -> Meter<'_> {
        let mut folders: Vec<&Path> = (0..self.cluster.nodes())
            .map(|node| self.cluster.store(node))
            .collect();
        folders.push(self.home.path());
        Meter::start(folders)
    }

    /// Publishes the lanes' frames, and waits until the sequencer has sealed all of them.
    async fn send(&self, lanes: &[Arc<Lane>], time: Duration) -> Result<Sent> {
        let bus = Arc::clone(self.engine.bus());
        let last: Arc<Vec<AtomicU64>> = Arc::new((0..SHARDS).map(|_| AtomicU64::new(0)).collect());
        let (targets, reached) = (lanes.to_vec(), Arc::clone(&last));
        let send = move |lane: usize, frame: Bytes| {
            let (lane, reached) = (&targets[lane], Arc::clone(&reached));
            let (shard, stored) = (
                lane.shard as usize,
                bus.publish(lane.shard, &lane.producer, frame.to_vec()),
            );
            async move {
                reached[shard].fetch_max(stored.await?.0, Ordering::AcqRel);
                anyhow::Ok(())
            }
        };
        let sent = drive(lanes, time, false, send).await?;
        for (shard, last) in (0..SHARDS).zip(last.iter()) {
            let mut view = self.engine.view(shard);
            let last = last.load(Ordering::Acquire);
            view.wait_for(|view| view.seq.0 >= last || view.halted.is_some())
                .await
                .context("the sequencer has ended")?;
            let halted = view.borrow().halted.clone();
            ensure!(halted.is_none(), "shard {shard} halted: {halted:?}");
        }
        Ok(sent)
    }

    /// Does `work` while the projector folds what gets sealed; returns once everything is projected.
    fn beside_projector<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (projections, done) = (&self.projections, AtomicBool::new(false));
        thread::scope(|scope| {
            let projector = scope.spawn(|| fold_until(projections, &done));
            let outcome = work();
            done.store(true, Ordering::Release);
            let folded = projector.join().map_err(|_| anyhow!("the projector panicked"))?;
            folded?;
            outcome
        })
    }

    /// From JSON lines to sealed and projected; then how long single events wait.
    pub(crate) fn whole_way(
        &self,
        input: &Input,
        limits: Limits,
        runtime: &Runtime,
        results: &mut Results,
    ) -> Result<()> {
        let publisher = Publisher::open(&self.engine, &Name::new("shop.example")?)?;
        let (bulk, rest) = input.contents.split_at(limits.events);
        self.record(&publisher, bulk, "new customers", results)?;
        // The same ones again with other ids: their labels and keys are at hand now.
        let again = Input {
            contents: bulk.to_vec(),
        };
        self.record(&publisher, &again.renamed()?.contents, "known customers", results)?;
        if self.setting.always {
            self.waits(&publisher, rest, limits, runtime, results)?;
        }
        publisher.close()?;
        Ok(())
    }

    fn record(
        &self,
        publisher: &Publisher,
        contents: &[Vec<u8>],
        whose: &str,
        results: &mut Results,
    ) -> Result<()> {
        progress(&format!("from JSON to sealed and projected, {whose}"));
        let lines = contents.join(&b'\n');
        let (meter, began) = (self.meter(), Instant::now());
        let summary = self.beside_projector(|| Ok(publisher.record_lines(&lines[..], &|_| ())?))?;
        let seconds = began.elapsed().as_secs_f64();
        ensure!(
            summary.recorded == contents.len() as u64,
            "{} of {} events were recorded",
            summary.recorded,
            contents.len()
        );
        let mut row = Row {
            nodes: Some(self.setting.nodes),
            sync: Some(self.setting.sync()),
            note: format!("{whose}; batches as the publisher cuts them; one producer, fjall"),
            ..Row::new("JSON to sealed and projected")
        };
        row.per_second = ratio(summary.recorded, seconds);
        row.mb_per_second = Some(ratio(lines.len() as u64, seconds) / 1e6);
        meter.read(summary.recorded, &mut row);
        results.whole_way(self.setting, row.per_second);
        results.push(row);
        Ok(())
    }

    /// `contents`: the events of the burst, of low load, of high load.
    fn waits(
        &self,
        publisher: &Publisher,
        contents: &[Vec<u8>],
        limits: Limits,
        runtime: &Runtime,
        results: &mut Results,
    ) -> Result<()> {
        let (burst, rest) = contents.split_at(limits.burst());
        let (low, high) = rest.split_at(limits.low());
        progress("events handed in one by one, as fast as they are taken");
        let maximum = self.beside_projector(|| latency::burst(publisher, burst, runtime))?;
        let mut row = Row {
            nodes: Some(self.setting.nodes),
            sync: Some(self.setting.sync()),
            note: "the maximum that the high load is a part of".to_owned(),
            ..Row::new("published one by one, sealed")
        };
        row.per_second = maximum;
        results.push(row);
        #[expect(clippy::cast_precision_loss, reason = "it is 1,000")]
        let low_load = LOW_LOAD as f64;
        for (name, per_second, contents) in [("low", low_load, low), ("high", maximum * HIGH_LOAD, high)] {
            progress(&format!("waiting times at {per_second:.0} events a second"));
            let load = Load {
                name,
                per_second,
                time: limits.time,
            };
            let wait = self
                .beside_projector(|| latency::measure(publisher, contents, &load, self.setting, runtime))?;
            results.wait(wait);
        }
        Ok(())
    }
}

/// Folds what gets sealed; ends with a last round once `done` says that nothing more will be.
fn fold_until(projections: &Projections, done: &AtomicBool) -> Result<()> {
    loop {
        let is_last = done.load(Ordering::Acquire);
        let caught_up = projections.catch_up(&|_, _| ())?;
        if is_last {
            return Ok(());
        }
        if caught_up.folded == 0 {
            thread::sleep(TICK);
        }
    }
}
