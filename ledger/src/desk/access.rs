//! A producer's end of the way to the vault.
//!
//! In scope: making requests, reading replies, checking labels that are new to this process against their proofs. Out of
//! scope: carrying them (the bus). Trust: a reply that opens is the vault's; a label counts once its proof showed that it
//! is the customer's, so that not even the vault can put one customer's events under another's label.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sharetrail_proof::customer::verify_label;
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{Label, Name};
use sharetrail_proof::note::KeyId;

use super::payload::{self, Answer};
use super::seal::{Asked, Channel};
use super::{DENIED, NOT_NOW};
use crate::error::LedgerError;
use crate::facts::Facts;
use crate::vault::{Leased, SharedSecret, Wanted};

/// Labels that are remembered as proved; past that, all are proved anew.
const PROVED_MAX: usize = 1 << 20;

/// What a producer asks the vault with.
pub struct Access {
    facts: Arc<Facts>,
    channel: Channel,
    /// Proved labels by half of the hash of the customer's id.
    proved: Mutex<HashMap<u128, Label>>,
}

impl Access {
    /// The access of a producer whose signing key has this id.
    pub fn new(facts: &Arc<Facts>, producer: &Name, key: KeyId, secret: &SharedSecret) -> Self {
        Self {
            facts: Arc::clone(facts),
            channel: Channel::of_producer(secret, &facts.id, producer, key),
            proved: Mutex::new(HashMap::new()),
        }
    }

    /// A request for the keys of 1 to 1,024 customers.
    pub fn ask(&self, customers: &[&str]) -> Result<Asked, LedgerError> {
        let wanted: Vec<_> = {
            let proved = self.proved.lock().unwrap_or_else(PoisonError::into_inner);
            let ask = |&customer| Wanted {
                customer,
                prove: !proved.contains_key(&short(customer)),
            };
            customers.iter().map(ask).collect()
        };
        let payload = payload::encode_customers(&wanted).ok_or_else(|| {
            let text = "the vault is asked for 1 to 1,024 customers with ids of 1 to 256 bytes at once";
            LedgerError::Invalid(text.into())
        })?;
        self.channel.ask(&payload)
    }

    /// What the vault granted. Its labels were checked, so the grants carry no proofs. `since`: when the request was
    /// sent, which is when the lease begins.
    ///
    /// # Errors
    /// [`LedgerError::Denied`] where the vault refuses; [`LedgerError::Bus`] where it cannot answer now, or the reply
    /// answers another request or was altered, or a customer's label is another than before and must be proved: asking
    /// again may help. [`LedgerError::Vault`] where a label does not have its proof.
    pub fn read(
        &self,
        asked: &Asked,
        customers: &[&str],
        reply: &[u8],
        since: Instant,
    ) -> Result<Leased, LedgerError> {
        match reply {
            [DENIED] => {
                let text = "the vault does not know this access; a key that was rotated or revoked takes its access \
                            along. Enrol the producer again";
                return Err(LedgerError::Denied(text.into()));
            }
            [NOT_NOW] => return Err(LedgerError::Bus("the vault cannot answer now".into())),
            _ => {}
        }
        let altered = || LedgerError::Bus("the vault's reply does not open".into());
        let payload = self.channel.open_reply(asked, reply).ok_or_else(altered)?;
        let (lease, mut grants) = match payload::parse_answer(&payload).ok_or_else(altered)? {
            Answer::Granted { lease, grants } => (lease, grants),
            Answer::Refused(reason) => return Err(LedgerError::Denied(reason)),
            Answer::NotNow(reason) => return Err(LedgerError::Bus(reason)),
        };
        if grants.len() != customers.len() {
            return Err(LedgerError::Vault(
                "the vault answered for another number of customers".into(),
            ));
        }
        for (customer, grant) in customers.iter().zip(&mut grants) {
            let Some(proof) = grant.proof.take() else {
                self.same_label(customer, &grant.label)?;
                continue;
            };
            let vrf = &self.facts.genesis[0].vrf;
            let proved = verify_label(vrf, &self.facts.name, customer, grant.generation, &proof);
            if proved != Ok(grant.label) {
                return Err(LedgerError::Vault(
                    "a label from the vault does not have its proof".into(),
                ));
            }
            self.remember(customer, grant.label);
        }
        Ok(Leased {
            grants,
            until: Some(since + lease),
        })
    }

    /// A label without a proof must be the one that was proved; where it is not, the customer was erased since then.
    fn same_label(&self, customer: &str, label: &Label) -> Result<(), LedgerError> {
        let mut proved = self.proved.lock().unwrap_or_else(PoisonError::into_inner);
        if proved.get(&short(customer)) == Some(label) {
            return Ok(());
        }
        proved.remove(&short(customer));
        Err(LedgerError::Bus(
            "a customer's label is another than before, without its proof".into(),
        ))
    }

    fn remember(&self, customer: &str, label: Label) {
        let mut proved = self.proved.lock().unwrap_or_else(PoisonError::into_inner);
        if proved.len() >= PROVED_MAX {
            proved.clear();
        }
        proved.insert(short(customer), label);
    }
}

fn short(customer: &str) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&Hash::of(&[customer.as_bytes()]).0[..16]);
    u128::from_be_bytes(half)
}
