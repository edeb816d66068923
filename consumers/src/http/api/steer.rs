//! What a customer does about their trail: choices, and requests.
//!
//! In scope: the routes and their forms. Out of scope: making the events and having them recorded (`steering`), what choices
//! mean (`choices`). Trust: every route asks for a customer's token. What is answered after a change is read from the ledger
//! again, not what was asked for.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::decimal;
use sharetrail_schemas::Right;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::choices::{ChoiceChange, ChoiceOf, Choices};
use crate::http::auth::Customer;
use crate::http::given::{Given, fault, written};
use crate::http::hands::Recorded;
use crate::http::problem::{CommonProblems, Problem, ProblemKind};
use crate::http::reading::trail_of;
use crate::http::site::Site;
use crate::http::steering::{change_choice, open_request};
use crate::requests::{CustomerRequest, requests};

/// Characters of a term or an id.
const TERM_MAX: usize = 256;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Site> {
    OpenApiRouter::default()
        .routes(routes!(read_choices, write_choice))
        .routes(routes!(list_requests, write_request))
        .routes(routes!(read_request))
}

/// An event that was recorded.
#[derive(Debug, Serialize, ToSchema)]
struct OwnReceipt {
    /// The shard whose log holds it.
    shard: u32,
    /// Where in that log.
    #[schema(value_type = u64)]
    index: LeafIndex,
    /// That the log holds it: a C2SP tlog-proof, which verifies against `/policy`.
    tlog_proof: String,
}

impl OwnReceipt {
    fn of(recorded: Recorded) -> Self {
        Self {
            shard: recorded.shard,
            index: recorded.index,
            tlog_proof: recorded.tlog_proof,
        }
    }
}

/// The customer's choices
///
/// For which purposes and to which recipients data may go, as far as consent decides it.
#[utoipa::path(
    get,
    path = "/v1/me/choices",
    operation_id = "me_choices",
    tag = "customers",
    responses(
        (status = 200, description = "The choices.", body = Choices),
        CommonProblems,
    ),
    security(("oidc" = []), ("session" = [])),
)]
async fn read_choices(
    State(site): State<Site>,
    customer: Customer,
    given: Given,
) -> Result<Response, Problem> {
    given.finish()?;
    let trail = trail_of(&site, &customer.id).await?;
    Ok(Json(Choices::of(&trail)).into_response())
}

/// A choice as it is to be: of a purpose or of a recipient.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "purpose": "dpv:DirectMarketing", "allowed": false }))]
struct WantedChoice {
    /// A purpose, for all recipients: a `dpv` term.
    #[schema(max_length = 256)]
    purpose: Option<String>,
    /// A recipient, for all purposes: its id.
    #[schema(max_length = 256)]
    recipient: Option<String>,
    /// Whether data may go.
    allowed: bool,
}

impl WantedChoice {
    fn read(self) -> Result<ChoiceChange, Problem> {
        let of = match (self.purpose, self.recipient) {
            (Some(purpose), None) => ChoiceOf::Purpose(term("purpose", purpose)?),
            (None, Some(recipient)) => ChoiceOf::Recipient(term("recipient", recipient)?),
            _ => {
                let text = "a choice is of a purpose or of a recipient: give one of the two";
                return Err(Problem::new(ProblemKind::BadRequest, text));
            }
        };
        let allowed = self.allowed;
        Ok(ChoiceChange { of, allowed })
    }
}

fn term(field: &str, text: String) -> Result<String, Problem> {
    let is_fine = (1..=TERM_MAX).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if is_fine {
        return Ok(text);
    }
    let reason = format!("it is not 1 to {TERM_MAX} characters, none of them a control character");
    let what = "the choice cannot be read";
    Err(Problem::new(ProblemKind::BadRequest, what).with_errors(vec![fault(field, reason)]))
}

/// What the choices are after a change.
#[derive(Debug, Serialize, ToSchema)]
struct ChangedChoices {
    /// The choices now.
    choices: Choices,
    /// The events that were recorded for it; none if it was so already.
    receipts: Vec<OwnReceipt>,
}

/// Changes a choice
///
/// Records that whoever asks consents, refuses or withdraws. It is on record when this returns, and whoever asks before the
/// next share is told no, or yes.
#[utoipa::path(
    post,
    path = "/v1/me/choices",
    operation_id = "me_choose",
    tag = "customers",
    request_body(content = WantedChoice, content_type = "application/json"),
    responses(
        (status = 200, description = "It is so, and on record.", body = ChangedChoices),
        (status = 504, description = "It may be done, and is not known to be; look before you repeat it.",
            body = Problem, content_type = "application/problem+json"),
        CommonProblems,
    ),
    security(("oidc" = []), ("session" = [])),
)]
async fn write_choice(
    State(site): State<Site>,
    customer: Customer,
    given: Given,
    wanted: Result<Json<WantedChoice>, JsonRejection>,
) -> Result<Response, Problem> {
    given.finish()?;
    let Json(wanted) = wanted?;
    let recorded = change_choice(&site, &customer.id, wanted.read()?).await?;
    let trail = trail_of(&site, &customer.id).await?;
    let answer = ChangedChoices {
        choices: Choices::of(&trail),
        receipts: recorded.into_iter().map(OwnReceipt::of).collect(),
    };
    Ok(Json(answer).into_response())
}

/// The requests of a customer.
#[derive(Debug, Serialize, ToSchema)]
struct OwnRequests {
    /// The newest first.
    requests: Vec<CustomerRequest>,
}

/// The customer's requests
///
/// What whoever asks has asked for under the law, how far each is, and when it is due.
#[utoipa::path(
    get,
    path = "/v1/me/requests",
    operation_id = "me_requests",
    tag = "customers",
    responses(
        (status = 200, description = "The requests.", body = OwnRequests),
        CommonProblems,
    ),
    security(("oidc" = []), ("session" = [])),
)]
async fn list_requests(
    State(site): State<Site>,
    customer: Customer,
    given: Given,
) -> Result<Response, Problem> {
    given.finish()?;
    let trail = trail_of(&site, &customer.id).await?;
    let requests = requests(&trail);
    Ok(Json(OwnRequests { requests }).into_response())
}

/// A right of a customer.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WantedRight {
    /// To see the data (GDPR Article 15).
    Access,
    /// To have it corrected (Article 16).
    Rectification,
    /// To have it deleted (Article 17).
    Erasure,
    /// To have its use suspended (Article 18).
    Restriction,
    /// To take it along (Article 20).
    Portability,
    /// To object to its use (Article 21).
    Objection,
}

impl From<WantedRight> for Right {
    fn from(right: WantedRight) -> Self {
        match right {
            WantedRight::Access => Self::Access,
            WantedRight::Rectification => Self::Rectification,
            WantedRight::Erasure => Self::Erasure,
            WantedRight::Restriction => Self::Restriction,
            WantedRight::Portability => Self::Portability,
            WantedRight::Objection => Self::Objection,
        }
    }
}

/// What a customer asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "right": "rectification", "description": "My street is Hill Road 7." }))]
struct WantedRequest {
    /// The right.
    right: WantedRight,
    /// What it is about, in the customer's words.
    #[schema(max_length = 2000)]
    description: Option<String>,
}

/// A request that was made.
#[derive(Debug, Serialize, ToSchema)]
struct OpenedRequest {
    /// The request.
    request: CustomerRequest,
    /// The event by which it was made.
    receipt: OwnReceipt,
}

/// Makes a request
///
/// Records that whoever asks exercises a right. It is on record when this returns; an officer decides it. One erasure is
/// asked for at a time: another one is refused while the first is open.
#[utoipa::path(
    post,
    path = "/v1/me/requests",
    operation_id = "me_request",
    tag = "customers",
    request_body(content = WantedRequest, content_type = "application/json"),
    responses(
        (status = 201, description = "It is made, and on record.", body = OpenedRequest,
            headers(("location" = String, description = "Where the request is."))),
        (status = 504, description = "It may be done, and is not known to be; look before you repeat it.",
            body = Problem, content_type = "application/problem+json"),
        CommonProblems,
    ),
    security(("oidc" = []), ("session" = [])),
)]
async fn write_request(
    State(site): State<Site>,
    customer: Customer,
    given: Given,
    wanted: Result<Json<WantedRequest>, JsonRejection>,
) -> Result<Response, Problem> {
    given.finish()?;
    let Json(wanted) = wanted?;
    let description = written("description", wanted.description.as_deref())?;
    let recorded = open_request(&site, &customer.id, wanted.right.into(), description).await?;
    let (shard, index) = (recorded.shard, recorded.index);
    let place = format!("/v1/me/requests/{shard}/{index}");
    let request = match find(&site, &customer.id, shard, index).await {
        Ok(Some(request)) => request,
        Err(problem) if problem.kind() != ProblemKind::NotReady => return Err(problem),
        // It must not look as if it could be asked for again.
        _ => {
            let text =
                format!("the request is on record, and will be at {place} in a moment: do not repeat it");
            return Err(Problem::new(ProblemKind::OutcomeUnknown, text));
        }
    };
    let answer = OpenedRequest {
        request,
        receipt: OwnReceipt::of(recorded),
    };
    let location = [(header::LOCATION, place)];
    Ok((StatusCode::CREATED, location, Json(answer)).into_response())
}

/// One request
///
/// How far one request of whoever asks is.
#[utoipa::path(
    get,
    path = "/v1/me/requests/{shard}/{index}",
    operation_id = "me_request_state",
    tag = "customers",
    params(
        ("shard" = u32, Path, description = "The shard of the request."),
        ("index" = u64, Path, description = "The leaf by which it was made."),
    ),
    responses(
        (status = 200, description = "The request.", body = CustomerRequest),
        CommonProblems,
    ),
    security(("oidc" = []), ("session" = [])),
)]
async fn read_request(
    State(site): State<Site>,
    customer: Customer,
    place: Result<Path<(String, String)>, PathRejection>,
    given: Given,
) -> Result<Response, Problem> {
    given.finish()?;
    let Path((shard, index)) = place?;
    let shard = decimal(&shard).and_then(|shard| u32::try_from(shard).ok());
    let found = match (shard, decimal(&index)) {
        (Some(shard), Some(index)) => find(&site, &customer.id, shard, LeafIndex(index)).await?,
        _ => None,
    };
    let nothing = || Problem::new(ProblemKind::NotFound, "you made no request there");
    Ok(Json(found.ok_or_else(nothing)?).into_response())
}

async fn find(
    site: &Site,
    customer: &str,
    shard: u32,
    index: LeafIndex,
) -> Result<Option<CustomerRequest>, Problem> {
    let trail = trail_of(site, customer).await?;
    let mut all = requests(&trail).into_iter();
    Ok(all.find(|one| (one.shard, one.index) == (shard, index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ChoiceChange, ()> {
        let wanted: WantedChoice = serde_json::from_str(json).map_err(|_| ())?;
        wanted.read().map_err(|_| ())
    }

    /// The fault: a choice that names both, or neither, turns off something else than was meant.
    #[test]
    fn a_choice_is_of_one_thing() {
        let of_purpose = ChoiceChange {
            of: ChoiceOf::Purpose("dpv:Marketing".into()),
            allowed: false,
        };
        assert_eq!(
            read(r#"{"purpose":"dpv:Marketing","allowed":false}"#),
            Ok(of_purpose)
        );
        let of_recipient = ChoiceChange {
            of: ChoiceOf::Recipient("mail.example".into()),
            allowed: true,
        };
        assert_eq!(
            read(r#"{"recipient":"mail.example","allowed":true}"#),
            Ok(of_recipient)
        );
        for bad in [
            r#"{"allowed":false}"#,
            r#"{"purpose":"dpv:Marketing"}"#,
            r#"{"purpose":"dpv:Marketing","recipient":"mail.example","allowed":false}"#,
            r#"{"purpose":"","allowed":false}"#,
            r#"{"purpose":"a\u0000b","allowed":false}"#,
            r#"{"purpose":"dpv:Marketing","allowed":"no"}"#,
            r#"{"purpose":"dpv:Marketing","allowed":false,"customer":"customer-7"}"#,
        ] {
            assert_eq!(read(bad), Err(()), "{bad}");
        }
    }

    #[test]
    fn every_right_can_be_asked_for() {
        for right in Right::ALL {
            let wanted: WantedRight = serde_json::from_str(&format!("\"{right}\"")).unwrap();
            assert_eq!(Right::from(wanted), *right);
        }
    }
}
