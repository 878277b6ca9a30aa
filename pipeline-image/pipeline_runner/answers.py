"""The base class of a model's answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from pipeline_runner.text import clean


class Answer(BaseModel):
    """A model's answer: every field is required, no other is allowed, and texts are cleaned."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _cleaned(cls, value: Any) -> Any:
        return clean(value) if isinstance(value, str) else value
