"""How the pages show failures: what happened and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from frontend.keys import launch_key
from frontend.messages import (
    CREDENTIALS_REJECTED,
    NO_RESPONSE,
    POSTINGS_UNAVAILABLE,
    RUN_NOT_FOUND,
    SIGN_IN_FAILED,
    UNREACHABLE,
)
from launcher.domain.queue_places import PAUSED
from launching import page_texts
from launching.site import Site


def test_unknown_run_renders_404(tmp_path: Path, visit: Callable[[Site], Page]) -> None:
    with Site(tmp_path) as site:
        page = visit(site)
        for path in ("/runs/no-such-run", "/runs/no-such-run/files/CV.md", "/runs/..%2F..%2Fhealth"):
            answer = page.goto(site.frontend.url + path)
            assert answer and answer.status == 404
            assert "Traceback" not in page.content()
        page.goto(f"{site.frontend.url}/runs/no-such-run")
        expect(page.get_by_role("heading", level=1)).to_have_text(RUN_NOT_FOUND)
        page.get_by_role("link", name="Jobs", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")


def test_each_launcher_error_is_explained(tmp_path: Path, visit: Callable[[Site], Page]) -> None:
    with Site(tmp_path, MAX_QUEUED="1") as site:
        page = visit(site)
        site.launcher.client.post("/queue/pause")
        expect(page.get_by_text(PAUSED)).to_be_visible()
        key = {"Idempotency-Key": launch_key("4711", "")}
        other = {"job_id": "4711", "profile_ref": "senior"}
        run_id = site.launcher.client.post("/jobs/run", json=other, headers=key).json()["run_id"]
        site.launcher.client.delete(f"/jobs/{run_id}")
        site.launcher.wait(run_id)
        page.route("**/live*", lambda route: route.abort())  # this tab does not know about it
        page.evaluate("() => {}")
        press(page, "4711")
        expect(page.locator("td .problem")).to_contain_text("Reload the page")  # 409
        site.launcher.run("4713")
        press(page, "4712")
        expect(page.locator("#status-4712 .problem")).to_contain_text("MAX_QUEUED")  # 429
        site.launcher.kill()
        press(page, "4712")
        expect(page.locator("#status-4712 .problem")).to_contain_text(NO_RESPONSE)  # 503
        page.unroute("**/live*")
        page.goto(f"{site.frontend.url}/runs")
        expect(page.get_by_role("heading", level=1)).to_have_text(NO_RESPONSE)
        expect(page.get_by_text("RUNNER_URL")).to_be_visible()
        page.goto(f"{site.frontend.url}/jobs")
        expect(page.locator("#live .problem")).to_contain_text(UNREACHABLE)
        site.launcher.start()
        expect(page.get_by_text(page_texts.SLOTS_IN_USE)).to_be_visible()  # it recovers by itself


def press(page: Page, job_id: str) -> None:
    page.get_by_role("button", name=f"Process job {job_id}").click()


def test_lost_connection_notice_disappears_and_other_notices_stay(
    tmp_path: Path, visit: Callable[[Site], Page]
) -> None:
    with Site(tmp_path) as site:
        page = visit(site)
        notice = page.locator("#notice")
        page.context.set_offline(True)
        expect(notice).to_contain_text(page_texts.CONNECTION_LOST)
        page.context.set_offline(False)
        expect(notice).to_be_empty()
        (tmp_path / "postings").rename(tmp_path / "away")
        page.get_by_role("searchbox", name=page_texts.SEARCH).fill("engineer")
        expect(notice).to_contain_text(POSTINGS_UNAVAILABLE)
        for _ in range(2):
            page.wait_for_event("requestfinished", lambda request: "/live" in request.url)
        expect(notice).to_contain_text(POSTINGS_UNAVAILABLE)


def test_failed_poll_of_the_table_shows_a_notice_until_it_succeeds(
    tmp_path: Path, visit: Callable[[Site], Page]
) -> None:
    with Site(tmp_path) as site:
        page = visit(site)
        site.launcher.client.post("/queue/pause")
        site.launcher.run("4711")
        page.goto(f"{site.frontend.url}/runs")
        site.launcher.kill()
        notice = page.locator("#notice")
        expect(notice).to_contain_text(NO_RESPONSE, timeout=30_000)
        site.launcher.start()
        expect(notice).to_be_empty(timeout=30_000)


def test_statuses_are_unknown_during_a_launcher_outage(tmp_path: Path, visit: Callable[[Site], Page]) -> None:
    pipelines = {"default": {"command": ["python", "-c", "print('done')"], "artifacts": {}}}
    with Site(tmp_path, pipelines) as site:
        done = site.launcher.wait(site.launcher.run("4711")["run_id"])["run_id"]
        opened = visit(site)
        opened.get_by_label("Select job 4712").check()
        site.launcher.kill()
        loaded = opened.context.new_page()
        loaded.goto(opened.url)
        for page, of_done in ((opened, "completed"), (loaded, "unknown")):
            expect(page.locator("#status-4711 .badge")).to_have_text(of_done)
            expect(page.locator("#status-4712 .badge")).to_have_text("unknown")
            expect(page.locator("#live .problem")).to_contain_text(NO_RESPONSE)
            for name in ("Process job 4711", "Process job 4712", "Process selected"):
                expect(page.get_by_role("button", name=name)).to_be_disabled()
            expect(page.get_by_label("Select job 4712")).to_be_disabled()
        site.launcher.start()
        for page in (opened, loaded):
            expect(page.locator("#status-4711 .badge")).to_have_text("completed")
            expect(page.locator("#status-4712 .badge")).to_have_text(page_texts.NOT_YET_RUN)
            expect(page.get_by_role("button", name=page_texts.process("4711"))).to_be_enabled()
            page.get_by_label("Select job 4712").check()
            expect(page.get_by_role("button", name=page_texts.PROCESS_SELECTED)).to_be_enabled()
        press(loaded, "4711")
        expect(loaded.locator("#status-4711 a")).not_to_have_attribute("href", f"/runs/{done}")
        assert site.launcher.client.get("/jobs", params={"job_id": "4711"}).json()["total"] == 2


def test_run_and_history_show_unknown_during_a_launcher_outage(tmp_path: Path, visit: Callable[[Site], Page]) -> None:
    with Site(tmp_path) as site:
        run = visit(site)
        site.launcher.client.post("/queue/pause")
        run_id = site.launcher.run("4711")["run_id"]
        history = run.context.new_page()
        history.goto(f"{site.frontend.url}/runs")
        run.goto(f"{site.frontend.url}/runs/{run_id}")
        places = (run.locator("#run-status .badge"), history.locator("#runs .badge"))
        for badge in places:
            expect(badge).to_have_text("queued")
        site.launcher.kill()
        for badge in places:
            expect(badge).to_have_text("unknown")
        expect(run.locator("#place")).not_to_be_visible()
        site.launcher.start()
        for badge in places:
            expect(badge).to_have_text("queued")
        expect(run.locator("#place")).to_be_visible()


def test_rejected_credentials_name_the_setting(tmp_path: Path, visit: Callable[[Site], Page]) -> None:
    with Site(tmp_path, secret="w" * 64) as site:
        page = visit(site)
        expect(page.locator("#live .problem")).to_contain_text("RUNNER_API_SECRET")
        expect(page.get_by_role("button", name=page_texts.process("4711"))).to_be_disabled()
        page.goto(f"{site.frontend.url}/runs")
        expect(page.get_by_role("heading", level=1)).to_have_text(CREDENTIALS_REJECTED)


def test_sign_out_requires_the_password_again(tmp_path: Path, visit: Callable[[Site], Page]) -> None:
    with Site(tmp_path) as site:
        page = visit(site)
        page.get_by_role("button", name=page_texts.SIGN_OUT).click()
        page.goto(f"{site.frontend.url}/jobs")
        page.get_by_label("Password").fill("guess")
        page.get_by_role("button", name=page_texts.SIGN_IN).click()
        expect(page.get_by_role("alert").filter(has_text=SIGN_IN_FAILED)).to_be_visible()
