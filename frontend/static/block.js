// A part of a log: its lines as elements, or just the room that they take.

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
  filled = false;
  #lines = [];

  constructor() {
    this.element.className = 'block';
  }

  get full() {
    return this.#lines.length === BLOCK_LINES;
  }

  /** Whether a person is at it: a hit is marked in it, or it holds what is selected. */
  get held() {
    const selection = getSelection();
    const selected = !selection.isCollapsed && selection.containsNode(this.element, true);
    return selected || this.element.querySelector('.current') !== null;
  }

  /** Add a line {number, text, kind, style}: the style is the one in which it begins. */
  add(line) {
    this.#lines.push(line);
    this.element.style.setProperty('--lines', this.#lines.length);
    if (this.filled) this.element.append(elementOf(line));
  }

  fill() {
    if (this.filled) return;
    this.filled = true;
    this.element.style.height = '';
    this.element.append(...this.#lines.map(elementOf));
  }

  /** Keep nothing but this height, in pixels. */
  empty(height) {
    this.filled = false;
    this.element.style.height = `${height}px`;
    this.element.replaceChildren();
  }

  /** Lines are of another height now: guess it, until they are seen. */
  forget() {
    if (!this.filled) this.element.style.height = '';
  }
}
