//! Notes and keys: against the package of Go that defined them, an independent crate, and everything that is no note.

use data_encoding::BASE64;
use ed25519_dalek::SigningKey;
use serde::Deserialize;
use sharetrail_proof::note::{
    Cosigner, KeyKind, MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteError, NoteSigner, VerifierKey,
};
use signed_note::{Note as TheirNote, StandardSigner, StandardVerifier, VerifierList};

use crate::support::{TIME, Witness, seed, signer};

const TEXT: &str = "shop.example/log/0of1\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";

/// Two of the eight points of small order, and two encodings of one of them that are not canonical.
const SMALL_ORDER: [&str; 4] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

#[derive(Deserialize)]
struct Golden {
    golang: Golang,
    vkeys: Vec<String>,
    cosigned: Cosigned,
}

#[derive(Deserialize)]
struct Golang {
    vkey: String,
    skey: String,
    text: String,
    note: String,
}

#[derive(Deserialize)]
struct Cosigned {
    log: String,
    witness: String,
    time: u64,
    note: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/note-v1.json")).unwrap()
}

fn till() -> NoteSigner {
    signer("till", "till")
}

#[test]
fn the_example_of_the_go_package_is_read_verified_and_signed_the_same() {
    let golden = golden().golang;
    let (key, signer) = (
        golden.vkey.parse::<VerifierKey>().unwrap(),
        NoteSigner::parse(&golden.skey).unwrap(),
    );
    assert_eq!(
        (key.name(), key.kind(), key.to_string()),
        ("PeterNeumann", KeyKind::Note, golden.vkey)
    );
    assert_eq!((signer.verifier(), signer.to_secret_text()), (&key, golden.skey));
    assert_eq!(signer.sign(&golden.text), golden.note);
    let note = Note::parse(&golden.note).unwrap();
    assert_eq!((note.text(), note.signatures().len()), (golden.text.as_str(), 1));
    assert_eq!(note.verify(&key), Ok(()));
}

#[test]
fn keys_of_public_logs_and_witnesses_are_read_and_written_the_same() {
    let keys: Vec<VerifierKey> = golden().vkeys.iter().map(|key| key.parse().unwrap()).collect();
    assert_eq!(
        keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        golden().vkeys
    );
    let kinds: Vec<_> = keys.iter().map(VerifierKey::kind).collect();
    assert_eq!(kinds, [KeyKind::Note, KeyKind::Cosignature]);
}

#[test]
fn a_cosigned_checkpoint_of_another_implementation_verifies() {
    let golden = golden().cosigned;
    let note = Note::parse(&golden.note).unwrap();
    let (log, witness): (VerifierKey, VerifierKey) =
        (golden.log.parse().unwrap(), golden.witness.parse().unwrap());
    assert_eq!(
        (note.verify(&log), note.cosigned(&witness)),
        (Ok(()), Ok(golden.time))
    );
    assert!(matches!(note.cosigned(&log), Err(NoteError::BadSignature { .. })));
    assert!(matches!(
        note.verify(&witness),
        Err(NoteError::BadSignature { .. })
    ));
    let other_kind = VerifierKey::new(witness.name(), KeyKind::Note, witness.public()).unwrap();
    assert!(matches!(
        note.verify(&other_kind),
        Err(NoteError::Unsigned { .. })
    ));
}

#[test]
fn our_notes_verify_in_an_independent_crate() {
    let ours = till().sign(TEXT);
    let verifier = StandardVerifier::new(&till().verifier().to_string()).unwrap();
    let theirs = TheirNote::from_bytes(ours.as_bytes()).unwrap();
    assert_eq!(theirs.text(), TEXT.as_bytes());
    let (verified, unverified) = theirs
        .verify(&VerifierList::new(vec![Box::new(verifier)]))
        .unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    assert_eq!(
        (verified[0].name(), verified[0].id().to_be_bytes()),
        ("till", till().verifier().id().0)
    );
}

#[test]
fn notes_of_an_independent_crate_verify_here() {
    let theirs = StandardSigner::new(&till().to_secret_text()).unwrap();
    let mut note = TheirNote::new(TEXT.as_bytes(), &[]).unwrap();
    note.add_sigs(&[&theirs]).unwrap();
    let bytes = note.to_bytes();
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text, till().sign(TEXT));
    assert_eq!(Note::parse(&text).unwrap().verify(till().verifier()), Ok(()));
}

#[test]
fn a_text_may_hold_blank_lines_and_any_script() {
    for text in ["\n", "a\n\nb\n", "— till AAAAAAA=\n\n\n", "è subito sera\n"] {
        let note = till().sign(text);
        let note = Note::parse(&note).unwrap();
        assert_eq!((note.text(), note.verify(till().verifier())), (text, Ok(())));
    }
}

#[test]
fn a_note_with_any_bit_flipped_is_not_signed() {
    let note = till().sign(TEXT);
    for bit in 0..note.len() * 8 {
        let mut bytes = note.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        let verified = Note::parse(&text).and_then(|note| note.verify(till().verifier()));
        assert!(verified.is_err(), "bit {bit}");
    }
}

#[test]
fn what_is_no_note_is_refused() {
    let good = till().sign(TEXT);
    assert!(Note::parse(&good).is_ok());
    let line = good.lines().last().unwrap();
    let cases = [
        String::new(),
        TEXT.to_owned(),
        format!("{TEXT}\n"),
        format!("{TEXT}{line}\n"),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        format!("{good}and more\n"),
        good.replace('—', "-"),
        good.replace("— till ", "— till  "),
        good.replace("— till ", "—till "),
        good.replace("— till ", "— ti+ll "),
        good.replace("— till ", "— ti\u{2003}ll "),
        good.replace("— till ", "—  "),
        good.replace(TEXT, &TEXT.replace('7', "\t")),
        good.replace(TEXT, &TEXT.replace('7', "\r")),
        good.replace(TEXT, &TEXT.replace('7', "\0")),
        format!("{TEXT}\n— till AAAAAA==\n"),
        format!("{TEXT}\n— till AAAAAAB=\n"),
        format!("{TEXT}\n— till AAAAAAA\n"),
        format!("{TEXT}\n— till !AAAAAA=\n"),
        format!("{TEXT}\n— till AA==AAAAAA==\n"),
    ];
    for case in &cases {
        assert!(
            matches!(Note::parse(case), Err(NoteError::Malformed { .. })),
            "{case:?}"
        );
    }
}

#[test]
fn notes_have_a_largest_size_and_a_largest_number_of_signatures() {
    let sized = |bytes: usize| {
        let empty = till().sign("\n").len();
        till().sign(&format!("{}\n", "x".repeat(bytes - empty)))
    };
    assert_eq!(sized(MAX_NOTE_BYTES).len(), MAX_NOTE_BYTES);
    assert!(Note::parse(&sized(MAX_NOTE_BYTES)).is_ok());
    assert!(matches!(
        Note::parse(&sized(MAX_NOTE_BYTES + 1)),
        Err(NoteError::Malformed { .. })
    ));
    let signed = |lines: usize| format!("{TEXT}\n{}", "— till AAAAAAA=\n".repeat(lines));
    assert_eq!(
        Note::parse(&signed(MAX_SIGNATURES)).unwrap().signatures().len(),
        MAX_SIGNATURES
    );
    assert!(matches!(
        Note::parse(&signed(MAX_SIGNATURES + 1)),
        Err(NoteError::Malformed { .. })
    ));
}

#[test]
fn only_the_key_with_the_name_and_the_id_counts() {
    let text = till().sign(TEXT);
    let note = Note::parse(&text).unwrap();
    let same_key = VerifierKey::new("crm", KeyKind::Note, till().verifier().public()).unwrap();
    let same_name = signer("till", "another key");
    for key in [&same_key, same_name.verifier()] {
        let expected = NoteError::Unsigned {
            name: key.name().into(),
            id: key.id().to_string(),
        };
        assert_eq!(note.verify(key), Err(expected.clone()));
        assert_eq!(note.cosigned(key), Err(expected));
    }
}

#[test]
fn lines_of_unknown_keys_are_passed_over_and_a_wrong_line_of_a_known_one_is_not() {
    let good = till().sign(TEXT);
    let line_of = |signer: &NoteSigner, text: &str| signer.sign(text).lines().last().unwrap().to_owned();
    let unknown = line_of(&signer("crm", "crm"), "another text\n");
    let wrong = line_of(&till(), "another text\n");
    let right = line_of(&till(), TEXT);
    let verify = |lines: &str| {
        Note::parse(&format!("{TEXT}\n{lines}"))
            .unwrap()
            .verify(till().verifier())
    };
    assert_eq!(good, format!("{TEXT}\n{right}\n"));
    assert_eq!(verify(&format!("{unknown}\n{right}\n")), Ok(()));
    assert_eq!(verify(&format!("{right}\n{unknown}\n")), Ok(()));
    let bad = verify(&format!("{wrong}\n{right}\n"));
    assert!(matches!(bad, Err(NoteError::BadSignature { name, .. }) if name == "till"));
}

/// The fault: whoever hands a note on writes a signature in another way, and it is another note that verifies.
#[test]
fn a_signature_has_one_text() {
    let good = till().sign(TEXT);
    let (rest, signature) = good.trim_end().rsplit_once(' ').unwrap();
    let bytes = BASE64.decode(signature.as_bytes()).unwrap();
    for cut in 1..bytes.len() {
        let (first, second) = bytes.split_at(cut);
        let pieces = format!("{rest} {}{}\n", BASE64.encode(first), BASE64.encode(second));
        let verified = Note::parse(&pieces).and_then(|note| note.verify(till().verifier()));
        assert_eq!(verified.is_ok(), pieces == good, "{pieces}");
    }
}

#[test]
fn a_cosignature_binds_text_and_time() {
    let witness = Witness::new("witness.example/w1");
    let cosign = |text: &str, line: &str| {
        Note::parse(&format!("{text}\n{line}"))
            .unwrap()
            .cosigned(&witness.verifier)
    };
    for time in [0, 1, 1_767_225_600, u64::MAX >> 1] {
        assert_eq!(cosign(TEXT, &witness.line(TEXT, time)), Ok(time));
        let elsewhere = cosign("another text\n", &witness.line(TEXT, time));
        assert!(matches!(elsewhere, Err(NoteError::BadSignature { .. })));
    }
    // Rightly signed, and beyond what the spec has for a time.
    for time in [(u64::MAX >> 1) + 1, u64::MAX] {
        let beyond = cosign(TEXT, &witness.line(TEXT, time));
        assert!(
            matches!(beyond, Err(NoteError::BadSignature { .. })),
            "{time}: {beyond:?}"
        );
    }
    let good = witness.line(TEXT, 1_767_225_600);
    let (head, data) = good.trim_end().rsplit_once(' ').unwrap();
    let data = data_encoding::BASE64.decode(data.as_bytes()).unwrap();
    for bit in 32..data.len() * 8 {
        let mut changed = data.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let line = format!("{head} {}\n", data_encoding::BASE64.encode(&changed));
        assert!(
            matches!(cosign(TEXT, &line), Err(NoteError::BadSignature { .. })),
            "bit {bit}"
        );
    }
    for length in [5, 11, 12, 75] {
        let line = format!("{head} {}\n", data_encoding::BASE64.encode(&data[..length]));
        assert!(
            matches!(cosign(TEXT, &line), Err(NoteError::BadSignature { .. })),
            "{length} bytes"
        );
    }
}

fn cosigner(who: &str) -> Cosigner {
    Cosigner::from_seed(who, &seed(who)).unwrap()
}

/// The lines after the text and the blank line.
fn lines_of(note: &str) -> Vec<&str> {
    let from = note.rfind("\n\n").unwrap() + 2;
    note[from..].lines().collect()
}

#[test]
fn a_cosigner_adds_the_line_that_the_spec_says() {
    let (auditor, witness) = (cosigner("auditor.example/a1"), Witness::new("auditor.example/a1"));
    assert_eq!(auditor.verifier(), &witness.verifier);
    let signed = till().sign(TEXT);
    for time in [0, TIME, u64::MAX >> 1] {
        let cosigned = auditor.cosign(&signed, time).unwrap();
        assert_eq!(cosigned, signed.clone() + &witness.line(TEXT, time));
        let note = Note::parse(&cosigned).unwrap();
        assert_eq!((note.text(), note.verify(till().verifier())), (TEXT, Ok(())));
        assert_eq!(note.cosigned(auditor.verifier()), Ok(time));
    }
    let beyond = auditor.cosign(&signed, (u64::MAX >> 1) + 1);
    assert!(matches!(beyond, Err(NoteError::Malformed { .. })));
}

#[test]
fn a_cosigned_note_of_another_implementation_keeps_every_line() {
    let golden = golden().cosigned;
    let auditor = cosigner("auditor.example/a1");
    let cosigned = auditor.cosign(&golden.note, TIME).unwrap();
    assert!(cosigned.starts_with(&golden.note));
    let (note, witness) = (Note::parse(&cosigned).unwrap(), golden.witness.parse().unwrap());
    assert_eq!(note.cosigned(&witness), Ok(golden.time));
    assert_eq!(note.cosigned(auditor.verifier()), Ok(TIME));
}

/// A note that is cosigned again and again must not grow, and a reader takes the first line of a key.
#[test]
fn a_new_cosignature_takes_the_place_of_the_older_one() {
    let (one, two) = (cosigner("auditor.example/a1"), cosigner("auditor.example/a2"));
    let first = one.cosign(&till().sign(TEXT), 1).unwrap();
    let both = two.cosign(&first, 2).unwrap();
    let again = one.cosign(&both, 3).unwrap();
    let note = Note::parse(&again).unwrap();
    assert_eq!(
        (note.cosigned(one.verifier()), note.cosigned(two.verifier())),
        (Ok(3), Ok(2))
    );
    assert_eq!(note.verify(till().verifier()), Ok(()));
    let (before, after) = (lines_of(&both), lines_of(&again));
    assert_eq!((before.len(), after.len()), (3, 3));
    assert_eq!(after[..2], [before[0], before[2]]);
    let damaged = both.replace(before[1], "— auditor.example/a1 AAAAAAA=");
    assert_eq!(
        lines_of(&one.cosign(&damaged, 4).unwrap()).len(),
        4,
        "another key's line stays"
    );
}

#[test]
fn a_cosignature_counts_under_its_own_name_and_key() {
    let auditor = cosigner("auditor.example/a1");
    let cosigned = auditor.cosign(&till().sign(TEXT), TIME).unwrap();
    let renamed = cosigned.replace("auditor.example/a1", "auditor.example/a2");
    let public = auditor.verifier().public();
    let other_name = VerifierKey::new("auditor.example/a2", KeyKind::Cosignature, public).unwrap();
    let other_kind = VerifierKey::new("auditor.example/a1", KeyKind::Note, public).unwrap();
    let other_key = Cosigner::from_seed("auditor.example/a1", &seed("another")).unwrap();
    for note in [&cosigned, &renamed] {
        let note = Note::parse(note).unwrap();
        for key in [&other_name, &other_kind, other_key.verifier()] {
            assert!(matches!(note.cosigned(key), Err(NoteError::Unsigned { .. })));
            assert!(matches!(note.verify(key), Err(NoteError::Unsigned { .. })));
        }
    }
}

#[test]
fn what_is_no_note_or_has_no_room_is_not_cosigned() {
    let auditor = cosigner("auditor.example/a1");
    let cosign = |note: &str| auditor.cosign(note, TIME);
    for bad in ["", TEXT, &format!("{TEXT}\n"), "a\n\nb\n"] {
        assert!(matches!(cosign(bad), Err(NoteError::Malformed { .. })), "{bad:?}");
    }
    let signed = |lines: usize| format!("{TEXT}\n{}", "— till AAAAAAA=\n".repeat(lines));
    assert!(cosign(&signed(MAX_SIGNATURES - 1)).is_ok());
    assert!(matches!(
        cosign(&signed(MAX_SIGNATURES)),
        Err(NoteError::Malformed { .. })
    ));
    let long = till().sign(&format!("{}\n", "x".repeat(MAX_NOTE_BYTES - 150)));
    assert!(Note::parse(&long).is_ok());
    assert!(matches!(cosign(&long), Err(NoteError::Malformed { .. })));
}

#[test]
fn the_secret_text_of_a_cosigner_reads_back_and_is_no_signing_key() {
    let auditor = cosigner("auditor.example/a1");
    let secret = auditor.to_secret_text();
    let again = Cosigner::parse(&format!("{secret}\n")).unwrap();
    assert_eq!(
        (again.verifier(), again.to_secret_text()),
        (auditor.verifier(), secret.clone())
    );
    let note = till().sign(TEXT);
    assert_eq!(again.cosign(&note, TIME), auditor.cosign(&note, TIME));
    assert!(matches!(NoteSigner::parse(&secret), Err(NoteError::Key { .. })));
    for bad in [
        "",
        &till().to_secret_text(),
        &auditor.verifier().to_string(),
        &secret.replace("a1", "a2"),
        &secret[..secret.len() - 4],
    ] {
        assert!(matches!(Cosigner::parse(bad), Err(NoteError::Key { .. })));
    }
    assert!(matches!(
        Cosigner::from_seed("a name", &seed("a")),
        Err(NoteError::Key { .. })
    ));
    let shown = format!("{auditor:?}");
    assert!(
        !shown.contains(secret.rsplit('+').next().unwrap()),
        "a secret is never shown"
    );
}

#[test]
fn what_is_no_verifier_key_is_refused() {
    let good = till().verifier().to_string();
    assert!(good.parse::<VerifierKey>().is_ok());
    let cases = [
        "",
        "till",
        "till+19fae0cf",
        "till+19fae0cf+",
        "till+19fae0c+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        "till+19fae0ce+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        "till+19FAE0CF+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        "tilL+19fae0cf+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        "ti l+19fae0cf+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        "+19fae0cf+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        "till+19fae0cf+AddamAGCsQq31Uv-08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        "till+19fae0cf+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1E=",
        "till+38ec30e0+AtdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea",
        "till+19fae0cf+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\n",
    ];
    for case in cases {
        assert!(
            matches!(case.parse::<VerifierKey>(), Err(NoteError::Key { .. })),
            "{case:?}"
        );
    }
    let in_two_pieces = format!("till+19fae0cf+AQ=={}", BASE64.encode(till().verifier().public()));
    let found = in_two_pieces.parse::<VerifierKey>();
    assert!(matches!(found, Err(NoteError::Key { .. })), "{in_two_pieces}");
    let known = "till+19fae0cf+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
    assert_eq!(known.parse::<VerifierKey>().unwrap().to_string(), known);
}

#[test]
fn points_of_small_order_and_what_is_no_point_are_no_keys() {
    let mut off_the_curve = [0; 32];
    off_the_curve[0] = 2;
    let refused = SMALL_ORDER
        .iter()
        .map(|point| crate::support::hex32(point))
        .chain([off_the_curve]);
    for public in refused {
        for kind in [KeyKind::Note, KeyKind::Cosignature] {
            assert!(
                matches!(
                    VerifierKey::new("till", kind, &public),
                    Err(NoteError::Key { .. })
                ),
                "{public:?}"
            );
        }
    }
}

#[test]
fn signing_keys_are_read_from_their_text_and_nothing_else() {
    let good = till().to_secret_text();
    assert_eq!(
        NoteSigner::parse(&format!("{good}\n")).unwrap().verifier(),
        till().verifier()
    );
    let public = till().verifier().to_string();
    let cases = [
        String::new(),
        public,
        good.replace("till", "crm"),
        good[1..].to_owned(),
        good[..60].to_owned(),
    ];
    for case in &cases {
        assert!(matches!(NoteSigner::parse(case), Err(NoteError::Key { .. })));
    }
    let same = SigningKey::from_bytes(&seed("till"));
    assert_eq!(till().verifier().public(), same.verifying_key().as_bytes());
    let shown = format!("{:?}", till());
    assert!(
        !shown.contains(good.rsplit('+').next().unwrap()),
        "a secret is never shown"
    );
}

#[test]
fn keys_are_written_in_json_as_their_text() {
    let key = till().verifier().clone();
    let json = serde_json::to_string(&key).unwrap();
    assert_eq!(json, format!("\"{key}\""));
    assert_eq!(serde_json::from_str::<VerifierKey>(&json).unwrap(), key);
    assert!(serde_json::from_str::<VerifierKey>("\"till\"").is_err());
}
