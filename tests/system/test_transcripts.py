"""The pages show what the commands print."""

from __future__ import annotations

from difflib import unified_diff
from pathlib import Path

from tests.transcripts.commands import play_all
from tests.transcripts.pages import Pages, is_same
from tests.transcripts.stage import open_stage
from worker.dev.stack import Stack


def test_pages_show_what_commands_print(stack: Stack, tmp_path: Path) -> None:
    """`make transcripts` writes the blocks that are out of date."""
    with open_stage(stack, tmp_path) as stage:
        printed = play_all(stage)
    outdated = [
        "\n".join(unified_diff(text.splitlines(), printed[name].splitlines(), name, lineterm=""))
        for name, text in Pages.read().blocks()
        if not is_same(name, text, printed[name])
    ]
    assert not outdated, "\n".join(["run `make transcripts`", *outdated])
