"""Users whose accounts and names are anything but right."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from bson import Code, DBRef, ObjectId

from tests.world import World
from worker.database.state import mapping
from worker.media import MEDIA_TYPES
from worker.operations.audit.run import open_audit

ACCOUNTS: dict[str, Any] = {
    "text": "did:plc:a",
    "number": 7,
    "list": ["did:plc:a"],
    "list of accounts": [{"did": "did:plc:z", "handle": "a", "password": "b"}],
    "did of another type": {"did": 7, "password": "b"},
    "list of dids": {"did": ["did:plc:y", "did:plc:z"], "password": "b"},
    "did that is code": {"did": Code("did:plc:a"), "password": "b"},
    "password of another type": {"did": "did:plc:x", "password": {"$gt": ""}},
    "no password": {"did": "did:plc:x", "password": ""},
    "reference": DBRef("users", 1),
}
HANDLES: dict[str, Any] = {
    "spaces": "a b  c",
    "emoji": "\U0001f3a8\u200d\U0001f3a8",
    "slur": "a-word-that-nobody-should-be-called",
    "path": "../../admin?x=1#y",
    "controls": "a\0\x1b[31m\u202eb",
    "10,000 characters": "x" * 10_000,
    "number": 7,
    "document": {"$ne": 1},
    "empty": "",
}


def test_an_account_that_is_none_leaves_its_items_waiting_and_all_others_alone(
    world: World,
) -> None:
    """Nothing is published for it; going through all accounts goes on."""
    users = world.services.storage.database["users"]
    moods = {}
    for name, account in ACCOUNTS.items():
        users.insert_one({"_id": name, "atproto": account})
        moods[name] = world.platform.save_mood("calm", name)
        world.sync("mood", moods[name])
    states = {name: world.platform.state("mood", item) for name, item in moods.items()}
    assert {name: state["reason"] for name, state in states.items()} == dict.fromkeys(
        ACCOUNTS, "no_account"
    )
    with open_audit(world.services, list(MEDIA_TYPES.values())) as rounds:
        subjects = {account.subject for account in rounds.auditor.documents.accounts()}
    assert subjects == {world.ada, world.bob, "art-guest"}


@pytest.mark.parametrize("name", HANDLES)
def test_a_name_is_part_of_a_link_and_nothing_else(world: World, name: str) -> None:
    """Whatever it says, it is carried encoded, left out, or the link named that it spoils."""
    handle, subject = HANDLES[name], f"auth0|{name}"
    users = world.services.storage.database["users"]
    bob = mapping((users.find_one({"_id": world.bob}) or {})["atproto"])
    users.insert_one({"_id": subject, "atproto": bob})
    world.services.storage.database["@handles"].insert_one({"_id": subject, "handle": handle})
    piece = world.platform.save_piece("prog", subject)
    world.platform.store("prog.mjs", b"// a program", subject)
    world.sync("piece", piece)
    state = world.platform.state("piece", piece)
    if name == "10,000 characters":
        assert "acUrl" in str(mapping(state["error"])["message"])
        return
    assert state["status"] == "synced"
    is_text = isinstance(handle, str) and handle != ""
    assert link_of(world, piece) == (f"/@{quote(handle, safe='')}/prog" if is_text else None)


def link_of(world: World, piece: ObjectId) -> str | None:
    """Return the path of a piece's link."""
    link = world.record("piece", piece).get("acUrl")
    return str(link).removeprefix("https://aesthetic.computer") if link else None
