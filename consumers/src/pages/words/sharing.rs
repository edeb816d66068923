//! Texts about who received data: the picture, its table, one recipient.
//!
//! In scope: those two pages. Out of scope: what is wrong with an event (`timeline`), the switches (`steering`).
//! Trust: texts of ours; what fills them is escaped where it becomes markup.

use sharetrail_schemas::Role;

use super::Forms;

/// The texts of the pages about who received data.
pub(crate) struct Sharing {
    pub(crate) lead: fn(organisations: &str, times: &str) -> String,
    pub(crate) lead_none: &'static str,
    pub(crate) lead_unknown: &'static str,
    pub(crate) unopened: fn(events: &str) -> String,
    pub(crate) unopened_more: &'static str,
    pub(crate) organisations: Forms,
    pub(crate) findings: Forms,
    pub(crate) findings_none: &'static str,
    /// Of disclosures that were told to be to one recipient and are to another, as corrected.
    pub(crate) corrected_away: fn(times: &str) -> String,
    pub(crate) picture: PictureWords,
    pub(crate) table: TableWords,
    pub(crate) recipient: RecipientWords,
}

/// The texts of the picture.
pub(crate) struct PictureWords {
    pub(crate) heading: &'static str,
    pub(crate) region: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: fn(categories: &str, organisations: &str, onward: &str) -> String,
    pub(crate) note: &'static str,
    pub(crate) columns: [&'static str; 3],
    pub(crate) categories: Forms,
    pub(crate) onward: Forms,
    pub(crate) others: [Forms; 3],
    pub(crate) band: fn(from: &str, to: &str, times: &str) -> String,
    pub(crate) bars: &'static str,
}

/// Captions and headings of the tables.
pub(crate) struct TableWords {
    pub(crate) heading: &'static str,
    pub(crate) caption: &'static str,
    pub(crate) category: &'static str,
    pub(crate) recipient: &'static str,
    pub(crate) country: &'static str,
    pub(crate) purposes: &'static str,
    pub(crate) bases: &'static str,
    pub(crate) times: &'static str,
    pub(crate) when: &'static str,
    pub(crate) last: &'static str,
    pub(crate) findings: &'static str,
    pub(crate) none_told: &'static str,
    pub(crate) onward_heading: &'static str,
    pub(crate) onward_caption: &'static str,
    pub(crate) onward_from: &'static str,
    pub(crate) onward_to: &'static str,
    pub(crate) safeguard: &'static str,
}

/// The texts about one recipient.
pub(crate) struct RecipientWords {
    pub(crate) back: &'static str,
    pub(crate) role_about: fn(Role) -> &'static str,
    pub(crate) lead: fn(times: &str, days: &str) -> String,
    pub(crate) lead_none: &'static str,
    pub(crate) who: &'static str,
    pub(crate) id: &'static str,
    pub(crate) role: &'static str,
    pub(crate) country: &'static str,
    pub(crate) countries: &'static str,
    pub(crate) contact: &'static str,
    pub(crate) contact_none: &'static str,
    pub(crate) address: &'static str,
    pub(crate) safeguards: &'static str,
    pub(crate) safeguards_none: &'static str,
    pub(crate) received: &'static str,
    pub(crate) received_caption: fn(name: &str) -> String,
    pub(crate) findings: &'static str,
    pub(crate) findings_none: &'static str,
    pub(crate) finding_at: fn(day: &str) -> String,
    pub(crate) onward: &'static str,
    pub(crate) onward_to: fn(to: &str, role: &str, country: &str, times: &str) -> String,
    pub(crate) onward_from: fn(from: &str, times: &str) -> String,
    pub(crate) choice: &'static str,
    pub(crate) timeline: fn(name: &str) -> String,
    pub(crate) unknown: fn(id: &str) -> String,
}

pub(crate) const ENGLISH: Sharing = Sharing {
    lead: |organisations, times| format!("{organisations} received data about you, {times} in all."),
    lead_none: "No organisation has received data about you, as far as the record goes.",
    lead_unknown: "Nothing that can be read in your trail says who received data about you.",
    unopened: |events| {
        format!("{events} in your trail cannot be read, so what is said there is not counted here.")
    },
    unopened_more: "See why",
    organisations: Forms {
        one: "organisation",
        many: "organisations",
    },
    findings: Forms {
        one: "time not in order",
        many: "times not in order",
    },
    findings_none: "Yes",
    corrected_away: |times| format!("Told {times} first; corrected since to another organisation."),
    picture: PictureWords {
        heading: "Where your data went",
        region: "Picture of where your data went; it can be scrolled sideways",
        title: "Where your data went",
        description: |categories, organisations, onward| {
            format!(
                "Bands lead from {categories} on the left to {organisations} in the middle, and on to \
                 {onward} on the right. The table after the picture says the same."
            )
        },
        note: "The thicker a band, the more often that data went there. What went out together has a band \
               for each kind of data.",
        columns: ["Kind of data", "Who received it", "To whom they passed it on"],
        categories: Forms {
            one: "kind of data",
            many: "kinds of data",
        },
        onward: Forms {
            one: "further organisation",
            many: "further organisations",
        },
        others: [
            Forms {
                one: "other kind of data",
                many: "other kinds of data",
            },
            Forms {
                one: "other organisation",
                many: "other organisations",
            },
            Forms {
                one: "other organisation",
                many: "other organisations",
            },
        ],
        band: |from, to, times| format!("{from} to {to}: {times}"),
        bars: "Who received data, and how often",
    },
    table: TableWords {
        heading: "The same as a table",
        caption: "Who received which kinds of data from the company, the most often first",
        category: "Kind of data",
        recipient: "Who received it",
        country: "Country",
        purposes: "What for",
        bases: "On what ground",
        times: "Times",
        when: "When",
        last: "Last",
        findings: "In order?",
        none_told: "Not told",
        onward_heading: "Passed on",
        onward_caption: "Data that those who had received it passed on to others",
        onward_from: "Passed on by",
        onward_to: "To",
        safeguard: "Safeguard",
    },
    recipient: RecipientWords {
        back: "Back to who has my data",
        role_about: english_role_about,
        lead: |times, days| format!("Received data about you {times}, {days}."),
        lead_none: "No data went to this organisation; it is only named in your trail.",
        who: "Who this is",
        id: "Its name on record",
        role: "What it is to the company",
        country: "Where it is established",
        countries: "Your data went to",
        contact: "Contact",
        contact_none: "None is on record",
        address: "Address",
        safeguards: "Safeguards for the transfer",
        safeguards_none: "None is named",
        received: "What it received",
        received_caption: |name| format!("What {name} received, by kind of data"),
        findings: "Is it in order?",
        findings_none: "Nothing is wrong with what this organisation received, as far as your trail tells.",
        finding_at: |day| format!("{day}:"),
        onward: "Passed on",
        onward_to: |to, role, country, times| format!("Passed data on to {to} ({role}, {country}), {times}"),
        onward_from: |from, times| format!("Was given data by {from}, {times}"),
        choice: "Your choice",
        timeline: |name| format!("All about {name} in the timeline"),
        unknown: |id| format!("no organisation with the name {id:?} is in your trail"),
    },
};

fn english_role_about(role: Role) -> &'static str {
    match role {
        Role::Processor => {
            "Service provider: it works on the company’s behalf and may use the data for nothing else."
        }
        Role::JointController => {
            "Jointly responsible: it decides together with the company what the data is used for."
        }
        Role::Affiliate => "Same group: it belongs to the same group of companies.",
        Role::ThirdParty => "Third party: it decides by itself what it does with the data.",
        Role::Authority => "Public authority: a body that the law gives a right to ask for data.",
        other => other.name(),
    }
}
