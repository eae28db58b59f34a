"""A fleet at strength: two workers and beat; whoever is killed is replaced, as by a restarter."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.environments import changed
from tests.fleet import CELERY, Process, beat, running

_CHILDREN = 2


@dataclass(frozen=True, slots=True)
class Manning:
    """How a fleet is run: the PDS that it knows, and by how many seconds each clock is off.

    With a `directory_url` accounts are looked up there, else all are at the PDS. `mongodb` are
    options that the URL of its MongoDB has.
    """

    pds_url: str
    directory_url: str = "off"
    skews: tuple[float, ...] = (0.0, 0.0)
    mongodb: str = ""


@dataclass
class Fleet:
    """Running workers; what is replaced stays on record until the fleet ends."""

    manning: Manning
    environ: dict[str, str]
    folder: Path
    workers: list[Process] = field(default_factory=list)
    _beats: list[Process] = field(default_factory=list)
    _undo: ExitStack = field(default_factory=ExitStack)

    def replace(self, worker: Process) -> None:
        """Start another worker in the place of one that was ended."""
        place = self.workers.index(worker)
        self.workers[place] = self._launch(self.manning.skews[place])
        self.workers[place].await_ready()

    def children(self) -> list[psutil.Process]:
        """Return the processes of all pools."""
        return [child for worker in self.workers for child in worker.children()]

    def deserters(self) -> list[str]:
        """Name the workers and beats that have ended by themselves, by their logs."""
        programs = [*self.workers, *self._beats]
        return [str(each.log) for each in programs if each.popen.poll() is not None]

    def launch(self) -> None:
        """Start all, and wait until they are ready."""
        self.workers = [self._launch(skew) for skew in self.manning.skews]
        self.second_beat()
        for worker in self.workers:
            worker.await_ready()

    def second_beat(self) -> None:
        """Start beat, be there one already or not."""
        folder = self.folder / f"beat-{len(list(self.folder.iterdir()))}"
        folder.mkdir()
        self._beats.append(self._undo.enter_context(beat(self.environ, folder)))

    def stop(self) -> None:
        """Ask all to stop, wait for all, and kill the workers that do not end."""
        for worker in self._running():
            worker.popen.send_signal(signal.SIGTERM)
        try:
            self._undo.close()
        finally:
            for worker in self._running():
                worker.kill()

    def _launch(self, skew: float) -> Process:
        skewed = (sys.executable, "-W", "ignore", "-m", "tests.faults.skewed", str(skew))
        name = f"w{len(list(self.folder.glob('worker-*.log')))}@faults"
        options = ("--concurrency", str(_CHILDREN), "-n", name)
        started = running(
            "worker", self.environ, self.folder, *options, celery=skewed if skew else CELERY
        )
        return self._undo.enter_context(started)

    def _running(self) -> list[Process]:
        return [worker for worker in self.workers if worker.popen.poll() is None]


@contextmanager
def open_fleet(manning: Manning, environ: Mapping[str, str], folder: Path) -> Iterator[Fleet]:
    """Run a fleet until the block ends."""
    folder.mkdir()
    urls = {
        "PDS_URL": manning.pds_url,
        "DID_RESOLVER": manning.directory_url,
        "MONGODB_CONNECTION_STRING": f"{environ['MONGODB_CONNECTION_STRING']}/?{manning.mongodb}",
    }
    fleet = Fleet(manning, changed(environ, urls), folder)
    try:
        fleet.launch()
        yield fleet
    finally:
        fleet.stop()
