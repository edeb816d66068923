//! Whatever bytes or text a parser of untrusted input is given: it answers, it does not panic, and what it accepts
//! is written again as it was read.

use std::sync::OnceLock;

use proptest::prelude::*;
use sharetrail_proof::batch::Batch;
use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::customer::CustomerKey;
use sharetrail_proof::dossier::{Certificate, Dossier, DossierError, FileKind, kind_of};
use sharetrail_proof::entry::{Entry, EventEntry};
use sharetrail_proof::frame::{Frame, encode};
use sharetrail_proof::hash::{Hash, LeafIndex};
use sharetrail_proof::map::MapLeaf;
use sharetrail_proof::name::{ChainId, Label, LedgerId, Name, Shard};
use sharetrail_proof::note::{Note, NoteSigner, VerifierKey};
use sharetrail_proof::policy::Policy;
use sharetrail_proof::tiles::{Bundle, Tile, parse_bundle};
use sharetrail_proof::tlog_proof::TlogProof;

use crate::support::{Ledger, name, signer};

/// Text of the characters that the formats give a meaning to.
const FORMAT_TEXT: &str = "[a-z0-9+/= \\n—{}\":,#.-]{0,200}";

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), FORMAT_TEXT]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..400)
}

/// Alice, of whom two events are on record, and bob, who was erased.
fn ledger() -> &'static Ledger {
    static LEDGER: OnceLock<Ledger> = OnceLock::new();
    LEDGER.get_or_init(|| {
        let (mut ledger, till) = Ledger::with_till(1);
        ledger.record(&till, "alice", 0, 0..2);
        ledger.erase("bob", 0);
        ledger
    })
}

/// Something good, in the formats that are text.
fn good() -> &'static [String] {
    static GOOD: OnceLock<Vec<String>> = OnceLock::new();
    GOOD.get_or_init(|| {
        let log = ledger().log(0);
        let json = |bytes| String::from_utf8(bytes).unwrap();
        vec![
            log.note_at(LeafIndex(4)).to_owned(),
            log.checkpoint(),
            ledger().policy().to_string(),
            json(ledger().dossier("alice", 1).to_bytes()),
            json(ledger().dossier("carol", 0).to_bytes()),
            json(ledger().certificate("bob", 0).to_bytes()),
            ledger().map_log(0).remove(1),
            signer("till", "till").verifier().to_string(),
        ]
    })
}

/// Each parser of text; what it reads, it must write the same.
fn read_text(text: &str) {
    if let Ok(note) = Note::parse(text) {
        assert!(text.starts_with(note.text()));
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_text(), text);
    }
    if let Ok(leaf) = MapLeaf::parse(text) {
        assert_eq!(leaf.to_text(), text);
    }
    if let Ok(batch) = Batch::parse(text) {
        assert_eq!(batch.to_text(), text);
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(policy) = text.parse::<Policy>() {
        assert_eq!(policy.to_string().parse::<Policy>(), Ok(policy));
    }
    if let Ok(proof) = text.parse::<TlogProof>() {
        assert_eq!(proof.to_string(), text);
    }
    let _ = NoteSigner::parse(text);
    read_ids(text);
}

fn read_ids(text: &str) {
    let written = [
        text.parse::<Name>().map(|read| read.to_string()).ok(),
        text.parse::<Shard>().map(|read| read.to_string()).ok(),
        text.parse::<ChainId>().map(|read| read.to_string()).ok(),
        text.parse::<LedgerId>().map(|read| read.to_string()).ok(),
        text.parse::<Label>().map(|read| read.to_string()).ok(),
        text.parse::<Tile>().map(|read| read.to_string()).ok(),
        text.parse::<Bundle>().map(|read| read.to_string()).ok(),
        Hash::from_base64(text).map(|read| read.to_string()),
    ];
    assert!(
        written.iter().flatten().all(|written| written == text),
        "{text:?}"
    );
}

fn read_bytes(bytes: &[u8]) {
    if let Ok(frame) = Frame::parse(bytes) {
        let again = encode(frame.note_text, &frame.entries, &frame.sealed);
        assert_eq!(again, bytes);
    }
    match Entry::parse(bytes) {
        Ok(Entry::Event(entry)) => assert_eq!(entry.to_bytes().as_slice(), bytes),
        Ok(Entry::Erasure(entry)) => assert_eq!(entry.to_bytes().as_slice(), bytes),
        Ok(Entry::Registry(entry)) => assert_eq!(entry.to_bytes(), bytes),
        Ok(Entry::Genesis(_) | Entry::Batch(_)) | Err(_) => {}
    }
    if let Ok(dossier) = Dossier::parse(bytes) {
        assert_eq!(dossier.to_bytes(), bytes);
        assert_eq!(kind_of(bytes), Some(FileKind::Dossier));
    }
    if let Ok(certificate) = Certificate::parse(bytes) {
        assert_eq!(certificate.to_bytes(), bytes);
        assert_eq!(kind_of(bytes), Some(FileKind::Certificate));
    }
    for width in [0, 1, 2, 255] {
        if let Ok(entries) = parse_bundle(bytes, width) {
            assert_eq!(entries.len(), usize::from(width));
        }
    }
    let entry = EventEntry {
        id: [0; 16],
        label: Label([0; 32]),
        commitment: Hash::ZERO,
    };
    let sealer = CustomerKey([0; 32]).for_producer(&name("till")).sealer();
    assert!(sealer.open(&entry, bytes).is_err(), "nobody seals by chance");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(any in text()) {
        read_text(&any);
        read_bytes(any.as_bytes());
    }

    #[test]
    fn any_bytes_are_read_or_refused(any in bytes(), first in 0_u8..6) {
        read_bytes(&any);
        read_bytes(&[&[first][..], &any].concat());
    }

    /// A good text with a piece cut out and another put in gets further into each parser than noise does.
    #[test]
    fn good_text_with_a_piece_replaced_is_read_or_refused(
        of in any::<prop::sample::Selector>(),
        start in any::<prop::sample::Index>(),
        length in 0_usize..40,
        instead in text(),
    ) {
        let good = of.select(good().iter());
        let start = start.index(good.len());
        let before = String::from_utf8_lossy(&good.as_bytes()[..start]);
        let after = String::from_utf8_lossy(&good.as_bytes()[good.len().min(start + length)..]);
        let changed = format!("{before}{instead}{after}");
        read_text(&changed);
        read_bytes(changed.as_bytes());
    }

    #[test]
    fn a_text_that_is_signed_reads_back(text in "[^\\x00-\\x1f]{0,80}") {
        let signer = signer("till", "till");
        let signed = signer.sign(&format!("{text}\n"));
        let note = Note::parse(&signed).unwrap();
        prop_assert_eq!(note.text(), format!("{text}\n"));
        prop_assert!(note.verify(signer.verifier()).is_ok());
    }

    /// A dossier or a certificate that is changed anywhere in its bytes is refused by whoever reads or checks it.
    #[test]
    fn a_file_with_bytes_replaced_does_not_verify(
        of in 3_usize..6,
        start in any::<prop::sample::Index>(),
        instead in prop::collection::vec(any::<u8>(), 1..6),
    ) {
        let good = good()[of].as_bytes();
        let start = start.index(good.len());
        let end = good.len().min(start + instead.len());
        let changed = [&good[..start], &instead, &good[end..]].concat();
        let verified = match kind_of(good) {
            Some(FileKind::Dossier) => verify_dossier(&changed),
            Some(FileKind::Certificate) => verify_certificate(&changed),
            None => panic!("a dossier or a certificate"),
        };
        prop_assert_eq!(verified.is_ok(), changed == good);
    }
}

fn verify_dossier(bytes: &[u8]) -> Result<(), DossierError> {
    Dossier::parse(bytes)?.verify(&ledger().policy()).map(drop)
}

fn verify_certificate(bytes: &[u8]) -> Result<(), DossierError> {
    Certificate::parse(bytes)?.verify(&ledger().policy()).map(drop)
}
