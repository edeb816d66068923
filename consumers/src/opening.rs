//! Opening the sealed contents of one generation of a customer.
//!
//! In scope: which key, whether the content fits its entry's commitment and is about the customer, what to say where
//! there is nothing to open, and whose a label is. Out of scope: what the content says besides.
//! Trust: the vault's key; a sealed content is untrusted until it opens, and its content until the commitment
//! holds.

use std::collections::HashMap;

use serde::Deserialize;
use sharetrail_ledger::{Ledger, Vault};
use sharetrail_proof::customer::{CustomerKey, Sealer};
use sharetrail_proof::entry::{ERASURE, EVENT, Entry, EventEntry};
use sharetrail_proof::name::{Label, Name};

use crate::error::ConsumerError;
use crate::logs::{Logs, Past, pasts};
use crate::projection::{LeafRef, Projections};

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
    whom(json).is_some_and(|found| found == customer)
}

/// Whom a content is about, by its own word.
fn whom(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct About {
        #[serde(rename = "subject")]
        customer: String,
    }
    serde_json::from_str(json).ok().map(|about: About| about.customer)
}

/// The customer whose label this is: a content under it says who, and the label must be that customer's.
///
/// # Errors
/// [`ConsumerError::Label`] if the log has no such label, or if no content under it opens.
pub fn customer_of(
    ledger: &Ledger,
    projections: &Projections,
    vault: &Vault,
    label: &Label,
) -> Result<String, ConsumerError> {
    projections.with_sound_index(|| {
        let leaves = projections.leaves_on(label.shard(ledger.shards()), label)?;
        let mut logs = Logs::new(ledger);
        for at in leaves.iter().filter(|leaf| leaf.kind == EVENT) {
            let Some(customer) = named_by(vault, &mut logs, label, at)? else {
                continue;
            };
            let known = pasts(ledger, projections, vault, &customer)?;
            if known.iter().any(|past| past.label == *label) {
                return Ok(customer);
            }
        }
        Err(ConsumerError::Label {
            label: *label,
            reason: nameless(&leaves),
        })
    })
}

/// The customer whom the content of one event names, if it opens.
fn named_by(
    vault: &Vault,
    logs: &mut Logs<'_>,
    label: &Label,
    at: &LeafRef,
) -> Result<Option<String>, ConsumerError> {
    let log = logs.log(at.shard)?;
    let leaf = log.leaf(at, label)?;
    let batch = log.batch_of(at)?;
    let (Ok(Entry::Event(event)), Some(key)) = (
        Entry::parse(&leaf.entry),
        vault.producer_key(label, &batch.batch.producer)?,
    ) else {
        return Ok(None);
    };
    let opened = key.sealer().open(&event, &leaf.sealed).ok();
    let json = opened.and_then(|opened| String::from_utf8(opened.content).ok());
    Ok(json.and_then(|json| whom(&json)))
}

/// Why nobody can say whose a label is that has these leaves.
fn nameless(leaves: &[LeafRef]) -> &'static str {
    let has = |kind: u8| leaves.iter().any(|leaf| leaf.kind == kind);
    if leaves.is_empty() {
        "the log has no leaf of it; check the spelling"
    } else if has(ERASURE) {
        "its customer was erased, and nothing opens that would say whose it was; name the customer instead"
    } else if has(EVENT) {
        "no content under it opens and names its customer; name the customer instead"
    } else {
        "it is that of a party in the registry, not of a customer"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sharetrail_proof::customer::commitment;
    use sharetrail_proof::hash::LeafIndex;

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

    /// The fault: whoever asks for the dossier of a label is sent away with the wrong advice.
    #[test]
    fn why_a_label_has_no_name_depends_on_its_leaves() {
        let leaf = |kind| LeafRef {
            shard: 0,
            index: LeafIndex(9),
            position: 0,
            kind,
        };
        let registry = sharetrail_proof::entry::REGISTRY;
        let told = [
            nameless(&[]),
            nameless(&[leaf(EVENT), leaf(ERASURE)]),
            nameless(&[leaf(EVENT)]),
            nameless(&[leaf(registry)]),
        ];
        let distinct: std::collections::BTreeSet<&str> = told.into_iter().collect();
        assert_eq!(distinct.len(), told.len());
    }
}
