// A run's page: the stream fills the log and the progress bar; htmx updates the status.

import { Finder } from './find.js';
import { LogView } from './log.js';
import { announce } from './page.js';

const LONG_HIDDEN_MS = 60_000;
const END_MS = 5000; // after this, the stream's end event must have been lost

const byId = (id) => document.getElementById(id);
const scroller = byId('log-stream');
const view = new LogView(scroller, byId('logs'), byId('partial'), () => {
  byId('follow').hidden = view.following;
  finder?.continue();
});
const finder = new Finder(view, byId('find-count'));

// If browsers can reach the launcher, downloads go there directly with a ticket, which is valid for some minutes.

const { logs, ticket } = scroller.dataset;
const headers = JSON.parse(document.body.getAttribute('hx-headers'));

document.addEventListener('click', async (event) => {
  const link = event.target.closest?.('#download, [data-file]');
  if (!link || !ticket) return;
  event.preventDefault();
  try {
    const answer = await fetch(ticket, { method: 'POST', headers });
    if (!answer.ok) throw new Error(answer.statusText);
    const { log_url, artifacts_url, query } = await answer.json();
    const { file } = link.dataset;
    location.assign(`${file ? artifacts_url + encodeURIComponent(file) : log_url}?${query}`);
  } catch {
    location.assign(link.href);
  }
});

function progress({ step, of, label }, ended = false) {
  byId('progress').hidden = false;
  Object.assign(byId('progress-bar'), { max: of, value: ended ? of : step - 1 });
  byId('progress').firstElementChild.textContent = ended ? `All ${of} steps done` : `Step ${step} of ${of}: ${label}`;
}

let [reached, ended, hidden] = [null, false, 0];
const on = {
  line: (number, text) => view.add(number, text),
  gap: (number, { from, to, why }) => {
    view.add(number, `${from === to ? `Line ${to} is` : `Lines ${from} to ${to} are`} missing: ${why}`, 'gap');
  },
  progress: (number, step) => {
    reached = step;
    progress(step);
    view.add(number, `step ${step.step} of ${step.of}`, 'step');
  },
  partial: (text) => view.redraw(text),
  status: () => window.htmx.trigger('#run-status', 'refresh'),
  end: ({ status }) => {
    ended = true;
    view.redraw('');
    if (reached && status === 'completed') progress(reached, true);
    window.htmx.trigger('#run-status', 'refresh');
  },
  connection: (text) => {
    if (byId('connection').textContent !== text) byId('connection').textContent = text;
  },
};
const stream = new Worker(new URL('stream.js', import.meta.url), { type: 'module' });
stream.onmessage = ({ data }) => data.forEach(([name, ...event]) => on[name](...event));
stream.postMessage({ logs, ticket, headers });
const reopen = () => ended || stream.postMessage('open');

window.addEventListener('pageshow', ({ persisted }) => persisted && reopen());
document.addEventListener('visibilitychange', () => {
  if (document.hidden) hidden = Date.now();
  else if (Date.now() - hidden > LONG_HIDDEN_MS) reopen(); // the connection may be dead, for example after a laptop's sleep
});

const statusText = () => byId('run-status').querySelector('[data-announce]');
let announced = statusText().dataset.announce;
document.addEventListener('htmx:afterSwap', ({ detail }) => {
  if (detail.target.id === 'preview') byId('preview').focus();
  const { textContent, dataset } = statusText();
  if (dataset.announce !== announced) announce(textContent); // only a new status, not every new ETA
  announced = dataset.announce;
  if (!document.querySelector('[data-live]')) setTimeout(reopen, END_MS);
});

// Tools

byId('follow').addEventListener('click', () => view.follow(true));

byId('find').addEventListener('submit', (event) => {
  event.preventDefault();
  finder.step(1);
});
byId('find-previous').addEventListener('click', () => finder.step(-1));
byId('find-text').addEventListener('input', ({ target }) => finder.search(target.value));
byId('find-text').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || !event.shiftKey) return;
  event.preventDefault();
  finder.step(-1);
});

const wrap = byId('wrap');
const wrapping = () => {
  byId('logs').classList.toggle('wrap', wrap.checked);
  view.reflow();
};
wrap.checked = localStorage.getItem('wrap') !== 'off';
wrapping();
wrap.addEventListener('change', () => {
  localStorage.setItem('wrap', wrap.checked ? 'on' : 'off');
  wrapping();
});

byId('copy').addEventListener('click', async ({ target }) => {
  try {
    await navigator.clipboard.writeText(view.texts.join('\n'));
    target.textContent = 'Copied';
  } catch {
    target.textContent = 'Copy failed';
  }
  announce(target.textContent);
  setTimeout(() => (target.textContent = 'Copy'), 2000);
});
