"""What commands read from env files and print of texts that anyone may have written."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from worker.cli.environment import complete_environment, read_env_file
from worker.cli.output import Table, print_table
from worker.core.text import printable, truncate
from worker.dev.stack.environment import as_env_file


def env_file(folder: Path, text: str) -> Path:
    """Write an env file."""
    file = folder / "env"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=plain", "plain"),
        ("NAME=", ""),
        ("export NAME=exported", "exported"),
        ("  NAME=indented  ", "indented"),
        ("NAME='single $HOME'", "single $HOME"),
        ('NAME="double # quoted"', "double # quoted"),
        ("NAME={site}/#{code}", "{site}/#{code}"),
        ("NAME=a=b&c", "a=b&c"),
        ("NAME=value # and a comment", "value"),
        ("NAME= # nothing", ""),
        ("NAME=windows\r", "windows"),
        ("NAME=ünïcode", "ünïcode"),
    ],
)
def test_env_file_is_read_as_a_shell_reads_it(tmp_path: Path, line: str, value: str) -> None:
    """Comments and empty lines aside, and without expanding anything."""
    file = env_file(tmp_path, f"# a comment\n\n{line}\n")
    assert read_env_file(file) == {"NAME": value}


@pytest.mark.parametrize("value", ["it's", 'say "hi"', "a b", "mongodb://h/?a=1&b=2", "#", "\\"])
def test_what_the_stack_writes_is_read_back(tmp_path: Path, value: str) -> None:
    """Whatever characters a value holds."""
    file = env_file(tmp_path, as_env_file({"NAME": value}))
    assert read_env_file(file) == {"NAME": value}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("SECRET", "not of the form NAME=value"),
        ("1NAME=SECRET", "not of the form NAME=value"),
        ("NAME='SECRET", "No closing quotation"),
        ("NAME=SECRET SECRET", "has to be in quotes"),
        ("NAME= SECRET", "has to be in quotes"),
    ],
)
def test_faulty_line_is_named_and_not_quoted(tmp_path: Path, line: str, fault: str) -> None:
    """Its number is enough to find it, and what is in it may be a secret."""
    with pytest.raises(click.BadParameter, match=fault) as caught:
        read_env_file(env_file(tmp_path, f"GOOD=1\n{line}\n"))
    assert "line 2" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """With its name, not with a traceback."""
    (tmp_path / "env").write_bytes(b"NAME=\xff")
    with pytest.raises(click.BadParameter, match="not UTF-8"):
        read_env_file(tmp_path / "env")


def test_process_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file gives what is not set, so that one variable can be replaced for one call."""
    set_for_this_test(monkeypatch, SET="mine", NEW=None)
    complete_environment(env_file(tmp_path, "MEDIA_TEST_SET=other\nMEDIA_TEST_NEW=new\n"))
    assert (os.environ["MEDIA_TEST_SET"], os.environ["MEDIA_TEST_NEW"]) == ("mine", "new")


def test_env_file_of_the_folder_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`.env` where one stands, if there is one."""
    set_for_this_test(monkeypatch, NEW=None)
    monkeypatch.chdir(tmp_path)
    complete_environment(None)
    assert "MEDIA_TEST_NEW" not in os.environ
    env_file(tmp_path, "MEDIA_TEST_NEW=new\n").rename(".env")
    complete_environment(None)
    assert os.environ["MEDIA_TEST_NEW"] == "new"


def set_for_this_test(monkeypatch: pytest.MonkeyPatch, **variables: str | None) -> None:
    """Set MEDIA_TEST_* variables, or (None) have them unset; all is undone after the test."""
    for name, value in variables.items():
        monkeypatch.setenv(f"MEDIA_TEST_{name}", value or "")
        if value is None:
            monkeypatch.delenv(f"MEDIA_TEST_{name}")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 雨 [bold]", "plain ünïcode 雨 [bold]"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("two\nlines", r"two\nlines"),
        ("\x9b31m", r"\x9b31m"),
        ("gnp\u202exe.", r"gnp\u202exe."),
        ("\ud800", r"\ud800"),
    ],
)
def test_text_cannot_steer_the_terminal(text: str, shown: str) -> None:
    """Moods are written by anyone: escape codes and overrides are shown, not obeyed."""
    assert printable(text) == shown


def test_long_text_is_cut_with_its_length() -> None:
    """A program of 50,000 characters is not printed whole."""
    assert truncate("x" * 50_000, 300) == "x" * 300 + "... (50000 characters)"
    assert truncate("short", 300) == "short"


def test_table_is_aligned_text_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal there is neither a frame nor a colour nor trailing space."""
    print_table(Table([("a", "1"), ("long\n", "")], header=("name", "value"), title="Things"))
    assert capsys.readouterr().out == "Things\n  name    value\n  a       1\n  long\\n\n"
