//! The certificate of an erasure: that the operator put on record that a customer was erased.
//!
//! In scope: the label with its proof, the erasure entry with its paths, the operator's keys, the customer map. Out of
//! scope: the file's form and every check of it ([`sharetrail_proof::dossier`]), and erasing.
//!
//! Trust: none is asked for; a certificate that was put together from wrong parts does not verify. It shows what was
//! declared; nobody can show that no copy of a content exists.

use sharetrail_ledger::{Ledger, Vault};
use sharetrail_proof::dossier::Certificate;
use sharetrail_proof::entry::ERASURE;

use crate::dossier::Gathering;
use crate::error::ConsumerError;
use crate::logs::{Past, with_level_index};
use crate::opening::Opener;
use crate::projection::Projections;

/// The certificate of the erasure that ended a generation of a customer.
///
/// # Errors
/// [`ConsumerError::NotErased`] if none is on record; [`ConsumerError::NotCovered`] if the last customer map is older.
pub fn certificate(
    ledger: &Ledger,
    projections: &Projections,
    vault: &Vault,
    customer: &str,
    generation: u32,
) -> Result<Certificate, ConsumerError> {
    with_level_index(projections, |_| {
        let mut gathering = Gathering::new(ledger, projections, customer)?;
        let label = vault.label(customer, generation);
        let shard = label.shard(ledger.shards());
        let past = Past {
            generation,
            label,
            shard,
            // The entry is clear; nothing is opened.
            key: None,
            leaves: projections.leaves_on(shard, &label)?,
        };
        let Some(erasure) = past.leaves.iter().find(|leaf| leaf.kind == ERASURE) else {
            let customer = customer.to_owned();
            return Err(ConsumerError::NotErased { customer, generation });
        };
        let covered = gathering.covered(shard)?;
        if erasure.index.0 >= covered {
            let index = erasure.index.0;
            return Err(ConsumerError::NotCovered {
                shard,
                index,
                covered,
            });
        }
        gathering.shard(shard)?;
        gathering.label(vault, &past)?;
        gathering.leaf(&past, erasure, &mut Opener::new(customer, &past))?;
        gathering.parties()?;
        Ok(gathering.builder.certificate())
    })
}
