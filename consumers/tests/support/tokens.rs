//! Tokens of a sign-in provider, for servers under test.
//!
//! In scope: a key of its own, the file with its public half, tokens of customers and officers. Out of scope: tokens that
//! nobody good would make (`auth`).

use std::fs;
use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use sharetrail_consumers::http::OidcSettings;

const ISSUER: &str = "https://login.shop.example";
const AUDIENCE: &str = "sharetrail";
const KEY_ID: &str = "of-tests";
const OFFICER: &str = "privacy-officer";
const LIFETIME_SECONDS: u64 = 3_600;

/// PKCS #8 of an Ed25519 key, up to the key itself (RFC 8410).
const ED25519_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A sign-in provider.
pub(crate) struct Tokens {
    key: EncodingKey,
    keys: PathBuf,
}

impl Tokens {
    /// A provider with a new key, whose public half lies in `folder` then.
    pub(crate) fn new(folder: &Path) -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let key = EncodingKey::from_ed_der(&[&ED25519_HEAD[..], &seed].concat());
        let mut public = Jwk::from_encoding_key(&key, Algorithm::EdDSA).unwrap();
        public.common.key_id = Some(KEY_ID.to_owned());
        let keys = folder.join("jwks.json");
        fs::write(&keys, json!({ "keys": [public] }).to_string()).unwrap();
        Self { key, keys }
    }

    /// What a server is told of the provider. Officers are no customers.
    pub(crate) fn settings(&self) -> OidcSettings {
        OidcSettings {
            jwks_file: Some(self.keys.clone()),
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

    /// The token of a customer that has expired an hour ago.
    pub(crate) fn expired(&self, id: &str) -> String {
        self.until(id, get_current_timestamp() - LIFETIME_SECONDS)
    }

    /// The token of a customer that ends then, in Unix seconds.
    pub(crate) fn until(&self, id: &str, ends: u64) -> String {
        self.sign(&json!({ "sub": format!("account of {id}"), "customer": id, "exp": ends }))
    }

    /// The token of an officer.
    pub(crate) fn officer(&self) -> String {
        let ends = get_current_timestamp() + LIFETIME_SECONDS;
        self.sign(&json!({ "sub": "officer-1", "roles": ["staff", OFFICER], "exp": ends }))
    }

    fn sign(&self, own: &Value) -> String {
        let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "iat": get_current_timestamp() - 5 });
        for (name, value) in own.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(KEY_ID.to_owned());
        encode(&header, &claims, &self.key).unwrap()
    }
}
