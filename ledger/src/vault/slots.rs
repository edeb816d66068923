//! The vault's file: slots of a fixed size, overwritten in place.
//!
//! ```text
//! "STVLT001" ‖ 152 zero bytes ‖ slots of 160 bytes:
//! u8 state (1 live, 2 destroyed) ‖ 3 zero ‖ u32 generation ‖ 32 label ‖ 16 lookup ‖ 24 nonce ‖ 32 wrapped key ‖ 16 tag
//! ‖ 28 zero ‖ u32 CRC-32 of the 156 bytes before
//! ```
//! A store that keeps old versions would keep destroyed keys; here a destroyed key's bytes are gone. When the
//! key-encryption key changes, the file is written anew and takes the place of the one before, each slot under its number.
//! In memory stand two maps of about 40 bytes a customer. In scope: the file. Out of scope: what wraps the keys.
//! Trust: a slot whose checksum is wrong is an error with its place, unless it is the unfinished last one, or one that was
//! being overwritten when the power went: what is left of that one is overwritten when the file is next opened.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sharetrail_proof::name::Label;

use crate::error::{At, LedgerError};
use crate::files;

/// Bytes of a slot.
pub(super) const SLOT_BYTES: usize = 160;
const MAGIC: &[u8; 8] = b"STVLT001";
/// Slots that are in memory at once while the file is written anew.
const CHUNK: u32 = 4_096;
/// What a disk writes whole or not at all; a slot can lie across the end of one.
const SECTOR: u64 = 512;
const LIVE: u8 = 1;
const DESTROYED: u8 = 2;
const DAMAGED_SLOT: &str =
    "a customer's key does not have its checksum; put a backup of the vault in its place";

/// One generation of one customer.
#[derive(Clone)]
pub(super) struct Slot {
    state: u8,
    pub(super) generation: u32,
    pub(super) label: Label,
    pub(super) lookup: [u8; 16],
    pub(super) nonce: [u8; 24],
    pub(super) wrapped: [u8; 32],
    pub(super) tag: [u8; 16],
}

impl Slot {
    pub(super) fn live(
        generation: u32,
        label: Label,
        lookup: [u8; 16],
        nonce: [u8; 24],
        wrapped: [u8; 32],
        tag: [u8; 16],
    ) -> Self {
        Self {
            state: LIVE,
            generation,
            label,
            lookup,
            nonce,
            wrapped,
            tag,
        }
    }

    /// A slot without a key, so that none is made for the label, nor taken over.
    pub(super) fn destroyed(generation: u32, label: Label) -> Self {
        Self {
            state: DESTROYED,
            generation,
            label,
            lookup: [0; 16],
            nonce: [0; 24],
            wrapped: [0; 32],
            tag: [0; 16],
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.state == LIVE
    }

    pub(super) fn to_bytes(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[0] = self.state;
        bytes[4..8].copy_from_slice(&self.generation.to_be_bytes());
        bytes[8..40].copy_from_slice(&self.label.0);
        bytes[40..56].copy_from_slice(&self.lookup);
        bytes[56..80].copy_from_slice(&self.nonce);
        bytes[80..112].copy_from_slice(&self.wrapped);
        bytes[112..128].copy_from_slice(&self.tag);
        let crc = crc32fast::hash(&bytes[..156]);
        bytes[156..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads a slot that came from another host: as [`Slot::parse`], and it has one way of being written.
    pub(super) fn parse_strictly(bytes: &[u8; SLOT_BYTES]) -> Option<Self> {
        let slot = Self::parse(bytes)?;
        let blank = slot.nonce == [0; 24] && slot.wrapped == [0; 32] && slot.tag == [0; 16];
        let fits = slot.is_live() || (blank && slot.lookup == [0; 16]);
        (fits && slot.to_bytes() == *bytes).then_some(slot)
    }

    fn parse(bytes: &[u8; SLOT_BYTES]) -> Option<Self> {
        let part = |from: usize, to: usize| &bytes[from..to];
        if crc32fast::hash(part(0, 156)).to_be_bytes() != part(156, 160)
            || !matches!(bytes[0], LIVE | DESTROYED)
        {
            return None;
        }
        Some(Self {
            state: bytes[0],
            generation: u32::from_be_bytes(part(4, 8).try_into().ok()?),
            label: Label(part(8, 40).try_into().ok()?),
            lookup: part(40, 56).try_into().ok()?,
            nonce: part(56, 80).try_into().ok()?,
            wrapped: part(80, 112).try_into().ok()?,
            tag: part(112, 128).try_into().ok()?,
        })
    }

    /// What an interruption in the middle of destroying the slot at this place left: up to a sector's end or from there on
    /// it is the destroyed one. Label and generation stand in both.
    fn parse_half_destroyed(bytes: &[u8; SLOT_BYTES], at: u64) -> Option<Self> {
        let split = usize::try_from(SECTOR - at % SECTOR).ok()?;
        let generation = u32::from_be_bytes(bytes[4..8].try_into().ok()?);
        let slot = Self::destroyed(generation, Label(bytes[8..40].try_into().ok()?));
        let whole = slot.to_bytes();
        let is_half =
            split < SLOT_BYTES && (bytes[..split] == whole[..split] || bytes[split..] == whole[split..]);
        is_half.then_some(slot)
    }
}

/// All slots, with two maps to find them.
pub(super) struct Slots {
    path: PathBuf,
    file: File,
    /// Device and number of the file: another one may have taken its place.
    identity: (u64, u64),
    count: u32,
    live: u64,
    /// Whether something was written since the last sync.
    unsynced: bool,
    by_lookup: HashMap<u128, u32>,
    by_label: HashMap<u128, u32>,
}

fn short(label: &Label) -> u128 {
    // A label is the output of a VRF: half of it tells customers apart.
    let mut half = [0; 16];
    half.copy_from_slice(&label.0[..16]);
    u128::from_be_bytes(half)
}

fn place(number: u32) -> u64 {
    (u64::from(number) + 1) * SLOT_BYTES as u64
}

fn head() -> [u8; SLOT_BYTES] {
    let mut head = [0; SLOT_BYTES];
    head[..8].copy_from_slice(MAGIC);
    head
}

fn identity(metadata: &std::fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Slots {
    pub(super) fn open(path: &Path, writable: bool) -> Result<Self, LedgerError> {
        if path.exists() {
            files::check_private(path)?;
        }
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(writable)
            .create(writable)
            .truncate(false)
            .mode(0o600);
        let file = options.open(path).at("open", path)?;
        let identity = identity(&file.metadata().at("read", path)?);
        let mut slots = Self {
            path: path.to_owned(),
            file,
            identity,
            count: 0,
            live: 0,
            unsynced: false,
            by_lookup: HashMap::new(),
            by_label: HashMap::new(),
        };
        let length = slots.file.metadata().at("read", path)?.len();
        if length == 0 && writable {
            slots
                .file
                .write_all_at(&head(), 0)
                .and_then(|()| slots.file.sync_all())
                .at("write", path)?;
            files::sync_folder(path.parent().unwrap_or(path))?;
        } else {
            slots.load(length, writable)?;
            slots.sync()?;
        }
        Ok(slots)
    }

    fn load(&mut self, length: u64, writable: bool) -> Result<(), LedgerError> {
        let mut reader = std::io::BufReader::with_capacity(1 << 20, &self.file);
        let mut bytes = [0; SLOT_BYTES];
        reader.read_exact(&mut bytes).at("read", &self.path)?;
        if bytes[..8] != *MAGIC {
            return Err(LedgerError::damaged(&self.path, Some(0), "not a vault"));
        }
        let total = u32::try_from(length / SLOT_BYTES as u64 - 1);
        let total = total.map_err(|_| LedgerError::Vault("more than four billion customers".into()))?;
        let mut found = Vec::new();
        for _ in 0..total {
            reader.read_exact(&mut bytes).at("read", &self.path)?;
            found.push(Slot::parse(&bytes).ok_or(bytes));
        }
        // What a power loss leaves at the end was never used: no event is recorded before its key is synced.
        let unused = |slot: &Result<Slot, [u8; SLOT_BYTES]>| {
            slot.as_ref().is_err_and(|bytes| *bytes == [0; SLOT_BYTES])
        };
        while found.last().is_some_and(unused) {
            found.pop();
        }
        if found.last().is_some_and(Result::is_err) {
            found.pop();
        }
        for (number, slot) in (0_u32..).zip(found) {
            let slot = match slot {
                Ok(slot) => slot,
                Err(bytes) => self.end_destroying(number, &bytes, writable)?,
            };
            self.remember(&slot);
        }
        Ok(())
    }

    /// A slot that was being destroyed; what is left of its key is overwritten, where this may write.
    fn end_destroying(
        &mut self,
        number: u32,
        bytes: &[u8; SLOT_BYTES],
        writable: bool,
    ) -> Result<Slot, LedgerError> {
        let at = place(number);
        let slot = Slot::parse_half_destroyed(bytes, at)
            .ok_or_else(|| LedgerError::damaged(&self.path, Some(at), DAMAGED_SLOT))?;
        if writable {
            self.file
                .write_all_at(&slot.to_bytes(), at)
                .at("write", &self.path)?;
            self.unsynced = true;
        }
        Ok(slot)
    }

    fn remember(&mut self, slot: &Slot) {
        self.by_label.insert(short(&slot.label), self.count);
        if slot.is_live() {
            self.by_lookup
                .insert(u128::from_be_bytes(slot.lookup), self.count);
            self.live += 1;
        }
        self.count += 1;
    }

    fn read(&self, number: u32) -> Result<Slot, LedgerError> {
        let mut bytes = [0; SLOT_BYTES];
        self.file
            .read_exact_at(&mut bytes, place(number))
            .at("read", &self.path)?;
        let slot = Slot::parse(&bytes).or_else(|| Slot::parse_half_destroyed(&bytes, place(number)));
        slot.ok_or_else(|| LedgerError::damaged(&self.path, Some(place(number)), DAMAGED_SLOT))
    }

    pub(super) fn by_label(&self, label: &Label) -> Result<Option<Slot>, LedgerError> {
        let found = self
            .by_label
            .get(&short(label))
            .map(|&number| self.read(number))
            .transpose()?;
        Ok(found.filter(|slot| slot.label == *label))
    }

    pub(super) fn by_lookup(&self, lookup: &[u8; 16]) -> Result<Option<Slot>, LedgerError> {
        let found = self
            .by_lookup
            .get(&u128::from_be_bytes(*lookup))
            .map(|&number| self.read(number))
            .transpose()?;
        Ok(found.filter(|slot| slot.is_live() && slot.lookup == *lookup))
    }

    pub(super) fn visit(
        &self,
        each: &mut dyn FnMut(&Slot) -> Result<(), LedgerError>,
    ) -> Result<(), LedgerError> {
        (0..self.count).try_for_each(|number| each(&self.read(number)?))
    }

    /// Appends a slot; it lasts once [`Slots::sync`] returns.
    pub(super) fn append(&mut self, slot: &Slot) -> Result<(), LedgerError> {
        self.file
            .write_all_at(&slot.to_bytes(), place(self.count))
            .at("write", &self.path)?;
        self.unsynced = true;
        self.remember(slot);
        Ok(())
    }

    /// Makes everything written last; nothing to do where nothing was.
    pub(super) fn sync(&mut self) -> Result<(), LedgerError> {
        if self.unsynced {
            self.file.sync_data().at("sync", &self.path)?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// How many slots there are, destroyed ones too.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// At most `max` slots from number `from` on.
    pub(super) fn range(&self, from: u32, max: u32) -> Result<Vec<Slot>, LedgerError> {
        let until = from.saturating_add(max).min(self.count);
        let mut bytes = vec![[0; SLOT_BYTES]; until.saturating_sub(from) as usize];
        self.file
            .read_exact_at(bytes.as_flattened_mut(), place(from))
            .at("read", &self.path)?;
        let damaged = |number| LedgerError::damaged(&self.path, Some(place(number)), DAMAGED_SLOT);
        (from..)
            .zip(&bytes)
            .map(|(number, bytes)| Slot::parse(bytes).ok_or_else(|| damaged(number)))
            .collect()
    }

    /// Live slots, in no order.
    pub(super) fn live_ones(&self) -> impl Iterator<Item = Result<Slot, LedgerError>> {
        self.by_lookup.values().map(move |&number| self.read(number))
    }

    /// Writes all slots to a new file, each under its number; `rewrap` may change their keys. They last when this returns.
    pub(super) fn write_anew(
        &self,
        path: &Path,
        rewrap: &mut dyn FnMut(&mut [Slot]) -> Result<(), LedgerError>,
    ) -> Result<File, LedgerError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(path).at("write", path)?;
        file.write_all_at(&head(), 0).at("write", path)?;
        let mut number = 0;
        while number < self.count {
            let mut slots = self.range(number, CHUNK)?;
            rewrap(&mut slots)?;
            let bytes: Vec<[u8; SLOT_BYTES]> = slots.iter().map(Slot::to_bytes).collect();
            file.write_all_at(bytes.as_flattened(), place(number))
                .at("write", path)?;
            number += CHUNK.min(self.count - number);
        }
        file.sync_all().at("sync", path)?;
        Ok(file)
    }

    /// Goes on with a file of the same slots that has taken the place of the one before.
    pub(super) fn go_on_in(&mut self, file: File) -> Result<(), LedgerError> {
        self.identity = identity(&file.metadata().at("read", &self.path)?);
        self.file = file;
        self.unsynced = false;
        Ok(())
    }

    /// Whether another file has taken the place of the one that is open.
    pub(super) fn is_replaced(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|there| identity(&there) != self.identity)
    }

    /// Writes a live slot in the place of one of the same label whose key does not open.
    pub(super) fn mend(&mut self, slot: &Slot) -> Result<(), LedgerError> {
        let Some(was) = self.by_label(&slot.label)? else {
            return self.append(slot);
        };
        let number = self.by_label[&short(&slot.label)];
        self.file
            .write_all_at(&slot.to_bytes(), place(number))
            .at("write", &self.path)?;
        self.unsynced = true;
        self.by_lookup.insert(u128::from_be_bytes(slot.lookup), number);
        self.live += u64::from(!was.is_live());
        Ok(())
    }

    /// Overwrites a label's key and lookup; whether they were there.
    pub(super) fn destroy(&mut self, label: &Label) -> Result<bool, LedgerError> {
        let Some(&number) = self.by_label.get(&short(label)) else {
            return Ok(false);
        };
        let mut slot = self.read(number)?;
        if !slot.is_live() || slot.label != *label {
            return Ok(false);
        }
        let lookup = u128::from_be_bytes(slot.lookup);
        // The customer's next generation has the same one, and may have come from another host before.
        if self.by_lookup.get(&lookup) == Some(&number) {
            self.by_lookup.remove(&lookup);
        }
        slot = Slot::destroyed(slot.generation, slot.label);
        self.file
            .write_all_at(&slot.to_bytes(), place(number))
            .at("write", &self.path)?;
        self.unsynced = true;
        self.live -= 1;
        Ok(true)
    }

    pub(super) fn live(&self) -> u64 {
        self.live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(n: u8) -> Slot {
        Slot::live(0, Label([n; 32]), [n; 16], [n; 24], [0xAA; 32], [n; 16])
    }

    #[test]
    fn slots_are_found_again_and_destroyed_bytes_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slots");
        let mut slots = Slots::open(&path, true).unwrap();
        for n in 1..=9 {
            slots.append(&slot(n)).unwrap();
        }
        slots.sync().unwrap();
        assert!(slots.destroy(&Label([4; 32])).unwrap());
        assert!(!slots.destroy(&Label([4; 32])).unwrap());
        assert!(!slots.destroy(&Label([77; 32])).unwrap());
        drop(slots);
        let slots = Slots::open(&path, false).unwrap();
        assert_eq!(slots.live(), 8);
        assert!(slots.by_lookup(&[4; 16]).unwrap().is_none());
        assert!(!slots.by_label(&Label([4; 32])).unwrap().unwrap().is_live());
        assert_eq!(slots.by_lookup(&[5; 16]).unwrap().unwrap().label, Label([5; 32]));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(
            bytes.windows(32).filter(|window| *window == [0xAA; 32]).count(),
            8
        );
    }

    /// The fault: a power cut in the middle of destroying a key leaves a vault that does not open, or half of the key.
    #[test]
    fn what_was_being_destroyed_is_destroyed_when_the_file_is_next_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slots");
        let mut slots = Slots::open(&path, true).unwrap();
        for n in 1..=20 {
            slots.append(&slot(n)).unwrap();
        }
        drop(slots);
        let whole = std::fs::read(&path).unwrap();
        // Slots that lie across the end of a sector, each in another part.
        for number in [2_u8, 5, 8, 11] {
            let at = usize::try_from(place(u32::from(number))).unwrap();
            let split = at.next_multiple_of(512);
            let label = Label([number + 1; 32]);
            let gone = Slot::destroyed(0, label).to_bytes();
            for (from, to) in [(at, split), (split, at + SLOT_BYTES)] {
                let mut torn = whole.clone();
                torn[from..to].copy_from_slice(&gone[from - at..to - at]);
                std::fs::write(&path, &torn).unwrap();
                let reader = Slots::open(&path, false).unwrap();
                assert!(!reader.by_label(&label).unwrap().unwrap().is_live());
                let slots = Slots::open(&path, true).unwrap();
                assert_eq!((slots.count(), slots.live()), (20, 19));
                assert!(!slots.by_label(&label).unwrap().unwrap().is_live());
                assert_eq!(std::fs::read(&path).unwrap()[at..at + SLOT_BYTES], gone);
            }
            let mut bad = whole.clone();
            bad[split + 3] ^= 1;
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(
                Slots::open(&path, true),
                Err(LedgerError::Damaged { .. })
            ));
        }
    }

    /// The fault: a customer's new key comes from another host before the old one is destroyed here, and is not found by
    /// the customer's id any more.
    #[test]
    fn destroying_a_key_leaves_the_next_generation_to_be_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut slots = Slots::open(&folder.path().join("slots"), true).unwrap();
        let of = |generation, n| Slot::live(generation, Label([n; 32]), [7; 16], [1; 24], [2; 32], [3; 16]);
        slots.append(&of(0, 1)).unwrap();
        slots.append(&of(1, 2)).unwrap();
        assert!(slots.destroy(&Label([1; 32])).unwrap());
        assert_eq!(slots.by_lookup(&[7; 16]).unwrap().unwrap().generation, 1);
        assert_eq!((slots.live(), slots.live_ones().count()), (1, 1));
    }

    /// The fault: a file that is written anew loses slots at a chunk's end, puts one under another number, or keeps what
    /// was destroyed.
    #[test]
    fn a_file_that_is_written_anew_has_each_slot_under_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let (path, next) = (folder.path().join("slots"), folder.path().join("next"));
        let mut slots = Slots::open(&path, true).unwrap();
        let of = |n: u32| {
            let mut label = [0; 32];
            label[..4].copy_from_slice(&n.to_be_bytes());
            let mut lookup = [1; 16];
            lookup[..4].copy_from_slice(&n.to_be_bytes());
            Slot::live(n, Label(label), lookup, [3; 24], [0xAA; 32], [5; 16])
        };
        let total = 2 * CHUNK + 3;
        for n in 0..total {
            slots.append(&of(n)).unwrap();
        }
        let gone = of(CHUNK).label;
        assert!(slots.destroy(&gone).unwrap());
        let mut seen = 0;
        let file = slots
            .write_anew(&next, &mut |chunk| {
                seen += chunk.len();
                for slot in chunk.iter_mut().filter(|slot| slot.is_live()) {
                    slot.wrapped = [0xBB; 32];
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, total as usize);
        assert!(slots.write_anew(&next, &mut |_| Ok(())).is_err());
        assert!(!slots.is_replaced());
        std::fs::rename(&next, &path).unwrap();
        assert!(slots.is_replaced());
        slots.go_on_in(file).unwrap();
        assert!(!slots.is_replaced());
        slots.append(&of(total)).unwrap();
        for slots in [slots, Slots::open(&path, false).unwrap()] {
            assert_eq!((slots.count(), slots.live()), (total + 1, u64::from(total)));
            assert_eq!(slots.live_ones().count(), total as usize);
            for n in [0, CHUNK - 1, CHUNK + 1, total - 1] {
                let found = slots.by_label(&of(n).label).unwrap().unwrap();
                assert_eq!((found.generation, found.wrapped), (n, [0xBB; 32]));
            }
            assert!(!slots.by_label(&gone).unwrap().unwrap().is_live());
        }
    }

    #[test]
    fn an_unfinished_last_slot_is_passed_over_and_a_damaged_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slots");
        let mut slots = Slots::open(&path, true).unwrap();
        for n in 1..=3 {
            slots.append(&slot(n)).unwrap();
        }
        drop(slots);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let mut cut = Slots::open(&path, true).unwrap();
        assert_eq!(cut.live(), 2);
        cut.append(&slot(4)).unwrap();
        drop(cut);
        assert_eq!(Slots::open(&path, false).unwrap().live(), 3);
        let mut bad = whole;
        bad[SLOT_BYTES * 2 + 50] ^= 1;
        std::fs::write(&path, bad).unwrap();
        assert!(matches!(
            Slots::open(&path, false),
            Err(LedgerError::Damaged { at: Some(320), .. })
        ));
    }
}
