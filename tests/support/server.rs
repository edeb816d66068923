//! The program as a server: started, found, ended.
//!
//! In scope: the demonstration's server, with the links that it tells; asking it as `curl` would. Out of scope: what it
//! must answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use super::PROGRAM;

/// A server at work; it ends with this.
pub(crate) struct Server {
    process: Child,
    /// What it told when it began to answer.
    pub(crate) told: Value,
    folder: TempDir,
}

impl Server {
    /// The demonstration, at a port of its own.
    pub(crate) fn demo() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = Command::new(PROGRAM);
        command
            .args(["--json", "demo", "--listen", "127.0.0.1:0"])
            .current_dir(folder.path())
            .env("TMPDIR", folder.path())
            .env_remove("SHARETRAIL_LEDGER")
            .env_remove("SHARETRAIL_HOME")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = command.spawn().expect("the program starts");
        let stdout = process.stdout.take().expect("its standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let mut text = String::new();
        // One JSON object, whose last line is the only one that begins with its brace.
        for line in lines.by_ref() {
            let line = line.expect("the program prints text");
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        // What it prints at its end must not block it.
        thread::spawn(move || lines.count());
        let told = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("the demonstration told no JSON: {error}: {text}"));
        Self {
            process,
            told,
            folder,
        }
    }

    /// Where it answers, such as `http://127.0.0.1:40113`.
    pub(crate) fn url(&self) -> &str {
        let policy = self.told["policy"]
            .as_str()
            .expect("it tells where its policy is");
        policy
            .strip_suffix("/policy")
            .expect("the policy lies at /policy")
    }

    /// The body of what lies at a path, open to all.
    pub(crate) fn fetch(&self, path: &str) -> String {
        let address = self.url().strip_prefix("http://").expect("it speaks plain HTTP");
        let mut stream = TcpStream::connect(address).expect("the server listens");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .expect("it takes requests");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        body.to_owned()
    }

    /// Where all that it keeps lies.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Tells it to end; its exit code.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.signal();
        let status = self.process.wait().expect("the process can be waited for");
        status.code()
    }

    fn signal(&self) {
        let process = self.process.id().to_string();
        // Where it has ended already, there is nothing to tell.
        let _ = Command::new("kill").arg(process).status();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal();
        let _ = self.process.wait();
    }
}
