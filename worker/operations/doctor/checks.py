"""The checks of `doctor`, in the order in which they run.

A check has a function that fetches facts and a pure one that evaluates them. Functions of modules
that import the media types are loaded when their check runs: a media type that cannot be loaded
is a finding, and must not end the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from operator import attrgetter
from typing import Any

from worker.operations.doctor import accounts, machine, mongodb, pds, redis, store
from worker.operations.doctor.results import CheckResult

TYPES = "types"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a subject.

    `needs` names the subjects without which it is skipped. A subject is down when a `vital` check
    of it raises.
    """

    subject: str
    name: str
    fetch: Callable[..., Any]
    evaluate: Callable[[Any], Iterable[CheckResult]]
    needs: frozenset[str] = frozenset()
    vital: bool = False


def _lazy(module: str, name: str) -> Callable[..., Any]:
    """Return a function of a module beside this one, which is imported when it is called."""

    def call(*arguments: object) -> Any:
        return getattr(import_module(f"{__package__}.{module}"), name)(*arguments)

    return call


_LEXICONS = frozenset({TYPES})
_UPLOADS = frozenset({"pds", TYPES})
_ITEMS = frozenset({"mongodb", TYPES})
_SESSIONS = frozenset({"mongodb", "redis", "pds", TYPES})

_types = partial(_lazy, "media")
_upkeep = partial(_lazy, "maintenance")

# Their `fetch` takes nothing.
LOCAL_CHECKS = (
    Check("machine", "machine", machine.fetch, machine.evaluate),
    Check(TYPES, TYPES, _types("fetch_types"), _types("evaluate_types"), vital=True),
    Check(TYPES, "lexicons", _types("fetch_lexicons"), _types("evaluate_lexicons"), _LEXICONS),
)
# Their `fetch` takes the Installation.
SERVICE_CHECKS = (
    Check("mongodb", "answer", mongodb.fetch, mongodb.evaluate, vital=True),
    Check("mongodb", "indexes", _upkeep("fetch_indexes"), _upkeep("evaluate_indexes"), _ITEMS),
    Check("workers", "sweep", _upkeep("fetch_overdue"), _upkeep("evaluate_overdue"), _ITEMS),
    Check("workers", "watch", attrgetter("database"), _upkeep("check_watch"), _ITEMS),
    Check("redis", "answer", redis.fetch, redis.evaluate, vital=True),
    Check("pds", "answer", pds.fetch, pds.evaluate, vital=True),
    Check("pds", "blob limit", pds.fetch_uploads, pds.evaluate_uploads, _UPLOADS),
    Check("directory", "answer", pds.fetch_directory, pds.evaluate_directory),
    Check("media store", "answer", store.fetch, store.evaluate),
    Check("accounts", "passwords", accounts.fetch_passwords, accounts.evaluate_passwords, _ITEMS),
    Check("accounts", "guests", accounts.fetch_guests, accounts.evaluate_guests, _SESSIONS),
)
USERS_CHECK = Check("accounts", "users", accounts.fetch_users, accounts.evaluate_users, _SESSIONS)
