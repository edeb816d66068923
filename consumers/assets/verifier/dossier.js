// All of a dossier, or of an erasure certificate (docs/formats.md §15.4, steps 1 to 5 and 30 to 47; §15.5).
//
// In scope: the file as a whole, labels, generations, events, the absence. Out of scope: the single shard
// (shard.js), and what faults mean to people (verdict.js). Trust: as in shard.js.

import { concat, hex, sameBytes, utf8 } from './bytes.js';
import { customersOf } from './content.js';
import { OPERATOR, RECOVERY } from './entry.js';
import { allOfLabel } from './map.js';
import { ShardExamination } from './shard.js';
import { labelInput, shardOfLabel, vrfOutput } from './vrf.js';

const CUSTOMER_BYTES_MAX = 256;

/** Steps 1 to 5. */
function examineFile(examination, format) {
  const { policy, value } = examination;
  const { customer, hashes } = value;
  examination.check(1, value.format === format, 'Text', 'format', `the format is not "${format}"`);
  const isOurs = value.ledger === policy.ledger;
  examination.check(2, isOurs, 'Text', 'ledger', `the policy is of the ledger "${policy.ledger}"`);
  const { length } = utf8(customer);
  const isId = length >= 1 && length <= CUSTOMER_BYTES_MAX && !/\p{Cc}/u.test(customer);
  examination.check(3, isId, 'CustomerId', 'customer', 'this cannot be the id of a customer');
  const seen = new Set();
  hashes.forEach((hash, at) => {
    const text = hex(hash);
    examination.check(4, !seen.has(text), 'Pool', `hashes[${at}]`, 'this hash stands twice');
    seen.add(text);
  });
  return isId;
}

class DossierExamination {
  constructor(examination) {
    this.examination = examination;
    this.value = examination.value;
    this.shards = [];
  }

  async examineShards(values, placeOf) {
    const { examination } = this;
    let last = null;
    for (const [at, value] of values.entries()) {
      const place = placeOf(at);
      const rises = last === null || value.shard > last;
      examination.check(6, rises, 'Order', place, 'the shards do not stand in their order');
      last = value.shard;
      const shard = new ShardExamination(examination, value, place);
      this.shards.push(shard);
      examination.tell?.({ stage: 'logs', done: at, total: values.length });
      await shard.examine();
    }
    this.first = this.shards.find(({ genesis }) => genesis !== null) ?? null;
    for (const shard of this.shards) {
      if (shard.genesis === null || shard === this.first) continue;
      const why = 'the genesis entries of the shards differ';
      examination.check(30, shard.isSameGenesis(this.first), 'Genesis', `${shard.place}.genesis`, why);
    }
  }

  /** Step 31. */
  compareRegistries() {
    const seen = new Map();
    for (const shard of this.shards) {
      for (const [at, leaf] of shard.leaves.entries()) {
        if (!leaf?.isRegistry) continue;
        const before = seen.get(leaf.entry.seq);
        const isSame =
          before === undefined || before.shard === shard || sameBytes(before.leaf.bytes, leaf.bytes);
        const why = 'two shards show different registry entries under one number';
        this.examination.check(31, isSame, 'Registries', `${shard.place}.registry[${at}]`, why);
        if (before === undefined) seen.set(leaf.entry.seq, { shard, leaf });
      }
    }
  }

  /** Steps 34 and 35: the shard of a label that is the customer's, or null where it is not, or not shown. */
  async shardOf({ generation, label, proof }, place) {
    const { examination, first, value } = this;
    if (first === null || !this.isCustomerId) return null;
    const input = labelInput(examination.policy.ledger, value.customer, generation);
    const output = await vrfOutput(examination.engine, first.genesis.vrf, input, proof);
    const why = 'the proof of the label does not hold for this customer';
    if (!examination.check(34, output !== null, 'Vrf', `${place}proof`, why)) return null;
    const isLabel = sameBytes(output.subarray(0, 32), label);
    const other = 'this is not the label that its proof gives';
    if (!examination.check(34, isLabel, 'Label', `${place}label`, other)) return null;
    const number = shardOfLabel(label, first.genesis.shards);
    const shard = this.shards.find((one) => one.number === number) ?? null;
    const isShown = shard !== null;
    const home = `the label lives on shard ${number}, which is not shown`;
    examination.check(35, isShown, 'Number', `${place}label`, home, { isAbsent: true });
    if (isShown) shard.isNeeded = true;
    return shard;
  }

  /** Step 36: the erasure leaf, or null. */
  examineErasure(shard, { generation, label, erasure }, place) {
    const { examination } = this;
    const leaf = shard.genesis === null ? null : shard.examineLeaf(erasure, place);
    if (leaf === null) return null;
    const { producer } = leaf.batch.note;
    const { entry } = leaf;
    const isEntry = examination.check(36, entry !== null, 'Entry', `${place}.entry`, 'this is no entry');
    if (!isEntry) return null;
    const isTheirs = producer === OPERATOR;
    const isMay = examination.check(36, isTheirs, 'Erasure', place, `${producer} may not erase`);
    const fits = entry.kind === 'erasure' && sameBytes(entry.label, label) && entry.generation === generation;
    const why = 'this does not erase this generation of the customer';
    return examination.check(36, fits, 'Erasure', `${place}.entry`, why) && isMay ? leaf : null;
  }

  /** Steps 33 to 44 for one generation. */
  async examineGeneration(value, at) {
    const { examination } = this;
    const place = `generations[${at}]`;
    const isAbsent = value.generation > at;
    const isNext = value.generation === at;
    examination.check(33, isNext, 'Number', `${place}.generation`, 'a generation is missing, or moved', {
      isAbsent,
    });
    const hasLeaf = value.events.length > 0 || value.erasure !== null;
    const why = 'this generation holds neither an event nor an erasure';
    examination.check(33, hasLeaf, 'Unneeded', place, why, { isAbsent: true });
    const isLast = at === this.value.generations.length - 1;
    const isEnded = isLast || value.erasure !== null;
    examination.check(
      37,
      isEnded,
      'Erasure',
      `${place}.erasure`,
      'a generation follows, so this one must be erased',
      {
        isAbsent: true,
      },
    );
    const shard = await this.shardOf(value, `${place}.`);
    const isKnown = shard !== null && shard.genesis !== null;
    const hasErasure = isKnown && value.erasure !== null;
    const erasure = hasErasure ? this.examineErasure(shard, value, `${place}.erasure`) : null;
    const leaves = await this.examineEvents(isKnown ? shard : null, value, erasure, place);
    if (!isKnown) return;
    const siblings = examination.hashesOf(38, value.map.path, `${place}.map.path`);
    if (value.erasure !== null) leaves.push(erasure);
    if (siblings === null || shard.map === null || leaves.includes(null)) return;
    const covered = leaves
      .filter((leaf) => shard.isCovered(leaf))
      .sort((a, b) => (a.index < b.index ? -1 : 1));
    const fault = allOfLabel(
      shard.map,
      value.label,
      covered.map(({ hash }) => hash),
      siblings,
      value.map.other,
    );
    examination.check(38, fault === null, fault?.kind, `${place}.map`, fault?.why);
  }

  async examineEvents(shard, generation, erasure, place) {
    const leaves = [];
    let last = null;
    for (const [at, event] of generation.events.entries()) {
      const where = `${place}.events[${at}]`;
      const told = {
        place: where,
        generation: generation.generation,
        shard: shard?.number ?? null,
        ...event.content,
      };
      this.examination.events.push(told);
      const before = this.examination.faults.length;
      const leaf = shard === null ? null : shard.examineLeaf(event.leaf, `${where}.leaf`);
      if (leaf !== null) Object.assign(told, { index: leaf.index, producer: leaf.batch.note.producer });
      const isOurs = leaf !== null && this.isEventOf(generation, leaf, where);
      if (leaf !== null) {
        const rises = last === null || leaf.index > last;
        this.examination.check(
          40,
          rises,
          'Order',
          `${where}.leaf`,
          'the events do not stand in the order of the log',
        );
        last = leaf.index;
      }
      await this.examineContent(generation, event.content, isOurs ? leaf : null, where);
      if (isOurs) this.examineSigner(leaf, generation, erasure, where);
      leaves.push(isOurs ? leaf : null);
      if (isOurs && shard.map !== null) told.isCovered = shard.isCovered(leaf);
      const isSigned = leaf !== null && leaf.batch.isSigned === true;
      told.tick =
        this.examination.faults.length > before ? 'failed' : isOurs && isSigned ? 'holds' : 'unchecked';
      await this.examination.breathe('events', at, generation.events.length);
    }
    return leaves;
  }

  /** Step 39. */
  isEventOf(generation, { entry }, where) {
    const { examination } = this;
    const place = `${where}.leaf.entry`;
    if (!examination.check(39, entry !== null, 'Entry', place, 'this is no entry')) return false;
    if (!examination.check(39, entry.kind === 'event', 'Kind', place, 'this is no event entry')) return false;
    const isOurs = sameBytes(entry.label, generation.label);
    return examination.check(39, isOurs, 'Label', place, 'the event is under another label');
  }

  /** Steps 41 to 43. */
  async examineContent(generation, content, leaf, where) {
    const { examination } = this;
    const place = `${where}.content`;
    const isErased = generation.erasure !== null;
    if (content.state === 'erased') {
      examination.check(
        43,
        isErased,
        'NotErased',
        place,
        'the content is said to be erased, but nothing was erased',
      );
      return;
    }
    examination.check(
      41,
      !isErased,
      'Erasure',
      place,
      'the customer was erased, and a content is shown all the same',
    );
    if (content.state !== 'opened' || leaf === null) return;
    const { opening, json } = content;
    const isLong = opening.length === 32;
    if (!examination.check(42, isLong, 'Number', `${place}.opening`, 'an opening has 32 bytes')) return;
    const hash = await examination.engine.sha256(concat('sharetrail commitment v1\n', opening, json));
    const fits = sameBytes(hash, leaf.entry.commitment);
    examination.check(
      42,
      fits,
      'Commitment',
      `${place}.json`,
      'the content is not the one that was committed to',
    );
    const customers = customersOf(json);
    const isTheirs = customers.length === 1 && customers[0] === this.value.customer;
    examination.check(42, isTheirs, 'Customer', `${place}.json`, 'the content is not about this customer');
  }

  /** Step 44. */
  examineSigner(leaf, generation, erasure, where) {
    const { examination } = this;
    const { producer } = leaf.batch.note;
    const maySign = producer !== OPERATOR && producer !== RECOVERY;
    examination.check(44, maySign, 'Misplaced', `${where}.leaf`, `${producer} may not record events`);
    if (generation.erasure === null || erasure === null) return;
    const isBefore = leaf.index < erasure.index;
    examination.check(44, isBefore, 'Erasure', `${where}.leaf`, 'the event stands after the erasure');
  }

  /** Steps 45 and 46. */
  async examineAbsence() {
    const { examination, value } = this;
    const { absence } = value;
    const next = value.generations.length;
    const isNext = absence.generation === next;
    examination.check(
      45,
      isNext,
      'Number',
      'absence.generation',
      'this is not the generation after the last',
      {
        isAbsent: absence.generation > next,
      },
    );
    const shard = await this.shardOf(absence, 'absence.');
    const siblings = examination.hashesOf(46, absence.map.path, 'absence.map.path');
    if (shard === null || shard.map === null || siblings === null) return;
    const fault = allOfLabel(shard.map, absence.label, [], siblings, absence.map.other);
    examination.check(46, fault === null, fault?.kind, 'absence.map', fault?.why);
  }

  /** Steps 47, and the last of 29 and 32: only where nothing failed. */
  examineNeed() {
    const { examination } = this;
    if (examination.faults.length > 0) return;
    examination.used.forEach((isUsed, at) => {
      examination.check(47, isUsed === 1, 'Pool', `hashes[${at}]`, 'no proof needs this hash');
    });
    for (const shard of this.shards) {
      shard.examineNeed();
      const why = 'none of the labels that are shown lives on this shard';
      examination.check(32, shard.isNeeded === true, 'Unneeded', shard.place, why);
    }
  }

  async dossier() {
    const { examination, value } = this;
    examination.check(5, value.shards.length > 0, 'Number', 'shards', 'no shard is shown', {
      isAbsent: true,
    });
    await this.examineShards(value.shards, (at) => `shards[${at}]`);
    this.compareRegistries();
    for (const [at, generation] of value.generations.entries()) {
      examination.tell?.({ stage: 'labels', done: at, total: value.generations.length });
      await this.examineGeneration(generation, at);
    }
    await this.examineAbsence();
    this.examineNeed();
  }

  async certificate() {
    const { examination, value } = this;
    await this.examineShards([value.shard], () => 'shard');
    const shard = await this.shardOf(value, '');
    const leaf =
      shard === null || shard.genesis === null ? null : this.examineErasure(shard, value, 'erasure');
    if (leaf !== null && shard.map !== null) {
      const isCovered = shard.isCovered(leaf);
      examination.check(36, isCovered, 'Uncovered', 'erasure', 'the map was sealed before this erasure');
    }
    this.erasure = leaf;
    this.examineNeed();
  }
}

/** Examines a document that was read; what was found stands in the examination. Gives the shards, and the erasure. */
export async function examineDocument(examination, { kind, format }) {
  const whole = new DossierExamination(examination);
  whole.isCustomerId = examineFile(examination, format);
  await whole[kind]();
  return whole;
}
