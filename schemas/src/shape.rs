//! The shapes of values: the one description from which a wrong field is found and the JSON Schemas are written.
//!
//! In scope: what a value may look like. Out of scope: reading values fast (the types of `data`, `record` and `text`
//! do that, and the tests hold both to the same answers). Trust: none needed; constants.

use crate::leaf::Leaf;

/// What a JSON value may look like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A text by this rule.
    One(Leaf),
    /// A list of texts by this rule.
    Many(Leaf),
    /// True or false.
    Flag,
    /// A whole number, at least 1.
    Count,
    /// An object with these members.
    Record(&'static [Member]),
    /// A list of such objects.
    Records(&'static [Member]),
    /// A span of time: an object with these members, of which `last` is not before `first`.
    Span(&'static [Member]),
    /// Another event: its id as a text, or an object with these members.
    Reference(&'static [Member]),
}

/// One member of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    /// Its key.
    pub(crate) name: &'static str,
    /// Whether it must be there.
    pub(crate) required: bool,
    /// What its value may look like.
    pub(crate) shape: Shape,
}

impl Member {
    /// A member that must be there.
    pub(crate) const fn required(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            required: true,
            shape,
        }
    }

    /// A member that may be left out.
    pub(crate) const fn optional(name: &'static str, shape: Shape) -> Self {
        Self {
            name,
            required: false,
            shape,
        }
    }
}

impl Shape {
    /// The shape in words.
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::One(leaf) => leaf.expected(),
            Self::Many(_) | Self::Records(_) => "a list",
            Self::Flag => "true or false",
            Self::Count => "a whole number, at least 1",
            Self::Record(_) | Self::Span(_) => "an object",
            Self::Reference(_) => "an event's id, or an object of its source and id",
        }
    }
}
