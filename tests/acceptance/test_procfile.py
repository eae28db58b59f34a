"""The Procfile, run by a Procfile runner on the embedded services."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests.deployment import procfile
from tests.scene import Scene, open_scene
from tests.waiting import wait_for
from tests.world import Worlds
from worker.stack.ports import Ports

PATIENCE = 120.0
_LOGIN = ("ops", "password-of-ops")
_WITH_PORT = ("flower", "web")


@dataclass(frozen=True)
class Run:
    """Honcho with all that the Procfile names, as far as this version has it."""

    scene: Scene
    names: list[str]
    ports: dict[str, int]
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        """Return what all of them have printed."""
        return self.log.read_text(errors="replace")

    def url(self, name: str) -> str:
        """Return the address of one that has pages."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def states(self) -> str:
        """Return what Flower knows of tasks; nothing while it does not answer."""
        try:
            return httpx.get(f"{self.url('flower')}/api/tasks", auth=_LOGIN, timeout=10).text
        except httpx.TransportError:
            return ""


@pytest.fixture(scope="module")
def run(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run the Procfile until its tests are done."""
    folder = tmp_path_factory.mktemp("procfile")
    with open_scene(worlds, folder) as scene:
        ports = {name: Ports(folder / f"{name}.json").claim(name) for name in _WITH_PORT}
        names = list(procfile())
        write_procfile(folder, ports)
        log = folder / "honcho.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                (sys.executable, "-m", "honcho", "--procfile", "Procfile", "start", *names),
                env=environment(scene),
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        yield Run(scene, names, ports, popen, log)
        if popen.poll() is None:
            popen.kill()
        popen.wait()


def write_procfile(folder: Path, ports: dict[str, int]) -> None:
    """Write the Procfile with files of this test's own, and ports that nobody else has."""
    lines = {
        name: f"{line} --port {ports[name]}" if name in ports else line
        for name, line in procfile().items()
    }
    text = "".join(f"{name}: {line}\n" for name, line in lines.items())
    (folder / "Procfile").write_text(text.replace("/tmp/", f"{folder}/"))


def environment(scene: Scene) -> dict[str, str]:
    """Return the environment of a shell in which someone starts it."""
    login = ":".join(_LOGIN)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "FLOWER_BASIC_AUTH": login, "WEB_BASIC_AUTH": login}
    return {**scene.environ, **own, "PYTHONUNBUFFERED": "1"}


def test_an_item_is_published_and_flower_sees_it(run: Run) -> None:
    """By the worker for saves, within what is an afternoon's deployment."""
    wait_for(lambda: run.text.count(" ready.") == 2, within=PATIENCE, what="the workers")
    wait_for(lambda: run.states() == "{}" or run.states(), within=PATIENCE, what="Flower")
    mood = run.scene.world.platform.save_mood("from a Procfile", run.scene.world.ada)
    run.scene.enqueue("mood", mood)
    run.scene.wait_for_status("mood", mood, "synced")
    wait_for(lambda: f"mood {mood}" in run.states(), within=PATIENCE, what="Flower to see it")


def test_what_nobody_enqueued_is_published(run: Run) -> None:
    """By the watch, or by a sweep that beat has asked for."""
    mood = run.scene.world.platform.save_mood("not enqueued", run.scene.world.ada)
    run.scene.wait_for_status("mood", mood, "synced")


def test_the_status_page_answers(run: Run) -> None:
    """To whoever has the password."""
    wait_for(
        lambda: httpx.get(f"{run.url('web')}/healthz").is_success, within=PATIENCE, what="the page"
    )
    assert httpx.get(run.url("web")).status_code == httpx.codes.UNAUTHORIZED
    assert httpx.get(run.url("web"), auth=_LOGIN).is_success


def test_sigterm_ends_all_of_it(run: Run) -> None:
    """Each by itself, none left behind, and no message in the hands of a worker that is gone."""
    run.scene.wait_until_drained()
    members = psutil.Process(run.popen.pid).children(recursive=True)
    assert len(members) > len(run.names)
    run.popen.send_signal(signal.SIGTERM)
    assert run.popen.wait(PATIENCE) == 128 + signal.SIGTERM
    _, alive = psutil.wait_procs(members, timeout=PATIENCE)
    assert not alive
    stopped = dict(re.findall(r"(\S+)\.1 stopped \(rc=(-?\d+)\)", run.text))
    assert set(stopped) == set(run.names)
    assert {stopped[name] for name in run.names} <= {"0", "-15", "143"}
    assert "Traceback" not in run.text
