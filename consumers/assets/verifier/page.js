// The verifier as a page of its own, which works from a disk without a network.
//
// In scope: choosing or dropping a dossier or certificate and a policy, checking them, showing the verdict.
// Out of scope: the check (verdict.js) and how it is shown (render.js). Trust: the files are read in this
// browser and go nowhere.

import { hex, textOf } from './bytes.js';
import { button } from './elements.js';
import { Progress, render } from './render.js';
import { sha256 } from './sha.js';
import { failure, forPeople, verify } from './verdict.js';
import { wordsFor } from './words.js';

/** Whether a file is likelier to be a policy than evidence: evidence is JSON. */
function looksLikePolicy(bytes) {
  const text = textOf(bytes.subarray(0, 4096).filter((byte) => byte < 0x80)) ?? '';
  return !text.trimStart().startsWith('{') && /^\s*(?:#|log |witness |group |quorum )/m.test(text);
}

class VerifierPage {
  constructor(root) {
    const find = (name) => root.querySelector(`[data-part="${name}"]`);
    this.words = wordsFor(document.documentElement.lang);
    this.inputs = { evidence: find('evidence'), policy: find('policy') };
    this.names = { evidence: find('evidence-name'), policy: find('policy-name') };
    this.result = find('result');
    this.drop = find('drop');
    this.progress = new Progress(find('progress'), this.words);
    this.progress.body.hidden = true;
    this.files = { evidence: null, policy: null };
    this.run = 0;
    this.listen();
    this.ask();
  }

  listen() {
    for (const [part, input] of Object.entries(this.inputs)) {
      input.addEventListener('change', () => this.take([...input.files], part));
    }
    for (const name of ['dragenter', 'dragover', 'dragleave', 'drop']) {
      document.addEventListener(name, (event) => {
        event.preventDefault();
        this.drop.classList.toggle('vf-over', name === 'dragenter' || name === 'dragover');
      });
    }
    document.addEventListener('drop', (event) => this.take([...(event.dataTransfer?.files ?? [])], null));
  }

  /** Takes files; where `part` does not say what they are, their first bytes do. */
  async take(files, part) {
    for (const file of files) {
      try {
        const bytes = new Uint8Array(await file.arrayBuffer());
        const is = part ?? (looksLikePolicy(bytes) ? 'policy' : 'evidence');
        this.files[is] = { name: file.name, bytes };
        // Where it was chosen, the browser shows its name already.
        this.names[is].textContent = part === null ? this.words.page.chosen(file.name, bytes.length) : '';
      } catch {
        this.result.replaceChildren();
        this.progress.say(this.words.page.unreadable(file.name));
        return;
      }
    }
    await this.check();
  }

  ask() {
    const { evidence, policy } = this.files;
    const texts = this.words.page;
    this.result.replaceChildren();
    this.progress.say(
      evidence === null ? (policy === null ? texts.both : texts.onlyPolicy) : texts.onlyEvidence,
    );
  }

  async check() {
    const { evidence, policy } = this.files;
    if (evidence === null || policy === null) {
      this.ask();
      return;
    }
    this.run += 1;
    const { run } = this;
    this.result.replaceChildren();
    this.progress.begin(this.words.progress.reading);
    const tell = (progress) => run === this.run && this.progress.tell(progress);
    const result = await verify(evidence.bytes, policy.bytes, { tell }).then(forPeople, failure);
    if (run !== this.run) return;
    this.progress.end(result);
    const context = {
      words: this.words,
      level: 2,
      after: [button(this.words.page.again, () => this.check())],
    };
    render(this.result, result, {
      ...context,
      policy: { hash: hex(sha256(policy.bytes)), name: policy.name },
    });
  }
}

/** Starts the page where there is one. */
export function startVerifierPage() {
  const root = globalThis.document?.querySelector('[data-verifier-page]');
  return root ? new VerifierPage(root) : null;
}
