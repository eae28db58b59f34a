"""The machine and the versions that the figures belong to."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version

from bench.place import Place
from worker.dev.stack.pds import MANIFEST

_PACKAGES = ("celery", "kombu", "redis", "pymongo", "atproto", "httpx", "pillow")


def machine_of(place: Place) -> Mapping[str, str]:
    """Return cores, load and versions, by name."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "cores": str(os.cpu_count()),
        "load before (1, 5, 15 min)": load,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        **{package: version(package) for package in _PACKAGES},
        **_servers(place),
    }


def _servers(place: Place) -> Mapping[str, str]:
    packages = json.loads((MANIFEST / "package.json").read_text())["dependencies"]
    valkey = place.queue.info("server")
    return {
        "@atproto/pds": packages["@atproto/pds"],
        "mongod": place.services.database.client.server_info()["version"],
        "valkey": str(valkey.get("valkey_version", valkey["redis_version"])),
    }
