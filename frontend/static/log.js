// The log view: lines in blocks. A log of usual length is rendered completely; a longer one only near the viewport.

import { PLAIN, parse } from './ansi.js';
import { BLOCK_LINES, Block } from './block.js';

const MAX_RENDERED = 100; // blocks, or 5,000 lines, which the browser's own search and selection cover
const NEAR = '1000px 0px';
const BUDGET_MS = 8;
const AT_THE_END_PX = 2;

export class LogView {
  texts = []; // each line as displayed, for searching and copying
  following = true;
  #waiting = [];
  #redrawn = '';
  #frame = 0;
  #style = PLAIN;
  #blocks = [];
  #rendered = new Set(); // least recently rendered first
  #near = new Set();
  #top = 0;
  #height = 0;
  #width = 0;

  /** `scroller` contains `list` and, below it, `partial`; `changed` is called after lines were added, and when following starts or stops. */
  constructor(scroller, list, partial, changed) {
    [this.scroller, this.list, this.partial, this.changed] = [scroller, list, partial, changed];
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    scroller.addEventListener('wheel', ({ deltaY }) => this.#wheeled(deltaY), { passive: true });
    const sizes = new ResizeObserver(() => this.#resized());
    sizes.observe(list);
    sizes.observe(scroller);
    this.observer = new IntersectionObserver((entries) => this.#intersected(entries), { root: scroller, rootMargin: NEAR });
  }

  /** Add a line: its number, its text, and its kind, `gap` or `step`, if the pipeline did not print it. */
  add(number, text, kind = '') {
    this.#waiting.push({ number, text, kind });
    this.#redrawn = '';
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  /** Show the current state of a line that redraws itself, until the next line arrives. */
  redraw(text) {
    this.#redrawn = text;
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  follow(on) {
    this.following = on;
    this.#pin();
    this.changed();
  }

  /** The element of a line, by its index in `texts`. */
  line(index) {
    const block = this.#blocks[Math.floor(index / BLOCK_LINES)];
    this.#render([block]);
    return block.element.children[index % BLOCK_LINES];
  }

  /** Call when line heights have changed. */
  reflow() {
    for (const block of this.#blocks) block.resetHeight();
  }

  /** Scroll a line to the middle of the log, and the log into view. */
  reveal(index) {
    this.follow(false);
    const scroll = () => {
      const [line, frame] = [this.line(index).getBoundingClientRect(), this.scroller.getBoundingClientRect()];
      this.scroller.scrollTop += line.top - frame.top - (frame.height - line.height) / 2;
    };
    scroll();
    this.scroller.scrollIntoView({ block: 'nearest' });
    requestAnimationFrame(scroll); // blocks that have come into view have their real height now
  }

  #show() {
    this.#frame = 0;
    const until = performance.now() + BUDGET_MS;
    let shown = 0;
    while (shown < this.#waiting.length && (shown === 0 || performance.now() < until)) {
      this.#take(this.#waiting[shown]);
      shown += 1;
    }
    this.#waiting.splice(0, shown);
    this.partial.textContent = parse(this.#redrawn, this.#style).pieces.map((piece) => piece.text).join('');
    this.partial.hidden = !this.#redrawn;
    this.#pin();
    if (this.following) this.#render(this.#blocks.slice(-2)); // others are rendered when they come into view
    this.list.dataset.lines = this.texts.length;
    if (this.#waiting.length) this.#frame = requestAnimationFrame(() => this.#show());
    this.changed();
  }

  #take({ number, text, kind }) {
    const before = kind ? PLAIN : this.#style;
    const { pieces, style } = parse(text, before);
    if (!kind) this.#style = style;
    this.texts.push(pieces.map((piece) => piece.text).join(''));
    this.#last().add({ number, text, kind, style: before });
  }

  /** The block for the next line. */
  #last() {
    const last = this.#blocks.at(-1);
    if (last && !last.full) return last;
    const block = new Block();
    block.element.block = block;
    this.#blocks.push(block);
    if (this.#rendered.size < MAX_RENDERED) this.#render([block]);
    this.list.append(block.element);
    this.observer.observe(block.element);
    return block;
  }

  #intersected(entries) {
    for (const { target, isIntersecting } of entries) this.#near[isIntersecting ? 'add' : 'delete'](target.block);
    this.#render(entries.filter(({ isIntersecting }) => isIntersecting).map(({ target }) => target.block));
  }

  /** Render blocks, and clear as many others that are out of view. */
  #render(blocks) {
    for (const block of blocks) {
      this.#rendered.delete(block);
      this.#rendered.add(block);
    }
    const excess = this.#rendered.size - MAX_RENDERED;
    const spare = (block) => !blocks.includes(block) && !this.#near.has(block) && !block.inUse;
    const surplus = excess > 0 ? [...this.#rendered].filter(spare).slice(0, excess) : [];
    const heights = surplus.map(({ element }) => element.getBoundingClientRect().height); // measured before the DOM changes
    surplus.forEach((block, index) => {
      this.#rendered.delete(block);
      block.clear(heights[index]);
    });
    for (const block of blocks) block.render();
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const before = this.following;
    const atTheEnd = scrollHeight - clientHeight - scrollTop <= AT_THE_END_PX;
    const up = scrollTop < this.#top;
    if (atTheEnd && !up) this.following = true;
    else if (!atTheEnd && up && clientHeight === this.#height) this.following = false; // the user scrolled
    [this.#top, this.#height] = [scrollTop, clientHeight];
    if (this.following !== before) this.changed();
  }

  /** Stop following at the first turn of the wheel, before the next line scrolls to the end again. */
  #wheeled(by) {
    if (by < 0 && this.following && this.scroller.scrollTop > 0) this.follow(false);
  }

  #resized() {
    if (this.scroller.clientWidth !== this.#width) this.reflow();
    this.#width = this.scroller.clientWidth;
    this.#pin();
  }

  #pin() {
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
    [this.#top, this.#height] = [this.scroller.scrollTop, this.scroller.clientHeight];
  }
}
