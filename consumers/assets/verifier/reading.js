// Reading a dossier or an erasure certificate (docs/formats.md §15.1, §15.3, §15.5).
//
// In scope: which of the two a file is, its members and their types, and the one way of writing. Out of
// scope: whether what it says holds. Trust: the file is anybody's.

import { utf8 } from './bytes.js';
import { JsonFault, JsonReader, aBase64, aHash, aLabel, aName, aString, aU32, aU64 } from './json.js';
import { goesOn } from './json.js';

export const FILE_BYTES_MAX = 2 ** 30;
export const DOSSIER_FORMAT = 'sharetrail.org/dossier@v1';
export const CERTIFICATE_FORMAT = 'sharetrail.org/erasure@v1';

/** Why a file is not what it should be. `isAltered`: it is a document of ours that was changed; else it is none. */
export class ReadFault extends Error {
  constructor(isAltered, place, why) {
    super(why);
    Object.assign(this, { isAltered, place, why });
  }
}

const anObject =
  (...shapes) =>
  (reader, place) =>
    reader.object(place, shapes);
const aList = (shape) => (reader, place) => reader.list(place, shape);
const orNull = (shape) => (reader, place) => (reader.takeNull(place) ? null : shape(reader, place));

const aPath = aList(aU32);
const anOther = orNull(anObject(['label', aLabel], ['value', aHash]));
const aLabelPath = anObject(['path', aPath], ['other', anOther]);
const aLeaf = anObject(
  ['entry', aBase64],
  ['batch', aU32],
  ['position', aU32],
  ['batch_path', aPath],
  ['path', aPath],
);
const aMap = anObject(['checkpoint', aString], ['leaf', aString], ['path', aPath], ['consistency', aPath]);
const aShard = anObject(
  ['shard', aU32],
  ['checkpoint', aString],
  ['genesis', aBase64],
  ['genesis_path', aPath],
  ['map', aMap],
  ['batches', aList(anObject(['index', aU64], ['note', aString], ['path', aPath]))],
  ['registry', aList(aLeaf)],
  ['parties', aList(anObject(['party', aName], ['map', aLabelPath]))],
);

const CONTENT_STATES = ['opened', 'erased', 'unreadable'];

function aContent(reader, place) {
  const content = reader.object(place, [
    ['state', aString],
    ['opening', aBase64, true],
    ['json', aString, true],
  ]);
  if (!CONTENT_STATES.includes(content.state))
    reader.fail(place, 'a state of a content that the format does not have');
  const wanted = content.state === 'opened';
  for (const name of ['opening', 'json']) {
    if (Object.hasOwn(content, name) !== wanted)
      reader.fail(place, `"${name}" stands with "opened", and only there`);
  }
  return content;
}

const aGeneration = anObject(
  ['generation', aU32],
  ['label', aLabel],
  ['proof', aBase64],
  ['map', aLabelPath],
  ['events', aList(anObject(['leaf', aLeaf], ['content', aContent]))],
  ['erasure', orNull(aLeaf)],
);
const anAbsence = anObject(['generation', aU32], ['label', aLabel], ['proof', aBase64], ['map', aLabelPath]);

const FILE_HEAD = [
  ['format', aString],
  ['ledger', aName],
  ['customer', aString],
  ['hashes', aList(aHash)],
];

const DOCUMENTS = [
  {
    kind: 'dossier',
    format: DOSSIER_FORMAT,
    texts: [`"${DOSSIER_FORMAT}"`, '"hashes":[', '"generations":[', '"shards":['],
    shape: anObject(
      ...FILE_HEAD,
      ['shards', aList(aShard)],
      ['generations', aList(aGeneration)],
      ['absence', anAbsence],
    ),
  },
  {
    kind: 'certificate',
    format: CERTIFICATE_FORMAT,
    texts: [`"${CERTIFICATE_FORMAT}"`, '"hashes":[', '"shard":{', '"erasure":{'],
    shape: anObject(
      ...FILE_HEAD,
      ['shard', aShard],
      ['generation', aU32],
      ['label', aLabel],
      ['proof', aBase64],
      ['erasure', aLeaf],
    ),
  },
];

function standsAt(bytes, wanted, at) {
  for (let offset = 0; offset < wanted.length; offset += 1) {
    if (bytes[at + offset] !== wanted[offset]) return false;
  }
  return true;
}

function holdsText(bytes, text) {
  const wanted = utf8(text);
  for (let at = bytes.indexOf(wanted[0]); at >= 0; at = bytes.indexOf(wanted[0], at + 1)) {
    if (standsAt(bytes, wanted, at)) return true;
  }
  return false;
}

const holdsThree = (bytes, { texts }) => texts.filter((text) => holdsText(bytes, text)).length >= 3;

/** Which document a file is, were it only changed a little. */
function documentOf(bytes) {
  const begun = DOCUMENTS.find(({ format }) => standsAt(bytes, utf8(`{"format":"${format}",`), 0));
  return begun ?? DOCUMENTS.find((document) => holdsThree(bytes, document)) ?? DOCUMENTS[0];
}

const [NEWLINE, BRACE] = [0x0a, 0x7d];

/** Whether a file ends as a document does, but for one byte. */
function endsAsDocument(bytes) {
  const [third, second, last] = [bytes.at(-3), bytes.at(-2), bytes.at(-1)];
  return second === BRACE || (last === NEWLINE && third === BRACE);
}

/** Reads a file as {kind, format, value}. Throws a ReadFault. */
export function readDocument(bytes) {
  if (bytes.length > FILE_BYTES_MAX)
    throw new ReadFault(false, '', 'the file is larger than a dossier can be');
  if (bytes.length === 0) throw new ReadFault(false, '', 'the file is empty');
  const document = documentOf(bytes);
  const reader = new JsonReader(bytes);
  try {
    const value = document.shape(reader, '');
    const end = reader.at;
    reader.skipSpace();
    if (reader.at < bytes.length) reader.fail('', 'something follows the JSON');
    // One newline at the end is how it is written; all other white space is another way.
    const departs = reader.departs === end && bytes[end] === NEWLINE ? end + 1 : reader.departs;
    if (departs >= 0 && departs < bytes.length) {
      throw new ReadFault(true, `byte ${departs}`, 'the file is not written as the format wants it');
    }
    if (end === bytes.length)
      throw new ReadFault(false, `byte ${end}`, 'the file is cut off: its last newline is gone');
    return { kind: document.kind, format: document.format, value };
  } catch (fault) {
    if (!(fault instanceof JsonFault)) throw fault;
    // A newline stands at the end of a document and nowhere else: with it, nothing was cut off.
    const isCut = bytes.at(-1) !== NEWLINE && goesOn(bytes);
    const isAltered = !isCut && holdsThree(bytes, document) && endsAsDocument(bytes);
    const why = isCut ? `the file is cut off: ${fault.why}` : fault.why;
    throw new ReadFault(isAltered, `${fault.place || 'the file'}, byte ${fault.at}`, why);
  }
}
