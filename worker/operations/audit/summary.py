"""The sum of an audit over accounts: counts of everything, and the first findings."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from worker.core.documents import Account, Failure
from worker.operations.audit.findings import Fault, Finding, Standing
from worker.operations.audit.run import Audited

_MOST_KEPT = 20


@dataclass(slots=True)
class Summary:
    """What was found so far; its size does not grow with the number of accounts that are right.

    `unreadable` are accounts whose repo could not be had; `undone` says, by account, what a
    repair left undone, and why.
    """

    accounts: int = 0
    clean: bool = True
    documents: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    standings: Counter[tuple[str, Standing, str]] = field(default_factory=Counter)
    faults: Counter[tuple[Fault, str]] = field(default_factory=Counter)
    first: list[Finding] = field(default_factory=list)
    unreadable: list[tuple[Account, Failure]] = field(default_factory=list)
    undone: list[tuple[Account | None, str]] = field(default_factory=list)
    removed: int = 0
    synced: int = 0
    left: int = 0

    def take(self, audited: Audited) -> None:
        """Add an account."""
        audit = audited.audit
        self.accounts += audit.account is not None
        self.clean = self.clean and audited.is_clean
        if audit.account and audit.failure:
            self.unreadable.append((audit.account, audit.failure))
        for each in audit.types:
            name = each.kind.name
            self.documents[name] += each.documents
            self.records[name] += each.records
            for (standing, reason), count in each.standings.items():
                self.standings[name, standing, reason] += count
            self.faults.update((finding.fault, name) for finding in each.findings)
        self.first += audit.findings[: _MOST_KEPT - len(self.first)]
        self._take_repairs(audited)

    @property
    def found(self) -> int:
        """Return how many findings there are."""
        return self.faults.total()

    def _take_repairs(self, audited: Audited) -> None:
        repairs = audited.repairs
        if repairs is None:
            return
        self.removed += repairs.removed
        self.synced += repairs.synced
        self.left += repairs.left
        texts = [refusal.text for refusal in repairs.refusals]
        texts += [f"{failure.step}: {failure.message}" for failure in repairs.failures]
        self.undone += [(audited.audit.account, text) for text in texts]
