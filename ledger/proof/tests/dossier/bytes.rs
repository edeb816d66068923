//! The file itself: there is one way of writing it, no byte of it can be changed unseen, and what is cut off or never
//! was a dossier is told apart from what was altered.

use sharetrail_proof::dossier::{Dossier, DossierError, FORMAT};
use sharetrail_proof::name::LedgerId;
use sharetrail_proof::policy::Policy;

use crate::support::{LEDGER, Ledger, name};
use crate::{alice_and_bob, three_generations};

/// One event, and all that proves it.
fn small() -> (Policy, Vec<u8>) {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    (ledger.policy(), ledger.dossier("alice", 1).to_bytes())
}

fn check(bytes: &[u8], policy: &Policy) -> Result<(), DossierError> {
    Dossier::parse(bytes)?.verify(policy).map(drop)
}

#[test]
fn a_dossier_reads_back_as_it_was_written() {
    let (ledger, customer) = three_generations();
    for dossier in [
        ledger.dossier(&customer, 3),
        alice_and_bob().0.dossier("alice", 1),
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
    assert_eq!(check(&bytes, &policy), Ok(()));
    let quick = std::env::var_os("SHARETRAIL_QUICK").is_some();
    for position in (0..bytes.len()).rev().step_by(if quick { 11 } else { 1 }) {
        for change in [0x01, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[position] ^= change;
            let Err(error) = check(&changed, &policy) else {
                panic!("byte {position} of {} xor {change}: not seen", bytes.len())
            };
            assert!(error.is_disproof(), "byte {position} xor {change}: {error:?}");
        }
    }
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
