//! What the fuzz targets hold: for each parser of untrusted bytes, what must be true of whatever it is given.
//!
//! No input may make a parser panic. Where there is one way of writing a thing, what is read must be written as the
//! very same bytes; elsewhere it must read back as the same. Each function says whether its parser took the bytes.
//! In scope: these properties. Out of scope: where bytes come from: `fuzz_targets/` takes them from libFuzzer, and the
//! workspace's test `tests/fuzz_corpus.rs` from `corpus/`. Trust: none; everything here is made to be broken.

use std::fmt::Debug;
use std::str::{FromStr, from_utf8};

use sharetrail_ledger::LedgerError;
use sharetrail_ledger::wire::{Control, ControlReply, Heads, Held, MAX_MESSAGE_BYTES};
use sharetrail_proof::batch::Batch;
use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::customer::{CustomerKey, commitment};
use sharetrail_proof::dossier::{Certificate, Dossier, kind_of};
use sharetrail_proof::entry::{Entry, RegistryEntry, RegistryRecord};
use sharetrail_proof::frame::{Frame, encode};
use sharetrail_proof::hash::{Hash, LeafIndex};
use sharetrail_proof::map::{MapError, MapLeaf, MapPath, MapValue, OtherLeaf, verify_absent, verify_present};
use sharetrail_proof::name::{ChainId, Label, LedgerId, Name, OPERATOR, RECOVERY, Shard};
use sharetrail_proof::note::{Cosigner, Note, NoteSigner, VerifierKey};
use sharetrail_proof::policy::Policy;
use sharetrail_proof::registry::Registry;
use sharetrail_proof::tiles::{Bundle, Tile, append_entry, parse_bundle};
use sharetrail_proof::tlog_proof::TlogProof;
use sharetrail_proof::vrf::{VrfProof, VrfPublicKey};
use sharetrail_schemas::{ContentError, MAX_AHEAD_SECONDS, Timestamp, check_customer_id};

/// A target: whether its parser took the bytes.
pub(crate) type Target = fn(&[u8]) -> bool;

/// Every target, by the name of its program and of its folder in `corpus/`.
pub(crate) const TARGETS: [(&str, Target); 20] = [
    ("batch", batch),
    ("bundle", bundle),
    ("certificate", certificate),
    ("checkpoint", checkpoint),
    ("content", content),
    ("dossier", dossier),
    ("entry", entry),
    ("frame", frame),
    ("keys", keys),
    ("map_leaf", map_leaf),
    ("map_path", map_path),
    ("names", names),
    ("note", note),
    ("policy", policy),
    ("registry", registry),
    ("sealed", sealed),
    ("tile_path", tile_path),
    ("tlog_proof", tlog_proof),
    ("vrf", vrf),
    ("wire", wire),
];

/// What the dossiers and certificates of the corpus are checked against.
const POLICY: &str = include_str!("policy.txt");
/// The genesis entry that the registry of the corpus begins with.
const GENESIS: &[u8] = include_bytes!("corpus/entry/genesis");
/// The customer's key of `ledger/proof/tests/golden/customer-v1.json`: it opens the sealed contents of the corpus.
const CUSTOMER_KEY: [u8; 32] = *b"defghijklmnopqrstuvwxyz{|}~\x7f\x80\x81\x82\x83";
const TIME: u64 = 1_767_225_600;

/// The text is read, and written again as it was.
fn one_writing<T: FromStr + ToString>(text: &str) -> bool {
    let Ok(read) = text.parse::<T>() else { return false };
    assert_eq!(read.to_string(), text);
    true
}

/// Notes: what is accepted can be cosigned, which leaves its text and every other line as they are.
pub(crate) fn note(bytes: &[u8]) -> bool {
    let Ok(text) = from_utf8(bytes) else { return false };
    let Ok(note) = Note::parse(text) else { return false };
    let lines = text
        .strip_prefix(note.text())
        .and_then(|rest| rest.strip_prefix('\n'));
    let lines = lines.expect("a note begins with its text and a blank line");
    assert_eq!(lines.lines().count(), note.signatures().len());
    let cosigner = Cosigner::from_seed("fuzz.example/auditor", &[7; 32]).expect("a good name");
    // A full note has no room for one more line.
    if let Ok(cosigned) = cosigner.cosign(text, TIME) {
        let again = Note::parse(&cosigned).expect("a cosigned note is a note");
        assert_eq!(again.text(), note.text());
        assert_eq!(again.cosigned(cosigner.verifier()), Ok(TIME));
        assert_eq!(cosigner.cosign(&cosigned, TIME).as_ref(), Ok(&cosigned));
    }
    true
}

/// Public and private keys in their text forms.
pub(crate) fn keys(bytes: &[u8]) -> bool {
    let Ok(text) = from_utf8(bytes) else { return false };
    let secrets = [
        NoteSigner::parse(text).map(|key| key.to_secret_text()),
        Cosigner::parse(text).map(|key| key.to_secret_text()),
    ];
    for secret in secrets.iter().flatten() {
        assert_eq!(secret, text.trim_end());
    }
    one_writing::<VerifierKey>(text) || secrets.iter().any(Result::is_ok)
}

/// Names, shards, ids and hashes as text.
pub(crate) fn names(bytes: &[u8]) -> bool {
    let Ok(text) = from_utf8(bytes) else { return false };
    let hash = Hash::from_base64(text);
    assert!(hash.is_none_or(|hash| hash.to_string() == text));
    let taken = [
        one_writing::<Name>(text),
        one_writing::<Shard>(text),
        one_writing::<ChainId>(text),
        one_writing::<LedgerId>(text),
        one_writing::<Label>(text),
        hash.is_some(),
    ];
    taken.contains(&true)
}

/// Texts of checkpoints.
pub(crate) fn checkpoint(bytes: &[u8]) -> bool {
    let Ok(text) = from_utf8(bytes) else { return false };
    let Ok(read) = Checkpoint::parse(text) else {
        return false;
    };
    assert_eq!(read.to_text(), text);
    true
}

/// Trust policies: comments and spaces are free, so what is read must read back, and then be written the same.
pub(crate) fn policy(bytes: &[u8]) -> bool {
    let Ok(text) = from_utf8(bytes) else { return false };
    let Ok(read) = text.parse::<Policy>() else {
        return false;
    };
    let written = read.to_string();
    let again = written.parse::<Policy>();
    assert_eq!(again.as_ref(), Ok(&read));
    assert_eq!(again.map(|policy| policy.to_string()), Ok(written));
    true
}

/// Texts of batch notes.
pub(crate) fn batch(bytes: &[u8]) -> bool {
    let Ok(text) = from_utf8(bytes) else { return false };
    let Ok(read) = Batch::parse(text) else {
        return false;
    };
    assert_eq!(read.to_text(), text);
    true
}

/// Log entries of every kind.
pub(crate) fn entry(bytes: &[u8]) -> bool {
    let Ok(read) = Entry::parse(bytes) else {
        return false;
    };
    let written = match read {
        Entry::Genesis(genesis) => genesis.to_bytes(),
        Entry::Event(event) => event.to_bytes().to_vec(),
        Entry::Registry(entry) => entry.to_bytes(),
        Entry::Batch(note) => [&bytes[..1], note.as_bytes()].concat(),
        Entry::Erasure(erasure) => erasure.to_bytes().to_vec(),
    };
    assert_eq!(written, bytes);
    true
}

/// Registry records, one a line, applied one after the other: what is refused changes nothing.
pub(crate) fn registry(bytes: &[u8]) -> bool {
    let Ok(Entry::Genesis(genesis)) = Entry::parse(GENESIS) else {
        panic!("corpus/entry/genesis is not a genesis entry")
    };
    let mut registry = Registry::new(&genesis);
    let by = [OPERATOR, RECOVERY].map(|name| Name::new(name).expect("a good name"));
    let mut taken = false;
    for (line, index) in bytes.split(|byte| *byte == b'\n').zip((1..).map(LeafIndex)) {
        let Ok(record) = serde_json::from_slice::<RegistryRecord>(line) else {
            continue;
        };
        let entry = RegistryEntry::new(record);
        let written = entry.to_bytes();
        assert_eq!(
            Entry::parse(&written),
            Ok(Entry::Registry(Box::new(entry.clone())))
        );
        for by in &by {
            let before = registry.clone();
            if registry.apply(index, &entry, by).is_ok() {
                assert_eq!(registry.next().0, entry.record.seq + 1);
                assert!(registry.party(&entry.record.party).is_some());
                taken = true;
                break;
            }
            assert_eq!(registry, before);
        }
    }
    taken
}

/// Frames from the bus.
pub(crate) fn frame(bytes: &[u8]) -> bool {
    let Ok(frame) = Frame::parse(bytes) else {
        return false;
    };
    assert_eq!(encode(frame.note_text, &frame.entries, &frame.sealed), bytes);
    if let Some(position) = frame.misplaced_content() {
        assert!(position < frame.entries.len());
    }
    for entry in &frame.entries {
        let _ = Entry::parse(entry);
    }
    true
}

/// Entry bundles; the first byte is one less than the width.
pub(crate) fn bundle(bytes: &[u8]) -> bool {
    let Some((&width, bytes)) = bytes.split_first() else {
        return false;
    };
    let width = u16::from(width) + 1;
    let Ok(entries) = parse_bundle(bytes, width) else {
        return false;
    };
    assert_eq!(entries.len(), usize::from(width));
    let mut written = Vec::new();
    for entry in entries {
        append_entry(&mut written, entry).expect("it came out of a bundle");
    }
    assert_eq!(written, bytes);
    true
}

/// Paths of tiles and bundles: none is both, and none leads out of its folder.
pub(crate) fn tile_path(bytes: &[u8]) -> bool {
    let Ok(text) = from_utf8(bytes) else { return false };
    let taken = [one_writing::<Tile>(text), one_writing::<Bundle>(text)];
    if taken.contains(&true) {
        assert!(text.starts_with("tile/") && !text.contains(".."));
    }
    assert_ne!(taken, [true, true]);
    taken.contains(&true)
}

/// `.tlog-proof` files.
pub(crate) fn tlog_proof(bytes: &[u8]) -> bool {
    from_utf8(bytes).is_ok_and(one_writing::<TlogProof>)
}

/// Leaves of map logs.
pub(crate) fn map_leaf(bytes: &[u8]) -> bool {
    let Ok(text) = from_utf8(bytes) else { return false };
    let Ok(read) = MapLeaf::parse(text) else {
        return false;
    };
    assert_eq!(read.to_text(), text);
    true
}

/// A line with another leaf as JSON, then the label that is looked for, then the siblings: whatever root such a path
/// leads to, under it nothing else can be shown of the label.
pub(crate) fn map_path(bytes: &[u8]) -> bool {
    let end = bytes
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(bytes.len());
    let (json, rest) = bytes.split_at(end);
    let Ok(other) = serde_json::from_slice::<OtherLeaf>(json) else {
        return false;
    };
    let again = serde_json::to_vec(&other).expect("two strings always serialise");
    assert_eq!(serde_json::from_slice::<OtherLeaf>(&again).ok(), Some(other));
    let Some((label, siblings)) = rest.get(1..).and_then(<[u8]>::split_first_chunk::<32>) else {
        return false;
    };
    let label = Label(*label);
    let siblings: Vec<Hash> = siblings.as_chunks::<32>().0.iter().copied().map(Hash).collect();
    let ends_there = MapPath {
        siblings,
        other: Some(other),
    };
    let root = match verify_absent(&label, &ends_there, &Hash::ZERO) {
        Err(MapError::RootMismatch { found, .. }) => found,
        Err(_) => return false,
        Ok(()) => panic!("a leaf leads to the root of the empty map"),
    };
    assert_eq!(verify_absent(&label, &ends_there, &root), Ok(()));
    let ends_at_nothing = MapPath {
        other: None,
        ..ends_there
    };
    assert!(verify_absent(&label, &ends_at_nothing, &root).is_err());
    let value = MapValue {
        count: 1,
        root: other.value,
    };
    assert!(verify_present(&label, &value, &ends_at_nothing, &root).is_err());
    true
}

/// A VRF key, a proof, and what it is about.
pub(crate) fn vrf(bytes: &[u8]) -> bool {
    let Some((key, rest)) = bytes.split_first_chunk::<32>() else {
        return false;
    };
    let Some((proof, alpha)) = rest.split_first_chunk::<80>() else {
        return false;
    };
    let (Ok(key), Ok(read)) = (VrfPublicKey::parse(key), VrfProof::parse(proof)) else {
        return false;
    };
    assert_eq!(read.bytes(), proof);
    key.verify(alpha, &read).is_ok()
}

/// An event entry and its sealed content, under a known key: there is one way of sealing a content with a nonce.
pub(crate) fn sealed(bytes: &[u8]) -> bool {
    let Some((entry, sealed)) = bytes.split_first_chunk::<81>() else {
        return false;
    };
    let Ok(Entry::Event(event)) = Entry::parse(entry) else {
        return false;
    };
    let till = Name::new("till").expect("a good name");
    let sealer = CustomerKey(CUSTOMER_KEY).for_producer(&till).sealer();
    let Ok(opened) = sealer.open(&event, sealed) else {
        return false;
    };
    assert_eq!(commitment(&opened.opening, &opened.content), event.commitment);
    let nonce = sealed.get(1..).and_then(<[u8]>::first_chunk::<24>);
    let nonce = nonce.expect("what opens has a nonce");
    let mut again = Vec::new();
    sealer.seal(entry, &opened.opening, &opened.content, nonce, &mut again);
    assert_eq!(again, sealed);
    true
}

/// The policy that what is in the corpus is checked against.
fn trusted() -> Policy {
    POLICY.parse().expect("fuzz/policy.txt is a policy")
}

/// Dossiers: those that are read are checked too, down to the last proof.
pub(crate) fn dossier(bytes: &[u8]) -> bool {
    let kind = kind_of(bytes);
    let Ok(read) = Dossier::parse(bytes) else {
        return false;
    };
    assert_eq!(read.to_bytes(), bytes);
    assert!(kind.is_some());
    if let Ok(verified) = read.verify(&trusted()) {
        assert_eq!(
            (&verified.customer, &verified.ledger),
            (&read.customer, &read.ledger)
        );
    }
    true
}

/// Erasure certificates, as dossiers.
pub(crate) fn certificate(bytes: &[u8]) -> bool {
    let Ok(read) = Certificate::parse(bytes) else {
        return false;
    };
    assert_eq!(read.to_bytes(), bytes);
    if let Ok(verified) = read.verify(&trusted()) {
        assert_eq!(
            (&verified.customer, &verified.ledger),
            (&read.customer, &read.ledger)
        );
    }
    true
}

/// Contents of events: the fast reader and the slow one agree (an assertion of theirs), and so do the two ways in.
pub(crate) fn content(bytes: &[u8]) -> bool {
    let read = match sharetrail_schemas::read(bytes) {
        Ok(read) => read,
        Err(error) => {
            assert!(!error.to_string().is_empty() && !error.is_transient());
            return false;
        }
    };
    assert_eq!(read.bytes(), bytes);
    assert!(read.version() > 0 && check_customer_id(read.customer()).is_ok());
    let _ = read.detail();
    let time = read.time().seconds();
    let early = Timestamp::from_unix(time.saturating_sub(MAX_AHEAD_SECONDS + 1));
    let parsed = sharetrail_schemas::parse(bytes, early);
    assert!(matches!(parsed, Err(ContentError::TooFarAhead { .. })));
    let parsed = sharetrail_schemas::parse(bytes, Timestamp::from_unix(time));
    assert_eq!(parsed, Ok(read));
    true
}

/// What is read from a message reads back from what is written.
fn reads_back<T: PartialEq + Debug>(
    bytes: &[u8],
    parse: fn(&[u8]) -> Result<T, LedgerError>,
    write: fn(&T) -> Vec<u8>,
) -> Option<T> {
    let read = parse(bytes).ok()?;
    let written = write(&read);
    // A message at the limit may leave out what is then written as null.
    if written.len() <= MAX_MESSAGE_BYTES {
        assert_eq!(parse(&written).ok().as_ref(), Some(&read));
    }
    Some(read)
}

/// Messages between hosts and producers.
pub(crate) fn wire(bytes: &[u8]) -> bool {
    let heads = reads_back(bytes, Heads::parse, Heads::to_bytes);
    let control = reads_back(bytes, Control::parse, Control::to_bytes);
    let taken = [
        heads.is_some(),
        control.is_some(),
        reads_back(bytes, Held::parse, Held::to_bytes).is_some(),
        reads_back(bytes, ControlReply::parse, ControlReply::to_bytes).is_some(),
    ];
    assert!(control.is_none_or(|control| !control.told().is_empty()));
    for part in heads.map(Heads::messages).unwrap_or_default() {
        assert!(part.len() > MAX_MESSAGE_BYTES || Heads::parse(&part).is_ok());
    }
    taken.contains(&true)
}
