"""`media-atproto doctor`: check that everything is set up right."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import complete_environment
from worker.cli.output import ExitCode, Style, echo, exit_with, print_json

if TYPE_CHECKING:
    from worker.operations.doctor import CheckResult

_STYLES: Mapping[str, Style] = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "yellow"}
_ALL = 2**31 - 1


@click.command()
@click.option(
    "--accounts",
    "most",
    metavar="N",
    default="0",
    help="Try so many users' accounts as well, or `all`; sessions that there are are used.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.pass_obj
def doctor(env_file: Path | None, most: str, *, as_json: bool) -> None:
    """Check services, credentials, indexes, lexicons, clocks, versions and limits.

    A line for each thing looked at: what was found and, where it is not right, what to do. A
    service that is away hides nothing but what cannot be seen without it, and is waited for some
    seconds. Nothing is changed, but that an account without a session logs in, and is left alone
    for a while if it cannot, as a worker would do.

    \b
    Exit codes:
      0  all is right, or there are warnings only
      1  something does not work
      2  wrong usage
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    number = _number(most)
    complete_environment(env_file)
    from worker.operations.doctor import Level, examine

    levels = []
    for finding in examine(os.environ, number):
        levels.append(finding.level)
        (_print_line if as_json else _print_result)(finding)
    counts = {str(level): levels.count(level) for level in Level}
    if not as_json:
        echo(", ".join(f"{count} {level}" for level, count in counts.items() if count))
    exit_with(ExitCode.FOUND if counts["fail"] else ExitCode.OK)


def _number(text: str) -> int:
    if text == "all":
        return _ALL
    if not text.isdecimal():
        raise click.BadParameter("must be a number, or all", param_hint="--accounts")
    return int(text)


def _print_result(finding: CheckResult) -> None:
    advice = f": {finding.advice}" if finding.advice else ""
    place = f"{finding.level:<4}  {finding.subject:<11}  {finding.check:<12}"
    echo(f"{place}  {finding.found}{advice}", _STYLES[finding.level])


def _print_line(finding: CheckResult) -> None:
    print_json(asdict(finding))
