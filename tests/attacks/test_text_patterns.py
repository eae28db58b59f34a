"""A regular expression over foreign text takes a time linear in its length."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.attacks.pattern_run import patterns

_CPU_SECONDS = 40  # all patterns together take 5 to 20


def test_every_pattern_is_linear() -> None:
    """The CPU time is limited, so that a slow machine does not fail the test."""
    done = subprocess.run(
        (sys.executable, "-m", "tests.attacks.pattern_run", str(_CPU_SECONDS)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != -signal.SIGXCPU, f"quadratic: {done.stdout.splitlines()[-1]}"
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(list(patterns())) + 1 > 20
