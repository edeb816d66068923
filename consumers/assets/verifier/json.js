// JSON that has one way of being written (docs/formats.md §4).
//
// In scope: reading bytes as RFC 8259 JSON of a wanted shape, and noting the first byte at which another way
// of writing was chosen: that is what reading, writing again and comparing finds, without a second copy of
// the file. Out of scope: what the values mean. Trust: the bytes are anybody's; nothing recurses deeper than
// the wanted shape.

import { isName, textOf, unbase64, unhash, unhex } from './bytes.js';

/** Why a text is not JSON of the wanted shape. */
export class JsonFault extends Error {
  constructor(at, place, why) {
    super(why);
    Object.assign(this, { at, place, why });
  }
}

const [QUOTE, COMMA, COLON, BACKSLASH] = [0x22, 0x2c, 0x3a, 0x5c];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];
const SHORT_ESCAPES = {
  0x22: '"',
  0x5c: '\\',
  0x2f: '/',
  0x62: '\b',
  0x66: '\f',
  0x6e: '\n',
  0x72: '\r',
  0x74: '\t',
};

const isSpace = (byte) => byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;

/** Reads values one after the other. A shape is a function of a reader and the value's place in the file. */
export class JsonReader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
    /** Where the bytes first differ from the one way of writing; -1 while they do not. */
    this.departs = -1;
  }

  departAt(at) {
    if (this.departs < 0 || at < this.departs) this.departs = at;
  }

  fail(place, why) {
    throw new JsonFault(this.at, place, why);
  }

  skipSpace() {
    while (isSpace(this.bytes[this.at])) {
      this.departAt(this.at);
      this.at += 1;
    }
  }

  isNext(byte) {
    this.skipSpace();
    return this.bytes[this.at] === byte;
  }

  take(byte, place) {
    if (!this.isNext(byte)) this.fail(place, `"${String.fromCharCode(byte)}" is wanted here`);
    this.at += 1;
  }

  /** Whether null stands here; then it is passed over. */
  takeNull(place) {
    if (!this.isNext(0x6e)) return false;
    for (const byte of [0x6e, 0x75, 0x6c, 0x6c]) {
      if (this.bytes[this.at] !== byte) this.fail(place, 'null is wanted here');
      this.at += 1;
    }
    return true;
  }

  /** The digits of a whole number without sign, fraction, exponent or leading zero, at most twenty. */
  digits(place) {
    this.skipSpace();
    const start = this.at;
    while (this.bytes[this.at] >= 0x30 && this.bytes[this.at] <= 0x39) this.at += 1;
    const end = this.at;
    if (end === start) this.fail(place, 'a whole number is wanted here');
    if (this.bytes[start] === 0x30 && end > start + 1) this.fail(place, 'a number with a leading zero');
    const isWhole = ![0x2e, 0x45, 0x65].includes(this.bytes[end]);
    if (!isWhole) this.fail(place, 'a number that is not written as a whole one');
    if (end - start > 20) this.fail(place, 'a number that is too large');
    return this.bytes.subarray(start, end);
  }

  /** A whole number below 2^64, as a BigInt. */
  u64(place) {
    const value = BigInt(String.fromCharCode(...this.digits(place)));
    return value < 1n << 64n ? value : this.fail(place, 'a number that is too large');
  }

  /** A whole number below 2^32. */
  u32(place) {
    const digits = this.digits(place);
    let value = 0;
    // At most twenty digits: where this is no longer exact, it is far above the bound.
    for (const digit of digits) value = value * 10 + (digit - 0x30);
    return value < 2 ** 32 ? value : this.fail(place, 'a number that is too large');
  }

  string(place) {
    this.take(QUOTE, place);
    let start = this.at;
    let text = '';
    for (;;) {
      const byte = this.bytes[this.at];
      if (byte === undefined) this.fail(place, 'the string does not end');
      if (byte < 0x20) this.fail(place, 'a control character in a string');
      if (byte === QUOTE || byte === BACKSLASH) {
        text += this.decoded(start, place);
        if (byte === QUOTE) break;
        text += this.escape(place);
        start = this.at;
      } else {
        this.at += 1;
      }
    }
    this.at += 1;
    return text;
  }

  decoded(start, place) {
    const text = start === this.at ? '' : textOf(this.bytes.subarray(start, this.at));
    if (text === null) this.fail(place, 'bytes that are not UTF-8');
    return text;
  }

  escape(place) {
    const start = this.at;
    this.at += 1;
    const letter = this.bytes[this.at];
    if (letter === undefined) this.fail(place, 'the string does not end');
    if (letter !== 0x75) {
      if (SHORT_ESCAPES[letter] === undefined) this.fail(place, 'an escape that JSON does not know');
      // A slash is not escaped: that is the only short escape that is another way of writing.
      if (letter === 0x2f) this.departAt(start);
      this.at += 1;
      return SHORT_ESCAPES[letter];
    }
    const unit = this.unit(place);
    if (unit >= 0xd800 && unit <= 0xdfff) return this.pair(start, unit, place);
    const text = String.fromCharCode(unit);
    const written = String.fromCharCode(...this.bytes.subarray(start, this.at));
    const hasShort = [0x08, 0x09, 0x0a, 0x0c, 0x0d].includes(unit);
    if (unit >= 0x20 || hasShort || written !== `\\u${unit.toString(16).padStart(4, '0')}`)
      this.departAt(start);
    return text;
  }

  /** The four hex digits after \u; `at` stands on the u before, and behind them afterwards. */
  unit(place) {
    let value = 0;
    for (let digits = 0; digits < 4; digits += 1) {
      this.at += 1;
      if (this.at >= this.bytes.length) this.fail(place, 'the string does not end');
      const digit = Number.parseInt(String.fromCharCode(this.bytes[this.at]), 16);
      if (Number.isNaN(digit)) this.fail(place, 'an escape without four hex digits');
      value = value * 16 + digit;
    }
    this.at += 1;
    return value;
  }

  pair(start, high, place) {
    this.departAt(start);
    const [backslash, u] = [this.bytes[this.at], this.bytes[this.at + 1]];
    if (high < 0xdc00 && backslash === BACKSLASH && u === 0x75) {
      this.at += 1;
      const low = this.unit(place);
      if (low >= 0xdc00 && low <= 0xdfff) return String.fromCharCode(high, low);
    }
    return this.fail(place, 'half of a surrogate pair');
  }

  list(place, shape) {
    this.take(OPEN_LIST, place);
    const values = [];
    if (this.isNext(CLOSE_LIST)) {
      this.at += 1;
      return values;
    }
    for (;;) {
      values.push(shape(this, `${place}[${values.length}]`));
      if (this.isNext(CLOSE_LIST)) break;
      this.take(COMMA, place);
    }
    this.at += 1;
    return values;
  }

  /**
   * An object with the members that `shapes` names, in its order: [[name, shape, mayBeAbsent], …]. Another order is
   * another way of writing; a member twice, one too many or one too few is a fault.
   */
  object(place, shapes) {
    this.take(OPEN_OBJECT, place);
    const value = {};
    const seen = new Set();
    let last = -1;
    for (;;) {
      if (this.isNext(CLOSE_OBJECT)) {
        if (seen.size > 0) this.fail(place, 'a comma before the end');
        break;
      }
      const start = this.at;
      const name = this.string(place);
      const position = shapes.findIndex(([known]) => known === name);
      if (position < 0) this.fail(place, 'a member that the format does not have');
      if (seen.has(name)) this.fail(place, `the member "${name}" stands twice`);
      if (position < last) this.departAt(start);
      last = position;
      seen.add(name);
      this.take(COLON, place);
      value[name] = shapes[position][1](this, place === '' ? name : `${place}.${name}`);
      if (this.isNext(CLOSE_OBJECT)) break;
      this.take(COMMA, place);
    }
    for (const [name, , mayBeAbsent] of shapes) {
      if (!seen.has(name) && !mayBeAbsent) this.fail(place, `the member "${name}" is missing`);
    }
    this.at += 1;
    return value;
  }
}

const JSON_WORDS = { 0x74: 'true', 0x66: 'false', 0x6e: 'null' };
const bytesOfLetters = (letters) => new Set(Array.from(letters, (letter) => letter.charCodeAt(0)));
const NUMBER_BYTES = bytesOfLetters('0123456789+-.eE');
const HEX_DIGITS = bytesOfLetters('0123456789abcdefABCDEF');
const JSON_NUMBER = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/;

/** Where a string ends whose first quote is before `at`: Infinity where the bytes end first, -1 where it is none. */
function endOfString(bytes, at) {
  for (let place = at; place < bytes.length; place += 1) {
    if (bytes[place] === QUOTE) return place + 1;
    if (bytes[place] < 0x20) return -1;
    if (bytes[place] !== BACKSLASH) continue;
    place += 1;
    if (bytes[place] === 0x75) {
      const digits = bytes.subarray(place + 1, place + 5);
      if (digits.length < 4) return Infinity;
      if (!digits.every((digit) => HEX_DIGITS.has(digit))) return -1;
      place += 4;
    } else if (place < bytes.length && SHORT_ESCAPES[bytes[place]] === undefined) {
      return -1;
    }
  }
  return Infinity;
}

/** The same of a number. */
function endOfNumber(bytes, at) {
  let end = at;
  while (NUMBER_BYTES.has(bytes[end])) end += 1;
  return JSON_NUMBER.test(textOf(bytes.subarray(at, end))) ? end : -1;
}

/** The same of true, false and null. */
function endOfWord(bytes, at) {
  const word = JSON_WORDS[bytes[at]];
  for (let offset = 0; offset < word.length; offset += 1) {
    if (at + offset >= bytes.length) return Infinity;
    if (bytes[at + offset] !== word.charCodeAt(offset)) return -1;
  }
  return at + word.length;
}

/** What may stand next. */
const AWAITS = { value: 0, valueOrEnd: 1, name: 2, nameOrEnd: 3, colon: 4, commaOrEnd: 5 };

/**
 * Whether the bytes are RFC 8259 JSON up to their end, whatever it says, and the JSON goes on there. So that a file is
 * cut off does not depend on which of its faults is met first.
 */
export function goesOn(bytes) {
  const open = [];
  const mayEnd = [AWAITS.valueOrEnd, AWAITS.nameOrEnd, AWAITS.commaOrEnd];
  let [at, awaited] = [0, AWAITS.value];
  for (;;) {
    while (isSpace(bytes[at])) at += 1;
    if (at >= bytes.length) return awaited !== AWAITS.commaOrEnd || open.length > 0;
    const byte = bytes[at];
    const wantsName = awaited === AWAITS.name || awaited === AWAITS.nameOrEnd;
    if (byte === open.at(-1) && mayEnd.includes(awaited)) {
      open.pop();
      [at, awaited] = [at + 1, AWAITS.commaOrEnd];
    } else if (awaited === AWAITS.commaOrEnd) {
      if (byte !== COMMA || open.length === 0) return false;
      [at, awaited] = [at + 1, open.at(-1) === CLOSE_OBJECT ? AWAITS.name : AWAITS.value];
    } else if (awaited === AWAITS.colon) {
      if (byte !== COLON) return false;
      [at, awaited] = [at + 1, AWAITS.value];
    } else if (byte === QUOTE) {
      [at, awaited] = [endOfString(bytes, at + 1), wantsName ? AWAITS.colon : AWAITS.commaOrEnd];
    } else if (wantsName) {
      return false;
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      open.push(byte === OPEN_LIST ? CLOSE_LIST : CLOSE_OBJECT);
      [at, awaited] = [at + 1, byte === OPEN_LIST ? AWAITS.valueOrEnd : AWAITS.nameOrEnd];
    } else {
      const endOfScalar = JSON_WORDS[byte] === undefined ? endOfNumber : endOfWord;
      [at, awaited] = [endOfScalar(bytes, at), AWAITS.commaOrEnd];
    }
    if (at < 0) return false;
    if (at === Infinity) return true;
  }
}

/** Shapes of single values; each gives what was read, or throws a JsonFault. */
export const aString = (reader, place) => reader.string(place);
export const aU32 = (reader, place) => reader.u32(place);
export const aU64 = (reader, place) => reader.u64(place);

/** A string that `decode` turns into something other than null. */
export const decodedBy = (decode, what) => (reader, place) => {
  const value = decode(reader.string(place));
  return value === null ? reader.fail(place, `${what} is wanted here`) : value;
};

export const aName = decodedBy((text) => (isName(text) ? text : null), 'a name');
export const aHash = decodedBy(unhash, 'a hash of 44 characters of base64');
export const aLabel = decodedBy((text) => unhex(text, 32), 'a label of 64 hex digits');
export const aBase64 = decodedBy(unbase64, 'base64');

/** Reads the bytes as one value and nothing else, written in the one way. Throws a JsonFault. */
export function readCanonical(bytes, shape) {
  const reader = new JsonReader(bytes);
  const value = shape(reader, '');
  if (reader.at !== bytes.length) reader.fail('', 'something follows the JSON');
  if (reader.departs >= 0) throw new JsonFault(reader.departs, '', 'the JSON is not written in the one way');
  return value;
}
