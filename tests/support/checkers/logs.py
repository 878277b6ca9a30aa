"""The log checker: every line of the printer is kept once, in order and unchanged, and all copies are equal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from checkers.copies import stream_faults, tail_faults
from checkers.findings import Finding, spans
from checkers.log_history import FIRST_LINE, ArchivedLine, LogFault, LogHistory, archived
from checkers.printer import STDERR, STDOUT, end_line, line, stream_of


def check(history: LogHistory) -> list[Finding]:
    """Return everything that is wrong with the log."""
    lines = archived(history.text)
    findings: list[Finding] = []
    body = lines
    if lines and FIRST_LINE in lines[0].data and lines[0].gap is None:
        body = lines[1:]
    else:
        findings.append(history.finding(LogFault.NO_FIRST_LINE, repr(lines[0].data[:100]) if lines else "no line"))
    findings += _Body(history, body).faults()
    missing = any(finding.kind is LogFault.LOST for finding in findings)
    findings += _receipt_faults(history, lines, missing)
    findings += tail_faults(history, lines)
    for viewer, events in enumerate(history.streams, 1):
        findings += stream_faults(history, lines, viewer, events)
    return findings


@dataclass
class _Walk:
    """Goes through one of the printer's streams from its first line; lines are identified by their index in it."""

    present: set[int] = field(default_factory=set)
    top: int = -1
    gaps: list[int] = field(default_factory=list)  # numbers of the markers since the last line in order
    seen: set[int] = field(default_factory=set)
    lost: list[int] = field(default_factory=list)
    duplicated: list[int] = field(default_factory=list)
    disordered: list[int] = field(default_factory=list)
    justified: set[int] = field(default_factory=set)  # markers that replace missing lines

    def line(self, place: int, gaps_allowed: bool) -> None:
        if place in self.seen:
            self.duplicated.append(place)
            return
        self.seen.add(place)
        if place < self.top:
            self.disordered.append(place)
            return
        if missing := [other for other in range(self.top + 1, place) if other not in self.present]:
            if gaps_allowed and self.gaps:
                self.justified.update(self.gaps)
            else:
                self.lost += missing
        self.top, self.gaps = place, []


class _Body:
    """The log after its first line."""

    def __init__(self, history: LogHistory, lines: Sequence[ArchivedLine]) -> None:
        self._history, self._lines = history, lines
        self._files = (STDOUT, STDERR) if history.alternating else (STDOUT,)
        self._end = re.compile(rb"%b END (\d+)" % re.escape(history.run_id.encode()))
        ends = [int(found[1]) for one in lines if (found := self._end.fullmatch(one.data))]
        self._count = history.expected if history.expected is not None else ends[0] if ends else None

    def faults(self) -> Iterator[Finding]:
        walks = {file: _Walk() for file in self._files}
        yield from self._take(walks)
        if self._history.text and not self._history.text.endswith(b"\n"):
            yield self._history.finding(LogFault.ALTERED, "the last line has no newline")
        for file, walk in walks.items():
            if self._count is None:
                walk.justified.update(walk.gaps)  # what the printer would have printed is unknown
            else:
                walk.line(self._lines_in(file, self._count) + (file == STDOUT), self._history.gaps_allowed)
            yield from self._walk_faults(file, walk)
        yield from self._gap_faults(walks)

    def _take(self, walks: dict[int, _Walk]) -> Iterator[Finding]:
        """Pass each line to the walk of its stream."""
        found = [(one, self._place(one.data)) for one in self._joined()]
        for _, place in found:
            if place:
                walks[place[0]].present.add(place[1])
        for one, place in found:
            if place:
                walks[place[0]].line(place[1], self._history.gaps_allowed)
            elif one.gap is not None:
                for walk in walks.values():
                    walk.gaps.append(one.number)
            elif not (self._count is None and one is found[-1][0] and self._torn(one.data, walks)):
                yield self._history.finding(LogFault.ALTERED, f"number {one.number}: {one.data[:100]!r}")

    def _gap_faults(self, walks: dict[int, _Walk]) -> Iterator[Finding]:
        for one in self._lines:
            if one.gap is not None and not self._history.gaps_allowed:
                yield self._history.finding(LogFault.GAP, f"number {one.number}: {one.gap}")
            elif one.gap is not None and not any(one.number in walk.justified for walk in walks.values()):
                yield self._history.finding(LogFault.UNNEEDED_GAP, f"number {one.number}: {one.gap}")

    def _walk_faults(self, file: int, walk: _Walk) -> Iterator[Finding]:
        kinds = {LogFault.LOST: walk.lost, LogFault.DUPLICATED: walk.duplicated, LogFault.OUT_OF_ORDER: walk.disordered}
        end = None if self._count is None or file != STDOUT else self._lines_in(file, self._count)
        for kind, places in kinds.items():
            if end in places:
                yield self._history.finding(kind, "END")
            for first, last in spans(place for place in places if place != end):
                yield self._history.finding(kind, f"{self._seq(file, first)} to {self._seq(file, last)}")

    def _joined(self) -> Iterator[ArchivedLine]:
        """Join the parts of long lines, to compare what was printed."""
        parts = b""
        for one in self._lines:
            parts += one.data
            if not one.part:
                yield ArchivedLine(one.number, parts)
                parts = b""

    def _place(self, data: bytes) -> tuple[int, int] | None:
        """Return a line's stream and its index in it, from 0; None if the printer did not print this line."""
        run_id = self._history.run_id
        if self._count is not None and data == end_line(run_id, self._count):
            return STDOUT, self._lines_in(STDOUT, self._count)
        words = data.split(b" ", 2)
        if len(words) < 3 or not words[1].isdigit() or len(words[1]) > 12:
            return None
        seq = int(words[1])
        if seq < 1 or (self._count is not None and seq > self._count) or data != line(run_id, seq, self._history.width):
            return None
        file = stream_of(seq, self._history.alternating)
        return file, (seq - 1) // len(self._files)

    def _lines_in(self, file: int, count: int) -> int:
        return count if len(self._files) == 1 else (count + (file == STDOUT)) // 2

    def _seq(self, file: int, place: int) -> int:
        return place + 1 if len(self._files) == 1 else 2 * place + (1 if file == STDOUT else 2)

    def _torn(self, data: bytes, walks: dict[int, _Walk]) -> bool:
        """Whether it is the beginning of a line that could come next."""
        run_id, width = self._history.run_id, self._history.width
        following = [line(run_id, self._seq(file, walk.top + 1), width) for file, walk in walks.items()]
        return any(whole.startswith(data) for whole in [*following, f"{run_id} END ".encode()])


def _receipt_faults(history: LogHistory, lines: Sequence[ArchivedLine], missing: bool) -> Iterator[Finding]:
    receipt = history.receipt
    if receipt["lines"] != len(lines):
        yield history.finding(LogFault.RECEIPT_LINES, f"{receipt['lines']}, but the log has {len(lines)}")
    if receipt["bytes"] != len(history.text):
        yield history.finding(LogFault.RECEIPT_BYTES, f"{receipt['bytes']}, but the log has {len(history.text)}")
    markers = [(one.number, one.gap) for one in lines if one.gap is not None]
    missing = missing or bool(markers)
    if receipt["complete"] and missing:
        yield history.finding(LogFault.RECEIPT_COMPLETE, f"{len(markers)} gaps")
    if not receipt["complete"] and not missing:
        yield history.finding(LogFault.RECEIPT_INCOMPLETE, "no line is missing")
    gaps = receipt["gaps"]
    same = len(gaps) == len(markers) and all(
        gap["from"] <= number <= gap["to"] and gap["why"] == why
        for gap, (number, why) in zip(gaps, markers, strict=True)
    )
    if not same:
        yield history.finding(LogFault.RECEIPT_GAPS, f"{gaps}, but the markers are {markers}")
