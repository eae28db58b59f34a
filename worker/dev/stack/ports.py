"""Which port each service listens on, remembered so that addresses stay right."""

from __future__ import annotations

import errno
import json
import secrets
import socket
from pathlib import Path

from worker.dev.stack.errors import StackError
from worker.dev.stack.files import read_object, write_private

# Below the range from which Linux (32768 up) and macOS (49152 up) take the local ports of
# outgoing connections. Inside it, a client could hold the port of a service that is down for a
# moment, or even connect to itself while it waits for that service to come back.
_RANGE = range(15_000, 32_000)
_TRIES = 1000
_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


class Ports:
    """The ports of the services by name, kept in a file of the data folder."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ports = {
            name: port for name, port in read_object(file).items() if isinstance(port, int)
        }

    def claim(self, service: str) -> int:
        """Return the remembered port of `service` if it is free, or else a new one."""
        port = self._ports.get(service)
        if port is None or not is_free(port):
            port = self._ports[service] = self._unused()
            self._save()
        return port

    def forget(self, service: str) -> None:
        """Have the next claim of `service` choose another port."""
        self._ports.pop(service, None)
        self._save()

    def _unused(self) -> int:
        for _ in range(_TRIES):
            port = secrets.choice(_RANGE)
            if port not in self._ports.values() and is_free(port):
                return port
        raise StackError(f"No free port was found between {_RANGE.start} and {_RANGE.stop - 1}.")

    def _save(self) -> None:
        write_private(self._file, json.dumps(self._ports, indent=2) + "\n")


def is_free(port: int) -> bool:
    """Tell whether nothing listens on `port` of the loopback, IPv4 or IPv6.

    Both, because `localhost` may mean either. The answer may be out of date when it arrives.
    """
    return all(_can_bind(family, host, port) for family, host in _LOOPBACK)


def _can_bind(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        # Any other error means that this machine has no such address family.
        return error.errno != errno.EADDRINUSE
    return True
