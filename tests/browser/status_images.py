"""Makes the pictures of the status page in docs/images: `python -m tests.browser.status_images`.

A real page over real services, in a real browser; of the items a few are published for real, and
many are put there as if they had been, so that there is something to plot.
"""

from __future__ import annotations

import math
import os
import random
import tempfile
from contextlib import ExitStack
from datetime import timedelta
from io import BytesIO
from pathlib import Path

from bson import ObjectId
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.browser.chromium import install
from tests.webpage import WebPage, serving
from tests.world import World, Worlds
from worker.core.clock import now
from worker.database.mongo import RawDocument
from worker.dev.demo.pictures import creature, png
from worker.dev.stack import Stack
from worker.dev.stack.environment import unset_variables

_FOLDER = Path(__file__).parents[2] / "docs" / "images"
_MINUTES = 24 * 60
_COLOURS = 128
_LEFT = 21  # the items that have not been published yet


def main() -> None:
    """Fill a platform, look at it, and save what was seen."""
    environ = unset_variables(os.environ)
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        stack = undo.enter_context(Stack.start(folder / "stack", environ))
        chromium = install(environ, folder / "chromium")
        world = undo.enter_context(Worlds(stack).open())
        item = _fill(world)
        logs = folder / "logs"
        logs.mkdir()
        page = undo.enter_context(serving({**environ, **world.environ}, logs))
        playwright = undo.enter_context(sync_playwright())
        _take_all(page, chromium.launch(playwright), item)


def _take_all(page: WebPage, browser: Browser, item: ObjectId) -> None:
    _FOLDER.mkdir(exist_ok=True)
    path = f"/item?type=painting&id={item}"
    _take(page, browser, "/", "status-light")
    _take(page, browser, "/", "status-dark", dark=True)
    _take(page, browser, path, "status-item")
    _take(page, browser, "/", "status-phone", width=375)
    _take(page, browser, "/failures?code=lexicon_violation", "status-failures")


def _take(
    page: WebPage, browser: Browser, path: str, name: str, *, dark: bool = False, width: int = 1200
) -> None:
    with page.context(browser, dark=dark, width=width) as context:
        tab = context.new_page()
        tab.goto(path, wait_until="networkidle")
        shot = tab.screenshot(full_page=True)
    # Few colours are on a page, and a quarter of the bytes are enough for them.
    Image.open(BytesIO(shot)).convert("RGB").quantize(_COLOURS).save(
        _FOLDER / f"{name}.png", optimize=True
    )


def _fill(world: World) -> ObjectId:
    """Publish a few items, leave some wrong, and make up a day; return one that is not right."""
    platform, sync = world.platform, world.sync
    for number in range(6):
        platform.store(f"creature-{number}.png", png(creature(number)), world.ada)
        sync("painting", platform.save_painting(f"creature-{number}", world.ada))
    for _ in range(3):
        sync("mood", platform.save_mood("x" * 5001, world.bob))
    for slug in ("never-arrived", "lost"):
        sync("painting", platform.save_painting(slug, world.bob))
    sync("kidlisp", platform.save_kidlisp("(wipe blue) " * 5000, None))
    sync("mood", platform.save_mood("nobody's", "auth0|nobody"))
    _make_up_a_day(world)
    users = world.services.storage.database["users"]
    users.update_one({"_id": world.bob}, {"$set": {"atproto.password": "not this one"}})
    for mood in ("calm", "restless", "far away"):
        sync("mood", platform.save_mood(mood, world.bob))
    for number in range(_LEFT):
        platform.save_kidlisp(f"(circle {number})", None)
    platform.store("tide.png", png(creature(11)), world.ada)
    item = platform.save_painting("tide", world.ada)
    sync("painting", item)
    platform.edit("painting", item, slug="high-tide")
    platform.store("high-tide.png", png(creature(11)), world.ada)
    return item


def _make_up_a_day(world: World) -> None:
    dice, end = random.Random(7), now()
    names = (("moods", 6), ("paintings", 3), ("pieces", 1), ("kidlisp", 4))
    for name, share in names:
        documents: list[RawDocument] = []
        for back in range(_MINUTES):
            wave = 1 + math.sin(2 * math.pi * (back / _MINUTES + 0.55))
            for _ in range(dice.randrange(1 + round(share * wave))):
                moment = end - timedelta(minutes=back, seconds=dice.randrange(60))
                state = {"status": "synced", "publishedAt": moment, "attempts": 1}
                documents.append({"_id": ObjectId(), "when": moment, "atproto": state})
        if documents:
            world.services.storage.database[name].insert_many(documents)


if __name__ == "__main__":
    main()
