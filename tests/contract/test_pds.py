"""The PDS's own behaviour that the engine relies on, met through our client."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.fixtures import platform_of, sign_up
from tests.pictures import transparent
from worker.core.cid import cid_of_blob, cid_of_record
from worker.core.documents import Account
from worker.core.records import RecordKey, UploadedBlob, Write
from worker.core.secrets import Secret
from worker.pds.client import PdsClient, Session
from worker.pds.errors import BlobNotFoundError, RecordConflictError
from worker.services import Services

NSID = "computer.aesthetic.mood"


@pytest.fixture
def key(session: Session) -> RecordKey:
    """A key that has no record yet."""
    return RecordKey(session.did, NSID, uuid4().hex)


def mood(text: str, **more: object) -> Mapping[str, object]:
    """Return a record; the PDS does not look into it."""
    return {"$type": NSID, "text": text, **more}


def ref(blob: UploadedBlob) -> Mapping[str, object]:
    """Return a blob as a record refers to it."""
    link = {"$link": blob.cid}
    return {"$type": "blob", "ref": link, "mimeType": blob.mime_type, "size": blob.size}


def test_put_at_the_same_moment_writes_one_record(
    pds: PdsClient, session: Session, key: RecordKey
) -> None:
    """Eight deliveries of one message at once: none fails, all agree."""
    with ThreadPoolExecutor(8) as pool:
        put = [pool.submit(pds.put_record, session.access, key, mood("x"), None) for _ in range(8)]
        assert {each.result().cid for each in put} == {cid_of_record(mood("x"))}


def test_put_as_new_refuses_to_overwrite(pds: PdsClient, session: Session, key: RecordKey) -> None:
    """Without a CID to swap for, a record that is there stays as it is."""
    pds.put_record(session.access, key, mood("theirs"), None)
    with pytest.raises(RecordConflictError) as caught:
        pds.put_record(session.access, key, mood("ours"), None)
    assert (caught.value.step, caught.value.code) == ("write", "invalid_swap")
    assert cid_of_record(mood("theirs")) in caught.value.message
    kept = pds.get_record(key)
    assert kept is not None
    assert kept.value == mood("theirs")


def test_put_swaps_for_the_present_cid_alone(
    pds: PdsClient, session: Session, key: RecordKey
) -> None:
    """A write that knows the present version succeeds; a late one, that knew an older, does not."""
    first = pds.put_record(session.access, key, mood("one"), None)
    second = pds.put_record(session.access, key, mood("two"), first.cid)
    with pytest.raises(RecordConflictError):
        pds.put_record(session.access, key, mood("late"), first.cid)
    kept = pds.get_record(key)
    assert kept is not None
    assert (kept.cid, kept.rkey) == (second.cid, key.rkey)


def test_exact_replay_changes_nothing_whatever_it_swaps_for(
    pds: PdsClient, session: Session, key: RecordKey
) -> None:
    """After a lost answer the same call can be sent again: same URI and CID, and no commit."""
    first = pds.put_record(session.access, key, mood("one"), None)
    second = pds.put_record(session.access, key, mood("two"), first.cid)
    assert (second.uri, second.cid) == (key.uri, cid_of_record(mood("two")))
    before = pds.latest_commit(session.did)
    for swap in (None, first.cid, second.cid, cid_of_record(mood("never"))):
        assert pds.put_record(session.access, key, mood("two"), swap) == second
    assert pds.latest_commit(session.did) == before


def test_delete_of_what_is_not_there_succeeds(
    pds: PdsClient, session: Session, key: RecordKey
) -> None:
    """A removal can be repeated."""
    pds.put_record(session.access, key, mood("short"), None)
    for _ in range(2):
        pds.delete_record(session.access, key)
        assert pds.get_record(key) is None
    pds.put_record(session.access, key, mood("back"), None)


def test_what_the_pds_does_not_have_is_none(pds: PdsClient, key: RecordKey) -> None:
    """A record, a blob, a blob of a name that is no CID: absence is no error."""
    assert pds.get_record(key) is None
    assert pds.get_blob(key.repo, cid_of_blob(b"never uploaded")) is None
    assert pds.get_blob(key.repo, "no-cid") is None


def test_uploaded_blob_has_the_cid_of_its_bytes(
    pds: PdsClient, session: Session, key: RecordKey
) -> None:
    """The CID can be computed here, and the bytes come back as they went."""
    data = b"// a program" + uuid4().bytes
    blob = pds.upload_blob(session.access, data, "text/javascript")
    assert blob == UploadedBlob(cid_of_blob(data), "text/javascript", len(data))
    pds.put_record(session.access, key, mood("with a blob", source=ref(blob)), None)
    assert pds.get_blob(session.did, blob.cid) == data


def test_pds_judges_a_blob_by_its_bytes(pds: PdsClient, session: Session) -> None:
    """What it is sent as matters only where the bytes do not tell."""
    png = transparent()
    assert pds.upload_blob(session.access, png, "text/javascript").mime_type == "image/png"
    assert pds.upload_blob(session.access, b"text", "image/png").mime_type == "image/png"


def test_blob_goes_with_its_last_reference(
    pds: PdsClient, session: Session, key: RecordKey
) -> None:
    """An update that leaves a blob out deletes it; to refer to it again, upload it again."""
    data = uuid4().bytes
    blob = pds.upload_blob(session.access, data, "text/plain")
    there = mood("pixels", thumbnail=ref(blob))
    first = pds.put_record(session.access, key, there, None)
    bare = pds.put_record(session.access, key, mood("pixels"), first.cid)
    assert pds.get_blob(session.did, blob.cid) is None
    with pytest.raises(BlobNotFoundError) as caught:
        pds.put_record(session.access, key, there, bare.cid)
    assert caught.value.code == "blob_not_found"
    pds.upload_blob(session.access, data, "text/plain")
    pds.put_record(session.access, key, there, bare.cid)
    assert pds.get_blob(session.did, blob.cid) == data


def test_blob_stays_while_another_record_refers_to_it(
    pds: PdsClient, session: Session, key: RecordKey
) -> None:
    """Two items with the same picture share a blob; removing one leaves the other whole."""
    data = uuid4().bytes
    blob = pds.upload_blob(session.access, data, "text/plain")
    other = RecordKey(key.repo, key.collection, uuid4().hex)
    for each in (key, other):
        pds.put_record(session.access, each, mood("twin", thumbnail=ref(blob)), None)
    pds.delete_record(session.access, key)
    assert pds.get_blob(session.did, blob.cid) == data
    pds.delete_record(session.access, other)
    assert pds.get_blob(session.did, blob.cid) is None


@pytest.mark.parametrize("count", [0, 1, 100, 101, 203])
def test_listing_pages_through_a_whole_collection(
    shared_services: Services, shared_user: Account, pds: PdsClient, session: Session, count: int
) -> None:
    """Every record once, newest key first, also where the last page is full."""
    collection = f"computer.aesthetic.many{count}"
    rkeys = [f"{number:05}" for number in range(count)]
    for start in range(0, count, 200):
        writes = [
            Write("create", RecordKey(session.did, collection, rkey), {"$type": collection, "n": n})
            for n, rkey in enumerate(rkeys[start : start + 200], start)
        ]
        commit = pds.latest_commit(session.did)
        pds.apply_writes(session.access, session.did, writes, commit)
    listed = list(shared_services.pds.repo(shared_user).records(collection))
    assert [record.rkey for record in listed] == rkeys[::-1]
    assert all(record.cid == cid_of_record(record.value) for record in listed)


def test_refreshed_session_is_as_good_as_a_new_one(
    pds: PdsClient, shared_user: Account, key: RecordKey
) -> None:
    """New tokens for old, of the same account, and the new ones work."""
    old = pds.create_session(shared_user.did, shared_user.password)
    new = pds.refresh_session(old.refresh)
    assert (new.did, new.active) == (shared_user.did, True)
    assert new.refresh != old.refresh
    pds.put_record(new.access, key, mood("refreshed"), None)


def test_refreshes_at_the_same_moment_all_succeed(pds: PdsClient, shared_user: Account) -> None:
    """A refresh token used by two workers at once locks neither of them out."""
    old = pds.create_session(shared_user.did, shared_user.password)
    with ThreadPoolExecutor(4) as pool:
        refreshed = list(pool.map(pds.refresh_session, [old.refresh] * 4))
    # The texts of the tokens differ in their times, by a second.
    assert len({token_id(session.refresh) for session in refreshed}) == 1


def token_id(token: Secret) -> str:
    """Return the id in a token's claims."""
    claims = token.reveal().split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(f"{claims}=="))["jti"])


def test_accounts_on_one_client_do_not_mix(
    shared_services: Services, session: Session, pds: PdsClient
) -> None:
    """Uploads name no repo: the token alone says where a blob goes, in whatever order they come."""
    other = sign_up(platform_of(shared_services))
    sessions = [session, pds.create_session(other.did, other.password)] * 6

    def publish(mine: Session) -> bool:
        data = uuid4().bytes
        blob = pds.upload_blob(mine.access, data, "text/plain")
        key = RecordKey(mine.did, NSID, uuid4().hex)
        pds.put_record(mine.access, key, mood("mine", thumbnail=ref(blob)), None)
        return pds.get_blob(mine.did, blob.cid) == data

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(publish, sessions))
