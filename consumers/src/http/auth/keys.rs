//! The provider's keys, and where it is: fetched when they are needed, kept for a while.
//!
//! In scope: discovery, the JSON Web Key Set, which algorithms a key is good for, asking the provider. Out of scope:
//! what a token says. Trust: the provider is believed about its keys, over TLS or on this machine alone; no redirect is
//! followed. A token only picks a key. Which algorithms the key takes is told by the key's own type, so that a public
//! key is never a shared secret.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};
use ureq::Agent;
use ureq::http::Response;
use url::Url;

use super::oidc::Refusal;
use crate::http::settings::{is_loopback, is_safe};

/// What a provider's answer may be long.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How long a provider may take for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long what it said is taken as new.
const FRESH: Duration = Duration::from_mins(10);
/// How long what it said is gone on with while it does not answer.
const GOOD: Duration = Duration::from_hours(1);
/// How soon it is asked again after a token came with a key that is not known.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// How soon it is asked again after it did not answer.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// Keys of a set that are looked at.
const KEYS_MAX: usize = 64;
/// Bytes of an RSA modulus: what is shorter is not safe, what is longer takes too long.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;
const RSA_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// The keys of a provider.
#[derive(Debug)]
pub(super) struct Ring(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// What the key can check, by its own type.
    algorithms: Vec<Algorithm>,
    check: DecodingKey,
}

impl Ring {
    /// Reads a JSON Web Key Set (RFC 7517). Keys that are of no use here are passed over.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set =
            serde_json::from_slice(bytes).map_err(|error| format!("not a JSON Web Key Set: {error}"))?;
        if set.keys.len() > KEYS_MAX {
            return Err(format!("a JSON Web Key Set of more than {KEYS_MAX} keys"));
        }
        let keys: Vec<_> = set.keys.into_iter().filter_map(Key::of).collect();
        if keys.is_empty() {
            return Err("a JSON Web Key Set without a key that checks signatures".into());
        }
        Ok(Self(keys))
    }

    /// The key with an id, if it is one, and can check by this algorithm. Without an id, the only key that can.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&DecodingKey, Refusal> {
        let is_good = |key: &&Key| key.algorithms.contains(&algorithm);
        let is_named = |key: &&Key| match id {
            Some(id) => key.id.as_deref() == Some(id),
            None => is_good(key),
        };
        let mut named = self.0.iter().filter(is_named);
        match (named.next(), named.next()) {
            (None, _) => Err(Refusal::UnknownKey),
            (Some(_), Some(_)) => Err(Refusal::AmbiguousKey),
            (Some(key), None) if is_good(&key) => Ok(&key.check),
            (Some(_), None) => Err(Refusal::Algorithm),
        }
    }
}

impl Key {
    fn of(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        let is_for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let verifies = common
            .key_operations
            .as_ref()
            .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !is_for_signatures || !verifies {
            return None;
        }
        let mut algorithms = algorithms(&jwk.algorithm)?;
        if let Some(only) = common.key_algorithm {
            algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == only);
        }
        if algorithms.is_empty() {
            return None;
        }
        Some(Self {
            id: common.key_id.clone(),
            algorithms,
            check: DecodingKey::from_jwk(&jwk).ok()?,
        })
    }
}

/// What a key of this type and size can check. Never anything with a shared secret.
fn algorithms(parameters: &AlgorithmParameters) -> Option<Vec<Algorithm>> {
    let length = |text: &str| {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        Some(bytes.iter().skip_while(|byte| **byte == 0).count())
    };
    match parameters {
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => Some(vec![Algorithm::ES256]),
            EllipticCurve::P384 => Some(vec![Algorithm::ES384]),
            _ => None,
        },
        AlgorithmParameters::RSA(key) if RSA_BYTES.contains(&length(&key.n)?) => Some(RSA_ALGORITHMS.into()),
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            // The library cuts the key to 32 bytes without asking whether there are so many.
            let bytes = BASE64URL_NOPAD.decode(key.x.as_bytes()).ok()?;
            (bytes.len() == 32).then(|| vec![Algorithm::EdDSA])
        }
        _ => None,
    }
}

/// Where a provider is, by its own discovery document.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Endpoints {
    issuer: String,
    jwks_uri: String,
    #[serde(default)]
    pub(super) authorization_endpoint: Option<String>,
    #[serde(default)]
    pub(super) token_endpoint: Option<String>,
}

/// Asks a provider. All of this waits for the network: for threads that may.
pub(super) struct Client {
    agent: Agent,
    issuer: String,
}

impl Client {
    pub(super) fn new(issuer: &str) -> Self {
        let is_here = Url::parse(issuer)
            .ok()
            .and_then(|url| url.host().map(|host| is_loopback(&host)));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(ANSWER_WAIT));
        // A proxy of the environment leads to the world, not to this machine.
        let config = if is_here == Some(true) {
            config.proxy(None)
        } else {
            config
        };
        Self {
            agent: Agent::new_with_config(config.build()),
            issuer: issuer.to_owned(),
        }
    }

    /// The provider's discovery document (OpenID Connect Discovery 1.0 §4), which must be about this very issuer.
    pub(super) fn discover(&self) -> Result<Endpoints, String> {
        let url = format!(
            "{}/.well-known/openid-configuration",
            self.issuer.trim_end_matches('/')
        );
        let endpoints: Endpoints = serde_json::from_slice(&self.get(&url)?)
            .map_err(|error| format!("{url} is not a discovery document: {error}"))?;
        if endpoints.issuer != self.issuer {
            return Err(format!("{url} is about another issuer, {:?}", endpoints.issuer));
        }
        Ok(endpoints)
    }

    /// The keys that the provider serves.
    pub(super) fn keys(&self) -> Result<Ring, String> {
        let endpoints = self.discover()?;
        let url = &endpoints.jwks_uri;
        Ring::parse(&self.get(url)?).map_err(|reason| format!("{url}: {reason}"))
    }

    fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        check(url)?;
        let response = self.agent.get(url).header("accept", "application/json").call();
        body(url, response)
    }

    /// Sends a form. `basic`: what stands after `Basic` in the header that says who sends it.
    pub(super) fn post(
        &self,
        url: &str,
        form: &[(&str, &str)],
        basic: Option<&str>,
    ) -> Result<Vec<u8>, String> {
        check(url)?;
        let mut request = self.agent.post(url).header("accept", "application/json");
        if let Some(basic) = basic {
            request = request.header("authorization", format!("Basic {basic}"));
        }
        body(url, request.send_form(form.iter().copied()))
    }
}

/// Refuses a place that the provider names and where anybody could listen.
pub(super) fn check(url: &str) -> Result<(), String> {
    match Url::parse(url) {
        Ok(parsed) if is_safe(&parsed) => Ok(()),
        _ => Err(format!("{url:?} is neither https nor on this machine")),
    }
}

fn body(url: &str, response: Result<Response<ureq::Body>, ureq::Error>) -> Result<Vec<u8>, String> {
    let mut response = response.map_err(|error| format!("{url}: {error}"))?;
    if response.status().as_u16() != 200 {
        return Err(format!("{url} answers with status {}", response.status()));
    }
    let limited = response.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    limited.read_to_vec().map_err(|error| format!("{url}: {error}"))
}

/// Where keys come from.
pub(super) enum Source {
    /// The provider serves them.
    Web(Arc<Client>),
    /// The operator put them there.
    File(PathBuf),
}

impl Source {
    /// The keys as they are now.
    pub(super) fn fetch(&self) -> Result<Ring, String> {
        match self {
            Self::Web(client) => client.keys(),
            Self::File(path) => {
                let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
                Ring::parse(&bytes).map_err(|reason| format!("{}: {reason}", path.display()))
            }
        }
    }
}

/// Something that is fetched now and then, by one at a time.
pub(super) struct Kept<T> {
    held: Arc<RwLock<Held<T>>>,
    fetching: Arc<Mutex<()>>,
}

struct Held<T> {
    value: Option<(Arc<T>, Instant)>,
    /// When it was tried last, and whether that failed.
    tried: Option<(Instant, bool)>,
}

/// What to do about something that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// It is new, or it is too soon to ask again.
    Nothing,
    /// Somebody should ask; the others go on with what is held.
    Refresh,
    /// There is nothing to go on with.
    Wait,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            held: Arc::new(RwLock::new(Held {
                value: None,
                tried: None,
            })),
            fetching: Arc::default(),
        }
    }
}

impl<T> Held<T> {
    /// `missed`: what is held lacks something that came.
    fn need(&self, missed: bool, now: Instant) -> Need {
        let is_within = |then: Instant, span: Duration| now.saturating_duration_since(then) < span;
        let waits = match self.tried {
            Some((then, true)) => is_within(then, TRY_AGAIN),
            Some((then, false)) => missed && is_within(then, ASK_AGAIN),
            None => false,
        };
        match &self.value {
            _ if waits => Need::Nothing,
            Some((_, since)) if is_within(*since, FRESH) && !missed => Need::Nothing,
            Some((_, since)) if is_within(*since, GOOD) && !missed => Need::Refresh,
            _ => Need::Wait,
        }
    }

    fn good(&self, now: Instant) -> Option<Arc<T>> {
        let held = self.value.as_ref();
        let good = held.filter(|(_, since)| now.saturating_duration_since(*since) < GOOD);
        good.map(|(value, _)| Arc::clone(value))
    }
}

impl<T: Send + Sync + 'static> Kept<T> {
    /// What is held, fetched before if need be. `missed`: what was got before lacks something that came; it is fetched
    /// anew then, unless that was done a moment ago.
    pub(super) async fn get<F>(&self, missed: bool, fetch: F) -> Result<Arc<T>, Refusal>
    where
        F: FnOnce() -> Result<T, String> + Send + 'static,
    {
        let fetching = Arc::clone(&self.fetching);
        let turn = match self.need(missed) {
            Need::Nothing => return self.good(),
            Need::Refresh => match fetching.try_lock_owned() {
                Ok(turn) => turn,
                Err(_) => return self.good(),
            },
            Need::Wait => fetching.lock_owned().await,
        };
        // Whoever had the turn before may have fetched it.
        if self.need(missed) == Need::Nothing {
            return self.good();
        }
        // On its own: whoever asks and goes away would have the provider asked once more by each who comes next.
        // Where it panicked, what is held stays.
        let _ = tokio::spawn(renew(Arc::clone(&self.held), turn, fetch)).await;
        self.good()
    }

    fn need(&self, missed: bool) -> Need {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.need(missed, Instant::now())
    }

    fn good(&self) -> Result<Arc<T>, Refusal> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.good(Instant::now()).ok_or(Refusal::Unavailable)
    }
}

/// Fetches what is held anew; `turn` is kept until that has come or failed.
async fn renew<T, F>(held: Arc<RwLock<Held<T>>>, turn: OwnedMutexGuard<()>, fetch: F)
where
    T: Send + Sync + 'static,
    F: FnOnce() -> Result<T, String> + Send + 'static,
{
    let fetched = tokio::task::spawn_blocking(fetch).await;
    let fetched = fetched.unwrap_or_else(|error| Err(error.to_string()));
    let now = Instant::now();
    {
        let mut held = held.write().unwrap_or_else(PoisonError::into_inner);
        held.tried = Some((now, fetched.is_err()));
        match fetched {
            Ok(value) => held.value = Some((Arc::new(value), now)),
            Err(reason) => tracing::warn!(target: "http", %reason, "the sign-in provider is of no use"),
        }
    }
    drop(turn);
}

/// The keys of one provider, as new as they need to be.
pub(super) struct Keys {
    source: Arc<Source>,
    kept: Kept<Ring>,
}

impl Keys {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source: Arc::new(source),
            kept: Kept::default(),
        }
    }

    /// The keys. `missed`: those that were got before lack the one that a token names.
    pub(super) fn ring(&self, missed: bool) -> impl Future<Output = Result<Arc<Ring>, Refusal>> + Send + '_ {
        let source = Arc::clone(&self.source);
        self.kept.get(missed, move || source.fetch())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use serde_json::json;

    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn ring(keys: &Value) -> Result<Ring, String> {
        Ring::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn ed(id: &str) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "kid": id })
    }

    fn modulus(bytes: usize) -> String {
        BASE64URL_NOPAD.encode(&vec![0xc3; bytes])
    }

    /// The fault: the public key of a provider is taken for a shared secret, with which anybody signs.
    #[test]
    fn a_key_says_itself_what_it_checks() {
        let good = ring(&json!([
            ed("ed"),
            { "kty": "RSA", "n": modulus(256), "e": "AQAB", "kid": "rsa" },
            { "kty": "RSA", "n": modulus(256), "e": "AQAB", "kid": "pss", "alg": "PS256", "use": "sig" },
        ]))
        .unwrap();
        assert!(good.find(Some("ed"), Algorithm::EdDSA).is_ok());
        assert!(good.find(Some("rsa"), Algorithm::RS256).is_ok());
        assert!(good.find(Some("pss"), Algorithm::PS256).is_ok());
        for (id, algorithm) in [
            ("ed", Algorithm::RS256),
            ("ed", Algorithm::HS256),
            ("rsa", Algorithm::HS256),
            ("rsa", Algorithm::ES256),
            ("pss", Algorithm::RS256),
        ] {
            assert_eq!(
                good.find(Some(id), algorithm).err(),
                Some(Refusal::Algorithm),
                "{id}"
            );
        }
        assert_eq!(
            good.find(Some("other"), Algorithm::EdDSA).err(),
            Some(Refusal::UnknownKey)
        );
        assert!(good.find(None, Algorithm::EdDSA).is_ok());
        assert_eq!(
            good.find(None, Algorithm::PS256).err(),
            Some(Refusal::AmbiguousKey)
        );
    }

    #[test]
    fn what_is_no_key_for_signatures_is_passed_over() {
        for bad in [
            json!({ "kty": "oct", "k": X, "kid": "a" }),
            json!({ "kty": "OKP", "crv": "X25519", "x": X }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }),
            json!({ "kty": "EC", "crv": "P-521", "x": X, "y": X }),
            json!({ "kty": "RSA", "n": modulus(128), "e": "AQAB" }),
            json!({ "kty": "RSA", "n": modulus(1024), "e": "AQAB" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "use": "enc" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "alg": "HS256" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "key_ops": ["sign"] }),
            json!("key"),
        ] {
            assert!(ring(&json!([bad])).is_err(), "{bad}");
            let beside = ring(&json!([bad, ed("ed")])).unwrap();
            assert_eq!(beside.0.len(), 1);
        }
        assert!(Ring::parse(b"{}").is_err());
        let many: Vec<_> = (0..=KEYS_MAX).map(|n| ed(&n.to_string())).collect();
        assert!(ring(&json!(many)).is_err());
    }

    /// The fault: two keys have one id, and which of them checks is chance.
    #[test]
    fn an_id_that_two_keys_have_picks_none() {
        let ring = ring(&json!([ed("a"), ed("a"), ed("b")])).unwrap();
        assert_eq!(
            ring.find(Some("a"), Algorithm::EdDSA).err(),
            Some(Refusal::AmbiguousKey)
        );
        assert!(ring.find(Some("b"), Algorithm::EdDSA).is_ok());
    }

    /// The fault: tokens with made-up key ids make the server ask its provider with each request.
    #[test]
    fn a_provider_is_asked_no_oftener_than_needed() {
        let now = Instant::now() + Duration::from_hours(2);
        let held = |age: Option<Duration>, tried: Option<(Duration, bool)>| Held {
            value: age.map(|age| (Arc::new(()), now.checked_sub(age).unwrap())),
            tried: tried.map(|(age, failed)| (now.checked_sub(age).unwrap(), failed)),
        };
        let seconds = Duration::from_secs;
        assert_eq!(held(None, None).need(false, now), Need::Wait);
        assert_eq!(
            held(None, Some((seconds(1), true))).need(false, now),
            Need::Nothing
        );
        assert_eq!(held(None, Some((seconds(6), true))).need(false, now), Need::Wait);
        let fresh = held(Some(seconds(20)), Some((seconds(20), false)));
        assert_eq!(fresh.need(false, now), Need::Nothing);
        assert_eq!(fresh.need(true, now), Need::Nothing);
        let settled = held(Some(seconds(40)), Some((seconds(40), false)));
        assert_eq!(settled.need(false, now), Need::Nothing);
        assert_eq!(settled.need(true, now), Need::Wait);
        let old = held(Some(seconds(700)), Some((seconds(700), false)));
        assert_eq!(old.need(false, now), Need::Refresh);
        assert!(old.good(now).is_some());
        let failing = held(Some(seconds(700)), Some((seconds(2), true)));
        assert_eq!(failing.need(false, now), Need::Nothing);
        let gone = held(Some(seconds(3_700)), Some((seconds(2), true)));
        assert!(gone.good(now).is_none());
    }

    /// Answers as many requests as there are answers, on a port of its own.
    fn provider(answers: impl FnOnce(&str) -> Vec<String>) -> (String, JoinHandle<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers = answers(&url);
        let work = move || {
            let mut served = 0;
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut question = [0; 4096];
                if stream.read(&mut question).unwrap() == 0 {
                    break;
                }
                let _ = stream.write_all(answer.as_bytes());
                served += 1;
            }
            served
        };
        (url, thread::spawn(work))
    }

    fn ok(body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    fn discovery(issuer: &str, jwks: &str) -> String {
        ok(&json!({ "issuer": issuer, "jwks_uri": jwks }).to_string())
    }

    #[test]
    fn keys_come_from_where_the_provider_says() {
        let set = json!({ "keys": [ed("a")] }).to_string();
        let (url, served) = provider(|url| vec![discovery(url, &format!("{url}/keys")), ok(&set)]);
        let ring = Client::new(&url).keys().unwrap();
        assert!(ring.find(Some("a"), Algorithm::EdDSA).is_ok());
        assert_eq!(served.join().unwrap(), 2);
    }

    /// The fault: somebody else's discovery document, a redirect or a place without TLS says which keys are believed.
    #[test]
    fn nobody_else_says_where_the_keys_are() {
        let cases: [fn(&str) -> String; 4] = [
            |url| discovery("http://127.0.0.1:1", &format!("{url}/keys")),
            |url| discovery(url, "http://keys.shop.example/"),
            |url| {
                format!(
                    "HTTP/1.1 302 Found\r\nLocation: {url}/other\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
            },
            |_| ok(&" ".repeat((1 << 20) + 1)),
        ];
        for case in cases {
            let (url, served) = provider(|url| vec![case(url)]);
            assert!(Client::new(&url).keys().is_err());
            assert_eq!(served.join().unwrap(), 1);
        }
    }
}
