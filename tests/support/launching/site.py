"""Launcher and front end as one site, with their own postings."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from launching.frontend import Frontend
from launching.launcher import Launcher
from launching.service_process import ROOT

SAMPLES = ROOT / "pipeline-image/samples/postings"


class Site:
    """A launcher with a front end.

    `public`: browsers call the launcher directly. `postings` are the jobIds of further postings, with the samples'
    texts. `environment` is for the launcher.
    """

    def __init__(
        self,
        directory: Path,
        pipelines: dict[str, dict[str, Any]] | None = None,
        *,
        public: bool = False,
        postings: list[str] | None = None,
        secret: str | None = None,
        **environment: str | None,
    ) -> None:
        folder = directory / "postings"
        folder.mkdir(parents=True)
        texts = [path.read_text() for path in sorted(SAMPLES.glob("*.json"))]
        for number, text in enumerate(texts):
            (folder / f"{json.loads(text)['jobId']}.json").write_text(text)
            for place, job_id in enumerate(postings or []):
                if place % len(texts) == number:
                    (folder / f"more-{place}.json").write_text(json.dumps({**json.loads(text), "jobId": job_id}))
        with socket.create_server(
            ("127.0.0.1", 0)
        ) as free:  # the launcher needs the front end's origin before that starts
            port = free.getsockname()[1]
        self.launcher = Launcher(
            directory / "launcher",
            pipelines,
            POSTINGS_DIR=str(folder),
            CORS_ORIGINS=f"http://127.0.0.1:{port}" if public else None,
            **environment,
        )
        self._public, self._secret, self._settings = (
            public,
            secret,
            {"POSTINGS_DIR": str(folder), "FRONTEND_PORT": str(port)},
        )
        self._directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.launcher)
        settings: dict[str, str | None] = {**self._settings}
        if self._public:
            settings["RUNNER_PUBLIC_URL"] = self.launcher.url
        self.frontend = Frontend(
            self._directory / "frontend", self.launcher.url, self._secret or self.launcher.secret, **settings
        )
        self._stack.enter_context(self.frontend)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
