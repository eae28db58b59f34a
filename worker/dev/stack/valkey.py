"""Valkey, the free Redis: append-only file on, nothing ever evicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import redis

from worker.dev.stack.supervisor import Command


@dataclass(frozen=True, slots=True)
class Valkey:
    """The program `valkey-server`, its append-only file in `data`."""

    binary: Path
    data: Path
    environment: Mapping[str, str]
    name: str = "valkey"

    def url(self, port: int) -> str:
        """Return its address for Redis clients."""
        return f"redis://127.0.0.1:{port}/0"

    def command(self, port: int) -> Command:
        """Return how to run it on the loopback."""
        bind = ("--bind", "127.0.0.1", "--port", str(port))
        keep = ("--dir", self.data, "--appendonly", "yes", "--save", "")
        options = ("--maxmemory-policy", "noeviction", "--databases", "64")
        return Command((self.binary, *bind, *keep, *options), self.environment)

    def ready(self, port: int, pid: int) -> bool:
        """Tell whether process `pid` answers and has loaded its data."""
        client = redis.Redis(port=port, socket_timeout=2, socket_connect_timeout=2)
        try:
            with client:
                client.ping()
                return bool(client.info("server")["process_id"] == pid)
        except redis.RedisError:
            return False
