"""A store in a local folder; files outside the folder cannot be opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.core.errors import MediaError, PermanentError, TransientError
from worker.files.errors import SourceForbiddenError, SourceMissingError, SourceTooLargeError
from worker.files.location import StoreLocation
from worker.files.store import SourceFile, SourceKey, SourceStat, SourceStore

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO would otherwise block until another process writes to it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_A_FILE = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENAMETOOLONG})
_MAY_BE_SYMLINK = frozenset({errno.ELOOP, errno.ENOTDIR})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


class LocalStore(SourceStore):
    """Reads files in a folder; symlinks to targets outside the folder are rejected."""

    def __init__(self, location: StoreLocation) -> None:
        self._location = location
        self._root = location.root
        self._depth = len(self._root.parts) - 1  # without the slash

    def stat(self, key: SourceKey) -> SourceStat:
        """Return the size, and an identity of URL, size and modification time."""
        url = self._location.url(key)
        with self._open(key, url) as file:
            status = os.fstat(file)
        return SourceStat(_identity(url, status), status.st_size)

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        """Read a file; raises TransientError if the file changes during the read."""
        url = self._location.url(key)
        with self._open(key, url) as file:
            before = os.fstat(file)
            if before.st_size > max_bytes:
                raise SourceTooLargeError(
                    f"{url} has {before.st_size} bytes, and {max_bytes} is the limit"
                )
            with open(file, "rb", closefd=False) as stream:
                data = stream.read(before.st_size + 1)
            identity = _identity(url, before)
            if len(data) != before.st_size or _identity(url, os.fstat(file)) != identity:
                message = f"{url} changed while it was read"
                raise TransientError(message, step="source", code="source_unavailable")
        return SourceFile(data, identity)

    def close(self) -> None:
        """Do nothing: all file descriptors are closed after each call."""

    @contextmanager
    def _open(self, key: SourceKey, url: str) -> Iterator[int]:
        """Open a regular file and yield its descriptor; translate OSError to MediaError."""
        root = self._open_root()
        try:
            file = self._open_file(root, key, url)
        except OSError as error:
            raise _translate(error, url) from error
        finally:
            os.close(root)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise _not_regular(f"{url} is not a regular file")
            yield file
        except OSError as error:
            raise _translate(error, url) from error
        finally:
            os.close(file)

    def _open_file(self, root: int, key: SourceKey, url: str) -> int:
        """Open a file; resolve its symlinks only if it has any, because that is slow."""
        try:
            return _open_below(root, self._location.path(key)[self._depth :])
        except OSError as error:
            if error.errno not in _MAY_BE_SYMLINK:
                raise
        return _open_below(root, self._resolve(key, url))

    def _open_root(self) -> int:
        """Open the store's folder; raises TransientError, as it may not be mounted yet."""
        try:
            return os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            message = f"MEDIA_STORE_URL: {self._root} cannot be opened: {error.strerror}"
            raise TransientError(message, step="source", code="source_unavailable") from error

    def _resolve(self, key: SourceKey, url: str) -> tuple[str, ...]:
        """Resolve all symlinks; return the parts of the path relative to the root."""
        try:
            target = Path("/", *self._location.path(key)).resolve(strict=True)
        except RuntimeError as error:  # Python 3.11 and 3.12 raise it for a loop of symlinks
            raise _not_regular(f"{url} is a loop of symlinks") from error
        root = self._root.resolve()
        if not target.is_relative_to(root):
            raise _not_regular(f"{url} is a symlink that leaves the store")
        return target.relative_to(root).parts


def _open_below(root: int, parts: tuple[str, ...]) -> int:
    """Open each folder on the path in turn, without following symlinks."""
    if not parts:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    folder = os.dup(root)
    try:
        for part in parts[:-1]:
            below = os.open(part, _DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(parts[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)


def _identity(url: str, status: os.stat_result) -> str:
    return f"{url} size={status.st_size} mtime={status.st_mtime_ns}"


def _not_regular(message: str) -> PermanentError:
    return PermanentError(message, step="source", code="source_not_regular")


def _translate(error: OSError, url: str) -> MediaError:
    if error.errno == errno.ENOENT:
        return SourceMissingError(f"{url} does not exist")
    if error.errno in _NOT_A_FILE:
        return _not_regular(f"{url} is not a regular file: {error.strerror}")
    message = f"{url} cannot be read: {error.strerror}"
    if error.errno in _FORBIDDEN:
        return SourceForbiddenError(message, "permission denied")
    return TransientError(message, step="source", code="source_unavailable")
