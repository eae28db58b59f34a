"""Every call of our client, made with tokens and a password that must not show up anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from worker.cid import cid_of_blob
from worker.errors import MediaError
from worker.pds import Pds
from worker.records import RecordKey
from worker.secrets import Secret

NSID = "computer.aesthetic.mood"
MOOD = {"$type": NSID, "text": "calm"}
NOBODY = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
KEY = RecordKey(NOBODY, NSID, "one")
TOKEN = Secret("canary-token")
PASSWORD = Secret("canary-password")

Call = Callable[[Pds], object]
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


def error_of(call: Call, pds: Pds) -> MediaError:
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
