"""The environment of a worker as text, and the part of ours that services inherit."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from worker.core.settings.reader import FILE_SUFFIX

# Docker's `--env-file` takes values as they stand, so nothing is quoted that a shell's
# assignment leaves alone. Names are not expanded there, so `?` is safe.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./?-]+")
_ANSWERED = (
    "MONGODB_CONNECTION_STRING",
    "MONGODB_NAME",
    "REDIS_URL",
    "PDS_URL",
    "DID_RESOLVER",
    "RATE_LIMITS",
    "MEDIA_STORE_URL",
    "SECRET_KEYS",
)
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")


def as_exports(environment: Mapping[str, str]) -> str:
    """Return `export NAME=value` lines for a shell."""
    return "".join(f"export {line}" for line in _lines(environment))


def as_env_file(environment: Mapping[str, str]) -> str:
    """Return `NAME=value` lines for `set -a; . FILE` and for env files of Docker.

    A value that a shell would take apart is in single quotes, which `docker run --env-file`,
    unlike docker compose, does not take off.
    """
    return "".join(_lines(environment))


def unsettled(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what a stack answers: it then runs every service itself.

    All else stays, because npm reads there how it reaches its registry.
    """
    answered = {*_ANSWERED, *(f"{name}{FILE_SUFFIX}" for name in _ANSWERED)}
    return {name: value for name, value in environ.items() if name not in answered}


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what services take over from `environ`: no setting of theirs comes from outside."""
    return {name: environ[name] for name in _INHERITED if name in environ}


def _lines(environment: Mapping[str, str]) -> list[str]:
    return [f"{name}={_quoted(value)}\n" for name, value in environment.items()]


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else shlex.quote(value)
