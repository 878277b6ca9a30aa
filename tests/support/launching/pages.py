"""The pages as a browser without scripts and as htmx receive them, and what tests read from them."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from frontend.app import create_app
from launching.service_process import ROOT

TOKEN = "a-session-token"
HX = {"HX-Request": "true", "X-CSRF-Token": TOKEN}
WRITER = """
import os
os.chdir(os.environ['APPLICATIONS_DIR'])
open('CV.md', 'w').write('# Mara <b>bold</b> <script>alert(1)</script>')
open('empty.txt', 'w').close()
open('long.txt', 'w').write('x' * 600_000)
"""
PIPELINES: dict[str, dict[str, Any]] = {
    "writer": {
        "command": ["python", "-c", WRITER],
        "artifacts": {"cv_md_url": "CV.md", "empty_url": "empty.txt", "long_url": "long.txt"},
    },
    "quick": {"command": ["python", "-c", "print('<script>')"]},
    "slow": {"command": ["python", "-c", "import time; time.sleep(60)"]},
    "broken": {"command": ["python", "-c", "raise SystemExit(3)"]},
}


def browser_of(
    url: str, secret: str, postings: Path = ROOT / "pipeline-image/samples/postings", **settings: str
) -> FlaskClient:
    environment = {
        "FRONTEND_PASSWORD": "open sesame, please",
        "RUNNER_API_SECRET": secret,
        "RUNNER_URL": url,
        "POSTINGS_DIR": str(postings),
        **settings,
    }
    browser = create_app(environment, "127.0.0.1").test_client()
    with browser.session_transaction() as session:
        session["signed_in"], session["csrf"] = True, TOKEN
    return browser


def text_of(answer: TestResponse, status: int = 200) -> str:
    text = answer.get_data(as_text=True)
    assert answer.status_code == status, text
    return text


def key_on(page: str, job_id: str) -> str:
    """The idempotency key that the job's button sends."""
    button = re.search(rf'<button id="process-{job_id}".*?</button>', page, re.DOTALL)
    assert button
    headers = re.search(r"hx-headers='(.*?)'", button[0])
    assert headers
    found: str = json.loads(unescape(headers[1]))["Idempotency-Key"]
    return found


def buttons_of(page: str) -> dict[str, bool]:
    """Each job with a button, and whether the button is enabled."""
    found = re.findall(r'<button id="process-([^"]+)"([^>]*)>', page)
    return {job_id: not re.search(r"\bdisabled(?![-\w])", rest) for job_id, rest in found}


def states_of(page: str) -> dict[str, str]:
    """Each job's displayed status."""
    return dict(re.findall(r'<div id="status-([^"]+)".*?<span class="badge [^"]+">([^<]+)</span>', page, re.DOTALL))
