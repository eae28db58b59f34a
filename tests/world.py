"""A platform with users, an engine to publish its items, and a reader of what the PDS has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
from bson import ObjectId
from pymongo import MongoClient
from redis import Redis

from tests.account_pool import AccountPool
from tests.environments import environment_of
from tests.pictures import pixel_art
from tests.plain_http import open_http
from tests.redis_databases import redis_database
from worker.core.settings import Settings
from worker.database.mongo import RawDocument
from worker.dev.demo.platform import Platform
from worker.dev.stack import Stack
from worker.media import media_type
from worker.services import Services, build
from worker.sync.engine import Engine
from worker.sync.outcome import Outcome
from worker.sync.run import Observer, ignore_step

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
        observer: Observer = ignore_step,
    ) -> Outcome:
        """Sync an item as a task would, each time as a new message."""
        return (engine or self.services.sync.engine).sync(
            type_name,
            str(item),
            holder=holder or uuid4().hex,
            user=user,
            force=force,
            observer=observer,
        )

    def publish_mood(self, text: str) -> ObjectId:
        """Save a mood of ada, and sync it."""
        mood = self.platform.save_mood(text, self.ada)
        self.sync("mood", mood)
        return mood

    def publish_painting(self, slug: str, image: bytes | None = None) -> ObjectId:
        """Save a painting of ada with its image, small pixel art if none is given, and sync it."""
        self.platform.store(f"{slug}.png", image or pixel_art(), self.ada)
        painting = self.platform.save_painting(slug, self.ada)
        self.sync("painting", painting)
        return painting

    def records(self, type_name: str, item: ObjectId) -> list[JsonRecord]:
        """Return all records of an item, found by listing its collection in every repo.

        The cost grows with the repos: use `record` to read what an item's state names.
        """
        collection = media_type(type_name).nsid
        return [
            record
            for did in self.dids.values()
            for record in self._all(did, collection)
            if record["value"]["ref"] == str(item)  # type: ignore[index]
        ]

    def record(self, type_name: str, item: ObjectId) -> JsonRecord:
        """Return the value of the record that an item's state names, read from the PDS."""
        state = self.platform.state(type_name, item)
        repo, collection, rkey = str(state["uri"]).removeprefix("at://").split("/")
        params = {"repo": repo, "collection": collection, "rkey": rkey}
        answer = self.http.get("/xrpc/com.atproto.repo.getRecord", params=params)
        value = answer.raise_for_status().json()["value"]
        assert isinstance(value, dict)
        assert value["ref"] == str(item)
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


class Worlds:
    """Opens worlds on a running stack; accounts of closed worlds are used again."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._accounts = AccountPool(stack.environment["PDS_URL"])
        self._mongodb = stack.environment["MONGODB_CONNECTION_STRING"]

    @contextmanager
    def open(self, **environ: str) -> Iterator[World]:
        """Open a world on a database of its own; `environ` adds to its settings."""
        own = {"MONGODB_NAME": f"world-{uuid4().hex[:12]}"}
        full = environment_of(self.stack, own, environ)
        services = build(Settings.load(full))
        try:
            services.ensure_indexes()
            with self._with_people(services, full) as world:
                yield world
        finally:
            services.close()
            with MongoClient[RawDocument](self._mongodb) as client:
                client.drop_database(full["MONGODB_NAME"])

    @contextmanager
    def open_with_redis(self, **environ: str) -> Iterator[World]:
        """Open a world that has a Redis database of its own too."""
        with (
            redis_database(self.stack.environment["REDIS_URL"]) as url,
            self.open(REDIS_URL=url, **environ) as world,
        ):
            yield world

    @contextmanager
    def renewed(self, world: World) -> Iterator[World]:
        """Open a world on the services of another: no documents, and users with empty repos."""
        for name in world.services.storage.database.list_collection_names():
            world.services.storage.database[name].delete_many({})
        with self._with_people(world.services, world.environ) as renewed:
            yield renewed

    @contextmanager
    def _with_people(self, services: Services, environ: dict[str, str]) -> Iterator[World]:
        mark = uuid4().hex[:8]
        roles = {f"auth0|ada-{mark}": "ada", f"auth0|bob-{mark}": "bob", "art-guest": "guests"}
        accounts = {subject: self._accounts.take(role) for subject, role in roles.items()}
        media = Path(environ["MEDIA_STORE_URL"].removeprefix("file://"))
        platform = Platform(services.storage.database, environ["PDS_URL"], media)
        for subject, account in accounts.items():
            platform.add_user(subject, account, account.handle.removesuffix(".test"))
        dids = {subject: account.did for subject, account in accounts.items()}
        ada, bob, _ = roles
        with open_http(environ["PDS_URL"]) as http:
            yield World(services, platform, environ, ada, bob, dids, http)
        for subject, account in accounts.items():
            self._accounts.give_back(roles[subject], account)
            _forget(environ["REDIS_URL"], account.did)


def _forget(redis_url: str, did: str) -> None:
    """Delete what Redis keeps of an account but its session, which saves the next world a login."""
    with Redis.from_url(redis_url) as redis:
        for name in redis.scan_iter(f"*{did}*"):
            if b":session:" not in name:
                redis.delete(name)


def at_step(number: int, action: Callable[[], object]) -> Observer:
    """Return an observer that carries out an action at the n-th step of a run (from 1)."""
    seen = 0

    def observe(_step: str) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            action()

    return observe
