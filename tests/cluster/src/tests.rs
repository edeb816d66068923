//! The harness against the real program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::*;

/// A client that speaks just enough of the protocol to ask JetStream something.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(cluster: &Cluster, node: usize, login: &str) -> Self {
        let address = cluster.node_url(node);
        let stream = TcpStream::connect(address.trim_start_matches("nats://")).expect("the node listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a socket takes a time");
        let mut client = Self {
            stream: BufReader::new(stream),
        };
        let hello = format!("CONNECT {{\"verbose\":false,\"pedantic\":false{login}}}\r\nSUB answer 1\r\n");
        client.send(hello.as_bytes());
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the node reads");
    }

    /// Asks, and gives the answer: JSON.
    fn ask(&mut self, bus_subject: &str, question: &str) -> Value {
        let text = format!("PUB {bus_subject} answer {}\r\n{question}\r\n", question.len());
        self.send(text.as_bytes());
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("the node answers");
            assert!(
                !line.starts_with("-ERR") && !line.is_empty(),
                "the node says {line:?}"
            );
            if line.starts_with("PING") {
                self.send(b"PONG\r\n");
            }
            if line.starts_with("MSG answer") {
                let length = line
                    .trim_end()
                    .rsplit(' ')
                    .next()
                    .and_then(|last| last.parse().ok());
                let mut answer = vec![0; length.expect("a message has a length")];
                self.stream
                    .read_exact(&mut answer)
                    .expect("the node sends all of it");
                return serde_json::from_slice(&answer).expect("JetStream answers in JSON");
            }
        }
    }

    /// Makes the stream `probe`.
    fn make_stream(&mut self, replicas: usize) {
        let config = serde_json::json!({"name": "probe", "subjects": ["probe.>"], "storage": "file",
            "retention": "limits", "num_replicas": replicas});
        let answer = self.ask("$JS.API.STREAM.CREATE.probe", &config.to_string());
        assert_eq!(answer["error"], Value::Null, "{answer}");
    }

    fn messages(&mut self) -> Value {
        self.ask("$JS.API.STREAM.INFO.probe", "")["state"]["messages"].clone()
    }
}

#[test]
fn a_nats_server_survives_its_own_death() {
    let mut cluster = Cluster::start(Options::always(1)).expect("a server starts");
    let mut client = Client::connect(&cluster, 0, "");
    client.make_stream(1);
    for number in 1..=3 {
        assert_eq!(client.ask("probe.a", "hello")["seq"], number);
    }
    assert_eq!(cluster.wait_stream_leader("probe"), 0);
    assert_eq!(cluster.blocks(0, "probe").len(), 1);
    assert!(cluster.blocks(0, "missing").is_empty());
    assert!(cluster.disk_bytes() > 0);
    cluster.kill(0);
    assert!(!cluster.runs(0));
    cluster.restart(0);
    cluster.wait_ready();
    cluster.wait_stream_leader("probe");
    assert_eq!(Client::connect(&cluster, 0, "").messages(), 3);
    cluster.stop(0);
    assert!(!cluster.runs(0) && cluster.log(0).contains("Server Exiting"));
}

#[test]
fn a_paused_nats_server_leaves_the_others_a_leader() {
    let mut cluster = Cluster::start(Options {
        nodes: 3,
        ..Options::default()
    })
    .expect("a cluster starts");
    Client::connect(&cluster, 0, "").make_stream(3);
    let leader = cluster.wait_stream_leader("probe");
    cluster.pause(leader);
    let next = cluster.wait_stream_leader("probe");
    assert_ne!(next, leader);
    assert_eq!(
        Client::connect(&cluster, next, "").ask("probe.a", "hello")["seq"],
        1
    );
    cluster.resume(leader);
    cluster.wait_ready();
    let before = cluster.cpu_seconds();
    cluster.kill_all();
    assert!(cluster.cpu_seconds() >= before);
    cluster.restart_all();
    cluster.wait_ready();
    let leader = cluster.wait_stream_leader("probe");
    assert_eq!(Client::connect(&cluster, leader, "").messages(), 1);
}

#[test]
fn a_nats_server_includes_accounts() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let accounts = folder.path().join("accounts.conf");
    let text = "accounts { A { jetstream: enabled, users: [ { user: a, password: $PASSWORD } ] } }\n";
    fs::write(&accounts, text).expect("a file can be written");
    let cluster = Cluster::start(Options {
        accounts: Some(accounts),
        environment: vec![("PASSWORD".into(), "among-friends".into())],
        ..Options::default()
    })
    .expect("a server starts");
    let login = ",\"user\":\"a\",\"pass\":\"among-friends\"";
    Client::connect(&cluster, 0, login).make_stream(1);
    assert_eq!(cluster.wait_stream_leader("probe"), 0);
    assert_eq!(cluster.blocks(0, "probe").len(), 1);
}
