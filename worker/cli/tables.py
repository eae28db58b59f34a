"""Lay out tables and texts for a terminal of any width, without breaking a word.

If the columns of a table do not fit, those that may be wrapped are made narrower; then the least
important ones are dropped; at last each row is printed as lines of a name and a value. A word that
is wider than the terminal has a line of its own. All texts must be printable.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len

Cells = Sequence[str]
_GAP = "  "
_DOTS = " ..."
_NO_BREAK = "\xa0"  # not in a printable text
_MIN_WRAPPED = 24  # columns: narrower texts are hard to read
_MAX_LINES = 3  # of a row with narrower texts
_WORD = re.compile(r"( *)([^ ]+)")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    On a narrow terminal, the columns with the highest priority number are dropped first; those
    with 0 are kept. The cells of a column that `wraps` may be wrapped at spaces.
    """

    name: str
    priority: int = 0
    wraps: bool = False

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table, and the number of its row; -1 in the header, None in other lines."""

    text: str
    row: int | None = None


def lay_out(columns: Sequence[Column], rows: Sequence[Cells], width: int | None) -> list[Line]:
    """Return the lines of a table with a header; `width` is None if it is not limited."""
    if lines := _fit(columns, rows, width, _MIN_WRAPPED):
        return lines
    kept, kept_rows, remark = columns, rows, list[Line]()
    for priority in sorted({column.priority for column in columns} - {0}, reverse=True):
        numbers = [n for n, column in enumerate(columns) if column.priority < priority]
        kept, kept_rows = [columns[n] for n in numbers], [[row[n] for n in numbers] for row in rows]
        remark = _name_dropped([each for each in columns if each not in kept], width)
        if lines := _fit(kept, kept_rows, width, _MIN_WRAPPED):
            return [*lines, *remark]
    lines = _fit(kept, kept_rows, width, 0)
    if lines and max(Counter(line.row for line in lines).values()) <= _MAX_LINES:
        return [*lines, *remark]
    return list(_stack(columns, rows, width or 0))


def lay_out_pairs(rows: Sequence[Cells], width: int | None) -> list[Line]:
    """Return the lines of a table without a header; its first column holds names."""
    natural = [max(map(cell_len, cells)) for cells in zip(*rows, strict=True)]
    if width is None or _total(natural) <= width:
        return [Line(_join(row, natural), n) for n, row in enumerate(rows)]
    pairs = [(row[0], _GAP.join(filter(None, row[1:]))) for row in rows]
    return [Line(text, n) for n, lines in enumerate(_pair(pairs, width)) for text in lines]


def wrap(text: str, width: int, hanging: int = 0) -> list[str]:
    """Wrap a text at spaces; all lines but the first are indented by `hanging`.

    A word that is wider than `width` has a line of its own, without indentation.
    """
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for spaces, word in _WORD.findall(text):
        if cell_len(longer := lines[-1] + spaces + word) <= width:
            lines[-1] = longer
            continue
        indent = " " * hanging if lines[-1] else spaces
        indented = indent + word if cell_len(indent + word) <= width else word
        lines = [*filter(None, lines), indented]
    return lines


def wrap_and_cut(text: str, width: int, count: int) -> list[str]:
    """Wrap a text to `count` lines at most, with dots if it is cut; indented as its first line."""
    hanging = len(text) - len(text.lstrip())
    if len(lines := wrap(text, width, hanging)) <= count:
        return lines
    *first, last = wrap(text, width - len(_DOTS), hanging)[:count]
    return [*first, last + _DOTS]


def flow(texts: Sequence[str], width: int, indent: int) -> list[str]:
    """Join texts with commas, with line breaks only between them; later lines are indented."""
    joined = ", ".join(text.replace(" ", _NO_BREAK) for text in texts)
    lines = wrap(" " * indent + joined, width, indent * 2)
    return [line.replace(_NO_BREAK, " ") for line in lines]


def _fit(
    columns: Sequence[Column], rows: Sequence[Cells], width: int | None, minimum: int
) -> list[Line] | None:
    """Return the lines of a table with all columns, or None if they do not fit.

    Columns that wrap are at least as wide as `minimum`, or their widest cell.
    """
    names = [column.name for column in columns]
    cells = list(zip(*rows, strict=True))
    natural = [max(map(cell_len, column)) for column in zip(names, *rows, strict=True)]
    if width is not None and _total(natural) > width:
        smallest = [
            max(_longest_word(column.name), _smallest(column, each, minimum))
            for column, each in zip(columns, cells, strict=True)
        ]
        if _total(smallest) > width:
            return None
        natural = _widen(smallest, natural, width - _total(smallest))
    return [
        Line(_join(line, natural), number)
        for number, row in enumerate([names, *rows], start=-1)
        for line in zip_longest(*map(wrap, row, natural), fillvalue="")
    ]


def _smallest(column: Column, cells: Cells, minimum: int) -> int:
    """Return the smallest width of a column for its cells."""
    widest = max(map(cell_len, cells))
    return max(*map(_longest_word, cells), min(widest, minimum)) if column.wraps else widest


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split(" ")))


def _widen(smallest: Sequence[int], natural: Sequence[int], free: int) -> list[int]:
    """Return widths of which the narrowest ones are increased first, up to the natural ones."""
    widths = list(smallest)
    for _ in range(free):
        narrower = [n for n, width in enumerate(widths) if width < natural[n]]
        widths[min(narrower, key=widths.__getitem__)] += 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _join(cells: Cells, widths: Sequence[int]) -> str:
    padded = (cell + " " * (n - cell_len(cell)) for cell, n in zip(cells, widths, strict=True))
    return _GAP.join(padded).rstrip()


def _name_dropped(columns: Sequence[Column], width: int | None) -> list[Line]:
    names = ", ".join(column.name for column in columns)
    text = f"not shown: {names}; use a wider terminal or --json"
    return [Line(line) for line in wrap(text, width or 0)]


def _stack(columns: Sequence[Column], rows: Sequence[Cells], width: int) -> Iterator[Line]:
    """Yield lines of a name and a value for each row, and an empty line between rows."""
    names = [column.name for column in columns]
    for number, row in enumerate(rows):
        if number:
            yield Line("")
        for lines in _pair(list(zip(names, row, strict=True)), width):
            yield from (Line(text, number) for text in lines)


def _pair(pairs: Sequence[tuple[str, str]], width: int) -> Iterator[list[str]]:
    """Yield the lines of each name and value: side by side, or the value below the name."""
    names = min(max(cell_len(name) for name, _ in pairs), width // 3)
    for name, value in pairs:
        if not name:
            yield wrap(value, width)
            continue
        free = width - names - len(_GAP)
        if cell_len(name) > names or _longest_word(value) > free:
            yield [*wrap(name, width), *wrap(_GAP + value, width, len(_GAP))]
            continue
        first, *others = wrap(value, free)
        yield [_join((name, first), (names, 0)), *(_join(("", o), (names, 0)) for o in others)]
