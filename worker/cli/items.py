"""`media-atproto sync`, `enqueue` and `show`: handle one item, given its id."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import complete_environment, open_services
from worker.cli.output import (
    CommandError,
    ExitCode,
    echo,
    exit_with,
)
from worker.core.documents import DocumentId, Status
from worker.core.ids import InvalidIdError, parse_id
from worker.media import MEDIA_TYPES, MediaType

if TYPE_CHECKING:
    from worker.services import Services
    from worker.sync.outcome import Outcome

_SETTLED = frozenset({Status.SYNCED, Status.SKIPPED, Status.REMOVED})


def _parse_id(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        parse_id(value)
    except InvalidIdError as error:
        raise click.BadParameter(error.message) from None
    return value


_TYPE = click.argument("type_name", metavar="TYPE", type=click.Choice(list(MEDIA_TYPES)))
_ID = click.argument("item_id", metavar="ID", callback=_parse_id)
_USER = click.option(
    "--user", metavar="SUBJECT", help="The owner of the item, if its document is deleted."
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
    env_file: Path | None, type_name: str, item_id: str, user: str | None, *, force: bool
) -> None:
    """Sync the item TYPE ID now, in this process, without the queue.

    Each step is printed to stderr, the outcome to stdout. An item that a worker is processing is
    skipped.

    \b
    Exit codes:
      0  synced, skipped or removed: the PDS is up to date
      1  failed: it is not retried automatically
      2  error: wrong usage, no such document, or a service does not respond
      3  not yet: pending or partial and retried automatically, or held by another run

    \b
      media-atproto sync painting 65f1c0ffee65f1c0ffee0001
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    with closing(open_services(env_file)) as services:
        known = services.storage.store.find(MEDIA_TYPES[type_name], parse_id(item_id))
        if known is None and user is None:
            message = "give --user SUBJECT to remove a record that it may have left behind"
            raise CommandError(f"there is no {type_name} {item_id}; {message}")
        outcome = services.sync.engine.sync(
            type_name,
            item_id,
            holder=f"terminal {socket.gethostname()}:{os.getpid()}",
            user=user,
            force=force,
            observer=lambda step: echo(step, err=True),
        )
        is_moot = known is None and outcome.status is None  # no document, and no account either
        code = ExitCode.OK if is_moot else _exit_code(outcome)
    echo(_describe(outcome))
    exit_with(code)


def _describe(outcome: Outcome) -> str:
    status = f"{outcome.status} " if outcome.status else ""
    again = f" (again at {outcome.retry_at:%Y-%m-%d %H:%M:%S} UTC)" if outcome.retry_at else ""
    return f"{outcome.item}: {status}{outcome.detail}{again}".rstrip()


def _exit_code(outcome: Outcome) -> ExitCode:
    if outcome.is_given_up:
        return ExitCode.FOUND
    if outcome.again or outcome.retry_at or outcome.status not in _SETTLED:
        return ExitCode.PENDING
    return ExitCode.OK


@click.command()
@_TYPE
@_ID
@_USER
@click.pass_obj
def enqueue(env_file: Path | None, type_name: str, item_id: str, user: str | None) -> None:
    """Enqueue the item TYPE ID, as an upload does.

    Only REDIS_URL is needed. If the queue does not accept the message, the sweep of a running
    worker enqueues the item later, if its document has changed.

    \b
    Exit codes:
      0  enqueued
      2  error: wrong usage, or the queue did not accept the message
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    complete_environment(env_file)
    from worker.core.settings import QueueSettings

    QueueSettings.load(os.environ)
    from worker.app import app

    args = (type_name, item_id) if user is None else (type_name, item_id, user)
    if not app.submit("sync_media", args):
        message = "the queue did not accept it: check REDIS_URL, and that Redis is running"
        raise CommandError(message)
    echo(f"{type_name} {item_id}: enqueued")


def _find_ids(services: Services, kind: MediaType, item_id: str) -> tuple[DocumentId, ...]:
    """Return the ids of the document with this id, or of the record with this at:// URI."""
    from worker.operations.status import Search

    if not item_id.startswith("at://"):
        return parse_id(item_id)
    search = Search(services.storage.store, services.storage.accounts, [kind])
    return tuple(ref.id for ref in search.find(item_id))


@click.command()
@_TYPE
@_ID
@click.option("--json", "as_json", is_flag=True, help="Print all details as JSON.")
@click.pass_obj
def show(env_file: Path | None, type_name: str, item_id: str, *, as_json: bool) -> None:
    """Show the item TYPE ID: document, state, record on the PDS, and what differs.

    ID may be the at:// URI of its record, with the DID or the handle of the account.
    The expected record is built from the current document, with the blobs that were uploaded last;
    blobs are fetched and checked. Nothing is changed, and no login is needed.

    \b
    Exit codes, as with diff:
      0  no differences
      1  differences
      2  error: wrong usage, no such document, or a service does not respond
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    from worker.cli.item_report import print_inspection_json, print_page
    from worker.operations.status.inspection import Inspector

    with closing(open_services(env_file)) as services:
        kind = MEDIA_TYPES[type_name]
        inspection = Inspector.of(services).inspect(kind, _find_ids(services, kind, item_id))
    if inspection is None:
        raise CommandError(f"there is no {type_name} {item_id} in MongoDB")
    (print_inspection_json if as_json else print_page)(inspection)
    exit_with(ExitCode.FOUND if inspection.published.faults else ExitCode.OK)
