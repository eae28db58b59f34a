"""Check Redis or Valkey: version, role, persistence, memory, queue and clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.core.redis_errors import redis_errors
from worker.core.settings.reader import SettingsError
from worker.operations.doctor.installation import FIRST_TIMEOUT, Installation
from worker.operations.doctor.machine import Clock, evaluate_clock
from worker.operations.doctor.results import CheckResult, Level, fail, judge, ok, warn
from worker.queue.names import FRONT, LIVE, OVERFLOW, redis_list
from worker.queue.redis_keys import is_own_key

SUBJECT = "redis"
_MIN_VERSION = (6, 2)
_MAX_KEYS = 1000  # keys to check for those of other programs
_FULL, _FILLING = 0.95, 0.8
_MAX_LIVE = 10_000  # messages


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """What the server reports: sizes in bytes, `ahead` the lead of its clock in seconds.

    `foreign_keys` are keys of other programs, among the first thousand of its database.
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
    foreign_keys: tuple[str, ...]


def fetch(installation: Installation) -> QueueFacts:
    """Query the server; raises RedisUnavailableError and SettingsError."""
    url = installation.settings.redis_url.reveal()
    try:
        client = Redis.from_url(
            url,
            socket_timeout=FIRST_TIMEOUT,
            socket_connect_timeout=FIRST_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        raise SettingsError(["REDIS_URL is not a valid Redis URL"]) from None
    with client:
        return _read(client, installation.clock)


def _read(redis: Redis, clock: Clock) -> QueueFacts:
    with redis_errors():
        info: Mapping[str, object] = redis.info()
        began = clock()
        seconds, micros = redis.time()
        middle = (began + clock()) / 2
        live = sum(redis.llen(redis_list(LIVE, at)) for at in (FRONT, OVERFLOW))
        _, keys = redis.scan(count=_MAX_KEYS)
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
        foreign_keys=_find_foreign(keys),
    )


def evaluate(facts: QueueFacts) -> Iterator[CheckResult]:
    """Evaluate what the server reports."""
    numbers = tuple(int(part) for part in facts.version.split(".") if part.isdigit())
    product, new = f"{facts.product} {facts.version}", numbers >= _MIN_VERSION
    yield judge(SUBJECT, "version", product, "update to 6.2 or newer", passes=new)
    if facts.role != "master":
        found = f"this {facts.role} does not accept writes"
        yield fail(SUBJECT, "role", found, "name the primary in REDIS_URL")
    yield judge(
        SUBJECT,
        "eviction",
        f"maxmemory-policy is {facts.policy}",
        "set it to noeviction, or messages and rate limits are lost when memory is full",
        passes=facts.policy == "noeviction",
        level=Level.FAIL,
    )
    yield judge(
        SUBJECT,
        "persistence",
        f"appendonly is {'on' if facts.keeps else 'off'}",
        "set appendonly yes, or a restart loses messages, and their items wait for the sweep",
        passes=facts.keeps,
    )
    yield _memory(facts.used, facts.most)
    yield _sharing(facts.foreign_keys)
    live, advice = f"{facts.live} saves are waiting", "check that workers are running, or add more"
    yield judge("workers", "queue", live, advice, passes=facts.live <= _MAX_LIVE)
    yield evaluate_clock(SUBJECT, facts.ahead)


def _memory(used: int, most: int) -> CheckResult:
    found = f"{used / 2**20:.0f} MiB used" + (f" of {most / 2**20:.0f}" if most else ", no limit")
    share = used / most if most else 0.0
    if share >= _FULL:
        return fail(SUBJECT, "memory", found, "raise maxmemory")
    if share >= _FILLING:
        return warn(SUBJECT, "memory", found, "raise maxmemory before it is full")
    return ok(SUBJECT, "memory", found)


def _sharing(foreign_keys: tuple[str, ...]) -> CheckResult:
    if not foreign_keys:
        return ok(SUBJECT, "database", "used by this installation only")
    found = f"{len(foreign_keys)} keys of other programs, such as {foreign_keys[0][:60]!a}"
    return warn(SUBJECT, "database", found, "name an unshared database in REDIS_URL")


def _find_foreign(keys: Iterable[bytes | str]) -> tuple[str, ...]:
    names = (key if isinstance(key, str) else key.decode("utf-8", "replace") for key in keys)
    return tuple(sorted(name for name in names if not is_own_key(name)))


def _number(info: Mapping[str, object], name: str) -> int:
    value = info.get(name)
    return value if isinstance(value, int) else 0
