"""Publish lexicons as records in the repo of the account that owns their domain.

A lexicon is published in the collection `com.atproto.lexicon.schema`, with its NSID as the rkey.
https://atproto.com/specs/lexicon#lexicon-publication-and-resolution
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from worker.core.cid import cid_of_record
from worker.core.errors import PermanentError, TransientError
from worker.core.records import RecordKey
from worker.media.validation.compatibility import BreakingChange, breaking_changes
from worker.operations.lexicons.published import COLLECTION
from worker.pds.repo import Repo


class PublishOutcome(StrEnum):
    """Whether publishing a lexicon creates, updates or keeps its record."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Publication:
    """A lexicon to publish; `present` is the CID of the existing record, or None."""

    key: RecordKey
    record: Mapping[str, object]
    present: str | None
    breaks: tuple[BreakingChange, ...]

    @property
    def cid(self) -> str:
        return cid_of_record(self.record)

    @property
    def outcome(self) -> PublishOutcome:
        if self.present is None:
            return PublishOutcome.CREATED
        return PublishOutcome.UNCHANGED if self.present == self.cid else PublishOutcome.UPDATED


class PublishRefusedError(PermanentError):
    """A lexicon is incompatible with its published version; nothing was written."""

    step, code = "write", "lexicon_incompatible"


def plan_publications(repo: Repo, documents: Iterable[Mapping[str, object]]) -> list[Publication]:
    """Build a publication for each lexicon document; raises the errors of `Repo.get`."""
    return [_plan(repo, document) for document in documents]


def publish(
    repo: Repo, publications: Sequence[Publication], *, break_compatibility: bool = False
) -> Iterator[Publication]:
    """Write new and changed lexicons; yield each one after reading its record back.

    Raises PublishRefusedError before the first write if a change is breaking, TransientError if a
    record read back differs from the one written, and the errors of `Repo`.
    """
    broken = [each.key.rkey for each in publications if each.breaks]
    if broken and not break_compatibility:
        raise PublishRefusedError(
            f"nothing was published: {', '.join(broken)} would break what is published"
        )
    for each in publications:
        if each.outcome is not PublishOutcome.UNCHANGED:
            repo.put(each.key, each.record, each.present)
        _verify(repo, each)
        yield each


def _plan(repo: Repo, document: Mapping[str, object]) -> Publication:
    key = repo.key(COLLECTION, str(document["id"]))
    present = repo.get(key)
    found = breaking_changes(present.value, document) if present else []
    record = {"$type": COLLECTION, **document}
    return Publication(key, record, present.cid if present else None, tuple(found))


def _verify(repo: Repo, publication: Publication) -> None:
    """Read a record back; raises TransientError if it differs from the lexicon."""
    current = repo.get(publication.key)
    if current is None or current.cid != publication.cid:
        raise TransientError(
            f"{publication.key.uri} is not what was written: something else writes there",
            step="write",
            code="record_altered",
        )
