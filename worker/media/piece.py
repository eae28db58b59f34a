"""The media type for pieces: programs, with the source file, if any, as a blob."""

from __future__ import annotations

from worker.media.base import BlobSpec, BlobTransform, BuildContext, Draft, MediaType


def build(context: BuildContext, kind: MediaType) -> Draft:
    """Build the draft of a piece; only documents with a bucket have a source file."""
    slug = context.text("slug")
    fields = {"slug": slug, "code": context.optional("code"), "acUrl": _address(context, kind)}
    blobs = {}
    if context.optional("bucket"):
        program = context.file(f"{slug}.mjs")
        blobs["source"] = BlobSpec(program, BlobTransform.AS_IS, mime_type="text/javascript")
    return Draft(nsid=kind.nsid, fields=kind.record(context, fields), blobs=blobs)


def _address(context: BuildContext, kind: MediaType) -> str | None:
    slug = context.text("slug")
    if context.document.is_guest:
        return kind.link(context, "acUrl", slug=slug)
    if context.account.screen_name is None:
        return None
    return kind.link(context, "userAcUrl", handle=context.account.screen_name, slug=slug)


PIECE = MediaType(
    name="piece",
    collection="pieces",
    nsid="computer.aesthetic.piece",
    fields=("slug", "code", "when", "bucket"),
    build=build,
    has_files=True,
    urls={"acUrl": "{site}/{slug}", "userAcUrl": "{site}/@{handle}/{slug}"},
)
