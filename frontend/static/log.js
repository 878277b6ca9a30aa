// The log: lines in blocks. All of a log of usual length are elements; of a longer one, those near what is in sight.

import { PLAIN, parse } from './ansi.js';
import { BLOCK_LINES, Block } from './block.js';

const MOST_FILLED = 100; // blocks, so 5,000 lines: a browser's own search and selection reach that far
const NEAR = '1000px 0px';
const BUDGET_MS = 8;
const AT_THE_END_PX = 2;

export class LogView {
  texts = []; // of each line as it is shown, for search and copy
  following = true;
  #waiting = [];
  #redrawn = '';
  #frame = 0;
  #style = PLAIN;
  #blocks = [];
  #filled = new Set(); // the one that was longest out of sight comes first
  #near = new Set();
  #top = 0;
  #height = 0;
  #width = 0;

  /** `scroller` shows what is in `list`, and in `partial` below it; `changed` is called when lines have come, or following has begun or ended. */
  constructor(scroller, list, partial, changed) {
    [this.scroller, this.list, this.partial, this.changed] = [scroller, list, partial, changed];
    scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    scroller.addEventListener('wheel', ({ deltaY }) => this.#wheeled(deltaY), { passive: true });
    const sizes = new ResizeObserver(() => this.#resized());
    sizes.observe(list);
    sizes.observe(scroller);
    this.sight = new IntersectionObserver((entries) => this.#moved(entries), { root: scroller, rootMargin: NEAR });
  }

  /** Add one line: its number, its text, and `gap` or `step` where it is none of the pipeline's own. */
  add(number, text, kind = '') {
    this.#waiting.push({ number, text, kind });
    this.#redrawn = '';
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  /** Show what a line that redraws itself shows now, until the next line comes. */
  redraw(text) {
    this.#redrawn = text;
    this.#frame ||= requestAnimationFrame(() => this.#show());
  }

  follow(on) {
    this.following = on;
    this.#pin();
    this.changed();
  }

  /** The element of a line, by its place in `texts`. */
  line(index) {
    const block = this.#blocks[Math.floor(index / BLOCK_LINES)];
    this.#fill([block]);
    return block.element.children[index % BLOCK_LINES];
  }

  /** Lines are of another height now. */
  reflow() {
    for (const block of this.#blocks) block.forget();
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
      this.#take(this.#waiting[shown]);
      shown += 1;
    }
    this.#waiting.splice(0, shown);
    this.partial.textContent = parse(this.#redrawn, this.#style).pieces.map((piece) => piece.text).join('');
    this.partial.hidden = !this.#redrawn;
    this.#pin();
    if (this.following) this.#fill(this.#blocks.slice(-2)); // others follow when they come into sight
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

  /** The block that takes the next line. */
  #last() {
    const last = this.#blocks.at(-1);
    if (last && !last.full) return last;
    const block = new Block();
    block.element.block = block;
    this.#blocks.push(block);
    if (this.#filled.size < MOST_FILLED) this.#fill([block]);
    this.list.append(block.element);
    this.sight.observe(block.element);
    return block;
  }

  #moved(entries) {
    for (const { target, isIntersecting } of entries) this.#near[isIntersecting ? 'add' : 'delete'](target.block);
    this.#fill(entries.filter(({ isIntersecting }) => isIntersecting).map(({ target }) => target.block));
  }

  /** Fill blocks, and empty as many of those that are out of sight. */
  #fill(blocks) {
    for (const block of blocks) {
      this.#filled.delete(block);
      this.#filled.add(block);
    }
    const most = this.#filled.size - MOST_FILLED;
    const spare = (block) => !blocks.includes(block) && !this.#near.has(block) && !block.held;
    const surplus = most > 0 ? [...this.#filled].filter(spare).slice(0, most) : [];
    const heights = surplus.map(({ element }) => element.getBoundingClientRect().height); // before anything changes
    surplus.forEach((block, index) => {
      this.#filled.delete(block);
      block.empty(heights[index]);
    });
    for (const block of blocks) block.fill();
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
