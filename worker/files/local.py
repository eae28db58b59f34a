"""A store that is a folder: files are opened so that nothing outside it can be reached."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.files.errors import (
    SourceForbiddenError,
    SourceMissingError,
    SourceNotRegularError,
    SourceTooLargeError,
    SourceUnavailableError,
)
from worker.files.location import StoreLocation
from worker.files.store import SourceFile, SourceKey, SourceStat, SourceStore

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO would wait for a writer that never comes.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NOT_A_FILE = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENAMETOOLONG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


class LocalStore(SourceStore):
    """Reads files below the folder of a `file:` template.

    A symlink may lead to another place in the folder, never out of it.
    """

    def __init__(self, template: StoreLocation) -> None:
        self._template = template
        self._root = template.root

    def stat(self, key: SourceKey) -> SourceStat:
        """Return size and identity; the identity is the URL, the size and the change time."""
        url = self._template.url(key)
        with self._open(key, url) as file:
            status = os.fstat(file)
        return SourceStat(_identity(url, status), status.st_size)

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        """Return a file; raises SourceUnavailableError when it changes while it is read."""
        url = self._template.url(key)
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
                raise SourceUnavailableError(f"{url} changed while it was read")
        return SourceFile(data, identity)

    def close(self) -> None:
        """Do nothing: no descriptor outlives a call."""

    @contextmanager
    def _open(self, key: SourceKey, url: str) -> Iterator[int]:
        """Open a file and hand out its descriptor, with the system's errors translated."""
        root = self._open_root()
        try:
            file = _open_below(root, self._resolve(key, url))
        except OSError as error:
            raise _translate(error, url) from error
        finally:
            os.close(root)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise SourceNotRegularError(f"{url} is not a regular file")
            yield file
        except OSError as error:
            raise _translate(error, url) from error
        finally:
            os.close(file)

    def _open_root(self) -> int:
        """Open the store's folder: one that is not mounted must not look like missing files."""
        try:
            return os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SourceUnavailableError(
                f"the folder of MEDIA_STORE_URL, {self._root}, cannot be opened: {error.strerror}"
            ) from error

    def _resolve(self, key: SourceKey, url: str) -> tuple[str, ...]:
        """Return the path from the root to the file, free of symlinks when it was looked up."""
        root = self._root.resolve()
        try:
            target = Path("/", *self._template.path(key)).resolve(strict=True)
        except RuntimeError as error:  # Python 3.11 and 3.12 say so of a loop of symlinks
            raise SourceNotRegularError(f"{url} is a loop of symlinks") from error
        if not target.is_relative_to(root):
            raise SourceNotRegularError(f"{url} is a symlink that leaves the store")
        return target.relative_to(root).parts


def _open_below(root: int, parts: tuple[str, ...]) -> int:
    """Open a file by walking down from a descriptor, so that no swapped symlink is followed."""
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


def _translate(
    error: OSError, url: str
) -> SourceMissingError | SourceForbiddenError | SourceNotRegularError | SourceUnavailableError:
    if error.errno == errno.ENOENT:
        return SourceMissingError(f"{url} does not exist")
    if error.errno in _FORBIDDEN:
        return SourceForbiddenError(f"{url} may not be read: {error.strerror}")
    if error.errno in _NOT_A_FILE:
        return SourceNotRegularError(f"{url} is not a regular file: {error.strerror}")
    return SourceUnavailableError(f"{url} cannot be read: {error.strerror}")
