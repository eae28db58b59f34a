"""`media-atproto alive`: what a health check is told of a heartbeat's file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.test_settings import GOOD
from worker.app import app, configure_worker
from worker.cli import main
from worker.core.settings.reader import SettingsError
from worker.telemetry.heartbeat import create


def alive(*arguments: str, **environ: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["alive", *arguments], env=environ)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file that was touched 30 seconds ago."""
    touched = tmp_path / "heartbeat"
    touched.touch()
    os.utime(touched, times=(0, time.time() - 30))
    return touched


def test_a_process_is_alive_by_when_it_touched_its_file(file: Path) -> None:
    """Within a minute, unless asked otherwise."""
    assert alive(str(file)).exit_code == 0
    told = alive(str(file), "--within", "20")
    assert told.exit_code == 1
    assert "not alive" in told.output
    assert str(file) in told.output


def test_the_file_is_the_one_that_the_process_has(file: Path) -> None:
    """Where its environment names one; a container's health check shares it."""
    assert alive(HEARTBEAT_FILE=str(file)).exit_code == 0
    told = alive(HEARTBEAT_FILE="")
    assert (told.exit_code, "HEARTBEAT_FILE is not set either" in told.output) == (2, True)


def test_without_a_file_nothing_is_alive(tmp_path: Path) -> None:
    """It has never started, or it is another's file."""
    told = alive(str(tmp_path / "none"))
    assert (told.exit_code, f"{tmp_path}/none does not exist" in told.output) == (1, True)


def test_what_has_only_just_started_is_not_alive(file: Path) -> None:
    """Neither by the file of the process before it, nor by making its own."""
    os.utime(file)
    create(file)
    told = alive(str(file))
    assert (told.exit_code, "not alive yet" in told.output) == (1, True)
    file.touch()
    assert alive(str(file)).exit_code == 0


def test_a_file_that_cannot_be_written_is_named_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a worker as well, before it takes a message that a health check would end it at."""
    file = tmp_path / "nowhere" / "heartbeat"
    with pytest.raises(SettingsError, match=f"HEARTBEAT_FILE: {file} cannot be written: No such"):
        create(file)
    for name, value in {**GOOD, "HEARTBEAT_FILE": str(file)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="HEARTBEAT_FILE"):
        configure_worker(conf=app.conf)
    assert not app.is_worker
