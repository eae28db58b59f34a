"""The data folder of a stack, with the ports, secrets and data of its services.

Only one stack can use a folder at a time. Ports are saved, so that URLs stay the same.
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

from worker.core.exposure import find_exposure
from worker.dev.stack.errors import StackError

# Seconds. The services of a killed stack end within 3 seconds (see supervisor.py).
_TIMEOUT = 5.0
# Below the ephemeral ports of Linux (from 32768) and macOS (from 49152). If a service used an
# ephemeral port, an outgoing connection could take the port while the service restarts. A client
# that retries its connection to the service could even connect to itself.
_RANGE = range(15_000, 32_000)
_TRIES = 1000
_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


@dataclass(frozen=True, slots=True)
class Keys:
    """The encryption key of the worker, and the secrets of the PDS."""

    fernet: str = field(repr=False)
    pds_admin_password: str = field(repr=False)
    pds_jwt_secret: str = field(repr=False)
    plc_rotation_key: str = field(repr=False)

    @classmethod
    def load(cls, file: Path) -> Keys:
        """Read the keys from `file`; generate and save them if it does not exist.

        Raises StackError for an invalid file.
        """
        stored = read_object(file)
        if not stored:
            keys = cls(
                fernet=Fernet.generate_key().decode(),
                pds_admin_password=secrets.token_urlsafe(24),
                pds_jwt_secret=secrets.token_hex(32),
                plc_rotation_key=secrets.token_hex(32),
            )
            write_private(file, json.dumps(asdict(keys), indent=2) + "\n")
            return keys
        names = {known.name for known in fields(cls)}
        if stored.keys() != names or not all(isinstance(key, str) for key in stored.values()):
            raise StackError(f"{file} must hold the texts {', '.join(sorted(names))}.")
        return cls(**stored)


class Ports:
    """The ports of the services by name, saved in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ports = {
            name: port for name, port in read_object(file).items() if isinstance(port, int)
        }

    def claim(self, service: str) -> int:
        """Return the saved port of `service`, or save a new one if it is not free.

        Raises StackError if no free port is found.
        """
        port = self._ports.get(service)
        if port is None or not is_free(port):
            port = self._ports[service] = self._find_unused()
            write_private(self._file, json.dumps(self._ports, indent=2) + "\n")
        return port

    def _find_unused(self) -> int:
        for _ in range(_TRIES):
            port = secrets.choice(_RANGE)
            if port not in self._ports.values() and is_free(port):
                return port
        raise StackError(f"No free port was found between {_RANGE.start} and {_RANGE.stop - 1}.")


def is_free(port: int) -> bool:
    """Return whether `port` is free on both loopback addresses of `localhost`.

    The port is not reserved: another process can take it after the check.
    """
    return all(_can_bind(family, host, port) for family, host in _LOOPBACK)


def _can_bind(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        # Other errors mean that this machine does not support the address family.
        return error.errno != errno.EADDRINUSE
    return True


def write_private(path: Path, text: str) -> None:
    """Write `text` to the file `path` atomically, with mode 0600."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder, path.name)
        temporary.touch(mode=0o600)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file; return {} if the file does not exist.

    Raises StackError if the file does not contain a JSON object.
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


def create_private(folder: Path) -> None:
    """Create a folder with mode 0700; raises OSError, and StackError if others can write to it.

    Services and programs are started from what is in it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if exposure := find_exposure(folder):
        raise StackError(f"The folder cannot be used: {exposure}.\nChoose or create another one.")


class DataFolder:
    """The locked folder of a stack; raises StackError if it is in use or unusable.

    The services inherit the `flock`. So the folder of a killed stack is locked until its services
    have ended, and two mongod processes never use the same data.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        try:
            create_private(self.path)
            self.lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StackError(
                f"The data folder {self.path} cannot be used: {error.strerror}."
            ) from error
        try:
            _acquire(self.lock, self.path)
        except BaseException:  # also KeyboardInterrupt: close the lock file, and raise it again
            self.release()
            raise

    def subfolder(self, name: str) -> Path:
        """Return the path of the subfolder `name`; create the subfolder if needed."""
        path = self.path / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def release(self) -> None:
        os.close(self.lock)


def _acquire(lock: int, path: Path) -> None:
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StackError(
                    f"Another stack is running on the data folder {path}.\n"
                    "Stop that one, or choose another folder.",
                    code="folder_in_use",
                ) from None
            time.sleep(0.1)
        else:
            return
