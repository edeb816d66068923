//! Producers from outside: outbox, publisher and lines, and what becomes of events that nobody can take.
//!
//! One program, as each is linked with everything that it tests. Every module says what it is for.

mod beside;
mod lines;
mod outbox;
mod publisher;
mod rejected;
mod support;
