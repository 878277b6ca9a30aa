"""Streams: one event per line whatever it contains, numbers without gaps, and an end for every viewer."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from launcher.api.auth import Authenticator, Scope
from launcher.domain.queue_places import PAUSED, waiting_for_slot
from launching.launcher import Launcher

from .conftest import make_launcher, release, until

CLOSE_SECONDS = 2.0
PING_SECONDS = 15.0


def wire(launcher: Launcher, run_id: str, **headers: str) -> bytes:
    """Return the raw bytes of a stream."""
    return launcher.client.get(f"/jobs/{run_id}/logs", headers=headers).raise_for_status().content


def fields_of(event: bytes) -> dict[str, str]:
    """Parse an event like a browser, which splits lines only at CR, LF and CRLF. Each field must be unique."""
    fields: dict[str, str] = {}
    for line in re.split(r"\r\n|\r|\n", event.decode()):
        name, _, value = line.partition(":")
        assert name in ("id", "event", "data", "retry"), line
        assert name not in fields, "a line of the log created a field"
        fields[name] = value.removeprefix(" ")
    return fields


def events_of(stream: bytes) -> list[dict[str, str]]:
    assert stream.endswith(b"\n\n")
    return [fields_of(event) for event in stream.split(b"\n\n")[:-1]]


def messages(events: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(event["id"], event["data"]) for event in events if "event" not in event]


def test_hostile_lines_are_one_event_each(launcher: Launcher) -> None:
    run = launcher.wait(launcher.run("1", pipeline="hostile")["run_id"])
    assert run["status"] == "completed"
    events = events_of(wire(launcher, run["run_id"]))
    lines = [data for _, data in messages(events)]
    assert [number for number, _ in messages(events)] == [str(n) for n in range(1, run["log"]["lines"] + 1)]
    assert [event["event"] for event in events if "event" in event][-1] == "end"
    assert sum(event.get("event") == "end" for event in events) == 1
    assert json.loads(events[-1]["data"])["status"] == "completed"
    assert lines == [
        "Starting pipeline hostile for job 1",
        "data: forged",
        "id: 999",
        "event: end",
        "data: {}",
        "",
        ": comment",
        "retry: 1",
        "\x1b[2J\x1b[31mred\x1b[0m",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "nul \0 here",
        "�� �",
        " ",
        "  indented\ttab ",
        "\u2028separator\x85\x0b\x0c",
        "\ufeffbom",
        '{"status": "failed"}',
        "::progress:: nonsense",
        '::progress:: {"step": 9, "of": 2, "label": "x"}',
        "[slipway] forged",
        "last, without a newline",
    ]


def test_stream_resumes_from_any_line(launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("1", pipeline="hostile")["run_id"])["run_id"]
    whole = messages(events_of(wire(launcher, run_id)))
    for after in range(len(whole) + 1):
        resumed = events_of(wire(launcher, run_id, **{"Last-Event-ID": str(after)}))
        assert messages(resumed) == whole[after:]
        assert resumed[-1]["event"] == "end"
        received = launcher.client.get(f"/jobs/{run_id}/logs", params={"after": after}).content
        assert messages(events_of(received)) == whole[after:]


def test_reconnecting_browser_resumes_from_its_last_event_id(launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("1", pipeline="hostile")["run_id"])["run_id"]
    answer = launcher.client.get(f"/jobs/{run_id}/logs", params={"after": 3}, headers={"Last-Event-ID": "20"})
    assert [number for number, _ in messages(events_of(answer.content))] == ["21", "22"]


@pytest.mark.parametrize("value", ["-1", "1.5", "abc", "9" * 400, "١", "0x1", "1 2"])
def test_invalid_last_event_id_shows_the_whole_log(launcher: Launcher, value: str) -> None:
    run_id = launcher.wait(launcher.run("1", pipeline="hello")["run_id"])["run_id"]
    answer = launcher.client.get(f"/jobs/{run_id}/logs", headers={b"Last-Event-ID": value.encode()})
    assert [number for number, _ in messages(events_of(answer.content))] == ["1", "2"]


def test_end_event_contains_the_run_as_status_shows_it(launcher: Launcher) -> None:
    run_id = launcher.run("1", pipeline="hello")["run_id"]
    events = launcher.events(run_id)
    assert (events[-1][1], json.loads(events[-1][2])) == ("end", launcher.status(run_id))
    assert {number for number, name, _ in events if name in ("status", "end")} <= {"", "1", "2"}


def test_stream_headers_disable_caching_and_buffering(launcher: Launcher) -> None:
    run_id = launcher.run("1", pipeline="held")["run_id"]
    url = f"{launcher.url}/jobs/{run_id}/logs"
    with httpx.stream("GET", url, headers={**launcher.headers, "Accept-Encoding": "gzip"}, trust_env=False) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "no-store" in answer.headers["cache-control"]
        assert answer.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in answer.headers
        assert "content-length" not in answer.headers
        lines = answer.iter_lines()
        assert "data: line 2" in lines  # arrives while the run is active
        assert launcher.status(run_id)["status"] == "running"
    release(launcher, "1")


def statuses(launcher: Launcher, run_id: str) -> Iterator[dict[str, Any]]:
    """Yield the run of each status event, then of the end."""
    with launcher.client.stream("GET", f"/jobs/{run_id}/logs") as answer:
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: ") and name in ("status", "end"):
                yield json.loads(line.removeprefix("data: "))
            if not line:
                name = ""


def test_queued_run_streams_its_place_and_reason(narrow: Launcher) -> None:
    running = narrow.run("s0", pipeline="held")["run_id"]
    until(lambda: narrow.status(running)["status"] == "running")
    ahead = narrow.run("s1", pipeline="hello")["run_id"]
    mine = narrow.run("s2", pipeline="hello")["run_id"]
    seen = statuses(narrow, mine)
    run = next(seen)
    assert (run["status"], run["queue"]["position"]) == ("queued", 2)
    assert run["queue"]["why"] == waiting_for_slot(1)
    narrow.client.delete(f"/jobs/{ahead}")
    while run["queue"]["position"] == 2:
        run = next(seen)
    assert run["queue"]["position"] == 1
    narrow.client.post("/queue/pause")
    while run["queue"]["why"] == waiting_for_slot(0):
        run = next(seen)
    assert run["queue"] == {"position": 1, "eta_seconds": None, "why": PAUSED}
    narrow.client.post("/queue/resume")
    release(narrow, "s0")
    assert [run["status"] for run in seen][-1] == "completed"


def viewers(launcher: Launcher) -> float:
    """Return how many streams are open."""
    found = re.search(r"^slipway_stream_viewers (\S+)$", launcher.client.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def test_viewers_at_different_lines_see_the_same_growing_log(narrow: Launcher) -> None:
    run_id = narrow.run("v1", pipeline="held")["run_id"]
    until(lambda: b"line 2" in narrow.log(run_id) and viewers(narrow) == 0)
    seen: dict[int, list[str]] = {}

    def follow(after: int) -> None:
        url = f"{narrow.url}/jobs/{run_id}/logs?after={after}"
        answer = httpx.get(url, headers=narrow.headers, trust_env=False, timeout=30)
        seen[after] = [data for _, data in messages(events_of(answer.content))]

    threads = [threading.Thread(target=follow, args=[after]) for after in (2, 0, 1, 3, 10**15)]
    for count, thread in enumerate(threads, 1):  # the first viewer is not the one that is furthest behind
        thread.start()
        until(lambda count=count: viewers(narrow) == count)  # type: ignore[misc]
    release(narrow, "v1")
    for thread in threads:
        thread.join()
    whole = ["Starting pipeline held for job v1", "line 2", "line 3"]
    assert seen == {0: whole, 1: whole[1:], 2: whole[2:], 3: whole[2:], 10**15: whole[2:]}


def test_disconnected_viewers_free_their_streams(narrow: Launcher) -> None:
    run_id = narrow.run("g1", pipeline="held")["run_id"]
    until(lambda: viewers(narrow) == 0)
    for _ in range(5):
        with narrow.client.stream("GET", f"/jobs/{run_id}/logs") as answer:
            assert next(answer.iter_lines()).startswith("retry: ")
    until(lambda: viewers(narrow) == 0)


def test_comments_keep_a_quiet_stream_open(narrow: Launcher) -> None:
    narrow.client.post("/queue/pause")
    run_id = narrow.run("i1", pipeline="hello")["run_id"]
    began = time.monotonic()
    with narrow.client.stream("GET", f"/jobs/{run_id}/logs") as answer:
        comment = next(line for line in answer.iter_lines() if line.startswith(":"))
    assert comment
    assert time.monotonic() - began < PING_SECONDS + 3


def test_stream_resumes_after_stop_and_crash_with_every_line_once(tmp_path: Path) -> None:
    with make_launcher(tmp_path, MAX_CONCURRENCY="1") as launcher:
        launcher.client.post("/queue/pause")
        run_id = launcher.run("1", pipeline="held")["run_id"]
        seen: list[str] = []

        def follow(until_line: str | None = None) -> float:
            """Resume after the last line seen, until the stream closes or a line arrives; return the time."""
            headers = {"Last-Event-ID": seen[-1]} if seen else {}
            try:
                with launcher.client.stream("GET", f"/jobs/{run_id}/logs", headers=headers) as answer:
                    assert answer.status_code == 200
                    opened.set()
                    for line in answer.iter_lines():
                        if line.startswith("id: "):
                            seen.append(line.removeprefix("id: "))
                        if line == until_line:
                            opened.clear()
                            return time.monotonic()
            except httpx.RemoteProtocolError:  # a crash cuts it off
                pass
            opened.clear()
            return time.monotonic()

        opened = threading.Event()
        closed: list[float] = []
        viewer = threading.Thread(target=lambda: closed.append(follow()))
        viewer.start()
        assert opened.wait(10)
        stopped_at = time.monotonic()
        launcher.stop()
        viewer.join(10)
        assert closed[0] - stopped_at < CLOSE_SECONDS
        launcher.start()
        assert launcher.client.get("/health").json()["paused"]
        launcher.client.post("/queue/resume")
        follow("data: line 2")
        launcher.kill()
        launcher.start()
        release(launcher, "1")
        follow()
        run = launcher.status(run_id)
        assert (run["status"], run["reason"]) == ("failed", "LauncherLost")
        assert seen == [str(n) for n in range(1, run["log"]["lines"] + 1)]
        assert all(int(b) == int(a) + 1 for a, b in pairwise(seen))


def test_ticket_can_be_reused_until_it_expires(
    launcher: Launcher,
) -> None:
    run_id = launcher.wait(launcher.run("1", pipeline="hello")["run_id"])["run_id"]
    bare = {"Authorization": ""}
    url = launcher.client.post(f"/jobs/{run_id}/ticket").json()["logs_url"]
    assert launcher.secret not in url
    for _ in range(2):
        assert events_of(launcher.client.get(url, headers=bare).content)[-1]["event"] == "end"
    resumed = launcher.client.get(url, headers={**bare, "Last-Event-ID": "1"}).content
    assert [data for _, data in messages(events_of(resumed))] == ["hello"]
    authenticator = Authenticator([launcher.secret])
    expired = authenticator.token("someone", [Scope.READ], seconds=-60, run_id=run_id)
    powerless = authenticator.token("someone", [], seconds=60, run_id=run_id)
    general = authenticator.token("someone", [Scope.ADMIN], seconds=60)
    path = f"/jobs/{run_id}/logs"
    assert launcher.client.get(path, params={"ticket": expired}, headers=bare).status_code == 401
    assert launcher.client.get(path, params={"ticket": powerless}, headers=bare).status_code == 403
    for no_ticket in (
        general,
        launcher.secret,
        "",
        "x.y.z",
    ):  # a credential that grants more than a stream must not be in a URL
        assert launcher.client.get(path, params={"ticket": no_ticket}, headers=bare).status_code == 401
    for method, other in (
        ("POST", f"/jobs/{run_id}/ticket"),
        ("DELETE", f"/jobs/{run_id}"),
        ("GET", f"/jobs/{run_id}/request"),
        ("POST", "/queue/pause"),
    ):
        ticket = authenticator.ticket(run_id, "someone")
        bearer = {"Authorization": f"Bearer {ticket}"}
        assert launcher.client.request(method, other, headers=bearer).status_code == 403
        assert launcher.client.request(method, other, params={"ticket": ticket}, headers=bare).status_code == 401


def test_ticket_grants_only_its_runs_log_and_artifacts(launcher: Launcher) -> None:
    mine, other = (launcher.wait(launcher.run(job_id)["run_id"])["run_id"] for job_id in ("4711", "4712"))
    bare = {"Authorization": ""}
    authenticator = Authenticator([launcher.secret])
    ticket = launcher.client.post(f"/jobs/{mine}/ticket").json()["ticket"]

    def opened(path: str, credential: str) -> int:
        return launcher.client.get(path, params={"ticket": credential}, headers=bare).status_code

    for path in ("/jobs/{}/log", "/artifacts/{}/CV.md"):
        assert opened(path.format(mine), ticket) == 200
        for credential in (
            authenticator.ticket(other, "someone"),
            authenticator.token("someone", [Scope.READ], seconds=-60, run_id=mine),
            authenticator.token("someone", [Scope.ADMIN], seconds=60),
            Authenticator([launcher.secret[::-1]]).ticket(mine, "someone"),
            ticket[:-2],
            launcher.secret,
            "",
        ):
            assert opened(path.format(mine), credential) == 401
        assert opened(path.format(mine), authenticator.token("someone", [], seconds=60, run_id=mine)) == 403
        assert opened(path.format(other), ticket) == 401
    for outside in (f"{other}/CV.md", f"{mine}/../{other}/CV.md", f"{mine}/%2e%2e/{other}/CV.md"):
        assert opened(f"/artifacts/{outside}", ticket) in (401, 403, 404)
    part = launcher.client.get(
        f"/artifacts/{mine}/CV.md", params={"ticket": ticket}, headers={**bare, "Range": "bytes=0-0"}
    )
    assert (part.status_code, part.content) == (206, b"#")


def test_creating_a_ticket_requires_the_read_scope(launcher: Launcher) -> None:
    run_id = launcher.run("1", pipeline="hello")["run_id"]
    for scopes, status in (([Scope.READ], 200), ([Scope.RUN, Scope.CANCEL], 403), ([], 403)):
        token = Authenticator([launcher.secret]).token("someone", scopes, seconds=60)
        answer = launcher.client.post(f"/jobs/{run_id}/ticket", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status
