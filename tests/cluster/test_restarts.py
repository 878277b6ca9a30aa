"""The operator can be killed at any moment: no line is lost, duplicated or reordered."""

from __future__ import annotations

import random
import time
from functools import partial
from pathlib import Path

from checkers.collecting import check_log, check_outcome
from checkers.findings import report
from cluster.cluster import Cluster
from cluster.runs import PIPELINES, recorded, until
from cluster.viewers import Viewer
from launching.installation import Installation
from servers.redis_server import RedisServer

LINES = 7500


def test_ten_kills_of_the_operator_lose_and_duplicate_no_line(
    cluster: Cluster, tmp_path: Path, redis_server: RedisServer
) -> None:
    redis_server.revive()
    with Installation(cluster, tmp_path, PIPELINES, slots=5, REDIS_URL=redis_server.url) as five:
        _kill_ten_times(five)


def _kill_ten_times(installation: Installation) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    moments = random.Random(seed)
    runs = [installation.launcher.run(str(n), pipeline="printer-500")["run_id"] for n in range(5)]
    viewers = [Viewer(installation.launcher, run_id) for run_id in runs]
    for viewer in viewers:
        viewer.start()
    until(lambda: f"{runs[0]} 1 ".encode() in installation.launcher.log(runs[0]))
    for _ in range(10):
        time.sleep(moments.uniform(0.05, 2))
        installation.operator.kill()
        installation.operator.start()
    for run_id, viewer in zip(runs, viewers, strict=True):
        run = installation.launcher.wait(run_id, seconds=120)
        assert (run["status"], run["exit_code"]) == ("completed", 0), (seed, run)
        viewer.join(30)
        assert viewer.ended
        findings = check_log(installation, run_id, LINES, streams=[viewer.events, installation.launcher.events(run_id)])
        until(partial(recorded, installation, run_id))
        findings += check_outcome(installation, run_id)
        assert not findings, f"seed {seed}: {report(findings)}"
