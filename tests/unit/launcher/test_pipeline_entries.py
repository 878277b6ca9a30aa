"""Pipelines from a file: read completely, or refused with the error and its location."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.domain.errors import ConfigurationError
from launcher.domain.outcomes import failure, outcome_of_process
from launcher.domain.pipelines import DEFAULT_ARTIFACTS, DEFAULT_EXIT_CODES
from launcher.domain.reasons import Reason
from launcher.domain.runs import RunStatus
from launcher.pipeline_entries import read_pipelines
from launcher.settings import Settings
from pipeline_runner.errors import MasterCvMissingError, ModelRefusedError, PostingNotFoundError, ProfileNotUsableError

ENTRY = """
report:
  image: registry.example.com/report:1
  command: [make, report, "{job_id}"]
  resources: {requests: {cpu: 250m, memory: 64Mi}, limits: {memory: 1Gi, cpu: 2}}
  timeout_seconds: 9
  artifacts: {report_url: "report-*.pdf"}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pipelines.yaml"


def test_entry_defines_a_pipeline(file: Path) -> None:
    file.write_text(ENTRY)
    report = read_pipelines(file)["report"]
    assert (report.name, report.image, report.timeout_seconds) == ("report", "registry.example.com/report:1", 9)
    assert report.command_for("4711", None) == ["make", "report", "4711"]
    assert report.resources["limits"] == {"memory": "1Gi", "cpu": 2}
    assert report.artifacts == {"report_url": "report-*.pdf"}


def test_default_pipeline_exists_and_can_be_replaced(file: Path) -> None:
    def read(text: str) -> Settings:
        file.write_text(text)
        return Settings.from_environment({"SLIPWAY_ENV": "development", "PIPELINES_FILE": str(file)})

    assert {name: pipe.artifacts for name, pipe in read("a: {command: [x], artifacts: {}}").pipelines.items()} == {
        "default": DEFAULT_ARTIFACTS,
        "a": {},
    }
    assert read("default: {command: [x]}").pipelines["default"].command == ["x"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[", "cannot be read"),
        ("[" * 5000, "nested too deep"),
        ("#" * (2 << 20), "too large"),
        ("a: {command: ['']}", "the first word must be a program"),
        ("a: {command: ['{profile}']}", "the first word must be a program"),
        ('a: {command: [x, "a\\0b"]}', "a.command"),
        ('a: {command: [x, "\\ud83d"]}', "a.command"),
        ("- a", "must map each pipeline's name"),
        ("text", "must map each pipeline's name"),
        ("a: text", "a: "),
        ("A_b: {command: [x]}", "'A_b' is not a valid name"),
        ("1: {command: [x]}", "1 is not a valid name"),
        ("a: {command: []}", "a.command"),
        ("a: {command: [x], typo: 1}", "a.typo"),
        ("a: {command: [x], timeout_seconds: 0}", "a.timeout_seconds"),
        ("a: {command: [x], image: 'two words'}", "a.image"),
        ("a: {command: [x], artifacts: {k: ../x}}", "a.artifacts.k"),
        ("a: {command: [x], resources: {limit: {cpu: 1}}}", "only requests and limits"),
        ("a: {command: [x], resources: {limits: {memory: 1 GB}}}", "limits.memory: '1 GB' is not a valid quantity"),
        ("a: {command: [x], exit_codes: {0: {reason: Well, message: m}}}", "a.exit_codes.0"),
        ("a: {command: [x], exit_codes: {300: {reason: Far, message: m}}}", "a.exit_codes.300"),
        ("a: {command: [x], exit_codes: {3: {reason: no reason, message: m}}}", "a.exit_codes.3.reason"),
        ("a: {command: [x], exit_codes: {3: {reason: Evicted, message: m}}}", "Evicted is one of Slipway's reasons"),
        ("a: {command: [x], exit_codes: {3: NotFound}}", "a.exit_codes.3"),
    ],
)
def test_invalid_file_is_refused_with_the_location_of_the_error(file: Path, text: str, error: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"pipelines\.yaml") as refused:
        read_pipelines(file)
    assert error in refused.value.message


@pytest.mark.parametrize(
    "field", ["securityContext: {privileged: true}", "user: root", "runAsUser: 0", "hostNetwork: true", "volumes: []"]
)
def test_entry_that_sets_pod_fields_is_refused_with_advice(file: Path, field: str) -> None:
    file.write_text(f"a: {{command: [x], {field}}}")
    with pytest.raises(ConfigurationError, match="restricted and runs as user 10001") as refused:
        read_pipelines(file)
    assert field.split(":")[0] in refused.value.message


def test_file_that_could_block_is_refused(file: Path) -> None:
    os.mkfifo(file)
    for path in (file, Path("/dev/zero")):
        with pytest.raises(ConfigurationError, match="not a regular file"):
            read_pipelines(path)


def test_all_invalid_entries_are_reported_at_once(file: Path) -> None:
    file.write_text("a: {command: []}\nb: {command: [x], user: me}")
    with pytest.raises(ConfigurationError) as refused:
        read_pipelines(file)
    assert "a.command" in refused.value.message
    assert "b: user" in refused.value.message


def test_exit_code_has_the_meaning_of_its_entry_unless_the_run_was_stopped(file: Path) -> None:
    file.write_text("a: {command: [x], exit_codes: {3: {reason: NothingFound, message: There is nothing.}}}")
    explained = read_pipelines(file)["a"].explained
    outcome = explained(failure(Reason.PIPELINE_ERROR, exit_code=3))
    assert (outcome.status, outcome.reason, outcome.message, outcome.exit_code) == (
        RunStatus.FAILED,
        "NothingFound",
        "There is nothing.",
        3,
    )
    for other in (
        failure(Reason.PIPELINE_ERROR, exit_code=4),
        failure(Reason.TIMED_OUT, exit_code=3, limit=9),
        failure(Reason.CANNOT_START),
        outcome_of_process(0, stop_reason=None, timeout=9),
    ):
        assert explained(other) == other


def test_default_pipelines_exit_codes_match_its_program() -> None:
    faults = [PostingNotFoundError, MasterCvMissingError, ModelRefusedError, ProfileNotUsableError]
    assert {fault.exit_code for fault in faults} == set(DEFAULT_EXIT_CODES)
    assert 2 not in DEFAULT_EXIT_CODES  # Python's own, if PIPELINE_DIR has no scripts/run_pipeline.py
    assert DEFAULT_EXIT_CODES[PostingNotFoundError.exit_code].reason == "PostingNotFound"
