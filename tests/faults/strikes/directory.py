"""A directory of DID documents that limits its callers."""

from __future__ import annotations

from time import monotonic

from tests.contract.proxy import Reply
from tests.faults.stage import Stage

_WAIT = 5  # seconds, in Retry-After
_CALLS = 3  # after each other


def limit(stage: Stage) -> None:
    """Answer 429 while no PDS URL is cached, until it has been called again and again.

    Raises AssertionError if it is called more often than it allows.
    """
    stage.directory.forget_calls()
    stage.directory.answer(Reply(429, b"{}", headers={"Retry-After": str(_WAIT)}))
    started = monotonic()
    try:
        for name in stage.queue.scan_iter("media-atproto:home:*", count=1000):
            stage.queue.delete(name)
        stage.wait_for_code("directory_unavailable")
        stage.wait(lambda: stage.directory.count() > _CALLS, "the directory to be called again")
        calls, most = stage.directory.count(), (monotonic() - started) / _WAIT + 1
        # At first, all processes may call at the same time.
        most += len(stage.fleet.children())
        assert calls <= most, f"the directory was called {calls} times"
    finally:
        stage.directory.be_honest()
