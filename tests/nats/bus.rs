//! What an operator may do to the bus by mistake, and what a disk does.
//!
//! In scope: deleting streams and making them anew over JetStream's interface; damage to the files of stopped nodes.
//! Out of scope: starting and stopping nodes (`sharetrail-cluster`).

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::Client;
use serde_json::{Value, json};
use sharetrail_cluster::Cluster;
use tokio::runtime::{Builder, Runtime};

use crate::process::PATIENCE;

/// JetStream's number for a stream that is not there.
const NOT_FOUND: u64 = 10_059;

/// An operator with the servers' tool in hand.
pub(crate) struct Operator {
    runtime: Runtime,
    client: Client,
}

impl Operator {
    pub(crate) fn connect(cluster: &Cluster) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let urls: Vec<String> = cluster.url().split(',').map(str::to_owned).collect();
        let client = runtime.block_on(async_nats::connect(urls));
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

/// Copies a folder with all that lies in it, modes included.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for item in fs::read_dir(from).expect("the folder can be read") {
        let item = item.expect("the folder can be read");
        let (path, target) = (item.path(), to.join(item.file_name()));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a file can be copied");
        }
    }
    let mode = fs::metadata(from).expect("the folder is there").permissions();
    fs::set_permissions(to, mode).expect("the mode can be set");
}
