//! `http.toml` in a ledger's folder: who may sign in, how the server is reached, what it bears.
//!
//! In scope: the file, what its values must be. Out of scope: what is done with them. Trust: the operator wrote it; a
//! value that would let a stranger in (a sign-in provider without TLS, an officer's claim without a value) is refused
//! all the same.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sharetrail_ledger::{Ledger, LedgerError, files};
use sharetrail_proof::name::Name;
use url::{Host, Url};

use super::proxies::ProxyNetwork;
use crate::error::ConsumerError;

/// The file's name in the ledger's folder.
const FILE: &str = "http.toml";
/// The most characters of the company's name.
const COMPANY_CHARACTERS: usize = 100;
/// The scope without which a provider gives no ID token.
const OPENID: &str = "openid";

/// What `http.toml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// How browsers reach the server, such as `https://trail.shop.example`: scheme and host, no path. Where it is not
    /// set, browsers reach it where it listens.
    pub public_url: Option<String>,
    /// Who signs what customers and officers do here; else the ledger's default producer.
    pub producer: Option<Name>,
    /// The company as pages name it; else the ledger's name.
    pub company: Option<String>,
    /// Whether anybody may read `/metrics`, not only this machine.
    pub open_metrics: bool,
    /// The reverse proxies whose `X-Forwarded-For` says whom a request comes from, as limits of rate count it.
    pub trusted_proxies: Vec<ProxyNetwork>,
    /// The provider at which customers and officers sign in; without it, nobody does.
    pub oidc: Option<OidcSettings>,
    /// The server's certificate; without it, the server speaks plain HTTP.
    pub tls: Option<TlsSettings>,
    /// What the server bears.
    pub limits: LimitSettings,
}

/// The OpenID provider at which customers and officers sign in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// The issuer, exactly as in its tokens.
    pub issuer: String,
    /// What the tokens for this server name as their audience; the client id too, unless `client_id` is set.
    pub audience: String,
    /// What this server is called at the provider when a browser signs in.
    #[serde(default)]
    pub client_id: Option<String>,
    /// A private file with the client's secret; without one, this is a public client.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// A file with the provider's keys (a JSON Web Key Set), instead of those that the provider serves.
    #[serde(default)]
    pub jwks_file: Option<PathBuf>,
    /// The claim that is the customer id.
    #[serde(default = "customer_claim")]
    pub customer_claim: String,
    /// The claim that makes somebody an officer: a text or a list of texts.
    #[serde(default)]
    pub officer_claim: Option<String>,
    /// The text that must be in it.
    #[serde(default)]
    pub officer_value: Option<String>,
    /// What is asked for when a browser signs in.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
}

fn customer_claim() -> String {
    "sub".into()
}

fn scopes() -> Vec<String> {
    vec![OPENID.into(), "profile".into()]
}

impl OidcSettings {
    /// The least that must be known of a provider; customers are told by `sub`, and nobody is an officer.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            client_id: None,
            client_secret_file: None,
            jwks_file: None,
            customer_claim: customer_claim(),
            officer_claim: None,
            officer_value: None,
            scopes: scopes(),
        }
    }

    /// What this server is called at the provider.
    pub(crate) fn client(&self) -> &str {
        self.client_id.as_deref().unwrap_or(&self.audience)
    }
}

/// The files of TLS, all PEM. They are read again while the server is at work.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The server's certificate, with those between it and a root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who signs the certificates of services; with it, a service may show one instead of a token.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// What the server bears. Each is at least 1.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Requests a second of one customer, or of one officer.
    pub customer_per_second: u32,
    /// Requests a second of one producer's services.
    pub service_per_second: u32,
    /// Requests a second of one address that shows nothing.
    pub stranger_per_second: u32,
    /// Connections at once.
    pub connections: u32,
    /// Seconds for one request.
    pub request_seconds: u64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            body_bytes: 8 << 20,
            customer_per_second: 20,
            service_per_second: 2_000,
            stranger_per_second: 50,
            connections: 12_000,
            request_seconds: 30,
        }
    }
}

impl HttpSettings {
    /// Reads `http.toml` in a ledger's folder; without one, these are the defaults: logs, health, services by token, no
    /// sign-in. Paths come out relative to where the program runs, not to the folder.
    pub fn read(folder: &Path) -> Result<Self, ConsumerError> {
        let path = folder.join(FILE);
        let Some(bytes) = files::read_if_there(&path)? else {
            return Ok(Self::default());
        };
        let refused = |line: Option<usize>, what: &str| {
            let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
            ConsumerError::from(LedgerError::Invalid(format!("{}{line}: {what}", path.display())))
        };
        let text = String::from_utf8(bytes).map_err(|_| refused(None, "the file is not UTF-8"))?;
        let mut settings: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map(|span| line_at(&text, span.start));
            refused(line, error.message())
        })?;
        settings
            .check()
            .map_err(|fault| refused(line_of(&text, fault.section, fault.key), &fault.what()))?;
        settings.settle(folder);
        Ok(settings)
    }

    /// Who signs what customers and officers do here.
    pub(crate) fn signing_producer(&self, ledger: &Ledger) -> Name {
        let own = self.producer.as_ref();
        own.unwrap_or(&ledger.settings().default_producer).clone()
    }

    /// The company as pages name it.
    pub(crate) fn company_name<'a>(&'a self, ledger: &'a Ledger) -> &'a str {
        self.company.as_deref().unwrap_or(ledger.name().as_str())
    }

    /// Makes paths lead from where the program runs.
    fn settle(&mut self, folder: &Path) {
        let oidc = self.oidc.as_mut();
        let signing_in = oidc.map(|oidc| [oidc.client_secret_file.as_mut(), oidc.jwks_file.as_mut()]);
        for path in signing_in.into_iter().flatten().flatten() {
            *path = folder.join(&*path);
        }
        if let Some(tls) = &mut self.tls {
            let files = [
                Some(&mut tls.certificate),
                Some(&mut tls.key),
                tls.client_ca.as_mut(),
            ];
            for path in files.into_iter().flatten() {
                *path = folder.join(&*path);
            }
        }
    }

    fn check(&mut self) -> Result<(), Fault> {
        if let Some(url) = &self.public_url {
            let origin = public_origin(url).map_err(|reason| Fault::new("", "public_url", reason))?;
            self.public_url = Some(origin);
        }
        if let Some(company) = &self.company
            && !is_line(company, COMPANY_CHARACTERS)
        {
            let reason = "is to be one line of 1 to 100 characters";
            return Err(Fault::new("", "company", reason));
        }
        if let Some(oidc) = &self.oidc {
            oidc.check()?;
        }
        self.limits.check()
    }
}

impl OidcSettings {
    fn check(&self) -> Result<(), Fault> {
        let fault = |key, reason| Err(Fault::new("oidc", key, reason));
        match Url::parse(&self.issuer) {
            Ok(url) if !is_safe(&url) => {
                return fault("issuer", "must be https, or http on this very machine");
            }
            Ok(url) if url.query().is_some() || url.fragment().is_some() => {
                return fault("issuer", "must have neither a query nor a fragment");
            }
            Ok(_) => {}
            Err(_) => return fault("issuer", "is not a URL"),
        }
        if self.audience.is_empty() {
            return fault("audience", "is empty; it is what the tokens for this server name");
        }
        if self.client_id.as_deref() == Some("") {
            return fault("client_id", "is empty; leave it out where it is the audience");
        }
        if self.customer_claim.is_empty() {
            return fault(
                "customer_claim",
                "is empty; it is the claim that is the customer id",
            );
        }
        let claim = self.officer_claim.as_deref().map(str::is_empty);
        let value = self.officer_value.as_deref().map(str::is_empty);
        match (claim, value) {
            (None, None) | (Some(false), Some(false)) => {}
            (Some(false), _) => {
                return fault(
                    "officer_claim",
                    "needs officer_value, the text that must be in it",
                );
            }
            _ => return fault("officer_value", "needs officer_claim, where it is looked for"),
        }
        let is_scope =
            |scope: &String| !scope.is_empty() && scope.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if !self.scopes.iter().all(is_scope) || !self.scopes.iter().any(|scope| scope == OPENID) {
            return fault("scopes", "must be words, with \"openid\" among them");
        }
        Ok(())
    }
}

impl LimitSettings {
    fn check(&self) -> Result<(), Fault> {
        let values = [
            ("body_bytes", self.body_bytes == 0),
            ("customer_per_second", self.customer_per_second == 0),
            ("service_per_second", self.service_per_second == 0),
            ("stranger_per_second", self.stranger_per_second == 0),
            ("connections", self.connections == 0),
            ("request_seconds", self.request_seconds == 0),
        ];
        match values.iter().find(|(_, is_nothing)| *is_nothing) {
            Some((key, _)) => Err(Fault::new("limits", key, "must be at least 1")),
            None => Ok(()),
        }
    }
}

/// A value that does not fit.
struct Fault {
    /// The table it stands in; none where this is empty.
    section: &'static str,
    key: &'static str,
    reason: &'static str,
}

impl Fault {
    fn new(section: &'static str, key: &'static str, reason: &'static str) -> Self {
        Self { section, key, reason }
    }

    fn what(&self) -> String {
        format!("{} {}", self.key, self.reason)
    }
}

/// The line, from 1, that byte `at` is in.
fn line_at(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    1 + before.split(|byte| *byte == b'\n').count().saturating_sub(1)
}

/// The line, from 1, on which a table sets a key, where it stands on a line of its own.
fn line_of(text: &str, section: &str, key: &str) -> Option<usize> {
    let mut here = "";
    let found = text.lines().position(|line| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            here = name.trim();
        }
        let rest = line.strip_prefix(key).map(str::trim_start);
        here == section && rest.is_some_and(|rest| rest.starts_with('='))
    });
    found.map(|line| line + 1)
}

/// Whether a text for pages is one line and not too long.
fn is_line(text: &str, characters_max: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= characters_max && !text.chars().any(char::is_control)
}

/// Scheme, host and port of a URL that has nothing else.
fn public_origin(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !is_safe(&url) {
        return Err("must be https, or http on this very machine");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("must be scheme and host alone, without a path");
    }
    Ok(url.origin().ascii_serialization())
}

/// Whether what goes to a URL cannot be read on the way: TLS, or a host that is this machine. Names and passwords in
/// URLs end up in logs, so there must be none.
pub(super) fn is_safe(url: &Url) -> bool {
    let is_bare = url.username().is_empty() && url.password().is_none();
    is_bare
        && match url.scheme() {
            "https" => url.host().is_some(),
            "http" => url.host().is_some_and(|host| is_loopback(&host)),
            _ => false,
        }
}

/// Whether a host is this very machine.
pub(super) fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => name.as_ref().eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str) -> Result<HttpSettings, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), text).unwrap();
        HttpSettings::read(folder.path()).map_err(|error| match error {
            ConsumerError::Ledger(LedgerError::Invalid(what)) => what
                .split_once(FILE)
                .unwrap()
                .1
                .trim_start_matches(", ")
                .to_owned(),
            other => panic!("{other}"),
        })
    }

    const OIDC: &str = "[oidc]\nissuer = \"https://login.shop.example\"\naudience = \"sharetrail\"\n";

    #[test]
    fn without_a_file_nobody_signs_in() {
        let folder = tempfile::tempdir().unwrap();
        let settings = HttpSettings::read(folder.path()).unwrap();
        assert_eq!(settings, HttpSettings::default());
        assert_eq!((settings.oidc, settings.tls), (None, None));
        assert_eq!(settings.limits.body_bytes, 8_388_608);
    }

    #[test]
    fn what_is_left_out_has_a_default_and_paths_lead_from_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "public_url = \"https://trail.shop.example/\"\nproducer = \"shop.example\"\n{OIDC}\
             jwks_file = \"jwks.json\"\n[tls]\ncertificate = \"cert.pem\"\nkey = \"/etc/key.pem\"\n\
             [limits]\nconnections = 5\n"
        );
        fs::write(folder.path().join(FILE), text).unwrap();
        let settings = HttpSettings::read(folder.path()).unwrap();
        assert_eq!(settings.public_url.as_deref(), Some("https://trail.shop.example"));
        let oidc = settings.oidc.unwrap();
        assert_eq!(
            (oidc.client(), oidc.customer_claim.as_str()),
            ("sharetrail", "sub")
        );
        assert_eq!(oidc.jwks_file, Some(folder.path().join("jwks.json")));
        assert_eq!(oidc.scopes, ["openid", "profile"]);
        let tls = settings.tls.unwrap();
        assert_eq!(tls.certificate, folder.path().join("cert.pem"));
        assert_eq!(tls.key, Path::new("/etc/key.pem"));
        assert_eq!(
            (settings.limits.connections, settings.limits.request_seconds),
            (5, 30)
        );
    }

    /// The fault: a misspelt key is passed over, and somebody believes that a limit or a check is in force.
    #[test]
    fn what_does_not_fit_is_refused_with_its_line() {
        let begins = |text: &str, place: &str| {
            let refusal = read(text).unwrap_err();
            assert!(refusal.starts_with(place), "{text:?} gives {refusal:?}");
        };
        begins("company = \"Shop\"\nconpany = \"Shop\"\n", "line 2:");
        begins(&format!("{OIDC}jwks = \"x\"\n"), "line 4:");
        begins("[limits]\nconnections = 0\n", "line 2:");
        begins("[limits]\nconnections = \"many\"\n", "line 2:");
        begins("public_url = \"https://shop.example/trail\"\n", "line 1:");
        begins("\npublic_url = \"http://shop.example\"\n", "line 2:");
        begins("producer = \"Shop Example\"\n", "line 1:");
        begins("company = \" \"\n", "line 1:");
        begins(&format!("{OIDC}officer_claim = \"roles\"\n"), "line 4:");
        begins(&format!("{OIDC}officer_value = \"officer\"\n"), "line 4:");
        begins(&format!("{OIDC}scopes = [\"profile\"]\n"), "line 4:");
        begins("trusted_proxies = \"10.0.0.0/8\"\n", "line 1:");
        begins("\ntrusted_proxies = [\"10.0.0.1\", \"10.0.0.0/33\"]\n", "line 2:");
        begins("\ntrusted_proxies = [\"proxy.shop.example\"]\n", "line 2:");
    }

    /// The fault: the operator names a proxy, and all strangers behind it share one limit still.
    #[test]
    fn proxies_are_named_by_address_or_network() {
        let settings = read("trusted_proxies = [\"10.0.0.7\", \"fd00::/8\"]\n").unwrap();
        let named = ["10.0.0.7/32", "fd00::/8"].map(|text| text.parse::<ProxyNetwork>().unwrap());
        assert_eq!(settings.trusted_proxies, named);
        assert!(HttpSettings::default().trusted_proxies.is_empty());
    }

    /// The fault: tokens are believed that came over a line anybody could write on.
    #[test]
    fn a_provider_is_asked_over_tls_or_on_this_machine() {
        let with = |issuer: &str| read(&format!("[oidc]\nissuer = \"{issuer}\"\naudience = \"a\"\n"));
        for good in [
            "https://login.shop.example/realms/shop",
            "http://127.0.0.1:8080/issuer",
            "http://[::1]/",
            "http://localhost:1",
        ] {
            assert!(with(good).is_ok(), "{good}");
        }
        for bad in [
            "http://login.shop.example",
            "http://localhost.shop.example",
            "http://127.0.0.1.shop.example",
            "ftp://localhost",
            "https://me:secret@login.shop.example",
            "https://login.shop.example/?a",
            "login.shop.example",
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }
}
