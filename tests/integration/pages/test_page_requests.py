"""What every page has in common: sign-in, errors, and the content security policy."""

from __future__ import annotations

import re

from flask.testing import FlaskClient

from launching.launcher import Launcher
from launching.pages import HX, text_of


def test_polls_redirect_signed_out_browsers_to_the_sign_in_page(browser: FlaskClient) -> None:
    with browser.session_transaction() as session:
        session.pop("signed_in")
    assert browser.get("/live", headers=HX).headers["HX-Redirect"] == "/login"
    polled = browser.get("/api/runner/jobs/some-run/status", headers=HX)
    assert "sign in" in text_of(polled, 401) and polled.headers["HX-Retarget"] == "#notice"


def test_own_errors_render_a_page_or_an_htmx_notice(browser: FlaskClient) -> None:
    page = browser.get("/runs/some-run/files/x.exe", headers=HX)
    assert page.headers["HX-Reselect"] == ".error" and 'class="error"' in text_of(page, 404)
    browser.application.config["PROPAGATE_EXCEPTIONS"] = False
    browser.application.extensions["postings"] = None
    broken = text_of(browser.get("/jobs"), 500)
    assert "Traceback" not in broken and "<h1>" in broken


def test_pages_comply_with_the_content_security_policy(browser: FlaskClient, launcher: Launcher) -> None:
    run_id = launcher.wait(launcher.run("4713", pipeline="writer")["run_id"])["run_id"]
    for path in ("/jobs", "/runs", f"/runs/{run_id}", f"/runs/{run_id}/files/CV.md", "/nothing"):
        answer = browser.get(path)
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        page = answer.get_data(as_text=True)
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|<(script|link|img)[^>]*//", page), path
        assert launcher.secret not in page
