"""Render the templates; texts from documents and PDSes are always escaped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from worker.core.clock import now, rfc3339
from worker.core.documents import ItemRef, Status
from worker.core.text import printable
from worker.operations.error_help import help_for
from worker.operations.status import NO_CODE
from worker.operations.text import as_utc, format_duration, format_value
from worker.web.snapshots import Unavailable

Values = Mapping[str, object]
_ERRORS = (Status.FAILED, Status.PARTIAL, Status.PENDING)


class Templates:
    """Renders templates with this module's filters and functions."""

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
            "exact": format_attribute,
            "item_url": item_url,
            "number": "{:,}".format,
            "shown": format_text,
            "ticked": mark_code,
        }
        self._environment.tests["missing"] = lambda value: isinstance(value, Unavailable)
        self._environment.globals |= {"url": url, "action": recommended_action}
        self._environment.globals |= {"statuses": list(Status), "errors": _ERRORS}

    def render(self, name: str, values: Values, status: int = 200) -> HTMLResponse:
        return HTMLResponse(self._environment.get_template(name).render(dict(values)), status)


def url(path: str, values: Mapping[str, object]) -> str:
    """Build a URL from a path and the query parameters that are not empty."""
    given = {name: str(value) for name, value in values.items() if value not in {"", None}}
    return f"{path}?{urlencode(given)}" if given else path


def item_url(ref: ItemRef) -> str:
    """Build the URL of an item's page; the id is in the query, encoded."""
    return url("/item", {"type": ref.type, "id": ref.id})


def format_text(value: object) -> Markup:
    """Format an untrusted value as HTML, with unprintable characters escaped.

    The element `<bdi>` prevents right-to-left text from reordering the text around it.
    """
    if isinstance(value, datetime):
        return format_time(value)
    return Markup("<bdi>{}</bdi>").format(printable(format_value(value)))


def format_attribute(text: str) -> Markup:
    """Format the exact value of an attribute, with unprintable characters as references."""
    characters = (c if c.isprintable() else f"&#{ord(c)};" for c in str(escape(text)))
    return Markup("".join(characters))  # noqa: S704 - escaped above


def format_time(value: datetime) -> Markup:
    """Format a time as HTML, in UTC and relative to now."""
    utc = as_utc(value)
    seconds = (now() - utc).total_seconds()
    duration = format_duration(abs(seconds))
    far = f"{duration} ago" if seconds >= 0 else f"in {duration}"
    return Markup('<time datetime="{}">{} UTC</time> <span class="far">({})</span>').format(
        rfc3339(utc), f"{utc:%Y-%m-%d %H:%M:%S}", far
    )


def recommended_action(code: str) -> Markup:
    """Format the recommended action for an error code as HTML; empty for NO_CODE."""
    return Markup("") if code == NO_CODE else mark_code(help_for(code).action)


def format_age(value: datetime | None, at: datetime) -> str:
    """Format the duration from `value` to `at`; empty if `value` is None."""
    return format_duration((at - value).total_seconds()) if value else ""


def mark_code(text: str) -> Markup:
    """Escape a text, and replace pairs of backticks by `<code>` elements."""
    parts = (escape(part) for part in text.split("`"))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )
