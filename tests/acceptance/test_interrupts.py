"""Ctrl-C in a command that changes something: exit code 130, what continues, and how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import pytest
from pymongo import monitoring

from tests.bulk import account, put_foreign, start_over
from tests.contract.proxy import Reply, open_proxy
from tests.terminal import call
from tests.world import World, Worlds
from worker.dev.stack import Stack


@dataclass(frozen=True)
class Case:
    """A command, the call to the PDS at which it is interrupted, and what it prints."""

    arguments: str
    method: str
    told: str


CASES = {
    "wipe": Case("wipe USER --yes", "applyWrites", "nothing continues in the background"),
    "forget": Case("forget USER --yes", "applyWrites", "nothing continues in the background"),
    "audit": Case("audit --quick", "getRepo", "nothing was changed"),
    "repair": Case("audit --repair --yes", "applyWrites", "what is repaired stays repaired"),
    "lexicons": Case("lexicons publish --account USER", "putRecord", "one more may be"),
    "sync": Case("sync mood ITEM", "putRecord", "a worker continues with this item"),
}


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, whatever this process was started with."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def opened(worlds: Worlds) -> Iterator[World]:
    """Open a world for this module."""
    with worlds.open(REPO_LOCK_SECONDS="1", SWEEP_GRACE_SECONDS="0") as world:
        start_over(world)
        yield world


def press_ctrl_c() -> None:
    """Interrupt the main thread, which waits for an answer."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def press_at_first_request() -> Callable[[str], str]:
    """Return a function that presses Ctrl-C at its first call.

    Another thread may repeat the request, and a second Ctrl-C would interrupt the end.
    """
    requests = count()

    def press(_request: str) -> str:
        if next(requests) == 0:
            press_ctrl_c()
        return ""

    return press


@pytest.mark.parametrize("name", CASES)
def test_ctrl_c_says_what_continues(opened: World, stack: Stack, name: str) -> None:
    """On stderr, without a traceback."""
    item, case = opened.publish_mood("calm"), CASES[name]
    put_foreign(opened, opened.ada, "mood", f"orphan-{name}", text="?", ref="?")
    opened.platform.edit("mood", item, mood="edited")
    values = {"USER": account(opened, opened.ada).handle, "ITEM": str(item)}
    arguments = [values.get(each, each) for each in case.arguments.split()]
    with open_proxy(stack.environment["PDS_URL"]) as proxy:
        proxy.answer(Reply(503, quoting=press_at_first_request()), case.method)
        result = call(opened, *arguments, PDS_URL=proxy.url)
    assert result.exit_code == 130, result.output
    assert "Interrupted: " in result.stderr
    assert case.told in result.stderr


class CtrlC(monitoring.CommandListener):
    """Presses Ctrl-C once, when a password is replaced."""

    def __init__(self) -> None:
        self.is_armed = True

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Interrupt the update of a user."""
        if self.is_armed and event.command.get("update") == "users":
            self.is_armed = False
            press_ctrl_c()

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Take no notice."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Take no notice."""


def test_ctrl_c_while_keys_are_rotated_says_that_nothing_is_lost(opened: World) -> None:
    """All secrets can be read, and the rest is sealed by the next run."""
    listener = CtrlC()
    monitoring.register(listener)  # for the clients of this process that are created from now on
    result = call(opened, "rotate-keys", "--yes")
    assert (result.exit_code, listener.is_armed) == (130, False), result.output
    assert "all secrets can still be read" in result.stderr
    again = call(opened, "rotate-keys", "--yes")
    assert again.exit_code == 0, again.output
