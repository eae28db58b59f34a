"""The command line, `media-atproto COMMAND`; commands are imported when used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from worker.cli.output import ExitCode, expected_errors

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "stack": ("worker.cli.stack:stack", "Run MongoDB, Valkey and a PDS on this machine."),
    "demo": ("worker.cli.demo:demo", "Watch items travel from MongoDB to the PDS."),
    "init": ("worker.cli.init:init", "Create the indexes in MongoDB, and say what was done."),
    "doctor": ("worker.cli.doctor:doctor", "Check that everything is set up right."),
    "status": ("worker.cli.status:status", "Count items by state; what waits, what failed."),
    "web": ("worker.cli.web:web", "Serve the status page: the same in a browser, and more."),
    "failures": ("worker.cli.failures:failures", "List the items that failed, and what to do."),
    "retry": ("worker.cli.failures:retry", "Try items that failed again."),
    "backfill": ("worker.cli.backfill:backfill", "Publish everything that is not yet."),
    "audit": ("worker.cli.audit:audit", "Compare MongoDB with the repos; repair."),
    "accounts": (
        "worker.cli.accounts:accounts",
        "List the accounts that cannot be used; have one tried again.",
    ),
    "lexicons": ("worker.cli.lexicons:lexicons", "Check the lexicons; publish them."),
    "wipe": ("worker.cli.wipe:wipe", "Remove an account's records."),
    "restore": ("worker.cli.backfill:restore", "Publish all items of an account again."),
    "forget": ("worker.cli.wipe:forget", "Remove all traces of an account that is erased."),
    "sync": ("worker.cli.items:sync", "Bring one item's record up to date, now."),
    "enqueue": ("worker.cli.items:enqueue", "Ask the worker to sync one item."),
    "watch": ("worker.cli.watch:watch", "Enqueue what changes in MongoDB, whoever saves it."),
    "show": ("worker.cli.items:show", "Show an item's document, state and record."),
    "flower": ("worker.cli.flower:flower", "Run Flower, which shows workers and tasks."),
    "alive": ("worker.cli.alive:alive", "Tell whether a worker or beat is at work."),
    "rotate-keys": ("worker.cli.keys:rotate_keys", "Seal all secrets with the first key."),
    "new-key": ("worker.cli.keys:new_key", "Print a fresh key for SECRET_KEYS."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is used; its help imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, in which they are best learned."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None if the name is unknown."""
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{attribute} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, brief) for name, (_, brief) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print expected errors without a traceback."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _leave_interrupted(ctx)
        except expected_errors() as error:
            raise click.ClickException(str(error)) from error


def _leave_interrupted(ctx: click.Context) -> NoReturn:
    click.echo(err=True)  # ends the line after the terminal's ^C
    ctx.exit(ExitCode.INTERRUPTED)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="media-atproto")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Take the environment of the commands from this file, where it is not set already.  "
    "[default: .env, if there is one]",
)
@click.pass_context
def main(ctx: click.Context, env_file: Path | None) -> None:
    """Publish a media platform's MongoDB documents as AT Protocol records.

    \b
    Try it on this machine, with nothing but this package:
      media-atproto demo

    \b
    Have services to develop against, and commands that use them:
      media-atproto stack --env-file .env
      media-atproto sync painting 65f1c0ffee65f1c0ffee0001

    Every command explains itself: media-atproto COMMAND --help.
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    ctx.obj = env_file
