// Contents: the events as the services gave them (docs/formats.md §2; §15.4, step 42).
//
// In scope: whose content it is, decided strictly; and what it tells people, read with the browser's own
// JSON. Out of scope: whether it is a valid event of its kind. Trust: contents are the producers'. Nothing
// recurses: members may be nested at will.

const SHORT_UNESCAPED = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };
const CONTENT_SCALAR = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null/y;

class ContentFault extends Error {}

class ContentReader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  space() {
    while (' \t\n\r'.includes(this.text[this.at] ?? '-')) this.at += 1;
  }

  take(mark) {
    this.space();
    if (this.text[this.at] !== mark) throw new ContentFault(`"${mark}" is wanted at character ${this.at}`);
    this.at += 1;
  }

  /** A string, unescaped; halves of surrogate pairs stay in it. */
  string() {
    this.take('"');
    const parts = [];
    let start = this.at;
    for (;;) {
      const mark = this.text[this.at];
      if (mark === undefined || mark < ' ')
        throw new ContentFault(`a string that does not end at character ${this.at}`);
      if (mark === '"') break;
      this.at += 1;
      if (mark === '\\') {
        parts.push(this.text.slice(start, this.at - 1), this.escape());
        start = this.at;
      }
    }
    parts.push(this.text.slice(start, this.at));
    this.at += 1;
    return parts.join('');
  }

  escape() {
    const letter = this.text[this.at];
    this.at += 1;
    if (letter === 'u') {
      const digits = this.text.slice(this.at, this.at + 4);
      if (!/^[0-9a-fA-F]{4}$/.test(digits))
        throw new ContentFault(`an escape without digits at character ${this.at}`);
      this.at += 4;
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    if (letter === undefined || !Object.hasOwn(SHORT_UNESCAPED, letter)) {
      throw new ContentFault(`an escape that JSON does not know at character ${this.at}`);
    }
    return SHORT_UNESCAPED[letter];
  }

  /** A string without half of a surrogate pair. */
  wholeString() {
    const text = this.string();
    if (/\p{Cs}/u.test(text)) throw new ContentFault('half of a surrogate pair');
    return text;
  }

  scalar() {
    CONTENT_SCALAR.lastIndex = this.at;
    if (!CONTENT_SCALAR.test(this.text)) throw new ContentFault(`no value at character ${this.at}`);
    this.at = CONTENT_SCALAR.lastIndex;
  }

  /** Passes over one value, however deep. */
  passOver() {
    const closing = [];
    do {
      this.space();
      const mark = this.text[this.at];
      if (mark === '{' || mark === '[') {
        this.at += 1;
        this.space();
        const end = mark === '{' ? '}' : ']';
        if (this.text[this.at] !== end) {
          closing.push(end);
          if (mark === '{') this.name();
          continue;
        }
        this.at += 1;
      } else if (mark === '"') {
        this.string();
      } else {
        this.scalar();
      }
      this.afterValue(closing);
    } while (closing.length > 0);
  }

  name() {
    this.string();
    this.take(':');
  }

  /** Closes what ends here; where a comma stands, the next value begins. */
  afterValue(closing) {
    while (closing.length > 0) {
      this.space();
      if (this.text[this.at] === ',') {
        this.at += 1;
        if (closing.at(-1) === '}') this.name();
        return;
      }
      this.take(closing.pop());
    }
  }

  /** The members `subject` of the object that the text is; null stands for one that is no string. */
  subjects() {
    const found = [];
    this.take('{');
    this.space();
    if (this.text[this.at] === '}') {
      this.at += 1;
    } else {
      this.member(found);
      for (this.space(); this.text[this.at] === ','; this.space()) {
        this.at += 1;
        this.member(found);
      }
      this.take('}');
    }
    this.space();
    if (this.at !== this.text.length) throw new ContentFault('something follows the object');
    return found;
  }

  member(found) {
    const name = this.wholeString();
    this.take(':');
    this.space();
    if (name === 'subject' && this.text[this.at] === '"') {
      found.push(this.wholeString());
    } else {
      if (name === 'subject') found.push(null);
      this.passOver();
    }
  }
}

/** The values of all members `subject` of a content; none if it is no JSON object. */
export function customersOf(text) {
  try {
    return new ContentReader(text).subjects();
  } catch (fault) {
    if (fault instanceof ContentFault) return [];
    throw fault;
  }
}

const textIn = (value) => (typeof value === 'string' ? value : null);
const textsIn = (value) => (Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []);

/** What a content tells people: {kind, time, recipient, purposes, categories}. Members that are not there are null. */
export function tellingOf(text) {
  let event = null;
  try {
    event = JSON.parse(text);
  } catch {
    // It is an object of RFC 8259 all the same, only too deep for this browser: nothing is told of it.
  }
  const data = event?.data !== null && typeof event?.data === 'object' ? event.data : {};
  const recipient = data.recipient !== null && typeof data.recipient === 'object' ? data.recipient : {};
  const kind = /^org\.sharetrail\.([a-z.]+)\.v[0-9]+$/.exec(textIn(event?.type) ?? '');
  return {
    kind: kind?.[1] ?? null,
    type: textIn(event?.type),
    time: textIn(event?.time),
    recipient: textIn(recipient.id),
    recipientName: textIn(recipient.name),
    country: textIn(recipient.country),
    purposes: textsIn(data.purposes),
    categories: textsIn(data.categories),
  };
}
