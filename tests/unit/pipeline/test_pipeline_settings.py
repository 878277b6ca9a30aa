"""Settings from the environment, and .env.example."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline_runner.costs import Costs
from pipeline_runner.errors import PipelineError
from pipeline_runner.settings import Settings

ROOT = Path(__file__).resolve().parents[3]


def test_openai_takes_precedence_and_empty_variables_are_unset():
    both = Settings.from_environment({"OPENAI_API_KEY": "a", "OPENROUTER_API_KEY": "b"}).model
    assert (both.key_name, both.base_url, both.model) == ("OPENAI_API_KEY", "https://api.openai.com/v1", "gpt-4.1-mini")
    other = Settings.from_environment({"OPENAI_API_KEY": " ", "OPENROUTER_API_KEY": "b", "MODEL": "x/y"}).model
    assert (other.key_name, other.host, other.model) == ("OPENROUTER_API_KEY", "openrouter.ai", "x/y")
    assert Settings.from_environment({"OPENAI_API_KEY": ""}).model is None


def test_repr_hides_the_key():
    assert "sk-secret" not in repr(Settings.from_environment({"OPENAI_API_KEY": "sk-secret"}))


@pytest.mark.parametrize("name", ["MODEL_TIMEOUT_SECONDS", "PAGE_TIMEOUT_SECONDS"])
@pytest.mark.parametrize("text", ["soon", "-1", "0", "nan", "inf", "1e9"])
def test_invalid_time_is_rejected(name, text):
    with pytest.raises(PipelineError, match=f"{name} is '{text}'. Set a number of seconds"):
        Settings.from_environment({"OPENAI_API_KEY": "a", name: text})


def test_times_have_defaults():
    settings = Settings.from_environment({"OPENAI_API_KEY": "a", "MODEL_TIMEOUT_SECONDS": ""})
    assert (settings.model.timeout_seconds, settings.page_seconds) == (120, 30)


def test_every_variable_is_in_the_example_file():
    names = re.findall(r'"([A-Z]+_[A-Z_]+|MODEL)"', (ROOT / "pipeline-image/pipeline_runner/settings.py").read_text())
    example = (ROOT / ".env.example").read_text()
    assert len(names) >= 10
    assert [name for name in names if f"{name}=" not in example] == []


@pytest.mark.parametrize(
    ("model", "usage", "end"),
    [
        ("gpt-4o-mini-2024-07-18", {"prompt_tokens": 1_000_000, "completion_tokens": 0}, "about $0.1500 by list price"),
        ("openai/gpt-4o", {"prompt_tokens": 0, "completion_tokens": 100_000}, "about $1.0000 by list price"),
        ("own", {"prompt_tokens": 5, "completion_tokens": 6}, "own: 1 answers, 5 tokens in, 6 out, price unknown"),
        ("own", {"cost": 0.25}, "$0.2500 as reported by the provider"),
        ("own", {"prompt_tokens": "many", "completion_tokens": -1}, "0 tokens in, 0 out, price unknown"),
        ("own", None, "0 tokens in, 0 out, price unknown"),
    ],
)
def test_tokens_and_price_are_summed(model, usage, end):
    costs = Costs(model)
    costs.add(usage)
    assert costs.summary().endswith(end)
