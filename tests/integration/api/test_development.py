"""Development without a secret: local programs are allowed, web pages of other origins are not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from launching.launcher import Launcher

from .conftest import make_launcher

PROBLEM = "application/problem+json"
RUN = {"job_id": "dev", "pipeline": "hello"}


@pytest.fixture(scope="module")
def open_launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    directory = tmp_path_factory.mktemp("development")
    settings = {"SLIPWAY_ENV": "development", "CORS_ORIGINS": "https://app.example.com"}
    with make_launcher(directory, RUNNER_API_SECRET=None, **settings) as running:
        yield running


def port(launcher: Launcher) -> str:
    return launcher.environment["PORT"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
def test_loopback_names_are_accepted_on_any_port(open_launcher: Launcher, host: str) -> None:
    for name in (host, f"{host}:{port(open_launcher)}", f"{host}:80"):
        assert open_launcher.client.get("/jobs", headers={"Host": name}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example",
        "localhost.rebound.example",
        "127.0.0.1.rebound.example",
        "rebound.example:8000",
        "localhost:8000.rebound.example",
        "192.168.0.1",
        "0.0.0.0",
        "[::]",
        "::1",
        "",
        "localhost:",
        "localhost@x",
    ],
)
def test_other_host_names_are_refused(open_launcher: Launcher, host: str) -> None:
    for method, path in (("GET", "/jobs"), ("GET", "/health"), ("POST", "/jobs/run"), ("HEAD", "/jobs")):
        answer = open_launcher.client.request(method, path, headers={"Host": host})
        assert (answer.status_code, answer.headers["content-type"]) == (421, PROBLEM)
    assert "RUNNER_API_SECRET" in open_launcher.client.get("/jobs", headers={"Host": host}).json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://app.example.com.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"},
    ],
    ids=str,
)
def test_page_of_another_origin_cannot_change_anything(open_launcher: Launcher, headers: dict[str, str]) -> None:
    before = open_launcher.client.get("/jobs").json()["total"]
    for path in ("/jobs/run", "/queue/pause"):
        answer = open_launcher.client.post(path, json=RUN, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (403, PROBLEM)
    assert open_launcher.client.delete("/jobs/x", headers=headers).status_code == 403
    assert open_launcher.client.get("/jobs").json()["total"] == before
    assert not open_launcher.client.get("/health").json()["paused"]


def test_programs_the_launchers_own_pages_and_configured_origins_are_allowed(open_launcher: Launcher) -> None:
    own = f"http://127.0.0.1:{port(open_launcher)}"
    for headers in (
        {},
        {"Sec-Fetch-Site": "none"},
        {"Origin": own, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site"},
    ):
        assert open_launcher.client.post("/jobs/run", json=RUN, headers=headers).status_code == 200


def test_form_or_plain_text_launches_no_run(open_launcher: Launcher) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        body = b'{"job_id": "form", "pipeline": "hello"}'
        answer = open_launcher.client.post("/jobs/run", content=body, headers={"Content-Type": media_type})
        assert answer.status_code == 422


def test_with_a_secret_any_host_name_is_accepted(launcher: Launcher) -> None:
    headers = {"Host": "runner.example.com", "Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site"}
    assert launcher.client.post("/jobs/run", json=RUN, headers=headers).status_code == 200
