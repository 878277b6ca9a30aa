// ANSI colours: splits a line with escape sequences into pieces, each with a style. Only `paint` touches the DOM.

const SEQUENCE = /\x1b(?:\[([\d;:]*)m|\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])/g;
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/g;
const LEVELS = [0, 95, 135, 175, 215, 255];
const ON = { 1: 'bold', 2: 'dim', 3: 'italic', 4: 'underline', 7: 'inverse', 9: 'strike' };
const OFF = { 22: ['bold', 'dim'], 23: ['italic'], 24: ['underline'], 27: ['inverse'], 29: ['strike'] };
const BLACK = 'var(--ansi-0)';
export const PLAIN = Object.freeze({});

/** The text with control characters replaced by their visible symbols. */
export function printable(text) {
  return text.replace(CONTROL, (sign) => {
    const code = sign.charCodeAt(0);
    return code < 32 ? String.fromCharCode(0x2400 + code) : code === 127 ? '\u2421' : '\ufffd';
  });
}

/** A colour of the 256-colour palette, as CSS. */
export function colour(number) {
  if (number < 16) return `var(--ansi-${number})`;
  if (number > 231) return `rgb(${Array(3).fill(8 + 10 * (number - 232)).join(' ')})`;
  const cube = number - 16;
  return `rgb(${[Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map((step) => LEVELS[step]).join(' ')})`;
}

function styled(before, parameters) {
  const codes = parameters.split(/[;:]/).map(Number);
  let style = { ...before };
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    const [ground, tens] = [Math.floor(code / 10) % 2 ? 'fg' : 'bg', code % 10];
    if (code === 0) style = {};
    else if (ON[code]) style[ON[code]] = true;
    else if (OFF[code]) OFF[code].forEach((name) => delete style[name]);
    else if (code === 38 || code === 48) {
      const [kind, ...numbers] = codes.slice(at + 1, at + 5);
      const bytes = numbers.slice(0, kind === 2 ? 3 : 1);
      if (bytes.length && bytes.every((byte) => byte < 256)) {
        style[ground] = kind === 2 ? `rgb(${bytes.join(' ')})` : colour(bytes[0]);
      }
      at += 1 + bytes.length;
    } else if (code === 39 || code === 49) delete style[ground];
    else if (code >= 30 && code <= 47 && tens < 8) style[ground] = colour(tens);
    else if (code >= 90 && code <= 107 && tens < 8) style[code < 100 ? 'fg' : 'bg'] = colour(tens + 8);
  }
  return Object.keys(style).length ? style : PLAIN;
}

/** Parse a line into pieces [{text, style}]; `style` of the result applies to the start of the next line. */
export function parse(line, style = PLAIN) {
  const pieces = [];
  let from = 0;
  const take = (to) => {
    if (to > from) pieces.push({ text: printable(line.slice(from, to)), style });
  };
  for (const found of line.includes('\x1b') ? line.matchAll(SEQUENCE) : []) {
    take(found.index);
    from = found.index + found[0].length;
    if (found[1] !== undefined) style = styled(style, found[1]);
  }
  take(line.length);
  return { pieces, style };
}

/** Apply a piece's style to an element; the Content-Security-Policy forbids inline styles in HTML only. */
export function paint(element, { fg, bg, inverse, ...marks }) {
  let [front, back] = inverse ? [bg ?? 'var(--log-surface)', fg ?? 'var(--log-text)'] : [fg, bg];
  if (front === BLACK && back) front = 'var(--log-surface)'; // black text is lightened for the dark surface, except on a background
  if (front) element.style.color = front;
  if (back) element.style.backgroundColor = back;
  element.classList.add(...Object.keys(marks));
}
