//! Whatever the bytes, the answer is a content or an error that names the fault; never a panic.
//!
//! The fast reader and the diagnosis are two descriptions of the same rules. In test builds a content that one
//! refuses and the other takes is a failed assertion, so these tests hold both to the same answers.

use std::sync::LazyLock;

use crate::support::{NOW, examples};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use sharetrail_schemas::{Field, Kind, check_customer_id, parse, read};

static VALID: LazyLock<Vec<Value>> =
    LazyLock::new(|| Kind::ALL.iter().map(|&kind| examples(kind).valid).collect());

/// Values that are wrong nearly everywhere, and right somewhere.
fn any_value() -> impl Strategy<Value = Value> {
    let scalars = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop_oneof![
            "pd:Name",
            "dpv:Marketing",
            "eu-gdpr:A6-1-a",
            "IE",
            "2026-01-31T12:00:00Z",
            "P1Y",
            "access"
        ]
        .prop_map(Value::from),
    ];
    scalars.prop_recursive(2, 8, 4, |inner| {
        let keys = prop_oneof!["source", "id", "right", "field", "[a-z]{0,6}"];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((keys, inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Puts `value` in the place of one member of `event`, of its data, or of an object inside of its data.
fn replace(event: &mut Value, depth: usize, at: Index, value: Value) {
    let Some(object) = event.as_object_mut().filter(|object| !object.is_empty()) else {
        return;
    };
    let key = at.get(&object.keys().cloned().collect::<Vec<_>>()).clone();
    match depth {
        0 => drop(object.insert(key, value)),
        _ if object.contains_key("data") => replace(&mut object["data"], depth - 1, at, value),
        _ => replace(&mut object[&key], depth - 1, at, value),
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in vec(any::<u8>(), 0..512)) {
        let _ = parse(&bytes, NOW);
    }

    #[test]
    fn any_json_is_answered(value in any_value()) {
        prop_assert!(parse(value.to_string().as_bytes(), NOW).is_err());
    }

    #[test]
    fn any_changed_member_is_answered(
        which in any::<Index>(),
        depth in 0..3_usize,
        at in any::<Index>(),
        value in any_value(),
    ) {
        let mut event = which.get(VALID.as_slice()).clone();
        replace(&mut event, depth, at, value);
        let text = event.to_string();
        if let Err(error) = parse(text.as_bytes(), NOW) {
            prop_assert!(error.field().is_some_and(|field| !field.is_empty()), "{text}");
        }
    }

    #[test]
    fn any_changed_byte_is_answered(which in any::<Index>(), at in any::<Index>(), byte in any::<u8>()) {
        let mut bytes = which.get(VALID.as_slice()).to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = parse(&bytes, NOW);
        bytes.truncate(at);
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn any_value_of_any_field_is_answered(which in any::<Index>(), value in any_value()) {
        let mut event = examples(Kind::EventCorrected).valid;
        event["data"][which.get(Field::ALL).name()] = value;
        let _ = parse(event.to_string().as_bytes(), NOW);
    }

    #[test]
    fn a_customer_id_is_judged_in_a_content_as_it_is_alone(
        id in "\\PC{0,8}|[ -~]{0,300}|[a-z\\u{300}\\n ]{0,4}",
    ) {
        let mut event = VALID[0].clone();
        event["subject"] = json!(id);
        let alone = check_customer_id(&id);
        let text = event.to_string();
        prop_assert_eq!(alone.is_ok(), parse(text.as_bytes(), NOW).is_ok());
        prop_assert_eq!(alone.err(), parse(text.as_bytes(), NOW).err());
    }
}
