"""Templates, and how texts of others get into them: escaped, and never as markup."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from worker.core.clock import now, rfc3339
from worker.core.documents import DocumentId, ItemRef
from worker.core.ids import message_id
from worker.operations.error_help import help_for
from worker.operations.status import NO_CODE
from worker.operations.text import as_utc, format_duration, format_value, printable
from worker.web.snapshots import Unavailable

Values = Mapping[str, object]


class Templates:
    """The pages' templates."""

    def __init__(self) -> None:
        self._environment = Environment(
            autoescape=True,
            loader=PackageLoader("worker.web"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "ago": format_age,
            "item_url": item_url,
            "moment": format_time,
            "number": format_number,
            "shown": format_text,
            "ticked": mark_code,
        }
        self._environment.tests["missing"] = lambda value: isinstance(value, Unavailable)
        self._environment.globals |= {"url": url, "action": recommended_action}

    def render(self, name: str, values: Values, status: int = 200) -> HTMLResponse:
        """Return a page."""
        return HTMLResponse(self._environment.get_template(name).render(dict(values)), status)


def url(path: str, values: Mapping[str, object]) -> str:
    """Return the address of a page; values that are empty are left out."""
    given = {name: str(value) for name, value in values.items() if value not in {"", None}}
    return f"{path}?{urlencode(given)}" if given else path


def item_url(ref: ItemRef) -> str:
    """Return the address of an item's page: any id has its place in a query, none in a path."""
    return url("/item", {"type": ref.type, "id": id_text(ref.id)})


def id_text(document_id: DocumentId) -> str:
    """Return an id as pages name it."""
    return str(message_id(document_id))


def format_text(value: object) -> Markup:
    """Return a value that anyone may have written, in one line, and apart from what is around it.

    What is not to be seen is escaped, and of what runs from right to left its neighbours do not.
    """
    if isinstance(value, datetime):
        return format_time(value)
    return Markup("<bdi>{}</bdi>").format(printable(format_value(value)))


def format_time(value: datetime) -> Markup:
    """Return a moment in UTC, and how far it is from now."""
    utc = as_utc(value)
    seconds = (now() - utc).total_seconds()
    far = (
        f"{format_duration(abs(seconds))} ago"
        if seconds >= 0
        else f"in {format_duration(-seconds)}"
    )
    return Markup('<time datetime="{}">{} UTC</time> <span class="far">({})</span>').format(
        rfc3339(utc), f"{utc:%Y-%m-%d %H:%M:%S}", far
    )


def recommended_action(code: str) -> Markup:
    """Return what to do about an error code; nothing for what has none."""
    return Markup("") if code == NO_CODE else mark_code(help_for(code).action)


def format_age(value: datetime | None, at: datetime) -> str:
    """Return how long ago a moment was, seen from another; nothing for none."""
    return format_duration((at - value).total_seconds()) if value else ""


def format_number(value: int) -> str:
    """Return a number with its thousands set apart."""
    return f"{value:,}"


def mark_code(text: str) -> Markup:
    """Return a text of ours, with what is between backticks set as code."""
    parts = (escape(part) for part in text.split("`"))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )
