#!/usr/bin/env python3
"""Check a log's folder with software that shares no code with the one that wrote it.

    check_tlog.py FOLDER VKEY [--old CHECKPOINT]     check a C2SP tlog-tiles folder as it lies on disk
    check_tlog.py --self-test                        show that a good log passes and that damaged ones do not

In scope: the checkpoint's signature and origin, every entry bundle and tile, the root, inclusion proofs built from the
tiles and, with --old, a consistency proof. Out of scope: what entries mean, cosignatures, the customer map.
Trust: the folder is untrusted, VKEY is trusted, and so is the Python package aics-tlog (0.2.1), which does the verifying.

Prints one line of JSON. Exit code 0: all holds. 1: disproved, with the reason as "fault". 2: could not check.
"""

import argparse
import base64
import json
import sys
import tempfile
from pathlib import Path

try:
    import aics_tlog as tlog
    from aics_tlog import tiles
except ImportError as error:
    print(f"check_tlog.py: needs the package aics-tlog: {error}", file=sys.stderr)
    sys.exit(2)

PROOFS = 50  # leaves, evenly spread, that get an inclusion proof besides the first and the last


class Fault(Exception):
    """Something about the log is not true."""


def open_checkpoint(path, key):
    """The checkpoint in the file `path`, once its signature and its origin are verified."""
    try:
        checkpoint, note = tlog.checkpoint.checkpoint_from_note(path.read_bytes())
    except FileNotFoundError:
        raise Fault(f"{path}: there is no checkpoint") from None
    except ValueError as error:
        raise Fault(f"{path}: {error}") from None
    result = tlog.verify_checkpoint(note, key, expected_origin=key.name)
    if not result.ok:
        raise Fault(f"{path}: {result.error}")
    return checkpoint


def check_tiles(reader, checkpoint):
    """Every tile of every level against its parent, every bundle against its tile; then all entries, in order."""
    try:
        report = tlog.audit_tiles(reader, checkpoint.size, checkpoint.root)
        verified = tlog.VerifiedTileReader(reader, checkpoint.size, checkpoint.root)
        entries = [verified.entry(index) for index in range(checkpoint.size)]
    except (tlog.TileMissingError, tlog.TileVerificationError, ValueError) as error:
        raise Fault(str(error)) from None
    return report, entries


def check_root(reader, checkpoint, entries):
    """The root once from the tiles and once from the entries alone."""
    if tlog.tree_root_from_tiles(reader, checkpoint.size) != checkpoint.root:
        raise Fault("the root of the tiles is not the checkpoint's")
    if tlog.MerkleTree(entries).root() != checkpoint.root:
        raise Fault("the root of the entries is not the checkpoint's")


def check_files(folder, checkpoint, entries):
    """Each file under tile/ against what the entries say it must hold, partial ones of earlier sizes included.

    Returns how many files belong to the checkpoint's tree, and how many lie beyond it (written, not yet signed).
    """
    full = {}
    for path, data in tlog.TileWriter(entries).materialise().items():
        full[path.split(".p/")[0]] = data
    within = beyond = 0
    for file in sorted(path for path in (folder / "tile").rglob("*") if path.is_file()):
        path = file.relative_to(folder).as_posix()
        expected = expected_bytes(path, full, checkpoint.size)
        if expected is None:
            beyond += 1
        elif file.read_bytes() != expected:
            raise Fault(f"{path} does not hold what the entries say")
        else:
            within += 1
    return within, beyond


def expected_bytes(path, full, size):
    """What the file at `path` must hold, or nothing if it reaches beyond a tree of `size` entries."""
    try:
        if path.startswith("tile/entries/"):
            level, (index, width) = 0, tiles.parse_entry_bundle_path(path)
        else:
            level, index, width = tiles.parse_tile_path(path)
    except ValueError as error:
        raise Fault(f"{path} has no place in a log: {error}") from None
    count = width or tiles.TILE_ENTRIES
    if (index * tiles.TILE_ENTRIES + count) * tiles.TILE_ENTRIES**level > size:
        return None
    data = full[path.split(".p/")[0]]
    if path.startswith("tile/entries/"):
        return tiles.build_entry_bundle(tiles.parse_entry_bundle(data)[:count])
    return data[: count * tiles.HASH_SIZE]


def check_inclusion(reader, checkpoint, entries):
    """Builds a proof for the first, the last and evenly spread leaves from the tiles, and verifies each."""
    size = checkpoint.size
    chosen = sorted({step * (size - 1) // (PROOFS + 1) for step in range(PROOFS + 2)}) if size else []
    for index in chosen:
        proof = tlog.inclusion_proof_from_tiles(reader, index, size)
        if not tlog.verify_leaf_inclusion(entries[index], index, size, proof, checkpoint.root):
            raise Fault(f"leaf {index}: its inclusion proof does not verify")
    return len(chosen)


def check_consistency(reader, old, new):
    """Builds the proof that `new` extends `old` from the tiles, and verifies it."""
    if old.size > new.size:
        raise Fault(f"the log was rolled back from {old.size} to {new.size} entries")
    proof = tlog.consistency_proof_from_tiles(reader, old.size, new.size)
    if not tlog.verify_consistency(old.size, new.size, old.root, new.root, proof):
        raise Fault(f"the log of {new.size} entries does not extend the old one of {old.size}")


def check(folder, key, old_path=None):
    """All checks of one folder; returns what was counted, or raises Fault."""
    checkpoint = open_checkpoint(folder / "checkpoint", key)
    reader = tlog.FileSystemTileReader(folder)
    report, entries = check_tiles(reader, checkpoint)
    check_root(reader, checkpoint, entries)
    within, beyond = check_files(folder, checkpoint, entries)
    inclusion = check_inclusion(reader, checkpoint, entries)
    if old_path is not None:
        check_consistency(reader, open_checkpoint(old_path, key), checkpoint)
    return {
        "ok": True,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": base64.b64encode(checkpoint.root).decode(),
        "tiles": report.tiles,
        "bundles": report.bundles,
        "files": within,
        "files_beyond": beyond,
        "inclusion_proofs": inclusion,
        "consistency_proofs": int(old_path is not None),
    }


def make_log(folder, origin, private, sizes, leaf):
    """Writes a log with the package's own writer; a checkpoint file `checkpoint.<size>` is kept for each size."""
    store = tlog.DirectoryTileStore(folder, fsync=False)
    writer = tlog.IncrementalTileWriter(store, prune_partials=False)
    for size in sizes:
        writer.append(leaf(index) for index in range(writer.size, size))
        checkpoint = tlog.Checkpoint(origin, size, writer.root())
        data = tlog.sign_checkpoint(checkpoint, private, origin).to_bytes()
        store.write_checkpoint(data)
        (folder / f"checkpoint.{size}").write_bytes(data)


def flip(path, at):
    """Flips one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "a bit of a full leaf tile": lambda log: flip(log / "tile/0/001", 100),
    "a bit of the last leaf tile": lambda log: flip(log / "tile/0/002.p/188", 100),
    "a bit of a tile of level 1": lambda log: flip(log / "tile/1/000.p/2", 3),
    "a bit of an old partial tile": lambda log: flip(log / "tile/0/001.p/44", 3),
    "a bit of an entry": lambda log: flip(log / "tile/entries/001", 5),
    "a bit of an old partial bundle": lambda log: flip(log / "tile/entries/001.p/44", 5),
    "a missing tile": lambda log: (log / "tile/0/000").unlink(),
    "a missing bundle": lambda log: (log / "tile/entries/002.p/188").unlink(),
    "a stranger's file": lambda log: (log / "tile/0/notes.txt").write_text("x"),
    "a bit of the root": lambda log: flip(log / "checkpoint", (log / "checkpoint").read_bytes().index(b"\n700\n") + 8),
    "an old checkpoint's bit": lambda log: flip(log / "checkpoint.300", -5),
    "a missing checkpoint": lambda log: (log / "checkpoint").unlink(),
    "a rollback": lambda log: (log / "checkpoint").write_bytes((log / "checkpoint.256").read_bytes()),
}


def self_test():
    """Checks a good log and each way of damaging it; raises Fault where the answer is wrong."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    origin = "shop.example/log/0of1"
    key = tlog.vkey_from_ed25519(origin, private.public_key())
    leaf, other = (lambda index: b"leaf %d" % index), (lambda index: b"other %d" % index)
    refused = 0
    for name, damage in {"": lambda log: None, **DAMAGES}.items():
        with tempfile.TemporaryDirectory() as scratch:
            log = Path(scratch)
            make_log(log, origin, private, (256, 300, 700), leaf)
            damage(log)
            try:
                counts = check(log, key, log / "checkpoint.300")
            except Fault as fault:
                if not name:
                    raise Fault(f"self-test: a good log is refused: {fault}") from None
                refused += 1
                continue
            if name:
                raise Fault(f"self-test: {name} goes unnoticed")
            good = counts
    with tempfile.TemporaryDirectory() as scratch:
        log, fork = Path(scratch) / "log", Path(scratch) / "fork"
        make_log(log, origin, private, (700,), leaf)
        make_log(fork, origin, private, (300,), other)
        try:
            check(log, key, fork / "checkpoint.300")
        except Fault:
            return {**good, "self_test": "passed", "damages_refused": refused + 1}
    raise Fault("self-test: a fork goes unnoticed")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", nargs="?", type=Path, help="the log's folder: checkpoint and tile/")
    arguments.add_argument("vkey", nargs="?", help="the log's verifier key: name+hash+base64")
    arguments.add_argument("--old", type=Path, metavar="CHECKPOINT", help="an older checkpoint that must be a prefix")
    arguments.add_argument("--self-test", action="store_true", help="check this script on logs that it makes")
    given = arguments.parse_args()
    if not given.self_test and given.vkey is None:
        arguments.error("needs FOLDER and VKEY, or --self-test")
    try:
        key = None if given.self_test else tlog.parse_vkey(given.vkey)
    except ValueError as error:
        arguments.error(f"VKEY: {error}")
    try:
        found = self_test() if given.self_test else check(given.folder, key, given.old)
    except Fault as fault:
        print(json.dumps({"ok": False, "fault": str(fault)}))
        print(f"check_tlog.py: {fault}", file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
