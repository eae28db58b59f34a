"""What a worker tells of its work: one line in the log for each item, and figures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from bson import ObjectId
from prometheus_client.parser import text_string_to_metric_families

from tasks import enqueue
from tasks.periodic import sweep
from tasks.sync import sync_batch
from tests import pictures
from tests.fleet import Process, running, worker
from tests.scene import Scene, open_scene
from tests.waiting import wait_for
from tests.world import Worlds
from worker.dev.stack import Stack
from worker.dev.stack.data_folder import Ports

Line = Mapping[str, object]
Figures = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture(scope="module")
def scene(own_worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Return a platform whose workers tell figures on a port of their own, and log JSON."""
    folder = tmp_path_factory.mktemp("metrics")
    port = Ports(folder / "ports.json").claim("metrics")
    told = {"METRICS_PORT": str(port), "LOG_FORMAT": "json", "TMPDIR": str(folder)}
    with open_scene(own_worlds, folder, **told) as opened:
        yield opened


@pytest.fixture(scope="module")
def process(scene: Scene) -> Iterator[Process]:
    """Run a worker with two children."""
    with worker(scene.environ, scene.folder) as running:
        yield running


def test_each_item_has_a_line_that_names_task_and_document(scene: Scene, process: Process) -> None:
    """As JSON, with what became of it; what is published has its address."""
    mood, line = publish(scene, process, "one line")
    assert line["event"] == "item synced"
    assert line["level"] == "info"
    assert (line["type"], line["outcome"], line["lane"]) == ("mood", "synced", "live")
    assert (line["task"], line["attempt"], line["did"]) == (
        "sync_media",
        1,
        scene.world.dids[scene.world.ada],
    )
    assert line["task_id"]
    assert line["detail"] == scene.world.platform.state("mood", mood)["uri"]
    assert float(str(line["since_save"])) > 0


def test_what_is_given_up_is_a_warning_with_its_reason(scene: Scene, process: Process) -> None:
    """And no traceback: nothing is wrong with the program."""
    mood = scene.world.platform.save_mood("z" * 5001, scene.world.ada)
    before = figures(scene)
    enqueue("mood", mood)
    scene.wait_for_status("mood", mood, "failed")
    line, *_ = lines_of(process, str(mood))
    assert (line["level"], line["code"]) == ("warning", "lexicon_violation")
    assert "mood has 5001 bytes" in str(line["detail"])
    assert "exception" not in line
    failed = ("media_atproto_failures_total", {"type": "mood", "code": "lexicon_violation"})
    assert grown(before, figures(scene), *failed) >= 1


def test_items_of_a_batch_have_a_line_each(scene: Scene, process: Process) -> None:
    """They name the same task."""
    platform, ada = scene.world.platform, scene.world.ada
    moods = [str(platform.save_mood(f"batch {n}", ada)) for n in range(3)]
    message = sync_batch.apply_async(("mood", ada, moods), queue="bulk").id
    for mood in moods:
        line, *_ = lines_of(process, mood)
        assert (line["task_id"], line["lane"]) == (message, "bulk")
        assert line["outcome"] == "synced"


def test_a_published_painting_is_counted_from_save_to_blob(scene: Scene, process: Process) -> None:
    """Its outcome, how long it took, its calls to the PDS, and the bytes of its blob."""
    world, before = scene.world, figures(scene)
    world.platform.store("counted.png", pictures.pixel_art(), world.ada)
    painting = world.platform.save_painting("counted", world.ada)
    enqueue("painting", painting)
    scene.wait_for_status("painting", painting, "synced")
    lines_of(process, str(painting))
    after = figures(scene)
    item = {"type": "painting", "outcome": "synced", "lane": "live"}
    assert grown(before, after, "media_atproto_items_total", item) >= 1
    waited = {"type": "painting", "lane": "live"}
    assert grown(before, after, "media_atproto_save_to_record_seconds_count", waited) >= 1
    assert grown(before, after, "media_atproto_save_to_record_seconds_sum", waited) > 0
    for method in ("com.atproto.repo.putRecord", "com.atproto.repo.uploadBlob"):
        call = {"method": method, "status": "200"}
        assert grown(before, after, "media_atproto_pds_calls_total", call) >= 1
    blobs: Any = world.platform.state("painting", painting)["blobs"]
    assert grown(before, after, "media_atproto_blob_bytes_total", {}) >= blobs["thumbnail"]["size"]


def test_a_pds_that_is_down_is_counted_by_call_and_by_reason(
    scene: Scene, process: Process, own_stack: Stack
) -> None:
    """The call has no status, and the item waits for a reason."""
    before = figures(scene)
    own_stack.pds.stop()
    try:
        mood = scene.world.platform.save_mood("nobody there", scene.world.ada)
        enqueue("mood", mood)
        scene.wait_for_status("mood", mood, "pending")
        lines_of(process, str(mood))
        after = figures(scene)
    finally:
        own_stack.pds.start()
    call = {"method": "com.atproto.repo.putRecord", "status": "unreachable"}
    assert grown(before, after, "media_atproto_pds_calls_total", call) >= 1
    waits = {"type": "mood", "code": "pds_unreachable"}
    assert grown(before, after, "media_atproto_retries_total", waits) >= 1


def test_sweeps_are_counted(scene: Scene, process: Process) -> None:
    """Their silence is what tells that beat is gone."""
    before = figures(scene)
    sweep.apply_async(queue="live")
    wait_for(
        lambda: grown(before, figures(scene), "media_atproto_sweeps_total", {}) >= 1,
        within=60,
        what="a sweep to be counted",
    )


def test_figures_outlive_the_children_that_counted_them(scene: Scene, process: Process) -> None:
    """A child that is replaced leaves its file to the next one: the sums never fall."""
    before, files = figures(scene), counted_in(scene)
    replace_children(process)
    for number in range(6):
        publish(scene, process, f"anew {number}")
    item = {"type": "mood", "outcome": "synced", "lane": "live"}
    assert grown(before, figures(scene), "media_atproto_items_total", item) >= 6
    assert counted_in(scene) == files


def test_a_folder_of_figures_that_was_tidied_away_keeps_nobody_from_publishing(
    scene: Scene, process: Process
) -> None:
    """Neither those that count already, nor their successors, which count anew."""
    (folder,) = scene.folder.glob("media-atproto-metrics-*")
    shutil.rmtree(folder)
    publish(scene, process, "uncounted")
    replace_children(process)
    before = figures(scene)
    publish(scene, process, "counted anew")
    item = {"type": "mood", "outcome": "synced", "lane": "live"}
    assert grown(before, figures(scene), "media_atproto_items_total", item) >= 1


def test_labels_name_no_item_and_no_account(scene: Scene, process: Process) -> None:
    """Of those there is no end, and figures are read by people who may not know them."""
    values = {value for _, labels in figures(scene) for _, value in labels}
    assert not [value for value in values if "did:" in value or "auth0" in value]
    assert len(values) < 100


def test_a_worker_whose_port_is_taken_publishes_all_the_same(
    scene: Scene, process: Process, tmp_path: Path
) -> None:
    """It says so, and which variables to look at."""
    with worker(scene.environ, tmp_path, 1, "-n", "second@%h") as second:
        wait_for(lambda: "METRICS_PORT" in second.text, within=30, what="the fault to be logged")
    assert "metrics are not served at 127.0.0.1" in second.text


def publish(scene: Scene, process: Process, text: str) -> tuple[ObjectId, Line]:
    """Save a mood and wait for its record and its log line; return its id and the line."""
    mood = scene.world.platform.save_mood(text, scene.world.ada)
    enqueue("mood", mood)
    scene.wait_for_status("mood", mood, "synced")
    return mood, lines_of(process, str(mood))[0]


def replace_children(process: Process) -> None:
    """Kill the children of a worker, and wait for their successors."""
    old = process.children()
    for child in old:
        child.kill()
    wait_for(
        lambda: len(process.children()) == len(old) and not set(process.children()) & set(old),
        within=60,
        what="new children",
    )


def lines_of(process: Process, item: str) -> list[Line]:
    """Wait for the journal's lines about an item, and return them."""

    def found() -> list[Line]:
        lines = [json.loads(line) for line in process.text.splitlines() if item in line]
        return [line for line in lines if line.get("id") == item]

    return wait_for(found, within=60, what=f"a line about {item}")


def counted_in(scene: Scene) -> set[str]:
    """Return the files that the worker's children count in."""
    return {file.name for file in scene.folder.glob("media-atproto-metrics-*/*.db")}


def figures(scene: Scene) -> Figures:
    """Return what the worker tells, by name and labels."""
    url = f"http://127.0.0.1:{scene.environ['METRICS_PORT']}/metrics"
    text = httpx.get(url, timeout=30, trust_env=False).raise_for_status().text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def grown(before: Figures, after: Figures, name: str, labels: Mapping[str, str]) -> float:
    """Return by how much a figure has grown."""
    key = (name, tuple(sorted(labels.items())))
    return after.get(key, 0.0) - before.get(key, 0.0)


def test_a_log_format_that_nobody_knows_is_refused(scene: Scene, tmp_path: Path) -> None:
    """Before anything starts, naming the variable."""
    with running("worker", {**scene.environ, "LOG_FORMAT": "xml"}, tmp_path) as process:
        assert process.popen.wait(timeout=60) != 0
    assert "LOG_FORMAT must be console or json, not 'xml'" in process.text
