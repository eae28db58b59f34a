"""The commands whose output the pages show."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.bulk import put_foreign, repo
from tests.transcripts.stage import ADA, BOB, NOBODY_AT, Stage, Transcript, item_id
from worker.media import media_type

_TORN, _INVALID, _FAILED, _NEVER = (item_id(number) for number in (4, 10, 11, 20))
_THREADS = 4
_WIDTHS = (60, 80, 100, 160)
_FAILURES = "media-atproto failures --reason source_missing"
_NO_MONGODB = {"MONGODB_CONNECTION_STRING": f"mongodb://{NOBODY_AT}/"}
_NO_REDIS = {"REDIS_URL": f"redis://{NOBODY_AT}/0"}
_WRONG_LOGIN = {"REDIS_URL": "redis://operator:old-password@{redis}/0"}
_REMOVAL = f"mood:auth0|dan::{item_id(21)}"

# These change nothing, and run at the same time.
READING = (
    Transcript("status", ("media-atproto status",)),
    *(Transcript(f"status-{each}", ("media-atproto status",), width=each) for each in _WIDTHS),
    *(Transcript(f"failures-{each}", (_FAILURES,), width=each) for each in _WIDTHS),
    Transcript("failures", ("media-atproto failures",), width=100, codes=True),
    Transcript("failures-json", ("media-atproto failures --reason field_invalid --json",)),
    Transcript("show", (f"media-atproto show painting {_TORN}",), width=100, codes=True),
    Transcript("show-failed", (f"media-atproto show {_INVALID}",), width=100, codes=True),
    Transcript("accounts", ("media-atproto accounts",), width=100, codes=True),
    Transcript("removals", ("media-atproto removals",)),
    Transcript("alive", ("media-atproto alive {folder}/live.heartbeat",), numbers_vary=True),
    Transcript(
        "not-alive", ("media-atproto alive {folder}/old.heartbeat",), codes=True, numbers_vary=True
    ),
    Transcript("init", ("media-atproto init",)),
    Transcript("lexicons-check", ("media-atproto lexicons check",)),
    Transcript(
        "lexicons-publish",
        ("media-atproto lexicons publish --account ada.test --dry-run",),
    ),
    Transcript("retry-dry-run", ("media-atproto retry --reason field_invalid --dry-run",)),
    Transcript("backfill-dry-run", ("media-atproto backfill --dry-run",), codes=True),
    Transcript("backfill-sample", ("media-atproto backfill --dry-run --sample 1 --type kidlisp",)),
    Transcript("audit", ("media-atproto audit",), width=100, errors=False, codes=True),
    Transcript("wipe-dry-run", ("media-atproto wipe bob.test --dry-run",)),
    Transcript("forget-dry-run", ("media-atproto forget 'auth0|bob' --dry-run",)),
    Transcript("wipe-pipe", ("media-atproto wipe bob.test",), codes=True),
    Transcript("mistyped-command", ("media-atproto statsu",), codes=True),
    Transcript("mistyped-user", ("media-atproto audit --user adda",), codes=True),
    Transcript("mistyped-reason", ("media-atproto failures --reason field_invlaid",), codes=True),
    Transcript("no-mongodb", ("media-atproto status",), environ=_NO_MONGODB, codes=True),
    Transcript("no-redis", ("media-atproto status",), environ=_NO_REDIS, codes=True),
    Transcript("redis-login", ("media-atproto accounts",), environ=_WRONG_LOGIN, codes=True),
    Transcript("rotate-keys-dry-run", ("media-atproto rotate-keys --dry-run",)),
    Transcript("doctor", ("media-atproto doctor",), numbers_vary=True),
)


def _damage(stage: Stage) -> None:
    """Make records of ada differ from their documents in three ways."""
    world, mood = stage.world, media_type("mood")
    world.platform.edit("mood", item_id(6), mood="edited without a message")
    owned = repo(world, ADA)
    owned.delete(owned.key(mood.nsid, str(world.platform.state("mood", item_id(7))["rkey"])))
    twin = {"ref": str(item_id(8)), "mood": "mood 8", "text": "mood 8"}
    put_foreign(world, ADA, "mood", "3zztwin222222", when="2026-01-20T18:15:00.000Z", **twin)


def _prepare_backfill(stage: Stage) -> None:
    """Save items that no run has seen, and start a worker."""
    for number in range(30, 42):
        stage.save(number, "mood", ADA if number % 3 else BOB, mood=f"mood {number}")
    fields = {"slug": "lost", "code": "p42", "bucket": "user-aesthetic-computer"}
    stage.save(42, "painting", BOB, **fields)
    stage.start_worker()


# These change the platform, and run one after the other.
CHANGING = (
    Transcript("sync", (f"media-atproto sync kidlisp {_NEVER}",)),
    Transcript("enqueue", (f"media-atproto enqueue kidlisp {_NEVER}",)),
    Transcript("status-queued", ("media-atproto status",), width=80),
    Transcript("retry", (f"media-atproto retry {_FAILED}",)),
    Transcript(
        "backfill",
        ("media-atproto backfill --wait",),
        errors=False,
        codes=True,
        prepare=_prepare_backfill,
    ),
    Transcript(
        "audit-findings",
        ("media-atproto audit --user ada.test",),
        errors=False,
        width=100,
        codes=True,
        prepare=_damage,
    ),
    Transcript(
        "audit-repair",
        ("media-atproto audit --user ada.test --repair --yes",),
        errors=False,
        width=100,
        codes=True,
    ),
    Transcript("wipe", ("media-atproto wipe bob.test",), width=100, typed="bob.test\n"),
    Transcript("restore", ("media-atproto restore bob.test --wait",), errors=False, codes=True),
    Transcript("accounts-resume", ("media-atproto accounts --resume cyd.test",)),
    Transcript("forget", ("media-atproto forget 'auth0|bob' --yes",)),
    Transcript(
        "removals-change",
        (
            f"media-atproto removals --retry '{_REMOVAL}'",
            f"media-atproto removals --drop '{_REMOVAL}' --yes",
        ),
    ),
    Transcript("rotate-keys", ("media-atproto rotate-keys --yes",)),
)
TRANSCRIPTS = (*READING, *CHANGING)


def play_all(stage: Stage) -> dict[str, str]:
    """Run all commands; return the text of each block."""
    with ThreadPoolExecutor(_THREADS) as pool:
        read = list(pool.map(stage.play, READING))
    changed = [stage.play(each) for each in CHANGING]
    return {each.name: text for each, text in zip(TRANSCRIPTS, (*read, *changed), strict=True)}
