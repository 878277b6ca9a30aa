"""Profiles: tone, language, length and order of the documents, and the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline_runner.errors import ProfileNotUsableError
from pipeline_runner.profile_files import BUNDLED, DEFAULT

SectionName = Literal["profile", "skills", "experience", "other", "education", "languages"]
Count = Annotated[int, Field(strict=True, ge=0, le=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Length(_Part):
    """The limits on how much of the master CV the documents use."""

    #: How many roles, counted from the top of the CV, count as recent.
    recent_roles: Count = 2
    #: The most bullets that a recent role keeps.
    bullets_in_recent_roles: Count = 4
    #: The most bullets that an older role keeps.
    bullets_in_older_roles: Count = 2
    #: How many paragraphs of the CV's profile section are kept, from the first.
    profile_paragraphs: Count = 1
    #: How many facts the letter uses.
    letter_facts: Annotated[int, Field(strict=True, ge=1, le=10)] = 3


class Profile(_Part):
    """Options for writing the documents."""

    name: str
    tone: Literal["plain", "warm", "formal"] = "plain"
    #: The letter's language; ``auto`` is the master CV's, as quotes are not translated.
    language: Literal["auto", "English", "German"] = "auto"
    length: Length = Length()
    #: The CV's sections in order. Others are left out, except ``experience``, which then comes last.
    sections: tuple[SectionName, ...] = ("profile", "skills", "experience", "other", "education", "languages")
    #: The model; overrides MODEL.
    model: str | None = None


def read_profile(path: Path) -> Profile:
    """Read a profile; it has the name of the file.

    Raises:
        ProfileNotUsableError: The file is not valid YAML, or has an invalid field.
    """
    try:
        fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as exc:
        problem = " ".join(str(exc).split())
        msg = f"The profile {path} is not valid YAML: {problem}"
        raise ProfileNotUsableError(msg) from exc
    if not isinstance(fields, dict):
        msg = f"The profile {path} must have fields such as 'tone: plain'. See {DEFAULT}.yaml in {BUNDLED}."
        raise ProfileNotUsableError(msg)
    try:
        return Profile.model_validate({**fields, "name": path.stem})
    except ValidationError as exc:
        faults = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        msg = f"The profile {path} is invalid: {faults}."
        raise ProfileNotUsableError(msg) from exc
