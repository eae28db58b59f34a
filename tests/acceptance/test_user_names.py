"""Each command that is given a user accepts each name of one, and reports an unknown one alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click
import pytest
from bson import ObjectId

from tests.bulk import account, start_over
from tests.terminal import call, run
from tests.world import World, Worlds
from worker.cli import main

COMMANDS = {
    "sync": "sync mood ITEM --user",
    "enqueue": "enqueue mood ITEM --user",
    "backfill": "backfill --dry-run --user",
    "restore": "restore --dry-run",
    "audit": "audit --quick --type mood --user",
    "wipe": "wipe --dry-run --type mood",
    "forget": "forget --dry-run",
    "accounts": "accounts --resume",
    "lexicons publish": "lexicons publish --dry-run computer.aesthetic.mood --account",
}
KINDS = ("@screen name", "handle", "subject", "DID")


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    """Open a world for this module, without documents and records."""
    with worlds.open_with_redis() as opened:
        start_over(opened)
        opened.services.storage.database["users"].insert_one({"_id": "auth0|no-account"})
        yield opened


def names(world: World) -> Mapping[str, str]:
    """Return ada's names by kind; all spellings are in tests/contract/test_accounts.py."""
    ada = account(world, world.ada)
    every = (f"@{ada.screen_name}", ada.handle, ada.subject, ada.did)
    return dict(zip(KINDS, every, strict=True))


def arguments(command: str, name: str, item: ObjectId) -> list[str]:
    """Return the arguments of a command for a user."""
    return [*COMMANDS[command].replace("ITEM", str(item)).split(), name]


def commands_with_a_user() -> Iterator[str]:
    """Yield the commands that have a parameter for a user."""
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        subcommands = command.commands if isinstance(command, click.Group) else {}
        every = {name: command} | {f"{name} {sub}": each for sub, each in subcommands.items()}
        for full, each in every.items():
            metavars = [parameter.metavar or "" for parameter in each.params]
            if any(metavar.startswith(("USER", "HANDLE")) for metavar in metavars):
                yield full


def test_all_commands_with_a_user_are_in_the_table() -> None:
    """A new one is found by its metavar."""
    assert set(commands_with_a_user()) == COMMANDS.keys()


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "enqueue"])
def test_a_user_is_accepted_by_each_name(world: World, command: str) -> None:
    """The output is that for the subject."""
    item = ObjectId()
    results = {
        kind: call(world, *arguments(command, name, item)) for kind, name in names(world).items()
    }
    expected = results["subject"]
    assert expected.exit_code == 0, expected.output
    outputs = {kind: (each.exit_code, each.stdout) for kind, each in results.items()}
    assert outputs == dict.fromkeys(KINDS, (0, expected.stdout))


def test_enqueue_finds_the_subject_of_a_name(world: World, bare_environ: dict[str, str]) -> None:
    """It needs MongoDB for that, and nothing else."""
    needed = ("REDIS_URL", "MONGODB_CONNECTION_STRING", "MONGODB_NAME")
    environ = {**bare_environ, **{name: world.environ[name] for name in needed}}
    code, _, error = run(arguments("enqueue", names(world)["handle"], ObjectId()), environ)
    assert code == 0, error
    message = world.services.storage.redis.lindex("live", 0)
    assert world.ada in str(message)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "enqueue"])
def test_an_unknown_user_is_an_error(world: World, command: str) -> None:
    """With the same message everywhere, and the names that are similar."""
    screen_name = str(account(world, world.ada).screen_name)
    misspelt = f"@{screen_name.upper()}"
    result = call(world, *arguments(command, misspelt, ObjectId()))
    assert (result.exit_code, result.stdout) == (2, "")
    told = f"Error: unknown user '{misspelt}'. Did you mean '{screen_name}'"
    assert result.stderr.startswith(told)


@pytest.mark.parametrize("command", ["sync", "wipe"])
def test_a_user_without_an_account_is_an_error(world: World, command: str) -> None:
    """The message names the fields that are missing."""
    result = call(world, *arguments(command, "auth0|no-account", ObjectId()))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the user 'auth0|no-account' has no account" in result.stderr
