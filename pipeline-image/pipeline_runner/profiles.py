"""The profiles: tone, language, length and order of the documents, and the model that helps to write them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline_runner.errors import ProfileUnreadableError
from pipeline_runner.profile_files import BUNDLED, DEFAULT

SectionName = Literal["profile", "skills", "experience", "other", "education", "languages"]
Count = Annotated[int, Field(strict=True, ge=0, le=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Length(_Part):
    """How much of the master CV goes into the documents."""

    #: How many roles, counted from the top of the CV, count as recent.
    recent_roles: Count = 2
    #: The most bullets that a recent role keeps.
    bullets_in_recent_roles: Count = 4
    #: The most bullets that an older role keeps.
    bullets_in_older_roles: Count = 2
    #: How many paragraphs of the CV's profile section are kept, from the first.
    profile_paragraphs: Count = 1
    #: How many facts the letter tells.
    letter_facts: Annotated[int, Field(strict=True, ge=1, le=10)] = 3


class Profile(_Part):
    """One way of writing the documents."""

    name: str
    tone: Literal["plain", "warm", "formal"] = "plain"
    #: The letter's language; ``auto`` is that of the master CV, since what is quoted from it is not translated.
    language: Literal["auto", "English", "German"] = "auto"
    length: Length = Length()
    #: The CV's sections in their order. One that is not named is left out, except ``experience``, which comes last.
    sections: tuple[SectionName, ...] = ("profile", "skills", "experience", "other", "education", "languages")
    #: The model, instead of MODEL's.
    model: str | None = None


def read_profile(path: Path) -> Profile:
    """Read a profile; its name is that of the file.

    Raises:
        ProfileUnreadableError: The file is no YAML, or a field of it is wrong: both are named.
    """
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as exc:
        problem = " ".join(str(exc).split())
        msg = f"The profile {path} cannot be read as YAML: {problem}"
        raise ProfileUnreadableError(msg) from exc
    if not isinstance(fields, dict):
        msg = f"The profile {path} must hold fields such as 'tone: plain'; {DEFAULT}.yaml in {BUNDLED} shows all."
        raise ProfileUnreadableError(msg)
    try:
        return Profile.model_validate({**fields, "name": path.stem})
    except ValidationError as exc:
        faults = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        msg = f"The profile {path} is wrong: {faults}."
        raise ProfileUnreadableError(msg) from exc
