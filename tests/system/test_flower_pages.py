"""Flower, as an operator uses it in a browser: what failed, what waits, who is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import redis
from bson import ObjectId
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from prometheus_client.parser import text_string_to_metric_families

from tests.bulk import set_password
from tests.fleet import Process, beat, worker
from tests.scene import Scene, open_scene
from tests.system.flower_api import FlowerApi
from tests.terminal import run
from tests.waiting import wait_for
from tests.world import Worlds
from worker.dev.stack.data_folder import Ports
from worker.queue.redis_keys import is_own_key

LOGIN = ("ops", "password-of-ops")
PATIENCE = 90.0
_MILLISECONDS = PATIENCE * 1000
_SHARING = ("redis", "database")  # the check whose keys are in the database
_TOO_LONG = "z" * 5001
_OURS = (sys.executable, "-W", "ignore", "-c", "from worker.cli import main; main()")


@dataclass
class Flower:
    """`media-atproto flower`, started, killed and started again on one file."""

    environ: dict[str, str]
    folder: Path
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> FlowerApi:
        """Return what asks it for tasks."""
        return FlowerApi(self.url, *LOGIN)

    @property
    def saved_at(self) -> int:
        """Return when all files of its state were saved, in nanoseconds; 0 if never."""
        files = [file for file in self.folder.glob("flower-state*") if ".tmp" not in file.name]
        return min((file.stat().st_mtime_ns for file in files), default=0)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ("--port", str(self.port), "--db", str(self.folder / "flower-state"))
        with (self.folder / "flower.log").open("ab") as log:
            self.process = subprocess.Popen(
                (*_OURS, "flower", *options),
                env=self.environ,
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(self.api.answers, within=PATIENCE, what="Flower to answer")

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()

    def states(self) -> dict[str, str]:
        """Return the state of every task that it knows, by what the task is about."""
        tasks = self.api.tasks().values()
        return {task["args"]: task["state"] for task in tasks if task["args"]}


@dataclass(frozen=True)
class Watched:
    """Workers under Flower, and items that came to each kind of end."""

    scene: Scene
    flower: Flower
    bulk: Process
    synced: ObjectId
    failed: ObjectId
    waiting: ObjectId
    batch: list[ObjectId]


@pytest.fixture(scope="module")
def watched(own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Have items published, failing, retried and waiting, in front of Flower."""
    folder = tmp_path_factory.mktemp("flower")
    # A retry waits for so long on average that it can be looked at.
    times = {"RETRY_BASE_SECONDS": "25", "RETRY_CEILING_SECONDS": "25"}
    with ExitStack() as undo:
        scene = undo.enter_context(open_scene(own_worlds, folder))
        own = {"FLOWER_BASIC_AUTH": ":".join(LOGIN), "FLOWER_STATE_SAVE_INTERVAL": "1000"}
        environ = {**scene.environ, **own}
        flower = Flower(environ, folder, Ports(folder / "ports.json").claim("flower"))
        flower.start()
        undo.callback(flower.end)
        for name, queues in (("live", "live,sweep"), ("bulk", "bulk")):
            options = ("-n", f"{name}@media-1", "-Q", queues)
            last = undo.enter_context(worker({**scene.environ, **times}, folder, 1, *options))
        items = prepared(scene)
        moods = scene.enqueue_batch(scene.world.ada, 5)
        scene.wait_for_status("mood", moods[-1], "synced")
        yield Watched(scene, flower, last, *items, moods)


def prepared(scene: Scene) -> tuple[ObjectId, ObjectId, ObjectId]:
    """Save three moods: one is published, one breaks its lexicon, one's account cannot log in."""
    platform, ada, bob = scene.world.platform, scene.world.ada, scene.world.bob
    set_password(scene.world, bob, "no longer this")
    items = {
        "synced": platform.save_mood("a fine day", ada),
        "failed": platform.save_mood(_TOO_LONG, ada),
        "pending": platform.save_mood("nobody lets me in", bob),
    }
    for status, item in items.items():
        scene.enqueue("mood", item)
        scene.wait_for_status("mood", item, status)
    return items["synced"], items["failed"], items["pending"]


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Open a browser in which an operator has typed the password."""
    login = {"username": LOGIN[0], "password": LOGIN[1]}
    opened = browser.new_context(http_credentials=login, viewport={"width": 1280, "height": 640})  # type: ignore[arg-type]
    opened.set_default_timeout(_MILLISECONDS)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """Return an empty page of that browser."""
    expect.set_options(timeout=_MILLISECONDS)
    return context.new_page()


def rows(page: Page, text: str | None = None) -> Locator:
    """Return the rows of the table of tasks, or those that have a text."""
    return page.locator("#tasks-table tbody tr", has_text=text)


def keep(page: Page, name: str) -> None:
    """Keep a picture for the documents, where SCREENSHOTS names a folder for them."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"flower-{name}.png")


def test_doctor_recognizes_the_keys_of_workers_beat_and_flower(watched: Watched) -> None:
    """After all of them have run: the database is used by this installation only."""
    unseen = watched.scene.world.platform.save_mood("unseen", watched.scene.world.ada)
    with beat(watched.scene.environ, watched.scene.folder):
        watched.scene.wait_for_status("mood", unseen, "synced")
    with redis.Redis.from_url(watched.scene.environ["REDIS_URL"], decode_responses=True) as client:
        keys = set(client.scan_iter())
    assert {"_kombu.binding_deadlines", "_kombu.binding_permanent.live"} <= keys
    assert [key for key in sorted(keys) if not is_own_key(key)] == []
    _, output, _ = run(["doctor", "--json"], watched.scene.environ)
    found = [json.loads(line) for line in output.splitlines()]
    (sharing,) = [each for each in found if (each["subject"], each["check"]) == _SHARING]
    assert sharing["level"] == "ok", sharing


@pytest.mark.parametrize("auth", [None, (LOGIN[0], "guessed")])
def test_pages_need_the_password(watched: Watched, auth: tuple[str, str] | None) -> None:
    """Without it no page names an item."""
    for path in ("/", "/workers", "/tasks", "/broker", "/api/tasks", "/worker/live@media-1"):
        answer = httpx.get(f"{watched.flower.url}{path}", auth=auth)
        assert answer.status_code == httpx.codes.UNAUTHORIZED
        assert str(watched.failed) not in answer.text


def test_the_failed_item_is_found_and_says_why(watched: Watched, page: Page) -> None:
    """By the button for failures, and by the document's id; its page has the reason."""
    page.goto(f"{watched.flower.url}/tasks")
    page.get_by_role("button", name="Failed").click()
    failure = rows(page, str(watched.failed))
    expect(failure).to_contain_text("FAILURE")
    expect(failure).to_contain_text(f"mood {watched.failed}")
    expect(rows(page)).to_have_count(1)
    page.get_by_role("searchbox").fill(f"args:{watched.failed}")
    expect(failure).to_have_count(1)
    failure.locator("a[href*='/task/']").click()
    expect(page.locator(".task-details-card")).to_contain_text(f"mood {watched.failed}")
    expect(page.locator(".task-details-card")).to_contain_text("mood has ")
    expect(page.locator(".task-details-card")).to_contain_text("5000")
    keep(page, "task")


def test_items_that_wait_and_items_that_failed_have_their_own_state(
    watched: Watched, page: Page
) -> None:
    """Each in a state of its own, with the reason beside it."""
    page.goto(f"{watched.flower.url}/tasks")
    for item, state, reason in (
        (watched.synced, "SUCCESS", "synced at://"),
        (watched.failed, "FAILURE", "5000"),
        (watched.waiting, "RETRY", "the stored password is refused"),
    ):
        found = rows(page, f"mood {item}")
        expect(found).to_contain_text(state)
        expect(found).to_contain_text(reason)
    keep(page, "tasks")
    page.get_by_role("searchbox").fill("state:RETRY")
    expect(rows(page)).to_have_count(1)
    expect(rows(page)).to_contain_text(str(watched.waiting))


def test_a_batch_is_named_by_its_owner_and_number(watched: Watched, page: Page) -> None:
    """Not by a hundred ids."""
    page.goto(f"{watched.flower.url}/tasks?name=sync_batch")
    batches = rows(page)
    expect(batches).to_contain_text(f"moods of {watched.scene.world.ada}: 5 items, ")
    expect(batches).to_contain_text(f"{watched.batch[0]}")
    expect(batches).to_contain_text("and 2 more")
    expect(batches).to_contain_text("5 synced")


def test_a_task_is_linked_from_the_list(watched: Watched, page: Page) -> None:
    """Flower's page of a worker needs remote control, which workers do not have."""
    page.goto(f"{watched.flower.url}/tasks")
    page.wait_for_load_state("networkidle")
    links = page.eval_on_selector_all("a[href*='/task/']", "links => links.map(a => a.href)")
    assert links
    answer = httpx.get(links[0], auth=LOGIN, timeout=30)
    assert answer.status_code == httpx.codes.OK


def test_nothing_can_be_done_through_it(watched: Watched) -> None:
    """It is there to look; the commands do, under the rules of the engine."""
    url = f"{watched.flower.url}/api/task/async-apply/sync_media"
    answer = httpx.post(url, auth=LOGIN, json={"args": ["mood", str(watched.synced)]})
    assert answer.status_code == httpx.codes.FORBIDDEN


def test_its_metrics_can_be_scraped(watched: Watched) -> None:
    """In Prometheus's format, with what became of tasks by name and worker."""
    text = httpx.get(f"{watched.flower.url}/metrics").raise_for_status().text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = {
        (sample.labels["task"], sample.labels["type"]): sample.value
        for sample in families["flower_events"].samples
        if sample.name == "flower_events_total" and sample.labels["worker"] == "live@media-1"
    }
    assert counted["sync_media", "task-succeeded"] >= 1
    assert counted["sync_media", "task-failed"] >= 1
    assert counted["sync_media", "task-retried"] >= 1
    online = {s.labels["worker"]: s.value for s in families["flower_worker_online"].samples}
    assert online["live@media-1"] == 1


def test_a_killed_worker_is_seen_to_be_offline(watched: Watched, page: Page) -> None:
    """Within seconds, without anybody telling Flower."""
    page.goto(f"{watched.flower.url}/workers")
    gone = page.locator("#workers-table tbody tr", has_text="bulk@media-1")
    expect(gone).to_contain_text("Online")
    watched.bulk.kill()
    expect(gone).to_contain_text("Offline")
    expect(page.locator("#workers-table tbody tr", has_text="live@media-1")).to_contain_text(
        "Online"
    )
    keep(page, "workers")


def test_flower_killed_and_restarted_knows_what_it_saw(watched: Watched, page: Page) -> None:
    """It loads the state that it saved last."""
    flower = watched.flower
    before = flower.states()
    assert before[f"mood {watched.failed}"] == "FAILURE"
    saved = flower.saved_at
    wait_for(
        lambda: flower.saved_at > saved, within=PATIENCE, what="Flower to save what it has seen"
    )
    flower.end()
    flower.start()
    assert flower.states().items() >= {f"mood {watched.failed}": "FAILURE"}.items()
    assert flower.states()[f"mood {watched.waiting}"] == "RETRY"
    page.goto(f"{flower.url}/tasks?state=FAILURE")
    expect(page.locator("#tasks-table tbody")).to_contain_text(str(watched.failed))


@pytest.mark.parametrize(
    ("command", "code"),
    [(_OURS, 2), ((sys.executable, "-m", "celery", "-A", "worker.app"), 1)],
)
def test_flower_does_not_start_without_a_password(
    watched: Watched, command: tuple[str, ...], code: int
) -> None:
    """However it is started: an open Flower shows everybody every item and error."""
    ended = subprocess.run(
        [*command, "flower"],
        env=watched.scene.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == code
    assert "FLOWER_BASIC_AUTH" in ended.stderr
