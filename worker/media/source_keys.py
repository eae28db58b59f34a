"""Build the candidate keys of an item's source files.

The platform has stored files under several keys over time. The first candidate that exists in the
store is the file (docs/decisions/0025-candidate-keys.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from worker.files.store import SourceKey

_Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceRef:
    """The location of a source file, as named in a document and not yet validated.

    `mime_type` is the MIME type of a file that is uploaded as it is.
    """

    bucket: str
    path: _Path
    mime_type: str = ""

    @property
    def text(self) -> str:
        """Return the path as one text; equals `SourceKey.text` of the key."""
        return "/".join(self.path)

    def key(self) -> SourceKey:
        """Build the store key of the file; raises PermanentError for invalid names."""
        return SourceKey(self.bucket, self.path)


@dataclass(frozen=True, slots=True)
class SourceOwner:
    """The owner of source files; `subject` is None for a guest.

    `bucket` is the bucket of the document, `user_bucket` the one with a folder for each user.
    """

    subject: str | None
    bucket: str
    user_bucket: str

    def split_slug(self, slug: str) -> tuple[str, str]:
        """Split `first:second` at the first colon after the prefix of the owner.

        The second part is empty without a colon. Subjects may contain colons.
        """
        head = self._prefix if slug.startswith(self._prefix) else ""
        first, _, second = slug.removeprefix(head).partition(":")
        return head + first, second

    def candidates(
        self, slug: str, folder: str, mime_types: Mapping[str, str]
    ) -> tuple[SourceRef, ...]:
        """Return the candidates for each extension in `mime_types`, in order.

        All keys of a user begin with the user's subject. Invalid keys are rejected by
        `SourceRef.key`.
        """
        paths = tuple(self._paths(slug, folder))
        return tuple(
            SourceRef(self.bucket, (*path[:-1], path[-1] + extension), mime_type)
            for extension, mime_type in mime_types.items()
            for path in paths
        )

    @property
    def _prefix(self) -> str:
        return "" if self.subject is None else f"{self.subject}/"

    def _paths(self, slug: str, folder: str) -> Iterator[_Path]:
        parts = tuple(slug.removeprefix(self._prefix).split("/"))
        if self.subject is None:
            # Folders in the users' bucket belong to users: SourceKey rejects a segment with a
            # slash. Host names ignore case, so the bucket may be written differently.
            is_users_bucket = self.bucket.lower() == self.user_bucket.lower()
            yield (slug,) if is_users_bucket else parts
            return
        # The subject stays one segment, so that SourceKey rejects a subject with a slash.
        if not slug.startswith(self._prefix):
            yield (self.subject, folder, *parts)
        yield (self.subject, *parts)
