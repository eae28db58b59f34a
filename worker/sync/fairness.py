"""Share the queues fairly between accounts.

Producers do not know the owner of an item, so they append to a queue in order of arrival. When a
queue is long, the worker that processes a message looks up the owners of the next messages. It
moves the messages above an owner's quota to the overflow list, which is processed after all queues.
One Lua script moves them, so each message is always in exactly one of the two lists.
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
from worker.core.ids import candidate_ids
from worker.core.redis_values import delete_stuck_key
from worker.database.mongo import StoreUnavailableError
from worker.database.store import DocumentStore
from worker.media import MEDIA_TYPES
from worker.queue.messages import TaskCall, TaskFunctions, peek
from worker.queue.names import BULK, FRONT, LIVE, OVERFLOW, redis_list

_CHUNK = 1000  # messages read at once: a megabyte
_MAX_SECONDS = 1.0  # the worker processes no message meanwhile
_PAUSE = 1000  # milliseconds until a worker may rebalance the same queue again
_LONGEST_PAUSE = 60  # seconds; a longer pause is not ours

# KEYS: the queue and its overflow list. ARGV: the chunk size, SHA-1 digests of messages to move.
_MOVE = """
local chunk = redis.call('LRANGE', KEYS[1], -ARGV[1], -1)
local chosen, kept, moved = {}, {}, {}
for i = 2, #ARGV do chosen[ARGV[i]] = true end
for i = 1, #chunk do
  local into = chosen[redis.sha1hex(chunk[i])] and moved or kept
  into[#into + 1] = chunk[i]
end
redis.call('LTRIM', KEYS[1], 0, -#chunk - 1)
if #kept > 0 then redis.call('RPUSH', KEYS[1], unpack(kept)) end
for i = #moved, 1, -1 do redis.call('LPUSH', KEYS[2], moved[i]) end
return #moved
"""

log = logging.getLogger(__name__)


def over_quota(owners: Sequence[str | None], quota: int) -> list[int]:
    """Return the positions of messages above their owner's quota.

    Messages without a known owner (None) have no quota.
    """
    seen: Counter[str] = Counter()
    positions = []
    for position, owner in enumerate(owners):
        if owner is not None:
            seen[owner] += 1
            if seen[owner] > quota:
                positions.append(position)
    return positions


@dataclass(slots=True)
class FairShare:
    """Assigns messages to the front list or the overflow list.

    The front list takes `quota` messages per owner. `front` and `overflow` count the free places.
    """

    quota: int
    front: int
    overflow: int
    _taken: Counter[str] = field(default_factory=Counter)

    def has_capacity(self) -> bool:
        """Return whether the front list has a free place."""
        return self.front > 0

    def priority_for(self, owner: str) -> int | None:
        """Assign a message of `owner` to FRONT or OVERFLOW; None if that list is full."""
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
    """Limits a queue longer than `min_length` to `quota` messages per owner."""

    min_length: int
    quota: int


# With these limits, an owner's first message waits only seconds for other owners' messages.
RULES: Mapping[str, BalanceRule] = {
    LIVE: BalanceRule(min_length=50, quota=10),
    BULK: BalanceRule(min_length=4, quota=1),
}


class QueueBalancer:
    """Rebalances queues; leaves them unchanged if Redis or MongoDB is unavailable."""

    def __init__(self, redis: Redis, store: DocumentStore) -> None:
        self._redis = redis
        self._store = store
        self._move = redis.register_script(_MOVE)

    def rebalance(self, queue: str, tasks: TaskFunctions) -> int:
        """Move messages above the quota out of a long queue; return their number."""
        try:
            if self._redis.llen(queue) <= RULES[queue].min_length:
                return 0
            paused = f"media-atproto:sifted:{queue}"
            delete_stuck_key(self._redis, paused, _LONGEST_PAUSE)
            if not self._redis.set(paused, 1, nx=True, px=_PAUSE):
                return 0
            return self._rebalance(queue, RULES[queue], tasks)
        except (RedisError, StoreUnavailableError) as error:
            log.debug("queue %s not rebalanced (%s)", queue, type(error).__name__)
            return 0

    def _rebalance(self, queue: str, rule: BalanceRule, tasks: TaskFunctions) -> int:
        start, moved = time.monotonic(), 0
        while time.monotonic() < start + _MAX_SECONDS:
            more = self._rebalance_chunk(queue, rule, tasks)
            if not more:
                break
            moved += more
        if moved:
            log.info("%d messages on %s moved to the overflow list", moved, queue)
        return moved

    def _rebalance_chunk(self, queue: str, rule: BalanceRule, tasks: TaskFunctions) -> int:
        chunk = cast("list[bytes]", self._redis.lrange(queue, -_CHUNK, -1))
        in_order = chunk[::-1]  # taken from the right
        positions = over_quota(self._owners(in_order, tasks), rule.quota)
        if not positions:
            return 0
        digests = [hashlib.sha1(in_order[each]).hexdigest() for each in positions]  # noqa: S324
        return int(self._move(keys=[queue, redis_list(queue, OVERFLOW)], args=[_CHUNK, *digests]))

    def _owners(self, items: Sequence[bytes], tasks: TaskFunctions) -> list[str | None]:
        """Look up the owner of each message's item; None if unknown."""
        calls = [peek(item, tasks) for item in items]
        wanted: dict[str, list[DocumentId]] = defaultdict(list)
        for call in calls:
            if call and call.task == "sync_media":
                wanted[str(call.arguments.get("type"))] += candidate_ids(call.arguments.get("id"))
        owners = {
            (name, owned.ref.id): owned.owner
            for name, ids in wanted.items()
            if name in MEDIA_TYPES
            for owned in self._store.find_owners(MEDIA_TYPES[name], ids)
        }
        return [_owner(call, owners) if call else None for call in calls]


def _owner(call: TaskCall, owners: Mapping[tuple[str, DocumentId], str]) -> str | None:
    get = call.arguments.get
    named = get("subject") or get("user")
    if call.task == "sync_media":
        found = (owners.get((str(get("type")), each)) for each in candidate_ids(get("id")))
        # Messages for missing documents count as those of one owner.
        named = next((owner for owner in found if owner), named) or ""
    return named if isinstance(named, str) else None
