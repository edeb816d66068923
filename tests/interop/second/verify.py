#!/usr/bin/env python3
"""A second verifier of Sharetrail's dossiers and erasure certificates, in Python 3.11 and nothing else.

It was written from docs/formats.md §1 to §19, from RFC 6962, 8032, 9162 and 9381, and from the C2SP specifications
signed-note, tlog-checkpoint, tlog-cosignature and tlog-policy, without reading the Rust code. It shares nothing with
ledger/proof: where the two differ, one of them or the document has a defect.

    verify.py FILE --policy POLICY [--json]     exit 0: holds, 1: disproved or unreadable, 2: not checkable
    verify.py --self-test                       the test vectors of §19
    verify.py --cases FOLDER                    the files that cases.py wrote: exit 1 if a verdict is another one

The numbers in comments (1 to 47) are the steps of §15.4. Nothing here is secret, so nothing runs in constant time.
"""

import argparse, base64, hashlib, json, re, struct, sys, unicodedata
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


class Fault(Exception):
    """A check that failed: which one, where in the file, and why."""

    def __init__(self, kind, place="", why=""):
        super().__init__(f"{kind} at {place}: {why}")
        self.kind, self.place, self.why = kind, place, why


def want(holds, kind, place="", why=""):
    if not holds:
        raise Fault(kind, place, why)


# ---------------------------------------------------------------- §1: bytes and text

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def sha512(*parts):
    return hashlib.sha512(b"".join(parts)).digest()


def str16(text):
    data = text.encode()
    want(len(data) < 2**16, "Number", why="too long")
    return struct.pack(">H", len(data)) + data


def unbase64(text):
    """The bytes of base64 with padding, unused bits zero; nothing else is base64 here."""
    want(re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text), "Text", why="not base64")
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise Fault("Text", why="not base64") from None
    want(base64.b64encode(data).decode() == text, "Text", why="base64 is not written in the one way")
    return data


def unhash(text):
    data = unbase64(text)
    want(len(data) == 32, "Text", why="a hash has 32 bytes")
    return data


def unhex(text, size):
    want(re.fullmatch(r"[0-9a-f]{%d}" % (2 * size), text), "Text", why=f"not {size} bytes in lower-case hex")
    return bytes.fromhex(text)


def number(text):
    want(re.fullmatch(r"0|[1-9][0-9]{0,19}", text) and int(text) < 2**64, "Text", why="not a number")
    return int(text)


def name(text):
    want(re.fullmatch(r"[a-z0-9.-]{1,63}", text) and re.search(r"[a-z0-9]", text), "Text", why="not a name")
    return text


def shard_of_text(text):
    index, of, shards = text.partition("of")
    want(of, "Text", why="not a shard")
    index, shards = number(index), number(shards)
    want(1 <= shards <= 4096 and index < shards, "Text", why="not a shard")
    return index, shards


# ---------------------------------------------------------------- §1: trees (RFC 6962, RFC 9162)

def leaf_hash(entry):
    return sha256(b"\0", entry)


def node_hash(left, right):
    return sha256(b"\1", left, right)


def tree_root(hashes):
    if not hashes:
        return sha256()
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return node_hash(tree_root(hashes[:half]), tree_root(hashes[half:]))


def check_inclusion(leaf, index, size, proof, root):
    """RFC 9162 §2.1.3.2; how many hashes there must be is checked before anything is hashed."""
    want(index < size <= 2**62, "Proof", why=f"index {index} is not in a tree of {size}")
    inner = (index ^ (size - 1)).bit_length()
    wanted = inner + (index >> inner).bit_count()
    want(len(proof) == wanted, "Proof", why=f"{len(proof)} hashes where {wanted} are called for")
    at, last, here = index, size - 1, leaf
    for sibling in proof:
        if at & 1 or at == last:
            here = node_hash(sibling, here)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            here = node_hash(here, sibling)
        at, last = at >> 1, last >> 1
    want(last == 0 and here == root, "Proof", why="the path does not lead to the root")


def check_consistency(old, old_root, new, new_root, proof):
    """RFC 9162 §2.1.4.2, with the two cases that §1 adds."""
    want(old <= new <= 2**62, "Proof", why="sizes fall")
    if old == 0 or old == new:
        want(not proof, "Proof", why="hashes where none are called for")
        want(old_root == (new_root if old else sha256()), "Proof", why="the roots differ")
        return
    want(proof, "Proof", why="no hashes")
    if old & (old - 1) == 0:
        proof = [old_root, *proof]
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    was = now = proof[0]
    for hash_ in proof[1:]:
        want(last, "Proof", why="more hashes than are called for")
        if first & 1 or first == last:
            was, now = node_hash(hash_, was), node_hash(hash_, now)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            now = node_hash(now, hash_)
        first, last = first >> 1, last >> 1
    want(last == 0 and was == old_root and now == new_root, "Proof", why="the later tree does not continue the earlier")


# ---------------------------------------------------------------- edwards25519 (RFC 8032 §5.1)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
NOTHING = (0, 1, 1, 0)                                      # the neutral point; (X, Y, Z, T), T = XY/Z


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, p):
    sum_ = NOTHING
    for bit in bin(n)[2:]:
        sum_ = add(sum_, sum_)
        if bit == "1":
            sum_ = add(sum_, p)
    return sum_


def minus(p):
    return -p[0] % P, p[1], p[2], -p[3] % P


def encode(p):
    inverse = pow(p[2], -1, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data):
    """RFC 8032 §5.1.3, canonical encodings only. None if there is no such point."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if len(data) != 32 or y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if v * x * x % P != u or x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def small_order(p):
    return encode(times(8, p)) == encode(NOTHING)


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def signed(public, message, signature):
    """Ed25519, strictly (§7)."""
    if len(signature) != 64:
        return False
    a, r, s = decode(public), decode(signature[:32]), int.from_bytes(signature[32:], "little")
    if s >= L or a is None or r is None or small_order(a) or small_order(r):
        return False
    k = int.from_bytes(sha512(signature[:32], public, message), "little") % L
    return encode(add(times(s, BASE), minus(times(k, a)))) == signature[:32]


# ---------------------------------------------------------------- §5: customer label (RFC 9381, suite 0x03)

def vrf_key(public):
    point = decode(public)
    want(point and not small_order(point), "Text", why="not a VRF public key")
    return point


def vrf_curve_point(public, alpha):
    """RFC 9381 §5.4.1.1, try and increment; the salt is the public key."""
    for counter in range(256):
        point = decode(sha512(b"\x03\x01", public, alpha, bytes([counter]), b"\0")[:32])
        if point and not small_order(point):
            return times(8, point)
    raise Fault("Vrf", why="no point found")


def vrf_verify(public, alpha, proof):
    """The 64 bytes of beta (RFC 9381 §5.3)."""
    y = vrf_key(public)
    want(len(proof) == 80, "Vrf", why="a proof has 80 bytes")
    gamma = decode(proof[:32])
    c, s = int.from_bytes(proof[32:48], "little"), int.from_bytes(proof[48:], "little")
    want(gamma is not None and s < L, "Vrf", why="the proof does not decode")
    h = vrf_curve_point(public, alpha)
    u = add(times(s, BASE), minus(times(c, y)))
    v = add(times(s, h), minus(times(c, gamma)))
    challenge = sha512(b"\x03\x02", public, encode(h), proof[:32], encode(u), encode(v), b"\0")[:16]
    want(challenge == proof[32:48], "Vrf", why="the proof does not verify")
    return sha512(b"\x03\x03", encode(times(8, gamma)), b"\0")


def label_alpha(ledger, customer, generation):
    return b"sharetrail label v1\n" + str16(ledger) + str16(customer) + struct.pack(">I", generation)


def party_label(party):
    return sha256(b"sharetrail registry v1\n", str16(party))


def shard_of(label, shards):
    return int.from_bytes(label[:8], "big") % shards


# ---------------------------------------------------------------- §7 to §9: notes, checkpoints, batch notes

@dataclass(frozen=True)
class Key:
    name: str
    id: bytes
    type: int
    public: bytes


def vkey(text, type_, of=None):
    parts = text.split("+", 2)
    want(len(parts) == 3, "Text", why="not a vkey")
    name_, id_, key = parts[0], unhex(parts[1], 4), unbase64(parts[2])
    want(key_name(name_) and len(key) == 33, "Text", why="not a vkey")
    want(key[0] == type_ and of in (None, name_), "Text", why="a key of another type or name")
    want(sha256(name_.encode(), b"\n", key)[:4] == id_, "Text", why="the vkey's id is not that of its key")
    point = decode(key[1:])
    want(point and not small_order(point), "Text", why="not a public key")
    return Key(name_, id_, type_, key[1:])


def key_name(text):
    return 1 <= len(text.encode()) <= 512 and "+" not in text and not any(c.isspace() for c in text)


@dataclass
class Note:
    text: str
    lines: list                                             # (name, id, signature)

    def line_of(self, key):
        """The first signature line with the key's name and id; None if there is none."""
        return next((s for n, i, s in self.lines if (n, i) == (key.name, key.id)), None)


def parse_note(note, kind="Note"):
    want(len(note.encode()) <= 60_000, kind, why="the note is too long")
    want(not re.search(r"[\x00-\x09\x0b-\x1f]", note), kind, why="a control character in the note")
    end = note.rfind("\n\n")
    want(end >= 0 and note.endswith("\n"), kind, why="not a note")
    rows = note[end + 2:].split("\n")[:-1]
    want(1 <= len(rows) <= 64, kind, why="1 to 64 signature lines")
    lines = []
    for row in rows:
        words = row.split(" ")
        want(len(words) == 3 and words[0] == "\u2014" and key_name(words[1]), kind, why="not a signature line")
        try:
            data = unbase64(words[2])
        except Fault as fault:
            raise Fault(kind, why=fault.why) from None
        want(len(data) >= 5, kind, why="a signature line without a signature")
        lines.append((words[1], data[:4], data[4:]))
    return Note(note[:end + 1], lines)


@dataclass
class Checkpoint:
    origin: str
    size: int
    root: bytes
    extensions: list
    auditors: list = field(default_factory=list)            # (name, time) of cosignatures that hold


def parse_checkpoint(text):
    rows = text.split("\n")
    want(len(rows) >= 4 and rows[-1] == "" and all(rows[:-1]), "Text", why="not a checkpoint")
    return Checkpoint(rows[0], number(rows[1]), unhash(rows[2]), rows[3:-1])


@dataclass
class Batch:
    note: Note
    ledger: str
    shard: tuple
    producer: str
    size: int
    root: bytes
    chain: str
    number: int
    index: int = 0
    used: bool = False


def parse_batch(note):
    note = parse_note(note)
    try:
        tree = parse_checkpoint(note.text)
        parts = tree.origin.split("/")
        want(len(parts) == 6 and parts[1] == "batch", "Text", why="not a batch's origin")
        unhex(parts[4], 16)
        want(1 <= tree.size <= 1024, "Text", why="a batch has 1 to 1,024 entries")
        want(len(tree.extensions) == 1 and tree.extensions[0].startswith("prev "), "Text", why="no prev")
        unhash(tree.extensions[0][5:])
        batch = Batch(note, name(parts[0]), shard_of_text(parts[2]), name(parts[3]), tree.size, tree.root,
                      parts[4], number(parts[5]))
    except Fault as fault:
        raise Fault("Batch", why=fault.why) from None
    want(len(note.lines) == 1, "Note", why="exactly one signature line")
    return batch


# ---------------------------------------------------------------- §13: policy

class Policy:
    def __init__(self, data):
        want(not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", data), "Policy", why="a control character")
        try:
            rows = data.decode().split("\n")
        except UnicodeDecodeError:
            raise Fault("Policy", why="not UTF-8") from None
        rows = rows[:-1] if rows[-1] == "" else rows        # the last line may lack its end
        want(len(rows) <= 16_384, "Policy", why="too many lines")
        self.ledger = self.ledger_id = self.quorum = None
        self.logs, self.witnesses, self.groups, self.auditors = {}, {}, {}, []
        self.publics, self.members = set(), set()
        for place, row in enumerate(rows, 1):
            words = [w for w in re.split(r"[ \t]+", row) if w]
            try:
                if words and (words[0] == "#sharetrail" or not words[0].startswith("#")):
                    self.line(words)
            except Fault as fault:
                raise Fault("Policy", f"line {place}", fault.why) from None
        want(self.ledger is not None, "Policy", why="no ledger")
        want(self.quorum is not None, "Policy", why="no quorum")

    def line(self, words):
        match words:
            case ["#sharetrail", "ledger", ledger, id_]:
                want(self.ledger is None, "Policy", why="a second ledger")
                self.ledger, self.ledger_id = name(ledger), unhex(id_, 32)
            case ["#sharetrail", "auditor", key]:
                self.auditors.append(self.new_key(vkey(key, 4)))
            case ["log", key] | ["log", key, _]:
                key = self.new_key(vkey(key, 1))
                want(key.name not in self.logs, "Policy", why="an origin twice")
                self.logs[key.name] = key
            case ["witness", name_, key] | ["witness", name_, key, _]:
                self.new_name(name_)
                self.witnesses[name_] = self.new_key(vkey(key, 4))
            case ["group", name_, k, *members]:
                self.new_name(name_)
                k = {"any": 1, "all": len(members)}.get(k) or number(k)
                want(1 <= k <= len(members), "Policy", why="a group that cannot be met")
                for member in members:
                    want(self.defined(member) and member not in self.members, "Policy", why="no such member, or again")
                    self.members.add(member)
                self.groups[name_] = (k, members)
            case ["quorum", name_]:
                want(self.quorum is None, "Policy", why="a second quorum")
                want(name_ == "none" or self.defined(name_), "Policy", why="an unknown quorum")
                self.quorum = name_
            case _:
                raise Fault("Policy", why="not a line of a policy")

    def defined(self, name_):
        return name_ in self.witnesses or name_ in self.groups

    def new_name(self, name_):
        want(name_ != "none" and not self.defined(name_), "Policy", why="a name that is taken")

    def new_key(self, key):
        want(key.public not in self.publics, "Policy", why="a public key twice")
        self.publics.add(key.public)
        return key

    def met(self, name_, by):
        if name_ in self.groups:
            k, members = self.groups[name_]
            return sum(self.met(m, by) for m in members) >= k
        return name_ == "none" or name_ in by

    def open(self, note):
        """A checkpoint in which this policy trusts, or `Policy`."""
        note = parse_note(note, "Policy")
        try:
            checkpoint = parse_checkpoint(note.text)
        except Fault as fault:
            raise Fault("Policy", why=fault.why) from None
        log = self.logs.get(checkpoint.origin)
        want(log, "Policy", why="unknown log")
        signature = note.line_of(log)
        want(signature and signed(log.public, note.text.encode(), signature), "Policy", why="signature of the log")
        want(not checkpoint.extensions, "Policy", why="an extension line")
        by = {n for n, key in self.witnesses.items() if cosigned(note, key) is not None}
        for key in self.auditors:
            if (time := cosigned(note, key)) is not None:
                checkpoint.auditors.append((key.name, time))
        want(self.met(self.quorum, by), "Policy", why="the quorum is not met")
        return checkpoint


def cosigned(note, key):
    """The time of the key's cosignature, None if there is none. A wrong one is a fault."""
    if (line := note.line_of(key)) is None:
        return None
    want(len(line) == 72, "Policy", why=f"cosignature of {key.name}")
    time = int.from_bytes(line[:8], "big")
    message = f"cosignature/v1\ntime {time}\n{note.text}".encode()
    want(time < 2**63 and signed(key.public, message, line[8:]), "Policy", why=f"cosignature of {key.name}")
    return time


# ---------------------------------------------------------------- §4: canonical JSON, read against a shape

def parse_json(data):
    def once(pairs):
        want(len(dict(pairs)) == len(pairs), "Text", why="a member twice")
        return dict(pairs)

    def refuse(token):
        raise Fault("Text", why=f"{token} is not a whole number")

    def whole(token):
        return refuse(token) if token[0] == "-" else int(token)

    return json.loads(data.decode(), object_pairs_hook=once, parse_float=refuse, parse_int=whole, parse_constant=refuse)


def write_json(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def a_text(value):
    want(type(value) is str, "Text", why="not a string")
    return value


def a_number(value):
    want(type(value) is int and 0 <= value < 2**64, "Text", why="not a number")
    return value


def a_short_number(value):
    want(a_number(value) < 2**32, "Text", why="not below 2^32")
    return value


def in_text(reader):
    return lambda value: reader(a_text(value))


def list_of(reader):
    def read(value):
        want(type(value) is list, "Text", why="not an array")
        return [at(f"[{i}]", reader, v) for i, v in enumerate(value)]
    return read


def or_null(reader):
    return lambda value: None if value is None else reader(value)


def record(optional=(), **members):
    """An object with these members; those in `optional` may be absent.

    It is put into this order where it stands: written again, it differs from what was read if that had another one.
    """
    def read(value):
        want(type(value) is dict, "Text", why="not an object")
        wanted = [m for m in members if m in value or m not in optional]
        want(set(value) == set(wanted), "Text", why=f"members {list(value)} where {wanted} are wanted")
        for m in wanted:
            value[m] = value.pop(m)
        return {m: at(f".{m}", members[m], value[m]) for m in wanted}
    return read


def tagged(tag, shapes):
    """One of several objects; the string in the member `tag` says which."""
    def read(value):
        known = type(value) is dict and type(value.get(tag)) is str and value[tag] in shapes
        want(known, "Text", why=f"no {tag} of these")
        return shapes[value[tag]](value)
    return read


def at(place, reader, value):
    try:
        return reader(value)
    except Fault as fault:
        raise Fault(fault.kind, place + fault.place, fault.why) from None


HASH, BASE64, LABEL, NAME = in_text(unhash), in_text(unbase64), in_text(lambda t: unhex(t, 32)), in_text(name)
PATH = list_of(a_short_number)
LABEL_PATH = record(path=PATH, other=or_null(record(label=LABEL, value=HASH)))
LEAF = record(entry=BASE64, batch=a_short_number, position=a_short_number, batch_path=PATH, path=PATH)
BATCH = record(index=a_number, note=a_text, path=PATH)
MAP = record(checkpoint=a_text, leaf=a_text, path=PATH, consistency=PATH)
PARTY = record(party=NAME, map=LABEL_PATH)
SHARD = record(shard=a_short_number, checkpoint=a_text, genesis=BASE64, genesis_path=PATH, map=MAP,
               batches=list_of(BATCH), registry=list_of(LEAF), parties=list_of(PARTY))
CONTENT = tagged("state", {"opened": record(state=a_text, opening=BASE64, json=a_text),
                           "erased": record(state=a_text), "unreadable": record(state=a_text)})
GENERATION = record(generation=a_short_number, label=LABEL, proof=BASE64, map=LABEL_PATH,
                    events=list_of(record(leaf=LEAF, content=CONTENT)), erasure=or_null(LEAF))
DOSSIER = record(format=a_text, ledger=NAME, customer=a_text, hashes=list_of(HASH), shards=list_of(SHARD),
                 generations=list_of(GENERATION),
                 absence=record(generation=a_short_number, label=LABEL, proof=BASE64, map=LABEL_PATH))
CERTIFICATE = record(format=a_text, ledger=NAME, customer=a_text, hashes=list_of(HASH), shard=SHARD,
                     generation=a_short_number, label=LABEL, proof=BASE64, erasure=LEAF)

DOSSIER_FORMAT, CERTIFICATE_FORMAT = "sharetrail.org/dossier@v1", "sharetrail.org/erasure@v1"
MARKERS = {DOSSIER_FORMAT: [b'"sharetrail.org/dossier@v1"', b'"hashes":[', b'"generations":[', b'"shards":['],
           CERTIFICATE_FORMAT: [b'"sharetrail.org/erasure@v1"', b'"hashes":[', b'"shard":{', b'"erasure":{']}


class NotCheckable(Exception):
    pass


def resembles(data, format_):
    return sum(marker in data for marker in MARKERS[format_]) >= 3


def format_of(data):
    """Which of the two a file is, or was before somebody changed it. Any other file is read as a dossier."""
    formats = (DOSSIER_FORMAT, CERTIFICATE_FORMAT)
    begins = [f for f in formats if data.startswith(b'{"format":"%s",' % f.encode())]
    return (begins + [f for f in formats if resembles(data, f)] + [DOSSIER_FORMAT])[0]


def read_file(data):
    """§15.3: the format that the file is meant to have, and what is in it. `Altered`, or NotCheckable."""
    if len(data) > 2**30:
        raise NotCheckable("longer than 2^30 bytes")
    meant = format_of(data)
    ended = data[-2:-1] == b"}" or data[-3:-2] == b"}" and data[-1:] == b"\n"
    try:
        raw = parse_json(data)
        value = (DOSSIER if meant == DOSSIER_FORMAT else CERTIFICATE)(raw)
        written = write_json(raw) + b"\n"
    except (Fault, ValueError, RecursionError) as why:
        if cut_off(data) or not resembles(data, meant) or not ended:
            raise NotCheckable(f"not a dossier: {why}") from None
        raise Fault("Altered", getattr(why, "place", ""), str(why)) from None
    if written != data:
        if written.startswith(data):
            raise NotCheckable("not a dossier: cut off")
        first = next((i for i, (a, b) in enumerate(zip(data, written)) if a != b), min(len(data), len(written)))
        raise Fault("Altered", f"byte {first}", "not written in the one way")
    return meant, value


# ---------------------------------------------------------------- §3: entries

KINDS = {0: "genesis", 1: "event", 2: "registry", 3: "batch", 4: "erasure"}
GENESIS = record(format=a_text, ledger=in_text(name), id=LABEL, shard=a_number, shards=a_number, vrf=HASH,
                 operator=in_text(lambda t: vkey(t, 1, "operator")), recovery=in_text(lambda t: vkey(t, 1, "recovery")))


def registry_shape(optional=(), **more):
    return record(optional, seq=a_number, prev=HASH, party=in_text(name), time=a_number, action=a_text, **more)


WITH_KEY = registry_shape(key=a_text)
REGISTRY = tagged("action", {
    "party.registered": registry_shape(("country", "contact"), name=a_text, country=a_text, contact=a_text),
    "key.registered": WITH_KEY, "key.rotated": WITH_KEY, "key.revoked": WITH_KEY, "operator.replaced": WITH_KEY})


def parse_entry(entry, kind):
    """What is in an entry of this kind: `Entry` if it is none, `Kind` if it is of another."""
    want(1 <= len(entry) <= 65_535 and entry[0] in KINDS, "Entry", why="not an entry")
    found = KINDS[entry[0]]
    value = read_entry(entry, found)
    want(found == kind, "Kind", why=f"a {found} entry, not a {kind} entry")
    return value


def read_entry(entry, kind):
    try:
        if kind == "batch":
            return entry[1:].decode()
        if kind == "event":
            want(len(entry) == 81, "Entry", why="an event entry has 81 bytes")
            return {"label": entry[17:49], "commitment": entry[49:]}
        if kind == "erasure":
            want(len(entry) == 37, "Entry", why="an erasure entry has 37 bytes")
            return {"label": entry[1:33], "generation": int.from_bytes(entry[33:], "big")}
        body = entry[1:] if kind == "genesis" else entry[33:]
        raw = parse_json(body)
        value = REGISTRY(raw) if kind == "registry" else GENESIS(raw)
        want(write_json(raw) == body, "Entry", why="not canonical JSON")
        if kind == "registry":
            want(entry[1:33] == party_label(value["party"]), "Entry", why="the label of another party")
            return value
        want(value["format"] == "sharetrail.org/genesis@v1", "Entry", why="another format")
        want(value["shard"] < value["shards"] <= 4096, "Entry", why="not a shard")
        vrf_key(value["vrf"])
        return value
    except (Fault, ValueError, RecursionError) as why:
        raise Fault("Entry", why=str(why)) from None


# ---------------------------------------------------------------- §11: keys of a shard

RESERVED = ("operator", "recovery")


class Registry:
    def __init__(self, genesis):
        # party: [key, begins, ends]
        self.keys = {"operator": [[genesis["operator"], 0, None]], "recovery": [[genesis["recovery"], -1, None]]}
        self.known, self.last = set(), None

    def check_signature(self, batch):
        """23, 26: signed by the key of the producer that was valid at the batch entry, and registered first."""
        name_, id_, signature = batch.note.lines[0]
        for key, begins, ends in self.keys.get(batch.producer, []):
            if key.id == id_ and begins < batch.index and (ends is None or batch.index < ends):
                text = batch.note.text.encode()
                holds = name_ == key.name and signed(key.public, text, signature)
                return want(holds, "Note", why=f"signature of {batch.producer}")
        raise Fault("Key", why=f"no valid key of {batch.producer} has this id")

    def apply(self, entry, leaf):
        """25: follows, is allowed, and changes the keys."""
        party, action = entry["party"], entry["action"]
        if self.last:
            seq, hash_ = self.last
            want(entry["seq"] > seq, "Registry", why="seq does not rise")
            want(entry["seq"] > seq + 1 or entry["prev"] == hash_, "Registry", why="prev is another entry")
        by = leaf.batch.producer
        want(by == "operator" or by == "recovery" and action == "operator.replaced", "Registry", why=f"written by {by}")
        if action == "operator.replaced":
            want(party == "operator", "Registry", why="replaces no operator")
        else:
            want(party not in RESERVED, "Registry", why=f"about {party}")
            want(action == "party.registered" or party in self.known, "Registry", why="an unknown party")
        if action == "party.registered":
            self.known.add(party)
        else:
            self.change(action, entry["key"], self.keys.setdefault(party, []), party, leaf.index)
        self.last = (entry["seq"], leaf.hash)

    def change(self, action, text, keys, party, index):
        try:
            key = vkey(text, 1, party)
        except Fault as fault:
            raise Fault("Registry", why=fault.why) from None
        same = [k for k in keys if k[0].public == key.public]
        alive = [k for k in keys if k[2] is None]
        if action == "key.revoked":
            ending = [k for k in same if k[2] is None]
            want(ending, "Registry", why="revokes no key")
        else:
            want(not same, "Registry", why="the party had this key before")
            ending = [] if action == "key.registered" else alive
            want(action == "key.registered" or alive, "Registry", why="no key to follow")
        for k in ending:
            k[2] = index
        if action != "key.revoked":
            keys.append([key, index, None])


# ---------------------------------------------------------------- §17: customer map

def map_leaf(label, value):
    return sha256(b"\2", label, value)


def map_value(hashes):
    return sha256(b"\4", struct.pack(">Q", len(hashes)), tree_root(hashes))


def bit(label, depth):
    return label[depth // 8] >> 7 - depth % 8 & 1


def map_path_root(label, end, siblings):
    here = end
    for i, sibling in enumerate(siblings):
        depth = len(siblings) - 1 - i
        here = sha256(b"\3", sibling, here) if bit(label, depth) else sha256(b"\3", here, sibling)
    return here


def check_map(label, hashes, siblings, other, root):
    """That these are all the leaves of the label in the map; none: that the label is absent from it."""
    want(len(siblings) <= 256, "Map", why="more than 256 siblings")
    if hashes:
        want(other is None, "Map", why="another label where this one is to stand")
        end = map_leaf(label, map_value(hashes))
    elif other is None:
        end = bytes(32)
    else:
        want(other["label"] != label, "Map", why="the label is not absent")
        same = all(bit(label, d) == bit(other["label"], d) for d in range(len(siblings)))
        want(same, "Map", why="the other label stands elsewhere")
        end = map_leaf(other["label"], other["value"])
    kind = "Incomplete" if hashes else "NotAbsent"
    want(map_path_root(label, end, siblings) == root, kind, why="the path does not lead to the map's root")


def parse_map_leaf(text):
    """§17.3: map root, time, record checkpoint."""
    try:
        rows = text.split("\n", 4)
        want(len(rows) == 5 and rows[0] == "sharetrail.org/map@v1", "Text", why="not a map leaf")
        root, _, time, checkpoint = unhash(rows[1]), number(rows[2]), number(rows[3]), parse_checkpoint(rows[4])
        want(not checkpoint.extensions, "Text", why="an extension line")
        return root, time, checkpoint
    except Fault as fault:
        raise Fault("MapLeaf", why=fault.why) from None


# ---------------------------------------------------------------- §15.4 and §15.5: verifying

@dataclass
class Shard:
    """What was found to hold of a shard."""
    number: int
    tree: Checkpoint
    genesis: dict = None
    map_root: bytes = None
    sealed: int = 0                                         # the time in the map leaf
    covered: int = 0                                        # S
    auditors: list = ()
    batches: list = ()                                      # None in the place of a batch that fails
    registry: Registry = None
    unneeded: list = ()                                     # places of parties that nothing here is about
    shown: dict = field(default_factory=dict)               # seq: place of the registry leaf, its entry


@dataclass
class Leaf:
    entry: bytes
    index: int
    batch: Batch
    hash: bytes


class Verifier:
    def __init__(self, file, policy):
        self.file, self.policy, self.pool = file, policy, file["hashes"]
        self.used, self.faults, self.events = set(), [], []

    @contextmanager
    def step(self, place):
        """Gathers the fault of a step. What rests on it has to stand inside, and is passed over."""
        try:
            yield
        except Fault as fault:
            self.faults.append(Fault(fault.kind, (place + fault.place).lstrip("."), fault.why))

    def path(self, positions, place):
        want(all(p < len(self.pool) for p in positions), "Number", place, "beyond the pool")
        self.used.update(positions)
        return [self.pool[p] for p in positions]

    def at_index(self, entry, index, tree, positions, place):
        proof = self.path(positions, place)
        at(place, lambda hash_: check_inclusion(hash_, index, tree.size, proof, tree.root), leaf_hash(entry))

    def dossier(self):
        self.head(DOSSIER_FORMAT)
        shards, numbers, genesis = self.all_shards(self.file["shards"], "shards[{}]")
        generations, absence = self.file["generations"], self.file["absence"]
        if genesis:
            wanted = {shard_of(g["label"], genesis["shards"]) for g in [*generations, absence]}
            for i, n in enumerate(numbers):                                                                     # 32
                with self.step(f"shards[{i}]"):
                    want(n in wanted, "Unneeded", why="no label lives there")
            for i, generation in enumerate(generations):
                with self.step(f"generations[{i}]"):
                    self.generation(generation, i, len(generations), shards, numbers, genesis)
            with self.step("absence"):
                number_ = absence["generation"]                                                                  # 45
                want(number_ == len(generations), "Number", ".generation", "not the one after the last")
                shard = self.label(absence, shards, numbers, genesis)
                if shard:
                    self.all_of_label(absence["label"], [], absence["map"], shard, ".map")                       # 46
        self.end(shards)

    def certificate(self):
        self.head(CERTIFICATE_FORMAT)
        shards, numbers, genesis = self.all_shards([self.file["shard"]], "shard")
        if genesis:
            with self.step(""):
                shard = self.label(self.file, shards, numbers, genesis)
                leaf = shard and self.erasure(self.file["erasure"], self.file, shard, ".erasure")
                want(not leaf or leaf.index < shard.covered, "Uncovered", ".erasure", "not covered by the map")
        self.end(shards)

    def head(self, format_):
        with self.step("format"):                                                                                # 1
            want(self.file["format"] == format_, "Text", why=f"not {format_}")
        with self.step("ledger"):                                                                                # 2
            want(self.file["ledger"] == self.policy.ledger, "Text", why="not the policy's ledger")
        with self.step("customer"):                                                                              # 3
            customer = self.file["customer"]
            want(1 <= len(customer.encode()) <= 256, "CustomerId", why="1 to 256 bytes")
            want(all(unicodedata.category(c) != "Cc" for c in customer), "CustomerId", why="a control character")
        seen = set()
        for i, hash_ in enumerate(self.pool):                                                                    # 4
            with self.step(f"hashes[{i}]"):
                want(hash_ not in seen, "Pool", why="twice in the pool")
            seen.add(hash_)
        with self.step("shards"):                                                                                # 5
            want(self.file.get("shards") != [], "Number", why="no shards")

    def all_shards(self, files, place):
        """The shards that hold, by number; the numbers of all; the genesis entry of the first that holds."""
        shards, last = {}, -1
        for i, file in enumerate(files):
            with self.step(place.format(i)):
                with self.step(place.format(i) + ".shard"):                                                      # 6
                    want(file["shard"] > last, "Order", why="shards do not rise")
                last = file["shard"]
                shards[last] = self.shard(file, place.format(i))
        holding = list(shards.values())
        genesis = holding[0].genesis if holding else None
        for i, shard in enumerate(holding):                                                                      # 30
            with self.step(place.format(i) + ".genesis"):
                want({**shard.genesis, "shard": 0} == {**genesis, "shard": 0}, "Genesis", why="of another ledger")
        entries = {}
        for shard in holding:                                                                                    # 31
            for seq, (here, entry) in shard.shown.items():
                with self.step(here):
                    want(entries.setdefault(seq, entry) == entry, "Registries", why="another one in another shard")
        return shards, [file["shard"] for file in files], genesis

    def shard(self, file, place):
        shard = Shard(file["shard"], at(".checkpoint", self.policy.open, file["checkpoint"]))                    # 7
        self.at_index(file["genesis"], 0, shard.tree, file["genesis_path"], ".genesis_path")                     # 8
        shard.genesis = genesis = at(".genesis", lambda e: parse_entry(e, "genesis"), file["genesis"])           # 9
        place_of = f"{shard.number}of{genesis['shards']}"
        want((genesis["ledger"], genesis["id"]) == (self.policy.ledger, self.policy.ledger_id), "Genesis", ".genesis",
             "of another ledger")                                                                               # 10
        want(genesis["shard"] == shard.number, "Genesis", ".genesis", "of another shard")
        want(shard.tree.origin == f"{genesis['ledger']}/log/{place_of}", "Genesis", ".checkpoint", "another log")
        at(".map", lambda m: self.map(m, shard, f"{genesis['ledger']}/map/{place_of}"), file["map"])
        shard.batches, last, chains = [], -1, {}
        for i, batch in enumerate(file["batches"]):
            shard.batches.append(None)
            with self.step(f"{place}.batches[{i}]"):
                before, last = last, batch["index"]
                want(batch["index"] > before, "Order", ".index", "batches do not rise")                          # 15
                self.at_index(b"\3" + batch["note"].encode(), last, shard.tree, batch["path"], ".path")          # 16
                shard.batches[i] = at(".note", lambda b: self.batch(b, shard), batch["note"])                    # 17
                shard.batches[i].index = last
                self.chain(shard.batches[i], chains)
        self.keys(file, shard, place)
        return shard

    def map(self, file, shard, origin):
        log = at(".checkpoint", self.policy.open, file["checkpoint"])                                            # 11
        want(log.origin == origin, "Text", ".checkpoint", "another map log")
        want(log.size > 0, "Proof", ".path", "an empty map log")
        root, time, sealed = at(".leaf", parse_map_leaf, file["leaf"])                                           # 12
        want(sealed.origin == shard.tree.origin, "Text", ".leaf", "of another record log")
        want(sealed.size <= shard.tree.size, "Proof", ".consistency", "later than the checkpoint")
        self.at_index(file["leaf"].encode(), log.size - 1, log, file["path"], ".path")                           # 13
        proof = self.path(file["consistency"], ".consistency")                                                   # 14
        tree = shard.tree
        at(".consistency", lambda p: check_consistency(sealed.size, sealed.root, tree.size, tree.root, p), proof)
        shard.map_root, shard.sealed, shard.covered, shard.auditors = root, time, sealed.size, log.auditors

    def batch(self, note, shard):
        batch = parse_batch(note)
        here = (self.policy.ledger, (shard.number, shard.genesis["shards"]))
        want((batch.ledger, batch.shard) == here, "Elsewhere", why="of another ledger or shard")
        return batch

    def chain(self, batch, chains):
        """18: follows the chain's batch before, which may be some way before."""
        before = chains.setdefault(batch.chain, batch)
        chains[batch.chain] = batch
        want(before.producer == batch.producer, "Order", ".note", "another's chain")
        want(before is batch or before.number < batch.number, "Order", ".note", "the chain's numbers do not rise")

    def leaf(self, file, shard, place):
        """19 to 21. None if the batch fails: that fault is told there."""
        want(file["batch"] < len(shard.batches), "Number", place + ".batch", "no such batch")
        batch = shard.batches[file["batch"]]
        if batch is None:
            return None
        batch.used = True
        index = batch.index + 1 + file["position"]
        self.at_index(file["entry"], file["position"], batch, file["batch_path"], place + ".batch_path")
        self.at_index(file["entry"], index, shard.tree, file["path"], place + ".path")
        return Leaf(file["entry"], index, batch, leaf_hash(file["entry"]))

    def keys(self, file, shard, place):
        """22 to 29: the registry is folded, then all signatures and all parties are checked."""
        shard.registry, last, about, checked, whole = Registry(shard.genesis), -1, {}, set(), True
        for i, each in enumerate(file["registry"]):
            here, folded = f"{place}.registry[{i}]", False
            with self.step(here):
                leaf = self.leaf(each, shard, "")
                if leaf:
                    before, last = last, leaf.index
                    want(leaf.index > before, "Order", why="registry entries do not rise")                       # 22
                    checked.add(leaf.batch.index)
                    shard.registry.check_signature(leaf.batch)                                                   # 23
                    entry = at(".entry", lambda e: parse_entry(e, "registry"), leaf.entry)                       # 24
                    shard.registry.apply(entry, leaf)                                                            # 25
                    about.setdefault(entry["party"], []).append(leaf)
                    shard.shown[entry["seq"]] = here, leaf.entry
                    folded = True
            whole = whole and folded
        if not whole:                                       # keys and parties rest on the registry
            return
        for i, batch in enumerate(shard.batches):
            if batch and batch.index not in checked:
                with self.step(f"{place}.batches[{i}].note"):                                                    # 26
                    shard.registry.check_signature(batch)
        last = b""
        for i, party in enumerate(file["parties"]):
            with self.step(f"{place}.parties[{i}]"):
                before, last = last, party["party"].encode()
                want(last > before, "Order", ".party", "parties do not rise")                                    # 27
                leaves = about.get(party["party"], [])
                self.all_of_label(party_label(party["party"]), leaves, party["map"], shard, ".map")              # 28
        needed = {b.producer for b in shard.batches if b and b.producer != "recovery"} | set(about)
        for party in sorted(needed - {p["party"] for p in file["parties"]}):                                     # 29
            with self.step(f"{place}.parties"):
                raise Fault("Party", why=f"{party} is missing")
        shard.unneeded = [f"{place}.parties[{i}]" for i, p in enumerate(file["parties"]) if p["party"] not in needed]

    def all_of_label(self, label, leaves, file, shard, place):
        hashes = [leaf.hash for leaf in leaves if leaf.index < shard.covered]
        siblings = self.path(file["path"], place + ".path")
        at(place, lambda h: check_map(label, h, siblings, file["other"], shard.map_root), hashes)

    def label(self, file, shards, numbers, genesis):
        """34, 35: the label is the customer's. Its shard; None if that one fails."""
        alpha = label_alpha(self.policy.ledger, self.file["customer"], file["generation"])
        beta = at(".proof", lambda p: vrf_verify(genesis["vrf"], alpha, p), file["proof"])
        want(beta[:32] == file["label"], "Label", ".label", "not the customer's")
        number_ = shard_of(file["label"], genesis["shards"])
        want(number_ in numbers, "Number", ".label", f"shard {number_} is not shown")
        return shards.get(number_)

    def erasure(self, file, generation, shard, place):
        """36."""
        leaf = self.leaf(file, shard, place)
        if leaf:
            want(leaf.batch.producer == "operator", "Erasure", place, "not the operator's")
            try:
                entry = parse_entry(leaf.entry, "erasure")
            except Fault as fault:
                kind = "Erasure" if fault.kind == "Kind" else fault.kind
                raise Fault(kind, place + ".entry", fault.why) from None
            same = entry == {"label": generation["label"], "generation": generation["generation"]}
            want(same, "Erasure", place + ".entry", "of another label or generation")
        return leaf

    def generation(self, file, position, count, shards, numbers, genesis):
        want(file["generation"] == position, "Number", ".generation", "not its position")                        # 33
        shard = self.label(file, shards, numbers, genesis)
        here = f"generations[{position}]"
        with self.step(here):
            want(file["events"] or file["erasure"], "Unneeded", why="nothing is on record under it")
        with self.step(here):
            want(file["erasure"] or position == count - 1, "Erasure", ".erasure", "none, and not the last")      # 37
        if not shard:
            return
        faults, leaves, erasure = len(self.faults), [], None
        if file["erasure"]:
            with self.step(here):
                erasure = self.erasure(file["erasure"], file, shard, ".erasure")
        last = -1
        for i, event in enumerate(file["events"]):
            with self.step(f"{here}.events[{i}]"):
                leaf = self.leaf(event["leaf"], shard, ".leaf")
                if leaf:
                    before, last = last, leaf.index
                    leaves.append(leaf)
                    self.event(event, leaf, before, file, erasure)
                    self.events.append((position, shard.number, leaf, event["content"]))
        if len(self.faults) == faults and None not in shard.batches:
            leaves += [erasure] if erasure else []
            self.all_of_label(file["label"], leaves, file["map"], shard, ".map")                                 # 38

    def event(self, file, leaf, before, generation, erasure):
        entry = at(".leaf.entry", lambda e: parse_entry(e, "event"), leaf.entry)                                 # 39
        want(entry["label"] == generation["label"], "Label", ".leaf.entry", "of another label")
        want(leaf.index > before, "Order", ".leaf", "events do not rise")                                        # 40
        content = file["content"]
        if content["state"] == "erased":
            want(generation["erasure"], "NotErased", ".content", "nothing was erased")                           # 43
        else:
            want(not generation["erasure"], "Erasure", ".content", "shown, though it was erased")                # 41
        if content["state"] == "opened":                                                                         # 42
            data, opening = content["json"].encode(), content["opening"]
            want(len(opening) == 32, "Number", ".content.opening", "an opening has 32 bytes")
            commitment = sha256(b"sharetrail commitment v1\n", opening, data)
            want(commitment == entry["commitment"], "Commitment", ".content.json", "not what was committed to")
            same = subjects(content["json"]) == [self.file["customer"]]
            want(same, "Customer", ".content.json", "of another customer")
        want(leaf.batch.producer not in RESERVED, "Misplaced", ".leaf", f"an event of {leaf.batch.producer}")    # 44
        want(not erasure or leaf.index < erasure.index, "Erasure", ".leaf", "after the erasure")

    def end(self, shards):
        if self.faults:
            return
        for i in range(len(self.pool)):                                                                          # 47
            with self.step(f"hashes[{i}]"):
                want(i in self.used, "Pool", why="no path uses it")
        for shard in shards.values():
            for i, batch in enumerate(shard.batches):
                with self.step(f"shard {shard.number}: batches[{i}]"):
                    want(batch.used, "Pool", why="no leaf is in it")
            for here in shard.unneeded:                                                                          # 29
                with self.step(here):
                    raise Fault("Unneeded", why="signed nothing that is shown, and no registry entry names it")
        self.seals = [{"shard": s.number, "size": s.covered, "sealed": s.sealed,
                       "recomputed": [{"auditor": a, "time": t} for a, t in s.auditors]} for s in shards.values()]


def cut_off(data):
    """§15.3: whether a file is RFC 8259 JSON up to its end, whatever it says, and the JSON goes on there."""
    return data[-1:] != b"\n" and tokens(data.decode("latin-1"), lambda *_: None) == "goes on"


STRING = r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*+"'
VALUE = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null"
TOKEN = re.compile(rf"[ \t\n\r]*+(?:({STRING})|({VALUE})(?![0-9+.eE-])|([\[\]{{}},:]))")
CUT = re.compile(rf'[ \t\n\r]*+(?:{STRING[:-1]}(?:\\|\\u.{{0,3}})?|t(?:ru?)?|f(?:a|al|als)?|n(?:ul?)?)?\Z', re.S)


def tokens(text, meet):
    """Reads a text as RFC 8259 JSON, token by token: "whole", "goes on" where it ends before the JSON does, or "broken".

    `meet` is told each token with its depth and what it stands behind. What numbers and escapes stand for is not asked,
    and values may be nested at will.
    """
    closes, place, last = [], 0, ""
    while place < len(text):
        if not (token := TOKEN.match(text, place)):
            break
        is_string, mark = token[1] is not None, token[3]
        in_object = closes and closes[-1] == "}"
        # What may stand here follows from what stood before: nothing, `[`, `{`, `,` after a member or an element, `:`,
        # a name, or a value.
        if last == "" or last in ("[", ":") or last == "," and not in_object:
            fits = mark in (None, "[", "{") or last == "[" and mark == "]"
        elif last in ("{", ","):
            fits = is_string or last == "{" and mark == "}"
        elif last == "name":
            fits = mark == ":"
        else:
            fits = closes and mark in (",", closes[-1])
        if not fits:
            return "broken"
        meet(token, len(closes), last)
        if mark in ("[", "{"):
            closes.append("]" if mark == "[" else "}")
            last = mark
        elif mark in ("]", "}"):
            closes.pop()
            last = "value"
        else:
            last = mark or ("name" if is_string and in_object and last in ("{", ",") else "value")
        place = token.end()
    if not (rest := CUT.match(text, place)):
        return "broken"
    if last == "value" and not closes:
        return "broken" if rest[0].strip(" \t\n\r") else "whole"
    begun = rest[0].lstrip(" \t\n\r")
    in_object = closes and closes[-1] == "}"
    wants_name = last == "{" or last == "," and in_object
    fits = not begun or (begun[0] == '"' if wants_name else last in ("", "[", ":", ","))
    return "goes on" if fits else "broken"


def subjects(text):
    """The values of all members `subject` of a content; none if it is no JSON object."""
    found, halves, name_ = [], [], None

    def meet(token, depth, last):
        nonlocal name_
        if depth == 0 and token[3] not in ("{", "}"):
            halves.append("no object")
        elif depth == 1 and token[1] and last in ("{", ","):
            name_ = json.loads(token[1])
            try:
                name_.encode()
            except ValueError:                              # half of a surrogate pair
                halves.append(name_)
        elif depth == 1 and name_ == "subject" and last == ":":
            found.append(json.loads(token[1]) if token[1] else None)

    return found if tokens(text, meet) == "whole" and not halves else []


def verify(data, policy):
    """(exit code, report)"""
    try:
        policy = Policy(policy)
        format_, file = read_file(data)
    except NotCheckable as why:
        return 2, {"verdict": "not checkable", "why": str(why)}
    except Fault as fault:
        if fault.kind == "Policy":
            return 2, {"verdict": "not checkable", "why": f"the policy: {fault}"}
        return 1, {"verdict": "disproved", "faults": [vars(fault)]}
    verifier = Verifier(file, policy)
    verifier.dossier() if format_ == DOSSIER_FORMAT else verifier.certificate()
    if verifier.faults:
        return 1, {"verdict": "disproved", "format": format_, "faults": [vars(f) for f in verifier.faults]}
    report = {"verdict": "holds", "format": format_, "ledger": file["ledger"], "customer": file["customer"],
              "maps": verifier.seals}
    if format_ == DOSSIER_FORMAT:
        recomputed = all(seal["recomputed"] for seal in verifier.seals)
        report["complete"] = "recomputed by an auditor" if recomputed else "by the operator's word"
        report["generations"] = len(file["generations"])
        report["events"] = [{"generation": g, "shard": s, "index": leaf.index, "producer": leaf.batch.producer,
                             "state": content["state"]} for g, s, leaf, content in verifier.events]
        if any(event["state"] == "unreadable" for event in report["events"]):
            return 1, report | {"verdict": "unreadable"}
    else:
        report["generation"] = file["generation"]
    return 0, report


# ---------------------------------------------------------------- §19: self-test

def holds(check, *arguments):
    try:
        check(*arguments)
        return True
    except Fault:
        return False


def self_test():
    till = vkey("till+1e08cbef+Ae1JKMYo0cLG6ukDOJBZlWEpWSc6XGP5NjbBRhSshzfR", 1)
    log = vkey("shop.example/log/0of1+e82a8703+AcqTrBcFGHBx1nuDx/8O/oEI6OxFMFdddyaHkzPb2r58", 1)
    vrf = bytes.fromhex("a09aa5f47a6759802ff955f8dc2d2a14a5c99d23be97f864127ff9383455a4f0")
    genesis = b"\0" + write_json({
        "format": "sharetrail.org/genesis@v1", "ledger": "shop.example", "id": "11" * 32, "shard": 0, "shards": 1,
        "vrf": base64.b64encode(vrf).decode(),
        "operator": "operator+468ba485+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c",
        "recovery": "recovery+2e9ef669+AYE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU"})
    parse_entry(genesis, "genesis")
    assert leaf_hash(genesis) == unhash("nPp+3gGrOmeeqq9GgNCtYS7DLaqP+r9qLButCU0s3cQ=")
    label = bytes.fromhex("d0b460c7d5b57ecbb59ab5b64c85fd8a101bdcacc5ae8b7e5ac4bbd4c1afb04a")
    assert label_alpha("shop.example", "customer-42", 0).hex() == (
        "7368617265747261696c206c6162656c2076310a000c73686f702e6578616d706c65000b637573746f6d65722d343200000000")
    assert shard_of(label, 4) == 3
    assert party_label("till").hex() == "4e8ddcc1f951ac888cce88b1b12678e4cb9cb1ae17ab479de53ca620f33bf873"
    content = ('{"specversion":"1.0","id":"1","source":"/shop","type":"org.sharetrail.consent.withdrawn.v1",'
               '"subject":"customer-42","time":"2026-01-31T12:00:00Z","data":{"consent":"enrol-42"}}')
    commitment = sha256(b"sharetrail commitment v1\n", b"\xaa" * 32, content.encode())
    assert commitment.hex() == "b3f54aaab1963e0c3656919e3c80ff2cb562d967448772375a656db5bc3c896e"
    assert subjects(content) == ["customer-42"]
    deep = "[" * 5000 + "]" * 5000
    for text, found in {
            '{"a":1e999,"a":"\\ud800","sub\\u006aect":"x" , "b":{"subject":2}}': ["x"],
            '{"a":%s,"subject":"x"}' % deep: ["x"], ' {"subject":"x"}\n': ["x"],
            '{"subject":"x","subject":"x"}': ["x", "x"], '{"\\ud800":1,"subject":"x"}': [], '{"subject":"x",}': [],
            '{"subject":["x"]}': [None], '["x"]': [], '{}': [], '"subject"': [], '{"subject":"x"} 1': [],
            '{"a":01,"subject":"x"}': [], '{"a":[1 2],"subject":"x"}': [], '{"subject":"x"': [],
            '{"a":NaN,"subject":"x"}': [], '{"a":"\t","subject":"x"}': [], '{"a":}': []}.items():
        assert subjects(text) == found, text[:80]
    event = b"\1" + bytes.fromhex("4751814e458726ecbacfbb2bdd1f84da") + label + commitment
    assert parse_entry(event, "event") == {"label": label, "commitment": commitment}
    assert leaf_hash(event) == unhash("H62lpRWVO6GohAs0bTBkadnScUefHb0s2nYtvSN+EU0=")
    registry = [b"\2" + party_label("till") + text.encode() for text in (
        '{"seq":0,"prev":"ERERERERERERERERERERERERERERERERERERERERERE=","party":"till","time":1769860000,'
        '"action":"party.registered","name":"Shop tills","country":"IE"}',
        '{"seq":1,"prev":"6Q2GVUKjk4MxhHJPgrVXNPdS65hgKCUh8GPEXDr9C+s=","party":"till","time":1769860000,'
        '"action":"key.registered","key":"till+1e08cbef+Ae1JKMYo0cLG6ukDOJBZlWEpWSc6XGP5NjbBRhSshzfR"}')]
    assert parse_entry(registry[1], "registry")["prev"] == leaf_hash(registry[0])
    note = ("shop.example/batch/0of1/till/06060606060606060606060606060606/0\n1\n"
            "H62lpRWVO6GohAs0bTBkadnScUefHb0s2nYtvSN+EU0=\nprev nPp+3gGrOmeeqq9GgNCtYS7DLaqP+r9qLButCU0s3cQ=\n\n"
            "\u2014 till HgjL71MmmF4n5Cx3COaY/cz0z//C+LCYsAbOP2oJkL1oklUCNSwmczCfHdjntFOY9HLvHKhgVTLPgNL60+JK6z1pvgw="
            "\n")
    batch = parse_batch(note)
    assert batch.producer == "till"
    assert sha256(batch.note.text.encode()) == unhash("yDyMS3tCQEbmVJEOSPqlm1/lGur/XpPlOQqpZPTsh8w=")
    assert signed(till.public, batch.note.text.encode(), batch.note.line_of(till))
    assert not signed(till.public, b"x" + batch.note.text.encode(), batch.note.line_of(till))
    checkpoint = parse_note(
        "shop.example/log/0of1\n6\nLwhENdIq/nKP+55lrVooouRH9LWNjRhqr5Vfsfeg8Ho=\n\n\u2014 shop.example/log/0of1 "
        "6CqHAwhLNxTSdsF/V/faOviUiklrcAuUQB78s2quAr1xjhy3PE8cweewxb60rYQz6mI+0Ns/gnltAdK30UZ9+BBnUAk=\n")
    assert signed(log.public, checkpoint.text.encode(), checkpoint.line_of(log))
    assert parse_checkpoint(checkpoint.text).size == 6
    print("§19: the values of the document hold")

    golden = Path(__file__).resolve().parents[3] / "ledger/proof/tests/golden"
    for file in sorted(golden.glob("*.json")):
        if test := GOLDEN.get(file.name):
            test(json.loads(file.read_text()))
            print(f"§19: {file.name} holds")
    if (golden / "policy-v1").exists():
        policy = (golden / "policy-v1").read_bytes()
        for file in ("dossier-v1.json", "absence-v1.json", "erasure-v1.json"):
            code, report = verify((golden / file).read_bytes(), policy)
            assert code == 0, report
            print(f"§19: {file} holds")


def test_vrf(file):
    for v in file["vectors"]:
        public, alpha, proof = (bytes.fromhex(v[m]) for m in ("pk", "alpha", "pi"))
        assert encode(vrf_curve_point(public, alpha)).hex() == v["h"]
        assert vrf_verify(public, alpha, proof).hex() == v["beta"]
        for i in range(80):
            assert not holds(vrf_verify, public, alpha, proof[:i] + bytes([proof[i] ^ 1]) + proof[i + 1:])


def test_tree(file):
    hashes = [leaf_hash(bytes.fromhex(leaf)) for leaf in file["leaves"]]
    roots = [bytes.fromhex(root) for root in file["roots"]]
    assert [tree_root(hashes[:n]) for n in range(len(roots))] == roots
    for t in file["inclusion"]:
        index, size = t["index"], t["size"]
        check_inclusion(hashes[index], index, size, list(map(bytes.fromhex, t["proof"])), roots[size])
    for t in file["consistency"]:
        old, new = t["old_size"], t["new_size"]
        check_consistency(old, roots[old], new, roots[new], list(map(bytes.fromhex, t["proof"])))


def test_probes(file):
    for t in file["inclusion"]:
        proof = list(map(bytes.fromhex, t["proof"]))
        leaf, root = bytes.fromhex(t["leaf"]), bytes.fromhex(t["root"])
        assert holds(check_inclusion, leaf, t["index"], t["size"], proof, root) == t["holds"], t["name"]
    for t in file["consistency"]:
        proof = list(map(bytes.fromhex, t["proof"]))
        old, new = bytes.fromhex(t["old_root"]), bytes.fromhex(t["new_root"])
        assert holds(check_consistency, t["old_size"], old, t["new_size"], new, proof) == t["holds"], t["name"]


def test_customer(file):
    seed = hashlib.sha512(bytes.fromhex(file["vrf_seed"])).digest()[:32]
    public = encode(times(int.from_bytes(seed, "little") & (1 << 254) - 8 | 1 << 254, BASE))
    for t in file["labels"]:
        alpha = label_alpha(file["ledger"], t["customer"], t["generation"])
        assert vrf_verify(public, alpha, bytes.fromhex(t["proof"]))[:32].hex() == t["label"]
    for t in file["commitments"]:
        data = sha256(b"sharetrail commitment v1\n", bytes.fromhex(file["opening"]), bytes.fromhex(t["content"]))
        assert data == unhash(t["commitment"])


def test_entries(file):
    genesis = bytes.fromhex(file["genesis"])
    assert leaf_hash(genesis) == unhash(file["genesis_leaf_hash"])
    keys, last = Registry(parse_entry(genesis, "genesis")), None
    parse_entry(bytes.fromhex(file["event"]), "event"), parse_entry(bytes.fromhex(file["erasure"]), "erasure")
    batch = parse_batch(bytes.fromhex(file["batch"])[1:].decode())
    assert sha256(batch.note.text.encode()) == unhash(file["batch_text_hash"])
    batch.producer = "operator"
    for i, t in enumerate(file["registry"]):
        entry = bytes.fromhex(t["hex"])
        value = parse_entry(entry, "registry")
        assert (value["action"], value["party"]) == (t["action"], t["party"])
        keys.apply(value, Leaf(entry, 2 + i, batch, leaf_hash(entry)))
    for t in file["party_labels"]:
        assert party_label(t["party"]).hex() == t["label"]


def test_note(file):
    key, note = vkey(file["golang"]["vkey"], 1), parse_note(file["golang"]["note"])
    assert note.text == file["golang"]["text"] and signed(key.public, note.text.encode(), note.line_of(key))
    vkey(file["vkeys"][0], 1), vkey(file["vkeys"][1], 4)
    c = file["cosigned"]
    policy = Policy(f"#sharetrail ledger shop.example {'11' * 32}\nlog {c['log']}\nwitness w {c['witness']}\n"
                    "group g 1 w\nquorum g\n".encode())
    again = f"#sharetrail ledger a {'11' * 32}\n#sharetrail auditor {c['witness']}\nquorum none"
    Policy(again.encode())
    assert not holds(Policy, f"witness w {c['witness']}\n{again}".encode())
    assert not holds(Policy, f"{again}\n#sharetrail auditor {c['witness']}".encode())
    assert policy.open(c["note"]).size == 7
    assert cosigned(parse_note(c["note"]), policy.witnesses["w"]) == c["time"]
    assert not holds(policy.open, c["note"].replace("\n7\n", "\n8\n"))
    assert not holds(policy.open, c["note"].replace("\u2014 witness", "\u2014 other"))


def differing(folder):
    """The names of the cases in a folder of cases.py whose exit code is not the one that stands there."""
    names = []
    for case in json.loads((folder / "table.json").read_text()):
        data, policy = ((folder / case[member]).read_bytes() for member in ("file", "policy"))
        code, report = verify(data, policy)
        if code != case["exit"]:
            names.append(f"{case['name']}: {code}, not {case['exit']}: {report}")
    return names


GOLDEN = {"rfc9381-edwards25519-sha512-tai.json": test_vrf, "tree.json": test_tree, "probes.json": test_probes,
          "customer-v1.json": test_customer, "entries-v1.json": test_entries, "note-v1.json": test_note}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--policy", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--cases", type=Path)
    arguments = parser.parse_args()
    if arguments.self_test:
        self_test()
        return 0
    if arguments.cases:
        names = differing(arguments.cases)
        print("\n".join(names) or "all cases: the verdicts are those of the table")
        return 1 if names else 0
    if not arguments.file or not arguments.policy:
        parser.error("FILE and --policy are needed")                        # exit 2
    try:
        data, policy = arguments.file.read_bytes(), arguments.policy.read_bytes()
    except OSError as why:
        code, report = 2, {"verdict": "not checkable", "why": str(why)}
    else:
        code, report = verify(data, policy)
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False, indent=2))
        return code
    print(report["verdict"] + (f": {report['why']}" if "why" in report else ""))
    for fault in report.get("faults", []):
        print(f"  {fault['kind']} at {fault['place']}: {fault['why']}")
    if "maps" in report:
        print(f"  {report['format']} of {report['customer']!r}, ledger {report['ledger']}")
        if "complete" in report:
            events = len(report["events"])
            print(f"  {report['generations']} generations, {events} events; complete {report['complete']}")
        for seal in report["maps"]:
            by = ", ".join(f"{r['auditor']} at {r['time']}" for r in seal["recomputed"]) or "nobody"
            print(f"  shard {seal['shard']}: {seal['size']} leaves, sealed {seal['sealed']}; recomputed by {by}")
    return code


if __name__ == "__main__":
    sys.exit(main())
