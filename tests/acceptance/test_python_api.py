"""The example of docs/python-api.md, run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.world import World

PAGE = Path(__file__).parents[2] / "docs/python-api.md"


def test_the_documented_example_publishes_edits_and_deletes(
    module_world: World, bare_environ: dict[str, str]
) -> None:
    """A program of its own, with nothing but the environment of a worker."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    done = subprocess.run(
        (sys.executable, "-c", example.replace("auth0|ada", module_world.ada)),
        env={**bare_environ, **module_world.environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    created, *rest = done.stdout.splitlines()
    did = module_world.dids[module_world.ada]
    assert created.startswith(f"synced at://{did}/computer.aesthetic.mood/")
    assert rest == ["synced True", "remove", "removed nuked"]
