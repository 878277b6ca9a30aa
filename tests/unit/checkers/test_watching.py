"""The watcher records what kubectl prints, across restarts of its watches; a small program stands in for kubectl."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.changes import cluster_event, job_change, pod_change
from checkers.json_stream import JsonStream
from checkers.queue import QueuedRun, QueueFault, QueueHistory, check
from checkers.watches import WatchError
from checkers.watching import Watched, Watcher

KUBECTL = r"""
import pathlib, signal, sys, time
folder, kind = pathlib.Path(sys.argv[1]), sys.argv[3]
assert sys.argv[2] == "get"
with (folder / "calls").open("a") as calls:
    print(*sys.argv[2:], file=calls)
if "--watch" not in sys.argv:
    print((folder / f"{kind}.list").read_text())
    sys.exit(0)
print("GET https://cluster/pods?limit=500 200 OK in 1 milliseconds", file=sys.stderr, flush=True)
print("GET https://cluster/pods?watch=true 200 OK in 1 milliseconds", file=sys.stderr, flush=True)
printed = 0
while not (folder / f"{kind}.stop").exists():
    text = (folder / kind).read_bytes() if (folder / kind).exists() else b""
    sys.stdout.buffer.write(text[printed:])
    sys.stdout.buffer.flush()
    printed = len(text)
    time.sleep(0.01)
(folder / f"{kind}.stop").unlink()
(folder / kind).unlink()
print("the server closed the watch", file=sys.stderr)
sys.exit(1)
"""
Dict = dict[str, Any]


class Cluster:
    """The folder that the program reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubectl = [sys.executable, "-c", KUBECTL, str(folder)]
        self.version = 100

    def emit(self, kind: str, change: str, found: Dict) -> None:
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        with (self.folder / kind).open("a") as file:
            file.write(json.dumps({"type": change, "object": found}, indent=4, ensure_ascii=False))

    def interrupt(self, kind: str, existing: list[Dict]) -> None:
        """Interrupt a watch; the next one starts by listing `existing`."""
        (self.folder / f"{kind}.list").write_text(json.dumps({"items": existing}))
        (self.folder / f"{kind}.stop").touch()
        deadline = time.monotonic() + 10
        while (self.folder / f"{kind}.stop").exists():
            assert time.monotonic() < deadline, "the watch did not end"
            time.sleep(0.01)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


def pod(name: str, phase: str = "Pending", **metadata: Any) -> Dict:
    state = {"running": {"startedAt": "2026-11-24T08:00:00Z"}} if phase == "Running" else {}
    return {
        "metadata": {
            "name": f"{name}-x",
            "uid": f"pod-{name}",
            "labels": {"slipway.dev/run": "true", "batch.kubernetes.io/job-name": name},
            "ownerReferences": [{"kind": "Job", "name": name}],
            **metadata,
        },
        "spec": {"containers": [{"name": "pipeline"}]},
        "status": {"phase": phase, "containerStatuses": [{"name": "pipeline", "state": state}]},
    }


def job(name: str, *, suspend: bool) -> Dict:
    return {
        "metadata": {"name": name, "uid": f"job-{name}", "annotations": {"slipway.dev/label": "Café"}},
        "spec": {"suspend": suspend},
    }


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.fixture
def watcher(cluster: Cluster) -> Iterator[Watcher]:
    with Watcher(cluster.kubectl, "slipway") as watching:
        yield watching


def has_pods(count: int) -> Callable[[Watched], bool]:
    return lambda watched: len(watched.pods) >= count


def test_it_records_pods_jobs_and_events(cluster: Cluster, watcher: Watcher) -> None:
    before = time.time()
    cluster.emit("jobs", "ADDED", job("a", suspend=True))
    cluster.emit("jobs", "MODIFIED", job("a", suspend=False))
    cluster.emit("pods", "ADDED", pod("a"))
    cluster.emit("pods", "MODIFIED", pod("a", "Running"))
    cluster.emit("pods", "DELETED", pod("a", "Running", deletionTimestamp="2026-11-24T08:00:30Z"))
    about = {"kind": "Job", "name": "a"}
    cluster.emit("events", "ADDED", {"metadata": {"uid": "1"}, "involvedObject": about, "reason": "FailedCreate"})
    watched = watcher.wait_until(lambda now: (len(now.pods), len(now.jobs), len(now.events)) == (3, 2, 1), 10)
    assert [(one.kind, one.phase, one.alive, one.deleting) for one in watched.pods] == [
        ("ADDED", "Pending", True, False),
        ("MODIFIED", "Running", True, False),
        ("DELETED", "Running", False, True),
    ]
    assert {(one.run_id, one.job, one.name) for one in watched.pods} == {("a", "a", "a-x")}
    assert [one.resource_version for one in watched.jobs] == [101, 102]
    assert [one.resource_version for one in watched.pods] == [103, 104, 105]
    assert [one.waiting for one in watched.jobs] == [True, False]
    assert watched.pods[1].started == "2026-11-24T08:00:00Z"
    assert all(before <= one.seen <= time.time() for one in watched.pods)
    assert not watched.holes
    runs = [QueuedRun(run_id="a", queued_at=1, queued=before)]
    (finding,) = check(QueueHistory(limit=1, runs=runs, **vars(watched)))
    assert finding.kind is QueueFault.FAILED_CREATE


def test_it_watches_the_runs_of_one_namespace(cluster: Cluster, watcher: Watcher) -> None:
    rest = "-o json --watch --output-watch-events -v=6"
    assert sorted(cluster.calls) == [
        f"get events --namespace slipway {rest}",
        f"get jobs --namespace slipway --selector slipway.dev/run {rest}",
        f"get pods --namespace slipway --selector slipway.dev/run {rest}",
    ]


def test_it_keeps_the_last_state_of_deleted_objects(cluster: Cluster, watcher: Watcher) -> None:
    cluster.emit("jobs", "ADDED", job("a", suspend=True))
    cluster.emit("jobs", "DELETED", job("a", suspend=False))
    cluster.emit("pods", "ADDED", pod("a"))
    cluster.emit("pods", "ADDED", pod("b"))
    cluster.emit("pods", "DELETED", pod("a", "Succeeded"))
    watcher.wait_until(lambda now: (len(now.pods), len(now.jobs)) == (3, 2), 10)
    (last,) = watcher.last_pods("a")
    assert last["status"]["phase"] == "Succeeded"
    assert (watcher.last_job("a") or {})["spec"] == {"suspend": False}
    assert watcher.last_job("b") is None
    assert not watcher.last_pods("c")


def test_a_watch_that_ends_is_restarted_and_the_hole_is_recorded(cluster: Cluster, watcher: Watcher) -> None:
    for name in "ab":
        cluster.emit("pods", "ADDED", pod(name))
    watcher.wait_until(has_pods(2), 10)
    cluster.interrupt("pods", existing=[pod("b"), pod("c")])
    cluster.emit("pods", "ADDED", pod("b", "Running"))
    cluster.emit("pods", "ADDED", pod("c"))
    watched = watcher.wait_until(has_pods(5), 10)
    alive = {one.run_id: one.alive for one in watched.pods}
    assert alive == {"a": False, "b": True, "c": True}
    (hole,) = watched.holes
    assert "the server closed the watch" in hole
    assert [one.kind for one in check(QueueHistory(limit=2, runs=[], **vars(watched)))] == [QueueFault.HOLE]


def test_a_watch_that_cannot_start_raises_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("checkers.watching.START_SECONDS", 0.5)
    failing = [sys.executable, "-c", "import sys; sys.exit('no such cluster')"]
    with pytest.raises(WatchError, match="no such cluster"), Watcher(failing, "slipway"):
        pass
    with pytest.raises(WatchError, match="No such file"), Watcher([str(tmp_path / "kubectl")], "slipway"):
        pass


def test_waiting_is_bounded(watcher: Watcher) -> None:
    with pytest.raises(WatchError, match="not met within"):
        watcher.wait_until(has_pods(1), 0.1)


def test_objects_with_few_fields_are_read() -> None:
    metadata = {"uid": "1", "name": "a", "resourceVersion": "7"}
    assert pod_change("ADDED", {"metadata": metadata}, 1.0).run_id == ""
    assert not job_change("ADDED", {"metadata": metadata}, 1.0).suspended
    assert cluster_event("ADDED", {"metadata": metadata}, 1.0).about_name == ""


documents = st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5) | st.integers() | st.none()), max_size=5)


@given(documents, st.sampled_from(["", "\n", "  \n"]), st.sampled_from([None, 4]), st.data())
def test_documents_are_whole_however_their_bytes_arrive(
    sent: list[Dict], between: str, indent: int | None, data: st.DataObject
) -> None:
    whole = "".join(json.dumps(one, indent=indent, ensure_ascii=False) + between for one in sent).encode()
    stream, got = JsonStream(), list[Any]()
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        got += stream.feed(whole[:size])
        whole = whole[size:]
    assert got == sent
