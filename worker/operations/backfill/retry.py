"""Reset the attempts of items, and enqueue them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from worker.core.clock import after
from worker.core.documents import ItemRef, OwnedItem
from worker.core.ids import parse_id
from worker.database.leases import is_held
from worker.database.store import DocumentStore
from worker.media import MediaType
from worker.operations.backfill.planner import MAX_MESSAGES, Batch, submit
from worker.services import Services


@dataclass(slots=True)
class NamedItems:
    """The items that an operator named by id; each id is in one of the lists."""

    items: list[OwnedItem] = field(default_factory=list)
    busy: list[ItemRef] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    ambiguous: list[tuple[str, Sequence[str]]] = field(default_factory=list)


@dataclass(slots=True)
class RetryTotals:
    """Items that were enqueued, and items left to the sweep, by type."""

    enqueued: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


def find_named(store: DocumentStore, kinds: Sequence[MediaType], ids: Iterable[str]) -> NamedItems:
    """Find items of these types by id, whatever their status; raises InvalidIdError."""
    found = NamedItems()
    for text in dict.fromkeys(ids):
        documents = [document for kind in kinds if (document := store.find(kind, parse_id(text)))]
        if len(documents) > 1:
            found.ambiguous.append((text, [document.ref.type for document in documents]))
        elif not documents:
            found.unknown.append(text)
        elif is_held(documents[0], holder=""):
            found.busy.append(documents[0].ref)
        else:
            found.items.append(OwnedItem(documents[0].ref, documents[0].owner))
    return found


def count_items(batches: Iterable[Batch]) -> Counter[str]:
    """Return the number of items in batches, by type."""
    counts: Counter[str] = Counter()
    for batch in batches:
        counts[batch.kind.name] += len(batch.ids)
    return counts


def retry_batches(
    services: Services, batches: Iterable[Batch], send: Callable[[Batch], bool] = submit
) -> RetryTotals:
    """Make the items of batches pending with all attempts, and enqueue them.

    After `MAX_MESSAGES` batches, or after the queue has rejected one, the remaining ones are left
    to the sweep.
    """
    totals = RetryTotals()
    is_accepting = True
    for number, batch in enumerate(batches):
        # Before sending: if the message is lost, the sweep finds the document.
        retry_at = after(services.settings.sweep.requeue)
        services.storage.backlog.reset_attempts(batch.kind, batch.ids, retry_at)
        is_accepting = is_accepting and number < MAX_MESSAGES and send(batch)
        (totals.enqueued if is_accepting else totals.skipped)[batch.kind.name] += len(batch.ids)
    return totals
