"""Share the queues fairly between accounts.

Producers do not know who owns an item, so a queue is first come, first served. When a queue is
long, the worker that takes a message looks up the owners of the next ones and moves what exceeds
an owner's quota to the overflow list, which is served after all queues. The move is one Lua
script, so a message is always in exactly one of the two lists.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from redis import Redis
from redis.exceptions import RedisError

from worker.core.documents import DocumentId
from worker.core.ids import InvalidIdError, parse_id
from worker.database.mongo import StoreUnavailableError
from worker.database.store import DocumentStore
from worker.media import MEDIA_TYPES
from worker.queue.messages import TaskCall, TaskFunctions, peek
from worker.queue.names import BULK, FRONT, LIVE, OVERFLOW, redis_list

_CHUNK = 1000  # messages that are looked at together: a megabyte
_MAX_SECONDS = 1.0  # seconds for one look, which the message in hand has to wait for
_PAUSE = 1000  # milliseconds in which nobody else looks at the same queue

# KEYS: the queue, and the list behind it. ARGV: how much to look at, digests of what to move.
_MOVE = """
local stretch = redis.call('LRANGE', KEYS[1], -ARGV[1], -1)
local chosen, kept, moved = {}, {}, {}
for i = 2, #ARGV do chosen[ARGV[i]] = true end
for i = 1, #stretch do
  local into = chosen[redis.sha1hex(stretch[i])] and moved or kept
  into[#into + 1] = stretch[i]
end
redis.call('LTRIM', KEYS[1], 0, -#stretch - 1)
if #kept > 0 then redis.call('RPUSH', KEYS[1], unpack(kept)) end
for i = #moved, 1, -1 do redis.call('LPUSH', KEYS[2], moved[i]) end
return #moved
"""

log = logging.getLogger(__name__)


def over_quota(owners: Sequence[str | None], quota: int) -> list[int]:
    """Return the places of what is more than the first `quota` of one owner's.

    `owners` are those of what waits, in the order of its turn; None is nobody's.
    """
    seen: Counter[str] = Counter()
    places = []
    for place, owner in enumerate(owners):
        if owner is not None:
            seen[owner] += 1
            if seen[owner] > quota:
                places.append(place)
    return places


@dataclass(slots=True)
class FairShare:
    """Where one enqueues for many owners: `quota` of each in front, the rest of theirs behind.

    `front` and `overflow` are how much there is room for.
    """

    quota: int
    front: int
    overflow: int
    _taken: Counter[str] = field(default_factory=Counter)

    def has_capacity(self) -> bool:
        """Tell whether there is room for anybody's first."""
        return self.front > 0

    def priority_for(self, owner: str) -> int | None:
        """Return the priority for one more of an owner's, None when it has to wait."""
        is_first = self._taken[owner] < self.quota
        if (self.front if is_first else self.overflow) <= 0:
            return None
        self._taken[owner] += 1
        if is_first:
            self.front -= 1
            return FRONT
        self.overflow -= 1
        return OVERFLOW


@dataclass(frozen=True, slots=True)
class BalanceRule:
    """Rebalance a queue longer than `min_length`; `quota` messages of an owner stay in front."""

    min_length: int
    quota: int


# What is in front of anybody's first message is done within seconds.
RULES: Mapping[str, BalanceRule] = {
    LIVE: BalanceRule(min_length=50, quota=10),
    BULK: BalanceRule(min_length=4, quota=1),
}


class QueueBalancer:
    """Keeps the queues fair. Without Redis or MongoDB they stay in their order."""

    def __init__(self, redis: Redis, store: DocumentStore) -> None:
        self._redis = redis
        self._store = store
        self._move = redis.register_script(_MOVE)

    def rebalance(self, queue: str, tasks: TaskFunctions) -> int:
        """Move messages over quota if the queue is long; return how many were moved."""
        try:
            if self._redis.llen(queue) <= RULES[queue].min_length:
                return 0
            if not self._redis.set(f"media-atproto:sifted:{queue}", 1, nx=True, px=_PAUSE):
                return 0
            return self._rebalance(queue, RULES[queue], tasks)
        except (RedisError, StoreUnavailableError) as error:
            log.debug("a queue was not rebalanced (%s)", type(error).__name__)
            return 0

    def _rebalance(self, queue: str, rule: BalanceRule, tasks: TaskFunctions) -> int:
        start, moved = time.monotonic(), 0
        while time.monotonic() < start + _MAX_SECONDS:
            more = self._rebalance_chunk(queue, rule, tasks)
            if not more:
                break
            moved += more
        if moved:
            log.info("%d messages on %s wait behind those of other accounts", moved, queue)
        return moved

    def _rebalance_chunk(self, queue: str, rule: BalanceRule, tasks: TaskFunctions) -> int:
        chunk = cast("list[bytes]", self._redis.lrange(queue, -_CHUNK, -1))
        in_turn = chunk[::-1]  # taken from the right
        places = over_quota(self._owners(in_turn, tasks), rule.quota)
        if not places:
            return 0
        digests = [hashlib.sha1(in_turn[place]).hexdigest() for place in places]  # noqa: S324
        return int(self._move(keys=[queue, redis_list(queue, OVERFLOW)], args=[_CHUNK, *digests]))

    def _owners(self, items: Sequence[bytes], tasks: TaskFunctions) -> list[str | None]:
        """Return whose item each message is about; None when it cannot be told."""
        calls = [peek(item, tasks) for item in items]
        wanted: dict[str, list[DocumentId]] = defaultdict(list)
        for call in calls:
            if call and call.task == "sync_media":
                wanted[str(call.arguments.get("type"))] += _ids(call)
        owners = {
            (name, owned.ref.id): owned.owner
            for name, ids in wanted.items()
            if name in MEDIA_TYPES
            for owned in self._store.find_owners(MEDIA_TYPES[name], ids)
        }
        return [_owner(call, owners) if call else None for call in calls]


def _owner(call: TaskCall, owners: Mapping[tuple[str, DocumentId], str]) -> str | None:
    told = call.arguments
    named = told.get("subject") or told.get("user")
    if call.task == "sync_media":
        found = (owners.get((str(told.get("type")), candidate)) for candidate in _ids(call))
        named = next((owner for owner in found if owner), named)
    return named if isinstance(named, str) else None


def _ids(call: TaskCall) -> tuple[DocumentId, ...]:
    try:
        return parse_id(call.arguments.get("id"))
    except InvalidIdError:
        return ()  # the task says so
