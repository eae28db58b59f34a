"""A repo for dry runs: reads a snapshot, and keeps its writes in memory instead of sending them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from worker.core.cid import cid_of_blob, cid_of_record
from worker.core.clock import now
from worker.core.documents import Account
from worker.core.errors import AccountError
from worker.core.records import RecordKey, RecordRef, RemoteRecord, UploadedBlob
from worker.core.secrets import UnreadableSecretError
from worker.operations.backfill.blob_types import detect_type
from worker.pds.errors import RecordConflictError
from worker.pds.repo import Repo
from worker.pds.repo_snapshot import RepoSnapshot
from worker.pds.routing import PdsHost
from worker.services import Services


@dataclass(frozen=True, slots=True)
class AccountView:
    """What a dry run reads of an account: its PDS, and its repo at one commit.

    `blocked` are the code and the message of the error of each write, if the account is parked.
    Without a snapshot, records are read one at a time.
    """

    account: Account
    host: PdsHost
    blocked: tuple[str, str] | None
    snapshot: RepoSnapshot | None = None

    @classmethod
    def of(cls, services: Services, account: Account) -> AccountView:
        """Look up the PDS of an account, without saving it; raises the errors of PdsResolver."""
        host = services.pds.hosts.look_up(account.did)
        return cls(account, host, _find_block(services, account, host))


def _find_block(services: Services, account: Account, host: PdsHost) -> tuple[str, str] | None:
    """Return why the account cannot log in, as far as that is known without a login."""
    try:
        services.pds.vault.open_password(account.password.reveal(), account.did)
    except UnreadableSecretError as error:
        return "password_unreadable", f"the password: {error}"
    parked = host.sessions.find_parked(account)
    return (parked.code, parked.message) if parked else None


class RehearsedRepo(Repo):
    """The repo of an account for one item of a dry run.

    Blobs are read from the PDS only if `reads_blobs`. `written` is the record that would be
    written, `replaced` the one at its key, and `uploads` maps the CIDs of blobs that would be
    uploaded to their sizes.
    """

    def __init__(self, services: Services, view: AccountView, *, reads_blobs: bool) -> None:
        super().__init__(services.pds.hosts, view.account)
        self._host = view.host
        self._view = view
        self._reads_blobs = reads_blobs
        self.written: Mapping[str, object] | None = None
        self.replaced: RemoteRecord | None = None
        self.uploads: dict[str, int] = {}

    def get(self, key: RecordKey) -> RemoteRecord | None:
        if self._view.snapshot is None:
            return self._view.host.pds.get_record(key)
        found = self._view.snapshot.records(key.collection).get(key.rkey)
        return RemoteRecord(key.uri, found.cid, found.value) if found else None

    def put(self, key: RecordKey, record: Mapping[str, object], swap: str | None) -> RecordRef:
        self._check_writable()
        existing = self.get(key)
        if swap != (existing.cid if existing else None):
            raise RecordConflictError(f"{key.uri} has another version")
        self.written, self.replaced = record, existing
        return RecordRef(key.uri, cid_of_record(record))

    def delete(self, key: RecordKey, swap: str | None = None) -> None:
        self._check_writable()

    def upload(self, data: bytes, mime_type: str) -> UploadedBlob:
        self._check_writable()
        cid = cid_of_blob(data)
        self.uploads[cid] = len(data)
        return UploadedBlob(cid, detect_type(data, mime_type), len(data))

    def has_blob(self, cid: str) -> bool:
        return super().has_blob(cid) if self._reads_blobs else True

    def _check_writable(self) -> None:
        if self._view.blocked:
            code, message = self._view.blocked
            raise AccountError(message, until=now(), step="account", code=code)
