"""The data folder of a stack: its ports, its secrets and the data of its services.

Used by one stack at a time. Ports are kept, so that addresses stay the same.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import socket
import tempfile
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from worker.dev.stack.errors import StackError

# The services of a stack that was killed are gone after 3 seconds (see guard.py).
_TIMEOUT = 5.0
# Below the range from which Linux (32768 up) and macOS (49152 up) take the local ports of
# outgoing connections. Inside it, a client could hold the port of a service that is down for a
# moment, or even connect to itself while it waits for that service to come back.
_RANGE = range(15_000, 32_000)
_TRIES = 1000
_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


@dataclass(frozen=True, slots=True)
class Keys:
    """What the services and the worker sign and encrypt with."""

    fernet: str = field(repr=False)
    pds_admin_password: str = field(repr=False)
    pds_jwt_secret: str = field(repr=False)
    plc_rotation_key: str = field(repr=False)

    @classmethod
    def load(cls, file: Path) -> Keys:
        """Return the keys in `file`, made now if there is no such file."""
        stored = read_object(file)
        if not stored:
            keys = cls._new()
            write_private(file, json.dumps(asdict(keys), indent=2) + "\n")
            return keys
        names = {known.name for known in fields(cls)}
        if stored.keys() != names or not all(isinstance(key, str) for key in stored.values()):
            raise StackError(f"{file} must hold the texts {', '.join(sorted(names))}.")
        return cls(**stored)

    @classmethod
    def _new(cls) -> Keys:
        return cls(
            fernet=Fernet.generate_key().decode(),
            pds_admin_password=secrets.token_urlsafe(24),
            pds_jwt_secret=secrets.token_hex(32),
            plc_rotation_key=secrets.token_hex(32),
        )


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
            port = self._ports[service] = self._find_unused()
            self._save()
        return port

    def forget(self, service: str) -> None:
        """Have the next claim of `service` choose another port."""
        self._ports.pop(service, None)
        self._save()

    def _find_unused(self) -> int:
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


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` with mode 0600; a reader sees the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`, or an empty one if there is no such file.

    Raises StackError naming the file if it holds anything else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StackError(f"{path} is not JSON: put it right or delete it.") from error
    if not isinstance(value, dict):
        raise StackError(f"{path} is not a JSON object: put it right or delete it.")
    return value


class DataFolder:
    """A folder under a lock that every service inherits.

    The lock is a `flock`, which ends when its last holder has gone. A stack that was killed
    thus keeps its folder until its services have gone too, and two mongods never meet there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StackError(
                f"The data folder {self.path} cannot be used: {error.strerror}."
            ) from error
        try:
            _acquire(self.lock, self.path)
        except BaseException:
            os.close(self.lock)
            raise

    def subfolder(self, name: str) -> Path:
        """Return the folder `name` inside, made if it is missing."""
        path = self.path / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def release(self) -> None:
        """Let go of the lock."""
        os.close(self.lock)


def _acquire(lock: int, path: Path) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while not _try(lock):
        if time.monotonic() > deadline:
            raise StackError(
                f"Another stack is running on the data folder {path}.\n"
                "Stop that one, or choose another folder.",
                code="folder_in_use",
            )
        time.sleep(0.1)


def _try(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
