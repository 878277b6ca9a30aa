from __future__ import annotations

import pytest

from frontend.app import create_app
from frontend.config import ConfigurationError, read_config

DEPLOYED = {"FRONTEND_PASSWORD": "open sesame, please", "RUNNER_API_SECRET": "s" * 32}


@pytest.mark.parametrize(
    ("environment", "host"),
    [({}, "127.0.0.1"), ({"SLIPWAY_ENV": "development"}, "0.0.0.0"), ({"SLIPWAY_ENV": "production"}, "localhost")],
)
def test_password_is_optional_only_in_development_on_loopback(environment: dict[str, str], host: str) -> None:
    with pytest.raises(ConfigurationError, match="FRONTEND_PASSWORD"):
        read_config(environment, host)
    assert read_config({"SLIPWAY_ENV": "development"}, "127.0.0.1").password == ""


def test_session_key_is_the_same_for_all_instances_and_depends_on_the_password() -> None:
    key = read_config(DEPLOYED, "0.0.0.0").session_key
    assert read_config(DEPLOYED, "0.0.0.0").session_key == key
    assert read_config(DEPLOYED | {"FRONTEND_PASSWORD": "another sesame"}, "0.0.0.0").session_key != key


def test_deployment_requires_the_launchers_secret() -> None:
    with pytest.raises(ConfigurationError, match="RUNNER_API_SECRET"):
        read_config({"FRONTEND_PASSWORD": "open sesame, please"}, "0.0.0.0")


@pytest.mark.parametrize("seconds", ["soon", "0", "nan", "inf", "1e9", "50 ", "0x10"])
def test_invalid_stream_seconds_are_rejected_by_name(seconds: str) -> None:
    with pytest.raises(ConfigurationError, match="STREAM_SECONDS"):
        read_config(DEPLOYED | {"STREAM_SECONDS": seconds}, "0.0.0.0")


def test_repr_hides_secrets() -> None:
    shown = repr(read_config(DEPLOYED, "0.0.0.0"))
    assert "sesame" not in shown and "sss" not in shown


def test_development_uses_a_new_session_key_at_each_start() -> None:
    development = {"SLIPWAY_ENV": "development"}
    assert read_config(development, "127.0.0.1").session_key != read_config(development, "127.0.0.1").session_key


@pytest.mark.parametrize("name", ["RUNNER_URL", "RUNNER_PUBLIC_URL"])
@pytest.mark.parametrize(
    "url", ["runner.example", "ftp://runner", "https://", "https://a;b", "http://u@h", "http://h:x"]
)
def test_invalid_url_is_rejected_by_name(name: str, url: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        read_config(DEPLOYED | {name: url}, "0.0.0.0")


def test_public_origin_is_derived_from_the_public_url() -> None:
    config = read_config(DEPLOYED | {"RUNNER_PUBLIC_URL": "https://runner.example.com/base/"}, "0.0.0.0")
    assert (config.public_url, config.public_origin) == (
        "https://runner.example.com/base",
        "https://runner.example.com",
    )
    assert read_config(DEPLOYED, "0.0.0.0").public_origin == ""


def test_vercel_requires_mongodb() -> None:
    with pytest.raises(ConfigurationError, match="MONGODB_URI"):
        read_config(DEPLOYED | {"VERCEL": "1"}, "0.0.0.0")


def test_all_errors_are_reported_at_once_without_values() -> None:
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


def test_runner_url_is_normalised() -> None:
    assert (
        read_config(DEPLOYED | {"RUNNER_URL": "HTTPS://Runner.Example/"}, "0.0.0.0").runner_url
        == "https://runner.example"
    )


def test_invalid_mongodb_option_is_reported_without_the_uri() -> None:
    with pytest.raises(ConfigurationError, match="MONGODB_URI") as error:
        create_app(DEPLOYED | {"MONGODB_URI": "mongodb://u:hunter@h/?tls=true&ssl=false"}, "0.0.0.0")
    assert "hunter" not in str(error.value)


def test_front_end_starts_without_dns() -> None:
    app = create_app(DEPLOYED | {"MONGODB_URI": "mongodb+srv://u:p@cluster.invalid/"}, "0.0.0.0")
    assert app.test_client().get("/login", base_url="https://localhost").status_code == 200
