"""Each error code has a real case, and its hint names what helps in that case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.hint_cases import CASES, COVERED, Lab, code_of
from tests.contract.web_server import Site, serving
from tests.unit.test_documentation import ROOT, codes, is_test
from tests.world import World
from worker.operations.error_help import ERROR_HELP, help_for

# The words of each hint that name what to change; every setting of a hint is among them.
HELPS: dict[str, tuple[str, ...]] = {
    "field_invalid": ("correct the field",),
    "lexicon_violation": ("correct the field",),
    "source_missing": ("upload the file", "media-atproto retry"),
    "source_unavailable": ("check the store", "MEDIA_STORE_URL"),
    "source_timeout": ("speed of the store", "SOURCE_DEADLINE_SECONDS"),
    "source_forbidden": ("upload the file", "allow workers to read"),
    "source_key_invalid": ("correct the slug or the bucket", "no setting"),
    "source_host_not_allowed": (
        *("MEDIA_STORE_ALLOWED_HOSTS", "MEDIA_STORE_ALLOWED_NETWORKS"),
        "correct the bucket",
    ),
    "source_redirected": ("MEDIA_STORE_URL",),
    "source_refused": ("MEDIA_STORE_URL", "Content-Encoding"),
    "source_too_large": ("smaller", "MAX_SOURCE_BYTES"),
    "source_not_regular": ("regular file",),
    "source_unexpected": ("report the exception",),
    "image_unreadable": ("replace the image",),
    "image_too_large": ("fewer pixels",),
    "thumbnail_too_large": ("fewer details",),
    "thumbnail_unexpected": ("replace the image", "update media-atproto"),
    "blob_too_large": ("smaller",),
    "blob_type_refused": ("of a type that the message names",),
    "blob_type_conflict": ("other bytes",),
    "wrong_password": (
        "store the current password in `users.atproto.password`",
        *("media-atproto accounts --resume", "ACCOUNT_PARKED_SECONDS"),
    ),
    "second_factor": (
        *("app password", "media-atproto accounts --resume", "ACCOUNT_PARKED_SECONDS"),
    ),
    "password_unreadable": ("SECRET_KEYS", "store the password again"),
    "account_deactivated": ("activate the account",),
    "account_takedown": ("operator of the PDS",),
    "account_suspended": ("operator of the PDS",),
    "account_not_found": ("users.atproto.did", "DID document"),
    "did_not_found": ("users.atproto.did", "DID_RESOLVER"),
    "pds_401": ("check the account at its PDS", "gateway"),
    "pds_403": ("check the account at its PDS", "gateway"),
    "pds_4xx": ("stored password", "PDS_URL", "gateway"),
    "pds_5xx": ("PDS is running", "PDS_URL", "DID document"),
    "pds_unreachable": ("PDS is running", "PDS_URL", "DID document"),
    "pds_answer_garbled": ("PDS_URL", "proxy"),
    "pds_redirected": ("PDS_URL", "DID document"),
    "pds_refused": ("correct what the message names",),
    "payload_too_large": ("PDS_BLOB_UPLOAD_LIMIT", "proxy", "smaller"),
    "rate_limited": ("nothing",),
    "budget_spent": ("nothing", "RATE_LIMITS"),
    "host_busy": ("nothing", "FOREIGN_HOST_CALLS"),
    "directory_unavailable": ("DID_RESOLVER", "DID document"),
    "repo_unavailable": ("check the account at its PDS",),
    "redis_unavailable": ("REDIS_URL",),
    "mongodb_unavailable": ("MONGODB_CONNECTION_STRING",),
    "thumbnail_cache_unavailable": ("MONGODB_CONNECTION_STRING",),
    "session_expired": ("nothing", "check the PDS"),
    "login_locked": ("nothing",),
    "repo_locked": ("nothing",),
    "contended": ("nothing",),
    "blob_not_found": ("nothing", "blob storage of the PDS"),
    "invalid_swap": ("nothing", "program that writes to the repo"),
    "record_altered": ("nothing", "program that writes to the repo"),
    "upload_damaged": ("nothing", "proxy"),
    "repo_damaged": ("nothing", "operator of the PDS"),
    "no_account": ("restore the account", "removals --drop"),
    "deletion_unconfirmed": ("nothing", "members of the replica set"),
    "document_returned": ("nothing",),
    "search_unfinished": ("nothing", "removal note"),
    "search_endless": ("delete the record", "removals --drop"),
    "invalid_note": ("correct the program", "removals --drop"),
    "record_not_proven": ("find the program", "delete it at the PDS"),
    "document_full": ("shorten",),
    "document_rejected": ("validator",),
    "worker_lost": ("worker's log", "item's file", "retry"),
    "temporary_storage": ("free space",),
    "time_limit": ("how fast the store and the PDS respond",),
    "unknown_type": ("name of the type", "install the package"),
    "invalid_id": ("correct the program",),
    "unknown_account": ("a handle, a subject or a DID",),
    "document_missing": ("save the document",),
    "document_mismatch": ("save the change", "owner"),
    "document_not_hidden": ("nuked: true",),
    "position_lost": ("nothing", "media-atproto audit", "oplog"),
    "no_replica_set": ("--replSet", "rs.initiate()"),
    "index_missing": ("media-atproto init",),
    "index_refused": ("media-atproto init",),
    "media_type_invalid": ("package",),
    "lexicon_incompatible": ("new optional field", "NSID"),
    "dns_unavailable": ("TXT record",),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A web server over an empty folder."""
    with serving(tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.fixture
def lab(world: World, tmp_path: Path, site: Site) -> Lab:
    """What the cases need."""
    return Lab(world, tmp_path, site)


def test_every_code_has_a_case_and_a_row() -> None:
    """Those in the source, and those with a hint; a new code needs both."""
    hinted = {code for each in ERROR_HELP for code in each.codes}
    assert codes() <= HELPS.keys() == hinted
    assert HELPS.keys() == CASES.keys() | COVERED.keys()
    assert not CASES.keys() & COVERED.keys()


@pytest.mark.parametrize("code", CASES)
def test_real_case_has_the_hint_of_its_code(lab: Lab, code: str) -> None:
    """The code that raises the error is run; `pds_4xx` and `pds_5xx` stand for any such status."""
    found = code_of(CASES[code], lab)
    assert found == code or code in {"pds_4xx", "pds_5xx"}
    assert help_for(found) is help_for(code)


@pytest.mark.parametrize("code", COVERED)
def test_a_test_elsewhere_has_the_other_real_cases(code: str) -> None:
    """It exists."""
    path, _, function = COVERED[code].partition("::")
    assert is_test(f"tests/{path}", function)


@pytest.mark.parametrize("code", HELPS)
def test_hint_names_what_helps_and_no_other_setting(code: str) -> None:
    """Each setting that it names is in .env.example, or one of the PDS."""
    action = help_for(code).action
    assert [text for text in HELPS[code] if text not in action] == []
    settings = set(re.findall(r"`([A-Z][A-Z_]+)`", action))
    assert settings <= set(HELPS[code])
    known = (ROOT / ".env.example").read_text() + "PDS_BLOB_UPLOAD_LIMIT"
    assert [name for name in settings if name not in known] == []
