//! `/openapi.json` and `/asyncapi.json`: the API and the bus, described for programs.
//!
//! In scope: what the document says beside the routes, each of which describes itself; serving both documents. Out of
//! scope: the bus (`asyncapi`), the logs' files, which C2SP tlog-tiles describes. Trust: none needed; they say the same
//! on every server of one version.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use utoipa::openapi::info::{Info, InfoBuilder, LicenseBuilder};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::{Tag, TagBuilder};
use utoipa::openapi::{Components, OpenApi};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asyncapi;
use crate::http::problem::{CommonProblems, Problem};
use crate::http::site::Site;

const ABOUT: &str = "Every collection, share and third-party transfer of a customer's data is an event on record, and \
    every view of it comes with evidence. Services record events and ask before they share; customers read their trail \
    and steer it; officers decide requests; anybody checks the logs.\n\nProblems are RFC 9457 with types that never \
    change. The logs are C2SP tlog-tiles trees under `/log/{shard}/` and `/map/{shard}/`: `checkpoint`, `tile/…`. \
    docs/api.md is the description for people.";

const TAGS: [(&str, &str); 6] = [
    (
        "services",
        "What services put on record, and what they ask before they share.",
    ),
    (
        "customers",
        "What customers read about their own data, and how they steer it.",
    ),
    ("officers", "What privacy officers decide and look after."),
    ("logs", "What anybody checks."),
    ("documents", "Descriptions of this API and of the bus."),
    ("host", "Whether the server is well."),
];

static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| text(&document()));
static ASYNCAPI: LazyLock<Bytes> = LazyLock::new(|| text(&asyncapi::document()));

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Site> {
    OpenApiRouter::default()
        .routes(routes!(openapi_document))
        .routes(routes!(asyncapi_document))
}

/// This API, described
///
/// The `OpenAPI` 3.1 document of this server.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "documents",
    responses(
        (status = 200, description = "The document.", body = Object, content_type = "application/json"),
        CommonProblems,
    ),
    security(()),
)]
#[allow(clippy::unused_async, reason = "axum wants a future")]
async fn openapi_document() -> Response {
    served(&OPENAPI)
}

/// The bus, described
///
/// The `AsyncAPI` 3 document of what crosses the bus between producers and hosts.
#[utoipa::path(
    get,
    path = "/asyncapi.json",
    operation_id = "asyncapi",
    tag = "documents",
    responses(
        (status = 200, description = "The document.", body = Object, content_type = "application/json"),
        CommonProblems,
    ),
    security(()),
)]
#[allow(clippy::unused_async, reason = "axum wants a future")]
async fn asyncapi_document() -> Response {
    served(&ASYNCAPI)
}

fn served(document: &Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, document.clone()).into_response()
}

/// A document as it is served: members in the order of their names, so that it is the same in every run.
fn text(document: &impl Serialize) -> Bytes {
    let value = serde_json::to_value(document).expect("a document of plain values always serialises");
    Bytes::from(format!("{value:#}\n"))
}

/// The description of the API.
pub(super) fn document() -> OpenApi {
    let mut api = super::routes().into_openapi();
    api.info = info();
    api.tags = Some(TAGS.iter().map(|(name, about)| tag(name, about)).collect());
    let components = api.components.get_or_insert_with(Components::new);
    // Every route may answer with it, and none names it as its own.
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    components.schemas.extend(schemas);
    for (name, scheme) in security_schemes() {
        components.add_security_scheme(name, scheme);
    }
    let (token, session) = (requirement("oidc"), requirement("session"));
    for item in api.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            // Whoever may come with a token may come with the cookie of a session that one began.
            if let Some(security) = &mut operation.security
                && security.contains(&token)
                && !security.contains(&session)
            {
                security.push(session.clone());
            }
        }
    }
    api
}

fn requirement(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new(scheme, [""; 0])
}

fn info() -> Info {
    let license = LicenseBuilder::new()
        .name("MIT OR Apache-2.0")
        .identifier(Some("MIT OR Apache-2.0"))
        .build();
    InfoBuilder::new()
        .title("Sharetrail")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(license))
        .build()
}

fn tag(name: &str, about: &str) -> Tag {
    TagBuilder::new().name(name).description(Some(about)).build()
}

fn security_schemes() -> [(&'static str, SecurityScheme); 4] {
    let bearer = |format: &str, about: &str| {
        let builder = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        SecurityScheme::Http(builder.bearer_format(format).description(Some(about)).build())
    };
    let cookie = ApiKeyValue::with_description(
        "sharetrail",
        "The session of a browser that signed in at `/signin`; `__Host-sharetrail` where the server is reached over \
         https. A request that changes something must come from the server's own pages (`Origin`).",
    );
    [
        (
            "service",
            bearer(
                "st_…",
                "A service token bound to a producer: `sharetrail keys token PRODUCER --name NAME`.",
            ),
        ),
        (
            "mutualTLS",
            SecurityScheme::MutualTls {
                description: Some(
                    "A client certificate whose only DNS name is the producer's name.".to_owned(),
                ),
                deprecated: None,
                extensions: None,
            },
        ),
        (
            "oidc",
            bearer(
                "JWT",
                "A token of the company's OpenID provider, a customer's or an officer's; see http.toml.",
            ),
        ),
        ("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie))),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Map, Value};

    use super::*;

    fn whole() -> Value {
        serde_json::from_slice(&text(&document())).unwrap()
    }

    /// Every operation with its method and path.
    fn operations(whole: &Value) -> Vec<(String, &Map<String, Value>)> {
        let paths = whole["paths"].as_object().unwrap();
        let items = paths
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |item| (path, item)));
        items
            .map(|(path, (method, operation))| (format!("{method} {path}"), operation.as_object().unwrap()))
            .collect()
    }

    /// The fault: a route is served and nobody is told how to use it.
    #[test]
    fn every_operation_says_what_it_does() {
        let whole = whole();
        let tags: BTreeSet<&str> = TAGS.iter().map(|(name, _)| *name).collect();
        let mut ids = BTreeSet::new();
        let operations = operations(&whole);
        assert!(operations.len() > 15, "{}", operations.len());
        for (place, operation) in operations {
            let text = |member: &str| operation[member].as_str().unwrap_or_default().to_owned();
            assert!(ids.insert(text("operationId")), "{place}: its id is another's");
            assert!(!text("summary").is_empty(), "{place}: no summary");
            let its: Vec<&str> = operation["tags"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            assert!(its.len() == 1 && tags.contains(its[0]), "{place}: {its:?}");
            assert!(
                operation.contains_key("security"),
                "{place}: who may ask is not said"
            );
        }
    }

    /// The fault: a path's parameter is not described, or a description is of no parameter.
    #[test]
    fn paths_and_their_parameters_agree() {
        let whole = whole();
        for (place, operation) in operations(&whole) {
            let told: BTreeSet<&str> = operation
                .get("parameters")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            let named: BTreeSet<&str> = place
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            assert_eq!(told, named, "{place}");
        }
    }

    /// The fault: an answer that is no problem stands where a program expects one, or a status is not told at all.
    #[test]
    fn whatever_goes_wrong_is_a_problem() {
        let whole = whole();
        for (place, operation) in operations(&whole) {
            let responses = operation["responses"].as_object().unwrap();
            for status in [
                "400", "401", "403", "404", "405", "408", "413", "415", "422", "429", "500", "503",
            ] {
                assert!(responses.contains_key(status), "{place}: {status}");
            }
            for (status, response) in responses {
                if status.starts_with(['4', '5']) {
                    let content: Vec<_> = response["content"].as_object().unwrap().keys().collect();
                    assert_eq!(content, ["application/problem+json"], "{place}: {status}");
                }
            }
        }
    }

    /// That every `$ref` in a value leads somewhere in the whole document.
    pub(in super::super) fn assert_references(value: &Value, whole: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(to)) = members.get("$ref") {
                    assert!(whole.pointer(to.trim_start_matches('#')).is_some(), "{to}");
                }
                for member in members.values() {
                    assert_references(member, whole);
                }
            }
            Value::Array(items) => {
                for item in items {
                    assert_references(item, whole);
                }
            }
            _ => {}
        }
    }

    /// The fault: a `$ref`, or the name of a scheme, leads nowhere, and tools refuse the whole document.
    #[test]
    fn every_reference_leads_somewhere() {
        let whole = whole();
        assert_references(&whole, &whole);
        let schemes = whole["components"]["securitySchemes"].as_object().unwrap();
        for (place, operation) in operations(&whole) {
            for requirement in operation["security"].as_array().unwrap() {
                for name in requirement.as_object().unwrap().keys() {
                    assert!(schemes.contains_key(name), "{place}: {name}");
                }
            }
        }
    }

    #[test]
    fn it_is_openapi_3_1_and_the_same_in_every_run() {
        assert_eq!(whole()["openapi"], "3.1.0");
        assert_eq!(text(&document()), text(&document()));
        assert_eq!(text(&asyncapi::document()), text(&asyncapi::document()));
    }

    /// The fault: bodies of events are told to be optional, or of any form.
    #[test]
    fn events_are_described_in_all_their_forms() {
        let whole = whole();
        let body = &whole["paths"]["/v1/events"]["post"]["requestBody"];
        assert_eq!(body["required"], true);
        let schema = |media: &str| {
            body["content"][media]["schema"]["$ref"]
                .as_str()
                .unwrap_or_default()
        };
        assert_eq!(
            schema("application/cloudevents+json"),
            "#/components/schemas/Event"
        );
        assert_eq!(schema("application/json"), "#/components/schemas/Event");
        assert_eq!(
            schema("application/cloudevents-batch+json"),
            "#/components/schemas/EventBatch"
        );
        assert_eq!(
            body["content"]["application/x-ndjson"]["schema"]["type"],
            "string"
        );
        let kind = &whole["components"]["schemas"]["event.data.shared.v1"];
        assert_eq!(
            kind["properties"]["type"]["const"],
            "org.sharetrail.data.shared.v1"
        );
    }
}
