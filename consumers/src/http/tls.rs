//! TLS: the server's certificate, and the certificates of services.
//!
//! In scope: reading the files, and again when they have changed; what is spoken, whose certificate a client showed. Out
//! of scope: when it is looked whether they have changed, what a client's name may do. Trust: a client's name counts once
//! its certificate is proven to come from the authority that the operator named. Nobody has to show one.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use sha2::{Digest, Sha256};
use sharetrail_ledger::LedgerError;
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

use super::settings::TlsSettings;
use crate::error::ConsumerError;

/// What connections are accepted with, as the files say that the settings name.
pub(super) struct Certificates {
    settings: TlsSettings,
    held: Mutex<Held>,
}

/// What is in force.
struct Held {
    acceptor: TlsAcceptor,
    /// Of the files that it was made of.
    digest: [u8; 32],
}

impl Certificates {
    /// Reads the files.
    pub(super) fn read(settings: TlsSettings) -> Result<Self, ConsumerError> {
        let files = Files::read(&settings)?;
        let held = Held {
            acceptor: files.acceptor(&settings)?,
            digest: files.digest(),
        };
        Ok(Self {
            settings,
            held: Mutex::new(held),
        })
    }

    /// What accepts a connection that comes now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.held().acceptor.clone()
    }

    /// Reads the files again; whether they have changed, and are in force from now on. Where one is not good, what was
    /// read before stays. Whoever is connected stays so. Nobody goes on with the keys of an earlier connection, so a
    /// client's certificate is looked at again, under the new authority.
    pub(super) fn renew(&self) -> Result<bool, ConsumerError> {
        let files = Files::read(&self.settings)?;
        let digest = files.digest();
        if digest == self.held().digest {
            return Ok(false);
        }
        let acceptor = files.acceptor(&self.settings)?;
        *self.held() = Held { acceptor, digest };
        Ok(true)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // It is exchanged as a whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of the files, so that what is compared is what is used.
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    fn read(settings: &TlsSettings) -> Result<Self, ConsumerError> {
        Ok(Self {
            certificate: bytes_of(&settings.certificate)?,
            key: bytes_of(&settings.key)?,
            client_ca: settings.client_ca.as_deref().map(bytes_of).transpose()?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let parts = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        let whole = parts.into_iter().flatten().fold(Sha256::new(), |whole, part| {
            whole.chain_update(Sha256::digest(part))
        });
        whole.finalize().into()
    }

    fn acceptor(&self, settings: &TlsSettings) -> Result<TlsAcceptor, ConsumerError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&settings.certificate, &error))?;
        let builder = match settings.client_ca.as_deref().zip(self.client_ca.as_deref()) {
            None => builder.with_no_client_auth(),
            Some((path, bytes)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path, bytes)? {
                    roots.add(certificate).map_err(|error| wrong(path, &error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| wrong(path, &error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = certificates(&settings.certificate, &self.certificate)?;
        let key = private_key(&settings.key, &self.key)?;
        let unfit = |error: rustls::Error| {
            let certificate = settings.certificate.display();
            let what = format!("it is not the key of {certificate}, or cannot be used: {error}");
            wrong(&settings.key, &what)
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unfit)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The DNS names in the certificate that a client has shown; it was verified by then.
pub(super) fn client_names(connection: &ServerConnection) -> Vec<String> {
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    let parsed = shown.and_then(|certificate| EndEntityCert::try_from(certificate).ok());
    parsed.map_or_else(Vec::new, |certificate| {
        certificate.valid_dns_names().map(str::to_owned).collect()
    })
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, ConsumerError> {
    fs::read(path).map_err(|source| {
        let (doing, path) = ("read", path.to_owned());
        LedgerError::File { doing, path, source }.into()
    })
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConsumerError> {
    let found: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|error| wrong(path, &error))?;
    if found.is_empty() {
        return Err(wrong(path, &"it holds no certificate in PEM form"));
    }
    Ok(found)
}

fn private_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, ConsumerError> {
    PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
        PemError::NoItemsFound => wrong(path, &"it holds no private key in PEM form"),
        error => wrong(path, &error),
    })
}

fn wrong(path: &Path, what: &dyn Display) -> ConsumerError {
    let what = what.to_string();
    let (path, at) = (path.to_owned(), None);
    LedgerError::Damaged { path, at, what }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault: a server starts without the certificate that its operator named, or does not say which file is wrong.
    #[test]
    fn files_that_do_not_fit_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let settings = TlsSettings {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
            client_ca: None,
        };
        let refused = |settings: &TlsSettings| match Certificates::read(settings.clone()) {
            Err(ConsumerError::Ledger(error)) => error,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("there is no certificate"),
        };
        let error = refused(&settings);
        assert!(matches!(error, LedgerError::File { path, .. } if path == settings.certificate));
        fs::write(&settings.certificate, "nothing of the kind").unwrap();
        let error = refused(&settings);
        assert!(matches!(error, LedgerError::File { path, .. } if path == settings.key));
        fs::write(&settings.key, "nothing of the kind").unwrap();
        let error = refused(&settings);
        assert!(matches!(error, LedgerError::Damaged { path, .. } if path == settings.certificate));
        let with_ca = TlsSettings {
            client_ca: Some(folder.path().join("clients.pem")),
            ..settings
        };
        let error = refused(&with_ca);
        assert!(matches!(error, LedgerError::File { path, .. } if Some(&path) == with_ca.client_ca.as_ref()));
    }
}
