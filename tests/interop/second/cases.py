#!/usr/bin/env python3
"""Files that every verifier must give the same verdict on: broken ones, and odd ones that hold.

    cases.py FOLDER      writes the files, their policies, and `table.json`: name, file, policy and exit code of each

In scope: what a byte flipped in a good file does not reach, since it wants a signature that holds, a tree that fits,
or a file that is wrong in one place of docs/formats.md and right in all others. Out of scope: verifying. What a case
must come to is written beside it from the document, never asked of a verifier.

A ledger of one shard is made for each case, from fixed seeds, out of the functions of verify.py; only signing and
proving are added here. These keys are public, so nothing here is secret.
"""

import base64, copy, json, sys
from pathlib import Path

sys.dont_write_bytecode = True                              # this folder is kept as it is

import verify as v

HOLDS, DISPROVED, NOT_CHECKABLE = 0, 1, 2
NAME = "shop.example"
LOG, MAP = f"{NAME}/log/0of1", f"{NAME}/map/0of1"
LEDGER_ID = b"\x11" * 32
TIME = 1_769_860_000
CUSTOMER = "customer-42"

# Seeds SHA-256("collision <n>") of keys with the same ids: two of `till`, type 0x01; two of `witness.example`, 0x04.
TWINS = {"till": (10_356, 63_729), "witness.example": (39_073, 83_597)}


def b64(data):
    return base64.b64encode(data).decode()


def in_two_pieces(data):
    """Bytes in base64 that is padded in the middle: two texts in a row, which some readers take for one."""
    return b64(data[:1]) + b64(data[1:])


# ---------------------------------------------------------------- keys (RFC 8032 §5.1.5, §5.1.6; RFC 9381 §5.1)

class Secret:
    def __init__(self, name, type_, seed):
        self.name, self.type = name, type_
        digest = v.sha512(seed)
        self.scalar = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
        self.prefix, self.public = digest[32:], v.encode(v.times(self.scalar, v.BASE))
        self.id = v.sha256(name.encode(), b"\n", bytes([type_]), self.public)[:4]

    def vkey(self, write=b64):
        return f"{self.name}+{self.id.hex()}+{write(bytes([self.type]) + self.public)}"

    def sign(self, message):
        nonce = int.from_bytes(v.sha512(self.prefix, message), "little") % v.L
        point = v.encode(v.times(nonce, v.BASE))
        k = int.from_bytes(v.sha512(point, self.public, message), "little")
        return point + ((nonce + k * self.scalar) % v.L).to_bytes(32, "little")

    def line(self, text, time=None, write=b64):
        """A signature line over a note's text; with a time, a cosignature."""
        if time is None:
            return f"\u2014 {self.name} {write(self.id + self.sign(text.encode()))}\n"
        signature = self.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
        return f"\u2014 {self.name} {write(self.id + time.to_bytes(8, 'big') + signature)}\n"

    def prove(self, alpha):
        """The VRF proof for alpha, and the label."""
        h = v.vrf_curve_point(self.public, alpha)
        nonce = int.from_bytes(v.sha512(self.prefix, v.encode(h)), "little") % v.L
        gamma = v.times(self.scalar, h)
        points = [v.encode(p) for p in (h, gamma, v.times(nonce, v.BASE), v.times(nonce, h))]
        c = v.sha512(b"\x03\x02", self.public, *points, b"\0")[:16]
        s = (nonce + int.from_bytes(c, "little") * self.scalar) % v.L
        beta = v.sha512(b"\x03\x03", v.encode(v.times(8, gamma)), b"\0")
        return points[1] + c + s.to_bytes(32, "little"), beta[:32]


def secret(name, type_=1, seed=None):
    return Secret(name, type_, v.sha256(f"seed of the cases {seed or name}".encode()))


def twins(name, type_):
    pair = [Secret(name, type_, v.sha256(f"collision {n}".encode())) for n in TWINS[name]]
    assert pair[0].id == pair[1].id and pair[0].public != pair[1].public
    return pair


OPERATOR, RECOVERY, TILL = secret("operator"), secret("recovery"), secret("till")
LOG_KEY, MAP_KEY, VRF = secret(LOG), secret(MAP), secret("vrf")
WITNESS = secret("witness.example", 4)


# ---------------------------------------------------------------- trees and maps (RFC 9162 §2.1.3.1; §17)

def split(count):
    return 1 << (count - 1).bit_length() - 1


def inclusion(hashes, index):
    if len(hashes) == 1:
        return []
    half = split(len(hashes))
    left, right = hashes[:half], hashes[half:]
    if index < half:
        return [*inclusion(left, index), v.tree_root(right)]
    return [*inclusion(right, index - half), v.tree_root(left)]


def map_node(leaves, depth):
    """Root of the part of a map that holds these leaves: {label: value hash}."""
    if len(leaves) < 2:
        return next((v.map_leaf(label, value) for label, value in leaves.items()), bytes(32))
    halves = [{l: x for l, x in leaves.items() if v.bit(l, depth) == side} for side in (0, 1)]
    return v.sha256(b"\3", map_node(halves[0], depth + 1), map_node(halves[1], depth + 1))


def map_path(leaves, label, depth=0):
    """Siblings, the deepest first, and the other label at the end."""
    if len(leaves) < 2:
        other = next(((l, x) for l, x in leaves.items() if l != label), None)
        return [], other
    own = {l: x for l, x in leaves.items() if v.bit(l, depth) == v.bit(label, depth)}
    rest = {l: x for l, x in leaves.items() if l not in own}
    siblings, other = map_path(own, label, depth + 1)
    return [*siblings, map_node(rest, depth + 1)], other


# ---------------------------------------------------------------- a ledger and its dossier

def content(subject=CUSTOMER, more=""):
    return f'{{"specversion":"1.0","id":"1","source":"/till","type":"a.b","subject":"{subject}"{more}}}'


def party(name):
    return {"party": name, "action": "party.registered", "name": name.capitalize()}


def key(action, key_, of=None):
    return {"party": of or key_.name, "action": action, "key": key_.vkey()}


class Case:
    """A ledger of one shard. Each argument is one thing that a case makes different."""

    def __init__(self, registry=None, signer=TILL, contents=(content(),), customer=CUSTOMER, states=None,
                 genesis=None, number="0", note_lines=None, checkpoint=None, map_checkpoint=None, map_leaf=None,
                 entries=None, erase=False, line=None):
        self.customer, self.states = customer, states
        self.proof, self.label = VRF.prove(v.label_alpha(NAME, customer, 0))
        self.next_proof, self.next_label = VRF.prove(v.label_alpha(NAME, customer, 1))
        members = {"format": "sharetrail.org/genesis@v1", "ledger": NAME, "id": LEDGER_ID.hex(), "shard": 0,
                   "shards": 1, "vrf": b64(VRF.public), "operator": OPERATOR.vkey(), "recovery": RECOVERY.vkey()}
        self.log = [b"\0" + v.write_json(members | (genesis or {}))]
        self.batches, self.leaves, self.openings = [], [], []
        registry = [party("till"), key("key.registered", TILL)] if registry is None else registry
        previous = LEDGER_ID
        records = []
        for seq, action in enumerate(registry):
            record = {"seq": seq, "prev": b64(previous), "party": action["party"], "time": TIME} | action
            records.append(b"\2" + v.party_label(action["party"]) + v.write_json(record))
            previous = v.leaf_hash(records[-1])
        self.push(OPERATOR, records, "05" * 16)
        events = []
        for n, text in enumerate(contents):
            opening = bytes([0xA0 + n]) * 32
            commitment = v.sha256(b"sharetrail commitment v1\n", opening, text.encode())
            events.append(b"\1" + bytes([n]) * 16 + self.label + commitment)
            self.openings.append((opening, text))
        events = entries(events) if entries else events
        self.push(signer, events, "06" * 16, number, note_lines, line)
        self.erasure = None
        if erase:
            self.erasure = self.push(OPERATOR, [b"\4" + self.label + bytes(4)], "05" * 16, "1")[0]
        self.seal(checkpoint, map_checkpoint, map_leaf)

    def push(self, signer, entries, chain, number="0", lines=None, line=None):
        index, hashes = len(self.log), [v.leaf_hash(e) for e in entries]
        text = (f"{NAME}/batch/0of1/{signer.name}/{chain}/{number}\n{len(entries)}\n{b64(v.tree_root(hashes))}\n"
                f"prev {b64(bytes(32))}\n")
        note = text + "\n" + (lines(signer, text) if lines else signer.line(text, write=line or b64))
        self.batches.append((index, note))
        self.log += [b"\3" + note.encode(), *entries]
        batch = len(self.batches) - 1
        pushed = [(entry, batch, n, inclusion(hashes, n), index + 1 + n) for n, entry in enumerate(entries)]
        self.leaves += pushed
        return pushed

    def seal(self, checkpoint, map_checkpoint, map_leaf):
        """Both logs' checkpoints; a function that is given makes the note out of the text."""
        hashes = [v.leaf_hash(e) for e in self.log]
        self.hashes, of_label = hashes, {}
        for entry, *_, index in self.leaves:
            at = {1: slice(17, 49), 2: slice(1, 33), 4: slice(1, 33)}.get(entry[0] if entry else None)
            if at:
                of_label.setdefault(entry[at], []).append(hashes[index])
        self.map = {label: v.map_value(leaves) for label, leaves in of_label.items()}
        text = f"{LOG}\n{len(hashes)}\n{b64(v.tree_root(hashes))}\n"
        leaf = f"sharetrail.org/map@v1\n{b64(map_node(self.map, 0))}\n{len(self.map)}\n{TIME}\n{text}"
        self.map_leaf = map_leaf(leaf) if map_leaf else leaf
        plain = lambda key_: lambda text: text + "\n" + key_.line(text)
        self.checkpoint = (checkpoint or plain(LOG_KEY))(text)
        map_text = f"{MAP}\n1\n{b64(v.leaf_hash(self.map_leaf.encode()))}\n"
        self.map_note = (map_checkpoint or plain(MAP_KEY))(map_text)

    def value(self):
        pool = []

        def path(hashes):
            for hash_ in hashes:
                if b64(hash_) not in pool:
                    pool.append(b64(hash_))
            return [pool.index(b64(hash_)) for hash_ in hashes]

        def leaf(entry, batch, position, siblings, index):
            return {"entry": b64(entry), "batch": batch, "position": position, "batch_path": path(siblings),
                    "path": path(inclusion(self.hashes, index))}

        def label_path(label):
            siblings, other = map_path(self.map, label)
            other = other and {"label": other[0].hex(), "value": b64(other[1])}
            return {"path": path(siblings), "other": other}

        parties = {"operator"} | {note.split("/")[3] for _, note in self.batches} - {"recovery"}
        parties |= {json.loads(l[0][33:])["party"] for l in self.leaves if l[1] == 0}
        shard = {"shard": 0, "checkpoint": self.checkpoint, "genesis": b64(self.log[0]),
                 "genesis_path": path(inclusion(self.hashes, 0)),
                 "map": {"checkpoint": self.map_note, "leaf": self.map_leaf, "path": [], "consistency": []},
                 "batches": [{"index": i, "note": note, "path": path(inclusion(self.hashes, i))}
                             for i, note in self.batches],
                 "registry": [leaf(*l) for l in self.leaves if l[1] == 0],
                 "parties": [{"party": p, "map": label_path(v.party_label(p))} for p in sorted(parties)]}
        generation = {"generation": 0, "label": self.label.hex(), "proof": b64(self.proof),
                      "map": label_path(self.label), "events": []}
        for n, l in enumerate(l for l in self.leaves if l[1] == 1):
            opening, text = self.openings[n]
            shown = {"state": "opened", "opening": b64(opening), "json": text}
            state = self.states[n] if self.states else "opened"
            generation["events"].append({"leaf": leaf(*l), "content": shown if state == "opened" else {"state": state}})
        generation["erasure"] = self.erasure and leaf(*self.erasure)
        absence = {"generation": 1, "label": self.next_label.hex(), "proof": b64(self.next_proof),
                   "map": label_path(self.next_label)}
        return {"format": v.DOSSIER_FORMAT, "ledger": NAME, "customer": self.customer, "hashes": pool,
                "shards": [shard], "generations": [generation], "absence": absence}

    def bytes(self):
        return written(self.value())


def written(value):
    return v.write_json(value) + b"\n"


def policy(*lines, logs=(LOG_KEY, MAP_KEY), quorum="none", log_line="log {}"):
    rows = [f"#sharetrail ledger {NAME} {LEDGER_ID.hex()}", *(log_line.format(key_.vkey()) for key_ in logs), *lines]
    return "\n".join(rows + [f"quorum {quorum}"]) + "\n"


GOOD = Case()
FILE, POLICY = GOOD.bytes(), policy()
TEXT = FILE.decode()


def edited(*edits):
    """The good file with texts exchanged, each once."""
    text = TEXT
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text.encode()


def reshaped(change):
    """The good file with its value changed, written in the one way."""
    value = copy.deepcopy(GOOD.value())
    change(value)
    return written(value)


# ---------------------------------------------------------------- the cases: name, file, policy, exit code

def reading():
    """§15.3: which files are none, and which were altered."""
    yield "as it is made", FILE, POLICY, HOLDS
    yield "empty", b"", POLICY, NOT_CHECKABLE
    yield "only white space", b" \n", POLICY, NOT_CHECKABLE
    yield "without its last byte", FILE[:-1], POLICY, NOT_CHECKABLE
    yield "without its last two bytes", FILE[:-2], POLICY, NOT_CHECKABLE
    for byte in b"\x0b\x0c\x1c\x20\x85\xc3x":
        yield f"last byte 0x{byte:02x}", FILE[:-1] + bytes([byte]), POLICY, DISPROVED
    yield "a second newline", FILE + b"\n", POLICY, DISPROVED
    yield "a byte order mark", b"\xef\xbb\xbf" + FILE, POLICY, DISPROVED
    yield "a NUL after the end", FILE + b"\0", POLICY, NOT_CHECKABLE
    inside = FILE.index(b'\\"specversion') + 4
    for name, tail, code in (
            ("within a character", b"}\xc3", NOT_CHECKABLE), ("within an escape", b"}\\", NOT_CHECKABLE),
            ("after \\u", b"\\u}x", NOT_CHECKABLE), ("after one digit of four", b"\\ua}x", NOT_CHECKABLE),
            ("after four digits of which two are none", b"\\uab}x", DISPROVED),
            ("after a comma", b'\\"}"}},', NOT_CHECKABLE),
            ("behind a byte that is not UTF-8", b"\xff}x", NOT_CHECKABLE),
            ("behind half of a surrogate pair", b"\\ud800 }x", NOT_CHECKABLE)):
        yield f"cut off {name}", FILE[:inside] + tail, POLICY, code
    yield "cut off behind a member of another type", edited(('"hashes":[', '"hashes":[1,'))[:inside] + b"}x", POLICY, \
        NOT_CHECKABLE
    end_of_shard = FILE.index(b'}],"gen')
    for name, place in (("last brace", -2), ("last brace but one", -3), ("end of a shard", end_of_shard)):
        yield f"a space for the {name}", FILE[:place] + b" " + FILE[place:][1:], POLICY, DISPROVED
    yield "half of a surrogate pair", edited(('"ledger":"', '"ledger":"\\ud800')), POLICY, DISPROVED
    yield "a byte that is not UTF-8", FILE.replace(b'"customer":"', b'"customer":"\xff', 1), POLICY, DISPROVED
    yield "an escape that need not be", edited(('"customer":"c', '"customer":"\\u0063')), POLICY, DISPROVED
    swapped = (f'"ledger":"{NAME}","customer":"{CUSTOMER}"', f'"customer":"{CUSTOMER}","ledger":"{NAME}"')
    yield "members in another order", edited(swapped), POLICY, DISPROVED
    for name, number in (("minus zero", "-0"), ("a fraction", "0.0"), ("an exponent", "0e0"), ("a leading zero", "00"),
                         ("2^32", str(2**32)), ("2^64", str(2**64)), ("a text", '"0"'), ("null", "null")):
        yield f"a shard's number as {name}", edited(('[{"shard":0', f'[{{"shard":{number}')), POLICY, DISPROVED
    two_texts = (('"sharetrail.org/dossier@v1"', '"sharetrail.org/dossier@v2"'), ('"hashes":[', '"hashes": ['))
    yield "two of the four texts, and it parses", edited(*two_texts), POLICY, DISPROVED
    for name, number, code in (("minus zero", "-0", NOT_CHECKABLE), ("zero", "0", DISPROVED)):
        shard = ('[{"shard":0', '[{"shard":' + number)
        yield f"two of the four texts, and a shard's number {name}", edited(*two_texts, shard), POLICY, code
    yield "two of the four texts, and a member that is missing", \
        edited(*two_texts, (',"erasure":null', "")), POLICY, NOT_CHECKABLE
    yield "two of the four texts, and members in another order", edited(*two_texts, swapped), POLICY, DISPROVED
    yield "a member that may be null is missing", edited((',"erasure":null', "")), POLICY, DISPROVED
    value = GOOD.value()
    yield "an array for the whole object", written(list(value.values())), POLICY, NOT_CHECKABLE
    yield "an array for an object", reshaped(lambda d: d.update(absence=list(d["absence"].values()))), POLICY, DISPROVED
    entry = value["shards"][0]["registry"][0]["entry"]
    pieces = in_two_pieces(base64.b64decode(entry))
    yield "base64 in two pieces, and two of the four texts", edited(*two_texts, (entry, pieces)), POLICY, NOT_CHECKABLE
    proof = value["absence"]["proof"]
    assert proof.endswith("=")
    yield "base64 without padding", edited((proof, proof.rstrip("="))), POLICY, DISPROVED
    yield "base64 with bits behind the last byte", \
        edited((proof, proof[:-2] + chr(ord(proof[-2]) + 1) + "=")), POLICY, DISPROVED
    yield "base64 of the other alphabet", \
        edited((entry, "-_" + entry[2:])), POLICY, DISPROVED


def values():
    """§15.1, §15.4: members that parse and do not fit."""
    def first_event(d):
        return d["generations"][0]["events"][0]

    yield "no shard", reshaped(lambda d: d.update(shards=[])), POLICY, DISPROVED
    yield "a shard twice", reshaped(lambda d: d["shards"].append(d["shards"][0])), POLICY, DISPROVED
    yield "an entry of no bytes", reshaped(lambda d: d["shards"][0].update(genesis="")), POLICY, DISPROVED
    yield "a proof of no bytes", reshaped(lambda d: d["absence"].update(proof="")), POLICY, DISPROVED
    yield "an index of 2^64 - 1", reshaped(lambda d: d["shards"][0]["batches"][1].update(index=2**64 - 1)), POLICY, \
        DISPROVED
    yield "a position of 2^32 - 1", reshaped(lambda d: first_event(d)["leaf"].update(position=2**32 - 1)), POLICY, \
        DISPROVED
    yield "a hash that is unused", reshaped(lambda d: d["hashes"].append(b64(bytes(32)))), POLICY, DISPROVED
    yield "a hash twice", reshaped(lambda d: d["hashes"].append(d["hashes"][0])), POLICY, DISPROVED
    yield "257 siblings in a map", reshaped(lambda d: d["absence"]["map"].update(path=[0] * 257)), POLICY, DISPROVED
    yield "a generation without a leaf", reshaped(lambda d: d["generations"][0].update(events=[])), POLICY, DISPROVED
    yield "an opening of 31 bytes", \
        reshaped(lambda d: first_event(d)["content"].update(opening=b64(bytes(31)))), POLICY, DISPROVED
    yield "unreadable, and nothing was erased", Case(states=["unreadable"]).bytes(), POLICY, DISPROVED
    yield "unreadable, and it was erased", Case(states=["unreadable"], erase=True).bytes(), POLICY, DISPROVED
    yield "erased", Case(states=["erased"], erase=True).bytes(), POLICY, HOLDS
    yield "erased without an erasure", Case(states=["erased"]).bytes(), POLICY, DISPROVED
    yield "opened, and it was erased", Case(erase=True).bytes(), POLICY, DISPROVED
    for name, customer, code in (
            ("of 256 bytes", "x" * 256, HOLDS), ("of 257 bytes", "x" * 257, DISPROVED), ("of no bytes", "", DISPROVED),
            ("with a NUL", "a\0b", DISPROVED), ("with 0x7f", "a\x7fb", DISPROVED), ("with U+0085", "a\x85b", DISPROVED),
            ("that is not NFC", "e\u0301", HOLDS), ("with spaces at its ends", " a ", HOLDS),
            ("with U+FEFF", "\ufeffa", HOLDS), ("outside of the first plane", "\U0001f600", HOLDS)):
        escaped = json.dumps(customer, ensure_ascii=True)[1:-1]
        yield f"a customer id {name}", Case(customer=customer, contents=[content(escaped)]).bytes(), POLICY, code
    for name, text, code in (
            ("subject twice", content(more=f',"subject":"{CUSTOMER}"'), DISPROVED),
            ("subject by an escape", content().replace('"subject"', '"\\u0073ubject"'), HOLDS),
            ("a half surrogate in a name of its own", content(more=',"\\ud800":1'), DISPROVED),
            ("a half surrogate in a value", content(more=',"a":"\\ud800"'), HOLDS),
            ("a half surrogate in a name further in", content(more=',"a":{"\\ud800":1}'), HOLDS),
            ("a number beyond all types", content(more=',"a":1e99999'), HOLDS),
            ("a member twice", content(more=',"a":1,"a":1'), HOLDS),
            ("deep nesting", content(more=',"a":' + "[" * 3000 + "]" * 3000), HOLDS),
            ("white space around it", f" {content()}\n", HOLDS), ("a form feed before it", f"\f{content()}", DISPROVED),
            ("a byte order mark before it", f"\ufeff{content()}", DISPROVED),
            ("a NUL behind it", f"{content()}\0", DISPROVED),
            ("an array", f'["{CUSTOMER}"]', DISPROVED), ("another subject", content("customer-43"), DISPROVED),
            ("a leading zero", content(more=',"a":01'), DISPROVED)):
        yield f"a content with {name}", Case(contents=[text]).bytes(), POLICY, code


def entries():
    """§3, §11: entries and keys that a producer or the operator really signed."""
    registered = [party("till"), key("key.registered", TILL)]
    one, two = twins("till", 1)
    both = [party("till"), key("key.registered", one), key("key.registered", two)]
    yield "two keys of one id, signed by the first", Case(both, one).bytes(), POLICY, HOLDS
    yield "two keys of one id, signed by the second", Case(both, two).bytes(), POLICY, DISPROVED
    ended = [*both[:2], key("key.revoked", one), both[2]]
    yield "two keys of one id, the first ended, signed by the second", Case(ended, two).bytes(), POLICY, HOLDS
    yield "two keys of one id, the first ended, signed by the first", Case(ended, one).bytes(), POLICY, DISPROVED
    yield "a party that is registered twice", Case([*registered, party("till")]).bytes(), POLICY, HOLDS
    yield "a key that is registered twice", Case([*registered, registered[1]]).bytes(), POLICY, DISPROVED
    for name, key_ in (
            ("that is none", "till"), ("of type 0x04", Secret("till", 4, b"1" * 32).vkey()),
            ("of another name", secret("mailer").vkey()), ("in two pieces of base64", TILL.vkey(in_two_pieces)),
            ("with another id", TILL.vkey().replace(TILL.id.hex(), "00000000")),
            ("that is no point", raw_vkey("till", 1, (2).to_bytes(32, "little"))),
            ("of small order", raw_vkey("till", 1, bytes(32))),
            ("in another encoding", raw_vkey("till", 1, (2**255 - 19 + 3).to_bytes(32, "little")))):
        more = {"party": "till", "action": "key.registered", "key": key_}
        yield f"a key {name}", Case([*registered, more]).bytes(), POLICY, DISPROVED
    for name, more, code in (
            ("a NUL in a party's full name", {"name": "a\0b"}, HOLDS), ("an empty full name", {"name": ""}, HOLDS),
            ("a time of 2^64 - 1", {"time": 2**64 - 1}, HOLDS), ("a time of 2^64", {"time": 2**64}, DISPROVED),
            ("a country of null", {"country": None}, DISPROVED), ("a country that is none", {"country": "?"}, HOLDS),
            ("a member too many", {"more": 1}, DISPROVED), ("a key too many", {"key": TILL.vkey()}, DISPROVED)):
        yield f"a registry entry with {name}", Case([registered[0] | more, registered[1]]).bytes(), POLICY, code
    for name, more, code in (
            ("more shards than there may be", {"shards": 4097}, DISPROVED), ("no shards", {"shards": 0}, DISPROVED),
            ("a VRF key of small order", {"vrf": b64(bytes(32))}, DISPROVED),
            ("a VRF key of 31 bytes", {"vrf": b64(VRF.public[:31])}, DISPROVED),
            ("one public key for operator and recovery",
             {"recovery": Secret("recovery", 1, v.sha256(b"seed of the cases operator")).vkey()}, HOLDS),
            ("a member too many", {"more": 1}, DISPROVED)):
        yield f"a genesis entry with {name}", Case(genesis=more).bytes(), POLICY, code
    for name, change in (("one byte too long", lambda e: [e[0] + b"\0"]), ("one byte too short", lambda e: [e[0][:-1]]),
                         ("of an unknown kind", lambda e: [b"\5" + e[0][1:]]), ("empty", lambda e: [b""])):
        yield f"an event entry {name}", Case(entries=change).bytes(), POLICY, DISPROVED
    two_lines = lambda k, text: k.line(text) + k.line(text)
    yield "a batch signed twice", Case(note_lines=two_lines).bytes(), POLICY, DISPROVED
    yield "a batch's signature in two pieces of base64", Case(line=in_two_pieces).bytes(), POLICY, DISPROVED
    for name, number, code in (("2^64 - 1", str(2**64 - 1), HOLDS), ("2^64", str(2**64), DISPROVED),
                               ("with a leading zero", "00", DISPROVED), ("with a sign", "+0", DISPROVED)):
        yield f"a batch number {name}", Case(number=number).bytes(), POLICY, code
    yield "two contents, one of them unreadable", \
        Case(contents=[content(), content(more=',"a":1')], states=["opened", "unreadable"]).bytes(), POLICY, DISPROVED


def raw_vkey(name, type_, public):
    id_ = v.sha256(name.encode(), b"\n", bytes([type_]), public)[:4]
    return f"{name}+{id_.hex()}+{b64(bytes([type_]) + public)}"


def checkpoints():
    """§7, §8, §13, §17.3: what the logs, witnesses and auditors signed."""
    witness = f"witness w {WITNESS.vkey()}"

    def signed(change=lambda t: t, key_=LOG_KEY, lines=lambda t: "", first=lambda t: ""):
        return lambda text: (t := change(text)) + "\n" + first(t) + key_.line(t) + lines(t)

    def sized(n):
        return lambda text: text.replace(f"\n{text.splitlines()[1]}\n", f"\n{n}\n", 1)

    for name, n in (("of 0", "0"), ("of 2^62 + 1", 2**62 + 1), ("of 2^63", 2**63), ("of 2^64 - 1", 2**64 - 1),
                    ("of 2^64", 2**64), ("with a leading zero", "07"), ("with a sign", "+7")):
        yield f"a record log's size {name}", Case(checkpoint=signed(sized(n))).bytes(), POLICY, DISPROVED
        yield f"a map log's size {name}", Case(map_checkpoint=signed(sized(n), MAP_KEY)).bytes(), POLICY, DISPROVED
    rows = lambda at, to: lambda leaf: "\n".join([*leaf.split("\n")[:at], to, *leaf.split("\n")[at + 1:]])
    for name, change, code in (
            ("2^64 - 1 labels", rows(2, str(2**64 - 1)), HOLDS), ("2^64 labels", rows(2, str(2**64)), DISPROVED),
            ("a time of 0", rows(3, "0"), HOLDS), ("a time of 2^64 - 1", rows(3, str(2**64 - 1)), HOLDS),
            ("a time of 2^64", rows(3, str(2**64)), DISPROVED),
            ("a size of 2^62 + 1", rows(5, str(2**62 + 1)), DISPROVED),
            ("an extension line", lambda leaf: leaf + "x\n", DISPROVED),
            ("an empty line more", lambda leaf: leaf + "\n", DISPROVED),
            ("no last newline", lambda leaf: leaf[:-1], DISPROVED),
            ("carriage returns", lambda leaf: leaf.replace("\n", "\r\n"), DISPROVED),
            ("its root's base64 padded in the middle", rows(1, b64(b"aa") + b64(b"a" * 30)), DISPROVED)):
        yield f"a map leaf with {name}", Case(map_leaf=change).bytes(), POLICY, code
    yield "a map leaf of no leaves", \
        Case(map_leaf=lambda l: rows(6, b64(v.sha256()))(rows(5, "0")(l))).bytes(), POLICY, DISPROVED
    yield "an extension line", Case(checkpoint=signed(lambda t: t + "x\n")).bytes(), POLICY, DISPROVED
    yield "an extension line of no bytes", Case(checkpoint=signed(lambda t: t + "\n")).bytes(), POLICY, DISPROVED
    both = dict(write=in_two_pieces)
    yield "a log's signature in two pieces of base64", \
        Case(checkpoint=lambda t: t + "\n" + LOG_KEY.line(t, **both)).bytes(), POLICY, DISPROVED
    other = secret("other")
    for name, line in (("of an unknown key", lambda t: other.line(t)),
                       ("of an unknown key of the same name", lambda t: secret(LOG, 1, "x").line(t)),
                       ("of one byte under an unknown key", lambda t: f"\u2014 x {b64(bytes(5))}\n"),
                       ("of an unknown key, 63 times", lambda t: 63 * other.line(t)),
                       ("under a name with 0x7f", lambda t: f"\u2014 a\x7f {b64(bytes(5))}\n"),
                       ("under a name of 512 bytes", lambda t: f"\u2014 {'x' * 512} {b64(bytes(5))}\n"),
                       ("under a name with U+200B", lambda t: f"\u2014 a\u200b {b64(bytes(5))}\n"),
                       ("twice, the second wrong", lambda t: LOG_KEY.line(t + "x"))):
        yield f"a second line {name}", Case(checkpoint=signed(lines=line)).bytes(), POLICY, HOLDS
    for name, line in (("of an unknown key, 64 times", lambda t: 64 * other.line(t)),
                       ("of no signature", lambda t: f"\u2014 x {b64(bytes(4))}\n"),
                       ("in two pieces of base64 under an unknown key",
                        lambda t: f"\u2014 x {in_two_pieces(bytes(9))}\n"),
                       ("under a name of 513 bytes", lambda t: f"\u2014 {'x' * 513} {b64(bytes(5))}\n"),
                       ("under a name with U+0085", lambda t: f"\u2014 a\x85 {b64(bytes(5))}\n"),
                       ("under a name with U+3000", lambda t: f"\u2014 a\u3000 {b64(bytes(5))}\n"),
                       ("under a name with a plus", lambda t: f"\u2014 a+ {b64(bytes(5))}\n"),
                       ("under no name", lambda t: f"\u2014  {b64(bytes(5))}\n"),
                       ("with a NUL", lambda t: f"\u2014 a\0 {b64(bytes(5))}\n"),
                       ("without its end", lambda t: f"\u2014 x {b64(bytes(5))}"),
                       ("that is empty", lambda t: "\n")):
        yield f"a second line {name}", Case(checkpoint=signed(lines=line)).bytes(), POLICY, DISPROVED
    wrong_first = Case(checkpoint=signed(first=lambda t: LOG_KEY.line(t + "x")))
    yield "a second line, the first wrong", wrong_first.bytes(), POLICY, DISPROVED

    def cosigned(*lines):
        """Both logs with these lines, each made from the text."""
        add = lambda text: "".join(line(text) for line in lines)
        return Case(checkpoint=signed(lines=add), map_checkpoint=signed(lines=add, key_=MAP_KEY)).bytes()

    wanted = policy(witness, quorum="w")
    good = lambda t: WITNESS.line(t, TIME)
    wrong = lambda t: WITNESS.line(t + "x", TIME)
    yield "a quorum that is not met", FILE, wanted, DISPROVED
    yield "a quorum that is met", cosigned(good), wanted, HOLDS
    yield "a cosignature twice", cosigned(good, good), wanted, HOLDS
    yield "a cosignature twice, the second wrong", cosigned(good, wrong), wanted, HOLDS
    yield "a cosignature twice, the first wrong", cosigned(wrong, good), wanted, DISPROVED
    yield "a wrong cosignature that no quorum wants", cosigned(wrong), policy(witness), DISPROVED
    for name, time, code in (("0", 0, HOLDS), ("2^63 - 1", 2**63 - 1, HOLDS), ("2^63", 2**63, DISPROVED)):
        yield f"a cosignature's time of {name}", cosigned(lambda t: WITNESS.line(t, time)), wanted, code
    short = lambda t: f"\u2014 {WITNESS.name} {b64(WITNESS.id + bytes(71))}\n"
    yield "a cosignature of 71 bytes", cosigned(short), wanted, DISPROVED
    one, two = twins("witness.example", 4)
    pair = [f"witness a {one.vkey()}", f"witness b {two.vkey()}"]
    yield "two witnesses of one id, nobody cosigned", FILE, policy(*pair), HOLDS
    yield "two witnesses of one id, one cosigned", cosigned(lambda t: one.line(t, TIME)), policy(*pair), DISPROVED
    yield "two witnesses of one id, both cosigned", \
        cosigned(lambda t: one.line(t, TIME), lambda t: two.line(t, TIME)), policy(*pair), DISPROVED
    yield "a witness of that id alone", cosigned(lambda t: one.line(t, TIME)), policy(pair[0], quorum="a"), HOLDS
    yield "a witness of that id alone, and the other's line first", \
        cosigned(lambda t: two.line(t, TIME), lambda t: one.line(t, TIME)), policy(pair[0], quorum="a"), DISPROVED


def policies():
    """§13: files that are no policy, and odd ones that are."""
    witness = f"witness w {WITNESS.vkey()}"
    for name, text, code in (
            ("without a log", policy(logs=()), DISPROVED), ("without the map log", policy(logs=(LOG_KEY,)), DISPROVED),
            ("of another ledger", POLICY.replace(f"ledger {NAME}", "ledger other"), DISPROVED),
            ("of another id", POLICY.replace("11" * 32, "12" * 32), DISPROVED), ("empty", "", NOT_CHECKABLE),
            ("without a quorum", POLICY.replace("quorum none\n", ""), NOT_CHECKABLE),
            ("with two quorums", POLICY + "quorum none\n", NOT_CHECKABLE),
            ("without a last newline", POLICY[:-1], HOLDS), ("with an empty last line", POLICY + "\n", HOLDS),
            ("with carriage returns", POLICY.replace("\n", "\r\n"), NOT_CHECKABLE),
            ("with a NUL in a comment", POLICY + "# \0\n", NOT_CHECKABLE),
            ("with 0x7f", POLICY + "# \x7f\n", NOT_CHECKABLE),
            ("with a byte order mark", "\ufeff" + POLICY, NOT_CHECKABLE),
            ("with a tab", POLICY.replace(" ", "\t"), HOLDS),
            ("with U+00A0 for a space", POLICY.replace("quorum ", "quorum\xa0"), NOT_CHECKABLE),
            ("with a vkey in two pieces of base64",
             policy(logs=(MAP_KEY,)).replace("quorum", f"log {LOG_KEY.vkey(in_two_pieces)}\nquorum"), NOT_CHECKABLE),
            ("with a log's key of type 0x04", policy(f"log {WITNESS.vkey()}"), NOT_CHECKABLE),
            ("with a log twice", policy(logs=(LOG_KEY, MAP_KEY, LOG_KEY)), NOT_CHECKABLE),
            ("with a log of the same origin", policy(logs=(LOG_KEY, MAP_KEY, secret(LOG, 1, "x"))), NOT_CHECKABLE),
            ("with a witness twice", policy(witness, witness.replace("witness w", "witness x")), NOT_CHECKABLE),
            ("with a witness's name twice", policy(witness, f"witness w {secret('x', 4).vkey()}"), NOT_CHECKABLE),
            ("with a witness called none", policy(f"witness none {WITNESS.vkey()}"), NOT_CHECKABLE),
            ("with an auditor that is a witness", policy(witness, f"#sharetrail auditor {WITNESS.vkey()}"), NOT_CHECKABLE),
            ("with a group of nobody", policy("group g any"), NOT_CHECKABLE),
            ("with a group of all of nobody", policy("group g all"), NOT_CHECKABLE),
            ("with a group of itself", policy("group g any g"), NOT_CHECKABLE),
            ("with a member twice", policy(witness, "group g 1 w w"), NOT_CHECKABLE),
            ("with a member of two groups", policy(witness, "group g 1 w", "group h 1 w"), NOT_CHECKABLE),
            ("with a group of 0", policy(witness, "group g 0 w"), NOT_CHECKABLE),
            ("with a group of more than there are", policy(witness, "group g 2 w"), NOT_CHECKABLE),
            ("with a group of 01", policy(witness, "group g 01 w"), NOT_CHECKABLE),
            ("with an unknown quorum", policy(quorum="w"), NOT_CHECKABLE),
            ("with a quorum named before", policy(logs=()).replace("quorum none", f"quorum w\n{witness}"), NOT_CHECKABLE),
            ("with an unknown line of ours", policy("#sharetrail x"), NOT_CHECKABLE),
            ("with #sharetrails", policy("#sharetrails x"), HOLDS),
            ("with an unknown line", policy("x"), NOT_CHECKABLE),
            ("with two addresses", policy(log_line="log {} a b"), NOT_CHECKABLE),
            ("with 16,384 lines", POLICY + "\n" * (16_384 - 4), HOLDS),
            ("with 16,385 lines", POLICY + "\n" * (16_385 - 4), NOT_CHECKABLE)):
        yield f"a policy {name}", FILE, text, code
    for name, public in (("that is no point", (2).to_bytes(32, "little")), ("of small order", bytes(32)),
                         ("in another encoding", (2**255 - 19 + 3).to_bytes(32, "little"))):
        yield f"a policy with a key {name}", FILE, policy(f"log {raw_vkey('x', 1, public)}"), NOT_CHECKABLE


def cases():
    for group in (reading, values, entries, checkpoints, policies):
        yield from group()


def main(folder):
    table = []
    for n, (name, file, policy_, code) in enumerate(cases()):
        paths = [folder / f"{n}.{kind}" for kind in ("file", "policy")]
        paths[0].write_bytes(file)
        paths[1].write_bytes(policy_.encode())
        table.append({"name": name, "file": paths[0].name, "policy": paths[1].name, "exit": code})
    (folder / "table.json").write_text(json.dumps(table, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
