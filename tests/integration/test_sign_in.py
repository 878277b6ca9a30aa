from __future__ import annotations

from frontend.app import create_app
from frontend.attempts import MOST, AttemptsInMongoDB

DEPLOYED = {"FRONTEND_PASSWORD": "open sesame", "RUNNER_API_SECRET": "s" * 32}


def test_instances_count_the_attempts_of_a_visitor_together(mongodb_uri: str) -> None:
    instances = [AttemptsInMongoDB(mongodb_uri) for _ in range(2)]
    answers = [instances[n % 2].allowed("192.0.2.1") for n in range(3 * MOST)]
    assert answers.count(False) >= MOST  # were a window to end in between, it would let MOST more in
    assert answers[:MOST].count(True) > 0
    assert instances[0].allowed("192.0.2.2")
    for instance in instances:
        instance.close()


def test_a_database_that_is_away_lets_nobody_in_and_says_so() -> None:
    environment = DEPLOYED | {"MONGODB_URI": "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200"}
    browser = create_app(environment, "127.0.0.1").test_client()
    with browser.session_transaction() as session:
        session["csrf"] = "token"
    answer = browser.post("/login", data={"password": "open sesame", "csrf_token": "token"})
    assert answer.status_code == 503
    assert "MONGODB_URI" in answer.get_data(as_text=True)
    for database in ("attempts", "postings"):
        browser.application.extensions[database].close()
