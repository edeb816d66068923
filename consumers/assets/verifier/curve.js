// Points of edwards25519 (RFC 8032 §5.1), with whole numbers of any size.
//
// In scope: decoding points in their one encoding, adding and multiplying, Ed25519 with the strictness of
// docs/formats.md §7. Out of scope: secrets. Nothing here is secret, so nothing runs in constant time. Trust:
// encodings are anybody's; what is not canonical is refused, and so is what has small order where that
// matters.

const P = (1n << 255n) - 19n;
/** The order of the group of the base point. */
export const GROUP_ORDER = (1n << 252n) + 27742317777372353535851937790883648493n;

const mod = (value) => {
  const rest = value % P;
  return rest < 0n ? rest + P : rest;
};

function power(base, exponent) {
  let [result, square] = [1n, base];
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % P;
    square = (square * square) % P;
  }
  return result;
}

const inverse = (value) => power(value, P - 2n);
const D = mod(-121665n * inverse(121666n));
const TWO_D = mod(2n * D);
const ROOT_OF_MINUS_ONE = power(2n, (P - 1n) / 4n);

/** A number from bytes, the lowest first. */
export function numberOf(bytes) {
  let value = 0n;
  for (let at = bytes.length - 1; at >= 0; at -= 1) value = (value << 8n) | BigInt(bytes[at]);
  return value;
}

function bytesOf(number, length) {
  const bytes = new Uint8Array(length);
  for (let [at, rest] = [0, number]; at < length; at += 1, rest >>= 8n) bytes[at] = Number(rest & 255n);
  return bytes;
}

// A point is [X, Y, Z, T] with x = X/Z, y = Y/Z, xy = T/Z.
const IDENTITY = [0n, 1n, 1n, 0n];

/** The point with this encoding, or null: no point, or not its one encoding (RFC 8032 §5.1.3). */
export function decodePoint(bytes) {
  if (bytes.length !== 32) return null;
  const encoded = numberOf(bytes);
  const isOdd = encoded >> 255n;
  const y = encoded & ((1n << 255n) - 1n);
  if (y >= P) return null;
  const square = mod(y * y);
  const [u, v] = [mod(square - 1n), mod(D * square + 1n)];
  const v3 = mod(v * v * v);
  let x = mod(u * v3 * power(mod(u * v3 * mod(v3 * v)), (P - 5n) / 8n));
  const check = mod(v * x * x);
  if (check !== u) {
    if (check !== mod(-u)) return null;
    x = mod(x * ROOT_OF_MINUS_ONE);
  }
  if (x === 0n && isOdd === 1n) return null;
  if ((x & 1n) !== isOdd) x = P - x;
  return [x, y, 1n, mod(x * y)];
}

export function encodePoint(point) {
  const unit = inverse(point[2]);
  const [x, y] = [mod(point[0] * unit), mod(point[1] * unit)];
  return bytesOf(y | ((x & 1n) << 255n), 32);
}

function add(p, q) {
  const a = mod((p[1] - p[0]) * (q[1] - q[0]));
  const b = mod((p[1] + p[0]) * (q[1] + q[0]));
  const c = mod(p[3] * TWO_D * q[3]);
  const d = mod(2n * p[2] * q[2]);
  const [e, f, g, h] = [b - a, d - c, d + c, b + a];
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

function twice(p) {
  const a = mod(p[0] * p[0]);
  const b = mod(p[1] * p[1]);
  const c = mod(2n * p[2] * p[2]);
  const sum = p[0] + p[1];
  const h = a + b;
  const e = h - mod(sum * sum);
  const g = a - b;
  const f = c + g;
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

const negative = (p) => [mod(-p[0]), p[1], p[2], mod(-p[3])];
const isIdentity = (p) => p[0] === 0n && p[1] === p[2];

/** 8 · point: what is left when a part of small order is taken away. */
export function timesCofactor(point) {
  return twice(twice(twice(point)));
}

/** Whether the point is one of the eight whose order divides 8. */
export function hasSmallOrder(point) {
  return isIdentity(timesCofactor(point));
}

/** The small multiples 0 to 15 of a point. */
function multiples(point) {
  const table = [IDENTITY, point];
  while (table.length < 16) table.push(add(table.at(-1), point));
  return table;
}

/** a·p − b·q; four bits of both numbers at a time. */
export function differenceOfMultiples(a, p, b, q) {
  const [plus, minus] = [multiples(p), multiples(negative(q))];
  let sum = IDENTITY;
  for (let shift = 252n; shift >= 0n; shift -= 4n) {
    if (shift !== 252n) sum = twice(twice(twice(twice(sum))));
    const [first, second] = [Number((a >> shift) & 15n), Number((b >> shift) & 15n)];
    if (first !== 0) sum = add(sum, plus[first]);
    if (second !== 0) sum = add(sum, minus[second]);
  }
  return sum;
}

/** The base point: y = 4/5, x even. */
export const BASE_POINT = decodePoint(bytesOf(mod(4n * inverse(5n)), 32));

/** Whether bytes are a public key: a point in its one encoding, not of small order. */
export function isPublicKey(bytes) {
  const point = decodePoint(bytes);
  return point !== null && !hasSmallOrder(point);
}

/** The y of the points of order 8: 8 · point is the identity exactly for these, and for y = 0, 1 and −1. */
const Y_OF_ORDER_8 = (() => {
  // Doubled, such a point has y = 0, so x² = −y². In −x² + y² = 1 + d·x²·y² that gives d·y⁴ + 2·y² − 1 = 0.
  const root = rootOf(mod(1n + D));
  return [root, P - root].map((one) => rootOf(mod((one - 1n) * inverse(D)))).filter((y) => y !== null);
})();

/** A square root modulo P, or null. */
function rootOf(square) {
  const root = power(square, (P + 3n) / 8n);
  for (const candidate of [root, mod(root * ROOT_OF_MINUS_ONE)]) {
    if (mod(candidate * candidate) === square) return candidate;
  }
  return null;
}

const SMALL_ORDER_YS = new Set([0n, 1n, P - 1n, ...Y_OF_ORDER_8.flatMap((y) => [y, P - y])]);

/**
 * Whether a signature of 64 bytes has the form of §7: s below the group's order, R in the one encoding of a
 * point that is not of small order. That R is a point at all follows from the signature's equation.
 */
export function isStrictSignature(signature) {
  if (signature.length !== 64 || numberOf(signature.subarray(32)) >= GROUP_ORDER) return false;
  const y = numberOf(signature.subarray(0, 32)) & ((1n << 255n) - 1n);
  return y < P && !SMALL_ORDER_YS.has(y);
}

/** [s]B − [k]A, encoded: what R must be. `digest`: SHA-512(R ‖ A ‖ message). */
export function expectedR(publicKey, signature, digest) {
  const k = numberOf(digest) % GROUP_ORDER;
  const s = numberOf(signature.subarray(32));
  return encodePoint(differenceOfMultiples(s, BASE_POINT, k, decodePoint(publicKey)));
}
