"""The pages of the documentation: links, anchors, and the command lines that they show."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"^ *(?P<fence>```+)[^\n]*\n(?P<text>.*?)^ *(?P=fence)$", re.M | re.S)
# Commands with a mistake that the output explains.
_MISTAKES = re.compile(r"<!-- transcript: mistyped-[\w-]+ -->\n```\n.*?^```$", re.M | re.S)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.M)
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_PROMPT = re.compile(r"^ *\$ ", re.M)
_PROGRAM = re.compile(r"(?<![\w.-])media-atproto +(?=[a-zA-Z-])")
_MAKE = re.compile(r"^ *(?:\$ )?make ([a-z-]+)(?: +[A-Z#].*)?$", re.M)
_ENDS = re.compile(r"[|;&<>()]+")


@dataclass(frozen=True)
class DocumentationPage:
    """A page in Markdown."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        """Return the text without commands that are mistakes on purpose."""
        return _MISTAKES.sub("", self.path.read_text())

    @cached_property
    def blocks(self) -> list[str]:
        """Return the code blocks."""
        return [block["text"] for block in _BLOCK.finditer(self.text)]

    @cached_property
    def spans(self) -> list[str]:
        """Return the code in the running text."""
        return [" ".join(code.split()) for code in _CODE.findall(_BLOCK.sub("", self.text))]

    @cached_property
    def anchors(self) -> set[str]:
        """Return the anchors of its headings, as GitHub makes them."""
        seen: Counter[str] = Counter()
        anchors = set()
        for heading in _HEADING.findall(_BLOCK.sub("", self.text)):
            anchor = re.sub(r"[^\w\- ]", "", _plain(heading).lower()).replace(" ", "-")
            anchors.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
            seen[anchor] += 1
        return anchors

    def broken_links(self) -> list[str]:
        """Return the links to files and headings that do not exist."""
        prose = _CODE.sub("", _BLOCK.sub("", self.text))
        return [link for link in _LINK.findall(prose) if "://" not in link and self._breaks(link)]

    def _breaks(self, link: str) -> bool:
        name, _, anchor = link.partition("#")
        target = self.path.parent / name if name else self.path
        if not target.exists():
            return True
        return bool(anchor) and anchor not in DocumentationPage(target).anchors

    def command_lines(self) -> Iterator[tuple[str, ...]]:
        """Yield the arguments of each `media-atproto` command in the code blocks.

        In a block with prompts (`$ `), only the lines after a prompt are commands.
        """
        for block in self.blocks:
            lines = re.sub(r"\\\n\s*", " ", block).splitlines()
            for line in lines:
                if _PROMPT.match(line) or not _PROMPT.search(block):
                    yield from _commands(line)

    def commands_in_text(self) -> Iterator[tuple[str, ...]]:
        """Yield the same for the running text, where arguments may be missing."""
        for code in self.spans:
            yield from _commands(code)

    def make_targets(self) -> set[str]:
        """Return the targets of `make` that the page names."""
        return {target for code in (*self.blocks, *self.spans) for target in _MAKE.findall(code)}


def _commands(line: str) -> Iterator[tuple[str, ...]]:
    for found in _PROGRAM.finditer(line):
        yield split_command(line[found.end() :])


def split_command(text: str) -> tuple[str, ...]:
    """Split the arguments of a command, up to the end of the command in a shell."""
    ended = re.split(r" #|`", text)[0]
    for part in (ended, re.split("['\"]", ended)[0]):  # the whole command may be quoted
        lexer = shlex.shlex(part, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        try:
            words = list(lexer)
        except ValueError:  # an open quote
            continue
        ends = [number for number, word in enumerate(words) if _ENDS.fullmatch(word)]
        return tuple(words[: ends[0]] if ends else words)
    raise AssertionError(f"not a command: {text}")


def _plain(heading: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")


def documentation_pages() -> list[DocumentationPage]:
    """Return all pages: those of the top level, and those in docs/."""
    paths = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
    return [DocumentationPage(path) for path in paths]
