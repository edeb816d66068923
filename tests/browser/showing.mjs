// What the browser's verifier shows, in Node: for verify_node.mjs --self-test.
//
// In scope: what a stranger's name, a failed disclosure and a long list come to. Out of scope: reaching a verdict
// (verify_node.mjs), and how it looks in a browser (pages.py). Trust: an element here does no more than showing asks of
// it, so that nothing is said of layout.

import assert from 'node:assert/strict';

/** As much of an element as showing needs. */
class FakeElement {
  constructor(name) {
    Object.assign(this, { name, attributes: {}, children: [], listeners: {} });
    this.classList = { add() {}, remove() {}, toggle() {} };
  }
  setAttribute(name, value) {
    this.attributes[name] = value;
  }
  addEventListener(name, listener) {
    this.listeners[name] = listener;
  }
  append(...children) {
    this.children.push(...children);
  }
  replaceChildren(...children) {
    this.children = children;
  }
  get textContent() {
    return this.children.map((child) => child.textContent ?? child).join('');
  }
  set textContent(text) {
    this.children = [text];
  }
  all(name) {
    const below = this.children.filter((child) => child instanceof FakeElement);
    return below.flatMap((child) => [...(child.name === name ? [child] : []), ...child.all(name)]);
  }
  querySelector(name) {
    return this.all(name)[0] ?? null;
  }
  focus() {
    document.activeElement = this;
  }
}

/** The fault: a name turns a sentence round, a failed disclosure counts as one, a longer list loses the keyboard. */
export function testShowing({ render, wordsFor }) {
  globalThis.document = { createElement: (name) => new FakeElement(name) };
  const turned = 'ever\u2069\u202eYes: no';
  const none = { names: [], disclosures: 0, failed: 0, others: 0, categories: [], purposes: [], from: [], events: [] };
  const recipients = Array.from({ length: 102 }, (_, at) => ({ ...none, id: `r${at}.example`, name: 'R', others: 1 }));
  Object.assign(recipients[0], { others: 0, failed: 1 });
  Object.assign(recipients[1], { id: 'bad.example', name: turned });
  const sharing = { recipients, mentions: [], limits: [], registered: [] };
  const none4 = { events: [], shards: [], producers: [], auditors: [] };
  const facts = { ...none4, customer: 'me', complete_to: 77, generations: 1, uncovered: 0, opened: 0, sharing };
  const result = { verdict: 'checks-out', document: 'dossier', fault: null, faults: [], steps: [], facts, engine: {} };
  const [place, words] = [new FakeElement('div'), wordsFor('en')];
  const asking = { text: 'bad.example' };
  render(place, result, { words, asking, remarks: ['A demonstration.'] });
  const [card, section] = place.children;
  assert.ok(card.textContent.includes('A demonstration.') && card.textContent.includes('101 recipients'));
  assert.equal(section.all('h3')[0].textContent, 'Who received data (101)');
  // Whatever is left of a name stands in an element that keeps its direction to itself.
  const inNames = place.all('bdi').filter((name) => name.textContent === 'everYes: no');
  assert.equal(inNames.length, 3, 'in the list, in the answer and to those who listen');
  assert.equal(section.all('output')[0].textContent, 'Yes: events say that everYes: no (bad.example) has data.');
  const more = section.all('button').find((one) => one.textContent === 'Show 2 more');
  more.listeners.click();
  const items = section.all('details');
  assert.equal(items.length, 102);
  assert.equal(document.activeElement, items[100].all('summary')[0]);
  assert.equal(more.hidden, true);
  delete globalThis.document;
}
