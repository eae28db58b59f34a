"""What every store can do, whatever it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from worker.files.errors import SourceMissingError
from worker.files.keys import SourceKey


@dataclass(frozen=True, slots=True)
class SourceStat:
    """What the store says of a file without sending it.

    `identity` names this version of its bytes, None when the store gives nothing to go by;
    `size` is in bytes, None when not told.
    """

    identity: str | None
    size: int | None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file in full. `identity` is that of SourceStat, or else made from the bytes."""

    data: bytes
    identity: str


class SourceStore(Protocol):
    """A place where uploaded files are read.

    All methods raise the errors of `worker.files.errors`.
    """

    def stat(self, key: SourceKey) -> SourceStat:
        """Return what the store says of a file."""
        ...

    def read(self, key: SourceKey, *, max_bytes: int) -> SourceFile:
        """Return a file of at most `max_bytes`; raises SourceTooLargeError for a larger one."""
        ...

    def exists(self, key: SourceKey) -> bool:
        """Tell whether the file is there.

        False only when the store says so itself (ENOENT, 404, 410); raises when it cannot
        tell, so that an outage or a lost permission never looks like a deleted file.
        """
        try:
            self.stat(key)
        except SourceMissingError:
            return False
        return True

    def close(self) -> None:
        """Give back connections and file descriptors."""
        ...
