//! Names on the bus: bus subjects, streams, the bucket and its keys.
//!
//! In scope: making them, and reading the producer back. Out of scope: what is sent there. Trust: a name that comes from
//! the bus is checked before it counts.
//!
//! Names of ledgers, producers and hosts never hold `_`, so writing `_` for `.` loses nothing.

use sharetrail_proof::name::Name;

/// The name as one token of a bus subject.
pub fn escaped(name: &Name) -> String {
    name.as_str().replace('.', "_")
}

/// The name behind a token; nothing where it is none.
pub fn unescaped(token: &str) -> Option<Name> {
    if token.contains('.') {
        return None;
    }
    Name::new(&token.replace('_', ".")).ok()
}

/// What a ledger's things are called on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusNames {
    ledger: String,
}

impl BusNames {
    /// The names of a ledger.
    pub fn new(ledger: &Name) -> Self {
        Self {
            ledger: escaped(ledger),
        }
    }

    /// Where a producer's frames for a shard go.
    pub fn frames(&self, shard: u32, producer: &Name) -> String {
        format!("ledger.{}.{shard}.{}", self.ledger, escaped(producer))
    }

    /// What the stream of a shard takes in: everybody's frames.
    pub fn all_frames(&self, shard: u32) -> String {
        format!("ledger.{}.{shard}.*", self.ledger)
    }

    /// Where whoever leads a shard tells what is sealed.
    pub fn heads(&self, shard: u32) -> String {
        format!("heads.{}.{shard}", self.ledger)
    }

    /// Where followers of a shard tell which checkpoints their archives hold.
    pub fn held(&self, shard: u32) -> String {
        format!("held.{}.{shard}", self.ledger)
    }

    /// Where followers of all shards tell which checkpoints their archives hold.
    pub fn all_held(&self) -> String {
        format!("held.{}.*", self.ledger)
    }

    /// Where a producer asks for labels and keys.
    pub fn vault(&self, producer: &Name) -> String {
        format!("vault.{}.{}", self.ledger, escaped(producer))
    }

    /// Where all producers ask for labels and keys.
    pub fn all_vault(&self) -> String {
        format!("vault.{}.*", self.ledger)
    }

    /// Where the operator's commands go.
    pub fn control(&self) -> String {
        format!("control.{}", self.ledger)
    }

    /// Where a host takes over slots of the vault.
    pub fn slots(&self, host: &Name) -> String {
        format!("slots.{}.{}", self.ledger, escaped(host))
    }

    /// Whose bus subject it is: the last token of `ledger.…`, `vault.…` or `slots.…`.
    pub fn last(bus_subject: &str) -> Option<Name> {
        unescaped(bus_subject.rsplit('.').next()?)
    }

    /// The inbox prefix of a producer's credentials.
    pub fn producer_inbox(producer: &Name) -> String {
        format!("_INBOX_{}", escaped(producer))
    }

    /// A shard's stream; `number` counts from 1, and one closed is followed by the next.
    pub fn stream(&self, shard: u32, number: u64) -> String {
        format!("ledger_{}_{shard}_{number}", self.ledger)
    }

    /// The number of a shard's stream, if it is one.
    pub fn stream_number(&self, shard: u32, stream: &str) -> Option<u64> {
        let digits = stream.strip_prefix(&format!("ledger_{}_{shard}_", self.ledger))?;
        let number = digits.parse().ok()?;
        (self.stream(shard, number) == stream).then_some(number)
    }

    /// What a closed stream takes in: nobody publishes there.
    pub fn closed(&self, shard: u32, number: u64) -> String {
        format!("closed.{}.{shard}.{number}", self.ledger)
    }

    /// The bucket with the leases, the last checkpoints and the hosts.
    pub fn bucket(&self) -> String {
        format!("sharetrail_{}", self.ledger)
    }

    /// The stream under the bucket.
    pub fn bucket_stream(&self) -> String {
        format!("KV_{}", self.bucket())
    }

    /// Where a key of the bucket is written.
    pub fn bucket_key(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.bucket())
    }

    /// The key with a shard's lease and last checkpoint.
    pub fn shard_key(shard: u32) -> String {
        format!("shard.{shard}")
    }

    /// The key with the moments of a shard's map log.
    pub fn map_key(shard: u32) -> String {
        format!("map-{shard}")
    }

    /// The key with which a host tells that it lives.
    pub fn host_key(host: &Name) -> String {
        format!("host.{}", escaped(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_name_comes_back_from_its_token() {
        for text in ["till", "a.b", "shop-1.example", "0.0", "a--b"] {
            let token = escaped(&name(text));
            assert!(!token.contains('.'));
            assert_eq!(unescaped(&token), Some(name(text)));
        }
        for token in ["", "A", "a.b", "*", "a b", "_"] {
            assert_eq!(unescaped(token), None, "{token:?}");
        }
    }

    #[test]
    fn the_producer_is_the_last_token() {
        let names = BusNames::new(&name("shop.example"));
        assert_eq!(names.frames(3, &name("till.1")), "ledger.shop_example.3.till_1");
        assert_eq!(
            BusNames::last("ledger.shop_example.3.till_1"),
            Some(name("till.1"))
        );
        assert_eq!(BusNames::last("ledger.shop_example.3.TILL"), None);
    }

    #[test]
    fn a_stream_of_another_ledger_or_shard_is_not_taken_for_ours() {
        let names = BusNames::new(&name("shop"));
        assert_eq!(names.stream_number(0, &names.stream(0, 12)), Some(12));
        let longer = BusNames::new(&name("shop.0"));
        let others = [
            names.stream(1, 12),
            longer.stream(0, 1),
            longer.stream(1, 2),
            "ledger_shop_0_".into(),
            "ledger_shop_0_01".into(),
            "ledger_shop_0_+1".into(),
        ];
        for other in others {
            assert_eq!(names.stream_number(0, &other), None, "{other}");
        }
    }
}
