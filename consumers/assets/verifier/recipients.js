// Who has data of the customer, as the signed contents of a dossier say, and whether somebody never received any
// (docs/formats.md §15.6).
//
// In scope: reading the contents, counting by recipient, the answer about one party and why it stays open. Out of
// scope: whether the dossier holds: of one that does not, nothing here may be shown. Words for people (asking.js).
// Trust: the checks before; for what is said, those who signed it. "Never" is what is on record: an event that
// was not recorded, or that names another recipient than the true one, is not seen. So it is said only where every
// event reads, and every recipient and the party itself are shown to be registered: two names for one
// organisation are the operator's public lie then.

import { isNamedBy, readEvent } from './event.js';

/** Kinds that say that data went to a recipient. */
const DISCLOSING_KINDS = new Set(['data.shared', 'data.transferred']);

/** Kinds that can name a recipient who got nothing by it and need not have anything. All others say that it has data. */
const MENTIONING_KINDS = new Set([
  'disclosure.failed',
  'consent.given',
  'consent.refused',
  'consent.withdrawn',
  'consent.expired',
  'preference.changed',
  'request.opened',
  'dispute.opened',
]);

const placeIn = ({ shard, index }) => ({ shard, index });
const momentIn = (milliseconds) => new Date(milliseconds).toISOString().replace('.000Z', 'Z');
const sortedSet = (values) => [...new Set(values)].sort();

/** Values by their keys, each list in the order in which they came. */
function grouped(values, keyOf) {
  const groups = new Map();
  for (const value of values) {
    const group = groups.get(keyOf(value));
    if (group === undefined) groups.set(keyOf(value), [value]);
    else group.push(value);
  }
  return groups;
}

/** Who moved which data on to whom, and what did not happen: what events say of each other. */
class References {
  constructor(told) {
    this.byId = grouped(told, ({ event }) => event.id);
    const failures = told.map(({ event }) => event).filter(({ kind }) => kind === 'disclosure.failed');
    this.failures = grouped(failures, ({ data }) => data.disclosure.id ?? data.disclosure);
  }

  hasFailed({ event }) {
    const failures = this.failures.get(event.id) ?? [];
    return failures.some((failure) => isNamedBy(event, failure.data.disclosure, failure));
  }

  /** Who had the data before and passed it on: a recipient; null: nobody who is shown; undefined: it is not passed on. */
  passedOnBy({ event }) {
    const reference = event.data.onward_of;
    if (reference === undefined) return undefined;
    const named = this.byId.get(reference.id ?? reference) ?? [];
    const isReceipt = ({ kind, data }) =>
      (DISCLOSING_KINDS.has(kind) || kind === 'data.received') && data.recipient !== undefined;
    const earlier = named.find((one) => isNamedBy(one.event, reference, event) && isReceipt(one.event));
    return earlier?.event.data.recipient.id ?? null;
  }
}

/** What one recipient has, by the events that say so, in the order of their times. */
function summaryOf(id, named, references) {
  const told = [...named].sort((one, other) => one.event.at - other.event.at);
  const disclosing = told.filter(({ event }) => DISCLOSING_KINDS.has(event.kind));
  const failed = new Set(disclosing.filter((one) => references.hasFailed(one)));
  const happened = disclosing.filter((one) => !failed.has(one));
  const { name, role, country } = (happened.at(-1) ?? told.at(-1)).event.data.recipient;
  const spans = happened.map(({ event: { at, data } }) =>
    data.series === undefined ? [at, at] : [Date.parse(data.series.first), Date.parse(data.series.last)],
  );
  const all = (field) => sortedSet(happened.flatMap(({ event }) => event.data[field]));
  const givers = told.filter((one) => !failed.has(one));
  const from = givers.map((one) => references.passedOnBy(one)).filter((giver) => giver !== undefined);
  return {
    id,
    name,
    role,
    country,
    names: sortedSet(told.map(({ event }) => event.data.recipient.name)),
    disclosures: happened.reduce((sum, { event }) => sum + (event.data.series?.count ?? 1), 0),
    failed: failed.size,
    /** Events that are no disclosures and say that it has data. */
    others: told.length - disclosing.length,
    first: spans.length === 0 ? null : momentIn(spans.reduce((least, [at]) => Math.min(least, at), Infinity)),
    last: spans.length === 0 ? null : momentIn(spans.reduce((most, [, at]) => Math.max(most, at), -Infinity)),
    categories: all('categories'),
    purposes: all('purposes'),
    /** Whose data it was before; null among them: of somebody whom no event shows. */
    from: [...new Set(from)].filter((giver) => giver !== id),
    events: named.map(({ place }) => place),
  };
}

/** Each reason once, in the order of the dossier. */
function limitsOf(read, isRegistered) {
  const limits = new Map();
  const add = (limit) => limits.set(JSON.stringify(limit), limit);
  for (const { fact, event } of read) {
    const place = placeIn(fact);
    if (fact.state === 'erased') add({ reason: 'erased', generation: fact.generation });
    else if (fact.state === 'unreadable') add({ reason: 'unreadable', ...place });
    else if (event === null) add({ reason: 'malformed', ...place });
    else if (event.data.recipient !== undefined && !MENTIONING_KINDS.has(event.kind)) {
      const recipient = event.data.recipient.id;
      if (!isRegistered(recipient)) add({ reason: 'recipient_not_registered', ...place, recipient });
    }
  }
  return [...limits.values()];
}

/**
 * What the events of a dossier that holds say of recipients: {recipients, mentions, limits, registered}.
 * `events`: the facts of verdict.js. `registered`: the parties that the dossier shows to be registered, {id, name}.
 */
export function sharingIn(events, registered) {
  const ids = new Set(registered.map(({ id }) => id));
  const read = events.map((fact) => ({ fact, event: fact.state === 'opened' ? readEvent(fact.content) : null }));
  const told = read
    .filter(({ event }) => event !== null)
    .map(({ fact, event }) => ({ place: placeIn(fact), event }));
  const naming = told.filter(({ event }) => event.data.recipient !== undefined);
  const isMention = ({ event }) => MENTIONING_KINDS.has(event.kind);
  const mentions = naming.filter(isMention).map(({ place, event: { data } }) => {
    const { id, name } = data.recipient;
    return { id, name, place };
  });
  const having = naming.filter((one) => !isMention(one));
  const byRecipient = grouped(having, ({ event }) => event.data.recipient.id);
  const references = new References(told);
  const recipients = [...byRecipient.keys()]
    .sort()
    .map((id) => summaryOf(id, byRecipient.get(id), references));
  return { recipients, mentions, limits: limitsOf(read, (id) => ids.has(id)), registered };
}

/**
 * The answer about one party, as `sharetrail verify --never-shared-with` gives it: 'shared', 'never' or
 * 'cannot_say'. `upTo`: Unix seconds; of what was recorded later, nothing is said.
 */
export function answerAbout({ recipients, mentions, limits, registered }, upTo, party) {
  const recipient = recipients.find(({ id }) => id === party);
  if (recipient !== undefined) return { party, answer: 'shared', events: recipient.events };
  const isRegistered = registered.some(({ id }) => id === party);
  const reasons = isRegistered ? limits : [{ reason: 'party_not_registered' }, ...limits];
  if (reasons.length > 0) return { party, answer: 'cannot_say', reasons };
  const named = mentions.filter(({ id }) => id === party).map(({ place }) => place);
  return { party, answer: 'never', up_to: upTo, mentions: named };
}

const folded = (text) => text.normalize('NFKC').toLowerCase().trim().replace(/\s+/g, ' ');

/**
 * The parties that a dossier names whose id or name holds a text, however it is written, by their ids. Those that have
 * data stand first: whoever writes the names must not push them out of sight.
 */
export function partiesLike({ recipients, mentions, registered }, text) {
  const wanted = folded(text);
  const known = [
    ...recipients.map(({ id, names }) => [id, ...names]),
    ...[...mentions, ...registered].map(({ id, name }) => [id, name]),
  ];
  const fitting = known.filter((names) => names.some((name) => folded(name).includes(wanted)));
  const ids = wanted === '' ? [] : sortedSet(fitting.map(([id]) => id));
  const having = new Set(recipients.map(({ id }) => id));
  return [...ids.filter((id) => having.has(id)), ...ids.filter((id) => !having.has(id))];
}
