//! The HTTP API against its own description: a fuzzer that reads `/openapi.json` tries every route as each role.
//!
//! It needs a Python with schemathesis; `SHARETRAIL_SCHEMATHESIS_PYTHON` names it, and `cargo xtask test` brings one. What
//! counts: no answer of the 500s, and no status, media type or body that the description does not know.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::support::run;
use crate::support::server::Server;

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,unsupported_method,ignored_auth";

/// A stream has no end that a fuzzer could wait for.
const ENDLESS: &str = "/v1/me/stream";

/// Runs the fuzzer with what lies at `token`, against a demonstration of its own: over all routes at random, and over those
/// that are this role's `own` (a pattern of paths) at every bound, which is the same for all who get no further than the
/// door. Events are tried at random alone: every bound of every kind takes the fuzzer minutes, and the schemas have tests
/// of their own for them.
#[track_caller]
fn fuzz(token: Option<&str>, own: &str) {
    let server = Server::demo();
    let token = token.map(|path| server.fetch(path));
    let token = token.as_deref().map(str::trim);
    run_fuzzer(&server, token, &["--phases", "examples,fuzzing,stateful"]);
    run_fuzzer(
        &server,
        token,
        &["--phases", "coverage", "--include-path-regex", own],
    );
    assert_eq!(server.end(), Some(0));
}

#[track_caller]
fn run_fuzzer(server: &Server, token: Option<&str>, what: &[&str]) {
    let python = env::var_os("SHARETRAIL_SCHEMATHESIS_PYTHON");
    let python = python.expect("SHARETRAIL_SCHEMATHESIS_PYTHON must name a Python that has schemathesis");
    let examples = if env::var_os("SHARETRAIL_QUICK").is_some() {
        "5"
    } else {
        "30"
    };
    let mut command = Command::new(python);
    command
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("{}/openapi.json", server.url()))
        .args([
            "--checks",
            CHECKS,
            "--max-examples",
            examples,
            "--seed",
            "417",
            "--no-color",
        ])
        .args(["--exclude-path", ENDLESS, "--request-timeout", "20"])
        .args(what)
        .env(
            "SCHEMATHESIS_HOOKS",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/hooks.py"),
        )
        .current_dir(server.folder());
    if let Some(token) = token {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let found = run(&mut command);
    assert_eq!(
        found.code,
        Some(0),
        "{what:?}\n{}\n{}",
        found.stdout,
        found.stderr
    );
}

#[test]
fn schemathesis_as_a_stranger_finds_nothing_undocumented() {
    fuzz(None, "^/(asyncapi|healthz|metrics|openapi|policy|readyz|v1/logs)");
}

#[test]
fn schemathesis_as_a_customer_finds_nothing_undocumented() {
    fuzz(Some("/demo/token/customer-417"), "^/v1/me");
}

#[test]
fn schemathesis_as_the_officer_finds_nothing_undocumented() {
    fuzz(Some("/demo/token/officer"), "^/v1/officer");
}

#[test]
fn schemathesis_as_a_service_finds_nothing_undocumented() {
    fuzz(Some("/demo/service-token"), "^/v1/authorize");
}
