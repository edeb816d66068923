//! TLS: the server's certificate, and the certificates of services.
//!
//! In scope: reading the files, what is spoken, whose certificate a client showed. Out of scope: what that name may do.
//! Trust: a client's name counts once its certificate is proven to come from the authority that the operator named.
//! Nobody has to show one.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use sharetrail_ledger::LedgerError;
use tokio_rustls::TlsAcceptor;
use webpki::EndEntityCert;

use super::settings::TlsSettings;
use crate::error::ConsumerError;

/// What accepts connections as the settings say.
pub(super) fn acceptor(settings: &TlsSettings) -> Result<TlsAcceptor, ConsumerError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&settings.certificate, &error))?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| wrong(path, &error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| wrong(path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(&settings.certificate)?;
    let mut config = builder
        .with_single_cert(chain, private_key(&settings.key)?)
        .map_err(|error| wrong(&settings.key, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The DNS names in the certificate that a client has shown; it was verified by then.
pub(super) fn client_names(connection: &ServerConnection) -> Vec<String> {
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    let parsed = shown.and_then(|certificate| EndEntityCert::try_from(certificate).ok());
    parsed.map_or_else(Vec::new, |certificate| {
        certificate.valid_dns_names().map(str::to_owned).collect()
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConsumerError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.map_err(|error| unreadable(path, error))?;
    if found.is_empty() {
        return Err(wrong(path, &"it holds no certificate in PEM form"));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConsumerError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| match error {
        PemError::NoItemsFound => wrong(path, &"it holds no private key in PEM form"),
        error => unreadable(path, error),
    })
}

fn unreadable(path: &Path, error: PemError) -> ConsumerError {
    match error {
        PemError::Io(source) => file_error(path, source),
        error => wrong(path, &error),
    }
}

fn file_error(path: &Path, source: io::Error) -> ConsumerError {
    let (doing, path) = ("read", path.to_owned());
    LedgerError::File { doing, path, source }.into()
}

fn wrong(path: &Path, what: &dyn std::fmt::Display) -> ConsumerError {
    let what = what.to_string();
    let (path, at) = (path.to_owned(), None);
    LedgerError::Damaged { path, at, what }.into()
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let refused = |settings: &TlsSettings| match acceptor(settings) {
            Err(ConsumerError::Ledger(error)) => error,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("there is no certificate"),
        };
        let error = refused(&settings);
        assert!(matches!(error, LedgerError::File { path, .. } if path == settings.certificate));
        fs::write(&settings.certificate, "nothing of the kind").unwrap();
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
