//! Where a delivered message stands, in its stream and among its consumer's deliveries.
//!
//! In scope: reading the reply address. Out of scope: what follows from it ([`super::puller`]). Trust: none needed.

/// Where a message stands, as the reply address of a delivery tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) consumer: &'a str,
    /// In the stream.
    pub(super) seq: u64,
    /// Among this consumer's deliveries, from 1.
    pub(super) delivery: u64,
    /// How many are behind it.
    pub(super) pending: u64,
}

impl<'a> Place<'a> {
    /// `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<tries>.<seq>.<delivery>.<time>.<pending>[.…]`
    ///
    /// Spec: NATS architecture ADR-15.
    pub(super) fn parse(reply: &'a str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let at = if tokens.len() == 7 { 0 } else { 2 };
        let number = |place: usize| tokens.get(at + place)?.parse().ok();
        Some(Self {
            consumer: tokens.get(at + 1).copied()?,
            seq: number(3)?,
            delivery: number(4)?,
            pending: number(6)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_tells_its_place_in_both_forms() {
        let short = Place::parse("$JS.ACK.ledger_l_0_1.c1.1.40.3.1795301354313587988.9");
        let long = Place::parse("$JS.ACK._.hash.ledger_l_0_1.c1.1.40.3.1795301354313587988.9.token");
        assert_eq!(short, long);
        let place = short.unwrap();
        assert_eq!(
            (place.consumer, place.seq, place.delivery, place.pending),
            ("c1", 40, 3, 9)
        );
        for wrong in ["", "_INBOX.a", "$JS.ACK.a.b.c", "$JS.ACK.s.c.1.x.3.4.5"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
