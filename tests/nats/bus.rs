//! What an operator may do to the bus by mistake, what a producer's user may try there, and what a disk does.
//!
//! In scope: deleting streams and making them anew over JetStream's interface; messages on any bus subject, sent by hand;
//! the register's entries; files of users; damage to the files of stopped nodes. Out of scope: starting and stopping nodes
//! (`sharetrail-cluster`).

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions, Event, ServerError};
use bytes::Bytes;
use serde_json::{Value, json};
use sharetrail_cluster::Cluster;
use tokio::runtime::{Builder, Runtime};

use crate::process::{PATIENCE, wait_for};
use crate::site::{Host, Producer};

/// JetStream's number for a stream that is not there.
const NOT_FOUND: u64 = 10_059;

/// An operator with the servers' tool in hand.
pub(crate) struct Operator {
    runtime: Runtime,
    client: Client,
}

impl Operator {
    pub(crate) fn connect(cluster: &Cluster) -> Self {
        let runtime = runtime();
        let client = runtime.block_on(async_nats::connect(urls(cluster)));
        Self {
            client: client.expect("the servers let anybody in"),
            runtime,
        }
    }

    /// Asks JetStream, again while the cluster is choosing leaders.
    #[track_caller]
    fn ask(&self, what: &str, body: &Value) -> Value {
        let began = Instant::now();
        loop {
            let payload = if body.is_null() {
                String::new()
            } else {
                body.to_string()
            };
            let request = self.client.request(format!("$JS.API.{what}"), payload.into());
            let answer = self.runtime.block_on(request).ok();
            let answer: Option<Value> =
                answer.and_then(|message| serde_json::from_slice(&message.payload).ok());
            match answer {
                Some(answer) if answer["error"].is_null() || answer["error"]["err_code"] == NOT_FOUND => {
                    return answer;
                }
                other => assert!(began.elapsed() < PATIENCE, "{what}: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Deletes a stream with all that it holds.
    #[track_caller]
    pub(crate) fn delete_stream(&self, name: &str) {
        assert!(self.config(name).is_object(), "there is no stream {name}");
        self.ask(&format!("STREAM.DELETE.{name}"), &Value::Null);
    }

    /// Deletes a stream and makes one with its settings, empty, whose first message is to have this position.
    #[track_caller]
    pub(crate) fn make_anew(&self, name: &str, first: u64) {
        let mut config = self.config(name);
        config["first_seq"] = json!(first);
        self.ask(&format!("STREAM.DELETE.{name}"), &Value::Null);
        let made = self.ask(&format!("STREAM.CREATE.{name}"), &config);
        assert!(made["config"].is_object(), "{made}");
    }

    #[track_caller]
    fn config(&self, name: &str) -> Value {
        self.ask(&format!("STREAM.INFO.{name}"), &Value::Null)["config"].take()
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime can be made")
}

fn urls(cluster: &Cluster) -> Vec<String> {
    cluster.url().split(',').map(str::to_owned).collect()
}

/// A producer's user on the bus, in the hands of somebody who keeps to no library of ours.
pub(crate) struct Intruder {
    runtime: Runtime,
    client: Client,
    told: Arc<Mutex<Vec<String>>>,
}

impl Intruder {
    pub(crate) fn with(producer: &Producer, cluster: &Cluster) -> Self {
        let seed = fs::read_to_string(producer.folder.join("bus.nkey")).expect("it has a user");
        let told = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&told);
        let options = ConnectOptions::with_nkey(seed.trim().to_owned())
            .custom_inbox_prefix(format!("_INBOX_{}", producer.name))
            .event_callback(move |event| {
                if let Event::ServerError(ServerError::Other(text)) = event {
                    held(&hears).push(text);
                }
                std::future::ready(())
            });
        let runtime = runtime();
        let client = runtime.block_on(options.connect(urls(cluster)));
        Self {
            client: client.expect("the servers let a producer in"),
            runtime,
            told,
        }
    }

    /// Sends, and names where an answer is to go.
    #[track_caller]
    pub(crate) fn publish(&self, bus_subject: &str, reply: Option<&str>, payload: &[u8]) {
        let (to, payload) = (bus_subject.to_owned(), Bytes::copy_from_slice(payload));
        let sent = self.runtime.block_on(async {
            match reply {
                Some(reply) => {
                    self.client
                        .publish_with_reply(to, reply.to_owned(), payload)
                        .await
                }
                None => self.client.publish(to, payload).await,
            }
        });
        sent.expect("the client sends it");
        let flushed = self.runtime.block_on(self.client.flush());
        flushed.expect("the connection stands");
    }

    /// Sends, and waits until a stream has stored it; gives its position there.
    #[track_caller]
    pub(crate) fn store(&self, bus_subject: &str, payload: &[u8]) -> u64 {
        let request = self
            .client
            .request(bus_subject.to_owned(), Bytes::copy_from_slice(payload));
        let answer = self.runtime.block_on(request).expect("it is acknowledged");
        let answer: Value = serde_json::from_slice(&answer.payload).expect("JetStream answers in JSON");
        answer["seq"].as_u64().unwrap_or_else(|| panic!("{answer}"))
    }

    /// Tries to listen.
    #[track_caller]
    pub(crate) fn listen(&self, bus_subject: &str) {
        let asked = self.client.subscribe(bus_subject.to_owned());
        let _subscriber = self.runtime.block_on(asked).expect("the client asks for it");
        let flushed = self.runtime.block_on(self.client.flush());
        flushed.expect("the connection stands");
    }

    /// Waits until the server has refused a deed, `Publish to` or `Subscription to`, on a bus subject.
    #[track_caller]
    pub(crate) fn is_refused(&self, deed: &str, bus_subject: &str) {
        let refusal = format!("Permissions Violation for {deed} \"{bus_subject}\"");
        let told = || format!("{:?}", held(&self.told));
        wait_for(&refusal, told, || {
            held(&self.told).contains(&refusal).then_some(())
        });
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The register's entry for a shard: its value, and the number of the write that wrote it.
#[track_caller]
pub(crate) fn registered(host: &Host, shard: u32) -> (Vec<u8>, u64) {
    let nats = host.ledger().connect().expect("the servers let a host in");
    let entry = runtime().block_on(nats.entry(&format!("shard.{shard}")));
    let entry = entry.expect("the register answers").expect("there is an entry");
    (entry.value, entry.revision)
}

/// What the register says of a shard's map log, if it says anything.
#[track_caller]
pub(crate) fn registered_map(host: &Host, shard: u32) -> Option<Value> {
    let nats = host.ledger().connect().expect("the servers let a host in");
    let entry = runtime().block_on(nats.entry(&format!("map-{shard}")));
    let entry = entry.ok().flatten()?;
    Some(serde_json::from_slice(&entry.value).expect("the register's entries are JSON"))
}

/// Leaves only the last moment in the register's entry of a shard's map log, as if there had been many since.
#[track_caller]
pub(crate) fn forget_moments(host: &Host, shard: u32) {
    let nats = host.ledger().connect().expect("the servers let a host in");
    let (runtime, key) = (runtime(), format!("map-{shard}"));
    let entry = runtime.block_on(nats.entry(&key)).expect("the register answers");
    let entry = entry.expect("there is an entry");
    let mut value: Value = serde_json::from_slice(&entry.value).expect("the register's entries are JSON");
    let moments = value["moments"].as_array_mut().expect("a list");
    let last = moments.pop().expect("a moment");
    *moments = vec![last];
    let written = runtime.block_on(nats.update(&key, value.to_string().into_bytes(), entry.revision));
    written
        .expect("the register answers")
        .expect("nobody else writes");
}

/// The users that a ledger's file of users names: hosts, and producers.
#[track_caller]
pub(crate) fn users_in(file: &Path) -> (Vec<String>, Vec<String>) {
    let text = fs::read_to_string(file).expect("there is a file of users");
    let (hosts, producers) = text.split_once("PRODUCERS = [").expect("it has both lists");
    let users = |list: &str| {
        let found = list.split("nkey: \"").skip(1);
        let found = found.map(|rest| rest.split('"').next().unwrap_or_default().to_owned());
        found.collect()
    };
    (users(hosts), users(producers))
}

/// Flips one bit of a file, in the middle.
pub(crate) fn flip_bit(path: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.expect("the file is there");
    let middle = length(&file) / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle)
        .expect("the file can be read");
    byte[0] ^= 1;
    file.write_all_at(&byte, middle).expect("the file can be written");
}

/// Cuts a file off after so many bytes.
pub(crate) fn truncate(path: &Path, bytes: u64) {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .expect("the file is there");
    assert!(bytes < length(&file), "{} is shorter", path.display());
    file.set_len(bytes).expect("the file can be shortened");
}

fn length(file: &File) -> u64 {
    file.metadata().expect("the file is there").len()
}

/// Copies a folder with all that lies in it, modes included. Where nothing is, it comes to be whole at once: somebody may
/// be reading there.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    if to.exists() {
        return copy_into(from, to);
    }
    let beside = to.with_added_extension("copying");
    copy_into(from, &beside);
    fs::rename(&beside, to).expect("a folder can be renamed");
}

fn copy_into(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for item in fs::read_dir(from).expect("the folder can be read") {
        let item = item.expect("the folder can be read");
        let (path, target) = (item.path(), to.join(item.file_name()));
        if path.is_dir() {
            copy_into(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file can be copied");
        }
    }
    let mode = fs::metadata(from).expect("the folder is there").permissions();
    fs::set_permissions(to, mode).expect("the mode can be set");
}
