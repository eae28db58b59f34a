"""Write the transcripts into the pages: `python -m tests.transcripts [NAME ...]`.

With names, only these blocks are written; all commands run, because each changes what later ones
print.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.transcripts.commands import play_all
from tests.transcripts.pages import Pages
from tests.transcripts.stage import open_stage
from worker.dev.stack import Stack
from worker.dev.stack.environment import unset_variables


def main(names: list[str]) -> None:
    """Run all commands, and rewrite the blocks that are out of date."""
    pages = Pages.read()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with (
            Stack.start(root / "stack", unset_variables(os.environ)) as stack,
            open_stage(stack, root) as stage,
        ):
            printed = play_all(stage)
    wanted = {name: text for name, text in printed.items() if not names or name in names}
    for name in pages.write(wanted):
        sys.stdout.write(f"{name}: changed\n")


if __name__ == "__main__":
    main(sys.argv[1:])
