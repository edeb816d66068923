//! Texts of the pages by which customers steer: choices and requests.
//!
//! In scope: those two pages, and the switch on a recipient's page. Out of scope: what an officer decides (`officer`).
//! Trust: texts of ours; what fills them is escaped where it becomes markup.

use sharetrail_schemas::{Kind, Right};

use super::Forms;
use crate::choices::ChoiceState;
use crate::requests::RequestState;

/// The texts of the pages by which customers steer.
pub(crate) struct Steering {
    pub(crate) choices: ChoiceWords,
    pub(crate) requests: RequestWords,
}

/// The texts about choices.
pub(crate) struct ChoiceWords {
    pub(crate) lead: &'static str,
    pub(crate) nothing: &'static str,
    pub(crate) unopened: &'static str,
    pub(crate) purposes: &'static str,
    pub(crate) purposes_hint: &'static str,
    pub(crate) recipients: &'static str,
    pub(crate) recipients_hint: &'static str,
    pub(crate) one_recipient: fn(name: &str) -> String,
    pub(crate) state: fn(ChoiceState) -> &'static str,
    pub(crate) since: fn(day: &str) -> String,
    pub(crate) since_when: fn(day: &str, deed: &str) -> String,
    pub(crate) deed: fn(Kind) -> &'static str,
    pub(crate) covers: fn(categories: &str) -> String,
    pub(crate) goes_to: fn(recipients: &str) -> String,
    pub(crate) used_for: fn(purposes: &str) -> String,
    pub(crate) needs: fn(purposes: &str) -> String,
    pub(crate) save: &'static str,
    pub(crate) save_hint: &'static str,
    pub(crate) save_one: &'static str,
    pub(crate) fixed: &'static str,
    pub(crate) fixed_lead: &'static str,
    pub(crate) fixed_purpose_none: &'static str,
    pub(crate) fixed_recipient: &'static str,
    pub(crate) fixed_recipients: &'static str,
    pub(crate) object: &'static str,
    pub(crate) changes: Forms,
    pub(crate) recorded: &'static str,
    pub(crate) purpose_on: fn(purposes: &str) -> String,
    pub(crate) purpose_off: fn(purposes: &str) -> String,
    pub(crate) recipient_on: fn(name: &str, purposes: &str) -> String,
    pub(crate) recipient_off: fn(name: &str, purposes: &str) -> String,
    pub(crate) recipient_lifted: fn(name: &str, purposes: &str) -> String,
    pub(crate) whatever: &'static str,
    pub(crate) after_yes: &'static str,
    pub(crate) after_no: &'static str,
    pub(crate) deletion: &'static str,
    pub(crate) idle: fn(name: &str, purposes: &str) -> String,
    pub(crate) unchanged: &'static str,
    pub(crate) left: fn(changes: &str) -> String,
}

/// The texts about requests.
pub(crate) struct RequestWords {
    pub(crate) lead: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) caption: &'static str,
    pub(crate) what: &'static str,
    pub(crate) state: &'static str,
    pub(crate) asked: &'static str,
    pub(crate) due: &'static str,
    pub(crate) answer: &'static str,
    pub(crate) on_record: &'static str,
    pub(crate) state_of: fn(RequestState) -> &'static str,
    pub(crate) overdue: &'static str,
    pub(crate) answered: fn(day: &str) -> String,
    pub(crate) you_wrote: fn(text: &str) -> String,
    pub(crate) form: &'static str,
    pub(crate) legend: &'static str,
    pub(crate) right: fn(Right) -> (&'static str, &'static str),
    pub(crate) text: &'static str,
    pub(crate) text_hint: &'static str,
    pub(crate) confirm: &'static str,
    pub(crate) confirm_hint: &'static str,
    pub(crate) send: &'static str,
    pub(crate) sent_heading: &'static str,
    pub(crate) sent: fn(right: &str, day: &str) -> String,
    pub(crate) errors: &'static str,
    pub(crate) error_right: &'static str,
    pub(crate) error_text: &'static str,
    pub(crate) error_confirm: &'static str,
    pub(crate) error_deleting: &'static str,
    pub(crate) error_many: &'static str,
    pub(crate) erased: fn(day: &str) -> String,
    pub(crate) erased_undated: &'static str,
    pub(crate) certificate: &'static str,
}

pub(crate) const ENGLISH: Steering = Steering {
    choices: CHOICES,
    requests: REQUESTS,
};

const CHOICES: ChoiceWords = ChoiceWords {
    lead: "A tick means yes, no tick means no. Whoever asks before sharing your data is told what you chose. \
           Data that is shared against your choice is recorded all the same, and shown to you as not in order.",
    nothing: "There is nothing to switch on or off: nothing that can be read in your trail rests on your \
              consent.",
    unopened: "Some events in your trail cannot be opened. Until that is cleared up, whoever asks is told \
               no, whatever is ticked here.",
    purposes: "What your data may be used for",
    purposes_hint: "What is not allowed here is not allowed for anybody.",
    recipients: "Who may receive your data",
    recipients_hint: "Both are needed: somebody without a tick receives nothing that rests on your consent, and \
                      somebody with one receives it only for uses that are allowed above.",
    one_recipient: |name| format!("{name} may receive data that rests on my consent"),
    state: |state| match state {
        ChoiceState::Allowed => "Allowed",
        ChoiceState::Refused => "Not allowed",
        ChoiceState::NeverAsked => "Not allowed: you have not said yes",
    },
    since: |day| format!("since {day}"),
    since_when: |day, deed| format!("since {day}, when {deed}"),
    deed: english_deed,
    covers: |categories| format!("Kinds of data: {categories}"),
    goes_to: |recipients| format!("Received for it so far by {recipients}"),
    used_for: |purposes| format!("Receives data for {purposes}"),
    needs: |purposes| format!("A tick here counts only once you allow {purposes} too"),
    save: "Save my choices",
    save_hint: "Nothing changes before you save.",
    save_one: "Save this choice",
    fixed: "What does not rest on your consent",
    fixed_lead: "The company names another ground for these, so that a tick would change nothing. You can \
                 object to them, or ask for a pause; the company must answer you.",
    fixed_purpose_none: "No consent was asked for it, and no other ground is named.",
    fixed_recipient: "Nothing that it received rests on your consent.",
    fixed_recipients: "Nothing that these received rests on your consent:",
    object: "Object, or ask for a pause",
    changes: Forms {
        one: "change",
        many: "changes",
    },
    recorded: "Saved",
    purpose_on: |purposes| format!("Your data may be used for {purposes} from now on."),
    purpose_off: |purposes| format!("Your data may no longer be used for {purposes}."),
    recipient_on: |name, purposes| format!("{name} may receive your data for {purposes} from now on."),
    recipient_off: |name, purposes| format!("{name} may no longer receive your data for {purposes}."),
    recipient_lifted: |name, purposes| {
        format!("You no longer refuse that {name} receives your data for {purposes}.")
    },
    whatever: "what rests on your consent",
    after_yes: "You can take this back here at any time.",
    after_no: "This counts from now on. Data that was shared before stays where it is;",
    deletion: "you can ask for its deletion",
    idle: |name, purposes| {
        format!(
            "{name} still receives nothing that rests on your consent, because you do not allow {purposes}. \
             Tick both if you want it to."
        )
    },
    unchanged: "Nothing was changed. Everything is as it was.",
    left: |changes| {
        format!(
            "{changes} could not be recorded. The ticks below show what counts now: look at them, and save \
             again."
        )
    },
};

const REQUESTS: RequestWords = RequestWords {
    lead: "The law gives you these rights over your data. The company must answer within a month, and say \
           why if it refuses. What you ask and what it answers is recorded in your trail.",
    heading: "What you asked for",
    caption: "Your requests, the newest first",
    what: "You asked",
    state: "State",
    asked: "Asked on",
    due: "Answer due by",
    answer: "Answer",
    on_record: "On record",
    state_of: |state| match state {
        RequestState::Open => "Waiting for an answer",
        RequestState::InProgress => "Being worked on",
        RequestState::Granted => "Granted",
        RequestState::Refused => "Refused",
        RequestState::Closed => "Closed",
    },
    overdue: "Overdue",
    answered: |day| format!("Answered on {day}"),
    you_wrote: |text| format!("You wrote: {text}"),
    form: "Ask for something",
    legend: "What do you ask for?",
    right: english_right,
    text: "What the company should know (you can leave this empty)",
    text_hint: "Up to 1,000 characters. It becomes part of your trail, so write no more about yourself \
                than is needed.",
    confirm: "Yes, delete my data. I know that this cannot be taken back.",
    confirm_hint: "Needed to ask for deletion.",
    send: "Send the request",
    sent_heading: "Sent",
    sent: |right, day| {
        format!(
            "You asked {right}. That is on record, and the company must answer by {day}. The answer will stand \
             on this page."
        )
    },
    errors: "The request was not sent. Please look at this again:",
    error_right: "Choose what you ask for.",
    error_text: "Write at most 1,000 characters, without control characters.",
    error_confirm: "Tick the box that says that you want your data deleted.",
    error_deleting: "You have asked for the deletion of your data already; that is being worked on.",
    error_many: "Many of your requests wait for an answer. Wait for one of them.",
    erased: |day| {
        format!(
            "Data about you was deleted by {day}: the key to it is gone, and nobody can read it any more. \
             What is left are sealed entries, and the proof that it happened."
        )
    },
    erased_undated: "Data about you was deleted: the key to it is gone, and nobody can read it any more. \
                     What is left are sealed entries, and the proof that it happened.",
    certificate: "Download the certificate of the deletion",
};

fn english_deed(kind: Kind) -> &'static str {
    match kind {
        Kind::ConsentGiven => "you said yes",
        Kind::ConsentRefused => "you said no",
        Kind::ConsentWithdrawn => "you took your consent back",
        Kind::ConsentExpired => "your consent ran out",
        Kind::PreferenceChanged => "you set a preference",
        _ => "something changed it",
    }
}

/// What a right is called in the form, and what it means.
fn english_right(right: Right) -> (&'static str, &'static str) {
    match right {
        Right::Access => (
            "See my data",
            "A copy of the data that the company holds about you, and what it does with it. What this site \
             shows is what was shared; this asks for the data itself.",
        ),
        Right::Portability => (
            "Take my data with me",
            "The data that you gave to the company, as a file that another company can read.",
        ),
        Right::Rectification => (
            "Have my data corrected",
            "Something is wrong or out of date. Write below what it should be.",
        ),
        Right::Erasure => (
            "Have my data deleted",
            "All data about you is to be deleted. Once granted, the key to your trail is destroyed: nobody \
             can read it any more, not even you. Download your dossier first if you want to keep it.",
        ),
        Right::Objection => (
            "Object to a use of my data",
            "You do not want your data used for something that does not rest on your consent. Write below \
             which use.",
        ),
        Right::Restriction => (
            "Have the use of my data paused",
            "The company keeps the data and does nothing else with it, for as long as something is being \
             cleared up.",
        ),
        other => (other.name(), ""),
    }
}
