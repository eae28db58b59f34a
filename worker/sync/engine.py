"""Sync one item: make its record on the PDS match its document in MongoDB.

Creating, editing, taking down, deleting and retrying all run the same steps:

1. Claim the document under a lease.
2. Decide what to do (see plan.py).
3. Publish, remove or skip, saving each step's result on the document.
4. Finish. If the document changed in the meantime, start over.

Failures are saved on the document; retry.py decides when to try again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self

from celery.exceptions import SoftTimeLimitExceeded

from worker.core.clock import now
from worker.core.documents import (
    Account,
    DocumentId,
    Failure,
    ItemRef,
    MediaDocument,
    Status,
    SyncState,
)
from worker.core.errors import (
    MediaError,
    PermanentError,
    TimeLimitError,
    UnexpectedError,
    UnexpectedSourceError,
    UnexpectedThumbnailError,
)
from worker.core.ids import parse_id
from worker.core.record_keys import is_rkey
from worker.core.records import RecordKey
from worker.core.settings import RetrySettings
from worker.database.accounts import Accounts
from worker.database.mongo import StateNotSavedError
from worker.database.state import RESET_REASONS
from worker.database.store import (
    Busy,
    DocumentStore,
    Finish,
    LeaseLostError,
    RecordKeyTakenError,
)
from worker.database.thumbnail_cache import ThumbnailCache
from worker.media import MediaType, media_type
from worker.pds.repo import Repo
from worker.sync.adoption import Adoption
from worker.sync.deletion import Deletion, delete_own_record, log_kept
from worker.sync.item_log import ItemLog
from worker.sync.outcome import Outcome
from worker.sync.ownership import without_key
from worker.sync.plan import Nothing, Publish, Remove, Skip, describe, plan
from worker.sync.publisher import Publisher
from worker.sync.removal import Remover
from worker.sync.reservation import Reservation
from worker.sync.retry import after_failure
from worker.sync.run import Observer, Run, ignore_step
from worker.telemetry.alerts import AffectedItem, Alerts

_MAX_ROUNDS = 5
_PUBLISHED = frozenset({Status.SYNCED, Status.PARTIAL})
# Already reported when they were raised.
_REPORTED = (UnexpectedThumbnailError.code, UnexpectedSourceError.code)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Request:
    kind: MediaType
    ids: tuple[DocumentId, ...]
    holder: str
    user: str | None = None
    force: bool = False
    only_if_due: bool = False
    observer: Observer = ignore_step

    @property
    def ref(self) -> ItemRef:
        return ItemRef(self.kind.name, self.ids[0])

    @classmethod
    def of_run(cls, run: Run, holder: str) -> Self:
        """Build a request to sync the document of `run` again."""
        return cls(run.kind, (run.document.ref.id,), holder, observer=run.report_step)


@dataclass(frozen=True, slots=True)
class Engine:
    """Syncs items one at a time."""

    store: DocumentStore
    accounts: Accounts
    publisher: Publisher
    remover: Remover
    adoption: Adoption
    open_repo: Callable[[Account], Repo]
    thumbnails: ThumbnailCache
    retry: RetrySettings
    alerts: Alerts
    item_log: ItemLog

    def sync(
        self,
        type_name: str,
        raw_id: DocumentId,
        *,
        holder: str,
        user: str | None = None,
        force: bool = False,
        only_if_due: bool = False,
        observer: Observer = ignore_step,
    ) -> Outcome:
        """Sync one item; return its outcome.

        `raw_id` is the document's `_id` or its text form. `holder` names the queue message or
        operator that requested the sync. `user` is the owner, needed if the document is deleted.
        `force` writes a current record, and retries an item at the limit of lost workers.
        `only_if_due` skips an item that is not due.

        Raises PermanentError for an unknown type or an invalid id, ContendedError, and
        StoreUnavailableError. An unexpected error is saved and raised again.
        """
        kind, ids = media_type(type_name), parse_id(raw_id)
        request = _Request(kind, ids, holder, user, force, only_if_due, observer)
        if user is not None:
            self._remove_of_former_owner(kind, ids, user)
        return self._until_settled(request)

    def _remove_of_former_owner(
        self, kind: MediaType, ids: Sequence[DocumentId], user: str
    ) -> None:
        """Delete the record of `user` if their document is missing and another user's has its id.

        The removal is saved, and the sweep enqueues it, until the record is gone.
        """
        owners = {each.owner for each in self.store.find_owners(kind, ids)}
        if owners and user not in owners:
            outcome = self.remover.remove_all_of(kind, ids, user)
            self.item_log.record(self._alert_removal(outcome, ids[0]))

    def sync_claimed(self, run: Run, *, holder: str) -> Outcome:
        """Sync a document that `run` has claimed; raises the same errors as `sync`."""
        request = _Request.of_run(run, holder)
        return self._until_settled(self._run(request, run))

    def conclude(self, run: Run, state: SyncState, finish: Finish, *, holder: str) -> Outcome:
        """Log and return the outcome of a finished run.

        If the document has changed, sync it again first; raises the same errors as `sync`.
        """
        return self._until_settled(self._after(_Request.of_run(run, holder), run, state, finish))

    def delete_record(
        self, type_name: str, user: str, rkey: str, *, holder: str, observer: Observer = ignore_step
    ) -> Outcome:
        """Delete a record, or sync its document if the document still exists.

        Raises the same errors as `sync`, and PermanentError for an invalid `rkey`.
        """
        kind = media_type(type_name)
        if not is_rkey(rkey):
            message = f"no record can have the key {rkey[:40]!a}"
            raise PermanentError(message, step="document", code="invalid_id")
        outcome = self.remover.remove_one(kind, user, rkey)
        if isinstance(outcome, MediaDocument):
            return self.sync(kind.name, outcome.ref.id, holder=holder, observer=observer)
        outcome = self._alert_removal(outcome, rkey)
        self.item_log.record(outcome)
        return outcome

    def _alert_removal(self, outcome: Outcome, item_id: DocumentId) -> Outcome:
        """Send an alert if a removal failed permanently; return `outcome` unchanged."""
        if outcome.error and outcome.status is Status.FAILED:
            type_name, attempt = outcome.item.type, outcome.attempt or 0
            item = AffectedItem(type_name, str(item_id), outcome.did, attempt)
            self.alerts.item_failed(item, outcome.error)
        return outcome

    def _until_settled(self, result: Outcome | _Request) -> Outcome:
        """Sync until there is an outcome, at most `_MAX_ROUNDS` times; log and return it."""
        for _ in range(_MAX_ROUNDS):
            if isinstance(result, Outcome):
                break
            result = self._attempt(result)
        if not isinstance(result, Outcome):
            why = "it changes as fast as it is published"
            result = Outcome(result.ref, None, why, again=True)
        self.item_log.record(result)
        return result

    def _attempt(self, request: _Request) -> Outcome | _Request:
        """Claim and sync a document; return its outcome or a request to sync again."""
        kind, ids = request.kind, request.ids
        reservation = Reservation(kind, self.accounts, self.adoption.adopted)
        try:
            claimed = self.store.claim(
                kind,
                ids,
                holder=request.holder,
                lease=self.retry.lease,
                only_if_due=request.only_if_due,
                choose_key=reservation.choose_key,
            )
        except StateNotSavedError as error:
            return self._mark_failed(request, error)
        except (MediaError, SoftTimeLimitExceeded):
            raise
        except Exception as error:
            self._save_unreadable(request, error)
            raise
        if claimed is None:
            return self._alert_removal(self.remover.remove_all_of(kind, ids, request.user), ids[0])
        if isinstance(claimed, Busy):
            return Outcome.of_busy(request.ref, claimed)
        if request.user == claimed.owner:
            self.remover.cancel(kind, ids, claimed.owner)
        run = Run(self.store, kind, claimed, report_step=request.observer)
        return self._run(request, run, reservation.account)

    def _mark_failed(self, request: _Request, error: StateNotSavedError) -> Outcome:
        """Save a failure on a document that cannot be claimed; return the outcome."""
        found = self.store.find(request.kind, request.ids)
        failure = Failure.of(error, now())
        if found:
            self._save_failure(request.kind, found.ref.id, failure)
        return Outcome.of_state(request.ref, SyncState(status=Status.FAILED, error=failure))

    def _save_unreadable(self, request: _Request, error: Exception) -> None:
        """Report an unexpected error with a document that is not claimed, and save it."""
        item = AffectedItem(request.kind.name, str(request.ids[0]), None, 1)
        self.alerts.unexpected_error(item, error, is_new=True)
        failure = Failure.of(UnexpectedError.of(error), now())
        existing = {each.ref.id for each in self.store.find_owners(request.kind, request.ids)}
        if found := [each for each in request.ids if each in existing]:
            self._save_failure(request.kind, found[0], failure)

    def _save_failure(
        self, kind: MediaType, item: DocumentId, failure: Failure, token: str | None = None
    ) -> None:
        """Save a failure if MongoDB can save it; otherwise only the item log has it."""
        with suppress(StateNotSavedError):
            self.store.mark_failed(kind, item, failure, token)

    def _run(
        self, request: _Request, run: Run, account: Account | None = None
    ) -> Outcome | _Request:
        """Sync a claimed document, and save its final state even after an error.

        `account` is the owner's account if it was read for the claim.
        """
        try:
            if account is None and run.document.fault is None:
                account = self.accounts.find(run.document.owner)
            elif run.state.rkey:
                run.report_step(f"rkey {run.state.rkey} reserved in {run.state.repo}")
            run = run.unbuffered(account.did if account else None)
            self._prepare(run, account, force=request.force)
            state = self.carry_out(run, account, force=request.force)
        except LeaseLostError:
            return self._after(request, run, run.state, Finish.SUPERSEDED)
        except MediaError as error:
            run.report_step(f"{error.step}: {error.message}")
            state = after_failure(run.state, error, self.retry, now())
        except SoftTimeLimitExceeded:
            slow = TimeLimitError.of("run")
            state = after_failure(run.state, slow, self.retry, now())
        except Exception as error:
            # Any other exception is a bug. The document must not keep its lease and lose the error:
            # it is saved there and reported, and raised again to end the task.
            self._save_unexpected(run, error)
            raise
        return self._after(request, run, *self._finish(run, state))

    def _save_unexpected(self, run: Run, error: Exception) -> None:
        known = run.state.error is not None and run.state.error.code == type(error).__name__
        self.alerts.unexpected_error(run.affected, error, is_new=not known)
        state = after_failure(run.state, UnexpectedError.of(error), self.retry, now())
        state, _ = self._finish(run, state)
        self.item_log.record(Outcome.of_state(run.document.ref, state))

    def _finish(self, run: Run, state: SyncState) -> tuple[SyncState, Finish]:
        try:
            finish = self.store.finish(run.kind, run.document, state)
        except StateNotSavedError as error:
            lease, failure = run.state.lease, Failure.of(error, now())
            token = lease.token if lease else None
            self._save_failure(run.kind, run.document.ref.id, failure, token)
            return state.with_error(failure)._replace(status=Status.FAILED), Finish.SETTLED
        self.discard_replaced([(run, state)])
        return state, finish

    def discard_replaced(self, finished: Iterable[tuple[Run, SyncState]]) -> None:
        """Delete the cached thumbnails that records no longer contain, after they were replaced."""
        cids = set[str]()
        for run, state in finished:
            if run.kind.has_thumbnails and state.status in _PUBLISHED:
                cids |= run.replaced - {blob.cid for blob in state.blobs.values()}
        self.thumbnails.discard_replaced(cids)

    def _after(
        self, request: _Request, run: Run, state: SyncState, finish: Finish
    ) -> Outcome | _Request:
        """Return the outcome of a finished run, or a request to sync again."""
        if finish is Finish.SETTLED:
            self._alert_if_failed(run, state)
            return Outcome.of_document(run.document, state)
        if finish is Finish.VANISHED and state.rkey:
            self.remover.expect(run.kind, run.document.ref.id, run.document.owner, state.rkey)
        if finish is not Finish.SUPERSEDED:
            return replace(request, only_if_due=False, user=run.document.owner)
        if not run.written:
            return Outcome(request.ref, None, "another run has taken over")
        # A write of this run may reach the PDS after the newer run has finished.
        for uri in sorted(run.written):
            self.store.add_stray_write(run.kind, run.document, uri)
        # Use another holder name, so that this request does not take the newer run's lease.
        return replace(request, holder=f"{request.holder} after being overtaken")

    def _alert_if_failed(self, run: Run, state: SyncState) -> None:
        is_published = state.status is Status.PARTIAL
        is_final = state.retry_at is None and (is_published or state.status is Status.FAILED)
        if state.error and is_final and state.error.code not in _REPORTED:
            self.alerts.item_failed(replace(run.affected, is_published=is_published), state.error)

    def _prepare(self, run: Run, account: Account | None, *, force: bool) -> None:
        self.check(run, force=force)
        self._clear_strays(run)
        if account and run.state.rkey is None:
            self._adopt(run, account)

    def check(self, run: Run, *, force: bool) -> None:
        """Raise PermanentError if the document is invalid, or has killed too many workers."""
        if run.state.lost >= self.retry.max_lost and not force:
            message = f"the worker died {run.state.lost} times while it processed this item"
            raise PermanentError(message, step="run", code="worker_lost")
        if run.document.fault:
            raise run.document.fault

    def carry_out(self, run: Run, account: Account | None, *, force: bool) -> SyncState:
        """Publish, remove or skip the document of a run; return the state to save.

        Existing records must be adopted before. A dry run of a backfill calls this with a repo and
        a run that write nothing.
        """
        decision = plan(run.kind, run.document, account)
        run.report_step(f"plan: {describe(decision)}")
        match decision:
            case Publish(account=account, moved_from=moved_from):
                if moved_from:
                    if run.state.rkey:
                        self._delete(run, RecordKey(moved_from, run.kind.nsid, run.state.rkey))
                    moved = run.state._replace(repo=None, uri=None, cid=None, adopted=False)
                    run.save(moved._replace(blobs={}))
                repo = self.open_repo(account)
                return self.publisher.publish(run, account, repo, force=force)
            case Remove(key=key):
                return self._remove(run, account, key)
            case Skip(reason=reason):
                return _skipped_state(run.state, reason)
            case Nothing():
                return _still_removed_state(run.state, run.document.hidden)

    def _remove(self, run: Run, account: Account | None, key: RecordKey) -> SyncState:
        match self._delete(run, key):
            case Deletion.DONE:
                self.thumbnails.discard(blob.cid for blob in run.state.blobs.values() if blob.cid)
                return _removed_state(run.state, run.document.hidden)
            case Deletion.NOT_PROVEN:
                return _skipped_state(without_key(run.state), run.document.hidden or "")
            case Deletion.NO_ACCOUNT:
                # With `no_account`, each sweep would enqueue the item of a usable account.
                reason = run.document.hidden if account else None
                return _skipped_state(run.state, reason or "no_account")

    def _adopt(self, run: Run, account: Account) -> None:
        """Save the record that the document may have in a repo that was not read before."""
        update = self.adoption.adopt_first(self.open_repo(account), account, run.document)
        if update:
            with suppress(RecordKeyTakenError):
                run.save(update.state_of(run.kind, run.state))
                run.report_step(f"adopted the record {run.state.uri}")

    def _clear_strays(self, run: Run) -> None:
        """Delete records of stray writes, except at the document's own record key."""
        state = run.state
        for uri in state.strays:
            key = RecordKey.parse(uri)
            if key.collection != run.kind.nsid:
                log_kept(run, key, "it is in another collection")
            elif (key.repo, key.rkey) != (state.repo, state.rkey):
                self._delete(run, key)

    def _delete(self, run: Run, key: RecordKey) -> Deletion:
        return delete_own_record(run, key, self.accounts, self.open_repo)


def _skipped_state(state: SyncState, reason: str) -> SyncState:
    return _settled_state(state)._replace(status=Status.SKIPPED, reason=reason)


def _settled_state(state: SyncState) -> SyncState:
    return state._replace(error=None, retry_at=None, held_until=None, lost=0)


def _still_removed_state(state: SyncState, hidden: str | None) -> SyncState:
    reason = state.reason if state.reason in RESET_REASONS else hidden
    return _settled_state(state)._replace(status=Status.REMOVED, reason=reason)


def _removed_state(state: SyncState, reason: str | None) -> SyncState:
    # A PDS drops a blob with its last reference: an item that is shown again uploads it.
    gone = _settled_state(state)._replace(uri=None, cid=None, adopted=False, blobs={}, links={})
    dated = gone._replace(synced_at=now(), published_at=None, remake=False)
    return dated._replace(status=Status.REMOVED, reason=reason)
