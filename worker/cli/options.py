"""The options `--type` and `--user` of the commands for many items."""

from __future__ import annotations

from collections.abc import Sequence

import click

from worker.cli.usage import Choice
from worker.media import MEDIA_TYPES, MediaType

TYPES = click.option(
    "--type",
    "type_names",
    multiple=True,
    type=Choice(list(MEDIA_TYPES)),
    metavar="TYPE",
    help=f"Only this type ({', '.join(MEDIA_TYPES)}); can be given several times.",
)
USERS = click.option(
    "--user",
    "names",
    multiple=True,
    metavar="USER",
    help="Only this user: a screen name, a handle, a subject or a DID; can be given several times.",
)


def chosen_types(names: Sequence[str]) -> list[MediaType]:
    """Return the types with these names; all if there are none."""
    return [kind for name, kind in MEDIA_TYPES.items() if not names or name in names]
