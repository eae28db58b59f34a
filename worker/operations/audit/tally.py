"""Adding up what was found of the documents of one type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from worker.operations.audit.classification import Judge
from worker.operations.audit.findings import Finding, Standings, TypeAudit
from worker.operations.audit.matching import Case


class Tally:
    """Findings and standings in the making; `current` are the cases whose blobs matter."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._documents = 0
        self._standings: Standings = Counter()
        self.findings: list[Finding] = []
        self.current: list[Case] = []

    def take(self, case: Case) -> None:
        """Judge a case and take it in."""
        verdict = self._judge.judge(case)
        self._documents += 1
        if verdict.standing:
            self._standings[verdict.standing] += 1
        if verdict.findings:
            self.findings += verdict.findings
        if verdict.is_current and self._judge.kind.has_files:
            self.current.append(case)

    def take_blobs(self, findings: Iterable[Finding]) -> None:
        """Take in what is wrong with the blobs of current cases."""
        found = list(findings)
        faulty = {finding.document.ref.id for finding in found if finding.document}
        for case in self.current:
            if case.expected.document.ref.id in faulty:
                self._standings.subtract(filter(None, [self._judge.judge(case).standing]))
        self.findings += found

    def result(self, records: int) -> TypeAudit:
        """Return the audit of the type, of whose collection there are so many records."""
        return TypeAudit(
            self._judge.kind, self._documents, records, +self._standings, self.findings
        )
