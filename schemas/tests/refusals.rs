//! Each way to be wrong has an error of its own, with what was expected and what was found.

use crate::support::{NOW, examples};
use serde_json::{Value, json};
use sharetrail_schemas::{Category, ContentError, Detail, Kind, Role, parse, read};

/// Refuses the shared event after `change`, and gives the error.
fn refuse(change: impl FnOnce(&mut Value)) -> ContentError {
    let mut event = examples(Kind::DataShared).valid;
    change(&mut event);
    parse(event.to_string().as_bytes(), NOW).expect_err("the change makes the event invalid")
}

#[test]
fn a_missing_field_is_named() {
    let error = refuse(|event| drop(event["data"].as_object_mut().unwrap().remove("purposes")));
    assert!(matches!(error, ContentError::Missing { field, .. } if field == "data.purposes"));
    let error = refuse(|event| drop(event.as_object_mut().unwrap().remove("time")));
    assert!(matches!(error, ContentError::Missing { field, .. } if field == "time"));
}

#[test]
fn an_unknown_field_meets_its_neighbour() {
    let error = refuse(|event| event["data"]["benefits"] = json!("x"));
    let (field, nearest) = ("data.benefits".to_owned(), Some("benefit".to_owned()));
    assert_eq!(error, ContentError::UnknownField { field, nearest });
    let error = refuse(|event| event["dataContentType"] = json!("application/json"));
    let (field, nearest) = ("dataContentType".to_owned(), Some("datacontenttype".to_owned()));
    assert_eq!(error, ContentError::UnknownField { field, nearest });
}

#[test]
fn an_unknown_term_meets_its_neighbour() {
    let error = refuse(|event| event["data"]["categories"][1] = json!("pd:PhysicalAdress"));
    let ContentError::UnknownTerm {
        field,
        found,
        nearest,
        ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        (field.as_str(), found.as_str()),
        ("data.categories[1]", "pd:PhysicalAdress")
    );
    assert_eq!(nearest.as_deref(), Some("pd:PhysicalAddress"));
}

#[test]
fn a_misplaced_term_is_told_from_a_misspelt_one() {
    let error = refuse(|event| event["data"]["legal_basis"] = json!("eu-gdpr:A46-2-c"));
    assert!(matches!(error, ContentError::MisplacedTerm { field, .. } if field == "data.legal_basis"));
}

#[test]
fn a_wrong_type_names_both() {
    let error = refuse(|event| event["data"]["recipient"] = json!("mailhouse.example"));
    let (field, expected) = ("data.recipient".to_owned(), "an object");
    assert_eq!(
        error,
        ContentError::WrongType {
            field,
            expected,
            found: "a string"
        }
    );
    assert_eq!(refuse(|event| *event = json!([])).field(), Some("$"));
}

#[test]
fn unknown_kinds_and_versions_are_told_apart() {
    let error = refuse(|event| event["type"] = json!("org.sharetrail.data.share.v1"));
    let (found, nearest) = ("data.share".to_owned(), Some("data.shared".to_owned()));
    assert_eq!(error, ContentError::UnknownKind { found, nearest });
    let error = refuse(|event| event["type"] = json!("org.sharetrail.data.shared.v2"));
    let (kind, found) = ("data.shared", "2".to_owned());
    assert_eq!(
        error,
        ContentError::UnknownVersion {
            kind,
            found,
            known: &[1]
        }
    );
}

#[test]
fn repeated_keys_are_refused_at_every_depth() {
    let text = examples(Kind::DataShared).valid.to_string();
    for (key, field) in [
        ("subject", "subject"),
        ("sale", "data.sale"),
        ("role", "data.recipient.role"),
    ] {
        let twice = text.replacen(&format!(r#""{key}":"#), &format!(r#""{key}":0,"{key}":"#), 1);
        let error = read(twice.as_bytes()).unwrap_err();
        assert_eq!(
            error,
            ContentError::Duplicate {
                field: field.to_owned()
            }
        );
    }
}

#[test]
fn a_text_has_a_length() {
    let error = refuse(|event| event["subject"] = json!("x".repeat(257)));
    let (field, unit) = ("subject".to_owned(), "bytes");
    assert_eq!(
        error,
        ContentError::Length {
            field,
            min: 1,
            max: 256,
            unit,
            found: 257
        }
    );
    let error = refuse(|event| event["data"]["purposes"] = json!([]));
    let (field, unit) = ("data.purposes".to_owned(), "entries");
    assert_eq!(
        error,
        ContentError::Length {
            field,
            min: 1,
            max: 256,
            unit,
            found: 0
        }
    );
}

#[test]
fn attributes_follow_the_rules_of_cloudevents() {
    let accepted = [
        ("traceparent", json!("00-1")),
        ("sequence", json!(7)),
        ("sampled", json!(true)),
    ];
    let absent = [
        ("partitionkey", Value::Null),
        ("dataschema", Value::Null),
        ("datacontenttype", Value::Null),
    ];
    for (name, value) in accepted.into_iter().chain(absent) {
        let mut event = examples(Kind::DataShared).valid;
        event[name] = value;
        assert!(parse(event.to_string().as_bytes(), NOW).is_ok(), "{name}");
    }
    let refused = [json!({}), json!([]), json!(1.5), json!(5_000_000_000_u64)];
    for value in refused {
        assert_eq!(
            refuse(|event| event["sequence"] = value).field(),
            Some("sequence")
        );
    }
}

#[test]
fn fields_are_seen_by_name_and_by_kind() {
    let bytes = examples(Kind::DataShared).valid.to_string();
    let content = read(bytes.as_bytes()).unwrap();
    let Detail::DataShared(shared) = content.detail() else {
        panic!("{:?}", content.detail())
    };
    assert_eq!(Some(shared.recipient), content.data().recipient());
    assert_eq!(shared.recipient.role, Role::Processor);
    assert_eq!(
        shared.categories.iter().map(Category::as_str).collect::<Vec<_>>(),
        ["pd:Name", "pd:PhysicalAddress"]
    );
    assert_eq!(
        shared.consent.unwrap().source.as_deref(),
        Some("https://shop.example/loyalty")
    );
    assert_eq!(content.data().corrects(), None);
}
