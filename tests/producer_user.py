"""The Redis user that docs/producers.md creates."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

_PAGE = Path(__file__).parents[1] / "docs/producers.md"
_NAME = "producer"


@dataclass(frozen=True, slots=True)
class ProducerUser:
    """The URL of the user, and a client that may do everything."""

    url: str
    admin: Redis

    def denials(self) -> list[str]:
        """Return the commands and keys that the user was denied."""
        return [
            str(entry["object"]) for entry in self.admin.acl_log() if entry["username"] == _NAME
        ]


def rules() -> str:
    """Return the rules of the user on the page, without the password."""
    (line,) = re.findall(rf"^ACL SETUSER {_NAME} (.+) >PASSWORD$", _PAGE.read_text(), re.M)
    return str(line)


@contextmanager
def producer_user(url: str) -> Iterator[ProducerUser]:
    """Create the user on the server of `url` until the block ends."""
    server = url.removeprefix("redis://").partition("/")[0]
    with Redis.from_url(f"redis://{server}/0") as admin:
        admin.execute_command("ACL SETUSER", _NAME, *rules().split(), ">swordfish")
        admin.acl_log_reset()
        try:
            yield ProducerUser(f"redis://{_NAME}:swordfish@{server}/0", admin)
        finally:
            admin.acl_deluser(_NAME)
            admin.delete("live")
