"""MongoDB's own word on how it carries out a query: every command explained as it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bson import ObjectId
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from worker.core.clock import now
from worker.core.settings import Settings
from worker.database import indexes
from worker.database.account_changes import AccountChanges
from worker.database.accounts import Accounts
from worker.database.backlog import Backlog
from worker.database.mongo import RawDocument
from worker.database.removals import Removals
from worker.database.store import DocumentStore
from worker.database.thumbnail_cache import ThumbnailCache
from worker.media import SiteUrls, media_type
from worker.operations.status import Failures, ItemCounts
from worker.sync.account_changes import ChangedAccounts

MOOD = media_type("mood")
_EXPLAINED = {"aggregate", "count", "delete", "distinct", "find", "findAndModify", "update"}
_PER_CALL = {"lsid", "$db", "$clusterTime", "txnNumber", "maxTimeMS", "apiVersion", "comment"}
_LISTS = {"update": "updates", "delete": "deletes"}  # explain takes one of them at a time


@dataclass(frozen=True, slots=True)
class Explained:
    """A command's plan: its stages, and how many documents it reads."""

    command: str
    stages: tuple[str, ...]
    documents: int


class Explainer(CommandListener):
    """Explains each command that a client sends, right before it is sent, while it is asked to."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._database = database
        self._is_on = False
        self.explained: list[Explained] = []

    @contextmanager
    def listening(self) -> Iterator[list[Explained]]:
        """Explain what is sent within the block; fills the list."""
        self.explained, self._is_on = [], True
        try:
            yield self.explained
        finally:
            self._is_on = False

    def started(self, event: CommandStartedEvent) -> None:
        """Explain a command."""
        if self._is_on and event.command_name in _EXPLAINED:
            for command in _single(event.command_name, event.command):
                told = self._database.command("explain", command, verbosity="executionStats")
                stages = tuple(_stages(told))
                most = max(_values(told, "totalDocsExamined"), default=0)
                self.explained.append(Explained(event.command_name, stages, most))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Take no notice."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Take no notice."""


@dataclass(frozen=True)
class Watched:
    """Everything that queries a database, over a client whose commands are explained."""

    explainer: Explainer
    database: Database[RawDocument]
    store: DocumentStore
    backlog: Backlog
    accounts: Accounts
    removals: Removals
    changed_accounts: ChangedAccounts
    thumbnails: ThumbnailCache
    overview: ItemCounts
    failures: Failures


@contextmanager
def open_watched(settings: Settings) -> Iterator[Watched]:
    """Fill the database of these settings, and open what queries it; drop it at the end."""
    url, name = settings.mongodb.url.reveal(), settings.mongodb.name
    own: MongoClient[dict[str, Any]] = MongoClient(url)
    explainer = Explainer(own[name])
    client: MongoClient[RawDocument] = MongoClient(url, tz_aware=True, event_listeners=[explainer])
    database = client[name]
    store = DocumentStore(database, settings.guest_subject)
    backlog, accounts = Backlog(database, store), Accounts(database)
    changes = AccountChanges(database, accounts, store)
    with own, client:
        indexes.ensure(database)
        populate(database)
        yield Watched(
            explainer=explainer,
            database=database,
            store=store,
            backlog=backlog,
            accounts=accounts,
            removals=Removals(database),
            changed_accounts=ChangedAccounts(changes, SiteUrls("https://x.test", "u", "g")),
            thumbnails=ThumbnailCache(database["atproto_thumbnails"]),
            overview=ItemCounts(database, store),
            failures=Failures(database, store),
        )
        client.drop_database(name)


def populate(database: Database[RawDocument]) -> None:
    """Fill a database with a thousand moods in all states, 50 pieces, and a hundred of the rest."""
    moods = [_mood(number) for number in range(1000)]
    database[MOOD.collection].insert_many(moods)
    pieces: list[RawDocument] = [
        {"code": f"c{n}", "slug": f"s{n}", "user": f"auth0|u{n % 100}"} for n in range(50)
    ]
    database["pieces"].insert_many(pieces)
    users = [_user(number) for number in range(100)]
    database["users"].insert_many(users)
    database["@handles"].insert_many(
        [{"_id": user["_id"], "handle": f"h{n}"} for n, user in enumerate(users)]
    )
    removals: list[RawDocument] = [
        {"_id": f"r{n}", "retryAt": None if n % 10 == 0 else now() + timedelta(hours=n - 1.5)}
        | {"type": "mood", "user": "auth0|u1", "id": f"{n}", "rkey": None, "attempts": 1}
        for n in range(100)
    ]
    database["atproto_removals"].insert_many(removals)
    thumbnails: list[RawDocument] = [
        {"_id": f"t{n}", "owner": f"auth0|u{n}", "cid": f"cid{n}"} for n in range(100)
    ]
    database["atproto_thumbnails"].insert_many(thumbnails)


def _mood(number: int) -> RawDocument:
    when = now() - timedelta(hours=1000 - number)
    item = ObjectId(ObjectId.from_datetime(when).binary[:4] + number.to_bytes(8, "big"))
    mood: RawDocument = {"_id": item, "mood": f"calm {number}", "when": when}
    mood |= {"user": f"auth0|u{number % 100}"} if number % 20 else {}
    state = _state(number)
    return mood | ({"atproto": state} if state else {})


def _state(number: int) -> RawDocument:
    """Return a state: of a hundred, 60 synced, 10 never seen, 6 each of five others."""
    place: RawDocument = {"repo": "did:plc:x", "rkey": f"k{number}", "attempts": 1}
    up = place | {"status": "synced", "fingerprint": "f", "syncedAt": now()}
    up |= {"publishedAt": now()}
    code = "field_invalid" if number % 7 else "source_missing"
    error = {"step": "s", "code": code, "message": "m", "permanent": True, "at": now()}
    states: list[tuple[range, RawDocument]] = [
        (range(60), up),
        (range(60, 66), place | {"status": "pending", "retryAt": now() - timedelta(hours=1)}),
        (range(66, 72), place | {"status": "failed", "error": error}),
        (range(72, 78), up | {"status": "partial", "error": error}),
        (range(78, 84), {"status": "skipped", "reason": "no_account"}),
        (range(84, 90), place | {"status": "removed", "reason": "nuked"}),
    ]
    return next((state for span, state in states if number % 100 in span), {})


def _user(number: int) -> RawDocument:
    account = {"did": f"did:plc:{number}", "handle": f"h{number}.test", "password": "x"}
    return {"_id": f"auth0|u{number}"} | ({"atproto": account} if number % 2 else {})


def _single(name: str, sent: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    command = {key: value for key, value in sent.items() if key not in _PER_CALL}
    several = _LISTS.get(name)
    if several is None:
        yield command
        return
    for one in command[several]:
        yield command | {several: [one]}


def _stages(told: object) -> Iterator[str]:
    """Find the stages of the plans that were chosen, at any depth, with their indexes."""
    if isinstance(told, Mapping):
        if isinstance(stage := told.get("stage"), str):
            yield f"{stage} {told.get('indexName', '')}".strip()
        for name, value in told.items():
            if name not in {"rejectedPlans", "executionStats", "command"}:
                yield from _stages(value)
    elif isinstance(told, Sequence) and not isinstance(told, str):
        for value in told:
            yield from _stages(value)


def _values(told: object, wanted: str) -> Iterator[int]:
    if isinstance(told, Mapping):
        for name, value in told.items():
            if name == wanted:
                yield int(value)
            else:
                yield from _values(value, wanted)
    elif isinstance(told, Sequence) and not isinstance(told, str):
        for value in told:
            yield from _values(value, wanted)


Query = Callable[[Watched], object]
