"""Audit, repair, audit again: what is reported is what the last look has found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from worker.core.documents import Account
from worker.operations.audit.auditor import Auditor
from worker.operations.audit.findings import AccountAudit
from worker.operations.audit.repair import Repairer, Repairs
from worker.sync.run import Observer

# A PDS removes the file of a blob some time after its last record: a blob that was uploaded again
# before that may be gone once more. And what follows from a repair is seen by the next audit.
_MOST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Audited:
    """How an account was found in the end, and what was done for it, if that was asked for."""

    audit: AccountAudit
    repairs: Repairs | None = None

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing is off, and nothing that was asked for was left undone."""
        return self.audit.is_clean and (self.repairs is None or self.repairs.is_whole)


@dataclass(frozen=True, slots=True)
class Rounds:
    """Audits with repairs, or without a repairer; `force` is for `Repairer.repair`."""

    auditor: Auditor
    repairer: Repairer | None
    force: bool
    observer: Observer

    def of_account(self, account: Account) -> Audited:
        """Audit an account, and put it right; raises as `Auditor.audit` and `repair` do."""
        return self._carry_out(account, lambda: self.auditor.audit(account, self.observer))

    def of_others(self) -> Audited:
        """Look at the documents whose owners have no account; raises the same."""
        return self._carry_out(None, self.auditor.audit_others)

    def _carry_out(self, account: Account | None, look: Callable[[], AccountAudit]) -> Audited:
        audit = look()
        if self.repairer is None:
            return Audited(audit)
        repairs = Repairs()
        for _ in range(_MOST_ROUNDS):
            if not audit.findings:
                break
            before = audit.signature
            repairs = repairs.followed_by(
                self.repairer.repair(account, audit.types, force=self.force, observer=self.observer)
            )
            audit = look()
            if audit.signature == before:
                break
        return Audited(audit, repairs)
