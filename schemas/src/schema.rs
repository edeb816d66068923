//! The JSON Schemas (2020-12) of contents, for services in other languages.
//!
//! A schema holds what a schema can: structure, lengths, forms. That a term exists, that a country is assigned, that
//! a series runs forward and that an id is in NFC is left to [`crate::parse`]. JSON Schema counts characters and the
//! limits count bytes, so a text can pass here and be too long there, never the other way round.
//!
//! In scope: one schema per kind and version. Out of scope: validating with it. Trust: none needed.
//!
//! Written to `schemas/json/` by the crate's tests, which also hold the files to this code.

use serde_json::{Map, Value, json};

use crate::envelope::{ATTRIBUTES, Attribute};
use crate::kind::Kind;
use crate::leaf::Leaf;
use crate::record::{Right, Role};
use crate::shape::{Member, Shape};
use crate::text::MAX_LIST;
use crate::upcast::Version;

/// The JSON Schema of a kind's contents; none if the kind has no such version.
pub fn json_schema(kind: Kind, version: u32) -> Option<Value> {
    let version = Version::from_number(version)?.number();
    let name = format!("{kind}.v{version}");
    let mut properties: Map<String, Value> = ATTRIBUTES.iter().map(attribute).collect();
    properties.insert(
        "type".to_owned(),
        json!({"const": format!("org.sharetrail.{name}")}),
    );
    properties.insert("data".to_owned(), record(&kind.members()));
    let required = ATTRIBUTES
        .iter()
        .filter(|attribute| attribute.required)
        .map(|attribute| attribute.name);
    let required: Vec<&str> = required.chain(["type", "data"]).collect();
    Some(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("https://sharetrail.org/schemas/{name}.json"),
        "title": name,
        "description": kind.about(),
        "type": "object",
        "properties": properties,
        "required": required,
        "propertyNames": {"pattern": "^[a-z0-9]+$"},
        "additionalProperties": {"type": ["string", "boolean", "integer", "null"]},
    }))
}

fn attribute(attribute: &Attribute) -> (String, Value) {
    let rule = leaf(attribute.leaf);
    let rule = if attribute.required {
        rule
    } else {
        json!({"anyOf": [rule, {"type": "null"}]})
    };
    (attribute.name.to_owned(), rule)
}

fn record(members: &[Member]) -> Value {
    let properties: Map<String, Value> = members
        .iter()
        .map(|member| (member.name.to_owned(), shape(member.shape)))
        .collect();
    let required: Vec<&str> = members
        .iter()
        .filter(|member| member.required)
        .map(|member| member.name)
        .collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn shape(shape: Shape) -> Value {
    match shape {
        Shape::One(rule) => leaf(rule),
        Shape::Many(rule) => list(&leaf(rule)),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Count => json!({"type": "integer", "minimum": 1}),
        Shape::Record(members) | Shape::Span(members) => record(members),
        Shape::Records(members) => list(&record(members)),
        Shape::Reference(members) => json!({"anyOf": [leaf(Leaf::Id), record(members)]}),
    }
}

fn list(items: &Value) -> Value {
    json!({"type": "array", "items": items, "minItems": 1, "maxItems": MAX_LIST})
}

fn leaf(leaf: Leaf) -> Value {
    match leaf {
        Leaf::SpecVersion => json!({"const": "1.0"}),
        Leaf::ContentType => json!({"const": "application/json"}),
        Leaf::Role => json!({"enum": Role::ALL.iter().map(|role| role.name()).collect::<Vec<_>>()}),
        Leaf::Right => json!({"enum": Right::ALL.iter().map(|right| right.name()).collect::<Vec<_>>()}),
        _ => text(leaf),
    }
}

fn text(leaf: Leaf) -> Value {
    let mut rule = json!({"type": "string", "pattern": pattern(leaf), "description": leaf.expected()});
    if let Some(max) = leaf.max_bytes() {
        rule["minLength"] = json!(1);
        rule["maxLength"] = json!(max);
    }
    rule
}

/// No control characters anywhere, and none of Unicode's spaces at either end.
const CUSTOMER_PATTERN: &str = concat!(
    r"^(?![ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000])",
    r"[^\u0000-\u001f\u007f-\u009f]*",
    r"[^ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\u0000-\u001f\u007f-\u009f]$",
);

/// The rule's form as a regular expression of ECMA-262.
fn pattern(leaf: Leaf) -> &'static str {
    match leaf {
        Leaf::SpecVersion => "^1[.]0$",
        Leaf::ContentType => "^application/json$",
        Leaf::Id => r"^[^\u0000-\u001f\u007f-\u009f]*$",
        Leaf::Uri => r"^[!#-;=?-Z\[\]_a-z~]*$",
        Leaf::Customer => CUSTOMER_PATTERN,
        Leaf::Time => {
            r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
        }
        Leaf::Text => r"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f]*$",
        Leaf::Party => "^[a-z0-9.-]{1,63}$",
        Leaf::Country => "^[A-Z]{2}$",
        Leaf::Category => "^(pd:|https://w3id[.]org/dpv/pd#)[A-Za-z0-9-]+$",
        Leaf::Purpose => "^(dpv:|https://w3id[.]org/dpv#)[A-Za-z0-9-]+$",
        Leaf::Basis | Leaf::Safeguard => {
            "^([a-z0-9-]{1,32}:|https://w3id[.]org/dpv(/legal/eu/gdpr)?#)[A-Za-z0-9._()-]{1,128}$"
        }
        Leaf::Duration => {
            "^P(?=[0-9]|T[0-9])([0-9]+Y)?([0-9]+M)?([0-9]+W)?([0-9]+D)?(T(?=[0-9])([0-9]+H)?([0-9]+M)?([0-9]+S)?)?$"
        }
        Leaf::Digest => "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$",
        Leaf::Role | Leaf::Right => "^[a-z-]+$",
    }
}
