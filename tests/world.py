"""A platform with users, an engine to publish its items, and a reader of what the PDS has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
from bson import ObjectId

from tests.fixtures import environment_of
from worker.demo.platform import Platform
from worker.media import media_type
from worker.outcome import Outcome
from worker.run import Observer, unobserved
from worker.services import Services, build
from worker.settings import Settings
from worker.stack import Stack
from worker.sync import Engine

JsonRecord = dict[str, object]


@dataclass(frozen=True)
class World:
    """Services on a database of their own, and three accounts: ada, bob and the guests'."""

    services: Services
    platform: Platform
    environ: dict[str, str]
    ada: str
    bob: str
    dids: dict[str, str]
    http: httpx.Client

    @property
    def guest_did(self) -> str:
        """Return the DID of the guests' account."""
        return self.dids["art-guest"]

    def sync(
        self,
        type_name: str,
        item: ObjectId,
        *,
        engine: Engine | None = None,
        holder: str | None = None,
        user: str | None = None,
        force: bool = False,
        observer: Observer = unobserved,
    ) -> Outcome:
        """Sync an item as a task would, each time as a new message."""
        return (engine or self.services.engine).sync(
            type_name,
            str(item),
            holder=holder or uuid4().hex,
            user=user,
            force=force,
            observer=observer,
        )

    def records(self, type_name: str, item: ObjectId) -> list[JsonRecord]:
        """Return all records of an item, in whichever repo, read from the PDS itself."""
        collection = media_type(type_name).nsid
        return [
            record
            for did in self.dids.values()
            for record in self._all(did, collection)
            if record["value"]["ref"] == str(item)  # type: ignore[index]
        ]

    def record(self, type_name: str, item: ObjectId) -> JsonRecord:
        """Return the value of an item's only record."""
        (record,) = self.records(type_name, item)
        value = record["value"]
        assert isinstance(value, dict)
        return value

    def blob(self, did: str, ref: object) -> bytes:
        """Return the bytes of a blob that a record refers to."""
        assert isinstance(ref, dict)
        params = {"did": did, "cid": ref["ref"]["$link"]}
        answer = self.http.get("/xrpc/com.atproto.sync.getBlob", params=params)
        return answer.raise_for_status().content

    def revision(self, did: str) -> str:
        """Return the repo's revision, which every commit changes."""
        answer = self.http.get("/xrpc/com.atproto.sync.getLatestCommit", params={"did": did})
        return str(answer.raise_for_status().json()["rev"])

    def _all(self, did: str, collection: str) -> Iterator[JsonRecord]:
        params = {"repo": did, "collection": collection, "limit": "100"}
        while True:
            answer = self.http.get("/xrpc/com.atproto.repo.listRecords", params=params)
            page = answer.raise_for_status().json()
            yield from page["records"]
            if not page["records"] or "cursor" not in page:
                return
            params["cursor"] = page["cursor"]


@contextmanager
def open_world(stack: Stack, **environ: str) -> Iterator[World]:
    """Make a world on a running stack, in a fresh database; `environ` adds to its settings."""
    mark = uuid4().hex[:8]
    full = environment_of(stack, {"MONGODB_NAME": f"world-{mark}"}, environ)
    services = build(Settings.load(full))
    services.ensure_indexes()
    media = Path(full["MEDIA_STORE_URL"].removeprefix("file://"))
    platform = Platform(services.database, full["PDS_URL"], media)
    ada, bob = f"auth0|ada-{mark}", f"auth0|bob-{mark}"
    names = {ada: f"ada-{mark}", bob: f"bob-{mark}", "art-guest": f"guests-{mark}"}
    dids = {subject: platform.sign_up(subject, name) for subject, name in names.items()}
    with httpx.Client(base_url=full["PDS_URL"], timeout=30) as http:
        try:
            yield World(services, platform, full, ada, bob, dids, http)
        finally:
            services.close()


def at_step(number: int, action: Callable[[], object]) -> Observer:
    """Return an observer that carries out an action at the n-th step of a run (from 1)."""
    seen = 0

    def observe(_step: str) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            action()

    return observe
