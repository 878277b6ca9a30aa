// A run's event stream: comes back by itself for as long as the run lasts, and gives each numbered event once.

const PATIENCE_MS = 2500; // a stream that was only renewed is no loss worth telling
const LONGEST_PAUSE_MS = 10_000;
const LONG_HIDDEN_MS = 60_000;

/** Follow a run. `address` gives the stream's URL anew each time; `on` is told: line, progress, gap, status, end, connection. */
export function follow(address, on) {
  let [last, failures, ended, hidden] = [0, 0, false, 0];
  let source, retry, patience;

  const heard = () => {
    clearTimeout(patience);
    patience = failures = 0;
    on.connection('');
  };

  const lost = (text) => {
    patience ||= setTimeout(() => on.connection(text), PATIENCE_MS);
    if (source?.readyState === EventSource.CONNECTING) return; // the browser itself tries again
    clearTimeout(retry);
    retry = setTimeout(open, Math.min(LONGEST_PAUSE_MS, 500 * 2 ** failures));
    failures += 1;
  };

  const take = (name, read) => ({ data, lastEventId }) => {
    heard();
    const number = Number(lastEventId);
    if (number <= last) return;
    last = number;
    on[name](number, read(data));
  };

  async function open() {
    clearTimeout(retry);
    source?.close();
    if (ended) return;
    try {
      const url = new URL(await address(), location.href);
      if (last) url.searchParams.set('after', last);
      source = new EventSource(url);
    } catch {
      source = undefined;
      lost('Connection lost. Trying again …');
      return;
    }
    source.onmessage = take('line', String);
    source.addEventListener('progress', take('progress', JSON.parse));
    source.addEventListener('gap', take('gap', JSON.parse));
    source.addEventListener('status', ({ data }) => {
      heard();
      on.status(JSON.parse(data));
    });
    source.addEventListener('away', () => {
      clearTimeout(patience);
      on.connection('The launcher does not answer. Trying again …');
    });
    source.addEventListener('end', ({ data }) => {
      heard();
      ended = true;
      source.close();
      on.end(JSON.parse(data));
    });
    source.onerror = () => lost('Connection lost. Trying again …');
  }

  window.addEventListener('online', open);
  window.addEventListener('pageshow', ({ persisted }) => persisted && open());
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) hidden = Date.now();
    else if (Date.now() - hidden > LONG_HIDDEN_MS) open(); // it may have died unnoticed, as over a laptop's sleep
  });
  open();
  return open;
}
