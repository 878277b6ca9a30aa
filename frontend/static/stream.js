// A worker that follows a run's event stream. It comes back by itself for as long as the run lasts, gives each numbered
// event once, and hands events over in batches: a browser deals with thousands of them in one go, which would stop the page.
//
// It is sent {logs, ticket, headers} to begin and 'open' to look anew, and sends [[name, …], …]: line, gap, progress,
// partial, status, end, connection.

const PATIENCE_MS = 2500; // a stream that was only renewed is no loss worth telling
const LONGEST_PAUSE_MS = 10_000;
const BATCH = 200;

let settings;
let source;
let [last, failures, ended, troubled] = [0, 0, false, true];
let [patience, retry, batch] = [0, 0, []];

function tell(...event) {
  if (!batch.length) setTimeout(flush);
  batch.push(event);
}

function flush() {
  for (let at = 0; at < batch.length; at += BATCH) postMessage(batch.slice(at, at + BATCH));
  batch = [];
}

/** Where the stream is; with a ticket, where the launcher can be reached straight from here, for some minutes. */
async function address() {
  if (!settings.ticket) return new URL(settings.logs, location.href);
  const answer = await fetch(settings.ticket, { method: 'POST', headers: settings.headers });
  if (!answer.ok) throw new Error(answer.statusText);
  const { stream_url, query } = await answer.json();
  return new URL(`${stream_url}?${query}`, location.href);
}

function heard() {
  clearTimeout(patience);
  patience = failures = 0;
  troubled = false;
  tell('connection', '');
}

function lost() {
  troubled = true;
  patience ||= setTimeout(() => tell('connection', 'Connection lost. Trying again …'), PATIENCE_MS);
  if (source?.readyState === EventSource.CONNECTING) return; // the browser itself tries again
  clearTimeout(retry);
  retry = setTimeout(open, Math.min(LONGEST_PAUSE_MS, 500 * 2 ** failures));
  failures += 1;
}

const take = (name, read) => ({ data, lastEventId }) => {
  if (troubled) heard();
  const number = Number(lastEventId);
  if (number <= last) return;
  last = number;
  tell(name, number, read(data));
};

async function open() {
  clearTimeout(retry);
  source?.close();
  source = undefined;
  if (ended) return;
  try {
    const url = await address();
    if (last) url.searchParams.set('after', last);
    source?.close(); // of a call that was faster
    source = new EventSource(url);
  } catch {
    lost();
    return;
  }
  source.onerror = lost;
  source.onmessage = take('line', String);
  source.addEventListener('progress', take('progress', JSON.parse));
  source.addEventListener('gap', take('gap', JSON.parse));
  source.addEventListener('partial', ({ data }) => tell('partial', JSON.parse(data).text));
  source.addEventListener('status', ({ data }) => {
    heard();
    tell('status', JSON.parse(data));
  });
  source.addEventListener('away', () => {
    clearTimeout(patience);
    troubled = true;
    tell('connection', 'The launcher is away. Trying again …');
  });
  source.addEventListener('end', ({ data }) => {
    heard();
    ended = true;
    source.close();
    tell('end', JSON.parse(data));
  });
}

addEventListener('message', ({ data }) => {
  settings ??= data;
  open();
});
addEventListener('online', () => open());
