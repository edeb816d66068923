// Who computes hashes and signatures: the browser's WebCrypto, or else our own code.
//
// In scope: choosing, and looking whether what was chosen computes rightly, before it is believed. Out of
// scope: small hashes of trees, which sha.js does at once. Trust: WebCrypto is the browser's, which runs this
// code too; but some browsers lack Ed25519, pages that are not secure contexts lack all of it, and libraries
// differ on signatures that only hold "with cofactor". Each engine must answer the questions below rightly.

import { concat, hex, sameBytes, unhex, utf8 } from './bytes.js';
import { expectedR, isStrictSignature } from './curve.js';
import { sha256, sha512 } from './sha.js';

/** RFC 8032 §7.1, test 3. */
const GOOD_SIGNATURE = {
  key: 'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
  message: Uint8Array.of(0xaf, 0x82),
  signature:
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac' +
    '18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
};

/** The key has a part of order 8: [s]B − [k]A − R is not the identity, but eight times it is. It must not hold. */
const COFACTOR_SIGNATURE = {
  key: 'b15bf26424d1b69dd33b7a9e57db5de4a2aadea4a2a051efd9bfd6af74165d2b',
  message: utf8('sharetrail'),
  signature:
    '6b12d4d055bd943206034b402ebe601bf715a3bbe772cdac6ab65b94d9a07bf6' +
    '38b6c87eab3f6e556e6996fdf71f6b1c745b99fc48dbe1b4383d90a116730c01',
};

/** FIPS 180-4, the message "abc". */
const ABC_SHA256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
const ABC_SHA512 =
  'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a' +
  '2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f';

const ownDigests = {
  sha256: async (bytes) => sha256(bytes),
  sha512: async (bytes) => sha512(bytes),
};

function browserDigests(subtle) {
  const digest = async (name, bytes) => new Uint8Array(await subtle.digest(name, bytes));
  return { sha256: (bytes) => digest('SHA-256', bytes), sha512: (bytes) => digest('SHA-512', bytes) };
}

const ownSignatures = (digests) => async (key, message, signature) => {
  const r = signature.subarray(0, 32);
  const digest = await digests.sha512(concat(r, key, message));
  return sameBytes(expectedR(key, signature, digest), r);
};

function browserSignatures(subtle) {
  const imported = new Map();
  return async (key, message, signature) => {
    const name = hex(key);
    if (!imported.has(name)) {
      imported.set(name, await subtle.importKey('raw', key, { name: 'Ed25519' }, false, ['verify']));
    }
    return subtle.verify({ name: 'Ed25519' }, imported.get(name), signature, message);
  };
}

async function computesHashes(digests) {
  const abc = utf8('abc');
  if (hex(await digests.sha256(abc)) !== ABC_SHA256 || hex(await digests.sha512(abc)) !== ABC_SHA512)
    return false;
  // Both functions of our own against those of this engine, at the lengths at which blocks begin and end.
  for (const length of [0, 1, 55, 56, 63, 64, 65, 82, 111, 112, 127, 128, 129, 1000]) {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 89 + length) & 255);
    if (!sameBytes(await digests.sha256(bytes), sha256(bytes))) return false;
    if (!sameBytes(await digests.sha512(bytes), sha512(bytes))) return false;
  }
  return true;
}

async function checksSignatures(verify) {
  const answer = ({ key, message, signature }) => verify(unhex(key, 32), message, unhex(signature, 64));
  const altered = { ...GOOD_SIGNATURE, message: Uint8Array.of(0xaf, 0x83) };
  return (await answer(GOOD_SIGNATURE)) && !(await answer(altered)) && !(await answer(COFACTOR_SIGNATURE));
}

const rightly = async (question) => {
  try {
    return await question;
  } catch {
    return false;
  }
};

/** What computes: {digests, signatures, sha256, sha512, holds}. Null where nothing computes rightly. */
export async function makeEngine(subtle) {
  const theirs = subtle && (await rightly(computesHashes(browserDigests(subtle))));
  const digests = theirs ? browserDigests(subtle) : ownDigests;
  if (!theirs && !(await rightly(computesHashes(ownDigests)))) return null;
  const candidates = [['own', ownSignatures(digests)]];
  if (subtle) candidates.unshift(['WebCrypto', browserSignatures(subtle)]);
  for (const [name, verify] of candidates) {
    if (await rightly(checksSignatures(verify))) {
      const engine = {
        digests: theirs ? 'WebCrypto' : 'own',
        signatures: name,
        ...digests,
        signaturesChecked: 0,
      };
      engine.holds = async (key, message, signature) => {
        engine.signaturesChecked += 1;
        // Strictness is ours, whoever computes: keys are looked at where they are read (note.js, entry.js).
        return isStrictSignature(signature) && rightly(verify(key, message, signature));
      };
      return engine;
    }
  }
  return null;
}
