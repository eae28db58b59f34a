"""The environment of a worker as text, and services that it names already."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping

import httpx
import redis
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from worker.core.settings.reader import FILE_SUFFIX
from worker.dev.stack.errors import StackError

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
_TIMEOUT = 3.0


def as_exports(environment: Mapping[str, str]) -> str:
    """Return `export NAME=value` lines for a shell."""
    return "".join(f"export {line}" for line in _lines(environment))


def as_env_file(environment: Mapping[str, str]) -> str:
    """Return `NAME=value` lines for `set -a; . FILE` and for env files of Docker.

    A value that a shell would take apart is in single quotes, which `docker run --env-file`,
    unlike docker compose, does not take off.
    """
    return "".join(_lines(environment))


def unset_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without what a stack answers: it then runs every service itself.

    All else stays, because npm reads there how it reaches its registry.
    """
    answered = {*_ANSWERED, *(f"{name}{FILE_SUFFIX}" for name in _ANSWERED)}
    return {name: value for name, value in environ.items() if name not in answered}


def inherit(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what services take over from `environ`: no setting of theirs comes from outside."""
    return {name: environ[name] for name in _INHERITED if name in environ}


def _lines(environment: Mapping[str, str]) -> list[str]:
    return [f"{name}={_quote(value)}\n" for name, value in environment.items()]


def _quote(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else shlex.quote(value)


def check_service(variable: str, url: str) -> None:
    """Raise StackError, without the URL and its password, if the named service is silent."""
    fault = _CHECKS[variable](url)
    if fault:
        raise StackError(
            f"{variable} names a service that does not answer ({fault}).\n"
            f"Put it right, or unset {variable} to have a service started for you.",
            code="service_silent",
        )


def _mongodb_fault(url: str) -> str | None:
    try:
        with MongoClient[Mapping[str, object]](
            url, serverSelectionTimeoutMS=int(_TIMEOUT * 1000)
        ) as client:
            client.admin.command("ping")
    except PyMongoError as error:
        return type(error).__name__
    return None


def _redis_fault(url: str) -> str | None:
    try:
        with redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
        ) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        return type(error).__name__
    return None


def _pds_fault(url: str) -> str | None:
    path = "/xrpc/com.atproto.server.describeServer"
    try:
        httpx.get(url.rstrip("/") + path, timeout=_TIMEOUT).raise_for_status()
    except httpx.HTTPStatusError as error:
        return f"HTTP {error.response.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return type(error).__name__
    return None


_CHECKS: Mapping[str, Callable[[str], str | None]] = {
    "MONGODB_CONNECTION_STRING": _mongodb_fault,
    "REDIS_URL": _redis_fault,
    "PDS_URL": _pds_fault,
}


VARIABLES = tuple(_CHECKS)
