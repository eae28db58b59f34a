"""`media-atproto wipe` and `forget`: remove an account's records from its PDS."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.confirmation import DRY_RUN, YES, check_can_ask, confirm
from worker.cli.environment import open_services
from worker.cli.options import TYPES, chosen_types
from worker.cli.output import CommandError, echo, exit_with, on_interrupt, shows_progress
from worker.cli.wipe_report import Erasure, print_erasure_json, print_preview, print_result
from worker.core.errors import MediaError
from worker.database.state_updates import StateUpdates
from worker.pds.account_cache import AccountCache

if TYPE_CHECKING:
    from worker.operations.erase.forget import AccountErasure
    from worker.operations.erase.wipe import Wiper
    from worker.services import Services

_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print the preview and the result as a JSON object."
)
_INTERRUPTED = (
    "Interrupted: nothing continues in the background. Records that are removed stay removed. "
    "To remove the rest, run the same command again."
)


@dataclass(frozen=True, slots=True)
class _Options:
    dry_run: bool
    yes: bool
    as_json: bool


@click.command()
@click.argument("name", metavar="USER")
@TYPES
@DRY_RUN
@YES
@_JSON
@click.pass_obj
def wipe(
    env_file: Path | None,
    name: str,
    type_names: tuple[str, ...],
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove all records of the media types from an account's repo.

    USER is a screen name, a handle, a subject or a DID, also of the guests' account. Records that
    other programs wrote to these collections are removed too; other collections are kept. The
    documents are kept with the status `removed`: neither the sweep nor a backfill publishes them.
    Only `media-atproto restore` and an edit of the item do.

    First the records are counted. At a terminal, the command then asks you to type the handle. In
    scripts, give --yes. It can be interrupted and repeated. Before you start it, let a backfill of
    the account end, or the items that it enqueued are published again.

    \b
    With --json: {"subject", "did", "handle", "dry_run", "remark", "preview",
    "result", "error"}

    \b
    Exit codes:
      0  all records are removed (with --dry-run: were counted)
      1  records remain, for the printed reasons; or the confirmation was wrong
      2  error: wrong usage, an unknown user, or a service does not respond
      130  interrupted

    \b
      media-atproto wipe @bob --dry-run
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    check_can_ask(dry_run=dry_run, yes=yes)
    with closing(open_services(env_file)) as services:
        account = services.storage.accounts.resolve(name)
        wiping = _wiper(services).prepare(account, chosen_types(type_names))
        erasure = Erasure(account.subject, account, wiping.preview())

        def run() -> None:
            erasure.done = wiping.done
            erasure.trouble = _execute(wiping.run, erasure)

        if _is_confirmed(erasure, account.handle, _Options(dry_run, yes, as_json)):
            _carry_out(run, erasure, as_json=as_json)
            if not as_json:
                types = "".join(f" --type {each}" for each in type_names)
                echo(f"To publish the items again: media-atproto restore {account.handle}{types}")
    exit_with(erasure.code)


@click.command()
@click.argument("name", metavar="USER")
@DRY_RUN
@YES
@_JSON
@click.pass_obj
def forget(env_file: Path | None, name: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove all data of an account that is being erased.

    Removes its records of the media types from its repo, clears the state on its documents, and
    deletes its thumbnails and its cached session. The platform itself deletes the documents and
    the user.

    USER is a screen name, a handle, a subject or a DID. After the user is deleted, only the subject
    is accepted, the former `_id` of the user.

    First the data is counted. At a terminal, the command then asks you to type the subject. In
    scripts, give --yes. It can be interrupted and repeated, also after the user or the account on
    the PDS has been deleted.

    \b
    With --json: {"subject", "did", "handle", "dry_run", "remark", "preview",
    "result", "error"}

    \b
    Exit codes:
      0  all data is removed (with --dry-run: was counted)
      1  data remains, for the printed reasons; or the confirmation was wrong
      2  error: wrong usage, an unknown user without data, or a service does
         not respond
      130  interrupted

    \b
      media-atproto forget @bob --dry-run
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    check_can_ask(dry_run=dry_run, yes=yes)
    with closing(open_services(env_file)) as services:
        erasing = _forgetter(services).prepare(name)
        if erasing.subject == services.settings.guest_subject:
            raise CommandError("the guests' account has no user: use media-atproto wipe")
        found = erasing.preview()
        others = {"thumbnails": found.thumbnails, "pending_removals": found.removals}
        erasure = Erasure(erasing.subject, erasing.account, found.types, others, erasing.remark)

        def run() -> None:
            erasure.done = erasing.results
            erasure.trouble = _execute(erasing.run, erasure) or erasing.trouble
            erasure.others_deleted = {"thumbnails": erasing.thumbnails}

        if _is_confirmed(erasure, erasing.subject, _Options(dry_run, yes, as_json)):
            _carry_out(run, erasure, as_json=as_json)
    exit_with(erasure.code)


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


def _is_confirmed(erasure: Erasure, word: str, options: _Options) -> bool:
    """Print the preview, and ask for `word`; return whether to remove the data.

    With JSON, the preview is printed with the result.
    """
    if not options.as_json:
        print_preview(erasure)
    # Cached sessions are not counted: an account without other data is erased too.
    is_empty = not erasure.exists and (erasure.account is None or not erasure.others)
    if is_empty or options.dry_run:
        if options.as_json:
            print_erasure_json(erasure, dry_run=options.dry_run)
        else:
            echo("There is nothing to remove." if is_empty else "Nothing was changed.")
        return False
    data = f"{erasure.records} records" + (" and all other data" if erasure.others else "")
    confirm(f"To remove {data} of {erasure.subject} permanently", word, yes=options.yes)
    return True


def _carry_out(run: Callable[[], None], erasure: Erasure, *, as_json: bool) -> None:
    """Remove the data, and print the result."""
    with on_interrupt(_INTERRUPTED):
        run()
    if as_json:
        print_erasure_json(erasure, dry_run=False)
    else:
        print_result(erasure)


def _execute(run: Callable[[], Iterator[int]], erasure: Erasure) -> MediaError | None:
    """Remove the records, with a bar on a terminal; return the error that ended it."""
    try:
        if not shows_progress():
            sum(run())
            return None
        with click.progressbar(length=erasure.records, label="removing", file=sys.stderr) as bar:
            for count in run():
                bar.update(count)
    except MediaError as error:
        return error
    return None
