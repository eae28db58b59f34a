"""An account's home: its PDS, as one lane of work may call it, and its sessions there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from worker.pds.client import Pds
from worker.pds.identity import Directory, DirectoryError
from worker.pds.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Home:
    """A PDS, and the sessions of accounts there."""

    pds: Pds
    sessions: Sessions


class Homes:
    """The homes of all accounts. `open_home` makes what it takes to call the PDS at a URL."""

    def __init__(self, directory: Directory, open_home: Callable[[str], Home]) -> None:
        self._directory = directory
        self._open_home = open_home

    def of(self, did: str) -> Home:
        """Return an account's home; raises DirectoryError and RedisUnavailableError."""
        return self._open_home(self._directory.pds_of(did))

    def moved(self, did: str, home: Home) -> Home | None:
        """Return where an account in trouble at its home has moved to; None if it has not.

        Raises RedisUnavailableError.
        """
        try:
            url = self._directory.look_again(did)
        except DirectoryError:
            return None  # nobody can tell, so the trouble is what it looks like
        return None if url == home.pds.url else self._open_home(url)
