// Code of every page: announcements, times, selecting postings, notices and focus.

const byId = (id) => document.getElementById(id);

export function announce(text) {
  byId('announcer').textContent = text;
}

function duration(seconds) {
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  if (hours) return `${hours} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function tick() {
  for (const place of document.querySelectorAll('[data-since]')) {
    const seconds = Math.max(0, Math.round((Date.now() - Date.parse(place.dataset.since)) / 1000));
    place.textContent = place.closest('[data-stale]') ? '–' : duration(seconds);
  }
}

// The chart uses the viewer's time zone: the server reads it from a cookie with the next page.
const secure = location.protocol === 'https:' ? '; Secure' : '';
document.cookie = `slipway_tz=${Intl.DateTimeFormat().resolvedOptions().timeZone}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;

const localTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

function localise(root) {
  for (const time of root.querySelectorAll('time:not([title])')) {
    time.title = time.textContent.trim();
    time.textContent = localTime.format(new Date(time.dateTime));
  }
}

// Selecting: a job that has an active run cannot be selected, and none can while the launcher is unavailable.

function select() {
  const away = document.querySelector('#live[data-away]') !== null;
  for (const button of document.querySelectorAll('button[id^="process-"]:not(.htmx-request)')) {
    button.disabled = away || button.hasAttribute('data-unknown');
  }
  const boxes = [...document.querySelectorAll('[name="selected_jobs"]')];
  for (const box of boxes) {
    const taken = box.closest('tr').querySelector('a.button, [data-unknown]') !== null;
    box.checked &&= !taken;
    box.disabled = away || taken;
  }
  const [free, all, button] = [boxes.filter((box) => !box.disabled), byId('select-all'), byId('bulk-process')];
  if (!button) return;
  const chosen = free.filter((box) => box.checked).length;
  all.checked = chosen > 0 && chosen === free.length;
  all.indeterminate = chosen > 0 && chosen < free.length;
  button.disabled = chosen === 0;
  byId('selected-count').textContent = chosen ? `${chosen} selected` : '';
}

document.addEventListener('change', ({ target }) => {
  if (target.id === 'select-all') {
    for (const box of document.querySelectorAll('[name="selected_jobs"]:enabled')) box.checked = target.checked;
  }
  select();
});

// Links to the other pages of postings keep the batch in the URL.
document.addEventListener('htmx:replacedInHistory', () => {
  const batch = new URLSearchParams(location.search).get('batch');
  for (const link of document.querySelectorAll('.pager a')) {
    const url = new URL(link.href);
    url.searchParams.delete('batch');
    if (batch) url.searchParams.set('batch', batch);
    link.href = url;
  }
});

// A failed poll shows a notice until the same poll succeeds; a lost connection, until any request succeeds.

const LOST = 'Connection lost. Retrying automatically…';
// While a poll fails, active statuses are shown as unknown; the next success restores them, even if it has no content.
function stale(poll, away) {
  poll.toggleAttribute('data-stale', away);
  for (const badge of poll.querySelectorAll('.badge:is(.queued, .running, .unknown)')) {
    badge.dataset.was ??= badge.textContent;
    badge.textContent = away ? 'unknown' : badge.dataset.was;
    badge.className = `badge ${badge.textContent}`;
  }
  tick();
}

let noticeOf = '';
document.addEventListener('htmx:afterRequest', ({ detail }) => {
  const element = detail.requestConfig.elt; // detail.elt is its parent once it has been replaced
  if (element.hasAttribute('data-poll')) stale(element, !detail.successful);
  if (!detail.successful && element.hasAttribute('data-poll')) noticeOf = element.id;
  if (!detail.successful || !noticeOf || ![element.id, LOST].includes(noticeOf)) return;
  byId('notice').replaceChildren();
  noticeOf = '';
});
for (const name of ['htmx:sendError', 'htmx:timeout']) {
  document.addEventListener(name, () => {
    noticeOf = LOST;
    if (byId('notice').textContent === LOST) return;
    const problem = document.createElement('p');
    problem.className = 'problem';
    problem.textContent = LOST;
    byId('notice').replaceChildren(problem);
  });
}

// Keyboard focus stays where it was when the focused element is replaced by a new version.

let focused = '';
document.addEventListener('focusin', ({ target }) => (focused = target.id));
document.addEventListener('pointerdown', () => (focused = ''));
for (const name of ['htmx:afterSettle', 'htmx:oobAfterSwap', 'htmx:afterRequest']) {
  document.addEventListener(name, () => {
    if (focused && document.activeElement === document.body) byId(focused)?.focus({ preventScroll: true });
  });
}

document.addEventListener('announce', ({ detail }) => announce(detail.value));

window.htmx.onLoad((root) => {
  localise(root.parentElement ?? root);
  tick();
  select();
});
setInterval(tick, 1000);
