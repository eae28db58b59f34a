"""Services that the environment already names: asked once whether they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import httpx
import redis
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from worker.dev.stack.errors import StackError

_TIMEOUT = 3.0


def check(variable: str, url: str) -> None:
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
