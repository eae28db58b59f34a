"""`media-atproto wipe` and `forget`: remove an account's records from its PDS."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import open_services
from worker.cli.output import ExitCode, Table, echo, exit_with, print_table
from worker.core.errors import MediaError
from worker.database.state_updates import StateUpdates
from worker.media import MEDIA_TYPES
from worker.operations.text import printable
from worker.pds.account_cache import AccountCache

if TYPE_CHECKING:
    from worker.operations.erase.forget import AccountErasure
    from worker.operations.erase.report import WipePreview, WipeResult
    from worker.operations.erase.wipe import Wiper
    from worker.services import Services

_LIVE = click.option("--live", is_flag=True, help="Do it. Without, everything is only counted.")
_YES = click.option("--yes", is_flag=True, help="Do not ask, with --live.")
_DRY = "Nothing was changed. To do it, add --live."


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
    """Remove an account's records of our collections from its repo, whoever wrote them.

    HANDLE is a handle, a subject or a DID; the guests' account is one as well. Other collections
    stay as they are. The documents stay, too: their state says `removed`, and neither the sweep
    nor a backfill publishes them; `media-atproto restore` does, and an edit of the item.

    Can be interrupted and repeated. Let a backfill of the account end first: what it has on the
    queue would be published again.

    \b
    Exit codes:
      0  all are gone, or were only counted
      1  something is left; the reasons are told
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
    """Remove all traces of an account that is being erased.

    Its records of our collections are removed from its repo, the state on each of its documents
    is cleared, its thumbnails and its cached session are deleted. SUBJECT is the `_id` of the
    user; a handle or a DID will do for as long as the user has an account. The documents
    themselves, and the user's, are the platform's to delete.

    Can be interrupted and repeated, also when the user's document or the account on the PDS is
    gone already.

    \b
    Exit codes:
      0  all is gone, or was only counted
      1  something is left; the reasons are told
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    _check_can_ask(live=live, yes=yes)
    with closing(open_services(env_file)) as services:
        erasure = _forgetter(services).prepare(name)
        subject, account = erasure.subject, erasure.account
        if subject == services.settings.guest_subject:
            raise click.ClickException("the guests' account has no user: use media-atproto wipe")
        echo(f"{subject}: {account.handle}, {account.did}" if account else subject)
        if erasure.remark:
            echo(erasure.remark, "yellow")
        footprint = erasure.preview()
        _print_preview(footprint.types)
        echo(f"thumbnails: {footprint.thumbnails}; removals that wait: {footprint.removals}")
        if not footprint.exists and account is None:
            echo(f"There is no trace of {subject}; is it the subject, the _id of the user?")
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
    if live and not yes and not sys.stdin.isatty():
        raise click.UsageError("no terminal to confirm at: give --yes with --live")


def _confirm(word: str, *, live: bool, yes: bool) -> bool:
    """Return whether to proceed; raises ClickException if another word is typed."""
    if not live:
        echo(_DRY)
        return False
    if not yes:
        question = f"To remove all this for good, type {printable(word)}"
        typed = click.prompt(question, default="", show_default=False, err=True)
        if typed.strip() != word:
            raise click.ClickException(f"that is not {printable(word)}: nothing was changed")
    return True


def _execute(
    run: Callable[[], Iterator[int]], preview: Mapping[str, WipePreview]
) -> MediaError | None:
    """Remove the records, with a bar on a terminal; return the error that ended it."""
    total = sum(each.records for each in preview.values())
    try:
        if not sys.stderr.isatty():
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
            echo(f"left: {number} of type {name}: {why}", "yellow")
    if trouble:
        echo(f"It was not completed: {trouble.message}", "red", err=True)
    if left or trouble:
        echo("Run it again to remove what is left.", err=True)
    return ExitCode.FOUND if left or trouble else ExitCode.OK
