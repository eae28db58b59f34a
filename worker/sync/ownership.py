"""Decide whether a record at a key belongs to the document of a run.

The state of a document names the key of its record, but a producer, or a client whose request a
producer saves, may have written the state. Only the record itself proves its document.
"""

from __future__ import annotations

from worker.core.documents import SyncState
from worker.core.errors import PermanentError
from worker.core.records import RecordKey, RemoteRecord
from worker.pds.repo import Repo
from worker.sync.run import Run


class RecordNotProvenError(PermanentError):
    """The record at a key does not name the document, so it is not changed."""

    step, code = "write", "record_not_proven"


def check_owner(run: Run, key: RecordKey, record: RemoteRecord | None) -> None:
    """Raise RecordNotProvenError unless the run may replace or delete the record at `key`.

    The record must name the document. A record that names none may be changed in the repo of the
    document's owner, except in the repo that all guests share.
    """
    if record is None or run.is_named_by(record.ref, key.repo):
        return
    if record.ref is None and key.repo == run.did and not run.document.is_guest:
        return
    name = f"document {record.ref!a}"[:80] if record.ref else "no document"
    raise RecordNotProvenError(f"the record {key.uri} names {name}: it is not changed")


def read_replaced(run: Run, repo: Repo, key: RecordKey) -> RemoteRecord | None:
    """Read the record that a write of the run replaces; raises as `check_owner`."""
    record = repo.get(key)
    check_owner(run, key, record)
    if record:
        run.replaced.update(record.blob_cids)
    return record


def without_key(state: SyncState) -> SyncState:
    """Return `state` without its record."""
    gone = state._replace(repo=None, rkey=None, uri=None, cid=None)
    return gone._replace(adopted=False, published_at=None)
