"""`media-atproto doctor`: check services, credentials and settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.environment import complete_environment
from worker.cli.output import UNCHANGED, ExitCode, Style, echo, exit_with, on_interrupt, print_json

if TYPE_CHECKING:
    from worker.operations.doctor import CheckResult

_STYLES: Mapping[str, Style] = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "yellow"}
_INTERRUPTED = "Interrupted. Nothing was changed, except that accounts may have logged in."
_ALL = 2**31 - 1


@click.command()
@click.option(
    "--accounts",
    "most",
    metavar="N",
    default="0",
    help="Also log in with N user accounts, or `all`. Existing sessions are reused.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
@click.pass_obj
def doctor(env_file: Path | None, most: str, *, as_json: bool) -> None:
    """Check services, credentials, indexes, lexicons, clocks, versions and limits.

    Prints a line for each check: what was found and, after a problem, what to do. If a service is
    down, which takes a few seconds to find out, only the checks that need it are skipped. Nothing
    is changed, except that accounts without a session log in. As in a worker, an account that
    cannot log in is blocked for a while.

    \b
    Exit codes:
      0  no failures; there may be warnings
      1  failures
      2  error: wrong usage
    """  # noqa: D301 (click takes a real backspace as "do not rewrap")
    number = _number(most)
    complete_environment(env_file)
    from worker.operations.doctor import Level, examine

    levels = []
    with on_interrupt(_INTERRUPTED if number else UNCHANGED):
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
