//! Real nats-servers on this machine, for tests and measurements.
//!
//! In scope: one node or a cluster on free ports of the loopback interface, with JetStream in a temporary folder; killing,
//! stopping, pausing and restarting nodes; what their monitors, logs and folders tell. Out of scope: talking to them as a
//! client. What cannot be done (a node that does not start again, a signal that is refused) is a panic: a test that goes
//! on without it would show nothing. Trust: ends only processes that it started; with a [`Cluster`] they and the folder
//! go away.

mod config;
mod monitor;
mod node;
mod program;
pub mod usage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::node::Node;
pub use crate::program::{VARIABLE, nats_server};

/// How long a cluster may take to come up, or to choose a leader, before it counts as hanging.
const PATIENCE: Duration = Duration::from_mins(1);
const TICK: Duration = Duration::from_millis(20);
/// How often other ports are tried: another program may take a port between finding and using it.
const TRIES_MAX: usize = 8;

/// What a cluster is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many nodes; 1 is a server without a cluster.
    pub nodes: usize,
    /// Whether an acknowledgement waits for the disk (`sync_interval: always`); otherwise the server's default of two
    /// minutes stands.
    pub sync_always: bool,
    /// A configuration file that every node includes, where it lies. What it may set: accounts, authorization, TLS; with
    /// it, the nodes' own configuration says nothing of these. Without it, anybody may do anything.
    pub accounts: Option<PathBuf>,
    /// Lines to add to every node's configuration, at its top level.
    pub lines: Vec<String>,
    /// Variables of the servers' environment: a configuration file may refer to them as `$NAME`.
    pub environment: Vec<(String, String)>,
    /// The folder in which the cluster's own is made; without, the system's folder for temporary files, which a ledger
    /// takes for one that loses data at a restart of the machine.
    pub within: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 1,
            sync_always: false,
            accounts: None,
            lines: Vec::new(),
            environment: Vec::new(),
            within: None,
        }
    }
}

impl Options {
    /// This many nodes, each with `sync_interval: always`.
    pub fn always(nodes: usize) -> Self {
        Self {
            nodes,
            sync_always: true,
            ..Self::default()
        }
    }
}

/// Running servers. Nodes count from 0.
pub struct Cluster {
    // Before the folder, so that the processes end before their files go.
    nodes: Vec<Node>,
    folder: TempDir,
}

impl Cluster {
    /// Starts the nodes and waits until JetStream answers. An error of the kind `NotFound` means that there is no
    /// nats-server (see [`nats_server`]).
    #[expect(
        clippy::needless_pass_by_value,
        reason = "options are written down for the one call"
    )]
    pub fn start(options: Options) -> io::Result<Self> {
        let program = nats_server().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "no nats-server was found; run `cargo xtask test`, which brings it, or set {VARIABLE}"
                ),
            )
        })?;
        if options.nodes == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a cluster has a node at least",
            ));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let cluster = Self::spawn(&program, &options)?;
            match cluster.come_up() {
                Ok(()) => return Ok(cluster),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < TRIES_MAX => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn spawn(program: &Path, options: &Options) -> io::Result<Self> {
        let within = options.within.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new()
            .prefix("sharetrail-nats-")
            .tempdir_in(within)?;
        let ports = config::free_ports(options.nodes)?;
        let mut nodes = Vec::with_capacity(options.nodes);
        for number in 0..options.nodes {
            let home = folder.path().join(config::name(number));
            fs::create_dir(&home)?;
            let text = config::text(options, &ports, number, &home)?;
            fs::write(home.join(config::FILE), text)?;
            nodes.push(Node::new(program, home, ports[number], &options.environment));
        }
        let mut cluster = Self { nodes, folder };
        for node in &mut cluster.nodes {
            node.spawn()?;
        }
        Ok(cluster)
    }

    /// Waits for the first start; a node that ends instead says why in its log.
    fn come_up(&self) -> io::Result<()> {
        let began = Instant::now();
        while !self.is_ready() {
            for (number, node) in self.nodes.iter().enumerate() {
                if node.has_ended() {
                    return Err(ended(number, &node.log()));
                }
            }
            if began.elapsed() > PATIENCE {
                let text = format!(
                    "JetStream does not answer; the first node's log:\n{}",
                    self.log(0)
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// How many nodes there are, running or not.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Where clients connect: all nodes, separated by commas.
    pub fn url(&self) -> String {
        let urls: Vec<String> = (0..self.nodes()).map(|node| self.node_url(node)).collect();
        urls.join(",")
    }

    /// Where clients connect to one node.
    pub fn node_url(&self, node: usize) -> String {
        format!("nats://127.0.0.1:{}", self.nodes[node].ports().client)
    }

    /// The monitors of all nodes, separated by commas.
    pub fn monitor(&self) -> String {
        let urls: Vec<String> = (0..self.nodes()).map(|node| self.node_monitor(node)).collect();
        urls.join(",")
    }

    /// The monitor of one node.
    pub fn node_monitor(&self, node: usize) -> String {
        format!("http://127.0.0.1:{}", self.nodes[node].ports().monitor)
    }

    /// Whether a node runs; a paused one does.
    pub fn runs(&self, node: usize) -> bool {
        self.nodes[node].runs()
    }

    /// The folder that holds everything of the cluster.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of a node's JetStream.
    pub fn store(&self, node: usize) -> &Path {
        self.nodes[node].store()
    }

    /// What a node has logged since the cluster was started.
    pub fn log(&self, node: usize) -> String {
        self.nodes[node].log()
    }

    /// Ends a node as a crash does (SIGKILL) and waits until it is gone.
    #[track_caller]
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill().expect("a node of ours can be killed");
    }

    /// Ends all nodes at once as a power cut does, as far as signals go: what the kernel holds stays.
    #[track_caller]
    pub fn kill_all(&mut self) {
        for node in &self.nodes {
            node.send_kill().expect("a node of ours can be killed");
        }
        for node in 0..self.nodes() {
            self.kill(node);
        }
    }

    /// Ends a node as an operator does (SIGTERM) and waits until it is gone.
    #[track_caller]
    pub fn stop(&mut self, node: usize) {
        self.nodes[node]
            .stop(PATIENCE)
            .expect("a node of ours ends when it is told to");
    }

    /// Freezes a node (SIGSTOP): its connections stay open and nothing answers.
    #[track_caller]
    pub fn pause(&self, node: usize) {
        self.nodes[node].pause().expect("a running node can be paused");
    }

    /// Lets a paused node go on.
    #[track_caller]
    pub fn resume(&self, node: usize) {
        self.nodes[node].resume().expect("a paused node can go on");
    }

    /// Starts a node that was killed or stopped, on the same ports and folder; kills one that runs first. Does not wait
    /// for it: see [`Cluster::wait_ready`].
    #[track_caller]
    pub fn restart(&mut self, node: usize) {
        self.kill(node);
        self.nodes[node].spawn().expect("a node starts again");
    }

    /// Starts every node that does not run.
    #[track_caller]
    pub fn restart_all(&mut self) {
        for node in 0..self.nodes() {
            if !self.runs(node) {
                self.restart(node);
            }
        }
    }

    /// Has every node that runs and is not paused read its configuration again (SIGHUP), and waits until each has.
    #[track_caller]
    pub fn reload(&self) {
        for node in self.reachable() {
            let read = || self.log(node).matches("Reloaded server configuration").count();
            let before = read();
            self.nodes[node].reload().expect("a running node can be told");
            self.wait("a node did not read its configuration again", || {
                (read() > before).then_some(())
            });
        }
    }

    /// Waits until JetStream answers on every node that runs and is not paused; in a cluster, until those agree on a
    /// leader too.
    #[track_caller]
    pub fn wait_ready(&self) {
        self.wait("JetStream does not answer", || self.is_ready().then_some(()));
    }

    /// Waits until a stream has a leader, and gives the node.
    #[track_caller]
    pub fn wait_stream_leader(&self, stream: &str) -> usize {
        self.wait("the stream has no leader", || self.stream_leader(stream))
    }

    #[track_caller]
    fn wait<T>(&self, complaint: &str, answer: impl Fn() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(answer) = answer() {
                return answer;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{complaint}, in {}; the nodes say:\n{}",
                self.folder().display(),
                self.ends_of_logs()
            );
            thread::sleep(TICK);
        }
    }

    fn ends_of_logs(&self) -> String {
        let end_of = |node: usize| {
            let log = self.log(node);
            let lines: Vec<&str> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(10)..];
            format!("{}:\n{}\n", config::name(node), end.join("\n"))
        };
        (0..self.nodes()).map(end_of).collect()
    }

    fn is_ready(&self) -> bool {
        let reachable: Vec<usize> = self.reachable().collect();
        let healthy = reachable
            .iter()
            .all(|&node| monitor::get(&self.node_monitor(node), "/healthz?js-enabled-only=true").is_ok());
        !reachable.is_empty() && healthy && (self.nodes() == 1 || self.is_led(reachable.len()))
    }

    /// Whether there is a leader that sees at least this many nodes, itself included: before that, a stream with a
    /// replica on each of them cannot be made.
    fn is_led(&self, nodes: usize) -> bool {
        let Some(leader) = self.meta_leader() else {
            return false;
        };
        let Ok(answer) = monitor::get(&self.node_monitor(leader), "/jsz") else {
            return false;
        };
        let others = answer["meta_cluster"]["replicas"].as_array();
        let seen = others.map_or(0, |others| {
            others.iter().filter(|other| other["offline"] != true).count()
        });
        seen + 1 >= nodes
    }

    /// The node that all that run take for the leader of JetStream itself; nothing while they disagree, while it is one
    /// that does not run, or in a server without a cluster.
    pub fn meta_leader(&self) -> Option<usize> {
        let mut found = None;
        for node in self.reachable() {
            let answer = monitor::get(&self.node_monitor(node), "/jsz").ok()?;
            let leader = config::number(answer["meta_cluster"]["leader"].as_str()?)?;
            if *found.get_or_insert(leader) != leader {
                return None;
            }
        }
        // A leader that is gone is named by the others until they have chosen again.
        found.filter(|&leader| self.reachable().any(|node| node == leader))
    }

    /// The node that leads a stream, by its own word.
    pub fn stream_leader(&self, stream: &str) -> Option<usize> {
        self.reachable().find(|&node| {
            let detail = self.stream_detail(node, stream);
            detail.is_some_and(|detail| detail["cluster"]["leader"] == config::name(node))
        })
    }

    /// What a node's monitor says of a stream (`/jsz`, one element of `stream_detail`, with its configuration and its
    /// state), if the node holds the stream and answers.
    pub fn stream_detail(&self, node: usize, stream: &str) -> Option<Value> {
        let answer = monitor::get(&self.node_monitor(node), "/jsz?streams=1&config=1").ok()?;
        let accounts = answer["account_details"].as_array()?;
        let mut details = accounts
            .iter()
            .filter_map(|account| account["stream_detail"].as_array())
            .flatten();
        details.find(|detail| detail["name"] == stream).cloned()
    }

    /// Nodes that can answer.
    fn reachable(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes()).filter(|&node| self.nodes[node].runs() && !self.nodes[node].is_paused())
    }

    /// The files that hold a stream's messages on a node, first message first; none where the node does not hold the
    /// stream. The last one is being written to while the node runs.
    pub fn blocks(&self, node: usize, stream: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for account in entries(&self.store(node).join("jetstream")) {
            let messages = account.join("streams").join(stream).join("msgs");
            let numbered = entries(&messages).into_iter().filter_map(|path| {
                let stem = path.file_name()?.to_str()?.strip_suffix(".blk")?;
                let number: u64 = stem.parse().ok()?;
                Some((number, path))
            });
            found.extend(numbered);
        }
        found.sort_unstable();
        found.into_iter().map(|(_, path)| path).collect()
    }

    /// Processor seconds that the nodes have used since they were first started, those that ended included.
    pub fn cpu_seconds(&self) -> f64 {
        self.nodes.iter().map(Node::cpu_seconds).sum()
    }

    /// Bytes that the stores of all nodes take on the disk.
    pub fn disk_bytes(&self) -> u64 {
        self.nodes
            .iter()
            .map(|node| usage::disk_bytes(node.store()))
            .sum()
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found.map(|entry| entry.path()).collect()
}

fn ended(node: usize, log: &str) -> io::Error {
    let kind = if log.contains("address already in use") {
        io::ErrorKind::AddrInUse
    } else {
        io::ErrorKind::Other
    };
    let name = config::name(node);
    io::Error::new(kind, format!("the nats-server {name} ended at its start:\n{log}"))
}

#[cfg(test)]
mod tests;
