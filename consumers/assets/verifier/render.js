// Showing a verdict.
//
// In scope: the progress, the verdict as one plain statement, every event with its own tick, and details on
// demand; for the Proof page and the page on its own alike. Out of scope: reaching a verdict (verdict.js),
// and texts (words.js). Trust: what is shown is data from strangers. It becomes text nodes, never markup.

import { growingList, hasData, nameNode, sentenceWith, sharingSection } from './asking.js';
import { codeText, disclosure, element, moment, momentText, pairs, termsText } from './elements.js';
import { STAGES } from './examination.js';

const EVENTS_AT_ONCE = 100;
/** A ledger has at most so many; a file may claim more. */
const SHARDS_SHOWN_MAX = 4096;
const TONES = {
  'checks-out': 'good',
  missing: 'warn',
  altered: 'bad',
  'not-json': 'warn',
  unsupported: 'warn',
};
const MARKS = { good: '\u2713', warn: '!', bad: '\u2717' };
const TICKS = { holds: ['good', '\u2713'], failed: ['bad', '\u2717'], unchecked: ['warn', '\u2013'] };

/** The lines under the verdict. Those about completeness are only told where everything holds. */
function factLines(result, words) {
  const { facts, verdict, document: kind } = result;
  const isWhole = verdict === 'checks-out' || result.fault.kind === 'Unreadable';
  if (facts === null || !isWhole) return [];
  const texts = words.facts;
  const { customer } = facts;
  const until = moment(facts.complete_to, words);
  const seen = facts.split_view_excluded ? texts.witnessed : texts.unwitnessed;
  if (kind === 'certificate') {
    const { shard, index } = facts.erasure;
    const told = [texts.certificate(customer, shard, index), texts.certificateUntil(until)];
    return [...told, seen, texts.certificateLimit];
  }
  const lines = [
    facts.generations === 0 ? texts.nothing(customer) : texts.events(facts.events.length, customer),
  ];
  const having = facts.sharing.recipients.filter(hasData);
  if (having.length > 0) lines.push(texts.recipients(having.length));
  const countsOf = (states) =>
    states.filter((state) => facts[state] > 0).map((state) => texts[state](facts[state]));
  lines.push(...countsOf(['erased', 'unreadable']));
  const names = facts.auditors.join(', ');
  const isAudited = facts.auditors.length > 0;
  lines.push(
    isAudited ? texts.auditor(names, moment(facts.recomputed, words), until) : texts.operator(until),
  );
  return [...lines, ...countsOf(['uncovered']), seen];
}

/** `remarks`: what else is to be known before one relies on the verdict. */
function verdictCard(result, words, remarks) {
  const { verdict, fault } = result;
  const tone = TONES[verdict];
  const told =
    fault === null ? null : element('p', { class: 'vf-reason' }, words.faults[fault.kind] ?? fault.why);
  const lines = factLines(result, words).map((line) => element('li', {}, line));
  const mark = element('span', { class: 'vf-mark', 'aria-hidden': 'true' }, MARKS[tone]);
  return element(
    'div',
    { class: `vf-verdict vf-${tone}`, 'data-verdict': verdict },
    element('p', { class: 'vf-word' }, mark, words.verdicts[verdict]),
    told,
    element('p', {}, words.remarks[fault?.kind] ?? words.sentences[verdict]),
    ...remarks.map((remark) => element('p', {}, remark)),
    lines.length > 0 ? element('ul', { class: 'vf-facts' }, ...lines) : null,
  );
}

function faultList(result, words) {
  if (result.faults.length === 0) return null;
  const texts = words.details;
  const items = result.faults.map(({ step, kind, place, why }) => {
    const number = step > 0 ? ` (${texts.stepOf(step)})` : '';
    const where = place === '' ? [] : [codeText(place), ': '];
    const detail = element('span', { lang: 'en', class: 'vf-muted vf-where' }, ...where, `${why}${number}`);
    return element('li', {}, words.faults[kind] ?? kind, detail);
  });
  const rest = result.fault_count - result.faults.length;
  const more = rest > 0 ? element('p', { class: 'vf-muted' }, texts.faultsMore(rest)) : null;
  return disclosure(
    texts.faults(result.fault_count),
    true,
    element('ol', { class: 'vf-list' }, ...items),
    more,
  );
}

function eventTitle(event, words) {
  const texts = words.event;
  if (event.state === 'erased') return texts.erased;
  if (event.state === 'unreadable') return texts.unreadable;
  return words.kinds[event.kind] ?? event.type ?? texts.unknown;
}

function prettyContent(content) {
  try {
    return JSON.stringify(JSON.parse(content), null, 2);
  } catch {
    return content;
  }
}

function eventItem(event, words) {
  const texts = words.event;
  const [tone, mark] = TICKS[event.tick];
  const name = event.recipientName || event.recipient;
  const tick = element('span', { class: `vf-tick vf-${tone}` });
  const sign = element('span', { 'aria-hidden': 'true' }, `${mark} `);
  tick.append(sign, texts.ticks[event.tick]);
  const summary = element(
    'summary',
    {},
    element('span', { class: 'vf-event-title' }, eventTitle(event, words)),
    name ? element('span', {}, ...sentenceWith(texts.toRecipient, () => [nameNode(name)])) : null,
    event.time ? element('span', { class: 'vf-muted' }, momentText(event.time, words.language)) : null,
    event.isCovered === false ? element('span', { class: 'vf-muted' }, texts.late) : null,
    tick,
  );
  const body = element('div', { class: 'vf-event-body' });
  const details = element('details', { class: 'vf-event' }, summary, body);
  // What is in it is made when somebody wants to see it: a dossier can have many thousand events.
  details.addEventListener(
    'toggle',
    () => body.childElementCount > 0 || body.append(...eventBody(event, words)),
  );
  return element('li', {}, details);
}

function eventBody(event, words) {
  const texts = words.event;
  const place = event.index === null ? null : texts.placeOf(event.shard, event.index);
  const told = pairs([
    [texts.time, event.time],
    [texts.purposes, termsText(event.purposes ?? [])],
    [texts.categories, termsText(event.categories ?? [])],
    [texts.signedBy, event.producer],
    [texts.place, place],
    [texts.generation, String(event.generation)],
  ]);
  if (event.content === null) return [told];
  const label = element('p', { class: 'vf-muted' }, texts.content);
  const content = element('pre', { class: 'vf-pre', tabindex: '0', 'aria-label': texts.content });
  content.append(prettyContent(event.content));
  return [told, label, content];
}

function eventList(result, words, heading) {
  const events = [...(result.facts?.events ?? [])].reverse();
  if (events.length === 0) return null;
  const list = growingList(events, EVENTS_AT_ONCE, (event) => eventItem(event, words), words.event.more);
  const title = element(heading, {}, words.event.heading(events.length));
  return element('section', { class: 'vf-section' }, title, ...list);
}

function stepTable(result, words) {
  if (result.steps.length === 0) return null;
  const texts = words.details;
  const isGood = result.verdict === 'checks-out';
  const rows = result.steps.map(({ step, checks, state }) => {
    const told = state === 'none' && !isGood ? texts.passedOver : texts.states[state];
    const tone = { holds: 'good', failed: 'bad', none: 'none' }[state];
    return element(
      'tr',
      {},
      element('td', {}, String(step)),
      element('th', { scope: 'row' }, words.steps[step - 1]),
      element('td', {}, String(checks)),
      element('td', { class: `vf-${tone}` }, told),
    );
  });
  const names = [texts.step, texts.what, texts.checks, texts.result];
  const head = element('tr', {}, ...names.map((name) => element('th', { scope: 'col' }, name)));
  const table = element(
    'table',
    { class: 'vf-table' },
    element('thead', {}, head),
    element('tbody', {}, ...rows),
  );
  const region = { class: 'vf-scroll', tabindex: '0', role: 'region', 'aria-label': texts.checked };
  const frame = element('div', region, table);
  return disclosure(texts.checked, false, element('p', { class: 'vf-muted' }, texts.checkedLead), frame);
}

function rootText(log, sizeText, words) {
  if (log === null) return null;
  return element('span', {}, `${sizeText(log.size)}, ${words.details.root} `, codeText(log.root));
}

function shardNumbers(shard, words, heading) {
  const texts = words.details;
  const names = (list) => (list.length > 0 ? list.join(', ') : texts.nobody);
  const auditors = (shard.mapLog?.auditors ?? []).map(({ name, time }) => `${name} (${moment(time, words)})`);
  return [
    element(heading, {}, texts.shard(shard.shard, shard.of)),
    pairs([
      [texts.record, rootText(shard.record, texts.size, words)],
      [texts.covered, shard.covered === null ? null : texts.size(shard.covered)],
      [texts.mapLog, rootText(shard.mapLog, texts.leaves, words)],
      [texts.sealed, shard.sealed === null ? null : moment(shard.sealed, words)],
      [texts.auditors, names(auditors)],
      [texts.witnesses, names(shard.record?.witnesses ?? [])],
    ]),
  ];
}

function numberDetails(result, words, heading) {
  if (result.facts === null) return null;
  const texts = words.details;
  const { signatures, digests } = result.engine;
  const work = texts.work(result.signatures, result.hashes, Math.round(result.milliseconds));
  const engine = texts.engineOf(texts.engine[signatures], texts.engine[digests]);
  const shards = result.facts.shards
    .slice(0, SHARDS_SHOWN_MAX)
    .flatMap((shard) => shardNumbers(shard, words, heading));
  return disclosure(texts.numbers, false, element('p', {}, `${work} ${engine}`), ...shards);
}

function keyDetails(result, words, policy) {
  if (result.facts === null) return null;
  const texts = words.details;
  const { facts } = result;
  const told = pairs([
    [texts.ledger, facts.ledger],
    [texts.ledgerId, codeText(facts.ledger_id)],
    [texts.policy, policy && (policy.name ?? texts.policyFrom[policy.from])],
    [texts.fingerprint, policy && codeText(policy.hash)],
    [texts.quorum, facts.quorum === 'none' ? texts.noQuorum : facts.quorum],
    [texts.producers, facts.producers.join(', ')],
  ]);
  return disclosure(texts.keys, false, element('p', {}, texts.keysLead), told);
}

function limitDetails(result, words) {
  if (result.facts === null) return null;
  const items = words.details.limitList.map((limit) => element('li', {}, limit));
  return disclosure(words.details.limits, false, element('ul', { class: 'vf-list' }, ...items));
}

/**
 * Shows a result in a container. `context`: {words, policy: {hash, from, name}, after: nodes under the verdict,
 * level: the level of headings, asking: see asking.js, remarks: lines in the card of the verdict}.
 */
export function render(container, result, context) {
  const { words, policy = null, after = [], level = 3, asking = {}, remarks = [] } = context;
  const parts = [
    verdictCard(result, words, remarks),
    ...after,
    sharingSection(result, words, `h${level}`, asking),
    faultList(result, words),
    eventList(result, words, `h${level}`),
    stepTable(result, words),
    numberDetails(result, words, `h${level}`),
    keyDetails(result, words, policy),
    limitDetails(result, words),
  ];
  container.replaceChildren(...parts.filter((part) => part !== null));
}

/** Shows in a container how far a check is, and says it to those who listen. */
export class Progress {
  constructor(container, words) {
    Object.assign(this, { container, words });
    this.status = element('p', { class: 'vf-status', role: 'status', 'aria-live': 'polite' });
    this.count = element('p', { class: 'vf-muted vf-count', 'aria-hidden': 'true' });
    this.bar = element('progress', {
      max: String(STAGES.length),
      value: '0',
      'aria-label': words.progress.heading,
    });
    this.body = element('div', { class: 'vf-progress' }, this.bar, this.count);
    container.replaceChildren(this.status, this.body);
  }

  say(text) {
    this.status.classList.remove('vf-unseen');
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  begin(text) {
    this.body.hidden = false;
    this.bar.value = 0;
    this.count.textContent = '';
    this.say(text);
  }

  /** For `options.tell` of verify. */
  tell({ stage, done, total }) {
    const at = STAGES.findIndex(({ name }) => name === stage);
    this.bar.value = at + (total > 0 ? done / total : 0);
    this.count.textContent = total > 1 ? this.words.progress.of(done, total) : '';
    this.say(this.words.progress.stage(this.words.stages[stage]));
  }

  end(result) {
    this.body.hidden = true;
    const { verdicts, sentences } = this.words;
    const { fault, verdict } = result;
    const sentence =
      fault === null ? sentences[verdict] : (this.words.faults[fault.kind] ?? sentences[verdict]);
    this.say(this.words.progress.done(verdicts[verdict], sentence));
    // Those who see have the verdict before them in large letters.
    this.status.classList.add('vf-unseen');
  }
}
