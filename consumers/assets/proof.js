// The Proof page: checks the customer's own dossier in their browser, and remembers what it saw.
//
// In scope: fetching the dossier and the policy, or taking them from files; comparing with the last visit;
// showing. Out of scope: the check itself (verifier/, whose bundle is loaded before). Trust: the site is what
// is checked. What this browser remembers is believed, and a policy that the customer brings goes before the
// site's.
//
// A demonstration makes a new ledger at each start, on the same address. Its page bears a mark of the run, the
// ledger's id, and what is remembered of a run is kept under a key of its own: so a second demonstration is no
// "another ledger", while within a run all is compared as anywhere. The mark counts where the page comes from this
// very machine, and the page says that it is a demonstration. What a server gains that bears the mark falsely: away
// from the loopback, nothing: the mark is not read there. On it, nothing that it could not do: whoever serves this
// page serves this script, too. It gets no comparison with what is remembered of other ledgers, which stays untouched
// and is compared again as soon as the mark is gone; and it has to say that it is a demonstration. A ledger that was
// met here without the mark is compared, whatever the page bears.

(() => {
  const root = document.getElementById('proof');
  const verifier = globalThis.SharetrailVerifier;
  if (root === null || verifier === undefined) {
    root?.replaceChildren(
      'The verifier did not load. Reload the page; if that does not help, use the downloads.',
    );
    return;
  }
  const { element, button, momentText, parts } = verifier;
  const words = verifier.wordsFor(document.documentElement.lang);
  const texts = words.proof;
  const MEMORY = 'sharetrail.proof.';
  /** Of runs of the demonstration; no key of one kind begins as those of the other do. */
  const DEMO_MEMORY = 'sharetrail.demo.';
  /** This very machine by name, and by address: browsers write every IPv4 address as four numbers. */
  const LOOPBACK_HOSTS = ['[::1]', 'localhost'];
  const LOOPBACK_ADDRESS = /^127(?:\.\d{1,3}){3}$/;
  /** A policy longer than this is remembered by its hash alone. */
  const POLICY_TEXT_MAX = 65536;
  const PROOF_HASHES_MAX = 63;

  // ---------------------------------------------------------------- memory

  /** Whether a ledger was met here without a mark. */
  function isRemembered(ledger) {
    try {
      return localStorage.getItem(MEMORY + ledger) !== null;
    } catch {
      return false;
    }
  }

  const isLoopback = (host) => LOOPBACK_HOSTS.includes(host) || LOOPBACK_ADDRESS.test(host);

  /** The mark of a demonstration's run; null where there is none, or where it does not count. */
  function demoRun(ledger) {
    const mark = root.dataset.demo ?? '';
    const isMark = /^[0-9a-f]{64}$/.test(mark) && mark === ledger;
    return isMark && isLoopback(location.hostname) && !isRemembered(ledger) ? mark : null;
  }

  /** What this browser remembers of a ledger; null where it remembers nothing, or may not. */
  class Memory {
    constructor(ledger, run) {
      this.isDemo = run !== null;
      this.key = this.isDemo ? DEMO_MEMORY + run : MEMORY + ledger;
      this.value = null;
      this.isAvailable = true;
      /** Of other ledgers at this address, among which this one might be missed. */
      this.others = [];
      /** Whether a demonstration stands beside ledgers that are remembered. */
      this.hasBeside = false;
      this.hasDropped = false;
      try {
        const others = Object.keys(localStorage).filter((key) => key.startsWith(MEMORY) && key !== this.key);
        if (this.isDemo) this.hasBeside = others.length > 0;
        else this.others = others;
        this.value = Memory.parsed(localStorage.getItem(this.key));
      } catch {
        this.isAvailable = false;
      }
    }

    /** Earlier runs of a demonstration do not come back. */
    dropEarlierRuns() {
      if (!this.isDemo || !this.isAvailable) return;
      const earlier = Object.keys(localStorage).filter(
        (key) => key.startsWith(DEMO_MEMORY) && key !== this.key,
      );
      for (const key of earlier) localStorage.removeItem(key);
      this.hasDropped = earlier.length > 0;
    }

    /** What there is to say of what is remembered of a demonstration. */
    demoLines() {
      if (!this.isDemo) return [];
      const { demo, demoDropped, demoBeside } = texts.memory;
      return [
        demo,
        ...(this.hasDropped ? [demoDropped] : []),
        ...(this.hasBeside ? [demoBeside] : []),
      ];
    }

    static parsed(text) {
      try {
        const value = JSON.parse(text ?? 'null');
        const isLog = ({ size, root: text }) => /^[0-9]{1,19}$/.test(size) && parts.unhash(text) !== null;
        const isShard = ({ record, mapLog }) => isLog(record) && isLog(mapLog);
        const isOurs = value?.version === 1 && typeof value.policy.site === 'string';
        return isOurs && Object.values(value.shards).every(isShard) ? value : null;
      } catch {
        return null;
      }
    }

    keep(value) {
      try {
        localStorage.setItem(this.key, JSON.stringify(value));
        this.value = value;
      } catch {
        this.isAvailable = false;
      }
    }

    /** What is remembered of other ledgers at this address goes. */
    forgetOthers() {
      try {
        for (const key of this.others) localStorage.removeItem(key);
      } catch {
        this.isAvailable = false;
      }
      this.others = [];
    }

    forget() {
      this.others.push(this.key);
      this.value = null;
      this.forgetOthers();
    }
  }

  // ---------------------------------------------------------------- fetching

  /** Something that ends the check without a verdict on the file. */
  class Ending extends Error {
    constructor(kind, why, link = null) {
      super(why);
      Object.assign(this, { kind, why, link });
    }
  }

  async function fetched(address, accept) {
    let response = null;
    try {
      response = await fetch(address, {
        headers: { Accept: accept },
        cache: 'no-store',
        credentials: 'same-origin',
      });
      if (response.ok) return new Uint8Array(await response.arrayBuffer());
    } catch {
      throw new Ending('unreachable', texts.unreachable);
    }
    throw await endingOf(response);
  }

  async function endingOf(response) {
    let problem = {};
    try {
      problem = (await response.json()) ?? {};
    } catch {
      // Not everything that stands between answers with a problem.
    }
    const detail = typeof problem.detail === 'string' ? problem.detail : `${response.status}`;
    const slug = String(problem.type ?? '')
      .split('/')
      .at(-1);
    if (response.status === 401) return new Ending('signed-out', texts.signedOut, '/signin?to=/me/proof');
    if (slug === 'damaged') return new Ending('Damaged', detail);
    const isPassing = [408, 429, 502, 503, 504].includes(response.status);
    return new Ending(isPassing ? 'busy' : 'NoEvidence', isPassing ? texts.busy(detail) : detail);
  }

  // ---------------------------------------------------------------- comparing

  const treeOf = ({ size, root: text }) => ({ size: BigInt(size), root: parts.unbase64(text) });
  const fault = (kind, place, why) => ({ step: 0, kind, place, why, isAbsent: kind === 'HistoryUnproven' });

  async function consistencyPath(shard, from, to) {
    const address = `/v1/logs/${shard}/consistency?from=${from}&to=${to}`;
    const bytes = await fetched(address, 'application/json');
    const hashes = JSON.parse(parts.textOf(bytes) ?? 'null')?.hashes;
    if (!Array.isArray(hashes) || hashes.length > PROOF_HASHES_MAX) return null;
    const path = hashes.map((hash) => (typeof hash === 'string' ? parts.unhash(hash) : null));
    return path.includes(null) ? null : path;
  }

  /** Whether the older of two states of a record log is a beginning of the later one, as the site can prove. */
  async function growth(shard, old, now) {
    if (old.size === now.size) {
      const isSame = parts.isConsistent(old, now, []);
      return isSame
        ? null
        : fault('History', `shard ${shard}`, `two roots of the log at ${old.size} entries`);
    }
    let path = [];
    try {
      if (old.size > 0n) path = await consistencyPath(shard, old.size, now.size);
    } catch (ending) {
      const why = ending instanceof Ending ? ending.why : 'the answer cannot be read';
      return fault(
        'HistoryUnproven',
        `shard ${shard}`,
        `no proof from ${old.size} to ${now.size} entries: ${why}`,
      );
    }
    if (path !== null && parts.isConsistent(old, now, path)) return null;
    return fault(
      'History',
      `shard ${shard}`,
      `what had ${old.size} entries is no beginning of what has ${now.size}`,
    );
  }

  /** A map log only grows, too; the site proves that of record logs only. */
  function mapFault(shard, old, now) {
    const isShorter = now.size < old.size;
    const isOther = now.size === old.size && !parts.isConsistent(old, now, []);
    if (!isShorter && !isOther) return null;
    return fault(
      'History',
      `map of shard ${shard}`,
      isShorter ? 'the map log is shorter than it was' : 'two roots of one size',
    );
  }

  /** Compares one shard with what is remembered of it: {fault, line}. */
  async function compared(facts, remembered, isOwnFile) {
    const { shard } = facts;
    if (remembered === undefined) return { fault: null, line: texts.memory.fresh(shard) };
    const [old, now] = [treeOf(remembered.record), treeOf(facts.record)];
    if (now.size < old.size) {
      // A file that was downloaded before may be older. What the site shows today may not.
      if (!isOwnFile)
        return {
          fault: fault('History', `shard ${shard}`, `the log shrank from ${old.size} to ${now.size}`),
        };
      return { fault: await growth(shard, now, old), line: texts.memory.older(shard) };
    }
    const wrong = isOwnFile ? null : mapFault(shard, treeOf(remembered.mapLog), treeOf(facts.mapLog));
    const line =
      now.size === old.size ? texts.memory.same(shard) : texts.memory.grew(shard, old.size, now.size);
    return { fault: wrong ?? (await growth(shard, old, now)), line };
  }

  // ---------------------------------------------------------------- the log that everybody reads

  const BUNDLE_ENTRIES = 256n;
  const BUNDLES_MAX = 64;

  /** Where the bundle of entries lies that holds one (C2SP tlog-tiles). */
  function bundleAddress(shard, number, size) {
    const groups = [String(number % 1000n).padStart(3, '0')];
    for (let rest = number / 1000n; rest > 0n; rest /= 1000n)
      groups.unshift(`x${String(rest % 1000n).padStart(3, '0')}`);
    const width = size - number * BUNDLE_ENTRIES;
    const partial = width < BUNDLE_ENTRIES ? `.p/${width}` : '';
    return `/log/${shard}/tile/entries/${groups.join('/')}${partial}`;
  }

  /** The entries of a bundle: each with its length in two bytes before it. */
  function entriesOf(bytes) {
    const entries = [];
    for (let at = 0; at + 2 <= bytes.length; ) {
      const length = bytes[at] * 256 + bytes[at + 1];
      entries.push(bytes.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
    return entries;
  }

  const isEqual = (one, other) =>
    one?.length === other.length && other.every((byte, index) => byte === one[index]);

  /** The customer's entries in the dossier, by the bundle of the published log that must hold them. */
  function entriesByBundle(state, result) {
    const sizes = new Map((result.facts?.shards ?? []).map((one) => [one.shard, one.record?.size]));
    const bundles = new Map();
    const dossier = JSON.parse(parts.textOf(state.bytes) ?? 'null');
    for (const { shard, index: told, place } of result.facts?.events ?? []) {
      const [generation, event] = (place.match(/\d+/g) ?? []).map(Number);
      const leaf = dossier?.generations?.[generation]?.events?.[event]?.leaf;
      const size = sizes.get(shard);
      if (leaf === undefined || size === undefined || size === null) continue;
      const index = BigInt(told);
      const number = index / BUNDLE_ENTRIES;
      const address = bundleAddress(shard, number, BigInt(size));
      const wanted = bundles.get(address) ?? [];
      wanted.push({ shard, index, at: Number(index % BUNDLE_ENTRIES), entry: parts.unbase64(leaf.entry) });
      bundles.set(address, wanted);
    }
    return bundles;
  }

  /**
   * Whether the log that this site shows to everybody holds the same entries as the dossier. The dossier's own proofs
   * do not need it; but who shows two logs is to be found out. Looks at the newest bundles first, and not at all of many.
   */
  async function publishedFaults(state, result) {
    const faults = [];
    const bundles = [...entriesByBundle(state, result)].reverse().slice(0, BUNDLES_MAX);
    for (const [address, wanted] of bundles) {
      let entries = [];
      try {
        entries = entriesOf(await fetched(address, 'application/octet-stream'));
      } catch {
        // The log has grown meanwhile and the smaller bundle is gone, or the site is busy: nothing is said against it.
        continue;
      }
      for (const { shard, index, at, entry } of wanted)
        if (!isEqual(entries[at], entry)) {
          const why = 'the log that everybody reads holds another entry there than the dossier';
          faults.push(fault('PublishedLog', `shard ${shard}, entry ${index}`, why));
        }
    }
    return faults;
  }

  /** Why the policy is not the one that was agreed on; null where it is. */
  function policyFault(state) {
    const { memory, siteHash, policy } = state;
    if (policy.from !== 'site' || state.isAccepted) return null;
    if (memory.value !== null) {
      // A file's policy that was too long to keep is not the site's: then the person is to choose again.
      const { from, site } = memory.value.policy;
      const isSame = from === 'site' && site === siteHash;
      return isSame
        ? null
        : fault('PolicyChanged', 'the policy', `its SHA-256 was ${memory.value.policy.site}`);
    }
    return memory.others.length > 0
      ? fault('OtherLedger', 'the policy', memory.others[0].slice(MEMORY.length))
      : null;
  }

  async function compare(state, result) {
    const { memory } = state;
    const found = { faults: [], lines: [] };
    const changed = policyFault(state);
    if (changed !== null) found.faults.push(changed);
    if (!state.isOwnFile && result.verdict === 'checks-out')
      found.faults.push(...(await publishedFaults(state, result)));
    if (memory.value === null) return found;
    if (changed === null) {
      const isSame = memory.value.policy.site === state.siteHash;
      const other = state.isAccepted ? texts.memory.policyAccepted : texts.memory.policyKept;
      found.lines.push(isSame ? texts.memory.policySame : other);
    }
    for (const facts of result.facts?.shards ?? []) {
      if (facts.record === null || facts.mapLog === null) continue;
      const one = await compared(facts, memory.value.shards[facts.shard], state.isOwnFile);
      if (one.fault) found.faults.push(one.fault);
      else found.lines.push(one.line);
    }
    return found;
  }

  /** What to remember once all is well. */
  function remembered(state, result) {
    const { memory, policy, siteHash } = state;
    const shards = { ...memory.value?.shards };
    for (const { shard, record, mapLog } of result.facts.shards) {
      const head = ({ size, root: text }) => ({ size: String(size), root: text });
      shards[shard] = { record: head(record), mapLog: head(mapLog) };
    }
    const text = policy.bytes.length <= POLICY_TEXT_MAX ? parts.textOf(policy.bytes) : null;
    const from = policy.from === 'site' ? 'site' : 'file';
    const kept = { hash: policy.hash, site: siteHash, from, text };
    return { version: 1, seen: new Date().toISOString(), policy: kept, shards };
  }

  // ---------------------------------------------------------------- showing

  function lineList(heading, lines) {
    const items = lines.map((line) => element('li', {}, element('code', { class: 'vf-code' }, line)));
    return lines.length === 0
      ? null
      : element('div', {}, element('p', {}, heading), element('ul', { class: 'vf-list' }, ...items));
  }

  /** Which lines of the policy are others than those that are remembered. */
  function policyDifference(state) {
    const before = state.memory.value?.policy.text;
    if (typeof before !== 'string') return [];
    const [old, now] = [before, parts.textOf(state.policy.bytes) ?? ''].map((text) =>
      text.split('\n').filter((line) => line),
    );
    const gone = old.filter((line) => !now.includes(line));
    const added = now.filter((line) => !old.includes(line));
    return [lineList(texts.memory.gone, gone), lineList(texts.memory.added, added)];
  }

  function memoryCard(state, found, isKept) {
    const { memory, isFirst, since } = state;
    const lines = memory.demoLines();
    if (!memory.isAvailable) lines.push(texts.memory.none);
    else if (isFirst && isKept) lines.push(texts.memory.first);
    if (since) lines.push(texts.memory.since(momentText(since, words.language)));
    lines.push(...found.lines);
    if (memory.isAvailable && !isKept && !state.isOwnFile) lines.push(texts.memory.notKept);
    const isChange =
      state.isGood && found.faults.some(({ kind }) => kind === 'PolicyChanged' || kind === 'OtherLedger');
    const accept = isChange ? button(texts.accept, () => start({ isAccepted: true }), false) : null;
    const hasSome = memory.isAvailable && (memory.value !== null || memory.others.length > 0);
    const forget = hasSome ? button(texts.forget, () => forgetAll(memory)) : null;
    const isOwn = chosen.policy !== null || chosen.dossier !== null;
    const back = isOwn ? button(texts.ownFiles, () => backToSite()) : null;
    return element(
      'section',
      { class: 'vf-memory' },
      element('h3', {}, texts.memory.heading),
      element('ul', { class: 'vf-list' }, ...lines.map((line) => element('li', {}, line))),
      ...(isChange ? policyDifference(state) : []),
      element('p', { class: 'vf-muted' }, texts.memory.stays),
      element(
        'div',
        { class: 'vf-actions actions' },
        accept,
        button(texts.again, () => start()),
        back,
        forget,
      ),
    );
  }

  function withFaults(result, faults) {
    if (faults.length === 0 || result.facts === null) return result;
    const all = [...faults, ...result.faults];
    const { verdict, fault: first } = verifier.judge(all);
    return { ...result, verdict, fault: first, faults: all, fault_count: result.fault_count + faults.length };
  }

  /** A result for what ended before there was anything to check. */
  function endedResult({ kind, why }) {
    const verdict = { Damaged: 'altered', NoEvidence: 'missing' }[kind];
    const one = { step: 0, kind, place: '', why };
    return {
      verdict,
      document: null,
      fault: one,
      faults: [one],
      fault_count: 1,
      facts: null,
      steps: [],
      engine: null,
    };
  }

  function showResult(result) {
    progress.end(result);
    const again = element(
      'div',
      { class: 'vf-actions actions' },
      button(texts.again, () => start()),
    );
    verifier.render(place, result, { words, after: [again] });
  }

  function showEnding(ending) {
    if (!(ending instanceof Ending)) {
      showResult(verifier.failure(ending));
      return;
    }
    if (ending.kind === 'Damaged' || ending.kind === 'NoEvidence') {
      showResult(endedResult(ending));
      return;
    }
    progress.body.hidden = true;
    progress.say(ending.why);
    const link =
      ending.link === null ? null : element('a', { class: 'btn', href: ending.link }, texts.signIn);
    place.replaceChildren(
      element(
        'div',
        { class: 'vf-actions actions' },
        link,
        button(texts.again, () => start()),
      ),
    );
  }

  // ---------------------------------------------------------------- the check

  const progressPlace = element('div');
  const place = element('div', { class: 'vf-result', tabindex: '-1' });
  // The status tells what happens; that all of the result is read out as it appears would be too much.
  root.removeAttribute('aria-live');
  root.replaceChildren(progressPlace, place);
  const progress = new verifier.Progress(progressPlace, words);
  const chosen = { policy: null, dossier: null };
  /** The party that the person asks about, which the site's dossier is to show, too. */
  let asked = null;
  let run = 0;

  /** The policy to check with: a chosen file, else one that was chosen before and kept, else the site's. */
  function policyToUse(site, memory) {
    const hashOf = (bytes) => parts.hex(parts.sha256(bytes));
    if (chosen.policy !== null) {
      return {
        from: 'file',
        bytes: chosen.policy.bytes,
        name: chosen.policy.name,
        hash: hashOf(chosen.policy.bytes),
      };
    }
    const kept = memory.value?.policy;
    if (kept?.from === 'file' && typeof kept.text === 'string') {
      return { from: 'kept', bytes: parts.utf8(kept.text), hash: kept.hash };
    }
    return { from: 'site', bytes: site, hash: hashOf(site) };
  }

  function ledgerOf(site) {
    try {
      return parts.parsePolicy(site).id;
    } catch {
      return root.dataset.ledger ?? '';
    }
  }

  function dossierAddress() {
    const { dossier } = root.dataset;
    return asked === null ? dossier : `${dossier}?recipient=${encodeURIComponent(asked)}`;
  }

  /** What the page lets ask about recipients (asking.js). A file of one's own shows whom it shows. */
  function askingOf({ isOwnFile }) {
    if (isOwnFile) return {};
    const show = (party) => {
      asked = party;
      place.focus();
      start({ isAsked: true });
    };
    return { text: asked ?? '', shown: asked === null ? [] : [asked], show };
  }

  async function prepared() {
    progress.begin(words.progress.policy);
    const site = await fetched(root.dataset.policy, 'text/plain');
    const ledger = ledgerOf(site);
    const memory = new Memory(ledger, demoRun(ledger));
    memory.dropEarlierRuns();
    const policy = policyToUse(site, memory);
    progress.say(words.progress.dossier);
    const bytes = chosen.dossier?.bytes ?? (await fetched(dossierAddress(), 'application/json'));
    const isOwnFile = chosen.dossier !== null;
    const isFirst = memory.value === null;
    const since = memory.value?.seen ?? null;
    return {
      site,
      siteHash: parts.hex(parts.sha256(site)),
      memory,
      policy,
      bytes,
      isOwnFile,
      isFirst,
      since,
    };
  }

  async function checkOnce(mine, { isAccepted = false, isAsked = false } = {}) {
    place.replaceChildren();
    const state = await prepared();
    if (mine !== run) return;
    state.isAccepted = isAccepted;
    const tell = (stage) => mine === run && progress.tell(stage);
    const checked = await verifier.verify(state.bytes, state.policy.bytes, { tell });
    if (mine !== run) return;
    progress.say(words.progress.history);
    const found = await compare(state, checked);
    if (mine !== run) return;
    const result = verifier.forPeople(withFaults(checked, found.faults));
    state.isGood = checked.verdict === 'checks-out';
    const isKept = state.isGood && found.faults.length === 0 && !state.isOwnFile;
    if (isKept) {
      state.memory.keep(remembered(state, checked));
      if (isAccepted) state.memory.forgetOthers();
    }
    progress.end(result);
    const { policy } = state;
    const after = [memoryCard(state, found, isKept)];
    verifier.render(place, result, {
      words,
      after,
      policy: { hash: policy.hash, from: policy.from, name: policy.name },
      asking: askingOf(state),
      remarks: state.memory.isDemo ? [texts.demo] : [],
    });
    // Where the button was, there is the answer now.
    if (isAsked) place.querySelector('[data-answer]')?.focus();
  }

  async function start(options) {
    run += 1;
    const mine = run;
    try {
      await checkOnce(mine, options);
    } catch (ending) {
      if (mine !== run) return;
      // If it was that question that failed, the next check goes without it.
      asked = null;
      showEnding(ending);
    }
  }

  function forgetAll(memory) {
    memory.forget();
    run += 1;
    place.replaceChildren(
      element(
        'div',
        { class: 'vf-actions actions' },
        button(texts.again, () => start(), false),
      ),
    );
    progress.body.hidden = true;
    progress.say(texts.forgotten);
  }

  const inputs = {
    policy: document.getElementById('policy-file'),
    dossier: document.getElementById('dossier-file'),
  };

  function backToSite() {
    asked = null;
    for (const name of Object.keys(chosen)) {
      chosen[name] = null;
      if (inputs[name] !== null) inputs[name].value = '';
    }
    start();
  }

  for (const [name, input] of Object.entries(inputs)) {
    input?.addEventListener('change', async () => {
      const file = input.files[0];
      try {
        chosen[name] = file ? { name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) } : null;
      } catch {
        progress.say(words.page.unreadable(file.name));
        return;
      }
      asked = null;
      place.focus();
      start();
    });
  }

  start();
})();
