//! Servers that take in only whoever shows a certificate of `deploy/nats/make-tls.sh`.
//!
//! In scope: making certificates, arguments and settings that name them, whoever lacks one or takes the servers for
//! others. Out of scope: connections between servers, which the harness lays in the open on the loopback interface.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::count::each_once;
use crate::site::{Host, Producer, Site, besides_the_place};
use crate::support::loyalty::events;
use crate::support::{run, text_of};
use crate::traffic::{deal, tell_again};
use crate::watch::Watch;

const SHARDS: u32 = 2;
/// Where the harness' servers are reached.
const SERVERS: &str = "127.0.0.1";

/// What the script made: two authorities, the servers' certificate, one for each client that was asked for.
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Whether the script finds the one program that it needs.
    fn can_be_made() -> bool {
        let asked = Command::new("openssl").arg("version").output();
        asked.is_ok_and(|output| output.status.success())
    }

    pub(crate) fn make(folder: &Path) -> Self {
        let made = Self {
            folder: folder.to_owned(),
        };
        made.script(&["authorities", &text_of(folder)]);
        made.script(&["node", &text_of(folder), "bus", SERVERS]);
        made
    }

    #[track_caller]
    fn script(&self, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nats/make-tls.sh");
        let done = run(Command::new("bash").arg(script).args(arguments));
        assert_eq!(done.code, Some(0), "in {}: {done:#?}", self.folder.display());
    }

    fn file(&self, name: &str) -> String {
        text_of(&self.folder.join(name))
    }

    /// What a server's configuration says, as `node.conf` does.
    pub(crate) fn of_servers(&self) -> Vec<String> {
        let file = |option: &str, name: &str| format!("  {option}: \"{}\"", self.file(name));
        vec![
            "tls {".to_owned(),
            file("cert_file", "bus/node.pem"),
            file("key_file", "bus/node-key.pem"),
            file("ca_file", "bus/clients-ca.pem"),
            "  verify: true".to_owned(),
            "  timeout: 5".to_owned(),
            "}".to_owned(),
        ]
    }

    /// The folder with a client's certificate, made at the first call.
    fn of_client(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        if !folder.exists() {
            self.script(&["client", &text_of(&self.folder), name]);
        }
        folder
    }

    /// The arguments of `init` that name a host's files.
    pub(crate) fn arguments(&self, host: &str) -> Vec<String> {
        let own = self.of_client(host);
        let files = [
            ("--bus-tls-ca", "servers-ca.pem"),
            ("--bus-tls-cert", "client.pem"),
            ("--bus-tls-key", "client-key.pem"),
        ];
        let pair = |(option, file): (&str, &str)| [option.to_owned(), text_of(&own.join(file))];
        files.into_iter().flat_map(pair).collect()
    }

    /// Puts a producer's certificate into its credentials folder and names it there.
    fn hand_to(&self, producer: &Producer) {
        let own = self.of_client(&producer.name);
        for file in ["client.pem", "client-key.pem"] {
            fs::copy(own.join(file), producer.folder.join(file)).expect("a file can be copied");
        }
        let path = producer.folder.join("producer.toml");
        let mut settings = fs::read_to_string(&path).expect("there are settings");
        // The table [bus] is the last.
        settings.push_str("tls_cert = \"client.pem\"\ntls_key = \"client-key.pem\"\n");
        fs::write(&path, settings).expect("the settings can be written");
    }
}

/// The arguments with another value of an option; without one, the option is left out.
fn with(arguments: &[String], option: &str, value: Option<&str>) -> Vec<String> {
    let place = arguments.iter().position(|one| one == option);
    let place = place.expect("the option is there");
    let mut changed = arguments.to_vec();
    match value {
        Some(value) => value.clone_into(&mut changed[place + 1]),
        None => drop(changed.drain(place..place + 2)),
    }
    changed
}

/// The error of an `init` that makes nothing.
#[track_caller]
fn refused(host: &Host, arguments: &[String]) -> String {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let error = host.run(&arguments).exits(2).error();
    assert!(!host.root.join("ledger.toml").exists());
    error
}

/// The fault: a host that believes any server, servers that take in anybody, or a ledger made with either.
#[test]
fn nats_server_behind_tls_is_used_by_whoever_shows_and_checks_certificates() {
    if !Certificates::can_be_made() {
        println!("skipped: there is no openssl, with which deploy/nats/make-tls.sh makes certificates");
        return;
    }
    let mut site = Site::behind_tls(SHARDS);
    let certificates = site.certificates.as_ref().expect("it has certificates");
    let (right, wrong) = (
        certificates.file("servers-ca.pem"),
        certificates.file("clients-ca.pem"),
    );
    let host = site.host("host-a");
    let good = site.init_arguments(&host);
    let deceived = with(&good, "--bus-tls-ca", Some(&wrong));
    let error = refused(&host, &deceived);
    assert!(
        error.contains(&site.url()),
        "it does not say which servers: {error}"
    );
    assert!(error.contains("certificate"), "it does not say why: {error}");
    let unproved = with(&with(&good, "--bus-tls-cert", None), "--bus-tls-key", None);
    assert!(refused(&host, &unproved).contains(&site.url()));

    let host = site.init();
    assert_eq!(host.status()["bus"]["url"], site.url());
    let hands = deal(&events(12, 30), 3);
    host.record(&hands[0]).exits(0);
    let serve = host.serve(&[]);
    host.wait_to_lead(&serve);
    let watch = Watch::start(&[&host], SHARDS);
    let till = site.enrol(&host, "till");
    assert!(!till.record(&hands[1]).exits(2).error().is_empty());
    certificates.hand_to(&till);
    let authority = till.folder.join("ca.pem");
    fs::copy(&wrong, &authority).expect("a file can be copied");
    assert!(!till.record(&hands[1]).exits(2).error().is_empty());
    fs::copy(&right, &authority).expect("a file can be copied");
    till.record_all(&hands[1]);
    site.cluster.kill(0);
    till.record_all(&hands[2]);
    site.cluster.restart(0);
    site.cluster.wait_ready();
    let own = host.ledger().settings().default_producer.clone();
    let recorded: Vec<_> = [own, till.name(), till.name()].into_iter().zip(hands).collect();
    tell_again(&[till], &recorded);
    each_once("behind TLS", &host, &recorded);
    let status = host.status();
    assert!(besides_the_place(&status["bus"]["risks"]).is_empty(), "{status}");
    assert!(status["bus"]["unreachable"].is_null(), "{status}");
    watch.all_lead_to(&host.ledger());
    serve.stop();
}
