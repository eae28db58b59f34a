"""The one convention of all commands that destroy data: `--dry-run`, a typed word, `--yes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.bulk import MOOD, account, put_foreign, repo, start_over
from tests.terminal import call, call_typing
from tests.world import World, Worlds
from worker.database.removals import Removal
from worker.media.validation.files import OWN_FOLDER, read_file
from worker.operations.lexicons import plan_publications, publish


@dataclass(frozen=True)
class Case:
    """A destructive command of ada's account, and the word that confirms it.

    `prepare` gives it something to do. `found` is the exit code of a rehearsal.
    """

    arguments: str
    word: Callable[[World], str]
    prepare: Callable[[World], object]
    found: int = 0

    def command(self, world: World) -> list[str]:
        """Return the arguments, with ada's handle and the name of her removal."""
        names = {"USER": account(world, world.ada).handle, "REMOVAL": removal(world).key}
        return [names.get(each, each) for each in self.arguments.split()]


def removal(world: World) -> Removal:
    """Return the removal that is saved for ada."""
    return Removal("mood", world.ada, "65f1c0ffee65f1c0ffee0001", "gone")


@pytest.fixture(scope="module")
def world(worlds: Worlds) -> Iterator[World]:
    """Open a world for this module, without documents and records."""
    with worlds.open(SWEEP_GRACE_SECONDS="0") as opened:
        start_over(opened)
        yield opened


def publish_mood(world: World) -> None:
    """Save and publish a mood of ada's."""
    world.publish_mood("calm")


def put_orphan(world: World) -> None:
    """Write a record that names no document to ada's repo."""
    put_foreign(world, world.ada, "mood", "orphan", text="?", ref="?")


def save_removal(world: World) -> None:
    """Save a removal of ada's."""
    world.services.storage.removals.begin(removal(world))


def publish_looser_lexicon(world: World) -> None:
    """Publish a lexicon in ada's repo that ours would break."""
    loose: dict[str, Any] = dict(
        read_file(OWN_FOLDER / "computer/aesthetic/mood.json", OWN_FOLDER).document
    )
    loose["description"] = "looser"
    loose["defs"]["main"]["record"]["properties"]["text"]["maxLength"] = 9000
    ada = repo(world, world.ada)
    list(publish(ada, plan_publications(ada, [loose]), break_compatibility=True))


def everything(world: World) -> Mapping[str, object]:
    """Return all that is in MongoDB, and the revisions of all repos."""
    database = world.services.storage.database
    stored = {
        name: sorted(map(repr, database[name].find())) for name in database.list_collection_names()
    }
    return stored | {did: world.revision(did) for did in world.dids.values()}


CASES = {
    "wipe": Case("wipe USER", lambda world: account(world, world.ada).handle, publish_mood),
    "forget": Case("forget USER", lambda world: world.ada, publish_mood),
    "audit --repair": Case("audit --repair", lambda _: "repair", put_orphan, found=1),
    "removals --drop": Case("removals --drop REMOVAL", lambda _: "drop", save_removal),
    "rotate-keys": Case("rotate-keys", lambda _: "encrypt", everything),
    "lexicons publish": Case(
        f"lexicons publish --account USER --break-compatibility {MOOD.nsid}",
        lambda _: "break",
        publish_looser_lexicon,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_destructive_commands_change_nothing_before_they_are_confirmed(
    world: World, name: str
) -> None:
    """A rehearsal; without a terminal and `--yes`; another word, or none; then the right one."""
    case = CASES[name]
    case.prepare(world)
    command, before = case.command(world), everything(world)
    rehearsal = call(world, *command, "--dry-run")
    assert rehearsal.exit_code == case.found, rehearsal.output
    assert everything(world) == before
    refused = call(world, *command)
    assert refused.exit_code == 2, refused.output
    assert "give --yes, or --dry-run to change nothing" in " ".join(refused.stderr.split())
    for typed in ("yes\n", "\x04"):
        declined = call_typing(world, *command, typed=typed)
        assert declined.exit_code == 1, declined.output
        assert f"That is not {case.word(world)}: nothing was changed." in declined.stderr
    assert everything(world) == before
    done = call_typing(world, *command, typed=f"{case.word(world)}\n")
    assert f", type {case.word(world)}: " in done.stderr
    assert done.exit_code == 0, done.output
    assert everything(world) != before
