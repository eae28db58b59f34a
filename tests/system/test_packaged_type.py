"""The wheel of this project, and a package with the type of docs/adding-a-media-type.md."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import wave
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bson import ObjectId

from tests.fleet import CELERY, beat, worker
from tests.scene import Scene, open_scene
from tests.terminal import PROGRAM
from tests.waiting import wait_for
from tests.world import Worlds

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/adding-a-media-type.md"
_BLOCK = re.compile(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATIENCE = 120.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that the document shows."""
    folder = tmp_path_factory.mktemp("tape-media")
    for name, text in _BLOCK.findall(DOCUMENT.read_text()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def installed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder where pip has installed the package."""
    target = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index")
    own = ("--no-build-isolation", "--target", target, project)
    subprocess.run((*pip, *own), check=True, timeout=300)
    return target


@pytest.fixture(scope="module")
def scene(
    worlds: Worlds, installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A platform, a worker and a beat that find the package."""
    with open_scene(worlds, tmp_path_factory.mktemp("tapes")) as opened:
        known = replace(opened, environ=with_path(opened.environ, installed))
        with worker(known.environ, known.folder), beat(known.environ, known.folder):
            yield known


def with_path(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return an environment whose Python finds the packages of a folder."""
    return {**environ, "PYTHONPATH": str(folder)}


def run(environ: Mapping[str, str], *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, check=False, timeout=_PATIENCE
    )


def save_tape(scene: Scene, slug: str, **fields: object) -> ObjectId:
    """Save a tape, with its sound, as an upload does; nobody is told."""
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(800))
    scene.world.platform.store(f"{slug}.wav", sound.getvalue(), scene.world.ada)
    item = ObjectId()
    document = {"_id": item, "slug": slug, "when": datetime.now(UTC), "user": scene.world.ada}
    scene.world.services.storage.database["tapes"].insert_one({**document, **fields})
    return item


def wait_for_status(scene: Scene, item: ObjectId, status: str) -> None:
    """Wait until a tape's state says this."""
    match = {"_id": item, "atproto.status": status}
    tapes = scene.world.services.storage.database["tapes"]
    wait_for(lambda: tapes.find_one(match), what=f"the tape to be {status}")


def published(scene: Scene, item: ObjectId) -> list[dict[str, object]]:
    """Return the records of a tape, as anybody reads them."""
    params = {"repo": scene.world.dids[scene.world.ada], "collection": "com.example.tape"}
    answer = scene.world.http.get("/xrpc/com.atproto.repo.listRecords", params=params)
    values = [record["value"] for record in answer.raise_for_status().json()["records"]]
    return [value for value in values if value["ref"] == str(item)]


def test_the_documents_tests_pass(project: Path, installed: Path, scene: Scene) -> None:
    """The tests that it shows are tests."""
    pytest_there = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    root = ("--rootdir", project, "-c", os.devnull)
    done = run(with_path(os.environ, installed), *pytest_there, *root, project / "tests")
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_a_tape_is_published_with_its_blob(scene: Scene) -> None:
    """The message names the type; a worker that knows it does the rest."""
    item = save_tape(scene, "rain", title="Rain")
    scene.enqueue("tape", item)
    wait_for_status(scene, item, "synced")
    (record,) = published(scene, item)
    assert (record["$type"], record["title"]) == ("com.example.tape", "Rain")
    sound = record["sound"]
    assert scene.world.blob(scene.world.dids[scene.world.ada], sound).startswith(b"RIFF")


def test_the_sweep_finds_a_tape_whose_message_was_lost(scene: Scene) -> None:
    """Nobody enqueues it."""
    item = save_tape(scene, "wind", title="Wind")
    wait_for_status(scene, item, "synced")
    assert len(published(scene, item)) == 1


def test_a_tape_that_is_wrong_says_which_field(scene: Scene) -> None:
    """The engine's own refusals hold for it."""
    item = save_tape(scene, "mute")
    scene.enqueue("tape", item)
    wait_for_status(scene, item, "failed")
    done = run(scene.environ, PROGRAM, "failures", "--type", "tape")
    assert "field 'title' is missing" in done.stdout


def test_every_command_knows_the_type(scene: Scene) -> None:
    """Counted, shown, audited; its lexicon checked, its indexes there."""
    item = save_tape(scene, "hail", title="Hail")
    scene.enqueue("tape", item)
    wait_for_status(scene, item, "synced")
    counts = json.loads(run(scene.environ, PROGRAM, "status", "--json").stdout)
    assert counts["types"]["tape"]["synced"] >= 1
    shown = run(scene.environ, PROGRAM, "show", "tape", str(item))
    assert (shown.returncode, "Hail" in shown.stdout) == (0, True), shown.stderr
    checked = run(scene.environ, PROGRAM, "lexicons", "check")
    assert (checked.returncode, "com.example.tape" in checked.stdout) == (0, True)
    made = run(scene.environ, PROGRAM, "init")
    assert re.search(r"^tapes +atproto_due +already there", made.stdout, re.MULTILINE)
    audited = run(scene.environ, PROGRAM, "audit", "--type", "tape")
    assert audited.returncode == 0, audited.stdout


def test_its_lexicon_is_published_and_held_to_what_was_published(
    scene: Scene, installed: Path, tmp_path: Path
) -> None:
    """With --save the package keeps a copy, which the next check compares with."""
    site = tmp_path / "site"
    shutil.copytree(installed, site)
    environ, lexicons = with_path(scene.environ, site), site / "tape_media/lexicons"
    account = ("--account", scene.world.bob)
    done = run(environ, PROGRAM, "lexicons", "publish", *account, "--save", "com.example.tape")
    assert done.returncode == 0, done.stderr
    assert "_lexicon.example.com TXT" in done.stdout
    file = lexicons / "com/example/tape.json"
    kept = lexicons / "published/com/example/tape.json"
    assert json.loads(kept.read_text()) == json.loads(file.read_text())
    assert run(environ, PROGRAM, "lexicons", "check").returncode == 0
    file.write_text(file.read_text().replace('"maxLength": 256', '"maxLength": 100'))
    checked = run(environ, PROGRAM, "lexicons", "check")
    assert checked.returncode == 1
    assert f"{file}: defs.main.record.properties.title.maxLength" in checked.stdout
    refused = run(environ, PROGRAM, "lexicons", "publish", *account)
    assert refused.returncode == 1
    assert "com.example.tape would break" in refused.stderr


WRONG = {
    "not found": ("", "cannot be imported"),
    "no media type": ("TAPE = 'tape'", "should be a worker.media.base.MediaType"),
    "a bug": ("1 / 0", "ZeroDivisionError"),
}


@pytest.mark.parametrize(("source", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_type_ends_worker_and_commands_with_its_name(
    scene: Scene, tmp_path: Path, source: str, said: str
) -> None:
    """Before anything is taken from the queue, and without a traceback."""
    pretend(tmp_path, source)
    told = refusals(with_path(scene.environ, tmp_path))
    assert told.count("the media type 'tape' of bad-tape (bad_tape:TAPE)") == 2
    assert told.count(said) == 2


def test_a_wrong_lexicon_ends_worker_and_commands_with_file_and_place(
    scene: Scene, installed: Path, tmp_path: Path
) -> None:
    """The type is right, its lexicon is not."""
    pretend(tmp_path, (installed / "tape_media/__init__.py").read_text())
    lexicon = (installed / "tape_media/lexicons/com/example/tape.json").read_text()
    file = tmp_path / "bad_tape/lexicons/com/example/tape.json"
    file.parent.mkdir(parents=True)
    file.write_text(lexicon.replace("maxSize", "maxsize"))
    told = refusals(with_path(scene.environ, tmp_path))
    assert told.count(f"lexicon {file}: defs.main.record.properties.sound.maxsize") == 2


def refusals(environ: Mapping[str, str]) -> str:
    """Return what a worker and a command say that do not start in an environment."""
    commands = ((*CELERY, "-A", "worker.app", "worker"), (PROGRAM, "status"))
    ended = [run(environ, *command) for command in commands]
    assert [done.returncode for done in ended] == [1, 2]
    told = "".join(done.stderr for done in ended)
    assert "Traceback" not in told
    return told


def test_the_wheel_of_this_project_has_templates_styles_and_lexicons(tmp_path: Path) -> None:
    """All files of the packages, whatever their kind."""
    hatchling = Path(sys.executable).with_name("hatchling")
    command = (hatchling, "build", "-t", "wheel", "-d", tmp_path)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for folder in ("worker", "tasks", "lexicons")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"worker/web/templates/base.html", "worker/web/static/style.css"} <= wanted
    assert not wanted - names


def pretend(folder: Path, source: str) -> None:
    """Make what pip would have made of a package `bad-tape` with this code."""
    (folder / "bad_tape").mkdir()
    (folder / "bad_tape/__init__.py").write_text(source)
    metadata = folder / "bad_tape-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-tape\nVersion: 1\n")
    entry = "[media_atproto.types]\ntape = bad_tape:TAPE\n"
    (metadata / "entry_points.txt").write_text(entry)
