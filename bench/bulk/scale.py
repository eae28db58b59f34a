"""How much bulk work is measured: in full, or just enough to see that the script works."""

from __future__ import annotations

from dataclasses import dataclass

from bench.place import BULK_NICENESS


@dataclass(frozen=True, slots=True)
class Work:
    """A backfill: documents over accounts, and the samples of what it is held against.

    The ceiling is measured before and after it, with one loop and with two, each time with
    `raw` documents over as many accounts as make repos of the same size.
    """

    documents: int
    accounts: int
    raw: int
    old: int

    @property
    def raw_accounts(self) -> int:
        """Accounts whose repos get as many of the raw documents as an account of the backfill."""
        return max(1, self.raw * self.accounts // self.documents)


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers of documents, and of `startups` of a command that are timed.

    `few` and `many` moods are what memory is measured with; of the many, `audited` belong to one
    account, whose audit is timed `audits` times. `idle` moods are saved one at a time while
    nothing else happens, and at most `busy` during each backfill: of the many moods, and of
    `busy_paintings` paintings. `lone` ones are saved after a silence.
    """

    startups: int
    text: Work
    paintings: Work
    few: int
    many: int
    accounts: int
    idle: int
    busy: int
    lone: int
    busy_paintings: int
    audited: int
    audits: int
    bulk_niceness: int = BULK_NICENESS


FULL = Scale(
    startups=3,
    text=Work(documents=20_000, accounts=40, raw=5_000, old=150),
    paintings=Work(documents=2_000, accounts=20, raw=400, old=80),
    few=1_000,
    many=100_000,
    accounts=40,
    idle=300,
    busy=400,
    lone=4,
    busy_paintings=640,
    audited=50_000,
    audits=3,
)
QUICK = Scale(
    startups=1,
    text=Work(documents=200, accounts=2, raw=100, old=2),
    paintings=Work(documents=12, accounts=2, raw=6, old=2),
    few=100,
    many=400,
    accounts=2,
    idle=4,
    busy=4,
    lone=0,
    busy_paintings=10,
    audited=200,
    audits=1,
    bulk_niceness=0,
)
