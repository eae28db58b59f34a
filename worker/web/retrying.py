"""Having items tried again from a page: what a form asks for, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import pymongo

from worker.core.ids import parse_id
from worker.media import MediaType, media_type
from worker.operations.backfill.retry_failed import revival_of, send
from worker.operations.status import Tally
from worker.services import Services
from worker.web.templates import item_url, url

MOST = 1000  # items of a reason for one press of the button: a second of a request
_PATIENCE = 20.0  # seconds

# What pages say after a form was sent, by the word in their address: nothing else can be said so.
TOLD: Mapping[str, str] = {
    "enqueued": "The queue took the message: a worker will try it. Reload to see.",
    "left": "The queue did not take the message. It is pending, and a sweep will find it; "
    "look at REDIS_URL and Redis.",
    "busy": "A run is at work on it, and is left to it.",
    "all": "The queue took the messages: workers will try them.",
    "most": f"The queue took the messages of the first {MOST}: press again for more of them.",
    "rest": "The queue did not take all messages. The items are pending, and a sweep will find "
    "them; look at REDIS_URL and Redis.",
    "none": "There was nothing to try again: workers are at it, or were faster.",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a form asks to be tried again: an item, or else all of a type and reason."""

    kind: MediaType
    id: str
    code: str

    @classmethod
    def of(cls, form: Mapping[str, str]) -> Wish:
        """Read a form; raises UnknownTypeError, and InvalidIdError for neither id nor reason."""
        kind = media_type(form.get("type", ""))
        code = form.get("code", "")
        if not code:
            parse_id(form.get("id", ""))
        return cls(kind, form.get("id", ""), code)


def carried_out(services: Services, wish: Wish) -> str | None:
    """Have it tried again, as `media-atproto retry` does; return where to look next.

    None when there is no such item. Raises StoreUnavailableError.
    """
    with pymongo.timeout(_PATIENCE):
        return _all(services, wish) if wish.code else _one(services, wish)


def _one(services: Services, wish: Wish) -> str | None:
    revival = revival_of(services)
    named = revival.named([wish.kind], [wish.id])
    if named.busy:
        return f"{item_url(named.busy[0])}&told=busy"
    if not named.items:
        return None
    tally = revival.revive(named.items, send)
    told = "left" if tally.left else "enqueued"
    return f"{item_url(named.items[0].ref)}&told={told}"


def _all(services: Services, wish: Wish) -> str:
    revival = revival_of(services)
    tally = revival.revive(islice(revival.failed(wish.kind, [wish.code]), MOST), send)
    return url("/failures", {"type": wish.kind.name, "code": wish.code, "told": _told(tally)})


def _told(tally: Tally) -> str:
    if tally.left:
        return "rest"
    count = tally.enqueued.total()
    return "none" if not count else "most" if count == MOST else "all"
