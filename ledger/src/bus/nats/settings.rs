//! `[bus]`: where the nats-servers are and how to get in.
//!
//! In scope: the table as it stands in `ledger.toml` and in a credentials folder. Out of scope: connecting.
//! Trust: whoever owns the folder wrote it; the files it names must be private.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::LedgerError;

/// The inbox prefix of an operator's or host's credentials.
const HOST_INBOX: &str = "_INBOX_host";

fn one() -> u8 {
    1
}

/// The nats-servers of a ledger and the credentials for them. Relative paths start from the folder the file lies in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusSettings {
    /// One or more `nats://` or `tls://` URLs, comma separated.
    pub url: String,
    /// On how many servers each stream lies: 1, 3 or 5.
    #[serde(default = "one")]
    pub replicas: u8,
    /// Monitoring addresses (`http://host:8222`) of all nodes, comma separated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub monitor: Option<String>,
    /// A file with an nkey seed; nobody else may read it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nkey: Option<PathBuf>,
    /// A `.creds` file; nobody else may read it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub creds: Option<PathBuf>,
    /// The authority that signed the servers' certificates.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tls_ca: Option<PathBuf>,
    /// This client's certificate.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tls_cert: Option<PathBuf>,
    /// The key of the certificate; nobody else may read it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tls_key: Option<PathBuf>,
    /// The prefix of the bus subjects on which answers come; `_INBOX_host` where it is not set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inbox: Option<String>,
}

impl BusSettings {
    /// Settings with an address and nothing else.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            replicas: one(),
            monitor: None,
            nkey: None,
            creds: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            inbox: None,
        }
    }

    /// The servers' URLs.
    pub fn urls(&self) -> Vec<&str> {
        parts(&self.url)
    }

    /// The monitoring addresses, without a slash at the end.
    pub fn monitors(&self) -> Vec<&str> {
        let all = self.monitor.as_deref().map(parts).unwrap_or_default();
        all.into_iter().map(|url| url.trim_end_matches('/')).collect()
    }

    /// The inbox prefix in force.
    pub fn inbox(&self) -> &str {
        self.inbox.as_deref().unwrap_or(HOST_INBOX)
    }

    /// Checks what can be checked without a connection.
    pub fn check(&self) -> Result<(), LedgerError> {
        let wrong = |what: String| Err(LedgerError::Invalid(format!("[bus]: {what}")));
        if self.urls().is_empty() {
            return wrong("`url` names no server; write nats://HOST:4222".into());
        }
        // It would be copied into every producer's folder, and shown.
        if self.url.contains('@') {
            return wrong("`url` names a user or a password; use `nkey` or `creds`".into());
        }
        if ![1, 3, 5].contains(&self.replicas) {
            return wrong(format!("`replicas` is 1, 3 or 5, not {}", self.replicas));
        }
        if self.nkey.is_some() && self.creds.is_some() {
            return wrong("`nkey` and `creds` are both set; keep the one that the servers know".into());
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return wrong("`tls_cert` and `tls_key` belong together; set both or none".into());
        }
        let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let inbox = self.inbox();
        if inbox.is_empty() || !inbox.bytes().all(token) || inbox.split('.').any(str::is_empty) {
            return wrong(format!("`inbox` {inbox:?} is no prefix of a bus subject"));
        }
        Ok(())
    }
}

fn parts(list: &str) -> Vec<&str> {
    list.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_not_written_and_nothing_unknown_is_read() {
        let settings = BusSettings::new("nats://a:1, nats://b:2,");
        assert_eq!(settings.urls(), ["nats://a:1", "nats://b:2"]);
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(toml::from_str::<BusSettings>(&text).unwrap(), settings);
        assert!(toml::from_str::<BusSettings>("url = \"a\"\nurls = \"b\"").is_err());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let good = BusSettings::new("nats://a:1");
        good.check().unwrap();
        let key = Some(PathBuf::from("key"));
        let bad = [
            BusSettings::new(" , "),
            BusSettings::new("nats://a:1, nats://user:word@b:2"),
            BusSettings::new("tls://token@a:1"),
            BusSettings {
                replicas: 2,
                ..good.clone()
            },
            BusSettings {
                nkey: key.clone(),
                creds: key.clone(),
                ..good.clone()
            },
            BusSettings {
                tls_cert: key,
                ..good.clone()
            },
            BusSettings {
                inbox: Some("a b".into()),
                ..good
            },
        ];
        assert!(
            bad.iter()
                .all(|settings| matches!(settings.check(), Err(LedgerError::Invalid(_))))
        );
    }
}
