"""The checks of `doctor`, in the order in which they run.

Each has a function that fetches facts, and a pure function that evaluates them. Modules that
import the media types are imported when their check runs, so that a media type that cannot be
loaded is reported, and does not prevent the other checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from worker.operations.doctor import accounts, machine, mongodb, pds, redis, store
from worker.operations.doctor.results import CheckResult

TYPES = "types"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a subject.

    It is skipped if one of the subjects in `needs` is down. A subject is down if one of its
    `vital` checks raises.
    """

    subject: str
    name: str
    fetch: Callable[..., Any]
    evaluate: Callable[[Any], Iterable[CheckResult]]
    needs: frozenset[str] = frozenset()
    vital: bool = False


def _lazy(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports a function of a sibling module when called."""

    def call(*arguments: object) -> Any:
        return getattr(import_module(f"{__package__}.{module}"), name)(*arguments)

    return call


_LEXICONS = frozenset({TYPES})
_UPLOADS = frozenset({"pds", TYPES})
_ITEMS = frozenset({"mongodb", TYPES})
_SESSIONS = frozenset({"mongodb", "redis", "pds", TYPES})

_types = partial(_lazy, "media")
_upkeep = partial(_lazy, "maintenance")

# `fetch` takes no argument.
LOCAL_CHECKS = (
    Check("machine", "machine", machine.fetch, machine.evaluate),
    Check(TYPES, TYPES, _types("fetch_types"), _types("evaluate_types"), vital=True),
    Check(TYPES, "lexicons", _types("fetch_lexicons"), _types("evaluate_lexicons"), _LEXICONS),
)
# `fetch` takes the Installation.
SERVICE_CHECKS = (
    Check("mongodb", "URL options", mongodb.fetch_options, mongodb.evaluate_options),
    Check("mongodb", "answer", mongodb.fetch, mongodb.evaluate, vital=True),
    Check("mongodb", "indexes", _upkeep("fetch_indexes"), _upkeep("evaluate_indexes"), _ITEMS),
    Check("workers", "sweep", _upkeep("fetch_overdue"), _upkeep("evaluate_overdue"), _ITEMS),
    Check("workers", "watch", _upkeep("fetch_watch"), _upkeep("evaluate_watch"), _ITEMS),
    Check("redis", "answer", redis.fetch, redis.evaluate, vital=True),
    Check("pds", "answer", pds.fetch, pds.evaluate, vital=True),
    Check("pds", "blob limit", pds.fetch_uploads, pds.evaluate_uploads, _UPLOADS),
    Check("directory", "answer", pds.fetch_directory, pds.evaluate_directory),
    Check("media store", "answer", store.fetch, store.evaluate),
    Check("accounts", "passwords", accounts.fetch_passwords, accounts.evaluate_passwords, _ITEMS),
    Check("accounts", "guests", accounts.fetch_guests, accounts.evaluate_guests, _SESSIONS),
)
USERS_CHECK = Check("accounts", "users", accounts.fetch_users, accounts.evaluate_users, _SESSIONS)
