"""An HTTP server in place of a language model: OpenAI's wire format, real sockets, and answers as bad as requested.

In tests it runs in a thread; in a cluster as a program: ``python model_server.py --port 8080 429 broken hostile``.
Each request takes the next of the replies; the last one repeats. It needs only Python.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

#: What the hostile model invents: an employer, a degree, a university, a date, a percentage, a certificate.
INVENTED = ("Umbrella", "Doctorate", "Harvard", "1987", "87 %", "CISSP")
_INVENTIONS = (
    "Led 400 engineers at Umbrella Corporation.",
    "Doctorate in Physics, Harvard, 1987.",
    "Raised revenue by 87 % within a year.",
    "Certified CISSP since 14 July 1987.",
)
_FACT = re.compile(r"^(F\d+) \((.*?)\): (.*)$", re.MULTILINE)
KEY = "sk-a-key-of-the-tests-0123456789"

REPLIES = (
    "honest",  # traceable words for every fact
    "hostile",  # all inventions, and honest words
    "controls",  # honest words with half an emoji and control characters between them
    "429",  # too many requests; Retry-After: 0
    "429-long",  # the same, with a Retry-After of a day
    "500",
    "broken",  # a body that is not JSON
    "prose",  # a message that is not JSON
    "wrong",  # JSON that does not match the schema
    "odd",  # half an emoji and control characters, in prose
    "refusal",  # no content at all
    "quota",  # 429 insufficient_quota
    "unknown-model",  # 404
    "redirect",  # to an address that would receive the key
    "silent",  # accepts the request and never answers
    "endless",  # an endless body
)

_FAULTS: dict[str, tuple[int, str, dict[str, str]]] = {
    "429": (429, "rate_limit_exceeded", {"Retry-After": "0"}),
    "429-long": (429, "rate_limit_exceeded", {"Retry-After": "86400"}),
    "500": (500, "server_error", {"Retry-After": "0"}),
    "quota": (429, "insufficient_quota", {}),
    "unknown-model": (404, "model_not_found", {}),
}
_CONTENTS = {
    "prose": "Certainly! Here is the JSON that you asked for:",
    "wrong": '{"unexpected": [1, 2, 3]}',
    "odd": "\ud83d half an emoji, \0, \x0b, \ufffe",
    "refusal": None,
}


class ModelServer(ThreadingHTTPServer):
    """The server; as a context manager it runs in a thread. `requests` has all requests with their headers."""

    daemon_threads = True

    def __init__(self, replies: Sequence[str] = ("honest",), *, host: str = "127.0.0.1", port: int = 0) -> None:
        unknown = set(replies) - set(REPLIES)
        if unknown:
            raise ValueError(f"Unknown replies {unknown}; choose from {', '.join(REPLIES)}.")
        super().__init__((host, port), _Handler)
        self.replies = list(replies)
        self.requests: list[dict[str, Any]] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def next_reply(self, question: dict[str, Any]) -> str:
        """Store the question and return the next reply."""
        with self._lock:
            self.requests.append(question)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self.shutdown()
        self.server_close()
        self._thread.join(timeout=10)


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        question = json.loads(body)
        reply = self.server.next_reply({"headers": dict(self.headers), "body": question, "path": self.path})
        authorization = self.headers.get("Authorization", "")
        if authorization != f"Bearer {KEY}":
            self._error(401, "invalid_api_key", message=f"Incorrect API key provided: {authorization}.")
            return
        if reply in _FAULTS:
            self._error(*_FAULTS[reply])
        elif reply in _CONTENTS:
            self._complete(question, _CONTENTS[reply])
        elif reply == "broken":
            self._send(200, b'{"choices": [')
        elif reply == "redirect":
            self._send(307, b"", {"Location": f"http://localhost:{self.server.server_address[1]}/elsewhere"})
        elif reply == "silent":
            self.server.stopping.wait(120)
            self.close_connection = True
        elif reply == "endless":
            self._endless()
        else:
            answer = answer_to(question, hostile=reply == "hostile")
            if reply == "controls":
                answer = {name: [_with_controls(each) for each in found] for name, found in answer.items()}
            self._complete(question, json.dumps(answer))

    def _complete(self, question: Mapping[str, Any], content: str | None) -> None:
        message = {"role": "assistant", "content": content}
        self._answer(
            200,
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "model": question.get("model"),
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
            },
        )

    def _endless(self) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            while not self.server.stopping.is_set():
                self.wfile.write(b" " * 65536)
        except OSError:
            pass  # the client gave up, as it should

    def _error(
        self, status: int, code: str, headers: Mapping[str, str] | None = None, message: str = "It did not work."
    ) -> None:
        self._answer(status, {"error": {"message": message, "type": code, "code": code, "param": None}}, headers)

    def _answer(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, json.dumps(body).encode(), headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: requests are in `ModelServer.requests`."""


def answer_to(question: Mapping[str, Any], *, hostile: bool) -> dict[str, Any]:
    """Answer in the requested schema, with the facts from the question."""
    material = "\n".join(message["content"] for message in question["messages"])
    facts = _FACT.findall(material)
    ids = [found for found, _where, _text in facts]
    match question["response_format"]["json_schema"]["name"]:
        case "requirements":
            lines = [line[2:] for line in material.split("\n") if line.startswith("- ")]
            requirements = [{"requirement": line, "verdict": "met", "facts": ids[:2]} for line in lines]
            if hostile:
                requirements.insert(
                    0, {"requirement": "A Doctorate from Harvard", "verdict": "met", "facts": ["F1", "F999"]}
                )
            return {"requirements": requirements}
        case "chosen":
            ids = ["F999", *reversed(ids)] if hostile else ids[::-1]
            return {"cv": ids, "letter": ids}
        case "wording":
            cv = [{"fact": found, "text": text} for found, _where, text in facts]
            letter = [{"fact": found, "text": f"I {text[:1].lower()}{text[1:]}"} for found, _where, text in facts]
            if hostile:
                cv, letter = _with_inventions(cv), _with_inventions(letter)
            return {"cv": cv, "letter": letter}
        case other:
            raise ValueError(f"The test model does not know the schema {other!r}.")


def _with_inventions(sentences: list[dict[str, str]]) -> list[dict[str, str]]:
    mixed = []
    for number, one in enumerate(sentences):
        invention = _INVENTIONS[number % len(_INVENTIONS)]
        mixed.append({"fact": one["fact"], "text": invention})
        mixed.append({"fact": one["fact"], "text": f"{one['text']} {invention}"})
        if number % 2:
            mixed.append(one)
    return [*mixed, {"fact": "F999", "text": "Doctorate in Physics."}]


def _with_controls(one: Any) -> Any:
    return {**one, "text": one["text"].replace(" ", " \ud83d\0\x0b\ufffe ", 1)} if "text" in one else one


def main() -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("replies", nargs="*", default=["honest"], choices=REPLIES)
    parser.add_argument("--port", type=int, default=8080)
    parsed = parser.parse_args()
    ModelServer(parsed.replies, host="0.0.0.0", port=parsed.port).serve_forever()


if __name__ == "__main__":
    main()
