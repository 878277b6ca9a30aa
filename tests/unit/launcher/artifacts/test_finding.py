"""Finding artifacts by name or pattern, whatever bytes their names have."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from launcher.artifacts import ArtifactFolder, artifact_urls
from launcher.domain.runs import Run
from launching.run_folder import AT, discovered, text_of


def test_regular_file_with_any_name_is_opened(artifacts: ArtifactFolder) -> None:
    names = ["x" * 255, "new\nline.txt", "quote\"s'.txt", "Über #1?.txt", "a\\b", "\\xfc", " ", "-", "…", "\u202e"]
    for name in names:
        (artifacts.of("r") / name).write_text(name)
        assert text_of(artifacts, name) == name.encode()
    os.link(artifacts.of("r") / " ", artifacts.of("r") / "hard link")
    assert text_of(artifacts, "hard link") == b" "
    wanted = {str(number): name for number, name in enumerate(names)}
    assert discovered(artifacts, **wanted) == wanted


def test_non_utf_8_name_is_listed_and_opened_in_escaped_form(artifacts: ArtifactFolder) -> None:
    raw = os.fsencode(artifacts.of("r"))
    Path(os.fsdecode(raw + b"/f\xfclder")).mkdir()
    for name in (b"M\xfcller.pdf", b"f\xfclder/half-\xed\xa0\xbd.txt"):
        Path(os.fsdecode(raw + b"/" + name)).write_bytes(name)
    found = discovered(artifacts, report_url="*.pdf", half_url="half-*")
    assert found == {"report_url": r"M\xfcller.pdf", "half_url": r"f\xfclder/half-\xed\xa0\xbd.txt"}
    run = Run(run_id="r", job_id="1", created_at=AT, updated_at=AT, artifacts=found)
    assert Run.from_json(run.to_json()) == run
    assert text_of(artifacts, r"M\xfcller.pdf", run) == b"M\xfcller.pdf"
    assert text_of(artifacts, r"half-\xed\xa0\xbd.txt", run) == b"f\xfclder/half-\xed\xa0\xbd.txt"
    assert artifact_urls(run)["report_url"] == "/artifacts/r/M%5Cxfcller.pdf"
    (artifacts.of("r") / r"M\xfcller.pdf").write_text("the literal name comes first")
    assert text_of(artifacts, r"M\xfcller.pdf") == b"the literal name comes first"


def test_file_whose_name_has_no_text_form_is_not_listed(artifacts: ArtifactFolder) -> None:
    Path(os.fsdecode(os.fsencode(artifacts.of("r")) + b"/\\xfc and \xfc.pdf")).touch()
    assert discovered(artifacts, report_url="*.pdf") == {}


def test_pattern_finds_the_shallowest_artifact(artifacts: ArtifactFolder) -> None:
    for name in ("deep/er/report-1.pdf", "deep/report-3.pdf", "deep/report-2.pdf", "odd[1].txt"):
        path = artifacts.of("r") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    wanted = {"report_url": "report-*.pdf", "odd_url": "odd[1].txt", "none_url": "*.docx"}
    assert discovered(artifacts, **wanted) == {"report_url": "deep/report-2.pdf", "odd_url": "odd[1].txt"}
    assert asyncio.run(artifacts.discover("never-made", wanted)) == {}
