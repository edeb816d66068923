//! Another host of the ledger, over HTTP: its checkpoints, its tiles, and its leaves with their sealed contents.
//!
//! ```text
//! GET /log/<shard>/checkpoint, GET /log/<shard>/tile/…   C2SP tlog-tiles, open to all
//! GET /map/<shard>/checkpoint, GET /map/<shard>/tile/…   the same of the map log
//! GET /peer/<shard>/leaves?from=<index>                  for hosts of this ledger only:
//!     Authorization: Sharetrail <minute>.<hex tag>       minute = Unix time / 60
//!     tag = HMAC-SHA-256(secret, "sharetrail peer v1\n" ‖ path and query ‖ "\n" ‖ minute)
//! answer:
//!     Sharetrail-Size: <leaves under the published checkpoint>
//!     per leaf: u16 length ‖ entry ‖ u32 length ‖ sealed content; whole leaves, at most 8 MiB
//! ```
//! In scope: the client, and what it shares with the server: the key, the body. Out of scope: the server (consumers),
//! whether what came may be taken over. Trust: none in a peer; what it says is parsed strictly and proves nothing by itself.
//! The secret admits a host to sealed contents, which nobody opens without the vault.

use std::ops::ControlFlow;
use std::time::Duration;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sharetrail_proof::hash::{LeafIndex, TreeSize};
use sharetrail_proof::note::MAX_NOTE_BYTES;
use sharetrail_proof::tiles::{Bundle, FULL_WIDTH, Tile, parse_bundle};
use ureq::Agent;
use ureq::http::Uri;

use crate::archive::{Leaf, Reader, append_leaf, split_leaf};
use crate::clock::unix_now;
use crate::error::LedgerError;
use crate::sequencer::{note_text, stated};

/// The most bytes of leaves in one answer.
pub const LEAVES_BYTES_MAX: usize = 8 << 20;

/// The header with the size of the published checkpoint.
pub const SIZE_HEADER: &str = "sharetrail-size";

/// The most bytes of a bundle of a map log, whose leaves are a few short lines each.
const MAP_BUNDLE_BYTES_MAX: usize = 256 << 10;

/// Minutes by which the clocks of two hosts may differ.
const MINUTES_APART_MAX: u64 = 2;
const SCHEME: &str = "Sharetrail ";
const CONNECT_SECONDS_MAX: u64 = 5;
const ANSWER_SECONDS_MAX: u64 = 30;
const BODY_SECONDS_MAX: u64 = 120;

/// The minute of this host's clock.
pub fn minute_now() -> u64 {
    unix_now() / 60
}

/// The secret that the hosts of a ledger share, ready to sign and to check requests.
#[derive(Clone)]
pub struct PeerKey(Hmac<Sha256>);

impl PeerKey {
    /// From the 32 secret bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"))
    }

    fn over(&self, path_and_query: &str, minute: u64) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(format!("sharetrail peer v1\n{path_and_query}\n{minute}").as_bytes());
        mac
    }

    /// The value of the `Authorization` header for a request made in this minute.
    pub fn authorization(&self, path_and_query: &str, minute: u64) -> String {
        let tag = self.over(path_and_query, minute).finalize().into_bytes();
        format!("{SCHEME}{minute}.{}", HEXLOWER.encode(&tag))
    }

    /// Whether the header admits the request at `now`, a minute. The tag is compared in constant time.
    pub fn admits(&self, authorization: &str, path_and_query: &str, now: u64) -> bool {
        let parts = authorization
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once('.'));
        let Some((minute, tag)) = parts else {
            return false;
        };
        let (Ok(minute), Ok(tag)) = (minute.parse::<u64>(), HEXLOWER.decode(tag.as_bytes())) else {
            return false;
        };
        minute.abs_diff(now) <= MINUTES_APART_MAX
            && self.over(path_and_query, minute).verify_slice(&tag).is_ok()
    }
}

/// The body of an answer: whole leaves from `from` on, up to the reader's size or [`LEAVES_BYTES_MAX`].
pub fn leaves_from(reader: &Reader, from: LeafIndex) -> Result<Vec<u8>, LedgerError> {
    let mut bytes = Vec::new();
    let mut add = |_: LeafIndex, entry: &[u8], sealed: &[u8]| {
        let before = bytes.len();
        append_leaf(&mut bytes, entry, sealed);
        if bytes.len() <= LEAVES_BYTES_MAX {
            return ControlFlow::Continue(());
        }
        bytes.truncate(before);
        ControlFlow::Break(())
    };
    reader.scan(from, &mut add)?;
    Ok(bytes)
}

/// The leaves in the body of an answer; none if its last leaf is not whole.
fn parse_leaves(mut bytes: &[u8]) -> Option<Vec<Leaf>> {
    let mut leaves = Vec::new();
    while !bytes.is_empty() {
        let (entry, sealed, length) = split_leaf(bytes)?;
        leaves.push(Leaf {
            entry: entry.to_vec(),
            sealed: sealed.to_vec(),
        });
        bytes = &bytes[length..];
    }
    Some(leaves)
}

struct Answer {
    /// What [`SIZE_HEADER`] says.
    size: Option<u64>,
    body: Vec<u8>,
}

/// Another host of the ledger.
#[derive(Clone)]
pub struct Peer {
    url: String,
    key: PeerKey,
    agent: Agent,
}

impl Peer {
    /// A host by the address that its server is reached at, such as `http://10.0.0.2:8080`. Nothing is sent yet.
    pub fn new(url: &str, secret: &[u8; 32]) -> Result<Self, LedgerError> {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would lead somewhere that the operator did not name, and a proxy of the environment likewise.
            .max_redirects(0)
            .proxy(None)
            // The other side closes a connection that is silent for twice as long.
            .max_idle_age(Duration::from_secs(5))
            .timeout_resolve(seconds(CONNECT_SECONDS_MAX))
            .timeout_connect(seconds(CONNECT_SECONDS_MAX))
            .timeout_recv_response(seconds(ANSWER_SECONDS_MAX))
            .timeout_recv_body(seconds(BODY_SECONDS_MAX))
            .build();
        let uri: Option<Uri> = url.parse().ok();
        let fits = |uri: &Uri| {
            let scheme = uri.scheme_str();
            matches!(scheme, Some("http" | "https")) && uri.path() == "/" && uri.query().is_none()
        };
        if !uri.as_ref().is_some_and(fits) {
            let what = "not the address of a host; write http://HOST:PORT".to_owned();
            return Err(LedgerError::Peer {
                url: url.to_owned(),
                what,
            });
        }
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            key: PeerKey::new(secret),
            agent: Agent::new_with_config(config),
        })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The checkpoint that it has published, as a note. Its signature is not checked here.
    pub fn checkpoint(&self, shard: u32) -> Result<String, LedgerError> {
        let path = format!("/log/{shard}/checkpoint");
        let answer = self.get(&path, None, MAX_NOTE_BYTES)?;
        let answer = answer.ok_or_else(|| self.wrong(format!("it has no checkpoint of shard {shard}")))?;
        let note = String::from_utf8(answer.body).ok();
        note.filter(|note| note_text(note).as_deref().and_then(stated).is_some())
            .ok_or_else(|| self.wrong(format!("what it gives as {path} is no checkpoint")))
    }

    /// A tile, partial or full, of the tree of a checkpoint that it has published.
    pub fn tile(&self, shard: u32, tile: Tile) -> Result<Vec<u8>, LedgerError> {
        // The full tile may have replaced the partial one meanwhile.
        let full = (!tile.is_full()).then(|| tile.full());
        for place in std::iter::once(tile).chain(full) {
            let path = format!("/log/{shard}/{place}");
            let Some(answer) = self.get(&path, None, place.byte_len())? else {
                continue;
            };
            let mut bytes = answer.body;
            if bytes.len() != place.byte_len() {
                let found = bytes.len();
                return Err(self.wrong(format!("{path} has {found} bytes, not {}", place.byte_len())));
            }
            bytes.truncate(tile.byte_len());
            return Ok(bytes);
        }
        Err(self.wrong(format!("it has no /log/{shard}/{tile}")))
    }

    /// The checkpoint of the map log that it has published, as a note; nothing where it has none. Its signature is not
    /// checked here.
    pub(super) fn map_note(&self, shard: u32) -> Result<Option<String>, LedgerError> {
        let path = format!("/map/{shard}/checkpoint");
        let Some(answer) = self.get(&path, None, MAX_NOTE_BYTES)? else {
            return Ok(None);
        };
        let note = String::from_utf8(answer.body).ok();
        let note = note.filter(|note| note_text(note).as_deref().and_then(stated).is_some());
        let wrong = || self.wrong(format!("what it gives as {path} is no checkpoint"));
        note.ok_or_else(wrong).map(Some)
    }

    /// The leaves in a bundle of the map log that it has published.
    pub(super) fn map_bundle(&self, shard: u32, bundle: Bundle) -> Result<Vec<Vec<u8>>, LedgerError> {
        // The full bundle may have replaced the partial one meanwhile.
        let full = Bundle::new(bundle.index(), FULL_WIDTH).ok();
        let full = full.filter(|full| *full != bundle);
        for place in std::iter::once(bundle).chain(full) {
            let path = format!("/map/{shard}/{place}");
            let Some(answer) = self.get(&path, None, MAP_BUNDLE_BYTES_MAX)? else {
                continue;
            };
            let leaves = parse_bundle(&answer.body, place.width());
            let leaves = leaves.map_err(|error| self.wrong(format!("{path}: {error}")))?;
            let wanted = leaves.iter().take(usize::from(bundle.width()));
            return Ok(wanted.map(|leaf| leaf.to_vec()).collect());
        }
        Err(self.wrong(format!("it has no /map/{shard}/{bundle}")))
    }

    /// Leaves from `from` on: some, where its checkpoint covers more, and none where that is all.
    pub fn leaves(&self, shard: u32, from: LeafIndex) -> Result<Vec<Leaf>, LedgerError> {
        let path = format!("/peer/{shard}/leaves?from={from}");
        let authorization = self.key.authorization(&path, minute_now());
        let answer = self.get(&path, Some(&authorization), LEAVES_BYTES_MAX)?;
        let answer = answer.ok_or_else(|| self.wrong(format!("it has no leaves of shard {shard}")))?;
        let wrong = |what: &str| self.wrong(format!("{path}: {what}"));
        let size = answer.size.map(TreeSize);
        let size = size.ok_or_else(|| wrong("it does not say how many leaves it has"))?;
        let leaves = parse_leaves(&answer.body).ok_or_else(|| wrong("the last leaf is not whole"))?;
        let promised = size.0.saturating_sub(from.0);
        if leaves.is_empty() && promised > 0 {
            return Err(wrong(&format!(
                "it says that it has {size} leaves, and gives none"
            )));
        }
        if leaves.len() as u64 > promised {
            return Err(wrong(&format!("it gives more than the {size} leaves it has")));
        }
        Ok(leaves)
    }

    /// What this peer did wrong, with its address.
    pub(super) fn wrong(&self, what: String) -> LedgerError {
        LedgerError::Peer {
            url: self.url.clone(),
            what,
        }
    }

    /// Asks for a path; nothing where there is no such thing.
    fn get(
        &self,
        path: &str,
        authorization: Option<&str>,
        bytes_max: usize,
    ) -> Result<Option<Answer>, LedgerError> {
        let failed = |error: ureq::Error| self.wrong(format!("{path}: {error}"));
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.call().map_err(failed)?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            401 => {
                let what = "it does not know this host: the secret is another, or the clocks differ";
                return Err(self.wrong(format!("{path}: {what}")));
            }
            status => return Err(self.wrong(format!("{path}: it answers with status {status}"))),
        }
        let size = response.headers().get(SIZE_HEADER);
        let size = size.and_then(|size| size.to_str().ok()?.parse().ok());
        // The limit itself already counts as too much there.
        let body = response.body_mut().with_config().limit(bytes_max as u64 + 1);
        let body = body.read_to_vec().map_err(failed)?;
        Ok(Some(Answer { size, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/peer/0/leaves?from=7";

    #[test]
    fn a_request_is_admitted_for_its_path_and_its_minutes_alone() {
        let (ours, theirs) = (PeerKey::new(&[1; 32]), PeerKey::new(&[2; 32]));
        let header = ours.authorization(PATH, 1_000);
        for now in 998..=1_002 {
            assert!(ours.admits(&header, PATH, now));
        }
        for now in [0, 997, 1_003, u64::MAX] {
            assert!(!ours.admits(&header, PATH, now));
        }
        assert!(!ours.admits(&header, "/peer/0/leaves?from=8", 1_000));
        assert!(!ours.admits(&header, "/peer/1/leaves?from=7", 1_000));
        assert!(!theirs.admits(&header, PATH, 1_000));
    }

    #[test]
    fn an_altered_header_is_refused() {
        let key = PeerKey::new(&[1; 32]);
        let header = key.authorization(PATH, 1_000);
        for at in 0..header.len() {
            let mut bytes = header.clone().into_bytes();
            bytes[at] ^= 1;
            let altered = String::from_utf8(bytes).unwrap();
            assert!(!key.admits(&altered, PATH, 1_000), "{altered}");
            assert!(!key.admits(&header[..at], PATH, 1_000));
        }
        assert!(!key.admits(&format!("{header}0"), PATH, 1_000));
        assert!(!key.admits("", PATH, 1_000));
    }

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for good in ["http://10.0.0.2:8080", "https://host.example", "http://[::1]:80/"] {
            assert!(Peer::new(good, &[1; 32]).is_ok(), "{good}");
        }
        for bad in [
            "",
            "host:80",
            "/log",
            "ftp://host",
            "http://host/log",
            "http://host/?a=b",
            "not one",
        ] {
            let made = Peer::new(bad, &[1; 32]);
            assert!(matches!(made, Err(LedgerError::Peer { .. })), "{bad}");
        }
    }

    #[test]
    fn a_body_is_whole_leaves_or_nothing() {
        let mut bytes = Vec::new();
        append_leaf(&mut bytes, b"first", b"");
        let first = bytes.len();
        append_leaf(&mut bytes, b"second", b"sealed");
        let leaves = parse_leaves(&bytes).unwrap();
        assert_eq!(leaves.len(), 2);
        assert_eq!(
            (&leaves[1].entry[..], &leaves[1].sealed[..]),
            (&b"second"[..], &b"sealed"[..])
        );
        for end in 0..bytes.len() {
            let whole = end == 0 || end == first;
            assert_eq!(parse_leaves(&bytes[..end]).is_some(), whole, "{end}");
        }
    }
}
