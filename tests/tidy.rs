//! The house rules, held by a test: which crate may know which, what stays pure, how sources are written.
//!
//! In scope: what can be read from `cargo metadata`, `cargo tree` and the files as they lie. Out of scope: what
//! the compiler and clippy hold already. All faults are reported at once, each with its file and line. The rules
//! are functions over text; each of them is shown to fail on a made-up bad example.

mod dependencies;
mod text;

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tidy::dependencies::{LAYERS, dependency_faults, list, machinery_faults, name_of};
use crate::tidy::text::{Line, holds, lines, places};

const FILE_LINES_MAX: usize = 800;
const README_LINES_MAX: usize = 120;
const FOLDER_DEPTH_MAX: usize = 4;

/// Kinds of file that people write, and that are read for banned words.
const TEXT_KINDS: [&str; 9] = ["rs", "md", "toml", "py", "js", "css", "html", "sh", "yml"];

/// Folders that hold no source of ours.
const FOREIGN_FOLDERS: [&str; 4] = ["target", "node_modules", "__pycache__", "sharetrail-data"];

/// The docs describe the program, not how its text came to be. In two parts, so that this file does not hold them.
const BANNED_WORDS: [&str; 2] = [concat!("assis", "tant"), concat!("session ", "transcript")];

/// Comments that promise work; with the number of an issue they may stay.
const PROMISES: [&str; 3] = ["TODO", "FIXME", "XXX"];

/// The pure crates and their sources: callers pass the time and the random bytes.
const PURE: [(&str, &str); 2] = [
    ("sharetrail-schemas", "schemas/src/"),
    ("sharetrail-proof", "ledger/proof/src/"),
];

/// What the code of a pure crate may not say.
const IMPURE: [&str; 14] = [
    "std::fs",
    "fs::",
    "std::net",
    "net::",
    "std::env",
    "env::",
    "std::process",
    "process::",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "Zoned::now",
    "std::thread",
    "thread::spawn",
];

/// Modules of `std` that a pure crate may not import in a group either: `use std::{fmt, fs}`.
const IMPURE_MODULES: [&str; 5] = ["fs", "net", "env", "process", "thread"];

#[test]
fn sources_keep_the_house_rules() {
    let mut faults = Vec::new();
    for path in files() {
        faults.extend(depth_fault(&path));
        if TEXT_KINDS.contains(&kind_of(&path)) {
            let text = read(&path);
            faults.extend(word_faults(&path, &text));
            if kind_of(&path) == "rs" {
                faults.extend(source_faults(&path, &text));
            }
        }
    }
    report(&faults);
}

#[test]
fn pure_crates_know_no_clock_file_or_socket() {
    let mut faults = Vec::new();
    for (_, folder) in PURE {
        let sources: Vec<String> = files()
            .into_iter()
            .filter(|path| path.starts_with(folder) && kind_of(path) == "rs")
            .collect();
        assert!(
            !sources.is_empty(),
            "{folder} holds no sources: has the crate moved?"
        );
        for path in sources {
            faults.extend(impurities(&path, &read(&path)));
        }
    }
    report(&faults);
}

#[test]
fn pure_crates_are_built_on_no_machinery() {
    let mut faults = Vec::new();
    for (name, _) in PURE {
        // `cargo tree` resolves features for this crate alone, as an auditor builds it; `cargo metadata` would mix
        // in the features that the rest of the workspace asks for.
        let tree = cargo(&[
            "tree",
            "--package",
            name,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--offline",
        ]);
        assert!(
            tree.starts_with(name),
            "cargo tree says nothing of {name}: {tree}"
        );
        faults.extend(machinery_faults(name, &tree));
    }
    report(&faults);
}

#[test]
fn crates_depend_in_one_direction() {
    report(&dependency_faults(&metadata()));
}

#[test]
fn every_crate_of_the_layout_exists() {
    let metadata = metadata();
    let names: Vec<&str> = list(&metadata["packages"]).iter().map(name_of).collect();
    for (name, _) in LAYERS {
        assert!(
            names.contains(&name),
            "{name} is in the table of layers, but not in the workspace: {names:?}"
        );
    }
}

#[test]
fn the_readme_exists_and_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).ok();
    report(readme_fault(readme.as_deref()).as_slice());
}

/// All that a Rust source can do wrong.
fn source_faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let count = text.lines().count();
    if count > FILE_LINES_MAX {
        faults.push(format!(
            "{path}:{count}: over {FILE_LINES_MAX} lines; cut it along its concerns"
        ));
    }
    if is_shipped(path) && !text.starts_with("//!") {
        faults.push(format!(
            "{path}:1: does not start with a //! head: purpose, in scope, out of scope"
        ));
    }
    for line in lines(text) {
        let found = line_faults(path, &line);
        faults.extend(
            found
                .into_iter()
                .map(|fault| format!("{path}:{}: {fault}", line.number)),
        );
    }
    faults
}

/// All that one line of a Rust source can do wrong.
fn line_faults(path: &str, line: &Line) -> Vec<String> {
    let code = &line.code;
    let mut faults = Vec::new();
    if holds(code, "unsafe") {
        faults.push("unsafe code".to_owned());
    }
    for leftover in ["todo!", "unimplemented!", "dbg!"] {
        if holds(code, leftover) {
            faults.push(format!("{leftover} left behind"));
        }
    }
    for promise in PROMISES {
        if holds(&line.comment, promise) && !names_an_issue(&line.comment) {
            faults.push(format!("{promise} without the number of an issue, as in #12"));
        }
    }
    if code.contains("#[ignore]") {
        faults.push("#[ignore] without a reason".to_owned());
    }
    if code.contains(".unwrap()") && is_shipped(path) && !line.in_test {
        faults.push(".unwrap() outside of tests: expect(\"why it cannot happen\") or an error".to_owned());
    }
    if !path.starts_with("schemas/") && names_a_subject(code) {
        faults.push("`subject` alone is banned: say customer or bus_subject".to_owned());
    }
    faults
}

/// Whether `code` gives the bare name to something of ours. A field that is read (`.subject`) was named by somebody
/// else: by `schemas`, for the attribute of `CloudEvents`, or by the client of the bus.
fn names_a_subject(code: &str) -> bool {
    places(code, "subject").any(|at| !code[..at].ends_with('.'))
}

fn names_an_issue(comment: &str) -> bool {
    comment
        .split('#')
        .skip(1)
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// What a pure source says that it must not, its tests aside.
fn impurities(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = lines(text);
    for line in lines.iter().filter(|line| !line.in_test) {
        if let Some(word) = IMPURE.into_iter().find(|word| holds(&line.code, word)) {
            faults.push(format!("{path}:{}: `{word}` in a pure crate", line.number));
        }
    }
    let shipped = lines
        .iter()
        .map(|line| if line.in_test { "" } else { line.code.as_str() });
    let code = shipped.collect::<Vec<&str>>().join("\n");
    for (at, _) in code.match_indices("std::{") {
        let group = code[at..].split(';').next().unwrap_or_default();
        if let Some(module) = IMPURE_MODULES.into_iter().find(|module| holds(group, module)) {
            let number = 1 + code[..at].matches('\n').count();
            faults.push(format!(
                "{path}:{number}: imports `std::{module}` in a pure crate"
            ));
        }
    }
    faults
}

fn word_faults(path: &str, text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let numbered = lower.lines().zip(1..);
    numbered
        .flat_map(|(line, number)| {
            let banned = BANNED_WORDS.into_iter().filter(move |word| line.contains(word));
            banned.map(move |word| format!("{path}:{number}: \"{word}\" has no place in this project"))
        })
        .collect()
}

fn depth_fault(path: &str) -> Option<String> {
    let depth = path.matches('/').count();
    (depth > FOLDER_DEPTH_MAX).then(|| format!("{path}:1: {depth} folders deep; at most {FOLDER_DEPTH_MAX}"))
}

fn readme_fault(text: Option<&str>) -> Option<String> {
    let Some(text) = text else {
        return Some("README.md:1: is missing; write it, in at most 120 lines".to_owned());
    };
    let count = text.lines().count();
    (count > README_LINES_MAX)
        .then(|| format!("README.md:{count}: over {README_LINES_MAX} lines; move it to docs/"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of ours, relative to the root, with forward slashes.
fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root().join(&folder)).expect("a folder of the workspace can be read");
        for entry in entries {
            let entry = entry.expect("a folder of the workspace can be read");
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().expect("a file of the workspace has a type");
            if name.starts_with('.') || FOREIGN_FOLDERS.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() {
                folders.push(format!("{folder}{name}/"));
            } else {
                found.push(format!("{folder}{name}"));
            }
        }
    }
    found.sort_unstable();
    found
}

/// The kind of a file: what stands after the last dot of its name.
fn kind_of(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, kind)| kind)
}

/// Whether `path` is code that ships: under a `src` folder, and not the tests of a module in a file of their own.
fn is_shipped(path: &str) -> bool {
    let folders: Vec<&str> = path.split('/').collect();
    let aside = ["tests", "tests.rs", "examples", "benches", "fuzz"];
    folders.contains(&"src") && !aside.iter().any(|name| folders.contains(name))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What `cargo` prints in the workspace's root.
fn cargo(arguments: &[&str]) -> String {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {complaint}");
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// The packages of the workspace, with what their manifests ask for.
fn metadata() -> Value {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    serde_json::from_str(&text).expect("cargo metadata prints JSON")
}

/// Fails with all faults, one a line.
fn report(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} against the house rules:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Asserts that `text`, as the file `path`, has exactly one fault, that it is at `line`, and that it says `what`.
#[track_caller]
fn check(path: &str, text: &str, line: usize, what: &str) {
    let faults = source_faults(path, text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].starts_with(&format!("{path}:{line}: ")) && faults[0].contains(what),
        "{faults:?}"
    );
}

#[test]
fn bad_sources_are_found_where_they_lie() {
    let source = "ledger/src/log.rs";
    check(source, "fn f() {}\n", 1, "head");
    check(source, "//! A.\n\nunsafe fn f() {}\n", 3, "unsafe");
    check(source, "//! A.\nfn f() { todo!() }\n", 2, "todo!");
    check(
        source,
        "//! A.\nfn f() { unimplemented!() }\n",
        2,
        "unimplemented!",
    );
    check(source, "//! A.\nfn f() { dbg!(1); }\n", 2, "dbg!");
    check(source, "//! A.\n// TODO: later\n", 2, "TODO");
    check(source, "//! A.\n/* FIXME # 3 */\n", 2, "FIXME");
    check(source, "//! A.\n#[test]\n#[ignore]\nfn f() {}\n", 3, "#[ignore]");
    check(source, "//! A.\nfn f() { g().unwrap() }\n", 2, ".unwrap()");
    check(source, "//! A.\nfn f(subject: &str) {}\n", 2, "subject");
    check("tests/bus.rs", "let subject = 1;\n", 1, "subject");
    check(
        source,
        &"//! A.\n".repeat(FILE_LINES_MAX + 1),
        FILE_LINES_MAX + 1,
        "lines",
    );
}

#[test]
fn an_unwrap_after_the_tests_of_a_module_is_found() {
    let text =
        "//! A.\n#[cfg(test)]\nmod tests {\n    fn f() { g(\"}\").unwrap() }\n}\nfn f() { g().unwrap() }\n";
    check("ledger/src/log.rs", text, 6, ".unwrap()");
    check(
        "ledger/src/log.rs",
        "//! A.\n#[cfg(test)]\nmod tests;\nfn f() { g().unwrap() }\n",
        4,
        ".unwrap()",
    );
}

#[test]
fn good_sources_have_no_faults() {
    let text = r##"//! Never unsafe; `x.unwrap()`, todo!() and subject in comments are words.

const A: &str = "unsafe todo!() .unwrap() // TODO \" subject"; // TODO(#12): see there
const B: &str = r#"dbg!(" unsafe ")"#;
const C: [char; 4] = ['"', '\'', '\u{7f}', 'x'];
/* outer /* unsafe */ still unsafe */
fn f<'a>(bus_subject: &'a str, event: &'a Event) -> &'a str { event.subject() }
#[ignore = "needs a browser"]
fn g() {}
#[cfg(test)]
mod tests {
    fn h() { f().unwrap() }
}
"##;
    assert_eq!(source_faults("ledger/src/log.rs", text), [""; 0]);
    assert_eq!(
        source_faults("schemas/src/event.rs", "//! A.\nstruct E { subject: String }\n"),
        [""; 0]
    );
    assert_eq!(
        source_faults("tests/bus.rs", "fn f() { g().unwrap() }\n"),
        [""; 0]
    );
    assert_eq!(
        source_faults("ledger/src/log/tests.rs", "//! A.\nfn f() { g().unwrap() }\n"),
        [""; 0]
    );
}

#[test]
fn impure_code_is_found() {
    for word in IMPURE {
        let faults = impurities("a.rs", &format!("//! A.\nfn f() {{ {word} }}\n"));
        assert_eq!(faults.len(), 1, "{word}: {faults:?}");
        assert!(faults[0].starts_with("a.rs:2: "), "{faults:?}");
    }
    let group = impurities("a.rs", "//! A.\nuse std::{\n    fmt,\n    fs,\n};\n");
    assert_eq!(group, ["a.rs:2: imports `std::fs` in a pure crate"]);
    assert_eq!(
        impurities(
            "a.rs",
            "use std::{fmt, str};\n// std::fs\nfn offs() { let fs = \"fs::\"; }\n"
        ),
        [""; 0]
    );
    assert_eq!(
        impurities("a.rs", "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"),
        [""; 0]
    );
}

#[test]
fn banned_words_deep_folders_and_long_readmes_are_found() {
    for word in BANNED_WORDS {
        let text = format!("fine\nAn {} wrote this\n", word.to_uppercase());
        assert_eq!(word_faults("docs/a.md", &text).len(), 1);
        assert!(word_faults("docs/a.md", &text)[0].starts_with("docs/a.md:2: "));
    }
    assert_eq!(word_faults("docs/a.md", "It assists.\n"), [""; 0]);
    assert!(depth_fault("a/b/c/d/e/f.rs").is_some());
    assert!(depth_fault("a/b/c/d/f.rs").is_none());
    assert!(readme_fault(None).is_some());
    assert!(readme_fault(Some(&"x\n".repeat(README_LINES_MAX + 1))).is_some());
    assert!(readme_fault(Some(&"x\n".repeat(README_LINES_MAX))).is_none());
}
