from __future__ import annotations

from frontend.app import create_app

DEPLOYED = {"FRONTEND_PASSWORD": "open sesame, please", "RUNNER_API_SECRET": "s" * 32}


def test_sign_in_fails_closed_without_its_database() -> None:
    environment = DEPLOYED | {"MONGODB_URI": "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200"}
    browser = create_app(environment, "127.0.0.1").test_client()
    with browser.session_transaction() as session:
        session["csrf"] = "token"
    answer = browser.post("/login", data={"password": "open sesame, please", "csrf_token": "token"})
    assert answer.status_code == 503
    assert "MONGODB_URI" in answer.get_data(as_text=True)
    for database in ("attempts", "postings"):
        browser.application.extensions[database].close()
