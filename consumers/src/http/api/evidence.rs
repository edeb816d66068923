//! What a customer takes away: the dossier that proves their trail, and certificates of erasures.
//!
//! In scope: the routes, the files' names. Out of scope: making the files (`reading`), their form (docs/formats.md). Trust:
//! every route asks for a customer's token. Nobody needs to trust a file: it is verified against the policy.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use sharetrail_proof::name::{Name, decimal};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::auth::Customer;
use crate::http::given::Given;
use crate::http::problem::{CommonProblems, Problem, ProblemKind};
use crate::http::reading::{certificate_of, dossier_of};
use crate::http::site::Site;

/// Parties that can be asked for besides.
const PARTIES_MAX: usize = 16;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Site> {
    OpenApiRouter::default()
        .routes(routes!(read_dossier))
        .routes(routes!(read_certificate))
}

/// The customer's dossier
///
/// The file that proves the trail of whoever asks, offline: every event with its content, its place in the log, who signed
/// it, and that these are all. `sharetrail verify` checks it against the policy, and so does the page `/verifier.html`. It is
/// made anew each time, which takes a moment.
#[utoipa::path(
    get,
    path = "/v1/me/dossier",
    operation_id = "me_dossier",
    tag = "customers",
    params(
        ("recipient" = Option<String>, Query, max_length = 256,
            description = "Shows these parties too, whatever the events say; several are separated by commas. For \
                whoever wants to show that nothing was shared with somebody."),
    ),
    responses(
        (status = 200, description = "The dossier, a file to keep.", body = Object,
            content_type = "application/json",
            headers(("content-disposition" = String, description = "A name for the file."))),
        CommonProblems,
    ),
    security(("oidc" = []), ("session" = [])),
)]
async fn read_dossier(
    State(site): State<Site>,
    customer: Customer,
    mut given: Given,
) -> Result<Response, Problem> {
    let parties = given.read("recipient", parties).unwrap_or_default();
    given.finish()?;
    let file = dossier_of(&site, &customer.id, parties).await?;
    Ok(download(&format!("{}-dossier.json", site.ledger.name()), file))
}

fn parties(text: &str) -> Result<Vec<Name>, String> {
    let parties: Vec<Name> = text
        .split(',')
        .map(|name| Name::new(name.trim()).map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    if parties.len() > PARTIES_MAX {
        return Err(format!("it names more than {PARTIES_MAX} parties"));
    }
    Ok(parties)
}

/// The certificate of an erasure
///
/// That the operator put on record that a generation of whoever asks was erased. It verifies like a dossier. What was erased
/// is not in it: nobody has that any more.
#[utoipa::path(
    get,
    path = "/v1/me/certificates/{generation}",
    operation_id = "me_certificate",
    tag = "customers",
    params(("generation" = u32, Path, description = "Which generation; the first one is 0.")),
    responses(
        (status = 200, description = "The certificate, a file to keep.", body = Object,
            content_type = "application/json",
            headers(("content-disposition" = String, description = "A name for the file."))),
        CommonProblems,
    ),
    security(("oidc" = []), ("session" = [])),
)]
async fn read_certificate(
    State(site): State<Site>,
    customer: Customer,
    generation: Result<Path<String>, PathRejection>,
    given: Given,
) -> Result<Response, Problem> {
    given.finish()?;
    let Path(generation) = generation?;
    let generation = decimal(&generation).and_then(|number| u32::try_from(number).ok());
    let nothing = || {
        Problem::new(
            ProblemKind::NotFound,
            "a generation is told by a small number, from 0",
        )
    };
    let generation = generation.ok_or_else(nothing)?;
    let file = certificate_of(&site, &customer.id, generation).await?;
    let name = format!("{}-certificate-{generation}.json", site.ledger.name());
    Ok(download(&name, file))
}

/// A file that a browser saves. Its name says nothing of the customer: it ends up in lists that others see.
fn download(name: &str, file: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let disposition =
        HeaderValue::try_from(disposition).expect("names of ledgers are of a-z, 0-9, '.' and '-'");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Body::from(file)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_are_names_and_few() {
        let read = parties("mail.example, broker.example").unwrap();
        assert_eq!(
            read,
            [
                Name::new("mail.example").unwrap(),
                Name::new("broker.example").unwrap()
            ]
        );
        for bad in ["", ",", "Mail House", "a,,b", &"a,".repeat(PARTIES_MAX + 1)] {
            assert!(parties(bad).is_err(), "{bad}");
        }
    }

    /// The fault: the list of downloads on a shared machine tells whose dossier was taken.
    #[test]
    fn a_file_is_saved_under_a_name_that_says_nothing_of_whose_it_is() {
        let response = download("shop.example-dossier.json", b"{}".to_vec());
        let headers = response.headers();
        assert_eq!(
            headers[header::CONTENT_DISPOSITION],
            "attachment; filename=\"shop.example-dossier.json\""
        );
        assert_eq!(headers[header::CONTENT_TYPE], "application/json");
    }
}
