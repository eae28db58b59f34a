"""All commands: their exit codes, --json, suggestions, completion and help at each width."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from worker.cli import main
from worker.cli.output import ExitCode
from worker.operations.error_help import ERROR_HELP

# What these print are lines about their progress, one outcome, or a key.
WITHOUT_FIGURES = (
    *("alive", "enqueue", "flower", "lexicons publish", "new-key", "stack", "sync", "watch", "web"),
)
WITHOUT_JSON = ("backfill", "demo", "forget", "restore", "wipe")
NO_JSON = (*WITHOUT_FIGURES, *WITHOUT_JSON)
# Other programs, or MongoDB, continue with what these started; or they are repeated to go on.
CONTINUING = (
    *("audit", "backfill", "demo", "forget", "init", "restore", "retry", "rotate-keys", "stack"),
    *("watch", "web", "wipe"),
)


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield the name, the command and a context of each command that is not a group."""
    context = click.Context(main, info_name="media-atproto")
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        inner = command.commands if isinstance(command, click.Group) else {}
        for words, each in inner.items() or [("", command)]:
            yield f"{name} {words}".strip(), each, context


def help_of(name: str, width: int = 80) -> str:
    """Return the help of a command for a terminal of some width."""
    return CliRunner().invoke(main, [*name.split(), "--help"], terminal_width=width).output


COMMANDS = {name: command for name, command, _ in commands()}
HELPS = {name: help_of(name) for name in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_the_exit_codes(name: str) -> None:
    """They are those of all commands; 2 is always an error."""
    text = HELPS[name]
    assert re.search(r"exit codes|exits with", text, re.IGNORECASE)
    codes = dict(re.findall(r"^ {4}(\d+) +(.*)$", text, re.MULTILINE))
    assert {int(code) for code in codes} <= set(ExitCode)
    if codes:
        assert list(codes) == sorted(codes, key=int)
        assert codes["2"].startswith("error: ")


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in NO_JSON])
def test_command_that_prints_figures_has_json(name: str) -> None:
    """For programs, which must not parse tables."""
    assert "--json" in HELPS[name]


@pytest.mark.parametrize("name", CONTINUING)
def test_help_says_that_a_command_can_be_interrupted(name: str) -> None:
    """If something continues after it, or if it runs until then."""
    assert re.search(r"interrupted|Ctrl-C", HELPS[name])


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", [60, 80])
def test_help_fits_the_terminal(name: str, width: int) -> None:
    """Lists of exit codes as well, which click does not wrap; examples are copied as one line."""
    for line in help_of(name, width).splitlines():
        is_example = line.startswith("    ") and "media-atproto " in line
        assert len(line) <= width or len(line.split()) == 1 or is_example


@pytest.mark.parametrize("name", ["", "lexicons", *COMMANDS])
@pytest.mark.parametrize("width", [60, 80])
def test_help_is_not_wrapped_inside_a_word(name: str, width: int) -> None:
    """Not after the hyphens of an option or a command either."""
    assert help_of(name, width).split() == help_of(name, 10_000).split()


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", [60, 80])
def test_exit_codes_are_indented_below_each_other(name: str, width: int) -> None:
    """A line that continues one is as wide as it can be."""
    codes = help_of(name, width).partition("Exit codes")[2].partition("\n\n")[0].splitlines()[1:]
    for line, following in pairwise(codes):
        if not re.match(r" {4}\d", following):
            first, _, _ = following.strip().partition(" ")
            assert len(f"{line} {first}") > width


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["statsu"], "No such command 'statsu'. Did you mean 'status'?"),
        (["lexicons", "chek"], "No such command 'chek'. Did you mean 'check'?"),
        (["failures", "--type", "paintng"], "Did you mean 'painting'?"),
        (["backfill", "--type", "moods"], "Did you mean 'mood'?"),
        (["sync", "paintings", "1"], "Did you mean 'painting'?"),
        (["show", "paintng", "1"], "Did you mean 'painting'?"),
        (["failures", "--typ", "mood"], "No such option '--typ'. Did you mean '--type'?"),
        (["zzzzzz"], "No such command 'zzzzzz'.\n"),
    ],
)
def test_mistyped_name_gets_a_suggestion(arguments: list[str], suggestion: str) -> None:
    """With exit code 2, before anything else is done."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == ExitCode.ERROR
    assert suggestion in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [([], "Missing argument 'ITEM'."), (["paintng", "x"], "Invalid value for 'TYPE': 'paintng'")],
)
def test_show_names_the_wrong_argument(arguments: list[str], message: str) -> None:
    """Not both of them, although they are parsed together."""
    result = CliRunner().invoke(main, ["show", *arguments])
    assert (result.exit_code, message in result.stderr) == (ExitCode.ERROR, True)


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ([], "st", {"stack", "status"}),
        (["lexicons"], "", {"check", "publish"}),
        (["sync"], "p", {"painting", "piece"}),
        (["failures", "--type"], "k", {"kidlisp"}),
        (["retry", "--reason"], "image_", {"image_unreadable", "image_too_large"}),
        (["backfill"], "--dry", {"--dry-run"}),
    ],
)
def test_names_are_completed(words: list[str], incomplete: str, expected: set[str]) -> None:
    """Commands, types, error codes and options."""
    complete = ShellComplete(main, {}, "media-atproto", "_MEDIA_ATPROTO_COMPLETE")
    assert {item.value for item in complete.get_completions(words, incomplete)} == expected


@pytest.mark.parametrize("shell", ["bash_source", "zsh_source", "fish_source"])
def test_completion_script_is_printed(shell: str) -> None:
    """Bash is asked for its version first."""
    environ = {"_MEDIA_ATPROTO_COMPLETE": shell}
    result = CliRunner(env=environ).invoke(main, prog_name="media-atproto")
    assert result.exit_code == ExitCode.OK
    assert "media-atproto" in result.stdout


def test_all_error_codes_are_completed() -> None:
    """So that none has to be typed."""
    complete = ShellComplete(main, {}, "media-atproto", "_MEDIA_ATPROTO_COMPLETE")
    offered = {item.value for item in complete.get_completions(["failures", "--reason"], "")}
    assert offered == {code for each in ERROR_HELP for code in each.codes}
