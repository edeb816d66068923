//! The schemas of events for `/openapi.json`, and examples.
//!
//! In scope: what `sharetrail_schemas` says, as components of the document; examples that are valid. Out of scope:
//! validating, which goes by the rules themselves. Trust: none needed.

use std::borrow::Cow;

use serde_json::{Value, json};
use sharetrail_schemas::{Kind, json_schema};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::schema::{ArrayBuilder, Discriminator, ObjectBuilder, OneOfBuilder, Schema, SchemaType};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::body::BATCH_MAX;

/// The version of every kind that the document tells of.
const VERSION: u32 = 1;

/// An event, of any kind.
pub(super) struct Event;

impl PartialSchema for Event {
    fn schema() -> RefOr<Schema> {
        let kinds = Kind::ALL.iter();
        let mapping = kinds.map(|kind| {
            (
                kind.type_name(),
                format!("#/components/schemas/{}", component(*kind)),
            )
        });
        let builder = OneOfBuilder::new()
            .title(Some("An event"))
            .description(Some(
                "A CloudEvents 1.0 event in its JSON format: which kind it is says `type`, whom it is about `subject` \
                 (the customer id), what happened `data`. Terms, countries and more are checked beyond this schema.",
            ))
            .discriminator(Some(Discriminator::with_mapping("type", mapping)));
        let all = Kind::ALL
            .iter()
            .map(|kind| Ref::from_schema_name(component(*kind)));
        all.fold(builder, OneOfBuilder::item).into()
    }
}

impl ToSchema for Event {
    fn name() -> Cow<'static, str> {
        "Event".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.extend(Kind::ALL.iter().map(|kind| (component(*kind), of_kind(*kind))));
    }
}

/// An array of events.
pub(super) struct EventBatch;

impl PartialSchema for EventBatch {
    fn schema() -> RefOr<Schema> {
        let builder = ArrayBuilder::new()
            .items(Ref::from_schema_name(Event::name()))
            .max_items(Some(BATCH_MAX));
        builder.into()
    }
}

impl ToSchema for EventBatch {
    fn name() -> Cow<'static, str> {
        "EventBatch".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Event::name().into(), Event::schema()));
        Event::schemas(schemas);
    }
}

fn component(kind: Kind) -> String {
    format!("event.{kind}.v{VERSION}")
}

/// A kind's JSON Schema as it is: as members of an object that says nothing itself.
fn of_kind(kind: Kind) -> RefOr<Schema> {
    let schema = json_schema(kind, VERSION).expect("every kind has a first version");
    let Value::Object(members) = schema else {
        unreachable!("the JSON Schema of a kind is an object")
    };
    // Its own address would be the base of references, and the document has a dialect already.
    let members = members
        .into_iter()
        .filter(|(name, _)| name != "$id" && name != "$schema");
    let builder = ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .extensions(Some(members.collect::<Extensions>()));
    builder.into()
}

/// One event.
pub(super) fn event() -> Value {
    json!({
        "specversion": "1.0",
        "id": "mail-1",
        "source": "https://shop.example/campaigns",
        "type": "org.sharetrail.data.shared.v1",
        "subject": "customer-42",
        "time": "2026-01-31T12:00:00Z",
        "data": {
            "recipient": {
                "id": "mailhouse.example",
                "name": "Mail house",
                "role": "processor",
                "country": "IE",
            },
            "categories": ["pd:Name", "pd:PhysicalAddress"],
            "purposes": ["dpv:DirectMarketing"],
            "legal_basis": "eu-gdpr:A6-1-a",
            "consent": { "source": "https://shop.example/consents", "id": "consent-7" },
        },
    })
}

fn consent() -> Value {
    json!({
        "specversion": "1.0",
        "id": "consent-7",
        "source": "https://shop.example/consents",
        "type": "org.sharetrail.consent.given.v1",
        "subject": "customer-42",
        "time": "2026-01-30T09:30:00Z",
        "data": { "purposes": ["dpv:DirectMarketing"] },
    })
}

/// An array of events.
pub(super) fn events() -> Value {
    json!([consent(), event()])
}

/// Events as lines.
pub(super) fn lines() -> Value {
    Value::String(format!("{}\n{}\n", consent(), event()))
}

#[cfg(test)]
mod tests {
    use sharetrail_schemas::{Timestamp, parse};

    use super::*;

    fn is_valid(event: &Value) -> bool {
        let bytes = serde_json::to_vec(event).unwrap();
        parse(&bytes, Timestamp::from_unix(1_769_900_000)).is_ok()
    }

    /// The fault: somebody copies the example out of the document, and it is refused.
    #[test]
    fn examples_are_valid() {
        assert!(is_valid(&event()));
        assert!(events().as_array().unwrap().iter().all(is_valid));
        let lines = lines();
        for line in lines.as_str().unwrap().lines() {
            assert!(is_valid(&serde_json::from_str(line).unwrap()), "{line}");
        }
    }

    /// The fault: the document tells of an event what the schema does not.
    #[test]
    fn the_schema_of_a_kind_is_told_whole() {
        let mut schemas = Vec::new();
        Event::schemas(&mut schemas);
        assert_eq!(schemas.len(), Kind::ALL.len());
        for ((name, schema), kind) in schemas.iter().zip(Kind::ALL) {
            let mut expected = json_schema(*kind, VERSION).unwrap();
            for left_out in ["$id", "$schema"] {
                expected.as_object_mut().unwrap().remove(left_out);
            }
            assert_eq!(serde_json::to_value(schema).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn an_event_is_of_one_kind_and_its_type_tells_which() {
        let schema = serde_json::to_value(Event::schema()).unwrap();
        assert_eq!(schema["oneOf"].as_array().unwrap().len(), Kind::ALL.len());
        assert_eq!(
            schema["discriminator"]["mapping"]["org.sharetrail.data.shared.v1"],
            "#/components/schemas/event.data.shared.v1"
        );
        assert_eq!(schema["discriminator"]["propertyName"], "type");
    }
}
