"""What the pipeline says on standard output: lines for people, and progress lines for the launcher."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]


class Progress:
    """Counts the steps of one run and announces each of them."""

    def __init__(self, say: Say, *, of: int) -> None:
        """Announce `of` steps in all, through `say`, which prints one line at once."""
        self._say = say
        self._of = of
        self._step = 0

    def say(self, line: str) -> None:
        """Print a line for people."""
        self._say(line)

    @contextmanager
    def step(self, label: str) -> Iterator[StepResult]:
        """Print the progress line and a line at the begin; at the end, a line with what the step found.

        When the step fails, there is no line at its end: the error speaks for itself.
        """
        self._step += 1
        self._say(progress_line(self._step, self._of, label))
        self._say(f"Step {self._step} of {self._of}: {label} ...")
        result = StepResult()
        yield result
        self._say(f"Step {self._step} of {self._of} done: {result.summary or label}.")


class StepResult:
    """What a step has to say at its end."""

    summary: str = ""


def progress_line(step: int, of: int, label: str) -> str:
    """Write a progress line in the form that the launcher reads."""
    return "::progress:: " + json.dumps({"step": step, "of": of, "label": label}, ensure_ascii=False)
