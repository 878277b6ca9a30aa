"""The main scenario as a REST client sees it, directly or through a proxy."""

from __future__ import annotations

import json
from typing import Any

import httpx
from httpx_sse import connect_sse
from pymongo import MongoClient

from cluster.runs import until
from launching.service_process import ROOT
from servers.mongodb_server import MongodbServer


def process_posting(client: httpx.Client, mongodb_server: MongodbServer) -> str:
    """Launch a run for a posting in MongoDB, follow it, fetch its CV, check MongoDB; return the run id."""
    posting = json.loads((ROOT / "pipeline-image/samples/postings/4711.json").read_text())
    with MongoClient[dict[str, Any]](mongodb_server.url) as mongo:
        items = mongo["jobs"]["level-2"]
        items.delete_many({})
        items.insert_one({**posting, "jobId": 4711})
        answer = client.post("/jobs/run", json={"job_id": "4711", "profile_ref": "senior"})
        assert answer.status_code == 200, answer.text
        run_id: str = answer.json()["run_id"]
        with connect_sse(client, "GET", f"/jobs/{run_id}/logs") as stream:
            events = [(event.event, event.data) for event in stream.iter_sse()]
        lines = [data for name, data in events if name == "message" and data]
        assert "Starting pipeline" in lines[0]
        assert events[-1][0] == "end"
        assert [name for name, _ in events if name == "progress"]
        run = json.loads(events[-1][1])
        assert (run["status"], run["exit_code"], run["log"]["complete"]) == ("completed", 0, True), lines
        assert client.get(run["artifacts"]["cv_md_url"]).text.startswith("# ")
        assert set(run["artifacts"]) == {"cv_md_url", "cv_docx_url", "cover_letter_url", "dossier_url"}

        def item() -> dict[str, Any]:
            return items.find_one({"jobId": 4711}) or {}

        until(lambda: item().get("pipeline_status") == "completed")
        found = item()
        assert (found["pipeline_run_id"], found["artifact_urls"]) == (run_id, run["artifacts"])
        assert found["pipeline_run_at"] <= found["pipeline_completed_at"]
        history = mongo["jobs"]["pipeline_runs"].find_one({"_id": run_id})
        assert history is not None and history["status"] == "completed"
    return run_id
