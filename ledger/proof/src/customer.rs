//! What binds a customer to the log: labels, keys, commitments and sealed contents.
//!
//! In scope: the label (a VRF output), what is derived from a customer's key, commitment, sealing and opening.
//! Out of scope: where keys live (the vault) and who may have them.
//! Trust: callers pass random bytes that are random. Whoever opens a sealed content gets it only if it is the one that
//! the entry commits to.

use std::collections::BTreeMap;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::entry::{EVENT_BYTES, EntryId, EventEntry, prefixed};
use crate::hash::Hash;
use crate::lanes::{Messages, padded_length};
use crate::name::{Label, Name};
use crate::vrf::{VrfError, VrfOutput, VrfProof, VrfPublicKey, VrfSecretKey};

/// The most bytes of a customer id.
pub const MAX_CUSTOMER_BYTES: usize = 256;
/// The most bytes of a content.
pub const MAX_CONTENT_BYTES: usize = 65_536;
/// The most bytes of a sealed content: codec, nonce, the padded plaintext, tag.
pub const MAX_SEALED_BYTES: usize = 1 + 24 + 32 + MAX_CONTENT_BYTES + 64 + 16;

const COMMITMENT_PREFIX: &[u8] = b"sharetrail commitment v1\n";
const CODEC_AS_IS: u8 = 0;
const PAD_TO: usize = 64;

/// What the VRF is evaluated over: `"sharetrail label v1\n" ‖ ledger ‖ customer id ‖ generation`.
fn label_input(ledger: &Name, customer: &str, generation: u32) -> Vec<u8> {
    let mut bytes = b"sharetrail label v1\n".to_vec();
    bytes.extend(prefixed(ledger.as_str()));
    bytes.extend(prefixed(customer));
    bytes.extend(generation.to_be_bytes());
    bytes
}

fn label_from(output: &VrfOutput) -> Label {
    let mut label = [0; 32];
    label.copy_from_slice(&output.bytes()[..32]);
    Label(label)
}

/// The label of a customer, without a proof. `customer`: at most [`MAX_CUSTOMER_BYTES`].
pub fn label(key: &VrfSecretKey, ledger: &Name, customer: &str, generation: u32) -> Label {
    label_from(&key.output(&label_input(ledger, customer, generation)))
}

/// The label of a customer, with the proof that it is.
pub fn prove_label(key: &VrfSecretKey, ledger: &Name, customer: &str, generation: u32) -> (Label, VrfProof) {
    let (output, proof) = key.prove(&label_input(ledger, customer, generation));
    (label_from(&output), proof)
}

/// The label that the proof shows to be the customer's.
pub fn verify_label(
    key: &VrfPublicKey,
    ledger: &Name,
    customer: &str,
    generation: u32,
    proof: &VrfProof,
) -> Result<Label, VrfError> {
    if customer.len() > MAX_CUSTOMER_BYTES {
        return Err(VrfError::Mismatch);
    }
    Ok(label_from(
        &key.verify(&label_input(ledger, customer, generation), proof)?,
    ))
}

/// K: 32 random bytes that exist in the vault alone. Whoever destroys it has erased the customer.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CustomerKey(pub [u8; 32]);

/// Kp: what one producer gets of a customer's key. It opens what that producer sealed, and nothing else.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ProducerKey(pub [u8; 32]);

fn expand(key: &[u8; 32], info: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(None, key)
        .expand_multi_info(info, &mut out)
        .expect("32 bytes are within HKDF's limit");
    out
}

impl CustomerKey {
    /// `Kp = HKDF-SHA-256(K, "sharetrail producer v1\n" ‖ producer)` (RFC 5869, no salt).
    pub fn for_producer(&self, producer: &Name) -> ProducerKey {
        ProducerKey(expand(
            &self.0,
            &[b"sharetrail producer v1\n", &prefixed(producer.as_str())],
        ))
    }
}

impl ProducerKey {
    /// The keys that do the work: derived once a customer, used for each of their events.
    pub fn sealer(&self) -> Sealer {
        let mut seal = expand(&self.0, &[b"sharetrail seal v1\n"]);
        let mut id = expand(&self.0, &[b"sharetrail entry id v1\n"]);
        let sealer = Sealer {
            cipher: XChaCha20Poly1305::new(&seal.into()),
            id: Hmac::<Sha256>::new_from_slice(&id).expect("HMAC takes keys of any length"),
        };
        seal.zeroize();
        id.zeroize();
        sealer
    }
}

/// `SHA-256("sharetrail commitment v1\n" ‖ opening ‖ content)`.
pub fn commitment(opening: &[u8; 32], content: &[u8]) -> Hash {
    Hash::of(&[COMMITMENT_PREFIX, opening, content])
}

/// The commitments of many contents, in their order: those of about one length are hashed side by side.
pub fn commitments(openings: &[[u8; 32]], contents: &[&[u8]]) -> Vec<Hash> {
    let length = |content: &[u8]| COMMITMENT_PREFIX.len() + 32 + content.len();
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (position, content) in contents.iter().enumerate() {
        groups
            .entry(padded_length(length(content)))
            .or_default()
            .push(position);
    }
    let mut hashes = vec![Hash::ZERO; contents.len()];
    for group in groups.into_values() {
        let mut messages = Messages::new(length(contents[group[0]]), group.len());
        for &position in &group {
            messages.push(&[COMMITMENT_PREFIX, &openings[position], contents[position]]);
        }
        for (position, hash) in group.into_iter().zip(messages.hash()) {
            hashes[position] = hash;
        }
    }
    hashes
}

/// Why a sealed content does not open.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Too short, too long, an unknown codec, or padding that is none.
    #[error("not a sealed content: {reason}")]
    Malformed {
        /// What the format wants and does not find.
        reason: &'static str,
    },
    /// Another key, another entry, or altered bytes.
    #[error("the sealed content does not open with this key for this entry")]
    Wrong,
    /// It opens, and holds something that the entry does not commit to.
    #[error("the content is not the one that the entry commits to")]
    Commitment {
        /// What the entry says.
        expected: Hash,
        /// What the content gives.
        found: Hash,
    },
}

/// A content that fits its entry's commitment, with the opening that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The 32 random bytes of the commitment.
    pub opening: [u8; 32],
    /// The event's JSON.
    pub content: Vec<u8>,
}

/// Seals, opens and identifies the events of one customer by one producer.
#[derive(Clone)]
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    id: Hmac<Sha256>,
}

impl Sealer {
    /// `HMAC-SHA-256(·, source ‖ id)[..16]`.
    pub fn entry_id(&self, source: &str, id: &str) -> EntryId {
        let mut mac = self.id.clone();
        mac.update(&prefixed(source));
        mac.update(&prefixed(id));
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let mut id = [0; 16];
        id.copy_from_slice(&tag[..16]);
        id
    }

    /// Appends the sealed content to `out`: codec ‖ nonce ‖ ciphertext ‖ tag. `random`: a fresh nonce.
    pub fn seal(
        &self,
        entry: &[u8; EVENT_BYTES],
        opening: &[u8; 32],
        content: &[u8],
        nonce: &[u8; 24],
        out: &mut Vec<u8>,
    ) {
        let padded = (32 + content.len() + 1).next_multiple_of(PAD_TO);
        out.reserve(1 + 24 + padded + 16);
        out.push(CODEC_AS_IS);
        out.extend_from_slice(nonce);
        let start = out.len();
        out.extend_from_slice(opening);
        out.extend_from_slice(content);
        out.push(0x80);
        out.resize(start + padded, 0);
        let nonce = XNonce::from(*nonce);
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce, &associated(entry), (&mut out[start..]).into());
        out.extend_from_slice(&tag.expect("a content is far below the cipher's 256 GiB"));
    }

    /// Opens a sealed content and recomputes the commitment of its entry.
    pub fn open(&self, entry: &EventEntry, sealed: &[u8]) -> Result<Opened, OpenError> {
        let mut plain = self.decrypt(&entry.to_bytes(), sealed)?;
        let end = plain
            .iter()
            .rposition(|&byte| byte != 0)
            .filter(|&end| plain[end] == 0x80 && end >= 32);
        let end = end.ok_or(OpenError::Malformed {
            reason: "padding that is none",
        })?;
        if plain.len() != (end + 1).next_multiple_of(PAD_TO) {
            return Err(OpenError::Malformed {
                reason: "padding that is none",
            });
        }
        plain.truncate(end);
        let content = plain.split_off(32);
        let opening: [u8; 32] = plain.try_into().expect("split after 32 bytes");
        let found = commitment(&opening, &content);
        if found == entry.commitment {
            Ok(Opened { opening, content })
        } else {
            Err(OpenError::Commitment {
                expected: entry.commitment,
                found,
            })
        }
    }

    fn decrypt(&self, entry: &[u8; EVENT_BYTES], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let malformed = |reason| OpenError::Malformed { reason };
        if sealed.len() > MAX_SEALED_BYTES {
            return Err(malformed("too long"));
        }
        let (&codec, rest) = sealed.split_first().ok_or(malformed("empty"))?;
        if codec != CODEC_AS_IS {
            return Err(malformed("an unknown codec"));
        }
        let (nonce, rest) = rest
            .split_first_chunk::<24>()
            .ok_or(malformed("too short for a nonce"))?;
        let (body, tag) = rest
            .split_last_chunk::<16>()
            .ok_or(malformed("too short for a tag"))?;
        if body.len() < PAD_TO || body.len() % PAD_TO != 0 {
            return Err(malformed("not padded to 64 bytes"));
        }
        let mut plain = body.to_vec();
        let nonce = XNonce::from(*nonce);
        let opened = self.cipher.decrypt_inout_detached(
            &nonce,
            &associated(entry),
            plain.as_mut_slice().into(),
            &Tag::from(*tag),
        );
        opened.map(|()| plain).map_err(|_| OpenError::Wrong)
    }
}

/// Associated data: codec byte ‖ entry.
fn associated(entry: &[u8; EVENT_BYTES]) -> [u8; EVENT_BYTES + 1] {
    let mut data = [CODEC_AS_IS; EVENT_BYTES + 1];
    data[1..].copy_from_slice(entry);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_commitments_are_each_as_one_alone() {
        let contents: Vec<Vec<u8>> = (0..300_usize).map(|n| vec![b'x'; n * 7 % 500]).collect();
        let openings: Vec<[u8; 32]> = (0..300_u32).map(|n| Hash::of(&[&n.to_be_bytes()]).0).collect();
        let borrowed: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
        let alone: Vec<Hash> = openings
            .iter()
            .zip(&contents)
            .map(|(opening, content)| commitment(opening, content))
            .collect();
        assert_eq!(commitments(&openings, &borrowed), alone);
    }
}
