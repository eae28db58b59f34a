"""`media-atproto audit`: compare MongoDB with the repos, and repair differences."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.confirmation import check_can_ask, confirm
from worker.cli.environment import open_services
from worker.cli.options import TYPES, USERS, chosen_types
from worker.cli.output import ExitCode, exit_with, on_interrupt, shown, shows_progress

if TYPE_CHECKING:
    from worker.core.documents import Account
    from worker.media import MediaType
    from worker.operations.audit.run import AuditResult, AuditSummary
    from worker.services import Services
    from worker.sync.run import Observer

_EXIT_CODES = {"clean": ExitCode.OK, "pending": ExitCode.PENDING, "wrong": ExitCode.FOUND}
_INTERRUPTED = (
    "Interrupted: nothing was changed. The next audit begins again with the first account; "
    "to audit only some accounts, give --user."
)
_REPAIR_INTERRUPTED = (
    "Interrupted: what is repaired stays repaired, and a worker continues with items that were "
    "being published. To repair the rest, run the same command again."
)


@click.command()
@USERS
@click.option(
    "--guests", is_flag=True, help="Only the guests' account; with --user, this account as well."
)
@TYPES
@click.option("--repair", is_flag=True, help="Repair the findings, then audit again.")
@click.option(
    "--force", is_flag=True, help="With --repair: allow removing more than 20% of a collection."
)
@click.option(
    "--dry-run", is_flag=True, help="With --repair: print what would be done; change nothing."
)
@click.option("--yes", is_flag=True, help="With --repair: do not ask for confirmation.")
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
    dry_run: bool,
    yes: bool,
    quick: bool,
    as_json: bool,
) -> None:
    """Compare the documents in MongoDB with the records in the repos, account by account.

    Each repo is read in one call. Each record is compared by its CID with the record that is
    built from its document, and its blobs are fetched and checked. Without --user and --guests,
    all accounts are audited, and the documents of owners without an account.

    \b
    The findings:
      missing         a document has no record, and no retry is due
      stale           the record differs from the document
      orphaned        a record has no document, or one that must not be here
      duplicated      a document has more than one record
      blob_missing    the PDS does not have a blob of a record
      blob_truncated  the PDS has only a part of a blob
      state_mismatch  the state of the document differs from the repo

    Failed and partial items are wrong too. They are counted by reason, with what to do. Differences
    that the state of a document explains are not wrong: pending items are retried automatically;
    skipped, removed and never published ones must have no record.

    --repair publishes missing and stale records, removes orphaned and duplicated ones, and corrects
    states. It does not retry failed items. It uses the engine of the workers, and skips documents
    that a worker is processing. Of duplicates it keeps the record that the document's state names,
    or else the oldest one. Without --force, it removes nothing from a collection of which it would
    remove more than 20% and more than 5 records. It can be interrupted and repeated. Repaired
    accounts are audited again, and the second result is reported.

    At a terminal, --repair asks you to type `repair` before it begins. In scripts, give --yes. With
    --dry-run, it audits once, and prints what it would remove and publish.

    An account that cannot be audited is reported, and the others are audited. If a PDS asks to
    wait, the audit waits up to 10 minutes for each account.

    \b
    With --json, a line for each account, and a summary at the end:
      {"account", "result", "types", "findings", "failure", "repair"}
      {"summary": {"result", "accounts", "unreadable", "statuses", ...}}
    "result" is clean, pending or wrong. "account" is null for owners without
    an account.

    \b
    Exit codes:
      0  nothing is wrong
      1  something is wrong: findings, failed or partial items, or an account
         that could not be audited; or the confirmation was wrong
      2  error: wrong usage, an unknown user, or a service does not respond
      3  nothing is wrong, but items are pending: they are retried
         automatically
      130  interrupted
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    options = _Options(chosen_types(type_names), repair, force, dry_run, quick, as_json)
    options.check(yes=yes)
    with closing(open_services(env_file)) as services:
        accounts = _choose_accounts(services, names, guests=guests)
        if options.changes:
            confirm(_describe_repair(accounts), "repair", yes=yes)
        with on_interrupt(_REPAIR_INTERRUPTED if options.changes else _INTERRUPTED):
            summary = _run(services, accounts, options)
    _print(summary, options)
    exit_with(_EXIT_CODES[summary.verdict])


@dataclass(frozen=True, slots=True)
class _Options:
    """The options of the command, but those that name accounts."""

    kinds: Sequence[MediaType]
    repair: bool
    force: bool
    dry_run: bool
    quick: bool
    as_json: bool

    @property
    def changes(self) -> bool:
        """Return whether findings are repaired for real."""
        return self.repair and not self.dry_run

    def check(self, *, yes: bool) -> None:
        """Raise click.UsageError for a wrong combination, or without a required confirmation."""
        for name, is_given in (("--force", self.force), ("--dry-run", self.dry_run)):
            if is_given and not self.repair:
                raise click.UsageError(f"{name} requires --repair")
        if self.changes:
            check_can_ask(yes=yes)


def _describe_repair(accounts: Sequence[Account] | None) -> str:
    """Describe what a repair does, to ask for a confirmation."""
    whom = "all accounts" if accounts is None else ", ".join(each.handle for each in accounts)
    return (
        "--repair publishes missing and stale records, removes orphaned and duplicated records, "
        f"and corrects states; --dry-run shows which. To repair {whom}"
    )


def _run(services: Services, accounts: Sequence[Account] | None, options: _Options) -> AuditSummary:
    """Audit the accounts, and repair them with `options.changes`; return the totals."""
    from worker.operations.audit.run import open_audit

    with (
        _progress(quiet=options.as_json and sys.stdout.isatty()) as observer,
        open_audit(
            services,
            options.kinds,
            blobs=not options.quick,
            repair=options.changes,
            force=options.force,
            observer=observer,
        ) as run,
    ):
        results = run.audit(accounts)
        if options.dry_run:
            results = _plan_repairs(results, force=options.force)
        return _summarize(results, as_json=options.as_json)


def _plan_repairs(results: Iterable[AuditResult], *, force: bool) -> Iterator[AuditResult]:
    """Add the repairs that would be made to each result."""
    from worker.operations.audit.repair import plan_repairs

    for result in results:
        audited = result.audit
        planned = plan_repairs(audited.account, audited.types, force=force)
        yield replace(result, repairs=planned)


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


def _print(summary: AuditSummary, options: _Options) -> None:
    from worker.cli.audit_report import print_page, print_summary

    if options.as_json:
        print_summary(summary, dry_run=options.dry_run)
    else:
        print_page(summary, repaired=options.repair, dry_run=options.dry_run)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Observer]:
    """Show the current step on stderr, if it is a terminal."""
    if quiet or not shows_progress():
        yield lambda _step: None
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True, highlight=False).status("...") as status:
        yield lambda step: status.update(escape(shown(step)))
