"""`media-atproto accounts`: list blocked accounts, reasons and waiting items."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import open_services
from worker.cli.failures import RETRY_INTERRUPTED, print_totals, totals_json
from worker.cli.output import (
    UNCHANGED,
    Column,
    CommandError,
    ExitCode,
    Table,
    echo,
    exit_with,
    on_interrupt,
    print_json,
    print_table,
)
from worker.core.clock import rfc3339
from worker.core.redis_errors import RedisUnavailableError
from worker.core.text import MAX_SHOWN, truncate
from worker.operations.error_help import help_for
from worker.operations.unavailable import explain
from worker.pds.account_cache import AccountCache

if TYPE_CHECKING:
    from worker.core.errors import MediaError
    from worker.operations.status import BlockedAccount, BlockedAccounts
    from worker.pds.rate_limiter import BucketStatus
    from worker.services import Services

_HEADER = (
    "account",
    Column("did", priority=2),
    "pending items",
    Column("blocked until", wraps=True),
    "code",
    Column("message", priority=1, wraps=True),
)
_LIMITS_HEADER = ("PDS", "rate limit", "of", Column("used", wraps=True), "until")


@click.command()
@click.option(
    "--resume",
    metavar="USER",
    help="Retry this account and its pending items now: a screen name, a handle, a subject or a "
    "DID.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object per line, or the counts with --resume.",
)
@click.pass_obj
def accounts(env_file: Path | None, resume: str | None, *, as_json: bool) -> None:
    """List the accounts that cannot be used, and the rate limits that are exhausted.

    An account whose login is refused is blocked for a while, longer after each failure, up to a
    day, and its items wait. It is retried when that time has passed, when its stored password
    changes, when it has moved to another PDS, or with --resume. After a wrong password, or if it
    asks for a second factor, that time does not pass: change the password, or use --resume.
    `resolved` marks an account that is no longer blocked, whose items still wait.

    \b
    Exit codes:
      0  no account is blocked; with --resume: its items are enqueued
      1  accounts are blocked
      2  error: wrong usage, an unknown user, or a service does not respond
      3  no account is blocked, but items of resolved ones wait; with --resume: the
         queue did not accept all items; in both cases, a sweep enqueues them
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    message = RETRY_INTERRUPTED if resume else UNCHANGED
    with on_interrupt(message), closing(open_services(env_file)) as services:
        if resume:
            exit_with(_resume(services, resume, as_json=as_json))
        blocked_accounts, buckets, fault = _fetch(services)
    if not fault and not as_json and all(each.is_resolved for each in blocked_accounts):
        echo("No account is blocked.")
    (_print_lines if as_json else _print_page)(blocked_accounts, buckets)
    if fault:
        missing = "The times until which accounts are blocked, and the rate limits, are unknown"
        raise CommandError(f"{missing}. {explain(fault)}")
    exit_with(_exit_code(blocked_accounts))


def _exit_code(accounts: Sequence[BlockedAccount]) -> ExitCode:
    if any(not each.is_resolved for each in accounts):
        return ExitCode.FOUND
    return ExitCode.PENDING if accounts else ExitCode.OK


def _open_blocked_accounts(services: Services) -> BlockedAccounts:
    from worker.operations.status import BlockedAccounts

    storage, pds = services.storage, services.pds
    return BlockedAccounts(storage.store, storage.accounts, pds.hosts, pds.parking)


def _fetch(
    services: Services,
) -> tuple[Sequence[BlockedAccount], Sequence[BucketStatus], MediaError | None]:
    """Return the blocked accounts and rate limits; without Redis only accounts, and its error."""
    accounts = _open_blocked_accounts(services)
    try:
        return accounts.all(), services.pds.rate_limiter.exhausted_buckets(), None
    except RedisUnavailableError as error:
        return accounts.without_redis(), [], error


def _resume(services: Services, name: str, *, as_json: bool) -> ExitCode:
    """Unblock an account and enqueue its items; return the exit code."""
    from worker.operations.backfill.planner import to_batches
    from worker.operations.backfill.retry import retry_batches

    account = services.storage.accounts.resolve(name)
    AccountCache(services.storage.redis).invalidate(account.did)
    waiting = _open_blocked_accounts(services).waiting_for(account.subject)
    totals = retry_batches(services, to_batches(waiting))
    if as_json:
        print_json(totals_json(totals))
    else:
        print_totals(totals, services.settings.sweep.requeue)
    return ExitCode.PENDING if totals.skipped else ExitCode.OK


def _print_page(
    blocked_accounts: Sequence[BlockedAccount], buckets: Sequence[BucketStatus]
) -> None:
    print_table(Table([_row(blocked) for blocked in blocked_accounts], header=_HEADER))
    for code in dict.fromkeys(each.code for each in blocked_accounts if not each.is_resolved):
        echo(f"{code}: {help_for(code).action}")
    for each in blocked_accounts:
        if each.is_resolved:
            echo(_describe_resolved(each))
    rows = [
        (
            bucket.host,
            bucket.limit,
            bucket.subject or "IP address",
            _format_usage(bucket),
            rfc3339(bucket.until),
        )
        for bucket in buckets
    ]
    print_table(Table(rows, header=_LIMITS_HEADER, title="Rate limits exhausted, except for saves"))


def _row(blocked: BlockedAccount) -> tuple[str, ...]:
    account = blocked.account
    return (
        _name(blocked),
        account.did if account else "-",
        str(blocked.waiting),
        _format_until(blocked),
        blocked.code,
        truncate(blocked.message, MAX_SHOWN),
    )


def _name(blocked: BlockedAccount) -> str:
    return blocked.account.handle if blocked.account else blocked.subject


def _format_until(blocked: BlockedAccount) -> str:
    if blocked.is_resolved:
        return "resolved"
    if blocked.lasts_until_changed:
        return f"the password changes or `accounts --resume {_name(blocked)}`"
    return rfc3339(blocked.until) if blocked.until else "-"


def _describe_resolved(blocked: BlockedAccount) -> str:
    again = f"at {rfc3339(blocked.retry_at)}" if blocked.retry_at else "by the next sweep"
    resume = f"`media-atproto accounts --resume {_name(blocked)}` retries them now"
    return f"{_name(blocked)}: resolved: its items are tried again {again}; {resume}"


def _format_usage(bucket: BucketStatus) -> str:
    refused = ", refused by the PDS" if bucket.refused else ""
    return f"{bucket.used} of {bucket.points}{refused}"


def _print_lines(
    blocked_accounts: Sequence[BlockedAccount], buckets: Sequence[BucketStatus]
) -> None:
    for blocked in blocked_accounts:
        account = blocked.account
        line = {
            "subject": blocked.subject,
            "handle": account.handle if account else None,
            "did": account.did if account else None,
            "waiting": blocked.waiting,
            "until": rfc3339(blocked.until) if blocked.until else None,
            "until_password_changes": blocked.lasts_until_changed,
            "resolved": blocked.is_resolved,
            "retry_at": rfc3339(blocked.retry_at) if blocked.retry_at else None,
            "code": blocked.code,
            "message": blocked.message,
        }
        print_json({"account": line})
    for bucket in buckets:
        line = {
            "pds": bucket.host,
            "limit": bucket.limit,
            "of": bucket.subject or None,
            "used": bucket.used,
            "points": bucket.points,
            "refused": bucket.refused,
            "until": rfc3339(bucket.until),
        }
        print_json({"budget": line})
