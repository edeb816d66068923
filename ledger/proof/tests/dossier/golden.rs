//! The golden dossier, absence and certificate of version 1: files that were written once and are read for ever. What is
//! expected of them stands here in full, so that nothing of it follows from code that might change.

use std::fs;
use std::path::Path;

use sharetrail_proof::dossier::{Certificate, Dossier, FileKind, VerifiedContent, kind_of};
use sharetrail_proof::note::VerifierKey;
use sharetrail_proof::policy::Policy;

/// When the older of the two maps was sealed.
const AS_OF: u64 = 1_767_225_611;

const FIRST_LABEL: &str = "03ba2ee0403170843c5e000b501ae50707d9a583c0f6e6690db8156ec71064eb";
const SECOND_LABEL: &str = "5b6793438fc9cb797e5e21d18ab1316cfcc0c6b5b2fa7abdebd2e52065174dd5";
const NEXT_LABEL: &str = "85a8fbdd9b46dfa270e9acc4f268ca39e2adb340a1b8b749b3f35cc3225482fc";
const LABEL_OF_NOBODY: &str = "ab6939d3aaaf490df17cc7486cb179ad6733a1f42d0d0b7bbcff8ff05d2d620e";

pub(crate) fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn policy() -> Policy {
    let text = String::from_utf8(golden("policy-v1")).unwrap();
    let policy: Policy = text.parse().unwrap();
    assert_eq!(policy.to_string(), text);
    policy
}

#[test]
fn the_golden_policy_names_the_ledger_and_its_four_logs() {
    let policy = policy();
    assert_eq!(policy.ledger().as_str(), "shop.example");
    assert_eq!(
        policy.ledger_id().to_string(),
        "fe04ea0d8ea3721db7266fbcaf10a3e99c9b5aa7229e2bd1853470d9272570a4"
    );
    let origins: Vec<&str> = policy.logs().map(VerifierKey::name).collect();
    assert_eq!(
        origins,
        [
            "shop.example/log/0of2",
            "shop.example/log/1of2",
            "shop.example/map/0of2",
            "shop.example/map/1of2"
        ]
    );
}

#[test]
fn the_golden_dossier_still_says_what_it_said() {
    let bytes = golden("dossier-v1.json");
    assert_eq!(kind_of(&bytes), Some(FileKind::Dossier));
    let dossier = Dossier::parse(&bytes).unwrap();
    assert_eq!(dossier.to_bytes(), bytes);
    let verified = dossier.verify(&policy()).unwrap();
    assert_eq!(verified.customer, "customer-1");
    assert_eq!(verified.as_of(), AS_OF);
    let sizes: Vec<_> = verified
        .maps
        .iter()
        .zip(&verified.checkpoints)
        .map(|(map, (_, log))| {
            (
                map.checkpoint.size().0,
                map.leaf.labels,
                map.leaf.checkpoint.size.0,
                log.size().0,
            )
        })
        .collect();
    assert_eq!(sizes, [(2, 4, 13, 13), (2, 4, 11, 13)]);
    let generations: Vec<_> = verified
        .generations
        .iter()
        .map(|one| (one.label.to_string(), one.shard, one.erased_at.map(|at| at.0)))
        .collect();
    assert_eq!(
        generations,
        [
            (FIRST_LABEL.to_owned(), 0, Some(8)),
            (SECOND_LABEL.to_owned(), 1, None)
        ]
    );
    let events: Vec<_> = verified
        .events
        .iter()
        .map(|one| {
            let key = (one.producer.as_str(), one.key.to_string(), one.key_since.0);
            assert_eq!(key, ("till", "0cf9ef33".to_owned(), 3));
            let opened = matches!(&one.content, VerifiedContent::Opened(_));
            (one.generation, one.shard, one.index.0, one.covered, opened)
        })
        .collect();
    assert_eq!(
        events,
        [
            (0, 0, 5, true, false),
            (0, 0, 6, true, false),
            (1, 1, 7, true, true),
            (1, 1, 8, true, true),
            (1, 1, 12, false, true)
        ]
    );
    let VerifiedContent::Opened(json) = &verified.events[2].content else {
        panic!("opened")
    };
    assert_eq!(
        json,
        r#"{"specversion":"1.0","id":"2","source":"/till","type":"org.sharetrail.data.shared.v1","subject":"customer-1"}"#
    );
    assert_eq!(
        (
            verified.absence.generation,
            verified.absence.shard,
            verified.absence.label.to_string()
        ),
        (2, 0, NEXT_LABEL.to_owned())
    );
    let parties: Vec<_> = verified
        .parties
        .iter()
        .map(|one| (one.shard, one.party.as_str(), one.registered))
        .collect();
    assert_eq!(
        parties,
        [
            (0, "insurer", true),
            (0, "operator", false),
            (0, "till", true),
            (1, "insurer", true),
            (1, "operator", false),
            (1, "till", true)
        ]
    );
}

#[test]
fn the_golden_absence_still_says_that_there_is_nothing() {
    let bytes = golden("absence-v1.json");
    assert_eq!(kind_of(&bytes), Some(FileKind::Dossier));
    let dossier = Dossier::parse(&bytes).unwrap();
    assert_eq!(dossier.to_bytes(), bytes);
    let verified = dossier.verify(&policy()).unwrap();
    assert_eq!(verified.customer, "nobody");
    assert_eq!((verified.generations.len(), verified.events.len()), (0, 0));
    assert_eq!(
        (
            verified.absence.generation,
            verified.absence.shard,
            verified.absence.label.to_string()
        ),
        (0, 1, LABEL_OF_NOBODY.to_owned())
    );
    assert_eq!(verified.as_of(), AS_OF);
}

#[test]
fn the_golden_certificate_still_says_who_was_erased_and_where() {
    let bytes = golden("erasure-v1.json");
    assert_eq!(kind_of(&bytes), Some(FileKind::Certificate));
    let certificate = Certificate::parse(&bytes).unwrap();
    assert_eq!(certificate.to_bytes(), bytes);
    let verified = certificate.verify(&policy()).unwrap();
    assert_eq!(
        (
            verified.customer.as_str(),
            verified.generation,
            verified.label.to_string()
        ),
        ("customer-1", 0, FIRST_LABEL.to_owned())
    );
    assert_eq!(
        (verified.index.0, verified.key.to_string(), verified.key_since.0),
        (8, "08ca3a5a".to_owned(), 0)
    );
    assert_eq!(
        (verified.checkpoint.size().0, verified.map.leaf.checkpoint.size.0),
        (13, 13)
    );
}
