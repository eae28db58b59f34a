"""`media-atproto stack`: run the embedded services until Ctrl-C."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.output import CommandError, echo, interrupt_on_signals
from worker.core.settings import Settings
from worker.dev.stack import Stack
from worker.dev.stack.accounts import GUESTS, TrialUsers
from worker.dev.stack.data_folder import write_private
from worker.dev.stack.environment import as_env_file, as_exports

if TYPE_CHECKING:
    from pymongo.database import Database

    from worker.core.documents import Account
    from worker.database.mongo import RawDocument

_CHECK_EVERY = 0.25
_MARK = "# Made by 'media-atproto stack', which replaces it whenever it starts.\n"
# The labels of handles that the reference PDS accepts.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,16}[a-z0-9]")


def _parse_names(_ctx: click.Context, _parameter: click.Parameter, names: Sequence[str]) -> object:
    for name in names:
        if not _NAME.fullmatch(name) or name == GUESTS:
            rule = f"use 3 to 18 letters a to z, digits and hyphens, and not {GUESTS}"
            message = f"{name!a} cannot be the handle of a user: {rule}"
            raise click.BadParameter(message)
    return names


@click.command()
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="NAME",
    callback=_parse_names,
    help="Create a user with the account NAME.test, and an account for guests; can be given several"
    " times.",
)
@click.option("--worker", is_flag=True, help="Also run a worker, which publishes what is saved.")
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the environment to this file, readable only by you, and do not print it.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".stack"),
    show_default=True,
    help="Folder for all data, logs and keys; later starts use it again.",
)
def stack(data: Path, env_file: Path | None, users: Sequence[str], *, worker: bool) -> None:
    """Run MongoDB, Valkey and a PDS on this machine, until Ctrl-C.

    Creates the indexes in MongoDB, and prints the environment variables of a worker to stdout as
    `export` lines. A service that is already named in the environment (MONGODB_CONNECTION_STRING,
    REDIS_URL, PDS_URL) is used, not started, and nothing is created in it. SITE_URL, USER_BUCKET,
    GUEST_BUCKET and GUEST_SUBJECT are those of aesthetic.computer unless they are set.

    \b
    In one terminal:
      media-atproto stack --user alice --worker --env-file .env

    \b
    In others, where commands of media-atproto find .env, and for other programs:
      media-atproto enqueue mood ID
      set -a; . ./.env; set +a

    docs/your-data.md explains which documents and files can be published.

    \b
    Exit codes:
      0    stopped by Ctrl-C or SIGTERM
      2    error: wrong usage, or a service failed
      130  Ctrl-C before all services were ready
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    _check_services_are_own(users)
    if env_file is not None:
        _check_env_file(env_file)
    interrupt_on_signals()
    with Stack.start(data, os.environ) as running:
        lines = list(_prepare(running, users, worker=worker, env_file=env_file))
        if env_file is None:
            click.echo(as_exports(running.environment), nl=False)
        else:
            _write(env_file, running.environment)
        _print_summary(lines, data, worker=worker)
        _wait(running)
        click.echo("Stopping...", err=True)


def _check_services_are_own(users: Sequence[str]) -> None:
    """Raise click.UsageError if users would be created in services that are named."""
    named = [name for name in ("MONGODB_CONNECTION_STRING", "PDS_URL") if os.environ.get(name)]
    if users and named:
        raise click.UsageError(
            f"--user creates users in services of the stack only: unset {' and '.join(named)}"
        )


def _prepare(
    running: Stack, users: Sequence[str], *, worker: bool, env_file: Path | None
) -> Iterator[tuple[str, str]]:
    """Create what was asked for; yield the names and descriptions of it."""
    from worker.database.mongo import connect

    settings = Settings.load({**os.environ, **running.environment})
    if not os.environ.get("MONGODB_CONNECTION_STRING"):
        database = connect(settings.mongodb)
        with database.client:
            yield "indexes", _create_indexes(database)
            yield from _create_users(running, settings, database, users)
    if worker:
        running.start_worker()
        yield "worker", f"started, with beat; log in {running.log('worker')}"
    if env_file:
        yield "settings", f"{env_file}, which other commands in this folder read"
    media = settings.media
    yield "site", f"{media.site_url} (SITE_URL); records link to it"
    yield "files", media.store_url
    yield "buckets", f"{media.user_bucket} (users), {media.guest_bucket} (guests)"


def _create_indexes(database: Database[RawDocument]) -> str:
    from worker.database.indexes import IndexStatus, create

    made = [each.status for each in create(database)]
    return f"{made.count(IndexStatus.CREATED)} created, {made.count(IndexStatus.EXISTS)} existed"


def _create_users(
    running: Stack, settings: Settings, database: Database[RawDocument], users: Sequence[str]
) -> Iterator[tuple[str, str]]:
    from worker.core.secrets import Vault

    vault = Vault(settings.secret_keys)
    trial = TrialUsers(database, settings.pds.url, running.pds_admin_password, vault)
    for name in users:
        yield "user", _describe(trial.create(name))
    if users:
        yield "guests", _describe(trial.create_guests(settings.guest_subject))


def _describe(account: Account) -> str:
    return f"{account.subject}: {account.handle} ({account.did})"


def _print_summary(lines: Sequence[tuple[str, str]], data: Path, *, worker: bool) -> None:
    width = max(len(name) for name, _ in lines)
    for name, what in lines:
        echo(f"  {name:<{width}}  {what}", err=True)
    echo(f"Ready; data and logs in {data}. Ctrl-C stops all.", err=True)
    echo("Next: save a document (docs/your-data.md has examples), and then run", err=True)
    echo(f"  media-atproto {'enqueue' if worker else 'sync'} TYPE ID", err=True)
    echo("  media-atproto show TYPE ID", err=True)


def _wait(running: Stack) -> None:
    """Return on Ctrl-C; raises StackError if a service dies before."""
    try:
        while True:
            running.check()
            time.sleep(_CHECK_EVERY)
    except KeyboardInterrupt:
        return


def _check_env_file(file: Path) -> None:
    """Raise click.BadParameter if the file cannot be written, or is not from this command."""
    message = ""
    if not file.parent.is_dir():
        message = f"the folder {file.parent} does not exist. Create it, or name another file."
    elif not os.access(file.parent, os.W_OK):
        message = f"the folder {file.parent} is not writable. Name another file."
    elif file.exists() and not file.read_text(errors="replace").startswith(_MARK):
        message = f"{file} exists and was not made by this command. Move it, or name another."
    if message:
        raise click.BadParameter(message, param_hint="--env-file")


def _write(file: Path, environment: dict[str, str]) -> None:
    try:
        write_private(file, _MARK + as_env_file(environment))
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from error
