//! Signed notes: text with Ed25519 signature lines (C2SP signed-note, tlog-cosignature).
//!
//! In scope: verifier keys and signing keys in their standard text forms, parsing, signing, cosigning, checking one
//! signature.
//! Out of scope: which keys to trust (see [`crate::policy`] and [`crate::registry`]) and what the text says.
//! Trust: a parsed note is only text; it says something once [`Note::verify`] or [`Note::cosigned`] found a signature.

mod cosigner;

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use zeroize::Zeroize;

use crate::base64;
use crate::hash::Hash;

pub use cosigner::Cosigner;

/// The most bytes a note may have. A batch entry must fit a bundle's u16 length.
pub const MAX_NOTE_BYTES: usize = 60_000;
/// The most signature lines a note may have.
pub const MAX_SIGNATURES: usize = 64;

/// The largest timestamp of a cosignature, so that it fits a signed number (C2SP tlog-cosignature).
const MAX_TIME: u64 = i64::MAX.unsigned_abs();

const ED25519: u8 = 0x01;
const COSIGNATURE_V1: u8 = 0x04;

/// What is wrong with a note or a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Not a note: text, blank line, signature lines (C2SP signed-note).
    #[error("not a signed note: {reason}")]
    Malformed {
        /// What the format wants and does not find.
        reason: &'static str,
    },
    /// Not a verifier or signing key in text form.
    #[error("not a key: {reason}")]
    Key {
        /// What the format wants and does not find.
        reason: &'static str,
    },
    /// There is no signature line of this key.
    #[error("no signature by {name}+{id}")]
    Unsigned {
        /// The key's name.
        name: String,
        /// The key's id, eight hexadecimal digits.
        id: String,
    },
    /// There is a signature line of this key, and it is wrong.
    #[error("the signature by {name}+{id} is wrong")]
    BadSignature {
        /// The key's name.
        name: String,
        /// The key's id, eight hexadecimal digits.
        id: String,
    },
}

const fn malformed(reason: &'static str) -> NoteError {
    NoteError::Malformed { reason }
}

/// The first four bytes of `SHA-256(name ‖ "\n" ‖ type ‖ public key)`: a hint, not a proof, which key signed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn key_id(name: &str, kind: u8, public: &[u8; 32]) -> KeyId {
    let hash = Hash::of(&[name.as_bytes(), b"\n", &[kind], public]);
    KeyId([hash.0[0], hash.0[1], hash.0[2], hash.0[3]])
}

fn check_key_name(name: &str) -> Result<(), NoteError> {
    let fits = !name.is_empty()
        && name.len() <= 512
        && !name.contains('+')
        && !name.chars().any(char::is_whitespace);
    if fits {
        Ok(())
    } else {
        Err(NoteError::Key {
            reason: "a name has no spaces and no '+'",
        })
    }
}

/// What a verifier key's signatures look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Plain Ed25519 over the note's text (type 0x01).
    Note,
    /// A timestamped cosignature (type 0x04, C2SP tlog-cosignature).
    Cosignature,
}

impl KeyKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Note => ED25519,
            Self::Cosignature => COSIGNATURE_V1,
        }
    }
}

/// A public key with its name, in text `<name>+<id>+<base64 of type and key>` (a "vkey", C2SP signed-note).
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    key: VerifyingKey,
}

impl VerifierKey {
    /// Names a raw Ed25519 public key. Refuses keys of small order, which verify anything.
    pub fn new(name: &str, kind: KeyKind, public: &[u8; 32]) -> Result<Self, NoteError> {
        check_key_name(name)?;
        let key = VerifyingKey::from_bytes(public).map_err(|_| NoteError::Key {
            reason: "not an Ed25519 point",
        })?;
        if key.is_weak() {
            return Err(NoteError::Key {
                reason: "a point of small order",
            });
        }
        if key.to_edwards().compress().to_bytes() != *public {
            return Err(NoteError::Key {
                reason: "a point that is not written in its one way",
            });
        }
        Ok(Self {
            name: name.to_owned(),
            kind,
            key,
        })
    }

    /// The key's name: an origin, a producer, a witness.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of signature this key makes.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The key's id.
    pub fn id(&self) -> KeyId {
        key_id(&self.name, self.kind.byte(), self.key.as_bytes())
    }

    /// The raw public key.
    pub fn public(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.kind.byte()];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, self.id(), BASE64.encode(&bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let mut part = || {
            parts.next().ok_or(NoteError::Key {
                reason: "expected <name>+<id>+<base64>",
            })
        };
        let (name, id, data) = (part()?, part()?, part()?);
        let data = base64::decode(data).ok_or(NoteError::Key { reason: "not base64" })?;
        let (&kind, public) = data.split_first().ok_or(NoteError::Key { reason: "empty key" })?;
        let kind = match kind {
            ED25519 => KeyKind::Note,
            COSIGNATURE_V1 => KeyKind::Cosignature,
            _ => {
                return Err(NoteError::Key {
                    reason: "neither an Ed25519 nor a cosignature key",
                });
            }
        };
        let public = public.try_into().map_err(|_| NoteError::Key {
            reason: "an Ed25519 key has 32 bytes",
        })?;
        let key = Self::new(name, kind, public)?;
        if key.id().to_string() == id {
            Ok(key)
        } else {
            Err(NoteError::Key {
                reason: "the id does not fit the key",
            })
        }
    }
}

/// A private key with its name; signs notes. Its text form is `PRIVATE+KEY+<name>+<id>+<base64 of type and seed>`.
#[derive(Clone)]
pub struct NoteSigner {
    verifier: VerifierKey,
    key: SigningKey,
}

impl NoteSigner {
    /// Names the key that grows from 32 random bytes.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, KeyKind::Note, key.verifying_key().as_bytes())?;
        Ok(Self { verifier, key })
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (verifier, key) = read_secret(text, KeyKind::Note)?;
        Ok(Self { verifier, key })
    }

    /// The text form, which is the secret itself.
    pub fn to_secret_text(&self) -> String {
        write_secret(&self.verifier, &self.key)
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The whole note: `text`, which must end with a newline, a blank line and one signature line.
    pub fn sign(&self, text: &str) -> String {
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        format!("{text}\n{}", signature_line(&self.verifier, &signature))
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteSigner({:?})", self.verifier)
    }
}

/// Reads `PRIVATE+KEY+<name>+<id>+<base64 of type and seed>` of a key of this kind.
fn read_secret(text: &str, kind: KeyKind) -> Result<(VerifierKey, SigningKey), NoteError> {
    let wrong = NoteError::Key {
        reason: "expected PRIVATE+KEY+<name>+<id>+<base64>, of a key for this use",
    };
    let rest = text
        .trim_end()
        .strip_prefix("PRIVATE+KEY+")
        .ok_or(wrong.clone())?;
    let mut parts = rest.splitn(3, '+');
    let (Some(name), Some(id), Some(data)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong);
    };
    let mut data = base64::decode(data).ok_or(wrong.clone())?;
    let seed = data
        .strip_prefix(&[kind.byte()])
        .and_then(|seed| <&[u8; 32]>::try_from(seed).ok());
    let key = seed.map(SigningKey::from_bytes).ok_or(wrong.clone());
    data.zeroize();
    let key = key?;
    let verifier = VerifierKey::new(name, kind, key.verifying_key().as_bytes())?;
    if verifier.id().to_string() == id {
        Ok((verifier, key))
    } else {
        Err(wrong)
    }
}

fn write_secret(verifier: &VerifierKey, key: &SigningKey) -> String {
    let mut bytes = vec![verifier.kind.byte()];
    bytes.extend_from_slice(key.as_bytes());
    let text = format!(
        "PRIVATE+KEY+{}+{}+{}",
        verifier.name,
        verifier.id(),
        BASE64.encode(&bytes)
    );
    bytes.zeroize();
    text
}

/// What a cosigner signs.
fn cosigned_message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

fn signature_line(key: &VerifierKey, signature: &[u8]) -> String {
    let mut bytes = key.id().0.to_vec();
    bytes.extend_from_slice(signature);
    format!("— {} {}\n", key.name, BASE64.encode(&bytes))
}

/// One line `— <name> <base64 of key id and signature>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    /// The name of the key that claims to have signed.
    pub name: String,
    /// The id of that key.
    pub id: KeyId,
    /// The signature's bytes.
    pub signature: Vec<u8>,
}

impl SignatureLine {
    fn parse(line: &str) -> Option<Self> {
        let (name, data) = line.strip_prefix("— ")?.split_once(' ')?;
        check_key_name(name).ok()?;
        let data = base64::decode(data)?;
        let (id, signature) = data.split_first_chunk::<4>()?;
        (!signature.is_empty()).then(|| Self {
            name: name.to_owned(),
            id: KeyId(*id),
            signature: signature.to_vec(),
        })
    }
}

/// A note taken apart. Nothing in it is believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<SignatureLine>,
}

impl<'a> Note<'a> {
    /// Takes a note of at most [`MAX_NOTE_BYTES`] apart. Signatures are not checked.
    pub fn parse(note: &'a str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(malformed("too long"));
        }
        if note.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(malformed("a control character"));
        }
        let split = note
            .rfind("\n\n")
            .ok_or(malformed("no blank line before the signatures"))?;
        let (text, lines) = (&note[..=split], &note[split + 2..]);
        let lines = lines
            .strip_suffix('\n')
            .ok_or(malformed("the last line does not end"))?;
        let signatures: Option<Vec<_>> = lines.split('\n').map(SignatureLine::parse).collect();
        let signatures = signatures.ok_or(malformed("a signature line that is none"))?;
        if signatures.len() > MAX_SIGNATURES {
            return Err(malformed("too many signatures"));
        }
        Ok(Self { text, signatures })
    }

    /// The signed text, with its last newline.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The signature lines, unchecked.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    fn line_of(&self, key: &VerifierKey) -> Result<&SignatureLine, NoteError> {
        let id = key.id();
        let line = self
            .signatures
            .iter()
            .find(|line| line.id == id && line.name == key.name);
        line.ok_or_else(|| NoteError::Unsigned {
            name: key.name.clone(),
            id: id.to_string(),
        })
    }

    /// Checks that `key` signed the text, with `verify_strict` (no malleable signature, no small-order point).
    pub fn verify(&self, key: &VerifierKey) -> Result<(), NoteError> {
        let line = self.line_of(key)?;
        let wrong = || NoteError::BadSignature {
            name: key.name.clone(),
            id: key.id().to_string(),
        };
        if key.kind != KeyKind::Note {
            return Err(wrong());
        }
        let signature = Signature::from_slice(&line.signature).map_err(|_| wrong())?;
        key.key
            .verify_strict(self.text.as_bytes(), &signature)
            .map_err(|_| wrong())
    }

    /// Checks that `key` cosigned the text, and says when: Unix seconds (C2SP tlog-cosignature v1), below 2^63.
    pub fn cosigned(&self, key: &VerifierKey) -> Result<u64, NoteError> {
        let line = self.line_of(key)?;
        let wrong = || NoteError::BadSignature {
            name: key.name.clone(),
            id: key.id().to_string(),
        };
        let (time, signature) = line.signature.split_first_chunk::<8>().ok_or_else(wrong)?;
        if key.kind != KeyKind::Cosignature {
            return Err(wrong());
        }
        let time = u64::from_be_bytes(*time);
        if time > MAX_TIME {
            return Err(wrong());
        }
        let signature = Signature::from_slice(signature).map_err(|_| wrong())?;
        key.key
            .verify_strict(cosigned_message(self.text, time).as_bytes(), &signature)
            .map_err(|_| wrong())?;
        Ok(time)
    }
}

impl Serialize for VerifierKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifierKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
