// Bytes, and the ways in which they are written as text (docs/formats.md §1).
//
// In scope: joining and comparing, UTF-8, base64, hex, numbers and names in text. Out of scope: what the
// bytes mean. Trust: nothing is believed; whatever is not written in its one way comes back as null.

const utf8Writer = new TextEncoder();
// A byte order mark is a character like any other: it must not vanish unseen.
const utf8Reader = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The bytes of a text in UTF-8. */
export function utf8(text) {
  return utf8Writer.encode(text);
}

/** The text that the bytes are in UTF-8, or null. */
export function textOf(bytes) {
  try {
    return utf8Reader.decode(bytes);
  } catch {
    return null;
  }
}

/** All parts after each other. A part is an array of bytes, or a text that is taken in UTF-8. */
export function concat(...parts) {
  const arrays = parts.map((part) => (typeof part === 'string' ? utf8(part) : part));
  const all = new Uint8Array(arrays.reduce((length, array) => length + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    all.set(array, at);
    at += array.length;
  }
  return all;
}

export function sameBytes(a, b) {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

/** Big-endian, 2, 4 and 8 bytes. */
export function u16(value) {
  return Uint8Array.of(value >> 8, value & 255);
}

export function u32(value) {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}

export function u64(value) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

export function readU64(bytes, at) {
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(at);
}

/** str16(t) of §1: the length in two bytes, then the text. */
export function str16(text) {
  const bytes = utf8(text);
  return concat(u16(bytes.length), bytes);
}

export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The bytes of hex with small letters, as many as are wanted, or null. */
export function unhex(text, length) {
  if (text.length !== 2 * length || !/^[0-9a-f]*$/.test(text)) return null;
  return Uint8Array.from({ length }, (_, at) => Number.parseInt(text.slice(2 * at, 2 * at + 2), 16));
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const BASE64_VALUES = new Map(Array.from(BASE64, (letter, value) => [letter.charCodeAt(0), value]));

/** RFC 4648 §4, with padding. */
export function base64(bytes) {
  let text = '';
  for (let at = 0; at < bytes.length; at += 3) {
    const group = (bytes[at] << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    text += BASE64[group >> 18] + BASE64[(group >> 12) & 63];
    text += at + 1 < bytes.length ? BASE64[(group >> 6) & 63] : '=';
    text += at + 2 < bytes.length ? BASE64[group & 63] : '=';
  }
  return text;
}

/** The bytes of base64 as §1 wants it: with padding, unused bits zero, nothing else. Else null. */
export function unbase64(text) {
  if (text.length % 4 !== 0) return null;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const letters = text.length - padding;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let [group, bits, at] = [0, 0, 0];
  for (let place = 0; place < letters; place += 1) {
    const value = BASE64_VALUES.get(text.charCodeAt(place));
    if (value === undefined) return null;
    group = ((group << 6) | value) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at] = (group >> bits) & 255;
      at += 1;
    }
  }
  return (group & ((1 << bits) - 1)) === 0 ? bytes : null;
}

/** A hash in text: 44 characters of base64, 32 bytes. Else null. */
export function unhash(text) {
  const bytes = text.length === 44 ? unbase64(text) : null;
  return bytes !== null && bytes.length === 32 ? bytes : null;
}

/** A number in text: decimal, no leading zero, no sign, below 2^64. As a BigInt, or null. */
export function unnumber(text) {
  if (!/^(?:0|[1-9][0-9]{0,19})$/.test(text)) return null;
  const value = BigInt(text);
  return value < 1n << 64n ? value : null;
}

/** Whether a text is the name of a ledger, a producer or a party. */
export function isName(text) {
  return /^[a-z0-9.-]{1,63}$/.test(text) && /[a-z0-9]/.test(text);
}

/** `<index>of<P>` as {index, count}, or null. */
export function unshard(text) {
  const [index, count, ...rest] = text.split('of').map(unnumber);
  const fits = rest.length === 0 && index !== null && count !== null && count !== undefined;
  if (!fits || count < 1n || count > 4096n || index >= count) return null;
  return { index: Number(index), count: Number(count) };
}
