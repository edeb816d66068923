//! A host that asks another one: the ledger's client against the real server.
//!
//! In scope: what the client gets and what it calls wrong. Out of scope: taking over what it gets (the ledger's own tests).

use std::ops::ControlFlow;

use sharetrail_consumers::http::HttpServer;
use sharetrail_ledger::host::peer::Peer;
use sharetrail_ledger::{Leaf, Ledger, LedgerError};
use sharetrail_proof::hash::{LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::tiles::{Tile, tiles_between};
use sharetrail_proof::tree::root_of;

use crate::support::{ANY_PORT, TestLedger, customers, story};

const SECRET: [u8; 32] = [8; 32];

fn recorded() -> TestLedger {
    let place = TestLedger::new(1);
    place.record(customers(80).iter().flat_map(|customer| story(customer)));
    place
}

fn served(place: &TestLedger) -> (HttpServer, Peer) {
    let server = HttpServer::start(&place.open(), ANY_PORT, SECRET).unwrap();
    let peer = asking(&server, &SECRET);
    (server, peer)
}

fn asking(server: &HttpServer, secret: &[u8; 32]) -> Peer {
    Peer::new(&format!("http://{}", server.address()), secret).unwrap()
}

fn leaves(ledger: &Ledger) -> Vec<Leaf> {
    let mut found = Vec::new();
    let mut add = |_: LeafIndex, entry: &[u8], sealed: &[u8]| {
        found.push(Leaf {
            entry: entry.to_vec(),
            sealed: sealed.to_vec(),
        });
        ControlFlow::Continue(())
    };
    let reader = ledger.reader(0).unwrap();
    reader.scan(LeafIndex(0), &mut add).unwrap();
    found
}

fn is_told<T>(answer: &Result<T, LedgerError>) -> bool {
    matches!(answer, Err(LedgerError::Peer { .. }))
}

/// The fault: what a host gets over the network is not what the other has on disk, or does not give the signed root.
#[test]
fn a_host_gets_checkpoint_tiles_and_leaves_as_they_are() {
    let place = recorded();
    let (_server, peer) = served(&place);
    let ledger = place.open();
    let note = peer.checkpoint(0).unwrap();
    assert_eq!(note, ledger.reader(0).unwrap().note());
    let checkpoint = ledger.policy().unwrap().open(&note).unwrap();
    let found = peer.leaves(0, LeafIndex(0)).unwrap();
    assert_eq!(found, leaves(&ledger));
    let hashes: Vec<LeafHash> = found.iter().map(|leaf| LeafHash::of(&leaf.entry)).collect();
    assert_eq!(root_of(&hashes), *checkpoint.root());
    let size = checkpoint.size();
    assert_eq!(
        peer.leaves(0, LeafIndex(size.0 - 1)).unwrap(),
        found[found.len() - 1..]
    );
    assert_eq!(peer.leaves(0, LeafIndex(size.0)).unwrap(), []);
    for tile in tiles_between(TreeSize(0), size) {
        let bytes = peer.tile(0, tile).unwrap();
        assert_eq!(bytes.len(), tile.byte_len());
        if tile.level() == 0 {
            let first = usize::try_from(tile.index() * 256).unwrap();
            let expected: Vec<u8> = hashes[first..first + usize::from(tile.width())]
                .iter()
                .flat_map(|hash| hash.0.0)
                .collect();
            assert_eq!(bytes, expected);
        }
    }
}

/// The fault: a partial tile that a full one has replaced is missed, and no proof can be made for an earlier checkpoint.
#[test]
fn a_partial_tile_that_is_gone_is_read_from_the_full_one() {
    let place = recorded();
    let (_server, peer) = served(&place);
    assert!(!place.root.join("log/0/tile/0/000.p").exists());
    let (partial, full) = (Tile::new(0, 0, 10).unwrap(), Tile::new(0, 0, 256).unwrap());
    let all = peer.tile(0, full).unwrap();
    assert_eq!(peer.tile(0, partial).unwrap(), all[..partial.byte_len()]);
}

#[test]
fn what_was_recorded_meanwhile_is_there_too() {
    let place = recorded();
    let (_server, peer) = served(&place);
    let before = peer.leaves(0, LeafIndex(0)).unwrap();
    place.record(story("somebody-else"));
    let after = peer.leaves(0, LeafIndex(0)).unwrap();
    assert!(after.len() > before.len());
    assert_eq!(after[..before.len()], before);
    let note = peer.checkpoint(0).unwrap();
    assert_eq!(note, place.open().reader(0).unwrap().note());
}

/// The fault: a wrong secret, a shard that is not there or a host that is gone looks like an archive with nothing in it.
#[test]
fn what_a_host_does_not_give_is_told() {
    let place = recorded();
    let (server, peer) = served(&place);
    assert!(is_told(&asking(&server, &[9; 32]).leaves(0, LeafIndex(0))));
    assert!(is_told(&peer.leaves(1, LeafIndex(0))));
    assert!(is_told(&peer.checkpoint(1)));
    assert!(is_told(&peer.tile(0, Tile::new(0, 77, 256).unwrap())));
    server.stop();
    assert!(is_told(&peer.checkpoint(0)));
    assert!(is_told(&peer.leaves(0, LeafIndex(0))));
    assert!(is_told(&peer.tile(0, Tile::new(0, 0, 256).unwrap())));
}
