//! Dossiers that were made for a sample, held to the ledger as it was audited.
//!
//! In scope: that each verifies, that its checkpoints are of the audited history, that each customer of the sample is the
//! subject of one. Out of scope: what a dossier proves by itself (the proof crate). Trust: the policy, and the roots that
//! the audit found right.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sharetrail_proof::checkpoint::VerifiedCheckpoint;
use sharetrail_proof::dossier::{
    Dossier, MAX_DOSSIER_BYTES, VerifiedContent, VerifiedDossier, VerifiedEvent,
};
use sharetrail_proof::name::Label;

use super::Audit;
use super::error::{At, AuditError};
use super::fault::{Fault, FaultKind, LogKind};
use super::sample::Sampled;
use super::tree::Tree;

/// The files of a folder, by name.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let mut files = Vec::new();
    for item in fs::read_dir(folder).at("read", folder)? {
        let path = item.at("read", folder)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// At most one byte more than a dossier may have: that many are refused as too many.
fn read(path: &Path) -> Result<Vec<u8>, AuditError> {
    let (file, mut bytes) = (File::open(path).at("read", path)?, Vec::new());
    let limit = MAX_DOSSIER_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).at("read", path)?;
    Ok(bytes)
}

/// Checks every file of a folder; the faults, and how many dossiers there are.
pub(crate) fn check(
    audit: &Audit<'_>,
    folder: &Path,
    sample: &[Sampled],
) -> Result<(Vec<Fault>, u64), AuditError> {
    let (mut faults, mut labels, mut count) = (Vec::new(), BTreeMap::new(), 0);
    for path in files_of(folder)? {
        count += 1;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let bytes = read(&path)?;
        match Dossier::parse(&bytes).and_then(|dossier| dossier.verify(audit.policy)) {
            Ok(verified) => {
                for (label, leaves) in shown(&verified) {
                    let most: &mut u64 = labels.entry(label).or_default();
                    *most = leaves.max(*most);
                }
                faults.extend(unreadable(&name, &verified));
                faults.extend(places(audit, &name, &verified)?);
            }
            Err(error) => faults.push(Fault::of_file(&name, FaultKind::Dossier, error.to_string())),
        }
    }
    faults.extend(missing(sample, &labels));
    Ok((faults, count))
}

/// How many leaves a dossier shows under each label.
fn shown(verified: &VerifiedDossier) -> impl Iterator<Item = (Label, u64)> {
    verified.generations.iter().map(move |one| {
        let events = verified.events.iter();
        let events = events.filter(|event| event.generation == one.generation).count();
        (one.label, events as u64 + u64::from(one.erased_at.is_some()))
    })
}

/// The events that do not open though nothing was erased: the content that was on record is withheld, or another one.
fn unreadable(name: &str, verified: &VerifiedDossier) -> Vec<Fault> {
    let events = verified.events.iter();
    let events = events.filter(|event| event.content == VerifiedContent::Unreadable);
    let fault = |event: &VerifiedEvent| {
        let what = format!(
            "signed by {}: nothing was erased, and it does not open",
            event.producer
        );
        let mut fault = Fault::at(
            event.shard,
            LogKind::Record,
            event.index.0,
            FaultKind::Dossier,
            what,
        );
        fault.file = Some(name.to_owned());
        fault
    };
    events.map(fault).collect()
}

/// The customers of the sample that no dossier is about, or only one with fewer leaves than when the sample was drawn.
fn missing(sample: &[Sampled], labels: &BTreeMap<Label, u64>) -> impl Iterator<Item = Fault> {
    // Of an erased label nobody, not even the operator, can say any more whose it was.
    let customers = sample.iter().filter(|one| one.party.is_none() && !one.erased);
    let without = customers.filter(move |one| labels.get(&one.label).is_none_or(|shown| *shown < one.count));
    without.map(|one| Fault {
        kind: FaultKind::SampleMissing,
        shard: Some(one.shard),
        log: None,
        index: None,
        file: None,
        what: format!(
            "no dossier shows whose label {} of the sample is, with its {} leaves",
            one.label, one.count
        ),
    })
}

/// Holds the checkpoints of a dossier to those that were audited.
fn places(audit: &Audit<'_>, name: &str, verified: &VerifiedDossier) -> Result<Vec<Fault>, AuditError> {
    let records = verified
        .checkpoints
        .iter()
        .map(|(shard, checkpoint)| (LogKind::Record, shard.index(), checkpoint));
    let maps = verified
        .maps
        .iter()
        .map(|map| (LogKind::Map, map.shard.index(), &map.checkpoint));
    let mut faults = Vec::new();
    for (log, shard, checkpoint) in records.chain(maps) {
        if let Some((kind, what)) = place(audit, log, shard, checkpoint)? {
            let mut fault = Fault::at(shard, log, checkpoint.size().0, kind, what);
            fault.file = Some(name.to_owned());
            faults.push(fault);
        }
    }
    Ok(faults)
}

fn place(
    audit: &Audit<'_>,
    log: LogKind,
    shard: u32,
    checkpoint: &VerifiedCheckpoint,
) -> Result<Option<(FaultKind, String)>, AuditError> {
    let (size, root) = (checkpoint.size(), checkpoint.root());
    let Some(audited) = audit.checkpoint(log, shard) else {
        let what = format!("its checkpoint of {size} leaves cannot be compared: none was audited");
        return Ok(Some((FaultKind::DossierLater, what)));
    };
    if size > audited.size() {
        let what = format!(
            "its checkpoint has {size} leaves, and {} were audited",
            audited.size()
        );
        return Ok(Some((FaultKind::DossierLater, what)));
    }
    let source = audit.source;
    let tree = Tree { source, shard, log };
    let fault = match tree.extends((size, root), (audited.size(), audited.root()))? {
        Some(true) => None,
        Some(false) => {
            let what = format!("its checkpoint of {size} leaves has a root that the audited log never had");
            Some((FaultKind::DossierFork, what))
        }
        None => {
            let what =
                format!("the tiles do not show that the audited log extends its checkpoint of {size} leaves");
            Some((FaultKind::Tile, what))
        }
    };
    Ok(fault)
}
