"""The rules of the settings: which values are refused and why, and how others are normalized. No secret is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.uri_parser import parse_uri
from redis.asyncio import ConnectionPool

from config_folder import CHART_VALUES, ConfigError, read
from frontend.config import ConfigurationError as FrontendError
from frontend.config import read_config
from launcher.cli.client import Client
from launcher.cli.failures import Failure
from launcher.domain.errors import ConfigurationError
from launcher.domain.setting_rules import RULES, Unusable, typos, usable
from launcher.settings import Settings, SharedSettings
from launcher.stores import mongodb, redis
from pipeline_operator.settings import OperatorSettings

ROOT = Path(__file__).resolve().parents[3]
SECRET = "0123456789abcdef0123456789abcdef"
PARTS = ("hunter", "sesame", "p@ss", SECRET)
ENCODE = "percent-encode"
REFUSED = [
    ("RUNNER_API_SECRET", f"{SECRET}\n", "ends with a line break, which echo adds"),
    ("RUNNER_API_SECRET", f"{SECRET}\r\n", "ends with a line break"),
    ("RUNNER_API_SECRET", f" {SECRET}", "starts or ends with a space"),
    ("RUNNER_API_SECRET", f"{SECRET} hunter", "contains a space"),
    ("RUNNER_API_SECRET", f"{SECRET}\thunter", "control character"),
    ("RUNNER_API_SECRET", f"{SECRET}\nhunter", "line break"),
    ("RUNNER_API_SECRET", f"{SECRET}ü", "other than ASCII"),
    ("RUNNER_API_SECRET", f"{SECRET}\u200b", "other than ASCII"),
    ("RUNNER_API_SECRET", f"'{SECRET}'", "quotation marks around it that were meant for a shell"),
    ("RUNNER_API_SECRET", f'"{SECRET}', "a quotation mark that was meant for a shell"),
    ("RUNNER_API_SECRET_PREVIOUS", f"{SECRET}\n", "ends with a line break"),
    ("FRONTEND_PASSWORD", "open sesame\n", "ends with a line break"),
    ("FRONTEND_PASSWORD", "'open sesame'", "quotation marks"),
    ("FRONTEND_PASSWORD", "open sésame", "use only ASCII"),
    ("FRONTEND_SECRET_KEY", "hunter\n", "ends with a line break"),
    ("OPENAI_API_KEY", "sk-hunter\n", "ends with a line break"),
    ("REDIS_URL", "redis://:hunter#2@h:6379/5", ENCODE),
    ("REDIS_URL", "redis://:hunter/2@h:6379/5", ENCODE),
    ("REDIS_URL", "redis://:hunter?2@h:6379/5", ENCODE),
    ("REDIS_URL", "redis://:hunter@2@h:6379/5", ENCODE),
    ("REDIS_URL", "redis://:hunter[2@h:6379/5", ENCODE),
    ("REDIS_URL", "redis://:hunter%2@h:6379/5", ENCODE),
    ("REDIS_URL", "redis://:hunter 2@h:6379/5", ENCODE),
    ("REDIS_URL", "redis://h:port/5", "the port must be a number from 1 to 65535"),
    ("REDIS_URL", "redis://h:0/5", "the port"),
    ("REDIS_URL", "redis://h:70000/5", "the port"),
    ("REDIS_URL", "redis://h:/5", "the port"),
    ("REDIS_URL", "redis://h/five", "the database after the host must be a number"),
    ("REDIS_URL", "redis://h/5/6", "the database"),
    ("REDIS_URL", "redis://h/5?db=five", "the option db"),
    ("REDIS_URL", "redis://h/5?datebase=hunter", "is unknown to its client"),
    ("REDIS_URL", "redis:///5", "has no host"),
    ("REDIS_URL", "redis://:hunter@:6379/5", "has no host"),
    ("REDIS_URL", "h:6379", "must start with redis://"),
    ("REDIS_URL", "http://:hunter@h", "must start with redis://"),
    ("REDIS_URL", "redis://[::1/5", "IPv6 address in square brackets"),
    ("REDIS_URL", "unix://", "path of the socket"),
    ("REDIS_URL", "'redis://:hunter@h/5'", "quotation marks"),
    ("MONGODB_URI", "mongodb://u:p@ss@host/", ENCODE),
    ("MONGODB_URI", "mongodb+srv://u:p@ss@c.example.net/", ENCODE),
    ("MONGODB_URI", "mongodb://u:hunter:2@host/", ENCODE),
    ("MONGODB_URI", "mongodb://u:hunter/2@host/", ENCODE),
    ("MONGODB_URI", "mongodb://u:hunter%zz@host/", ENCODE),
    ("MONGODB_URI", "mongodb+srv://u:hunter@c.example.net:27017/jobs", "does not accept a port"),
    ("MONGODB_URI", "mongodb+srv://u:hunter@a.example.net,b.example.net/", "only one host name"),
    ("MONGODB_URI", "mongodb+srv://u:hunter@192.0.2.1/", "requires a host name"),
    ("MONGODB_URI", "mongodb://u:hunter@/jobs", "has no host"),
    ("MONGODB_URI", "mongodb://", "has no host"),
    ("MONGODB_URI", "mongodb://a,,b", "has no host"),
    ("MONGODB_URI", "mongodb://u:hunter@h:port", "the port"),
    ("MONGODB_URI", "mongodb://u:hunter@h/?retryWrite=true", "did you mean retrywrites?"),
    ("MONGODB_URI", "mongodb://u:hunter@h/?hunter", "is not NAME=VALUE"),
    ("MONGODB_URI", "mongodb://h/?tls=yes", "the option tls"),
    ("MONGODB_URI", "mongodb://h/?connectTimeoutMS=soon", "the option connecttimeoutms"),
    ("MONGODB_URI", "postgres://u:hunter@h", "must start with mongodb://"),
    ("REDIS_URL", "redis://h..b/0", "the host must be a name"),
    ("REDIS_URL", "redis://256.1.1.1/0", "the host must be a name"),
    ("RUNNER_URL", f"http://{'a' * 64}.example.com", "the host must be a name"),
    ("RUNNER_URL", "http://xn--zz.example.com", "the host must be a name"),
    ("FRONTEND_HOSTS", "a.example.com, ..", "write hosts without a scheme or a port"),
    ("FRONTEND_HOSTS", "https://a.example.com", "write hosts without a scheme or a port"),
    ("FRONTEND_HOSTS", "a.example.com:80", "write hosts without a scheme or a port"),
    ("FRONTEND_HOSTS", "*", "write hosts without a scheme or a port"),
    ("RUNNER_URL", "runner.example.com", "is not a valid URL"),
    ("RUNNER_URL", "ftp://runner.example.com", "is not a valid URL"),
    ("RUNNER_URL", "https://u:hunter@runner.example.com", "must not contain a user name or a password"),
    ("RUNNER_URL", "https://runner.example.com?token=hunter", "must not contain a query, a fragment"),
    ("RUNNER_URL", "https://runner.example.com#", "must not contain a query, a fragment"),
    ("RUNNER_URL", "https://runner.example.com:x", "the port"),
    ("RUNNER_PUBLIC_URL", "https://u:hunter@runner.example.com", "must not contain a user name"),
    ("CORS_ORIGINS", "your-app.vercel.app", "for example https://your-app.vercel.app"),
    ("CORS_ORIGINS", "https://a.example, localhost:3000", "an origin starts with http:// or https://"),
    ("CORS_ORIGINS", "https://a.example/jobs", "write https://a.example"),
    ("CORS_ORIGINS", "null", "null and wildcards are not supported"),
    ("CORS_ORIGINS", "https://*.vercel.app", "null and wildcards are not supported"),
    ("MAX_CONCURRENCY", "3 ", "starts or ends with a space"),
    ("MAX_CONCURRENCY", "1e3", "must be a whole number from 1 to 1000"),
    ("MAX_CONCURRENCY", "0x10", "must be a whole number"),
    ("MAX_CONCURRENCY", "1_0", "must be a whole number"),
    ("MAX_CONCURRENCY", "٣", "must be a whole number"),
    ("MAX_CONCURRENCY", "1001", "must be a whole number"),
    ("RETENTION_DAYS", "nan", "must be a number such as 30 or 0.5 above 0, up to 36500"),
    ("RETENTION_DAYS", "inf", "must be a number"),
    ("RETENTION_DAYS", "0", "must be a number"),
    ("RETENTION_DAYS", "99999999999", "must be a number"),
    ("REDIS_TTL_SECONDS", "99999999999999999999", "must be a whole number"),
    ("DATA_CLAIM", "Slipway_Data", "is not a valid Kubernetes name"),
    ("PIPELINE_SECRET", "a b", "is not a valid Kubernetes name"),
    ("KUBE_NAMESPACE", "a.b", "is not a valid namespace: use at most 63 characters"),
    ("IMAGE_PULL_SECRETS", "registry, Other", "is not a valid Kubernetes name"),
    ("PIPELINE_IMAGE", "ghcr.io/owner/image :tag", "no spaces"),
    ("PIPELINE_IMAGE", "ghcr.io/Owner/image", "lower case before the tag"),
]


def identifier(value: object) -> str:
    return ascii(value)[:60]


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED, ids=identifier)
def test_invalid_value_is_refused_with_a_reason_and_not_repeated(name: str, value: str, reason: str) -> None:
    with pytest.raises(Unusable) as error:
        usable(name, value)
    message = str(error.value)
    assert message.startswith(name) and reason in message
    assert "\n" not in message
    assert not [part for part in PARTS if part in message]


@pytest.mark.parametrize(
    ("name", "value", "used"),
    [
        ("RUNNER_URL", "HTTPS://Runner.Example.com/Base/", "https://runner.example.com/Base"),
        ("RUNNER_URL", "http://[::1]:8000", "http://[::1]:8000"),
        ("RUNNER_URL", "http://xn--mnchen-3ya.de", "http://xn--mnchen-3ya.de"),
        ("FRONTEND_HOSTS", ".example.com, a.example.com,[::1]", ".example.com,a.example.com,[::1]"),
        ("CORS_ORIGINS", "https://your-app.vercel.app/", "https://your-app.vercel.app"),
        ("CORS_ORIGINS", "HTTPS://A.example:443, http://b:8080", "https://a.example,http://b:8080"),
        ("CORS_ORIGINS", "*", "*"),
        ("FRONTEND_PASSWORD", "correct horse battery staple", "correct horse battery staple"),
        ("REDIS_URL", "redis://:hunter%232@h:6379/5", "redis://:hunter%232@h:6379/5"),
        ("PIPELINE_IMAGE", "registry:5000/a/b:1@sha256:" + "0" * 64, "registry:5000/a/b:1@sha256:" + "0" * 64),
        ("IMAGE_PULL_SECRETS", "one, two.three", "one,two.three"),
        ("RETENTION_DAYS", "0.5", "0.5"),
    ],
)
def test_valid_value_is_normalized(name: str, value: str, used: str) -> None:
    assert usable(name, value) == used


ADDRESSES = st.lists(
    st.sampled_from(
        [
            *"u:@/?#[]%,;=&.5",
            "%40",
            "h",
            "host",
            "[::1]",
            ":6379",
            "db=1",
            "w=majority",
            "tls=true",
            "directConnection=",
            "srvMaxHosts=1",
            "ssl_cert_reqs=none",
            "socket_timeout=1.5",
            "retryWrites=false",
            ".sock",
            "%2Ftmp%2Fx.sock",
        ]
    ),
    max_size=9,
).map("".join)


@given(ADDRESSES)
@settings(max_examples=400, deadline=None)
def test_driver_accepts_every_accepted_mongodb_uri(rest: str) -> None:
    try:
        uri = usable("MONGODB_URI", f"mongodb://{rest}")
    except Unusable:
        return
    parse_uri(uri)


@given(st.sampled_from(["redis", "rediss", "unix"]), ADDRESSES)
@settings(max_examples=400, deadline=None)
def test_client_accepts_every_accepted_redis_url(scheme: str, rest: str) -> None:
    try:
        url = usable("REDIS_URL", f"{scheme}://{rest}")
    except Unusable:
        return
    ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://h/?tls=true&ssl=false",
        "mongodb://hunter@h",
        "mongodb://hunter@h/?authMechanism=PLAIN&minPoolSize=5&maxPoolSize=1",
        "mongodb://h/?authMechanism=GSSAPI",
        "mongodb://h/?readPreference=primary&maxStalenessSeconds=90",
        "mongodb+srv://u:hunter@c.example.net/?heartbeatFrequencyMS=1",
        "mongodb+srv://u:hunter@c.example.net/?journal=true&w=0",
        "mongodb+srv://u:hunter@c.example.net/?tlsCAFile=/no/such/file",
        "mongodb+srv://u:hunter@c.example.net/?tlsInsecure=true&tlsAllowInvalidCertificates=true&srvMaxHosts=1",
    ],
)
def test_mongodb_drivers_refusal_does_not_repeat_the_uri(uri: str) -> None:
    assert usable("MONGODB_URI", uri) == uri
    message = mongodb.fault_of("MONGODB_URI", uri)
    assert message and message.startswith("MONGODB_URI: the MongoDB driver rejects")
    assert "hunter" not in message
    assert mongodb.fault_of("MONGODB_URI", "mongodb+srv://u:p@c.example.net/?srvMaxHosts=1&w=majority") is None


def test_redis_clients_refusal_does_not_repeat_the_url() -> None:
    message = redis.fault_of("REDIS_URL", "redis://:hunter@h/5?no_such_option=1")
    assert message == "REDIS_URL: the Redis client rejects an option after the '?'. Correct it."
    assert redis.fault_of("REDIS_URL", "redis://:hunter@h/5") is None


REFUSED_BY_ALL = [case for case in REFUSED if case[0] in ("REDIS_URL", "MONGODB_URI", "RUNNER_API_SECRET")]


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED_BY_ALL, ids=identifier)
def test_all_components_report_the_same_error(tmp_path: Path, name: str, value: str, reason: str) -> None:
    with pytest.raises(Unusable) as error:
        usable(name, value)
    expected = str(error.value)
    environment = {"RUNNER_API_SECRET": SECRET, "FRONTEND_PASSWORD": "open sesame", name: value}
    messages = []
    for settings_class in (Settings, OperatorSettings):
        if name in settings_class.model_fields:
            with pytest.raises(ConfigurationError) as refused:
                settings_class.from_environment(environment)
            messages.append(refused.value.message)
    if name != "REDIS_URL":  # the front end does not have it
        with pytest.raises(FrontendError) as refused_pages:
            read_config(environment, "0.0.0.0")
        messages.append(str(refused_pages.value))
    if name == "RUNNER_API_SECRET":
        with pytest.raises(Failure) as failed:
            Client("http://127.0.0.1:9", value)
        messages.append(failed.value.message)
    if value.isprintable() and "'" not in value:  # other values cannot be written in a .env unambiguously
        (tmp_path / "master-cv.md").write_text("# A person\n")
        lines = "".join(f"{each}='{text}'\n" for each, text in environment.items())
        (tmp_path / ".env").write_text(lines)
        with pytest.raises(ConfigError) as faults:
            read(tmp_path, frozenset())
        messages.append(str(faults.value))
    for text in messages:
        assert expected in text
        assert "is not set" not in text, "unusable is not the same as not set"
        assert not [part for part in PARTS if part in text]
    assert len(messages) >= 2


def test_front_end_has_an_identical_copy_of_the_rules() -> None:
    ours, theirs = (
        {path.name: path.read_text() for path in (ROOT / folder / "setting_rules").glob("*.py")}
        for folder in ("launcher/domain", "frontend")
    )
    assert ours == theirs, "make rules"


@pytest.mark.parametrize("model", [Settings, OperatorSettings], ids=lambda model: model.__name__)
def test_rule_has_the_limits_of_its_field(model: type[SharedSettings]) -> None:
    for name, field in model.model_fields.items():
        if field.annotation not in (int, float):
            continue
        for limit in field.metadata:
            for kind, step in (("ge", -1), ("le", 1), ("gt", 0)):
                if (bound := getattr(limit, kind, None)) is not None:
                    with pytest.raises(ConfigurationError, match=name):
                        model.from_environment({"RUNNER_API_SECRET": SECRET, name: str(bound + step)})
                    if kind != "gt" and name in RULES:
                        assert usable(name, str(bound))
    assert {name for name in CHART_VALUES if name != "CORS_ORIGINS"} <= RULES.keys()


def test_mistyped_setting_is_reported_with_the_right_name() -> None:
    known = Settings.model_fields.keys() | RULES.keys()
    environment = {"RUNER_URL": "hunter", "MAX_CONCURENCY": "2", "PATH": "/bin", "HOSTNAME": "h", "RUNNER_OS": "Linux"}
    notes = typos(environment, known)
    assert notes == [
        "MAX_CONCURENCY is not a setting of Slipway; did you mean MAX_CONCURRENCY?",
        "RUNER_URL is not a setting of Slipway; did you mean RUNNER_URL?",
    ]
    assert typos({"MONGODB_URL": "x", "MONGODB_URI": "mongodb://h"}, known) == []
