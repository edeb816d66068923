// What an event on record says, read strictly enough to say who is named in it (docs/formats.md §2).
//
// In scope: which attributes and fields an event of each kind has, and of which form; references between events.
// Out of scope: what single texts say, such as whether a term or a country is known: that names nobody.
// Trust: a content is its producer's word. Whoever wants to hide a recipient may write a member twice, or under
// another name: then it does not read, and nothing is concluded from it.

import { utf8 } from './bytes.js';

const CONTENT_BYTES_MAX = 65536;
const LIST_MAX = 256;
const KIND_PREFIX = 'org.sharetrail.';
const KIND_VERSION = '.v1';

/** The kinds: the fields that each needs, and those that it may have. */
export const EVENT_KINDS = {
  'data.collected': [
    'categories purposes origin',
    'legal_basis notice description benefit retention consent contract method payload series',
  ],
  'data.accessed': [
    'categories purposes',
    'recipient legal_basis description consent method series request',
  ],
  'data.derived': [
    'categories purposes',
    'legal_basis origin notice description benefit retention consent contract method payload',
  ],
  'data.shared': [
    'recipient categories purposes',
    'legal_basis notice description benefit retention country safeguard sale consent onward_of payload series ' +
      'contract method request',
  ],
  'data.transferred': [
    'recipient categories purposes',
    'legal_basis notice description benefit retention country safeguard sale consent onward_of payload series ' +
      'contract method request',
  ],
  'data.received': [
    'recipient disclosure',
    'categories purposes description retention country onward_of payload method outcome',
  ],
  'data.corrected': ['categories', 'purposes origin description payload method request corrects'],
  'disclosure.failed': ['disclosure outcome', 'recipient categories purposes description method'],
  'consent.given': [
    'purposes',
    'categories recipient legal_basis notice description benefit retention country sale method',
  ],
  'consent.refused': ['purposes', 'categories recipient notice description method'],
  'consent.withdrawn': ['consent', 'purposes categories recipient description outcome method request'],
  'consent.expired': ['consent', 'purposes categories recipient description outcome'],
  'preference.changed': ['purposes outcome', 'categories recipient notice description sale method request'],
  'request.opened': ['request', 'categories recipient disclosure description method'],
  'request.updated': ['request', 'description outcome method'],
  'request.closed': ['request outcome', 'categories description method'],
  'recipient.notified': [
    'recipient',
    'categories consent disclosure description outcome method request corrects',
  ],
  'recipient.confirmed': [
    'recipient',
    'categories consent disclosure description outcome method request corrects',
  ],
  'relationship.started': [
    '',
    'categories purposes legal_basis origin notice description benefit contract method',
  ],
  'relationship.ended': ['', 'description outcome retention contract method'],
  'breach.notified': [
    'categories description',
    'recipient notice country outcome disclosure method',
  ],
  'dispute.opened': ['description', 'categories purposes recipient disclosure method request'],
  'dispute.resolved': ['outcome', 'description disclosure method request'],
  'event.corrected': [
    'corrects description',
    'categories purposes legal_basis recipient origin notice benefit retention country safeguard sale consent ' +
      'onward_of disclosure outcome payload series contract method request',
  ],
};

const ROLES = ['processor', 'joint-controller', 'affiliate', 'third-party', 'authority'];
const RIGHTS = ['access', 'erasure', 'rectification', 'portability', 'objection', 'restriction'];
const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const isText = (value) => typeof value === 'string' && value !== '' && !/\p{Cs}/u.test(value);
const isMoment = (value) => isText(value) && MOMENT.test(value) && !Number.isNaN(Date.parse(value));
const isList = (value, isOne) =>
  Array.isArray(value) && value.length >= 1 && value.length <= LIST_MAX && value.every(isOne);

/** An object with all members that it needs, and none but those and those that it may have. */
function isRecord(value, needs, may = {}) {
  if (!isObject(value)) return false;
  const shapes = { ...needs, ...may };
  const fits = ([name, one]) => Object.hasOwn(shapes, name) && shapes[name](one);
  return (
    Object.entries(value).every(fits) && Object.keys(needs).every((name) => Object.hasOwn(value, name))
  );
}

const isTexts = (value) => isList(value, isText);
const isReference = (value) => isText(value) || isRecord(value, { source: isText, id: isText });
const isDigestOfField = (value) => isRecord(value, { field: isText, digest: isText });

function isRecipient(value) {
  const isParty = (id) => isText(id) && /^[a-z0-9.-]{1,63}$/.test(id);
  const needs = { id: isParty, name: isText, role: (role) => ROLES.includes(role), country: isText };
  return isRecord(value, needs, { contact: isText, address: isText });
}

function isSeries(value) {
  const isCount = (count) => Number.isInteger(count) && count >= 1;
  const isSpan = isRecord(value, { first: isMoment, count: isCount, last: isMoment });
  return isSpan && Date.parse(value.first) <= Date.parse(value.last);
}

function isRequest(value) {
  const needs = { id: isText, right: (right) => RIGHTS.includes(right) };
  return isRecord(value, needs, { regime: isText, status: isText, due: isMoment });
}

/** Fields that are no single text. */
const FIELD_SHAPES = {
  categories: isTexts,
  purposes: isTexts,
  recipient: isRecipient,
  sale: (value) => typeof value === 'boolean',
  consent: isReference,
  onward_of: isReference,
  disclosure: isReference,
  corrects: isReference,
  payload: (value) => isList(value, isDigestOfField),
  series: isSeries,
  request: isRequest,
};

const shapesOf = (names) =>
  Object.fromEntries(
    names
      .split(' ')
      .filter((name) => name !== '')
      .map((name) => [name, FIELD_SHAPES[name] ?? isText]),
  );

/** The attributes around `data` that must be there. */
const ATTRIBUTES = {
  specversion: (value) => value === '1.0',
  id: isText,
  source: isText,
  type: isText,
  subject: isText,
  time: isMoment,
};
/** Those that may be left out, which `null` says too. */
const OPTIONAL_ATTRIBUTES = {
  __proto__: null,
  datacontenttype: (value) => value === null || value === 'application/json',
  dataschema: (value) => value === null || isText(value),
};

function isExtension(name, value) {
  const isWhole = Number.isInteger(value) && value >= -(2 ** 31) && value < 2 ** 31;
  const isScalar = value === null || typeof value === 'string' || typeof value === 'boolean' || isWhole;
  return /^[a-z0-9]+$/.test(name) && isScalar;
}

/** Whether a member stands twice in a JSON text, however deep: names in the text against names that were kept. */
function hasRepeated(text, value) {
  let told = 0;
  for (const [, colon] of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?/g)) {
    if (colon !== undefined) told += 1;
  }
  const waiting = [value];
  while (waiting.length > 0) {
    const one = waiting.pop();
    if (one === null || typeof one !== 'object') continue;
    if (!Array.isArray(one)) told -= Object.keys(one).length;
    waiting.push(...Object.values(one));
  }
  return told !== 0;
}

function parsedEvent(text) {
  try {
    return JSON.parse(text);
  } catch {
    // An object of RFC 8259 all the same, as it was checked, only too deep for this browser.
    return null;
  }
}

/** An event as {kind, source, id, at, data}, `at` in milliseconds; null where the content does not read as one. */
export function readEvent(text) {
  const event = utf8(text).length <= CONTENT_BYTES_MAX ? parsedEvent(text) : null;
  if (!isObject(event) || hasRepeated(text, event)) return null;
  const { data, ...attributes } = event;
  for (const [name, fits] of Object.entries(ATTRIBUTES)) if (!fits(attributes[name])) return null;
  const isOther = ([name, value]) => OPTIONAL_ATTRIBUTES[name]?.(value) ?? isExtension(name, value);
  const others = Object.entries(attributes).filter(([name]) => !Object.hasOwn(ATTRIBUTES, name));
  if (!others.every(isOther)) return null;
  const { type } = event;
  if (!type.startsWith(KIND_PREFIX) || !type.endsWith(KIND_VERSION)) return null;
  const kind = type.slice(KIND_PREFIX.length, -KIND_VERSION.length);
  if (!Object.hasOwn(EVENT_KINDS, kind)) return null;
  const [needs, may] = EVENT_KINDS[kind].map(shapesOf);
  if (!isRecord(data, needs, may)) return null;
  return { kind, source: event.source, id: event.id, at: Date.parse(event.time), data };
}

/** The host of a URI, in lower case, without user and port; null where it has none. */
function hostOf(source) {
  const [, rest] = /^[^]*?:\/\/([^]*)$/.exec(source) ?? [];
  if (rest === undefined) return null;
  const authority = rest.split(/[/?#]/)[0];
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  return host.replace(/:[0-9]*$/, '').toLowerCase();
}

/** Whether a reference that one event holds names another: its source and id, or its id on the same host. */
export function isNamedBy(event, reference, holder) {
  const { source, id } = typeof reference === 'string' ? { source: null, id: reference } : reference;
  if (id !== event.id) return false;
  return source === null ? hostOf(holder.source) === hostOf(event.source) : source === event.source;
}
