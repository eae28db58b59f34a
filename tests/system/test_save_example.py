"""examples/python/save.py: its messages and exit codes when a document is not saved or enqueued."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.world import World

_PROGRAM = Path(__file__).parents[2] / "examples/python/save.py"
_NOWHERE = {"MONGODB_CONNECTION_STRING": "mongodb://127.0.0.1:1", "MONGODB_NAME": "test"}


def save(
    document: str, *arguments: str, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the program with a document."""
    return subprocess.run(
        (sys.executable, _PROGRAM, *arguments),
        input=document,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "document",
    ["[]", '{"$oid": 5}', '{"a": {"$oid": "x"}}', '{"a": 99999999999999999999}', "null", "{"],
)
def test_input_that_is_not_a_document_is_refused(
    bare_environ: dict[str, str], document: str
) -> None:
    """Before MongoDB is called."""
    done = save(document, "moods", environ={**bare_environ, **_NOWHERE})
    assert (done.returncode, done.stdout) == (2, "")
    assert "The document is not a JSON object" in done.stderr
    assert "Traceback" not in done.stderr


def test_mongodb_that_does_not_answer_is_named(bare_environ: dict[str, str]) -> None:
    """In one line."""
    url = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"
    environ = {**bare_environ, **_NOWHERE, "MONGODB_CONNECTION_STRING": url}
    done = save("{}", "moods", environ=environ)
    assert (done.returncode, "Nothing was saved: MongoDB" in done.stderr) == (2, True)
    assert done.stderr.count("\n") == 1


def test_wrong_connection_string_is_not_quoted(bare_environ: dict[str, str]) -> None:
    """It may contain a password."""
    environ = {**bare_environ, **_NOWHERE, "MONGODB_CONNECTION_STRING": "mongodb://u:sec/ret@h"}
    done = save("{}", "moods", environ=environ)
    assert (done.returncode, "MONGODB_CONNECTION_STRING" in done.stderr) == (2, True)
    assert "sec" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("field", ["_id", "slug"])
def test_field_of_a_duplicate_is_named(
    new_world: World, bare_environ: dict[str, str], field: str
) -> None:
    """It is that of the unique index."""
    collection = new_world.services.storage.database["shelves"]
    if field != "_id":
        collection.create_index(field, unique=True)
    collection.insert_one({field: "first"})
    environ = {**bare_environ, **new_world.environ}
    done = save(f'{{"{field}": "first"}}', "shelves", environ=environ)
    assert done.returncode == 1
    assert f"shelves has a document with this {field} already" in done.stderr
    collection.drop()


def test_document_that_is_not_enqueued_has_its_own_exit_code(
    new_world: World, bare_environ: dict[str, str]
) -> None:
    """It is saved all the same."""
    environ = {**bare_environ, **new_world.environ, "REDIS_URL": "redis://127.0.0.1:1"}
    done = save('{"_id": "m", "mood": "calm"}', "moods", "mood", environ=environ)
    assert (done.returncode, "saved and not enqueued" in done.stdout) == (3, True)
    moods = new_world.services.storage.database["moods"]
    assert moods.delete_one({"_id": "m"}).deleted_count == 1
