//! Keys and tokens for the tests of this folder.
//!
//! In scope: good tokens, and ones that nobody good would make. Out of scope: what is asserted. Trust: none.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::http::demo::ed25519_key;

/// PKCS #8 of a P-256 key, up to the key itself.
const P256_HEAD: [u8; 35] = [
    0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
    0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04,
    0x20,
];

/// Signs tokens as a provider does.
pub(super) struct Signer {
    algorithm: Algorithm,
    key: EncodingKey,
    id: String,
}

impl Signer {
    pub(super) fn ed(seed: u8) -> Self {
        Self {
            algorithm: Algorithm::EdDSA,
            key: ed25519_key(&[seed; 32]),
            id: format!("ed-{seed}"),
        }
    }

    pub(super) fn es(seed: u8) -> Self {
        let der = [&P256_HEAD[..], &[seed; 32]].concat();
        Self {
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_der(&der),
            id: format!("es-{seed}"),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn jwk(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm)
            .expect("the test's own keys and claims are well-formed");
        jwk.common.key_id = Some(self.id.clone());
        jwk
    }

    /// What the provider serves as its keys.
    pub(super) fn jwks(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.token_as(&self.id, "JWT", claims)
    }

    /// A token that names another key or is of another type.
    pub(super) fn token_as(&self, id: &str, kind: &str, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(id.to_owned());
        header.typ = Some(kind.to_owned());
        encode(&header, claims, &self.key).expect("the test's own keys and claims are well-formed")
    }

    /// A token "signed" with the public key as a shared secret.
    pub(super) fn mac(&self, claims: &Value) -> String {
        let jwk = serde_json::to_value(self.jwk()).expect("the test's own keys and claims are well-formed");
        let public = BASE64URL_NOPAD
            .decode(
                jwk["x"]
                    .as_str()
                    .expect("the test's own keys and claims are well-formed")
                    .as_bytes(),
            )
            .expect("the test's own keys and claims are well-formed");
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(self.id.clone());
        encode(&header, claims, &EncodingKey::from_secret(&public))
            .expect("the test's own keys and claims are well-formed")
    }
}

/// A token without a signature.
pub(super) fn unsigned(head: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}.", part(head), part(claims))
}
