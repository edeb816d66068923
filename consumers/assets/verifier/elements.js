// What a verdict is shown with: elements, buttons, moments, terms, pairs of name and value.
//
// In scope: the pieces that render.js and asking.js share. Out of scope: what is shown. Trust: what is shown is
// data from strangers. It becomes text nodes, never markup.

/** An element: its attributes, then its children, which are nodes or texts. Null children are left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(attribute, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A button that does something. */
export function button(text, onClick, quiet = true) {
  const made = element(
    'button',
    { type: 'button', class: quiet ? 'btn btn-quiet vf-button' : 'btn vf-button' },
    text,
  );
  made.addEventListener('click', onClick);
  return made;
}

/** A moment as people write it, from Unix seconds or a text that tells a time. */
export function momentText(moment, language) {
  const date = typeof moment === 'string' ? new Date(moment) : new Date(Number(moment) * 1000);
  if (Number.isNaN(date.getTime())) return String(moment);
  return new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'medium' }).format(date);
}

/** A moment of so many Unix seconds. */
export const moment = (seconds, words) => momentText(seconds, words.language);
/** A text that is written as it is. */
export const codeText = (text) => element('code', { class: 'vf-code' }, text);

/** Terms such as `dpv:DirectMarketing` as words: direct marketing. */
function termText(term) {
  const name = term.slice(Math.max(term.lastIndexOf(':'), term.lastIndexOf('#')) + 1);
  return name.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase() || term;
}

/** Terms as words, side by side. */
export const termsText = (terms) => terms.map(termText).join(', ');

/** What is shown on demand. */
export function disclosure(summary, isOpen, ...children) {
  const attributes = { class: 'vf-details', ...(isOpen ? { open: '' } : {}) };
  return element('details', attributes, element('summary', {}, summary), ...children);
}

/** Names with their values; those without a value are left out. */
export function pairs(entries) {
  const rows = entries.filter(([, value]) => value !== null && value !== undefined && value !== '');
  const parts = rows.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]);
  return element('dl', { class: 'vf-pairs' }, ...parts);
}
