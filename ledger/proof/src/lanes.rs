//! SHA-256 of many messages of nearly one length, side by side in the lanes of wide registers (FIPS 180-4).
//!
//! A tree is hashed in thousands of leaves and nodes of the same length. Where the processor has SHA instructions they
//! are faster still and are used; where it has wide registers, this hashes several messages in the time of one.
//! In scope: that. Out of scope: one message alone, messages of very different lengths (`sha2` does those).
//! Trust: none needed; tests hold every lane and length to what `sha2` says.

// What is not inlined into the function that knows the wide registers does not use them.
#![allow(clippy::inline_always)]
// The names of FIPS 180-4.
#![allow(clippy::many_single_char_names)]

use pulp::bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Arch, Simd, WithSimd};
use sha2::{Digest, Sha256};

use crate::hash::Hash;

/// Fewer messages than this are hashed one by one.
const WORTH_IT: usize = 4;
const BLOCK: usize = 64;

const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

#[rustfmt::skip]
const ROUNDS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// Messages that have the same number of blocks once they are padded, laid out one after the other.
pub(crate) struct Messages {
    stride: usize,
    padded: Vec<u8>,
    lengths: Vec<usize>,
}

/// Bytes of the blocks that a message of this length is padded to.
pub(crate) fn padded_length(length: usize) -> usize {
    (length + 9).next_multiple_of(BLOCK)
}

impl Messages {
    /// Room for `count` messages of about `length` bytes.
    pub(crate) fn new(length: usize, count: usize) -> Self {
        let stride = padded_length(length);
        Self {
            stride,
            padded: Vec::with_capacity(stride * count),
            lengths: Vec::with_capacity(count),
        }
    }

    /// Adds a message that is made of parts; it is padded to as many blocks as the others.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) {
        let start = self.padded.len();
        for part in parts {
            self.padded.extend_from_slice(part);
        }
        let length = self.padded.len() - start;
        assert_eq!(
            padded_length(length),
            self.stride,
            "messages side by side have the same number of blocks"
        );
        self.padded.push(0x80);
        self.padded.resize(start + self.stride - 8, 0);
        self.padded.extend((length as u64 * 8).to_be_bytes());
        self.lengths.push(length);
    }

    /// The hash of each, in order.
    pub(crate) fn hash(&self) -> Vec<Hash> {
        if self.lengths.len() < WORTH_IT || has_sha_instructions() {
            return self.one_by_one();
        }
        Arch::new().dispatch(SideBySide(self))
    }

    fn one_by_one(&self) -> Vec<Hash> {
        let messages = self.padded.chunks_exact(self.stride).zip(&self.lengths);
        messages
            .map(|(message, length)| Hash(Sha256::digest(&message[..*length]).into()))
            .collect()
    }
}

fn has_sha_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sha");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return true;
}

struct SideBySide<'a>(&'a Messages);

impl WithSimd for SideBySide<'_> {
    type Output = Vec<Hash>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<Hash> {
        let messages = self.0;
        if S::U32_LANES < WORTH_IT {
            return messages.one_by_one();
        }
        let mut hashes = Vec::with_capacity(messages.lengths.len());
        for group in messages.padded.chunks(messages.stride * S::U32_LANES) {
            hash_group(simd, group, messages.stride, &mut hashes);
        }
        hashes
    }
}

/// Hashes as many messages as there are lanes, or fewer at the end; empty lanes hash what was there before.
#[inline(always)]
fn hash_group<S: Simd>(simd: S, group: &[u8], stride: usize, hashes: &mut Vec<Hash>) {
    let count = group.len() / stride;
    let mut state = INITIAL.map(|word| simd.splat_u32s(word));
    let mut words = [simd.splat_u32s(0); 16];
    for block in 0..stride / BLOCK {
        for (lane, message) in group.chunks_exact(stride).enumerate() {
            let bytes: &[u8; BLOCK] = message[block * BLOCK..]
                .first_chunk()
                .expect("the stride is made of blocks");
            for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
                cast_slice_mut(std::slice::from_mut(word))[lane] = u32::from_be_bytes(*bytes);
            }
        }
        compress(simd, &mut state, words);
    }
    for lane in 0..count {
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(&state) {
            *bytes = cast_slice::<_, u32>(std::slice::from_ref(word))[lane].to_be_bytes();
        }
        hashes.push(Hash(hash));
    }
}

// Functions, not closures: only what is inlined into the one that knows the registers uses them.

#[inline(always)]
fn xor3<S: Simd>(simd: S, a: S::u32s, b: S::u32s, c: S::u32s) -> S::u32s {
    simd.xor_u32s(simd.xor_u32s(a, b), c)
}

#[inline(always)]
fn shift<S: Simd>(simd: S, a: S::u32s, by: u32) -> S::u32s {
    simd.wrapping_dyn_shr_u32s(a, simd.splat_u32s(by))
}

#[inline(always)]
fn rotate<S: Simd>(simd: S, a: S::u32s, by: u32) -> S::u32s {
    simd.or_u32s(
        shift(simd, a, by),
        simd.wrapping_dyn_shl_u32s(a, simd.splat_u32s(32 - by)),
    )
}

/// The exclusive or of three rotations to the right.
#[inline(always)]
fn rotations<S: Simd>(simd: S, a: S::u32s, by: [u32; 3]) -> S::u32s {
    xor3(
        simd,
        rotate(simd, a, by[0]),
        rotate(simd, a, by[1]),
        rotate(simd, a, by[2]),
    )
}

/// FIPS 180-4 §6.2.2 step 3, in every lane at once.
#[inline(always)]
fn round<S: Simd>(simd: S, state: [S::u32s; 8], word: S::u32s, constant: u32) -> [S::u32s; 8] {
    let [a, b, c, d, e, f, g, h] = state;
    let choice = simd.xor_u32s(g, simd.and_u32s(e, simd.xor_u32s(f, g)));
    let majority = simd.xor_u32s(simd.and_u32s(a, b), simd.and_u32s(c, simd.xor_u32s(a, b)));
    let input = simd.add_u32s(
        simd.add_u32s(word, simd.splat_u32s(constant)),
        simd.add_u32s(h, choice),
    );
    let one = simd.add_u32s(input, rotations(simd, e, [6, 11, 25]));
    let two = simd.add_u32s(rotations(simd, a, [2, 13, 22]), majority);
    [simd.add_u32s(one, two), a, b, c, simd.add_u32s(d, one), e, f, g]
}

/// FIPS 180-4 §6.2.2 step 1: the word that takes the place of the one 16 rounds before.
#[inline(always)]
fn next_word<S: Simd>(simd: S, words: &[S::u32s; 16], at: usize) -> S::u32s {
    let (early, late) = (words[(at + 1) % 16], words[(at + 14) % 16]);
    let early = xor3(
        simd,
        rotate(simd, early, 7),
        rotate(simd, early, 18),
        shift(simd, early, 3),
    );
    let late = xor3(
        simd,
        rotate(simd, late, 17),
        rotate(simd, late, 19),
        shift(simd, late, 10),
    );
    simd.add_u32s(
        simd.add_u32s(words[at], early),
        simd.add_u32s(words[(at + 9) % 16], late),
    )
}

/// FIPS 180-4 §6.2.2, in every lane at once.
#[inline(always)]
fn compress<S: Simd>(simd: S, state: &mut [S::u32s; 8], mut words: [S::u32s; 16]) {
    let mut now = *state;
    let (first, later) = ROUNDS.split_at(16);
    for at in 0..16 {
        now = round(simd, now, words[at], first[at]);
    }
    for constants in later.as_chunks::<16>().0 {
        for at in 0..16 {
            words[at] = next_word(simd, &words, at);
            now = round(simd, now, words[at], constants[at]);
        }
    }
    for (old, new) in state.iter_mut().zip(now) {
        *old = simd.add_u32s(*old, new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lane_and_length_is_as_sha2_says() {
        for length in [0, 1, 32, 55, 56, 63, 64, 65, 82, 119, 120, 128, 500] {
            for count in [0, 1, 3, 4, 7, 8, 9, 16, 17, 33] {
                let mut messages = Messages::new(length, count);
                for number in 0..count {
                    let byte = |at: usize| u8::try_from((at * 31 + number * 7 + length) % 256).unwrap();
                    let message: Vec<u8> = (0..length).map(byte).collect();
                    messages.push(&[&message[..length / 2], &message[length / 2..]]);
                }
                assert_eq!(
                    Arch::new().dispatch(SideBySide(&messages)),
                    messages.one_by_one(),
                    "{count} of {length}"
                );
                assert_eq!(messages.hash(), messages.one_by_one());
            }
        }
    }
}
