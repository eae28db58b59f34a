"""Confirm a change: by typing a word at the terminal, or with an option in scripts."""

from __future__ import annotations

import sys

import click

from worker.cli.output import ExitCode, echo, exit_with
from worker.core.text import printable


def check_can_ask(options: str, *, yes: bool) -> None:
    """Raise click.UsageError if there is no terminal; `options` are those for scripts."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError(f"no terminal to confirm at: give {options}")


def confirm(purpose: str, word: str, *, yes: bool) -> None:
    """Ask for `word`, unless `yes`; end the command with FOUND if another word is typed."""
    if yes:
        return
    question = f"{purpose}, type {printable(word)}"
    typed = click.prompt(question, default="", show_default=False, err=True)
    if typed.strip() != word:
        echo(f"That is not {word}: nothing was changed.", err=True)
        exit_with(ExitCode.FOUND)
