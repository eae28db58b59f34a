"""Every command line and make target in the documentation exists.

Words in capitals, such as USER and TYPE, stand for values; so do `$NAME` and `...`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import click
import pytest

from tests.pages import ROOT, DocumentationPage, documentation_pages, split_command
from worker.cli import main

PAGES = documentation_pages()
_VALUES = {
    "COMMAND": "status",
    "ID": "65f1c0ffee65f1c0ffee0001",
    "N": "1",
    "SECONDS": "1",
    "TYPE": "painting",
}
_PLACEHOLDER = re.compile(r"[@\[]?[A-Z][A-Z_-]*\]?(\.\.\.)?|\$\{?\w+\}?|\.\.\.")


def parse(command: click.Command, name: str, arguments: Sequence[str]) -> None:
    """Parse arguments with a command and its subcommands; run nothing."""
    try:
        context = command.make_context(name, list(arguments))
    except click.exceptions.Exit as ended:  # --help
        assert ended.exit_code == 0  # noqa: PT017
        return
    with context:
        if isinstance(command, click.Group):
            rest = [*context._protected_args, *context.args]
            sub_name, subcommand, others = command.resolve_command(context, rest)
            assert sub_name
            assert subcommand
            parse(subcommand, sub_name, others)


def values(words: Sequence[str]) -> list[str]:
    """Return the words of a command line, with a value for each placeholder.

    An env file exists only where the command is run.
    """
    if words[:1] == ("--env-file",):
        words = words[2:]
    return [_value(word) for word in words if word not in {"[OPTIONS]", "..."}]


def _value(word: str) -> str:
    if not _PLACEHOLDER.fullmatch(word):
        return word
    return _VALUES.get(word.strip("[].@${}"), _VALUES["ID"])


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_command_line_of_a_page_is_valid(page: DocumentationPage) -> None:
    """Commands, options, choices and the number of arguments."""
    errors = {words: error_in(words) for words in page.command_lines()}
    assert {words: error for words, error in errors.items() if error} == {}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_each_command_in_the_text_of_a_page_is_valid(page: DocumentationPage) -> None:
    """It may be named without its arguments, and an option without its value."""
    errors = {words: error_in(words) for words in page.commands_in_text()}
    missing = (click.MissingParameter, click.BadOptionUsage)
    assert {
        words: error for words, error in errors.items() if error and not isinstance(error, missing)
    } == {}


def error_in(words: Sequence[str]) -> click.UsageError | None:
    """Return the error of a command line, or None if it is valid."""
    try:
        parse(main, "media-atproto", values(words))
    except click.UsageError as error:
        return error
    return None


def test_each_make_target_of_a_page_exists() -> None:
    """Those of other projects are not named `make`."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    named = {target: page.path.name for page in PAGES for target in page.make_targets()}
    assert named.keys() - targets == set()
    assert len(named) > 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("status # counts", ("status",)),
        ("failures --json | jq -r .id", ("failures", "--json")),
        ("show painting ID && echo", ("show", "painting", "ID")),
        ("forget 'auth0|cyd' --yes", ("forget", "auth0|cyd", "--yes")),
        ("stack --env-file .env' for services", ("stack", "--env-file", ".env")),
    ],
)
def test_the_arguments_of_a_command_end_with_it(text: str, words: tuple[str, ...]) -> None:
    """Also within quotes."""
    assert split_command(text) == words


@pytest.mark.parametrize(
    "line", ["statsu", "status --jsno", "backfill --type song", "show", "lexicons chek"]
)
def test_an_invalid_command_line_is_reported(line: str) -> None:
    """An unknown command, option or choice, or a missing argument."""
    with pytest.raises(click.UsageError):
        parse(main, "media-atproto", values(split_command(line)))
