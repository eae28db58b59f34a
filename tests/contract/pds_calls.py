"""Every call of our client, made with tokens and a password that must not show up anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import httpx
import pytest

from worker.core.cid import cid_of_blob
from worker.core.errors import MediaError
from worker.core.records import RecordKey
from worker.core.secrets import Secret
from worker.pds.client import PdsClient, Session

NSID = "computer.aesthetic.mood"
MOOD = {"$type": NSID, "text": "calm"}
NOBODY = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
KEY = RecordKey(NOBODY, NSID, "one")
TOKEN = Secret("canary-token")
PASSWORD = Secret("canary-password")

Call = Callable[[PdsClient], object]
CALLS: Mapping[str, tuple[str, Call]] = {
    "login": ("session", lambda pds: pds.create_session(NOBODY, PASSWORD)),
    "refresh": ("session", lambda pds: pds.refresh_session(TOKEN)),
    "put": ("write", lambda pds: pds.put_record(TOKEN, KEY, MOOD, None)),
    "delete": ("remove", lambda pds: pds.delete_record(TOKEN, KEY)),
    "get": ("read", lambda pds: pds.get_record(KEY)),
    "list": ("read", lambda pds: pds.list_records(NOBODY, NSID)),
    "upload": ("upload", lambda pds: pds.upload_blob(TOKEN, b"bytes", "text/plain")),
    "get blob": ("read", lambda pds: pds.get_blob(NOBODY, cid_of_blob(b"bytes"))),
}


def error_of(call: Call, pds: PdsClient) -> MediaError:
    """Return the error that a call ends with, having looked for secrets in all it says."""
    with pytest.raises(MediaError) as caught:
        call(pds)
    for error in chain(caught.value):
        assert "canary" not in f"{error} {error!r}"
    return caught.value


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Go through an error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def post(
    pds: PdsClient, nsid: str, token: Secret, body: Mapping[str, object] | None = None
) -> None:
    """Call a procedure that our client does not have, as the owner of an account."""
    headers = {"Authorization": f"Bearer {token.reveal()}"}
    url = f"{pds.url}/xrpc/{nsid}"
    httpx.post(url, json=body, headers=headers, timeout=30).raise_for_status()


def deactivate(pds: PdsClient, session: Session) -> None:
    """Deactivate an account, as its owner may."""
    post(pds, "com.atproto.server.deactivateAccount", session.access, {})


def log_out(pds: PdsClient, session: Session) -> None:
    """Revoke the refresh token of a session."""
    post(pds, "com.atproto.server.deleteSession", session.refresh)
