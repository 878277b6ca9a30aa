"""The client: the launcher's REST API, its problems as sentences."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx

from launcher.cli.connection_errors import cause_of
from launcher.cli.failures import Exit, Failure, failure_of
from launcher.domain.setting_rules import Unusable, usable

DEFAULT_URL = "http://127.0.0.1:8000"
STREAM_TIMEOUT = httpx.Timeout(10, read=45)
"""The launcher sends a comment every 15 s: one that is silent for longer is gone."""
_TIMEOUT = httpx.Timeout(30, connect=5)
_PER_PAGE = 500
_RUN_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

Run = dict[str, Any]


class Client:
    """Calls one launcher. Every call may raise `Failure`."""

    def __init__(self, url: str, credential: str | None) -> None:
        try:
            self.url = usable("RUNNER_URL", url)
            secret = usable("RUNNER_API_SECRET", credential) if credential else ""
        except Unusable as exc:
            raise Failure(f"{exc}.") from None
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        self.http = httpx.Client(
            base_url=self.url, headers=headers, timeout=_TIMEOUT, trust_env=False, verify=_trusted(self.url)
        )

    @classmethod
    def from_environment(cls) -> Client:
        """Make the client that RUNNER_URL and RUNNER_API_SECRET name."""
        return cls(os.environ.get("RUNNER_URL") or DEFAULT_URL, os.environ.get("RUNNER_API_SECRET"))

    def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Return what the launcher answers."""
        with self.reached():
            answer = self.http.request(method, path, **options)
        check(answer)
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Failure(f"{self.url} does not answer as a launcher; check RUNNER_URL.", Exit.UNREACHABLE)
        return document

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn what the network throws into a failure."""
        try:
            yield
        except UnicodeEncodeError as exc:  # an argument of other bytes, or a key that no header can hold
            unsendable = exc.object[exc.start : exc.end]
            raise Failure(f"{unsendable!a} cannot be sent. Use UTF-8, and only ASCII in --key.") from None
        except httpx.HTTPError as exc:
            cause = cause_of(exc)
            text = f"The launcher at {self.url} does not answer: {cause.found}. {cause.do} slipway doctor says more."
            raise Failure(text, Exit.UNREACHABLE, do=cause.do) from None

    def download(self, path: str) -> Iterator[bytes]:
        """Yield a body as it comes. Only from the launcher itself: the credential goes nowhere else."""
        if not path.startswith("/") or path.startswith("//"):
            raise Failure(f"{path!r} is no path of the launcher.")
        with self.reached(), self.http.stream("GET", path) as answer:
            if answer.is_error:
                answer.read()
            check(answer)
            yield from answer.iter_bytes()

    def run(self, reference: str | None, job_id: str | None = None) -> Run:
        """Return the run that an id, the unique beginning of one, or a job_id (its newest run) names."""
        if reference is None and job_id is None:
            raise Failure("Which run? Give its id or the beginning of it, or --job-id.")
        if reference is None:
            found = self.call("GET", "/jobs", params={"job_id": job_id, "per_page": 1})["runs"]
            if not found:
                raise Failure(f"There is no run of job {job_id}: slipway ps lists those there are.")
            return dict(found[0])
        if not _RUN_ID.fullmatch(reference):
            raise Failure(f"{reference!r} is no run id: slipway ps lists those there are.")
        with self.reached():
            answer = self.http.get(f"/jobs/{quote(reference, safe='')}/status")
        if answer.status_code != 404:
            check(answer)
            return dict(answer.json())
        return self._by_beginning(reference)

    def _by_beginning(self, beginning: str) -> Run:
        matches = {run["run_id"]: run for run in self.runs() if run["run_id"].startswith(beginning)}
        match list(matches.values()):
            case [run]:
                return run
            case []:
                raise Failure(f"There is no run {beginning}: slipway ps lists those there are.")
            case many:
                some = ", ".join(run["run_id"] for run in many[:5])
                raise Failure(f"{len(many)} runs begin with {beginning}: {some}{', …' if len(many) > 5 else ''}.")

    def runs(self) -> Iterator[Run]:
        """Yield every run, newest first."""
        page = 1
        while found := self.call("GET", "/jobs", params={"page": page, "per_page": _PER_PAGE})["runs"]:
            yield from found
            if len(found) < _PER_PAGE:
                return
            page += 1


def _trusted(url: str) -> ssl.SSLContext:
    """Return what certificates are checked with: for HTTPS the machine's own authorities, or those of SSL_CERT_FILE.

    A plain connection needs none, and loading them takes a while. Should it turn to TLS all the same, it trusts nobody.
    """
    if url.startswith("https:"):
        return ssl.create_default_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def check(answer: httpx.Response) -> None:
    """Raise the failure that a refusal means."""
    if answer.is_success:
        return
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    problem = problem if isinstance(problem, dict) else {}
    if answer.status_code == 401 and "Authorization" not in answer.request.headers:
        raise Failure("RUNNER_API_SECRET is not set, and this launcher wants one.", Exit.NOT_ALLOWED, status=401)
    raise failure_of(answer.status_code, problem, answer.headers.get("Retry-After"))
