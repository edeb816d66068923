//! The officer's pages: requests to decide, findings, who received what; over all customers.
//!
//! In scope: markup, the decision form and what is wrong with it, paging and filtering findings. Out of scope: how the
//! view over all customers comes about (`watch`), carrying a decision out (`http::steering`).
//! Trust: every route asks for an officer. Forms are untrusted; whose request it is and what it is about is looked up.

use std::ops::Range;

use axum::extract::rejection::{FormRejection, PathRejection};
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use maud::{Markup, html};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_schemas::{Right, Timestamp};

use super::layout::{Frame, Nav, PageError, page};
use super::parts::{
    FormFault, Pairs, TEXT_CHARACTERS, Tone, csrf_field, day, described_by, fault_of, fault_summary, notice,
    now, parameter, placed, table, value_of, with_status, written,
};
use super::sentence::{corrected, corrected_away};
use super::words::{self, Words};
use crate::http::auth::{PageOfficer, Person, check_csrf};
use crate::http::problem::Problem;
use crate::http::site::{Site, blocking};
use crate::http::steering::{Decided, decide};
use crate::requests::RequestState;
use crate::watch::{Concern, RecipientTotals, WatchedFinding, WatchedRequest};

/// Requests on one page: each is a form, and a browser has to hold them all.
const REQUESTS_SHOWN: usize = 50;
/// Findings on one page.
const FINDINGS_SHOWN: usize = 50;

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/officer", get(show_requests))
        .route("/officer/requests/{shard}/{index}", post(answer))
        .route("/officer/findings", get(show_findings))
        .route("/officer/recipients", get(show_recipients))
}

async fn show_requests(
    State(site): State<Site>,
    PageOfficer(officer): PageOfficer,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let done = parameter(query.as_deref(), "done");
    let from = parameter(query.as_deref(), "from").and_then(|from| from.parse::<usize>().ok());
    let from = from.unwrap_or_default();
    requests_page(&site, &officer.person, from, done.as_deref(), None).await
}

async fn requests_page(
    site: &Site,
    person: &Person,
    from: usize,
    done: Option<&str>,
    wrong: Option<&Wrong>,
) -> Result<Response, PageError> {
    let requests = {
        let site = site.clone();
        blocking(move || Ok(site.watch.requests())).await?
    };
    let words = words::english();
    let shown = ToDecide {
        requests: &requests,
        from,
        progress: site.watch.progress(),
        done,
        wrong,
        csrf: &person.csrf(),
        now: now(),
    };
    let frame = Frame {
        site,
        person: Some(person),
        title: words.common.navigation.officer_requests,
        active: Nav::OfficerRequests,
        scripts: &[],
    };
    Ok(page(&frame, &shown.main(words)))
}

async fn answer(
    State(site): State<Site>,
    PageOfficer(officer): PageOfficer,
    place: Result<Path<(u32, u64)>, PathRejection>,
    form: Result<Form<Pairs>, FormRejection>,
) -> Result<Response, PageError> {
    let Path((shard, index)) = place.map_err(Problem::from)?;
    let Form(pairs) = form.map_err(Problem::from)?;
    check_csrf(&officer.person, value_of(&pairs, "csrf"))?;
    let place = (shard, LeafIndex(index));
    let request = {
        let site = site.clone();
        blocking(move || Ok(site.watch.requests())).await?
    };
    let request = request.into_iter().find(|one| place_of(one) == place);
    let Some(request) = request else {
        return Ok(Redirect::to("/officer?done=gone").into_response());
    };
    let decision = Decision::read(&pairs);
    match decision.check(&request) {
        Ok((granted, text)) => {
            let decided = decide(&site, shard, LeafIndex(index), granted, text).await?;
            let done = match decided {
                Decided::Closed => "closed",
                Decided::Erasing => "erasing",
            };
            Ok(Redirect::to(&format!("/officer?done={done}")).into_response())
        }
        Err(faults) => {
            let wrong = Wrong {
                place,
                decision,
                faults,
            };
            let page = requests_page(&site, &officer.person, 0, None, Some(&wrong)).await?;
            Ok(with_status(StatusCode::UNPROCESSABLE_ENTITY, page))
        }
    }
}

fn place_of(request: &WatchedRequest) -> (u32, LeafIndex) {
    (request.request.shard, request.request.index)
}

/// The id of a field of the form about a request.
fn field_of(request: &WatchedRequest, field: &str) -> String {
    let (shard, index) = place_of(request);
    format!("{field}-{shard}-{index}")
}

/// What was sent about a request.
#[derive(Debug, Default)]
struct Decision {
    is_granted: Option<bool>,
    text: String,
    is_confirmed: bool,
}

/// A decision that was not taken, to be shown again.
struct Wrong {
    place: (u32, LeafIndex),
    decision: Decision,
    faults: Vec<FormFault>,
}

impl Decision {
    fn read(pairs: &[(String, String)]) -> Self {
        Self {
            is_granted: match value_of(pairs, "decision") {
                "grant" => Some(true),
                "refuse" => Some(false),
                _ => None,
            },
            text: value_of(pairs, "reason").to_owned(),
            is_confirmed: value_of(pairs, "confirm") == "yes",
        }
    }

    /// Whether it is granted, and what the customer is told; or what is wrong.
    fn check(&self, about: &WatchedRequest) -> Result<(bool, Option<String>), Vec<FormFault>> {
        let texts = &words::english().officer.requests;
        let fault = |field: &str, reason| FormFault {
            field: field_of(about, field),
            reason,
        };
        let mut faults = Vec::new();
        if self.is_granted.is_none() {
            faults.push(fault("decision", texts.error_decision));
        }
        let text = written(&self.text);
        match &text {
            Err(_) => faults.push(fault("reason", texts.error_length)),
            Ok(None) if self.is_granted == Some(false) => faults.push(fault("reason", texts.error_reason)),
            Ok(_) => {}
        }
        let erases = self.is_granted == Some(true) && about.request.right == Right::Erasure;
        if erases && !self.is_confirmed {
            faults.push(fault("confirm", texts.error_confirm));
        }
        match (self.is_granted, text) {
            (Some(granted), Ok(text)) if faults.is_empty() => Ok((granted, text)),
            _ => Err(faults),
        }
    }
}

/// The page of requests to decide.
struct ToDecide<'a> {
    /// All of them.
    requests: &'a [WatchedRequest],
    /// How many come before the page that is asked for.
    from: usize,
    progress: (u64, u64),
    /// What was just done, as the address has it.
    done: Option<&'a str>,
    wrong: Option<&'a Wrong>,
    csrf: &'a str,
    now: Timestamp,
}

impl ToDecide<'_> {
    /// The requests on this page, as a range of all: those that are asked for; or those around one whose decision was
    /// wrong; or the first, where there are not that many any more.
    fn shown(&self) -> Range<usize> {
        let is_wrong = |one: &WatchedRequest| self.wrong.is_some_and(|wrong| wrong.place == place_of(one));
        let from = self.requests.iter().position(is_wrong).unwrap_or(self.from);
        let all = self.requests.len();
        let from = if from < all {
            from - from % REQUESTS_SHOWN
        } else {
            0
        };
        from..all.min(from + REQUESTS_SHOWN)
    }

    /// What stands in `main`.
    fn main(&self, words: &Words) -> Markup {
        let texts = &words.officer.requests;
        let faults = self.wrong.map_or(&[][..], |wrong| wrong.faults.as_slice());
        let shown = self.shown();
        let done = match self.done {
            Some("closed") => Some((Tone::Good, texts.closed)),
            Some("erasing") => Some((Tone::Good, texts.erasing_now)),
            Some("gone") => Some((Tone::Warn, texts.gone)),
            _ => None,
        };
        html! {
            div.stack {
                h1 { (words.common.navigation.officer_requests) }
                (fault_summary(texts.errors, faults))
                @if let Some((tone, text)) = done {
                    (notice(words, tone, &html! { p { (text) } }))
                }
                (progress(words, self.progress))
                p.lead { (texts.lead) }
                @if self.requests.is_empty() { p { (nothing(words, texts.none, self.progress)) } }
                @for request in &self.requests[shown.clone()] { (self.request(words, request)) }
                (self.other_pages(words, &shown))
            }
        }
    }

    /// Which of all these are, and the way to the others, where these are not all.
    fn other_pages(&self, words: &Words, shown: &Range<usize>) -> Markup {
        let texts = &words.officer.requests;
        let all = self.requests.len();
        let number = |number: usize| words.number(u64::try_from(number).unwrap_or(u64::MAX));
        html! {
            @if shown.len() < all {
                p { ((texts.part)(&number(shown.start + 1), &number(shown.end), &number(all))) }
                nav.actions aria-label=(texts.pages) {
                    @if shown.start > 0 { a.btn.btn-quiet href="/officer" { (texts.soonest) } }
                    @if shown.end < all {
                        a.btn.btn-quiet href={ "/officer?from=" (shown.end) } { (texts.later) }
                    }
                }
            }
        }
    }

    fn request(&self, words: &Words, about: &WatchedRequest) -> Markup {
        let texts = &words.officer.requests;
        let request = &about.request;
        let is_overdue = request.due < self.now;
        let title = (texts.heading)((texts.right)(request.right), &about.customer);
        let id = field_of(about, "request");
        html! {
            article.card.stack aria-labelledby=(id) {
                h2 id=(id) { (title) }
                dl.pair {
                    dt { (texts.asked) } dd { (day(words, request.opened)) }
                    dt { (texts.due) }
                    dd {
                        (day(words, request.due))
                        @if is_overdue { " " span.tag.tag-bad { (texts.overdue) } }
                    }
                    @if let Some(regime) = &request.regime { dt { (texts.regime) } dd { (regime) } }
                    @if let Some(text) = &request.description { dt { (texts.text) } dd.written { (text) } }
                    dt { (texts.id) } dd { code { (request.id) } }
                    dt { (texts.on_record) } dd { (placed(words, request.shard, request.index)) }
                }
                @if about.is_being_erased && request.right == Right::Erasure {
                    (notice(words, Tone::Warn, &html! { p { (texts.erasing) } }))
                } @else {
                    @if request.state == RequestState::Granted {
                        (notice(words, Tone::Warn, &html! { p { (texts.again) } }))
                    }
                    (self.form(words, about))
                }
            }
        }
    }

    fn form(&self, words: &Words, about: &WatchedRequest) -> Markup {
        let texts = &words.officer.requests;
        let (shard, index) = place_of(about);
        let wrong = self.wrong.filter(|wrong| wrong.place == (shard, index));
        let faults = wrong.map_or(&[][..], |wrong| wrong.faults.as_slice());
        let nothing = Decision::default();
        let sent = wrong.map_or(&nothing, |wrong| &wrong.decision);
        let is_erasure = about.request.right == Right::Erasure;
        let [decision, reason, confirm] =
            ["decision", "reason", "confirm"].map(|field| field_of(about, field));
        let grant = if is_erasure {
            texts.grant_erasure
        } else {
            texts.grant
        };
        let whose = (texts.send_about)((texts.right)(about.request.right), &about.customer);
        let is_wrong = |field: &str| faults.iter().any(|fault| fault.field == field);
        html! {
            form.stack method="post" action={ "/officer/requests/" (shard) "/" (index) } {
                (csrf_field(self.csrf))
                fieldset.choices id=(decision) tabindex="-1"
                    aria-describedby=[is_wrong(&decision).then(|| format!("{decision}-fault"))] {
                    legend { (texts.legend) " " span.visually-hidden { (whose) } }
                    (fault_of(faults, &decision))
                    @for (value, label, is_grant) in [("grant", grant, true), ("refuse", texts.refuse, false)] {
                        div.switch {
                            input type="radio" id={ (decision) "-" (value) } name="decision" value=(value)
                                checked[sent.is_granted == Some(is_grant)];
                            label for={ (decision) "-" (value) } { (label) }
                        }
                    }
                }
                div.field {
                    label for=(reason) { (texts.reason) }
                    p.hint id={ (reason) "-hint" } { (texts.reason_hint) }
                    (fault_of(faults, &reason))
                    textarea id=(reason) name="reason" rows="3" maxlength=(TEXT_CHARACTERS)
                        aria-describedby=(described_by(faults, &reason))
                        aria-invalid=[is_wrong(&reason).then_some("true")] {
                        (sent.text)
                    }
                }
                @if is_erasure {
                    div.choice {
                        (fault_of(faults, &confirm))
                        div.switch {
                            input type="checkbox" id=(confirm) name="confirm" value="yes"
                                checked[sent.is_confirmed] aria-describedby=(described_by(faults, &confirm))
                                aria-invalid=[is_wrong(&confirm).then_some("true")];
                            label for=(confirm) { (texts.confirm) }
                        }
                        p.choice-about.hint id={ (confirm) "-hint" } { (texts.confirm_hint) }
                    }
                }
                div.actions {
                    button.btn type="submit" { (texts.send) " " span.visually-hidden { (whose) } }
                }
            }
        }
    }
}

/// That not all is read yet.
fn progress(words: &Words, (read, total): (u64, u64)) -> Markup {
    html! {
        @if read < total {
            @let text = (words.officer.progress)(&words.number(read), &words.number(total));
            (notice(words, Tone::Warn, &html! { p { (text) } }))
        }
    }
}

/// That there is nothing; or nothing among what is read so far.
fn nothing(words: &Words, none: &'static str, (read, total): (u64, u64)) -> &'static str {
    if read < total {
        words.officer.none_yet
    } else {
        none
    }
}

/// Which finding it is: shard, index, the concern's name with whether it was corrected away.
type Cursor = (u32, u64, String);

fn cursor(finding: &WatchedFinding) -> Cursor {
    let away = if finding.corrected_away { ".away" } else { "" };
    let mark = format!("{}{away}", finding.concern.name());
    (finding.shard, finding.index.0, mark)
}

/// Which findings are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    /// The concern's name; empty for all.
    kind: String,
    /// The recipient's id; empty for all.
    recipient: String,
    /// The last one that was shown before.
    after: Option<Cursor>,
}

impl Asked {
    fn read(query: Option<&str>) -> Self {
        let kinds = words::english().officer.findings.kinds;
        let kind = parameter(query, "kind").filter(|kind| kinds.iter().any(|(name, _)| name == kind));
        let after = parameter(query, "after").and_then(|after| {
            let mut parts = after.splitn(3, '.');
            let (shard, index) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some((shard, index, parts.next()?.to_owned()))
        });
        Self {
            kind: kind.unwrap_or_default(),
            recipient: parameter(query, "recipient").map_or_else(String::new, |id| id.trim().to_owned()),
            after,
        }
    }

    fn admits(&self, finding: &WatchedFinding) -> bool {
        let recipient = finding.recipient.as_ref().map(|recipient| recipient.id.as_str());
        (self.kind.is_empty() || self.kind == finding.concern.name())
            && (self.recipient.is_empty() || recipient == Some(self.recipient.as_str()))
    }

    /// The address of the page after `last`, or of the first one.
    fn address(&self, last: Option<&WatchedFinding>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("kind", &self.kind);
        query.append_pair("recipient", &self.recipient);
        if let Some(last) = last {
            let (shard, index, mark) = cursor(last);
            query.append_pair("after", &format!("{shard}.{index}.{mark}"));
        }
        format!("/officer/findings?{}", query.finish())
    }
}

/// One page of findings.
#[derive(Debug, PartialEq, Eq)]
struct FindingsPage {
    shown: Vec<WatchedFinding>,
    /// How many come before those.
    before: usize,
    /// How many there are of this kind.
    total: usize,
}

impl FindingsPage {
    fn of(all: &[WatchedFinding], asked: &Asked) -> Self {
        let admitted: Vec<&WatchedFinding> = all.iter().filter(|finding| asked.admits(finding)).collect();
        let is_last = |finding: &&WatchedFinding| {
            let mut after = asked.after.iter();
            after.any(|after| after.1 == finding.index.0 && *after == cursor(finding))
        };
        // One that was shown before may be gone by now, with the customer: the list begins anew.
        let before = admitted.iter().rposition(is_last).map_or(0, |last| last + 1);
        let shown = admitted.iter().skip(before).take(FINDINGS_SHOWN);
        Self {
            shown: shown.copied().cloned().collect(),
            before,
            total: admitted.len(),
        }
    }

    fn has_more(&self) -> bool {
        self.before + self.shown.len() < self.total
    }
}

async fn show_findings(
    State(site): State<Site>,
    PageOfficer(officer): PageOfficer,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let asked = Asked::read(query.as_deref());
    let found = {
        let (site, asked) = (site.clone(), asked.clone());
        blocking(move || Ok(FindingsPage::of(&site.watch.view().findings, &asked))).await?
    };
    let words = words::english();
    let frame = Frame {
        site: &site,
        person: Some(&officer.person),
        title: words.common.navigation.officer_findings,
        active: Nav::OfficerFindings,
        scripts: &[],
    };
    let main = findings(words, &found, &asked, site.watch.progress());
    Ok(page(&frame, &main))
}

/// What stands in `main` of the page of findings.
fn findings(words: &Words, found: &FindingsPage, asked: &Asked, read: (u64, u64)) -> Markup {
    let texts = &words.officer.findings;
    let is_filtered = !asked.kind.is_empty() || !asked.recipient.is_empty();
    let none = if is_filtered { texts.none_fit } else { texts.none };
    html! {
        div.stack {
            h1 { (words.common.navigation.officer_findings) }
            (progress(words, read))
            p.lead { (texts.lead) }
            (finding_filter(words, asked))
            @if found.shown.is_empty() {
                p { (nothing(words, none, read)) }
            } @else {
                (findings_table(words, found))
            }
            @if found.before > 0 || found.has_more() {
                nav.actions aria-label=(texts.pages) {
                    @if found.before > 0 {
                        a.btn.btn-quiet href=(asked.address(None)) { (texts.newest) }
                    }
                    @if found.has_more() {
                        a.btn.btn-quiet href=(asked.address(found.shown.last())) { (texts.older) }
                    }
                }
            }
        }
    }
}

fn finding_filter(words: &Words, asked: &Asked) -> Markup {
    let texts = &words.officer.findings;
    html! {
        form.filters method="get" action="/officer/findings" aria-label=(texts.filter) {
            div.field {
                label for="kind" { (texts.kind_label) }
                select id="kind" name="kind" {
                    option value="" selected[asked.kind.is_empty()] { (texts.all) }
                    @for (name, label) in texts.kinds {
                        option value=(name) selected[asked.kind == *name] { (label) }
                    }
                }
            }
            div.field {
                label for="recipient" { (texts.recipient_label) }
                input type="text" id="recipient" name="recipient" value=(asked.recipient) maxlength="63"
                    autocapitalize="none" spellcheck="false";
            }
            div.actions { button.btn.btn-quiet type="submit" { (texts.apply) } }
        }
    }
}

fn findings_table(words: &Words, found: &FindingsPage) -> Markup {
    let texts = &words.officer.findings;
    let number = |number: usize| words.number(u64::try_from(number).unwrap_or(u64::MAX));
    let caption = (texts.caption)(
        &number(found.before + 1),
        &number(found.before + found.shown.len()),
        &number(found.total),
    );
    let head = [
        texts.what,
        texts.kind,
        texts.recipient,
        texts.customer,
        texts.when,
        texts.place,
    ];
    let rows = html! { @for finding in &found.shown { (finding_row(words, finding)) } };
    table("findings-table", &caption, &head, &rows)
}

fn finding_row(words: &Words, finding: &WatchedFinding) -> Markup {
    let texts = &words.officer.findings;
    let name = finding.concern.name();
    let mut kinds = texts.kinds.iter();
    let kind = kinds
        .find(|(known, _)| *known == name)
        .map_or(name, |&(_, label)| label);
    html! {
        tr {
            th scope="row" {
                (sentence(words, &finding.concern))
                @if finding.corrected_away { " " (corrected_away(&finding.corrected_at, words)) }
            }
            td { span.tag.tag-bad[!finding.corrected_away].tag-warn[finding.corrected_away] { (kind) } }
            td {
                @match &finding.recipient {
                    Some(recipient) => { (recipient.name) br; code { (recipient.id) } }
                    None => { (texts.unknown) }
                }
            }
            td {
                @match &finding.customer {
                    Some(customer) => { code { (customer) } }
                    None => { (texts.unknown) }
                }
            }
            td {
                @match finding.time {
                    Some(time) => { (day(words, time)) }
                    None => { (texts.unknown) }
                }
            }
            td.muted {
                (placed(words, finding.shard, finding.index)) ", "
                ((texts.signed_by)(finding.producer.as_str()))
                @if let Some(corrected) = corrected(&finding.corrected_at, words) { ", " (corrected) }
            }
        }
    }
}

/// What is the matter, in a sentence.
fn sentence(words: &Words, concern: &Concern) -> String {
    let texts = &words.officer.findings;
    match concern {
        Concern::Consent(finding) => (texts.consent)(finding),
        Concern::UnregisteredRecipient { recipient } => (texts.unregistered)(recipient),
        Concern::NoSafeguard { country } => (texts.no_safeguard)(words.country(country)),
        Concern::Unreadable { reason } => (texts.unreadable)(reason),
    }
}

async fn show_recipients(
    State(site): State<Site>,
    PageOfficer(officer): PageOfficer,
) -> Result<Response, PageError> {
    let totals = {
        let site = site.clone();
        blocking(move || Ok(site.watch.recipients())).await?
    };
    let words = words::english();
    let frame = Frame {
        site: &site,
        person: Some(&officer.person),
        title: words.common.navigation.officer_recipients,
        active: Nav::OfficerRecipients,
        scripts: &[],
    };
    Ok(page(&frame, &recipients(words, &totals, site.watch.progress())))
}

/// What stands in `main` of the page of recipients.
fn recipients(words: &Words, totals: &[RecipientTotals], read: (u64, u64)) -> Markup {
    let texts = &words.officer.recipients;
    let head = [
        texts.recipient,
        texts.role,
        texts.country,
        texts.disclosures,
        texts.customers,
        texts.days,
        texts.concerns,
        texts.registered,
    ];
    let rows = html! { @for sums in totals { (recipient_row(words, sums)) } };
    html! {
        div.stack {
            h1 { (words.common.navigation.officer_recipients) }
            (progress(words, read))
            p.lead { (texts.lead) }
            @if totals.is_empty() {
                p { (nothing(words, texts.none, read)) }
            } @else {
                (table("recipients-table", texts.caption, &head, &rows))
            }
        }
    }
}

fn recipient_row(words: &Words, sums: &RecipientTotals) -> Markup {
    let texts = &words.officer.recipients;
    let about_it = Asked {
        recipient: sums.id.clone(),
        ..Asked::default()
    };
    html! {
        tr {
            th scope="row" { (sums.name) br; code { (sums.id) } }
            td { ((words.common.role)(sums.role)) }
            td { (words.country(&sums.country)) }
            td.number {
                (words.number(sums.disclosures))
                @if sums.corrected_away > 0 {
                    @let times = words.counted(sums.corrected_away, &words.timeline.times);
                    span.cell-more { ((words.sharing.corrected_away)(&times)) }
                }
            }
            td.number { (words.number(sums.customers)) }
            td { (words.days(sums.first, sums.last)) }
            td {
                @if sums.concerns == 0 {
                    (texts.concerns_none)
                } @else {
                    a href=(about_it.address(None)) { (words.counted(sums.concerns, &texts.findings)) }
                }
            }
            td {
                @if sums.registered {
                    (texts.is_registered)
                } @else {
                    span.tag.tag-bad { (texts.not_registered) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
