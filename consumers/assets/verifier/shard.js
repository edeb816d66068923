// One shard of a dossier or a certificate: its log, its map, its batches, keys and parties (docs/formats.md
// §15.4, steps 6 to 29).
//
// In scope: what can be said of a shard alone, and of a leaf in it. Out of scope: whose the labels are
// (dossier.js). Trust: the policy, and through it the signatures of the logs. All else is checked.

import { concat, sameBytes } from './bytes.js';
import { OPERATOR, RECOVERY, parseEntry, partyLabel } from './entry.js';
import { allOfLabel, parseMapLeaf } from './map.js';
import { parseBatchNote, parseNote, signatureOf } from './note.js';
import { openCheckpoint } from './policy.js';
import { Registry } from './registry.js';
import { includes, isConsistent, leafHash } from './tree.js';

/** What is known of a shard. What could not be checked stays null, and what rests on it is passed over. */
export class ShardExamination {
  constructor(examination, value, place) {
    Object.assign(this, { examination, value, place });
    Object.assign(this, { number: value.shard, tree: null, genesis: null, map: null, registry: null });
    this.batches = [];
    this.leaves = [];
    this.record = null;
    this.mapLog = null;
  }

  check(step, holds, kind, place, why, about) {
    return this.examination.check(step, holds, kind, `${this.place}.${place}`, why, about);
  }

  hashesOf(step, positions, place) {
    return this.examination.hashesOf(step, positions, `${this.place}.${place}`);
  }

  async examine() {
    if (!(await this.examineLog())) return;
    await this.examineMap();
    await this.examineBatches();
    await this.foldRegistry();
    await this.examineParties();
  }

  /** Steps 7 to 10. */
  async examineLog() {
    const { engine, policy } = this.examination;
    const opened = await openCheckpoint(engine, policy, this.value.checkpoint);
    const { reason, why } = opened;
    if (!this.check(7, reason === undefined, 'Policy', 'checkpoint', why, { reason })) return false;
    this.record = opened;
    this.tree = opened.checkpoint;
    const { genesis: bytes } = this.value;
    this.genesisHash = leafHash(bytes);
    const path = this.hashesOf(8, this.value.genesis_path, 'genesis_path');
    const isFirst = path !== null && includes(this.tree, 0n, this.genesisHash, path);
    if (path !== null)
      this.check(8, isFirst, 'Proof', 'genesis_path', 'the genesis entry is not the first of the log');
    const entry = parseEntry(bytes);
    const isEntry = this.check(9, entry !== null, 'Entry', 'genesis', 'this is no entry');
    const isGenesis =
      isEntry &&
      this.check(9, entry.kind === 'genesis', 'Kind', 'genesis', `this is an entry "${entry.kind}"`);
    if (!isFirst || !isGenesis) return false;
    const isOurs = entry.ledger === policy.ledger && entry.id === policy.id && entry.shard === this.number;
    const origin = `${entry.ledger}/log/${entry.shard}of${entry.shards}`;
    const fits = isOurs && this.tree.origin === origin;
    if (!this.check(10, fits, 'Genesis', 'genesis', 'the genesis entry is of another ledger, shard or log'))
      return false;
    this.genesis = entry;
    return true;
  }

  /** Steps 11 to 14. */
  async examineMap() {
    const { engine, policy } = this.examination;
    const { map } = this.value;
    const opened = await openCheckpoint(engine, policy, map.checkpoint);
    const { reason, why } = opened;
    if (!this.check(11, reason === undefined, 'Policy', 'map.checkpoint', why, { reason })) return;
    const { size, origin } = opened.checkpoint;
    const { ledger, shard, shards } = this.genesis;
    const isMapLog = origin === `${ledger}/map/${shard}of${shards}`;
    if (!this.check(11, isMapLog, 'Text', 'map.checkpoint', 'this is not the map log of the shard')) return;
    if (!this.check(11, size > 0n, 'Proof', 'map.path', 'the map log is empty')) return;
    const leaf = parseMapLeaf(map.leaf);
    const isLeaf = this.check(12, leaf !== null, 'MapLeaf', 'map.leaf', 'this is not a leaf of a map log');
    const path = this.hashesOf(13, map.path, 'map.path');
    const isLast = path !== null && includes(opened.checkpoint, size - 1n, leafHash(concat(map.leaf)), path);
    if (path !== null)
      this.check(13, isLast, 'Proof', 'map.path', 'this is not the last leaf of the map log');
    const follows = isLeaf && this.isMapOfLog(leaf.checkpoint);
    if (!isLast || !follows) return;
    this.mapLog = opened;
    this.map = { root: leaf.root, covered: leaf.checkpoint.size, time: leaf.time };
  }

  /** The record checkpoint in the map leaf is one of this log. */
  isMapOfLog(record) {
    const isSame = record.origin === this.tree.origin;
    if (!this.check(12, isSame, 'Text', 'map.leaf', 'the map is of another log')) return false;
    const isBelow = record.size <= this.tree.size;
    if (!this.check(12, isBelow, 'Proof', 'map.consistency', 'the map is of a longer log than is shown'))
      return false;
    const path = this.hashesOf(14, this.value.map.consistency, 'map.consistency');
    if (path === null) return false;
    const holds = isConsistent(record, this.tree, path);
    return this.check(
      14,
      holds,
      'Proof',
      'map.consistency',
      'the log does not go on from the one that the map is of',
    );
  }

  /** Steps 15 to 18. */
  async examineBatches() {
    const chains = new Map();
    let last = null;
    for (const [at, value] of this.value.batches.entries()) {
      const place = `batches[${at}]`;
      const rises = last === null || value.index > last;
      this.check(15, rises, 'Order', place, 'the batches do not stand in the order of the log');
      last = value.index;
      const batch = { index: value.index, place, note: null, isSigned: null, isUsed: false };
      this.batches.push(batch);
      const path = this.hashesOf(16, value.path, `${place}.path`);
      if (path === null) continue;
      const hash = leafHash(concat(Uint8Array.of(0x03), value.note));
      const stands = includes(this.tree, value.index, hash, path);
      const isPlaced = this.check(
        16,
        stands,
        'Proof',
        `${place}.path`,
        'this batch is not in the log at that place',
      );
      const note = this.batchNote(value.note, place);
      if (isPlaced && note !== null && this.followsChain(chains, note, place)) batch.note = note;
      await this.examination.breathe('batches', at, this.value.batches.length);
    }
  }

  batchNote(text, place) {
    const note = parseNote(text);
    if (!this.check(17, note !== null, 'Note', `${place}.note`, 'this is not a signed note')) return null;
    const batch = parseBatchNote(note);
    if (!this.check(17, batch !== null, 'Batch', `${place}.note`, 'this is not the note of a batch'))
      return null;
    const { ledger, shards } = this.genesis;
    const isHere = batch.ledger === ledger && batch.shard === this.number && batch.shards === shards;
    const isOurs = this.check(
      17,
      isHere,
      'Elsewhere',
      `${place}.note`,
      'the batch is of another ledger or shard',
    );
    const isOne = batch.lines.length === 1;
    const hasOne = this.check(17, isOne, 'Note', `${place}.note`, 'a batch has exactly one signature line');
    return isOurs && hasOne ? batch : null;
  }

  followsChain(chains, note, place) {
    const before = chains.get(note.chain);
    chains.set(note.chain, note);
    const follows =
      before === undefined || (note.number > before.number && note.producer === before.producer);
    const why = 'the numbers of this chain do not rise, or another producer goes on with it';
    return this.check(18, follows, 'Order', `${place}.note`, why);
  }

  /** Steps 19 to 21: a leaf as {index, hash, batch, bytes, entry}, or null. `entry` is null where it is none. */
  examineLeaf(value, place) {
    const at = (member) => `${place}.${member}`;
    const { examination } = this;
    const isKnown = value.batch < this.batches.length;
    if (!examination.check(19, isKnown, 'Number', at('batch'), 'there is no such batch')) return null;
    const batch = this.batches[value.batch];
    batch.isUsed = true;
    const hash = leafHash(value.entry);
    const index = batch.index + 1n + BigInt(value.position);
    const batchPath = examination.hashesOf(20, value.batch_path, at('batch_path'));
    const path = examination.hashesOf(21, value.path, at('path'));
    if (batch.note === null || batchPath === null || path === null) return null;
    const isInBatch = includes(batch.note, BigInt(value.position), hash, batchPath);
    const why = `the entry is not what ${batch.note.producer} signed at this place`;
    const isSaid = examination.check(20, isInBatch, 'Proof', at('batch_path'), why);
    const isInLog = includes(this.tree, index, hash, path);
    const stands = examination.check(
      21,
      isInLog,
      'Proof',
      at('path'),
      'the entry is not in the log at its place',
    );
    return isSaid && stands
      ? { index, hash, batch, bytes: value.entry, entry: parseEntry(value.entry) }
      : null;
  }

  isCovered(leaf) {
    return leaf.index < this.map.covered;
  }

  /** Steps 22 to 26. */
  async foldRegistry() {
    const registry = new Registry(this.genesis);
    let [isFolded, last] = [true, null];
    for (const [at, value] of this.value.registry.entries()) {
      const place = `registry[${at}]`;
      const leaf = this.examineLeaf(value, `${this.place}.${place}`);
      this.leaves.push(leaf);
      if (leaf !== null) {
        const rises = last === null || leaf.index > last;
        isFolded =
          this.check(22, rises, 'Order', place, 'the registry does not stand in the order of the log') &&
          isFolded;
        last = leaf.index;
      }
      isFolded = isFolded && leaf !== null && (await this.foldLeaf(registry, leaf, place));
      if (leaf !== null) this.isRegistryEntry(leaf, place);
      await this.examination.breathe('keys', at, this.value.registry.length);
    }
    if (!isFolded) return;
    this.registry = registry;
    for (const [at, batch] of this.batches.entries()) {
      if (batch.note !== null && batch.isSigned === null) await this.checkSignature(26, registry, batch);
      await this.examination.breathe('keys', at, this.batches.length);
    }
  }

  /** Step 24, once a leaf. */
  isRegistryEntry(leaf, place) {
    leaf.isRegistry ??=
      this.check(24, leaf.entry !== null, 'Entry', `${place}.entry`, 'this is no entry') &&
      this.check(24, leaf.entry.kind === 'registry', 'Kind', `${place}.entry`, 'this is no registry entry');
    return leaf.isRegistry;
  }

  async foldLeaf(registry, leaf, place) {
    const { producer } = leaf.batch.note;
    const mayWrite = producer === OPERATOR || producer === RECOVERY;
    if (!this.check(23, mayWrite, 'Kind', place, `${producer} may not write registry entries`)) return false;
    if (leaf.batch.isSigned === null) await this.checkSignature(23, registry, leaf.batch);
    if (!leaf.batch.isSigned || !this.isRegistryEntry(leaf, place)) return false;
    const why = registry.apply(leaf.entry, leaf.bytes, leaf.index, producer);
    return this.check(25, why === null, 'Registry', place, why, {
      shard: this.number,
      party: leaf.entry.party,
    });
  }

  async checkSignature(step, registry, batch) {
    const { note, index, place } = batch;
    const [line] = note.lines;
    const key = registry.validKey(note.producer, line.id, index);
    const about = { shard: this.number, party: note.producer };
    const why = `${note.producer} had no such key at entry ${index}, by what is shown`;
    batch.isSigned = this.check(step, key !== null, 'Key', `${place}.note`, why, about);
    if (!batch.isSigned) return;
    const holds = (await signatureOf(this.examination.engine, note, key)) === 'holds';
    batch.isSigned = this.check(
      step,
      holds,
      'Note',
      `${place}.note`,
      `the signature of ${note.producer} does not hold`,
    );
  }

  /** Steps 27 to 29. */
  async examineParties() {
    let last = null;
    for (const [at, { party, map }] of this.value.parties.entries()) {
      const place = `parties[${at}]`;
      this.check(
        27,
        last === null || party > last,
        'Order',
        place,
        'the parties do not stand in their order',
      );
      last = party;
      this.examineParty(party, map, `${place}.map`);
      await this.examination.breathe('complete', at, this.value.parties.length);
    }
    const parties = new Set(this.value.parties.map(({ party }) => party));
    const signers = this.batches.filter(({ note }) => note !== null).map(({ note }) => note.producer);
    const named = this.leaves.filter((leaf) => leaf?.isRegistry).map(({ entry }) => entry.party);
    for (const party of new Set([...signers.filter((name) => name !== RECOVERY), ...named])) {
      const about = { shard: this.number, party };
      this.check(
        29,
        parties.has(party),
        'Party',
        'parties',
        `what is on record about ${party} is not shown`,
        about,
      );
    }
  }

  examineParty(party, { path, other }, place) {
    const siblings = this.hashesOf(28, path, `${place}.path`);
    const isKnown = this.leaves.every((leaf) => leaf?.isRegistry);
    if (siblings === null || this.map === null || !isKnown) return;
    const leaves = this.leaves.filter((leaf) => leaf.entry.party === party && this.isCovered(leaf));
    const hashes = leaves.map(({ hash }) => hash);
    const fault = allOfLabel(this.map, partyLabel(party), hashes, siblings, other);
    this.check(28, fault === null, fault?.kind, place, fault?.why, { shard: this.number, party });
  }

  /** The last of step 29 and of 47, looked at when all else held. */
  examineNeed() {
    const needed = new Set(this.leaves.map(({ entry }) => entry.party));
    for (const [at, batch] of this.batches.entries()) {
      const why = 'no entry that is shown stands in this batch';
      this.check(47, batch.isUsed, 'Pool', `batches[${at}]`, why, { isBatch: true });
      if (batch.isUsed && batch.note.producer !== RECOVERY) needed.add(batch.note.producer);
    }
    for (const [at, { party }] of this.value.parties.entries()) {
      this.check(
        29,
        needed.has(party),
        'Unneeded',
        `parties[${at}]`,
        `nothing that is shown is about ${party}`,
      );
    }
  }

  isSameGenesis(other) {
    const {
      genesis,
      genesis: { operator, recovery },
    } = this;
    const isSame = ['ledger', 'id', 'shards'].every((member) => genesis[member] === other.genesis[member]);
    const keys = [
      [operator.key, other.genesis.operator.key],
      [recovery.key, other.genesis.recovery.key],
    ];
    return isSame && [...keys, [genesis.vrf, other.genesis.vrf]].every(([a, b]) => sameBytes(a, b));
  }
}
