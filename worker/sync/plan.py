"""Decide whether to publish, remove or skip a document, without any I/O."""

from __future__ import annotations

from dataclasses import dataclass

from worker.core.documents import Account, MediaDocument, Status
from worker.core.records import RecordKey
from worker.media import MediaType


@dataclass(frozen=True, slots=True)
class Publish:
    """Publishes the record to the account's repo; deletes it in `moved_from` first."""

    account: Account
    moved_from: str | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Deletes the record at `key`."""

    key: RecordKey


@dataclass(frozen=True, slots=True)
class Skip:
    """Skips the document; `reason` is a code such as `no_account`.

    `keeps_record` means that an existing record stays as it is.
    """

    reason: str
    keeps_record: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """Does nothing, because the record is already deleted."""


Plan = Publish | Remove | Skip | Nothing


def describe(plan: Plan) -> str:
    """Return the plan as a text for operators."""
    match plan:
        case Publish(account=account, moved_from=moved_from):
            moved = f", leaving {moved_from}" if moved_from else ""
            return f"publish to {account.handle} ({account.did}){moved}"
        case Remove(key=key):
            return f"remove {key.uri}"
        case Skip(reason=reason):
            return f"skip: {reason}"
        case Nothing():
            return "nothing to do"


def plan(kind: MediaType, document: MediaDocument, account: Account | None) -> Plan:
    """Choose the plan for a document; `account` is its owner's account, or None."""
    state = document.state
    if document.hidden:
        return _hide(kind, document, account, document.hidden)
    if document.is_guest and not kind.guests:
        return Skip("guests_not_published")
    if account is None:
        return Skip("no_account")
    if field := kind.missing_field(document):
        return Skip(f"no_{field}", keeps_record=True)
    moved = state.repo is not None and state.repo != account.did
    return Publish(account, moved_from=state.repo if moved else None)


def _hide(kind: MediaType, document: MediaDocument, account: Account | None, reason: str) -> Plan:
    state = document.state
    if state.status is Status.REMOVED and not state.strays:
        return Nothing()
    if state.rkey is None:
        return Skip(reason)
    # A legacy document has an rkey and no repo: its record is in its owner's repo.
    repo = state.repo or (account.did if account else None)
    return Remove(RecordKey(repo, kind.nsid, state.rkey)) if repo else Skip("no_account")
