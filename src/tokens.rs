//! `keys token`, `keys tokens`, `keys untoken`: what services that record over HTTP show.
//!
//! In scope: arguments, the page. Out of scope: how tokens are kept and checked (the HTTP server). Trust: whoever runs this
//! may have events signed in the name of any producer whose key lies here.

use serde_json::json;
use sharetrail_consumers::http::{ServiceToken, ServiceTokens};
use sharetrail_ledger::{Ledger, keys};
use sharetrail_proof::name::Name;

use crate::output::Output;

/// Makes a token and shows it.
pub(crate) fn add(ledger: &Ledger, producer: &Name, name: &str, output: &Output) -> anyhow::Result<()> {
    // Without the producer's key here, everything that the service says would be refused.
    keys::producer_signer(ledger, producer)?;
    let token = ServiceTokens::add(ledger.root(), producer, name)?;
    let summary = json!({ "name": name, "producer": producer, "token": token });
    output.give(&summary, |page| {
        page.holds(&format!(
            "{name}: records for {producer}; the token is shown this once"
        ));
        page.verbatim(2, &token);
    })
}

/// Lists the tokens.
pub(crate) fn list(ledger: &Ledger, output: &Output) -> anyhow::Result<()> {
    let tokens = ServiceTokens::list(ledger.root())?;
    let of = |token: &ServiceToken| json!({ "name": token.name, "producer": token.producer, "made": token.made.to_string() });
    let summary: Vec<_> = tokens.iter().map(of).collect();
    output.give(&summary, |page| {
        if tokens.is_empty() {
            page.text(
                0,
                "No service has a token; `sharetrail keys token PRODUCER --name NAME` makes one.",
            );
        }
        for token in &tokens {
            page.heading(&token.name);
            page.text(2, &format!("records for {}, made {}", token.producer, token.made));
        }
    })
}

/// Takes a token back.
pub(crate) fn take_back(ledger: &Ledger, name: &str, output: &Output) -> anyhow::Result<()> {
    let token = ServiceTokens::revoke(ledger.root(), name)?;
    let summary = json!({ "name": token.name, "producer": token.producer, "done": "taken back" });
    output.give(&summary, |page| {
        page.holds(&format!(
            "{name}: taken back; a server at work refuses it at once"
        ));
    })
}
