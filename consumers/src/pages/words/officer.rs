//! Texts for officers and auditors.
//!
//! In scope: the three officer's pages and the auditor's page. Out of scope: the words for rights, roles and laws (see
//! `common`). Trust: texts of ours; what fills them is escaped where it becomes markup.

use sharetrail_schemas::Right;

use super::{Forms, english};
use crate::trail::{Finding, NoConsent};

/// The texts for officers and auditors.
pub(crate) struct OfficerWords {
    pub(crate) progress: fn(read: &str, total: &str) -> String,
    pub(crate) none_yet: &'static str,
    pub(crate) requests: DecisionWords,
    pub(crate) findings: FindingWords,
    pub(crate) recipients: TotalsWords,
    pub(crate) auditor: AuditorWords,
}

/// The texts about requests to decide.
pub(crate) struct DecisionWords {
    pub(crate) lead: &'static str,
    pub(crate) none: &'static str,
    pub(crate) part: fn(from: &str, until: &str, total: &str) -> String,
    pub(crate) soonest: &'static str,
    pub(crate) later: &'static str,
    pub(crate) pages: &'static str,
    pub(crate) heading: fn(right: &str, customer: &str) -> String,
    pub(crate) right: fn(Right) -> &'static str,
    pub(crate) asked: &'static str,
    pub(crate) due: &'static str,
    pub(crate) overdue: &'static str,
    pub(crate) regime: &'static str,
    pub(crate) id: &'static str,
    pub(crate) on_record: &'static str,
    pub(crate) text: &'static str,
    pub(crate) erasing: &'static str,
    pub(crate) again: &'static str,
    pub(crate) legend: &'static str,
    pub(crate) grant: &'static str,
    pub(crate) grant_erasure: &'static str,
    pub(crate) refuse: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) reason_hint: &'static str,
    pub(crate) confirm: &'static str,
    pub(crate) confirm_hint: &'static str,
    pub(crate) send: &'static str,
    pub(crate) send_about: fn(right: &str, customer: &str) -> String,
    pub(crate) closed: &'static str,
    pub(crate) erasing_now: &'static str,
    pub(crate) gone: &'static str,
    pub(crate) errors: &'static str,
    pub(crate) error_decision: &'static str,
    pub(crate) error_reason: &'static str,
    pub(crate) error_length: &'static str,
    pub(crate) error_confirm: &'static str,
}

/// The texts about findings.
pub(crate) struct FindingWords {
    pub(crate) lead: &'static str,
    pub(crate) none: &'static str,
    pub(crate) none_fit: &'static str,
    pub(crate) filter: &'static str,
    pub(crate) kind_label: &'static str,
    pub(crate) recipient_label: &'static str,
    pub(crate) all: &'static str,
    pub(crate) apply: &'static str,
    pub(crate) caption: fn(from: &str, until: &str, total: &str) -> String,
    pub(crate) what: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) recipient: &'static str,
    pub(crate) customer: &'static str,
    /// Of a recipient, a customer or a time.
    pub(crate) unknown: &'static str,
    pub(crate) when: &'static str,
    pub(crate) place: &'static str,
    pub(crate) signed_by: fn(producer: &str) -> String,
    /// By the concern's name.
    pub(crate) kinds: &'static [(&'static str, &'static str)],
    pub(crate) consent: fn(&Finding) -> String,
    pub(crate) unregistered: fn(recipient: &str) -> String,
    pub(crate) no_safeguard: fn(country: &str) -> String,
    pub(crate) unreadable: fn(reason: &str) -> String,
    pub(crate) older: &'static str,
    pub(crate) newest: &'static str,
    pub(crate) pages: &'static str,
}

/// The texts about recipients over all customers.
pub(crate) struct TotalsWords {
    pub(crate) lead: &'static str,
    pub(crate) none: &'static str,
    pub(crate) caption: &'static str,
    pub(crate) recipient: &'static str,
    pub(crate) role: &'static str,
    pub(crate) country: &'static str,
    pub(crate) disclosures: &'static str,
    pub(crate) customers: &'static str,
    pub(crate) days: &'static str,
    pub(crate) concerns: &'static str,
    pub(crate) concerns_none: &'static str,
    pub(crate) findings: Forms,
    pub(crate) registered: &'static str,
    pub(crate) is_registered: &'static str,
    pub(crate) not_registered: &'static str,
}

/// The texts for auditors.
pub(crate) struct AuditorWords {
    pub(crate) title: &'static str,
    pub(crate) lead: fn(ledger: &str) -> String,
    pub(crate) policy: &'static str,
    pub(crate) policy_text: &'static str,
    pub(crate) policy_link: &'static str,
    pub(crate) audit: &'static str,
    pub(crate) audit_text: &'static str,
    pub(crate) command: &'static str,
    pub(crate) audit_more: &'static str,
    pub(crate) heads: &'static str,
    pub(crate) heads_text: &'static str,
    pub(crate) heads_caption: &'static str,
    pub(crate) heads_more: fn(shown: &str, all: &str) -> String,
    pub(crate) log: &'static str,
    pub(crate) size: &'static str,
    pub(crate) root: &'static str,
    pub(crate) note: &'static str,
    pub(crate) record_log: fn(shard: u32) -> String,
    pub(crate) map_log: fn(shard: u32) -> String,
    pub(crate) map_none: &'static str,
    pub(crate) checkpoint: &'static str,
    pub(crate) consistency: &'static str,
    pub(crate) offline: &'static str,
    pub(crate) offline_text: &'static str,
    pub(crate) offline_link: &'static str,
    pub(crate) documents: &'static str,
    pub(crate) openapi: &'static str,
    pub(crate) asyncapi: &'static str,
    pub(crate) api_text: &'static str,
}

pub(crate) const ENGLISH: OfficerWords = OfficerWords {
    progress: |read, total| {
        format!(
            "The trails are still being read: {read} of {total} entries so far. What is shown here is \
             right, and not yet all there is. Load the page again in a moment. If the numbers stay as they \
             are, there is a trail that cannot be read: the server’s log says why."
        )
    },
    none_yet: "Nothing among what has been read so far.",
    requests: REQUESTS,
    findings: FINDINGS,
    recipients: RECIPIENTS,
    auditor: AUDITOR,
};

const REQUESTS: DecisionWords = DecisionWords {
    lead: "What customers have asked for and nobody has answered yet, the soonest due first. Your answer \
           is recorded in their trail.",
    none: "Nothing waits for an answer.",
    part: |from, until, total| format!("Requests {from} to {until} of {total}, the soonest due first."),
    soonest: "Back to those due soonest",
    later: "Those due later",
    pages: "More requests",
    heading: |right, customer| format!("{right}: {customer}"),
    right: |right| match right {
        Right::Access => "Access",
        Right::Erasure => "Deletion",
        Right::Rectification => "Correction",
        Right::Portability => "Portability",
        Right::Objection => "Objection",
        Right::Restriction => "Restriction",
        other => other.name(),
    },
    asked: "Asked on",
    due: "Answer due by",
    overdue: "Overdue",
    regime: "Law",
    id: "Request",
    on_record: "On record",
    text: "What the customer wrote",
    erasing: "Granted: this customer is being erased. It takes about a minute until no copy of the key is \
              in use any more.",
    again: "This deletion was granted, and it was not carried out. Decide it once more.",
    legend: "Decision",
    grant: "Grant it",
    grant_erasure: "Grant it: erase this customer",
    refuse: "Refuse it",
    reason: "What the customer is told",
    reason_hint: "Needed where you refuse: why, and that they can complain to an authority. Up to 1,000 \
                  characters.",
    confirm: "Erase this customer. I know that this cannot be taken back.",
    confirm_hint: "Only needed where you grant it. The customer’s key is destroyed, and nobody can read \
                   their trail any more: neither they nor you.",
    send: "Record the decision",
    send_about: |right, customer| format!("about {right} of {customer}"),
    closed: "The decision is on record in the customer’s trail.",
    erasing_now: "The deletion has begun. The request leaves this list when it is done and on record.",
    gone: "This request does not wait for an answer any more. Somebody may have decided it meanwhile.",
    errors: "The decision was not recorded. Please look at this again:",
    error_decision: "Choose whether to grant or to refuse.",
    error_reason: "Say why you refuse.",
    error_length: "Write at most 1,000 characters, without control characters.",
    error_confirm: "Tick the box that says that this customer is to be erased.",
};

const FINDINGS: FindingWords = FindingWords {
    lead: "What does not fit together in the trails of all customers. Nothing here was held back from the \
           record: a fault is recorded as it happened, and shown as one. An event that its own producer \
           corrected later is judged both as it was put right and as it was told; what is the matter only \
           as it was told says so.",
    none: "No findings: nothing in the trails contradicts itself.",
    none_fit: "No finding fits what you asked for.",
    filter: "Show",
    kind_label: "Kind of finding",
    recipient_label: "Recipient (its name in the ledger; empty for all)",
    all: "All kinds",
    apply: "Show these",
    caption: |from, until, total| format!("Findings {from} to {until} of {total}, the newest first"),
    what: "What is the matter",
    kind: "Kind",
    recipient: "Recipient",
    customer: "Customer",
    unknown: "Not known",
    when: "When",
    place: "Where in the log",
    signed_by: |producer| format!("signed by {producer}"),
    kinds: &[
        ("consent", "Without consent"),
        ("unregistered_recipient", "Unregistered recipient"),
        ("no_safeguard", "No safeguard"),
        ("unreadable", "Unreadable"),
    ],
    consent: english_consent,
    unregistered: |recipient| format!("Data went to {recipient}, which is not in the ledger’s registry."),
    no_safeguard: |country| {
        format!(
            "Data went to {country}, a country without an adequacy decision, and no safeguard is \
                 named."
        )
    },
    unreadable: |reason| format!("The event cannot be opened, and nothing was erased: {reason}"),
    older: "Older findings",
    newest: "Back to the newest",
    pages: "More findings",
};

const RECIPIENTS: TotalsWords = TotalsWords {
    lead: "Who received data, over all customers. What customers had erased is not counted any more.",
    none: "No disclosure is on record.",
    caption: "Disclosures by recipient, the most first",
    recipient: "Recipient",
    role: "Role",
    country: "Country",
    disclosures: "Disclosures",
    customers: "Customers",
    days: "First and last",
    concerns: "Findings",
    concerns_none: "None",
    findings: Forms {
        one: "finding",
        many: "findings",
    },
    registered: "In the registry",
    is_registered: "Yes",
    not_registered: "No",
};

const AUDITOR: AuditorWords = AuditorWords {
    title: "For auditors",
    lead: |ledger| {
        format!(
            "Everything that is needed to check the ledger {ledger} without believing this server. It is \
             open to all and shows nobody’s data: entries are pseudonyms and commitments."
        )
    },
    policy: "The trust policy",
    policy_text: "Which keys sign the logs, and which witnesses and auditors there are. Get it once and \
                  compare it with what the company published elsewhere: whoever gives you the policy \
                  decides what you believe.",
    policy_link: "Download the policy",
    audit: "Audit the whole ledger",
    audit_text: "This reads every entry, recomputes every root and every customer map, and names each \
                 fault with its place:",
    command: "Command for an audit",
    audit_more: "With --state FOLDER the next audit checks only what is new; with --cosign KEYFILE you \
                 sign what you have recomputed, so that customers see your word beside the operator’s.",
    heads: "The heads of the logs",
    heads_text: "C2SP tlog-tiles trees. Keep a checkpoint: if a later one does not extend it, the history \
                 was rewritten.",
    heads_caption: "The published checkpoints, by shard",
    heads_more: |shown, all| {
        format!(
            "The first {shown} of {all} shards are shown; the addresses of the others follow the same \
             pattern."
        )
    },
    log: "Log",
    size: "Leaves",
    root: "Root hash",
    note: "Checkpoint",
    record_log: |shard| format!("Record log of shard {shard}"),
    map_log: |shard| format!("Map log of shard {shard}"),
    map_none: "No map is sealed yet",
    checkpoint: "signed note",
    consistency: "proof from size 1",
    offline: "Check a dossier without a network",
    offline_text: "One HTML file that holds the whole verifier. Save it, open it from disk, and give it a \
                   customer’s dossier and the policy.",
    offline_link: "Get the verifier",
    documents: "The interfaces",
    openapi: "HTTP API (OpenAPI 3.1)",
    asyncapi: "Message bus (AsyncAPI 3)",
    api_text: "Both are made from the code that answers.",
};

/// In an officer's words.
fn english_consent(finding: &Finding) -> String {
    let day = |time| english().day(time);
    match finding {
        Finding::BeforeConsent { given } => {
            let day = day(*given);
            format!("Data was disclosed before the consent it rests on was given on {day}.")
        }
        Finding::AfterWithdrawal { withdrawn } => {
            let day = day(*withdrawn);
            format!("Data was disclosed after the consent was withdrawn on {day}.")
        }
        Finding::WithoutConsent { why } => english_no_consent(*why).to_owned(),
        Finding::AgainstChoice { refused } => {
            let day = day(*refused);
            format!("Data was disclosed against the customer’s choice of {day}.")
        }
    }
}

fn english_no_consent(why: NoConsent) -> &'static str {
    match why {
        NoConsent::NoneOnRecord => "Data was disclosed on consent, and none is on record.",
        NoConsent::Refused => "Data was disclosed on consent, and the customer had refused.",
        NoConsent::Expired => "Data was disclosed on a consent that had expired.",
    }
}
