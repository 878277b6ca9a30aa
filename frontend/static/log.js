// The log: lines in blocks, of which the browser lays out only those in sight; a frame shows as many as it has time for.

import { PLAIN, paint, parse } from './ansi.js';

const BLOCK_LINES = 200;
const BUDGET_MS = 8;
const AT_THE_END_PX = 2;

export class LogView {
  texts = []; // of each line as it is shown, for search and copy
  following = true;
  #waiting = [];
  #frame = 0;
  #style = PLAIN;
  #top = 0;
  #height = 0;

  /** `scroller` shows what is in `list`; `changed` is called when lines have come, or following has begun or ended. */
  constructor(scroller, list, changed) {
    [this.scroller, this.list, this.changed] = [scroller, list, changed];
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    scroller.addEventListener('wheel', ({ deltaY }) => this.#wheeled(deltaY), { passive: true });
    const sizes = new ResizeObserver(() => this.#pin());
    sizes.observe(list);
    sizes.observe(scroller);
  }

  /** Add one line: its number, its text, and `gap` or `step` where it is none of the pipeline's own. */
  add(number, text, kind = '') {
    this.#waiting.push({ number, text, kind });
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  follow(on) {
    this.following = on;
    this.#pin();
    this.changed();
  }

  /** The element of a line, by its place in `texts`. */
  line(index) {
    return this.list.children[Math.floor(index / BLOCK_LINES)]?.children[index % BLOCK_LINES];
  }

  /** Scroll a line into the middle, and the log into sight. */
  reveal(index) {
    this.follow(false);
    const scroll = () => {
      const [line, frame] = [this.line(index).getBoundingClientRect(), this.scroller.getBoundingClientRect()];
      this.scroller.scrollTop += line.top - frame.top - (frame.height - line.height) / 2;
    };
    scroll();
    this.scroller.scrollIntoView({ block: 'nearest' });
    requestAnimationFrame(scroll); // what has come into sight now has its real height
  }

  #show() {
    this.#frame = 0;
    const until = performance.now() + BUDGET_MS;
    let shown = 0;
    while (shown < this.#waiting.length && (shown === 0 || performance.now() < until)) {
      this.#block().append(this.#element(this.#waiting[shown]));
      shown += 1;
    }
    this.#waiting.splice(0, shown);
    if (this.#waiting.length) this.#frame = requestAnimationFrame(() => this.#show());
    this.changed();
  }

  #block() {
    let block = this.list.lastElementChild;
    if (!block || block.childElementCount === BLOCK_LINES) {
      block = document.createElement('div');
      block.className = 'block';
      this.list.append(block);
    }
    block.style.setProperty('--lines', block.childElementCount + 1);
    return block;
  }

  #element({ number, text, kind }) {
    const element = document.createElement('div');
    element.className = `line ${kind}`;
    element.dataset.n = number;
    const { pieces, style } = parse(text, kind ? PLAIN : this.#style);
    if (!kind) this.#style = style;
    for (const piece of pieces) {
      if (piece.style === PLAIN) {
        element.append(piece.text);
        continue;
      }
      const span = document.createElement('span');
      span.textContent = piece.text;
      paint(span, piece.style);
      element.append(span);
    }
    this.texts.push(element.textContent);
    return element;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const before = this.following;
    const atTheEnd = scrollHeight - clientHeight - scrollTop <= AT_THE_END_PX;
    const up = scrollTop < this.#top;
    if (atTheEnd && !up) this.following = true;
    else if (!atTheEnd && up && clientHeight === this.#height) this.following = false; // it was a person
    [this.#top, this.#height] = [scrollTop, clientHeight];
    if (this.following !== before) this.changed();
  }

  /** Stop at the first turn of the wheel: to go to the end once more would undo it. */
  #wheeled(by) {
    if (by < 0 && this.following && this.scroller.scrollTop > 0) this.follow(false);
  }

  #pin() {
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
    [this.#top, this.#height] = [this.scroller.scrollTop, this.scroller.clientHeight];
  }
}
