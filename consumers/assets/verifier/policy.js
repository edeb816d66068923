// The trust policy, and what it says of a checkpoint (docs/formats.md §13; C2SP tlog-policy).
//
// In scope: reading a policy, opening checkpoints under it. Out of scope: where the policy came from: whoever
// verifies decides that. Trust: the policy is believed, and nothing else is. The checkpoints are anybody's.

import { isName, textOf, unhex, unnumber } from './bytes.js';
import { TYPE_COSIGNATURE, TYPE_ED25519, cosignatureOf, parseCheckpoint, parseNote } from './note.js';
import { parseVkey, signatureOf } from './note.js';

const POLICY_LINES_MAX = 16384;

/** Why a file is no policy. `line` counts from 1; 0 is the file as a whole. */
export class PolicyFault extends Error {
  constructor(line, why) {
    super(why);
    Object.assign(this, { line, why });
  }
}

class PolicyReader {
  constructor() {
    this.policy = {
      ledger: null,
      id: null,
      logs: new Map(),
      witnesses: new Map(),
      auditors: [],
      groups: new Map(),
    };
    this.policy.quorum = null;
    this.members = new Set();
    this.keys = new Set();
    this.line = 0;
  }

  want(holds, why) {
    if (!holds) throw new PolicyFault(this.line, why);
  }

  key(text, type) {
    const key = parseVkey(text, type);
    this.want(key !== null, 'not a verifier key of the kind that is wanted here');
    const bytes = key.key.join();
    this.want(!this.keys.has(bytes), 'a public key that stands in another line already');
    this.keys.add(bytes);
    return key;
  }

  isDefined(name) {
    return this.policy.witnesses.has(name) || this.policy.groups.has(name);
  }

  newName(name) {
    this.want(name !== 'none' && !this.isDefined(name), `the name "${name}" is reserved, or taken`);
  }

  read(words) {
    const [first] = words;
    const readers = {
      '#sharetrail': 'own',
      log: 'log',
      witness: 'witness',
      group: 'group',
      quorum: 'quorum',
    };
    if (Object.hasOwn(readers, first)) this[readers[first]](words);
    else this.want(first.startsWith('#'), `a line that begins with "${first}"`);
  }

  own([, word, ...rest]) {
    if (word === 'ledger' && rest.length === 2) {
      this.want(this.policy.ledger === null, 'the ledger is named twice');
      this.want(isName(rest[0]) && unhex(rest[1], 32) !== null, 'not the name and the id of a ledger');
      [this.policy.ledger, this.policy.id] = rest;
    } else {
      this.want(
        word === 'auditor' && rest.length === 1,
        'a line "#sharetrail" that is neither ledger nor auditor',
      );
      this.policy.auditors.push(this.key(rest[0], TYPE_COSIGNATURE));
    }
  }

  log(words) {
    this.want(words.length === 2 || words.length === 3, 'a log line needs a key, and may have an address');
    const key = this.key(words[1], TYPE_ED25519);
    this.want(!this.policy.logs.has(key.name), 'two logs of the same origin');
    this.policy.logs.set(key.name, key);
  }

  witness(words) {
    this.want(words.length === 3 || words.length === 4, 'a witness line needs a name and a key');
    this.newName(words[1]);
    this.policy.witnesses.set(words[1], this.key(words[2], TYPE_COSIGNATURE));
  }

  group([, name, threshold, ...members]) {
    this.want(members.length > 0, 'a group needs a name, a number and a member');
    this.newName(name);
    for (const member of members) {
      this.want(this.isDefined(member), `the member "${member}" is not defined above`);
      this.want(!this.members.has(member), `"${member}" is a member already`);
      this.members.add(member);
    }
    const count = { any: 1n, all: BigInt(members.length) }[threshold] ?? unnumber(threshold);
    this.want(
      count !== null && count >= 1n && count <= BigInt(members.length),
      'a number that the group cannot meet',
    );
    this.policy.groups.set(name, { count: Number(count), members });
  }

  quorum(words) {
    this.want(words.length === 2, 'a quorum line needs one name');
    this.want(this.policy.quorum === null, 'the quorum is named twice');
    this.want(
      words[1] === 'none' || this.isDefined(words[1]),
      `the quorum "${words[1]}" is not defined above`,
    );
    this.policy.quorum = words[1];
  }
}

/** Reads a policy. Throws a PolicyFault. */
export function parsePolicy(bytes) {
  const reader = new PolicyReader();
  const text = textOf(bytes);
  reader.want(text !== null, 'the file is not UTF-8');
  const lines = (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n');
  reader.want(lines.length <= POLICY_LINES_MAX, `more than ${POLICY_LINES_MAX} lines`);
  for (const line of lines) {
    reader.line += 1;
    reader.want(!/[\0-\x08\x0a-\x1f\x7f]/.test(line), 'a control character');
    const words = line.split(/[ \t]+/).filter((word) => word !== '');
    if (words.length > 0) reader.read(words);
  }
  reader.line = 0;
  reader.want(reader.policy.ledger !== null, 'no line says which ledger it is');
  reader.want(reader.policy.quorum !== null, 'no line says which quorum is wanted');
  return reader.policy;
}

/** Whether those witnesses are what the policy wants. Groups stand after their members, so one pass is enough. */
function isQuorumMet(policy, witnesses) {
  if (policy.quorum === 'none') return true;
  const met = new Set(witnesses);
  for (const [name, { count, members }] of policy.groups) {
    if (members.filter((member) => met.has(member)).length >= count) met.add(name);
  }
  return met.has(policy.quorum);
}

/**
 * Opens a checkpoint in the seven steps of §13: {checkpoint, auditors: [{name, time}], witnesses: [name]}, or
 * {reason, why} with the reason note, log, signature, extension, cosignature or quorum.
 */
export async function openCheckpoint(engine, policy, text) {
  const note = parseNote(text);
  const checkpoint = note && parseCheckpoint(note.text);
  if (!checkpoint) return { reason: 'note', why: 'this is not a checkpoint' };
  const key = policy.logs.get(checkpoint.origin);
  if (key === undefined) return { reason: 'log', why: `the policy has no log "${checkpoint.origin}"` };
  const signature = await signatureOf(engine, note, key);
  if (signature !== 'holds') return { reason: 'signature', why: `the log's signature is ${signature}` };
  if (checkpoint.extensions.length > 0)
    return { reason: 'extension', why: 'the checkpoint has an extension line' };
  const witnesses = [];
  for (const [name, witness] of policy.witnesses) {
    const { state } = await cosignatureOf(engine, note, witness);
    if (state === 'wrong') return { reason: 'cosignature', why: `the cosignature of "${name}" is wrong` };
    if (state === 'holds') witnesses.push(name);
  }
  const auditors = [];
  for (const auditor of policy.auditors) {
    const { state, time } = await cosignatureOf(engine, note, auditor);
    if (state === 'wrong')
      return { reason: 'cosignature', why: `the cosignature of "${auditor.name}" is wrong` };
    if (state === 'holds') auditors.push({ name: auditor.name, time });
  }
  if (!isQuorumMet(policy, witnesses))
    return { reason: 'quorum', why: 'too few witnesses cosigned the checkpoint' };
  return { checkpoint, auditors, witnesses };
}
