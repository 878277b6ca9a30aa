"""One watch: a kubectl that watches one kind of object, and is restarted when it exits."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, Generic, TypeVar

from checkers.changes import DELETED, ClusterEvent, JobChange, Object, PodChange
from checkers.json_stream import JsonStream

START_SECONDS = 20.0
STOP_SECONDS = 5.0
RETRY_SECONDS = 0.3
_ERROR_LINES = 20


class WatchError(RuntimeError):
    """kubectl is not watching; the message ends with its output."""


C = TypeVar("C", PodChange, JobChange, ClusterEvent)


class Watch(Generic[C]):
    """Watches one kind of object with one kubectl at a time, in a thread."""

    def __init__(
        self,
        kubectl: Sequence[str],
        arguments: Sequence[str],
        read: Callable[[str, Object, float], C],
        news: threading.Condition,
    ) -> None:
        self._list = [*kubectl, "get", *arguments, "-o", "json"]
        self._read: Callable[[str, Object, float], C] = read
        self._news = news
        self._stopping, self._ready = threading.Event(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: list[str] = []
        self._present: dict[str, C] = {}  # by uid
        self._thread = threading.Thread(target=self._run, name=f"watch {arguments[0]}", daemon=True)
        self.changes: list[C] = []
        self.last: dict[str, Object] = {}  # by uid, including deleted ones
        self.holes: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def wait(self, deadline: float) -> None:
        if not self._ready.wait(max(0.0, deadline - time.monotonic())):
            raise WatchError("\n".join([f"{' '.join(self._list)} did not start to watch:", *self._errors]))

    def stop(self) -> None:
        self._stopping.set()
        self._signal(signal.SIGTERM)
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            self._signal(signal.SIGKILL)
            self._thread.join(STOP_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        with self._news, contextlib.suppress(ProcessLookupError):
            if self._process is not None and self._process.poll() is None:
                os.killpg(self._process.pid, number)  # it has its own process group, as kubectl may be wrapped

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                cause = self._follow()
            except OSError as exc:
                cause = f"{exc}"
                self._errors = [cause]
            if self._ready.is_set() and not self._stopping.is_set():
                self._ready.clear()
                self.holes.append(f"{time.time():.3f} s: {cause}")
            self._stopping.wait(RETRY_SECONDS)

    def _follow(self) -> str:
        """Watch until kubectl exits; return why it did."""
        # At this verbosity kubectl prints the response to a watch request, which is when the watch has started.
        command = [*self._list, "--watch", "--output-watch-events", "-v=6"]
        pipe = subprocess.PIPE
        with self._news:
            if self._stopping.is_set():
                return "stopped"
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
            )
            self._process = process
        with process:
            assert process.stdout is not None and process.stderr is not None
            errors = threading.Thread(target=self._read_errors, args=(process.stderr,), daemon=True)
            errors.start()
            stream = JsonStream()
            while chunk := os.read(process.stdout.fileno(), 1 << 16):
                seen = time.time()
                for change in stream.feed(chunk):
                    self._take(change["type"], change["object"], seen)
            errors.join()
            code = process.wait()
        return f"kubectl exited with {code}: {self._errors[-1] if self._errors else ''}"

    def _read_errors(self, errors: IO[bytes]) -> None:
        for line in errors:
            text = line.decode("utf-8", "replace").strip()
            self._errors = [*self._errors, text][-_ERROR_LINES:]
            if "watch=true" in text and "200 OK" in text:
                if self.holes:
                    self._record_vanished()
                self._ready.set()

    def _take(self, kind: str, found: Object, seen: float) -> None:
        if "uid" not in found.get("metadata", {}):  # not an object: an error of the watch itself
            return
        uid, change = found["metadata"]["uid"], self._read(kind, found, seen)
        with self._news:
            if kind == DELETED:
                self._present.pop(uid, None)
            else:
                self._present[uid] = change
            self.last[uid] = found
            self.changes.append(change)
            self._news.notify_all()

    def _record_vanished(self) -> None:
        """Record as deleted what existed before the hole and is no longer listed."""
        with self._news:
            before = dict(self._present)
        try:
            listed = subprocess.run(
                self._list, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=START_SECONDS
            )
        except subprocess.SubprocessError:  # the API server is down again: the watch will exit too, and be restarted
            return
        listed_uids = {item["metadata"]["uid"] for item in json.loads(listed.stdout)["items"]}
        with self._news:
            for uid, change in before.items():
                if uid not in listed_uids and uid in self._present:
                    del self._present[uid]
                    self.changes.append(dataclasses.replace(change, kind=DELETED, seen=time.time()))
            self._news.notify_all()
