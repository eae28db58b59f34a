"""Media types of other packages: what is taken, and what is said of those that are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from worker.core.errors import MediaTypeError
from worker.media import OWN_TYPES
from worker.media.base import HidingRule, MediaType
from worker.media.lexicons import find_missing
from worker.media.mood import MOOD
from worker.media.registry import Registry, find_fault, registry
from worker.media.validation import load_lexicons


class _OwnRule(HidingRule):
    """A rule that MongoDB does not know, and that may raise for any document."""


TAPE = replace(MOOD, name="tape", collection="tapes", nsid="com.example.tape")
RULES = "hidden_by should be a tuple of HidingRules"
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "another name than the entry point's": ({"name": "tapes"}, "its entry point's 'tape'"),
    "a name that no command could take": ({"name": "Tape"}, "name should be a to z"),
    "no name": ({"name": None}, "name should be a to z"),
    "a collection that is no name": ({"collection": "$cmd"}, "collection should be"),
    "the platform's users": ({"collection": "users"}, "'users' is not one of items"),
    "another type's collection": ({"collection": "moods"}, "is that of the type 'mood'"),
    "another type's nsid": ({"nsid": MOOD.nsid}, "is that of the type 'mood'"),
    "no nsid": ({"nsid": None}, "nsid should be a text"),
    "no builder": ({"build": "build"}, "build should be a function"),
    "one field for a list": ({"fields": "when"}, "fields should be a tuple of texts"),
    "no time": ({"fields": ("title",)}, "fields lacks 'when'"),
    "rules that are a list": ({"hidden_by": [HidingRule("nuked", "nuked")]}, RULES),
    "rules that are texts": ({"hidden_by": ("nuked",)}, RULES),
    "a rule about a nested field": ({"hidden_by": (HidingRule("a.b", "nuked"),)}, RULES),
    "a rule about a variable": ({"hidden_by": (HidingRule("$ROOT", "nuked"),)}, RULES),
    "a rule with two tests": (
        {"hidden_by": (HidingRule("a", "away", equal_to="b", other_than="c"),)},
        RULES,
    ),
    "one addition for a list": (
        {"additions": "acUrl"},
        "additions should be a tuple of texts",
    ),
    "a rule about a number": (
        {"hidden_by": (HidingRule("a", "away", equal_to=cast("str", 7)),)},
        RULES,
    ),
    "a reason that is a sentence": ({"hidden_by": (HidingRule("a", "It is away."),)}, RULES),
    "a rule with code of its own": ({"hidden_by": (_OwnRule("a", "away"),)}, RULES),
    "URLs that are no texts": ({"urls": {"acUrl": None}}, "urls should map fields to texts"),
    "a field that is not read": ({"waits_for": ("code",)}, "waits_for should be a tuple of names"),
    "one field to wait for": ({"waits_for": "when"}, "waits_for should be a tuple of names"),
    "a batch of none": ({"batch": 0}, "batch should be 1 to 200"),
    "a batch that no PDS takes": ({"batch": 500}, "batch should be 1 to 200"),
}


@pytest.mark.parametrize(("changes", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_type_that_cannot_be_used_is_told(changes: dict[str, Any], said: str) -> None:
    """Named, before anything is published by it."""
    assert said in find_fault(replace(TAPE, **changes), "tape", OWN_TYPES)


def test_a_type_of_the_names_own_is_taken() -> None:
    """As ours are."""
    assert find_fault(TAPE, "tape", OWN_TYPES) == ""
    for kind in OWN_TYPES:
        assert (
            find_fault(kind, kind.name, [other for other in OWN_TYPES if other is not kind]) == ""
        )


def test_what_is_no_type_is_told() -> None:
    """An entry point can lead to anything."""
    assert "should be a worker.media.base.MediaType" in find_fault(object(), "tape", ())


def test_a_type_without_a_lexicon_is_told() -> None:
    """With the file that is wanted."""
    assert "lexicons/com/example/tape.json" in find_missing(TAPE, load_lexicons())


def test_nothing_is_found_where_nothing_is_installed() -> None:
    """The project itself brings no package."""
    assert registry() == Registry({kind.name: kind for kind in OWN_TYPES}, ())


def test_a_registry_fault_is_an_error_of_ours() -> None:
    """Commands print its message alone."""
    error = MediaTypeError("x")
    assert error.code == "media_type_invalid"
    assert isinstance(cast("object", TAPE), MediaType)
