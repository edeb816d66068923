//! The program without a command: it shows what it can do, and leaves nothing behind.

use std::fs;
use std::path::Path;

use crate::support::{World, list};

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder)
        .expect("the folder is there")
        .next()
        .is_none()
}

#[test]
fn the_demonstration_holds_and_the_altered_dossier_does_not() {
    let world = World::new();
    let told = world.run(&["demo", "--story"]).exits(0).json();
    assert_eq!(told["verification"], "verified");
    let altered = &told["altered"]["verification"];
    assert_eq!(altered["verdict"], "disproved");
    assert!(!list(&altered["faults"]).is_empty());
    assert!(told["events"].as_u64() > told["trail"]["events"].as_u64());
    assert_eq!(told["trail"]["findings"], 1);
    assert!(told["altered"]["byte"].as_u64() < told["dossier_bytes"].as_u64());
    assert_eq!(told["absence"]["verification"], "verified");
    let erasure = &told["erasure"];
    assert_eq!(erasure["verification"], "verified");
    assert_eq!(erasure["readable"], 0);
    assert!(erasure["erased"].as_u64() > Some(0));
}

#[test]
fn the_demonstration_leaves_nothing_behind() {
    let world = World::new();
    let page = world.text(&["demo", "--story"]).exits(0);
    assert!(page.stderr.is_empty(), "{page:#?}");
    assert!(page.stdout.lines().count() > 20);
    assert!(
        !page.stdout.contains('\u{1b}'),
        "colour where there is no terminal"
    );
    for name in ["tmp", "work", "home"] {
        assert!(is_empty(&world.path(name)), "{name} is not empty");
    }
    assert!(!world.ledger().exists());
}
