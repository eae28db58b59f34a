"""The convention for destructive commands: `--dry-run`, a typed word, or `--yes` in scripts."""

from __future__ import annotations

import sys

import click

from worker.cli.output import CommandError, ExitCode, echo, exit_with, on_interrupt
from worker.core.text import printable

DRY_RUN = click.option("--dry-run", is_flag=True, help="Print what would be done; change nothing.")
YES = click.option("--yes", is_flag=True, help="Do not ask for confirmation; for scripts.")


class NotDoneError(CommandError):
    """A command did not do what it was told to, and changed nothing."""

    exit_code = ExitCode.FOUND


def check_can_ask(*, dry_run: bool = False, yes: bool) -> None:
    """Raise click.UsageError if a confirmation is required, and there is no terminal."""
    if not (dry_run or yes or sys.stdin.isatty()):
        message = "no terminal to ask for confirmation: give --yes, or --dry-run to change nothing"
        raise click.UsageError(message)


def confirm(purpose: str, word: str, *, yes: bool) -> None:
    """Ask for `word`, unless `yes`; end the command with FOUND if another word is typed."""
    if yes:
        return
    wanted = printable(word)
    click.echo(f"{printable(purpose)}, type {wanted}: ", nl=False, err=True)
    with on_interrupt("Nothing was changed."):
        typed = sys.stdin.readline()
    if typed.strip() != wanted.strip():
        echo(f"That is not {wanted}: nothing was changed.", err=True)
        exit_with(ExitCode.FOUND)
