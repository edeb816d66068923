//! Tokens of the company's OpenID provider: what is checked before somebody counts as signed in.
//!
//! In scope: the checks of JSON Web Tokens (RFC 7519, RFC 8725), who a token is about. Out of scope: where keys come
//! from (`keys`), signing in with a browser (`signin`). Trust: a token is a stranger's until each check has passed. It
//! picks a key by its id and says which algorithm it was signed with; whether the key takes that algorithm, the key
//! itself says. No answer repeats a token or what is in it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use sharetrail_ledger::{LedgerError, files};
use sharetrail_schemas::check_customer_id;
use thiserror::Error;
use tokio::sync::Semaphore;

use super::keys::{Client, Endpoints, Kept, Keys, Source};
use crate::error::ConsumerError;
use crate::http::problem::{Problem, ProblemKind};
use crate::http::settings::OidcSettings;

/// Bytes of a token that are looked at.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// How far clocks may be apart.
const LEEWAY_SECONDS: u64 = 60;
/// How long a token that was checked counts as checked.
const CACHED_SECONDS: u64 = 300;
/// Tokens that are remembered as checked.
const CACHED_TOKENS: usize = 20_000;
/// Characters of a person's name that are kept.
const NAME_CHARACTERS: usize = 100;
/// Codes that are traded for tokens at once: each waits for the provider on a thread that others need too.
const TRADES: usize = 8;
/// The claim that tells a token which ends sessions at the provider, and which signs nobody in.
const LOGOUT_CLAIM: &str = "events";

/// Which check a token failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("the token is too long")]
    TooLong,
    #[error("this is no token: neither a service token nor a signed JSON Web Token")]
    Shape,
    #[error("the token's signature algorithm is not accepted for its key")]
    Algorithm,
    #[error("this type of token does not sign anybody in")]
    Type,
    #[error("the token demands an extension that this server does not know")]
    Extension,
    #[error("the token is signed with a key that the sign-in provider does not name")]
    UnknownKey,
    #[error(
        "the token does not say which of the sign-in provider's keys it is signed with, or several have its id"
    )]
    AmbiguousKey,
    #[error("the token's signature does not hold")]
    Signature,
    #[error("the token comes from another issuer")]
    Issuer,
    #[error("the token is meant for another audience")]
    Audience,
    #[error("the token does not say when it ends")]
    Endless,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    TooEarly,
    #[error("the token's claims do not have the form they must have")]
    Claims,
    #[error("the claim that names the customer is no customer id")]
    CustomerId,
    #[error("the token does not belong to this sign-in")]
    Nonce,
    #[error("the token was given to another client")]
    Party,
    #[error("the sign-in provider cannot be asked for its keys at the moment")]
    Unavailable,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::Unavailable => ProblemKind::NotReady,
            _ => ProblemKind::Unauthenticated,
        };
        Self::new(kind, refusal.to_string())
    }
}

impl From<jsonwebtoken::errors::Error> for Refusal {
    fn from(error: jsonwebtoken::errors::Error) -> Self {
        match error.into_kind() {
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::TooEarly,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
                "exp" => Self::Endless,
                "iss" => Self::Issuer,
                _ => Self::Audience,
            },
            ErrorKind::InvalidClaimFormat(_) => Self::Claims,
            ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => Self::Algorithm,
            ErrorKind::InvalidEcdsaKey
            | ErrorKind::InvalidEddsaKey
            | ErrorKind::InvalidRsaKey(_)
            | ErrorKind::InvalidKeyFormat => Self::UnknownKey,
            _ => Self::Shape,
        }
    }
}

/// The algorithms that are accepted at all; which of them, the key says. None with a shared secret, and never `none`.
fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// What a token is shown for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose<'a> {
    /// It comes with a request.
    Bearer,
    /// The provider gave it for a browser that signs in.
    SignIn {
        /// What the provider was to put into it.
        nonce: &'a str,
    },
}

/// A token's head, as far as it says how to check the rest.
#[derive(Debug)]
pub(super) struct Head {
    algorithm: Algorithm,
    key_id: Option<String>,
}

impl Head {
    /// Reads a token's head and refuses what need not be looked at further.
    pub(super) fn read(token: &str, purpose: Purpose<'_>) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Raw {
            alg: String,
            #[serde(default)]
            kid: Option<String>,
            #[serde(default)]
            typ: Option<String>,
            #[serde(default)]
            crit: Option<Value>,
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(head), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::Shape);
        };
        let head = BASE64URL_NOPAD.decode(head.as_bytes());
        let head = head.map_err(|_| Refusal::Shape)?;
        let head: Raw = serde_json::from_slice(&head).map_err(|_| Refusal::Shape)?;
        if !is_expected(head.typ.as_deref(), purpose) {
            return Err(Refusal::Type);
        }
        if head.crit.is_some() {
            return Err(Refusal::Extension);
        }
        Ok(Self {
            algorithm: algorithm(&head.alg).ok_or(Refusal::Algorithm)?,
            key_id: head.kid,
        })
    }
}

/// Whether a token of this type may be shown for this; there are types for other uses, signed with the same keys.
fn is_expected(kind: Option<&str>, purpose: Purpose<'_>) -> bool {
    let Some(kind) = kind else {
        return true;
    };
    let kind = kind.to_ascii_lowercase();
    match kind.strip_prefix("application/").unwrap_or(&kind) {
        "jwt" => true,
        "at+jwt" => matches!(purpose, Purpose::Bearer),
        _ => false,
    }
}

/// What a provider's tokens must say.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    issuer: String,
    audience: String,
    client: String,
    customer_claim: String,
    /// The claim, and what must be in it.
    officer: Option<(String, String)>,
}

/// Whom a token is about, once it has passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verified {
    /// The provider's own id of the person.
    pub(super) account: String,
    pub(super) customer: Option<String>,
    pub(super) is_officer: bool,
    pub(super) name: Option<String>,
    /// When the token ends, in Unix seconds.
    pub(super) ends: u64,
}

impl Rules {
    pub(super) fn new(settings: &OidcSettings) -> Self {
        Self {
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            client: settings.client().to_owned(),
            customer_claim: settings.customer_claim.clone(),
            officer: settings.officer_claim.clone().zip(settings.officer_value.clone()),
        }
    }

    /// Checks everything about a token whose head has picked this key.
    pub(super) fn check(
        &self,
        token: &str,
        head: &Head,
        key: &DecodingKey,
        purpose: Purpose<'_>,
    ) -> Result<Verified, Refusal> {
        let audience = match purpose {
            Purpose::Bearer => &self.audience,
            Purpose::SignIn { .. } => &self.client,
        };
        let mut validation = Validation::new(head.algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation)?.claims;
        if claims.contains_key(LOGOUT_CLAIM) {
            return Err(Refusal::Type);
        }
        // The library takes a list of issuers too, which no standard knows.
        if text(&claims, "iss") != Some(self.issuer.as_str()) {
            return Err(Refusal::Issuer);
        }
        let now = now();
        match claims.get("iat").map(seconds) {
            Some(None) => return Err(Refusal::Claims),
            Some(Some(made)) if made > now + LEEWAY_SECONDS => return Err(Refusal::TooEarly),
            _ => {}
        }
        if let Purpose::SignIn { nonce } = purpose {
            if text(&claims, "nonce") != Some(nonce) {
                return Err(Refusal::Nonce);
            }
            let party = claims.get("azp");
            if party.is_some_and(|party| party.as_str() != Some(self.client.as_str())) {
                return Err(Refusal::Party);
            }
        }
        self.person(&claims)
    }

    fn person(&self, claims: &Map<String, Value>) -> Result<Verified, Refusal> {
        let customer = match claims.get(&self.customer_claim) {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if check_customer_id(id).is_ok() => Some(id.clone()),
            Some(_) => return Err(Refusal::CustomerId),
        };
        let is_officer = self
            .officer
            .as_ref()
            .is_some_and(|(claim, value)| claims.get(claim).is_some_and(|held| holds(held, value)));
        let account = text(claims, "sub").filter(|account| !account.is_empty());
        Ok(Verified {
            account: account.ok_or(Refusal::Claims)?.to_owned(),
            customer,
            is_officer,
            name: text(claims, "name").and_then(shown_name),
            ends: claims.get("exp").and_then(seconds).ok_or(Refusal::Endless)?,
        })
    }
}

fn text<'a>(claims: &'a Map<String, Value>, claim: &str) -> Option<&'a str> {
    claims.get(claim).and_then(Value::as_str)
}

/// A time of a token in whole seconds; they may come with a fraction.
fn seconds(value: &Value) -> Option<u64> {
    let whole = value.as_u64();
    whole.or_else(|| {
        let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0)?;
        Duration::try_from_secs_f64(seconds)
            .ok()
            .map(|time| time.as_secs())
    })
}

/// Whether a claim, a text or a list of texts, holds this text.
fn holds(claim: &Value, text: &str) -> bool {
    match claim {
        Value::String(held) => held == text,
        Value::Array(held) => held.iter().any(|held| held.as_str() == Some(text)),
        _ => false,
    }
}

fn shown_name(name: &str) -> Option<String> {
    let shown: String = name
        .chars()
        .filter(|character| !character.is_control())
        .take(NAME_CHARACTERS)
        .collect();
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}

pub(super) fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

/// A token that was checked a moment ago.
#[derive(Clone)]
struct Checked {
    verified: Arc<Verified>,
    until: u64,
}

/// The provider at which people sign in.
pub(super) struct Oidc {
    pub(super) settings: OidcSettings,
    /// The client's secret at the provider.
    secret: Option<String>,
    rules: Rules,
    client: Arc<Client>,
    keys: Keys,
    endpoints: Kept<Endpoints>,
    /// By the token's hash: nothing here signs anybody in.
    checked: Cache<[u8; 32], Checked>,
    /// Places for trading codes.
    pub(super) trades: Arc<Semaphore>,
}

impl Oidc {
    pub(super) fn new(settings: &OidcSettings) -> Result<Self, ConsumerError> {
        let client = Arc::new(Client::new(&settings.issuer));
        let source = match &settings.jwks_file {
            Some(path) => Source::File(path.clone()),
            None => Source::Web(Arc::clone(&client)),
        };
        if let Source::File(path) = &source {
            // Told now: later, only those who cannot sign in would notice.
            let told = |reason| LedgerError::Invalid(format!("jwks_file in http.toml: {reason}"));
            fs::metadata(path).map_err(|error| told(format!("{}: {error}", path.display())))?;
            source.fetch().map_err(told)?;
        }
        let secret = settings.client_secret_file.as_ref();
        let secret = secret.map(|path| files::read_private(path)).transpose()?;
        Ok(Self {
            settings: settings.clone(),
            secret: secret.map(|secret| secret.trim().to_owned()),
            rules: Rules::new(settings),
            client,
            keys: Keys::new(source),
            endpoints: Kept::default(),
            checked: Cache::new(CACHED_TOKENS),
            trades: Arc::new(Semaphore::new(TRADES)),
        })
    }

    /// The person whom a token is about that came with a request.
    pub(super) async fn bearer(&self, token: &str) -> Result<Arc<Verified>, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let now = now();
        if let Some(checked) = self.checked.get(&hash)
            && now <= checked.until
        {
            return Ok(checked.verified);
        }
        let verified = Arc::new(self.verify(token, Purpose::Bearer).await?);
        let ends = verified.ends.saturating_add(LEEWAY_SECONDS);
        let checked = Checked {
            verified: Arc::clone(&verified),
            until: ends.min(now + CACHED_SECONDS),
        };
        self.checked.insert(hash, checked);
        Ok(verified)
    }

    /// Checks a token, with the provider's keys asked for anew if it names one that is not known.
    pub(super) async fn verify(&self, token: &str, purpose: Purpose<'_>) -> Result<Verified, Refusal> {
        let head = Head::read(token, purpose)?;
        let ring = self.keys.ring(false).await?;
        match ring.find(head.key_id.as_deref(), head.algorithm) {
            Ok(key) => return self.rules.check(token, &head, key, purpose),
            Err(Refusal::UnknownKey) => {}
            Err(refusal) => return Err(refusal),
        }
        let ring = self.keys.ring(true).await?;
        let key = ring.find(head.key_id.as_deref(), head.algorithm)?;
        self.rules.check(token, &head, key, purpose)
    }

    /// Where browsers sign in and codes are exchanged.
    pub(super) async fn endpoints(&self) -> Result<Arc<Endpoints>, Refusal> {
        let client = Arc::clone(&self.client);
        self.endpoints.get(false, move || client.discover()).await
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    pub(super) fn secret(&self) -> Option<&str> {
        self.secret.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::auth::keys::Ring;
    use crate::http::auth::testing::{Signer, unsigned};

    const ISSUER: &str = "https://login.shop.example";

    fn rules() -> Rules {
        Rules::new(&OidcSettings {
            client_id: Some("browser".into()),
            officer_claim: Some("roles".into()),
            officer_value: Some("privacy-officer".into()),
            ..OidcSettings::new(ISSUER, "sharetrail")
        })
    }

    fn claims() -> Value {
        json!({
            "iss": ISSUER, "aud": "sharetrail", "sub": "customer-1", "exp": now() + 600, "iat": now(), "nbf": now(),
        })
    }

    /// The claims with some replaced, or left out where they are null.
    fn with(changes: &Value) -> Value {
        let mut claims = claims();
        let all = claims.as_object_mut().unwrap();
        for (claim, value) in changes.as_object().unwrap() {
            all.insert(claim.clone(), value.clone());
        }
        all.retain(|_, value| !value.is_null());
        claims
    }

    fn checked(signer: &Signer, token: &str, purpose: Purpose<'_>) -> Result<Verified, Refusal> {
        let ring = Ring::parse(signer.jwks().as_bytes()).unwrap();
        let head = Head::read(token, purpose)?;
        let key = ring.find(head.key_id.as_deref(), head.algorithm)?;
        rules().check(token, &head, key, purpose)
    }

    fn bearer(changes: &Value) -> Result<Verified, Refusal> {
        let signer = Signer::ed(1);
        checked(&signer, &signer.token(&with(changes)), Purpose::Bearer)
    }

    #[test]
    fn a_good_token_says_who_it_is_about() {
        for signer in [Signer::ed(1), Signer::es(1)] {
            let token = signer.token(&with(&json!({ "name": " Ada\u{7} L. ", "exp": now() + 600 })));
            let person = checked(&signer, &token, Purpose::Bearer).unwrap();
            assert_eq!(person.customer.as_deref(), Some("customer-1"));
            assert_eq!(person.name.as_deref(), Some("Ada L."));
            assert!(!person.is_officer);
        }
        assert!(bearer(&json!({ "aud": ["other", "sharetrail"] })).is_ok());
        assert!(bearer(&json!({ "exp": now() - 30 })).is_ok());
        assert!(bearer(&json!({ "roles": "privacy-officer" })).unwrap().is_officer);
        assert!(
            bearer(&json!({ "roles": ["a", "privacy-officer"] }))
                .unwrap()
                .is_officer
        );
        assert!(
            !bearer(&json!({ "roles": "privacy-officers" }))
                .unwrap()
                .is_officer
        );
        assert!(
            !bearer(&json!({ "roles": { "privacy-officer": true } }))
                .unwrap()
                .is_officer
        );
    }

    /// The fault: a token that somebody else should get, or that has ended, signs in.
    #[test]
    fn each_claim_is_checked() {
        let cases = [
            (json!({ "iss": "https://login.mail.example" }), Refusal::Issuer),
            (json!({ "iss": [ISSUER] }), Refusal::Issuer),
            (json!({ "iss": null }), Refusal::Issuer),
            (json!({ "aud": "browser" }), Refusal::Audience),
            (json!({ "aud": ["a", "b"] }), Refusal::Audience),
            (json!({ "aud": [] }), Refusal::Audience),
            (json!({ "aud": null }), Refusal::Audience),
            (json!({ "aud": { "sharetrail": 1 } }), Refusal::Audience),
            (json!({ "exp": now() - 120 }), Refusal::Expired),
            (json!({ "exp": null }), Refusal::Endless),
            (json!({ "exp": "tomorrow" }), Refusal::Endless),
            (json!({ "nbf": now() + 120 }), Refusal::TooEarly),
            (json!({ "nbf": "tomorrow" }), Refusal::Claims),
            (json!({ "iat": now() + 120 }), Refusal::TooEarly),
            (json!({ "iat": "today" }), Refusal::Claims),
            (json!({ "sub": null, "customer": "a" }), Refusal::Claims),
            (json!({ "sub": " customer" }), Refusal::CustomerId),
            (json!({ "sub": "a\nb" }), Refusal::CustomerId),
            (json!({ "sub": "x".repeat(300) }), Refusal::CustomerId),
            (json!({ "sub": 17 }), Refusal::CustomerId),
            (
                json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }),
                Refusal::Type,
            ),
        ];
        for (changes, refusal) in cases {
            assert_eq!(bearer(&changes), Err(refusal), "{changes}");
        }
    }

    /// The fault: the well-known ways around a signature: none at all, the public key as a secret, somebody else's key
    /// under the same id, a changed claim.
    #[test]
    fn nothing_goes_around_the_signature() {
        let (signer, other) = (Signer::ed(1), Signer::ed(2));
        let refusal = |token: &str| checked(&signer, token, Purpose::Bearer).unwrap_err();
        for none in ["none", "None", "NONE", "nOnE", ""] {
            let token = unsigned(&json!({ "alg": none, "kid": signer.id() }), &claims());
            assert_eq!(refusal(&token), Refusal::Algorithm, "{none:?}");
        }
        assert_eq!(refusal(&signer.mac(&claims())), Refusal::Algorithm);
        let forged = other.token_as(signer.id(), "JWT", &claims());
        assert_eq!(refusal(&forged), Refusal::Signature);
        assert_eq!(refusal(&other.token(&claims())), Refusal::UnknownKey);
        let crossed = Signer::es(1).token_as(signer.id(), "JWT", &claims());
        assert_eq!(refusal(&crossed), Refusal::Algorithm);
        let (good, evil) = (
            signer.token(&claims()),
            signer.token(&with(&json!({ "sub": "b" }))),
        );
        let (good, evil): (Vec<_>, Vec<_>) = (good.split('.').collect(), evil.split('.').collect());
        let changed = format!("{}.{}.{}", good[0], evil[1], good[2]);
        assert_eq!(refusal(&changed), Refusal::Signature);
        let cut = format!("{}.{}.", good[0], good[1]);
        assert_eq!(refusal(&cut), Refusal::Signature);
    }

    /// The fault: a token that was made for something else, with the same keys, signs in.
    #[test]
    fn a_token_for_something_else_signs_nobody_in() {
        let signer = Signer::ed(1);
        let of_type = |kind: &str, purpose| {
            let claims = with(&json!({ "nonce": "n", "aud": ["sharetrail", "browser"] }));
            checked(&signer, &signer.token_as(signer.id(), kind, &claims), purpose)
        };
        let sign_in = Purpose::SignIn { nonce: "n" };
        for good in ["JWT", "jwt", "application/JWT"] {
            assert!(of_type(good, Purpose::Bearer).is_ok());
            assert!(of_type(good, sign_in).is_ok());
        }
        assert!(of_type("at+jwt", Purpose::Bearer).is_ok());
        assert_eq!(of_type("at+jwt", sign_in), Err(Refusal::Type));
        for bad in ["logout+jwt", "dpop+jwt", "secevent+jwt", "JWS", ""] {
            assert_eq!(of_type(bad, Purpose::Bearer), Err(Refusal::Type), "{bad}");
        }
        let demanding = unsigned(
            &json!({ "alg": "EdDSA", "kid": signer.id(), "crit": ["b64"] }),
            &claims(),
        );
        assert_eq!(
            checked(&signer, &demanding, Purpose::Bearer),
            Err(Refusal::Extension)
        );
    }

    /// The fault: a code that was stolen, or an ID token of another client, ends in somebody else's session.
    #[test]
    fn an_id_token_belongs_to_one_sign_in_of_this_client() {
        let signer = Signer::ed(1);
        let check = |changes: &Value| {
            let purpose = Purpose::SignIn { nonce: "right" };
            checked(&signer, &signer.token(&with(changes)), purpose)
        };
        assert!(check(&json!({ "aud": "browser", "nonce": "right" })).is_ok());
        assert!(check(&json!({ "aud": ["browser", "x"], "azp": "browser", "nonce": "right" })).is_ok());
        for (changes, refusal) in [
            (json!({ "aud": "browser" }), Refusal::Nonce),
            (json!({ "aud": "browser", "nonce": "wrong" }), Refusal::Nonce),
            (
                json!({ "aud": "sharetrail", "nonce": "right" }),
                Refusal::Audience,
            ),
            (
                json!({ "aud": ["browser", "x"], "azp": "x", "nonce": "right" }),
                Refusal::Party,
            ),
            (
                json!({ "aud": "browser", "azp": 1, "nonce": "right" }),
                Refusal::Party,
            ),
        ] {
            assert_eq!(check(&changes), Err(refusal), "{changes}");
        }
    }

    /// The fault: something that is no token at all brings the server down, or is held as a token.
    #[test]
    fn what_is_no_token_is_refused_early() {
        let read = |token: &str| Head::read(token, Purpose::Bearer).unwrap_err();
        for bad in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "e30.e30.e30",
            "\u{e9}.e30.e30",
        ] {
            assert_eq!(read(bad), Refusal::Shape, "{bad:?}");
        }
        assert_eq!(read(&"a".repeat(TOKEN_BYTES_MAX + 1)), Refusal::TooLong);
        let twice = BASE64URL_NOPAD.encode(br#"{"alg":"EdDSA","alg":"none"}"#);
        assert_eq!(read(&format!("{twice}.e30.e30")), Refusal::Shape);
    }

    /// The fault: a person whose token names no customer is taken for one.
    #[test]
    fn somebody_without_the_claim_is_no_customer() {
        let signer = Signer::ed(1);
        let rules = Rules {
            customer_claim: "shop_id".into(),
            ..rules()
        };
        let ring = Ring::parse(signer.jwks().as_bytes()).unwrap();
        let customer = |changes: &Value| {
            let token = signer.token(&with(changes));
            let head = Head::read(&token, Purpose::Bearer)?;
            let key = ring.find(head.key_id.as_deref(), head.algorithm)?;
            let verified = rules.check(&token, &head, key, Purpose::Bearer)?;
            Ok::<_, Refusal>(verified.customer)
        };
        assert_eq!(customer(&json!({})), Ok(None));
        assert_eq!(customer(&json!({ "shop_id": "c-7" })), Ok(Some("c-7".into())));
        assert_eq!(customer(&json!({ "shop_id": ["c-7"] })), Err(Refusal::CustomerId));
    }
}
