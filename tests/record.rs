//! `record`: everything good is sealed once, everything bad is named, and no trouble loses or doubles an event.

use std::io::Write;
use std::process::Command;

use crate::support::disk::{Mount, limited};
use crate::support::loyalty::{Event, events, lines};
use crate::support::{Run, World, list, run, text_of};
use serde_json::{Value, json};

#[test]
fn a_file_is_sealed_once_however_often_it_is_recorded() {
    let world = World::with_ledger(1);
    let events = events(12, 40);
    let first = world.record(&events).exits(0).json();
    assert_eq!(first["lines"], events.len());
    assert_eq!(first["recorded"], events.len());
    assert_eq!(first["skipped"], 0);
    assert_eq!(first["interrupted"], false);
    assert!(list(&first["refused"]).is_empty());
    let again = world.record(&events).exits(0).json();
    assert_eq!(again["recorded"], 0);
    assert_eq!(again["skipped"], events.len());
    world.holds_each_once(&events);
}

#[test]
fn a_repeat_within_a_file_counts_once() {
    let world = World::with_ledger(1);
    let events = events(3, 6);
    let twice = format!("{0}{0}", lines(&events));
    let file = world.write("twice.jsonl", twice.as_bytes());
    let summary = world.run(&["record", &file]).exits(0).json();
    assert_eq!(summary["lines"], 2 * events.len());
    assert_eq!(summary["recorded"], events.len());
    assert_eq!(summary["skipped"], events.len());
    world.holds_each_once(&events);
}

#[test]
fn another_content_with_the_same_name_is_refused_and_named() {
    let world = World::with_ledger(1);
    let events = events(2, 6);
    world.record(&events).exits(0);
    let mut changed = events.clone();
    changed[3] = altered(&events[3], |event| event["time"] = json!("2017-06-06T06:06:06Z"));
    let summary = world.record(&changed).exits(1).json();
    let refused = list(&summary["refused"]);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0]["line"], 4);
    assert_eq!(refused[0]["field"], "id");
    assert_eq!(refused[0]["refusal"], true);
    let reason = refused[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains(&changed[3].id) && reason.contains(&changed[3].source));
    assert_eq!(summary["recorded"], 0);
    assert_eq!(summary["skipped"], events.len() - 1);
    world.holds_each_once(&events);
}

/// The event with its JSON changed.
fn altered(event: &Event, change: impl FnOnce(&mut Value)) -> Event {
    let mut json: Value = serde_json::from_str(&event.line).expect("events are JSON");
    change(&mut json);
    Event {
        line: json.to_string(),
        ..event.clone()
    }
}

#[test]
fn good_lines_are_recorded_and_each_bad_one_is_named() {
    let world = World::with_ledger(1);
    // The first of these is a mailing: it names a recipient and categories.
    let events = events(3, 5);
    let mailing = &events[0];
    let bad = |change: fn(&mut Value)| altered(mailing, change).line.into_bytes();
    let mut not_utf8 = mailing.line.clone().into_bytes();
    let place = mailing
        .line
        .find("campaign")
        .expect("a mailing tells its campaign");
    not_utf8[place] = 0xff;
    let file = [
        events[1].line.clone().into_bytes(),
        mailing.line.as_bytes()[..100].to_vec(),
        not_utf8,
        bad(|event| event["type"] = json!("org.sharetrail.data.shred.v1")),
        bad(without_recipient),
        bad(|event| event["data"]["categories"][0] = json!("pd:Nmae")),
        bad(|event| event["data"]["description"] = json!("x".repeat(70 << 10))),
        bad(|event| event["time"] = json!("2999-01-01T00:00:00Z")),
        b"  ".to_vec(),
        events[2].line.clone().into_bytes(),
    ];
    let file = world.write("bad.jsonl", &file.join(&b'\n'));
    let summary = world.run(&["record", &file]).exits(2).json();
    let told: Vec<(u64, Value)> = list(&summary["refused"])
        .iter()
        .map(|bad| (bad["line"].as_u64().expect("a number"), bad["field"].clone()))
        .collect();
    let expected = [
        (2, Value::Null),
        (3, Value::Null),
        (4, json!("type")),
        (5, json!("data.recipient")),
        (6, json!("data.categories[0]")),
        (7, Value::Null),
        (8, json!("time")),
    ];
    assert_eq!(told, expected);
    assert_eq!(summary["lines"], 9);
    assert_eq!(summary["recorded"], 2);
    world.holds_each_once(&events[1..3]);
}

fn without_recipient(event: &mut Value) {
    let data = event["data"].as_object_mut().expect("data is an object");
    data.remove("recipient").expect("a mailing has a recipient");
}

#[test]
fn the_standard_input_is_a_file_too() {
    let world = World::with_ledger(1);
    let events = events(4, 10);
    let mut child = world.recorder();
    feed(&mut child, &lines(&events));
    let summary = Run::of(&child.wait_with_output().expect("it ends"))
        .exits(0)
        .json();
    assert_eq!(summary["recorded"], events.len());
    world.holds_each_once(&events);
}

/// Writes everything and closes the input.
fn feed(child: &mut std::process::Child, text: &str) {
    let mut input = child.stdin.take().expect("its input is a pipe");
    input.write_all(text.as_bytes()).expect("it reads its input");
}

#[test]
fn a_second_process_is_told_of_the_first() {
    let world = World::with_ledger(1);
    let events = events(4, 10);
    let mut first = world.recorder();
    let second = world.record(&events).exits(2);
    assert!(second.error().contains(&first.id().to_string()));
    let status = world.status();
    assert_eq!(status["held"], true);
    assert_eq!(status["held_by"], first.id());
    feed(&mut first, &lines(&events));
    Run::of(&first.wait_with_output().expect("it ends")).exits(0);
    assert_eq!(world.status()["held"], false);
    assert_eq!(world.record(&events).exits(0).json()["skipped"], events.len());
    world.holds_each_once(&events);
}

#[test]
fn what_cannot_be_opened_is_one_line_and_exit_2() {
    let world = World::with_ledger(1);
    let file = world.write("events.jsonl", lines(&events(1, 4)).as_bytes());
    let (nowhere, folder) = (text_of(&world.path("nowhere")), text_of(&world.path("work")));
    let below_a_file = format!("{file}/ledger");
    let (file, nowhere, folder) = (file.as_str(), nowhere.as_str(), folder.as_str());
    let below_a_file = below_a_file.as_str();
    for arguments in [
        &["record", nowhere][..],
        &["record", folder],
        &["record", file, "--ledger", nowhere],
        &["record", file, "--ledger", folder],
        &["record", file, "--ledger", below_a_file],
        &["record", file, "--producer", "nobody.example"],
        &["init", "shop.example", "--ledger", below_a_file],
        &["init", "shop.example"],
        &["trail", "household-1", "--ledger", folder],
        &["status", "--ledger", nowhere],
    ] {
        let refused = world.run(arguments).exits(2);
        assert!(!refused.error().is_empty(), "{arguments:?}");
        assert!(refused.stdout.is_empty(), "{arguments:?}");
    }
    world.run(&["record"]).exits(2);
    assert_eq!(world.status()["events"], 0);
}

#[test]
fn a_folder_that_cannot_be_written_is_one_line_and_exit_2() {
    let world = World::new();
    let ledger = world.ledger();
    std::fs::create_dir(&ledger).expect("a folder can be made");
    let mount = Mount::on(&ledger);
    world.init(1);
    let lock = |mode: &str| {
        let mut command = Command::new("chmod");
        assert_eq!(run(command.args(["-R", mode]).arg(&ledger)).code, Some(0));
    };
    if let Some(mount) = &mount {
        mount.freeze();
    } else {
        lock("a-w");
    }
    let is_writable = std::fs::write(ledger.join("probe"), "").is_ok();
    let refused = world.record(&events(2, 4));
    if mount.is_none() {
        lock("u+w");
    }
    // Somebody who may write in spite of the mode, and may not mount, cannot see this.
    if !is_writable {
        assert!(!refused.exits(2).error().is_empty());
    }
}

/// Of three thousand events a part fits. The rest is told in one line, and recorded once there is room again.
#[test]
fn a_full_disk_loses_and_doubles_nothing() {
    let world = World::new();
    std::fs::create_dir(world.ledger()).expect("a folder can be made");
    let mount = Mount::on(&world.ledger());
    world.init(1);
    let events = events(10, 300);
    world.record(&events[..100]).exits(0);
    let failed = if let Some(mount) = &mount {
        mount.fill(1 << 20);
        world.record(&events)
    } else {
        let file = world.write("events.jsonl", lines(&events).as_bytes());
        run(limited(&world, 2_048).args(["--json", "record", file.as_str()]))
    };
    assert!(!failed.exits(2).error().is_empty());
    if let Some(mount) = &mount {
        mount.empty();
    }
    let summary = world.record(&events).exits(0).json();
    let counts = [&summary["recorded"], &summary["skipped"]].map(|count| count.as_u64().expect("a number"));
    assert_eq!(counts.iter().sum::<u64>(), events.len() as u64);
    assert!(list(&summary["refused"]).is_empty());
    world.holds_each_once(&events);
}
