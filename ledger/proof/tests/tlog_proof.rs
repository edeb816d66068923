//! `.tlog-proof` files: the shape of the spec's example, round trips, and every line damaged.

use sharetrail_proof::hash::{Hash, LeafIndex};
use sharetrail_proof::note::NoteError;
use sharetrail_proof::policy::{Policy, PolicyError};
use sharetrail_proof::tlog_proof::{TlogProof, TlogProofError};
use sharetrail_proof::tree::{InclusionProof, ProofError};

use crate::support::Ledger;

/// The example of C2SP tlog-proof; its signatures are abridged there, and its extra data is not base64.
const HEAD: &str = "c2sp.org/tlog-proof@v1\nextra YWdlLXYxLjIuMQ==\nindex 73894\n\
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\nB95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=\n\
    EKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=\nRoopEkOdqkYqMB4MJXrbt/hMjOxsVn0IrWjpz1ZMMes=\n\
    AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk=\n";
const CHECKPOINT: &str = "example.com/fancylog\n109482\nsFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=\n\n\
    — example.com/fancylog hI2DJwAA\n";

/// The last of the ledger's events: its entry, its proof, and who to believe.
fn proof() -> (Vec<u8>, TlogProof, Policy) {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..3);
    let log = ledger.log(0);
    let index = LeafIndex(5);
    let proof = TlogProof {
        extra: None,
        index,
        path: log.proof(index),
        checkpoint: log.checkpoint(),
    };
    (log.entry(index).to_vec(), proof, ledger.policy())
}

fn parse(text: &str) -> Result<TlogProof, TlogProofError> {
    text.parse()
}

#[test]
fn the_shape_of_the_specs_example_is_read_and_written_the_same() {
    let text = format!("{HEAD}\n{CHECKPOINT}");
    let proof = parse(&text).unwrap();
    assert_eq!(proof.to_string(), text);
    assert_eq!(
        (proof.index, proof.checkpoint.as_str()),
        (LeafIndex(73_894), CHECKPOINT)
    );
    assert_eq!(proof.extra.as_deref(), Some(b"age-v1.2.1".as_slice()));
    assert_eq!(proof.path.0.len(), 5);
    assert_eq!(
        proof.path.0[4].to_string(),
        "AHCioX9nLjsrse6YhjRRmk1WUEirVOLLRoOQ6vfO5vk="
    );
}

#[test]
fn what_is_written_reads_back() {
    let (_, good, _) = proof();
    let extras = [None, Some(Vec::new()), Some(vec![0, 0xff, b'\n'])];
    for extra in extras {
        for path in [InclusionProof(Vec::new()), good.path.clone()] {
            let proof = TlogProof {
                extra: extra.clone(),
                path,
                ..good.clone()
            };
            assert_eq!(parse(&proof.to_string()), Ok(proof));
        }
    }
}

#[test]
fn a_proof_verifies_for_its_entry_and_its_policy_alone() {
    let (entry, good, policy) = proof();
    let opened = good.verify(&entry, &policy).unwrap();
    assert_eq!(opened.size().0, 8);
    let other_entry = good.verify(&entry[1..], &policy);
    assert!(matches!(
        other_entry,
        Err(TlogProofError::Proof(ProofError::RootMismatch { .. }))
    ));
    let other_policy = good.verify(&entry, &Ledger::empty(2).policy());
    assert!(matches!(
        other_policy,
        Err(TlogProofError::Policy(PolicyError::UnknownLog { .. }))
    ));
    let outside = TlogProof {
        index: LeafIndex(8),
        ..good.clone()
    }
    .verify(&entry, &policy);
    assert!(matches!(
        outside,
        Err(TlogProofError::Proof(ProofError::IndexOutOfRange { .. }))
    ));
    let mut longer = good.clone();
    longer.path.0.push(Hash::ZERO);
    let longer = longer.verify(&entry, &policy);
    assert!(matches!(
        longer,
        Err(TlogProofError::Proof(ProofError::WrongLength { .. }))
    ));
    let changed = TlogProof {
        checkpoint: good.checkpoint.replace("\n8\n", "\n9\n"),
        ..good
    };
    let changed = changed.verify(&entry, &policy);
    assert!(matches!(
        changed,
        Err(TlogProofError::Policy(PolicyError::Note(
            NoteError::BadSignature { .. }
        )))
    ));
}

#[test]
fn every_line_counts() {
    let (entry, good, policy) = proof();
    let text = good.to_string();
    assert!(parse(&text).unwrap().verify(&entry, &policy).is_ok());
    for position in 0..text.lines().count() {
        let without = lines_but(&text, position, &[]);
        let doubled = lines_but(&text, position, &[text.lines().nth(position).unwrap(); 2]);
        for changed in [without, doubled] {
            let verified = parse(&changed).and_then(|proof| proof.verify(&entry, &policy));
            // A signature that stands twice is no other statement.
            let is_same_signature = changed.len() > text.len() && position + 1 == text.lines().count();
            assert_eq!(
                verified.is_ok(),
                is_same_signature,
                "line {}: {changed}",
                position + 1
            );
        }
    }
}

/// The text with one line replaced.
fn lines_but(text: &str, position: usize, instead: &[&str]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let lines = [&lines[..position], instead, &lines[position + 1..]].concat();
    lines.into_iter().flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn any_flipped_bit_fails() {
    let (entry, good, policy) = proof();
    let text = good.to_string();
    for bit in 0..text.len() * 8 {
        let mut bytes = text.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(changed) = String::from_utf8(bytes) else {
            continue;
        };
        let verified = parse(&changed).and_then(|proof| proof.verify(&entry, &policy));
        assert!(verified.is_err(), "bit {bit}");
    }
}

#[test]
fn lines_that_the_format_does_not_know_are_refused_where_they_stand() {
    let edits = [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2", 1),
        ("c2sp.org/tlog-proof@v1\n", "", 1),
        ("extra YWdlLXYxLjIuMQ==", "extra YWdlLXYxLjIuMQ=", 2),
        ("extra YWdl", "extra  YWdl", 2),
        ("extra YWdl", "extra YQ==Z2Vh", 2),
        ("extra YWdl", "more YWdl", 2),
        ("extra YWdl", "extra YWdl\nextra YWdl", 3),
        ("index 73894", "index 073894", 3),
        ("index 73894", "index +73894", 3),
        ("index 73894", "index", 3),
        ("index 73894", "index 18446744073709551616", 3),
        ("index 73894\n", "", 3),
        ("gSKyXoYZ", "gSKyXoY", 4),
        ("gSKyXoYZ", "AgSKyXoYZ", 4),
        ("PlQ=\n", "PlR=\n", 4),
        ("PlQ=\n", "PlQ= \n", 4),
        ("PlQ=\n", "PlQ=\r\n", 4),
        ("5vk=\n", "5vk=\nmore\n", 9),
    ];
    for (from, to, line) in edits {
        assert!(HEAD.contains(from), "{from}");
        let found = parse(&format!("{}\n{CHECKPOINT}", HEAD.replacen(from, to, 1)));
        assert!(
            matches!(found, Err(TlogProofError::Line { line: at, .. }) if at == line),
            "{to}: {found:?}"
        );
    }
    for text in [
        "",
        "\n\n",
        HEAD,
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\n\nmore",
    ] {
        assert!(
            matches!(parse(text), Err(TlogProofError::Line { .. })),
            "{text:?}"
        );
    }
}
