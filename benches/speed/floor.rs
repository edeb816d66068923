//! The floor of recording: the same bytes validated, hashed, sealed and written one after the other, one sync a batch.
//!
//! In scope: nothing that a promise costs: no chain, no repeats, no log, no checkpoint. Out of scope: comparing.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, anyhow};
use sharetrail_proof::batch::MAX_BATCH_ENTRIES;
use sharetrail_proof::customer::{CustomerKey, Sealer, commitment, prove_label, verify_label};
use sharetrail_proof::entry::EventEntry;
use sharetrail_proof::hash::LeafHash;
use sharetrail_proof::name::{Label, Name};
use sharetrail_proof::note::NoteSigner;
use sharetrail_proof::tree::root_of;
use sharetrail_proof::vrf::VrfSecretKey;
use sharetrail_schemas::{Timestamp, parse};

use crate::input::Input;

/// Customers and keys, as far as they are known.
pub(crate) struct Floor {
    ledger: Name,
    producer: Name,
    vrf: VrfSecretKey,
    customers: HashMap<String, (Label, Sealer)>,
}

impl Floor {
    pub(crate) fn new() -> Result<Self> {
        let (ledger, producer) = (Name::new("shop.example")?, Name::new("till")?);
        Ok(Self {
            ledger,
            producer,
            vrf: VrfSecretKey::from_seed(&[7; 32]),
            customers: HashMap::new(),
        })
    }

    /// Events per second; customers that were met before cost no label.
    pub(crate) fn run(&mut self, input: &Input, path: &Path) -> Result<f64> {
        let (mut file, signer) = (File::create(path)?, NoteSigner::from_seed("till", &[9; 32])?);
        let began = Instant::now();
        for batch in input.contents.chunks(MAX_BATCH_ENTRIES) {
            let (mut bytes, mut leaves) = (Vec::new(), Vec::with_capacity(batch.len()));
            for content in batch {
                let entry = self.event(content, &mut bytes)?;
                leaves.push(LeafHash::of(&entry));
                bytes.extend(entry);
            }
            let text = format!("batch\n{}\n{}\n", leaves.len(), root_of(&leaves));
            bytes.extend(signer.sign(&text).into_bytes());
            file.write_all(&bytes)?;
            file.sync_data()?;
        }
        Ok(per_second(input.len(), began))
    }

    fn event(&mut self, content: &[u8], out: &mut Vec<u8>) -> Result<[u8; 81]> {
        let parsed = parse(content, Timestamp::from_unix(4_000_000_000))?;
        if !self.customers.contains_key(parsed.customer()) {
            self.meet(parsed.customer())?;
        }
        let (label, sealer) = &self.customers[parsed.customer()];
        let mut random = [0; 56];
        getrandom::fill(&mut random).map_err(|error| anyhow!("{error}"))?;
        let (opening, nonce) = random.split_first_chunk::<32>().expect("56 bytes");
        let nonce = nonce.first_chunk::<24>().expect("56 bytes");
        let id = sealer.entry_id(parsed.source(), parsed.id());
        let entry = EventEntry {
            id,
            label: *label,
            commitment: commitment(opening, content),
        }
        .to_bytes();
        sealer.seal(&entry, opening, content, nonce, out);
        Ok(entry)
    }

    fn meet(&mut self, customer: &str) -> Result<()> {
        let (label, proof) = prove_label(&self.vrf, &self.ledger, customer, 0);
        verify_label(&self.vrf.public(), &self.ledger, customer, 0, &proof)?;
        let sealer = CustomerKey([3; 32]).for_producer(&self.producer).sealer();
        self.customers.insert(customer.to_owned(), (label, sealer));
        Ok(())
    }
}

pub(crate) fn per_second(count: u64, began: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let count = count as f64;
    count / began.elapsed().as_secs_f64()
}
