"""The four stories of the demo: what each of its scenes shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.dev.demo.check import Result
from worker.dev.demo.scenes import Scene


@dataclass(frozen=True, slots=True)
class Story:
    """The results of some scenes, and what was checked; `text` is short enough for a line."""

    title: str
    text: str
    results: Sequence[Result]

    @property
    def faulty(self) -> int:
        """Return the number of items that are not as expected."""
        return sum(bool(result.faults) for result in self.results)


def tell_stories(results: Sequence[Result]) -> list[Story]:
    """Assign each item to one of the stories."""
    return [
        _story("published", results, _UPLOADS, _published),
        _story("changed", results, (Scene.EDITED, Scene.HIDDEN), _changed),
        _story("broken image", results, (Scene.BROKEN,), _broken),
        _story("PDS stopped", results, (Scene.OUTAGE,), _delayed),
    ]


_UPLOADS = (Scene.UPLOAD, Scene.PHOTO, Scene.LOST, Scene.GUESTS_MOOD, Scene.NO_ACCOUNT)


def _story(
    title: str,
    results: Sequence[Result],
    scenes: Sequence[Scene],
    describe: Callable[[Sequence[Result]], str],
) -> Story:
    chosen = [result for result in results if result.item.scene in scenes]
    return Story(title, describe(chosen), chosen)


def _published(results: Sequence[Result]) -> str:
    published = sum(result.item.is_published for result in results)
    return f"{published} items: one record each, same text, readable file"


def _changed(_: Sequence[Result]) -> str:
    return "edited mood: new text; hidden painting: record removed"


def _broken(_: Sequence[Result]) -> str:
    return "the painting is published without its thumbnail"


def _delayed(results: Sequence[Result]) -> str:
    return f"{len(results)} items saved meanwhile, published after its restart"
