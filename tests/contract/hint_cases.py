"""A real case of each error code, for test_error_hints.

Each case runs the code that raises the error. Cases that need a damaged service, a second member of
MongoDB or an installed package are those of other tests: COVERED names these tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast
from uuid import uuid4

import httpx
import pymongo
from bson import ObjectId
from cryptography.fernet import Fernet
from PIL import Image

from tests.bulk import account as account_of
from tests.bulk import repo as repo_of
from tests.contract import web_faults as faults
from tests.contract.source_stores import GUEST, SHORT, opened, put
from tests.contract.web_server import Fault, Handler, Site
from tests.unit.test_media import draft
from tests.world import World
from worker.core.documents import Failure
from worker.core.errors import MediaError, TimeLimitError
from worker.core.ids import parse_id
from worker.core.rate_limits import Cost, Rates, Resource
from worker.core.records import RecordKey, RemoteRecord, UploadedBlob
from worker.core.secrets import Purpose, Secret, Vault
from worker.database.mongo import connect
from worker.database.store import ContendedError, DocumentStore
from worker.database.thumbnail_cache import ThumbnailCache
from worker.files.location import StoreLocation
from worker.files.store import SourceKey
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail
from worker.media import media_type
from worker.media.lexicons import type_lexicons
from worker.media.validation.blobs import BlobRule
from worker.media.validation.compatibility import BreakingChange
from worker.operations.lexicons.publish import Publication, publish
from worker.operations.lexicons.published import did_in
from worker.operations.media_records import create_media_record, delete_media_record
from worker.operations.status import ItemCounts, Queues
from worker.pds.errors import translate
from worker.pds.host_slots import HostSlots
from worker.pds.locks import RepoLocks
from worker.pds.rate_limiter import RateLimiter, Workload
from worker.pds.repo import Repo
from worker.pds.repo_snapshot import RepoSnapshot
from worker.services import build
from worker.sync.blobs import Content, upload_blob
from worker.sync.outcome import Outcome

MOOD = media_type("mood")
NOWHERE = "127.0.0.1:9"
DID = "did:plc:" + "a" * 24
LOGIN = "com.atproto.server.createSession"
WRITE = "com.atproto.repo.putRecord"


@dataclass(frozen=True)
class Lab:
    """A world, an empty folder and a web server with a folder."""

    world: World
    folder: Path
    site: Site


Case = Callable[[Lab], object]

COVERED: Mapping[str, str] = {
    "deletion_unconfirmed": "system/test_lagging_secondary.py::"
    "test_a_deletion_that_only_one_member_has_removes_no_record",
    "document_full": "contract/test_hostile_documents.py::"
    "test_the_neighbours_of_hostile_documents_are_published",
    "document_rejected": "contract/test_sweep.py::test_a_rejected_state_is_replaced_by_the_failure",
    "document_returned": "contract/test_removals.py::"
    "test_a_document_that_comes_back_during_its_removal_keeps_its_record",
    "index_refused": "contract/test_indexes.py::"
    "test_another_index_of_the_same_name_is_refused_with_what_to_do",
    "login_locked": "contract/test_sessions.py::"
    "test_lock_of_a_login_is_over_soon_after_its_holder_was_killed",
    "media_type_invalid": "unit/test_media_packages.py::test_a_type_that_cannot_be_used_is_told",
    "no_replica_set": "system/test_watch_faults.py::"
    "test_a_mongodb_that_is_no_replica_set_is_told_of",
    "position_lost": "system/test_watch_faults.py::"
    "test_a_position_that_the_oplog_has_forgotten_is_made_up_for",
    "search_endless": "contract/test_removals.py::"
    "test_a_search_without_end_fails_and_keeps_its_note",
    "source_unexpected": "contract/test_decoder_bugs.py::"
    "test_a_record_is_published_without_its_thumbnail",
    "temporary_storage": "unit/test_large_repos.py::"
    "test_repo_that_does_not_fit_into_the_temporary_directory_has_an_error_of_its_own",
    "thumbnail_unexpected": "contract/test_decoder_bugs.py::"
    "test_a_record_is_published_without_its_thumbnail",
}


def xrpc(
    status: int, name: str = "", *, path: str = WRITE, step: str = "write", body: bytes = b""
) -> Case:
    """Have a PDS answer a call with an error."""

    def case(_: Lab) -> NoReturn:
        request = httpx.Request("POST", f"https://pds.example/xrpc/{path}")
        answer = {"json": {"error": name, "message": "why"}} if name else {"content": body}
        response = httpx.Response(status, request=request, **answer)
        raise translate(httpx.HTTPStatusError("", request=request, response=response), step)

    return case


def refused_login(status: int, name: str = "") -> Case:
    """Have a PDS refuse a login."""
    return xrpc(status, name, path=LOGIN, step="session")


def no_answer(error: Exception) -> Case:
    """Have a call to a PDS end without an answer."""

    def case(_: Lab) -> NoReturn:
        raise translate(error, "write")

    return case


def from_folder(make: Callable[[Path], object], max_bytes: int = 1000) -> Case:
    """Read a file of a guest from a folder, which `make` prepares."""

    def case(lab: Lab) -> object:
        make(lab.folder)
        with opened(f"file://{lab.folder}") as store:
            return store.read(GUEST, max_bytes=max_bytes)

    return case


def from_web(fault: Fault) -> Case:
    """Read a file from a web server with a fault."""

    def case(lab: Lab) -> object:
        lab.site.faults["slug.png"] = fault
        with opened(lab.site.url, deadline=SHORT) as store:
            return store.read(GUEST, max_bytes=1000)

    return case


def _answer(status: int, **headers: str) -> Fault:
    def fault(to: Handler) -> None:
        to.answer(status, b"x", {name.replace("_", "-"): value for name, value in headers.items()})

    return fault


def no_mounted_folder(lab: Lab) -> object:
    """Read from a folder that does not exist."""
    with opened(f"file://{lab.folder}/unmounted") as store:
        return store.read(GUEST, max_bytes=1000)


def slash_in_slug(_: Lab) -> object:
    """Build the key of a painting with an empty part in its slug."""
    made = draft("painting", slug="sunset//high", code="abc", bucket="b")
    return [ref.key() for ref in made.blobs["thumbnail"].files]


def other_host(_: Lab) -> object:
    """Build the URL of a file in a bucket whose host is not allowed."""
    location = StoreLocation.parse("https://{bucket}.example/{key}", ["media.example"])
    return location.url(SourceKey("theirs", ("x.png",)))


def noise(side: int, settings: ThumbnailSettings) -> Case:
    """Make the thumbnail of an image of random pixels."""

    def case(lab: Lab) -> object:
        path = lab.folder / "noise.png"
        bands = [Image.effect_noise((side, side), 100) for _ in range(3)]
        Image.merge("RGB", bands).save(path)
        return make_thumbnail(path.read_bytes(), settings)

    return case


def broken_image(_: Lab) -> object:
    """Make the thumbnail of a file that is no image."""
    return make_thumbnail(b"no image", ThumbnailSettings())


def upload(data: bytes, rule: BlobRule, cid: str = "bafk") -> Case:
    """Upload a blob to a PDS that answers with a CID."""
    answer = UploadedBlob(cid, "image/png", len(data))
    content = Content(data, "image/png", "file")
    return lambda _: upload_blob(content, rule, lambda *_: answer)


def too_long(_: Lab) -> object:
    """Validate a mood that is too long."""
    made = draft("mood", mood="x" * 5001)
    type_lexicons().validate(made.nsid, made.fields)
    return None


def other_key(lab: Lab) -> object:
    """Log in with a password that is encrypted with a key that was lost."""
    account = account_of(lab.world, lab.world.ada)
    other = Vault([Secret(Fernet.generate_key().decode())])
    sealed = other.seal("a password", Purpose.PASSWORD, account.did)
    lost = replace(account, password=Secret(sealed))
    return lab.world.services.pds.repo(lost).is_active()


def unknown_did(lab: Lab) -> object:
    """Look up an account that the directory does not have."""
    return lab.world.services.pds.resolver.pds_of(DID)


def directory_away(lab: Lab) -> object:
    """Look up an account while the directory is not running."""
    settings = lab.world.services.settings
    pds = replace(settings.pds, directory=f"http://{NOWHERE}")
    services = build(replace(settings, pds=pds))
    try:
        return services.pds.resolver.pds_of("did:plc:" + "b" * 24)
    finally:
        services.close()


def budget(lab: Lab) -> object:
    """Send more calls than RATE_LIMITS allows."""
    host = f"{uuid4().hex}.example"
    limits = Rates.parse(f"{host} points_hour=1")
    limiter = RateLimiter(lab.world.services.storage.redis, limits, reserve=0)
    cost = [Cost(Resource.POINTS, 2, DID)]
    calls = limiter.for_host(host, Workload.LIVE)
    return [calls.acquire("write", cost) for _ in range(2)]


def busy_host(lab: Lab) -> object:
    """Call a host while another worker waits for it, with one call allowed."""
    host, redis = f"{uuid4().hex}.example", lab.world.services.storage.redis
    with HostSlots(redis, 1).hold(host, "read"), HostSlots(redis, 1).hold(host, "read"):
        return None


def locked_repo(lab: Lab) -> object:
    """Write a batch to a repo while another worker does."""
    redis, did = lab.world.services.storage.redis, f"did:plc:{uuid4().hex[:24]}"
    with RepoLocks(redis).hold(did), RepoLocks(redis, patience=0.05).hold(did):
        return None


def mongodb_away(lab: Lab, *, cache: bool = False) -> object:
    """Query a MongoDB that is not running."""
    settings = lab.world.services.settings.mongodb
    url = Secret(f"mongodb://{NOWHERE}")
    database = connect(replace(settings, url=url))
    with pymongo.timeout(0.05), closing(database.client):
        if cache:
            ThumbnailCache(database["x"]).discard(["cid"])
        return DocumentStore(database, "guest").find(MOOD, [1])


def no_indexes(lab: Lab) -> object:
    """Count errors in a database in which `init` was not run."""
    database = connect(replace(lab.world.services.settings.mongodb, name=f"hints-{uuid4().hex}"))
    try:
        database[MOOD.collection].insert_one({"mood": "calm"})
        return ItemCounts(database, DocumentStore(database, "guest")).errors(MOOD)
    finally:
        database.client.drop_database(database.name)
        database.client.close()


@dataclass(frozen=True)
class AlteringRepo:
    """A repo in which another program overwrites what was written."""

    def put(self, *_: object) -> None:
        """Accept the record."""

    def get(self, key: RecordKey) -> RemoteRecord:
        """Return another record."""
        return RemoteRecord(key.uri, "bafyother", {})


def lexicon(*, breaking: bool) -> Case:
    """Publish a lexicon, to a repo to which another program writes."""
    change = BreakingChange("defs.main", "1", "2", "why")
    key = RecordKey(DID, "com.atproto.lexicon.schema", "com.example.thing")
    publication = Publication(key, {"lexicon": 1}, None, (change,) if breaking else ())
    return lambda _: list(publish(cast("Repo", AlteringRepo()), [publication]))


def lost_worker(lab: Lab) -> object:
    """Read a repo after several workers that did so died."""
    known = lab.world.services.sync.engine.remover.known
    with known.reading(account_of(lab.world, lab.world.ada), 0):
        return None


def no_account(lab: Lab) -> Outcome:
    """Delete the record of a user whose account was deleted."""
    engine = lab.world.services.sync.engine
    return engine.delete_record("mood", "auth0|gone", "3jzfcijpj2z2a", holder="message")


def unproven_record(lab: Lab) -> Outcome:
    """Delete a record that names no document."""
    owner = repo_of(lab.world, lab.world.ada)
    key = owner.key(MOOD.nsid, "3jzfcijpj2z2b")
    value = {"$type": MOOD.nsid, "text": "calm", "mood": "calm", "when": "2024-01-01T00:00:00Z"}
    with suppress(MediaError):
        owner.put(key, value, None)
    engine = lab.world.services.sync.engine
    return engine.delete_record("mood", lab.world.ada, key.rkey, holder="message")


def unfinished_search(lab: Lab) -> Outcome:
    """Delete the record of a document whose key is not known, one page at a time."""
    unproven_record(lab)
    remover = replace(lab.world.services.sync.engine.remover, pages=1)
    return remover.remove_all_of(MOOD, [ObjectId()], lab.world.ada)


def invalid_note(lab: Lab) -> str:
    """Read a removal note that a producer has saved without its fields."""
    notes = lab.world.services.storage.database["atproto_removals"]
    notes.insert_one({"_id": "mood", "retryAt": None})
    notes.update_one({"_id": "mood"}, [{"$set": {"retryAt": "$$NOW"}}])
    list(lab.world.services.storage.removals.due())
    note = cast("Any", notes.find_one_and_delete({"_id": "mood"}))
    return str(note["error"]["code"])


def published(lab: Lab) -> tuple[ObjectId, str]:
    """Publish a mood; return its id and its record key."""
    mood = lab.world.publish_mood("calm")
    return mood, str(lab.world.platform.state("mood", mood)["rkey"])


def other_values(lab: Lab) -> object:
    """Publish a document with values that are not saved."""
    values = {"_id": published(lab)[0], "mood": "another"}
    return create_media_record(lab.world.services, "mood", values)


def visible_document(lab: Lab) -> object:
    """Delete the record of a document that is not hidden."""
    rkey = published(lab)[1]
    return delete_media_record(lab.world.services, "mood", lab.world.ada, rkey)


def _raise(error: MediaError) -> Case:
    def case(_: Lab) -> NoReturn:
        raise error

    return case


def _make_folder(folder: Path) -> None:
    folder.joinpath(GUEST.bucket, *GUEST.path).mkdir(parents=True)


def _page(to: Handler) -> None:
    to.answer(200, b"<html>", {"Content-Type": "text/html"})


CASES: Mapping[str, Case] = {
    "field_invalid": lambda _: draft("mood", mood=5),
    "lexicon_violation": too_long,
    "source_missing": from_folder(lambda folder: folder.joinpath(GUEST.bucket).mkdir()),
    "source_unavailable": no_mounted_folder,
    "source_timeout": from_web(faults.say_nothing),
    "source_forbidden": from_web(_answer(403)),
    "source_key_invalid": slash_in_slug,
    "source_host_not_allowed": other_host,
    "source_redirected": from_web(faults.redirect),
    "source_refused": from_web(_page),
    "source_too_large": from_folder(lambda folder: put(folder, GUEST, b"xxx"), max_bytes=2),
    "source_not_regular": from_folder(_make_folder),
    "image_unreadable": broken_image,
    "image_too_large": noise(20, ThumbnailSettings(max_pixels=100)),
    "thumbnail_too_large": noise(640, ThumbnailSettings(641)),
    "blob_too_large": upload(b"xx", BlobRule(max_size=1)),
    "blob_type_refused": upload(b"", BlobRule()),
    "upload_damaged": upload(b"x", BlobRule()),
    "blob_type_conflict": xrpc(400, "InvalidMimeType"),
    "wrong_password": refused_login(401, "AuthenticationRequired"),
    "second_factor": refused_login(401, "AuthFactorTokenRequired"),
    "password_unreadable": other_key,
    "account_deactivated": xrpc(403, "AccountDeactivated"),
    "account_takedown": refused_login(401, "AccountTakedown"),
    "account_suspended": xrpc(400, "AccountSuspended"),
    "account_not_found": xrpc(400, "RepoNotFound", step="read"),
    "did_not_found": unknown_did,
    "pds_401": refused_login(401),
    "pds_403": xrpc(403, body=b"<html>blocked</html>"),
    "pds_4xx": refused_login(400),
    "pds_5xx": xrpc(502),
    "pds_redirected": xrpc(302),
    "pds_unreachable": no_answer(httpx.ConnectError("refused")),
    "pds_answer_garbled": no_answer(ValueError()),
    "pds_refused": xrpc(400, "InvalidRequest"),
    "payload_too_large": xrpc(413, "PayloadTooLarge"),
    "rate_limited": xrpc(429, "RateLimitExceeded"),
    "repo_unavailable": xrpc(400, "InvalidRequest", step="read"),
    "session_expired": xrpc(400, "ExpiredToken"),
    "blob_not_found": xrpc(400, "BlobNotFound"),
    "invalid_swap": xrpc(400, "InvalidSwap"),
    "budget_spent": budget,
    "host_busy": busy_host,
    "repo_locked": locked_repo,
    "directory_unavailable": directory_away,
    "redis_unavailable": lambda _: Queues(Secret(f"redis://{NOWHERE}/0")).lengths(),
    "mongodb_unavailable": mongodb_away,
    "thumbnail_cache_unavailable": partial(mongodb_away, cache=True),
    "record_altered": lexicon(breaking=False),
    "lexicon_incompatible": lexicon(breaking=True),
    "repo_damaged": lambda _: RepoSnapshot.read(DID, [b"no repo"]),
    "worker_lost": lost_worker,
    "contended": _raise(ContendedError("too many runs claim it at once")),
    "time_limit": _raise(TimeLimitError.of("run")),
    "no_account": no_account,
    "record_not_proven": unproven_record,
    "search_unfinished": unfinished_search,
    "invalid_note": invalid_note,
    "unknown_type": lambda _: media_type("paintings"),
    "invalid_id": lambda _: parse_id(""),
    "unknown_account": lambda lab: lab.world.services.storage.accounts.resolve("nobody.example"),
    "document_missing": lambda lab: create_media_record(lab.world.services, "mood", ObjectId()),
    "document_mismatch": other_values,
    "document_not_hidden": visible_document,
    "index_missing": no_indexes,
    "dns_unavailable": lambda _: did_in([f"did={DID}", "did=did:plc:b"]),
}


def code_of(case: Case, lab: Lab) -> str:
    """Run a case; return the code of its error."""
    try:
        result = case(lab)
    except MediaError as error:
        return error.code
    failure = getattr(result, "error", None)
    return failure.code if isinstance(failure, Failure) else str(result)
