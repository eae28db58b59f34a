"""All faults: a new one is an entry here, and the function that strikes."""

from __future__ import annotations

from tests.faults.performance import Fault
from tests.faults.strikes import (
    directory,
    mongodb,
    moves,
    pds,
    redis,
    schedule,
    validators,
    wire,
    workers,
)

_MINUTE = 60.0

# Those with the same fleet follow each other, so that it is started once.
FAULTS = (
    Fault("child killed", "kill -9 of a process of each pool", workers.kill_children),
    Fault("worker killed", "kill -9 of a whole worker; another follows", workers.kill_worker),
    Fault("worker stopped", "SIGTERM at work; another follows", workers.warm_shutdown),
    Fault("PDS restarted", "stopped until items fail, then started", pds.restart),
    Fault("PDS killed", "kill -9, started when items fail", pds.kill, kills_pds=True),
    Fault("PDS frozen", "SIGSTOP until calls time out and leases run out", pds.freeze),
    Fault("Redis restarted", "stopped until saves are refused; with its data", redis.restart),
    Fault("Redis emptied", "kill -9, its files deleted, then started", redis.lose_everything),
    Fault("Redis flushed", "FLUSHALL", redis.flush),
    Fault("Redis frozen", "SIGSTOP until saves are refused and workers time out", redis.freeze),
    Fault(
        "Redis read-only",
        "a replica of a host that is away; the PDS dies, and retries are refused",
        redis.make_read_only,
        kills_pds=True,
    ),
    Fault(
        "Redis out of memory",
        "maxmemory reached, noeviction; the PDS dies, and retries are refused",
        redis.fill,
        kills_pds=True,
    ),
    Fault("mongod killed", "kill -9, started when tasks fail", mongodb.kill),
    Fault("mongod steps down", "replSetStepDown, elected again seconds later", mongodb.step_down),
    Fault(
        "secondary lags",
        "a second member applies no writes; secondaryPreferred; audit --repair",
        mongodb.lag_behind,
        mongodb="readPreference=secondaryPreferred",
    ),
    Fault("thumbnails refused", "MongoDB takes none into the cache", mongodb.refuse_thumbnails),
    Fault(
        "documents rejected",
        "a schema validator takes no state of every second document",
        validators.reject_states,
    ),
    Fault("account moved", "its old PDS still takes writes", moves.move_account),
    Fault("two sweeps", "no save's message arrives; two beats", schedule.sweep_twice, loses=True),
    Fault(
        "PDS killed in applyWrites",
        "kill -9, twice",
        pds.kill_in_batches,
        proxied=True,
        kills_pds=True,
    ),
    Fault("answers 500", "all of them, until items fail", wire.fail, proxied=True),
    Fault("truncated JSON", "all of them, until items fail", wire.truncate, proxied=True),
    Fault("wrong content type", "a web page each, until items fail", wire.send_pages, proxied=True),
    Fault("gateway pages", "403, then 503, until items fail", wire.block, proxied=True),
    Fault("gateway pages for some", "a quarter of all writes", wire.block_some, proxied=True),
    Fault("answers cut", "in the middle, until items fail", wire.cut, proxied=True),
    Fault("carried out, then cut", "nobody hears of it", wire.cut_afterwards, proxied=True),
    Fault("slow answers", "18 seconds each, in drops", wire.drip, proxied=True),
    Fault(
        "directory limits",
        "429 while no PDS URL is cached, until called again",
        directory.limit,
        resolved=True,
    ),
    Fault(
        "clocks apart",
        "one worker a minute ahead, one a minute behind, from the first save on",
        schedule.let_run,
        skews=(_MINUTE, -_MINUTE),
    ),
)
