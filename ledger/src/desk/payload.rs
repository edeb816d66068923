//! What stands inside the encryption between a producer and the vault.
//!
//! ```text
//! customers   u16 count ‖ per customer: u8 whether a proof is wanted ‖ u16 length ‖ customer id
//! answer      u8 0 ‖ u16 seconds of the lease ‖ u16 count ‖ per customer: u32 generation ‖ 32 label ‖ 32 producer key ‖
//!             u8 whether a proof follows ‖ 80 proof
//!             u8 1 (refused) or 2 (not now) ‖ UTF-8 reason
//! ```
//! In scope: these bytes, parsed strictly: one way of writing each. Out of scope: encryption. Trust: whoever has the
//! secret wrote them, and may have written anything.

use std::time::Duration;

use sharetrail_proof::customer::{MAX_CUSTOMER_BYTES, ProducerKey};
use sharetrail_proof::name::Label;
use sharetrail_proof::vrf::VrfProof;
use zeroize::Zeroizing;

use crate::vault::{Grant, Wanted};

/// The most customers of one request.
pub(crate) const MAX_CUSTOMERS: usize = 1_024;
/// The most bytes of a reason.
const MAX_REASON_BYTES: usize = 1_024;
const GRANT_BYTES: usize = 4 + 32 + 32 + 1 + 80;
const GRANTED: u8 = 0;
const REFUSED: u8 = 1;
const NOT_NOW: u8 = 2;

/// What the vault answers.
pub(crate) enum Answer {
    /// Labels and keys, for as long as the lease lasts.
    Granted { lease: Duration, grants: Vec<Grant> },
    /// It will not.
    Refused(String),
    /// It cannot now; asking again may help.
    NotNow(String),
}

/// Bytes that are taken off piece by piece.
pub(super) struct Parts<'a>(pub(super) &'a [u8]);

impl<'a> Parts<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// A request's payload; none where there are too many customers or none, or one whose id is too long or empty.
pub(crate) fn encode_customers(wanted: &[Wanted<'_>]) -> Option<Zeroizing<Vec<u8>>> {
    let total: usize = wanted.iter().map(|ask| ask.customer.len() + 3).sum();
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 + total));
    let count = u16::try_from(wanted.len()).ok();
    let count = count.filter(|&count| (1..=MAX_CUSTOMERS).contains(&usize::from(count)))?;
    bytes.extend(count.to_be_bytes());
    for ask in wanted {
        if !(1..=MAX_CUSTOMER_BYTES).contains(&ask.customer.len()) {
            return None;
        }
        bytes.push(u8::from(ask.prove));
        bytes.extend(u16::try_from(ask.customer.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(ask.customer.as_bytes());
    }
    Some(bytes)
}

/// Reads a request's payload.
pub(super) fn parse_customers(bytes: &[u8]) -> Option<Vec<Wanted<'_>>> {
    let mut parts = Parts(bytes);
    let count = usize::from(parts.u16()?);
    if !(1..=MAX_CUSTOMERS).contains(&count) {
        return None;
    }
    let mut wanted = Vec::with_capacity(count);
    for _ in 0..count {
        let prove = parts.flag()?;
        let length = usize::from(parts.u16()?);
        if !(1..=MAX_CUSTOMER_BYTES).contains(&length) {
            return None;
        }
        let customer = std::str::from_utf8(parts.take(length)?).ok()?;
        wanted.push(Wanted { customer, prove });
    }
    parts.end()?;
    Some(wanted)
}

/// A reply's payload.
pub(super) fn encode_answer(answer: &Answer) -> Zeroizing<Vec<u8>> {
    let text = |status, reason: &str| {
        let end = reason.floor_char_boundary(MAX_REASON_BYTES);
        Zeroizing::new([&[status][..], &reason.as_bytes()[..end]].concat())
    };
    let (lease, grants) = match answer {
        Answer::Granted { lease, grants } => (lease, grants),
        Answer::Refused(reason) => return text(REFUSED, reason),
        Answer::NotNow(reason) => return text(NOT_NOW, reason),
    };
    // The whole room at once: a buffer that moves would leave keys behind in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(5 + grants.len() * GRANT_BYTES));
    bytes.push(GRANTED);
    bytes.extend(u16::try_from(lease.as_secs()).unwrap_or(u16::MAX).to_be_bytes());
    let count = u16::try_from(grants.len()).expect("a request names at most 1,024 customers");
    bytes.extend(count.to_be_bytes());
    for grant in grants {
        bytes.extend(grant.generation.to_be_bytes());
        bytes.extend_from_slice(&grant.label.0);
        bytes.extend_from_slice(&grant.key.0);
        bytes.push(u8::from(grant.proof.is_some()));
        if let Some(proof) = &grant.proof {
            bytes.extend_from_slice(proof.bytes());
        }
    }
    bytes
}

/// Reads a reply's payload.
pub(crate) fn parse_answer(bytes: &[u8]) -> Option<Answer> {
    let mut parts = Parts(bytes);
    let status = parts.u8()?;
    if status != GRANTED {
        let reason = std::str::from_utf8(parts.0)
            .ok()
            .filter(|text| text.len() <= MAX_REASON_BYTES)?;
        return match status {
            REFUSED => Some(Answer::Refused(reason.to_owned())),
            NOT_NOW => Some(Answer::NotNow(reason.to_owned())),
            _ => None,
        };
    }
    let lease = Duration::from_secs(parts.u16()?.into());
    let count = usize::from(parts.u16()?);
    if count > MAX_CUSTOMERS {
        return None;
    }
    let mut grants = Vec::with_capacity(count);
    for _ in 0..count {
        let (generation, label) = (parts.u32()?, Label(parts.array()?));
        let key = ProducerKey(parts.array()?);
        let proof = if parts.flag()? {
            Some(VrfProof::parse(parts.take(80)?).ok()?)
        } else {
            None
        };
        grants.push(Grant {
            generation,
            label,
            key,
            proof,
        });
    }
    parts.end()?;
    Some(Answer::Granted { lease, grants })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(customer: &str) -> Wanted<'_> {
        Wanted {
            customer,
            prove: customer.len().is_multiple_of(2),
        }
    }

    #[test]
    fn customers_read_back_and_no_shorter_or_longer_bytes_do() {
        let long = "x".repeat(MAX_CUSTOMER_BYTES);
        let all = [wanted("a"), wanted("bé"), wanted(&long)];
        let bytes = encode_customers(&all).unwrap();
        let read = parse_customers(&bytes).unwrap();
        let plain = |all: &[Wanted<'_>]| {
            all.iter()
                .map(|ask| (ask.customer.to_owned(), ask.prove))
                .collect::<Vec<_>>()
        };
        assert_eq!(plain(&read), plain(&all));
        for length in 0..bytes.len() {
            assert!(parse_customers(&bytes[..length]).is_none());
        }
        assert!(parse_customers(&[&bytes[..], &[0]].concat()).is_none());
    }

    #[test]
    fn too_many_customers_or_none_or_too_long_ones_are_refused_at_both_ends() {
        let (long, many) = (
            "x".repeat(MAX_CUSTOMER_BYTES + 1),
            vec![wanted("a"); MAX_CUSTOMERS + 1],
        );
        for bad in [&[][..], &[wanted(&long)], &[wanted("")], &many[..]] {
            assert!(encode_customers(bad).is_none());
        }
        let customer = |length: u16| {
            let id = vec![b'x'; length.into()];
            [&[0][..], &length.to_be_bytes(), &id[..]].concat()
        };
        let request = |count: u16, customer: &[u8]| {
            [&count.to_be_bytes()[..], &customer.repeat(count.into())[..]].concat()
        };
        assert!(parse_customers(&request(1_024, &customer(1))).is_some());
        for bad in [
            request(0, &[]),
            request(1_025, &customer(1)),
            request(1, &customer(0)),
            request(1, &customer(257)),
        ] {
            assert!(parse_customers(&bad).is_none());
        }
        assert!(parse_customers(&[0, 1, 2, 0, 1, b'x']).is_none());
        assert!(parse_customers(&[0, 1, 0, 0, 1, 0xff]).is_none());
    }

    #[test]
    fn answers_read_back_and_no_shorter_or_longer_bytes_do() {
        let grant = |proof| Grant {
            generation: 7,
            label: Label([1; 32]),
            key: ProducerKey([2; 32]),
            proof,
        };
        let proof = VrfProof::parse(&[3; 80]).unwrap();
        let answer = Answer::Granted {
            lease: Duration::from_mins(1),
            grants: vec![grant(None), grant(Some(proof))],
        };
        let bytes = encode_answer(&answer);
        let Some(Answer::Granted { lease, grants }) = parse_answer(&bytes) else {
            panic!("a grant was encoded");
        };
        assert_eq!((lease, grants.len()), (Duration::from_mins(1), 2));
        assert!(grants[0].proof.is_none() && grants[1].proof == Some(proof));
        assert!(grants.iter().all(|grant| grant.key.0 == [2; 32]));
        for length in 0..bytes.len() {
            assert!(parse_answer(&bytes[..length]).is_none());
        }
        assert!(parse_answer(&[&bytes[..], &[0]].concat()).is_none());
        let refused = encode_answer(&Answer::Refused("é".repeat(MAX_REASON_BYTES)));
        assert!(matches!(parse_answer(&refused), Some(Answer::Refused(reason)) if reason.len() == 1_024));
        assert!(parse_answer(&[3]).is_none());
    }
}
