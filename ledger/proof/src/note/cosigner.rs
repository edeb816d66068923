//! Cosigning: a private key whose signature says "I checked this, at this time" (C2SP tlog-cosignature, Ed25519).
//!
//! In scope: adding a timestamped cosignature to a note. Out of scope: the check that it stands for, and the clock.
//! Trust: whoever holds the key; a cosigner opens and checks a checkpoint before it calls [`Cosigner::cosign`].

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};

use super::{
    KeyKind, MAX_TIME, Note, NoteError, VerifierKey, cosigned_message, malformed, read_secret,
    signature_line, write_secret,
};

/// A private key of a witness or an auditor; its text form is that of [`super::NoteSigner`], with type 0x04.
///
/// The key signs nothing but cosignatures: what is signed does not hold the name, so one key has one name.
#[derive(Clone)]
pub struct Cosigner {
    verifier: VerifierKey,
    key: SigningKey,
}

impl Cosigner {
    /// Names the key that grows from 32 random bytes.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let key = SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, KeyKind::Cosignature, key.verifying_key().as_bytes())?;
        Ok(Self { verifier, key })
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (verifier, key) = read_secret(text, KeyKind::Cosignature)?;
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

    /// The note with this key's cosignature as its last line; an older line of this key gives way to it.
    ///
    /// `time` is now, in Unix seconds, at most 2^63 − 1. Lines of other keys stay as they are, checked by nobody.
    /// Refuses what would not be a note any more: too many signatures, or too long.
    pub fn cosign(&self, note: &str, time: u64) -> Result<String, NoteError> {
        if time > MAX_TIME {
            return Err(malformed("a cosignature's time is at most 2^63 - 1"));
        }
        let parsed = Note::parse(note)?;
        let id = self.verifier.id();
        let mut cosigned = format!("{}\n", parsed.text);
        // A note has as many lines after its text and the blank line as it has signatures.
        let lines = note[cosigned.len()..].split_inclusive('\n');
        for (line, signature) in lines.zip(&parsed.signatures) {
            if signature.id != id || signature.name != self.verifier.name {
                cosigned.push_str(line);
            }
        }
        let signature = self.key.sign(cosigned_message(parsed.text, time).as_bytes());
        let bytes = [time.to_be_bytes().as_slice(), &signature.to_bytes()].concat();
        cosigned.push_str(&signature_line(&self.verifier, &bytes));
        Note::parse(&cosigned)?;
        Ok(cosigned)
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({:?})", self.verifier)
    }
}
