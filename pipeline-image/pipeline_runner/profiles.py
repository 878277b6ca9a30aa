"""The profiles: how much of the master CV goes into the documents."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One way of cutting the documents."""

    name: str
    #: How many roles, counted from the top of the CV, count as recent.
    recent_roles: int
    #: The most bullets that a recent role keeps.
    bullets_in_recent_roles: int
    #: The most bullets that an older role keeps.
    bullets_in_older_roles: int
    #: How many paragraphs of the CV's profile section are kept, from the first.
    profile_paragraphs: int


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="default", recent_roles=2, bullets_in_recent_roles=4, bullets_in_older_roles=2, profile_paragraphs=1
        ),
        Profile(
            name="senior", recent_roles=3, bullets_in_recent_roles=8, bullets_in_older_roles=4, profile_paragraphs=2
        ),
    )
}
DEFAULT_PROFILE = PROFILES["default"]
