"""A PDS that answers wrongly: every call the same way, until items have failed for it."""

from __future__ import annotations

from collections.abc import Callable

from tests.contract.proxy import Reply
from tests.faults.stage import Stage
from worker.media import MEDIA_TYPES

_OUTAGE = b'{"error": "InternalServerError", "message": "an outage"}'
_PAGE = b"<!doctype html><title>Welcome</title>"
_MANY = 12  # bad answers
_OTHERS = 6  # items; the stream saves 2 per second at its end
_PAGES = (403, 503)


def answering(reply: Reply, code: str) -> Callable[[Stage], None]:
    """Return what gives this answer until items have failed with codes that start like this."""

    def strike(stage: Stage) -> None:
        stage.proxy.forget_calls()
        stage.proxy.answer(reply)
        try:
            stage.wait_for_code(code)
            stage.wait(lambda: stage.proxy.count() >= _MANY, "many bad answers")
        finally:
            stage.proxy.be_honest()

    return strike


fail = answering(Reply(status=500, body=_OUTAGE), "pds_500")
truncate = answering(Reply(body=b'{"uri": "at://did:plc:'), "pds_answer_garbled")
send_pages = answering(Reply(body=_PAGE, content_type="text/html"), "pds_answer_garbled")
cut = answering(Reply(body=b'{"uri": "at', cut=True), "pds_unreachable")
cut_afterwards = answering(Reply(cut=True, carried_out=True), "pds_unreachable")


_QUARTER = r'"ref": ?"[0-9a-f]{23}[0-3]"'  # of a quarter of all items, in the body of a write


def block(stage: Stage) -> None:
    """Let a gateway answer all calls with a page, until items have failed."""
    for status in _PAGES:
        answering(_page(status), f"pds_{status}")(stage)


def block_some(stage: Stage) -> None:
    """Let a gateway answer the writes of some items with a page, and see others published."""
    for status in _PAGES:
        before = {item.id for item in stage.items}
        stage.proxy.answer(_page(status), about=_QUARTER)
        try:
            stage.wait_for_code(f"pds_{status}")
            stage.wait(lambda: len(_published(stage) - before) >= _OTHERS, "others to be published")  # noqa: B023
        finally:
            stage.proxy.be_honest()


def _page(status: int) -> Reply:
    return Reply(status, _PAGE, "text/html; charset=utf-8")


def _published(stage: Stage) -> set[object]:
    states = (stage.platform.states(name) for name in MEDIA_TYPES)
    items = (item for each in states for item in each.items())
    return {item for item, state in items if state.get("status") == "synced"}


def drip(stage: Stage) -> None:
    """Let answers come in drops until every process has waited 18 seconds for one."""
    before = stage.proxy.dripped
    stage.proxy.drip(pieces=8, pause=2.5)
    try:
        processes = len(stage.fleet.children())
        stage.wait(lambda: stage.proxy.dripped - before >= processes, "slow answers")
    finally:
        stage.proxy.be_honest()
