//! `POST /v1/authorize`: what a service asks before it shares.
//!
//! In scope: the question and its form. Out of scope: the answer (`choices`). Trust: a service may ask about every
//! customer of the ledger, for it is about to act for the company; it learns yes or no, why, and which event decides.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::value::{BorrowedStrDeserializer, Error};
use sharetrail_schemas::{Category, CustomerId, Party, Purpose, short_form};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::choices::{Decision, Question};
use crate::http::auth::Service;
use crate::http::given::{Given, fault, refused};
use crate::http::problem::{CommonProblems, Problem, ProblemError};
use crate::http::site::{Site, blocking};

/// Categories of one question; no event names more.
const CATEGORIES_MAX: usize = 256;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Site> {
    OpenApiRouter::default().routes(routes!(authorize))
}

/// May this be shared?
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Question, example = json!({
    "customer": "customer-42",
    "recipient": "mailhouse.example",
    "purpose": "dpv:DirectMarketing",
    "categories": ["pd:Name", "pd:PhysicalAddress"],
}))]
struct Asked {
    /// The company's own id of the customer.
    #[schema(min_length = 1, max_length = 256)]
    customer: String,
    /// Who is to receive the data: the name by which events know it.
    #[schema(min_length = 1, max_length = 63, pattern = "^[a-z0-9.-]{1,63}$")]
    recipient: String,
    /// What for: a term of `dpv`, short or in full.
    #[schema(pattern = "^(dpv:|https://w3id[.]org/dpv#)[A-Za-z0-9-]+$")]
    purpose: String,
    /// Which data: terms of `pd`, short or in full. None asks for the purpose as such.
    #[serde(default)]
    #[schema(max_items = 256)]
    categories: Vec<String>,
}

impl Asked {
    /// The question in short terms, in which consents are compared.
    fn checked(self) -> Result<Self, Problem> {
        let mut faults = Vec::new();
        read::<CustomerId<'_>>("customer", &self.customer, &mut faults);
        read::<Party<'_>>("recipient", &self.recipient, &mut faults);
        read::<Purpose<'_>>("purpose", &self.purpose, &mut faults);
        if self.categories.len() > CATEGORIES_MAX {
            faults.push(fault(
                "categories",
                format!("expected at most {CATEGORIES_MAX} of them"),
            ));
        }
        for (position, category) in self.categories.iter().enumerate().take(CATEGORIES_MAX) {
            read::<Category<'_>>(&format!("categories[{position}]"), category, &mut faults);
        }
        refused("the question cannot be answered", faults)?;
        Ok(Self {
            purpose: short_form(&self.purpose).into_owned(),
            categories: self
                .categories
                .iter()
                .map(|category| short_form(category).into_owned())
                .collect(),
            ..self
        })
    }
}

/// Notes what is wrong with a text by the rule of `T`.
fn read<'a, T: Deserialize<'a>>(field: &str, text: &'a str, faults: &mut Vec<ProblemError>) {
    let text = BorrowedStrDeserializer::<Error>::new(text);
    if let Err(expected) = T::deserialize(text) {
        faults.push(fault(field, format!("expected {expected}")));
    }
}

/// May this be shared?
///
/// What a service asks before it gives a customer's data to somebody: yes or no, why, which event decides, and up to
/// which leaf of the log the answer is current. Ask right before sharing. Nothing is recorded by asking; a share that
/// is made against the answer is recorded all the same, and becomes a finding that the customer and the officer see.
#[utoipa::path(
    post,
    path = "/v1/authorize",
    operation_id = "authorize",
    tag = "services",
    request_body = Asked,
    responses(
        (status = 200, description = "The answer.", body = Decision),
        CommonProblems,
    ),
    security(("service" = []), ("mutualTLS" = [])),
)]
async fn authorize(
    State(site): State<Site>,
    _: Service,
    given: Given,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<Response, Problem> {
    given.finish()?;
    let Json(asked) = asked?;
    let asked = asked.checked()?;
    // A customer whose choices are at hand is answered at once; one who was not asked about lately is read from the
    // archive.
    let asker = site.clone();
    let decision = blocking(move || {
        let question = Question {
            customer: &asked.customer,
            recipient: &asked.recipient,
            purpose: &asked.purpose,
            categories: &asked.categories,
        };
        Ok(asker.authorizer.authorize(&question)?)
    })
    .await?;
    site.metrics.decided(decision.allowed);
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(decision)).into_response())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn checked(asked: Value) -> Result<Asked, Vec<Value>> {
        let asked: Asked = serde_json::from_value(asked).unwrap();
        asked.checked().map_err(|problem| {
            let told = serde_json::to_value(problem).unwrap();
            let errors = told["errors"].as_array().unwrap().iter();
            errors.map(|error| error["field"].clone()).collect()
        })
    }

    /// The fault: a consent in short terms does not cover a question in long ones.
    #[test]
    fn terms_are_asked_for_in_short() {
        let asked = checked(json!({
            "customer": "customer-42",
            "recipient": "mailhouse.example",
            "purpose": "https://w3id.org/dpv#DirectMarketing",
            "categories": ["https://w3id.org/dpv/pd#Name", "pd:Age"],
        }));
        let asked = asked.unwrap();
        assert_eq!(asked.purpose, "dpv:DirectMarketing");
        assert_eq!(asked.categories, ["pd:Name", "pd:Age"]);
    }

    /// The fault: a misspelt term is asked about, and the no is taken for the customer's.
    #[test]
    fn everything_that_is_no_question_is_told() {
        let fields = checked(json!({
            "customer": " customer-42",
            "recipient": "Mail House",
            "purpose": "dpv:DirectMarketin",
            "categories": ["pd:Name", "dpv:DirectMarketing"],
        }));
        let expected: Vec<Value> = ["customer", "recipient", "purpose", "categories[1]"]
            .map(Value::from)
            .into();
        assert_eq!(fields.map(|_| ()), Err(expected));
        let many = vec!["pd:Name"; CATEGORIES_MAX + 1];
        let fields = checked(json!({
            "customer": "a", "recipient": "b", "purpose": "dpv:DirectMarketing", "categories": many,
        }));
        assert_eq!(fields.map(|_| ()), Err(vec![Value::from("categories")]));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let asked = json!({ "customer": "a", "recipient": "b", "purpose": "dpv:Marketing", "who": "c" });
        assert!(serde_json::from_value::<Asked>(asked).is_err());
    }
}
