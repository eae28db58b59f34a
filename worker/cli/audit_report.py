"""Print an audit as tables, or as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from worker.cli.output import Table, echo, print_json, print_table
from worker.core.documents import Account, Failure
from worker.core.text import MAX_SHOWN, truncate
from worker.operations.audit.findings import DocumentStanding, Fault, Finding, TypeAudit
from worker.operations.audit.repair import RemovalRefusal, Repairs
from worker.operations.audit.run import AuditResult, AuditSummary

_HEADER = ("type", "documents", "records", "right", "explained", "wrong")
_EXPLANATIONS = "Explained by the state of the document"
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
            "clean": audited.is_clean,
            "types": {each.kind.name: _counts(each) for each in audit.types},
            "findings": [_finding(finding) for finding in audit.findings],
            "failure": audit.failure and _failure(audit.failure),
            "repair": audited.repairs and _repairs(audited.repairs),
        }
    )


def print_summary(summary: AuditSummary) -> None:
    """Print the totals of all accounts as one line of JSON."""
    counts = {fault.value: 0 for fault in Fault}
    for (fault, _), count in summary.faults.items():
        counts[fault.value] += count
    whole = {
        "clean": summary.clean,
        "accounts": summary.accounts,
        "unreadable": len(summary.unreadable),
        "documents": summary.documents.total(),
        "records": summary.records.total(),
        "findings": counts,
    }
    print_json({"summary": whole})


def print_page(summary: AuditSummary, *, repaired: bool) -> None:
    """Print the totals of all accounts, and the first findings."""
    print_table(Table(list(_type_rows(summary)), header=_HEADER))
    faults = [
        (fault, name, str(count), _ACTIONS[fault])
        for (fault, name), count in sorted(summary.faults.items())
    ]
    print_table(
        Table(faults, header=("finding", "type", "", "what --repair does"), title="Findings")
    )
    print_table(
        Table(list(_reason_rows(summary)), header=("", "type", "reason", ""), title=_EXPLANATIONS)
    )
    _print_first(summary)
    for account, failure in summary.unreadable:
        echo(f"{_name(account)} cannot be read: {failure.message}", "red")
    for owner, text in summary.undone:
        echo(f"{_name(owner)}: {text}", "red")
    if repaired:
        echo(_describe(summary))
    _print_verdict(summary, repaired=repaired)


def _type_rows(summary: AuditSummary) -> Iterator[Sequence[str]]:
    for name in summary.documents:
        right = summary.standings[name, DocumentStanding.RIGHT, ""]
        total = sum(count for (kind, *_), count in summary.standings.items() if kind == name)
        wrong = sum(count for (_, kind), count in summary.faults.items() if kind == name)
        counts = (summary.documents[name], summary.records[name], right, total - right, wrong)
        yield (name, *map(str, counts))


def _reason_rows(summary: AuditSummary) -> Iterator[Sequence[str]]:
    for (name, standing, reason), count in sorted(summary.standings.items()):
        if standing is not DocumentStanding.RIGHT:
            yield standing, name, reason, str(count)


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


def _describe(summary: AuditSummary) -> str:
    removed = _format_count(summary.removed, "record")
    synced = _format_count(summary.synced, "document")
    skipped = _format_count(summary.skipped, "document")
    repaired = f"Repaired: {removed} removed, {synced} synced"
    return f"{repaired}; {skipped} in use by workers skipped" if summary.skipped else repaired


def _print_verdict(summary: AuditSummary, *, repaired: bool) -> None:
    counts = (summary.accounts, summary.documents.total(), summary.records.total())
    names = ("account", "document", "record")
    audited = ", ".join(_format_count(*each) for each in zip(counts, names, strict=True))
    if summary.clean:
        echo(f"Clean: {audited}.", "green")
    elif summary.found:
        advice = "" if repaired else " To repair, use --repair."
        echo(f"{_format_count(summary.found, 'finding')} in {audited}.{advice}", "red")
    else:
        undone = "repaired" if summary.undone else "audited"
        echo(f"Not everything could be {undone} in {audited}.", "red")


def _format_count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _name(account: Account | None) -> str:
    return f"{account.handle} ({account.did})" if account else "owners without an account"


def _account(account: Account) -> dict[str, str]:
    return {"subject": account.subject, "did": account.did, "handle": account.handle}


def _counts(audit: TypeAudit) -> dict[str, object]:
    standings = [
        {"standing": standing, "reason": reason or None, "count": count}
        for (standing, reason), count in sorted(audit.standings.items())
    ]
    return {"documents": audit.documents, "records": audit.records, "standings": standings}


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
        "left": repairs.skipped,
        "refusals": [_refusal_json(refusal) for refusal in repairs.refusals],
        "failures": [_failure(failure) for failure in repairs.failures],
    }


def _refusal_json(refusal: RemovalRefusal) -> dict[str, object]:
    counts = {"removals": refusal.removals, "records": refusal.records}
    return {"collection": refusal.collection, **counts, "message": refusal.text}
