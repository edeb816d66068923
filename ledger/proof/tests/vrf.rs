//! The VRF against RFC 9381's own vectors, and against everything that must not pass.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use data_encoding::HEXLOWER;
use proptest::prelude::*;
use serde::Deserialize;
use sharetrail_proof::vrf::{VrfError, VrfProof, VrfPublicKey, VrfSecretKey};

/// The order of the group, L, little-endian.
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

/// The eight points of small order, each in its one canonical encoding.
const SMALL_ORDER: [&str; 8] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

/// The file of vectors; hex digits as the RFC prints them.
#[derive(Deserialize)]
struct Golden {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    example: u32,
    sk: String,
    pk: String,
    alpha: String,
    x: String,
    h: String,
    pi: String,
    beta: String,
}

impl Vector {
    fn secret(&self) -> VrfSecretKey {
        VrfSecretKey::from_seed(&hex_array(&self.sk))
    }

    fn public(&self) -> VrfPublicKey {
        VrfPublicKey::parse(&hex_array(&self.pk)).unwrap()
    }

    fn alpha(&self) -> Vec<u8> {
        hex(&self.alpha)
    }

    fn proof(&self) -> VrfProof {
        VrfProof::parse(&hex(&self.pi)).unwrap()
    }
}

fn vectors() -> Vec<Vector> {
    let file = include_str!("golden/rfc9381-edwards25519-sha512-tai.json");
    let vectors = serde_json::from_str::<Golden>(file).unwrap().vectors;
    let examples: Vec<u32> = vectors.iter().map(|vector| vector.example).collect();
    assert_eq!(examples, [16, 17, 18]);
    vectors
}

fn hex(digits: &str) -> Vec<u8> {
    HEXLOWER.decode(digits.as_bytes()).unwrap()
}

fn hex_array<const N: usize>(digits: &str) -> [u8; N] {
    hex(digits).try_into().unwrap()
}

/// Every copy of `bytes` that differs in one bit, with that bit's number.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len() * 8).map(move |bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit, flipped)
    })
}

/// `proof` with other bytes from `start` on.
fn with_bytes(proof: &VrfProof, start: usize, bytes: &[u8]) -> VrfProof {
    let mut pi = *proof.bytes();
    pi[start..start + bytes.len()].copy_from_slice(bytes);
    VrfProof::parse(&pi).unwrap()
}

/// Encodings that RFC 8032 §5.1.3 does not know: y ≥ p with either sign, and a sign where x = 0 (y = ±1).
fn non_canonical() -> Vec<[u8; 32]> {
    let mut encodings: Vec<[u8; 32]> = vec![
        hex_array("0100000000000000000000000000000000000000000000000000000000000080"),
        hex_array("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
    ];
    for low in 0xed..=0xff_u8 {
        for high in [0x7f, 0xff] {
            let mut encoding = [0xff; 32];
            (encoding[0], encoding[31]) = (low, high);
            encodings.push(encoding);
        }
    }
    encodings
}

fn sum(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut carry = 0_u16;
    std::array::from_fn(|at| {
        let digit = u16::from(left[at]) + u16::from(right[at]) + carry;
        carry = digit >> 8;
        digit.to_le_bytes()[0]
    })
}

#[test]
fn the_vectors_of_the_rfc_come_out_exactly() {
    for vector in vectors() {
        let (secret, alpha, example) = (vector.secret(), vector.alpha(), vector.example);
        let (output, proof) = secret.prove(&alpha);
        assert_eq!(
            HEXLOWER.encode(secret.public().bytes()),
            vector.pk,
            "example {example}"
        );
        assert_eq!(HEXLOWER.encode(proof.bytes()), vector.pi, "example {example}");
        assert_eq!(HEXLOWER.encode(output.bytes()), vector.beta, "example {example}");
        assert_eq!(secret.output(&alpha), output, "example {example}");
        assert_eq!(vector.public(), secret.public(), "example {example}");
        assert_eq!(
            vector.public().verify(&alpha, &vector.proof()),
            Ok(output),
            "example {example}"
        );
    }
}

#[test]
fn the_intermediate_values_of_the_vectors_hold() {
    for vector in vectors() {
        let x: [u8; 32] = hex_array(&vector.x);
        let h = CompressedEdwardsY(hex_array(&vector.h)).decompress().unwrap();
        assert_eq!(
            EdwardsPoint::mul_base_clamped(x).compress().0,
            hex_array::<32>(&vector.pk)
        );
        assert_eq!(h.mul_clamped(x).compress().0[..], vector.proof().bytes()[..32]);
    }
}

#[test]
fn a_proof_with_one_bit_flipped_is_refused() {
    for vector in vectors() {
        let (public, alpha) = (vector.public(), vector.alpha());
        for (bit, flipped) in flips(vector.proof().bytes()) {
            let outcome = public.verify(&alpha, &VrfProof::parse(&flipped).unwrap());
            let refused = match bit / 8 {
                0..32 => matches!(outcome, Err(VrfError::NonCanonicalPoint | VrfError::Mismatch)),
                32..48 => outcome == Err(VrfError::Mismatch),
                _ => matches!(outcome, Err(VrfError::NonCanonicalScalar | VrfError::Mismatch)),
            };
            assert!(refused, "example {}, bit {bit}: {outcome:?}", vector.example);
        }
    }
}

#[test]
fn a_proof_is_refused_for_any_other_input() {
    for vector in vectors() {
        let (public, alpha, proof) = (vector.public(), vector.alpha(), vector.proof());
        let longer = [&alpha[..], &[0][..]].concat();
        for other in flips(&alpha)
            .map(|(_, flipped)| flipped)
            .chain([longer, b"another input".to_vec()])
        {
            assert_eq!(
                public.verify(&other, &proof),
                Err(VrfError::Mismatch),
                "{other:?}"
            );
        }
    }
}

#[test]
fn a_proof_is_refused_under_any_other_public_key() {
    for vector in vectors() {
        let (public, alpha, proof) = (vector.public(), vector.alpha(), vector.proof());
        for (bit, flipped) in flips(public.bytes()) {
            let flipped: [u8; 32] = flipped.try_into().unwrap();
            let outcome = VrfPublicKey::parse(&flipped).and_then(|key| key.verify(&alpha, &proof));
            let refused = matches!(outcome, Err(VrfError::NonCanonicalPoint | VrfError::Mismatch));
            assert!(refused, "example {}, bit {bit}: {outcome:?}", vector.example);
        }
    }
}

#[test]
fn public_keys_of_small_order_are_refused() {
    for digits in SMALL_ORDER {
        assert_eq!(
            VrfPublicKey::parse(&hex_array(digits)),
            Err(VrfError::SmallOrder),
            "{digits}"
        );
    }
}

#[test]
fn points_in_a_non_canonical_encoding_are_refused() {
    for vector in vectors() {
        for encoding in non_canonical() {
            let proof = with_bytes(&vector.proof(), 0, &encoding);
            let outcome = vector.public().verify(&vector.alpha(), &proof);
            assert_eq!(outcome, Err(VrfError::NonCanonicalPoint), "{encoding:02x?}");
            assert_eq!(
                VrfPublicKey::parse(&encoding),
                Err(VrfError::NonCanonicalPoint),
                "{encoding:02x?}"
            );
        }
    }
}

#[test]
fn scalars_that_are_not_reduced_are_refused() {
    let order: [u8; 32] = hex_array(ORDER);
    for vector in vectors() {
        let mut response = [0; 32];
        response.copy_from_slice(&vector.proof().bytes()[48..]);
        for scalar in [sum(&response, &order), order, [0xff; 32]] {
            let proof = with_bytes(&vector.proof(), 48, &scalar);
            let outcome = vector.public().verify(&vector.alpha(), &proof);
            assert_eq!(outcome, Err(VrfError::NonCanonicalScalar), "{scalar:02x?}");
        }
    }
}

#[test]
fn a_proof_of_another_length_is_refused() {
    for found in [0, 79, 81, 160] {
        assert_eq!(
            VrfProof::parse(&vec![0; found]),
            Err(VrfError::ProofLength { found })
        );
    }
}

/// A holder of the secret key who adds a point of order 8 to Y and to Gamma can try nonces until the challenge c is a
/// multiple of 8. The RFC's verifier subtracts c·Y and c·Gamma, where the added parts vanish, and accepts; one that
/// multiplies by -c mod L would not. The output is the one of the honest Gamma. (Seed: 32 sevens. Third nonce.)
#[test]
fn points_with_a_part_of_small_order_are_verified_as_the_rfc_says() {
    let public: [u8; 32] = hex_array("fbb3211d177bccefd763d01a88f6473e43e5cf0a0740e44ab5c64460eefd4675");
    let proof = hex(concat!(
        "58d6bb068f54cddfb000f494008a378473bc6136596b025a696d007da534a149",
        "28bc1419da9a529d1a1c3a2d50ae700e",
        "46f2b7c5c9c0a43ba426ecc24ac05bfd1df6566b8a8cf970a421950c7d12cf0d",
    ));
    let output = concat!(
        "c7b250c646f6ac7f5b5620b464abae7b43bed0f2a9025a7ea04f0af1c58cd872",
        "2ef549c73551db67965ff4b447ebd833a046a3ed89ceb3cf452d8b109e9633cd",
    );
    let public = VrfPublicKey::parse(&public).unwrap();
    let outcome = public.verify(b"mixed order", &VrfProof::parse(&proof).unwrap());
    assert_eq!(HEXLOWER.encode(outcome.unwrap().bytes()), output);
}

#[test]
fn a_secret_key_shows_nothing_but_its_public_half() {
    let secret = VrfSecretKey::from_seed(&[7; 32]);
    let shown = format!("VrfSecretKey {{ public: {:?}, .. }}", secret.public());
    assert_eq!(format!("{secret:?}"), shown);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn what_a_key_proves_only_its_public_half_verifies(seed: [u8; 32], other: [u8; 32], alpha: Vec<u8>) {
        prop_assume!(seed != other);
        let secret = VrfSecretKey::from_seed(&seed);
        let (output, proof) = secret.prove(&alpha);
        prop_assert_eq!(secret.output(&alpha), output);

        let public = VrfPublicKey::parse(secret.public().bytes()).unwrap();
        prop_assert_eq!(public.verify(&alpha, &proof), Ok(output));

        let stranger = VrfSecretKey::from_seed(&other);
        prop_assert_ne!(stranger.output(&alpha), output);
        prop_assert_eq!(stranger.public().verify(&alpha, &proof), Err(VrfError::Mismatch));
    }
}
