"""The configuration folder: the resulting objects and the errors."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from config_folder import CHART_VALUES, RUNS_URI, SET_BY_CHART, Config, ConfigError, known_variables, read
from launcher.settings import Settings
from pipeline_operator.settings import OperatorSettings

ROOT = Path(__file__).resolve().parents[2]
KNOWN = known_variables((ROOT / ".env.example").read_text())
SECRET = "0123456789abcdef0123456789abcdef"
OLD = "fedcba9876543210fedcba9876543210"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "master-cv.md").write_text("# A person\n")
    write(tmp_path)
    return tmp_path


def write(folder: Path, text: str = "") -> None:
    (folder / ".env").write_text(f"RUNNER_API_SECRET={SECRET}\n{text}")


def content(config: Config, name: str) -> dict[str, str]:
    """Return an object's data."""
    found = next(each for each in config.objects if each["metadata"]["name"] == name)
    if found["kind"] == "ConfigMap":
        data: dict[str, str] = found["data"]
        return data
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def errors(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, KNOWN)
    return str(caught.value)


def test_env_is_split_between_launcher_and_runs(folder: Path) -> None:
    write(
        folder,
        f"RUNNER_API_SECRET_PREVIOUS={OLD}\nMONGODB_URI=mongodb+srv://example\nOPENAI_API_KEY=sk-1\nMAX_CONCURRENCY=2\n",
    )
    config = read(folder, KNOWN)
    uri = {"MONGODB_URI": "mongodb+srv://example"}
    secrets = {"RUNNER_API_SECRET": SECRET, "RUNNER_API_SECRET_PREVIOUS": OLD}
    assert content(config, "slipway-env") == {**secrets, **uri}
    assert content(config, "slipway-pipeline") == {"OPENAI_API_KEY": "sk-1", **uri}
    assert config.values == {"queue": {"maxConcurrency": 2}}
    assert config.notes == []


def test_runs_get_their_own_mongodb_uri_if_there_is_one(folder: Path) -> None:
    write(folder, "MONGODB_URI=mongodb://writer@h/\nPIPELINE_MONGODB_URI=mongodb://reader@h/\n")
    config = read(folder, KNOWN)
    assert content(config, "slipway-env")["MONGODB_URI"] == "mongodb://writer@h/"
    assert content(config, "slipway-pipeline") == {"MONGODB_URI": "mongodb://reader@h/"}
    assert config.notes == []


def test_example_env_is_valid_once_its_secret_is_set(folder: Path) -> None:
    example = (ROOT / ".env.example").read_text()
    (folder / ".env").write_text(example)
    assert "RUNNER_API_SECRET has fewer than 32 bytes" in errors(folder)
    (folder / ".env").write_text(example.replace("your-secret-here", SECRET))
    config = read(folder, KNOWN)
    assert set(content(config, "slipway-env")) == {"RUNNER_API_SECRET", "REDIS_URL"}
    assert any("REDIS_URL is used only with install.sh --redis external" in note for note in config.notes)
    assert any("CORS_ORIGINS is still the example" in note for note in config.notes)


@pytest.mark.parametrize(
    ("url", "port"), [("redis://172.18.0.1/5", 6379), ("rediss://:p%40ss@redis.example:6380/0", 6380)]
)
def test_external_redis_gives_its_port_to_the_network_policies_and_its_password_to_no_run(
    folder: Path, url: str, port: int
) -> None:
    write(folder, f"REDIS_URL={url}\n")
    config = read(folder, KNOWN)
    assert config.values == {"redis": {"externalPort": port}}
    assert content(config, "slipway-env")["REDIS_URL"] == url
    assert content(config, "slipway-pipeline") == {}


def test_every_setting_is_assigned() -> None:
    """No setting of launcher or operator is passed to runs, except the one that is shared."""
    settings = {*Settings.model_fields, *OperatorSettings.model_fields}
    assigned = {
        *CHART_VALUES,
        *SET_BY_CHART,
        "RUNNER_API_SECRET",
        "RUNNER_API_SECRET_PREVIOUS",
        "MONGODB_URI",
        RUNS_URI,
    }
    assert settings == assigned
    assert settings <= KNOWN


def test_chart_turns_every_value_into_its_setting() -> None:
    template = (ROOT / "charts/slipway/templates/common/config.yaml").read_text()
    values = yaml.safe_load((ROOT / "charts/slipway/values.yaml").read_text())
    for name, path in CHART_VALUES.items():
        group, key = path.split(".")
        assert key in values[group]
        assert re.search(rf"^  {name}: .*\.Values\.{group}\.{key}\b", template, re.MULTILINE), name


def test_quotes_and_comments_follow_shell_syntax(folder: Path) -> None:
    write(folder, "A='x # y'\nB=\"two words\"\nC=bare\n\n# E=1\nF=\nG=p=q\n")
    found = content(read(folder, KNOWN), "slipway-pipeline")
    assert found == {"A": "x # y", "B": "two words", "C": "bare", "G": "p=q"}


def test_unknown_variable_is_passed_to_runs_and_reported(folder: Path) -> None:
    write(folder, "OPENAI_APIKEY=sk-1\n")
    config = read(folder, KNOWN)
    assert content(config, "slipway-pipeline") == {"OPENAI_APIKEY": "sk-1"}
    assert any("OPENAI_APIKEY is not a setting of Slipway" in note for note in config.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\r\n", "Windows line endings"),
        ("A='x\n", ".env:2 sets A to a value that a shell, Compose and systemd read differently: write A='…'"),
        ("A='x'y\n", ".env:2 sets A to a value"),
        ("A='x' # why\n", "move it to its own line"),
        ("export A=x\n", ".env:2 starts with export"),
        ("MONGODB_URI=mongodb+srv://u:hunter@h.example.net/?a=b&w=majority\n", ".env:2 sets MONGODB_URI to a value"),
        ("just words\n", ".env:2 is not NAME='value'"),
        ("REDIS_URL='redis://:hunter#2@h:6379/5'\n", "REDIS_URL: percent-encode"),
        ("MONGODB_URI='mongodb+srv://u:hunter@2@h.example.net/'\n", "MONGODB_URI: percent-encode"),
        ("MONGODB_URI='mongodb+srv://u:hunter@h.example.net:27017/'\n", "does not accept a port"),
        ("TERMINATION_GRACE_SECONDS=0.5\n", "TERMINATION_GRACE_SECONDS must be a whole number"),
        ("A=1\nA=2\n", ".env:3 sets A again"),
        ("RUNNER_API_SECRET_PREVIOUS=short\n", "RUNNER_API_SECRET_PREVIOUS has fewer than 32 bytes"),
        (f"RUNNER_API_SECRET_PREVIOUS={'ab' * 20}\n", "repeats a few characters"),
        (f"RUNNER_API_SECRET_PREVIOUS={SECRET}\n", "equals RUNNER_API_SECRET"),
        ("MONGODB_URI=example.com\n", "must start with mongodb://"),
        ("MONGODB_URI=mongodb://user:pass@localhost:27017/jobs\n", "the pod itself"),
        ("PIPELINE_MONGODB_URI=mongodb://localhost/\n", "PIPELINE_MONGODB_URI points to localhost"),
        ("PIPELINE_MONGODB_URI='mongodb://u:hunter@2@h/'\n", "PIPELINE_MONGODB_URI: percent-encode"),
        ("MAX_CONCURRENCY=three\n", "MAX_CONCURRENCY must be a whole number from 1 to 1000"),
        ("PIPELINE_EPHEMERAL_STORAGE='2 GB'\n", "PIPELINE_EPHEMERAL_STORAGE is not a valid quantity, for example 2Gi"),
        ("GOOGLE_APPLICATION_CREDENTIALS=/home/me/key.json\n", "must be in /app/credentials"),
        ("GOOGLE_APPLICATION_CREDENTIALS=/app/credentials/key.json\n", "key.json, which is not in credentials/"),
    ],
)
def test_invalid_env_is_rejected_with_advice(folder: Path, text: str, message: str) -> None:
    with (folder / ".env").open("a", newline="") as file:
        file.write(text)
    found = errors(folder)
    assert message in found
    assert SECRET not in found and "hunter" not in found


def test_all_missing_parts_are_reported_at_once(tmp_path: Path) -> None:
    found = errors(tmp_path)
    assert ".env is missing" in found and "master-cv.md is missing" in found and "RUNNER_API_SECRET is not set" in found
    assert "is not a folder" in errors(tmp_path / "nowhere")


def test_unusable_files_are_reported(folder: Path) -> None:
    (folder / "credentials/deep").mkdir(parents=True)
    (folder / "credentials/with space.json").write_text("{}")
    (folder / "master-cv.md").write_bytes(b"\xff\xfe")
    (folder / "registry.json").write_text("{}")
    found = errors(folder)
    assert "cannot contain folders" in found and "with space.json: the name can only contain" in found
    assert "not UTF-8" in found and "must be a Docker configuration" in found
    (folder / "master-cv.md").write_text("x" * 1_100_000)
    assert "limit of 1 MiB" in errors(folder)


def test_registry_credentials_become_a_pull_secret(folder: Path) -> None:
    (folder / "registry.json").write_text('{"auths": {"ghcr.io": {"auth": "eDp5"}}}')
    found = next(each for each in read(folder, KNOWN).objects if each["metadata"]["name"] == "slipway-registry")
    assert found["type"] == "kubernetes.io/dockerconfigjson"


def test_command_prints_errors_and_exits_with_2(folder: Path) -> None:
    program = ROOT / "k8s/config.py"
    assert subprocess.run([program, folder, "--check"], capture_output=True, timeout=60).returncode == 0
    write(folder, "just words\n")
    done = subprocess.run([program, folder, "--check"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "is not NAME='value'" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "command", [["config.py", "FOLDER", "--check"], ["verify.py", "--help"]], ids=lambda each: each[0]
)
def test_uploaded_files_suffice_for_the_commands_with_plain_python(
    folder: Path, tmp_path: Path, command: list[str]
) -> None:
    sent = re.search(r"__pycache__ \\\n(.*) \|", (ROOT / "k8s/remote.sh").read_text())
    assert sent
    there = tmp_path / "there"
    there.mkdir()
    tar = ["tar", "--create", "--directory", str(ROOT), "--exclude=__pycache__", *sent[1].split()]
    content = subprocess.run(tar, check=True, capture_output=True, timeout=60).stdout
    subprocess.run(["tar", "--extract", "--directory", str(there)], input=content, check=True, timeout=60)
    script, *args = [str(folder) if each == "FOLDER" else each for each in command]
    python = [sys.executable, "-S", str(there / "k8s" / script), *args]  # -S: no installed package
    done = subprocess.run(python, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
