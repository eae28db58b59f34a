"""`media-atproto sync`, `enqueue` and `show`: handle one item."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.arguments import as_item_id
from worker.cli.environment import complete_environment, open_services
from worker.cli.output import (
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
from worker.cli.usage import Choice
from worker.core.documents import Status
from worker.core.ids import parse_id
from worker.media import MEDIA_TYPES
from worker.operations.unavailable import advice_for, check_redis

if TYPE_CHECKING:
    from worker.operations.status import Match, Search
    from worker.operations.status.inspection import Inspection
    from worker.services import Services
    from worker.sync.outcome import Outcome

_INTERRUPTED = (
    "Interrupted: a worker continues with this item when its lease has ended. "
    "To continue at once, run the same command again then."
)
_MATCHES_HEADER = ("type", "id", Column("owner", priority=1), "matched")
_SETTLED = frozenset({Status.SYNCED, Status.SKIPPED, Status.REMOVED})


_TYPES = Choice(list(MEDIA_TYPES))
_TYPE_ARGUMENT = click.Argument(["type"], type=_TYPES, metavar="TYPE")  # for errors of `show`
_TYPE = click.argument("type_name", metavar="TYPE", type=_TYPES)
_ID = click.argument("item_id", metavar="ID", type=as_item_id)
_USER = click.option(
    "--user",
    "name",
    metavar="USER",
    help="The owner of an item whose document is deleted: a screen name, a handle, a subject or a "
    "DID.",
)


@click.command()
@_TYPE
@_ID
@_USER
@click.option(
    "--force",
    is_flag=True,
    help="Write the record even if it is up to date; ignore that earlier runs died.",
)
@click.pass_obj
def sync(
    env_file: Path | None, type_name: str, item_id: str, name: str | None, *, force: bool
) -> None:
    """Sync the item TYPE ID now, in this process, without the queue.

    Each step is printed to stderr, the outcome to stdout. An item that a worker is processing is
    skipped.

    \b
    Exit codes:
      0  synced, skipped or removed: the PDS is up to date
      1  failed or partial, and not retried automatically
      2  error: wrong usage, no such document, an unknown user, or a service does
         not respond
      3  not yet: pending or partial and retried automatically, or held by another
         run
      130  interrupted

    \b
      media-atproto sync painting 65f1c0ffee65f1c0ffee0001
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    with closing(open_services(env_file)) as services:
        known = services.storage.store.find(MEDIA_TYPES[type_name], parse_id(item_id))
        if known is None and name is None:
            message = "if it is deleted, give --user USER to remove its record"
            raise CommandError(f"there is no {type_name} {item_id}; {message}")
        user = services.storage.accounts.resolve(name).subject if name else None
        with on_interrupt(_INTERRUPTED):
            outcome = services.sync.engine.sync(
                type_name,
                item_id,
                holder=f"terminal {socket.gethostname()}:{os.getpid()}",
                user=user,
                force=force,
                observer=lambda step: echo(step, err=True),
            )
        is_moot = known is None and outcome.status is None  # no document, and no record
        code = ExitCode.OK if is_moot else _exit_code(outcome)
    echo(_describe(outcome))
    if outcome.error and (advice := advice_for(outcome.error.code, outcome.error.message)):
        echo(advice)
    exit_with(code)


def _describe(outcome: Outcome) -> str:
    status = f"{outcome.status} " if outcome.status else ""
    again = f" (again at {outcome.retry_at:%Y-%m-%d %H:%M:%S} UTC)" if outcome.retry_at else ""
    return f"{outcome.item}: {status}{outcome.detail}{again}".rstrip()


def _exit_code(outcome: Outcome) -> ExitCode:
    is_partial = outcome.status is Status.PARTIAL
    if outcome.is_given_up or (is_partial and outcome.retry_at is None):
        return ExitCode.FOUND
    if outcome.again or outcome.retry_at or outcome.status not in _SETTLED:
        return ExitCode.PENDING
    return ExitCode.OK


@click.command()
@_TYPE
@_ID
@_USER
@click.pass_obj
def enqueue(env_file: Path | None, type_name: str, item_id: str, name: str | None) -> None:
    """Enqueue the item TYPE ID, as an upload does.

    Only REDIS_URL is needed, and with --user MongoDB. If the queue does not accept the message, the
    sweep of a running worker enqueues the item later, if its document has changed.

    \b
    Exit codes:
      0  enqueued
      2  error: wrong usage, an unknown user, or the queue did not accept the
         message
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    complete_environment(env_file)
    from worker.core.settings import QueueSettings

    QueueSettings.load(os.environ)
    user = _find_subject(name) if name else None
    from worker.app import app

    args = (type_name, item_id) if user is None else (type_name, item_id, user)
    if not app.submit("sync_media", args, quiet=True):
        raise CommandError(f"the queue did not accept {type_name} {item_id}. {check_redis()}")
    echo(f"{type_name} {item_id}: enqueued")


def _find_subject(name: str) -> str:
    """Return the subject of a user, read from MongoDB; raises UnknownAccountError."""
    from worker.core.settings import MongoSettings
    from worker.database.accounts import Accounts
    from worker.database.mongo import connect
    from worker.services.timeouts import COMMAND

    database = connect(MongoSettings.load(os.environ), COMMAND.first)
    with closing(database.client):
        return Accounts(database).resolve(name).subject


def _parse_item(
    ctx: click.Context, _parameter: click.Parameter, words: tuple[str, ...]
) -> tuple[str | None, str]:
    """Split `[TYPE] ITEM`; raises click.BadParameter for an unknown type."""
    if not words:
        raise click.MissingParameter(ctx=ctx, param_hint="'ITEM'", param_type="argument")
    *types, item = words
    if len(types) > 1:
        raise click.UsageError("give one item: [TYPE] ITEM", ctx)
    return (_TYPES.convert(types[0], _TYPE_ARGUMENT, ctx) if types else None), item.strip()


@click.command()
@click.argument("named", nargs=-1, metavar="[TYPE] ITEM", callback=_parse_item)
@click.option("--json", "as_json", is_flag=True, help="Print all details as JSON.")
@click.pass_obj
def show(env_file: Path | None, named: tuple[str | None, str], *, as_json: bool) -> None:
    """Show an item: what differs, its state, its files, its record on the PDS, its document.

    ITEM is an id, a record key, the at:// URI of a record (with a DID or a handle), a code, a slug,
    or the address of the item on the site. Codes may begin with $ or #; quote them for the shell.
    Without TYPE, all types are searched. If several items match, they are listed: give TYPE or the
    id.

    The expected record is built from the current document, with the blobs that were uploaded last;
    blobs are fetched and checked. Nothing is changed, and no login is needed. If the PDS does not
    respond, everything else is shown.

    \b
    Exit codes:
      0  the record and its files are as expected
      1  differences, or the item is failed or partial
      2  error: wrong usage, no item or several, or a service does not respond
      3  the record is as expected, and the item is pending: it is retried automatically

    \b
      media-atproto show 65f1c0ffee65f1c0ffee0001
      media-atproto show painting '#abc'
      media-atproto show https://aesthetic.computer/@ada/my-piece
      media-atproto show at://ada.example/computer.aesthetic.mood/3lbmo5gtjks2k
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    from worker.cli.item_report import print_inspection, print_inspection_json
    from worker.operations.status.inspection import Inspector
    from worker.services.timeouts import LOOKUP

    type_name, text = named
    with closing(open_services(env_file, LOOKUP)) as services:
        match = _find_only(services, type_name, text, as_json=as_json)
        kind = MEDIA_TYPES[match.ref.type]
        inspection = Inspector.of(services).inspect(kind, (match.ref.id,))
    if inspection is None:
        raise CommandError(f"{match.ref} was deleted in the meantime")
    (print_inspection_json if as_json else print_inspection)(inspection)
    exit_with(_exit_code_of(inspection))


def _exit_code_of(inspection: Inspection) -> ExitCode:
    if inspection.error:
        return ExitCode.ERROR
    if not inspection.is_right:
        return ExitCode.FOUND
    is_pending = inspection.item.document.state.status is Status.PENDING
    return ExitCode.PENDING if is_pending else ExitCode.OK


def _find_only(services: Services, type_name: str | None, text: str, *, as_json: bool) -> Match:
    """Return the only item that matches; raises CommandError, after printing several."""
    from worker.operations.status import Search

    kinds = [MEDIA_TYPES[type_name]] if type_name else list(MEDIA_TYPES.values())
    search = Search.of(services, kinds)
    found = search.find(text)
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError(_describe_unknown(search, text))
    if as_json:
        for match in found:
            print_json(_match_as_json(match))
    else:
        rows = [(each.ref.type, str(each.ref.id), each.owner, each.matched) for each in found]
        print_table(Table(rows, header=_MATCHES_HEADER))
    hint = "give the id" if type_name else "give the type and the id"
    raise CommandError(f"{len(found)} items match {text}: {hint}")


def _describe_unknown(search: Search, text: str) -> str:
    names = [kind.name for kind in search.kinds]
    types = f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
    message = f"no {types} matches {text}; tried: {', '.join(search.tried(text))}"
    if text in MEDIA_TYPES:
        return f"give an item of the type: media-atproto show {text} ITEM ({message})"
    if missing := search.unindexed():
        message += f". Not searched, because an index is missing: {', '.join(missing)}; "
        message += "create it: media-atproto init"
    return message


def _match_as_json(match: Match) -> dict[str, object]:
    item = match.ref.id if isinstance(match.ref.id, int) else str(match.ref.id)
    return {"type": match.ref.type, "id": item, "owner": match.owner, "matched": match.matched}
