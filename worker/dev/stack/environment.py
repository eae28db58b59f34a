"""Format a worker's environment, and check the services in its variables."""

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

# Docker compose removes quotes, but `docker run --env-file` does not. So a value is only quoted if
# it has characters that are special in a shell assignment. An assignment does not expand `?`.
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./?-]+")
# The settings of the platform whose documents are published.
PLATFORM_VARIABLES = ("SITE_URL", "USER_BUCKET", "GUEST_BUCKET", "GUEST_SUBJECT")
STACK_VARIABLES = (
    "MONGODB_CONNECTION_STRING",
    "MONGODB_NAME",
    "REDIS_URL",
    "PDS_URL",
    "DID_RESOLVER",
    "RATE_LIMITS",
    "MEDIA_PROFILE",
    "MEDIA_STORE_URL",
    "SECRET_KEYS",
    *PLATFORM_VARIABLES,
)
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
_TIMEOUT = 3.0


def as_exports(environment: Mapping[str, str]) -> str:
    """Format variables as `export NAME=value` lines for a shell."""
    return "".join(f"export {line}" for line in _lines(environment))


def as_env_file(environment: Mapping[str, str]) -> str:
    """Format variables as `NAME=value` lines, for `set -a; . FILE` and for Docker."""
    return "".join(_lines(environment))


def _lines(environment: Mapping[str, str]) -> list[str]:
    return [
        f"{name}={value if _PLAIN.fullmatch(value) else shlex.quote(value)}\n"
        for name, value in environment.items()
    ]


def unset_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without `STACK_VARIABLES`, so that a stack runs all services.

    Other variables are kept, because they can configure npm's access to its registry.
    """
    removed = {*STACK_VARIABLES, *(f"{name}{FILE_SUFFIX}" for name in STACK_VARIABLES)}
    return {name: value for name, value in environ.items() if name not in removed}


def inherit(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for services, such as PATH; none configures a service."""
    return {name: environ[name] for name in _INHERITED if name in environ}


def check_service(variable: str, url: str) -> None:
    """Call the service at `url`; raises StackError if it does not respond.

    The message omits the URL, which can contain a password.
    """
    try:
        SERVICE_CHECKS[variable](url)
    except httpx.HTTPStatusError as error:
        fault = f"HTTP {error.response.status_code}"
    except (PyMongoError, redis.RedisError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        fault = type(error).__name__
    else:
        return
    raise StackError(
        f"{variable} names a service that does not answer ({fault}).\n"
        f"Put it right, or unset {variable} to have a service started for you.",
        code="service_silent",
    )


def _ping_mongodb(url: str) -> None:
    timeout = int(_TIMEOUT * 1000)
    with MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=timeout) as client:
        client.admin.command("ping")


def _ping_redis(url: str) -> None:
    with redis.Redis.from_url(
        url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
    ) as client:
        client.ping()


def _describe_pds(url: str) -> None:
    path = "/xrpc/com.atproto.server.describeServer"
    httpx.get(url.rstrip("/") + path, timeout=_TIMEOUT).raise_for_status()


SERVICE_CHECKS: Mapping[str, Callable[[str], None]] = {
    "MONGODB_CONNECTION_STRING": _ping_mongodb,
    "REDIS_URL": _ping_redis,
    "PDS_URL": _describe_pds,
}
