"""Calls end within the time of a task, and what the platform publishes fits."""

from __future__ import annotations

import json

from worker.media.lexicons import type_lexicons
from worker.operations.doctor.pds import max_blob_size
from worker.pds.call_limits import FOREIGN, TRUSTED
from worker.queue.names import SOFT_LIMIT

_LARGEST_SOURCE = 50_000  # bytes of a KidLisp program, by its lexicon


def test_calls_that_publish_an_item_end_within_its_task() -> None:
    """A file is uploaded, then the record is written; a repo is read before the first write."""
    for limits in (FOREIGN, TRUSTED):
        assert limits.upload.seconds + limits.ordinary.seconds < SOFT_LIMIT
        assert limits.repo.seconds < SOFT_LIMIT


def test_largest_blob_fits() -> None:
    """That of any lexicon."""
    assert max_blob_size(type_lexicons()) < FOREIGN.blob.max_bytes


def test_page_of_the_largest_records_fits() -> None:
    """A hundred programs: plain text from a foreign PDS, and any text from our own."""
    plain = {"source": "(wipe blue)" * (_LARGEST_SOURCE // 11)}
    worst = {"source": "\x01" * _LARGEST_SOURCE}
    assert len(json.dumps([plain] * 100)) < FOREIGN.page.max_bytes
    assert len(json.dumps([worst] * 100)) < TRUSTED.page.max_bytes


def test_foreign_pds_has_lower_limits() -> None:
    """Its operator may be an attacker."""
    assert FOREIGN.repo.max_bytes < TRUSTED.repo.max_bytes
