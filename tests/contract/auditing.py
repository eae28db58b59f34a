"""A platform with an account to audit, and all that can go wrong with its records and states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from bson import ObjectId

from tests.fixtures import platform_of, sign_up
from tests.pictures import pixel_art
from worker.core.documents import Account
from worker.core.records import RecordKey, RemoteRecord
from worker.database.mongo import RawDocument
from worker.dev.demo.platform import Platform
from worker.media import MEDIA_TYPES, media_type
from worker.operations.audit.repair import Repairs
from worker.operations.audit.run import AuditResult, AuditRun, open_audit
from worker.pds.repo import Repo
from worker.services import Services

Count = dict[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Ground:
    """Services on a database of their own, one user with an account, and the PDS's blob files."""

    services: Services
    platform: Platform
    user: Account
    blob_files: Path

    @property
    def repo(self) -> Repo:
        """The user's repo."""
        return self.services.pds.repo(self.user)

    def sync(self, type_name: str, item: ObjectId) -> ObjectId:
        """Publish an item, or whatever its document asks for."""
        self.services.sync.engine.sync(type_name, str(item), holder=uuid4().hex)
        return item

    def mood(self, text: str = "calm") -> ObjectId:
        """Save and publish a mood."""
        return self.sync("mood", self.platform.save_mood(text, self.user.subject))

    def painting(self, seed: int | None = None) -> ObjectId:
        """Save and publish a painting; the same seed makes the same picture."""
        paintings = self.services.storage.store.collection(media_type("painting"))
        seed = 100 + paintings.count_documents({}) if seed is None else seed
        slug = f"p{uuid4().hex[:8]}"
        self.platform.store(f"{slug}.png", pixel_art((8 + seed, 8)), self.user.subject)
        return self.sync("painting", self.platform.save_painting(slug, self.user.subject))

    def state(self, type_name: str, item: ObjectId) -> RawDocument:
        """Return a document's state."""
        return self.platform.state(type_name, item)

    def set_state(self, type_name: str, item: ObjectId, **changes: object) -> None:
        """Change a document's state behind the engine's back; None takes a field away."""
        names = {f"atproto.{name}": value for name, value in changes.items()}
        update = {
            "$set": {name: value for name, value in names.items() if value is not None},
            "$unset": {name: "" for name, value in names.items() if value is None},
        }
        collection = self.services.storage.store.collection(media_type(type_name))
        collection.update_one({"_id": item}, {k: v for k, v in update.items() if v})

    def key(self, type_name: str, item: ObjectId) -> RecordKey:
        """Return the key of an item's record, by its state."""
        state = self.state(type_name, item)
        nsid = media_type(type_name).nsid
        return RecordKey(str(state["repo"]), nsid, str(state["rkey"]))

    def put(self, key: RecordKey, record: Mapping[str, object]) -> None:
        """Write a record as another program does, whatever is there."""
        there = self.repo.get(key)
        self.repo.put(key, record, there.cid if there else None)

    def put_twin(self, type_name: str, item: ObjectId, rkey: str) -> None:
        """Write an item's record once more, at another key."""
        there = self.repo.get(self.key(type_name, item))
        assert there
        self.put(self.repo.key(media_type(type_name).nsid, rkey), there.value)

    def records(self, type_name: str) -> list[RemoteRecord]:
        """Return the user's records of a type, as the PDS lists them."""
        return list(self.repo.records(media_type(type_name).nsid))

    def blob_of(self, type_name: str, item: ObjectId, field: str = "thumbnail") -> str:
        """Return the CID of an item's blob, by its record."""
        there = self.repo.get(self.key(type_name, item))
        assert there
        blob: Any = there.value[field]
        return str(blob["ref"]["$link"])

    def blob_file(self, cid: str) -> Path:
        """Return the file in which the PDS keeps a blob of the user."""
        return self.blob_files / self.user.did / cid

    @contextmanager
    def open(self, **options: Any) -> Iterator[AuditRun]:
        """Have an audit of all types."""
        kinds = options.pop("kinds", list(MEDIA_TYPES.values()))
        with open_audit(self.services, kinds, **options) as rounds:
            yield rounds

    def audit(self, account: Account | None = None, **options: Any) -> AuditResult:
        """Audit the user's account, or another."""
        with self.open(**options) as rounds:
            return rounds.of_account(account or self.user)

    def repair(self, account: Account | None = None, *, force: bool = False) -> AuditResult:
        """Audit and put right the user's account, or another."""
        return self.audit(account, repair=True, force=force)

    def repair_after(self, between: Callable[[], object]) -> Repairs:
        """Audit the user's account, do something else, then put right what was found before."""
        with self.open(repair=True) as rounds:
            audit = rounds.auditor.audit(self.user)
            between()
            assert rounds.repairer
            return rounds.repairer.repair(self.user, audit.types)

    def others(self, *, repair: bool = False) -> AuditResult:
        """Look at the documents of owners without an account."""
        with self.open(repair=repair) as rounds:
            return rounds.of_others()

    def newcomer(self) -> Account:
        """Return another user with an account."""
        return sign_up(self.platform)


def open_ground(services: Services, blobs: Path) -> Ground:
    """Return a ground with a user who has published a few things; `blobs` is the PDS's folder."""
    platform = platform_of(services)
    ground = Ground(services, platform, sign_up(platform), blobs)
    for number in range(3):
        ground.mood(f"mood {number}")
    ground.painting()
    return ground


def found(audited: AuditResult) -> Count:
    """Count the findings by what is wrong and the type."""
    return Counter((each.fault.value, each.kind.name) for each in audited.audit.findings)


def standings(audited: AuditResult) -> dict[tuple[str, str, str], int]:
    """Count the documents that nothing is wrong with, by type, standing and reason."""
    return {
        (each.kind.name, standing.value, reason): count
        for each in audited.audit.types
        for (standing, reason), count in each.standings.items()
    }
