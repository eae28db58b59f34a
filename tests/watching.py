"""Watching what batches send to a repo, and acting between their calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Literal

from worker.core.documents import Account
from worker.core.records import RecordKey, RecordRef, RemoteRecord, UploadedBlob, Write
from worker.pds.repo import Repo
from worker.pds.repo_snapshot import RepoSnapshot
from worker.services import Services
from worker.sync.batch.engine import BatchEngine

Point = tuple[Literal["before", "after"], str]
Action = Callable[[], object]


@dataclass
class Watch:
    """The calls that batches make for their repos, and what is to happen at some of them.

    A call is named as the method of `Repo`; `sizes` has the number of writes of each `apply`,
    `most` how many calls were under way at once. An action is carried out the first time that its
    point is reached, or as many times as asked for. `judge` sees all writes before they are sent.
    """

    services: Services
    sizes: list[int] = field(default_factory=list)
    count: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    judge: Callable[[Sequence[Write]], object] = len
    _actions: dict[Point, list[Action]] = field(default_factory=dict)
    _active: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """Forget the saves of earlier tests, which throttle batches for seconds."""
        redis = self.services.storage.redis
        for mark in redis.scan_iter("media-atproto:live:*"):
            redis.delete(mark)

    def at(self, point: Point, action: Action, *, times: int = 1) -> None:
        """Carry out an action when a batch comes to a point."""
        self._actions[point] = [action] * times

    @property
    def batches(self) -> BatchEngine:
        """Return what syncs batches under this watch."""
        engine = replace(self.services.sync.engine, open_repo=self.open_repo)
        return replace(self.services.sync.batches, engine=engine, open_repo=self.open_repo)

    def open_repo(self, account: Account) -> Repo:
        """Return an account's repo, watched."""
        return _WatchedRepo(self, account)

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Watch a call."""
        self._act("before", name)
        with self._lock:
            self.count[name] += 1
            self._active[name] += 1
            self.most[name] = max(self.most[name], self._active[name])
        try:
            yield
        finally:
            with self._lock:
                self._active[name] -= 1
        self._act("after", name)

    def _act(self, when: Literal["before", "after"], name: str) -> None:
        with self._lock:
            waiting = self._actions.get((when, name))
            action = waiting.pop() if waiting else None
        if action:
            action()


class _WatchedRepo(Repo):
    """A repo whose calls are watched."""

    def __init__(self, watch: Watch, account: Account) -> None:
        super().__init__(watch.services.pds.hosts, account)
        self._watch = watch

    def apply(self, writes: Sequence[Write], swap: str) -> None:
        self._watch.sizes.append(len(writes))
        with self._watch.call("apply"):
            self._watch.judge(writes)
            super().apply(writes, swap)

    def commit(self) -> str:
        with self._watch.call("commit"):
            return super().commit()

    def export(self) -> RepoSnapshot:
        with self._watch.call("export"):
            return super().export()

    def get(self, key: RecordKey) -> RemoteRecord | None:
        with self._watch.call("get"):
            return super().get(key)

    def _pages(
        self, collection: str, cursor: str | None = None, *, ascending: bool = False
    ) -> Iterator[list[RemoteRecord]]:
        for page in super()._pages(collection, cursor, ascending=ascending):
            with self._watch.call("page"):
                yield page

    def has_blob(self, cid: str) -> bool:
        with self._watch.call("has_blob"):
            return super().has_blob(cid)

    def put(self, key: RecordKey, record: Mapping[str, object], swap: str | None) -> RecordRef:
        with self._watch.call("put"):
            return super().put(key, record, swap)

    def upload(self, data: bytes, mime_type: str) -> UploadedBlob:
        with self._watch.call("upload"):
            return super().upload(data, mime_type)
