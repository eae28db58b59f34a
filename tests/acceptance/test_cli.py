"""The terminal's manners: help, exit codes, errors, interrupts, pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.terminal import PROGRAM, run

_MODULES = """
import json, sys
from worker.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


def test_help_names_every_command(bare_environ: dict[str, str]) -> None:
    """The help alone tells what there is, with an example."""
    code, output, error = run(["--help"], bare_environ)
    assert (code, error) == (0, "")
    for command in ("stack", "demo", "sync", "enqueue", "show", "rotate-keys"):
        assert f"\n  {command} " in output
    assert "media-atproto stack --user alice --worker --env-file .env" in output


def test_help_loads_no_heavy_library(bare_environ: dict[str, str]) -> None:
    """A help that takes a second is not asked for."""
    done = subprocess.run(
        (sys.executable, "-c", _MODULES), env=bare_environ, capture_output=True, check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stderr)}
    heavy = {"atproto", "celery", "cryptography", "httpx", "lexrpc", "pymongo", "redis", "PIL"}
    assert not loaded & heavy


def test_version_is_the_installed_one(bare_environ: dict[str, str]) -> None:
    """For bug reports."""
    code, output, _ = run(["--version"], bare_environ)
    assert code == 0
    assert output.startswith("media-atproto, version ")


@pytest.mark.parametrize("arguments", [["no-such"], ["--no-such"], ["stack", "--no-such"]])
def test_wrong_use_exits_with_2(bare_environ: dict[str, str], arguments: list[str]) -> None:
    """Scripts tell wrong use from failure by the exit code."""
    code, output, error = run(arguments, bare_environ)
    assert (code, output) == (2, "")
    assert "no-such" in error


def test_expected_error_is_a_message_without_traceback(
    tmp_path: Path, bare_environ: dict[str, str]
) -> None:
    """What a person can put right is told in plain words on stderr, with exit code 2."""
    environ = {**bare_environ, "REDIS_URL": "redis://127.0.0.1:9/0"}
    code, output, error = run(["stack", "--data", tmp_path], environ)
    assert (code, output) == (2, "")
    assert "Error: REDIS_URL names a service that does not answer" in error
    assert "Traceback" not in error


def test_closed_pipe_is_no_error(bare_environ: dict[str, str]) -> None:
    """`media-atproto --help | head -1` must not complain about the rest."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            (PROGRAM, "--help"),
            env=bare_environ,
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.stderr == b""
