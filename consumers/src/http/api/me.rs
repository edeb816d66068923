//! What a customer asks about their own trail: events, and who received them.
//!
//! In scope: the routes and their forms; pages of a trail. Out of scope: what they do about it (`steer`), files to take away
//! (`evidence`), being told of what is new (`stream`). Trust: every route asks for a customer's token, and the customer's id
//! comes out of that alone: no route takes an id of a customer.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{evidence, steer, stream};
use crate::http::auth::Customer;
use crate::http::filter::TrailFilter;
use crate::http::given::Given;
use crate::http::paging::{Order, TrailQuestion, limit, page};
use crate::http::problem::{CommonProblems, Problem, ProblemKind};
use crate::http::reading::trail_of;
use crate::http::site::Site;
use crate::trail::{
    CategorySummary, RecipientSummary, Totals, Trail, TrailCheckpoint, TrailEvent, TrailGeneration,
    TrailRecipient, Unopened,
};

/// The routes of customers.
pub(crate) fn routes() -> OpenApiRouter<Site> {
    OpenApiRouter::default()
        .routes(routes!(read_trail))
        .routes(routes!(list_recipients))
        .routes(routes!(read_recipient))
        .merge(steer::routes())
        .merge(evidence::routes())
        .merge(stream::routes())
}

/// A page of a customer's trail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TrailPage)]
struct TrailAnswer<'a> {
    /// The customer id.
    customer: &'a str,
    /// The events that open and fit the filter, in the order that was asked for.
    #[schema(value_type = Vec<TrailEvent>)]
    events: Vec<&'a TrailEvent>,
    /// The events that do not open, whatever the filter; on the first page alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<Unopened>, required = false)]
    unopened: Option<&'a [Unopened]>,
    /// The customer's generations, oldest first.
    #[schema(value_type = Vec<TrailGeneration>)]
    generations: &'a [TrailGeneration],
    /// The whole trail in numbers, whatever the filter.
    totals: Totals,
    /// The checkpoints under which the trail was read.
    #[schema(value_type = Vec<TrailCheckpoint>)]
    checkpoints: &'a [TrailCheckpoint],
    /// The cursor of the page that follows, where one does.
    next: Option<String>,
}

impl<'a> TrailAnswer<'a> {
    fn of(trail: &'a Trail, question: &TrailQuestion) -> Result<Self, Problem> {
        let found = page(trail, question)?;
        Ok(Self {
            customer: &trail.customer,
            events: found.events,
            unopened: question.cursor.is_none().then_some(&*trail.unopened),
            generations: &trail.generations,
            totals: trail.totals(),
            checkpoints: &trail.checkpoints,
            next: found.next,
        })
    }
}

/// The customer's trail
///
/// Everything on record about whoever asks, page by page, with what is the matter with each event. An event keeps the
/// fields that it was told with; `corrected_at` says where it was put right. Pages join up without gap or repeat while events are added. A time or date that is an event's is its producer's word.
#[utoipa::path(
    get,
    path = "/v1/me/trail",
    operation_id = "me_trail",
    tag = "customers",
    params(
        ("recipient" = Option<String>, Query, max_length = 256,
            description = "Events that name this recipient, by its id."),
        ("purpose" = Option<String>, Query, max_length = 256,
            description = "Events with this purpose: a `dpv` term."),
        ("category" = Option<String>, Query, max_length = 256,
            description = "Events about this category of data: a `pd` term."),
        ("kind" = Option<String>, Query, max_length = 256,
            description = "Events of this kind, such as `data.shared`."),
        ("country" = Option<String>, Query, pattern = "^[A-Za-z]{2}$",
            description = "Events whose recipient is in this country, or whose data went there (ISO 3166-1)."),
        ("from" = Option<String>, Query, max_length = 256,
            description = "What happened at this time or later: an RFC 3339 time, or a date of UTC."),
        ("to" = Option<String>, Query, max_length = 256,
            description = "What happened at this time or earlier; a date counts until it ends."),
        ("order" = Option<String>, Query, pattern = "^(newest|oldest)$",
            description = "`newest` first, which is usual, or `oldest` first."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 200,
            description = "Events of a page; 50 if left out."),
        ("cursor" = Option<String>, Query, max_length = 256,
            description = "`next` of the page before, with the same filter and order."),
    ),
    responses(
        (status = 200, description = "A page of the trail.", body = TrailAnswer),
        CommonProblems,
    ),
    security(("oidc" = []), ("session" = [])),
)]
async fn read_trail(
    State(site): State<Site>,
    customer: Customer,
    mut given: Given,
) -> Result<Response, Problem> {
    let question = TrailQuestion::take(&mut given);
    given.finish()?;
    let trail = trail_of(&site, &customer.id).await?;
    Ok(Json(TrailAnswer::of(&trail, &question)?).into_response())
}

/// Who received a customer's data.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TrailRecipients)]
struct RecipientsAnswer {
    /// By their ids.
    recipients: Vec<RecipientSummary>,
    /// What the events are about, by category.
    categories: Vec<CategorySummary>,
}

/// Who received the customer's data
///
/// Every organisation to which data of whoever asks was disclosed, with what, what for and how often: as disclosures were
/// put right. One that was told first and exchanged since stays listed; `corrected_away` says how often.
#[utoipa::path(
    get,
    path = "/v1/me/recipients",
    operation_id = "me_recipients",
    tag = "customers",
    responses(
        (status = 200, description = "The recipients.", body = RecipientsAnswer),
        CommonProblems,
    ),
    security(("oidc" = []), ("session" = [])),
)]
async fn list_recipients(
    State(site): State<Site>,
    customer: Customer,
    given: Given,
) -> Result<Response, Problem> {
    given.finish()?;
    let trail = trail_of(&site, &customer.id).await?;
    let answer = RecipientsAnswer {
        recipients: trail.recipients(),
        categories: trail.categories(),
    };
    Ok(Json(answer).into_response())
}

/// One organisation, and what it has to do with a customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TrailOfRecipient)]
struct RecipientAnswer<'a> {
    /// Who it is, as told last.
    #[schema(value_type = TrailRecipient)]
    recipient: &'a TrailRecipient,
    /// What it received; none where events name it and nothing was disclosed to it.
    received: Option<RecipientSummary>,
    /// The newest events that name it.
    #[schema(value_type = Vec<TrailEvent>)]
    events: Vec<&'a TrailEvent>,
    /// Where there are more: the cursor that follows, for `/v1/me/trail?recipient=…`.
    next: Option<String>,
}

/// One recipient
///
/// What one organisation received of whoever asks, and the newest events that name it.
#[utoipa::path(
    get,
    path = "/v1/me/recipients/{id}",
    operation_id = "me_recipient",
    tag = "customers",
    params(
        ("id" = String, Path, description = "The recipient's id.", example = "mailhouse.example"),
        ("limit" = Option<u64>, Query, description = "Events; 50 if left out.", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, description = "The recipient.", body = RecipientAnswer),
        CommonProblems,
    ),
    security(("oidc" = []), ("session" = [])),
)]
async fn read_recipient(
    State(site): State<Site>,
    customer: Customer,
    id: Result<Path<String>, PathRejection>,
    mut given: Given,
) -> Result<Response, Problem> {
    let Path(id) = id?;
    let question = TrailQuestion {
        filter: TrailFilter {
            recipient: Some(id.clone()),
            ..TrailFilter::default()
        },
        order: Order::default(),
        limit: limit(&mut given),
        cursor: None,
    };
    given.finish()?;
    let trail = trail_of(&site, &customer.id).await?;
    answer(&trail, &id, &question)
}

fn answer(trail: &Trail, id: &str, question: &TrailQuestion) -> Result<Response, Problem> {
    let mut named = trail
        .events
        .iter()
        .rev()
        .filter_map(|event| event.recipient.as_ref());
    let Some(recipient) = named.find(|recipient| recipient.id == id) else {
        let text = "nothing on record about you names a recipient of this id";
        return Err(Problem::new(ProblemKind::NotFound, text));
    };
    let found = page(trail, question)?;
    let answer = RecipientAnswer {
        recipient,
        received: trail.recipients().into_iter().find(|one| one.id == id),
        events: found.events,
        next: found.next,
    };
    Ok(Json(answer).into_response())
}
