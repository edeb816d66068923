//! What processes and folders cost: processor seconds, bytes on the disk.
//!
//! In scope: reading `/proc` and the sizes of files. Out of scope: who started the processes. Linux only: elsewhere
//! every number is 0.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of a block in a file's count of blocks, whatever the file system's own block size is.
const BLOCK_BYTES: u64 = 512;

/// What `/proc/<process>/stat` says, in clock ticks.
struct Stat {
    parent: u32,
    /// Of the process itself, with all its threads.
    own: u64,
    /// Of its children that ended and were waited for.
    waited_for: u64,
}

/// Processor seconds of a process, without its children; 0 if there is no such process.
pub fn cpu_seconds(process: u32) -> f64 {
    read(process).map_or(0.0, |stat| seconds(stat.own))
}

/// Processor seconds of a process and of all that descend from it, those that ended and were waited for included.
pub fn cpu_seconds_of_family(process: u32) -> f64 {
    let all: Vec<(u32, Stat)> = processes()
        .into_iter()
        .filter_map(|one| Some((one, read(one)?)))
        .collect();
    let mut family = vec![process];
    let mut ticks = 0;
    while let Some(member) = family.pop() {
        for (one, stat) in &all {
            if *one == member {
                ticks += stat.own + stat.waited_for;
            } else if stat.parent == member {
                family.push(*one);
            }
        }
    }
    seconds(ticks)
}

/// Bytes that the files of a folder take on the disk. Files that go away meanwhile count for nothing.
pub fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => disk_bytes(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |file| file.blocks() * BLOCK_BYTES),
        _ => 0,
    });
    bytes.sum()
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn read(process: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// The name in brackets may hold anything; what follows the last bracket is numbers, the process's state first.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        own: number(11)? + number(12)?,
        waited_for: number(13)? + number(14)?,
    })
}

fn seconds(ticks: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "2^52 ticks are a million years")]
    let (ticks, a_second) = (ticks as f64, rustix::param::clock_ticks_per_second() as f64);
    ticks / a_second
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 50 6 700 8 20 0 1 0 9 10 11";
        let stat = parse(text).expect("it is a line of the kernel's");
        assert_eq!((stat.parent, stat.own, stat.waited_for), (3, 56, 708));
        assert!(parse("7 (a").is_none());
    }

    #[test]
    fn time_spent_is_counted() {
        let this = std::process::id();
        let mut number = 1_u64;
        while cpu_seconds(this) == 0.0 {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        assert!(cpu_seconds_of_family(this) > 0.0);
    }

    #[test]
    fn files_of_all_folders_count() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).expect("a folder can be made");
        fs::write(inner.join("file"), vec![1; 100_000]).expect("a file can be written");
        assert!(disk_bytes(folder.path()) >= 100_000);
        assert_eq!(disk_bytes(&folder.path().join("missing")), 0);
    }
}
