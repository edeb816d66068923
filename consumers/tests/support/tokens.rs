//! Tokens of a sign-in provider, for servers under test.
//!
//! In scope: a key of its own, the file with its public half, tokens of customers and officers, and of any claims. Out of
//! scope: which tokens are no good (`auth`), asking a provider (`tls`).

use std::fs;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use sharetrail_consumers::http::OidcSettings;
use tempfile::TempDir;

const ISSUER: &str = "https://login.shop.example";
const AUDIENCE: &str = "sharetrail";
/// Of every provider here, so that another one's signature cannot be told by it.
pub(crate) const KEY_ID: &str = "of-tests";
/// What officers have among their `roles`.
pub(crate) const OFFICER: &str = "privacy-officer";
const LIFETIME_SECONDS: u64 = 3_600;
const KEYS: &str = "jwks.json";

/// PKCS #8 of an Ed25519 key, up to the key itself (RFC 8410).
const ED25519_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A sign-in provider. The file of its keys goes away with this.
pub(crate) struct Tokens {
    key: EncodingKey,
    folder: TempDir,
}

impl Tokens {
    /// A provider with a new key.
    pub(crate) fn new() -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let key = EncodingKey::from_ed_der(&[&ED25519_HEAD[..], &seed].concat());
        let mut public = Jwk::from_encoding_key(&key, Algorithm::EdDSA).unwrap();
        public.common.key_id = Some(KEY_ID.to_owned());
        let folder = tempfile::tempdir().unwrap();
        let keys = json!({ "keys": [public] }).to_string();
        fs::write(folder.path().join(KEYS), keys).unwrap();
        Self { key, folder }
    }

    /// What a server is told of the provider. Officers are no customers.
    pub(crate) fn settings(&self) -> OidcSettings {
        OidcSettings {
            jwks_file: Some(self.folder.path().join(KEYS)),
            customer_claim: "customer".into(),
            officer_claim: Some("roles".into()),
            officer_value: Some(OFFICER.into()),
            ..OidcSettings::new(ISSUER, AUDIENCE)
        }
    }

    /// The token of a customer.
    pub(crate) fn customer(&self, id: &str) -> String {
        self.until(id, get_current_timestamp() + LIFETIME_SECONDS)
    }

    /// The token of a customer that ends then, in Unix seconds.
    pub(crate) fn until(&self, id: &str, ends: u64) -> String {
        self.sign(&json!({ "sub": format!("account of {id}"), "customer": id, "exp": ends }))
    }

    /// The token of an officer.
    pub(crate) fn officer(&self) -> String {
        self.sign(&json!({ "sub": "officer-1", "roles": ["staff", OFFICER] }))
    }

    /// A token of [`claims`].
    pub(crate) fn sign(&self, own: &Value) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(KEY_ID.to_owned());
        encode(&header, &claims(own), &self.key).unwrap()
    }
}

/// Claims of somebody without a role, and in their place or beside them one's own.
pub(crate) fn claims(own: &Value) -> Value {
    let now = get_current_timestamp();
    let mut claims = json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "somebody",
        "iat": now - 5,
        "exp": now + LIFETIME_SECONDS,
    });
    for (name, value) in own.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}
