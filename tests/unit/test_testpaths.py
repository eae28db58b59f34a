"""Each test module has a target: `make test` runs `testpaths`, `make test-system` the rest."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"(tests/\w+/test_\w+\.py)(?:::(test_\w+))?")


def test_no_test_module_is_left_out() -> None:
    """A new folder has to be named in pyproject.toml."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    named = [*project["tool"]["pytest"]["ini_options"]["testpaths"], "tests/system"]
    modules = [path.relative_to(_ROOT) for path in (_ROOT / "tests").rglob("test_*.py")]
    assert len(modules) > 100
    assert [path for path in modules if not any(path.is_relative_to(name) for name in named)] == []


def test_every_test_that_a_document_names_exists() -> None:
    """The promises in docs/reliability.md are worth what holds them."""
    documents = [*_ROOT.glob("*.md"), *(_ROOT / "docs").rglob("*.md")]
    named = {name for path in documents for name in _NAMED.findall(path.read_text())}
    assert len(named) > 40
    missing = [
        f"{module}::{name}"
        for module, name in named
        if not (_ROOT / module).exists() or f"def {name}" not in (_ROOT / module).read_text()
    ]
    assert missing == []
