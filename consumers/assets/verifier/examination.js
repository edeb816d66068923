// The notebook of one verification: what was checked, what failed, where.
//
// In scope: counting checks step by step, gathering faults, the pool of hashes, telling how far it is. Out of
// scope: the checks themselves. The numbers of steps are those of docs/formats.md §15.4.

const BREATH_MS = 40;

/** Which steps are one stage of the work, as it is told to people. */
export const STAGES = [
  { name: 'file', steps: [1, 2, 3, 4, 5] },
  { name: 'logs', steps: [6, 7, 8, 9, 10] },
  { name: 'maps', steps: [11, 12, 13, 14] },
  { name: 'batches', steps: [15, 16, 17, 18] },
  { name: 'leaves', steps: [19, 20, 21] },
  { name: 'keys', steps: [22, 23, 24, 25, 26, 30, 31] },
  { name: 'complete', steps: [27, 28, 29, 38] },
  { name: 'labels', steps: [33, 34, 35, 36, 37] },
  { name: 'events', steps: [39, 40, 41, 42, 43, 44] },
  { name: 'absence', steps: [45, 46] },
  { name: 'needless', steps: [32, 47] },
];

export class Examination {
  constructor(engine, policy, value, tell) {
    Object.assign(this, { engine, policy, value, tell });
    this.faults = [];
    this.steps = new Map();
    this.used = new Uint8Array(value.hashes.length);
    this.events = [];
    this.breathed = performance.now();
  }

  /** Notes a check. `about` says more of a fault, for whoever weighs it. */
  check(step, holds, kind, place, why, about = {}) {
    const entry = this.steps.get(step) ?? { step, checks: 0, faults: 0 };
    this.steps.set(step, entry);
    entry.checks += 1;
    if (!holds) {
      entry.faults += 1;
      this.faults.push({ step, kind, place, why, ...about });
    }
    return holds;
  }

  /** The hashes that a path names, or null. */
  hashesOf(step, positions, place) {
    const { hashes } = this.value;
    const isInside = positions.every((position) => position < hashes.length);
    if (!this.check(step, isInside, 'Number', place, 'a position that is not in the pool of hashes'))
      return null;
    return positions.map((position) => {
      this.used[position] = 1;
      return hashes[position];
    });
  }

  /** Lets the page draw, if it waited long enough, and tells how far it is. */
  async breathe(stage, done, total) {
    const now = performance.now();
    if (now - this.breathed < BREATH_MS) return;
    this.tell?.({ stage, done, total });
    await new Promise((resolve) => setTimeout(resolve));
    this.breathed = performance.now();
  }
}
