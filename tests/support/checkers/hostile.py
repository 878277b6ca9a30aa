"""Generated runs that write arbitrary files and output, and the checks that each must pass."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from launching.shapes import KINDS, Entry


def _valid_name(name: str) -> bool:
    return name not in (".", "..") and "/" not in name and "\0" not in name


_names = st.one_of(
    st.sampled_from(["CV.md", "CV.docx", "report.pdf", "cover_letter.txt"]),
    st.binary(min_size=1, max_size=60).map(lambda each: each.decode("latin-1")).filter(_valid_name),
)
_amounts = {"deep": 300, "many": 300, "sparse": 1024, "file": 5000}


def _entries(kind: str) -> st.SearchStrategy[Entry]:
    return st.tuples(st.just(kind), _names, st.integers(0, _amounts.get(kind, 3)))


shapes = st.lists(st.sampled_from(KINDS).flatmap(_entries), max_size=8)
_labels = st.text(max_size=30) | st.sampled_from(["\ud83d", "\udcfc", "\0", "a\rb", "\u202e", "x" * 300])
_scalars = st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), _labels, st.just(10**400))
_odd_reports = st.dictionaries(
    st.sampled_from(["step", "of", "label", "more"]), _scalars | st.lists(_scalars, max_size=3)
)
_reports = _odd_reports | st.fixed_dictionaries(
    {"step": st.integers(0, 3), "of": st.integers(2, 7), "label": _labels}, optional={"more": _scalars}
)
_lines = st.one_of(
    st.binary(max_size=120),
    st.text(max_size=60).map(lambda each: each.encode("utf-8", "surrogatepass")),
    _reports.map(lambda each: b"::progress:: " + json.dumps(each).encode()),
    st.sampled_from(
        [b"data: x\r\n\r\nevent: end", b"id: 7", b"\r", b"a\rb\rc", b"::progress:: [" + b"[" * 400, b"\xff\xfe"]
    ),
)
outputs = st.lists(_lines, max_size=12).map(b"\n".join)


def check_events(events: Iterable[tuple[str, str, str]]) -> None:
    """Check a stream of `(id, event, data)`: lines numbered from 1 without gaps, strict JSON, and one `end`."""
    kinds = list(events)
    assert kinds[-1][1] == "end", kinds[-3:]
    assert [name for _, name, _ in kinds].count("end") == 1
    numbers = [int(number) for number, name, _ in kinds if name in ("message", "progress", "gap")]
    assert numbers == list(range(1, len(numbers) + 1))
    for _, name, data in kinds:
        data.encode()
        if name != "message":
            json.loads(data, parse_constant=_refuse)
        if name == "progress":
            report = json.loads(data)
            assert report.keys() == {"step", "of", "label"}
            assert 0 <= report["step"] <= report["of"] < 2**53


def _refuse(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON")
