"""Errors of pydantic, as people read them."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from launcher.validation_errors import in_words


class Child(BaseModel):
    number: int = 0


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=3)]
    count: Annotated[int, Field(ge=0, le=9)] = 0
    items: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]
    child: Child = Child()

    @field_validator("name")
    @classmethod
    def _is_not_dashed(cls, name: str) -> str:
        if name.startswith("-"):
            raise ValueError("must not start with '-'")
        return name


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "is required"),
        ({"name": ""}, "must not be empty"),
        ({"name": "abcd"}, "must have at most 3 characters"),
        ({"name": 1}, "must be a valid string"),
        ({"name": "-a"}, "must not start with '-'"),
        ({"name": "a", "count": 10}, "must be less than or equal to 9"),
        ({"name": "a", "items": []}, "must have at least 1 item"),
        ({"name": "a", "items": [1, 2, 3]}, "must have at most 2 items"),
        ({"name": "a", "child": "b"}, "must be an object"),
        ({"name": "a", "typo": 1}, "is not a known field"),
    ],
)
def test_error_is_said_in_plain_words(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as invalid:
        Model.model_validate(values)
    assert [in_words(error) for error in invalid.value.errors()] == [words]


def test_error_without_words_of_its_own_keeps_pydantics() -> None:
    assert in_words({"type": "other", "msg": "Unable to parse it"}) == "Unable to parse it"
