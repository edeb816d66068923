// SHA-256 and SHA-512 (FIPS 180-4), one call after the other.
//
// In scope: hashing without waiting. Trees have many small hashes, and WebCrypto answers each of them with a
// promise, which costs ten times as much as the hash. Out of scope: what is hashed once, which WebCrypto does
// (engine.js). Trust: the constants are computed from their definition, and engine.js compares both functions
// with WebCrypto.

/** The whole part of the n-th root of a BigInt. */
function wholeRoot(value, n) {
  let root = 1n << BigInt(Math.ceil(value.toString(2).length / Number(n)));
  for (;;) {
    const next = ((n - 1n) * root + value / root ** (n - 1n)) / n;
    if (next >= root) return root;
    root = next;
  }
}

function firstPrimes(count) {
  const primes = [];
  for (let number = 2; primes.length < count; number += 1) {
    if (primes.every((prime) => number % prime !== 0)) primes.push(number);
  }
  return primes;
}

/** The first 64 bits of what follows the point in the n-th root of a prime (FIPS 180-4 §4.2, §5.3). */
function rootBits(prime, n) {
  return BigInt.asUintN(64, wholeRoot(BigInt(prime) << (64n * n), n));
}

const SHA512_ROUNDS = firstPrimes(80).map((prime) => rootBits(prime, 3n));
const SHA512_START = firstPrimes(8).map((prime) => rootBits(prime, 2n));
const SHA256_ROUNDS = Int32Array.from(SHA512_ROUNDS.slice(0, 64), (bits) =>
  Number(BigInt.asIntN(32, bits >> 32n)),
);
const SHA256_START = Int32Array.from(SHA512_START, (bits) => Number(BigInt.asIntN(32, bits >> 32n)));

/** The end of a message: what is left of it after whole blocks, 0x80, zeros, and the length of all in bits. */
function endOf(bytes, block) {
  const whole = bytes.length - (bytes.length % block);
  const rest = bytes.subarray(whole);
  const end = new Uint8Array(rest.length + 1 + block / 8 > block ? 2 * block : block);
  end.set(rest);
  end[rest.length] = 0x80;
  const view = new DataView(end.buffer);
  view.setBigUint64(end.length - 8, BigInt(bytes.length) * 8n);
  return { whole, view };
}

const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const schedule256 = new Int32Array(64);
const state256 = new Int32Array(8);

/** SHA-256 of bytes, at once. */
export function sha256(bytes) {
  const state = state256;
  state.set(SHA256_START);
  const { whole, view: end } = endOf(bytes, 64);
  const view = viewOf(bytes);
  for (let block = 0; block < whole; block += 64) fold256(state, view, block);
  for (let block = 0; block < end.byteLength; block += 64) fold256(state, end, block);
  const hash = new Uint8Array(32);
  const out = viewOf(hash);
  for (let at = 0; at < 8; at += 1) out.setInt32(4 * at, state[at]);
  return hash;
}

function fold256(state, view, block) {
  const w = schedule256;
  for (let t = 0; t < 16; t += 1) w[t] = view.getInt32(block + 4 * t);
  for (let t = 16; t < 64; t += 1) {
    const [x, y] = [w[t - 15], w[t - 2]];
    const small0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const small1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[t] = (w[t - 16] + small0 + w[t - 7] + small1) | 0;
  }
  let a = state[0],
    b = state[1],
    c = state[2],
    d = state[3];
  let e = state[4],
    f = state[5],
    g = state[6],
    h = state[7];
  for (let t = 0; t < 64; t += 1) {
    const big1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const first = (h + big1 + ((e & f) ^ (~e & g)) + SHA256_ROUNDS[t] + w[t]) | 0;
    const big0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const second = (big0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + first) | 0;
    d = c;
    c = b;
    b = a;
    a = (first + second) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

const low64 = (value) => BigInt.asUintN(64, value);
const turn64 = (value, by) => low64((value >> by) | (value << (64n - by)));

/** SHA-512 of bytes, at once. Slow: only where a browser has no WebCrypto. */
export function sha512(bytes) {
  const { whole, view: end } = endOf(bytes, 128);
  const view = viewOf(bytes);
  let state = SHA512_START;
  for (let block = 0; block < whole; block += 128) state = fold512(state, view, block);
  for (let block = 0; block < end.byteLength; block += 128) state = fold512(state, end, block);
  const hash = new Uint8Array(64);
  const out = new DataView(hash.buffer);
  state.forEach((word, at) => out.setBigUint64(8 * at, word));
  return hash;
}

function fold512(state, view, block) {
  const w = Array.from({ length: 16 }, (_, t) => view.getBigUint64(block + 8 * t));
  for (let t = 16; t < 80; t += 1) {
    const [x, y] = [w[t - 15], w[t - 2]];
    const small0 = turn64(x, 1n) ^ turn64(x, 8n) ^ (x >> 7n);
    const small1 = turn64(y, 19n) ^ turn64(y, 61n) ^ (y >> 6n);
    w.push(low64(w[t - 16] + small0 + w[t - 7] + small1));
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let t = 0; t < 80; t += 1) {
    const big1 = turn64(e, 14n) ^ turn64(e, 18n) ^ turn64(e, 41n);
    const first = h + big1 + ((e & f) ^ (~e & g)) + SHA512_ROUNDS[t] + w[t];
    const second = (turn64(a, 28n) ^ turn64(a, 34n) ^ turn64(a, 39n)) + ((a & b) ^ (a & c) ^ (b & c));
    [h, g, f, e, d, c, b, a] = [g, f, e, low64(d + first), c, b, a, low64(first + second)];
  }
  return [a, b, c, d, e, f, g, h].map((word, at) => low64(word + state[at]));
}
