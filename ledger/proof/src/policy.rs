//! The trust policy: which keys, ledger and witnesses a verifier believes (C2SP tlog-policy, with two lines of ours).
//!
//! In scope: the file's text, quorum rules, opening a checkpoint against them. A policy is a C2SP tlog-policy file;
//! what C2SP has no line for stands in comment lines that other tools pass over:
//! `#sharetrail ledger <name> <ledger id>` and `#sharetrail auditor <vkey>`.
//! Out of scope: how a policy reaches the verifier. It is the root of trust: get it from somebody you believe.
//! Trust: everything in it is believed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, VerifiedCheckpoint, log_origin};
use crate::name::{LedgerId, Name, Shard, decimal};
use crate::note::{KeyKind, Note, NoteError, VerifierKey};

/// The most lines that a policy may have: two logs for each of 4,096 shards, and room for the rest.
pub const MAX_POLICY_LINES: usize = 16_384;

/// What is wrong with a policy, or with a checkpoint under a policy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A line that tlog-policy does not allow.
    #[error("policy line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What the format wants.
        reason: &'static str,
    },
    /// No `quorum` line, or no `#sharetrail ledger` line.
    #[error("the policy has no {what} line")]
    Missing {
        /// The line that is wanted.
        what: &'static str,
    },
    /// The checkpoint is of a log that the policy does not name.
    #[error("the log {origin:?} is not in the policy")]
    UnknownLog {
        /// The checkpoint's origin.
        origin: String,
    },
    /// The checkpoint is not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint has extension lines; those of record logs and map logs have none.
    #[error("the checkpoint has extension lines, and a ledger's logs have none")]
    Extension,
    /// Too few of the policy's witnesses cosigned.
    #[error("the quorum {quorum:?} is not met: {cosigned} of the policy's witnesses cosigned")]
    Quorum {
        /// The quorum's name in the policy.
        quorum: String,
        /// How many witnesses did.
        cosigned: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Member {
    Witness(VerifierKey),
    Group { threshold: usize, members: Vec<String> },
}

/// A trust policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    ledger: Name,
    ledger_id: LedgerId,
    logs: BTreeMap<String, VerifierKey>,
    auditors: Vec<VerifierKey>,
    names: BTreeMap<String, Member>,
    quorum: Option<String>,
}

impl Policy {
    /// A policy that trusts the logs of one ledger and wants no witness.
    pub fn new(ledger: Name, ledger_id: LedgerId, logs: impl IntoIterator<Item = VerifierKey>) -> Self {
        let logs = logs.into_iter().map(|key| (key.name().to_owned(), key)).collect();
        Self {
            ledger,
            ledger_id,
            logs,
            auditors: Vec::new(),
            names: BTreeMap::new(),
            quorum: None,
        }
    }

    /// The ledger's name.
    pub fn ledger(&self) -> &Name {
        &self.ledger
    }

    /// The ledger's id, which its genesis entries must state.
    pub fn ledger_id(&self) -> &LedgerId {
        &self.ledger_id
    }

    /// The key of the log with this very origin.
    pub fn log_key(&self, origin: &str) -> Option<&VerifierKey> {
        self.logs.get(origin)
    }

    /// The keys of all logs, by origin.
    pub fn logs(&self) -> impl Iterator<Item = &VerifierKey> {
        self.logs.values()
    }

    /// Whether the policy knows the record log of this shard.
    pub fn has_shard(&self, shard: Shard) -> bool {
        self.logs.contains_key(&log_origin(&self.ledger, shard))
    }

    /// The auditors whose cosignature on a map log says that they recomputed it.
    pub fn auditors(&self) -> &[VerifierKey] {
        &self.auditors
    }

    /// Opens a checkpoint note: parsed, its origin known, signed by that log, the quorum met.
    ///
    /// Spec: C2SP tlog-checkpoint, tlog-policy. Signatures of unknown keys are passed over, as signed-note says.
    pub fn open(&self, note: &str) -> Result<VerifiedCheckpoint, PolicyError> {
        let note = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        let unknown = || PolicyError::UnknownLog {
            origin: checkpoint.origin.clone(),
        };
        note.verify(self.logs.get(&checkpoint.origin).ok_or_else(unknown)?)?;
        if !checkpoint.extensions.is_empty() {
            return Err(PolicyError::Extension);
        }
        let witnesses = self.names.iter().filter_map(|(name, member)| match member {
            Member::Witness(key) => Some((name.as_str(), key)),
            Member::Group { .. } => None,
        });
        let cosignatures = cosignatures_of(&note, witnesses)?;
        let auditors = cosignatures_of(&note, self.auditors.iter().map(|key| (key.name(), key)))?;
        self.check_quorum(&cosignatures)?;
        Ok(VerifiedCheckpoint::new(checkpoint, cosignatures, auditors))
    }

    fn check_quorum(&self, cosignatures: &[(String, u64)]) -> Result<(), PolicyError> {
        let Some(quorum) = &self.quorum else { return Ok(()) };
        if self.is_met(quorum, cosignatures) {
            return Ok(());
        }
        Err(PolicyError::Quorum {
            quorum: quorum.clone(),
            cosigned: cosignatures.len(),
        })
    }

    /// Groups name only what stands above them, so this ends.
    fn is_met(&self, name: &str, cosignatures: &[(String, u64)]) -> bool {
        match self.names.get(name) {
            Some(Member::Witness(_)) => cosignatures.iter().any(|(witness, _)| witness == name),
            Some(Member::Group { threshold, members }) => {
                members
                    .iter()
                    .filter(|member| self.is_met(member, cosignatures))
                    .count()
                    >= *threshold
            }
            None => false,
        }
    }
}

/// Which of these keys cosigned, under the names given with them, and when. A wrong signature under a known key is an
/// error, not a missing one.
fn cosignatures_of<'k>(
    note: &Note<'_>,
    keys: impl Iterator<Item = (&'k str, &'k VerifierKey)>,
) -> Result<Vec<(String, u64)>, PolicyError> {
    let mut found = Vec::new();
    for (name, key) in keys {
        match note.cosigned(key) {
            Ok(time) => found.push((name.to_owned(), time)),
            Err(NoteError::Unsigned { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# Whoever verifies a dossier of {} believes what stands here, and nothing else.",
            self.ledger
        )?;
        writeln!(f, "#sharetrail ledger {} {}", self.ledger, self.ledger_id)?;
        for key in self.logs.values() {
            writeln!(f, "log {key}")?;
        }
        for key in &self.auditors {
            writeln!(f, "#sharetrail auditor {key}")?;
        }
        for (name, member) in self
            .names
            .iter()
            .filter(|(_, member)| matches!(member, Member::Witness(_)))
        {
            if let Member::Witness(key) = member {
                writeln!(f, "witness {name} {key}")?;
            }
        }
        // Groups may build on each other; writing them by the depth of that keeps "defined on a preceding line" true.
        let mut groups: Vec<_> = self
            .names
            .iter()
            .filter(|(_, m)| matches!(m, Member::Group { .. }))
            .collect();
        groups.sort_by_key(|(name, _)| self.depth(name));
        for (name, member) in groups {
            if let Member::Group { threshold, members } = member {
                writeln!(f, "group {name} {threshold} {}", members.join(" "))?;
            }
        }
        writeln!(f, "quorum {}", self.quorum.as_deref().unwrap_or("none"))
    }
}

impl Policy {
    fn depth(&self, name: &str) -> usize {
        match self.names.get(name) {
            Some(Member::Group { members, .. }) => {
                1 + members.iter().map(|m| self.depth(m)).max().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

impl FromStr for Policy {
    type Err = PolicyError;
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let mut reader = Reader::default();
        for (number, line) in text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate() {
            let number = number + 1;
            if number > MAX_POLICY_LINES {
                return Err(PolicyError::Line {
                    line: number,
                    reason: "too many lines",
                });
            }
            reader
                .line(line)
                .map_err(|reason| PolicyError::Line { line: number, reason })?;
        }
        reader.finish()
    }
}

#[derive(Default)]
struct Reader {
    ledger: Option<(Name, LedgerId)>,
    logs: BTreeMap<String, VerifierKey>,
    auditors: Vec<VerifierKey>,
    names: BTreeMap<String, Member>,
    publics: Vec<[u8; 32]>,
    /// `none` stands for no quorum; no witness or group may be called that.
    quorum: Option<String>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        if line.bytes().any(|b| (b < 0x20 && b != b'\t') || b == 0x7f) {
            return Err("a control character");
        }
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            ["#sharetrail", "ledger", name, id] => self.ledger(name, id),
            ["#sharetrail", "auditor", key] => self.auditor(key),
            ["#sharetrail", ..] => Err("expected '#sharetrail ledger NAME ID' or '#sharetrail auditor VKEY'"),
            ["log", key] | ["log", key, _] => self.log(key),
            ["witness", name, key] | ["witness", name, key, _] => self.witness(name, key),
            ["group", name, threshold, members @ ..] => self.group(name, threshold, members),
            ["quorum", name] => self.quorum(name),
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            _ => Err("expected log, witness, group, quorum or a comment"),
        }
    }

    fn ledger(&mut self, name: &str, id: &str) -> Result<(), &'static str> {
        let name = name.parse().map_err(|_| "not a ledger's name")?;
        let id = id.parse().map_err(|_| "not a ledger's id")?;
        if self.ledger.replace((name, id)).is_some() {
            Err("a second ledger")
        } else {
            Ok(())
        }
    }

    fn known_once(&mut self, key: &VerifierKey) -> Result<(), &'static str> {
        if self.publics.contains(key.public()) {
            return Err("the same public key stands above");
        }
        self.publics.push(*key.public());
        Ok(())
    }

    fn log(&mut self, key: &str) -> Result<(), &'static str> {
        let key: VerifierKey = key.parse().map_err(|_| "not a vkey")?;
        if key.kind() != KeyKind::Note {
            return Err("not the key of a log");
        }
        self.known_once(&key)?;
        let again = self.logs.insert(key.name().to_owned(), key).is_some();
        if again {
            Err("a second key for the same origin")
        } else {
            Ok(())
        }
    }

    fn auditor(&mut self, key: &str) -> Result<(), &'static str> {
        let key: VerifierKey = key.parse().map_err(|_| "not a vkey")?;
        if key.kind() != KeyKind::Cosignature {
            return Err("not the cosignature key of an auditor");
        }
        // What is cosigned does not hold the signer's name: a witness's cosignature would pass for an auditor's, which
        // says more.
        self.known_once(&key)?;
        self.auditors.push(key);
        Ok(())
    }

    fn define(&mut self, name: &str, member: Member) -> Result<(), &'static str> {
        if name == "none" || self.names.contains_key(name) {
            return Err("the name is taken");
        }
        self.names.insert(name.to_owned(), member);
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str) -> Result<(), &'static str> {
        let key: VerifierKey = key.parse().map_err(|_| "not a vkey")?;
        if key.kind() != KeyKind::Cosignature {
            return Err("not the cosignature key of a witness");
        }
        self.known_once(&key)?;
        self.define(name, Member::Witness(key))
    }

    fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), &'static str> {
        let mut seen: Vec<&str> = Vec::new();
        for member in members {
            if !self.names.contains_key(*member) || seen.contains(member) {
                return Err("a member must stand above, and once");
            }
            seen.push(member);
        }
        // C2SP: a name is a member of one group at most, so that nobody counts twice.
        let taken = |m: &&str| {
            self.names
                .values()
                .any(|n| matches!(n, Member::Group { members, .. } if members.iter().any(|x| x == m)))
        };
        if members.iter().any(taken) {
            return Err("a member of another group already");
        }
        let threshold = match threshold {
            "any" => 1,
            "all" => members.len(),
            number => decimal(number)
                .and_then(|n| usize::try_from(n).ok())
                .ok_or("expected any, all or a number")?,
        };
        if threshold == 0 || threshold > members.len() {
            return Err("the threshold does not fit the members");
        }
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.define(name, Member::Group { threshold, members })
    }

    fn quorum(&mut self, name: &str) -> Result<(), &'static str> {
        if name != "none" && !self.names.contains_key(name) {
            return Err("the quorum must stand above");
        }
        if self.quorum.replace(name.to_owned()).is_some() {
            Err("a second quorum")
        } else {
            Ok(())
        }
    }

    fn finish(self) -> Result<Policy, PolicyError> {
        let (ledger, ledger_id) = self.ledger.ok_or(PolicyError::Missing {
            what: "#sharetrail ledger",
        })?;
        let quorum = self.quorum.ok_or(PolicyError::Missing { what: "quorum" })?;
        let quorum = Some(quorum).filter(|name| name != "none");
        let (logs, auditors, names) = (self.logs, self.auditors, self.names);
        Ok(Policy {
            ledger,
            ledger_id,
            logs,
            auditors,
            names,
            quorum,
        })
    }
}
