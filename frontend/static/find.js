// Searching the log: looks through the lines a little in each frame, and goes on as lines come.

const BUDGET_MS = 8;

export class Finder {
  #words = '';
  #hits = [];
  #current = -1;
  #next = 0;
  #frame = 0;

  /** `view` is a LogView; `output` shows which hit of how many. */
  constructor(view, output) {
    [this.view, this.output] = [view, output];
  }

  search(words) {
    this.#mark(false);
    this.#words = words.toLowerCase();
    [this.#hits, this.#current, this.#next] = [[], -1, 0];
    this.look();
  }

  /** Look through the lines that were not looked through yet. */
  look() {
    if (this.#words) this.#frame ||= requestAnimationFrame(() => this.#look());
    else this.output.textContent = '';
  }

  /** Go `by` hits on, round and round. */
  step(by) {
    if (!this.#hits.length) return;
    this.#mark(false);
    const from = this.#current < 0 && by < 0 ? 0 : this.#current;
    this.#current = (from + by + this.#hits.length) % this.#hits.length;
    this.view.reveal(this.#hits[this.#current]);
    this.#mark(true);
    this.#tell();
  }

  #look() {
    this.#frame = 0;
    const [until, { texts }] = [performance.now() + BUDGET_MS, this.view];
    while (this.#next < texts.length && performance.now() < until) {
      if (texts[this.#next].toLowerCase().includes(this.#words)) this.#hits.push(this.#next);
      this.#next += 1;
    }
    if (this.#next < texts.length) this.look();
    if (this.#current < 0 && this.#hits.length) this.step(1);
    else this.#tell();
  }

  #tell() {
    const count = this.#hits.length.toLocaleString();
    if (this.#words) this.output.textContent = this.#hits.length ? `${(this.#current + 1).toLocaleString()} of ${count}` : 'No hits';
  }

  #mark(on) {
    const line = this.#current >= 0 && this.view.line(this.#hits[this.#current]);
    if (!line) return;
    line.classList.toggle('current', on);
    globalThis.CSS?.highlights?.set('found', new Highlight(...(on ? this.#ranges(line) : [])));
  }

  *#ranges(line) {
    const texts = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode.data.toLowerCase();
      for (let at = text.indexOf(this.#words); at >= 0; at = text.indexOf(this.#words, at + 1)) {
        const range = new Range();
        range.setStart(texts.currentNode, at);
        range.setEnd(texts.currentNode, at + this.#words.length);
        yield range;
      }
    }
  }
}
