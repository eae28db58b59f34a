"""Each test module has a target: `make test` runs `testpaths`, `make test-system` the rest."""

from __future__ import annotations

import tomllib
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def test_no_test_module_is_left_out() -> None:
    """A new folder has to be named in pyproject.toml."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    named = [*project["tool"]["pytest"]["ini_options"]["testpaths"], "tests/system"]
    modules = [path.relative_to(_ROOT) for path in (_ROOT / "tests").rglob("test_*.py")]
    assert len(modules) > 100
    assert [path for path in modules if not any(path.is_relative_to(name) for name in named)] == []
