"""`show` and the search of the status page: an item is found by what an operator has at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from bson import ObjectId

from tests.pictures import pixel_art
from tests.scene import Scene
from tests.terminal import call
from tests.webpage import WebPage
from tests.world import World
from worker.database.mongo import RawDocument
from worker.media import media_type

TYPES = ("painting", "mood", "piece", "kidlisp")


@dataclass(frozen=True)
class Published:
    """A published item of each type, by type."""

    world: World
    handle: str
    items: Mapping[str, ObjectId]

    def forms(self, type_name: str) -> dict[str, str]:
        """Return all names of an item of this type, by what they are."""
        item = self.items[type_name]
        state = self.world.platform.state(type_name, item)
        record = self.world.record(type_name, item)
        uri = str(state["uri"])
        named = {
            "id": str(item),
            "rkey": str(state["rkey"]),
            "at:// URI": uri,
            "at:// URI with a handle": uri.replace(self.world.dids[self.world.ada], self.handle),
        }
        fields = ("code", "slug", "acUrl", "imageUrl")
        named |= {name: str(record[name]) for name in fields if name in record}
        if "acUrl" in named:
            site = self.world.services.media.site.url
            named["address without a scheme"] = named["acUrl"].partition("://")[2]
            named["end of an address"] = named["acUrl"].removeprefix(f"{site}/")
        if "slug" in named:
            screen_name = self.handle.removesuffix(".test")
            named["page of a user"] = f"@{screen_name}/{type_name}/{named['slug']}"
        return named


@pytest.fixture(scope="module")
def published(scene: Scene) -> Published:
    """Publish an item of each type."""
    world = scene.world
    platform, ada = world.platform, world.ada
    platform.store("2026.1.2.3.png", pixel_art(), ada)
    platform.store("my-piece.mjs", b"export {}", ada)
    items = {
        "painting": platform.save_painting("2026.1.2.3", ada),
        "mood": platform.save_mood("calm", ada),
        "piece": platform.save_piece("my-piece", ada),
        "kidlisp": platform.save_kidlisp("(wipe blue)", ada),
    }
    for type_name, item in items.items():
        world.sync(type_name, item)
    account = world.services.storage.accounts.find(ada)
    assert account
    return Published(world, account.handle, items)


@pytest.fixture
def client(site: WebPage) -> Iterator[httpx.Client]:
    """A client that knows the password."""
    with site.client() as client:
        yield client


FORMS = {
    "painting": {"id", "rkey", "code", "slug", "acUrl", "imageUrl", "page of a user"},
    "mood": {"id", "rkey", "at:// URI", "at:// URI with a handle"},
    "piece": {"id", "rkey", "code", "slug", "acUrl", "page of a user"},
    "kidlisp": {"id", "rkey", "code", "acUrl", "end of an address"},
}


@pytest.mark.parametrize("type_name", TYPES)
def test_show_and_the_page_find_an_item_by_each_of_its_names(
    published: Published, client: httpx.Client, type_name: str
) -> None:
    """Without its type; codes with and without the sign before them."""
    forms = published.forms(type_name)
    assert forms.keys() >= FORMS[type_name]
    for name, text in forms.items():
        result = call(published.world, "show", text, "--json")
        assert result.exit_code == 0, (name, text, result.output)
        shown = json.loads(result.stdout)
        assert shown["item"] == {"type": type_name, "id": str(published.items[type_name])}, name
        answer = client.get("/search", params={"q": text})
        assert answer.status_code == 303, (name, text)
        found = parse_qs(urlsplit(answer.headers["location"]).query)
        assert found == {"type": [type_name], "id": [str(published.items[type_name])]}, name


def test_show_takes_a_type_too(published: Published) -> None:
    """Only items of this type are searched."""
    code = published.forms("kidlisp")["code"]
    assert call(published.world, "show", "kidlisp", f"${code}").exit_code == 0
    result = call(published.world, "show", "painting", code)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"Error: no painting matches {code}; tried: id, record key, code, slug, address\n"
    )


def insert(world: World, type_name: str, **fields: object) -> RawDocument:
    """Save a document of a guest."""
    document: RawDocument = {"_id": ObjectId(), **fields}
    world.services.storage.database[media_type(type_name).collection].insert_one(document)
    return document


@pytest.mark.parametrize("item", [4711, "4712", "some-name"])
def test_show_finds_ids_of_every_kind(published: Published, item: str | int) -> None:
    """An id is a number, a text or an ObjectId."""
    insert(published.world, "mood", _id=item)
    shown = json.loads(call(published.world, "show", str(item), "--json").stdout)
    assert shown["item"] == {"type": "mood", "id": item}


def test_several_items_of_one_name_are_listed(published: Published, client: httpx.Client) -> None:
    """With type, id, owner and what matched; the id then names one."""
    painting = insert(published.world, "painting", code="twice", slug="-", user="auth0|x")
    kidlisp = insert(published.world, "kidlisp", code="twice", source="(line)")
    result = call(published.world, "show", "twice")
    assert result.exit_code == 2
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["type", "id", "owner", "matched"],
        ["painting", str(painting["_id"]), "auth0|x", "code"],
        ["kidlisp", str(kidlisp["_id"]), "art-guest", "code"],
    ]
    assert "Error: 2 items match twice: give the type and the id" in result.stderr
    page = client.get("/search?q=twice").text
    assert "2 items match" in page
    assert "<bdi>auth0|x</bdi>, found by its code" in page
    listed = call(published.world, "show", "twice", "--json")
    assert [json.loads(line)["type"] for line in listed.stdout.splitlines()] == [
        "painting",
        "kidlisp",
    ]


def test_what_was_tried_is_told_if_nothing_matches(
    published: Published, client: httpx.Client
) -> None:
    """On the terminal and on the page."""
    result = call(published.world, "show", "no-such-thing")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: no painting, mood, piece or kidlisp matches no-such-thing; "
        "tried: id, record key, code, slug, address\n"
    )
    assert "tried: at:// URI\n" in call(published.world, "show", "at://did:plc:x/a.b.c/d").stderr
    answer = client.get("/search?q=no-such-thing")
    assert answer.status_code == 404
    assert "Tried: id, record key, code, slug, address." in answer.text


@pytest.mark.parametrize("words", [[], ["painting", "a", "b"], ["sculpture", "a"], ["painting"]])
def test_wrong_use_of_show_is_an_error(published: Published, words: list[str]) -> None:
    """Without an item, with two, with an unknown type, and with a type alone."""
    result = call(published.world, "show", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


def test_a_field_without_an_index_is_not_searched(published: Published) -> None:
    """Millions of documents would be read; an index of the platform is as good as ours."""
    world = published.world
    paintings = world.services.storage.database["paintings"]
    code = published.forms("painting")["code"]
    paintings.drop_index("atproto_code")
    result = call(world, "show", code)
    assert result.exit_code == 2
    assert "an index is missing: paintings.code; create it: media-atproto init" in result.stderr
    paintings.create_index("code", unique=True, sparse=True)
    assert call(world, "show", code).exit_code == 0
    assert "as code_1" in call(world, "init").stdout
    assert "atproto_code" not in paintings.index_information()


def test_a_partial_item_is_not_shown_as_a_success(published: Published) -> None:
    """Its status comes first, and the last line names it."""
    world = published.world
    item = world.platform.save_painting("no-image", world.ada)
    world.sync("painting", item)
    result = call(world, "show", str(item))
    assert result.exit_code == 1
    assert result.stdout.startswith(f"painting {item}: partial\n")
    assert "1 difference found." in result.stdout
