"""The media type for KidLisp programs; the record contains the source code."""

from __future__ import annotations

from worker.media.base import BuildContext, Draft, MediaType


def build(context: BuildContext, kind: MediaType) -> Draft:
    """Build the draft of a KidLisp program."""
    code = context.text("code")
    fields = {
        "code": code,
        "source": context.text("source"),
        "acUrl": kind.link(context, "acUrl", code=code),
    }
    return Draft(nsid=kind.nsid, fields=kind.record(context, fields))


KIDLISP = MediaType(
    name="kidlisp",
    collection="kidlisp",
    nsid="computer.aesthetic.kidlisp",
    fields=("code", "source", "when"),
    build=build,
    urls={"acUrl": "{site}/${code}"},
    additions=("acUrl",),
)
