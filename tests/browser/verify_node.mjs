// Runs the browser's verifier in Node, which has the same WebCrypto.
//
//   node verify_node.mjs VERIFIER FILE --policy POLICY [--json] [--own] [--never-shared-with PARTY]
//       exit 0: checks out, 1: altered or missing, 2: not checkable; `--own` uses no WebCrypto; with a PARTY,
//       `never_shared` of `--json` is what the program's is
//   node verify_node.mjs VERIFIER --self-test [GOLDEN_FOLDER]
//       the test vectors of docs/formats.md §19
//   node verify_node.mjs VERIFIER --cases FOLDER
//       the files that tests/interop/second/cases.py wrote: exit 1 if a verdict is another one
//   node verify_node.mjs VERIFIER --alter FILE --policy POLICY [--seed N]
//       every byte changed, cuts, and parts dropped, doubled and swapped: exit 1 if any of that checks out
//
// VERIFIER is the bundle, or the folder of modules, which are joined as `consumers/src/pages/assets.rs` does it.
// In scope: whether the verifier does what the document wants. Out of scope: how it is shown (showing.mjs, pages.py).

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { testShowing } from './showing.mjs';

const EXIT_CODES = { 'checks-out': 0, altered: 1, missing: 1, 'not-json': 2, unsupported: 2 };
const HERE = path.dirname(fileURLToPath(import.meta.url));

/** The modules of a folder as one script: what assets.rs serves. */
function bundleOf(folder) {
  const names = fs
    .readFileSync(path.join(folder, 'ORDER'), 'utf8')
    .split('\n')
    .filter((name) => name !== '');
  const lines = names.flatMap((name) => fs.readFileSync(path.join(folder, name), 'utf8').split('\n'));
  const kept = lines.filter((line) => !line.startsWith('import '));
  return kept.map((line) => (line.startsWith('export ') ? line.slice('export '.length) : line)).join('\n');
}

async function load(place) {
  const isFolder = fs.statSync(place).isDirectory();
  const source = isFolder ? bundleOf(place) : fs.readFileSync(place, 'utf8');
  await import(`data:text/javascript;base64,${Buffer.from(source).toString('base64')}`);
  return globalThis.SharetrailVerifier;
}

/** Every line that joins modules must be dropped whole: one line each, and nothing else that needs a module. */
function checkModules(folder) {
  const names = fs
    .readFileSync(path.join(folder, 'ORDER'), 'utf8')
    .split('\n')
    .filter((name) => name !== '');
  const there = fs.readdirSync(folder).filter((name) => name.endsWith('.js'));
  assert.deepEqual([...names].sort(), there.sort(), 'ORDER names the modules that there are');
  for (const [at, name] of names.entries()) {
    const text = fs.readFileSync(path.join(folder, name), 'utf8');
    const from = [...text.matchAll(/^import .* from '\.\/(.*)';$/gm)].map(([, module]) => module);
    assert.equal(
      from.length,
      text.match(/^\s*import\b/gm)?.length ?? 0,
      `${name}: imports on one line, from ./`,
    );
    for (const module of from)
      assert.ok(names.indexOf(module) < at, `${name} uses ${module}, which comes later`);
    assert.ok(!/^export (?:default|\{|\*)/m.test(text), `${name}: only declarations are exported`);
    assert.ok(
      !/<script|<style|<\/|<!--| style=|innerHTML|outerHTML|insertAdjacentHTML|\beval\(/.test(text),
      name,
    );
    assert.ok(text.startsWith('// ') && text.split('\n').length <= 800, `${name}: head and length`);
  }
}

// ---------------------------------------------------------------- vectors

const unhexed = (text) => new Uint8Array(Buffer.from(text, 'hex'));
const hexed = (bytes) => Buffer.from(bytes).toString('hex');

function testTree({ parts }, file) {
  const hashes = file.leaves.map((leaf) => parts.leafHash(unhexed(leaf)));
  const roots = file.roots.map(unhexed);
  for (const [size, root] of roots.entries()) assert.deepEqual(parts.treeRoot(hashes.slice(0, size)), root);
  for (const { index, size, proof } of file.inclusion) {
    const tree = { size: BigInt(size), root: roots[size] };
    assert.ok(parts.includes(tree, BigInt(index), hashes[index], proof.map(unhexed)));
  }
  for (const { old_size: old, new_size: now, proof } of file.consistency) {
    const trees = [old, now].map((size) => ({ size: BigInt(size), root: roots[size] }));
    assert.ok(parts.isConsistent(...trees, proof.map(unhexed)));
  }
}

/** Numbers up to 2^64 − 1 stand in these files: JSON.parse would round them. */
const exactJson = (text) =>
  JSON.parse(text.replace(/("(?:index|size|old_size|new_size)": )([0-9]+)/g, '$1"$2"'));

function testProbes({ parts }, file) {
  for (const t of file.inclusion) {
    const tree = { size: BigInt(t.size), root: unhexed(t.root) };
    const holds = parts.includes(tree, BigInt(t.index), unhexed(t.leaf), t.proof.map(unhexed));
    assert.equal(holds, t.holds, t.name);
  }
  for (const t of file.consistency) {
    const old = { size: BigInt(t.old_size), root: unhexed(t.old_root) };
    const now = { size: BigInt(t.new_size), root: unhexed(t.new_root) };
    assert.equal(parts.isConsistent(old, now, t.proof.map(unhexed)), t.holds, t.name);
  }
}

async function testVrf({ parts }, file, engine) {
  for (const v of file.vectors) {
    const [key, input, proof] = [v.pk, v.alpha, v.pi].map(unhexed);
    assert.equal(hexed(parts.encodePoint(await parts.curvePointFor(engine, key, input))), v.h);
    assert.equal(hexed(await parts.vrfOutput(engine, key, input, proof)), v.beta);
    for (let at = 0; at < proof.length; at += 1) {
      const altered = proof.slice();
      altered[at] ^= 1;
      assert.equal(await parts.vrfOutput(engine, key, input, altered), null, `byte ${at}`);
    }
  }
}

async function testCustomer({ parts }, file, engine, vrf) {
  const key = unhexed(vrf.vectors.find(({ sk }) => sk === file.vrf_seed).pk);
  for (const { customer, generation, label, proof } of file.labels) {
    const input = parts.labelInput(file.ledger, customer, generation);
    const output = await parts.vrfOutput(engine, key, input, unhexed(proof));
    assert.equal(hexed(output.subarray(0, 32)), label);
  }
  for (const { content, commitment } of file.commitments) {
    const bytes = Buffer.concat([
      Buffer.from('sharetrail commitment v1\n'),
      unhexed(file.opening),
      unhexed(content),
    ]);
    assert.equal(parts.base64(await engine.sha256(new Uint8Array(bytes))), commitment);
  }
}

function testEntries({ parts }, file) {
  const genesis = unhexed(file.genesis);
  const parsed = parts.parseEntry(genesis);
  assert.equal(parsed.kind, 'genesis');
  assert.equal(parts.base64(parts.leafHash(genesis)), file.genesis_leaf_hash);
  assert.equal(parts.parseEntry(unhexed(file.event)).kind, 'event');
  assert.equal(parts.parseEntry(unhexed(file.erasure)).kind, 'erasure');
  assert.equal(parts.parseEntry(unhexed(file.batch)).kind, 'batch');
  const registry = new parts.Registry(parsed);
  for (const [at, { action, party, hex }] of file.registry.entries()) {
    const [bytes, entry] = [unhexed(hex), parts.parseEntry(unhexed(hex))];
    assert.deepEqual([entry.action, entry.party], [action, party]);
    assert.equal(registry.apply(entry, bytes, BigInt(2 + at), 'operator'), null, action);
    assert.notEqual(
      registry.apply(entry, bytes, BigInt(3 + at), 'operator'),
      null,
      'an entry does not follow itself',
    );
    for (let byte = 0; byte < bytes.length; byte += 1) {
      const altered = bytes.slice();
      altered[byte] ^= 0x20;
      const other = parts.parseEntry(altered);
      if (byte < 33) assert.ok(other === null || other.kind !== 'registry', `byte ${byte} of ${action}`);
    }
  }
  for (const { party, label } of file.party_labels) assert.equal(hexed(parts.partyLabel(party)), label);
}

async function testNote({ parts }, file, engine) {
  const key = parts.parseVkey(file.golang.vkey, 1);
  const note = parts.parseNote(file.golang.note);
  assert.equal(note.text, file.golang.text);
  assert.equal(await parts.signatureOf(engine, note, key), 'holds');
  assert.ok(parts.parseVkey(file.vkeys[0], 1) && parts.parseVkey(file.vkeys[1], 4));
  assert.equal(parts.parseVkey(file.vkeys[0], 4), null);
  const { log, witness, time, note: text } = file.cosigned;
  const head = `#sharetrail ledger shop.example ${'11'.repeat(32)}\n`;
  const policyOf = (lines) => parts.parsePolicy(parts.utf8(head + lines));
  const policy = policyOf(`log ${log}\nwitness w ${witness}\ngroup g 1 w\nquorum g\n`);
  const opened = await parts.openCheckpoint(engine, policy, text);
  assert.deepEqual([opened.checkpoint.size, opened.witnesses], [7n, ['w']]);
  const cosigned = await parts.cosignatureOf(engine, parts.parseNote(text), policy.witnesses.get('w'));
  assert.deepEqual(cosigned, { state: 'holds', time: BigInt(time) });
  const reasons = [
    ['\n7\n', '\n8\n', 'signature'],
    ['\u2014 witness', '\u2014 other', 'quorum'],
  ];
  for (const [was, is, reason] of [...reasons, ['Vbk', 'Vbl', 'cosignature'], ['\n7\n', '\n07\n', 'note']]) {
    assert.equal((await parts.openCheckpoint(engine, policy, text.replace(was, is))).reason, reason);
  }
  const none = [
    `witness w ${witness}\n#sharetrail auditor ${witness}\nquorum none\n`,
    'quorum none\nquorum none\n',
    '',
  ];
  const undefinedNames = [
    'quorum w\n',
    'group g any w\nquorum none\n',
    `witness none ${witness}\nquorum none\n`,
  ];
  const counts = ['2', '0', '01', '-1', 'toString'].map(
    (k) => `witness w ${witness}\ngroup g ${k} w\nquorum g\n`,
  );
  const forms = [
    'quorum none\r\n',
    '#sharetrail\nquorum none\n',
    'what is this\nquorum none\n',
    '\ufeffquorum none\n',
    '# \x7f\nquorum none\n',
  ];
  for (const lines of [...none, ...undefinedNames, ...counts, ...forms, `${head}quorum none\n`]) {
    assert.throws(() => policyOf(lines), JSON.stringify(lines));
  }
  for (const lines of ['# sharetrail x\n\n \t\nquorum  none', '#sharetrails\nquorum\tnone\n'])
    policyOf(lines);
}

/** The values that stand in §19 itself. */
async function testDocument({ parts }, engine) {
  const label = unhexed('d0b460c7d5b57ecbb59ab5b64c85fd8a101bdcacc5ae8b7e5ac4bbd4c1afb04a');
  const input =
    '7368617265747261696c206c6162656c2076310a000c73686f702e6578616d706c65000b637573746f6d65722d343200000000';
  assert.equal(hexed(parts.labelInput('shop.example', 'customer-42', 0)), input);
  assert.equal(parts.shardOfLabel(label, 4), 3);
  const party = '4e8ddcc1f951ac888cce88b1b12678e4cb9cb1ae17ab479de53ca620f33bf873';
  assert.equal(hexed(parts.partyLabel('till')), party);
  const till = parts.parseVkey('till+1e08cbef+Ae1JKMYo0cLG6ukDOJBZlWEpWSc6XGP5NjbBRhSshzfR', 1);
  const log = parts.parseVkey(
    'shop.example/log/0of1+e82a8703+AcqTrBcFGHBx1nuDx/8O/oEI6OxFMFdddyaHkzPb2r58',
    1,
  );
  const batch = parts.parseNote(
    'shop.example/batch/0of1/till/06060606060606060606060606060606/0\n1\n' +
      'H62lpRWVO6GohAs0bTBkadnScUefHb0s2nYtvSN+EU0=\n' +
      'prev nPp+3gGrOmeeqq9GgNCtYS7DLaqP+r9qLButCU0s3cQ=\n\n\u2014 till ' +
      'HgjL71MmmF4n5Cx3COaY/cz0z//C+LCYsAbOP2oJkL1oklUCNSwmczCfHdjntFOY9HLvHKhgVTLPgNL60+JK6z1pvgw=\n',
  );
  assert.equal(parts.parseBatchNote(batch).producer, 'till');
  assert.equal(
    parts.base64(parts.sha256(parts.utf8(batch.text))),
    'yDyMS3tCQEbmVJEOSPqlm1/lGur/XpPlOQqpZPTsh8w=',
  );
  assert.equal(await parts.signatureOf(engine, batch, till), 'holds');
  assert.equal(await parts.signatureOf(engine, { ...batch, text: `x${batch.text}` }, till), 'wrong');
  const checkpoint = parts.parseNote(
    'shop.example/log/0of1\n6\nLwhENdIq/nKP+55lrVooouRH9LWNjRhqr5Vfsfeg8Ho=\n\n' +
      '\u2014 shop.example/log/0of1 ' +
      '6CqHAwhLNxTSdsF/V/faOviUiklrcAuUQB78s2quAr1xjhy3PE8cweewxb60rYQz6mI+0Ns/gnltAdK30UZ9+BBnUAk=\n',
  );
  assert.equal(await parts.signatureOf(engine, checkpoint, log), 'holds');
}

function testContents({ parts }) {
  const deep = `${'['.repeat(20000)}${']'.repeat(20000)}`;
  const found = {
    '{"a":1e999,"a":"\\ud800","sub\\u006aect":"x" , "b":{"subject":2}}': ['x'],
    [`{"a":${deep},"subject":"x"}`]: ['x'],
    ' {"subject":"x"}\n': ['x'],
    '{"subject":"x","subject":"x"}': ['x', 'x'],
    '{"\\ud800":1,"subject":"x"}': [],
    '{"subject":"\\ud83d\\ude00"}': ['\u{1f600}'],
    '{"subject":"\\udc00"}': [],
    '{"subject":["x"]}': [null],
    '{"a":{"b":[],"c":[{},1,[2]]},"subject":"x"}': ['x'],
    '{"a":tru,"subject":"x"}': [],
    '{}': [],
  };
  for (const [text, subjects] of Object.entries(found))
    assert.deepEqual(parts.customersOf(text), subjects, text.slice(0, 60));
  const none = [
    '["x"]',
    '"subject"',
    '{"subject":"x"} 1',
    '{"subject":"x",}',
    '{"a":01,"subject":"x"}',
    '\ufeff{}',
    '',
  ];
  const broken = [
    '{"a":[1 2],"subject":"x"}',
    '{"subject":"x"',
    '{"a":NaN,"subject":"x"}',
    '{"a":"\t"}',
    '{"a":}',
    '{,}',
    '{"a":[1,]}',
  ];
  for (const text of [...none, ...broken]) assert.deepEqual(parts.customersOf(text), [], text);
}

/** §4: one way of writing. */
function testJson({ parts }) {
  const read = (text, shape = parts.aString) => parts.readCanonical(parts.utf8(text), shape);
  assert.equal(
    read('"\\"\\\\/\\b\\t\\n\\f\\r\\u0000\\u001f\x7f\u{1f600}\ufeff"'),
    '"\\/\b\t\n\f\r\0\x1f\x7f\u{1f600}\ufeff',
  );
  assert.equal(read('18446744073709551615', parts.aU64), 18446744073709551615n);
  const strings = [
    '"\\/"',
    '"\\u0041"',
    '"\\u000a"',
    '"\\u001F"',
    '"\\u00"',
    '"\\ud83d\\ude00"',
    '"\\ud83d"',
    '"\n"',
    '"a',
    ' "a"',
    '"a" ',
    '"a"\n',
  ];
  for (const text of strings) assert.throws(() => read(text), JSON.stringify(text));
  const numbers = [
    '18446744073709551616',
    '00',
    '01',
    '-0',
    '1.0',
    '1e1',
    '+1',
    ' 1',
    '1 ',
    '',
    '99999999999999999999999',
    '0x1',
    '"1"',
  ];
  for (const text of numbers) assert.throws(() => read(text, parts.aU64), text);
  assert.throws(() => parts.readCanonical(Uint8Array.of(0x22, 0xff, 0x22), parts.aString));
}

/** §7: strictness that libraries do not share, and the eight points of small order. */
async function testStrictness({ parts }, engine) {
  const orders = [
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0000000000000000000000000000000000000000000000000000000000000080',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  ].map(unhexed);
  for (const point of orders) {
    assert.ok(parts.hasSmallOrder(parts.decodePoint(point)) && !parts.isPublicKey(point));
    assert.ok(!parts.isStrictSignature(new Uint8Array([...point, ...new Uint8Array(32)])));
  }
  const others = [
    '0100000000000000000000000000000000000000000000000000000000000080',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '0200000000000000000000000000000000000000000000000000000000000000',
  ].map(unhexed);
  for (const bytes of others) assert.equal(parts.decodePoint(bytes), null);
  const key = unhexed('fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025');
  const message = Uint8Array.of(0xaf, 0x82);
  const good = unhexed(
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac' +
      '18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  );
  assert.ok(await engine.holds(key, message, good));
  // s + L signs as s does, in arithmetic.
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const s = BigInt(`0x${hexed(good.slice(32).reverse())}`) + order;
  const larger = new Uint8Array([
    ...good.slice(0, 32),
    ...unhexed(s.toString(16).padStart(64, '0')).reverse(),
  ]);
  assert.ok(!(await engine.holds(key, message, larger)));
  for (let at = 0; at < 64; at += 1) {
    const altered = good.slice();
    altered[at] ^= 0x10;
    assert.ok(!(await engine.holds(key, message, altered)), `byte ${at}`);
  }
}

/** The table of kinds is that of the JSON Schemas, and their examples read. */
function testKinds({ parts }, schemas) {
  const files = fs.readdirSync(schemas).filter((name) => name.endsWith('.v1.json'));
  assert.deepEqual(Object.keys(parts.EVENT_KINDS).sort(), files.map((name) => name.slice(0, -8)).sort());
  for (const [kind, [needs, may]] of Object.entries(parts.EVENT_KINDS)) {
    const schema = JSON.parse(fs.readFileSync(path.join(schemas, `${kind}.v1.json`), 'utf8'));
    const { properties, required = [] } = schema.properties.data;
    const words = (text) => text.split(' ').filter((word) => word !== '');
    assert.deepEqual(words(needs).sort(), [...required].sort(), kind);
    assert.deepEqual([...words(needs), ...words(may)].sort(), Object.keys(properties).sort(), kind);
    // The fault: a field's form is wanted otherwise than events have it, and the page can say nothing of any such event.
    const { valid } = JSON.parse(fs.readFileSync(path.join(schemas, '../examples', `${kind}.v1.json`), 'utf8'));
    assert.deepEqual(parts.readEvent(JSON.stringify(valid)).data, valid.data, kind);
  }
}

const PARTY = 'broker.example';
const HOUSE = 'mailhouse.example';
const recipientOf = (id) => ({ id, name: `The ${id}`, role: 'processor', country: 'IE' });

/** A fact as verdict.js has it, of an event that is opened. */
function openedFact(index, kind, data, members = {}) {
  const time = `2026-01-${String(index).padStart(2, '0')}T12:00:00Z`;
  const event = { specversion: '1.0', id: `e${index}`, source: '/shop', type: `org.sharetrail.${kind}.v1` };
  const content = JSON.stringify({ ...event, subject: 'customer-42', time, data, ...members });
  return { state: 'opened', generation: 0, shard: 0, index, content };
}

const sharedFact = (index, id, more = {}) =>
  openedFact(index, 'data.shared', {
    recipient: recipientOf(id),
    categories: ['pd:Name'],
    purposes: ['dpv:Marketing'],
    ...more,
  });

/** What is said of the broker, where these parties are registered. */
function saidOf({ parts }, facts, registered = [PARTY, HOUSE]) {
  const known = registered.map((id) => ({ id, name: id }));
  const { party, ...said } = parts.answerAbout(parts.sharingIn(facts, known), 77, PARTY);
  assert.equal(party, PARTY);
  return said;
}

const placeAt = (index) => ({ shard: 0, index });
const cannotSay = (...reasons) => ({ answer: 'cannot_say', reasons });

/** §15.6: the same cases as `consumers/src/reading.rs` has. The fault: "never" where something may have been shared. */
function testNeverShared(verifier) {
  const said = (facts, registered) => saidOf(verifier, facts, registered);
  const never = { answer: 'never', up_to: 77, mentions: [] };
  const shared = (...indexes) => ({ answer: 'shared', events: indexes.map(placeAt) });
  const collected = openedFact(3, 'data.collected', {
    categories: ['pd:Name'],
    purposes: ['dpv:Marketing'],
    origin: 'customer',
  });
  const closed = (state, index) => ({ state, generation: 0, shard: 0, index, content: null });
  assert.deepEqual(said([]), never);
  assert.deepEqual(said([collected, sharedFact(4, HOUSE)]), never);
  assert.deepEqual(said([closed('unreadable', 3), sharedFact(4, PARTY), sharedFact(5, HOUSE)], []), shared(4));
  assert.deepEqual(said([collected], [HOUSE]), cannotSay({ reason: 'party_not_registered' }));
  assert.deepEqual(
    said([sharedFact(4, HOUSE)], [PARTY]),
    cannotSay({ reason: 'recipient_not_registered', ...placeAt(4), recipient: HOUSE }),
  );
  assert.deepEqual(
    said([closed('erased', 3), closed('erased', 4), closed('unreadable', 5)]),
    cannotSay({ reason: 'erased', generation: 0 }, { reason: 'unreadable', ...placeAt(5) }),
  );
  const to = { recipient: recipientOf(PARTY) };
  const what = { categories: ['pd:Name'], purposes: ['dpv:Marketing'] };
  const having = {
    'data.transferred': { ...to, ...what },
    'data.received': { ...to, disclosure: 'share-1' },
    'data.accessed': { ...to, ...what },
    'recipient.notified': to,
    'recipient.confirmed': to,
    'breach.notified': { ...to, categories: ['pd:Name'], description: 'a stolen disk' },
    'event.corrected': { ...to, corrects: 'share-1', description: 'it went to somebody else' },
  };
  for (const [kind, data] of Object.entries(having))
    assert.deepEqual(said([openedFact(7, kind, data)]), shared(7), kind);
  const refused = openedFact(7, 'consent.refused', { ...to, purposes: ['dpv:Marketing'] });
  const bounced = openedFact(8, 'disclosure.failed', { ...to, disclosure: 'share-1', outcome: 'bounced' });
  assert.deepEqual(said([refused, bounced]), { ...never, mentions: [7, 8].map(placeAt) });
}

/** The fault: a recipient is hidden where a reader of JSON does not look. */
function testMalformed(verifier) {
  const good = sharedFact(4, HOUSE);
  const text = good.content;
  const recipient = JSON.stringify(recipientOf(HOUSE));
  const other = JSON.stringify(recipientOf(PARTY));
  const hidden = [
    '{}',
    text.replace('"data":{', '"data":[{').replace(/\}$/, ']}'),
    text.replace(`"recipient":${recipient}`, `"recipient":${other},"recipient":${recipient}`),
    text.replace(`"recipient":${recipient}`, `"recipi\\u0065nt":${other},"recipient":${recipient}`),
    text.replace(`"recipient":${recipient}`, `"recipient":[${other},${recipient}]`),
    text.replace(`"recipient":${recipient}`, `"recipient":${recipient},"recipients":[${other}]`),
    text.replace(`"id":"${HOUSE}"`, '"id":null'),
    text.replace(`"id":"${HOUSE}"`, `"id":"${HOUSE}","id":"${HOUSE}"`),
    text.replace(`"id":"${HOUSE}"`, '"id":"Mail House"'),
    text.replace('data.shared.v1', 'data.shared.v2'),
    text.replace('data.shared', 'data.given'),
    text.replace('data.shared', 'toString'),
    text.replace('"specversion":"1.0"', '"specversion":"1.0","Data":{}'),
    text.replace('"specversion":"1.0"', '"specversion":"1.0","more":{"recipient":1}'),
    text.replace('"specversion":"1.0"', '"specversion":"1.0","__proto__":{}'),
    text.replace('"specversion":"1.0",', ''),
    text.replace('"purposes":["dpv:Marketing"]', '"purposes":[]'),
    text.replace(',"purposes":["dpv:Marketing"]', ''),
    text.replace('2026-01-04T12:00:00Z', '4 January'),
    text.replace('dpv:Marketing', 'x'.repeat(70000)),
  ];
  for (const content of hidden) {
    assert.notEqual(content, text);
    const expected = cannotSay({ reason: 'malformed', ...placeAt(4) });
    assert.deepEqual(saidOf(verifier, [{ ...good, content }]), expected, content.slice(0, 300));
  }
  const read = verifier.parts.readEvent(text.replace('"specversion"', '"trace":"a\\"recipient\\":1","specversion"'));
  assert.equal(read.data.recipient.id, HOUSE);
}

/** How often and when, by recipient; what failed, what was passed on; who is meant by a name. */
function testRecipients({ parts }) {
  const facts = [
    sharedFact(4, HOUSE, { categories: ['pd:Name', 'pd:Address'] }),
    sharedFact(6, PARTY, { onward_of: 'e4' }),
    sharedFact(7, HOUSE, {
      purposes: ['dpv:Billing'],
      series: { first: '2025-12-01T00:00:00Z', count: 12, last: '2026-01-07T00:00:00+01:00' },
    }),
    sharedFact(8, PARTY),
    openedFact(9, 'disclosure.failed', { disclosure: { source: '/shop', id: 'e8' }, outcome: 'bounced' }),
    sharedFact(10, PARTY),
    openedFact(11, 'disclosure.failed', { disclosure: 'e10', outcome: 'bounced' }, { source: 'https://other.example/' }),
  ];
  const sharing = parts.sharingIn(facts, [
    { id: 'third.example', name: 'Dritte\u00a0GmbH' },
    { id: 'a.example', name: 'A' },
  ]);
  const [broker, house] = sharing.recipients;
  assert.deepEqual(
    [broker.id, broker.disclosures, broker.failed, broker.from, broker.first, broker.last],
    [PARTY, 2, 1, [HOUSE], '2026-01-06T12:00:00Z', '2026-01-10T12:00:00Z'],
  );
  assert.deepEqual(
    [house.id, house.disclosures, house.failed, house.from, house.first, house.last],
    [HOUSE, 13, 0, [], '2025-12-01T00:00:00Z', '2026-01-06T23:00:00Z'],
  );
  assert.deepEqual(house.categories, ['pd:Address', 'pd:Name']);
  assert.deepEqual(house.purposes, ['dpv:Billing', 'dpv:Marketing']);
  assert.deepEqual(broker.events, [6, 8, 10].map(placeAt));
  const meant = {
    broker: [PARTY],
    ' THE  mailhouse': [HOUSE],
    // Only the first few are shown: those that have data must be among them.
    example: [PARTY, HOUSE, 'a.example', 'third.example'],
    'dritte gmbh': ['third.example'],
    stranger: [],
    ' ': [],
  };
  for (const [text, ids] of Object.entries(meant)) assert.deepEqual(parts.partiesLike(sharing, text), ids, text);
}

/** What the frozen files say of recipients. */
function testGoldenSharing({ parts }, dossier, absence) {
  const { sharing, complete_to: upTo } = dossier.facts;
  assert.deepEqual(sharing.recipients, []);
  assert.deepEqual(sharing.registered.map(({ id }) => id).sort(), ['insurer', 'till']);
  const said = parts.answerAbout(sharing, upTo, 'insurer');
  const malformed = dossier.facts.events.filter(({ state }) => state === 'opened');
  assert.equal(malformed.length, 3);
  // Their contents are shorter than an event may be: nothing is concluded from them.
  const reasons = malformed.map(({ shard, index }) => ({ reason: 'malformed', shard, index }));
  assert.deepEqual(said, { party: 'insurer', ...cannotSay({ reason: 'erased', generation: 0 }, ...reasons) });
  const stranger = parts.answerAbout(absence.facts.sharing, absence.facts.complete_to, 'insurer');
  assert.deepEqual(stranger, { party: 'insurer', ...cannotSay({ reason: 'party_not_registered' }) });
}

async function selfTest(verifier, golden) {
  const read = (name) => fs.readFileSync(path.join(golden, name));
  const json = (name) => exactJson(read(name).toString());
  const vrf = JSON.parse(read('rfc9381-edwards25519-sha512-tai.json').toString());
  for (const subtle of [globalThis.crypto.subtle, null]) {
    const engine = await verifier.parts.makeEngine(subtle);
    await testDocument(verifier, engine);
    await testVrf(verifier, vrf, engine);
    await testCustomer(verifier, JSON.parse(read('customer-v1.json').toString()), engine, vrf);
    await testNote(verifier, JSON.parse(read('note-v1.json').toString()), engine);
    await testStrictness(verifier, engine);
    console.log(`labels, notes and signatures hold (signatures: ${engine.signatures})`);
    for (const name of ['dossier-v1.json', 'absence-v1.json', 'erasure-v1.json']) {
      const result = await verifier.verify(read(name), read('policy-v1'), { subtle });
      assert.equal(result.verdict, 'checks-out', JSON.stringify(result.faults));
      console.log(`${name} checks out in ${result.milliseconds.toFixed(0)} ms`);
    }
  }
  testTree(verifier, json('tree.json'));
  testProbes(verifier, json('probes.json'));
  testEntries(verifier, JSON.parse(read('entries-v1.json').toString()));
  testContents(verifier);
  testJson(verifier);
  console.log('trees, entries, contents and JSON hold');
  testKinds(verifier, path.join(HERE, '../../schemas/json'));
  testNeverShared(verifier);
  testMalformed(verifier);
  testRecipients(verifier);
  const opened = (name) => verifier.verify(read(name), read('policy-v1'));
  testGoldenSharing(verifier, await opened('dossier-v1.json'), await opened('absence-v1.json'));
  const { facts } = await verifier.verify(
    Buffer.from(read('dossier-v1.json').toString().replace('"customer":"', '"customer":"x')),
    read('policy-v1'),
  );
  assert.equal(facts.sharing, null, 'of a dossier that does not hold, nothing is told of recipients');
  console.log('recipients are those that the contents name');
  testShowing(verifier);
  console.log('names, counts and long lists are shown as they are to be');
}

// ---------------------------------------------------------------- alterations

/** A small generator, so that a seed gives the same alterations again. */
function dice(seed) {
  let state = seed >>> 0;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

/** Every byte changed in one way, and every cut. */
function* alteredBytes(bytes, roll) {
  for (let at = 0; at < bytes.length; at += 1) {
    const altered = Uint8Array.from(bytes);
    altered[at] ^= 1 << roll(8);
    yield [`byte ${at}`, altered];
  }
  for (let at = 0; at < bytes.length; at += Math.max(1, Math.floor(bytes.length / 500))) {
    yield [`cut at ${at}`, bytes.subarray(0, at)];
    yield [`without byte ${at}`, Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)])];
    yield [
      `with a space at ${at}`,
      Buffer.concat([bytes.subarray(0, at), Buffer.from(' '), bytes.subarray(at)]),
    ];
  }
}

/** All arrays and objects in a value, with their places. */
function* containers(value, place) {
  if (value === null || typeof value !== 'object') return;
  yield [value, place];
  for (const [name, inner] of Object.entries(value)) yield* containers(inner, `${place}.${name}`);
}

/** Elements dropped, doubled and swapped; members dropped, doubled and exchanged. Written in the one way again. */
function* alteredParts(text) {
  const write = (value) => Buffer.from(`${JSON.stringify(value)}\n`);
  const count = [...containers(JSON.parse(text), '')].length;
  for (let number = 0; number < count; number += 1) {
    const fresh = () => {
      const whole = JSON.parse(text);
      return [whole, ...[...containers(whole, '')][number]];
    };
    const [, value, place] = fresh();
    const length = Array.isArray(value) ? value.length : 0;
    for (let at = 0; at < length; at += 1) {
      for (const [what, change] of Object.entries({
        without: (list) => list.splice(at, 1),
        doubled: (list) => list.splice(at, 0, list[at]),
        swapped: (list) => list.splice(at, 2, ...list.slice(at, at + 2).reverse()),
        'first of': (list) => list.splice(0, list.length, list[at]),
      })) {
        const [whole, list] = fresh();
        change(list);
        const altered = write(whole);
        if (altered.toString() !== text) yield [`${place}[${at}] ${what}`, altered];
      }
    }
    if (Array.isArray(value)) continue;
    for (const name of Object.keys(value)) {
      const [whole, object] = fresh();
      if (typeof object[name] === 'number') {
        object[name] += 1;
        yield [`${place}.${name} + 1`, write(whole)];
        object[name] = 0;
        const zero = write(whole);
        if (zero.toString() !== text) yield [`${place}.${name} = 0`, zero];
      } else if (object[name] === null || typeof object[name] === 'object') {
        object[name] = null;
        const nulled = write(whole);
        if (nulled.toString() !== text) yield [`${place}.${name} = null`, nulled];
      }
      const [other, from] = fresh();
      delete from[name];
      yield [`${place} without ${name}`, write(other)];
    }
  }
}

async function alter(verifier, file, policy, seed) {
  const bytes = fs.readFileSync(file);
  const roll = dice(seed);
  const counts = {};
  const accepted = [];
  const all = [...alteredBytes(bytes, roll), ...alteredParts(bytes.toString())];
  for (const [what, altered] of all) {
    const { verdict, fault } = await verifier.verify(altered, policy);
    const kind = `${verdict} ${fault?.kind ?? ''}`;
    counts[kind] = (counts[kind] ?? 0) + 1;
    if (verdict === 'checks-out') accepted.push(what);
  }
  console.log(`${file}: ${all.length} altered files`, counts);
  for (const what of accepted) console.log(`  checks out: ${what}`);
  return accepted.length === 0 ? 0 : 1;
}

/** The files of a folder of cases.py: each must come out as its table says. */
async function checkCases(verifier, folder) {
  const read = (name) => fs.readFileSync(path.join(folder, name));
  const table = JSON.parse(read('table.json').toString());
  const wrong = [];
  for (const { name, file, policy, exit } of table) {
    const { verdict, faults } = verifier.forPeople(await verifier.verify(read(file), read(policy)));
    if (EXIT_CODES[verdict] !== exit) wrong.push(`${name}: ${verdict}, not ${exit} ${JSON.stringify(faults)}`);
  }
  console.log(wrong.length === 0 ? `${table.length} cases: the verdicts are those of the table` : wrong.join('\n'));
  return wrong.length === 0 ? 0 : 1;
}

async function main(given) {
  const options = { '--policy': null, '--cases': null, '--seed': '1', '--never-shared-with': null };
  const flags = new Set();
  const files = [];
  for (let at = 0; at < given.length; at += 1) {
    if (Object.hasOwn(options, given[at])) options[given[at]] = given[(at += 1)];
    else if (given[at].startsWith('--')) flags.add(given[at]);
    else files.push(given[at]);
  }
  const [place, file] = files;
  if (place === undefined) throw new Error('name the bundle, or the folder of the modules');
  if (flags.has('--self-test') && fs.statSync(place).isDirectory()) checkModules(place);
  const verifier = await load(place);
  if (flags.has('--self-test')) {
    await selfTest(verifier, file ?? path.join(HERE, '../../ledger/proof/tests/golden'));
    return 0;
  }
  if (options['--cases'] !== null) return checkCases(verifier, options['--cases']);
  if (file === undefined || options['--policy'] === null)
    throw new Error('FILE and --policy POLICY are needed');
  const policy = fs.readFileSync(options['--policy']);
  if (flags.has('--alter')) return alter(verifier, file, policy, Number(options['--seed']));
  const subtle = flags.has('--own') ? { subtle: null } : {};
  // As people are told it, which is also how `sharetrail verify` exits where a content cannot be opened.
  const result = verifier.forPeople(await verifier.verify(fs.readFileSync(file), policy, subtle));
  const { verdict, faults, facts } = result;
  const party = options['--never-shared-with'];
  if (party !== null && facts?.sharing)
    result.never_shared = verifier.parts.answerAbout(facts.sharing, facts.complete_to, party);
  if (flags.has('--json')) console.log(JSON.stringify(result, null, 2));
  else
    console.log(
      verdict,
      ...faults.map(({ step, kind, place: at, why }) => `\n  step ${step}: ${kind} at ${at}: ${why}`),
    );
  return EXIT_CODES[verdict];
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error) => {
    console.error(
      error.message.startsWith('FILE') || error.message.startsWith('name') ? error.message : error,
    );
    process.exitCode = 2;
  },
);
