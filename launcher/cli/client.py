"""A client of the launcher's REST API. Its problems become sentences."""

from __future__ import annotations

import os
import secrets
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx

from launcher.cli.connection_errors import cause_of
from launcher.cli.failures import Exit, Failure, failure_of
from launcher.domain.names import is_run_id, is_run_id_prefix
from launcher.domain.setting_rules import Unusable, usable

DEFAULT_URL = "http://127.0.0.1:8000"
STREAM_TIMEOUT = httpx.Timeout(10, read=45)
"""The launcher sends a comment every 15 s: a stream that is silent for longer is broken."""
_TIMEOUT = httpx.Timeout(30, connect=5)
_PER_PAGE = 500
SPECIFY_ONE_RUN = "Specify one run: either its id (or the beginning of it) or --job-id."
_LIST_RUNS = "To list the runs, run: slipway ps"

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
        """Return a client for the launcher that RUNNER_URL and RUNNER_API_SECRET name."""
        return cls(os.environ.get("RUNNER_URL") or DEFAULT_URL, os.environ.get("RUNNER_API_SECRET"))

    def call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Return the launcher's answer."""
        with self.reached():
            answer = self.http.request(method, path, **options)
        check(answer)
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Failure(f"{self.url} is not a launcher. Check RUNNER_URL.", Exit.UNREACHABLE)
        return document

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn network errors into failures."""
        try:
            yield
        except UnicodeEncodeError as exc:  # not UTF-8, or a key that does not fit into a header
            unsendable = exc.object[exc.start : exc.end]
            raise Failure(f"Cannot send {unsendable!a}. Use UTF-8, and only ASCII in --key.") from None
        except httpx.HTTPError as exc:
            cause = cause_of(exc)
            text = (
                f"Cannot reach the launcher at {self.url}: {cause.found}. {cause.do} For details, run: slipway doctor"
            )
            raise Failure(text, Exit.UNREACHABLE, do=cause.do) from None

    def download(self, path: str) -> Iterator[bytes]:
        """Yield a body as it arrives. Only from the launcher itself: the credential is sent nowhere else."""
        if not path.startswith("/") or path.startswith("//"):
            raise Failure(f"{path!r} is not a path on the launcher.")
        with self.reached(), self.http.stream("GET", path) as answer:
            if answer.is_error:
                answer.read()
            check(answer)
            yield from answer.iter_bytes()

    def launch(self, request: Mapping[str, Any], key: str | None = None) -> Run:
        """Launch a run; repeated with the same idempotency key, the request launches no second one."""
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        return self.call("POST", "/jobs/run", json=request, headers=headers)

    def run(self, reference: str | None, job_id: str | None = None) -> Run:
        """Return the run with this id, the only one whose id begins with it, or the newest run of a work item."""
        if (reference is None) == (job_id is None):
            raise Failure(SPECIFY_ONE_RUN)
        if reference is None:
            for run in self.page(1, 1, job_id=job_id)["runs"]:
                return dict(run)
            raise Failure(f"No runs found for job {job_id}. {_LIST_RUNS}")
        if not is_run_id_prefix(reference):
            raise Failure(f"{reference!r} is not a valid run id. {_LIST_RUNS}")
        if is_run_id(reference):
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
                raise Failure(f"Run {beginning} not found. {_LIST_RUNS}")
            case many:
                some = ", ".join(run["run_id"] for run in many[:5])
                raise Failure(f"{len(many)} runs begin with {beginning}: {some}{', …' if len(many) > 5 else ''}.")

    def page(self, number: int, size: int, **filters: str | None) -> dict[str, Any]:
        """Return one page of runs, newest first, and how many there are in total."""
        given = {name: value for name, value in filters.items() if value is not None}
        return self.call("GET", "/jobs", params={**given, "page": number, "per_page": size})

    def runs(self) -> Iterator[Run]:
        """Yield all runs, newest first."""
        for number in count(1):
            found = self.page(number, _PER_PAGE)["runs"]
            yield from found
            if len(found) < _PER_PAGE:
                return


def _trusted(url: str) -> ssl.SSLContext:
    """Return the trusted certificate authorities: for HTTPS the machine's own, or those in SSL_CERT_FILE.

    Plain HTTP needs none, and loading them takes a while. If such a connection turns to TLS after all, it trusts none.
    """
    if url.startswith("https:"):
        return ssl.create_default_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def check(answer: httpx.Response) -> None:
    """Raise a failure for an error answer."""
    if answer.is_success:
        return
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    problem = problem if isinstance(problem, dict) else {}
    if answer.status_code == 401 and "Authorization" not in answer.request.headers:
        do = "Set RUNNER_API_SECRET."
        raise Failure(f"This launcher requires a credential. {do}", Exit.NOT_ALLOWED, status=401, do=do)
    raise failure_of(answer.status_code, problem, answer.headers.get("Retry-After"))
