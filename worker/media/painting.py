"""The media type for paintings: an image, a thumbnail and maybe a recording."""

from __future__ import annotations

from worker.media.base import BlobSpec, BlobTransform, BuildContext, Draft, LinkSpec, MediaType


def build(context: BuildContext, kind: MediaType) -> Draft:
    """Build the draft of a painting; `slug` may be `imageSlug:recordingSlug`."""
    slug, code = context.text("slug"), context.text("code")
    image, recording = context.source_owner.split_slug(slug)
    images = kind.files(context, image, {".png": "image/png"})
    recordings = kind.files(context, recording or slug, {".zip": "application/zip"})
    recording_url = kind.link(context, "recordingUrl", code=code, slug=slug)
    fields = {
        "slug": slug,
        "code": code,
        "imageUrl": kind.link(context, "imageUrl", code=code, slug=slug),
        "acUrl": kind.link(context, "acUrl", code=code, slug=slug),
    }
    return Draft(
        nsid=kind.nsid,
        fields=kind.record(context, fields),
        blobs={"thumbnail": BlobSpec(images, BlobTransform.THUMBNAIL)},
        links={"recordingUrl": LinkSpec(recording_url, recordings)},
    )


PAINTING = MediaType(
    name="painting",
    collection="paintings",
    nsid="computer.aesthetic.painting",
    fields=("slug", "code", "when", "bucket"),
    build=build,
    waits_for=("code",),
    has_files=True,
    has_thumbnails=True,
    batch=50,
    urls={
        "imageUrl": "{site}/media/paintings/{code}",
        "recordingUrl": "{site}/media/paintings/{code}.zip",
        "acUrl": "{site}/#{code}",
    },
    additions=("acUrl",),
)
