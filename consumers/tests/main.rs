//! What views answer and what the HTTP server says, over real sockets and from real ledgers.
//!
//! One program, as each is linked with everything that it tests. Every module says what it is for.

mod audit;
mod auth;
mod choices;
mod corrections;
mod dossier;
mod erased;
mod events;
mod http;
mod me;
mod openapi;
mod peer;
mod proxies;
mod renewal;
mod shelf;
mod stores;
mod support;
mod tls;
mod trail;
mod watch;
