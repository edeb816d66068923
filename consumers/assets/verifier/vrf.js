// Customer labels: ECVRF-EDWARDS25519-SHA512-TAI (RFC 9381, suite 0x03; docs/formats.md §5).
//
// In scope: whether a proof holds, which label it gives, and the shard of a label. Out of scope: making
// proofs, which needs the ledger's secret key. Trust: proofs are anybody's; the key was validated where the
// genesis entry was read.

import { concat, readU64, sameBytes, str16, u32 } from './bytes.js';
import { BASE_POINT, GROUP_ORDER, decodePoint, differenceOfMultiples, encodePoint } from './curve.js';
import { numberOf, timesCofactor } from './curve.js';

const SUITE = 0x03;
const TRIES_MAX = 256;

export function labelInput(ledger, customer, generation) {
  return concat('sharetrail label v1\n', str16(ledger), str16(customer), u32(generation));
}

/** RFC 9381 §5.4.1.1: the first counter whose hash is a point that the cofactor does not take to the identity. */
export async function curvePointFor(engine, publicKey, input) {
  for (let counter = 0; counter < TRIES_MAX; counter += 1) {
    const tail = Uint8Array.of(counter, 0x00);
    const hash = await engine.sha512(concat(Uint8Array.of(SUITE, 0x01), publicKey, input, tail));
    const point = decodePoint(hash.subarray(0, 32));
    if (point !== null) {
      const inGroup = timesCofactor(point);
      if (inGroup[0] !== 0n) return inGroup;
    }
  }
  return null;
}

/** RFC 9381 §5.3: the 64 bytes of output if the proof holds, else null. */
export async function vrfOutput(engine, publicKey, input, proof) {
  if (proof.length !== 80) return null;
  const gamma = decodePoint(proof.subarray(0, 32));
  const key = decodePoint(publicKey);
  const s = numberOf(proof.subarray(48));
  if (gamma === null || key === null || s >= GROUP_ORDER) return null;
  const h = await curvePointFor(engine, publicKey, input);
  if (h === null) return null;
  const c = numberOf(proof.subarray(32, 48));
  const u = encodePoint(differenceOfMultiples(s, BASE_POINT, c, key));
  const v = encodePoint(differenceOfMultiples(s, h, c, gamma));
  const points = concat(publicKey, encodePoint(h), proof.subarray(0, 32), u, v);
  const challenge = await engine.sha512(concat(Uint8Array.of(SUITE, 0x02), points, Uint8Array.of(0x00)));
  if (!sameBytes(challenge.subarray(0, 16), proof.subarray(32, 48))) return null;
  const output = encodePoint(timesCofactor(gamma));
  return engine.sha512(concat(Uint8Array.of(SUITE, 0x03), output, Uint8Array.of(0x00)));
}

/** Where a label lives: its first eight bytes, modulo the number of shards. */
export function shardOfLabel(label, shards) {
  return Number(readU64(label, 0) % BigInt(shards));
}
