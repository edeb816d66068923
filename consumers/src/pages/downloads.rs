//! What customers take away: the dossier, certificates of erasure, the trail as a table and as data, the report.
//!
//! In scope: these files' names and forms. Out of scope: what is in a dossier (see `http::reading`).
//! Trust: contents may hold anything. A spreadsheet would run a cell that begins like a formula, so none does.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use csv::{Terminator, WriterBuilder};
use serde::Serialize;

use super::layout::error_page;
use super::report::report;
use super::sentence::{finding, tell};
use super::words::{self, Words};
use crate::http::auth::{Customer, PageCustomer};
use crate::http::problem::{Problem, ProblemKind};
use crate::http::reading::{certificate_of, dossier_of, trail_of};
use crate::http::site::Site;
use crate::trail::{CategorySummary, RecipientSummary, Totals, Trail, TrailEvent, TrailReference};

pub(super) fn routes() -> Router<Site> {
    Router::new().route("/me/download/{file}", get(download))
}

async fn download(
    State(site): State<Site>,
    PageCustomer(customer): PageCustomer,
    file: Result<Path<String>, PathRejection>,
) -> Response {
    let file = file.map(|Path(name)| name).unwrap_or_default();
    match give(&site, &customer, &file).await {
        Ok(response) => response,
        Err(problem) => error_page(&site, Some(&customer.person), &problem),
    }
}

async fn give(site: &Site, customer: &Customer, file: &str) -> Result<Response, Problem> {
    let words = words::english();
    let json = "application/json";
    match file {
        "dossier.json" => Ok(attachment(
            "dossier.json",
            json,
            dossier_of(site, &customer.id, Vec::new()).await?,
        )),
        "trail.csv" => {
            let trail = trail_of(site, &customer.id).await?;
            let table = table(&trail, words).map_err(|error| Problem::failed(&error))?;
            Ok(attachment(file, "text/csv; charset=utf-8; header=present", table))
        }
        "trail.json" => {
            let trail = trail_of(site, &customer.id).await?;
            let data = data(&trail).map_err(|error| Problem::failed(&error))?;
            Ok(attachment(file, json, data))
        }
        "report" => {
            let trail = trail_of(site, &customer.id).await?;
            Ok(report(site, customer, &trail))
        }
        _ => {
            let generation = generation(file)
                .ok_or_else(|| Problem::new(ProblemKind::NotFound, words.overview.downloads.unknown))?;
            let certificate = certificate_of(site, &customer.id, generation).await?;
            Ok(attachment(
                &format!("certificate-{generation}.json"),
                json,
                certificate,
            ))
        }
    }
}

/// The generation of `certificate-<generation>.json`, which has one spelling.
fn generation(file: &str) -> Option<u32> {
    let digits = file.strip_prefix("certificate-")?.strip_suffix(".json")?;
    digits
        .parse()
        .ok()
        .filter(|number: &u32| number.to_string() == digits)
}

/// `file`: a name of ours.
fn attachment(file: &str, media_type: &str, bytes: Vec<u8>) -> Response {
    let named = format!("attachment; filename=\"{file}\"");
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_DISPOSITION, &named),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, bytes).into_response()
}

/// A trail for other programs: what people see summed up, summed up.
#[derive(Serialize)]
struct Data<'a> {
    #[serde(flatten)]
    trail: &'a Trail,
    totals: Totals,
    recipients: Vec<RecipientSummary>,
    categories: Vec<CategorySummary>,
}

fn data(trail: &Trail) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec_pretty(&Data {
        trail,
        totals: trail.totals(),
        recipients: trail.recipients(),
        categories: trail.categories(),
    })
}

/// A trail as a table, oldest event first: comma-separated values as in RFC 4180.
fn table(trail: &Trail, words: &Words) -> csv::Result<Vec<u8>> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(words.overview.downloads.columns)?;
    for event in &trail.events {
        writer.write_record(row(event, words).map(|text| cell(&text)))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// The cells of an event, in the order of the columns' names.
fn row(event: &TrailEvent, words: &Words) -> [String; 30] {
    let texts = &words.overview.downloads;
    let recipient = event.recipient.as_ref();
    let request = event.request.as_ref();
    let yes_or_no = |yes: bool| (if yes { texts.yes } else { texts.no }).to_owned();
    let text = |field: Option<&String>| field.cloned().unwrap_or_default();
    let findings = event.findings.iter();
    let findings: Vec<String> = findings.map(|found| finding(event, found, words)).collect();
    let corrected_at: Vec<String> = event.corrected_at.iter().map(ToString::to_string).collect();
    [
        event.time.to_string(),
        event.kind.to_string(),
        tell(event, words).sentence(),
        recipient.map_or_else(String::new, |one| one.id.clone()),
        recipient.map_or_else(String::new, |one| one.name.clone()),
        recipient.map_or_else(String::new, |one| one.role.to_string()),
        recipient.map_or_else(String::new, |one| one.country.clone()),
        event.categories.join(" "),
        event.purposes.join(" "),
        text(event.legal_basis.as_ref()),
        event.consent.as_ref().map_or_else(String::new, named),
        text(event.benefit.as_ref()),
        text(event.description.as_ref()),
        text(event.origin.as_ref()),
        text(event.country.as_ref()),
        text(event.safeguard.as_ref()),
        event.sale.map_or_else(String::new, yes_or_no),
        text(event.retention.as_ref()),
        text(event.outcome.as_ref()),
        event.series.map_or(1, |series| series.count).to_string(),
        request.map_or_else(String::new, |one| one.id.clone()),
        request.map_or_else(String::new, |one| one.right.to_string()),
        findings.join(" "),
        yes_or_no(event.failed),
        event.producer.to_string(),
        event.source.clone(),
        event.id.clone(),
        event.shard.to_string(),
        event.index.to_string(),
        corrected_at.join(" "),
    ]
}

fn named(event: &TrailReference) -> String {
    match &event.source {
        Some(source) => format!("{source} {}", event.id),
        None => event.id.clone(),
    }
}

/// A cell that no spreadsheet takes for a formula: an apostrophe before what would begin one makes it a text.
fn cell(text: &str) -> String {
    const BEGINNINGS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if text.starts_with(BEGINNINGS) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::parts::samples::{shared, trail};
    use super::*;

    fn cells(trail: &Trail) -> Vec<Vec<String>> {
        let bytes = table(trail, words::english()).unwrap();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&*bytes);
        let rows = reader
            .records()
            .map(|row| row.unwrap().iter().map(str::to_owned).collect());
        rows.collect()
    }

    fn column(rows: &[Vec<String>], name: &str) -> usize {
        rows[0].iter().position(|known| known == name).unwrap()
    }

    #[test]
    fn a_table_has_a_row_for_every_event() {
        let rows = cells(&trail(vec![
            shared("one", 1, "mail.example", &["pd:Name", "pd:Purchase"]),
            shared("two", 2, "print.example", &["pd:Name"]),
        ]));
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row.len() == rows[0].len()));
        assert_eq!(rows[1][column(&rows, "time")], "2026-01-01T00:00:00Z");
        assert_eq!(rows[1][column(&rows, "kind")], "data.shared");
        assert_eq!(rows[1][column(&rows, "categories")], "pd:Name pd:Purchase");
        assert_eq!(rows[2][column(&rows, "recipient")], "print.example");
        assert_eq!(rows[2][column(&rows, "index")], "2");
    }

    /// The fault: a spreadsheet runs what a producer wrote into a description.
    #[test]
    fn no_cell_begins_like_a_formula() {
        let mut told = trail(Vec::new());
        for text in [
            "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", "＝1", "plain", "a=b", "\"=1",
        ] {
            let mut event = shared(text, 1, "mail.example", &["pd:Name"]);
            event.description = Some(text.to_owned());
            told.events.push(event);
        }
        let rows = cells(&told);
        let [at, id] = ["description", "id"].map(|name| column(&rows, name));
        for (row, event) in rows[1..].iter().zip(&told.events) {
            let text = event.description.as_deref().unwrap();
            let is_odd = !text.starts_with(['p', 'a', '"']);
            let expected = if is_odd {
                format!("'{text}")
            } else {
                text.to_owned()
            };
            assert_eq!((&row[at], &row[id]), (&expected, &expected));
        }
    }

    #[test]
    fn data_for_programs_holds_events_and_sums() {
        let told = trail(vec![shared("one", 1, "mail.example", &["pd:Name"])]);
        let read: serde_json::Value = serde_json::from_slice(&data(&told).unwrap()).unwrap();
        assert_eq!(read["customer"], "customer-42");
        assert_eq!(read["events"][0]["kind"], "data.shared");
        assert_eq!(read["totals"]["disclosures"], 1);
        assert_eq!(read["recipients"][0]["id"], "mail.example");
        assert_eq!(read["categories"][0]["category"], "pd:Name");
    }

    #[test]
    fn a_certificate_has_one_name() {
        assert_eq!(generation("certificate-0.json"), Some(0));
        assert_eq!(generation("certificate-12.json"), Some(12));
        for odd in [
            "certificate-.json",
            "certificate-01.json",
            "certificate-+1.json",
            "certificate--1.json",
            "certificate-4294967296.json",
            "certificate-1",
            "other",
        ] {
            assert_eq!(generation(odd), None, "{odd}");
        }
    }
}
