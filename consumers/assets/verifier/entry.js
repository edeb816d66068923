// Entries of the record log (docs/formats.md §3).
//
// In scope: what the bytes of an entry say. Out of scope: whether it stands in a log, and who wrote it.
// Trust: entries are anybody's; what is not written in its one way is no entry.

import { concat, hex, sameBytes, str16, textOf } from './bytes.js';
import { isPublicKey } from './curve.js';
import { JsonFault, aBase64, aHash, aLabel, aName, aString, aU32, aU64 } from './json.js';
import { decodedBy, readCanonical } from './json.js';
import { TYPE_ED25519, parseVkey } from './note.js';
import { sha256 } from './sha.js';

const ENTRY_BYTES_MAX = 65535;
export const GENESIS_FORMAT = 'sharetrail.org/genesis@v1';
export const OPERATOR = 'operator';
export const RECOVERY = 'recovery';

/** The label of a party, in clear like the party. */
export function partyLabel(party) {
  return sha256(concat('sharetrail registry v1\n', str16(party)));
}

const aVkey = decodedBy((text) => parseVkey(text, TYPE_ED25519), 'a verifier key');

const GENESIS_SHAPES = [
  ['format', aString],
  ['ledger', aName],
  ['id', aLabel],
  ['shard', aU32],
  ['shards', aU32],
  ['vrf', aBase64],
  ['operator', aVkey],
  ['recovery', aVkey],
];

function parseGenesis(bytes) {
  const value = readCanonical(bytes, (reader, place) => reader.object(place, GENESIS_SHAPES));
  const { shard, shards, vrf, operator, recovery } = value;
  const fits = value.format === GENESIS_FORMAT && shards >= 1 && shards <= 4096 && shard < shards;
  if (!fits || operator.name !== OPERATOR || recovery.name !== RECOVERY || !isPublicKey(vrf)) return null;
  return { kind: 'genesis', ...value, id: hex(value.id) };
}

/** Which members follow `action`: those that must be there, and those that may. */
const ACTIONS = {
  'party.registered': [['name'], ['country', 'contact']],
  'key.registered': [['key'], []],
  'key.rotated': [['key'], []],
  'key.revoked': [['key'], []],
  'operator.replaced': [['key'], []],
};

const REGISTRY_SHAPES = [
  ['seq', aU64],
  ['prev', aHash],
  ['party', aName],
  ['time', aU64],
  ['action', aString],
  ['name', aString, true],
  ['country', aString, true],
  ['contact', aString, true],
  ['key', aString, true],
];

/** Whether `key` is a key of the party is a rule of the registry (registry.js), not of the entry. */
function parseRegistry(bytes) {
  const label = bytes.slice(0, 32);
  const value = readCanonical(bytes.subarray(32), (reader, place) => reader.object(place, REGISTRY_SHAPES));
  if (!Object.hasOwn(ACTIONS, value.action)) return null;
  const [must, may] = ACTIONS[value.action];
  const given = ['name', 'country', 'contact', 'key'].filter((member) => Object.hasOwn(value, member));
  const fits =
    must.every((name) => given.includes(name)) && given.every((name) => [...must, ...may].includes(name));
  return fits && sameBytes(partyLabel(value.party), label) ? { kind: 'registry', label, ...value } : null;
}

/** A batch entry is text; which note it is, whoever meets it says (shard.js). */
function parseBatch(bytes) {
  const note = textOf(bytes);
  return note === null ? null : { kind: 'batch', note };
}

function parseEvent(bytes) {
  if (bytes.length !== 80) return null;
  return { kind: 'event', id: bytes.slice(0, 16), label: bytes.slice(16, 48), commitment: bytes.slice(48) };
}

function parseErasure(bytes) {
  if (bytes.length !== 36) return null;
  const generation = new DataView(bytes.buffer, bytes.byteOffset).getUint32(32);
  return { kind: 'erasure', label: bytes.slice(0, 32), generation };
}

const ENTRY_PARSERS = [parseGenesis, parseEvent, parseRegistry, parseBatch, parseErasure];

/** An entry as {kind, …}, or null. */
export function parseEntry(entry) {
  const parse = entry.length <= ENTRY_BYTES_MAX ? ENTRY_PARSERS[entry[0]] : undefined;
  if (parse === undefined) return null;
  try {
    return parse(entry.subarray(1));
  } catch (fault) {
    if (fault instanceof JsonFault) return null;
    throw fault;
  }
}
