"""Help texts and wrong usage: wrapped texts, and suggestions for mistyped names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from worker.cli.tables import wrap
from worker.core.suggestions import did_you_mean

if TYPE_CHECKING:
    _Names = click.Choice[str]
else:
    _Names = click.Choice  # not generic before click 8.4

_LIST = re.compile(r" *\S+ {2,}")  # the name in a line of a list, and the spaces after it


class Choice(_Names):
    """A choice of names; the error for another one suggests similar names."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            suggestion = did_you_mean(str(value), self.choices)
            self.fail(error.message + suggestion, param, ctx)


class _HelpFormatter(click.HelpFormatter):
    """Also wraps the lines of blocks that click leaves as they are."""

    def getvalue(self) -> str:
        return "\n".join(self._lines(super().getvalue()))

    def _lines(self, text: str) -> Iterator[str]:
        for line in text.split("\n"):
            name = _LIST.match(line)
            indent = len(name[0]) if name else len(line) - len(line.lstrip()) + 2
            yield from wrap(line, self.width, indent)


class _Context(click.Context):
    """The context of a command; its help fits the terminal."""

    formatter_class = _HelpFormatter


class CommandGroup(click.Group):
    """A group that suggests a command for a mistyped one."""

    context_class = _Context

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name, the command and its arguments; raises click.UsageError."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"No such command {args[0]!r}.{did_you_mean(args[0], known)}")
        name, command, rest = super().resolve_command(ctx, args)
        if command:
            _fit_help(command)
        return name, command, rest


def _fit_help(command: click.Command) -> None:
    """Make the help of a command, and of those of a group, fit the terminal."""
    command.context_class = _Context
    if isinstance(command, click.Group):
        for each in command.commands.values():
            _fit_help(each)
