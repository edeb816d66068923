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

/// What the fuzzer does: its coverage of every bound takes two minutes, and is the same for all who get no further than
/// the door.
const BRIEFLY: &str = "examples,fuzzing,stateful";
const THOROUGHLY: &str = "examples,coverage,fuzzing,stateful";

/// Runs the fuzzer with what lies at `token`, against a demonstration of its own.
#[track_caller]
fn fuzz(token: Option<&str>, phases: &str) {
    let python = env::var_os("SHARETRAIL_SCHEMATHESIS_PYTHON");
    let python = python.expect("SHARETRAIL_SCHEMATHESIS_PYTHON must name a Python that has schemathesis");
    let examples = if env::var_os("SHARETRAIL_QUICK").is_some() {
        "5"
    } else {
        "30"
    };
    let server = Server::demo();
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
        // A stream has no end that a fuzzer could wait for.
        .args([
            "--exclude-path",
            "/v1/me/stream",
            "--request-timeout",
            "20",
            "--phases",
            phases,
        ])
        .env(
            "SCHEMATHESIS_HOOKS",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/hooks.py"),
        )
        .current_dir(server.folder());
    if let Some(path) = token {
        let token = server.fetch(path);
        command.args(["--header", &format!("Authorization: Bearer {}", token.trim())]);
    }
    let found = run(&mut command);
    assert_eq!(found.code, Some(0), "{}\n{}", found.stdout, found.stderr);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn schemathesis_as_a_stranger_finds_nothing_undocumented() {
    fuzz(None, BRIEFLY);
}

#[test]
fn schemathesis_as_a_customer_finds_nothing_undocumented() {
    fuzz(Some("/demo/token/customer-417"), THOROUGHLY);
}

#[test]
fn schemathesis_as_the_officer_finds_nothing_undocumented() {
    fuzz(Some("/demo/token/officer"), BRIEFLY);
}

#[test]
fn schemathesis_as_a_service_finds_nothing_undocumented() {
    fuzz(Some("/demo/service-token"), THOROUGHLY);
}
