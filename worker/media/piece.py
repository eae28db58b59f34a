"""The media type for pieces: programs, with their source, if any, as a blob."""

from __future__ import annotations

from worker.media.base import BlobSpec, BlobTransform, BuildContext, Draft, MediaType

_MIME_TYPES = {".mjs": "text/javascript", ".lisp": "text/plain", ".lua": "text/plain"}


def build(context: BuildContext, kind: MediaType) -> Draft:
    """Build the draft of a piece; its source is in the document or in a file."""
    slug, code = context.text("slug"), context.optional("code")
    fields = {"slug": slug, "code": code, "acUrl": _address(context, kind)}
    return Draft(nsid=kind.nsid, fields=kind.record(context, fields), blobs=_blobs(context, kind))


def _blobs(context: BuildContext, kind: MediaType) -> dict[str, BlobSpec]:
    """Describe the source; documents without `source` and `bucket` have none."""
    if content := context.optional("source"):
        blob = BlobSpec((), BlobTransform.AS_IS, mime_type="text/javascript", content=content)
        return {"source": blob}
    if not context.optional("bucket"):
        return {}
    files = kind.files(context, context.text("slug"), _MIME_TYPES)
    return {"source": BlobSpec(files, BlobTransform.AS_IS)}


def _address(context: BuildContext, kind: MediaType) -> str | None:
    """Build the address: by code in the piece store, else by slug.

    A slug that is a path is one of the piece store. It may contain the login subject of the owner,
    so without a code there is no address.
    """
    slug, code = context.text("slug"), context.optional("code")
    if code and ("/" in slug or context.optional("source")):
        return kind.link(context, "codeAcUrl", code=code, slug=slug)
    if "/" in slug:
        return None
    if context.document.is_guest:
        return kind.link(context, "acUrl", slug=slug)
    if context.account.screen_name is None:
        return None
    return kind.link(context, "userAcUrl", handle=context.account.screen_name, slug=slug)


PIECE = MediaType(
    name="piece",
    collection="pieces",
    nsid="computer.aesthetic.piece",
    fields=("slug", "code", "source", "when", "bucket"),
    build=build,
    has_files=True,
    urls={
        "acUrl": "{site}/{slug}",
        "userAcUrl": "{site}/@{handle}/{slug}",
        "codeAcUrl": "{site}/{code}",
    },
    additions=("acUrl", "code", "source"),
)
