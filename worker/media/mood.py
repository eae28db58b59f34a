"""The media type for moods: short texts by signed-in users."""

from __future__ import annotations

from worker.media.base import BuildContext, Draft, MediaType


def build(context: BuildContext, kind: MediaType) -> Draft:
    """Build the draft of a mood; old documents use the field `text`, not `mood`."""
    mood = context.text("mood", "text")
    fields = {"mood": mood, "text": mood}
    return Draft(nsid=kind.nsid, fields=kind.record(context, fields))


MOOD = MediaType(
    name="mood",
    collection="moods",
    nsid="computer.aesthetic.mood",
    fields=("mood", "text", "when"),
    build=build,
    guests=False,
    additions=("text",),
)
