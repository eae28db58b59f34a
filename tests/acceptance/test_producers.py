"""What a producer pays: little to import, nothing raised, never held up."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from contextlib import ExitStack

import pytest

from tests.producer_user import producer_user
from tests.redis_databases import redis_database
from worker.dev.stack import Stack

_ENQUEUE = """
    import json, logging, tasks
    taken = [tasks.enqueue("mood", "65f0c0ffee65f0c0ffee65f0") for _ in range(3)]
    result = tasks.sync_media.delay("mood", "65f0c0ffee65f0c0ffee65f0")
    print(json.dumps({"taken": taken, "delayed": type(result).__name__}))
"""


def produce(program: str, redis_url: str | None) -> tuple[dict[str, object], str]:
    """Run a producer's program in a process of its own; return what it printed and logged."""
    environ = {} if redis_url is None else {"REDIS_URL": redis_url}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    printed = json.loads(done.stdout)
    assert isinstance(printed, dict)
    return printed, done.stderr


@pytest.mark.parametrize("use", ["", 'tasks.enqueue("mood", 1)'], ids=["import", "first call"])
def test_producers_load_no_engine(use: str) -> None:
    """Neither the SDK nor Pillow, nor MongoDB's driver, nor the media types."""
    loaded, _ = produce(
        f"""
        import json, sys, tasks
        {use}
        print(json.dumps({{"modules": sorted(sys.modules)}}))
        """,
        None,
    )
    modules = loaded["modules"]
    assert isinstance(modules, list)
    heavy = {"atproto", "atproto_client", "PIL", "pymongo", "bson", "httpx", "lexrpc", "rich"}
    assert heavy.isdisjoint(name.partition(".")[0] for name in modules)
    assert "worker.media" not in modules


def test_a_queue_that_is_up_takes_the_message(own_stack: Stack) -> None:
    """The usual case."""
    with redis_database(own_stack.environment["REDIS_URL"]) as url:
        assert produce(_ENQUEUE, url)[0] == {"taken": [True] * 3, "delayed": "AsyncResult"}


def test_the_user_of_the_page_can_enqueue(own_stack: Stack) -> None:
    """With the command of docs/producers.md; nothing that Python sends is denied."""
    with producer_user(own_stack.environment["REDIS_URL"]) as producer:
        answer = produce(_ENQUEUE, producer.url)[0]
        assert answer == {"taken": [True] * 3, "delayed": "AsyncResult"}
        assert producer.denials() == []


@pytest.mark.parametrize("fault", ["stopped", "frozen", "refused", "unnamed"])
def test_a_queue_that_fails_never_fails_the_save(own_stack: Stack, fault: str) -> None:
    """Down, hung, not there, not configured: False, a line in the log, and the save goes on."""
    urls = {"refused": "redis://:swordfish@127.0.0.1:1/0", "unnamed": None}
    with ExitStack() as undo:
        if fault == "stopped":
            undo.callback(own_stack.valkey.start)
            own_stack.valkey.stop()
        elif fault == "frozen":
            undo.callback(own_stack.valkey.thaw)
            own_stack.valkey.freeze()
        printed, logged = produce(_ENQUEUE, urls.get(fault, own_stack.environment["REDIS_URL"]))
    assert printed == {"taken": [False] * 3, "delayed": "LostResult"}
    assert "the sweep will find it" in logged
    assert "swordfish" not in logged


def test_what_cannot_be_sent_never_fails_the_save(own_stack: Stack) -> None:
    """Arguments of the wrong shape are a mistake in the caller, logged, not raised."""
    printed, logged = produce(
        """
        import json, tasks
        odd = tasks.sync_media.delay(), tasks.sync_media.delay("mood", {1, 2})
        print(json.dumps({"odd": [type(result).__name__ for result in odd]}))
        """,
        own_stack.environment["REDIS_URL"],
    )
    assert printed == {"odd": ["LostResult", "LostResult"]}
    assert "was not enqueued" in logged
