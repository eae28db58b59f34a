"""The command line, `media-atproto COMMAND`; commands are imported when used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from worker.cli.output import (
    CommandError,
    UsageError,
    allows_color,
    expected_errors,
    on_interrupt,
    print_errors_safely,
)
from worker.cli.usage import CommandGroup

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "stack": ("worker.cli.stack:stack", "Run MongoDB, Valkey and a PDS on this machine."),
    "demo": ("worker.cli.demo:demo", "Publish sample items with real services."),
    "init": ("worker.cli.init:init", "Create missing indexes in MongoDB."),
    "doctor": ("worker.cli.doctor:doctor", "Check services, credentials and settings."),
    "status": ("worker.cli.status:status", "Count items by state, errors, and queued messages."),
    "web": ("worker.cli.web:web", "Serve the status page."),
    "failures": ("worker.cli.failures:failures", "List failed items, and what to do."),
    "retry": ("worker.cli.failures:retry", "Retry failed items."),
    "backfill": ("worker.cli.backfill:backfill", "Publish all items that are not published yet."),
    "audit": ("worker.cli.audit:audit", "Compare MongoDB with the repos, and repair."),
    "accounts": ("worker.cli.accounts:accounts", "List blocked accounts, and resume one."),
    "removals": ("worker.cli.removals:removals", "List, retry and drop saved removals."),
    "lexicons": ("worker.cli.lexicons:lexicons", "Check and publish the lexicons."),
    "wipe": ("worker.cli.wipe:wipe", "Remove an account's records."),
    "restore": ("worker.cli.backfill:restore", "Publish all items of an account again."),
    "forget": ("worker.cli.wipe:forget", "Remove all data of an account that is erased."),
    "sync": ("worker.cli.items:sync", "Sync one item now, without the queue."),
    "enqueue": ("worker.cli.items:enqueue", "Enqueue one item."),
    "watch": ("worker.cli.watch:watch", "Enqueue changes from MongoDB's change stream."),
    "show": ("worker.cli.items:show", "Show an item's document, state and record."),
    "flower": ("worker.cli.flower:flower", "Run Flower, which shows workers and tasks."),
    "alive": ("worker.cli.alive:alive", "Check that a worker or beat is running."),
    "rotate-keys": ("worker.cli.keys:rotate_keys", "Encrypt all secrets with the first key."),
    "new-key": ("worker.cli.keys:new_key", "Print a new key for SECRET_KEYS."),
}


class LazyGroup(CommandGroup):
    """A group that imports a command when it is used; its help imports no command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, not sorted."""
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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that start with `incomplete`."""
        commands = [
            CompletionItem(name, help=brief)
            for name, (_, brief) in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print expected errors without a traceback."""
        print_errors_safely()
        ctx.color = None if allows_color() else False  # None: if the output is a terminal
        try:
            with on_interrupt("Interrupted."):
                return super().invoke(ctx)
        except click.UsageError as error:
            raise UsageError(error) from error
        except expected_errors() as error:
            from worker.operations.unavailable import explain

            raise CommandError(explain(error)) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="media-atproto")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read environment variables that are not set from this file.  "
    "[default: .env, if it exists and only you can write to it]",
)
@click.pass_context
def main(ctx: click.Context, env_file: Path | None) -> None:
    """Publish a media platform's MongoDB documents as AT Protocol records.

    \b
    Try it on this machine, with this package only:
      media-atproto demo

    \b
    Run services and a worker for documents of your own (docs/your-data.md):
      media-atproto stack --user alice --worker --env-file .env
      media-atproto show mood first-mood

    Help for a command: media-atproto COMMAND --help.
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    ctx.obj = env_file
