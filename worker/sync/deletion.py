"""Delete the record of a document, if the record names the document."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum

from worker.core.documents import Account
from worker.core.records import RecordKey
from worker.database.accounts import Accounts
from worker.pds.repo import Repo
from worker.sync.ownership import RecordNotProvenError, check_owner
from worker.sync.run import Run

log = logging.getLogger(__name__)


class Deletion(Enum):
    """The result of deleting a record; DONE also if it was missing."""

    DONE = "the record is gone"
    NO_ACCOUNT = "the account of the repo is unknown"
    NOT_PROVEN = "the record does not name the document"


def delete_own_record(
    run: Run, key: RecordKey, accounts: Accounts, open_repo: Callable[[Account], Repo]
) -> Deletion:
    """Delete a record of the run's document; log why, if the record is kept.

    Raises the errors of Repo and MongoDB.
    """
    account = accounts.by_did(key.repo)
    if account is None:
        log_kept(run, key, "its account is unknown")
        return Deletion.NO_ACCOUNT
    repo = open_repo(account)
    record = repo.get(key)
    try:
        check_owner(run, key, record)
    except RecordNotProvenError:
        log_kept(run, key, "it does not name the document")
        return Deletion.NOT_PROVEN
    if record:
        run.begin_write(key)
        run.report_step(f"removing {key.uri}")
        repo.delete(key, swap=record.cid)
    run.report_step(f"removed {key.uri}")
    return Deletion.DONE


def log_kept(run: Run, key: RecordKey, why: str) -> None:
    """Report that a record is not deleted, and why."""
    run.report_step(f"{key.uri} stays: {why}")
    fields = {"type": run.kind.name, "id": str(run.document.ref.id), "did": key.repo}
    log.warning("record not deleted, %s: %s", why, key.uri, extra=fields)
