from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from frontend.app import create_app
from frontend.sign_in import BROWSER, TOO_MANY
from frontend.sign_in_attempts import OF_ALL, OF_VISITOR, AttemptsInMemory

PASSWORD = "open sesame, please"
DEPLOYED = {"FRONTEND_PASSWORD": PASSWORD, "RUNNER_API_SECRET": "s" * 32, "RUNNER_URL": "http://127.0.0.1:9"}


@pytest.fixture
def browser() -> FlaskClient:
    return client_of(DEPLOYED)


def client_of(environment: dict[str, str]) -> FlaskClient:
    app = create_app(environment, "127.0.0.1")
    app.extensions["attempts"] = AttemptsInMemory(lambda: 0.0)  # in one window for the whole test
    return app.test_client()


def token_of(browser: FlaskClient) -> str:
    found = re.search('name="csrf_token" value="([^"]+)"', browser.get("/login").get_data(as_text=True))
    assert found
    return found[1]


def signed_in(browser: FlaskClient, password: str = PASSWORD) -> int:
    return browser.post("/login", data={"password": password, "csrf_token": token_of(browser)}).status_code


def test_calls_and_pages_require_sign_in(browser: FlaskClient) -> None:
    assert browser.get("/api/runner/jobs/some-run/status").status_code == 401
    assert browser.get("/").headers["Location"] == "/login"
    token = token_of(browser)
    assert browser.delete("/api/runner/jobs/some-run", headers={"X-CSRF-Token": token}).status_code == 401


def test_calls_work_from_sign_in_to_sign_out(browser: FlaskClient) -> None:
    assert signed_in(browser) == 303
    assert (
        browser.get("/api/runner/jobs/some-run/status").status_code == 503
    )  # past the sign-in; no launcher is running
    with browser.session_transaction() as session:
        session["csrf"] = "a valid token"
    assert browser.post("/logout", data={"csrf_token": "a valid token"}).status_code == 303
    assert browser.get("/api/runner/jobs/some-run/status").status_code == 401


@pytest.mark.parametrize(
    ("requested", "landing"),
    [
        ("/runs/4711-01jd", "/runs/4711-01jd"),
        ("/jobs?q=a+b&page=2", "/jobs?q=a+b&page=2"),
        ("/jobs?batch=" + "x" * 5000, "/jobs"),
        ("/no-such-page", "/"),
        ("/api/runner/jobs/4711-01jd/log", "/"),
    ],
)
def test_sign_in_leads_to_the_requested_page(browser: FlaskClient, requested: str, landing: str) -> None:
    browser.get(requested)
    browser.get("/live", headers={"HX-Request": "true"})
    answer = browser.post("/login", data={"password": PASSWORD, "csrf_token": token_of(browser)})
    assert (answer.status_code, answer.location) == (303, landing)


@pytest.mark.parametrize("token", ["", "wrong", "ä"])
def test_changes_require_the_sessions_csrf_token(browser: FlaskClient, token: str) -> None:
    signed_in(browser)
    with browser.session_transaction() as session:
        session["csrf"] = "a valid token"
    assert browser.post("/api/runner/jobs/run", data={"job_id": "4711", "csrf_token": token}).status_code == 403
    right = browser.post("/api/runner/jobs/run", json={"job_id": "1"}, headers={"X-CSRF-Token": "a valid token"})
    assert right.status_code == 503


def test_csrf_token_from_before_sign_in_is_invalid_after_it(browser: FlaskClient) -> None:
    token = token_of(browser)
    assert browser.post("/login", data={"password": PASSWORD, "csrf_token": token}).status_code == 303
    assert browser.post("/logout", data={"csrf_token": token}).status_code == 403


def test_limit_applies_to_the_right_password_too(browser: FlaskClient) -> None:
    assert [signed_in(browser, "guess") for _ in range(OF_VISITOR.most)] == [401] * OF_VISITOR.most
    assert signed_in(browser) == 429


def guess_from_everywhere(browser: FlaskClient) -> None:
    """Use up the total limit from many addresses."""
    stranger = browser.application.test_client()
    token = token_of(stranger)
    for n in range(OF_ALL.most + 1):
        address = {"REMOTE_ADDR": f"192.0.2.{n}" if n % 2 else f"2001:db8:{n:x}::1"}
        answer = stranger.post("/login", data={"password": "guess", "csrf_token": token}, environ_base=address)
        assert answer.status_code == 401 or n >= OF_ALL.most - 2  # the successful sign-ins before counted too
    assert answer.status_code == 429


def test_botnet_cannot_lock_out_a_browser_that_has_signed_in_before(browser: FlaskClient) -> None:
    known = browser.application.test_client()
    assert signed_in(known) == 303 == signed_in(browser)
    guess_from_everywhere(browser)
    stranger = browser.application.test_client()
    refused = stranger.post("/login", data={"password": PASSWORD, "csrf_token": token_of(stranger)})
    assert refused.status_code == 429 and TOO_MANY[OF_ALL] in refused.text and refused.headers["Retry-After"]
    assert browser.get("/api/runner/jobs/some-run/status").status_code == 503, "a signed-in browser stays signed in"
    with known.session_transaction() as session:
        session.clear()
    assert signed_in(known) == 303, "a browser that has signed in before has its own limit"


def test_known_browser_has_the_same_limit_as_an_address(browser: FlaskClient) -> None:
    assert signed_in(browser) == 303
    with browser.session_transaction() as session:
        session.clear()
    answers = [signed_in(browser, "guess") for _ in range(OF_VISITOR.most + 1)]
    assert answers == [401] * OF_VISITOR.most + [429]


def test_browser_cookie_is_http_only_and_cannot_be_forged(browser: FlaskClient) -> None:
    answer = browser.post("/login", data={"password": PASSWORD, "csrf_token": token_of(browser)})
    [cookie] = [text for text in answer.headers.getlist("Set-Cookie") if text.startswith(BROWSER)]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Lax", "Path=/login", "Max-Age"))
    guess_from_everywhere(browser)
    other = client_of(DEPLOYED | {"FRONTEND_PASSWORD": "another sesame"})
    other.post("/login", data={"password": "another sesame", "csrf_token": token_of(other)})
    foreign = other.get_cookie(BROWSER, path="/login")
    assert foreign
    for value in ("", "forged", foreign.value):
        stranger = browser.application.test_client()
        stranger.set_cookie(BROWSER, value, path="/login")
        assert signed_in(stranger) == 429


def test_policy_allows_own_scripts_only_and_session_cookie_is_http_only() -> None:
    page = create_app(DEPLOYED, "0.0.0.0").test_client().get("/login", base_url="https://slipway.example")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy
    cookie = page.headers["Set-Cookie"]
    assert all(word in cookie for word in ("Secure", "HttpOnly", "SameSite=Lax"))


def test_unknown_page_renders_404(browser: FlaskClient) -> None:
    signed_in(browser)
    answer = browser.get("/no/such/page")
    text = answer.get_data(as_text=True)
    assert answer.status_code == 404 and "<h1>Page not found</h1>" in text and "The link may be mistyped" in text
    assert "spelling" not in text
