//! Which field of a refused content is wrong, and why.
//!
//! The fast reader only says no. This slow one walks the whole JSON along the shapes and names the first fault: the
//! attributes first, then `data`; within an object repeated keys, unknown keys, missing keys, wrong values.
//!
//! In scope: everything that [`crate::read`] refuses except size, encoding and syntax. Out of scope: the clock.
//! Trust: the text is untrusted.

use crate::content::not_json;
use crate::envelope::{ATTRIBUTES, Attribute, is_extension_name};
use crate::error::{ContentError, quote};
use crate::kind::{Kind, TypeFault};
use crate::leaf::Leaf;
use crate::nearest::nearest;
use crate::shape::{Member, Shape};
use crate::text::MAX_LIST;
use crate::time::Timestamp;
use crate::tree::Tree;
use crate::upcast::Version;

type Members = [(String, Tree)];

const TYPE_EXPECTED: &str = "org.sharetrail.<kind>.v<number>";

/// The first fault of `text`; none if it is a valid content.
pub(crate) fn diagnose(text: &str) -> Option<ContentError> {
    match serde_json::from_str::<Tree>(text) {
        Ok(tree) => check_content(&tree).err(),
        Err(error) => Some(not_json(&error)),
    }
}

fn check_content(tree: &Tree) -> Result<(), ContentError> {
    let members = object(tree, "$")?;
    check_unique(members, "")?;
    for (name, value) in members {
        check_name(name, value)?;
    }
    for attribute in ATTRIBUTES {
        check_attribute(attribute, find(members, attribute.name))?;
    }
    let kind = check_type(find(members, "type"))?;
    let data = find(members, "data").ok_or_else(|| missing("data", "an object"))?;
    check_record(data, "data", &kind.members())
}

fn check_name(name: &str, value: &Tree) -> Result<(), ContentError> {
    let known = || {
        ATTRIBUTES
            .iter()
            .map(|attribute| attribute.name)
            .chain(["type", "data"])
    };
    if known().any(|known| known == name) {
        return Ok(());
    }
    if !is_extension_name(name) {
        let nearest = nearest(name, known()).map(str::to_owned);
        return Err(ContentError::UnknownField {
            field: quote(name),
            nearest,
        });
    }
    let is_short = |number: i64| i32::try_from(number).is_ok();
    match value {
        Tree::Null | Tree::Flag | Tree::Text(_) => Ok(()),
        Tree::Natural(number) if i64::try_from(*number).is_ok_and(is_short) => Ok(()),
        Tree::Negative(number) if is_short(*number) => Ok(()),
        _ => Err(wrong_type(
            name,
            "a text, true or false, or a whole number of 32 bits",
            value,
        )),
    }
}

fn check_attribute(attribute: &Attribute, value: Option<&Tree>) -> Result<(), ContentError> {
    match value {
        None if attribute.required => Err(missing(attribute.name, attribute.leaf.expected())),
        Some(Tree::Null) if !attribute.required => Ok(()),
        None => Ok(()),
        Some(value) => check_leaf(value, attribute.name, attribute.leaf),
    }
}

fn check_type(value: Option<&Tree>) -> Result<Kind, ContentError> {
    let text = match value {
        Some(Tree::Text(text)) => text,
        Some(other) => return Err(wrong_type("type", TYPE_EXPECTED, other)),
        None => return Err(missing("type", TYPE_EXPECTED)),
    };
    match Kind::from_type(text) {
        Ok((kind, _)) => Ok(kind),
        Err(TypeFault::Form) => Err(ContentError::Invalid {
            field: "type".to_owned(),
            expected: TYPE_EXPECTED,
            found: quote(text),
        }),
        Err(TypeFault::Kind(found)) => Err(ContentError::UnknownKind {
            found: quote(found),
            nearest: Kind::nearest(found).map(str::to_owned),
        }),
        Err(TypeFault::Version(kind, found)) => {
            let known = Version::NUMBERS;
            Err(ContentError::UnknownVersion {
                kind: kind.name(),
                found: quote(found),
                known,
            })
        }
    }
}

fn check_record(value: &Tree, path: &str, known: &[Member]) -> Result<(), ContentError> {
    let members = object(value, path)?;
    let prefix = format!("{path}.");
    check_unique(members, &prefix)?;
    for (name, _) in members {
        if known.iter().all(|member| member.name != name) {
            let nearest = nearest(name, known.iter().map(|member| member.name)).map(str::to_owned);
            return Err(ContentError::UnknownField {
                field: format!("{prefix}{}", quote(name)),
                nearest,
            });
        }
    }
    let is_missing = |member: &&Member| member.required && find(members, member.name).is_none();
    if let Some(member) = known.iter().find(is_missing) {
        return Err(missing(
            &format!("{prefix}{}", member.name),
            member.shape.expected(),
        ));
    }
    for member in known {
        if let Some(value) = find(members, member.name) {
            check_shape(value, &format!("{prefix}{}", member.name), member.shape)?;
        }
    }
    Ok(())
}

fn check_shape(value: &Tree, path: &str, shape: Shape) -> Result<(), ContentError> {
    match (shape, value) {
        (Shape::One(leaf), _) => check_leaf(value, path, leaf),
        (Shape::Many(leaf), _) => check_list(value, path, |entry, path| check_leaf(entry, path, leaf)),
        (Shape::Records(members), _) => {
            check_list(value, path, |entry, path| check_record(entry, path, members))
        }
        (Shape::Flag, Tree::Flag) | (Shape::Count, Tree::Natural(1..)) => Ok(()),
        (Shape::Count, Tree::Natural(0)) => Err(ContentError::Invalid {
            field: path.to_owned(),
            expected: shape.expected(),
            found: "0".to_owned(),
        }),
        (Shape::Record(members), _) | (Shape::Reference(members), Tree::Object(_)) => {
            check_record(value, path, members)
        }
        (Shape::Span(members), _) => {
            check_record(value, path, members).and_then(|()| check_span(value, path))
        }
        (Shape::Reference(_), Tree::Text(_)) => check_leaf(value, path, Leaf::Id),
        (Shape::Flag | Shape::Count | Shape::Reference(_), _) => {
            Err(wrong_type(path, shape.expected(), value))
        }
    }
}

fn check_list(
    value: &Tree,
    path: &str,
    check: impl Fn(&Tree, &str) -> Result<(), ContentError>,
) -> Result<(), ContentError> {
    let Tree::List(entries) = value else {
        return Err(wrong_type(path, "a list", value));
    };
    if !(1..=MAX_LIST).contains(&entries.len()) {
        let (field, found) = (path.to_owned(), entries.len());
        return Err(ContentError::Length {
            field,
            min: 1,
            max: MAX_LIST,
            unit: "entries",
            found,
        });
    }
    entries
        .iter()
        .enumerate()
        .try_for_each(|(at, entry)| check(entry, &format!("{path}[{at}]")))
}

/// Of a span whose members are right in themselves: whether it runs forward.
fn check_span(value: &Tree, path: &str) -> Result<(), ContentError> {
    let members = object(value, path)?;
    let time = |name| match find(members, name) {
        Some(Tree::Text(text)) => Timestamp::from_rfc3339(text),
        _ => None,
    };
    match (time("first"), time("last")) {
        (Some(first), Some(last)) if last < first => Err(ContentError::Invalid {
            field: format!("{path}.last"),
            expected: "a time not before `first`",
            found: last.to_string(),
        }),
        _ => Ok(()),
    }
}

fn check_leaf(value: &Tree, path: &str, leaf: Leaf) -> Result<(), ContentError> {
    match value {
        Tree::Text(text) => leaf
            .check(text)
            .map_err(|reason| leaf.refusal(reason, path, text)),
        other => Err(wrong_type(path, leaf.expected(), other)),
    }
}

fn check_unique(members: &Members, prefix: &str) -> Result<(), ContentError> {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(ContentError::Duplicate {
            field: format!("{prefix}{}", quote(pair[0])),
        }),
        None => Ok(()),
    }
}

fn object<'t>(value: &'t Tree, path: &str) -> Result<&'t Members, ContentError> {
    match value {
        Tree::Object(members) => Ok(members),
        other => Err(wrong_type(path, "an object", other)),
    }
}

fn find<'t>(members: &'t Members, name: &str) -> Option<&'t Tree> {
    members
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}

fn missing(field: &str, expected: &'static str) -> ContentError {
    ContentError::Missing {
        field: field.to_owned(),
        expected,
    }
}

fn wrong_type(field: &str, expected: &'static str, found: &Tree) -> ContentError {
    ContentError::WrongType {
        field: field.to_owned(),
        expected,
        found: found.found(),
    }
}
