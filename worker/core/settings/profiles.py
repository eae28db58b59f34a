"""Profiles of known platforms: values of settings that the environment does not set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Profile:
    """The settings of a platform, by variable.

    `password_readers` are the platform's own programs that read `users.atproto.password` in plain
    text.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    password_readers: tuple[str, ...] = ()


PROFILES: Mapping[str, Profile] = {
    "aesthetic-computer": Profile(
        settings={
            "SITE_URL": "https://aesthetic.computer",
            "USER_BUCKET": "user-aesthetic-computer",
            "GUEST_BUCKET": "art-aesthetic-computer",
            "GUEST_SUBJECT": "art-guest",
            "MEDIA_STORE_URL": "https://{bucket}.sfo3.digitaloceanspaces.com/{key}",
            "MEDIA_STORE_ALLOWED_HOSTS": (
                "user-aesthetic-computer.sfo3.digitaloceanspaces.com,"
                "art-aesthetic-computer.sfo3.digitaloceanspaces.com"
            ),
        },
        password_readers=("handle changes", "papers", "standard.site"),
    ),
}
"""All profiles by the value of MEDIA_PROFILE."""

NO_PROFILE = Profile()

DEPENDS_ON: Mapping[str, str] = {"MEDIA_STORE_ALLOWED_HOSTS": "MEDIA_STORE_URL"}
"""Variables whose value in a profile is only used if the environment does not set another one."""
