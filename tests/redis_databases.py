"""Redis databases for tests that need a queue, or sessions and counters, of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis

_DATABASES = range(1, 64)  # of the embedded Valkey; number 0 keeps which of them are taken


@contextmanager
def redis_database(url: str) -> Iterator[str]:
    """Yield the URL of an empty database on the server of `url` that no other test uses."""
    server = url.rpartition("/")[0]
    with Redis.from_url(f"{server}/0") as registry:
        number = next(each for each in _DATABASES if registry.set(_taken(each), 1, nx=True))
        own = f"{server}/{number}"
        try:
            yield own
        finally:
            with Redis.from_url(own) as client:
                client.flushdb()
            registry.delete(_taken(number))


def _taken(number: int) -> str:
    return f"tests:taken:{number}"
