//! Samples of labels that nobody could choose beforehand, and that everybody who knows the seed can draw again.
//!
//! ```text
//! hash i = SHA-256("sharetrail sample v1\n" ‖ seed ‖ "\n" ‖ 32 map root of each shard ‖ u64 i)     i = 0, 1, …
//! rank i = hash i as a big-endian number, modulo the number of labels of all shards
//! ```
//! Ranks count the labels of shard 0 in the order of their bytes, then those of shard 1, and so on; a rank that was drawn
//! before is passed over. In scope: the rule. Out of scope: where the labels are. Trust: none needed.

use std::collections::BTreeSet;

use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{Label, Name};

/// A label of a sample.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Sampled {
    /// The label.
    pub label: Label,
    /// The shard that it lives on.
    pub shard: u32,
    /// How many leaves stand under it.
    pub count: u64,
    /// Its rank among all labels.
    pub rank: u64,
    /// The party, where it is one's label in the registry and not a customer's.
    pub party: Option<Name>,
    /// Whether its erasure is on record: no dossier can be asked for by it.
    pub erased: bool,
}

/// The ranks of a sample, in the order in which they are drawn; all of them where that is asked for.
pub(crate) fn ranks(count: u64, total: u64, seed: &str, roots: &[Hash]) -> Vec<u64> {
    if count >= total {
        return (0..total).collect();
    }
    let roots: Vec<u8> = roots.iter().flat_map(|root| root.0).collect();
    let (mut drawn, mut seen) = (Vec::new(), BTreeSet::new());
    for number in 0_u64.. {
        if drawn.len() as u64 >= count {
            break;
        }
        let rank = rank(total, seed, &roots, number);
        if seen.insert(rank) {
            drawn.push(rank);
        }
    }
    drawn
}

fn rank(total: u64, seed: &str, roots: &[u8], number: u64) -> u64 {
    let head: &[u8] = b"sharetrail sample v1\n";
    let hash = Hash::of(&[head, seed.as_bytes(), b"\n", roots, &number.to_be_bytes()]);
    let remainder = hash.0.iter().fold(0_u128, |rest, byte| {
        (rest * 256 + u128::from(*byte)) % u128::from(total.max(1))
    });
    u64::try_from(remainder).expect("a remainder is smaller than its u64 divisor")
}

/// The name that a drawn sample is kept under.
pub(crate) fn name_of(count: u64, seed: &str) -> Hash {
    Hash::of(&[&count.to_be_bytes(), seed.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_no_repeats_and_depends_on_seed_and_roots() {
        let roots = [Hash([1; 32]), Hash([2; 32])];
        let first = ranks(50, 60, "seed", &roots);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 50);
        assert!(first.iter().all(|rank| *rank < 60));
        assert_eq!(first, ranks(50, 60, "seed", &roots));
        assert_ne!(first, ranks(50, 60, "another", &roots));
        assert_ne!(first, ranks(50, 60, "seed", &roots[..1]));
        assert_eq!(ranks(9, 4, "seed", &roots), [0, 1, 2, 3]);
        assert_eq!(ranks(9, 0, "seed", &roots), [0_u64; 0]);
    }

    /// The rule is a format: who draws the sample with another program gets the same.
    #[test]
    fn the_rank_is_the_whole_hash_modulo_the_number_of_labels() {
        let hash = Hash::of(&[b"sharetrail sample v1\nx\n", &[5; 32], &7_u64.to_be_bytes()]);
        let last = u64::from(hash.0[31]);
        assert_eq!(rank(256, "x", &[5; 32], 7), last);
        assert_eq!(rank(1, "x", &[5; 32], 7), 0);
    }
}
