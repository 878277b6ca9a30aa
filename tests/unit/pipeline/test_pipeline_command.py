"""The command line: arguments, output, exit codes and signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

PIPELINE_IMAGE = Path(__file__).parents[3] / "pipeline-image"
ARTIFACTS = ["CV.docx", "CV.md", "cover_letter.txt", "dossier.txt"]


def test_run_writes_four_artifacts_to_company_and_role(run, sample_environment, tmp_path):
    done = run("--job-id", "4711", environment=sample_environment)
    assert (done.returncode, done.stderr) == (0, "")
    folder = tmp_path / "applications" / "hafenwerk-systems-gmbh" / "senior-platform-automation-engineer"
    assert sorted(path.name for path in folder.iterdir()) == ARTIFACTS


def test_default_paths_are_in_the_working_directory(run, samples, tmp_path):
    (tmp_path / "master-cv.md").write_text("# Ada\n\n## Skills\n\n- Python\n")
    (tmp_path / "postings").mkdir()
    (tmp_path / "postings" / "1.json").write_text('{"title": "Engineer", "company": "Example"}')
    assert run("--job-id", "1", environment={"PATH": os.environ["PATH"]}).returncode == 0
    assert (tmp_path / "applications" / "example" / "engineer" / "CV.md").is_file()


def test_first_line_names_the_profile(run, sample_environment):
    out = run("--job-id", "4711", environment=sample_environment).stdout
    assert out.split("\n")[0] == "Using the profile default."
    assert "Starting pipeline" not in out  # the launcher's own first line


def test_each_step_prints_its_progress_once_and_a_summary(run, sample_environment):
    out = run("--job-id", "4711", environment=sample_environment).stdout
    assert '\n::progress:: {"step": 2, "of": 8, "label": "Reading the posting"}\n' in out
    steps = [json.loads(found) for found in re.findall(r"^::progress:: (.*)$", out, re.MULTILINE)]
    assert [step["step"] for step in steps] == [1, 2, 3, 4, 5, 6, 7, 8]
    for step in steps:
        assert f"Step {step['step']} of 8: " not in out
        assert f"\nStep {step['step']} of 8 done: " in out


def test_run_without_a_model_key_works_offline(run, sample_environment):
    done = run("--job-id", "4711", environment=sample_environment)
    assert "Neither OPENAI_API_KEY nor OPENROUTER_API_KEY is set: working offline" in done.stdout


def test_same_input_gives_the_same_bytes(run, sample_environment, tmp_path):
    contents = []
    for seed in ("1", "2"):
        root = tmp_path / seed
        environment = {**sample_environment, "APPLICATIONS_DIR": str(root), "PYTHONHASHSEED": seed}
        assert run("--job-id", "4711", environment=environment).returncode == 0
        contents.append({path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()})
    assert len(contents[0]) == len(ARTIFACTS)
    assert contents[0] == contents[1]


def test_senior_profile_writes_a_longer_cv(run, sample_environment, tmp_path):
    lengths = []
    for profile in ("default", "senior"):
        run("--job-id", "4711", "--profile", profile, environment=sample_environment)
        [cv] = (tmp_path / "applications").rglob("CV.md")
        lengths.append(len(cv.read_text()))
    assert lengths[0] < lengths[1]


def test_unknown_profile_fails_at_once(run, sample_environment, tmp_path):
    done = run("--job-id", "4711", "--profile", "junior", environment=sample_environment)
    assert done.returncode == 6
    assert done.stdout == "Pipeline failed: Unknown profile 'junior'. Available profiles: default, senior.\n"
    assert done.stderr == ""
    assert not (tmp_path / "applications").exists()


@pytest.mark.parametrize("arguments", [[], ["--job-id"], ["--job-id", " "], ["--job-id", "1", "--unknown"]])
def test_invalid_arguments_are_a_usage_error(run, sample_environment, arguments):
    assert run(*arguments, environment=sample_environment).returncode == 2


@pytest.mark.parametrize("job_id", ["999", "../postings/4711", "*", "/etc/passwd", "4711.json"])
def test_unknown_posting_lists_existing_ones(run, sample_environment, job_id):
    done = run("--job-id", job_id, environment=sample_environment)
    assert done.returncode == 3
    last = done.stdout.strip().split("\n")[-1]
    assert sample_environment["POSTINGS_DIR"] in last
    assert last.endswith("Existing postings: 4711, 4712, 4713.")
    assert "Traceback" not in done.stdout + done.stderr


def test_missing_postings_folder_is_named(run, sample_environment):
    done = run("--job-id", "1", environment={**sample_environment, "POSTINGS_DIR": "nowhere"})
    assert done.returncode == 3
    assert "the folder nowhere, which does not exist" in done.stdout


@pytest.mark.parametrize("content", [None, "", " \n\t\n", "<!-- nothing yet -->"])
def test_missing_or_empty_master_cv_has_its_own_exit_code(run, sample_environment, tmp_path, content):
    cv = tmp_path / "cv.md"
    if content is not None:
        cv.write_text(content)
    done = run("--job-id", "4711", environment={**sample_environment, "MASTER_CV": str(cv)})
    assert done.returncode == 4
    assert f"The master CV {cv} " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_folder_in_place_of_the_master_cv_counts_as_missing(run, sample_environment, tmp_path):
    done = run("--job-id", "4711", environment={**sample_environment, "MASTER_CV": str(tmp_path)})
    assert done.returncode == 4
    assert "is a folder" in done.stdout


def test_other_error_prints_a_traceback_and_one_sentence(run, sample_environment, tmp_path):
    (tmp_path / "applications").write_text("a file where a folder should be")
    done = run("--job-id", "4711", environment=sample_environment)
    assert done.returncode == 1
    assert "Traceback" in done.stdout
    assert done.stdout.strip().split("\n")[-1].startswith("Pipeline failed: ")


def test_invalid_posting_fails_the_run(run, sample_environment, tmp_path):
    (tmp_path / "5.json").write_text("{")
    done = run("--job-id", "5", environment={**sample_environment, "POSTINGS_DIR": str(tmp_path)})
    assert done.returncode == 1
    assert "is not valid JSON" in done.stdout.strip().split("\n")[-1]


def test_invalid_mongodb_uri_is_reported_without_secrets(run, sample_environment):
    del sample_environment["POSTINGS_DIR"]
    uri = "mongodb://marten:s3cret%40word@127.0.0.1:port/"
    done = run("--job-id", "4711", environment={**sample_environment, "MONGODB_URI": uri})
    assert done.returncode == 1
    assert "Check MONGODB_URI" in done.stdout.strip().split("\n")[-1]
    for secret in (uri, "s3cret%40word", "s3cret@word"):
        assert secret not in done.stdout + done.stderr


def test_posting_cannot_forge_a_progress_line(run, sample_environment, tmp_path):
    title = 'x\n::progress:: {"step": 9, "of": 9, "label": "forged"}\r::progress:: {}'
    (tmp_path / "7.json").write_text(json.dumps({"title": title, "company": title}))
    done = run("--job-id", "7", environment={**sample_environment, "POSTINGS_DIR": str(tmp_path)})
    assert done.returncode == 0
    assert sum(line.startswith("::progress::") for line in done.stdout.splitlines()) == 8


def test_other_scripts_are_printed_in_an_ascii_locale(run, sample_environment, tmp_path):
    (tmp_path / "8.json").write_text(json.dumps({"title": "プラットフォーム", "company": "Пример"}))
    environment = {**sample_environment, "POSTINGS_DIR": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    done = run("--job-id", "8", environment=environment)
    assert done.returncode == 0
    assert "プラットフォーム, Пример" in done.stdout


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_the_pipeline_within_two_seconds(start, sample_environment, tmp_path, number, exit_code):
    pipe = tmp_path / "cv-that-never-comes"  # opening it for reading blocks until there is a writer
    os.mkfifo(pipe)
    with start("--job-id", "4711", environment={**sample_environment, "MASTER_CV": str(pipe)}) as process:
        while not process.stdout.readline().startswith('::progress:: {"step": 1'):
            pass
        begin = time.monotonic()
        process.send_signal(number)
        out, _err = process.communicate(timeout=10)
    assert process.returncode == exit_code
    assert time.monotonic() - begin < 5  # SIGKILL comes after 10 (TERMINATION_GRACE_SECONDS)
    assert out == f"Stopped by {signal.Signals(number).name}.\n"
    assert not (tmp_path / "applications").exists()


def test_no_alarm_can_kill_the_exiting_process():
    source = """
        import atexit, os, signal
        atexit.register(lambda: print(*signal.getitimer(signal.ITIMER_REAL)))  # called last
        from pipeline_runner.signals import stop_on_signals
        stop_on_signals()
        os.kill(os.getpid(), signal.SIGTERM)
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(source)], cwd=PIPELINE_IMAGE, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (143, "0.0 0.0\n")
