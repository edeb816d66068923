//! The verifiable random function behind customer labels: ECVRF-EDWARDS25519-SHA512-TAI (RFC 9381, suite 0x03).
//!
//! The holder of the secret key can compute the output of any input and prove that it is the only one. Nobody else can
//! compute it, or tell it from random bytes without the proof.
//!
//! In scope: keys, outputs, proofs and their checks, as RFC 9381 §5 has them, over the curve of `curve25519-dalek`.
//! Out of scope: what goes in and what an output is used for (see [`crate::customer`]), and how a seed is made or kept.
//! Trust: public keys, inputs and proofs are untrusted. A [`VrfPublicKey`] has passed the key validation of §5.4.5, so
//! not even a malicious holder of the secret key can prove two outputs of one input. Secret scalars are multiplied in
//! constant time; how long it takes to put an input on the curve depends on the input (§5.4.1.1), never on the secret.

use std::fmt;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha512};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The suite (RFC 9381 §5.5), first byte of every hash but the nonce's.
const SUITE: u8 = 0x03;
/// What a hash is for, its second byte: §5.4.1.1.
const ENCODE_TO_CURVE: u8 = 0x01;
/// Likewise: §5.4.3.
const CHALLENGE: u8 = 0x02;
/// Likewise: §5.2.
const PROOF_TO_HASH: u8 = 0x03;
/// The last byte of each of these hashes.
const BACK: u8 = 0x00;

/// Why a public key or a proof is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VrfError {
    /// 32 bytes are not the one encoding of a curve point (RFC 8032 §5.1.3).
    #[error("not the canonical encoding of a curve point")]
    NonCanonicalPoint,
    /// The public key is one of the eight points under which all inputs have one output (RFC 9381 §5.4.5).
    #[error("the public key is a point of small order")]
    SmallOrder,
    /// The proof's scalar is not below the order of the group (RFC 9381 §5.4.4).
    #[error("the proof's scalar is not reduced")]
    NonCanonicalScalar,
    /// A proof has another length.
    #[error("a VRF proof has 80 bytes, not {found}")]
    ProofLength {
        /// The length of the bytes as given.
        found: usize,
    },
    /// The proof is well-formed, and not one for this public key and input.
    #[error("the VRF proof does not fit the public key and the input")]
    Mismatch,
    /// None of the 256 hashes of the input is a curve point; this happens with probability 2⁻²⁵⁶.
    #[error("the input has no point on the curve")]
    NoCurvePoint,
}

/// The secret key, expanded: it computes outputs and proofs. Wiped from memory when dropped.
pub struct VrfSecretKey {
    scalar: Scalar,
    nonce_prefix: [u8; 32],
    public: VrfPublicKey,
}

impl VrfSecretKey {
    /// Expands 32 random bytes, the SK of RFC 9381 §5.5, as an Ed25519 seed is (RFC 8032 §5.1.5).
    ///
    /// The seed is not kept; the caller keeps and wipes it.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let hash = Zeroizing::new(sha512(&[seed]));
        let (halves, _) = hash.as_chunks::<32>();
        // Reduction changes no product, for the scalar only meets points of prime order. A clamped integer is never a
        // multiple of that order, so the public key is never of small order.
        let scalar = Scalar::from_bytes_mod_order(clamp_integer(halves[0]));
        let point = EdwardsPoint::mul_base(&scalar);
        let public = VrfPublicKey {
            bytes: point.compress().0,
            point,
        };
        Self {
            scalar,
            nonce_prefix: halves[1],
            public,
        }
    }

    /// The public half.
    pub fn public(&self) -> VrfPublicKey {
        self.public
    }

    /// The output for `alpha` without a proof, for one scalar multiplication instead of three (RFC 9381 §5.1, §5.2).
    pub fn output(&self, alpha: &[u8]) -> VrfOutput {
        proof_to_hash(&(self.input_point(alpha) * self.scalar))
    }

    /// The output for `alpha` and the proof that it is the one (RFC 9381 §5.1). Same input, same proof.
    pub fn prove(&self, alpha: &[u8]) -> (VrfOutput, VrfProof) {
        let h = self.input_point(alpha);
        let h_string = h.compress();
        let gamma = h * self.scalar;
        let nonce = self.nonce(&h_string.0);
        let commitments = [gamma, EdwardsPoint::mul_base(&nonce), h * *nonce];
        let [gamma_string, u, v] = EdwardsPoint::compress_batch(&commitments);
        let c = challenge(&self.public, &[h_string, gamma_string, u, v]);
        let response = *nonce + Scalar::from(c) * self.scalar;
        (
            proof_to_hash(&gamma),
            VrfProof::encode(&gamma_string.0, c, &response),
        )
    }

    fn input_point(&self, alpha: &[u8]) -> EdwardsPoint {
        let point = encode_to_curve(&self.public.bytes, alpha);
        point.expect("256 hashes in a row miss the curve with probability 2^-256")
    }

    /// RFC 9381 §5.4.2.2, which is the nonce of RFC 8032. Whoever learns it learns the secret scalar.
    fn nonce(&self, h_string: &[u8; 32]) -> Zeroizing<Scalar> {
        let hash = Zeroizing::new(sha512(&[&self.nonce_prefix, h_string]));
        Zeroizing::new(Scalar::from_bytes_mod_order_wide(&hash))
    }
}

impl Drop for VrfSecretKey {
    fn drop(&mut self) {
        self.scalar.zeroize();
        self.nonce_prefix.zeroize();
    }
}

impl ZeroizeOnDrop for VrfSecretKey {}

impl fmt::Debug for VrfSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VrfSecretKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// A validated public key: it binds every input to one output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VrfPublicKey {
    bytes: [u8; 32],
    point: EdwardsPoint,
}

impl VrfPublicKey {
    /// Decodes and validates a public key (RFC 9381 §5.4.5).
    ///
    /// # Errors
    /// [`VrfError::NonCanonicalPoint`] or [`VrfError::SmallOrder`].
    pub fn parse(bytes: &[u8; 32]) -> Result<Self, VrfError> {
        let point = string_to_point(bytes).ok_or(VrfError::NonCanonicalPoint)?;
        if point.is_small_order() {
            return Err(VrfError::SmallOrder);
        }
        Ok(Self { bytes: *bytes, point })
    }

    /// The 32 bytes that [`Self::parse`] reads.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Checks `proof` and returns the one output of `alpha` under this key (RFC 9381 §5.3).
    ///
    /// # Errors
    /// [`VrfError::NonCanonicalPoint`] or [`VrfError::NonCanonicalScalar`] where the proof has no meaning,
    /// [`VrfError::Mismatch`] where it proves nothing about this key and input.
    pub fn verify(&self, alpha: &[u8], proof: &VrfProof) -> Result<VrfOutput, VrfError> {
        let proof = proof.decode()?;
        let h = encode_to_curve(&self.bytes, alpha).ok_or(VrfError::NoCurvePoint)?;
        let c = Scalar::from(proof.challenge);
        // The points are negated, not c: a point that isn't of prime order times (L - c) is not minus that point
        // times c, and other verifiers, which subtract, would disagree about its proofs.
        let u = EdwardsPoint::vartime_double_scalar_mul_basepoint(&c, &-self.point, &proof.response);
        let v = EdwardsPoint::vartime_multiscalar_mul([proof.response, c], [h, -proof.gamma]);
        let points = EdwardsPoint::compress_batch(&[h, proof.gamma, u, v]);
        if challenge(self, &points) == proof.challenge {
            Ok(proof_to_hash(&proof.gamma))
        } else {
            Err(VrfError::Mismatch)
        }
    }
}

impl fmt::Debug for VrfPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VrfPublicKey({})", HEXLOWER.encode(&self.bytes))
    }
}

/// An 80-byte proof, pi: the point Gamma, a 16-byte challenge c and a 32-byte scalar s (RFC 9381 §5.1).
///
/// Unchecked but for its length; [`VrfPublicKey::verify`] takes it apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VrfProof([u8; 80]);

impl VrfProof {
    /// Takes exactly 80 bytes.
    ///
    /// # Errors
    /// [`VrfError::ProofLength`] holds the length found.
    pub fn parse(bytes: &[u8]) -> Result<Self, VrfError> {
        <[u8; 80]>::try_from(bytes)
            .map(Self)
            .map_err(|_| VrfError::ProofLength { found: bytes.len() })
    }

    /// The 80 bytes that [`Self::parse`] reads.
    pub fn bytes(&self) -> &[u8; 80] {
        &self.0
    }

    /// RFC 9381 §5.1, step 8.
    fn encode(gamma: &[u8; 32], challenge: u128, response: &Scalar) -> Self {
        let mut pi = [0; 80];
        pi[..32].copy_from_slice(gamma);
        pi[32..48].copy_from_slice(&challenge.to_le_bytes());
        pi[48..].copy_from_slice(response.as_bytes());
        Self(pi)
    }

    /// RFC 9381 §5.4.4.
    fn decode(&self) -> Result<DecodedProof, VrfError> {
        let (mut gamma, mut challenge, mut response) = ([0; 32], [0; 16], [0; 32]);
        gamma.copy_from_slice(&self.0[..32]);
        challenge.copy_from_slice(&self.0[32..48]);
        response.copy_from_slice(&self.0[48..]);
        let response: Option<Scalar> = Scalar::from_canonical_bytes(response).into();
        Ok(DecodedProof {
            gamma: string_to_point(&gamma).ok_or(VrfError::NonCanonicalPoint)?,
            challenge: u128::from_le_bytes(challenge),
            response: response.ok_or(VrfError::NonCanonicalScalar)?,
        })
    }
}

impl fmt::Debug for VrfProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VrfProof({})", HEXLOWER.encode(&self.0))
    }
}

/// Gamma, c and s of RFC 9381 §5.4.4. Gamma may have a part of small order, which §5.2 removes from the output.
struct DecodedProof {
    gamma: EdwardsPoint,
    challenge: u128,
    response: Scalar,
}

/// The 64-byte output, beta: without the secret key or a proof, as good as random (RFC 9381 §5.2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VrfOutput([u8; 64]);

impl VrfOutput {
    /// The 64 bytes.
    pub fn bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for VrfOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VrfOutput({})", HEXLOWER.encode(&self.0))
    }
}

fn sha512(parts: &[&[u8]]) -> [u8; 64] {
    let mut hasher = Sha512::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// RFC 9381 §5.5: `string_to_point` is the decoding of RFC 8032 §5.1.3, which knows one encoding of each point.
///
/// Comparing is what refuses y ≥ p and a sign on x = 0: decompression alone accepts both.
fn string_to_point(string: &[u8; 32]) -> Option<EdwardsPoint> {
    let string = CompressedEdwardsY(*string);
    string.decompress().filter(|point| point.compress() == string)
}

/// Try and increment, RFC 9381 §5.4.1.1: a point of prime order. The salt of this suite is the public key (§5.5).
fn encode_to_curve(salt: &[u8; 32], alpha: &[u8]) -> Option<EdwardsPoint> {
    let prefix = Sha512::new_with_prefix([SUITE, ENCODE_TO_CURVE])
        .chain_update(salt)
        .chain_update(alpha);
    (0..=u8::MAX).find_map(|counter| {
        let hash: [u8; 64] = prefix.clone().chain_update([counter, BACK]).finalize().into();
        let point = string_to_point(&hash.as_chunks::<32>().0[0])?.mul_by_cofactor();
        (!point.is_identity()).then_some(point)
    })
}

/// RFC 9381 §5.4.3 over Y and over H, Gamma, U and V: the first 16 bytes of a hash as a little-endian integer.
fn challenge(public: &VrfPublicKey, points: &[CompressedEdwardsY; 4]) -> u128 {
    let [h, gamma, u, v] = points;
    let hash = sha512(&[
        &[SUITE, CHALLENGE],
        &public.bytes,
        &h.0,
        &gamma.0,
        &u.0,
        &v.0,
        &[BACK],
    ]);
    u128::from_le_bytes(hash.as_chunks::<16>().0[0])
}

/// RFC 9381 §5.2.
fn proof_to_hash(gamma: &EdwardsPoint) -> VrfOutput {
    let cleared = gamma.mul_by_cofactor().compress();
    VrfOutput(sha512(&[&[SUITE, PROOF_TO_HASH], &cleared.0, &[BACK]]))
}
