// A worker that follows a run's event stream. It reconnects until the run has finished, delivers each numbered event
// once, and posts events in batches: handling thousands of them at once would freeze the page.
//
// It receives {logs, ticket, headers} to start and 'open' to reconnect. It posts [[name, …], …] with the names line,
// gap, progress, partial, status, end and connection.

const GRACE_MS = 2500; // a stream that reconnects faster shows no message
const MAX_PAUSE_MS = 10_000;
const BATCH = 200;

let settings;
let source;
let [last, failures, ended, disconnected] = [0, 0, false, true];
let [graceTimer, retryTimer, batch] = [0, 0, []];

function post(...event) {
  if (!batch.length) setTimeout(flush);
  batch.push(event);
}

function flush() {
  for (let at = 0; at < batch.length; at += BATCH) postMessage(batch.slice(at, at + BATCH));
  batch = [];
}

/** The stream's URL; with a ticket, the launcher's own, which is valid for some minutes. */
async function streamUrl() {
  if (!settings.ticket) return new URL(settings.logs, location.href);
  const answer = await fetch(settings.ticket, { method: 'POST', headers: settings.headers });
  if (!answer.ok) throw new Error(answer.statusText);
  const { stream_url, query } = await answer.json();
  return new URL(`${stream_url}?${query}`, location.href);
}

function onConnected() {
  clearTimeout(graceTimer);
  graceTimer = failures = 0;
  disconnected = false;
  post('connection', '');
}

function onLost() {
  disconnected = true;
  graceTimer ||= setTimeout(() => post('connection', 'Connection lost. Reconnecting…'), GRACE_MS);
  if (source?.readyState === EventSource.CONNECTING) return; // the browser reconnects by itself
  clearTimeout(retryTimer);
  retryTimer = setTimeout(open, Math.min(MAX_PAUSE_MS, 500 * 2 ** failures));
  failures += 1;
}

const deliver = (name, read) => ({ data, lastEventId }) => {
  if (disconnected) onConnected();
  const number = Number(lastEventId);
  if (number <= last) return;
  last = number;
  post(name, number, read(data));
};

async function open() {
  clearTimeout(retryTimer);
  source?.close();
  source = undefined;
  if (ended) return;
  try {
    const url = await streamUrl();
    if (last) url.searchParams.set('after', last);
    source?.close(); // opened by a concurrent call
    source = new EventSource(url);
  } catch {
    onLost();
    return;
  }
  source.onerror = onLost;
  source.onmessage = deliver('line', String);
  source.addEventListener('progress', deliver('progress', JSON.parse));
  source.addEventListener('gap', deliver('gap', JSON.parse));
  source.addEventListener('partial', ({ data }) => post('partial', JSON.parse(data).text));
  source.addEventListener('status', ({ data }) => {
    onConnected();
    post('status', JSON.parse(data));
  });
  source.addEventListener('away', () => {
    clearTimeout(graceTimer);
    disconnected = true;
    post('connection', 'The launcher is not responding. Retrying…');
  });
  source.addEventListener('end', ({ data }) => {
    onConnected();
    ended = true;
    source.close();
    post('end', JSON.parse(data));
  });
}

addEventListener('message', ({ data }) => {
  settings ??= data;
  open();
});
addEventListener('online', () => open());
