"""The input of checks: settings, and connections that are opened on first use."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pymongo.database import Database

from worker.core.settings import Settings
from worker.database.mongo import RawDocument, connect
from worker.operations.doctor.machine import Clock

if TYPE_CHECKING:
    from worker.services import Services

TIMEOUT = 5.0  # seconds for each call
FIRST_TIMEOUT = 3.0  # seconds for the first call to a service


@dataclass(frozen=True)
class Installation:
    """The services that the settings name.

    `accounts` is the number of users' accounts to log in with; `clock` is the clock of this
    machine; `resources` closes the connections.
    """

    settings: Settings
    accounts: int
    clock: Clock
    resources: ExitStack

    @cached_property
    def database(self) -> Database[RawDocument]:
        """The database; raises SettingsError."""
        database = connect(self.settings.mongodb, FIRST_TIMEOUT)
        self.resources.callback(database.client.close)
        return database

    @cached_property
    def services(self) -> Services:
        """The services of a worker; raises SettingsError and MediaTypeError."""
        from worker.services import build  # imports the media types
        from worker.services.timeouts import COMMAND

        return self.resources.enter_context(closing(build(self.settings, timeouts=COMMAND)))
