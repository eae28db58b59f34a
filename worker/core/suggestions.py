"""Suggest known names for a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question with up to three similar names, in any case, or an empty text."""
    by_lower = {each.lower(): each for each in known}
    similar = get_close_matches(name.lower(), by_lower, cutoff=0.7)
    names = " or ".join(f"{by_lower[each]!a}" for each in similar)
    return f" Did you mean {names}?" if names else ""
