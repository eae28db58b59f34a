"""The code blocks of the pages that hold transcripts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.transcripts.commands import TRANSCRIPTS
from tests.transcripts.masking import mask
from worker.operations.error_help import BUG, ERROR_HELP

_ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?P<head><!-- transcript: (?P<name>[\w-]+) -->\n```\n)(?P<text>.*?)(?=^```$)", re.M | re.S
)
_CODES = re.compile(r"(?<=<!-- error codes -->\n\n).*?(?=<!-- end of error codes -->)", re.S)
_LOOSE = {each.name for each in TRANSCRIPTS if each.numbers_vary}


@dataclass(frozen=True)
class Pages:
    """All pages, by path."""

    texts: dict[Path, str]

    @classmethod
    def read(cls) -> Pages:
        """Read README.md and all pages in docs/."""
        paths = [_ROOT / "README.md", *sorted(_ROOT.glob("docs/**/*.md"))]
        return cls({path: path.read_text() for path in paths})

    def blocks(self) -> Iterator[tuple[str, str]]:
        """Yield the names of all transcripts in the pages, and their texts."""
        for text in self.texts.values():
            for block in _BLOCK.finditer(text):
                yield block["name"], block["text"]

    def codes(self) -> str:
        """Return the table of error codes."""
        (table,) = (found[0] for text in self.texts.values() for found in _CODES.finditer(text))
        return table

    def write(self, printed: Mapping[str, str]) -> list[str]:
        """Write the blocks that are out of date; return their names."""
        changed: list[str] = []

        def renew(block: re.Match[str]) -> str:
            name = block["name"]
            if name not in printed or is_same(name, block["text"], printed[name]):
                return block[0]
            changed.append(name)
            return f"{block['head']}{printed[name]}"

        for path, text in self.texts.items():
            renewed = _CODES.sub(lambda _: code_table(), _BLOCK.sub(renew, text))
            if renewed != text:
                path.write_text(renewed)
        return changed


def is_same(name: str, page: str, printed: str) -> bool:
    """Return whether a block says what a command has printed, but for times and addresses."""
    numbers = name in _LOOSE
    return mask(page, numbers=numbers) == mask(printed, numbers=numbers)


def code_table() -> str:
    """Return the table of error codes as a page shows it."""
    rows = [
        (", ".join(f"`{code}`" for code in each.codes), each.meaning, each.action)
        for each in ERROR_HELP
    ]
    header = ("`error.code`", "what happened", "what to do"), ("---", "---", "---")
    bug = (BUG.codes[0], BUG.meaning, BUG.action)
    lines = [f"| {' | '.join(row)} |\n" for row in (*header, *rows, bug)]
    return "".join([*lines, "\n"])
