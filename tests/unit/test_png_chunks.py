"""Ancillary chunks of PNGs, whole and damaged: they never prevent a thumbnail."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests import pictures, pngs
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

EXACT = ThumbnailSettings(size=pngs.SIDE)
KINDS = pytest.mark.parametrize("kind", pngs.KINDS, ids=lambda kind: f"{kind.colour}-{kind.depth}")
DAMAGES = pytest.mark.parametrize("damage", pngs.DAMAGES)


def thumbnail_pixels(data: bytes, settings: ThumbnailSettings = EXACT) -> Sequence[object]:
    """Return the pixels of a file's thumbnail."""
    return list(pictures.decode(make_thumbnail(data, settings).data).get_flattened_data())


@KINDS
@DAMAGES
def test_chunks_that_affect_no_pixel_are_ignored(kind: pngs.Kind, damage: str) -> None:
    """Each chunk, in each state, in each colour type and depth."""
    expected = kind.pixels()
    for name, (chunk_name, data) in pngs.CHUNKS.items():
        file = kind.build(pngs.DAMAGES[damage](chunk_name, data))
        assert thumbnail_pixels(file) == expected, name


@KINDS
@DAMAGES
def test_transparent_colours_get_the_background(kind: pngs.Kind, damage: str) -> None:
    """A valid tRNS chunk applies, of a long one the beginning; browsers ignore all others."""
    file = kind.build(pngs.DAMAGES[damage](b"tRNS", kind.transparency))
    ignored = {"empty", "short", "very long", "after the pixels", "wrong checksum"}
    if kind.colour == pngs.INDEXED:
        ignored.add("before the palette")
    if len(kind.transparency) > 1:
        ignored.add("one byte")
    is_used = kind.colour not in pngs.WITH_ALPHA and damage not in ignored
    assert thumbnail_pixels(file) == kind.pixels(kind.samples[1] if is_used else None)
