"""`media-atproto wipe` and `forget`: remove an account's records from its PDS."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.confirmation import check_can_ask, confirm
from worker.cli.environment import open_services
from worker.cli.output import (
    CommandError,
    ExitCode,
    Table,
    echo,
    exit_with,
    print_table,
    shows_progress,
)
from worker.core.errors import MediaError
from worker.database.state_updates import StateUpdates
from worker.media import MEDIA_TYPES
from worker.pds.account_cache import AccountCache

if TYPE_CHECKING:
    from worker.operations.erase.forget import AccountErasure
    from worker.operations.erase.report import WipePreview, WipeResult
    from worker.operations.erase.wipe import Wiper
    from worker.services import Services

_LIVE = click.option(
    "--live", is_flag=True, help="Apply the changes. Without this option, only count."
)
_YES = click.option("--yes", is_flag=True, help="With --live: do not ask for confirmation.")
_DRY = "Nothing was changed. To apply the changes, add --live."


@click.command()
@click.argument("name", metavar="HANDLE")
@click.option(
    "--type",
    "type_names",
    multiple=True,
    type=click.Choice(list(MEDIA_TYPES)),
    help="Only records of this type; may be given several times.",
)
@_LIVE
@_YES
@click.pass_obj
def wipe(
    env_file: Path | None, name: str, type_names: tuple[str, ...], *, live: bool, yes: bool
) -> None:
    """Remove all records of our collections from an account's repo.

    HANDLE is a handle, a subject or a DID, also of the guests' account. Records that other programs
    wrote to our collections are removed too; other collections are kept. The documents are kept
    with the status `removed`: neither the sweep nor a backfill publishes them, only
    `media-atproto restore` and an edit of the item do.

    Can be interrupted and repeated. First let a backfill of the account end, or the items that it
    enqueued are published again.

    \b
    Exit codes:
      0  all records are removed, or were only counted
      1  records remain; the reasons are printed
      2  error: wrong usage, an unknown account, or a service does not respond
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    _check_can_ask(live=live, yes=yes)
    kinds = [kind for kind in MEDIA_TYPES.values() if not type_names or kind.name in type_names]
    with closing(open_services(env_file)) as services:
        account = services.storage.accounts.resolve(name)
        echo(f"{account.subject}: {account.handle}, {account.did}")
        wiping = _wiper(services).prepare(account, kinds)
        preview = wiping.preview()
        _print_preview(preview)
        if not any(each.records or each.states for each in preview.values()):
            echo("There is nothing to remove.")
            return
        if not _confirm(account.handle, live=live, yes=yes):
            return
        trouble = _execute(wiping.run, preview)
        code = _report(wiping.done, trouble)
    exit_with(code)


@click.command()
@click.argument("name", metavar="SUBJECT")
@_LIVE
@_YES
@click.pass_obj
def forget(env_file: Path | None, name: str, *, live: bool, yes: bool) -> None:
    """Remove all data of an account that is being erased.

    Removes its records of our collections from its repo, clears the state on its documents, and
    deletes its thumbnails and its cached session. SUBJECT is the `_id` of the user; while the user
    has an account, a handle or a DID is accepted too. The platform itself deletes the documents
    and the user.

    Can be interrupted and repeated, also after the user's document or the account on the PDS has
    been deleted.

    \b
    Exit codes:
      0  all data is removed, or was only counted
      1  data remains; the reasons are printed
      2  error: wrong usage, an unknown account, or a service does not respond
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    _check_can_ask(live=live, yes=yes)
    with closing(open_services(env_file)) as services:
        erasure = _forgetter(services).prepare(name)
        subject, account = erasure.subject, erasure.account
        if subject == services.settings.guest_subject:
            raise CommandError("the guests' account has no user: use media-atproto wipe")
        echo(f"{subject}: {account.handle}, {account.did}" if account else subject)
        if erasure.remark:
            echo(erasure.remark, "yellow")
        footprint = erasure.preview()
        _print_preview(footprint.types)
        echo(f"thumbnails: {footprint.thumbnails}; pending removals: {footprint.removals}")
        if not footprint.exists and account is None:
            echo(f"No data of {subject} was found: is it the subject, the _id of the user?")
            return
        if not _confirm(subject, live=live, yes=yes):
            return
        trouble = _execute(erasure.run, footprint.types)
        code = _report(erasure.results, trouble or erasure.trouble)
        echo(f"thumbnails deleted: {erasure.thumbnails}")
    exit_with(code)


def _wiper(services: Services) -> Wiper:
    from worker.operations.erase.state_reset import StateReset
    from worker.operations.erase.wipe import Wiper
    from worker.pds.record_deleter import RecordDeleter

    return Wiper(
        state_reset=StateReset(services.storage.store),
        state_updates=StateUpdates(services.storage.store),
        record_deleter=RecordDeleter(services.pds.locks),
        open_repo=services.pds.repo,
        read_repo=lambda did: services.pds.client_of(did).get_repo(did),
    )


def _forgetter(services: Services) -> AccountErasure:
    from worker.operations.erase.forget import AccountErasure

    return AccountErasure(
        wiper=_wiper(services),
        accounts=services.storage.accounts,
        keys=AccountCache(services.storage.redis),
        thumbnails=services.media.thumbnails,
        database=services.storage.database,
    )


def _check_can_ask(*, live: bool, yes: bool) -> None:
    if live:
        check_can_ask("--yes with --live", yes=yes)


def _confirm(word: str, *, live: bool, yes: bool) -> bool:
    """Return whether to proceed; raises CommandError if another word is typed."""
    if not live:
        echo(_DRY)
        return False
    confirm("To remove all this permanently", word, yes=yes)
    return True


def _execute(
    run: Callable[[], Iterator[int]], preview: Mapping[str, WipePreview]
) -> MediaError | None:
    """Remove the records, with a bar on a terminal; return the error that ended it."""
    total = sum(each.records for each in preview.values())
    try:
        if not shows_progress():
            sum(run())
            return None
        with click.progressbar(length=total, label="removing", file=sys.stderr) as bar:
            for count in run():
                bar.update(count)
    except MediaError as error:
        return error
    return None


def _print_preview(preview: Mapping[str, WipePreview]) -> None:
    rows = [(name, str(each.records), str(each.states)) for name, each in preview.items()]
    print_table(Table(rows, header=("type", "records", "states to clear")))


def _report(done: Mapping[str, WipeResult], trouble: MediaError | None) -> ExitCode:
    """Print what was removed and what remains; return the exit code."""
    rows = [(name, str(each.removed), str(each.reset)) for name, each in done.items()]
    print_table(Table(rows, header=("type", "records removed", "states cleared")))
    left = [(name, each.reasons) for name, each in done.items() if each.skipped]
    for name, reasons in left:
        for why, number in reasons.items():
            echo(f"remaining: {number} of type {name}: {why}", "yellow")
    if trouble:
        echo(f"Not completed: {trouble.message}", "red", err=True)
    if left or trouble:
        echo("Run it again to remove the rest.", err=True)
    return ExitCode.FOUND if left or trouble else ExitCode.OK
