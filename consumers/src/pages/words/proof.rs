//! Texts of the page on which customers check their trail themselves.
//!
//! In scope: what stands around the check. Out of scope: the verdict's own texts (see `assets/proof.js`).
//! Trust: texts of ours.

/// The texts of the page.
pub(crate) struct Proof {
    pub(crate) heading: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) verdict: &'static str,
    pub(crate) waiting: &'static str,
    pub(crate) no_script: NoScript,
    pub(crate) states: States,
    pub(crate) checked: &'static str,
    pub(crate) checks: [(&'static str, &'static str); 5],
    pub(crate) words: &'static str,
    pub(crate) whose_word: [(&'static str, &'static str); 4],
    pub(crate) own: Own,
}

/// For browsers without scripts.
pub(crate) struct NoScript {
    pub(crate) heading: &'static str,
    pub(crate) text: &'static str,
    pub(crate) dossier: &'static str,
    pub(crate) then: &'static str,
    pub(crate) command: &'static str,
    pub(crate) or: &'static str,
    pub(crate) verifier: &'static str,
}

/// What a verdict means.
pub(crate) struct States {
    pub(crate) heading: &'static str,
    /// Good, missing, altered: a word and what it means.
    pub(crate) all: [(&'static str, &'static str); 3],
}

/// Files from elsewhere.
pub(crate) struct Own {
    pub(crate) heading: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) policy: &'static str,
    pub(crate) policy_hint: &'static str,
    pub(crate) dossier: &'static str,
    pub(crate) dossier_hint: &'static str,
    pub(crate) offline: &'static str,
    pub(crate) verifier: &'static str,
}

pub(crate) const ENGLISH: Proof = Proof {
    heading: "Check it yourself",
    lead: "Your browser fetches your dossier, which holds everything on record about you with its proofs, \
           and recomputes them here, on this machine. The company’s server does not take part in the \
           verdict.",
    verdict: "The verdict",
    waiting: "The check begins as soon as the page is loaded. It takes a few seconds.",
    no_script: NoScript {
        heading: "The check needs JavaScript, and it is off or did not load.",
        text: "Everything else here works without it. To check your data all the same:",
        dossier: "Download the dossier",
        then: "and check it with the program, which needs no network:",
        command: "sharetrail verify dossier.json",
        or: "Or open this page, on any machine and without a network:",
        verifier: "the verifier as one file",
    },
    states: States {
        heading: "What a verdict means",
        all: [
            (
                "Checks out",
                "Every signature and every proof fits, and nothing that was on record about you by the time it \
                 names is left out. The verdict says on whose word the rest stands.",
            ),
            (
                "Missing",
                "Something that must be there is not: an event, a proof, or the confirmation by somebody \
                 else. What is there fits. Ask the company for the rest.",
            ),
            (
                "Altered",
                "Something does not fit what was signed, or the log is not the one you saw before. Keep the \
                 dossier: it is your evidence.",
            ),
        ],
    },
    checked: "What is checked",
    checks: [
        (
            "Who signed",
            "Every event is in a batch that its producer signed with a key which the ledger’s registry names.",
        ),
        (
            "It is in the log",
            "Hashes lead from each event to the log’s signed checkpoint. Change one byte, and they lead \
             elsewhere.",
        ),
        (
            "Nothing is left out",
            "A signed map says how many events there are about you. The dossier must hold exactly those, \
             under a label that only your customer id gives.",
        ),
        (
            "What it said then",
            "Each event’s text fits the commitment that was logged when it was recorded.",
        ),
        (
            "The past stays",
            "Your browser remembers the last checkpoint it saw. The next one must continue it, or the \
             history was rewritten.",
        ),
    ],
    words: "On whose word it rests",
    whose_word: [
        (
            "The policy",
            "It names the log’s key, the witnesses and the auditors that you trust. By default it comes from \
             this server, which is convenient and no more than that: choose a policy file from elsewhere to \
             be sure.",
        ),
        (
            "Witnesses",
            "They confirm that everybody is shown the same log. Without an independent witness, a log made \
             for you alone is not excluded, and the verdict says so.",
        ),
        (
            "Auditors",
            "They recompute the map of customers. Without one, that your trail is complete rests on the \
             company’s word, and the verdict says so.",
        ),
        (
            "What no proof can show",
            "That something was never recorded, or that nobody kept a copy. What is on record can be held \
             against whoever signed it.",
        ),
    ],
    own: Own {
        heading: "Use your own files",
        lead: "The files are read in this browser and go nowhere.",
        policy: "Policy file from somebody you trust",
        policy_hint: "A text file, such as one that an auditor or a consumer association publishes.",
        dossier: "Dossier file",
        dossier_hint: "A dossier that you downloaded before, or that somebody sent you.",
        offline: "The same check as one file that works from a disk without a network:",
        verifier: "Open the verifier",
    },
};
