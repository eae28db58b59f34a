"""An account that moves to another PDS, while the old one still accepts its writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from bson import ObjectId

from tasks import enqueue
from tests.faults.stage import Stage
from tests.migration import Emigrant, refs_at, second_pds
from worker.media import media_type
from worker.pds.pds_cache import CachedPds, PdsCache

_MOODS = media_type("mood").nsid
_SOME = 3
_HOUR = 3600.0


def move_account(stage: Stage) -> None:
    """Move an account; sync items at its old PDS, and wait until the new one has them.

    One item is hidden after the move, so its record is deleted at the old PDS only.
    """
    folder = stage.folder / f"pds-{uuid4().hex[:8]}"
    with second_pds(stage.stack, folder, stage.environ) as url, _trusting(stage, url):
        name = f"emigrant-{uuid4().hex[:8]}"
        emigrant = Emigrant.sign_up(stage.stack.plc.url, stage.stack.pds.url, name)
        with _user(stage, emigrant) as subject:
            hidden, *earlier = _publish(stage, subject)
            emigrant.move(url)
            later = _publish(stage, subject)
            stage.platform.edit("mood", hidden, deleted=True)
            enqueue("mood", hidden)
            _wait_for_status(stage, [hidden], "removed")
            assert not refs_at(url, emigrant.account.did, _MOODS) & _texts(later), (
                "no write went astray"
            )
            _pass_time(stage, emigrant.account.did)
            expected = _texts([*earlier, *later])
            stage.wait(
                lambda: refs_at(url, emigrant.account.did, _MOODS) == expected,
                "all to be at the new PDS",
            )
            _wait_for_status(stage, [*earlier, *later], "synced")
            _wait_for_status(stage, [hidden], "removed")


@contextmanager
def _trusting(stage: Stage, url: str) -> Iterator[None]:
    """Have a fleet that may call another PDS of the operator."""
    stage.environ["TRUSTED_PDS_URLS"] = url
    stage.dismiss()
    stage.man(proxied=False, resolved=True, skews=(0.0, 0.0), mongodb="")
    try:
        yield
    finally:
        del stage.environ["TRUSTED_PDS_URLS"]


@contextmanager
def _user(stage: Stage, emigrant: Emigrant) -> Iterator[str]:
    """Have a user with this account; delete all of theirs at the end."""
    database, subject = stage.platform.database, f"auth0|{emigrant.name}"
    stage.platform.add_user(subject, emigrant.account, emigrant.name)
    try:
        yield subject
    finally:
        for collection in ("users", "@handles", "atproto_accounts"):
            database[collection].delete_many({"_id": subject})
        database["moods"].delete_many({"user": subject})


def _publish(stage: Stage, subject: str) -> list[ObjectId]:
    """Save moods, and wait until they are synced."""
    moods = [stage.platform.save_mood(uuid4().hex, subject) for _ in range(_SOME)]
    for mood in moods:
        enqueue("mood", mood)
    _wait_for_status(stage, moods, "synced")
    return moods


def _wait_for_status(stage: Stage, moods: list[ObjectId], status: str) -> None:
    stage.wait(
        lambda: {stage.platform.state("mood", mood).get("status") for mood in moods} == {status},
        f"{len(moods)} moods to be {status}",
    )


def _pass_time(stage: Stage, did: str) -> None:
    """Let an hour pass since the directory named the account's PDS."""
    cache = PdsCache(stage.queue, stage.world.services.pds.vault)
    entry = cache.find(did)
    assert entry
    cache.save(did, CachedPds(entry.url, entry.found_at - _HOUR, entry.fresh_until - _HOUR))


def _texts(moods: list[ObjectId]) -> set[str]:
    return {str(mood) for mood in moods}
