//! `/log/<shard>/…` and `/map/<shard>/…`: a shard's two tlog-tiles trees, as they lie in the ledger's folder.
//!
//! In scope: checkpoint, tiles, bundles, how long each may be kept (C2SP tlog-tiles), keeping what is asked for often
//! at hand. Out of scope: making them. Trust: the path is a stranger's: what does not parse as the one spelling of a
//! file that the published checkpoint covers is not there. Only full files that a checkpoint covered are kept: they
//! never change.

use std::fs;
use std::io;
use std::path::Path;

use axum::extract::State;
use axum::http::{HeaderName, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use sharetrail_ledger::LedgerError;
use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::hash::TreeSize;
use sharetrail_proof::note::Note;
use sharetrail_proof::tiles::{Bundle, FULL_WIDTH, Tile};

use super::{Logs, nothing_here, read_files, shard};
use crate::error::ConsumerError;

/// Bytes of files that are kept at hand, with what it costs to keep them.
const KEPT_BYTES: u64 = 64 << 20;
/// What keeping one costs beside its bytes.
const KEPT_EACH: u64 = 128;
/// About how many of them that is.
const KEPT_FILES: usize = 8 << 10;

/// The folders of trees: what a request may name, and what it is called in the ledger's folder.
const TREES: [&str; 2] = ["log", "map"];

/// A file of a shard's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Checkpoint,
    Tile(Tile),
    Bundle(Bundle),
}

impl Item {
    fn parse(path: &str) -> Option<Self> {
        if path == "checkpoint" {
            return Some(Self::Checkpoint);
        }
        let bundle = path.parse().map(Self::Bundle);
        bundle.or_else(|_| path.parse().map(Self::Tile)).ok()
    }

    /// Its only path, within the shard's folder.
    fn path(self) -> String {
        match self {
            Self::Checkpoint => "checkpoint".into(),
            Self::Tile(tile) => tile.to_string(),
            Self::Bundle(bundle) => bundle.to_string(),
        }
    }

    /// Whether the tree of `size` leaves has it, as it is or wider by now. One that is being written may lie there too,
    /// and must not be kept by anybody as it is then.
    fn is_in(self, size: TreeSize) -> bool {
        match self {
            Self::Checkpoint => true,
            Self::Tile(tile) => {
                let now = Tile::at(tile.level(), tile.index(), size);
                now.is_some_and(|now| now.width() >= tile.width())
            }
            Self::Bundle(bundle) => {
                Bundle::at(bundle.index(), size).is_some_and(|now| now.width() >= bundle.width())
            }
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Checkpoint => "text/plain; charset=utf-8",
            Self::Tile(_) | Self::Bundle(_) => "application/octet-stream",
        }
    }

    /// Whether it never changes and stays where it is.
    fn is_final(self) -> bool {
        match self {
            Self::Checkpoint => false,
            Self::Tile(tile) => tile.width() == FULL_WIDTH,
            Self::Bundle(bundle) => bundle.width() == FULL_WIDTH,
        }
    }

    /// Nothing of a partial file ever changes, but it is gone once the full one is there.
    fn caching(self) -> &'static str {
        match self {
            Self::Checkpoint => "no-cache",
            item if item.is_final() => "public, max-age=31536000, immutable",
            Self::Tile(_) | Self::Bundle(_) => "public, max-age=60",
        }
    }

    fn respond(self, bytes: Bytes) -> Response {
        // Anybody may check a log, from any page.
        let open = HeaderName::from_static("cross-origin-resource-policy");
        let headers = [
            (header::CONTENT_TYPE, self.content_type()),
            (header::CACHE_CONTROL, self.caching()),
            (open, "cross-origin"),
        ];
        (headers, bytes).into_response()
    }
}

/// Where a file is: its tree, its shard, itself.
type Place = (&'static str, u32, Item);

/// Files that are kept at hand: answered from memory, without a look at the disk.
pub(super) type Kept = Cache<Place, Bytes, ByBytes>;

pub(super) fn kept() -> Kept {
    Cache::with_weighter(KEPT_FILES, KEPT_BYTES, ByBytes)
}

/// How much of the room for kept files one takes.
#[derive(Clone)]
pub(super) struct ByBytes;

impl Weighter<Place, Bytes> for ByBytes {
    fn weight(&self, _: &Place, bytes: &Bytes) -> u64 {
        bytes.len() as u64 + KEPT_EACH
    }
}

/// `GET /<tree>/<shard>/<file>`. The path is read as it was sent: an escaped character makes it another file's.
pub(super) async fn file(State(logs): State<Logs>, uri: Uri) -> Response {
    let named = place(uri.path());
    let named = named.and_then(|(tree, number, item)| Some((tree, shard(&logs.ledger, number)?, item)));
    let Some(place) = named else {
        return nothing_here().into_response();
    };
    let (tree, shard, item) = place;
    if let Some(bytes) = logs.kept.get(&place) {
        return item.respond(bytes);
    }
    let folder = logs.ledger.root().join(tree).join(shard.to_string());
    read_files(move || {
        let bytes = covered(&folder, item)?.map(Bytes::from);
        if let Some(bytes) = bytes.as_ref().filter(|_| item.is_final()) {
            logs.kept.insert(place, Bytes::clone(bytes));
        }
        Ok(bytes.map(|bytes| item.respond(bytes)))
    })
    .await
}

/// Tree, shard and file that a path names.
fn place(path: &str) -> Option<(&'static str, &str, Item)> {
    let (tree, rest) = path.strip_prefix('/')?.split_once('/')?;
    let tree = TREES.into_iter().find(|known| *known == tree)?;
    let (number, file) = rest.split_once('/')?;
    Some((tree, number, Item::parse(file)?))
}

/// The bytes of a file that the published checkpoint covers.
fn covered(folder: &Path, item: Item) -> Result<Option<Vec<u8>>, ConsumerError> {
    if item != Item::Checkpoint && !size(folder)?.is_some_and(|size| item.is_in(size)) {
        return Ok(None);
    }
    read(&folder.join(item.path()))
}

/// The size of the tree under the checkpoint that is published now; none before there is one.
fn size(folder: &Path) -> Result<Option<TreeSize>, ConsumerError> {
    let path = folder.join(Item::Checkpoint.path());
    let damaged = |what: String| LedgerError::Damaged {
        path: path.clone(),
        at: None,
        what,
    };
    let Some(bytes) = read(&path)? else {
        return Ok(None);
    };
    let note = std::str::from_utf8(&bytes).map_err(|error| damaged(error.to_string()))?;
    let note = Note::parse(note).map_err(|error| damaged(error.to_string()))?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| damaged(error.to_string()))?;
    Ok(Some(checkpoint.size))
}

/// The bytes of a file; none where it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, ConsumerError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => {
            let (doing, path) = ("read", path.to_owned());
            Err(LedgerError::File { doing, path, source }.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parses_is_written_as_it_was_read_and_leads_nowhere_else() {
        for path in [
            "checkpoint",
            "tile/0/000",
            "tile/1/x001/234.p/7",
            "tile/entries/000.p/255",
        ] {
            assert_eq!(Item::parse(path).map(Item::path).as_deref(), Some(path));
        }
        for path in [
            "",
            "checkpoint/",
            "tile/entries",
            "tile/0/0",
            "tile/0/000.p/256",
            "tile/../x",
        ] {
            assert_eq!(Item::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_names_one_of_two_trees() {
        for (path, expected) in [
            ("/log/0/checkpoint", Some(("log", "0", Item::Checkpoint))),
            ("/map/3/checkpoint", Some(("map", "3", Item::Checkpoint))),
            ("/mapping/0/checkpoint", None),
            ("/register/0/checkpoint", None),
            ("/log//checkpoint", Some(("log", "", Item::Checkpoint))),
            ("//log/0/checkpoint", None),
            ("log/0/checkpoint", None),
            ("/map/0/cosigned", None),
            ("/map/../keys/checkpoint", None),
        ] {
            assert_eq!(place(path), expected, "{path}");
        }
    }

    #[test]
    fn what_a_checkpoint_does_not_cover_is_not_in_its_tree() {
        let is_in = |path: &str, size| Item::parse(path).unwrap().is_in(TreeSize(size));
        for kind in ["tile/0/001", "tile/entries/001"] {
            let partial = format!("{kind}.p/44");
            assert!(is_in(kind, 512) && is_in(&partial, 300) && is_in(&partial, 512));
            assert!(!is_in(kind, 511) && !is_in(&partial, 299) && !is_in(&partial, 0));
        }
        assert!(is_in("checkpoint", 0));
        assert!(!is_in("tile/63/000", u64::MAX));
    }

    /// The fault: a file that grows is kept as it was, or a checkpoint is.
    #[test]
    fn only_what_never_changes_is_final() {
        let is_final = |path: &str| Item::parse(path).unwrap().is_final();
        assert!(is_final("tile/0/000") && is_final("tile/entries/x001/234"));
        assert!(!is_final("tile/0/000.p/255") && !is_final("tile/entries/000.p/1"));
        assert!(!is_final("checkpoint"));
    }
}
