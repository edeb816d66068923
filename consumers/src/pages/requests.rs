//! Requests: what I asked of the company, and asking for something.
//!
//! In scope: the list, the form, what is wrong with what was sent. Out of scope: which event a request becomes, deciding
//! it (see `officer`). Trust: the form is untrusted; what it says is checked before anything is recorded.

use axum::extract::rejection::FormRejection;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Form, Router};
use maud::{Markup, html};
use sharetrail_schemas::{Right, Timestamp};

use super::layout::{Frame, Nav, PageError, page};
use super::parts::{
    FormFault, Pairs, TEXT_CHARACTERS, Tone, csrf_field, day, described_by, event_at, fault_of,
    fault_summary, list_of_places, notice, now, parameter, place_link, places, table, value_of, with_status,
    written,
};
use super::words::{self, Words};
use crate::http::auth::{PageCustomer, Person, check_csrf};
use crate::http::problem::{Problem, ProblemKind};
use crate::http::reading::trail_of;
use crate::http::site::Site;
use crate::http::steering::open_request;
use crate::requests::{CustomerRequest, RequestState, requests};
use crate::trail::Trail;

/// The fields of the form, by their ids.
const RIGHT: &str = "right";
const TEXT: &str = "text";
const CONFIRM: &str = "confirm";

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/me/requests", get(show).post(ask))
}

async fn show(
    State(site): State<Site>,
    PageCustomer(customer): PageCustomer,
    RawQuery(query): RawQuery,
) -> Result<Response, PageError> {
    let trail = trail_of(&site, &customer.id).await?;
    let asked = Asked::default();
    Ok(answer(
        &site,
        &customer.person,
        &trail,
        &asked,
        &[],
        query.as_deref(),
    ))
}

async fn ask(
    State(site): State<Site>,
    PageCustomer(customer): PageCustomer,
    form: Result<Form<Pairs>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(pairs) = form.map_err(Problem::from)?;
    check_csrf(&customer.person, value_of(&pairs, "csrf"))?;
    let asked = Asked::read(&pairs);
    let (right, text) = match asked.check() {
        Ok(good) => good,
        Err(faults) => {
            let trail = trail_of(&site, &customer.id).await?;
            let page = answer(&site, &customer.person, &trail, &asked, &faults, None);
            return Ok(with_status(StatusCode::UNPROCESSABLE_ENTITY, page));
        }
    };
    let recorded = match open_request(&site, &customer.id, right, text).await {
        Ok(recorded) => recorded,
        Err(problem) if problem.kind() == ProblemKind::Conflict => {
            let faults = [asked.conflict()];
            let trail = trail_of(&site, &customer.id).await?;
            let page = answer(&site, &customer.person, &trail, &asked, &faults, None);
            return Ok(with_status(StatusCode::CONFLICT, page));
        }
        Err(problem) => return Err(problem.into()),
    };
    let place = list_of_places(&[(recorded.shard, recorded.index)]);
    Ok(Redirect::to(&format!("/me/requests?opened={place}")).into_response())
}

fn answer(
    site: &Site,
    person: &Person,
    trail: &Trail,
    asked: &Asked,
    faults: &[FormFault],
    query: Option<&str>,
) -> Response {
    let words = words::english();
    let shown = Shown {
        trail,
        asked,
        faults,
        opened: parameter(query, "opened"),
        csrf: &person.csrf(),
        now: now(),
    };
    let frame = Frame {
        site,
        person: Some(person),
        title: words.common.navigation.requests,
        active: Nav::Requests,
        scripts: &[],
    };
    page(&frame, &shown.main(words))
}

/// What was sent.
#[derive(Debug, Default)]
struct Asked {
    right: Option<Right>,
    text: String,
    is_confirmed: bool,
}

impl Asked {
    fn read(pairs: &[(String, String)]) -> Self {
        Self {
            right: Right::from_name(value_of(pairs, RIGHT)),
            text: value_of(pairs, TEXT).to_owned(),
            is_confirmed: value_of(pairs, CONFIRM) == "yes",
        }
    }

    /// Why it cannot be asked for beside what is asked for already.
    fn conflict(&self) -> FormFault {
        let texts = &words::english().steering.requests;
        let is_deletion = self.right == Some(Right::Erasure);
        FormFault {
            field: RIGHT.to_owned(),
            reason: if is_deletion {
                texts.error_deleting
            } else {
                texts.error_many
            },
        }
    }

    /// What is asked for, with a text; or what is wrong.
    fn check(&self) -> Result<(Right, Option<String>), Vec<FormFault>> {
        let texts = &words::english().steering.requests;
        let fault = |field: &str, reason| FormFault {
            field: field.to_owned(),
            reason,
        };
        let mut faults = Vec::new();
        if self.right.is_none() {
            faults.push(fault(RIGHT, texts.error_right));
        }
        let text = written(&self.text);
        if text.is_err() {
            faults.push(fault(TEXT, texts.error_text));
        }
        if self.right == Some(Right::Erasure) && !self.is_confirmed {
            faults.push(fault(CONFIRM, texts.error_confirm));
        }
        match (self.right, text) {
            (Some(right), Ok(text)) if faults.is_empty() => Ok((right, text)),
            _ => Err(faults),
        }
    }
}

/// All that the page shows.
struct Shown<'a> {
    trail: &'a Trail,
    asked: &'a Asked,
    faults: &'a [FormFault],
    /// The place of a request that was just opened.
    opened: Option<String>,
    csrf: &'a str,
    now: Timestamp,
}

impl Shown<'_> {
    /// What stands in `main`.
    fn main(&self, words: &Words) -> Markup {
        let texts = &words.steering.requests;
        let requests = requests(self.trail);
        html! {
            div.stack {
                h1 { (words.common.navigation.requests) }
                (fault_summary(texts.errors, self.faults))
                (self.sent(words, &requests))
                p.lead { (texts.lead) }
                (self.erased(words))
                @if !requests.is_empty() {
                    section.stack aria-labelledby="asked" {
                        h2 #asked { (texts.heading) }
                        (self.list(words, &requests))
                    }
                }
                section.stack aria-labelledby="ask" {
                    h2 #ask { (texts.form) }
                    (self.form(words))
                }
            }
        }
    }

    fn sent(&self, words: &Words, requests: &[CustomerRequest]) -> Markup {
        let opened = self.opened.as_deref().map(places).unwrap_or_default();
        let found = requests
            .iter()
            .find(|request| opened.contains(&(request.shard, request.index)));
        html! {
            @if let Some(request) = found {
                @let right = (words.common.right)(request.right);
                @let texts = &words.steering.requests;
                @let text = (texts.sent)(right, &words.day(request.due));
                (notice(words, Tone::Good, &html! { h2 { (texts.sent_heading) } p { (text) } }))
            }
        }
    }

    /// That data was deleted, with the certificate of it.
    fn erased(&self, words: &Words) -> Markup {
        let texts = &words.steering.requests;
        let generations = self.trail.generations.iter();
        html! {
            @for one in generations.filter(|one| one.erased_at.is_some()) {
                (notice(words, Tone::Warn, &html! {
                    @match one.erased_by {
                        Some(time) => { p { ((texts.erased)(&words.day(time))) } }
                        None => { p { (texts.erased_undated) } }
                    }
                    p {
                        a href={ "/me/download/certificate-" (one.generation) ".json" } { (texts.certificate) }
                    }
                }))
            }
        }
    }

    fn list(&self, words: &Words, requests: &[CustomerRequest]) -> Markup {
        let texts = &words.steering.requests;
        let head = [
            texts.what,
            texts.state,
            texts.asked,
            texts.due,
            texts.answer,
            texts.on_record,
        ];
        let rows = html! { @for request in requests { (self.row(words, request)) } };
        table("requests", texts.caption, &head, &rows)
    }

    fn row(&self, words: &Words, request: &CustomerRequest) -> Markup {
        let texts = &words.steering.requests;
        let (name, _) = (texts.right)(request.right);
        let is_overdue = request.state.is_open() && request.due < self.now;
        let is_granted = request.state == RequestState::Granted;
        html! {
            tr {
                th scope="row" {
                    (name)
                    @if let Some(text) = &request.description {
                        p.muted.written { ((texts.you_wrote)(text)) }
                    }
                }
                td {
                    span.tag.tag-good[is_granted] { ((texts.state_of)(request.state)) }
                    @if is_overdue { " " span.tag.tag-bad { (texts.overdue) } }
                }
                td { (day(words, request.opened)) }
                td { (day(words, request.due)) }
                td {
                    @if let Some(closed) = request.closed { p { ((texts.answered)(&words.day(closed))) } }
                    @if let Some(told) = told(request) { p.written { (told) } }
                }
                td {
                    @if let Some(event) = event_at(self.trail, (request.shard, request.index)) {
                        (place_link(words, self.trail, event))
                    }
                }
            }
        }
    }

    fn form(&self, words: &Words) -> Markup {
        let texts = &words.steering.requests;
        let is_wrong = |field: &str| self.faults.iter().any(|fault| fault.field == field);
        let invalid = |field: &str| is_wrong(field).then_some("true");
        html! {
            form.stack method="post" action="/me/requests" {
                (csrf_field(self.csrf))
                fieldset.choices id=(RIGHT) tabindex="-1"
                    aria-describedby=[is_wrong(RIGHT).then_some("right-fault")] {
                    legend { (texts.legend) }
                    (fault_of(self.faults, RIGHT))
                    @for &right in Right::ALL {
                        @let (name, about) = (texts.right)(right);
                        @let id = format!("right-{}", right.name());
                        div.choice.choice-confirmed[right == Right::Erasure] {
                            div.switch {
                                input type="radio" id=(id) name=(RIGHT) value=(right.name())
                                    checked[self.asked.right == Some(right)] aria-describedby={ (id) "-about" };
                                label for=(id) { (name) }
                            }
                            p.choice-about.muted id={ (id) "-about" } { (about) }
                            @if right == Right::Erasure { (self.confirm(words)) }
                        }
                    }
                }
                div.field {
                    label for=(TEXT) { (texts.text) }
                    p.hint id="text-hint" { (texts.text_hint) }
                    (fault_of(self.faults, TEXT))
                    textarea id=(TEXT) name=(TEXT) rows="4" maxlength=(TEXT_CHARACTERS)
                        aria-describedby=(described_by(self.faults, TEXT)) aria-invalid=[invalid(TEXT)] {
                        (self.asked.text)
                    }
                }
                div.actions { button.btn type="submit" { (texts.send) } }
            }
        }
    }

    /// That a deletion is meant; style sheets hide it where something else is chosen.
    fn confirm(&self, words: &Words) -> Markup {
        let texts = &words.steering.requests;
        let is_wrong = self.faults.iter().any(|fault| fault.field == CONFIRM);
        html! {
            div.choice-confirm {
                (fault_of(self.faults, CONFIRM))
                div.switch {
                    input type="checkbox" id=(CONFIRM) name=(CONFIRM) value="yes"
                        checked[self.asked.is_confirmed]
                        aria-describedby=(described_by(self.faults, CONFIRM))
                        aria-invalid=[is_wrong.then_some("true")];
                    label for=(CONFIRM) { (texts.confirm) }
                }
                p.hint id="confirm-hint" { (texts.confirm_hint) }
            }
        }
    }
}

/// What the customer was told: the text, else the outcome where it says more than the state does.
fn told(request: &CustomerRequest) -> Option<&str> {
    let outcome = request.outcome.as_deref();
    let outcome = outcome.filter(|outcome| !matches!(*outcome, "" | "granted" | "refused"));
    request.answer.as_deref().or(outcome)
}

#[cfg(test)]
mod tests {
    use super::super::parts::samples::{MARKUP, check_escaped, check_forms, event, time, trail};
    use super::*;
    use crate::trail::{TrailEvent, TrailRequest};
    use sharetrail_schemas::Kind;

    fn opened(id: &str, number: u64, right: Right, due: i64) -> TrailEvent {
        TrailEvent {
            request: Some(TrailRequest {
                id: id.to_owned(),
                right,
                regime: None,
                status: Some("open".to_owned()),
                due: Some(time(due)),
            }),
            description: Some(MARKUP.to_owned()),
            ..event(Kind::RequestOpened, id, number)
        }
    }

    fn main(trail: &Trail, opened: Option<&str>, faults: &[FormFault]) -> String {
        let shown = Shown {
            trail,
            asked: &Asked::default(),
            faults,
            opened: opened.map(str::to_owned),
            csrf: "token",
            now: time(40),
        };
        shown.main(words::english()).into_string()
    }

    fn asked(pairs: &[(&str, &str)]) -> Asked {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Asked::read(&pairs.collect::<Pairs>())
    }

    fn fields(asked: &Asked) -> Vec<String> {
        let faults = asked.check().err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.field).collect()
    }

    /// The fault: a slip of the hand asks for deletion.
    #[test]
    fn deletion_must_be_confirmed() {
        assert_eq!(fields(&asked(&[("right", "erasure")])), [CONFIRM]);
        let sure = asked(&[("right", "erasure"), ("confirm", "yes"), ("text", "please\r\n")]);
        let text = Some("please".to_owned());
        assert_eq!(sure.check().ok(), Some((Right::Erasure, text)));
        assert_eq!(
            asked(&[("right", "access")]).check().ok(),
            Some((Right::Access, None))
        );
    }

    #[test]
    fn what_cannot_be_asked_is_told_by_field() {
        assert_eq!(fields(&asked(&[])), [RIGHT]);
        assert_eq!(
            fields(&asked(&[("right", "everything"), ("text", "\u{0}")])),
            [RIGHT, TEXT]
        );
    }

    /// The fault: what a customer wrote becomes markup on the page of somebody else, or of their own.
    #[test]
    fn requests_are_listed_and_escaped() {
        let told = trail(vec![
            opened("r1", 1, Right::Access, 31),
            opened("r2", 20, Right::Erasure, 50),
        ]);
        let html = main(&told, None, &[]);
        check_escaped(&html);
        check_forms(&html, "token");
        let words = words::english();
        // The first was due nine days ago, the second is not.
        assert_eq!(html.matches(words.steering.requests.overdue).count(), 1);
        assert_eq!(html.matches("type=\"radio\"").count(), Right::ALL.len());
        // What confirms a deletion stands with the choice of it.
        let of_deletion = html.split("choice-confirmed").nth(1).unwrap();
        let of_deletion = of_deletion.split("type=\"radio\"").nth(1).unwrap();
        assert!(of_deletion.contains("id=\"confirm\""));
        assert_eq!(html.matches("<h1").count(), 1);
    }

    /// The fault: an answer is told as another request's, or twice: as the state and as its word.
    #[test]
    fn the_answer_is_told_once_and_with_its_request() {
        let closed = |text: Option<&str>| {
            let mut closed = opened("r1", 9, Right::Access, 31);
            closed.kind = Kind::RequestClosed;
            closed.id = "r1-closed".to_owned();
            closed.outcome = Some("refused".to_owned());
            closed.description = text.map(str::to_owned);
            let first = opened("r1", 1, Right::Access, 31);
            requests(&trail(vec![first, opened("r2", 2, Right::Access, 31), closed]))
        };
        let of = |listed: &[CustomerRequest], id: &str| {
            let found = listed.iter().find(|request| request.id == id);
            found.and_then(told).map(str::to_owned)
        };
        let listed = closed(Some("It is not yours."));
        assert_eq!(of(&listed, "r1").as_deref(), Some("It is not yours."));
        assert_eq!((of(&listed, "r2"), of(&closed(None), "r1")), (None, None));
    }

    #[test]
    fn what_was_sent_is_read_from_the_trail() {
        let told = trail(vec![opened("r1", 1, Right::Access, 31)]);
        assert!(main(&told, Some("0.1"), &[]).contains("notice-good"));
        assert!(!main(&told, Some("0.2"), &[]).contains("notice-good"));
    }

    #[test]
    fn faults_are_told_above_and_beside() {
        let faults = asked(&[]).check().err().unwrap_or_default();
        let html = main(&trail(Vec::new()), None, &faults);
        assert!(html.contains("href=\"#right\"") && html.contains("id=\"right-fault\""));
        assert!(html.contains("role=\"alert\""));
    }
}
