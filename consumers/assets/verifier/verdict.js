// The verdict on a file, as people and programs get it.
//
// In scope: the whole way from two files to a verdict; whether something was altered or is missing; the facts
// that hold. Out of scope: the checks (dossier.js, shard.js), and how a verdict is shown (render.js).
//
// "Missing": the evidence lacks something that must be there, and nothing that is there contradicts it.
// "Altered": what is there does not match. Where both are found, it is altered.

import { base64 } from './bytes.js';
import { tellingOf } from './content.js';
import { examineDocument } from './dossier.js';
import { makeEngine } from './engine.js';
import { Examination } from './examination.js';
import { PolicyFault, parsePolicy } from './policy.js';
import { ReadFault, readDocument } from './reading.js';
import { sharingIn } from './recipients.js';

/** Kinds of faults that say that something is not shown. */
const MISSING_KINDS = new Set(['Incomplete', 'NotAbsent', 'Party', 'Uncovered']);
const FAULTS_MAX = 200;
const STEP_COUNT = 47;

function lacksEvidence(fault) {
  return (
    MISSING_KINDS.has(fault.kind) ||
    fault.isAbsent === true ||
    fault.isBatch === true ||
    fault.reason === 'quorum'
  );
}

const partyOf = ({ shard, party }) => `${shard} ${party}`;

/** The verdict on faults, and the one that is told first. */
export function judge(faults) {
  const lacking = new Set(faults.filter(({ kind }) => MISSING_KINDS.has(kind)).map(partyOf));
  // A key is unknown, or an entry not allowed, because what is on record about this party is not shown whole.
  const follows = (fault) =>
    (fault.kind === 'Key' || fault.kind === 'Registry') && lacking.has(partyOf(fault));
  const altered = faults.find((fault) => !lacksEvidence(fault) && !follows(fault));
  if (altered !== undefined) return { verdict: 'altered', fault: altered };
  const missing = faults.find(lacksEvidence);
  return missing === undefined
    ? { verdict: 'checks-out', fault: null }
    : { verdict: 'missing', fault: missing };
}

/**
 * The result as people are told it. A content that cannot be opened, though nothing was erased, is no fault of
 * a dossier (§15.4, after step 44), so for programs such a dossier checks out. But something that must be there
 * is not shown.
 */
export function forPeople(result) {
  const lacking = result.facts?.events.find(({ state }) => state === 'unreadable');
  if (result.verdict !== 'checks-out' || lacking === undefined) return result;
  const { index, shard, producer, place } = lacking;
  const why = `entry ${index} of shard ${shard}, signed by ${producer}, cannot be opened`;
  const fault = { step: 0, kind: 'Unreadable', place, why };
  return { ...result, verdict: 'missing', fault, faults: [fault], fault_count: result.facts.unreadable };
}

/** A whole number for people and JSON: as a number where that is exact. */
const plain = (number) => (number <= Number.MAX_SAFE_INTEGER ? Number(number) : String(number));

function shardFacts({ number, genesis, record, mapLog, map, batches }) {
  const cosigners = ({ auditors, witnesses }) => ({
    auditors: auditors.map(({ name, time }) => ({ name, time: plain(time) })),
    witnesses,
  });
  const head = ({ checkpoint }) => ({ size: plain(checkpoint.size), root: base64(checkpoint.root) });
  return {
    shard: number,
    of: genesis?.shards ?? null,
    record: record && { origin: record.checkpoint.origin, ...head(record), ...cosigners(record) },
    mapLog: mapLog && { origin: mapLog.checkpoint.origin, ...head(mapLog), ...cosigners(mapLog) },
    covered: map && plain(map.covered),
    sealed: map && plain(map.time),
    batches: batches.length,
  };
}

/** The least of numbers, however many there are. */
const least = (numbers) => numbers.reduce((a, b) => Math.min(a, b), Infinity);

const timeText = (seconds) => {
  const date = new Date(Number(seconds) * 1000);
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString().replace('.000Z', 'Z');
};

/** By whose word the dossier is complete: {by, auditors, time}. */
function completeness(shards) {
  const whole = shards.length > 0 && shards.every(({ mapLog }) => mapLog !== null);
  const audited = whole && shards.every(({ mapLog }) => mapLog.auditors.length > 0);
  if (!audited) return { by: whole ? 'operator' : null, auditors: [], time: null };
  const cosigned = shards.flatMap(({ mapLog }) => mapLog.auditors);
  const auditors = [...new Set(cosigned.map(({ name }) => name))];
  // Of several shards the one that was recomputed first, for that is how far all of them are.
  const times = shards.map(({ mapLog }) => Math.max(...mapLog.auditors.map(({ time }) => Number(time))));
  const time = least(times);
  return { by: `auditor ${auditors.join(', ')} at ${timeText(time)}`, auditors, time };
}

/** The parties that the shards show to be registered, each by the name that was told last: covered entries count. */
function registeredIn(shards) {
  const registered = new Map();
  for (const shard of shards.filter(({ map }) => map !== null)) {
    const shown = new Set(shard.value.parties.map(({ party }) => party));
    for (const leaf of shard.leaves) {
      if (!leaf?.isRegistry || leaf.entry.action !== 'party.registered') continue;
      const { party, name } = leaf.entry;
      if (shown.has(party) && shard.isCovered(leaf)) registered.set(party, { id: party, name });
    }
  }
  return [...registered.values()];
}

function eventFacts(told) {
  const { place, generation, shard, index, producer, state, json, isCovered, tick } = told;
  const facts = { place, generation, shard, index: index === undefined ? null : plain(index), state, tick };
  Object.assign(facts, { producer: producer ?? null, isCovered: isCovered ?? null, content: json ?? null });
  return state === 'opened' ? { ...facts, ...tellingOf(json) } : facts;
}

function factsOf(kind, examination, whole) {
  const { value, policy } = examination;
  const shards = whole.shards.map(shardFacts);
  const events = examination.events.map(eventFacts);
  const count = (wanted) => events.filter(({ state }) => state === wanted).length;
  const { by, auditors, time } = completeness(shards);
  const sealed = shards.map((shard) => shard.sealed).filter((one) => one !== null);
  const isDossier = kind === 'dossier';
  const holds = examination.faults.length === 0;
  return {
    customer: value.customer,
    ledger: policy.ledger,
    ledger_id: policy.id,
    generations: isDossier ? value.generations.length : null,
    generation: isDossier ? null : value.generation,
    erasures: isDossier ? value.generations.filter(({ erasure }) => erasure !== null).length : 1,
    erasure: whole.erasure ? { shard: whole.shards[0].number, index: plain(whole.erasure.index) } : null,
    events,
    opened: count('opened'),
    erased: count('erased'),
    unreadable: count('unreadable'),
    uncovered: events.filter(({ isCovered }) => isCovered === false).length,
    sharing: isDossier && holds ? sharingIn(events, registeredIn(whole.shards)) : null,
    producers: [...new Set(events.map(({ producer }) => producer).filter((one) => one !== null))].sort(),
    complete_by: isDossier ? by : null,
    auditors: isDossier ? auditors : [],
    recomputed: isDossier ? time : null,
    complete_to: sealed.length > 0 ? least(sealed.map(Number)) : null,
    split_view_excluded: policy.quorum !== 'none',
    quorum: policy.quorum,
    log_keys: policy.logs.size,
    shards,
  };
}

function stepsOf(examination) {
  return Array.from({ length: STEP_COUNT }, (_, at) => {
    const { checks = 0, faults = 0 } = examination.steps.get(at + 1) ?? {};
    return { step: at + 1, checks, faults, state: faults > 0 ? 'failed' : checks > 0 ? 'holds' : 'none' };
  });
}

const nothing = (verdict, kind, place, why) => {
  const fault = { step: 0, kind, place, why };
  return {
    verdict,
    document: null,
    fault,
    faults: [fault],
    fault_count: 1,
    facts: null,
    steps: [],
    engine: null,
  };
};

/** The result where the verifier itself stopped, as when the browser has too little memory for a file. */
export function failure(error) {
  return nothing('unsupported', 'Browser', '', String(error));
}

async function examineRead(document, policy, engine, tell) {
  const examination = new Examination(engine, policy, document.value, tell);
  const whole = await examineDocument(examination, document);
  const { verdict, fault } = judge(examination.faults);
  return {
    verdict,
    document: document.kind,
    fault,
    faults: examination.faults.slice(0, FAULTS_MAX),
    fault_count: examination.faults.length,
    facts: factsOf(document.kind, examination, whole),
    steps: stepsOf(examination),
    hashes: document.value.hashes.length,
    signatures: engine.signaturesChecked,
    engine: { digests: engine.digests, signatures: engine.signatures },
  };
}

/**
 * Verifies a dossier or an erasure certificate against a policy. Both are arrays of bytes. Never throws for what is in
 * them. `verdict` is
 *
 * - 'checks-out', 'altered' or 'missing': what was found, with `faults` and `facts`;
 * - 'not-json': the file is no dossier and no certificate, so nothing was checked;
 * - 'unsupported': the policy is none, or the browser cannot compute what is needed; nothing was checked either.
 *
 * `options.tell`: is told {stage, done, total} now and then. `options.subtle`: the WebCrypto to use; null for none.
 */
export async function verify(file, policyFile, options = {}) {
  const started = performance.now();
  const subtle = options.subtle === undefined ? globalThis.crypto?.subtle : options.subtle;
  const engine = await makeEngine(subtle);
  if (engine === null)
    return nothing('unsupported', 'Browser', '', 'this browser does not compute hashes as it should');
  let [policy, document] = [null, null];
  try {
    policy = parsePolicy(policyFile);
    options.tell?.({ stage: 'file', done: 0, total: 1 });
    document = readDocument(file);
  } catch (fault) {
    if (fault instanceof PolicyFault) {
      return nothing(
        'unsupported',
        'NoPolicy',
        fault.line > 0 ? `line ${fault.line}` : 'the policy',
        fault.why,
      );
    }
    if (fault instanceof ReadFault) {
      const [verdict, kind] = fault.isAltered ? ['altered', 'File'] : ['not-json', 'NotOurs'];
      return nothing(verdict, kind, fault.place, fault.why);
    }
    throw fault;
  }
  const result = await examineRead(document, policy, engine, options.tell);
  return { ...result, milliseconds: performance.now() - started };
}
