//! `authorize`: whether a customer's choices allow to share data, asked before it is shared.
//!
//! In scope: the question, the answer's words. Out of scope: what choices mean (the library). Trust: as the trail's.

use std::path::Path;
use std::sync::Arc;

use sharetrail_consumers::Shelf;
use sharetrail_consumers::choices::{Authorizer, Decision, DecisionReason, Question};
use sharetrail_proof::name::Name;

use crate::answer::Answer;
use crate::opened::{sequenced, store_kind};
use crate::output::{Output, Page, number};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The company's own id of the customer
    customer: String,
    /// Who is to receive the data, by the id that events give for it
    #[arg(long, value_name = "PARTY")]
    recipient: Name,
    /// What for, such as dpv:DirectMarketing
    #[arg(long, value_name = "TERM")]
    purpose: String,
    /// Which data, such as pd:Name; may be given several times
    #[arg(long = "category", value_name = "TERM")]
    categories: Vec<String>,
}

/// Answers yes or no.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    sharetrail_schemas::check_customer_id(&args.customer)?;
    let ledger = sequenced(root)?;
    let (vault, shelf) = (
        Arc::new(ledger.vault()?),
        Arc::new(Shelf::new(&ledger, store_kind(&ledger)?)),
    );
    let decision = Authorizer::new(&ledger, &vault, &shelf).authorize(&Question {
        customer: &args.customer,
        recipient: args.recipient.as_str(),
        purpose: &args.purpose,
        categories: &args.categories,
    })?;
    output.give(&decision, |page| write(page, &decision))?;
    Ok(if decision.allowed { Answer::Yes } else { Answer::No })
}

fn write(page: &mut Page, decision: &Decision) {
    let text = in_words(decision);
    if decision.allowed {
        page.holds(&text);
    } else {
        page.fails(0, &text);
    }
    if let Some(by) = &decision.by {
        let since = decision
            .since
            .map_or_else(String::new, |since| format!(", {since}"));
        page.field(2, "by", &format!("event {}{since}", by.id));
    }
    let leaves = number(decision.current_to);
    page.field(2, "as of", &format!("shard {}, {leaves} leaves", decision.shard));
}

fn in_words(decision: &Decision) -> String {
    match decision.reason {
        DecisionReason::Consented => "Yes: the customer has consented".to_owned(),
        DecisionReason::NoConsent => "No: no consent to this is on record".to_owned(),
        DecisionReason::Withdrawn => "No: the customer has withdrawn the consent".to_owned(),
        DecisionReason::Refused => "No: the customer has refused".to_owned(),
        DecisionReason::Expired => "No: the consent has ended by itself".to_owned(),
        DecisionReason::CategoryNotCovered => {
            format!("No: the consent does not cover {}", decision.uncovered.join(", "))
        }
        DecisionReason::Unreadable => "No: some events of the customer cannot be read".to_owned(),
        DecisionReason::Erased => "No: the customer was erased".to_owned(),
        _ => "No".to_owned(),
    }
}
