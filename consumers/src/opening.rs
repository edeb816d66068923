//! Opening the sealed contents of one generation of a customer.
//!
//! In scope: which key, whether the content fits its entry's commitment and is about the customer, and what
//! to say where there is nothing to open. Out of scope: what the content says.
//! Trust: the vault's key; a sealed content is untrusted until it opens, and its content until the commitment
//! holds.

use std::collections::HashMap;

use serde::Deserialize;
use sharetrail_proof::customer::{CustomerKey, Sealer};
use sharetrail_proof::entry::EventEntry;
use sharetrail_proof::name::Name;

use crate::logs::Past;

/// A content, or why there is none.
pub(crate) enum Reading {
    /// The content that the entry commits to, about this customer.
    Opened {
        /// The opening of the commitment.
        opening: [u8; 32],
        /// The event's JSON, byte for byte.
        json: String,
    },
    /// The label has an erasure entry.
    Erased,
    /// Nothing was erased, and yet it does not open: a fault.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// Opens contents under one label. What is erased is not opened, even while its key still waits to be
/// destroyed.
pub(crate) struct Opener<'a> {
    customer: &'a str,
    key: Option<&'a CustomerKey>,
    is_erased: bool,
    sealers: HashMap<Name, Sealer>,
}

impl<'a> Opener<'a> {
    /// For one generation of the customer.
    pub(crate) fn new(customer: &'a str, past: &'a Past) -> Self {
        let is_erased = past.erasure().is_some();
        Self {
            customer,
            key: past.key.as_ref(),
            is_erased,
            sealers: HashMap::new(),
        }
    }

    /// Opens the content of `entry`, which `producer` sealed.
    pub(crate) fn open(&mut self, producer: &Name, entry: &EventEntry, sealed: &[u8]) -> Reading {
        if self.is_erased {
            return Reading::Erased;
        }
        let opened = self.try_open(producer, entry, sealed);
        opened.unwrap_or_else(|reason| Reading::Unreadable { reason })
    }

    fn try_open(&mut self, producer: &Name, entry: &EventEntry, sealed: &[u8]) -> Result<Reading, String> {
        let key = self
            .key
            .ok_or("the customer's key is gone, and no erasure is on record")?;
        let sealer = self
            .sealers
            .entry(producer.clone())
            .or_insert_with(|| key.for_producer(producer).sealer());
        let opened = sealer.open(entry, sealed).map_err(|error| error.to_string())?;
        let json = String::from_utf8(opened.content).map_err(|_| "the content is not UTF-8")?;
        // A content about somebody else is theirs: neither the trail nor the dossier of this customer shows
        // it.
        if !is_about(self.customer, &json) {
            return Err("the content is not about this customer".to_owned());
        }
        Ok(Reading::Opened {
            opening: opened.opening,
            json,
        })
    }
}

fn is_about(customer: &str, json: &str) -> bool {
    #[derive(Deserialize)]
    struct About {
        #[serde(rename = "subject")]
        customer: String,
    }
    serde_json::from_str::<About>(json).is_ok_and(|about| about.customer == customer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sharetrail_proof::customer::commitment;
    use sharetrail_proof::entry::ERASURE;
    use sharetrail_proof::hash::LeafIndex;
    use sharetrail_proof::name::Label;

    use crate::projection::LeafRef;

    const JSON: &str = r#"{"subject":"customer-42"}"#;

    fn past(key: Option<CustomerKey>, leaves: Vec<LeafRef>) -> Past {
        Past {
            generation: 0,
            label: Label([1; 32]),
            shard: 0,
            key,
            leaves,
        }
    }

    fn sealed(key: &CustomerKey, producer: &Name, json: &str) -> (EventEntry, Vec<u8>) {
        let sealer = key.for_producer(producer).sealer();
        let opening = [7; 32];
        let commitment = commitment(&opening, json.as_bytes());
        let entry = EventEntry {
            id: sealer.entry_id("/shop", "1"),
            label: Label([1; 32]),
            commitment,
        };
        let mut out = Vec::new();
        sealer.seal(&entry.to_bytes(), &opening, json.as_bytes(), &[3; 24], &mut out);
        (entry, out)
    }

    #[test]
    fn what_the_producer_sealed_opens() {
        let (key, producer) = (CustomerKey([5; 32]), Name::new("till").unwrap());
        let (entry, bytes) = sealed(&key, &producer, JSON);
        let past = past(Some(key), Vec::new());
        let mut opener = Opener::new("customer-42", &past);
        let Reading::Opened { opening, json } = opener.open(&producer, &entry, &bytes) else {
            panic!("not opened")
        };
        assert_eq!((opening, json.as_str()), ([7; 32], JSON));
        let other = Name::new("web").unwrap();
        assert!(matches!(
            opener.open(&other, &entry, &bytes),
            Reading::Unreadable { .. }
        ));
        assert!(matches!(
            opener.open(&producer, &entry, &[]),
            Reading::Unreadable { .. }
        ));
    }

    #[test]
    fn a_content_about_somebody_else_is_not_shown() {
        let (key, producer) = (CustomerKey([5; 32]), Name::new("till").unwrap());
        for json in [r#"{"subject":"customer-43"}"#, "{}", "[]"] {
            let (entry, bytes) = sealed(&key, &producer, json);
            let past = past(Some(key.clone()), Vec::new());
            let reading = Opener::new("customer-42", &past).open(&producer, &entry, &bytes);
            assert!(matches!(reading, Reading::Unreadable { .. }), "{json}");
        }
    }

    #[test]
    fn erased_is_said_only_where_an_erasure_is_on_record() {
        let (key, producer) = (CustomerKey([5; 32]), Name::new("till").unwrap());
        let (entry, bytes) = sealed(&key, &producer, JSON);
        let erasure = LeafRef {
            shard: 0,
            index: LeafIndex(9),
            position: 0,
            kind: ERASURE,
        };
        for key in [None, Some(key)] {
            let past = past(key, vec![erasure]);
            let reading = Opener::new("customer-42", &past).open(&producer, &entry, &bytes);
            assert!(matches!(reading, Reading::Erased));
        }
        let past = past(None, Vec::new());
        let reading = Opener::new("customer-42", &past).open(&producer, &entry, &bytes);
        assert!(matches!(reading, Reading::Unreadable { .. }));
    }
}
