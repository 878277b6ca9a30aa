"""Shows a followed run to people: its log on stdout; status, progress and outcome on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from launcher.cli import output


class _Bar(Progress):
    """The progress bar, below the current frame of a line that redraws itself."""

    unfinished = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """See `Progress`."""
        if self.unfinished:
            yield Text.from_ansi(output.harmless(self.unfinished), no_wrap=True, overflow="ellipsis")
        yield from super().get_renderables()


class TextDisplay:
    """Log lines, and the progress: as a bar if stderr is a terminal, else as one line per step."""

    def __init__(self) -> None:
        self._both = sys.stdout.isatty() and sys.stderr.isatty()
        console = Console(stderr=not self._both, soft_wrap=True, highlight=False)
        self._bar: _Bar | None = None
        if sys.stderr.isatty():
            self._bar = _Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                console=console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._bar.add_task("", total=None)
        self._status = ""

    def show(self, name: str, number: int, data: str) -> None:
        """See `Display`."""
        if name != "status":
            self._redraw(json.loads(data)["text"] if name == "partial" else "")
        if name == "partial":
            return
        if name == "message":
            if self._bar and self._both:  # the bar must make room for a line on the same terminal
                self._bar.console.print(Text.from_ansi(output.harmless(data)), soft_wrap=True)
            else:
                output.line(data)
            return
        document = json.loads(data)
        match name:
            case "status":
                self._status_changed(output.run_lines(document)[0])
            case "progress":
                self._progress(document)
            case "gap":
                self.note(f"[lines {document['from']} to {document['to']} are missing: {document['why']}]")
            case "end":
                self.pause()
                status, *rest = output.run_lines(document)
                for text in rest if status == self._status and not self._bar else (status, *rest):
                    output.note(text)

    def _redraw(self, text: str) -> None:
        if not (self._bar and self._both):  # a pipe gets finished lines only
            return
        before, self._bar.unfinished = self._bar.unfinished, text
        if before and not text:  # otherwise the old frame is drawn again below the finished line
            self._bar.refresh()

    def _progress(self, report: dict[str, object]) -> None:
        step, of, label = (report.get(name) for name in ("step", "of", "label"))
        if self._bar and isinstance(step, int) and isinstance(of, int):
            self._bar.start()
            self._bar.update(self._task, total=of, completed=max(step - 1, 0), description=output.plain(label))
        else:
            output.note(f"[{step}/{of}] {label}")

    def _status_changed(self, status: str) -> None:
        if status == self._status:
            return
        self._status = status
        if self._bar:
            self._bar.start()
            self._bar.update(self._task, description=output.plain(status))
        else:
            output.note(status)

    def note(self, text: str) -> None:
        """Print a message beside the log."""
        if self._bar:
            self._bar.console.print(output.plain(text), markup=False)
        else:
            output.note(text)

    def pause(self) -> None:
        """See `Display`."""
        if self._bar:
            self._bar.stop()
