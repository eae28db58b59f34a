"""Redis or Valkey: it must keep what it is given, and have room for more."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from redis import Redis

from worker.core.redis_errors import redis_errors
from worker.operations.doctor.machine import Clock
from worker.operations.doctor.results import CheckResult, fail, ok, warn
from worker.queue.names import BULK, FRONT, LIVE, OVERFLOW, SWEEP, redis_list

SUBJECT = "redis"
_MIN_VERSION = (6, 2)
_SEEN = 1000  # keys that are looked at for strangers
_FULL, _FILLING = 0.95, 0.8
_MAX_LIVE = 10_000  # messages
_QUEUES = {redis_list(queue, at) for queue in (LIVE, SWEEP, BULK) for at in (FRONT, OVERFLOW)}
_OURS = re.compile(r"media-atproto:|_kombu\.binding\.|unacked")


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What the server says of itself; sizes in bytes, `ahead` its clock's lead in seconds.

    `orphan_finder` are keys in its database that nothing here makes, among the first thousand.
    """

    product: str
    version: str
    role: str
    keeps: bool
    policy: str
    used: int
    most: int
    ahead: float
    live: int
    orphan_finder: tuple[str, ...]


def fetch(redis: Redis, clock: Clock = time.time) -> QueueFacts:
    """Ask the server; raises RedisUnavailableError."""
    with redis_errors():
        info: Mapping[str, object] = redis.info()
        began = clock()
        seconds, micros = redis.time()
        middle = (began + clock()) / 2
        live = sum(redis.llen(redis_list(LIVE, at)) for at in (FRONT, OVERFLOW))
        _, keys = redis.scan(count=_SEEN)
    product = "valkey" if "valkey_version" in info else "redis"
    return QueueFacts(
        product=product,
        version=str(info.get(f"{product}_version", "")),
        role=str(info.get("role", "")),
        keeps=info.get("aof_enabled") == 1,
        policy=str(info.get("maxmemory_policy", "")),
        used=_number(info, "used_memory"),
        most=_number(info, "maxmemory"),
        ahead=seconds + micros / 1e6 - middle,
        live=live,
        orphan_finder=_strangers(keys),
    )


def evaluate(facts: QueueFacts) -> Iterator[CheckResult]:
    """Judge what the server says, its clock apart."""
    yield _version(facts)
    if facts.role != "master":
        advice = "name the primary in REDIS_URL"
        yield fail(SUBJECT, "role", f"it is a {facts.role}, and takes no writes", advice)
    yield _policy(facts.policy)
    yield _keeping(keeps=facts.keeps)
    yield _memory(facts.used, facts.most)
    yield _sharing(facts.orphan_finder)
    yield _length(facts.live)


def _version(facts: QueueFacts) -> CheckResult:
    found = f"{facts.product} {facts.version}"
    numbers = tuple(int(part) for part in facts.version.split(".") if part.isdigit())
    if numbers < _MIN_VERSION:
        return warn(SUBJECT, "version", found, "update it to 6.2 or newer")
    return ok(SUBJECT, "version", found)


def _policy(policy: str) -> CheckResult:
    found = f"maxmemory-policy is {policy}"
    if policy == "noeviction":
        return ok(SUBJECT, "eviction", found)
    advice = "set it to noeviction, or messages and budgets disappear when memory is short"
    return fail(SUBJECT, "eviction", found, advice)


def _keeping(*, keeps: bool) -> CheckResult:
    if keeps:
        return ok(SUBJECT, "persistence", "appendonly is on")
    advice = (
        "set appendonly yes; until then a restart loses messages, which only the sweep makes up"
    )
    return warn(SUBJECT, "persistence", "appendonly is off", advice)


def _memory(used: int, most: int) -> CheckResult:
    found = f"{used / 2**20:.0f} MiB used" + (f" of {most / 2**20:.0f}" if most else ", no limit")
    share = used / most if most else 0.0
    if share >= _FULL:
        return fail(SUBJECT, "memory", found, "raise maxmemory, or see what fills it")
    if share >= _FILLING:
        return warn(SUBJECT, "memory", found, "raise maxmemory before it is full")
    return ok(SUBJECT, "memory", found)


def _sharing(orphan_finder: tuple[str, ...]) -> CheckResult:
    if not orphan_finder:
        return ok(SUBJECT, "database", "it is nobody else's")
    found = f"{len(orphan_finder)} keys of something else, {orphan_finder[0][:60]!a} for one"
    return warn(SUBJECT, "database", found, "give media-atproto a database of its own in REDIS_URL")


def _length(live: int) -> CheckResult:
    found = f"{live} saves are waiting"
    if live > _MAX_LIVE:
        return warn("workers", "queue", found, "see that workers run, or add some")
    return ok("workers", "queue", found)


def _strangers(keys: Iterable[bytes | str]) -> tuple[str, ...]:
    names = (key if isinstance(key, str) else key.decode("utf-8", "replace") for key in keys)
    return tuple(sorted(name for name in names if name not in _QUEUES and not _OURS.match(name)))


def _number(info: Mapping[str, object], name: str) -> int:
    value = info.get(name)
    return value if isinstance(value, int) else 0
