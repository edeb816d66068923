// Merkle trees of RFC 6962 and RFC 9162 over SHA-256 (docs/formats.md §1).
//
// In scope: hashes of leaves and nodes, roots, and whether inclusion and consistency proofs hold. Out of
// scope: who signed a root. Trust: proofs are anybody's; their length is checked before anything is hashed.

import { concat, sameBytes } from './bytes.js';
import { sha256 } from './sha.js';

const TREE_SIZE_MAX = 1n << 62n;
const LEAF_PREFIX = Uint8Array.of(0x00);
const ROOT_OF_NOTHING = sha256(new Uint8Array(0));

export function leafHash(entry) {
  return sha256(concat(LEAF_PREFIX, entry));
}

/** 0x01 ‖ left ‖ right, in the same place each time: there are many nodes. */
const nodeBytes = Uint8Array.of(0x01, ...new Uint8Array(64));

function treeNode(left, right) {
  nodeBytes.set(left, 1);
  nodeBytes.set(right, 33);
  return sha256(nodeBytes);
}

/** RFC 9162 §2.1.1: the root over leaf hashes. */
export function treeRoot(hashes) {
  if (hashes.length === 0) return ROOT_OF_NOTHING;
  if (hashes.length === 1) return hashes[0];
  const split = 2 ** Math.floor(Math.log2(hashes.length - 1));
  return treeNode(treeRoot(hashes.slice(0, split)), treeRoot(hashes.slice(split)));
}

/** How many hashes prove the inclusion of a leaf: one a level at which it has a sibling. */
function inclusionLength(index, size) {
  const apart = index ^ (size - 1n);
  const inner = apart === 0n ? 0 : apart.toString(2).length;
  const border = (index >> BigInt(inner)).toString(2).replaceAll('0', '').length;
  return inner + border;
}

/** RFC 9162 §2.1.3.2: whether the leaf is at the index of the tree with this root. */
export function includes(tree, index, hash, path) {
  const { size, root } = tree;
  if (size > TREE_SIZE_MAX || index >= size || path.length !== inclusionLength(index, size)) return false;
  let [fn, sn, found] = [index, size - 1n, hash];
  for (const sibling of path) {
    if ((fn & 1n) === 1n || fn === sn) {
      found = treeNode(sibling, found);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      found = treeNode(found, sibling);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && sameBytes(found, root);
}

/** RFC 9162 §2.1.4.2: whether the new tree begins with the old one. A tree is {size, root}. */
export function isConsistent(old, now, path) {
  if (now.size > TREE_SIZE_MAX || old.size > now.size) return false;
  if (old.size === 0n) return path.length === 0 && sameBytes(old.root, ROOT_OF_NOTHING);
  if (old.size === now.size) return path.length === 0 && sameBytes(old.root, now.root);
  const isWhole = (old.size & (old.size - 1n)) === 0n;
  const hashes = isWhole ? [old.root, ...path] : path;
  if (hashes.length === 0 || path.length > 63) return false;
  let [fn, sn] = [old.size - 1n, now.size - 1n];
  while ((fn & 1n) === 1n) {
    fn >>= 1n;
    sn >>= 1n;
  }
  let [fr, sr] = [hashes[0], hashes[0]];
  for (const hash of hashes.slice(1)) {
    if (sn === 0n) return false;
    if ((fn & 1n) === 1n || fn === sn) {
      fr = treeNode(hash, fr);
      sr = treeNode(hash, sr);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      sr = treeNode(sr, hash);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && sameBytes(fr, old.root) && sameBytes(sr, now.root);
}
