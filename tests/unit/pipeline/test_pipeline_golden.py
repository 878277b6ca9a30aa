"""The documents of the sample postings, word for word. ``make golden`` regenerates the files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from docx import Document

GOLDEN = Path(__file__).parent / "golden"
IS_RENEWED = bool(os.environ.get("RENEW_GOLDEN"))
CHINESE = {
    "jobId": 1,
    "title": "后端工程师",
    "description": "我们正在寻找熟悉 Python 和 Kubernetes 的工程师。\n要求:\n- Kubernetes\n- Python",
}
NO_COMPANY = {"jobId": 2, "title": "Platform engineer", "description": "You must know Kubernetes and Terraform."}


def check(folder: Path, golden: Path) -> None:
    texts = {path.name: path.read_text() for path in folder.iterdir() if path.suffix != ".docx"}
    document = Document(str(folder / "CV.docx"))
    texts["CV.docx.txt"] = "".join(f"{one.style.name}: {one.text}\n" for one in document.paragraphs)
    if IS_RENEWED:
        golden.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (golden / name).write_text(text)
    assert texts == {path.name: path.read_text() for path in golden.iterdir()}


@pytest.mark.parametrize(("job_id", "profile"), [("4711", "default"), ("4712", "default"), ("4713", "senior")])
def test_sample_posting_gives_the_golden_documents(run, sample_environment, tmp_path, job_id, profile):
    assert run("--job-id", job_id, "--profile", profile, environment=sample_environment).returncode == 0
    [folder] = {path.parent for path in (tmp_path / "applications").rglob("CV.md")}
    check(folder, GOLDEN / job_id)


@pytest.mark.parametrize(("name", "posting"), [("another-script", CHINESE), ("no-company", NO_COMPANY)])
def test_unusual_posting_gives_the_golden_documents(run, sample_environment, tmp_path, name, posting):
    (tmp_path / "one.json").write_text(json.dumps(posting))
    environment = {**sample_environment, "POSTINGS_DIR": str(tmp_path)}
    assert run("--job-id", str(posting["jobId"]), environment=environment).returncode == 0
    [folder] = {path.parent for path in (tmp_path / "applications").rglob("CV.md")}
    assert folder.parent.name == "unknown-company"
    check(folder, GOLDEN / name)
