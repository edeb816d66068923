// Who received data, and a field to ask whether somebody did.
//
// In scope: the list of recipients; the question, its answer and how far that answer goes, on the Proof page and
// the page on its own alike; names within sentences, and lists that grow, for render.js too. Out of scope: what the
// contents say (recipients.js), and texts (words.js). Trust: only of a dossier that checks out is anything shown
// here. Names are those that strangers chose, and must not turn round the sentences that they stand in. What is asked
// stays in the page, unless the person sends it to the site by a button that says so.

import { isName } from './bytes.js';
import { button, disclosure, element, moment, momentText, pairs, termsText } from './elements.js';
import { answerAbout, partiesLike } from './recipients.js';

const RECIPIENTS_AT_ONCE = 100;
/** Of what a file may hold without end, so much is listed. */
const LISTED_MAX = 8;
const SUGGESTED_MAX = 200;
const ASKED_MAX = '200';
const ANSWER_TONES = {
  shared: ['told', '\u2192'],
  never: ['good', '\u2713'],
  nobody: ['good', '\u2713'],
  cannot_say: ['warn', '!'],
};

/** Of what such an event says nothing is known. */
const UNREAD_REASONS = new Set(['erased', 'unreadable', 'malformed']);

/** Characters that turn the direction of what follows, or end what holds them: a name needs none of them here. */
const TURNING = /[\u202a-\u202e\u2066-\u2069]/g;

/** A name that a stranger chose. It has its own direction, and leaves that of what stands beside it. */
export const nameNode = (name) => element('bdi', {}, String(name).replace(TURNING, ''));

const nameWithId = ({ id, name }) =>
  name && name !== id ? [nameNode(name), ' (', nameNode(id), ')'] : [nameNode(id)];

/** Many of what are lists of nodes, with a text between each two. */
const joined = (lists) => lists.flatMap((nodes, at) => (at === 0 ? nodes : ['; ', nodes].flat()));

/**
 * A sentence of words.js as nodes. `make` makes it of one text for each of `fills`, in their order; what a fill gives
 * stands there instead.
 */
export function sentenceWith(make, ...fills) {
  const told = make(...fills.map((_, at) => `\ue000${at}\ue001`)).split(/\ue000(\d+)\ue001/);
  const nodes = told.flatMap((part, at) => (at % 2 === 1 ? fills[Number(part)]() : [part]));
  return nodes.filter((node) => node !== '');
}

/** Whether somebody has data by what is on record: not where each disclosure to them failed. */
export const hasData = ({ disclosures, others }) => disclosures > 0 || others > 0;

/**
 * An ordered list that shows so many items at first, and the button that shows more, or nothing where there are no
 * more. The keyboard goes on with the first item that is new: at the end the button is gone.
 */
export function growingList(values, atOnce, itemOf, moreText) {
  const shown = element('ol', { class: 'vf-events' });
  let count = 0;
  const grow = () => {
    const items = values.slice(count, count + atOnce).map(itemOf);
    shown.append(...items);
    count += items.length;
    const left = Math.min(atOnce, values.length - count);
    more.textContent = moreText(left);
    more.hidden = left === 0;
    return items;
  };
  const more = button('', () => grow()[0]?.querySelector('summary')?.focus());
  grow();
  return [shown, more];
}

/** The first of many lines, and how many more there are. */
function firstOf(lines, texts) {
  const rest = lines.length - LISTED_MAX;
  return rest > 0 ? [...lines.slice(0, LISTED_MAX), texts.more(rest)] : lines;
}

const list = (lines) =>
  lines.length === 0
    ? null
    : element('ul', { class: 'vf-list' }, ...lines.map((line) => element('li', {}, ...[line].flat())));

/** What a dossier says about recipients, for people. */
class Sharing {
  constructor(result, words) {
    const { facts } = result;
    Object.assign(this, { facts, words, sharing: facts.sharing, texts: words.sharing });
    const { recipients, mentions, registered } = this.sharing;
    // As it was told in events before as it was registered: that is what the person saw.
    this.names = new Map([...registered, ...mentions, ...recipients].map(({ id, name }) => [id, name]));
    // Where nobody received anything, it does not matter by what name.
    this.isNobody = recipients.length === 0 && this.sharing.limits.length === 0;
  }

  /** The name and the id of somebody, as nodes. */
  nameOf(id) {
    return nameWithId({ id, name: this.names.get(id) });
  }

  /** A sentence about somebody, as nodes; `make` makes it of the name. */
  about(id, make) {
    return sentenceWith(make, () => this.nameOf(id));
  }

  /** Somebody's names side by side in one node; null where there is nobody. */
  namesNode(names) {
    return names.length > 0 ? element('span', {}, ...joined(names)) : null;
  }

  placeText({ shard, index }) {
    return this.words.event.placeOf(shard, index);
  }

  span({ first, last }) {
    const [from, to] = [first, last].map((one) => momentText(one, this.words.language));
    return from === to ? this.texts.once(from) : this.texts.span(from, to);
  }

  /** One line: how often, and when. */
  summary(recipient) {
    const { disclosures, others, failed } = recipient;
    if (disclosures > 0) return `${this.texts.times(disclosures)}, ${this.span(recipient)}`;
    return others > 0 ? this.texts.others(others) : this.texts.failed(failed);
  }

  details(recipient) {
    const { texts } = this;
    const { id, country, disclosures, failed, others, from, purposes, categories, events } = recipient;
    const { recipients } = this.sharing;
    const takers = recipients.filter((other) => other.from.includes(id));
    const passedTo = takers.map((other) => this.nameOf(other.id));
    const givers = from.map((giver) => (giver === null ? [texts.unknownGiver] : this.nameOf(giver)));
    return pairs([
      [texts.id, nameNode(id)],
      [texts.country, country],
      [texts.disclosures, disclosures > 0 ? this.summary(recipient) : null],
      [texts.purposes, termsText(purposes)],
      [texts.categories, termsText(categories)],
      [texts.from, this.namesNode(givers)],
      [texts.passedTo, this.namesNode(passedTo)],
      [texts.also, others > 0 ? texts.others(others) : null],
      [texts.notDone, failed > 0 ? texts.failed(failed) : null],
      [texts.entries, firstOf(events.map((place) => this.placeText(place)), texts).join('; ')],
    ]);
  }

  recipientItem(recipient) {
    const summary = element(
      'summary',
      {},
      element('span', { class: 'vf-event-title' }, nameNode(recipient.name || recipient.id)),
      element('span', {}, this.summary(recipient)),
    );
    const body = element('div', { class: 'vf-event-body' });
    const item = element('details', { class: 'vf-event', 'data-recipient': recipient.id }, summary, body);
    item.addEventListener(
      'toggle',
      () => body.childElementCount > 0 || body.append(this.details(recipient)),
    );
    return element('li', {}, item);
  }

  recipientList() {
    const { recipients } = this.sharing;
    if (recipients.length === 0)
      return [element('p', {}, this.isNobody ? this.texts.nobody : this.texts.nobodyRead)];
    const itemOf = (recipient) => this.recipientItem(recipient);
    return growingList(recipients, RECIPIENTS_AT_ONCE, itemOf, this.words.event.more);
  }

  /** How far an answer goes: which events, until when, on whose word, which part of the log. */
  scope() {
    const { facts, texts, words } = this;
    const { events, opened, uncovered, complete_to: until, auditors, shards, customer } = facts;
    const word = auditors.length > 0 ? texts.auditors(auditors.join(', ')) : texts.operator;
    const covered = shards.map(({ shard, of, covered: size }) => texts.covered(shard, of, size));
    return [
      texts.scope(events.length - uncovered, customer, moment(until, words), word),
      ...(events.length > 0 ? [texts.read(opened, events.length)] : []),
      ...firstOf(covered, texts),
      ...(uncovered > 0 ? [texts.uncovered(uncovered)] : []),
    ];
  }

  why(reason) {
    const { texts } = this;
    const place = reason.shard === undefined ? null : this.placeText(reason);
    return {
      erased: () => texts.reasons.erased(reason.generation),
      unreadable: () => texts.reasons.unreadable(place),
      malformed: () => texts.reasons.malformed(place),
      recipient_not_registered: () =>
        this.about(reason.recipient, (name) => texts.reasons.recipientNotRegistered(place, name)),
      party_not_registered: () => texts.reasons.partyNotRegistered,
    }[reason.reason]();
  }

  /** Which of the answers it is for people: 'nobody' besides those of recipients.js. */
  kindOf({ answer }) {
    return answer === 'cannot_say' && this.isNobody ? 'nobody' : answer;
  }

  /** The sentence of an answer, as nodes, and what stands under it. */
  told(said) {
    const { texts, sharing, facts } = this;
    const { party, reasons = [], mentions = [] } = said;
    const answer = this.kindOf(said);
    const about = (make) => this.about(party, make);
    if (answer === 'shared') {
      const recipient = sharing.recipients.find(({ id }) => id === party);
      const yes = (name) => texts.yes(name, this.summary(recipient));
      const happened = recipient.disclosures > 0 ? yes : texts.yesOtherwise;
      const sentence = about(hasData(recipient) ? happened : texts.takenBack);
      return { sentence, under: [this.details(recipient)] };
    }
    const places = firstOf(mentions.map((place) => this.placeText(place)), texts).join('; ');
    const mentioned = (name) => texts.mentioned(name, places);
    const named = mentions.length > 0 ? element('p', {}, ...about(mentioned)) : null;
    const signer = facts.producers.includes(party) ? element('p', {}, ...about(texts.signer)) : null;
    const scope = [signer, element('p', {}, texts.scopeLead), list(this.scope())];
    const limit = element('p', { class: 'vf-muted' }, texts.limit);
    if (answer === 'never') return { sentence: about(texts.never), under: [named, ...scope, limit] };
    if (answer === 'nobody') return { sentence: about(texts.nobodyEither), under: [...scope, limit] };
    const isMentioned = sharing.mentions.some(({ id }) => id === party);
    const open = firstOf(
      reasons.map((one) => this.why(one)),
      texts,
    );
    const isAllRead = reasons.every(({ reason }) => !UNREAD_REASONS.has(reason));
    const sentence = about(isMentioned ? texts.openMentioned : (name) => texts.open(name, isAllRead));
    return { sentence, under: [element('p', {}, texts.openLead), list(open), ...scope, limit] };
  }
}

/** The form, and what it answers. `asking`: {text, shown, show}. */
class Question {
  constructor(told, asking) {
    const { text = '', shown = [], show = null } = asking;
    Object.assign(this, { told, texts: told.texts, shown, show });
    this.input = element('input', {
      id: 'vf-asked',
      type: 'search',
      list: 'vf-known',
      maxlength: ASKED_MAX,
      autocomplete: 'off',
      autocapitalize: 'none',
      spellcheck: 'false',
      'aria-describedby': 'vf-asked-hint',
    });
    this.input.value = text;
    this.output = element('output', { for: 'vf-asked', 'aria-live': 'polite', class: 'vf-said' });
    this.answers = element('div', {});
    if (text !== '') this.answer(shown.includes(text));
  }

  form() {
    const { texts, told } = this;
    const known = [...told.names]
      .slice(0, SUGGESTED_MAX)
      .map(([id, name]) => element('option', { value: id }, name));
    const form = element(
      'form',
      { class: 'vf-ask field' },
      element('label', { for: 'vf-asked' }, texts.label),
      element('p', { class: 'vf-hint hint', id: 'vf-asked-hint' }, texts.hint),
      this.input,
      element('datalist', { id: 'vf-known' }, ...known),
      element(
        'div',
        { class: 'vf-actions actions' },
        element('button', { type: 'submit', class: 'btn vf-button' }, texts.ask),
      ),
      this.output,
    );
    form.addEventListener('submit', (event) => {
      // Nothing is sent: the answer lies in the dossier.
      event.preventDefault();
      this.answer();
    });
    return [form, this.answers];
  }

  /** Says it, a list of nodes, to those who listen; to those who see only where no answer below says the same. */
  say(nodes, isSeen) {
    this.output.classList.toggle('vf-unseen', !isSeen);
    this.output.replaceChildren(...nodes);
  }

  /** Answers for all that what was typed may mean; or for this very text as an id. */
  answer(isExact = false) {
    const { texts, told } = this;
    const text = this.input.value.trim();
    if (text === '') {
      this.say([texts.empty], true);
      this.answers.replaceChildren();
      return;
    }
    const own = isName(text.toLowerCase()) ? text.toLowerCase() : text;
    const known = isExact ? [] : partiesLike(told.sharing, text);
    const parties = known.length > 0 ? known : [own];
    const answers = parties
      .slice(0, LISTED_MAX)
      .map((party) => answerAbout(told.sharing, told.facts.complete_to, party));
    const cards = answers.map((answer) => this.card(answer));
    const rest = parties.length - answers.length;
    if (cards.length === 1) this.say(told.told(answers[0]).sentence, false);
    else this.say([texts.several(parties.length, text)], true);
    const more = rest > 0 ? [element('p', { class: 'vf-muted' }, texts.narrower(rest))] : [];
    const isPart = known.length > 0 && !known.includes(own) && isName(own);
    const exact = isPart ? [button(texts.exactly(own), () => this.answerExactly())] : [];
    this.answers.replaceChildren(...cards, ...more, ...exact);
  }

  /** The button that asks for it goes with the answers before: the focus goes to the new one. */
  answerExactly() {
    this.answer(true);
    this.answers.querySelector('[data-answer]')?.focus();
  }

  card(answer) {
    const { told } = this;
    const { sentence, under } = told.told(answer);
    const kind = told.kindOf(answer);
    const [tone, mark] = ANSWER_TONES[kind];
    const sign = element('span', { 'aria-hidden': 'true' }, `${mark} `);
    const attributes = { 'data-answer': kind, 'data-party': answer.party, tabindex: '-1' };
    return element(
      'div',
      { class: `vf-answer vf-${tone}`, ...attributes },
      element('p', { class: 'vf-reason' }, sign, ...sentence),
      ...under.filter((part) => part !== null),
      ...this.ways(answer),
    );
  }

  /** How to get further, where the dossier does not show who the party is. */
  ways({ party, reasons = [] }) {
    const { texts, show, shown } = this;
    const isUnknown = reasons.some(({ reason }) => reason === 'party_not_registered');
    if (!isUnknown || this.told.isNobody) return [];
    if (shown.includes(party)) return [element('p', {}, texts.stillUnknown(party))];
    if (!isName(party)) return [element('p', {}, texts.wantsId)];
    if (show === null) return [element('p', {}, texts.askFor(party))];
    return [
      element(
        'div',
        { class: 'vf-actions actions' },
        button(texts.fetch(party), () => show(party)),
      ),
      element('p', { class: 'vf-muted' }, texts.fetchTells),
    ];
  }
}

/**
 * Who received data, and the question, of a dossier that checks out; else null. `asking`: `text` was asked before,
 * `shown` are parties that this dossier was asked to show, `show(party)` gets one that shows another.
 */
export function sharingSection(result, words, heading, asking) {
  if (result.verdict !== 'checks-out' || !result.facts?.sharing) return null;
  const told = new Sharing(result, words);
  const { texts, sharing } = told;
  const title = element(heading, {}, texts.heading(sharing.recipients.filter(hasData).length));
  const only = sharing.mentions.filter(({ id }) => sharing.recipients.every((one) => one.id !== id));
  const named = [...new Set(only.map(({ id }) => id))].map((id) => told.nameOf(id));
  const parts = [
    ...told.recipientList(),
    named.length > 0
      ? element('p', {}, ...sentenceWith(texts.onlyNamed, () => joined(firstOf(named, texts))))
      : null,
    sharing.limits.length > 0
      ? disclosure(
          texts.limits(sharing.limits.length),
          false,
          list(firstOf(sharing.limits.map((one) => told.why(one)), texts)),
        )
      : null,
    ...new Question(told, asking).form(),
  ];
  return element('section', { class: 'vf-section' }, title, ...parts);
}
