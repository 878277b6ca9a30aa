"""The form of a model's answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """What an answer is made of: every field is required, and no other is allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
