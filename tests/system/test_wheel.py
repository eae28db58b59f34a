"""What is installed elsewhere has all that the program needs besides its modules."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def test_wheel_has_templates_styles_and_lexicons(tmp_path: Path) -> None:
    """All files of the packages, whatever their kind."""
    hatchling = Path(sys.executable).with_name("hatchling")
    command = (hatchling, "build", "-t", "wheel", "-d", tmp_path)
    subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        str(path.relative_to(_ROOT))
        for folder in ("worker", "tasks", "lexicons")
        for path in (_ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"worker/web/templates/base.html", "worker/web/static/style.css"} <= wanted
    assert not wanted - names
