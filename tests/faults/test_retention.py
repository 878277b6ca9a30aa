"""Old runs are deleted with their record, log, artifacts and history; newer ones stay."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from launching.launcher import Launcher

PIPELINES: dict[str, dict[str, Any]] = {"hello": {"command": ["python", "-c", "print('hello')"]}}


def test_old_runs_are_deleted_everywhere(tmp_path: Path, redis_url: str, mongodb_uri: str) -> None:
    with Launcher(tmp_path, PIPELINES, REDIS_URL=redis_url, MONGODB_URI=mongodb_uri, RETENTION_DAYS="1") as launcher:
        old, new = launcher.run("1", pipeline="hello")["run_id"], launcher.run("2", pipeline="hello")["run_id"]
        for run_id in (old, new):
            launcher.wait(run_id)
        deadline = time.monotonic() + 20
        while launcher.client.get("/health").json()["records_owed"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        launcher.stop()
        record = tmp_path / "archive" / old / "run.json"
        document = json.loads(record.read_text())
        document["completed_at"] = (datetime.now(UTC) - timedelta(days=2)).isoformat()
        record.write_text(json.dumps(document))
        with MongoClient[dict[str, Any]](mongodb_uri) as client:
            runs = client["jobs"]["pipeline_runs"]
            runs.update_one({"_id": old}, {"$set": {"completed_at": document["completed_at"].replace("+00:00", "Z")}})
            launcher.start()
            deadline = time.monotonic() + 20
            while runs.count_documents({"_id": old}) or (tmp_path / "archive" / old).exists():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert runs.count_documents({"_id": new}) == 1
        assert launcher.client.get(f"/jobs/{old}/status").status_code == 404
        assert launcher.status(new)["status"] == "completed"
        assert not (tmp_path / "applications" / old).exists()
        assert (tmp_path / "archive" / new / "log").exists()
