"""`media-atproto audit`: compare MongoDB with the repos, and repair differences."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import open_services
from worker.cli.output import ExitCode, exit_with, shown
from worker.media import MEDIA_TYPES

if TYPE_CHECKING:
    from worker.core.documents import Account
    from worker.operations.audit.run import AuditResult, AuditSummary
    from worker.services import Services
    from worker.sync.run import Observer


@click.command()
@click.option(
    "--user",
    "names",
    multiple=True,
    metavar="HANDLE",
    help="Only this user's account: a handle, a subject or a DID; may be given several times.",
)
@click.option(
    "--guests", is_flag=True, help="Only the guests' account; with --user, this account as well."
)
@click.option(
    "--type",
    "type_names",
    multiple=True,
    type=click.Choice(list(MEDIA_TYPES)),
    help="Only items of this type; may be given several times.",
)
@click.option("--repair", is_flag=True, help="Repair the findings, then audit again.")
@click.option(
    "--force", is_flag=True, help="With --repair: allow removing more than 20% of a collection."
)
@click.option(
    "--quick", is_flag=True, help="Do not fetch blobs: missing or truncated ones are not found."
)
@click.option("--json", "as_json", is_flag=True, help="Print all details as JSON lines.")
@click.pass_obj
def audit(
    env_file: Path | None,
    names: tuple[str, ...],
    type_names: tuple[str, ...],
    *,
    guests: bool,
    repair: bool,
    force: bool,
    quick: bool,
    as_json: bool,
) -> None:
    """Compare the documents in MongoDB with the records in the repos, account by account.

    Each repo is read in one call. Each record is compared by its CID with the record that is
    built from its document, and its blobs are fetched and checked. Without --user and --guests,
    all accounts are audited, and the documents of owners without an account.

    \b
    missing         a document has no record, and no retry is due that would publish it
    stale           the record differs from the document
    orphaned        a record has no document, or its document must not be published here
    duplicated      a document has more than one record
    blob_missing    the PDS does not have a blob of a record
    blob_truncated  the PDS has only a part of a blob
    state_lies      the document's state differs from the repo

    Documents whose state explains the difference are only counted: failed, waiting for a retry,
    partial, skipped, removed.

    --repair publishes, removes and corrects with the engine of the workers, and skips documents
    that a worker is processing. Of duplicates it keeps the record that the document's state names,
    or else the oldest one. Without --force, it removes nothing from a collection of which it would
    remove more than 20% and more than 5 records. It can be interrupted and repeated. Repaired
    accounts are audited again, and the second result is reported.

    An account that cannot be audited is reported, and the others are audited. If a PDS asks to
    wait, the audit waits up to 10 minutes for each account.

    \b
    With --json: a line for each account, {"account", "clean", "types", "findings", "failure",
    "repair"}, with account null for owners without one; at the end a line {"summary"}.

    \b
    Exit codes:
      0  clean: no findings
      1  findings, or an account could not be audited
      2  error: wrong usage, or a service does not respond
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    if force and not repair:
        raise click.UsageError("--force requires --repair")
    from worker.operations.audit.run import open_audit

    kinds = [MEDIA_TYPES[name] for name in dict.fromkeys(type_names or MEDIA_TYPES)]
    with (
        closing(open_services(env_file)) as services,
        _progress(quiet=as_json and sys.stdout.isatty()) as observer,
        open_audit(
            services, kinds, blobs=not quick, repair=repair, force=force, observer=observer
        ) as run,
    ):
        accounts = _choose_accounts(services, names, guests=guests)
        summary = _summarize(run.audit(accounts), as_json=as_json)
    _print(summary, repaired=repair, as_json=as_json)
    exit_with(ExitCode.OK if summary.clean else ExitCode.FOUND)


def _choose_accounts(
    services: Services, names: Sequence[str], *, guests: bool
) -> list[Account] | None:
    """Return the named accounts without duplicates, or None for all.

    Raises UnknownAccountError.
    """
    every = [*names, *([services.settings.guest_subject] if guests else [])]
    accounts = [services.storage.accounts.resolve(name) for name in every]
    return list({account.subject: account for account in accounts}.values()) or None


def _summarize(results: Iterable[AuditResult], *, as_json: bool) -> AuditSummary:
    """Return the summary of all results; with `as_json`, print each as a line of JSON."""
    from worker.cli.audit_report import print_account
    from worker.operations.audit.run import AuditSummary

    summary = AuditSummary()
    for result in results:
        summary.add(result)
        if as_json:
            print_account(result)
    return summary


def _print(summary: AuditSummary, *, repaired: bool, as_json: bool) -> None:
    from worker.cli.audit_report import print_page, print_summary

    if as_json:
        print_summary(summary)
    else:
        print_page(summary, repaired=repaired)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Observer]:
    """Show the current step on stderr, if it is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _step: None
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True, highlight=False).status("...") as status:
        yield lambda step: status.update(escape(shown(step)))
