"""Standard output: lines for people, and progress lines for the launcher."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]


class Progress:
    """Counts the steps of a run and reports each of them."""

    def __init__(self, say: Say, *, of: int) -> None:
        """Report `of` steps through `say`, which prints one line."""
        self._say = say
        self._of = of
        self._step = 0

    def say(self, line: str) -> None:
        """Print a line for people."""
        self._say(line)

    @contextmanager
    def step(self, label: str) -> Iterator[StepResult]:
        """Print a progress line at the start, and a summary at the end unless the step fails."""
        self._step += 1
        self._say(progress_line(self._step, self._of, label))
        result = StepResult()
        yield result
        self._say(f"Step {self._step} of {self._of} done: {result.summary or label}.")


class StepResult:
    """The summary of a step."""

    summary: str = ""


def progress_line(step: int, of: int, label: str) -> str:
    """Format a progress line for the launcher."""
    return "::progress:: " + json.dumps({"step": step, "of": of, "label": label}, ensure_ascii=False)
