"""Print an audit as tables, or as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from worker.cli.output import Column, Table, echo, print_json, print_table
from worker.core.documents import Account, Failure, Status
from worker.core.text import MAX_SHOWN, truncate
from worker.operations.audit.findings import (
    DocumentStanding,
    Fault,
    Finding,
    TypeAudit,
    Verdict,
    is_pending,
    is_wrong,
)
from worker.operations.audit.repair import RemovalRefusal, Repairs
from worker.operations.audit.run import AuditResult, AuditSummary
from worker.operations.error_help import help_for
from worker.operations.text import count_of

_HEADER = (
    "type",
    Column("documents", priority=4),
    Column("records", priority=4),
    Column("synced", priority=3),
    Column("pending", priority=1),
    "partial",
    "failed",
    Column("explained", priority=2),
    "findings",
)
_REASONS_HEADER = ("status", "type", "reason", "items")
_COUNTED = (DocumentStanding.SYNCED, DocumentStanding.PARTIAL, DocumentStanding.FAILED)
_ACTIONS: Mapping[Fault, str] = {
    Fault.MISSING: "publish it",
    Fault.STALE: "publish it again",
    Fault.ORPHANED: "remove the record",
    Fault.DUPLICATED: "remove the record",
    Fault.BLOB_MISSING: "remove the record, upload the blob, write the record again",
    Fault.BLOB_TRUNCATED: "remove the record, upload the blob, write the record again",
    Fault.STATE_MISMATCH: "correct the state",
}


def print_account(audited: AuditResult) -> None:
    """Print the audit of an account as one line of JSON, with ids as strings."""
    audit = audited.audit
    print_json(
        {
            "account": audit.account and _account(audit.account),
            "result": audited.verdict,
            "types": {each.kind.name: _counts(each) for each in audit.types},
            "findings": [_finding(finding) for finding in audit.findings],
            "failure": audit.failure and _failure(audit.failure),
            "repair": audited.repairs and _repairs(audited.repairs),
        }
    )


def print_summary(summary: AuditSummary, *, dry_run: bool) -> None:
    """Print the totals of all accounts as one line of JSON."""
    counts = {fault.value: 0 for fault in Fault}
    for (fault, _), count in summary.faults.items():
        counts[fault.value] += count
    whole = {
        "result": summary.verdict,
        "dry_run": dry_run,
        "accounts": summary.accounts,
        "unreadable": len(summary.unreadable),
        "documents": summary.documents.total(),
        "records": summary.records.total(),
        "statuses": {each.value: summary.count(each) for each in DocumentStanding},
        "findings": counts,
    }
    print_json({"summary": whole})


def print_page(summary: AuditSummary, *, repaired: bool, dry_run: bool) -> None:
    """Print the totals of all accounts, and the first findings."""
    print_table(Table(list(_type_rows(summary)), header=_HEADER))
    _print_findings(summary)
    _print_wrong_items(summary)
    pending, explained = _pending_rows(summary), _explained_rows(summary)
    print_table(Table(pending, header=_REASONS_HEADER, title="Pending, published automatically"))
    print_table(Table(explained, header=_REASONS_HEADER, title="Explained by the documents"))
    for account, failure in summary.unreadable:
        echo(f"{_name(account)} cannot be read: {failure.message}", "red")
    for owner, text in summary.undone:
        echo(f"{_name(owner)}: {text}", "red")
    if repaired:
        echo(_describe(summary, dry_run=dry_run))
    _print_verdict(summary, repaired=repaired and not dry_run)


def _type_rows(summary: AuditSummary) -> Iterator[Sequence[str]]:
    for name in summary.documents:
        counts = dict.fromkeys(DocumentStanding, 0)
        pending = 0
        for (kind, standing, reason), count in summary.standings.items():
            if kind == name and is_pending(standing, reason):
                pending += count
            elif kind == name:
                counts[standing] += count
        synced, partial, failed = (counts.pop(each) for each in _COUNTED)
        found = sum(count for (_, kind), count in summary.faults.items() if kind == name)
        explained = sum(counts.values())
        numbers = (summary.documents[name], summary.records[name], synced, pending)
        yield (name, *map(str, (*numbers, partial, failed, explained, found)))


def _reason_rows(summary: AuditSummary) -> Iterator[tuple[DocumentStanding, Sequence[str]]]:
    for (name, standing, reason), count in sorted(summary.standings.items()):
        yield standing, (standing.replace("_", " "), name, reason, str(count))


def _wrong_rows(summary: AuditSummary) -> list[Sequence[str]]:
    return [row for standing, row in _reason_rows(summary) if is_wrong(standing)]


def _pending_rows(summary: AuditSummary) -> list[Sequence[str]]:
    return [row for standing, row in _reason_rows(summary) if is_pending(standing, row[2])]


def _explained_rows(summary: AuditSummary) -> list[Sequence[str]]:
    return [
        row
        for standing, row in _reason_rows(summary)
        if standing is not DocumentStanding.SYNCED
        and not is_wrong(standing)
        and not is_pending(standing, row[2])
    ]


def _print_findings(summary: AuditSummary) -> None:
    """Print the numbers of findings, and the first ones."""
    faults = [
        (fault, name, str(count), _ACTIONS[fault])
        for (fault, name), count in sorted(summary.faults.items())
    ]
    action = Column("what --repair does", priority=1, wraps=True)
    print_table(Table(faults, header=("finding", "type", "count", action), title="Findings"))
    _print_first(summary)


def _print_wrong_items(summary: AuditSummary) -> None:
    """Print the numbers of failed and partial items by reason, and what to do."""
    rows = _wrong_rows(summary)
    print_table(Table(rows, header=_REASONS_HEADER, title="Failed and partial items"))
    for code in dict.fromkeys(row[2] for row in rows):
        echo(f"{code}: {help_for(code).action}")
    if rows:
        echo("To list these items: media-atproto failures")
        echo("After correcting a reason: media-atproto retry --reason CODE")


def _print_first(summary: AuditSummary) -> None:
    rows = [
        (finding.fault, _subject(finding), truncate(finding.detail, MAX_SHOWN))
        for finding in summary.first
    ]
    print_table(
        Table(rows, header=("finding", "record or document", "detail"), title="First findings")
    )
    if more := summary.found - len(summary.first):
        echo(f"... and {more} more; --json prints all")


def _subject(finding: Finding) -> str:
    document = str(finding.document.ref) if finding.document else ""
    return " of ".join(filter(None, [finding.key.uri if finding.key else "", document]))


def _describe(summary: AuditSummary, *, dry_run: bool) -> str:
    removed = count_of(summary.removed, "record")
    synced = count_of(summary.repaired[Status.SYNCED], "document")
    skipped = count_of(summary.skipped, "document")
    if dry_run:
        return f"Would be repaired: {removed} removed, {synced} synced. Nothing was changed."
    repaired = f"Repaired: {removed} removed, {synced} synced"
    for status, count in sorted(summary.repaired.items()):
        if status is not Status.SYNCED:
            repaired += f", {count} {status}"
    return f"{repaired}; {skipped} in use by workers skipped" if summary.skipped else repaired


def _print_verdict(summary: AuditSummary, *, repaired: bool) -> None:
    counts = (summary.accounts, summary.documents.total(), summary.records.total())
    names = ("account", "document", "record")
    audited = ", ".join(count_of(*each) for each in zip(counts, names, strict=True))
    if summary.verdict is Verdict.CLEAN:
        echo(f"Clean: {audited}.", "green")
    elif summary.verdict is Verdict.PENDING:
        pending = count_of(summary.pending, "item")
        echo(f"Nothing is wrong in {audited}. Pending, published automatically: {pending}.")
    else:
        echo(f"{', '.join(_wrong_parts(summary))} in {audited}.", "red")
        if summary.found and not repaired:
            echo("To repair the findings: --repair. To see what it would do: --repair --dry-run.")


def _wrong_parts(summary: AuditSummary) -> Iterator[str]:
    """Yield what is wrong, with its number."""
    counts = (
        (summary.found, "finding", ""),
        (summary.count(DocumentStanding.FAILED), "failed item", ""),
        (summary.count(DocumentStanding.PARTIAL), "partial item", ""),
        (len(summary.unreadable), "account", " not audited"),
        (len(summary.undone), "repair", " not done"),
    )
    for count, noun, state in counts:
        if count:
            yield f"{count_of(count, noun)}{state}"


def _name(account: Account | None) -> str:
    return f"{account.handle} ({account.did})" if account else "owners without an account"


def _account(account: Account) -> dict[str, str]:
    return {"subject": account.subject, "did": account.did, "handle": account.handle}


def _counts(audit: TypeAudit) -> dict[str, object]:
    statuses = [
        {"status": standing, "reason": reason or None, "count": count}
        for (standing, reason), count in sorted(audit.standings.items())
    ]
    return {"documents": audit.documents, "records": audit.records, "statuses": statuses}


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "finding": finding.fault,
        "type": finding.kind.name,
        "id": str(finding.document.ref.id) if finding.document else None,
        "owner": finding.document.owner if finding.document else None,
        "uri": finding.key.uri if finding.key else None,
        "cid": finding.cid,
        "ref": finding.ref,
        "detail": finding.detail,
        "action": _ACTIONS[finding.fault],
    }


def _failure(failure: Failure) -> dict[str, object]:
    return {"step": failure.step, "code": failure.code, "message": failure.message}


def _repairs(repairs: Repairs) -> dict[str, object]:
    return {
        "removed": repairs.removed,
        "synced": repairs.synced,
        "statuses": dict(repairs.documents),
        "left": repairs.skipped,
        "refusals": [_refusal_json(refusal) for refusal in repairs.refusals],
        "failures": [_failure(failure) for failure in repairs.failures],
    }


def _refusal_json(refusal: RemovalRefusal) -> dict[str, object]:
    counts = {"removals": refusal.removals, "records": refusal.records}
    return {"collection": refusal.collection, **counts, "message": refusal.text}
