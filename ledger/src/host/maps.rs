//! Which roots a shard's map log has, decided once for all hosts.
//!
//! A map root follows from the log and from the *moment* at which it was sealed: a size and a time. So that all hosts sign
//! the same map log, the moments stand in the register on the bus, and change only from a known revision to the next:
//!
//! ```text
//! key map-<shard>: {"checkpoint": text of the map log's checkpoint, "moments": [[size, Unix seconds], …], "host": who wrote it}
//! moments: those of the last leaves, at most 512, the last leaf's last
//! GET <peer>/map/<shard>/checkpoint, <peer>/map/<shard>/tile/entries/…    earlier ones, C2SP tlog-tiles
//! ```
//! In scope: reading and writing that key, bringing moments from other hosts, putting back what the bus lost. Out of scope:
//! folding, signing and publishing (the mapper). Trust: the register may be lost or rolled back, so a map log that any
//! host at work has signed goes before it; a peer may lie, so the mapper compares what comes with the registered root.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use sharetrail_proof::checkpoint::{Checkpoint, log_origin, map_origin};
use sharetrail_proof::hash::TreeSize;
use sharetrail_proof::map::MapLeaf;
use sharetrail_proof::name::{Name, Shard};
use sharetrail_proof::note::Note;
use sharetrail_proof::tiles::{Bundle, FULL_WIDTH};
use tokio::runtime::Runtime;

use super::lease::Freshness;
use super::peer::Peer;
use super::post::Common;
use crate::bus::BusNames;
use crate::engine::{held, runtime_for};
use crate::error::LedgerError;
use crate::mapper::{MapRegister, Moment, Registered};
use crate::register::{IncidentKind, Register};

/// Moments that the register holds at most.
const MOMENTS_MAX: usize = 512;
/// The longest entry that is looked at: 512 moments of two numbers each, and a checkpoint.
const ENTRY_BYTES_MAX: usize = 64 << 10;

/// A shard's entry.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MapEntry {
    checkpoint: String,
    moments: Vec<(u64, u64)>,
    /// Who wrote it: two hosts' entries must differ.
    host: Name,
}

/// The map logs of a ledger, in the register and on other hosts.
pub(crate) struct Maps {
    common: Arc<Common>,
    certainties: Vec<Arc<Freshness>>,
    shards: Vec<MapKey>,
    /// Which peer is asked first the next time: what one gives may turn out to be wrong.
    turn: AtomicUsize,
}

/// A shard's key.
struct MapKey {
    /// The origins of the shard's map log and of its record log.
    origins: (String, String),
    place: Mutex<Place>,
}

struct Place {
    runtime: Runtime,
    /// What was read or written last; none where that is not known.
    met: Option<Met>,
    /// The term in which other hosts were last asked how long their map logs are.
    asked_in: Option<u64>,
}

#[derive(Clone, Copy)]
struct Met {
    /// 0 where there is no entry.
    revision: u64,
    /// Leaves of the registered map log; 0 where none is registered.
    size: TreeSize,
}

impl Maps {
    pub(super) fn new(common: &Arc<Common>, certainties: Vec<Arc<Freshness>>) -> Result<Self, LedgerError> {
        let (ledger, count) = (&common.ledger, common.ledger.shards());
        let key = |shard| {
            let named = Shard::new(shard, count).map_err(|error| LedgerError::Invalid(error.to_string()))?;
            Ok(MapKey {
                origins: (map_origin(ledger.name(), named), log_origin(ledger.name(), named)),
                place: Mutex::new(Place {
                    runtime: runtime_for(ledger)?,
                    met: None,
                    asked_in: None,
                }),
            })
        };
        Ok(Self {
            common: Arc::clone(common),
            certainties,
            shards: (0..count).map(key).collect::<Result<_, LedgerError>>()?,
            turn: AtomicUsize::new(0),
        })
    }

    fn key(&self, shard: u32) -> Result<&MapKey, LedgerError> {
        let unknown = || LedgerError::Invalid(format!("the ledger has no shard {shard}"));
        self.shards.get(shard as usize).ok_or_else(unknown)
    }

    /// Writes an entry in the place of the one that was met; whether nobody else had.
    fn write(&self, shard: u32, place: &mut Place, next: &Registered) -> Result<bool, LedgerError> {
        let Some(met) = place.met.take() else {
            return Ok(false);
        };
        let entry = MapEntry {
            checkpoint: next.checkpoint.clone(),
            moments: last_pairs(&next.moments),
            host: self.common.ledger.host()?,
        };
        let value = serde_json::to_vec(&entry).expect("strings and numbers always serialise");
        let written = self
            .common
            .nats
            .update(&BusNames::map_key(shard), value, met.revision);
        let Ok(revision) = place.runtime.block_on(written)? else {
            return Ok(false);
        };
        place.met = Some(Met {
            revision,
            size: size_of(&next.checkpoint),
        });
        Ok(true)
    }

    /// Leaves of the map log that this host has signed and published.
    fn published(&self, shard: u32) -> TreeSize {
        let folder = self.common.ledger.folder().map(shard);
        let note = std::fs::read_to_string(folder.join("checkpoint")).unwrap_or_default();
        Note::parse(&note).map_or(TreeSize(0), |note| size_of(note.text()))
    }

    /// The longest map log that another host at work has signed, if it is longer than `than`.
    fn longer_elsewhere(
        &self,
        shard: u32,
        place: &Place,
        than: TreeSize,
    ) -> Result<Option<Registered>, LedgerError> {
        if self.common.shares {
            // Who is at work may not be known yet, just after the start.
            self.common.hosts.look(&place.runtime)?;
        }
        let (mut longest, mut found) = (than, None);
        for peer in self.common.peers()? {
            // A peer that does not answer is not waited for: it may be gone for good.
            let Ok(Some(note)) = peer.map_note(shard) else {
                continue;
            };
            let Some(checkpoint) = self.signed(shard, &note)?.filter(|one| one.size > longest) else {
                continue;
            };
            let to = checkpoint.size.0;
            let from = to.saturating_sub(MOMENTS_MAX as u64);
            match self.moments_from(&peer, shard, from, to) {
                Ok(moments) => {
                    longest = checkpoint.size;
                    let checkpoint = checkpoint.to_text();
                    found = Some(Registered { checkpoint, moments });
                }
                Err(error @ LedgerError::Peer { .. }) => self.common.notice(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// What a note states, if the shard's map log signed it.
    fn signed(&self, shard: u32, note: &str) -> Result<Option<Checkpoint>, LedgerError> {
        let (origin, _) = &self.key(shard)?.origins;
        let policy = self.common.ledger.policy()?;
        let (Some(key), Ok(note)) = (policy.log_key(origin), Note::parse(note)) else {
            return Ok(None);
        };
        let is_signed = note.verify(key).is_ok();
        Ok(checkpoint_of(note.text(), origin).filter(|_| is_signed))
    }

    /// The moments of leaves `from` to `to` of a peer's map log.
    fn moments_from(&self, peer: &Peer, shard: u32, from: u64, to: u64) -> Result<Vec<Moment>, LedgerError> {
        let (map, record) = &self.key(shard)?.origins;
        let none = || peer.wrong(format!("it has no map log of shard {shard}"));
        let note = peer.map_note(shard)?.ok_or_else(none)?;
        let note = Note::parse(&note).ok();
        let stated = note.as_ref().and_then(|note| checkpoint_of(note.text(), map));
        let holds = stated.ok_or_else(none)?.size;
        if holds.0 < to {
            return Err(peer.wrong(format!("its map log has {holds} leaves, and {to} are wanted")));
        }
        let width = u64::from(FULL_WIDTH);
        let mut moments: Vec<Moment> = Vec::new();
        for index in from / width..to.div_ceil(width) {
            if self.common.stop.load(Ordering::Acquire) {
                return Err(LedgerError::Stopped("it is to end".into()));
            }
            let bundle = Bundle::at(index, holds).ok_or_else(none)?;
            let leaves = (index * width..).zip(peer.map_bundle(shard, bundle)?);
            for (number, leaf) in leaves.filter(|(number, _)| (from..to).contains(number)) {
                let moment = moment_of(&leaf, record)
                    .filter(|moment| moments.last().is_none_or(|last| last.size < moment.size));
                let wrong = || peer.wrong(format!("leaf {number} of its map log of shard {shard} is none"));
                moments.push(moment.ok_or_else(wrong)?);
            }
        }
        Ok(moments)
    }

    /// Tells that the register knew less than was signed here, and was put right.
    fn tell_put_back(&self, shard: u32, stood: TreeSize, signed: TreeSize) -> Result<(), LedgerError> {
        let what =
            format!("the register on the bus stood at {stood} map roots, and {signed} were signed; put back");
        self.common.notice(format!("shard {shard}: {what}"));
        let register = self.common.ledger.folder().register(shard);
        Register::note_incident(&register, IncidentKind::RegisterRolledBack, what)
    }
}

impl MapRegister for Maps {
    fn registered(&self, shard: u32) -> Result<Option<Registered>, LedgerError> {
        let key = self.key(shard)?;
        let mut place = held(&key.place);
        place.met = None;
        let found = place
            .runtime
            .block_on(self.common.nats.entry(&BusNames::map_key(shard)))?;
        let revision = found.as_ref().map_or(0, |found| found.revision);
        let parsed = found.map(|found| parse(&found.value, &key.origins.0)).transpose();
        // What is no entry counts as none: it is put back from a map log, and told.
        let registered = parsed.unwrap_or_else(|what| {
            let told = format!("shard {shard}: the register's entry of the map log counts as none: {what}");
            self.common.notice(told);
            None
        });
        let size = registered.as_ref().map(|one| size_of(&one.checkpoint));
        place.met = Some(Met {
            revision,
            size: size.unwrap_or(TreeSize(0)),
        });
        Ok(registered)
    }

    fn register(&self, shard: u32, next: &Registered) -> Result<bool, LedgerError> {
        let mut place = held(&self.key(shard)?.place);
        let Some(met) = place.met else { return Ok(false) };
        if size_of(&next.checkpoint) <= met.size {
            return Ok(false);
        }
        let (term, published) = (self.certainties[shard as usize].terms(), self.published(shard));
        let is_behind = met.size < published;
        // Within a term nobody else adds a root. Before it another host may have, and the bus may have lost that.
        if is_behind || met.size.0 == 0 || place.asked_in != Some(term) {
            let known = met.size.max(published);
            if let Some(longer) = self.longer_elsewhere(shard, &place, known)? {
                if self.write(shard, &mut place, &longer)? {
                    self.tell_put_back(shard, met.size, size_of(&longer.checkpoint))?;
                }
                return Ok(false);
            }
            place.asked_in = Some(term);
        }
        let written = self.write(shard, &mut place, next)?;
        if written && is_behind {
            self.tell_put_back(shard, met.size, published)?;
        }
        Ok(written)
    }

    fn may_extend(&self, shard: u32) -> bool {
        let fresh = self.certainties.get(shard as usize);
        fresh.is_some_and(|fresh| fresh.is_certain())
    }

    fn fetch(&self, shard: u32, from: u64, to: u64) -> Result<Vec<Moment>, LedgerError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let mut peers = self.common.peers()?;
        if !peers.is_empty() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % peers.len();
            peers.rotate_left(turn);
        }
        let mut told = Vec::new();
        for peer in &peers {
            match self.moments_from(peer, shard, from, to) {
                Err(error @ LedgerError::Peer { .. }) => told.push(error.to_string()),
                other => return other,
            }
        }
        let urls: Vec<&str> = peers.iter().map(Peer::url).collect();
        let url = if urls.is_empty() {
            "none is known".into()
        } else {
            urls.join(", ")
        };
        let last = to - 1;
        let what = format!(
            "shard {shard}: the moments of map roots {from} to {last} are missing: {}",
            told.join("; ")
        );
        Err(LedgerError::Peer { url, what })
    }
}

/// The last moments, as they are written.
fn last_pairs(moments: &[Moment]) -> Vec<(u64, u64)> {
    let first = moments.len().saturating_sub(MOMENTS_MAX);
    let pair = |moment: &Moment| (moment.size.0, moment.time);
    moments[first..].iter().map(pair).collect()
}

/// The moment of a leaf of a map log; none if it is no leaf of this shard's.
fn moment_of(leaf: &[u8], record_origin: &str) -> Option<Moment> {
    let leaf = MapLeaf::parse(std::str::from_utf8(leaf).ok()?).ok()?;
    let moment = Moment {
        size: leaf.checkpoint.size,
        time: leaf.time,
    };
    (leaf.checkpoint.origin == record_origin).then_some(moment)
}

/// A checkpoint of this origin, without further lines and written in the one way.
fn checkpoint_of(text: &str, origin: &str) -> Option<Checkpoint> {
    let checkpoint = Checkpoint::parse(text).ok()?;
    let fits =
        checkpoint.origin == origin && checkpoint.extensions.is_empty() && checkpoint.to_text() == text;
    fits.then_some(checkpoint)
}

fn size_of(checkpoint: &str) -> TreeSize {
    Checkpoint::parse(checkpoint).map_or(TreeSize(0), |checkpoint| checkpoint.size)
}

/// What an entry says, or what is wrong with it.
fn parse(bytes: &[u8], origin: &str) -> Result<Registered, String> {
    if bytes.len() > ENTRY_BYTES_MAX {
        return Err(format!("it has {} bytes", bytes.len()));
    }
    let entry: MapEntry = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let checkpoint = checkpoint_of(&entry.checkpoint, origin);
    let size = checkpoint
        .ok_or("it holds no checkpoint of the shard's map log")?
        .size;
    let count = entry.moments.len();
    if count == 0 || count > MOMENTS_MAX || count as u64 > size.0 {
        return Err(format!("it holds {count} moments of {size} map roots"));
    }
    // Each root is of a larger log than the one before, whose first leaf was there from the beginning.
    let rises = entry.moments.is_sorted_by(|one, other| one.0 < other.0);
    if !rises || entry.moments[0].0 == 0 {
        return Err("the sizes of its moments do not rise".into());
    }
    let moment = |(size, time)| Moment {
        size: TreeSize(size),
        time,
    };
    Ok(Registered {
        checkpoint: entry.checkpoint,
        moments: entry.moments.into_iter().map(moment).collect(),
    })
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::hash::Hash;

    use super::*;

    const ORIGIN: &str = "shop.example/map/0of1";

    fn text(origin: &str, size: u64) -> String {
        Checkpoint::new(origin.into(), TreeSize(size), Hash([7; 32])).to_text()
    }

    fn bytes(checkpoint: &str, moments: &[(u64, u64)]) -> Vec<u8> {
        let entry = MapEntry {
            checkpoint: checkpoint.into(),
            moments: moments.to_vec(),
            host: Name::new("host-a").unwrap(),
        };
        serde_json::to_vec(&entry).unwrap()
    }

    #[test]
    fn what_is_registered_reads_back() {
        let read = parse(&bytes(&text(ORIGIN, 3), &[(5, 100), (9, 90)]), ORIGIN).unwrap();
        assert_eq!(read.checkpoint, text(ORIGIN, 3));
        assert_eq!(last_pairs(&read.moments), [(5, 100), (9, 90)]);
    }

    /// The fault: an entry of another shard, or one that the bus made up, moves this host's map log.
    #[test]
    fn what_is_no_entry_of_the_shard_counts_as_none() {
        let good = text(ORIGIN, 3);
        for (checkpoint, moments) in [
            (text("shop.example/map/0of2", 3), vec![(5, 1)]),
            (text("shop.example/log/0of1", 3), vec![(5, 1)]),
            (format!("{good}a further line\n"), vec![(5, 1)]),
            (String::new(), vec![(5, 1)]),
            (good.clone(), vec![]),
            (good.clone(), vec![(0, 1)]),
            (good.clone(), vec![(5, 1), (5, 2)]),
            (good.clone(), vec![(5, 1), (4, 2)]),
            (good.clone(), vec![(1, 1), (2, 1), (3, 1), (4, 1)]),
        ] {
            assert!(
                parse(&bytes(&checkpoint, &moments), ORIGIN).is_err(),
                "{checkpoint:?} {moments:?}"
            );
        }
        let good = bytes(&good, &[(5, 1)]);
        for end in 0..good.len() {
            assert!(parse(&good[..end], ORIGIN).is_err(), "{end}");
        }
        let mut long = good;
        long.resize(ENTRY_BYTES_MAX + 1, b' ');
        assert!(parse(&long, ORIGIN).is_err());
    }

    #[test]
    fn only_the_last_moments_are_written_and_they_fit() {
        let moments: Vec<Moment> = (1..=600)
            .map(|number| Moment {
                size: TreeSize(u64::MAX - 600 + number),
                time: u64::MAX,
            })
            .collect();
        let pairs = last_pairs(&moments);
        assert_eq!((pairs.len(), pairs[511]), (MOMENTS_MAX, (u64::MAX, u64::MAX)));
        let longest = "a".repeat(200);
        let written = bytes(&text(&longest, u64::MAX), &pairs);
        assert!(parse(&written, &longest).is_ok());
    }

    #[test]
    fn a_moment_is_read_out_of_a_leaf_of_this_shard_alone() {
        let leaf = MapLeaf {
            root: Hash([1; 32]),
            labels: 2,
            time: 1_700_000_000,
            checkpoint: Checkpoint::new("shop.example/log/0of1".into(), TreeSize(9), Hash([2; 32])),
        };
        let bytes = leaf.to_text().into_bytes();
        let moment = moment_of(&bytes, "shop.example/log/0of1").unwrap();
        assert_eq!((moment.size, moment.time), (TreeSize(9), 1_700_000_000));
        assert!(moment_of(&bytes, "shop.example/log/1of2").is_none());
        assert!(moment_of(&bytes[1..], "shop.example/log/0of1").is_none());
        assert!(moment_of(&[0xff], "shop.example/log/0of1").is_none());
    }
}
