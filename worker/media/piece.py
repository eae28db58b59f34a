"""Pieces: a program, with its source as a blob when the platform stores it as a file."""

from __future__ import annotations

from worker.media.base import BlobSpec, BlobTransform, BuildContext, Draft, MediaType


def build(item: BuildContext, kind: MediaType) -> Draft:
    """Build a piece; a document without a bucket has no source file."""
    slug = item.text("slug")
    fields = {"slug": slug, "code": item.optional("code"), "acUrl": _address(item, kind)}
    blobs = {}
    if item.optional("bucket"):
        program = item.file(f"{slug}.mjs")
        blobs["source"] = BlobSpec(program, BlobTransform.AS_IS, mime_type="text/javascript")
    return Draft(nsid=kind.nsid, fields=kind.record(item, fields), blobs=blobs)


def _address(item: BuildContext, kind: MediaType) -> str | None:
    slug = item.text("slug")
    if item.document.is_guest:
        return kind.link(item, "acUrl", slug=slug)
    if item.account.screen_name is None:
        return None
    return kind.link(item, "userAcUrl", handle=item.account.screen_name, slug=slug)


PIECE = MediaType(
    name="piece",
    collection="pieces",
    nsid="computer.aesthetic.piece",
    fields=("slug", "code", "when", "bucket"),
    build=build,
    has_files=True,
    urls={"acUrl": "{site}/{slug}", "userAcUrl": "{site}/@{handle}/{slug}"},
)
