//! Texts of the first pages: for strangers, for customers in one look; of downloads and the report.
//!
//! In scope: those pages. Out of scope: sentences about events (see `timeline`).
//! Trust: texts of ours; what fills them is escaped where it becomes markup.

use super::Forms;

/// The texts of the first pages.
pub(crate) struct Overview {
    pub(crate) heading: &'static str,
    pub(crate) lead: fn(company: &str) -> String,
    pub(crate) holders: Holders,
    pub(crate) changes: Changes,
    pub(crate) checks: Checks,
    pub(crate) categories: Categories,
    pub(crate) benefits: Benefits,
    pub(crate) recent: &'static str,
    pub(crate) recent_all: &'static str,
    pub(crate) erased: Erased,
    pub(crate) nothing: Nothing,
    pub(crate) downloads: Downloads,
    pub(crate) report: Report,
    pub(crate) landing: Landing,
}

/// Who holds data.
pub(crate) struct Holders {
    pub(crate) heading: &'static str,
    pub(crate) organisations: Forms,
    pub(crate) newest: fn(name: &str, day: &str) -> String,
    pub(crate) none: &'static str,
    pub(crate) unknown: &'static str,
    pub(crate) more: &'static str,
}

/// What changed of late.
pub(crate) struct Changes {
    pub(crate) heading: &'static str,
    pub(crate) span: fn(day: &str) -> String,
    pub(crate) disclosures: Forms,
    pub(crate) organisations: Forms,
    pub(crate) consents: Forms,
    pub(crate) more: &'static str,
}

/// Whether all is as it must be.
pub(crate) struct Checks {
    pub(crate) heading: &'static str,
    pub(crate) good: &'static str,
    pub(crate) good_title: &'static str,
    pub(crate) bad_title: fn(count: u64, number: &str) -> String,
    pub(crate) unreadable: fn(count: u64, number: &str) -> String,
    pub(crate) further: fn(count: u64, number: &str) -> String,
    pub(crate) whose_word: &'static str,
    pub(crate) proof: &'static str,
    pub(crate) advice: &'static str,
    pub(crate) findings: &'static str,
    pub(crate) object: &'static str,
}

/// Which kinds of data.
pub(crate) struct Categories {
    pub(crate) heading: &'static str,
    pub(crate) caption: &'static str,
    pub(crate) category: &'static str,
    pub(crate) events: &'static str,
    pub(crate) disclosures: &'static str,
    pub(crate) none: &'static str,
}

/// What the customer got.
pub(crate) struct Benefits {
    pub(crate) heading: &'static str,
    pub(crate) none: &'static str,
    pub(crate) further: fn(number: &str) -> String,
}

/// For a customer who was erased.
pub(crate) struct Erased {
    pub(crate) heading: &'static str,
    pub(crate) by: fn(day: &str) -> String,
    pub(crate) undated: &'static str,
    pub(crate) left: fn(events: &str) -> String,
    pub(crate) proof: &'static str,
    pub(crate) certificate: &'static str,
    pub(crate) earlier: &'static str,
}

/// For a customer of whom nothing is known.
pub(crate) struct Nothing {
    pub(crate) heading: &'static str,
    pub(crate) text: fn(company: &str) -> String,
    pub(crate) proof: &'static str,
}

/// What can be taken away.
pub(crate) struct Downloads {
    pub(crate) heading: &'static str,
    pub(crate) dossier: &'static str,
    pub(crate) dossier_about: &'static str,
    pub(crate) csv: &'static str,
    pub(crate) csv_about: &'static str,
    pub(crate) json: &'static str,
    pub(crate) json_about: &'static str,
    pub(crate) report: &'static str,
    pub(crate) report_about: &'static str,
    /// The names of a spreadsheet's columns, in their order.
    pub(crate) columns: [&'static str; 30],
    pub(crate) yes: &'static str,
    pub(crate) no: &'static str,
    pub(crate) unknown: &'static str,
}

/// The printable report.
pub(crate) struct Report {
    pub(crate) heading: &'static str,
    pub(crate) about: fn(customer: &str, company: &str) -> String,
    pub(crate) summary: &'static str,
    pub(crate) events: &'static str,
    pub(crate) span: &'static str,
    pub(crate) disclosures: &'static str,
    pub(crate) recipients: &'static str,
    pub(crate) findings: &'static str,
    pub(crate) unopened: &'static str,
    pub(crate) who: &'static str,
    pub(crate) columns: [&'static str; 6],
    pub(crate) timeline: &'static str,
    pub(crate) state: &'static str,
    pub(crate) state_lead: &'static str,
    pub(crate) checkpoint: fn(shard: u32, leaves: &str) -> String,
    pub(crate) check: &'static str,
    pub(crate) print: &'static str,
    pub(crate) back: &'static str,
}

/// For somebody who is not signed in.
pub(crate) struct Landing {
    pub(crate) title: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) lead: fn(company: &str) -> String,
    pub(crate) points: [(&'static str, &'static str); 4],
    pub(crate) no_sign_in: &'static str,
    pub(crate) nobody: &'static str,
    pub(crate) others: &'static str,
    pub(crate) auditors: &'static str,
    pub(crate) offline: &'static str,
}

pub(crate) const ENGLISH: Overview = Overview {
    heading: "Your data in one look",
    lead: |company| {
        format!("What {company} has put on record about you: what it collected, who received it, and why.")
    },
    holders: Holders {
        heading: "Who has my data",
        organisations: Forms {
            one: "organisation has received data about you",
            many: "organisations have received data about you",
        },
        newest: |name, day| format!("The newest is {name}, since {day}."),
        none: "Your data was shared with nobody, as far as the record goes.",
        unknown: "There are events that cannot be read: what they say is not counted here.",
        more: "See who, and what they received",
    },
    changes: Changes {
        heading: "What changed",
        span: |day| format!("in the 30 days up to {day}, when something last happened"),
        disclosures: Forms {
            one: "time data went out",
            many: "times data went out",
        },
        organisations: Forms {
            one: "organisation received data for the first time",
            many: "organisations received data for the first time",
        },
        consents: Forms {
            one: "choice or consent changed",
            many: "choices or consents changed",
        },
        more: "See what happened",
    },
    checks: Checks {
        heading: "Is it in order?",
        good: "Whatever rests on your consent had it at that time, and every event can be read.",
        good_title: "Nothing on record is out of order",
        bad_title: |count, number| {
            if count == 1 {
                "1 thing on record is not in order".to_owned()
            } else {
                format!("{number} things on record are not in order")
            }
        },
        unreadable: |count, number| {
            if count == 1 {
                "1 event cannot be read, though nothing was erased.".to_owned()
            } else {
                format!("{number} events cannot be read, though nothing was erased.")
            }
        },
        further: |count, number| {
            if count == 1 {
                "And 1 more.".to_owned()
            } else {
                format!("And {number} more.")
            }
        },
        whose_word: "This page is the company’s word. You need not believe it:",
        proof: "Check it yourself on this machine",
        advice: "The company must answer for this. You can object, or ask that your data is deleted; if its answer \
                 does not satisfy you, you can complain to a data protection authority.",
        findings: "Show it in the timeline",
        object: "Take it up with the company",
    },
    categories: Categories {
        heading: "Which kinds of data",
        caption: "The kinds of data that events are about",
        category: "Kind of data",
        events: "Times on record",
        disclosures: "Times it went out",
        none: "No event names a kind of data.",
    },
    benefits: Benefits {
        heading: "What you got for it",
        none: "No event tells of a benefit to you.",
        further: |number| format!("The newest of {number} are shown."),
    },
    recent: "What happened last",
    recent_all: "See the whole timeline",
    erased: Erased {
        heading: "Your data was erased",
        by: |day| format!("The erasure is on record. It was in force no later than {day}."),
        undated: "The erasure is on record; the next sealed map of customers gives it its date.",
        left: |events| {
            format!(
                "What is left are {events} without content: they show that something was on record, and \
                 nobody can read any more what it was, the company included."
            )
        },
        proof: "The certificate proves that the company declared the erasure. Keep it; it can be checked \
                offline. Nobody can prove that no copy exists anywhere.",
        certificate: "Download the certificate of erasure",
        earlier: "Data about you was erased before. What is shown here came after that.",
    },
    nothing: Nothing {
        heading: "Nothing is on record about you",
        text: |company| {
            format!(
                "{company} has recorded no event about you: nothing collected, nothing shared. If you think \
                 that is wrong, ask the company, and keep the proof below."
            )
        },
        proof: "The dossier proves that nothing was on record when it was made. It can be checked offline.",
    },
    downloads: Downloads {
        heading: "Take it with you",
        dossier: "Dossier with all proofs",
        dossier_about: "The file to keep: whoever has it can check every entry, also without this company.",
        csv: "Table (CSV)",
        csv_about: "For a spreadsheet.",
        json: "Data (JSON)",
        json_about: "For other programs and services.",
        report: "Report to print",
        report_about: "Everything in plain sentences, to read or on paper.",
        columns: [
            "time",
            "kind",
            "sentence",
            "recipient",
            "recipient_name",
            "role",
            "recipient_country",
            "categories",
            "purposes",
            "legal_basis",
            "consent",
            "benefit",
            "description",
            "origin",
            "country",
            "safeguard",
            "sale",
            "retention",
            "outcome",
            "count",
            "request",
            "right",
            "findings",
            "did_not_happen",
            "producer",
            "source",
            "id",
            "shard",
            "index",
            "corrected_at",
        ],
        yes: "yes",
        no: "no",
        unknown: "no such file can be downloaded here",
    },
    report: Report {
        heading: "Report on your data",
        about: |customer, company| format!("What {company} has on record about {customer}"),
        summary: "Summary",
        events: "Events on record",
        span: "From and to",
        disclosures: "Times data went out",
        recipients: "Organisations that received data",
        findings: "Not in order",
        unopened: "Events that cannot be shown",
        who: "Who received what",
        columns: [
            "Organisation",
            "Role",
            "Country",
            "Times",
            "Kinds of data",
            "Purposes",
        ],
        timeline: "What happened, oldest first",
        state: "What this report was made from",
        state_lead: "The logs had these sizes and roots when the report was made. Whoever holds the same log \
                     can compare.",
        checkpoint: |shard, leaves| format!("Shard {shard}, {leaves} leaves, root"),
        check: "A report proves nothing by itself. The dossier does: download it and check it offline.",
        print: "To print it, use your browser’s print command.",
        back: "Back to the overview",
    },
    landing: Landing {
        title: "Welcome",
        heading: "See where your data went",
        lead: |company| {
            format!(
                "{company} keeps a signed record of what it does with its customers’ data. Here you see what it \
                 says about you, and check it yourself."
            )
        },
        points: [
            (
                "See it",
                "What was collected, who received it, in which country, for what purpose and on what legal \
                 ground. One plain sentence for each event.",
            ),
            (
                "Steer it",
                "Allow or refuse each use and each organisation. What you choose is on record too, and \
                 what is done against it shows.",
            ),
            (
                "Check it",
                "Your own browser recomputes every signature and every proof, and tells you on whose word \
                 the rest stands.",
            ),
            (
                "Take it away",
                "As a file that proves itself, as a table, or on paper. Ask for access, correction or \
                 deletion in the same place.",
            ),
        ],
        no_sign_in: "Signing in is not set up on this server.",
        nobody: "You are signed in, and the company knows you neither as a customer nor as a privacy officer.",
        others: "Not a customer?",
        auditors: "Auditors read and check the logs without signing in",
        offline: "Check a dossier that somebody sent you",
    },
};
