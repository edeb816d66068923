//! The JSON Schemas, the Rust code and the examples say the same.
//!
//! `SHARETRAIL_BLESS=1` writes the schema files from the code, after a change that is meant.

use std::env;
use std::fs;

use crate::support::{NOW, examples, path};
use serde_json::Value;
use sharetrail_schemas::{Kind, json_schema, parse};

/// The kinds that the design fixes for version 1.
const KINDS: &str = "data.collected data.accessed data.derived data.shared data.transferred data.received \
    data.corrected disclosure.failed consent.given consent.refused consent.withdrawn consent.expired \
    preference.changed request.opened request.updated request.closed recipient.notified recipient.confirmed \
    relationship.started relationship.ended breach.notified dispute.opened dispute.resolved event.corrected";

fn schema(kind: Kind) -> Value {
    json_schema(kind, 1).expect("every kind has a version 1")
}

#[test]
fn all_kinds_of_the_design_are_there_and_no_others() {
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names, KINDS.split_whitespace().collect::<Vec<_>>());
    assert!(
        Kind::ALL
            .iter()
            .all(|&kind| Kind::from_name(kind.name()) == Some(kind))
    );
    assert!(Kind::ALL.iter().all(|kind| !kind.about().is_empty()));
    assert_eq!(json_schema(Kind::DataShared, 2), None);
}

#[test]
fn the_schema_files_are_those_of_the_code() {
    for &kind in Kind::ALL {
        let path = path("json", kind);
        if env::var_os("SHARETRAIL_BLESS").is_some() {
            let text = serde_json::to_string_pretty(&schema(kind)).unwrap();
            fs::write(&path, text + "\n").unwrap();
        }
        let file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(file, schema(kind), "{kind}");
    }
}

#[test]
fn every_valid_example_is_accepted_by_both() {
    for &kind in Kind::ALL {
        let event = examples(kind).valid;
        let bytes = event.to_string().into_bytes();
        let content = parse(&bytes, NOW).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!((content.kind(), content.version()), (kind, 1));
        let validator = jsonschema::validator_for(&schema(kind)).unwrap();
        assert!(validator.is_valid(&event), "{kind}");
    }
}

#[test]
fn every_invalid_example_is_refused_at_its_field() {
    for &kind in Kind::ALL {
        for fault in examples(kind).invalid {
            let bytes = fault.event.to_string().into_bytes();
            let error = parse(&bytes, NOW).expect_err(&fault.why);
            assert_eq!(
                error.field(),
                Some(fault.field.as_str()),
                "{kind}: {}: {error}",
                fault.why
            );
        }
    }
}

#[test]
fn the_schemas_refuse_what_schemas_can() {
    for &kind in Kind::ALL {
        let validator = jsonschema::validator_for(&schema(kind)).unwrap();
        for fault in examples(kind).invalid {
            assert_eq!(
                validator.is_valid(&fault.event),
                !fault.schema,
                "{kind}: {}",
                fault.why
            );
        }
    }
}

#[test]
fn every_example_shows_every_field_of_its_kind() {
    for &kind in Kind::ALL {
        let event = examples(kind).valid;
        let shown = event["data"].as_object().unwrap();
        for field in kind.needs().iter().chain(kind.may()) {
            assert!(shown.contains_key(field.name()), "{kind}: {}", field.name());
        }
    }
}
