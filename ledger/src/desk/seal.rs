//! Encryption between the vault and whoever asks it over the bus.
//!
//! ```text
//! request   u8 version 1 ‖ 4 key id (only a producer's) ‖ 24 nonce ‖ XChaCha20-Poly1305(payload)
//! reply     u8 version 1 ‖ 24 nonce ‖ XChaCha20-Poly1305(payload)
//! ```
//! Associated data of a request: `"sharetrail vault request v1\n"` (between hosts: `"sharetrail host request v1\n"`) ‖
//! ledger id ‖ producer ‖ key id; of a reply: `"sharetrail vault reply v1\n"` (`host`) ‖ the request's nonce, so that a
//! reply answers one request only. In scope: both ends. Out of scope: what the payload says, whose secret it is.
//! Trust: what opens was made by somebody with the secret; it may have been sent before.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use sharetrail_proof::name::{LedgerId, Name};
use sharetrail_proof::note::KeyId;
use zeroize::Zeroizing;

use crate::error::LedgerError;
use crate::files;
use crate::vault::SharedSecret;

pub(super) const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// The fewest bytes of a producer's request: one with an empty payload.
pub(super) const MIN_REQUEST_BYTES: usize = 1 + 4 + NONCE_BYTES + TAG_BYTES;

/// Tells one request from every other.
pub type Nonce = [u8; NONCE_BYTES];

/// A request, ready to be sent; its reply opens with it and with nothing else.
pub struct Asked {
    bytes: Vec<u8>,
    nonce: Nonce,
}

impl Asked {
    /// What goes onto the bus.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// One end of an encrypted conversation.
pub(crate) struct Channel {
    cipher: XChaCha20Poly1305,
    /// What a request begins with: the version, and a producer's key id.
    head: Vec<u8>,
    request: Vec<u8>,
    reply: &'static [u8],
}

impl Channel {
    /// Between a producer with this signing key and the vault.
    pub(crate) fn of_producer(secret: &SharedSecret, ledger: &LedgerId, producer: &Name, key: KeyId) -> Self {
        let request: [&[u8]; 4] = [
            b"sharetrail vault request v1\n",
            &ledger.0,
            producer.as_str().as_bytes(),
            &key.0,
        ];
        Self {
            cipher: cipher(secret),
            head: [&[VERSION][..], &key.0].concat(),
            request: request.concat(),
            reply: b"sharetrail vault reply v1\n",
        }
    }

    /// Between hosts that keep one vault.
    pub(crate) fn of_hosts(secret: &SharedSecret, ledger: &LedgerId) -> Self {
        Self {
            cipher: cipher(secret),
            head: vec![VERSION],
            request: [&b"sharetrail host request v1\n"[..], &ledger.0].concat(),
            reply: b"sharetrail host reply v1\n",
        }
    }

    /// Encrypts a request.
    pub(crate) fn ask(&self, payload: &[u8]) -> Result<Asked, LedgerError> {
        let nonce = files::random()?;
        let bytes = self.seal(&self.head, &nonce, &self.request, payload)?;
        Ok(Asked { bytes, nonce })
    }

    /// Opens a request; gives its nonce too.
    pub(super) fn open_request(&self, bytes: &[u8]) -> Option<(Nonce, Zeroizing<Vec<u8>>)> {
        let rest = bytes.strip_prefix(&self.head[..])?;
        let (nonce, rest) = rest.split_first_chunk()?;
        Some((*nonce, self.open(nonce, &self.request, rest)?))
    }

    /// Encrypts the reply to the request with this nonce.
    pub(super) fn reply(&self, request: &Nonce, payload: &[u8]) -> Result<Vec<u8>, LedgerError> {
        let associated = [self.reply, &request[..]].concat();
        self.seal(&[VERSION], &files::random()?, &associated, payload)
    }

    /// Opens the reply to a request.
    pub(crate) fn open_reply(&self, asked: &Asked, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let rest = bytes.strip_prefix(&[VERSION])?;
        let (nonce, rest) = rest.split_first_chunk()?;
        self.open(nonce, &[self.reply, &asked.nonce[..]].concat(), rest)
    }

    fn seal(
        &self,
        head: &[u8],
        nonce: &Nonce,
        associated: &[u8],
        payload: &[u8],
    ) -> Result<Vec<u8>, LedgerError> {
        let start = head.len() + NONCE_BYTES;
        // Room for the tag from the start: a buffer that moves would leave the payload behind in clear.
        let mut bytes = Vec::with_capacity(start + payload.len() + TAG_BYTES);
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(nonce);
        bytes.extend_from_slice(payload);
        let body = &mut bytes[start..];
        let tag = self
            .cipher
            .encrypt_inout_detached(&XNonce::from(*nonce), associated, body.into())
            .map_err(|_| LedgerError::Vault("a message is too long to encrypt".into()))?;
        bytes.extend_from_slice(&tag);
        Ok(bytes)
    }

    fn open(&self, nonce: &Nonce, associated: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (body, tag) = sealed.split_last_chunk::<TAG_BYTES>()?;
        let mut payload = Zeroizing::new(body.to_vec());
        let opened = self.cipher.decrypt_inout_detached(
            &XNonce::from(*nonce),
            associated,
            payload.as_mut_slice().into(),
            &Tag::from(*tag),
        );
        opened.ok().map(|()| payload)
    }
}

fn cipher(secret: &SharedSecret) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&(*secret.bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(secret: u8, ledger: u8, producer: &str, key: u8) -> Channel {
        let text = data_encoding::BASE64.encode(&[secret; 32]);
        let secret = SharedSecret::parse(&format!("SHARETRAIL+ACCESS+1+{text}\n")).unwrap();
        let producer = Name::new(producer).unwrap();
        Channel::of_producer(&secret, &LedgerId([ledger; 32]), &producer, KeyId([key; 4]))
    }

    #[test]
    fn only_the_same_secret_ledger_producer_and_key_open_a_request() {
        let here = channel(1, 2, "till", 3);
        let asked = here.ask(b"customers").unwrap();
        assert_eq!(*here.open_request(asked.bytes()).unwrap().1, b"customers");
        for other in [
            channel(9, 2, "till", 3),
            channel(1, 9, "till", 3),
            channel(1, 2, "web", 3),
            channel(1, 2, "till", 9),
        ] {
            assert!(other.open_request(asked.bytes()).is_none());
        }
    }

    #[test]
    fn a_reply_opens_for_its_request_alone() {
        let here = channel(1, 2, "till", 3);
        let (first, second) = (here.ask(b"a").unwrap(), here.ask(b"a").unwrap());
        let (nonce, _) = here.open_request(first.bytes()).unwrap();
        let reply = here.reply(&nonce, b"grants").unwrap();
        assert_eq!(*here.open_reply(&first, &reply).unwrap(), b"grants");
        assert!(here.open_reply(&second, &reply).is_none());
        // Neither is a request a reply, nor a reply a request.
        assert!(here.open_request(&reply).is_none());
        assert!(here.open_reply(&first, first.bytes()).is_none());
    }

    #[test]
    fn no_bit_can_be_flipped_and_no_byte_be_missing() {
        let here = channel(1, 2, "till", 3);
        let asked = here.ask(b"customers").unwrap();
        let (nonce, _) = here.open_request(asked.bytes()).unwrap();
        let reply = here.reply(&nonce, b"grants").unwrap();
        for bit in 0..asked.bytes().len() * 8 {
            let mut bytes = asked.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(here.open_request(&bytes).is_none());
        }
        for bit in 0..reply.len() * 8 {
            let mut bytes = reply.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(here.open_reply(&asked, &bytes).is_none());
        }
        for length in 0..asked.bytes().len() {
            assert!(here.open_request(&asked.bytes()[..length]).is_none());
        }
        for length in 0..reply.len() {
            assert!(here.open_reply(&asked, &reply[..length]).is_none());
        }
    }
}
