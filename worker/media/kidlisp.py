"""KidLisp programs: short code and source, both in the record itself."""

from __future__ import annotations

from worker.media.base import BuildContext, Draft, MediaType


def build(item: BuildContext, kind: MediaType) -> Draft:
    """Build a KidLisp program."""
    code = item.text("code")
    fields = {
        "code": code,
        "source": item.text("source"),
        "acUrl": kind.link(item, "acUrl", code=code),
    }
    return Draft(nsid=kind.nsid, fields=kind.record(item, fields))


KIDLISP = MediaType(
    name="kidlisp",
    collection="kidlisp",
    nsid="computer.aesthetic.kidlisp",
    fields=("code", "source", "when"),
    build=build,
    urls={"acUrl": "{site}/${code}"},
)
