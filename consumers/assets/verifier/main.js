// What scripts beside the bundle may use: proof.js finds it under one name, since the bundle's address
// changes with its bytes.
//
// In scope: handing out. `parts` is for tests and for proof.js, which checks that a log only grew.

import { base64, hex, isName, textOf, unbase64, unhash, unhex, utf8 } from './bytes.js';
import { customersOf } from './content.js';
import { decodePoint, encodePoint, expectedR, hasSmallOrder } from './curve.js';
import { isPublicKey, isStrictSignature } from './curve.js';
import { button, element, momentText } from './elements.js';
import { makeEngine } from './engine.js';
import { parseEntry, partyLabel } from './entry.js';
import { EVENT_KINDS, readEvent } from './event.js';
import { STAGES } from './examination.js';
import { aString, aU64, readCanonical } from './json.js';
import { parseMapLeaf } from './map.js';
import { cosignatureOf, parseBatchNote, parseCheckpoint, parseNote, parseVkey, signatureOf } from './note.js';
import { startVerifierPage } from './page.js';
import { openCheckpoint, parsePolicy } from './policy.js';
import { readDocument } from './reading.js';
import { answerAbout, partiesLike, sharingIn } from './recipients.js';
import { Registry } from './registry.js';
import { Progress, render } from './render.js';
import { sha256, sha512 } from './sha.js';
import { includes, isConsistent, leafHash, treeRoot } from './tree.js';
import { curvePointFor, labelInput, shardOfLabel, vrfOutput } from './vrf.js';
import { failure, forPeople, judge, verify } from './verdict.js';
import { WORDS, wordsFor } from './words.js';

const bytesParts = { base64, hex, isName, textOf, unbase64, unhash, unhex, utf8, sha256, sha512 };
const curveParts = {
  decodePoint,
  encodePoint,
  expectedR,
  hasSmallOrder,
  isPublicKey,
  isStrictSignature,
  makeEngine,
};
const treeParts = { includes, isConsistent, leafHash, treeRoot, parseMapLeaf };
const noteParts = { parseNote, parseCheckpoint, parseBatchNote, parseVkey, signatureOf, cosignatureOf };
const logParts = { parsePolicy, openCheckpoint, parseEntry, partyLabel, Registry, readDocument, customersOf };
const labelParts = { curvePointFor, labelInput, shardOfLabel, vrfOutput, readCanonical, aString, aU64 };
const sharingParts = { EVENT_KINDS, readEvent, sharingIn, answerAbout, partiesLike };
const bookParts = { ...noteParts, ...logParts, ...labelParts, ...sharingParts };
const parts = { ...bytesParts, ...curveParts, ...treeParts, ...bookParts };
const showing = { Progress, button, element, momentText, render, STAGES, WORDS, wordsFor };

startVerifierPage();
globalThis.SharetrailVerifier = Object.freeze({
  verify,
  judge,
  forPeople,
  failure,
  ...showing,
  parts: Object.freeze(parts),
});
