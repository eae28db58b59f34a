"""Find the documents that records name in their `ref`.

A `ref` is the text of an `_id`. The `_id`s of several documents may have the same text, such as the
number 7 and the text "7": it names the one that `DocumentStore.find` returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bson import ObjectId

from worker.core.documents import DocumentId, MediaDocument
from worker.core.ids import candidate_ids
from worker.database.store import DocumentStore
from worker.media import MediaType


def find_by_ref(store: DocumentStore, kind: MediaType, ref: str) -> MediaDocument | None:
    """Return the document that `ref` names, or None."""
    ids = _ids_with_text(ref)
    return store.find(kind, ids) if ids else None


def find_namesakes(store: DocumentStore, kind: MediaType, ref: str) -> list[MediaDocument]:
    """Return all documents whose `_id` has the text `ref`, in any order."""
    return store.find_all(kind, _ids_with_text(ref))


def find_all_by_ref(
    store: DocumentStore, kind: MediaType, refs: Iterable[str], owner: str | None = None
) -> Mapping[str, MediaDocument]:
    """Return the documents that `refs` name, by `ref`.

    With `owner`, only documents of this owner count.
    """
    ids = {ref: _ids_with_text(ref) for ref in refs}
    wanted = [each for candidates in ids.values() for each in candidates]
    documents = store.find_all(kind, wanted)
    found = {each.ref.id: each for each in documents if owner in {None, each.owner}}
    return {
        ref: found[named]
        for ref, candidates in ids.items()
        if (named := next((each for each in candidates if each in found), None)) is not None
    }


def find_unnamed(
    store: DocumentStore, kind: MediaType, ids: Iterable[DocumentId], owner: str
) -> set[DocumentId]:
    """Return those of `ids` whose text names another document of `owner`."""
    second = [item for item in ids if not is_first_with_text(item)]
    named = find_all_by_ref(store, kind, map(str, second), owner=owner) if second else {}
    return {item for item in second if str(item) in named and named[str(item)].ref.id != item}


def is_first_with_text(item: DocumentId) -> bool:
    """Return whether the text of an `_id` names this document, whatever others exist."""
    return isinstance(item, ObjectId) or _ids_with_text(str(item))[:1] == [item]


def is_named(
    store: DocumentStore,
    kind: MediaType,
    document: MediaDocument,
    ref: str | None,
    *,
    in_own_repo: bool,
) -> bool:
    """Return whether `ref` of a record names `document`.

    In the repo of their owner, a text names one of several documents. Anyone may have saved the
    other ones: in the repo of another owner, it names none of them, and it does not name the
    document of another owner.
    """
    item = document.ref.id
    if ref != str(item):
        return False
    if in_own_repo and is_first_with_text(item):
        return True
    others = [each for each in find_namesakes(store, kind, ref) if each.ref.id != item]
    return not any(not in_own_repo or each.owner == document.owner for each in others)


def _ids_with_text(ref: str) -> list[DocumentId]:
    """Return the `_id`s with the text `ref`, most likely first."""
    return [each for each in candidate_ids(ref) if str(each) == ref]
