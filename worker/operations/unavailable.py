"""Name a service that does not respond, with its address and what to check."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from worker.core.errors import MediaError
from worker.core.secrets import Secret
from worker.core.settings import MongoSettings, QueueSettings
from worker.core.settings.reader import SettingsError

_HOSTS = re.compile(r"[\w.\-\[\]:,%]+")
_PORTS = {"mongodb": ":27017", "redis": ":6379", "rediss": ":6379"}
# The messages of these errors contain the address.
_ADVICE = {
    "pds_unreachable": (
        "Check that the PDS is running, and PDS_URL or the DID document of the account."
    ),
    "directory_unavailable": "Check that the directory is running, and DID_RESOLVER.",
}


@dataclass(frozen=True, slots=True)
class _Service:
    name: str
    setting: str
    read_url: Callable[[], Secret]

    def address(self) -> str:
        """Return the address in the setting, or an empty text if it is not understood."""
        with suppress(SettingsError):
            return address_in(self.read_url())
        return ""

    def check(self) -> str:
        if address := self.address():
            where = f"{self.setting} names {address}"
            return f"{where}: check that this is right, and that {self.name} is running there."
        return f"Check {self.setting}, and that {self.name} is running."


_MONGODB = _Service(
    "MongoDB", "MONGODB_CONNECTION_STRING", lambda: MongoSettings.load(os.environ).url
)
_REDIS = _Service("Redis", "REDIS_URL", lambda: QueueSettings.load(os.environ).redis_url)
_SERVICES = {
    "mongodb_unavailable": _MONGODB,
    "thumbnail_cache_unavailable": _MONGODB,
    "redis_unavailable": _REDIS,
}


def explain(error: Exception) -> str:
    """Return the message of an error; if a service failed, with its address and what to check.

    The addresses are those of the environment of this process.
    """
    if not isinstance(error, MediaError):
        return str(error)
    advice = advice_for(error.code, error.message)
    return f"{error.message}. {advice}" if advice else error.message


def advice_for(code: str, message: str) -> str:
    """Return what to check after an error; empty unless a service failed.

    A message that names the setting says what is wrong with it: only the address is added.
    """
    service = _SERVICES.get(code)
    if service is None:
        return _ADVICE.get(code, "")
    if service.setting not in message:
        return service.check()
    address = service.address()
    return f"The address is {address}." if address else ""


def with_address(error: Exception) -> str:
    """Return the message of an error, and the address of the service that failed."""
    service = _SERVICES.get(error.code) if isinstance(error, MediaError) else None
    address = service.address() if service else ""
    return f"{error} [{address}]" if address else str(error)


def check_redis() -> str:
    """Return what to check if Redis does not accept a message."""
    return _REDIS.check()


def address_in(url: Secret) -> str:
    """Return the hosts and ports in the URL of a service, without credentials.

    Returns an empty text if the URL is not understood: it could contain a password anywhere.
    """
    scheme, _, rest = url.reveal().partition("://")
    authority = re.split("[/?]", rest, maxsplit=1)
    hosts = authority[0].rpartition("@")[2]
    if "@" in "".join(authority[1:]) or not _HOSTS.fullmatch(hosts):
        return ""
    port = _PORTS.get(scheme, "")
    return ", ".join(
        host if re.search(r":\d+$", host) else host + port for host in hosts.split(",")
    )
