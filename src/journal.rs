//! What is told of requests, on the standard error.
//!
//! In scope: its form. Out of scope: what is told (the HTTP server, which names routes, never who asked or for what).

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

/// The form of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Journal {
    /// Only what went wrong on this host is told, for people.
    #[default]
    Off,
    /// One line a request, for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Begins to tell; once in a process.
pub(crate) fn start(form: Journal) -> anyhow::Result<()> {
    // What libraries say is told elsewhere, in our own words.
    let least = if form == Journal::Off {
        "off,http=error"
    } else {
        "info"
    };
    let filter = || {
        let asked = EnvFilter::try_from_env("SHARETRAIL_LOG").unwrap_or_else(|_| EnvFilter::new(least));
        // These would print the heads of requests to the provider, with what is secret in them.
        let silent = ["ureq=off", "rustls=off"]
            .into_iter()
            .filter_map(|rule| rule.parse().ok());
        silent.fold(asked, EnvFilter::add_directive)
    };
    let lines = || {
        tracing_subscriber::fmt()
            .with_env_filter(filter())
            .with_writer(std::io::stderr)
            .with_target(true)
    };
    let started = match form {
        Journal::Off | Journal::Text => lines().with_ansi(false).try_init(),
        Journal::Json => lines().json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow!("cannot begin the journal: {error}"))
}
