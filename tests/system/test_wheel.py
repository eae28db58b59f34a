"""The wheel and the sdist of this project: what is in them, and on which Pythons they install."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
_IMPORTS = "import tasks, worker.app, worker.cli, worker.services, lexicons"


def pip(*arguments: str | Path, python: str | Path = sys.executable) -> None:
    """Run pip; it must succeed."""
    command = (python, "-m", "pip", "--disable-pip-version-check", *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr


def output_of(*command: str | Path) -> str:
    """Run a program outside of the source tree; return what it prints."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd="/", env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder with the wheel and the sdist, and the wheels of what has none on PyPI."""
    folder = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "hatchling", "build", "--directory", folder)
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True, timeout=300)
    locked = (ROOT / "requirements.lock").read_text()
    (grapheme,) = re.findall(r"^grapheme==\S+", locked, re.M)
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, grapheme)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheel(packages: Path) -> Path:
    """Return the wheel."""
    (file,) = packages.glob("media_atproto-*.whl")
    return file


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """Return the metadata of the wheel."""
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(files.read(name).decode())


def python(version: str) -> str:
    """Return an interpreter of this version; skips the test if the machine has none."""
    named = f"{sys.version_info.major}.{sys.version_info.minor}"
    if version == named:
        return sys.executable
    installed = sorted(_PYENV.glob(f"versions/{version}.*/bin/python{version}"))
    found = shutil.which(f"python{version}") if not installed else str(installed[-1])
    if found is None or "shims" in found:
        pytest.skip(f"Python {version} is not installed here: put python{version} into PATH")
    return found


def test_packages_contain_the_license_and_the_markers_of_types(packages: Path) -> None:
    """MIT asks for its text in all copies; type checkers ignore a package without py.typed."""
    (wheel,), (sdist,) = packages.glob("media_atproto-*.whl"), packages.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as files:
        in_wheel = set(files.namelist())
        (text,) = (files.read(name) for name in in_wheel if name.endswith("/licenses/LICENSE"))
    with tarfile.open(sdist) as files:
        in_sdist = {name.partition("/")[2] for name in files.getnames()}
    assert text.decode() == (ROOT / "LICENSE").read_text()
    markers = {f"{package}/py.typed" for package in ("worker", "tasks", "lexicons")}
    assert in_wheel >= markers
    assert in_sdist >= {"LICENSE", "README.md", *markers}


def test_metadata_names_license_and_pythons(metadata: Message) -> None:
    """The classifiers are checked against the list of PyPI by hatchling."""
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    classifiers = metadata.get_all("Classifier") or []
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]
    assert "Typing :: Typed" in classifiers


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_wheel_installs_imports_and_answers(
    packages: Path, wheel: Path, tmp_path: Path, version: str
) -> None:
    """With its dependencies, in an environment of its own, outside of the source tree."""
    subprocess.run((python(version), "-m", "venv", tmp_path / "venv"), check=True, timeout=300)
    own = tmp_path / "venv/bin/python"
    pip("install", "--quiet", "--find-links", packages, f"{wheel}[web,flower]", python=own)
    assert output_of(own, "-c", f"{_IMPORTS}; print(worker.__file__)").startswith(str(tmp_path))
    command = tmp_path / "venv/bin/media-atproto"
    assert output_of(command, "--help").startswith("Usage: media-atproto")
    assert output_of(command, "stack", "--help").startswith("Usage: media-atproto stack")
    shutil.rmtree(tmp_path / "venv")


def test_requirements_resolve_for_python_3_14(packages: Path, wheel: Path, tmp_path: Path) -> None:
    """All of them, as wheels for 3.14; nothing is installed."""
    target = ("--python-version", "3.14", "--only-binary", ":all:", "--target", tmp_path / "site")
    every = f"{wheel}[web,flower,embedded]"
    pip("install", "--quiet", "--dry-run", *target, "--find-links", packages, every)
