//! The formats of contents, from outside: what is refused, what always holds, what other validators say of it.
//!
//! One program, as each is linked with everything that it tests. Every module says what it is for.

mod agreement;
mod properties;
mod refusals;
mod support;
