"""Another user of this machine creates files that our programs read or write.

A planted pickle creates the file `executed` when it is read.
"""

from __future__ import annotations

import os
import shelve
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click
import pytest
from celery import Celery

from tests.deployment import procfile, services
from tests.fleet import logged
from tests.terminal import PROGRAM
from tests.waiting import wait_for
from worker.cli.environment import complete_environment
from worker.core.settings import MetricsSettings, QueueSettings
from worker.core.settings.reader import SettingsError
from worker.dev.stack.data_folder import DataFolder
from worker.dev.stack.errors import StackError
from worker.dev.stack.packages import Packages
from worker.dev.stack.supervisor import Reaper
from worker.queue.config import environment_configuration
from worker.queue.flower_state import FlowerStateError, check_state_file, default_state_file
from worker.telemetry import heartbeat
from worker.telemetry.exporter import MetricsExporter
from worker.telemetry.metrics import NULL_METRICS

_REDIS = "redis://127.0.0.1:9/0"
_FLOWER = (sys.executable, "-c", "from worker.cli import main; main()", "flower", "--port", "0")
Expose = Callable[[Path], None]


class _Pickle:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self._file),)


def plant(file: Path, *keys: str) -> Path:
    """Write a database whose values create a folder when they are read; return its path."""
    executed = file.with_name("executed")
    with shelve.open(file) as planted:
        for key in keys:
            planted[key] = _Pickle(executed)
    return executed


def let_all_write(path: Path) -> None:
    """Let all users write to a file or folder."""
    path.chmod(0o777)


def let_group_write(path: Path) -> None:
    """Let the group of a file or folder write to it."""
    path.chmod(0o770)


def give_away(path: Path) -> None:
    """Give a file or folder to another user."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    os.chown(path, 65_534, -1)


exposures = pytest.mark.parametrize("expose", [let_all_write, let_group_write, give_away])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder that is exposed by a test."""
    path = tmp_path / "folder"
    path.mkdir(mode=0o700)
    return path


def test_beat_reads_no_schedule_from_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the file is named by an option."""
    monkeypatch.setenv("REDIS_URL", _REDIS)
    executed = plant(folder / "schedule", "entries", "__version__", "tz", "utc_enabled")
    files = {*folder.iterdir()}
    app = Celery("attacked", set_as_current=False)
    heartbeat.Scheduler(app=app, schedule_filename=str(folder / "schedule")).close()
    assert not executed.exists()
    assert {*folder.iterdir()} == files


def test_first_sweep_is_sent_at_the_start_of_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Because beat does not save when it sent the last one."""
    monkeypatch.setenv("REDIS_URL", _REDIS)
    app = Celery("restarted", set_as_current=False)
    app.conf.update(environment_configuration(QueueSettings.load({"REDIS_URL": _REDIS})))
    sweep = heartbeat.Scheduler(app=app).schedule["sweep"]
    is_due, _ = sweep.is_due()
    assert is_due
    is_due, _ = next(sweep).is_due()
    assert not is_due


def test_commands_name_no_files_in_the_temporary_folder() -> None:
    """In a container it is private; on a machine it is shared."""
    assert [line for line in procfile().values() if "/tmp" in line or "--schedule" in line] == []
    assert [s.name for s in services().values() if s.is_ours and "--schedule" in s.command] == []


def test_flower_does_not_read_the_state_that_another_user_planted(
    folder: Path, bare_environ: dict[str, str]
) -> None:
    """It reports the problem and exits."""
    executed = plant(folder / "state", "events")
    folder.chmod(0o1777)
    environ = {**bare_environ, "REDIS_URL": _REDIS, "FLOWER_BASIC_AUTH": "ops:secret"}
    command = (*_FLOWER, "--db", str(folder / "state"))
    with logged(command, folder / "log", env=environ) as flower:
        wait_for(
            lambda: executed.exists() or flower.popen.poll() is not None,
            within=60,
            what="Flower to read its state, or to exit",
        )
        assert not executed.exists()
        assert flower.popen.wait(60) == 1
        assert "other users can write to" in flower.text


@exposures
@pytest.mark.parametrize("name", ["", "state", "state.db"])
def test_exposed_state_of_flower_is_refused(folder: Path, name: str, expose: Expose) -> None:
    """Its folder, its file, or the file with the suffix of the database library."""
    (folder / "state").touch(mode=0o600)
    (folder / "state.db").touch(mode=0o600)
    check_state_file(folder / "state")
    expose(folder / name)
    with pytest.raises(FlowerStateError, match="can run code"):
        check_state_file(folder / "state")


def test_default_state_of_flower_is_private(folder: Path) -> None:
    """Its folder is created for this user alone."""
    file = default_state_file({"XDG_STATE_HOME": str(folder)})
    check_state_file(file)
    assert file == folder / "media-atproto" / "flower-state"
    assert file.parent.stat().st_mode & 0o777 == 0o700


@exposures
@pytest.mark.parametrize("name", ["", ".env"])
def test_exposed_env_file_is_read_only_if_it_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, expose: Expose
) -> None:
    """It could replace the URLs of services that receive passwords."""
    monkeypatch.setenv("ATTACKED", "")
    monkeypatch.delenv("ATTACKED")
    monkeypatch.chdir(folder)
    Path(".env").write_text("ATTACKED=1\n")
    Path(".env").chmod(0o600)
    expose(folder / name)
    with pytest.raises(click.BadParameter, match="is not read by default"):
        complete_environment(None)
    assert "ATTACKED" not in os.environ
    complete_environment(Path(".env"))
    assert os.environ["ATTACKED"] == "1"


def test_heartbeat_does_not_touch_the_target_of_a_planted_link(folder: Path) -> None:
    """Neither an existing file nor a new one."""
    (folder / "target").touch()
    before = (folder / "target").stat()
    for name, target in (("link", "target"), ("other", "created")):
        (folder / name).symlink_to(folder / target)
        with pytest.raises(SettingsError, match="HEARTBEAT_FILE"):
            heartbeat.create(folder / name)
        heartbeat.touch(folder / name)
    assert (folder / "target").stat() == before
    assert not (folder / "created").exists()


def test_heartbeat_does_not_wait_for_the_reader_of_a_planted_pipe(folder: Path) -> None:
    """The worker refuses to start."""
    os.mkfifo(folder / "pipe")
    with pytest.raises(SettingsError, match="HEARTBEAT_FILE"):
        heartbeat.create(folder / "pipe")


@exposures
def test_exposed_data_of_the_stack_is_refused(folder: Path, expose: Expose) -> None:
    """The services would use the keys and data in it."""
    expose(folder)
    with pytest.raises(StackError, match="cannot be used"):
        DataFolder(folder)


@exposures
def test_exposed_node_packages_are_not_used(
    folder: Path, bare_environ: dict[str, str], expose: Expose
) -> None:
    """The PDS would run the code in them."""
    (folder / "media-atproto").mkdir(mode=0o700)
    expose(folder / "media-atproto")
    manifest = Path(__file__).parents[2] / "worker" / "dev" / "stack" / "node"
    packages = Packages("PDS", manifest, {**bare_environ, "XDG_CACHE_HOME": str(folder)})
    with ExitStack() as undo:
        data = DataFolder(folder / "data")
        undo.callback(data.release)
        reaper = Reaper(data.lock)
        undo.callback(reaper.release)
        with pytest.raises(StackError, match="cannot be used"):
            packages.install(reaper, print)


@exposures
def test_metrics_are_not_written_to_a_replaced_folder(
    monkeypatch: pytest.MonkeyPatch, expose: Expose
) -> None:
    """The system may delete the folder, and another user may create it again."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    exporter = MetricsExporter(MetricsSettings(host="127.0.0.1", port=1))
    exporter.prepare()
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    expose(folder)
    assert exporter.metrics() is NULL_METRICS
    assert [*folder.iterdir()] == []


def test_no_module_of_the_current_folder_is_imported(
    bare_environ: dict[str, str], tmp_path: Path
) -> None:
    """Its code would run with all secrets of the environment."""
    planted = tmp_path / "tasks"
    planted.mkdir()
    (planted / "__init__.py").touch()
    (planted / "sync.py").write_text("print('executed')")
    done = subprocess.run(
        [PROGRAM, "enqueue", "mood", "65f0c0ffee65f0c0ffee65f0"],
        cwd=tmp_path,
        env={**bare_environ, "REDIS_URL": _REDIS},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "executed" not in done.stdout
    assert "queue" in done.stderr
