"""Types of arguments that several commands have."""

from __future__ import annotations

import click

from worker.core.ids import InvalidIdError, parse_id


def as_item_id(text: str) -> str:
    """Return the id of an item unchanged; raises click.BadParameter if it cannot be one."""
    try:
        parse_id(text)
    except InvalidIdError as error:
        raise click.BadParameter(error.message) from None
    return text
