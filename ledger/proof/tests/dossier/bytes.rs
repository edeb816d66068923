//! The file itself: there is one way of writing it, no byte of it can be changed unseen, and what is cut off or never
//! was a dossier is told apart from what was altered.

use std::thread;

use sharetrail_proof::dossier::{Certificate, Dossier, DossierError, FORMAT, FileKind, kind_of};
use sharetrail_proof::name::LedgerId;
use sharetrail_proof::policy::Policy;

use crate::dossier::golden::{golden, policy as golden_policy};
use crate::dossier::{alice_and_bob, three_generations};
use crate::support::{LEDGER, Ledger, name};

/// One event, and all that proves it.
fn small() -> (Policy, Vec<u8>) {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    (ledger.policy(), ledger.dossier("alice", 1).to_bytes())
}

fn check(bytes: &[u8], policy: &Policy) -> Checked {
    Dossier::parse(bytes)?.verify(policy).map(drop)
}

fn check_certificate(bytes: &[u8], policy: &Policy) -> Checked {
    Certificate::parse(bytes)?.verify(policy).map(drop)
}

/// An erasure of one event.
fn small_certificate() -> (Policy, Vec<u8>) {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    ledger.erase("alice", 0);
    (ledger.policy(), ledger.certificate("alice", 0).to_bytes())
}

type Checked = Result<(), DossierError>;

/// Changes one byte: that is seen, and as a change of such a file.
fn a_change_is_seen(
    bytes: &[u8],
    policy: &Policy,
    (position, change): (usize, u8),
    check: impl Fn(&[u8], &Policy) -> Checked,
) {
    let mut changed = bytes.to_vec();
    changed[position] ^= change;
    let at = format!("byte {position} of {} xor {change}", bytes.len());
    let error = check(&changed, policy).expect_err(&at);
    assert!(error.is_disproof(), "{at}: {error:?}");
    assert!(kind_of(&changed).is_some(), "{at}");
}

/// Changes each byte in turn, in all of the ways that `changes` gives for its position.
fn no_change_is_unseen(
    bytes: &[u8],
    policy: &Policy,
    changes: impl Fn(usize) -> Vec<u8> + Copy + Send,
    check: impl Fn(&[u8], &Policy) -> Checked + Copy + Send,
) {
    assert_eq!(check(bytes, policy), Ok(()));
    let quick = std::env::var_os("SHARETRAIL_QUICK").is_some();
    let step = if quick { 11 } else { 1 };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for first in 0..threads {
            scope.spawn(move || {
                for position in (first * step..bytes.len()).step_by(threads * step) {
                    for change in changes(position) {
                        a_change_is_seen(bytes, policy, (position, change), check);
                    }
                }
            });
        }
    });
}

#[test]
fn a_dossier_reads_back_as_it_was_written() {
    let (ledger, customer) = three_generations();
    for dossier in [
        ledger.dossier(&customer, 3),
        alice_and_bob().0.dossier("alice", 1),
        alice_and_bob().0.dossier("carol", 0),
    ] {
        let bytes = dossier.to_bytes();
        assert!(bytes.ends_with(b"}\n"));
        assert!(bytes.starts_with(format!("{{\"format\":\"{FORMAT}\",\"ledger\":\"{LEDGER}\",").as_bytes()));
        assert_eq!(Dossier::parse(&bytes), Ok(dossier));
    }
}

#[test]
fn no_byte_can_be_changed_unseen() {
    let (policy, bytes) = small();
    no_change_is_unseen(&bytes, &policy, |_| vec![0x01, 0x20, 0x80], check);
}

/// The fault: with a space for a brace the JSON goes on at the file's end, and a changed file passes for one that was cut.
#[test]
fn a_bracket_that_became_a_space_does_not_cut_a_file_off() {
    let (policy, bytes) = small();
    let brackets = (0..bytes.len()).filter(|&position| b"{}[]\",:".contains(&bytes[position]));
    for position in brackets {
        a_change_is_seen(&bytes, &policy, (position, bytes[position] ^ b' '), check);
    }
}

#[test]
fn no_byte_of_a_certificate_can_be_changed_unseen() {
    let (policy, bytes) = small_certificate();
    no_change_is_unseen(&bytes, &policy, |_| vec![0x01, 0x20], check_certificate);
}

/// Where the names of parties stand in a file, byte by byte. Contents hold no such member: their quotes are escaped.
fn party_names(bytes: &[u8]) -> Vec<usize> {
    let member = b"\"party\":\"";
    let windows = bytes.windows(member.len()).enumerate();
    let starts = windows
        .filter(|(_, window)| *window == member.as_slice())
        .map(|(start, _)| start + member.len());
    starts
        .flat_map(|start| (start..).take_while(move |position| bytes[*position] != b'"'))
        .collect()
}

/// One bit of each byte, another one from byte to byte, and each bit of the parties' names.
fn no_bit_is_unread(file: &str, parties: usize, check: impl Fn(&[u8], &Policy) -> Checked + Copy + Send) {
    let (bytes, policy) = (golden(file), golden_policy());
    assert_eq!(check(&bytes, &policy), Ok(()), "{file}");
    let names = party_names(&bytes);
    assert_eq!(names.len(), parties, "{file}: bytes of names");
    for position in names {
        for bit in 0..8 {
            a_change_is_seen(&bytes, &policy, (position, 1_u8 << bit), check);
        }
    }
    no_change_is_unseen(&bytes, &policy, |position| vec![1_u8 << (position % 8)], check);
}

/// Caught: the name of a party that is shown not to be registered, which was read by no check but that of the map's path:
/// and there the absence of one name is that of many.
#[test]
fn no_bit_of_the_golden_dossier_is_unread() {
    no_bit_is_unread("dossier-v1.json", 2 * "insureroperatortill".len(), check);
}

#[test]
fn no_bit_of_the_golden_absence_is_unread() {
    no_bit_is_unread("absence-v1.json", 0, check);
}

#[test]
fn no_bit_of_the_golden_certificate_is_unread() {
    no_bit_is_unread("erasure-v1.json", "operator".len(), check_certificate);
}

#[test]
fn a_dossier_that_is_cut_off_was_not_checked() {
    let (policy, bytes) = small();
    let whole = bytes.len() - 1;
    for length in (0..whole).step_by(37).chain([1, 2, whole - 2, whole - 1, whole]) {
        let error = check(&bytes[..length], &policy).unwrap_err();
        assert!(
            matches!(error, DossierError::NotADossier { .. }),
            "{length} bytes: {error:?}"
        );
        assert!(!error.is_disproof());
    }
}

#[test]
fn a_certificate_that_is_cut_off_was_not_checked() {
    let (policy, bytes) = small_certificate();
    let whole = bytes.len() - 1;
    for length in (0..whole).step_by(37).chain([1, 2, whole - 2, whole - 1, whole]) {
        let error = check_certificate(&bytes[..length], &policy).unwrap_err();
        assert!(
            matches!(error, DossierError::NotADossier { .. }),
            "{length} bytes: {error:?}"
        );
    }
}

/// A whole file of the other kind was not altered: nothing of it was checked.
#[test]
fn a_certificate_is_no_dossier_and_a_dossier_no_certificate() {
    let ((policy, dossier), (_, certificate)) = (small(), small_certificate());
    assert_eq!(kind_of(&dossier), Some(FileKind::Dossier));
    assert_eq!(kind_of(&certificate), Some(FileKind::Certificate));
    assert_eq!(kind_of(policy.to_string().as_bytes()), None);
    for error in [
        check(&certificate, &policy).unwrap_err(),
        check_certificate(&dossier, &policy).unwrap_err(),
    ] {
        assert!(matches!(error, DossierError::NotADossier { .. }), "{error:?}");
    }
}

#[test]
fn a_certificate_reads_back_as_it_was_written_and_in_no_other_way() {
    let (policy, bytes) = small_certificate();
    assert_eq!(Certificate::parse(&bytes).unwrap().to_bytes(), bytes);
    let text = String::from_utf8(bytes).unwrap();
    for (from, to) in [
        ("{\"format\"", "{ \"format\""),
        ("\"shard\":0", "\"shard\":0,\"more\":0"),
        ("\"generation\":0", "\"generation\":0,\"generation\":0"),
        ("}\n", "}\n\n"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = check_certificate(text.replacen(from, to, 1).as_bytes(), &policy).unwrap_err();
        assert!(matches!(error, DossierError::Altered { .. }), "{from}: {error:?}");
    }
}

#[test]
fn what_never_was_a_dossier_was_not_checked() {
    let json = [
        "",
        " ",
        "\n",
        "hello",
        "{}",
        "[]",
        "null",
        "{\"format\":\"sharetrail.org/dossier@v1\"}",
        "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/till\",\"type\":\"a.b\",\"subject\":\"alice\"}",
        "{\"hashes\":[],\"shards\":[]}",
        "\u{7f}ELF",
    ];
    for text in json {
        let error = Dossier::parse(text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, DossierError::NotADossier { .. }),
            "{text:?}: {error:?}"
        );
        let error = Certificate::parse(text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, DossierError::NotADossier { .. }),
            "{text:?}: {error:?}"
        );
        assert_eq!(kind_of(text.as_bytes()), None, "{text:?}");
    }
    let (policy, note) = (small().0, Ledger::empty(1).log(0).checkpoint());
    assert!(matches!(
        check(note.as_bytes(), &policy),
        Err(DossierError::NotADossier { .. })
    ));
    assert!(matches!(
        check(&[0xff; 300], &policy),
        Err(DossierError::NotADossier { .. })
    ));
}

#[test]
fn a_dossier_has_one_way_of_being_written() {
    let (policy, bytes) = small();
    let text = String::from_utf8(bytes).unwrap();
    let edits = [
        ("{\"format\"", "{ \"format\""),
        ("\"format\"", "\"f\\u006frmat\""),
        ("\"customer\":\"alice\"", "\"customer\":\"\\u0061lice\""),
        ("\"erasure\":null", "\"erasure\": null"),
        (",\"erasure\":null", ""),
        ("\"shard\":0", "\"shard\":0,\"shard\":0"),
        ("\"shard\":0", "\"shard\":0,\"more\":0"),
        ("\"shard\":0", "\"shard\":0.0"),
        ("\"state\":\"opened\"", "\"state\":\"opened\",\"more\":0"),
        ("}\n", "}\n\n"),
        ("}\n", "}\r\n"),
    ];
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        let error = check(text.replacen(from, to, 1).as_bytes(), &policy).unwrap_err();
        assert!(
            matches!(error, DossierError::Altered { .. }),
            "{from} -> {to}: {error:?}"
        );
        assert!(error.is_disproof());
    }
}

/// Changed so that two of the four texts are left: enough for a file that parses, and too few for one that does not.
fn hardly_one(text: &str) -> String {
    let format = text.replacen("dossier@v1", "dossier@v2", 1);
    format.replacen("\"hashes\":[", "\"hashes\": [", 1)
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

/// The fault: what parses is what serde happens to take, so that another reader calls the same file something else.
#[test]
fn a_member_or_an_object_that_is_missing_does_not_parse() {
    let (policy, bytes) = small();
    let text = String::from_utf8(bytes).unwrap();
    let error = check(hardly_one(&text).as_bytes(), &policy).unwrap_err();
    assert!(matches!(error, DossierError::Altered { .. }), "{error:?}");
    let (before, absence) = text.split_once("\"absence\":").unwrap();
    let absence: serde_json::Value =
        serde_json::from_str(absence.trim_end().strip_suffix('}').unwrap()).unwrap();
    let values = ["generation", "label", "proof", "map"].map(|member| absence[member].to_string());
    let as_array = format!("{before}\"absence\":[{}]}}\n", values.join(","));
    for changed in [
        replaced(&text, ",\"erasure\":null", ""),
        replaced(&text, "\"shard\":0", "\"shard\":-0"),
        as_array,
    ] {
        let error = check(changed.as_bytes(), &policy).unwrap_err();
        assert!(
            matches!(error, DossierError::Altered { .. }),
            "{changed}: {error:?}"
        );
        let error = check(hardly_one(&changed).as_bytes(), &policy).unwrap_err();
        assert!(
            matches!(error, DossierError::NotADossier { .. }),
            "{changed}: {error:?}"
        );
    }
}

/// The fault: whether a file was cut off depends on which of its faults is met first.
#[test]
fn a_file_is_cut_off_whatever_else_it_holds() {
    let (policy, bytes) = small();
    let text = String::from_utf8(bytes).unwrap();
    let place = text.find("{\\\"specversion").unwrap() + 4;
    let other_type = replaced(&text[..place], "\"hashes\":[", "\"hashes\":[1,");
    let head = &text.as_bytes()[..place];
    let cut_off: [&[u8]; 7] = [
        b"}\xc3",
        b"}\\",
        b"\\u}x",
        b"\\ua}x",
        b"\xff}x",
        b"\\ud800 }x",
        b"\\\"}\"}},",
    ];
    let files = cut_off.map(|tail| [head, tail].concat());
    let with_newline = [head, b"}x\n"].concat();
    let error = check(&with_newline, &policy).unwrap_err();
    assert!(matches!(error, DossierError::Altered { .. }), "{error:?}");
    for file in files.into_iter().chain([[other_type.as_bytes(), b"}x"].concat()]) {
        let error = check(&file, &policy).unwrap_err();
        let tail = String::from_utf8_lossy(&file[file.len() - 12..]);
        assert!(
            matches!(error, DossierError::NotADossier { .. }),
            "{tail}: {error:?}"
        );
    }
    let no_digits = [head, b"\\uab}x"].concat();
    let error = check(&no_digits, &policy).unwrap_err();
    assert!(matches!(error, DossierError::Altered { .. }), "{error:?}");
}

#[test]
fn a_dossier_holds_against_its_own_ledgers_policy_alone() {
    let (policy, bytes) = small();
    let logs = || policy.logs().cloned();
    let others = [
        Policy::new(name(LEDGER), LedgerId([1; 32]), logs()),
        Policy::new(name("other.example"), *policy.ledger_id(), logs()),
        Policy::new(name(LEDGER), *policy.ledger_id(), []),
        Ledger::empty(2).policy(),
    ];
    for other in &others {
        assert!(
            matches!(check(&bytes, other), Err(DossierError::Disproved(_))),
            "{other}"
        );
    }
}
