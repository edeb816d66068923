//! Which crate may be built on which.
//!
//! In scope: what `cargo metadata` and `cargo tree` print. Out of scope: running them.

use serde_json::Value;

/// Crate → the crates of this workspace that it may be built on.
pub(crate) const LAYERS: [(&str, &[&str]); 8] = [
    ("sharetrail-schemas", &[]),
    ("sharetrail-proof", &[]),
    ("sharetrail-ledger", &["sharetrail-schemas", "sharetrail-proof"]),
    (
        "sharetrail-producers",
        &["sharetrail-schemas", "sharetrail-proof", "sharetrail-ledger"],
    ),
    (
        "sharetrail-consumers",
        &["sharetrail-schemas", "sharetrail-proof", "sharetrail-ledger"],
    ),
    ("sharetrail-cluster", &[]),
    ("sharetrail", &LIBRARIES),
    ("xtask", &LIBRARIES),
];

const LIBRARIES: [&str; 5] = [
    "sharetrail-schemas",
    "sharetrail-proof",
    "sharetrail-ledger",
    "sharetrail-producers",
    "sharetrail-consumers",
];

/// Dependency → the only crates that may name it, for tests included.
const OWNERS: [(&str, &[&str]); 5] = [
    ("sled", &["sharetrail-consumers"]),
    ("fjall", &["sharetrail-consumers", "sharetrail-producers"]),
    ("anyhow", &["sharetrail", "xtask"]),
    ("async-nats", &["sharetrail-ledger", "sharetrail"]),
    ("axum", &["sharetrail-consumers"]),
];

/// What a pure crate may not be built on, however far down.
const MACHINERY: [&str; 6] = ["tokio", "async-nats", "sled", "fjall", "getrandom", "rand"];

/// Every dependency that goes against the layers, or that its crate may not name.
pub(crate) fn dependency_faults(metadata: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for package in list(&metadata["packages"]) {
        let name = name_of(package);
        let Some((_, below)) = LAYERS.into_iter().find(|(layer, _)| *layer == name) else {
            faults.push(format!(
                "{name}: not in the table of layers (LAYERS): say what it may be built on"
            ));
            continue;
        };
        for dependency in list(&package["dependencies"]) {
            let wanted = name_of(dependency);
            let for_tests = dependency["kind"] == "dev";
            let ours = LAYERS.iter().any(|(layer, _)| *layer == wanted);
            if ours && !for_tests && !below.contains(&wanted) {
                faults.push(format!(
                    "{name} must not depend on {wanted}: {name} may be built on {below:?}"
                ));
            }
            if let Some((_, owners)) = OWNERS.into_iter().find(|(owned, _)| *owned == wanted)
                && !owners.contains(&name)
            {
                faults.push(format!("{name} must not depend on {wanted}: only {owners:?} may"));
            }
        }
    }
    faults
}

/// `tree`: one package a line, its name first, as `cargo tree --prefix none` prints it.
pub(crate) fn machinery_faults(name: &str, tree: &str) -> Vec<String> {
    let mut found: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    found.retain(|package| MACHINERY.contains(package));
    found.sort_unstable();
    found.dedup();
    found
        .into_iter()
        .map(|package| format!("{name}: is pure, yet built on {package}"))
        .collect()
}

/// The elements of a list.
pub(crate) fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .map(Vec::as_slice)
        .expect("cargo metadata holds a list here")
}

/// The name of a package or of a dependency.
pub(crate) fn name_of(value: &Value) -> &str {
    value["name"].as_str().expect("cargo metadata names it")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The faults of a workspace of one crate with one dependency.
    fn faults_of_edge(from: &str, to: &str, kind: &Value) -> usize {
        let package = json!({ "name": from, "dependencies": [{ "name": to, "kind": kind }] });
        dependency_faults(&json!({ "packages": [package] })).len()
    }

    #[test]
    fn dependencies_against_the_layers_are_found() {
        let (normal, dev) = (Value::Null, json!("dev"));
        assert_eq!(
            faults_of_edge("sharetrail-proof", "sharetrail-schemas", &normal),
            1
        );
        assert_eq!(
            faults_of_edge("sharetrail-ledger", "sharetrail-producers", &normal),
            1
        );
        assert_eq!(
            faults_of_edge("sharetrail-consumers", "sharetrail-producers", &normal),
            1
        );
        assert_eq!(
            faults_of_edge("sharetrail-consumers", "sharetrail-producers", &dev),
            0
        );
        assert_eq!(faults_of_edge("sharetrail-ledger", "sled", &normal), 1);
        assert_eq!(faults_of_edge("sharetrail-producers", "fjall", &normal), 0);
        assert_eq!(faults_of_edge("sharetrail-producers", "anyhow", &dev), 1);
        assert_eq!(faults_of_edge("sharetrail-newcomer", "serde", &normal), 1);
        assert_eq!(faults_of_edge("sharetrail", "anyhow", &normal), 0);
    }

    #[test]
    fn machinery_under_a_pure_crate_is_found() {
        let tree = "sharetrail-proof v0.1.0 (/a)\nsha2 v0.11.1\ngetrandom v0.4.3\nrand_core v0.10.0\ngetrandom v0.4.3 (*)\n";
        assert_eq!(
            machinery_faults("sharetrail-proof", tree),
            ["sharetrail-proof: is pure, yet built on getrandom"]
        );
        assert_eq!(
            machinery_faults("sharetrail-proof", "sha2 v0.11.1\nrand_core v0.10.0\n"),
            [""; 0]
        );
    }
}
