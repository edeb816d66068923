//! Asking a server before sharing, for services that have no projection and no label at hand.
//!
//! `POST <url>/v1/authorize` with the question as JSON and the service's token as bearer; the answer is a [`Decision`].
//!
//! In scope: that request, its limits, what counts as an answer. Out of scope: the server (see `http`), retrying later.
//! Trust: the server, as far as TLS shows that it is the one that was named; over plain `http` nothing shows it, and
//! the token can be read on the way. An answer that contradicts itself is none.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use ureq::Agent;
use ureq::http::{HeaderValue, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::decide::{Authorize, Decision, DecisionReason, Question};
use crate::error::ConsumerError;

const PATH: &str = "/v1/authorize";
const ANSWER_BYTES_MAX: u64 = 64 << 10;
const CONNECT_SECONDS_MAX: u64 = 5;
const ALL_SECONDS_MAX: u64 = 10;
/// Connections that wait for the next question; more are opened where more threads ask.
const IDLE_CONNECTIONS_MAX: usize = 32;

/// Asks a server. Cheap to clone; threads may share it.
#[derive(Clone)]
pub struct RemoteAuthorizer {
    url: String,
    token: String,
    agent: Agent,
}

impl fmt::Debug for RemoteAuthorizer {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RemoteAuthorizer");
        shown.field("url", &self.url).finish_non_exhaustive()
    }
}

impl RemoteAuthorizer {
    /// Asks the server at `url`, such as `https://trail.shop.example`, with a service's token. Its certificate must
    /// come from an authority that browsers know. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ConsumerError::Remote`] if `url` is none of `http` or `https`, or the token cannot stand in a header.
    pub fn new(url: &str, token: &str) -> Result<Self, ConsumerError> {
        Self::with_roots(url, token, RootCerts::WebPki)
    }

    /// As [`RemoteAuthorizer::new`], where the certificate comes from one of these authorities instead. `roots`: their
    /// certificates as PEM.
    pub fn with_authorities(url: &str, token: &str, roots: &[u8]) -> Result<Self, ConsumerError> {
        let mut found = Vec::new();
        for item in parse_pem(roots) {
            match item {
                Ok(PemItem::Certificate(certificate)) => found.push(certificate),
                Ok(_) => {}
                Err(error) => return Err(refused(url, format!("the certificates do not read: {error}"))),
            }
        }
        if found.is_empty() {
            return Err(refused(
                url,
                "no certificate among the authorities' that were given",
            ));
        }
        Self::with_roots(url, token, RootCerts::new_with_certs(&found))
    }

    fn with_roots(url: &str, token: &str, roots: RootCerts) -> Result<Self, ConsumerError> {
        let uri: Option<Uri> = url.parse().ok();
        let fits = |uri: &Uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.query().is_none()
                && uri.host().is_some_and(|host| !host.is_empty())
        };
        let Some(uri) = uri.filter(fits) else {
            let what = "not the address of a server, which begins with http:// or https:// and has no ?";
            return Err(refused(url, what));
        };
        let authorization = format!("Bearer {token}");
        if token.is_empty() || HeaderValue::from_str(&authorization).is_err() {
            return Err(refused(
                url,
                "the token is empty, or holds characters that no token has",
            ));
        }
        Ok(Self {
            url: format!("{}{PATH}", url.trim_end_matches('/')),
            token: authorization,
            agent: agent(uri.host().unwrap_or_default(), roots),
        })
    }

    fn ask(&self, body: &str) -> Result<Decision, Failure> {
        let request = self.agent.post(self.url.as_str());
        let request = request.header("authorization", self.token.as_str());
        let mut response = request.content_type("application/json").send(body)?;
        let status = response.status().as_u16();
        let read = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        let bytes = read.read_to_vec()?;
        if status != 200 {
            return Err(Failure::Answer {
                status: Some(status),
                reason: in_words(status, &bytes),
            });
        }
        let decision: Decision = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::said(format!("its answer is not a decision: {error}")))?;
        if decision.allowed == (decision.reason == DecisionReason::Consented) {
            Ok(decision)
        } else {
            Err(Failure::said("its answer contradicts itself"))
        }
    }
}

impl Authorize for RemoteAuthorizer {
    /// # Errors
    /// [`ConsumerError::Remote`] where the server does not answer in ten seconds, or not with a decision.
    fn authorize(&self, question: &Question<'_>) -> Result<Decision, ConsumerError> {
        let failed = |failure: Failure| failure.of(&self.url);
        let body = serde_json::to_string(question)
            .map_err(|error| failed(Failure::said(format!("the question cannot be written: {error}"))))?;
        match self.ask(&body) {
            // The server may have closed a connection that was kept open. Asking twice does no harm.
            Err(Failure::Connection(_)) => self.ask(&body).map_err(failed),
            other => other.map_err(failed),
        }
    }
}

/// A proxy of the environment may lead to the world, but not to this machine. A redirect is not followed: it would take
/// the token elsewhere.
fn agent(host: &str, roots: RootCerts) -> Agent {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "::1");
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(IDLE_CONNECTIONS_MAX)
        .max_idle_connections_per_host(IDLE_CONNECTIONS_MAX)
        // Servers close connections that are silent for longer.
        .max_idle_age(Duration::from_secs(5))
        .timeout_connect(seconds(CONNECT_SECONDS_MAX))
        .timeout_global(seconds(ALL_SECONDS_MAX))
        .tls_config(TlsConfig::builder().root_certs(roots).build());
    let config = if is_here { config.proxy(None) } else { config };
    Agent::new_with_config(config.build())
}

/// Why there is no decision.
enum Failure {
    /// The connection broke, or never came to be.
    Connection(String),
    /// What came, if anything, is none.
    Answer { status: Option<u16>, reason: String },
}

impl Failure {
    fn said(reason: impl Into<String>) -> Self {
        Self::Answer {
            status: None,
            reason: reason.into(),
        }
    }

    fn of(self, url: &str) -> ConsumerError {
        let (status, reason) = match self {
            Self::Connection(reason) => (None, reason),
            Self::Answer { status, reason } => (status, reason),
        };
        ConsumerError::Remote {
            url: url.to_owned(),
            status,
            reason,
        }
    }
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        use ureq::Error;
        match error {
            Error::Io(_) | Error::ConnectionFailed | Error::Protocol(_) => {
                Self::Connection(error.to_string())
            }
            Error::BodyExceedsLimit(_) => Self::said("its answer is too long"),
            Error::Timeout(_) => Self::said(format!("it does not answer in {ALL_SECONDS_MAX} s")),
            other => Self::said(other.to_string()),
        }
    }
}

fn refused(url: &str, reason: impl Into<String>) -> ConsumerError {
    Failure::said(reason).of(url)
}

/// What a server says that does not decide: the words of its problem document, if it sent one.
fn in_words(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        title: Option<String>,
        detail: Option<String>,
    }
    let problem: Option<Problem> = serde_json::from_slice(body).ok();
    let words = problem.and_then(|problem| problem.detail.or(problem.title));
    // Shown to people: no line of its own, no flood.
    let words = words.map(|words| {
        let visible = words.chars().filter(|c| !c.is_control());
        visible.take(300).collect::<String>()
    });
    match (words, status) {
        (Some(words), _) => format!("it answers with status {status}: {words}"),
        (None, 401 | 403) => format!("it answers with status {status}: check the service's token"),
        (None, _) => format!("it answers with status {status}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use serde_json::{Value, json};
    use sharetrail_proof::hash::LeafIndex;

    use super::super::OwnedQuestion;
    use super::*;

    /// A server that gives these answers, one a connection, and tells what it was asked.
    fn server(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serve = move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                if answer.is_empty() {
                    continue;
                }
                let (mut text, mut chunk) = (String::new(), [0; 4096]);
                // The body is the last thing sent, and its object the only one.
                while !text.ends_with('}') {
                    let length = stream.read(&mut chunk).unwrap();
                    assert!(length > 0, "the question ends before its body does: {text}");
                    text.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
                }
                asked.push(text);
                // Who has read enough may hang up.
                let _ = stream.write_all(answer.as_bytes());
            }
            asked
        };
        (url, thread::spawn(serve))
    }

    fn answer(status: &str, body: &Value) -> String {
        let body = body.to_string();
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
    }

    fn yes() -> Value {
        json!({
            "allowed": true,
            "reason": "consented",
            "by": {"source": "https://shop.example/a", "id": "enrol"},
            "since": "2026-01-31T12:00:00Z",
            "uncovered": [],
            "shard": 1,
            "current_to": 40,
            "last": 39,
        })
    }

    fn ask(url: &str) -> Result<Decision, ConsumerError> {
        let categories = ["pd:Name".to_owned()];
        let question = Question {
            customer: "customer-42",
            recipient: "mail.example",
            purpose: "dpv:Marketing",
            categories: &categories,
        };
        RemoteAuthorizer::new(url, "st_secret")?.authorize(&question)
    }

    #[test]
    fn the_answer_of_a_server_is_a_decision() {
        let (url, server) = server(vec![answer("200 OK", &yes())]);
        let decision = ask(&format!("{url}/")).unwrap();
        assert!(decision.allowed);
        assert_eq!((decision.shard, decision.current_to), (1, 40));
        assert_eq!(decision.last, Some(LeafIndex(39)));
        assert_eq!(decision.by.as_ref().map(|by| by.id.as_str()), Some("enrol"));
        assert_eq!(serde_json::to_value(&decision).unwrap(), yes());
        let asked = server.join().unwrap().remove(0);
        assert!(asked.starts_with("POST /v1/authorize HTTP/1.1\r\n"), "{asked}");
        let head = asked.to_lowercase();
        assert!(
            head.contains("\r\nauthorization: bearer st_secret\r\n"),
            "{asked}"
        );
        let (_, body) = asked.split_once("\r\n\r\n").unwrap();
        let expected = json!({
            "customer": "customer-42",
            "recipient": "mail.example",
            "purpose": "dpv:Marketing",
            "categories": ["pd:Name"],
        });
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
        let question: OwnedQuestion = serde_json::from_str(body).unwrap();
        assert_eq!(serde_json::to_value(question.as_question()).unwrap(), expected);
    }

    /// The fault: a connection that the server has closed meanwhile looks like a server that is down.
    #[test]
    fn a_connection_that_breaks_is_tried_once_more() {
        let (url, server) = server(vec![String::new(), answer("200 OK", &yes())]);
        assert!(ask(&url).unwrap().allowed);
        server.join().unwrap();
    }

    /// The fault: what is no decision is taken for one, and data goes out.
    #[test]
    fn whatever_is_no_decision_is_an_error() {
        let mut contradicts = yes();
        contradicts["reason"] = json!("withdrawn");
        let mut unknown = yes();
        unknown["reason"] = json!("sure");
        let long = json!({"words": "x".repeat(100_000)});
        let problem = json!({"title": "Unauthenticated", "detail": "no such token", "status": 401});
        for (status, body, expected) in [
            ("200 OK", &contradicts, None),
            ("200 OK", &unknown, None),
            ("200 OK", &json!({}), None),
            ("200 OK", &long, None),
            ("401 Unauthorized", &problem, Some(401)),
            ("503 Service Unavailable", &yes(), Some(503)),
            ("302 Found", &yes(), Some(302)),
        ] {
            let (url, server) = server(vec![answer(status, body)]);
            let error = ask(&url).unwrap_err();
            assert!(
                matches!(&error, ConsumerError::Remote { status, .. } if *status == expected),
                "{status}: {error}"
            );
            server.join().unwrap();
        }
    }

    #[test]
    fn addresses_and_tokens_that_cannot_work_are_refused_at_once() {
        for url in ["", "shop.example", "ftp://shop.example", "http://", "http://a/?b"] {
            assert!(RemoteAuthorizer::new(url, "st_1").is_err(), "{url}");
        }
        for token in ["", "a\nb", "a\u{7f}b"] {
            let refused = RemoteAuthorizer::new("http://shop.example", token);
            assert!(refused.is_err(), "{token:?}");
        }
        let none = RemoteAuthorizer::with_authorities("https://shop.example", "st_1", b"no PEM");
        assert!(matches!(none, Err(ConsumerError::Remote { .. })));
        let shown = format!(
            "{:?}",
            RemoteAuthorizer::new("http://shop.example", "st_1").unwrap()
        );
        assert!(!shown.contains("st_1"), "{shown}");
    }
}
