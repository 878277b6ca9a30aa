"""Validation of requests: names in any script, without characters that are hidden or reverse the text."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from launcher.api.schemas import JOB_ID_CHARACTERS, RunRequest


@pytest.mark.parametrize(
    "job_id",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a zero-width non-joiner
        "\u0915\u094d\u200d\u0937",  # Devanagari, with a zero-width joiner
        "👩\u200d👩\u200d👧",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # Scotland's flag, of tag characters
        "soft\u00adhyphen",
        "\ue000",
    ],
)
def test_job_id_can_use_any_script(job_id: str) -> None:
    assert RunRequest(job_id=job_id).job_id == job_id


@pytest.mark.parametrize(
    "character", ["\0", "\n", "\x1b", "\x7f", "\x85", *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
)
def test_control_and_bidirectional_characters_are_refused(character: str) -> None:
    with pytest.raises(ValidationError, match=JOB_ID_CHARACTERS):
        RunRequest(job_id=f"a{character}b")


@pytest.mark.parametrize("text", ["\ud83d", "\udcff", "a\ude00"])
def test_lone_surrogates_are_refused_everywhere(text: str) -> None:
    for body in (
        {"job_id": text},
        {"job_id": "1", "params": {"a": text}},
        {"job_id": "1", "params": {text: "a"}},
        {"job_id": "1", "params": {"a": {"b": text}}},
        {"job_id": "1", "pipeline": text},
        {"job_id": "1", "profile_ref": text},
        {"job_id": "1", text: 1},
    ):
        with pytest.raises(ValidationError):
            RunRequest.model_validate(body)
