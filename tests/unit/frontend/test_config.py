from __future__ import annotations

import pytest

from frontend.app import create_app
from frontend.config import ConfigurationError, read_config

DEPLOYED = {"FRONTEND_PASSWORD": "open sesame, please", "RUNNER_API_SECRET": "s" * 32}


@pytest.mark.parametrize(
    ("environment", "host"),
    [({}, "127.0.0.1"), ({"SLIPWAY_ENV": "development"}, "0.0.0.0"), ({"SLIPWAY_ENV": "production"}, "localhost")],
)
def test_without_a_password_it_serves_in_development_on_loopback_alone(environment: dict[str, str], host: str) -> None:
    with pytest.raises(ConfigurationError, match="FRONTEND_PASSWORD"):
        read_config(environment, host)
    assert read_config({"SLIPWAY_ENV": "development"}, "127.0.0.1").password == ""


def test_all_instances_agree_on_the_session_key_and_a_new_password_changes_it() -> None:
    key = read_config(DEPLOYED, "0.0.0.0").session_key
    assert read_config(DEPLOYED, "0.0.0.0").session_key == key
    assert read_config(DEPLOYED | {"FRONTEND_PASSWORD": "another sesame"}, "0.0.0.0").session_key != key


def test_a_deployed_front_end_needs_the_launchers_secret() -> None:
    with pytest.raises(ConfigurationError, match="RUNNER_API_SECRET"):
        read_config({"FRONTEND_PASSWORD": "open sesame, please"}, "0.0.0.0")


@pytest.mark.parametrize("seconds", ["soon", "0", "nan", "inf", "1e9", "50 ", "0x10"])
def test_a_stream_length_that_makes_no_sense_is_refused_by_name(seconds: str) -> None:
    with pytest.raises(ConfigurationError, match="STREAM_SECONDS"):
        read_config(DEPLOYED | {"STREAM_SECONDS": seconds}, "0.0.0.0")


def test_secrets_are_not_shown_with_the_settings() -> None:
    shown = repr(read_config(DEPLOYED, "0.0.0.0"))
    assert "sesame" not in shown and "sss" not in shown


def test_in_development_each_start_has_a_session_key_of_its_own() -> None:
    development = {"SLIPWAY_ENV": "development"}
    assert read_config(development, "127.0.0.1").session_key != read_config(development, "127.0.0.1").session_key


@pytest.mark.parametrize("name", ["RUNNER_URL", "RUNNER_PUBLIC_URL"])
@pytest.mark.parametrize(
    "address", ["runner.example", "ftp://runner", "https://", "https://a;b", "http://u@h", "http://h:x"]
)
def test_an_address_that_is_none_is_refused_by_name(name: str, address: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        read_config(DEPLOYED | {name: address}, "0.0.0.0")


def test_pages_may_connect_to_the_launchers_public_origin_alone() -> None:
    config = read_config(DEPLOYED | {"RUNNER_PUBLIC_URL": "https://runner.example.com/base/"}, "0.0.0.0")
    assert (config.public_url, config.public_origin) == (
        "https://runner.example.com/base",
        "https://runner.example.com",
    )
    assert read_config(DEPLOYED, "0.0.0.0").public_origin == ""


def test_on_vercel_the_database_is_needed_that_all_instances_share() -> None:
    with pytest.raises(ConfigurationError, match="MONGODB_URI"):
        read_config(DEPLOYED | {"VERCEL": "1"}, "0.0.0.0")


def test_all_faults_are_told_at_once_and_none_with_its_value() -> None:
    wrong = {
        "FRONTEND_PASSWORD": "open sesame\n",
        "RUNNER_API_SECRET": "'hunter'",
        "RUNNER_URL": "https://u:hunter@h",
        "RUNNER_PUBLIC_URL": "https://h?hunter",
        "MONGODB_URI": "mongodb+srv://u:hunter@2@h.example.net/",
        "STREAM_SECONDS": "50 ",
        "FRONTEND_PROXIES": "1e1",
    }
    with pytest.raises(ConfigurationError) as error:
        read_config(wrong | {"VERCEL": "1"}, "0.0.0.0")
    lines = str(error.value).splitlines()
    assert sorted(line.split()[0].rstrip(":") for line in lines) == sorted(wrong)
    assert "hunter" not in str(error.value) and "sesame" not in str(error.value)


def test_the_launchers_address_is_read_by_a_parser_whatever_its_case() -> None:
    assert (
        read_config(DEPLOYED | {"RUNNER_URL": "HTTPS://Runner.Example/"}, "0.0.0.0").runner_url
        == "https://runner.example"
    )


def test_what_mongodbs_driver_refuses_is_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match="MongoDB's driver refuses") as error:
        create_app(DEPLOYED | {"MONGODB_URI": "mongodb://u:hunter@h/?tls=true&ssl=false"}, "0.0.0.0")
    assert "hunter" not in str(error.value)


def test_a_name_server_that_is_down_keeps_no_page_from_being_served() -> None:
    app = create_app(DEPLOYED | {"MONGODB_URI": "mongodb+srv://u:p@cluster.invalid/"}, "0.0.0.0")
    assert app.test_client().get("/login", base_url="https://localhost").status_code == 200
