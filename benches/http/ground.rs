//! What is asked for: a ledger with many events, keys to ask with, and the server.
//!
//! In scope: making the ledger in a temporary folder, tokens of customers, starting and ending `sharetrail serve`. Out of
//! scope: asking.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sharetrail_consumers::Shelf;
use sharetrail_consumers::choices::{Authorizer, Question};
use sharetrail_consumers::store::StoreKind;
use sharetrail_ledger::{Engine, InitOptions, Ledger, init};
use sharetrail_producers::Publisher;
use sharetrail_proof::name::Name;
use tempfile::TempDir;

/// Events of a customer.
pub(crate) const EVENTS: u32 = 20;
/// Customers who are asked about before a share, and how often.
const ASKED: u32 = 1_000;
const ROUNDS: u32 = 50;
const ISSUER: &str = "http://127.0.0.1/issuer";
const AUDIENCE: &str = "sharetrail";
const SETTINGS: &str = r#"
[oidc]
issuer = "http://127.0.0.1/issuer"
audience = "sharetrail"
jwks_file = "jwks.json"

[limits]
customer_per_second = 1000000
stranger_per_second = 1000000
connections = 12000
"#;

/// A ledger with events, and whoever may ask.
pub(crate) struct Ground {
    folder: TempDir,
    key: EncodingKey,
    pub(crate) customers: u32,
    /// Leaves of its one log.
    pub(crate) leaves: u64,
}

impl Ground {
    /// Records the events; customers have [`EVENTS`] each.
    pub(crate) fn make(events: u32) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let customers = (events / EVENTS).max(1);
        let options = InitOptions {
            outside: Some(folder.path().join("outside")),
            ..InitOptions::new(Name::new("shop.example")?)
        };
        let ledger = init(&folder.path().join("ledger"), &options)?.ledger;
        eprintln!("recording {events} events of {customers} customers");
        let engine = Engine::start(&ledger)?;
        let publisher = Publisher::open(&engine, &ledger.settings().default_producer)?;
        let lines: Vec<u8> = (0..customers * EVENTS)
            .flat_map(|number| format!("{}\n", content(number, customers)).into_bytes())
            .collect();
        let done = publisher.record_lines(&lines[..], &|_| ())?;
        ensure!(
            done.refused_total == 0,
            "events were refused: {:?}",
            done.refused.first()
        );
        publisher.close()?;
        engine.stop()?;
        let key = keys(&folder)?;
        std::fs::write(folder.path().join("ledger/http.toml"), SETTINGS)?;
        let leaves = ledger.reader(0)?.size().0;
        Ok(Self {
            folder,
            key,
            customers,
            leaves,
        })
    }

    /// How long a question before a share takes in a process that has the projections and the labels at hand, in
    /// microseconds, after each customer was asked about once.
    pub(crate) fn authorize_micros(&self) -> Result<f64> {
        let ledger = Ledger::open(&self.folder.path().join("ledger"))?;
        let (vault, shelf) = (
            Arc::new(ledger.vault()?),
            Arc::new(Shelf::new(&ledger, StoreKind::Sled)),
        );
        let authorizer = Authorizer::new(&ledger, &vault, &shelf);
        let categories = ["pd:Name".to_owned()];
        let customers: Vec<String> = (0..self.customers.min(ASKED)).map(name).collect();
        let ask_all = || -> Result<()> {
            for customer in &customers {
                authorizer.authorize(&Question {
                    customer,
                    recipient: "mailhouse.example",
                    purpose: "dpv:DirectMarketing",
                    categories: &categories,
                })?;
            }
            Ok(())
        };
        ask_all()?;
        let began = Instant::now();
        for _ in 0..ROUNDS {
            ask_all()?;
        }
        let asked = f64::from(ROUNDS) * f64::from(self.customers.min(ASKED));
        Ok(began.elapsed().as_secs_f64() * 1e6 / asked)
    }

    /// The token of a customer.
    pub(crate) fn token(&self, customer: u32) -> Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let claims = json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": name(customer),
            "iat": now.as_secs(),
            "exp": (now + Duration::from_hours(1)).as_secs(),
        });
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some("bench".to_owned());
        Ok(encode(&header, &claims, &self.key)?)
    }
}

/// The id of a customer.
pub(crate) fn name(customer: u32) -> String {
    format!("customer-{customer}")
}

/// The event of this number, as a service would tell it.
pub(crate) fn content(number: u32, customers: u32) -> Value {
    let (customer, round) = (number % customers, number / customers);
    let (month, day) = (round % 12 + 1, number % 28 + 1);
    let data = if round.is_multiple_of(4) {
        json!({"recipient": {"id": "mailhouse.example", "name": "Campaign mail house", "role": "processor",
            "country": "IE", "contact": "privacy@mailhouse.example"}, "categories": ["pd:Name", "pd:PhysicalAddress"],
            "purposes": ["dpv:DirectMarketing"], "legal_basis": "eu-gdpr:A6-1-f",
            "description": format!("address list of campaign {number}")})
    } else {
        json!({"categories": ["pd:Purchase", "pd:Location"], "purposes": ["dpv:ServiceProvision"],
            "legal_basis": "eu-gdpr:A6-1-b", "origin": "customer", "benefit": "1.20 off",
            "description": format!("basket of {} items", number % 40 + 1)})
    };
    let kind = if round.is_multiple_of(4) {
        "data.shared"
    } else {
        "data.collected"
    };
    json!({"specversion": "1.0", "id": format!("event-{number}"), "source": "https://shop.example/checkout",
        "type": format!("org.sharetrail.{kind}.v1"), "subject": name(customer),
        "time": format!("2025-{month:02}-{day:02}T10:00:00Z"), "data": data})
}

/// Makes a key, and puts its public half where the server looks.
fn keys(folder: &TempDir) -> Result<EncodingKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    let signer = sharetrail_proof::note::NoteSigner::from_seed("bench", &seed)?;
    let public = signer.verifier().public();
    // PKCS#8 of an Ed25519 key: RFC 8410.
    let head = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    let key = EncodingKey::from_ed_der(&[&head[..], &seed[..]].concat());
    let jwks = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "bench",
        "x": data_encoding::BASE64URL_NOPAD.encode(public) }] });
    std::fs::write(folder.path().join("ledger/jwks.json"), jwks.to_string())?;
    Ok(key)
}

/// The server at work; it ends with this.
pub(crate) struct Serving {
    process: Child,
    /// Such as `127.0.0.1:40113`.
    pub(crate) address: String,
}

impl Serving {
    pub(crate) fn start(ground: &Ground) -> Result<Self> {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_sharetrail"));
        let mut process = Command::new(program)
            .arg("--ledger")
            .arg(ground.folder.path().join("ledger"))
            .args(["--json", "serve", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the server")?;
        let stdout = process.stdout.take().context("the server's standard output")?;
        let mut text = String::new();
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let told: Value = serde_json::from_str(&text).with_context(|| format!("the server told {text:?}"))?;
        let url = told["url"].as_str().context("the server tells where it is")?;
        let address = url.strip_prefix("http://").context("plain HTTP")?.to_owned();
        Ok(Self { process, address })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let id = self.process.id().to_string();
        // Where it has ended already, there is nothing to tell.
        let _ = Command::new("kill").arg(id).status();
        let _ = self.process.wait();
    }
}
