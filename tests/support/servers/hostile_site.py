"""A web site on loopback with one page for each way in which a site can fail or misbehave."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

WORDS = "We build the software that harbours run on. " * 12
POSTING = f"<main><h1>Harbour Engineer</h1><p>{WORDS}</p><ul><li>Python</li><li>Kubernetes</li></ul></main>"
COOKIE_WALL = f"""<title>Harbour</title><div id=wall><p>We use cookies. Your consent to cookies, please.</p>
<button onclick="document.getElementById('wall').remove(); document.body.insertAdjacentHTML('beforeend', `{POSTING}`)">
Reject all</button></div>"""
STUBBORN_WALL = "<p>We value your cookies. Cookie settings, cookie partners.</p><button>Accept all</button>"
CHUNK = b"x" * (1 << 20)


@dataclass
class Site:
    """The site's address and the requests it received; `answers` maps further paths to their HTML."""

    port: int
    requests: list[tuple[str, str]] = field(default_factory=list)
    answers: dict[str, str | Callable[[], str]] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """The site's base URL."""
        return f"http://127.0.0.1:{self.port}"


class Handler(BaseHTTPRequestHandler):
    """Answers according to the path."""

    site: ClassVar[Site]

    def do_GET(self) -> None:
        """Answer one request."""
        path = urlsplit(self.path).path
        self.site.requests.append((path, self.headers.get("Host", "")))
        first, _, rest = path.removeprefix("/").partition("/")
        with contextlib.suppress(OSError):
            if special := getattr(self, f"_{first}", None):
                special(rest)
            elif answer := self.site.answers.get(path):
                self._html(answer if isinstance(answer, str) else answer())
            else:
                self._html("not found", 404)

    def _hangs(self, _rest: str) -> None:
        self.site.closing.wait(60)

    def _circle(self, _rest: str) -> None:
        self._to("~circle~")

    def _endless(self, _rest: str) -> None:
        self._html("<script>location.href = '/endless?' + Math.random()</script>")

    def _to(self, target: str) -> None:
        self._begin(302, location=target.replace("~", "/"))

    def _large(self, _rest: str) -> None:
        self._begin(200)
        for _ in range(50):
            self.wfile.write(CHUNK)

    def _file(self, _rest: str) -> None:
        self._begin(200, "application/octet-stream")
        self.wfile.write(bytes(1000))

    def _status(self, status: str) -> None:
        self._html(POSTING, int(status))

    def _html(self, body: str, status: int = 200) -> None:
        self._begin(status)
        self.wfile.write(body.encode())

    def _begin(self, status: int, kind: str = "text/html; charset=utf-8", location: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Access-Control-Allow-Origin", "*")
        if location:
            self.send_header("Location", location)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def serving(address: str = "127.0.0.1") -> Iterator[Site]:
    """Serve the site while the block runs."""
    site = Site(0)
    with ThreadingHTTPServer((address, 0), type("Handler", (Handler,), {"site": site})) as server:
        server.daemon_threads = True
        site.port = server.server_port
        site.answers |= {"/posting": f"<title>Job</title><nav>Menu</nav>{POSTING}", "/cookies": COOKIE_WALL}
        site.answers |= {"/stubborn": STUBBORN_WALL, "/empty": "<p>Loading</p>"}
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield site
        finally:
            site.closing.set()
            server.shutdown()
            thread.join()


def probing(urls: list[str], sockets: list[str], stun: str) -> str:
    """A posting whose script tries to reach other addresses, and writes the results into the page."""
    return f"""<title>Job</title>{POSTING}<p id=got></p><script>
const got = [];
const show = () => document.getElementById('got').textContent = 'GOT ' + got.join(' ') + ' END';
const urls = {json.dumps(urls)}, sockets = {json.dumps(sockets)};
for (const url of urls) {{
  fetch(url).then(answer => answer.text()).then(text => got.push('fetched:' + text), () => got.push('no')).then(show);
  document.body.append(Object.assign(new Image(), {{src: url}}));
  document.body.append(Object.assign(document.createElement('iframe'), {{src: url}}));
}}
for (const url of sockets) {{
  const socket = new WebSocket(url);
  socket.onopen = () => {{ got.push('opened'); show(); }};
  socket.onerror = () => {{ got.push('no'); show(); }};
}}
const peer = new RTCPeerConnection({{iceServers: [{{urls: '{stun}'}}]}});
peer.createDataChannel('x');
peer.createOffer().then(offer => peer.setLocalDescription(offer));
</script>"""
