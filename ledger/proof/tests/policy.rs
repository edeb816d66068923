//! Policies: the two-level example of the spec with made keys, what is refused at which line, and opening checkpoints.

use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::name::{LedgerId, Shard};
use sharetrail_proof::note::{Cosigner, KeyKind, NoteError, NoteSigner, VerifierKey};
use sharetrail_proof::policy::{MAX_POLICY_LINES, Policy, PolicyError};

use crate::support::{LEDGER, TIME, Witness, ledger_id, name, signer};

const ORIGIN: &str = "shop.example/log/0of1";
const WITNESSES: [&str; 6] = ["X1", "X2", "X3", "Y1", "Y2", "Y3"];

fn log_key() -> NoteSigner {
    signer(ORIGIN, ORIGIN)
}

fn witness(of: &str) -> Witness {
    Witness::new(&format!("witness.example/{of}"))
}

fn witness_line(of: &str) -> String {
    format!("witness {of} {}\n", witness(of).verifier)
}

fn auditor_line(of: &str) -> String {
    format!("#sharetrail auditor {}\n", witness(of).verifier)
}

fn ledger_line() -> String {
    format!("#sharetrail ledger {LEDGER} {}\n", ledger_id())
}

fn log_line() -> String {
    format!("log {}\n", log_key().verifier())
}

/// The example of C2SP tlog-policy: two of the three X and one of the three Y.
fn two_levels() -> String {
    let witnesses: String = WITNESSES.iter().map(|of| witness_line(of)).collect();
    let groups = "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\n";
    let quorum = "group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n";
    format!("{}{}\n{witnesses}{groups}{quorum}", ledger_line(), log_line())
}

fn checkpoint() -> Checkpoint {
    Checkpoint::new(ORIGIN.into(), TreeSize(7), Hash([3; 32]))
}

fn cosigned(by: &[&str]) -> String {
    let text = checkpoint().to_text();
    let lines: String = by.iter().map(|of| witness(of).line(&text, TIME)).collect();
    log_key().sign(&text) + &lines
}

fn parse(text: &str) -> Result<Policy, PolicyError> {
    text.parse()
}

#[test]
fn the_quorum_of_the_example_is_met_by_two_x_and_one_y() {
    let policy = parse(&two_levels()).unwrap();
    let cases: [(&[&str], bool); 12] = [
        (&["X1", "X2", "Y1"], true),
        (&["X1", "X3", "Y3"], true),
        (&["Y2", "X3", "X2"], true),
        (&["X1", "X2", "X3", "Y1", "Y2", "Y3"], true),
        (&[], false),
        (&["X1"], false),
        (&["Y1"], false),
        (&["X1", "Y1"], false),
        (&["X1", "X2"], false),
        (&["X1", "X2", "X3"], false),
        (&["Y1", "Y2", "Y3"], false),
        (&["X2", "Y1", "Y2", "Y3"], false),
    ];
    for (by, met) in cases {
        match policy.open(&cosigned(by)) {
            Ok(opened) if met => {
                let mut expected: Vec<_> = by.iter().map(|of| ((*of).to_owned(), TIME)).collect();
                expected.sort();
                assert_eq!(
                    (opened.checkpoint(), opened.cosignatures()),
                    (&checkpoint(), expected.as_slice())
                );
            }
            Err(PolicyError::Quorum { quorum, cosigned }) if !met => {
                assert_eq!((quorum.as_str(), cosigned), ("X-and-Y", by.len()));
            }
            other => panic!("{by:?}: {other:?}"),
        }
    }
}

#[test]
fn a_cosignature_counts_once_however_often_it_stands_there() {
    let policy = parse(&two_levels()).unwrap();
    let opened = policy.open(&cosigned(&["X1", "X1", "X1", "Y1"]));
    assert!(matches!(opened, Err(PolicyError::Quorum { cosigned: 2, .. })));
}

#[test]
fn a_single_witness_or_nobody_can_be_the_quorum() {
    let head = format!("{}{}{}", ledger_line(), log_line(), witness_line("X1"));
    let one = parse(&format!("{head}quorum X1\n")).unwrap();
    assert!(one.open(&cosigned(&["X1"])).is_ok());
    assert!(matches!(
        one.open(&cosigned(&["X2"])),
        Err(PolicyError::Quorum { cosigned: 0, .. })
    ));
    let none = parse(&format!("{head}quorum none\n")).unwrap();
    assert!(none.open(&cosigned(&[])).unwrap().cosignatures().is_empty());
    let opened = none.open(&cosigned(&["X2", "X1"])).unwrap();
    assert_eq!(opened.cosignatures(), [("X1".to_owned(), TIME)]);
    assert_eq!((opened.size(), opened.root()), (TreeSize(7), &Hash([3; 32])));
}

#[test]
fn checkpoints_that_are_not_believed_are_told_apart() {
    let policy = parse(&two_levels()).unwrap();
    assert!(matches!(
        policy.open("no note"),
        Err(PolicyError::Note(NoteError::Malformed { .. }))
    ));
    let no_checkpoint = policy.open(&log_key().sign("hello\n"));
    assert!(matches!(no_checkpoint, Err(PolicyError::Checkpoint(_))));
    let elsewhere = Checkpoint {
        origin: "shop.example/log/0of2".into(),
        ..checkpoint()
    };
    let elsewhere = policy.open(&log_key().sign(&elsewhere.to_text()));
    assert!(
        matches!(elsewhere, Err(PolicyError::UnknownLog { origin }) if origin == "shop.example/log/0of2")
    );
    let forged = policy.open(&signer(ORIGIN, "another key").sign(&checkpoint().to_text()));
    assert!(matches!(
        forged,
        Err(PolicyError::Note(NoteError::Unsigned { .. }))
    ));
    let changed = cosigned(&["X1", "X2", "Y1"]).replace("\n7\n", "\n8\n");
    assert!(matches!(
        policy.open(&changed),
        Err(PolicyError::Note(NoteError::BadSignature { .. }))
    ));
    let wrong_line = witness("X3").line("another text\n", TIME);
    let with_a_wrong_one = policy.open(&(cosigned(&["X1", "X2", "Y1"]) + &wrong_line));
    assert!(matches!(
        with_a_wrong_one,
        Err(PolicyError::Note(NoteError::BadSignature { .. }))
    ));
}

#[test]
fn what_a_policy_says_can_be_asked() {
    let auditor = witness("auditor");
    let policy = parse(&(two_levels() + &auditor_line("auditor"))).unwrap();
    assert_eq!(
        (policy.ledger(), policy.ledger_id()),
        (&name(LEDGER), &ledger_id())
    );
    assert_eq!(policy.log_key(ORIGIN), Some(log_key().verifier()));
    assert_eq!(policy.log_key("shop.example/log/0of2"), None);
    assert_eq!(policy.logs().collect::<Vec<_>>(), [log_key().verifier()]);
    assert_eq!(policy.auditors(), [auditor.verifier]);
    assert!(policy.has_shard(Shard::new(0, 1).unwrap()));
    assert!(!policy.has_shard(Shard::new(0, 2).unwrap()));
}

#[test]
fn what_is_written_reads_back() {
    let auditors = auditor_line("a1") + &auditor_line("a2");
    // Names chosen so that the order of the alphabet is not an order in which groups may stand.
    let deep = format!(
        "{}{}group z any X1\ngroup y all z X2\ngroup a 1 y\nquorum a\n",
        ledger_line(),
        WITNESSES.iter().map(|of| witness_line(of)).collect::<String>()
    );
    let none = format!("{}{}quorum none\n", ledger_line(), log_line());
    for text in [two_levels(), format!("{}{auditors}", two_levels()), deep, none] {
        let policy = parse(&text).unwrap();
        assert_eq!(parse(&policy.to_string()), Ok(policy), "{text}");
    }
    let shards = Shard::all(3).map(|shard| format!("{LEDGER}/log/{shard}"));
    let keys: Vec<_> = shards
        .map(|origin| signer(&origin, &origin).verifier().clone())
        .collect();
    let policy = Policy::new(name(LEDGER), ledger_id(), keys);
    assert_eq!(parse(&policy.to_string()), Ok(policy));
}

#[test]
fn other_tools_see_nothing_but_lines_of_the_spec_and_comments() {
    let text = format!(
        "{}#sharetrail auditor {}\n",
        two_levels(),
        witness("auditor").verifier
    );
    let written = parse(&text).unwrap().to_string();
    let known = ["log ", "witness ", "group ", "quorum "];
    let ours: Vec<&str> = written
        .lines()
        .filter(|line| !known.iter().any(|word| line.starts_with(word)))
        .collect();
    assert_eq!(ours.len(), 3, "a heading, the ledger, the auditor");
    assert!(ours.iter().all(|line| line.starts_with('#')));
    assert!(written.ends_with("quorum X-and-Y\n"));
}

#[test]
fn space_comments_and_addresses_are_passed_over() {
    let spaced = two_levels()
        .replace("\nwitness ", "\n \t# why\n\n\t witness\t ")
        .replace(" any ", " 1 ");
    let address = |line: &str| {
        if line.contains("log ") {
            " https://log.example/é\n"
        } else {
            "\n"
        }
    };
    let addressed: String = spaced.lines().flat_map(|line| [line, address(line)]).collect();
    assert_ne!(addressed, two_levels());
    assert_eq!(parse(&addressed), parse(&two_levels()));
}

/// Puts `line` under a policy of `LINES` good lines, and expects it to be refused.
fn refused(line: &str) {
    const LINES: usize = 9;
    let head = two_levels().replace("\n\n", "\n");
    let head: String = head.lines().take(LINES).flat_map(|line| [line, "\n"]).collect();
    let found = parse(&format!("{head}{line}\nquorum none\n"));
    assert!(
        matches!(found, Err(PolicyError::Line { line: at, .. }) if at == LINES + 1),
        "{line:?}: {found:?}"
    );
}

#[test]
fn lines_that_the_format_does_not_know_are_refused_where_they_stand() {
    let (log_again, ledger_again) = (log_line(), ledger_line());
    let second_key = format!("log {}", signer(ORIGIN, "another key").verifier());
    let same_key_elsewhere = format!("log {}", signer("other.example", ORIGIN).verifier());
    let same_witness = witness_line("X1").replace("witness X1 ", "witness X4 ");
    let same_name = witness_line("auditor").replace("witness auditor ", "witness X1 ");
    let as_witness = log_line().replace("log ", "witness X4 ");
    let lines = [
        "nonsense",
        "LOG a",
        "log",
        "log till",
        "log a b c",
        &log_again,
        &second_key,
        &same_key_elsewhere,
        &witness_line("Z1").replace("witness Z1 ", "log "),
        "witness X4",
        "witness X4 till",
        &same_witness,
        &same_name,
        &as_witness,
        &witness_line("auditor").replace("witness auditor ", "witness none "),
        "group X-witnesses any Y1",
        "group X1 any Y1",
        "group none any Y1",
        "group g any",
        "group g any Z9",
        "group g any none",
        "group g 1 Y1 Y1",
        "group g 1 X1",
        "group g 0 Y1",
        "group g 2 Y1",
        "group g 01 Y1",
        "group g -1 Y1",
        "group g some Y1",
        "group g any g",
        "quorum Z9",
        "quorum",
        "quorum none none",
        "#sharetrail",
        "#sharetrail ledger a",
        "#sharetrail anything",
        "#sharetrail auditor till",
        "# a bell \u{7}",
        "# a line that ends twice \r.",
        "# \u{7f}",
        &ledger_again,
    ];
    for line in lines {
        refused(line.trim_end());
    }
}

#[test]
fn ledger_lines_hold_a_name_and_an_id() {
    for line in [
        "#sharetrail ledger Shop 00",
        "#sharetrail ledger shop.example 00",
        "#sharetrail ledger a/b 00",
    ] {
        let found = parse(&format!("{line}\nquorum none\n"));
        assert!(matches!(found, Err(PolicyError::Line { line: 1, .. })), "{line}");
    }
    let other = parse(&format!(
        "#sharetrail ledger a {}\nquorum none\n",
        LedgerId([1; 32])
    ))
    .unwrap();
    assert_eq!(
        (other.ledger(), other.ledger_id()),
        (&name("a"), &LedgerId([1; 32]))
    );
}

#[test]
fn a_policy_has_one_quorum_and_one_ledger_line() {
    let twice = parse(&format!("{}quorum none\nquorum none\n", ledger_line()));
    assert!(matches!(twice, Err(PolicyError::Line { line: 3, .. })));
    let no_quorum = parse(&two_levels().replace("quorum X-and-Y\n", ""));
    assert!(matches!(no_quorum, Err(PolicyError::Missing { .. })));
    for text in [
        "",
        "quorum none\n",
        &two_levels().replace("#sharetrail ledger", "# sharetrail ledger"),
    ] {
        assert!(
            matches!(parse(text), Err(PolicyError::Missing { .. })),
            "{text:?}"
        );
    }
}

#[test]
fn a_policy_has_a_largest_number_of_lines() {
    let long = |lines: usize| format!("{}quorum none\n{}", ledger_line(), "#\n".repeat(lines - 2));
    assert!(parse(&long(MAX_POLICY_LINES)).is_ok());
    let found = parse(&long(MAX_POLICY_LINES + 1));
    assert!(matches!(found, Err(PolicyError::Line { line, .. }) if line == MAX_POLICY_LINES + 1));
}

#[test]
fn an_auditor_signs_with_a_cosignature_key() {
    let line = format!("#sharetrail auditor {}\n", log_key().verifier());
    let found = parse(&format!("{}{line}quorum none\n", ledger_line()));
    assert!(matches!(found, Err(PolicyError::Line { line: 2, .. })));
}

/// What is cosigned does not hold the signer's name, so one key under two names would let a witness, who saw a checkpoint,
/// speak as an auditor, who recomputed it.
#[test]
fn an_auditors_public_key_stands_in_a_policy_once() {
    let auditor = |public: &[u8; 32]| {
        let key = VerifierKey::new("auditor.example", KeyKind::Cosignature, public).unwrap();
        format!("#sharetrail auditor {key}\n")
    };
    let renamed = auditor(witness("a1").verifier.public());
    let (log, of_the_log) = (log_line(), auditor(log_key().verifier().public()));
    let (own, witness) = (auditor_line("a1"), witness_line("a1"));
    let cases = [
        (&own, &own),
        (&own, &renamed),
        (&witness, &own),
        (&witness, &renamed),
        (&renamed, &witness),
        (&log, &of_the_log),
        (&of_the_log, &log),
    ];
    for (above, below) in cases {
        let text = |lines: &str| format!("{}{lines}quorum none\n", ledger_line());
        for one in [above, below] {
            assert!(parse(&text(one)).is_ok(), "{one}");
        }
        let both = parse(&text(&format!("{above}{below}")));
        assert!(
            matches!(both, Err(PolicyError::Line { line: 3, .. })),
            "{above}{below}: {both:?}"
        );
    }
}

/// The example's policy with two auditors.
fn audited() -> Policy {
    let auditors = auditor_line("a1") + &auditor_line("a2");
    parse(&(two_levels() + &auditors)).unwrap()
}

#[test]
fn auditors_that_cosigned_are_named_with_their_times_and_count_for_no_quorum() {
    let (policy, text) = (audited(), checkpoint().to_text());
    let quorum = ["X1", "X2", "Y1"];
    let with = |auditors: &[(&str, u64)]| {
        let lines = auditors.iter().map(|(who, time)| witness(who).line(&text, *time));
        cosigned(&quorum) + &lines.collect::<String>()
    };
    let alone = policy.open(&with(&[("a2", TIME)])).unwrap();
    assert_eq!(alone.auditors(), [("witness.example/a2".to_owned(), TIME)]);
    let by_both = policy.open(&with(&[("a2", TIME), ("a1", TIME + 1)])).unwrap();
    let expected = [("witness.example/a1", TIME + 1), ("witness.example/a2", TIME)];
    assert_eq!(
        by_both.auditors(),
        expected.map(|(who, time)| (who.to_owned(), time))
    );
    assert_eq!(by_both.cosignatures().len(), 3, "the auditor is no witness");
    let too_few = cosigned(&["X1", "X2"]) + &witness("a1").line(&text, TIME);
    assert!(matches!(
        policy.open(&too_few),
        Err(PolicyError::Quorum { cosigned: 2, .. })
    ));
    let unknown = policy.open(&with(&[("a3", TIME), ("a2", TIME)])).unwrap();
    assert_eq!(unknown.auditors(), alone.auditors());
    assert!(policy.open(&with(&[])).unwrap().auditors().is_empty());
    let without = parse(&two_levels())
        .unwrap()
        .open(&with(&[("a2", TIME)]))
        .unwrap();
    assert!(without.auditors().is_empty());
}

/// Passed over as if it were not there, a damaged cosignature would turn "recomputed" into "by the operator's word".
#[test]
fn a_wrong_signature_under_an_auditors_key_is_a_fault() {
    let wrong = cosigned(&["X1", "X2", "Y1"]) + &witness("a1").line("another text\n", TIME);
    assert!(matches!(
        audited().open(&wrong),
        Err(PolicyError::Note(NoteError::BadSignature { name, .. })) if name == "witness.example/a1"
    ));
}

/// Two witnesses of one name and one id, as whoever tries for a minute can make them.
fn twins() -> [Cosigner; 2] {
    let twins = [39_073, 83_597].map(|number| {
        let seed = Hash::of(&[format!("collision {number}").as_bytes()]).0;
        Cosigner::from_seed("witness.example", &seed).unwrap()
    });
    let [one, two] = twins.each_ref().map(Cosigner::verifier);
    assert!(one.id() == two.id() && one.public() != two.public());
    twins
}

/// The fault: a verifier looks for the line that fits, and another takes the first: one of them is satisfied.
#[test]
fn of_two_witnesses_of_one_id_the_first_line_is_both_ones() {
    let note = cosigned(&[]);
    let lines = twins().map(|twin| {
        let with_line = twin.cosign(&note, TIME).unwrap();
        with_line[note.len()..].to_owned()
    });
    let [one, two] = twins().map(|twin| twin.verifier().to_string());
    let head = format!("{}{}witness a {one}\n", ledger_line(), log_line());
    let both = parse(&format!("{head}witness b {two}\nquorum none\n")).unwrap();
    let alone = parse(&format!("{head}quorum a\n")).unwrap();
    assert!(both.open(&note).unwrap().cosignatures().is_empty());
    for lines in [lines[0].clone(), lines[1].clone(), lines.concat()] {
        let opened = both.open(&format!("{note}{lines}"));
        let is_wrong = matches!(opened, Err(PolicyError::Note(NoteError::BadSignature { .. })));
        assert!(is_wrong, "{opened:?}");
    }
    assert!(alone.open(&format!("{note}{}", lines.concat())).is_ok());
    let other_first = alone.open(&format!("{note}{}{}", lines[1], lines[0]));
    let is_wrong = matches!(
        other_first,
        Err(PolicyError::Note(NoteError::BadSignature { .. }))
    );
    assert!(is_wrong, "{other_first:?}");
}

/// A policy without a log is one, and opens nothing.
#[test]
fn a_policy_may_have_no_log() {
    let none = parse(&format!("{}quorum none\n", ledger_line())).unwrap();
    assert_eq!(none.logs().count(), 0);
    let opened = none.open(&cosigned(&[]));
    assert!(matches!(opened, Err(PolicyError::UnknownLog { origin }) if origin == ORIGIN));
}

/// A size that no proof is made for is a number all the same: what fails under it is the proof.
#[test]
fn a_checkpoint_of_any_size_opens() {
    let policy = parse(&format!("{}{}quorum none\n", ledger_line(), log_line())).unwrap();
    for size in [0, (1 << 62) + 1, 1 << 63, u64::MAX] {
        let size = TreeSize(size);
        let text = Checkpoint { size, ..checkpoint() }.to_text();
        assert_eq!(policy.open(&log_key().sign(&text)).unwrap().size(), size);
    }
}
