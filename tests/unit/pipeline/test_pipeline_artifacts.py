"""Artifacts stay in their folder and are written atomically."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_runner import artifacts, pipeline
from pipeline_runner.artifacts import artifact_folder, write_artifacts
from pipeline_runner.errors import MasterCvMissingError, PipelineError
from pipeline_runner.postings import posting_from
from pipeline_runner.profile_files import DEFAULT, profile_files
from pipeline_runner.profiles import read_profile
from pipeline_runner.progress import Progress
from pipeline_runner.redaction import redact
from pipeline_runner.settings import Settings

DEFAULT_PROFILE = read_profile(profile_files()[DEFAULT])
ARTIFACTS = {"CV.md", "CV.docx", "cover_letter.txt", "dossier.txt"}
ANY_TEXT = st.text(st.characters(exclude_categories=()))  # includes surrogates, which JSON can contain
ANY_JSON = st.recursive(
    ANY_TEXT | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("title", "role", "company", "location", "url", "jobUrl", "description", "jobDescription", "requirements")
MARKDOWN = st.lists(
    st.sampled_from(["# ", "## ", "### ", "- ", "  - ", "**", "[x](", ")", "`", "---\n", "Experience", "\n\n", "\\"])
    | ANY_TEXT,
    max_size=20,
).map("".join)


def run_in(world: Path, posting: object, master_cv: str) -> list[str]:
    (world / "postings").mkdir()
    (world / "postings" / "1.json").write_text(json.dumps(posting))
    (world / "master-cv.md").write_text(master_cv, encoding="utf-8", errors="replace")
    places = Settings.from_environment(
        {
            "POSTINGS_DIR": str(world / "postings"),
            "MASTER_CV": str(world / "master-cv.md"),
            "APPLICATIONS_DIR": str(world / "applications"),
        }
    )
    lines: list[str] = []
    pipeline.run("1", DEFAULT_PROFILE, places, Progress(lines.append, of=pipeline.STEPS))
    return lines


@settings(deadline=None, max_examples=60)
@given(posting=st.dictionaries(st.sampled_from(FIELDS), ANY_JSON | ANY_TEXT), master_cv=MARKDOWN)
@example(posting={"company": "../../etc", "title": "/root/.."}, master_cv="# A")
@example(posting={"company": "..", "title": "CON\x00&#99999999999;"}, master_cv="# A\n\n## Skills\n\n- \ufffe")
@example(posting={"company": "株式会社", "description": "要件:\n- 日本語\n- Python"}, master_cv="## 経験\n\n- 日本語")
@example(posting={"company": "x" * 5000, "title": "🙂" * 5000, "description": "\ud800 \x1b[31m"}, master_cv="A\n=\n")
def test_no_posting_crashes_the_pipeline_or_escapes_the_folder(posting, master_cv):
    with tempfile.TemporaryDirectory() as name:
        world = Path(name)
        try:
            lines = run_in(world, posting, master_cv)
        except MasterCvMissingError:
            assert not (world / "applications").exists()
            return
        assert len([line for line in lines if line.startswith("::progress:: ")]) == 8
        written = {path.relative_to(world) for path in world.rglob("*") if path.is_file()}
        written -= {Path("postings/1.json"), Path("master-cv.md")}
        assert {path.name for path in written} == ARTIFACTS
        [folder] = {path.parent for path in written}
        assert folder.parts[0] == "applications"
        assert len(folder.parts) == 3


def folder_of(job_id: str = "1", **fields: str) -> str:
    return artifact_folder(Path("a"), posting_from(fields, job_id=job_id, source="test")).as_posix()


def test_unusable_names_have_a_fallback():
    assert folder_of(company="Hafen & Söhne", title="C++ / Go") == "a/hafen-sohne/c-go"
    assert folder_of(company="", title="Engineer") == "a/unknown-company/engineer"
    assert folder_of(company="🙂", title="🙂", job_id="AB 12") == "a/unknown-company/job-ab-12"
    assert folder_of(company="..", title="/", job_id="🙂").startswith("a/unknown-company/job-")
    assert folder_of(company="北京", title="x") == "a/bei-jing/x"


def test_long_name_is_truncated():
    assert all(len(part) <= artifacts.MAX_NAME_LENGTH for part in Path(folder_of(company="x" * 999)).parts)


def test_symbolic_link_out_of_the_root_is_rejected(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "applications"
    outside.mkdir()
    root.mkdir()
    (root / "company").symlink_to(outside)
    with pytest.raises(PipelineError, match="leads out of"):
        write_artifacts(root, root / "company" / "role", {"CV.md": b"x"})
    assert list(outside.iterdir()) == []


def test_link_in_place_of_an_artifact_is_replaced(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    folder = tmp_path / "applications" / "c" / "r"
    folder.mkdir(parents=True)
    (folder / "CV.md").symlink_to(victim)
    write_artifacts(tmp_path / "applications", folder, {"CV.md": b"new"})
    assert victim.read_text() == "untouched"
    assert (folder / "CV.md").read_bytes() == b"new"


def test_full_disk_leaves_earlier_artifacts_unchanged(tmp_path, monkeypatch):
    folder = tmp_path / "c" / "r"
    write_artifacts(tmp_path, folder, {"CV.md": b"old", "dossier.txt": b"old"})
    calls = iter(range(10))

    def fsync(_descriptor: int) -> None:
        if next(calls) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        write_artifacts(tmp_path, folder, {"CV.md": b"new", "dossier.txt": b"new"})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"CV.md": b"old", "dossier.txt": b"old"}


def test_artifact_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_artifacts(tmp_path, tmp_path / "c" / "r", {"CV.md": b"x"})
    finally:
        os.umask(before)
    assert (tmp_path / "c" / "r" / "CV.md").stat().st_mode & 0o777 == 0o640


def test_secrets_are_replaced_by_their_names():
    environ = {
        "A_KEY": "abcdef123",
        "B_SECRET": "short",
        "MONGODB_URI": "mongodb://user:pass%2Fword@host/db",
        "CACHE_URL": "redis://:hunter22@cache:6379",
        "HOME": "/home/user",
    }
    text = "abcdef123 short mongodb://user:pass%2Fword@host/db pass/word hunter22 /home/user"
    assert redact(text, environ) == "[A_KEY] short [MONGODB_URI] [MONGODB_URI] [CACHE_URL] /home/user"
