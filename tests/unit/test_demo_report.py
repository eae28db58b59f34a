"""The output of the demo: four stories, the faults, the verdict."""

from __future__ import annotations

import json

import pytest
from bson import ObjectId

from worker.cli.demo import report
from worker.dev.demo.check import Result
from worker.dev.demo.scenes import Scene
from worker.dev.demo.uploads import Person, UploadedItem

ADA = Person("auth0|ada", "ada", "did:plc:ada")
STATUSES = {
    Scene.GUESTS_MOOD: "skipped",
    Scene.NO_ACCOUNT: "skipped",
    Scene.HIDDEN: "removed",
    Scene.BROKEN: "partial",
}


def result(scene: Scene, *faults: str) -> Result:
    """Build the result of an item."""
    status = STATUSES.get(scene, "synced")
    item = UploadedItem("mood", ObjectId(), ADA, {}, status=status, scene=scene)
    return Result(item, status, "", "", faults)


def test_four_lines_and_a_verdict_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A line names what was checked; all fit 80 columns."""
    assert report([result(scene) for scene in Scene]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok     published     3 items: one record each, same text, readable file",
        "ok     changed       edited mood: new text; hidden painting: record removed",
        "ok     broken image  the painting is published without its thumbnail",
        "ok     PDS stopped   1 items saved meanwhile, published after its restart",
        "All 9 items are as expected: 5 synced, 2 skipped, 1 removed, 1 partial.",
    ]


def test_a_story_with_a_fault_does_not_claim_what_was_checked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It has the number of faulty items instead; the other stories are unchanged."""
    results = [result(scene) for scene in Scene]
    results += [result(Scene.OUTAGE, "is failed (None) instead of synced (None)")]
    assert report(results) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("ok     broken image")
    assert lines[3] == "FAULT  PDS stopped   1 of 2 items are not as expected"
    assert lines[4].startswith(f"FAULT: mood {results[-1].item.id} is failed")


@pytest.mark.parametrize(("items", "shown"), [(False, 5), (True, 8)])
def test_many_faults_fit_a_screen(
    capsys: pytest.CaptureFixture[str], *, items: bool, shown: int
) -> None:
    """Unless a row for each item is requested."""
    report([result(Scene.UPLOAD, "is failed")] * 8, items=items)
    printed = capsys.readouterr().out
    assert printed.count("FAULT: mood") == shown
    assert ("3 more faults: use --items to print all." in printed) is not items


def test_json_is_one_object_with_all_stories_and_items(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is the only output on stdout."""
    assert report([result(Scene.EDITED, "has no record")], as_json=True) == 1
    printed = json.loads(capsys.readouterr().out)
    assert [story["faulty"] for story in printed["stories"]] == [0, 1, 0, 0]
    assert printed["items"][0]["faults"] == ["has no record"]
