// The customer map: how many leaves a label has, and which (docs/formats.md §17).
//
// In scope: values, paths, and the leaves of the map log. Out of scope: who signed the map log. Trust: paths
// are anybody's.

import { concat, hex, sameBytes, u64, unhash, unnumber } from './bytes.js';
import { parseCheckpoint } from './note.js';
import { sha256 } from './sha.js';
import { treeRoot } from './tree.js';

const PATH_MAX = 256;
const MAP_LEAF_FORMAT = 'sharetrail.org/map@v1';
const EMPTY_MAP = new Uint8Array(32);

const bitOf = (label, depth) => (label[depth >> 3] >> (7 - (depth & 7))) & 1;
const mapNode = (left, right) => sha256(concat(Uint8Array.of(0x03), left, right));
const mapLeaf = (label, value) => sha256(concat(Uint8Array.of(0x02), label, value));

function mapValue(hashes) {
  return sha256(concat(Uint8Array.of(0x04), u64(hashes.length), treeRoot(hashes)));
}

/** Whether two labels are the same and, if not, whether their first bits are. */
function sharesBits(a, b, count) {
  for (let depth = 0; depth < count; depth += 1) {
    if (bitOf(a, depth) !== bitOf(b, depth)) return false;
  }
  return true;
}

function climb(label, end, siblings) {
  let hash = end;
  siblings.forEach((sibling, at) => {
    const depth = siblings.length - 1 - at;
    hash = bitOf(label, depth) === 1 ? mapNode(sibling, hash) : mapNode(hash, sibling);
  });
  return hash;
}

/**
 * "All of a label": whether these leaf hashes are all that the map holds under the label. Null, or {kind, why}.
 */
export function allOfLabel(map, label, hashes, siblings, other) {
  if (siblings.length > PATH_MAX) return { kind: 'Map', why: 'the path is longer than a label has bits' };
  if (hashes.length > 0) {
    if (other !== null)
      return { kind: 'Map', why: 'another label stands where leaves of this one are shown' };
    const isAll = sameBytes(climb(label, mapLeaf(label, mapValue(hashes)), siblings), map.root);
    const why = `the map says something else of ${hex(label)} than the ${hashes.length} entries shown`;
    return isAll ? null : { kind: 'Incomplete', why };
  }
  if (other !== null && (sameBytes(other.label, label) || !sharesBits(other.label, label, siblings.length))) {
    return { kind: 'Map', why: 'the other label does not lie on the way of this one' };
  }
  const end = other === null ? EMPTY_MAP : mapLeaf(other.label, other.value);
  if (sameBytes(climb(label, end, siblings), map.root)) return null;
  return {
    kind: 'NotAbsent',
    why: `no entry is shown, and the map does not say that ${hex(label)} has none`,
  };
}

/** The text of a map leaf (§17.3) as {root, labels, time, checkpoint}, or null. */
export function parseMapLeaf(text) {
  const [format, rootText, labelsText, timeText, ...rest] = text.split('\n');
  const checkpoint = parseCheckpoint(rest.join('\n'));
  if (format !== MAP_LEAF_FORMAT || checkpoint === null || checkpoint.extensions.length > 0) return null;
  const [root, labels, time] = [unhash(rootText), unnumber(labelsText), unnumber(timeText)];
  return root === null || labels === null || time === null ? null : { root, labels, time, checkpoint };
}
