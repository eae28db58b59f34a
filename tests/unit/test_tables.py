"""Tables and texts fit a terminal of any width, and no word is broken."""

from __future__ import annotations

from itertools import chain

import pytest
from rich.cells import cell_len

from worker.cli.tables import Column, flow, lay_out, lay_out_pairs, wrap, wrap_and_cut

ID = "65f1c0ffee65f1c0ffee0001"
URI = "at://did:plc:qjkj26aa2hyh2ihqhjynhz5x/computer.aesthetic.painting/3l5abcdefghij"
MESSAGE = "field 'mood' is missing, so the record cannot be built from its document"
COLUMNS = (
    Column("type"),
    Column("id"),
    Column("owner"),
    Column("step", priority=2),
    Column("attempts so far", priority=3),
    Column("message", priority=1, wraps=True),
)
ROWS = [
    ("painting", ID, "@ada.example.com", "publish", "5", MESSAGE),
    ("mood", ID, "@雨雨雨雨.example", "plan", "12345", "no file"),
]


def texts(width: int | None) -> list[str]:
    """Return the lines of the sample table."""
    return [line.text for line in lay_out(COLUMNS, ROWS, width)]


def test_columns_have_their_natural_width_without_a_limit() -> None:
    """As in piped output; wide characters count twice."""
    header, first, second = texts(None)
    assert header.startswith("type      id                        owner              step")
    assert first.endswith(MESSAGE)
    assert cell_len(second[: second.index("plan")]) == first.index("publish")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """And each word is one of the table's words."""
    remark = "not shown: step, attempts so far, message; use a wider terminal or --json"
    words = {*remark.split(), "far;", "step;"}
    for text in (*chain.from_iterable(ROWS), *(column.name for column in COLUMNS)):
        words.update(text.split())
    for text in texts(width):
        assert cell_len(text) <= width
        assert set(text.split()) <= words


def test_texts_are_wrapped_before_columns_are_dropped() -> None:
    """Down to a width at which they can be read."""
    lines = lay_out(COLUMNS, ROWS, 110)
    assert not any(line.text.startswith("not shown") for line in lines)
    assert [line.row for line in lines] == [-1, 0, 0, 0, 1]


def test_columns_with_the_highest_number_are_dropped_first() -> None:
    """They are named below the table; all others are complete."""
    assert texts(90)[-1] == "not shown: attempts so far; use a wider terminal or --json"
    lines = texts(60)
    assert lines[-2:] == [
        "not shown: step, attempts so far, message; use a wider",
        "terminal or --json",
    ]
    assert lines[1] == f"painting  {ID}  @ada.example.com"


def test_rows_are_stacked_when_no_column_can_be_dropped() -> None:
    """A row has a line for each column, with an empty line before the next."""
    lines = lay_out(COLUMNS, ROWS, 45)
    assert lines[0].text == "type             painting"
    assert lines[4].text == "attempts so far  5"
    assert lines[5].text == "message          field 'mood' is missing, so"
    assert [line.row for line in lines].count(None) == 1


def test_token_that_is_wider_than_the_terminal_stays_whole() -> None:
    """On a line of its own, which the terminal then wraps."""
    lines = [line.text for line in lay_out_pairs([("uri", URI), ("cid", "bafy")], 60)]
    assert lines == ["uri", URI, "cid  bafy"]
    lines = [line.text for line in lay_out([Column("uri"), Column("cid")], [(URI, "bafy")], 60)]
    assert lines == ["uri", URI, "cid  bafy"]
    assert wrap(f"    see {URI} there", 60, 4) == ["    see", URI, "    there"]


def test_text_is_wrapped_at_spaces_only() -> None:
    """Spaces inside a line stay, and later lines are indented."""
    assert wrap("ok    mongodb   is  running", 20, 6) == ["ok    mongodb   is", "      running"]
    assert " ".join(line.strip() for line in wrap(MESSAGE, 17, 4)) == MESSAGE
    assert wrap("short", 20) == ["short"]
    assert wrap("", 20) == [""]


def test_cut_text_ends_with_dots() -> None:
    """Only if it has too many lines."""
    assert wrap_and_cut("  one two", 20, 1) == ["  one two"]
    assert wrap_and_cut("  one two three four five", 14, 1) == ["  one two ..."]
    assert len(wrap_and_cut(MESSAGE, 30, 2)) == 2


def test_facts_are_not_broken() -> None:
    """Line breaks are between them."""
    assert flow([f"painting {ID}", "@ada", "failed since 2026-11-27 09:00"], 60, 2) == [
        f"  painting {ID}, @ada,",
        "    failed since 2026-11-27 09:00",
    ]
