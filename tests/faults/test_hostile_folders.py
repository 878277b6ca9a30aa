"""A run that misuses its folder: only its own files are served, and no other request is delayed."""

from __future__ import annotations

import asyncio
import http.client
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from launcher.artifacts import ArtifactFolder
from launching.launcher import Launcher

SWAPPED = "harmless\n" * 2000
HERE = "import os\nos.chdir(os.environ['APPLICATIONS_DIR'])\n"
SWAP = f"""{HERE}
import ctypes
open('CV.md', 'w').write('harmless\\n' * 2000)
%s
swap = ctypes.CDLL(None).renameat2
print('swapping', flush=True)
while True: swap(-100, b'CV.md', -100, b'other', 2)
"""
PROGRAMS = {
    "swap-link": SWAP % "os.symlink('/proc/self/environ', 'other')",
    "swap-folder-link": SWAP % "os.symlink('/etc/passwd', 'other')",
    "swap-fifo": SWAP % "os.mkfifo('other')",
    "deep-folder": f"{HERE}\nfor _ in range(1500): os.mkdir('d'); os.chdir('d')",
    "many-files": f"{HERE}\nfor number in range(20_000): open(str(number), 'w').close()",
    "latin-1-name": f"{HERE}\nopen(b'M\\xfcller.pdf', 'w').write('x')",
    "newline-name": f"{HERE}\nopen('new\\nline.txt', 'w').write('x'); open('odd\\r\\nX-Odd: 1', 'w').write('y')",
}
ARTIFACTS = {
    "latin-1-name": {"report_url": "*.pdf"},
    "newline-name": {"line_url": "new*", "odd_url": "odd*"},
}
MAX_SECONDS = 5.0  # because the machine may be busy


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    pipelines: dict[str, dict[str, Any]] = {
        name: {"command": ["python", "-c", program], "artifacts": ARTIFACTS.get(name, {"cv_md_url": "CV.md"})}
        for name, program in PROGRAMS.items()
    }
    with Launcher(tmp_path_factory.mktemp("folders"), pipelines) as running:
        yield running


@pytest.fixture
def swapping(launcher: Launcher, request: pytest.FixtureRequest) -> Iterator[str]:
    """A run that keeps swapping its artifact for something else during the test."""
    if sys.platform != "linux":
        pytest.skip("renameat2 exists only on Linux")
    run_id = launcher.run("1", pipeline=request.param)["run_id"]
    deadline = time.monotonic() + 20
    while b"swapping" not in launcher.log(run_id):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield run_id
    launcher.client.delete(f"/jobs/{run_id}")
    launcher.wait(run_id)


@pytest.mark.parametrize("swapping", ["swap-link", "swap-folder-link", "swap-fifo"], indirect=True)
def test_swapped_artifact_never_serves_another_file(launcher: Launcher, swapping: str) -> None:
    ticket = launcher.client.post(f"/jobs/{swapping}/ticket").json()["ticket"]

    def get(_: int) -> tuple[int, str]:
        answer = launcher.client.get(f"/artifacts/{swapping}/CV.md", params={"ticket": ticket})
        return answer.status_code, answer.text if answer.status_code == 200 else ""

    with ThreadPoolExecutor(4) as clients:
        answers = clients.map(get, range(600))
        others = [seconds_to_get(launcher, path) for path in ["/health", f"/jobs/{swapping}/status", "/livez"] * 5]
        found = set(answers)
    assert found == {(200, SWAPPED), (404, "")}
    assert max(others) < MAX_SECONDS


def seconds_to_get(launcher: Launcher, path: str) -> float:
    began = time.monotonic()
    launcher.client.get(path).raise_for_status()
    return time.monotonic() - began


def test_launcher_stops_while_a_run_swaps_its_artifact_for_a_fifo(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("renameat2 exists only on Linux")
    pipelines = {"swap-fifo": {"command": ["python", "-c", PROGRAMS["swap-fifo"]], "artifacts": {}}}
    with Launcher(tmp_path, pipelines) as launcher:
        run_id = launcher.run("1", pipeline="swap-fifo")["run_id"]
        statuses: set[int] = set()
        deadline = time.monotonic() + 20
        while len(statuses) < 2:  # until both have occurred
            statuses.add(launcher.client.get(f"/artifacts/{run_id}/CV.md").status_code)
            assert time.monotonic() < deadline
        began = time.monotonic()
        launcher.stop()
        assert time.monotonic() - began < 10
    assert statuses == {200, 404}


def test_deeply_nested_folders_break_neither_the_run_nor_a_restart(launcher: Launcher) -> None:
    run_id = launcher.run("1", pipeline="deep-folder")["run_id"]
    try:
        run = launcher.wait(run_id)
        assert (run["status"], run["artifacts"]) == ("completed", {})
        assert launcher.client.delete(f"/jobs/{run_id}").status_code == 200
        launcher.stop()
        launcher.start()
        assert launcher.status(run_id) == run
    finally:  # too deep for pytest to remove
        assert asyncio.run(ArtifactFolder(launcher.directory / "applications").delete(run_id))


def test_too_many_files_fail_the_run_and_its_message_names_the_limit(launcher: Launcher) -> None:
    run = launcher.wait(launcher.run("1", pipeline="many-files")["run_id"])
    assert (run["status"], run["reason"]) == ("failed", "ArtifactsTooLarge")
    assert "more than 10000 files and folders (MAX_ARTIFACT_FILES)" in run["message"]


def test_non_utf_8_name_is_served_even_after_a_restart(launcher: Launcher) -> None:
    run = launcher.wait(launcher.run("1", pipeline="latin-1-name")["run_id"])
    url = f"/artifacts/{run['run_id']}/M%5Cxfcller.pdf"
    assert (run["status"], run["artifacts"]) == ("completed", {"report_url": url})
    launcher.stop()
    launcher.start()
    assert launcher.status(run["run_id"]) == run
    answer = launcher.client.get(url)
    assert (answer.status_code, answer.text) == (200, "x")
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''M%5Cxfcller.pdf"


def test_name_with_a_line_break_is_served_and_injects_no_header(launcher: Launcher) -> None:
    run = launcher.wait(launcher.run("1", pipeline="newline-name")["run_id"])
    names = {"line_url": "new%0Aline.txt", "odd_url": "odd%0D%0AX-Odd%3A%201"}
    assert run["artifacts"] == {key: f"/artifacts/{run['run_id']}/{name}" for key, name in names.items()}
    for key, text in (("line_url", "x"), ("odd_url", "y")):
        answer = launcher.client.get(run["artifacts"][key])
        assert (answer.status_code, answer.text) == (200, text)
        assert answer.headers["content-disposition"] == f"attachment; filename*=utf-8''{names[key]}"
        assert "x-odd" not in answer.headers


def test_file_that_shrinks_during_a_download_is_incomplete_for_the_client(launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("1", pipeline="newline-name")["run_id"])["run_id"]
    path = launcher.directory / "applications" / run_id / "large"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    with closing(http.client.HTTPConnection(urlsplit(launcher.url).netloc, timeout=20)) as connection:
        connection.request("GET", f"/artifacts/{run_id}/large", headers=launcher.headers)
        answer = connection.getresponse()
        assert answer.headers["Content-Length"] == str(64 << 20)
        answer.read(1000)
        with path.open("r+b") as file:
            file.truncate(1000)
        with pytest.raises(http.client.IncompleteRead):
            answer.read()
    assert launcher.client.get(f"/artifacts/{run_id}/large").status_code == 200
