//! One connection to the nats-servers: opening it, asking over it, and hearing why something is refused.
//!
//! In scope: credentials, TLS, one question with a time limit, permission violations and slow consumers, backoff. Out of
//! scope: trying again, which depends on what was asked. Trust: a server that shows the right certificate is believed
//! about what it refuses; nothing else of what it says is.
//!
//! A server tells a permission violation beside the protocol, not in answer to what was tried. So every question also
//! listens for a violation on its own bus subject, and whoever asks hears "denied" instead of waiting for nothing.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{
    Client, ClientError, ConnectError, ConnectErrorKind, ConnectOptions, Event, Message, Request,
    RequestErrorKind, ServerError,
};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::settings::BusSettings;
use crate::error::LedgerError;
use crate::files;

/// A handshake that fails over certificates comes as an input error of this kind.
fn is_about_certificates(error: &ConnectError) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        if one
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::InvalidData)
        {
            return true;
        }
        cause = one.source();
    }
    false
}

/// How often a question looks whether its connection still stands.
const LOOK: Duration = Duration::from_millis(50);
/// Three times this without a sign of life, and another server is tried.
const PING: Duration = Duration::from_secs(3);
/// Violations and other events that are remembered.
const REMEMBERED: usize = 32;
/// Bus subjects on which a violation is remembered.
const DENIED_MAX: usize = 1_024;

/// Why a question has no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A right is missing.
    Denied(String),
    /// There is no connection; nothing was sent.
    Away,
    /// The connection broke after it was sent.
    Lost,
    /// Nobody listens there.
    NoResponders,
    /// The time is up.
    Silent,
    /// The client would not send it.
    Unsendable(String),
}

impl Trouble {
    /// Why, for a person.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Denied(text) | Self::Unsendable(text) => text.clone(),
            Self::Away => "no server is reached".into(),
            Self::Lost => "the connection broke".into(),
            Self::NoResponders => "nobody listens there".into(),
            Self::Silent => "no answer came in time".into(),
        }
    }
}

/// What the server said unasked.
#[derive(Default)]
struct Heard {
    count: u64,
    /// Bus subject → (when by `count`, the server's words).
    denied: HashMap<String, (u64, String)>,
    /// The subscription for answers was refused, until the next connection.
    deaf: Option<String>,
    /// The credentials are refused, until the next connection.
    refused: Option<String>,
    told: VecDeque<String>,
}

struct Events {
    heard: Mutex<Heard>,
    changed: watch::Sender<u64>,
    inbox: String,
}

impl Events {
    fn new(inbox: &str) -> Self {
        Self {
            heard: Mutex::default(),
            changed: watch::Sender::new(0),
            inbox: format!("{inbox}."),
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, event: &Event) {
        let mut heard = self.heard();
        heard.count += 1;
        let count = heard.count;
        match event {
            Event::Connected => (heard.deaf, heard.refused) = (None, None),
            Event::ServerError(ServerError::AuthorizationViolation) => {
                heard.refused = Some("the credentials are not valid".into());
            }
            Event::ServerError(ServerError::Other(text)) => {
                if let Some((publishing, bus_subject)) = violation(text) {
                    if !publishing && bus_subject.starts_with(&self.inbox) {
                        heard.deaf = Some(text.clone());
                    }
                    if heard.denied.len() >= DENIED_MAX {
                        heard.denied.clear();
                    }
                    heard.denied.insert(bus_subject.to_owned(), (count, text.clone()));
                }
            }
            // The client tells by its kind alone why it could not connect again.
            Event::ClientError(ClientError::Other(text))
                if *text == ConnectErrorKind::AuthorizationViolation.to_string() =>
            {
                heard.refused = Some("the credentials are not valid any more".into());
            }
            _ => {}
        }
        if !matches!(event, Event::Connected) {
            if heard.told.len() == REMEMBERED {
                heard.told.pop_front();
            }
            heard.told.push_back(event.to_string());
        }
        drop(heard);
        self.changed.send_modify(|changes| *changes += 1);
    }

    fn count(&self) -> u64 {
        self.heard().count
    }

    /// What was refused on a bus subject after a moment, or whatever makes every question vain.
    fn denial(&self, bus_subject: &str, since: u64) -> Option<String> {
        let heard = self.heard();
        let own = heard.denied.get(bus_subject).filter(|(when, _)| *when > since);
        own.map(|(_, text)| text.clone()).or_else(|| heard.deaf.clone())
    }

    fn refused(&self) -> Option<String> {
        self.heard().refused.clone()
    }
}

/// The bus subject of a violation, and whether it was about publishing.
fn violation(text: &str) -> Option<(bool, &str)> {
    let rest = text.strip_prefix("Permissions Violation for ")?;
    let (publishing, rest) = match rest.strip_prefix("Publish to ") {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix("Subscription to ")?),
    };
    let bus_subject = rest.strip_prefix('"')?;
    Some((publishing, bus_subject.split('"').next()?))
}

/// One connection.
pub(super) struct Link {
    client: Client,
    events: Arc<Events>,
}

impl Link {
    /// Connects. A wrong address or wrong credentials are told at once; later, the client connects again for ever.
    pub(super) async fn open(settings: &BusSettings, base: &Path) -> Result<Self, LedgerError> {
        let events = Arc::new(Events::new(settings.inbox()));
        let hears = Arc::clone(&events);
        let options = options(settings, base)?.event_callback(move |event| {
            hears.hear(&event);
            std::future::ready(())
        });
        let urls = settings.urls();
        let client = options.connect(&urls[..]).await.map_err(|error| {
            let text = format!("cannot connect to {}: {error}", settings.url);
            match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    LedgerError::Denied(format!("{text}; check `nkey` or `creds` in [bus]"))
                }
                ConnectErrorKind::ServerParse | ConnectErrorKind::Tls => {
                    LedgerError::Invalid(format!("{text}; check `url` and the TLS files in [bus]"))
                }
                ConnectErrorKind::Io if is_about_certificates(&error) => {
                    LedgerError::Invalid(format!("{text}; check the TLS files in [bus]"))
                }
                _ => LedgerError::Bus(format!("{text}; is nats-server running there?")),
            }
        })?;
        Ok(Self { client, events })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The last events that were not expected, oldest first.
    pub(super) fn told(&self) -> Vec<String> {
        self.events.heard().told.iter().cloned().collect()
    }

    /// Which connection stands: a number that changes with each; nothing while there is none.
    pub(super) fn connection(&self) -> Option<u64> {
        let number = self.client.statistics().connects.load(Ordering::Relaxed);
        (self.client.connection_state() == State::Connected).then_some(number)
    }

    /// A moment from which on violations count, for [`Link::denied_since`].
    pub(super) fn now(&self) -> u64 {
        self.events.count()
    }

    /// Whether the server has refused a bus subject since a moment.
    pub(super) fn denied_since(&self, bus_subject: &str, moment: u64) -> Option<String> {
        self.events.denial(bus_subject, moment)
    }

    /// Asks once, and waits for the answer no longer than `wait`.
    pub(super) async fn ask(
        &self,
        bus_subject: &str,
        request: Request,
        wait: Duration,
    ) -> Result<Message, Trouble> {
        let Some(connection) = self.connection() else {
            return Err(self.events.refused().map_or(Trouble::Away, Trouble::Denied));
        };
        let since = self.events.count();
        let mut changed = self.events.changed.subscribe();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let request = request.timeout(None);
        let mut answer = pin!(self.client.send_request(bus_subject.to_owned(), request));
        let mut end = pin!(sleep(wait));
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer.map_err(|error| match error.kind() {
                    RequestErrorKind::NoResponders => Trouble::NoResponders,
                    RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                        Trouble::Unsendable(error.to_string())
                    }
                    RequestErrorKind::TimedOut | RequestErrorKind::Other => Trouble::Lost,
                }),
                _ = changed.changed() => {
                    if let Some(text) = self.events.denial(bus_subject, since) {
                        return Err(Trouble::Denied(text));
                    }
                }
                () = &mut end => {
                    let denial = self.events.denial(bus_subject, since);
                    return Err(denial.map_or(Trouble::Silent, Trouble::Denied));
                }
                _ = look.tick() => {
                    if self.connection() != Some(connection) {
                        return Err(Trouble::Lost);
                    }
                }
            }
        }
    }
}

fn options(settings: &BusSettings, base: &Path) -> Result<ConnectOptions, LedgerError> {
    settings.check()?;
    let mut options = ConnectOptions::new()
        .name("sharetrail")
        .custom_inbox_prefix(settings.inbox())
        .ping_interval(PING)
        .connection_timeout(Duration::from_secs(5))
        .reconnect_delay_callback(|attempts| {
            let doublings = u32::try_from(attempts.saturating_sub(1).min(6)).unwrap_or(6);
            Duration::from_millis(if attempts <= 1 { 0 } else { 15 << doublings })
        });
    if let Some(path) = &settings.nkey {
        let path = base.join(path);
        let seed = files::read_private(&path)?;
        let seed = seed.trim();
        nkeys::KeyPair::from_seed(seed)
            .map_err(|_| LedgerError::damaged(&path, None, "it holds no nkey seed"))?;
        options = options.nkey(seed.to_owned());
    }
    if let Some(path) = &settings.creds {
        let path = base.join(path);
        options = options
            .credentials(&files::read_private(&path)?)
            .map_err(|error| LedgerError::damaged(&path, None, error.to_string()))?;
    }
    if let Some(path) = &settings.tls_ca {
        options = options.add_root_certificates(base.join(path));
    }
    if let (Some(certificate), Some(key)) = (&settings.tls_cert, &settings.tls_key) {
        let key = base.join(key);
        files::check_private(&key)?;
        options = options.add_client_certificate(base.join(certificate), key);
    }
    let tls = settings.tls_ca.is_some() || settings.tls_cert.is_some();
    Ok(options.require_tls(tls))
}

/// Longer and longer pauses, from 50 ms to 2 s, none like another's.
pub(super) struct Backoff {
    pause_ms: u64,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { pause_ms: 50 }
    }

    pub(super) async fn pause(&mut self) {
        let dice = files::random::<1>().map_or(128, |[byte]| u64::from(byte));
        let pause_ms = self.pause_ms * (192 + dice / 2) / 256;
        self.pause_ms = (self.pause_ms * 2).min(2_000);
        sleep(Duration::from_millis(pause_ms)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_names_its_bus_subject() {
        let text = r#"Permissions Violation for Publish to "ledger.shop.0.till""#;
        assert_eq!(violation(text), Some((true, "ledger.shop.0.till")));
        let text = r#"Permissions Violation for Subscription to "foo.*" using queue "q""#;
        assert_eq!(violation(text), Some((false, "foo.*")));
        assert_eq!(violation("Maximum Connections Exceeded"), None);
    }

    #[test]
    fn a_violation_counts_for_what_was_asked_before_it_and_for_its_bus_subject() {
        let events = Events::new("_INBOX_till");
        let deny = |what: &str| {
            let text = format!("Permissions Violation for {what}");
            events.hear(&Event::ServerError(ServerError::Other(text)));
        };
        let before = events.count();
        deny("Publish to \"a.b\"");
        assert!(events.denial("a.b", before).is_some());
        assert!(events.denial("a.c", before).is_none());
        assert!(events.denial("a.b", events.count()).is_none());
        deny("Subscription to \"_INBOX_till.x.*\"");
        assert!(
            events.denial("a.c", events.count()).is_some(),
            "no answer can come"
        );
        events.hear(&Event::Connected);
        assert!(events.denial("a.c", events.count()).is_none());
    }

    #[test]
    fn a_seed_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus.nkey");
        files::write_private(&path, &nkeys::KeyPair::new_user().seed().unwrap()).unwrap();
        let settings = BusSettings {
            nkey: Some("bus.nkey".into()),
            ..BusSettings::new("nats://127.0.0.1:1")
        };
        assert!(options(&settings, folder.path()).is_ok());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            options(&settings, folder.path()),
            Err(LedgerError::Exposed { .. })
        ));
    }
}
