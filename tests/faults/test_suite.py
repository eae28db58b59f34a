"""Every fault is a row of the table, whatever goes wrong while it is performed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from pymongo import MongoClient

from tests.faults.__main__ import perform_all
from tests.faults.judge import Classification
from tests.faults.performance import Fault, Result, perform
from tests.faults.stage import Stage
from tests.faults.stream import Cast, Load, Stream
from worker.database.mongo import RawDocument
from worker.dev.demo.platform import Platform
from worker.dev.demo.uploads import Person, Uploads

_ADA = Person("auth0|ada", "ada", None)
_NOTHING = Load(burst=0, steady=0, slowly_per_second=0.001)
_SOMETHING = Load(burst=4, steady=0)


class EmptyStage:
    """A stage without services: saves fail, and every judge finds all right."""

    def __init__(self, uploads: Uploads) -> None:
        self.uploads = uploads
        self.items: list[object] = []
        self.judge = self.fleet = self
        self.cleared = 0

    def man(self, *, proxied: bool, **_: object) -> None:
        """Start no workers; fail if they are to use the proxy."""
        assert not proxied, "no worker is ready"

    @contextmanager
    def streaming(self, load: Load, **_: object) -> Iterator[Stream]:
        """Run a real stream."""
        self.stream = Stream(self.uploads, Cast((_ADA,), _ADA, _ADA), load)
        self.stream.start()
        yield self.stream

    def pile_up(self) -> int:
        """Return a number of items in flight."""
        return 20

    def find_nothing(self, *_: object) -> list[str]:
        """Find nothing wrong."""
        return []

    unsettled = waiting = deserters = find_nothing

    def verdict(self, _items: object) -> Classification:
        """Judge nothing."""
        return Classification()

    def audit(self) -> str:
        """Find the audit clean."""
        return ""

    def clear(self) -> None:
        """Count how often the stage is cleared."""
        self.cleared += 1


def take_effect(_stage: Stage) -> None:
    """Do nothing, successfully."""


def take_no_effect(_stage: Stage) -> None:
    """Fail as a strike does that waited in vain."""
    raise AssertionError("waited in vain")


def rows(table: str) -> dict[str, list[str]]:
    """Return the words of a table's rows, without how long a recovery took, by the first word."""
    lines = [line.split() for line in table.splitlines() if line.strip()]
    return {name: [word for word in words if "." not in word] for name, *words in lines}


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[EmptyStage]:
    """A stage whose MongoDB is away."""
    url = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1"
    with MongoClient[RawDocument](url) as nowhere:
        yield EmptyStage(Uploads(Platform(nowhere["none"], "", tmp_path), lambda *_: True))


@pytest.mark.parametrize(
    ("fault", "load", "row", "complaint"),
    [
        (
            Fault("bad", "takes no effect", take_no_effect),
            _NOTHING,
            "0 20 0 0 0 0 0 clean not injected",
            "not injected: AssertionError: waited in vain",
        ),
        (
            Fault("bad", "the stream fails", take_effect),
            _SOMETHING,
            "0 20 0 0 0 0 0 clean s (!)",
            "the stream failed: ServerSelectionTimeoutError",
        ),
        (
            Fault("bad", "no worker starts", take_effect, proxied=True),
            _NOTHING,
            "0 0 - - - - - - not injected",
            "AssertionError: no worker is ready",
        ),
    ],
    ids=lambda value: value.what if isinstance(value, Fault) else "",
)
def test_a_fault_in_trouble_is_a_row_and_the_next_is_performed(
    stage: EmptyStage,
    capsys: pytest.CaptureFixture[str],
    *,
    fault: Fault,
    load: Load,
    row: str,
    complaint: str,
) -> None:
    """The exit code is 1, the stage is cleared once, and the next fault is right."""
    loads = {"bad": load, "good": _NOTHING}
    faults = [fault, Fault("good", "", take_effect)]
    assert perform_all(faults, lambda one: perform(cast("Stage", stage), one, loads[one.name])) == 1
    printed = capsys.readouterr()
    assert rows(printed.out)["bad"] == row.split()
    assert rows(printed.out)["good"] == ["0", "20", *"00000", "clean", "s"]
    assert complaint in printed.err
    assert stage.cleared == 1


def test_a_run_that_is_ended_early_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """The faults that were performed are in it."""

    def perform_one(fault: Fault) -> Result:
        if fault.name == "last":
            raise SystemExit("ended, as by SIGTERM")
        return Result(fault.name)

    with pytest.raises(SystemExit):
        perform_all([Fault(name, "", take_effect) for name in ("first", "last")], perform_one)
    table = rows(capsys.readouterr().out)
    assert "first" in table
    assert "last" not in table
