"""What can happen to a document while a run holds it, and what the run leaves there."""

from __future__ import annotations

import pytest
from pymongo import MongoClient

from tests.contract.claims import (
    LEASE,
    MOOD,
    WHEN,
    change,
    claim,
    numbers,
    raw,
    save,
    save_as,
    settled,
)
from worker.core.clock import now
from worker.core.documents import BlobState, Failure, MediaDocument, Status
from worker.core.errors import TransientError
from worker.database.mongo import RawDocument
from worker.database.store import DocumentStore, Finish, LeaseLostError, RecordKeyTakenError
from worker.media import media_type

KIDLISP = media_type("kidlisp")


def test_edit_during_a_run_is_noticed_at_its_end(store: DocumentStore) -> None:
    """The state is written all the same, and the run goes again."""
    item = save(store)
    document = claim(store, item)
    change(store, item, {"mood": "edited"})
    assert store.finish(MOOD, document, settled(document)) is Finish.CHANGED
    assert raw(store, item)["status"] == "synced"


@pytest.mark.parametrize("field", ["user", "deleted", "nuked", "when", "text"])
def test_every_field_that_matters_is_watched(store: DocumentStore, field: str) -> None:
    """Who it belongs to, whether it is gone, and what the record is made of."""
    item = save(store)
    document = claim(store, item)
    change(store, item, {field: now() if field == "when" else "other"})
    assert store.finish(MOOD, document, settled(document)) is Finish.CHANGED


def test_field_that_no_record_shows_is_no_change(store: DocumentStore) -> None:
    """A KidLisp program's hits go up with every visit: nothing to publish in that."""
    item = save_as(store, KIDLISP, {"code": "cow", "source": "(wipe)", "hits": 1})
    document = store.claim(KIDLISP, [item], holder="message", lease=LEASE)
    assert isinstance(document, MediaDocument)
    hit = {"$inc": {"hits": 1}, "$set": {"hash": "other"}}
    store.collection(KIDLISP).update_one({"_id": item}, hit)
    assert store.finish(KIDLISP, document, settled(document)) is Finish.SETTLED
    found = store.find(KIDLISP, [item])
    assert found is not None
    assert found.fingerprint == document.fingerprint == found.state.fingerprint


def test_document_deleted_during_a_run_is_reported(store: DocumentStore) -> None:
    """Its record must go too, and the run's end is the last to know of it."""
    item = save(store)
    document = claim(store, item)
    store.collection(MOOD).delete_one({"_id": item})
    with pytest.raises(LeaseLostError):
        store.save(MOOD, document, document.state)
    assert store.finish(MOOD, document, settled(document)) is Finish.VANISHED


def test_state_wiped_during_a_run_shuts_the_run_out(store: DocumentStore) -> None:
    """A program that replaces whole documents takes the lease away."""
    item = save(store)
    document = claim(store, item)
    store.collection(MOOD).replace_one({"_id": item}, {"mood": "replaced", "when": WHEN})
    assert store.finish(MOOD, document, settled(document)) is Finish.SUPERSEDED
    assert claim(store, item).state.attempts == 1


def test_saved_steps_are_kept_and_read_back(store: DocumentStore) -> None:
    """Everything that a state can hold, to MongoDB and back, and gone where it became None."""
    item = save(store)
    document = claim(store, item)
    failure = Failure("source", "source_missing", "no file", permanent=True, at=now())
    blobs = {
        "thumbnail": BlobState("bafk", "image/png", 12, "etag", key="auth0|1/s.png"),
        "source": BlobState(error=failure),
    }
    full = document.state._replace(
        status=Status.PARTIAL,
        reason="why",
        repo="did:plc:someone",
        rkey=f"full-{next(numbers)}",
        uri="at://here",
        cid="bafy",
        blobs=blobs,
        links={"recordingUrl": "auth0|1/s.zip", "other": None},
        synced_at=now(),
        published_at=now(),
        error=failure,
        failing_since=now(),
    )
    saved = store.save(MOOD, document, full)
    found = store.find(MOOD, [item])
    assert found is not None
    assert found.state == saved.state == full
    bare = full._replace(reason=None, uri=None, cid=None, blobs={}, links={}, error=None)
    assert store.finish(MOOD, saved, bare) is Finish.SETTLED
    kept = raw(store, item)
    assert not {"reason", "uri", "cid", "blobs", "links", "error", "lease"} & kept.keys()


def test_rkey_belongs_to_one_document_of_a_repo(store: DocumentStore) -> None:
    """In another repo it is free; in the same one it is refused, and nothing is overwritten."""
    first, second = (claim(store, save(store)) for _ in range(2))
    rkey = f"taken-{next(numbers)}"
    mine = first.state._replace(repo="did:plc:one", rkey=rkey)
    store.save(MOOD, first, mine)
    store.save(MOOD, first, mine)
    with pytest.raises(RecordKeyTakenError) as caught:
        store.save(MOOD, second, second.state._replace(repo="did:plc:one", rkey=rkey))
    assert caught.value.code == "identity_taken"
    store.save(MOOD, second, second.state._replace(repo="did:plc:two", rkey=rkey))
    holder = store.find_by_record(MOOD, "did:plc:one", rkey)
    assert holder is not None
    assert holder.ref == first.ref


def test_holder_of_a_legacy_rkey_is_found(store: DocumentStore) -> None:
    """Older programs noted no repo beside it."""
    rkey = f"legacy-{next(numbers)}"
    item = save(store, atproto={"rkey": rkey})
    holder = store.find_by_record(MOOD, "did:plc:any", rkey)
    assert holder is not None
    assert holder.ref.id == item
    assert store.find_by_record(MOOD, "did:plc:any", "nobodys") is None


def test_no_mongodb_is_a_transient_error() -> None:
    """The error tells neither address nor document."""
    nowhere: MongoClient[RawDocument]
    url = "mongodb://someone:s3cret@127.0.0.1:9"
    with MongoClient(url, serverSelectionTimeoutMS=50) as nowhere:
        lonely = DocumentStore(nowhere["media"], "art-guest")
        with pytest.raises(TransientError) as caught:
            lonely.claim(MOOD, ["s3cret"], holder="message", lease=LEASE)
    assert (caught.value.step, caught.value.code) == ("store", "mongodb_unavailable")
    assert "s3cret" not in caught.value.message


def test_claim_reserves_the_chosen_record_key(store: DocumentStore) -> None:
    """The key is on the document before the record is written, with one write less."""
    item, rkey = save(store), f"chosen-{next(numbers)}"
    document = store.claim(
        MOOD, [item], holder="message", lease=LEASE, choose_key=lambda _: ("did:plc:one", rkey)
    )
    found = store.find(MOOD, [item])
    assert isinstance(document, MediaDocument)
    assert found is not None
    assert found.state == document.state
    assert (found.state.repo, found.state.rkey) == ("did:plc:one", rkey)


def test_claim_does_without_a_record_key_that_is_taken(store: DocumentStore) -> None:
    """The run then chooses another one."""
    rkey = f"taken-{next(numbers)}"
    first, second = (
        store.claim(
            MOOD,
            [save(store)],
            holder="message",
            lease=LEASE,
            choose_key=lambda _: ("did:plc:one", rkey),
        )
        for _ in range(2)
    )
    assert isinstance(first, MediaDocument)
    assert isinstance(second, MediaDocument)
    assert first.state.rkey == rkey
    assert (second.state.repo, second.state.rkey, second.state.attempts) == (None, None, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"rkey": "adopted", "repo": "did:plc:one"},
        {"strays": ["at://did:plc:one/computer.aesthetic.mood/3jzfcijpj2z2a"]},
        {"remake": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_claim_overwrites_no_state_that_was_saved_meanwhile(
    store: DocumentStore, changes: RawDocument
) -> None:
    """It reads the document again, and the run starts from the new state."""
    item, read = save(store), list[MediaDocument]()

    def adopt(document: MediaDocument) -> tuple[str | None, str | None]:
        read.append(document)
        if len(read) > 1:
            return None, None
        change(store, item, {f"atproto.{name}": value for name, value in changes.items()})
        return "did:plc:one", f"chosen-{next(numbers)}"

    document = store.claim(MOOD, [item], holder="message", lease=LEASE, choose_key=adopt)
    assert isinstance(document, MediaDocument)
    state = document.state
    assert len(read) == 2
    found = (state.rkey, list(state.strays), state.remake)
    assert found == (changes.get("rkey"), changes.get("strays", []), changes.get("remake", False))


def test_edit_between_reading_and_claiming_is_noticed_at_the_end(store: DocumentStore) -> None:
    """The claim is for the fields that were read."""
    item = save(store)

    def edit(_: MediaDocument) -> tuple[None, None]:
        change(store, item, {"mood": "edited"})
        return None, None

    document = store.claim(MOOD, [item], holder="message", lease=LEASE, choose_key=edit)
    assert isinstance(document, MediaDocument)
    assert document.fields.text("mood") == "calm"
    assert store.finish(MOOD, document, settled(document)) is Finish.CHANGED
