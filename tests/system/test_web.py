"""The status page in a real browser: what it tells, and an item that is healed from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import product

import pytest
from bson import ObjectId
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import Chromium
from tests.browser.fixtures import serious_faults
from tests.bulk import repo, set_password
from tests.fleet import worker
from tests.pictures import pixel_art
from tests.scene import Scene
from tests.waiting import wait_for
from tests.webpage import WebPage
from tests.world import World
from worker.core.clock import now

_PATIENCE = 60.0
_HIDDEN = "\u202egnp.exe\u2066"  # makes what follows run from right to left
_HOSTILE = (
    f"<script>document.title='owned'</script><img src=x onerror=alert(1)>{_HIDDEN}{{{{ 7*7 }}}}"
)
_COLLECTIONS = ("paintings", "moods", "pieces", "kidlisp")


@pytest.fixture
def world(scene: Scene) -> World:
    """The platform, with its users, but no items."""
    for name in _COLLECTIONS:
        scene.world.services.storage.database[name].delete_many({})
    return scene.world


@pytest.fixture
def tab(site: WebPage, browser: Browser) -> Iterator[Page]:
    """A browser that is logged in and runs no script."""
    with site.context(browser, scripts=False) as context:
        yield context.new_page()


def broken_mood(world: World, **fields: object) -> ObjectId:
    """Save a mood without its text, and have it fail."""
    item = world.platform.save_mood("calm", world.ada)
    collection = world.services.storage.database["moods"]
    collection.update_one({"_id": item}, {"$unset": {"mood": ""}, "$set": fields})
    world.sync("mood", item)
    return item


def await_text(tab: Page, path: str, text: str) -> None:
    """Reload a page until it says something: what is told of all items is some seconds old."""

    def told() -> bool:
        tab.goto(path)
        return text in tab.inner_text("main")

    wait_for(told, within=_PATIENCE, what=f"{path} to say {text!r}", every=0.2)


def cells(tab: Page, row: str) -> list[str]:
    """Return the cells of a row of the table of types."""
    return tab.locator(
        f"section[aria-labelledby=types] tr:has(th:text-is('{row}')) td"
    ).all_inner_texts()


def test_overview_shows_counts_reasons_and_plots(world: World, tab: Page) -> None:
    """A plot has a sentence and a table for those who do not see it."""
    world.publish_mood("calm")
    world.sync("mood", world.platform.save_mood("calm", "auth0|nobody"))
    world.platform.save_kidlisp("(wipe)", world.bob)
    broken_mood(world)
    moods = world.services.storage.database["moods"]
    error = {"step": "write", "code": "pds_5xx", "message": "502", "at": now()}
    state = {"status": "pending", "error": error, "failingSince": now() - timedelta(days=3)}
    moods.insert_one({"when": now(), "atproto": state})
    earlier = {"status": "synced", "publishedAt": now() - timedelta(hours=3)}
    moods.insert_many([{"_id": ObjectId(), "atproto": earlier} for _ in range(41)])
    await_text(tab, "/", "1 item failed and will not be retried automatically")
    assert cells(tab, "mood") == ["0", "1", "42", "0", "1", "1", "0", "45", "3 days"]
    assert cells(tab, "all") == ["1", "1", "42", "0", "1", "1", "0", "46", "3 days"]
    told = tab.inner_text("main")
    for text in ("oldest: 3 days", "field_invalid", "correct the field", "no_account"):
        assert text in told
    labels = [str(plot.get_attribute("aria-label")) for plot in tab.locator("svg[role=img]").all()]
    assert labels[0].startswith("1 item published in the last 60 minutes")
    assert labels[1].startswith("42 items published in the last 24 hours; the most in one hour: 41")
    rows = tab.locator("details").nth(1).locator("tbody tr td:last-child").all_text_contents()
    assert sorted(map(int, rows))[-2:] == [1, 41]


def test_failed_item_is_found_understood_and_healed(world: World, scene: Scene, tab: Page) -> None:
    """By links from the overview to its reason; that is put right, and the button pressed."""
    item = broken_mood(world)
    await_text(tab, "/", "field_invalid")
    tab.get_by_role("link", name="field_invalid").click()
    assert "the document breaks a rule of its type" in tab.inner_text("main")
    tab.get_by_role("link", name=str(item)).click()
    told = tab.inner_text("main")
    assert "field 'mood' is missing" in told
    assert "What to do: correct the field" in told
    assert tab.locator(".badge").inner_text() == "failed"
    world.platform.edit("mood", item, mood="calm again")
    with worker(scene.environ, scene.folder, 1):
        tab.get_by_role("button", name="Retry").click()
        assert "Enqueued: a worker" in tab.inner_text("main")
        await_text(tab, f"/item?type=mood&id={item}", "No faults found.")
    assert tab.locator(".badge").inner_text() == "synced"
    assert world.record("mood", item)["text"] == "calm again"


def test_all_items_of_a_reason_are_tried_again(world: World, scene: Scene, tab: Page) -> None:
    """With one press; those of other reasons stay as they are."""
    items = [broken_mood(world) for _ in range(3)]
    other = world.platform.save_mood("x" * 5001, world.ada)
    world.sync("mood", other)
    for item in items:
        world.platform.edit("mood", item, mood="calm again")
    tab.goto("/failures?code=field_invalid&type=mood")
    assert tab.locator("tbody tr").count() == 3
    with worker(scene.environ, scene.folder, 1):
        tab.get_by_role("button", name="Retry all of type mood").click()
        assert "Enqueued: workers" in tab.inner_text("main")
        for item in items:
            scene.wait_for_status("mood", item, "synced")
    assert world.platform.state("mood", other)["status"] == "failed"


def test_item_page_tells_what_differs(world: World, tab: Page) -> None:
    """Document, state, record and the picture that is on the PDS."""
    item = world.publish_painting("tide")
    world.platform.edit("painting", item, slug="high-tide")
    world.platform.store("high-tide.png", pixel_art(), world.ada)
    tab.goto(f"/item?type=painting&id={item}")
    row = tab.locator("section[aria-labelledby=differs] tbody tr").all_inner_texts()
    assert [text.split() for text in row] == [["slug", '"high-tide"', '"tide"']]
    told = tab.inner_text("main")
    assert "1 fault found" in told
    assert str(world.platform.state("painting", item)["uri"]) in told
    assert tab.locator("img.picture").evaluate("image => image.naturalWidth") > 0


def test_picture_is_the_blob_of_the_pds(world: World, site: WebPage) -> None:
    """From the cache, and where that has lost it from the PDS; an image, and nothing but one."""
    item = world.publish_painting("blob")
    thumbnail = world.record("painting", item)["thumbnail"]
    wanted = world.blob(world.dids[world.ada], thumbnail)
    with site.client() as client:
        cached = client.get(f"/picture?type=painting&id={item}")
        world.services.storage.database["atproto_thumbnails"].delete_many({})
        fetched = client.get(f"/picture?type=painting&id={item}")
    for answer in (cached, fetched):
        assert (answer.status_code, answer.content) == (200, wanted)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


def test_blob_that_is_no_image_is_not_served(world: World, site: WebPage) -> None:
    """A document may call anything a picture, and a PDS give it: a page among them."""
    owner = repo(world, world.ada)
    blob = owner.upload(b"<html><script>alert(1)</script></html>", "text/html")
    item = world.publish_painting("page")
    reference = {"$type": "blob", "ref": {"$link": blob.cid}, "mimeType": blob.mime_type}
    record = {**world.record("painting", item), "thumbnail": reference | {"size": blob.size}}
    owner.put(owner.key("computer.aesthetic.painting", "3jzfcijpj2z2a"), record, None)
    claims = {"cid": blob.cid, "mimeType": "image/png", "size": blob.size}
    world.platform.edit("painting", item, **{"atproto.blobs.thumbnail": claims})
    assert world.services.pds.client_of(owner.did).get_blob(owner.did, blob.cid) is not None
    with site.client() as client:
        assert client.get(f"/picture?type=painting&id={item}").status_code == 404


def test_hostile_texts_are_shown_as_text(world: World, site: WebPage, browser: Browser) -> None:
    """In fields, in errors and in ids: no element of theirs, nothing reversed, none of it long."""
    item = broken_mood(world, note=_HOSTILE, **{_HIDDEN: "x", "long": "y" * 90_000})
    error = "atproto.error"
    world.platform.edit("mood", item, **{f"{error}.message": _HOSTILE, f"{error}.code": _HOSTILE})
    moods = world.services.storage.database["moods"]
    # Without the record key, which belongs to one document.
    document = moods.find_one({"_id": item}, {"atproto.rkey": 0}) or {}
    moods.insert_one({**document, "_id": _HOSTILE})
    with site.context(browser) as context:
        tab = context.new_page()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto("/failures")
        await_text(tab, "/failures", "<script>")
        tab.get_by_role("link", name="<script>").click()
        tab.get_by_role("link", name="<script>").click()
        expect(tab).to_have_title(re.compile(r"^mood <script>"))
        assert tab.locator("main script, main img").count() == 0
        told = tab.inner_text("main")
        assert "<script>document.title='owned'</script><img src=x onerror=alert(1)>" in told
        assert "\\u202egnp.exe\\u2066{{ 7*7 }}" in told
        assert "(90000 characters)" in told
        assert not {"\u202e", "\u2066"} & set(told + tab.title())
        assert all(url.startswith(site.url) for url in asked)


def paths(world: World) -> list[str]:
    """Return every page there is, with something on it."""
    failed, painting = broken_mood(world, note="x" * 3000), world.publish_painting("seen")
    world.platform.edit("painting", painting, slug="edited")
    right = set_password(world, world.bob, "wrong")
    world.sync("mood", world.platform.save_mood("waits", world.bob))
    set_password(world, world.bob, right)
    return [
        "/",
        "/failures",
        "/failures?code=field_invalid",
        f"/item?type=mood&id={failed}&told=enqueued",
        f"/item?type=painting&id={painting}",
        "/accounts",
        "/search?q=nothing-like-this",
        "/search",
        "/item?type=mood&id=unknown",
    ]


def test_every_page_can_be_used_by_everybody(
    world: World, site: WebPage, browser: Browser, chromium: Chromium
) -> None:
    """Axe finds nothing serious, by day, at night and on a phone, and no page is too wide there."""
    faults: list[str] = []
    every = paths(world)
    for dark, width in product((False, True), (1200, 375)):
        with site.context(browser, dark=dark, width=width) as context:
            tab = context.new_page()
            for path in every:
                tab.goto(path)
                where = f"{path}, {width} wide, {'dark' if dark else 'light'}"
                faults += [f"{where}: {each}" for each in serious_faults(tab, chromium.axe)]
                room = tab.evaluate("document.documentElement.scrollWidth")
                faults += [f"{where}: {room} wide"] if room > width else []
    assert not faults


def test_pages_need_nothing_that_their_policy_forbids(
    world: World, site: WebPage, browser: Browser
) -> None:
    """Its own styles and pictures come, nothing is asked elsewhere, and nothing is blocked."""
    said: list[str] = []
    asked: list[str] = []
    with site.context(browser, bypass=False) as context:
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("request", lambda request: asked.append(request.url))
        for path in paths(world)[:6]:
            tab.goto(path, wait_until="networkidle")
        assert tab.evaluate("getComputedStyle(document.body).margin") == "0px"
        assert said == []
        assert all(url.startswith(site.url) for url in asked)
        assert f"{site.url}/static/style.css" in asked
        assert [url for url in asked if url.startswith(f"{site.url}/picture?")]


def test_items_are_found_by_what_is_at_hand(world: World, tab: Page) -> None:
    """By the search of any page: an id, an rkey, an at:// URI."""
    item = world.publish_mood("calm")
    state = world.platform.state("mood", item)
    for text in (str(item), str(state["rkey"]), str(state["uri"])):
        tab.goto("/accounts")
        tab.get_by_role("searchbox").fill(text)
        tab.get_by_role("button", name="Find").click()
        assert tab.url.endswith(f"/item?type=mood&id={item}")
