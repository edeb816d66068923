//! A cluster, the hosts of one ledger on it, and its producers, each with a folder of its own.
//!
//! In scope: folders that go away, the commands an operator and a producer give. Out of scope: what a run must come to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use sharetrail_cluster::{Cluster, Options};
use sharetrail_ledger::{Ledger, Settings};
use sharetrail_producers::outbox::ShardOutbox;
use sharetrail_proof::frame::Frame;
use sharetrail_proof::name::Name;
use tempfile::TempDir;

use crate::process::{PATIENCE, Process, unique, wait_for};
use crate::support::loyalty::{Event, lines};
use crate::support::{LEDGER, PROGRAM, Run, bare, list, run, text_of};
use crate::tls::Certificates;

/// The name of the stream of a shard, escaped as on the bus.
pub(crate) fn stream(shard: u32) -> String {
    format!("ledger_shop_example_{shard}_1")
}

/// The stream under the register.
pub(crate) const REGISTER: &str = "KV_sharetrail_shop_example";

/// How long a producer tries again while bus or hosts are away.
const RECORDING: Duration = Duration::from_mins(3);

/// How many clusters may be at work at once: each waits most of the time.
const AT_ONCE: usize = 3;

static AT_WORK: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// One of the places for a cluster.
pub(crate) struct Turn;

impl Turn {
    fn take() -> Self {
        let (count, freed) = &AT_WORK;
        let full = |count: &mut usize| *count >= AT_ONCE;
        // A test that failed has left nothing behind that the next one would meet.
        let count = count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = freed.wait_while(count, full);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (count, freed) = &AT_WORK;
        *count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        freed.notify_one();
    }
}

/// Whether slow tests are to be short.
pub(crate) fn is_quick() -> bool {
    std::env::var_os("SHARETRAIL_QUICK").is_some()
}

/// What is told besides that the store lies where files of a moment do: where the repository lies is no matter here.
pub(crate) fn besides_the_place(told: &Value) -> Vec<&Value> {
    let is_the_place = |one: &&Value| one.as_str().is_some_and(|text| text.contains("`store_dir`"));
    list(told).iter().filter(|one| !is_the_place(one)).collect()
}

/// A cluster and a place for everything of one ledger.
pub(crate) struct Site {
    // Before the folder, so that the servers end before their files go.
    pub(crate) cluster: Cluster,
    shards: u32,
    folder: TempDir,
    nkey: Option<PathBuf>,
    pub(crate) certificates: Option<Certificates>,
    _turn: Turn,
}

impl Site {
    /// Servers on which anybody may do anything, and which sync before they acknowledge.
    pub(crate) fn new(nodes: usize, shards: u32) -> Self {
        let turn = Turn::take();
        Self::with(shards, new_folder(), turn, Options::always(nodes))
    }

    /// As [`Site::new`], but the servers' default of syncing every two minutes stands.
    pub(crate) fn careless(shards: u32) -> Self {
        let turn = Turn::take();
        Self::with(shards, new_folder(), turn, Options::default())
    }

    /// One server with the accounts of `deploy/nats`, and the operator's user on it.
    pub(crate) fn guarded(shards: u32) -> Self {
        let turn = Turn::take();
        Self::with_accounts(shards, new_folder(), turn, Options::always(1))
    }

    /// Three servers with accounts, to which whoever connects must show a certificate besides.
    pub(crate) fn behind_tls(shards: u32) -> Self {
        let (turn, folder) = (Turn::take(), new_folder());
        let certificates = Certificates::make(&folder.path().join("tls"));
        let options = Options {
            lines: certificates.of_servers(),
            ..Options::always(3)
        };
        Self {
            certificates: Some(certificates),
            ..Self::with_accounts(shards, folder, turn, options)
        }
    }

    fn with_accounts(shards: u32, folder: TempDir, turn: Turn, options: Options) -> Self {
        let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nats/accounts.conf");
        let (accounts, nkey) = (
            folder.path().join("accounts.conf"),
            folder.path().join("operator.nkey"),
        );
        fs::copy(&deployed, &accounts).expect("the accounts can be copied");
        let mut command = bare(folder.path());
        command.args(["keys", "nkey"]).arg(&nkey).args(["--for", LEDGER]);
        let made = run(&mut command).exits(0).json();
        let users = made["users"].as_str().expect("the users to begin with");
        fs::write(folder.path().join("users.conf"), users).expect("a file can be written");
        let options = Options {
            accounts: Some(accounts),
            ..options
        };
        Self {
            nkey: Some(nkey),
            ..Self::with(shards, folder, turn, options)
        }
    }

    fn with(shards: u32, folder: TempDir, turn: Turn, options: Options) -> Self {
        // Not where files of a moment lie: a ledger takes that for a risk.
        let within = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
        let cluster = Cluster::start(Options { within, ..options });
        let cluster = cluster.unwrap_or_else(|error| panic!("no cluster: {error}"));
        Self {
            cluster,
            shards,
            folder,
            nkey: None,
            certificates: None,
            _turn: turn,
        }
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> String {
        let url = self.cluster.url();
        if self.certificates.is_some() {
            url.replace("nats://", "tls://")
        } else {
            url
        }
    }

    /// A file or folder beside the ledgers.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A place for a host; no ledger yet.
    pub(crate) fn host(&self, name: &str) -> Host {
        let (folder, logs) = (self.path(name), self.path("logs"));
        fs::create_dir_all(&logs).expect("a folder can be made");
        Host {
            name: name.to_owned(),
            root: folder.join("ledger"),
            home: folder.join("outside"),
            folder,
            logs,
        }
    }

    /// The arguments with which a ledger is made on this cluster.
    pub(crate) fn init_arguments(&self, host: &Host) -> Vec<String> {
        let (shards, replicas) = (self.shards.to_string(), self.cluster.nodes().min(3).to_string());
        let (url, monitor) = (self.url(), self.cluster.monitor());
        let pairs = [
            ("--shards", &shards),
            ("--replicas", &replicas),
            ("--bus", &url),
            ("--bus-monitor", &monitor),
            ("--host", &host.name),
        ];
        let mut arguments = vec!["init".to_owned(), LEDGER.to_owned()];
        for (option, value) in pairs {
            arguments.extend([option.to_owned(), value.clone()]);
        }
        if let Some(nkey) = &self.nkey {
            arguments.extend(["--bus-nkey".to_owned(), text_of(nkey)]);
        }
        if let Some(certificates) = &self.certificates {
            arguments.extend(certificates.arguments(&host.name));
        }
        arguments
    }

    /// Makes the ledger, on its first host.
    #[track_caller]
    pub(crate) fn init(&self) -> Host {
        let host = self.host("host-a");
        let mut arguments = self.init_arguments(&host);
        // Wherever this runs: what counts as a risk has a test of its own.
        arguments.push("--accept-risk".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        host.run(&arguments).exits(0);
        host.name_the_outside();
        host
    }

    /// Makes another host of the ledger, whatever lay in its folder before.
    #[track_caller]
    pub(crate) fn another_host(&self, of: &Host, name: &str) -> Host {
        let host = self.host(name);
        of.run(&["keys", "host", name, "--to", &text_of(&host.folder)])
            .exits(0);
        host.name_the_outside();
        host
    }

    /// Enrols a producer, whose user the servers know when this returns.
    #[track_caller]
    pub(crate) fn enrol(&self, host: &Host, name: &str) -> Producer {
        let producer = self.producer(name, &format!("producer-{name}"));
        let made = host.run(&["keys", "enrol", name, "--to", &text_of(&producer.folder)]);
        let made = made.exits(0).json();
        assert_eq!(made["producer"], name);
        self.tell_servers(Path::new(made["users"].as_str().expect("a path")));
        producer
    }

    /// A producer whose credentials are to lie in a folder beside the ledgers.
    pub(crate) fn producer(&self, name: &str, folder: &str) -> Producer {
        Producer {
            name: name.to_owned(),
            folder: self.path(folder),
            logs: self.path("logs"),
        }
    }

    /// Puts a ledger's file of users on the servers.
    pub(crate) fn tell_servers(&self, users: &Path) {
        if self.nkey.is_some() {
            fs::copy(users, self.path("users.conf")).expect("the users can be copied");
            self.cluster.reload();
        }
    }

    /// So many producers, named alike.
    #[track_caller]
    pub(crate) fn enrol_several(&self, host: &Host, count: usize) -> Vec<Producer> {
        (1..=count)
            .map(|number| self.enrol(host, &format!("till-{number}")))
            .collect()
    }

    /// What the leader of a shard's stream says of it: the position of the last message.
    #[track_caller]
    pub(crate) fn last_in_stream(&self, shard: u32) -> u64 {
        let name = stream(shard);
        wait_for("the stream has a leader", String::new, || {
            let leader = self.cluster.stream_leader(&name);
            // A server without a cluster names no leader.
            let node = leader.or_else(|| (self.cluster.nodes() == 1).then_some(0))?;
            self.cluster.stream_detail(node, &name)?["state"]["last_seq"].as_u64()
        })
    }
}

fn new_folder() -> TempDir {
    let made = tempfile::Builder::new()
        .prefix("site-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    made.expect("a temporary folder can be made")
}

/// A host of the ledger: its folder, and the folder outside of that.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) root: PathBuf,
    /// The folder outside.
    pub(crate) home: PathBuf,
    logs: PathBuf,
}

impl Host {
    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .arg("--json")
            .current_dir(&self.logs)
            .env("SHARETRAIL_HOME", &self.home)
            .env("SHARETRAIL_LEDGER", &self.root);
        command
    }

    /// Starts the program.
    #[track_caller]
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let name = format!("{}-{}", self.name, arguments.first().unwrap_or(&"nothing"));
        Process::start(&name, self.command().args(arguments), &self.logs)
    }

    /// Runs the program to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.start(arguments).wait()
    }

    /// Says in `ledger.toml` where the folder outside lies, so that it is found without a variable: a test program
    /// cannot set one for itself.
    fn name_the_outside(&self) {
        let ledger = self.ledger();
        let settings = Settings {
            outside: Some(self.home.clone()),
            ..ledger.settings().clone()
        };
        let written = settings.write(&self.root.join("ledger.toml"));
        written.expect("the settings can be written");
    }

    /// The ledger's folder, read through the library.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::open(&self.root).expect("it is a ledger")
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.run(&["status"]).exits(0).json()
    }

    /// The size of each shard's log.
    #[track_caller]
    pub(crate) fn leaves(&self) -> Vec<u64> {
        let status = self.status();
        let count = |shard: &Value| shard["leaves"].as_u64().expect("a number");
        list(&status["shards"]).iter().map(count).collect()
    }

    /// Records in the ledger's folder.
    pub(crate) fn record(&self, events: &[Event]) -> Run {
        self.run(&["record", &file_of(&self.logs, events)])
    }

    /// Records in the ledger's folder, signed by another producer than the first.
    pub(crate) fn record_as(&self, producer: &str, events: &[Event]) -> Run {
        self.run(&["record", &file_of(&self.logs, events), "--producer", producer])
    }

    /// Tries to serve where it cannot.
    pub(crate) fn serve_in_vain(&self) -> Run {
        self.run(&["serve", "--listen", "127.0.0.1:0"])
    }

    /// Serves, and returns once it does.
    #[track_caller]
    pub(crate) fn serve(&self, peers: &[&str]) -> Serve {
        let mut command = self.command();
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        for peer in peers {
            command.args(["--peer", peer]);
        }
        let mut process = Process::start(&format!("{}-serve", self.name), &mut command, &self.logs);
        let began = Instant::now();
        let ready: Value = loop {
            if let Ok(ready) = serde_json::from_str(&process.stdout()) {
                break ready;
            }
            assert!(
                !process.has_ended() && began.elapsed() < PATIENCE,
                "it does not serve; {}",
                process.tail()
            );
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(ready["serving"], LEDGER);
        let url = ready["url"].as_str().expect("an address").to_owned();
        Serve { process, url }
    }

    /// Waits until this host leads every shard.
    #[track_caller]
    pub(crate) fn wait_to_lead(&self, serve: &Serve) {
        wait_for(
            "it leads every shard",
            || serve.process.tail(),
            || {
                let status = self.status();
                let shards = list(&status["shards"]);
                let leads = |shard: &Value| shard["lease"]["holder"] == self.name.as_str();
                shards.iter().all(leads).then_some(())
            },
        );
    }

    /// Waits until something of a kind was noted of a shard.
    #[track_caller]
    pub(crate) fn wait_incident(&self, serve: &Serve, shard: usize, kind: &str) {
        wait_for(
            kind,
            || format!("{}{}", serve.process.tail(), self.status()),
            || self.incidents(shard).iter().any(|one| one == kind).then_some(()),
        );
    }

    /// The kinds of what was noted of a shard.
    #[track_caller]
    pub(crate) fn incidents(&self, shard: usize) -> Vec<String> {
        let status = self.status();
        let incidents = list(&status["shards"][shard]["incidents"]).iter();
        let kind = |one: &Value| one["kind"].as_str().expect("a kind").to_owned();
        incidents.map(kind).collect()
    }
}

/// A host at work.
pub(crate) struct Serve {
    pub(crate) process: Process,
    pub(crate) url: String,
}

impl Serve {
    /// Ends it as an operator does; it ends well.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.process.stop().exits(0);
    }
}

/// A producer with its credentials folder, on what is to be a host of its own.
#[derive(Clone)]
pub(crate) struct Producer {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    logs: PathBuf,
}

impl Producer {
    pub(crate) fn name(&self) -> Name {
        Name::new(&self.name).expect("a name")
    }

    /// The entries of all frames that its outbox keeps: what a killed run left and must come to be on record by itself.
    pub(crate) fn kept_entries(&self, shards: u32) -> Vec<Vec<u8>> {
        let outbox = self.folder.join("outbox").join(&self.name);
        let mut kept = Vec::new();
        for shard in (0..shards).filter(|shard| outbox.join("frames").join(shard.to_string()).exists()) {
            let opened = ShardOutbox::open(&outbox, shard).expect("an outbox can be read");
            for frame in &opened.unsealed {
                let frame = Frame::parse(&frame.bytes).expect("a frame was kept");
                kept.extend(frame.entries.iter().map(|entry| entry.to_vec()));
            }
        }
        kept
    }

    fn command(&self, file: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(["--json", "record", file])
            .current_dir(&self.logs)
            .env_remove("SHARETRAIL_HOME")
            .env("SHARETRAIL_LEDGER", &self.folder);
        command
    }

    /// Starts to record.
    pub(crate) fn start(&self, events: &[Event]) -> Process {
        let file = file_of(&self.logs, events);
        Process::start(&self.name, &mut self.command(&file), &self.logs)
    }

    /// Starts to record what it is fed.
    pub(crate) fn start_fed(&self) -> Process {
        Process::start_fed(&self.name, &mut self.command("-"), &self.logs)
    }

    /// Records, to the end of one run.
    #[track_caller]
    pub(crate) fn record(&self, events: &[Event]) -> Run {
        self.start(events).wait()
    }

    /// Records, again and again while bus or hosts are away; every event is on record when this returns.
    #[track_caller]
    pub(crate) fn record_all(&self, events: &[Event]) -> Recorded {
        let began = Instant::now();
        loop {
            let run = self.record(events);
            if run.code == Some(0) {
                let summary = run.json();
                let count = |field: &str| summary[field].as_u64().expect("a number");
                let recorded = Recorded {
                    new: count("recorded"),
                    known: count("skipped"),
                };
                assert_eq!(recorded.new + recorded.known, events.len() as u64, "{summary}");
                assert!(list(&summary["refused"]).is_empty(), "{summary}");
                return recorded;
            }
            // 1 would be a refusal, which no outage explains.
            assert!(run.code == Some(2) && began.elapsed() < RECORDING, "{run:#?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// What a recording came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) new: u64,
    /// On record before.
    pub(crate) known: u64,
}

/// Writes a file of these events; its path as an argument.
fn file_of(folder: &Path, events: &[Event]) -> String {
    let path = folder.join(format!("events-{}.jsonl", unique()));
    fs::write(&path, lines(events)).expect("a file can be written");
    text_of(&path)
}
