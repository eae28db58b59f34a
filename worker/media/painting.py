"""Paintings: an image with a thumbnail blob, and the recording of how it was made, if any."""

from __future__ import annotations

from worker.media.base import BlobSpec, BlobTransform, BuildContext, Draft, LinkSpec, MediaType


def build(item: BuildContext, kind: MediaType) -> Draft:
    """Build a painting; its slug may be `imageSlug:recordingSlug`."""
    slug, code = item.text("slug"), item.text("code")
    image, _, recording = slug.partition(":")
    fields = {
        "slug": slug,
        "code": code,
        "imageUrl": kind.link(item, "imageUrl", code=code, slug=slug),
        "acUrl": kind.link(item, "acUrl", code=code, slug=slug),
    }
    return Draft(
        nsid=kind.nsid,
        fields=kind.record(item, fields),
        blobs={"thumbnail": BlobSpec(item.file(f"{image}.png"), BlobTransform.THUMBNAIL)},
        links=_recording(item, kind, code, slug, recording),
    )


def _recording(
    item: BuildContext, kind: MediaType, code: str, slug: str, recording: str
) -> dict[str, LinkSpec]:
    # A guest's recording is named by the slug alone: there is no folder of theirs to look in.
    name = recording or ("" if item.document.is_guest else slug)
    if not name:
        return {}
    url = kind.link(item, "recordingUrl", code=code, slug=slug)
    return {"recordingUrl": LinkSpec(url, item.file(f"{name}.zip"))}


PAINTING = MediaType(
    name="painting",
    collection="paintings",
    nsid="computer.aesthetic.painting",
    fields=("slug", "code", "when", "bucket"),
    build=build,
    has_files=True,
    batch=50,
    urls={
        "imageUrl": "{site}/media/paintings/{code}",
        "recordingUrl": "{site}/media/paintings/{code}.zip",
        "acUrl": "{site}/#{code}",
    },
)
