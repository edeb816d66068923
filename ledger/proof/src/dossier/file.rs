//! The one way of writing a dossier or an erasure certificate, and telling such files from others.
//!
//! In scope: bytes in and out; whether a file that does not parse was one that somebody changed. Out of scope: what the
//! members say (see [`Dossier::verify`](super::Dossier::verify)). Trust: none needed; a file that parses is a claim.

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::DossierError;

/// The `format` of a dossier.
pub const FORMAT: &str = "sharetrail.org/dossier@v1";
/// The `format` of an erasure certificate.
pub const CERTIFICATE_FORMAT: &str = "sharetrail.org/erasure@v1";
/// The most bytes of a dossier or a certificate.
pub const MAX_DOSSIER_BYTES: usize = 1 << 30;

/// How many of its [`FileKind::markers`] a file must hold to pass for one of that kind.
const MARKERS_WANTED: usize = 3;

/// What a file proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A customer's trail, or that there is none: a [`Dossier`](super::Dossier).
    Dossier,
    /// An erasure: a [`Certificate`](super::Certificate).
    Certificate,
}

impl FileKind {
    /// What the file's member `format` says.
    pub fn format(self) -> &'static str {
        match self {
            Self::Dossier => FORMAT,
            Self::Certificate => CERTIFICATE_FORMAT,
        }
    }

    /// What every file of this kind holds. No file of one kind holds three of the other's, nor does it when a byte of it
    /// is changed; inside of strings the quotes are escaped, so contents hold none.
    fn markers(self) -> [&'static [u8]; 4] {
        match self {
            Self::Dossier => [
                b"\"sharetrail.org/dossier@v1\"",
                b"\"hashes\":[",
                b"\"generations\":[",
                b"\"shards\":[",
            ],
            Self::Certificate => [
                b"\"sharetrail.org/erasure@v1\"",
                b"\"hashes\":[",
                b"\"shard\":{",
                b"\"erasure\":{",
            ],
        }
    }

    /// Whether most of what every such file holds is there. A single changed byte can hit one marker, not two.
    fn resembles(self, bytes: &[u8]) -> bool {
        let found = |marker: &&[u8]| bytes.windows(marker.len()).any(|window| window == *marker);
        self.markers().iter().filter(|marker| found(marker)).count() >= MARKERS_WANTED
    }
}

/// Which of the two a file is, or was before somebody changed it or cut it off; none for any other file.
pub fn kind_of(bytes: &[u8]) -> Option<FileKind> {
    let kinds = [FileKind::Dossier, FileKind::Certificate];
    let begins = |kind: &FileKind| {
        let head = format!("{{\"format\":\"{}\",", kind.format());
        bytes.starts_with(head.as_bytes())
    };
    let resembles = |kind: &FileKind| kind.resembles(bytes);
    // What a file says first is nearly always all that must be read of it.
    kinds
        .into_iter()
        .find(begins)
        .or_else(|| kinds.into_iter().find(resembles))
}

/// The bytes of the file: members in the order in which they are declared, no white space outside of strings, one
/// newline at the end.
pub(super) fn write(file: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(file).expect("strings, numbers and lists always serialise");
    bytes.push(b'\n');
    bytes
}

/// Reads a file. One that is not written in the one way is altered, wherever it differs.
pub(super) fn read<T: DeserializeOwned + Serialize>(bytes: &[u8], kind: FileKind) -> Result<T, DossierError> {
    if bytes.len() > MAX_DOSSIER_BYTES {
        return Err(DossierError::NotADossier {
            reason: format!("more than {MAX_DOSSIER_BYTES} bytes"),
        });
    }
    let file: T =
        serde_json::from_slice(bytes).map_err(|error| unreadable(bytes, kind, error.to_string()))?;
    let canonical = write(&file);
    match canonical.iter().zip(bytes).position(|(a, b)| a != b) {
        None if canonical.len() == bytes.len() => Ok(file),
        None if bytes.len() < canonical.len() => Err(DossierError::NotADossier {
            reason: "the file is truncated".into(),
        }),
        _ if objects(bytes) != objects(&canonical) => {
            Err(unreadable(bytes, kind, "an array where an object belongs".into()))
        }
        place => {
            let at = place.unwrap_or(canonical.len().min(bytes.len()));
            Err(DossierError::Altered {
                reason: format!("byte {at} is not as such a file is written"),
            })
        }
    }
}

/// Sorts out a file that does not parse: a damaged dossier is evidence of a change, other files are not. That follows
/// from the bytes alone, not from which of several faults is met first.
fn unreadable(bytes: &[u8], kind: FileKind, reason: String) -> DossierError {
    if bytes.is_empty() {
        let reason = "the file is empty".into();
        return DossierError::NotADossier { reason };
    }
    if is_cut_off(bytes) || !kind.resembles(bytes) || !is_ended(bytes) {
        return DossierError::NotADossier { reason };
    }
    DossierError::Altered { reason }
}

/// Whether the file is JSON, whatever it says, up to its end, and the JSON goes on there. A newline stands at the end of
/// such a file and nowhere else: with it, nothing was cut off, though a brace may have become a space.
fn is_cut_off(bytes: &[u8]) -> bool {
    let read = serde_json::from_slice::<IgnoredAny>(bytes);
    bytes.last() != Some(&b'\n') && read.is_err_and(|error| error.classify() == Category::Eof)
}

/// How many objects a JSON text holds: serde takes an array for an object that has as many members.
fn objects(json: &[u8]) -> usize {
    let (mut count, mut in_string, mut is_escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Whether the file goes to its end: two closing braces and a newline, one of which may be the byte that was changed.
fn is_ended(bytes: &[u8]) -> bool {
    let [before @ .., brace, newline] = bytes else {
        return false;
    };
    *brace == b'}' || (*newline == b'\n' && before.ends_with(b"}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_what_it_holds() {
        let dossier = br#"{"format":"sharetrail.org/dossier@v1","hashes":[],"shards":[],"generations":[]}"#;
        let certificate = br#"{"format":"sharetrail.org/erasure@v1","hashes":[],"shard":{},"erasure":{}}"#;
        assert_eq!(kind_of(dossier), Some(FileKind::Dossier));
        assert_eq!(kind_of(certificate), Some(FileKind::Certificate));
        for other in [
            &b""[..],
            b"{}",
            b"\"hashes\":[ \"shards\":[",
            b"{\"format\":\"x\"}",
        ] {
            assert_eq!(kind_of(other), None);
        }
    }

    /// A changed byte in the marker that says what the file is must not make it another kind, or none.
    #[test]
    fn a_changed_byte_hides_no_files_kind() {
        let good = br#"{"format":"sharetrail.org/erasure@v1","hashes":[],"shard":{},"erasure":{}}"#;
        for position in 0..good.len() {
            let mut changed = good.to_vec();
            changed[position] ^= 0x01;
            assert_eq!(kind_of(&changed), Some(FileKind::Certificate), "{position}");
        }
    }
}
