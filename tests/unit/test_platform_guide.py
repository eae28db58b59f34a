"""The guide of a platform has commands that exist, in a safe order.

tests/system/test_platform_guide.py runs its lines for producers.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from cryptography.fernet import Fernet

from worker.cli import main
from worker.cli.environment import read_env_file
from worker.core.settings import Settings
from worker.core.settings.profiles import PROFILES

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/platforms/aesthetic-computer.md").read_text()
COMMANDS = re.findall(r"^media-atproto (.+)$", GUIDE, re.M)


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_of_the_guide_is_valid(line: str) -> None:
    """Its arguments are parsed; nothing is run."""
    name, *arguments = shlex.split(line)
    command = main.get_command(click.Context(main), name)
    assert command
    command.make_context(name, arguments, resilient_parsing=False)


def test_the_settings_of_the_guide_are_complete(tmp_path: Path) -> None:
    """Once the words in capitals are replaced."""
    (block,) = re.findall(r"```\n(MEDIA_PROFILE=.*?)```", GUIDE, re.S)
    file, key = tmp_path / "env", Fernet.generate_key().decode()
    file.write_text(block.replace("=KEY", f"={key}").replace("PDS-HOST", "pds.example.com"))
    settings = Settings.load(read_env_file(file))
    assert settings.media.site_url == "https://aesthetic.computer"
    assert settings.pds.url == "https://pds.example.com"
    assert settings.password_readers


def test_steps_are_in_the_order_in_which_nothing_is_written_too_early() -> None:
    """Both dry runs come before the first backfill."""
    first = [line for line in COMMANDS if not line.startswith(("show", "init"))][:4]
    assert first == [
        "doctor --accounts 20",
        "audit",
        "backfill --dry-run",
        "backfill --user @HANDLE --wait",
    ]


def test_each_profile_has_a_guide() -> None:
    """docs/platforms/ has a page of its name, and the README a link to it."""
    readme = (ROOT / "README.md").read_text()
    for name in PROFILES:
        assert (ROOT / f"docs/platforms/{name}.md").is_file()
        assert f"(docs/platforms/{name}.md)" in readme


def test_the_guide_warns_of_encrypted_passwords_before_the_first_command() -> None:
    """`rotate-keys` is not a step."""
    assert "do not run `rotate-keys`" in GUIDE.partition("media-atproto init")[0]
    assert not [line for line in COMMANDS if line.startswith("rotate-keys")]
