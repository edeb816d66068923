//! Choices: what my data may be used for, and who may receive it.
//!
//! One form of checkboxes, which works without a script. Beside each stands, hidden, the state that was shown: only a
//! switch that was moved against it is a change, so that a page that is old flips nothing that nobody saw.
//!
//! In scope: the form, what it asks for, what is said when it is saved. Out of scope: which events a change becomes,
//! recording them. Trust: the form is untrusted; a switch counts only where the trail as it is now has one.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::rejection::FormRejection;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Form, Router};
use maud::{Markup, html};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Name;
use sharetrail_schemas::{Kind, Timestamp};
use url::form_urlencoded::Serializer;

use super::layout::{Frame, Nav, PageError, page};
use super::parts::{
    Pairs, Tone, csrf_field, event_at, list_of_places, notice, parameter, place_link, places, value_of,
};
use super::sentence::{law, tell};
use super::words::{self, Words};
use crate::choices::{ChoiceChange, ChoiceOf, ChoiceState, Choices, PurposeChoice, RecipientChoice};
use crate::http::auth::{PageCustomer, check_csrf};
use crate::http::problem::Problem;
use crate::http::reading::trail_of;
use crate::http::site::Site;
use crate::http::steering::change_choice;
use crate::trail::{Trail, TrailEvent, TrailReference};

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/me/choices", get(show).post(save))
}

async fn show(
    State(site): State<Site>,
    PageCustomer(customer): PageCustomer,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let trail = trail_of(&site, &customer.id).await?;
    let words = words::english();
    let main = choices(words, &trail, &customer.person.csrf(), query.as_deref());
    let frame = Frame {
        site: &site,
        person: Some(&customer.person),
        title: words.common.navigation.choices,
        active: Nav::Choices,
        scripts: &[],
    };
    Ok(page(&frame, &main))
}

async fn save(
    State(site): State<Site>,
    PageCustomer(customer): PageCustomer,
    form: Result<Form<Pairs>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(pairs) = form.map_err(Problem::from)?;
    check_csrf(&customer.person, value_of(&pairs, "csrf"))?;
    let trail = trail_of(&site, &customer.id).await?;
    let Wanted { changes, mut left } = wanted(&pairs, &Choices::of(&trail));
    let mut recorded: Vec<(u32, LeafIndex)> = Vec::new();
    let mut ticked: Vec<String> = Vec::new();
    for change in changes {
        if let (ChoiceOf::Recipient(id), true) = (&change.of, change.allowed) {
            ticked.push(id.clone());
        }
        match change_choice(&site, &customer.id, change).await {
            Ok(events) => recorded.extend(events.iter().map(|event| (event.shard, event.index))),
            Err(problem) if recorded.is_empty() => return Err(problem.into()),
            // What is on record already is told all the same.
            Err(_) => left += 1,
        }
    }
    let back = back(value_of(&pairs, "back"));
    let query = Serializer::new(String::new())
        .append_pair("recorded", &list_of_places(&recorded))
        .append_pair("left", &left.to_string())
        .append_pair("ticked", &ticked.join(","))
        .finish();
    Ok(Redirect::to(&format!("{back}?{query}")).into_response())
}

/// Where to go when it is saved: to a recipient's page, if it was saved there.
fn back(recipient: &str) -> String {
    Name::new(recipient).map_or_else(
        |_| "/me/choices".to_owned(),
        |recipient| format!("/me/recipients/{recipient}"),
    )
}

/// What a form asks for.
struct Wanted {
    changes: Vec<ChoiceChange>,
    /// Switches that were moved and are none any more.
    left: u64,
}

fn wanted(pairs: &[(String, String)], choices: &Choices) -> Wanted {
    let was =
        |(name, value): &(String, String)| Some((name.strip_prefix("was:")?.to_owned(), value == "yes"));
    let shown: BTreeMap<String, bool> = pairs.iter().filter_map(was).collect();
    let on: BTreeSet<&str> = pairs
        .iter()
        .filter_map(|(name, _)| name.strip_prefix("on:"))
        .collect();
    let mut wanted = Wanted {
        changes: Vec::new(),
        left: 0,
    };
    for (key, was) in &shown {
        let allowed = on.contains(key.as_str());
        if allowed == *was {
            continue;
        }
        let found = choice_of(key).and_then(|of| Some((is_allowed(choices, &of)?, of)));
        match found {
            Some((now, _)) if now == allowed => {}
            Some((_, of)) => wanted.changes.push(ChoiceChange { of, allowed }),
            None => wanted.left += 1,
        }
    }
    // What is taken away comes last: a yes to one thing must not bring back what is refused beside it.
    wanted
        .changes
        .sort_by_key(|change| (!change.allowed, matches!(change.of, ChoiceOf::Recipient(_))));
    wanted
}

/// What a switch is about, by its key in the form.
fn choice_of(key: &str) -> Option<ChoiceOf> {
    match key.split_once(':')? {
        ("purpose", purpose) => Some(ChoiceOf::Purpose(purpose.to_owned())),
        ("recipient", recipient) => Some(ChoiceOf::Recipient(recipient.to_owned())),
        _ => None,
    }
}

/// Whether something is allowed now; none where there is no switch for it.
fn is_allowed(choices: &Choices, of: &ChoiceOf) -> Option<bool> {
    let state = match of {
        ChoiceOf::Purpose(purpose) => {
            let mut steerable = choices.purposes.iter().filter(|choice| choice.rests_on_consent);
            steerable.find(|choice| choice.purpose == *purpose)?.state
        }
        ChoiceOf::Recipient(id) => {
            let mut steerable = choices.recipients.iter().filter(|choice| choice.steerable);
            steerable.find(|choice| choice.recipient.id == *id)?.state
        }
    };
    Some(state == ChoiceState::Allowed)
}

/// What was recorded when this page was saved, as the address has it and the trail confirms it; and what it comes to.
pub(super) fn saved(words: &Words, trail: &Trail, query: Option<&str>) -> Markup {
    let texts = &words.steering.choices;
    let Some(recorded) = parameter(query, "recorded") else {
        return html! {};
    };
    let left: u64 = parameter(query, "left")
        .and_then(|left| left.parse().ok())
        .unwrap_or_default();
    let found: Vec<_> = places(&recorded)
        .into_iter()
        .filter_map(|place| event_at(trail, place))
        .collect();
    let idle = idle(words, trail, &parameter(query, "ticked").unwrap_or_default());
    let has_no = found.iter().any(|event| !is_yes(event.kind));
    html! {
        @if !found.is_empty() {
            (notice(words, Tone::Good, &html! {
                h2 { (texts.recorded) }
                ul {
                    @for event in found {
                        li { (effect(words, trail, event)) " " (place_link(words, trail, event)) }
                    }
                }
                @if has_no {
                    p { (texts.after_no) " " a href="/me/requests" { (texts.deletion) } "." }
                } @else {
                    p { (texts.after_yes) }
                }
            }))
        } @else if recorded.is_empty() && left == 0 && idle.is_empty() {
            (notice(words, Tone::Good, &html! { p { (texts.unchanged) } }))
        }
        @if !idle.is_empty() {
            (notice(words, Tone::Warn, &html! { @for told in &idle { p { (told) } } }))
        }
        @if left > 0 {
            @let changes = words::capitalised(&words.counted(left, &texts.changes));
            (notice(words, Tone::Warn, &html! { p { ((texts.left)(&changes)) } }))
        }
    }
}

fn is_yes(kind: Kind) -> bool {
    matches!(kind, Kind::ConsentGiven | Kind::PreferenceChanged)
}

/// What an event of a choice comes to. A consent that ends may say only which one it was: that says the rest.
fn effect(words: &Words, trail: &Trail, event: &TrailEvent) -> Markup {
    let texts = &words.steering.choices;
    let ended = event.consent.as_ref().and_then(|consent| {
        let mut events = trail.events.iter();
        events.find(|one| one.is_named_by(consent, event))
    });
    let purposes = match ended {
        Some(ended) if event.purposes.is_empty() => &ended.purposes,
        _ => &event.purposes,
    };
    let purposes = if purposes.is_empty() {
        texts.whatever.to_owned()
    } else {
        words.terms_within(purposes)
    };
    let named = event.recipient.as_ref();
    let named = named.or_else(|| ended.and_then(|ended| ended.recipient.as_ref()));
    html! {
        @match (event.kind, named) {
            (Kind::ConsentGiven, None) => { ((texts.purpose_on)(&purposes)) }
            (Kind::ConsentGiven, Some(to)) => { ((texts.recipient_on)(&to.name, &purposes)) }
            (Kind::ConsentRefused | Kind::ConsentWithdrawn, None) => { ((texts.purpose_off)(&purposes)) }
            (Kind::ConsentRefused | Kind::ConsentWithdrawn, Some(to)) => {
                ((texts.recipient_off)(&to.name, &purposes))
            }
            (Kind::PreferenceChanged, Some(to)) => { ((texts.recipient_lifted)(&to.name, &purposes)) }
            _ => { (tell(event, words).markup()) }
        }
    }
}

/// Of recipients that were ticked, those that receive nothing all the same, and why.
fn idle(words: &Words, trail: &Trail, ticked: &str) -> Vec<String> {
    let ticked: BTreeSet<&str> = ticked.split(',').collect();
    let choices = Choices::of(trail);
    let told = choices.recipients.iter().filter_map(|choice| {
        let needed = needed(trail, &choices, choice);
        let is_idle = ticked.contains(choice.recipient.id.as_str()) && !needed.is_empty();
        let purposes = words.terms_within(&needed);
        is_idle.then(|| (words.steering.choices.idle)(&choice.recipient.name, &purposes))
    });
    told.collect()
}

/// The purposes that must be allowed before a recipient can be; none where a yes to it alone is enough.
fn needed(trail: &Trail, choices: &Choices, choice: &RecipientChoice) -> Vec<String> {
    if !choice.steerable || choice.state == ChoiceState::Allowed {
        return Vec::new();
    }
    let is_its = |one: &&PurposeChoice| one.rests_on_consent && choice.purposes.contains(&one.purpose);
    let is_off = |one: &&PurposeChoice| {
        let by = deciding(trail, one.by.as_ref());
        one.state == ChoiceState::Refused && by.is_none_or(|by| by.kind != Kind::ConsentExpired)
    };
    let (off, open): (Vec<_>, Vec<_>) = choices.purposes.iter().filter(is_its).partition(is_off);
    if open.is_empty() {
        off.iter().map(|one| one.purpose.clone()).collect()
    } else {
        Vec::new()
    }
}

/// What stands in `main`.
fn choices(words: &Words, trail: &Trail, csrf: &str, query: Option<&str>) -> Markup {
    let texts = &words.steering.choices;
    let choices = Choices::of(trail);
    let purposes = choices.purposes.iter().filter(|choice| choice.rests_on_consent);
    let purposes: Vec<Switch> = purposes
        .enumerate()
        .map(|(number, choice)| of_purpose(words, trail, &choices, number, choice))
        .collect();
    let recipients = choices.recipients.iter().filter(|choice| choice.steerable);
    let recipients: Vec<Switch> = recipients
        .enumerate()
        .map(|(number, choice)| {
            let label = choice.recipient.name.clone();
            of_recipient(words, trail, &choices, number, choice, label)
        })
        .collect();
    html! {
        div.stack {
            h1 { (words.common.navigation.choices) }
            (saved(words, trail, query))
            @if trail.totals().unreadable > 0 {
                (notice(words, Tone::Warn, &html! { p { (texts.unopened) } }))
            }
            @if purposes.is_empty() && recipients.is_empty() {
                p.lead { (texts.nothing) }
            } @else {
                p.lead { (texts.lead) }
                form.stack method="post" action="/me/choices" {
                    (csrf_field(csrf))
                    (group(texts.purposes, texts.purposes_hint, "purposes", &purposes, words))
                    (group(texts.recipients, texts.recipients_hint, "recipients", &recipients, words))
                    div.actions.save-bar {
                        button.btn type="submit" { (texts.save) }
                        span.hint { (texts.save_hint) }
                    }
                }
            }
            (fixed(words, &choices))
        }
    }
}

/// A checkbox, and what is to be known of it.
struct Switch {
    /// `purpose:dpv:DirectMarketing`, `recipient:mail.example`
    key: String,
    id: String,
    label: String,
    state: ChoiceState,
    /// Since when, and by which event.
    standing: Option<Markup>,
    details: Vec<String>,
}

fn of_purpose(
    words: &Words,
    trail: &Trail,
    choices: &Choices,
    number: usize,
    choice: &PurposeChoice,
) -> Switch {
    let texts = &words.steering.choices;
    let named = |id: &String| {
        let mut known = choices.recipients.iter();
        let found = known.find(|choice| choice.recipient.id == *id);
        found.map_or_else(|| id.clone(), |choice| choice.recipient.name.clone())
    };
    let recipients: Vec<String> = choice.recipients.iter().map(named).collect();
    let mut details = Vec::new();
    if !choice.categories.is_empty() {
        details.push((texts.covers)(&words.terms_within(&choice.categories)));
    }
    if !recipients.is_empty() {
        details.push((texts.goes_to)(&words.list(&recipients)));
    }
    Switch {
        key: format!("purpose:{}", choice.purpose),
        id: format!("purpose-{number}"),
        label: words.term(&choice.purpose),
        state: choice.state,
        standing: standing(words, trail, choice.since, choice.by.as_ref()),
        details,
    }
}

fn of_recipient(
    words: &Words,
    trail: &Trail,
    choices: &Choices,
    number: usize,
    choice: &RecipientChoice,
    label: String,
) -> Switch {
    let texts = &words.steering.choices;
    let (role, country) = (
        (words.common.role)(choice.recipient.role),
        words.country(&choice.recipient.country),
    );
    let mut details = vec![words::capitalised(&format!("{role}, {country}"))];
    if !choice.purposes.is_empty() {
        details.push((texts.used_for)(&words.terms_within(&choice.purposes)));
    }
    let needed = needed(trail, choices, choice);
    if !needed.is_empty() {
        details.push((texts.needs)(&words.terms_within(&needed)));
    }
    Switch {
        key: format!("recipient:{}", choice.recipient.id),
        id: format!("recipient-{number}"),
        label,
        state: choice.state,
        standing: standing(words, trail, choice.since, choice.by.as_ref()),
        details,
    }
}

/// Since when a choice stands, and by which event of the trail.
fn standing(
    words: &Words,
    trail: &Trail,
    since: Option<Timestamp>,
    by: Option<&TrailReference>,
) -> Option<Markup> {
    let texts = &words.steering.choices;
    let day = words.day(since?);
    let found = deciding(trail, by);
    Some(html! {
        @match found {
            Some(event) => {
                ((texts.since_when)(&day, (texts.deed)(event.kind))) ". "
                (place_link(words, trail, event))
            }
            None => { ((texts.since)(&day)) }
        }
    })
}

/// The event by which a choice stands.
fn deciding<'a>(trail: &'a Trail, by: Option<&TrailReference>) -> Option<&'a TrailEvent> {
    let by = by?;
    let mut events = trail.events.iter();
    events.find(|event| by.id == event.id && *by == event.name())
}

/// The switches of one kind.
fn group(legend: &str, hint: &str, id: &str, switches: &[Switch], words: &Words) -> Markup {
    html! {
        @if !switches.is_empty() {
            fieldset.choices aria-describedby={ (id) "-hint" } {
                legend { (legend) }
                p.hint id={ (id) "-hint" } { (hint) }
                @for switch in switches { (row(words, switch)) }
            }
        }
    }
}

fn row(words: &Words, switch: &Switch) -> Markup {
    let is_on = switch.state == ChoiceState::Allowed;
    let state = (words.steering.choices.state)(switch.state);
    html! {
        div.choice {
            input type="hidden" name={ "was:" (switch.key) } value=(if is_on { "yes" } else { "no" });
            div.switch {
                input type="checkbox" id=(switch.id) name={ "on:" (switch.key) } value="yes" checked[is_on]
                    aria-describedby={ (switch.id) "-about" };
                label for=(switch.id) { (switch.label) }
            }
            div.choice-about id={ (switch.id) "-about" } {
                p {
                    span.tag.tag-good[is_on] { (state) }
                    @if let Some(standing) = &switch.standing { " " (standing) }
                }
                @for detail in &switch.details { p.muted { (detail) "." } }
            }
        }
    }
}

/// The switch for one recipient, on its own page.
pub(super) fn switch_form(words: &Words, trail: &Trail, choice: &RecipientChoice, csrf: &str) -> Markup {
    let texts = &words.steering.choices;
    if !choice.steerable {
        return html! {
            p { (texts.fixed_recipient) }
            p { a href="/me/requests" { (texts.object) } }
        };
    }
    let choices = Choices::of(trail);
    let label = (texts.one_recipient)(&choice.recipient.name);
    html! {
        form.stack method="post" action="/me/choices" {
            (csrf_field(csrf))
            input type="hidden" name="back" value=(choice.recipient.id);
            (row(words, &of_recipient(words, trail, &choices, 0, choice, label)))
            div.actions { button.btn type="submit" { (texts.save_one) } }
        }
    }
}

/// What has no switch, and why.
fn fixed(words: &Words, choices: &Choices) -> Markup {
    let texts = &words.steering.choices;
    let purposes: Vec<&PurposeChoice> = choices
        .purposes
        .iter()
        .filter(|choice| !choice.rests_on_consent)
        .collect();
    let recipients: Vec<&RecipientChoice> = choices
        .recipients
        .iter()
        .filter(|choice| !choice.steerable)
        .collect();
    if purposes.is_empty() && recipients.is_empty() {
        return html! {};
    }
    html! {
        section.stack aria-labelledby="fixed" {
            h2 #fixed { (texts.fixed) }
            p { (texts.fixed_lead) }
            @if !purposes.is_empty() {
                dl.pair {
                    @for choice in purposes {
                        dt { (words.term(&choice.purpose)) }
                        dd { (reason(words, &choice.legal_bases)) }
                    }
                }
            }
            @if !recipients.is_empty() {
                p { (texts.fixed_recipients) }
                ul {
                    @for choice in recipients {
                        li { a href={ "/me/recipients/" (choice.recipient.id) } { (choice.recipient.name) } }
                    }
                }
            }
            p.actions { a.btn.btn-quiet href="/me/requests" { (texts.object) } }
        }
    }
}

fn reason(words: &Words, bases: &[String]) -> String {
    let texts = &words.steering.choices;
    if bases.is_empty() {
        return texts.fixed_purpose_none.to_owned();
    }
    let told: Vec<String> = bases.iter().map(|basis| law(basis, words)).collect();
    words::capitalised(&words.list(&told))
}

#[cfg(test)]
mod tests {
    use super::super::parts::samples::{self, check_escaped, check_forms, event, shared, trail};
    use super::*;

    /// Consent to direct marketing, on which a disclosure rests; and one that rests on a contract.
    fn usual() -> Trail {
        let given = TrailEvent {
            purposes: vec!["dpv:DirectMarketing".to_owned()],
            ..event(Kind::ConsentGiven, "yes", 1)
        };
        let resting = TrailEvent {
            legal_basis: Some("eu-gdpr:A6-1-a".to_owned()),
            consent: Some(samples::reference("yes")),
            ..shared("s1", 2, "mail.example", &["pd:Name"])
        };
        let fixed = TrailEvent {
            legal_basis: Some("eu-gdpr:A6-1-b".to_owned()),
            purposes: vec!["dpv:ServiceProvision".to_owned()],
            ..shared("s2", 3, "post.example", &["pd:PhysicalAddress"])
        };
        trail(vec![given, resting, fixed])
    }

    fn form(pairs: &[(&str, &str)]) -> Pairs {
        let owned = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    fn told(pairs: &[(&str, &str)]) -> (Vec<(String, bool)>, u64) {
        let wanted = wanted(&form(pairs), &Choices::of(&usual()));
        let name = |of: ChoiceOf| match of {
            ChoiceOf::Purpose(name) | ChoiceOf::Recipient(name) => name,
        };
        let changes = wanted.changes.into_iter();
        (
            changes.map(|change| (name(change.of), change.allowed)).collect(),
            wanted.left,
        )
    }

    const MARKETING: &str = "was:purpose:dpv:DirectMarketing";

    /// The fault: a page that was loaded before another change flips what its reader never saw.
    #[test]
    fn only_a_switch_that_was_moved_is_a_change() {
        let off = ("dpv:DirectMarketing".to_owned(), false);
        assert_eq!(told(&[(MARKETING, "yes")]), (vec![off], 0));
        assert_eq!(
            told(&[(MARKETING, "yes"), ("on:purpose:dpv:DirectMarketing", "yes")]),
            (Vec::new(), 0)
        );
        // Shown as off and left off: it is on by now, and stays.
        assert_eq!(told(&[(MARKETING, "no")]), (Vec::new(), 0));
        // A tick that came without the state that was shown.
        assert_eq!(
            told(&[("on:purpose:dpv:DirectMarketing", "yes")]),
            (Vec::new(), 0)
        );
        // Moved to where it is by now.
        assert_eq!(
            told(&[(MARKETING, "no"), ("on:purpose:dpv:DirectMarketing", "yes")]),
            (Vec::new(), 0)
        );
    }

    /// The fault: a form that was tampered with steers what has no switch, or something that nobody knows.
    #[test]
    fn what_has_no_switch_is_not_steered() {
        for name in [
            "was:purpose:dpv:ServiceProvision",
            "was:purpose:dpv:Nothing",
            "was:recipient:nobody.example",
            "was:other",
        ] {
            assert_eq!(told(&[(name, "yes")]), (Vec::new(), 1), "{name}");
        }
    }

    /// The fault: a yes to a recipient that is recorded after a no to a purpose brings the purpose back.
    #[test]
    fn what_is_taken_away_comes_last() {
        let mut told = usual();
        told.events.push(TrailEvent {
            recipient: Some(samples::recipient("mail.example")),
            purposes: vec!["dpv:DirectMarketing".to_owned()],
            ..event(Kind::ConsentRefused, "no", 4)
        });
        let pairs = form(&[
            (MARKETING, "yes"),
            ("was:recipient:mail.example", "no"),
            ("on:recipient:mail.example", "yes"),
        ]);
        let wanted = wanted(&pairs, &Choices::of(&told));
        let order: Vec<bool> = wanted.changes.iter().map(|change| change.allowed).collect();
        assert_eq!(order, [true, false]);
    }

    /// The fault: a form without its token, which the server refuses; or a switch without a label.
    #[test]
    fn the_form_has_tokens_labels_and_hidden_states() {
        let html = choices(words::english(), &usual(), "token", None).into_string();
        check_forms(&html, "token");
        assert!(html.contains("name=\"was:purpose:dpv:DirectMarketing\" value=\"yes\""));
        let boxes = html.matches("type=\"checkbox\"").count();
        assert_eq!(boxes, html.matches("name=\"was:").count());
        assert_eq!(boxes, html.matches("<label for=").count());
        assert_eq!(html.matches("<fieldset").count(), html.matches("<legend").count());
        // What rests on a contract is told with its ground.
        assert!(html.contains("Needed for your contract"));
        assert!(!html.contains("was:purpose:dpv:ServiceProvision"));
    }

    #[test]
    fn names_are_escaped() {
        let mut told = usual();
        for event in &mut told.events {
            if let Some(recipient) = &mut event.recipient {
                recipient.name = samples::MARKUP.to_owned();
            }
        }
        check_escaped(&choices(words::english(), &told, "token", None).into_string());
    }

    /// The fault: a withdrawal names the consent that it ends and nothing else, so that nobody learns what is off now.
    #[test]
    fn what_was_saved_is_told_by_what_it_comes_to() {
        let mut told = usual();
        let ended = |kind, id: &str, day| TrailEvent {
            consent: Some(samples::reference("yes")),
            ..event(kind, id, day)
        };
        told.events.extend([
            ended(Kind::ConsentWithdrawn, "off", 4),
            TrailEvent {
                recipient: Some(samples::recipient("mail.example")),
                ..ended(Kind::ConsentWithdrawn, "off-for-one", 5)
            },
        ]);
        let words = words::english();
        let texts = &words.steering.choices;
        let html = saved(words, &told, Some("recorded=0.4,0.5&left=0")).into_string();
        assert!(html.contains(&(texts.purpose_off)("direct marketing")));
        assert!(html.contains(&(texts.recipient_off)("The mail.example", "direct marketing")));
        assert!(html.contains(texts.after_no));
        let html = saved(words, &told, Some("recorded=0.1&left=0")).into_string();
        assert!(html.contains(&(texts.purpose_on)("direct marketing")) && html.contains(texts.after_yes));
    }

    /// The fault: a recipient is ticked, its purpose is off, and the page says that nothing was changed.
    #[test]
    fn a_tick_that_comes_to_nothing_is_told() {
        let mut told = usual();
        let words = words::english();
        let text = |trail: &Trail, query: &str| saved(words, trail, Some(query)).into_string();
        let query = "recorded=&left=0&ticked=mail.example,nobody.example";
        // It may receive: there is nothing to tell but that it is so already.
        assert!(text(&told, query).contains(words.steering.choices.unchanged));
        told.events.push(TrailEvent {
            consent: Some(samples::reference("yes")),
            ..event(Kind::ConsentWithdrawn, "off", 4)
        });
        let html = text(&told, query);
        let expected = (words.steering.choices.idle)("The mail.example", "direct marketing");
        assert!(html.contains(&expected));
        assert!(!html.contains(words.steering.choices.unchanged));
        assert!(!text(&told, "recorded=&left=0").contains("notice-warn"));
    }

    /// The fault: a link makes this page say that something was recorded.
    #[test]
    fn what_was_saved_is_read_from_the_trail() {
        let told = usual();
        let words = words::english();
        let text = |query: &str| saved(words, &told, Some(query)).into_string();
        assert!(text("recorded=0.1&left=0").contains(words.steering.choices.recorded));
        assert!(text("recorded=0.99&left=0").is_empty());
        assert!(text("recorded=&left=0").contains(words.steering.choices.unchanged));
        assert!(text("recorded=&left=2").contains("2 changes"));
        assert!(saved(words, &told, None).into_string().is_empty());
    }

    #[test]
    fn saving_leads_back_to_where_it_was_done_and_nowhere_else() {
        assert_eq!(back("mail.example"), "/me/recipients/mail.example");
        for odd in ["", "//evil.example/", "https://evil.example", "a b"] {
            assert_eq!(back(odd), "/me/choices", "{odd}");
        }
    }
}
