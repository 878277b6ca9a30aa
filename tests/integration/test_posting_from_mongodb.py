"""The seed's scenario: a posting in MongoDB, a real pipeline run, five fields on the work item."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from launching.launcher import Launcher
from launching.service_process import ROOT


def test_posting_in_mongodb_becomes_a_cv_and_its_item_is_updated(tmp_path: Path, mongodb_uri: str) -> None:
    posting = json.loads((ROOT / "pipeline-image/samples/postings/4711.json").read_text())
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        items = client["jobs"]["level-2"]
        items.insert_one({**posting, "jobId": 4711})
        with Launcher(tmp_path, MONGODB_URI=mongodb_uri, POSTINGS_DIR=None) as launcher:
            run = launcher.wait(launcher.run("4711", profile_ref="senior")["run_id"], seconds=60)
            assert run["status"] == "completed", launcher.log(run["run_id"]).decode()
            assert launcher.client.get(run["artifacts"]["cv_md_url"]).text.startswith("# ")
            deadline = time.monotonic() + 20
            while (item := items.find_one({"jobId": 4711}) or {}).get("pipeline_status") != "completed":
                assert time.monotonic() < deadline, item
                time.sleep(0.05)
        assert (item["pipeline_run_id"], item["artifact_urls"]) == (run["run_id"], run["artifacts"])
        assert item["pipeline_run_at"] <= item["pipeline_completed_at"]
        assert item["description"] == posting["description"]


def test_run_reads_its_posting_with_its_own_uri(tmp_path: Path, mongodb_uri: str) -> None:
    posting = json.loads((ROOT / "pipeline-image/samples/postings/4711.json").read_text())
    launchers, runs = f"{mongodb_uri}?appName=launcher", f"{mongodb_uri}?appName=runs"
    show = {"show": {"command": ["python", "-c", "import os; print(os.environ['MONGODB_URI'])"], "artifacts": {}}}
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        client["jobs"]["level-2"].insert_one({**posting, "jobId": 4711})
    with Launcher(tmp_path, show, MONGODB_URI=launchers, PIPELINE_MONGODB_URI=runs, POSTINGS_DIR=None) as launcher:
        run = launcher.wait(launcher.run("4711")["run_id"], seconds=60)
        assert run["status"] == "completed", launcher.log(run["run_id"]).decode()
        run = launcher.wait(launcher.run("4711", pipeline="show")["run_id"])
        assert launcher.log(run["run_id"]).decode().splitlines()[-1] == runs
