//! Where the nats-server lies.
//!
//! In scope: the variable, what `cargo xtask` brought, the path. Out of scope: bringing it (`xtask/src/nats.rs`).

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the program, for tests and measurements.
pub const VARIABLE: &str = "SHARETRAIL_NATS_SERVER";

/// The oldest one on the path that will do: what streams can be told before it is not enough.
const OLDEST: (u32, u32) = (2, 11);

/// The nats-server to use: the one that `SHARETRAIL_NATS_SERVER` names, else the one that `cargo xtask` brought, else one
/// on the path, of version 2.11 or later.
pub fn nats_server() -> Option<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies two folders deep");
    let brought = root.join("target/xtask/nats/bin/nats-server");
    if brought.is_file() {
        return Some(brought);
    }
    let on_path = PathBuf::from("nats-server");
    (version(&on_path)? >= OLDEST).then_some(on_path)
}

fn version(program: &Path) -> Option<(u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `nats-server: v2.15.1`.
fn parse(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().rsplit_once('v')?.1.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read() {
        assert_eq!(parse("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(parse("nats-server: version 2.9"), None);
        assert!(parse("nats-server: v2.9.10").is_some_and(|old| old < OLDEST));
    }
}
