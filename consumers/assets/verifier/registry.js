// The registry of keys, folded from the registry entries of one shard (docs/formats.md §11).
//
// In scope: which key of which party was valid at an index, and whether an entry may follow. Out of scope:
// who signed the entry. Trust: the genesis entry is the beginning; an entry is applied only if it is allowed.

import { sameBytes } from './bytes.js';
import { OPERATOR, RECOVERY } from './entry.js';
import { TYPE_ED25519, parseVkey } from './note.js';
import { leafHash } from './tree.js';

const isReserved = (party) => party === OPERATOR || party === RECOVERY;

/** The keys of all parties, at each index. */
export class Registry {
  constructor(genesis) {
    this.parties = new Map([
      [OPERATOR, { isRegistered: false, keys: [{ ...genesis.operator, from: 0n, until: null }] }],
    ]);
    this.recovery = genesis.recovery;
    this.last = null;
  }

  /**
   * The party's key with this id that is valid for a batch entry at the index, or null. Both bounds are exclusive. Of
   * several the one that was registered first counts: ids have four bytes, so a party can have two keys of one id.
   */
  validKey(party, id, index) {
    if (party === RECOVERY) return this.recovery.id === id ? this.recovery : null;
    const keys = this.parties.get(party)?.keys ?? [];
    const isValid = (key) => key.id === id && key.from < index && (key.until === null || index < key.until);
    return keys.find(isValid) ?? null;
  }

  /** Applies a registry entry at an index, in a batch of the producer. Null, or why it may not stand there. */
  apply(entry, bytes, index, producer) {
    const key = entry.key === undefined ? null : parseVkey(entry.key, TYPE_ED25519);
    const why = this.orderFault(entry) ?? this.rightFault(entry, producer) ?? this.stateFault(entry, key);
    if (why !== null) return why;
    this.last = { seq: entry.seq, hash: leafHash(bytes) };
    this.change(entry, key, index);
    return null;
  }

  orderFault(entry) {
    if (this.last === null) return null;
    if (entry.seq <= this.last.seq) return 'its number is not above that of the registry entry before';
    const follows = entry.seq === this.last.seq + 1n;
    return follows && !sameBytes(entry.prev, this.last.hash)
      ? 'it does not name the registry entry before'
      : null;
  }

  rightFault(entry, producer) {
    const { action, party } = entry;
    const mayWrite = producer === OPERATOR || (producer === RECOVERY && action === 'operator.replaced');
    if (!mayWrite) return `${producer} may not write "${action}"`;
    if (action === 'operator.replaced')
      return party === OPERATOR ? null : 'only the operator can be replaced';
    if (isReserved(party)) return `"${action}" is not for ${party}`;
    const isKnown = this.parties.get(party)?.isRegistered === true;
    return action === 'party.registered' || isKnown ? null : `${party} was not registered before`;
  }

  stateFault({ action, party }, key) {
    if (action === 'party.registered') return null;
    if (key === null) return 'the key is none';
    if (key.name !== party) return 'the key has the name of another party';
    const { keys } = this.parties.get(party);
    const had = keys.find((one) => sameBytes(one.key, key.key));
    if (action === 'key.revoked')
      return had !== undefined && had.until === null ? null : 'the party has no such key';
    if (had !== undefined) return 'the party had this key before';
    const needsOne = action !== 'key.registered';
    return needsOne && keys.every((one) => one.until !== null) ? 'the party has no key that could end' : null;
  }

  change(entry, key, index) {
    const { action, party } = entry;
    const known = this.parties.get(party) ?? { isRegistered: false, keys: [] };
    this.parties.set(party, known);
    if (action === 'party.registered') {
      Object.assign(known, {
        isRegistered: true,
        name: entry.name,
        country: entry.country,
        contact: entry.contact,
      });
      return;
    }
    const isEnding = (one) =>
      action !== 'key.registered' && (action !== 'key.revoked' || sameBytes(one.key, key.key));
    for (const one of known.keys) {
      if (one.until === null && isEnding(one)) one.until = index;
    }
    if (action !== 'key.revoked') known.keys.push({ ...key, from: index, until: null });
  }
}
