// Log search: searches for a few milliseconds per frame, and continues as lines arrive.

const BUDGET_MS = 8;

export class Finder {
  #query = '';
  #matches = [];
  #current = -1;
  #next = 0;
  #frame = 0;

  /** `view` is a LogView; `output` shows the position among the matches. */
  constructor(view, output) {
    [this.view, this.output] = [view, output];
  }

  search(text) {
    this.#mark(false);
    this.#query = text.toLowerCase();
    [this.#matches, this.#current, this.#next] = [[], -1, 0];
    this.continue();
  }

  /** Search the lines that have not been searched yet. */
  continue() {
    if (this.#query) this.#frame ||= requestAnimationFrame(() => this.#searchSome());
    else this.output.textContent = '';
  }

  /** Go to the next (1) or previous (-1) match, wrapping around. */
  step(by) {
    if (!this.#matches.length) return;
    this.#mark(false);
    const from = this.#current < 0 && by < 0 ? 0 : this.#current;
    this.#current = (from + by + this.#matches.length) % this.#matches.length;
    this.view.reveal(this.#matches[this.#current]);
    this.#mark(true);
    this.#showCount();
  }

  #searchSome() {
    this.#frame = 0;
    const [until, { texts }] = [performance.now() + BUDGET_MS, this.view];
    while (this.#next < texts.length && performance.now() < until) {
      if (texts[this.#next].toLowerCase().includes(this.#query)) this.#matches.push(this.#next);
      this.#next += 1;
    }
    if (this.#next < texts.length) this.continue();
    if (this.#current < 0 && this.#matches.length) this.step(1);
    else this.#showCount();
  }

  #showCount() {
    const count = this.#matches.length.toLocaleString();
    if (this.#query) this.output.textContent = this.#matches.length ? `${(this.#current + 1).toLocaleString()} of ${count}` : 'No matches';
  }

  #mark(on) {
    const line = this.#current >= 0 && this.view.line(this.#matches[this.#current]);
    if (!line) return;
    line.classList.toggle('current', on);
    globalThis.CSS?.highlights?.set('found', new Highlight(...(on ? this.#ranges(line) : [])));
  }

  *#ranges(line) {
    const texts = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode.data.toLowerCase();
      for (let at = text.indexOf(this.#query); at >= 0; at = text.indexOf(this.#query, at + 1)) {
        const range = new Range();
        range.setStart(texts.currentNode, at);
        range.setEnd(texts.currentNode, at + this.#query.length);
        yield range;
      }
    }
  }
}
