// A block of log lines: rendered as elements, or as empty space of the same height.

import { PLAIN, paint, parse } from './ansi.js';

export const BLOCK_LINES = 50;

function elementOf({ number, text, kind, style }) {
  const element = document.createElement('div');
  element.className = `line ${kind}`;
  element.dataset.n = number;
  for (const piece of parse(text, style).pieces) {
    if (piece.style === PLAIN) {
      element.append(piece.text);
      continue;
    }
    const span = document.createElement('span');
    span.textContent = piece.text;
    paint(span, piece.style);
    element.append(span);
  }
  return element;
}

export class Block {
  element = document.createElement('div');
  rendered = false;
  #lines = [];

  constructor() {
    this.element.className = 'block';
  }

  get full() {
    return this.#lines.length === BLOCK_LINES;
  }

  /** Whether it must stay rendered: it contains the current match or part of the selection. */
  get inUse() {
    const selection = getSelection();
    const selected = !selection.isCollapsed && selection.containsNode(this.element, true);
    return selected || this.element.querySelector('.current') !== null;
  }

  /** Add a line {number, text, kind, style}: `style` is the style at its start. */
  add(line) {
    this.#lines.push(line);
    this.element.style.setProperty('--lines', this.#lines.length);
    if (this.rendered) this.element.append(elementOf(line));
  }

  render() {
    if (this.rendered) return;
    this.rendered = true;
    this.element.style.height = '';
    this.element.append(...this.#lines.map(elementOf));
  }

  /** Remove the lines and keep this height, in pixels. */
  clear(height) {
    this.rendered = false;
    this.element.style.height = `${height}px`;
    this.element.replaceChildren();
  }

  /** Line heights have changed: estimate the height until the block is rendered again. */
  resetHeight() {
    if (!this.rendered) this.element.style.height = '';
  }
}
