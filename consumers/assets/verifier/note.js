// Signed notes, their keys, checkpoints and batch notes (docs/formats.md §7 to §9; C2SP signed-note,
// tlog-checkpoint, tlog-cosignature).
//
// In scope: parsing, and whether a line of a note holds under a key. Out of scope: which keys to believe
// (policy.js, registry.js). Trust: notes are anybody's; a parser gives null for what is not written in its
// one way.

import { concat, hex, isName, readU64, unbase64, unhash, unnumber, unshard, utf8 } from './bytes.js';
import { isPublicKey } from './curve.js';
import { sha256 } from './sha.js';

const NOTE_BYTES_MAX = 60000;
const LINES_MAX = 64;
export const TYPE_ED25519 = 0x01;
export const TYPE_COSIGNATURE = 0x04;

function isKeyName(text) {
  const { length } = utf8(text);
  return length >= 1 && length <= 512 && !/[\p{White_Space}+]/u.test(text);
}

/** A vkey of one type as {name, id, key}, or null. */
export function parseVkey(text, type) {
  const parts = /^([^+]+)\+([0-9a-f]{8})\+([^]+)$/.exec(text);
  const bytes = parts && unbase64(parts[3]);
  if (!bytes || bytes.length !== 33 || bytes[0] !== type || !isKeyName(parts[1])) return null;
  const id = hex(sha256(concat(parts[1], '\n', bytes)).subarray(0, 4));
  const key = bytes.slice(1);
  return id === parts[2] && isPublicKey(key) ? { name: parts[1], id, key } : null;
}

/** A note as {text, lines: [{name, id, signature}]}, or null. */
export function parseNote(note) {
  const end = note.lastIndexOf('\n\n');
  const isTooLong = note.length > NOTE_BYTES_MAX || utf8(note).length > NOTE_BYTES_MAX;
  if (isTooLong || end < 0 || !note.endsWith('\n') || /[\0-\x09\x0b-\x1f]/.test(note)) return null;
  const lines = note
    .slice(end + 2, -1)
    .split('\n')
    .map(parseLine);
  if (lines.length > LINES_MAX || lines.includes(null)) return null;
  return { text: note.slice(0, end + 1), lines };
}

function parseLine(line) {
  const [dash, name, text, ...rest] = line.split(' ');
  if (dash !== '\u2014' || text === undefined || rest.length > 0 || !isKeyName(name)) return null;
  const bytes = unbase64(text);
  if (bytes === null || bytes.length < 5) return null;
  return { name, id: hex(bytes.subarray(0, 4)), signature: bytes.subarray(4) };
}

/** The first line with the key's name and id; others of that key are not looked at. */
function lineOf(note, key) {
  return note.lines.find((line) => line.name === key.name && line.id === key.id);
}

/** Whether the key signed the note: 'holds', 'wrong', or 'absent'. */
export async function signatureOf(engine, note, key) {
  const line = lineOf(note, key);
  if (line === undefined) return 'absent';
  return (await engine.holds(key.key, utf8(note.text), line.signature)) ? 'holds' : 'wrong';
}

/** Whether the key cosigned the note, and when: {state, time}. */
export async function cosignatureOf(engine, note, key) {
  const line = lineOf(note, key);
  if (line === undefined) return { state: 'absent' };
  if (line.signature.length !== 72) return { state: 'wrong' };
  const time = readU64(line.signature, 0);
  const signed = utf8(`cosignature/v1\ntime ${time}\n${note.text}`);
  const holds = time < 1n << 63n && (await engine.holds(key.key, signed, line.signature.subarray(8)));
  return holds ? { state: 'holds', time } : { state: 'wrong' };
}

/** The text of a checkpoint as {origin, size, root, extensions}, or null. No proof holds under a size above 2^62. */
export function parseCheckpoint(text) {
  const lines = text.split('\n');
  const [origin, sizeText, rootText, ...extensions] = lines.slice(0, -1);
  if (lines.at(-1) !== '' || rootText === undefined || origin === '' || extensions.includes('')) return null;
  const [size, root] = [unnumber(sizeText), unhash(rootText)];
  if (size === null || root === null) return null;
  return { origin, size, root, extensions };
}

/** A batch note (§9) as {text, lines, ledger, shard, shards, producer, chain, number, size, root}, or null. */
export function parseBatchNote(note) {
  const checkpoint = parseCheckpoint(note.text);
  if (checkpoint === null || checkpoint.extensions.length !== 1) return null;
  const [ledger, word, place, producer, chain, numberText, ...rest] = checkpoint.origin.split('/');
  const [shard, number] = [unshard(place ?? ''), unnumber(numberText ?? '')];
  const fits = rest.length === 0 && word === 'batch' && isName(ledger) && isName(producer);
  if (!fits || shard === null || number === null || !/^[0-9a-f]{32}$/.test(chain)) return null;
  const [prev] = checkpoint.extensions;
  if (!prev.startsWith('prev ') || unhash(prev.slice(5)) === null) return null;
  if (checkpoint.size < 1n || checkpoint.size > 1024n) return null;
  const { size, root } = checkpoint;
  return { ...note, ledger, shard: shard.index, shards: shard.count, producer, chain, number, size, root };
}
