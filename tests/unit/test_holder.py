"""The name that a message claims documents by."""

from __future__ import annotations

from tasks import sync_media


def test_a_message_that_comes_again_is_told_from_one_that_was_asked_for() -> None:
    """The same name, its run died; the next one, its run asked for another try."""
    names = []
    for retries in (0, 0, 1, 2):
        sync_media.push_request(id="message", retries=retries)
        names.append(sync_media.holder)
        sync_media.pop_request()
    assert names == ["message", "message", "1/message", "2/message"]
