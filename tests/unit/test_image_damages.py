"""JPEG, GIF and WebP files with malformed metadata, and JPEGs without their end."""

from __future__ import annotations

import pytest
from PIL import ImageChops

from tests import image_damages, pictures
from tests.image_damages import DAMAGED
from tests.refusals import fails_with
from worker.core.errors import MediaError
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

SMALL = ThumbnailSettings(size=32)
JPEGS = {
    "baseline": pictures.photo(),
    "progressive": pictures.progressive(),
    "CMYK": pictures.cmyk(),
    "progressive CMYK": pictures.progressive(mode="CMYK"),
    "grey": pictures.encode(pictures.gradient("L", (48, 36)), "JPEG"),
    "large": pictures.encode(pictures.gradient("RGB", (700, 300)), "JPEG"),
    "noise": pictures.encode(pictures.noise((60, 90)), "JPEG", {"quality": 90}),
    "restart markers": pictures.encode(
        pictures.gradient("RGB", (480, 360)), "JPEG", {"restart_marker_blocks": 4}
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_malformed_metadata_changes_no_pixel(name: str) -> None:
    """Segments, extensions and chunks, each malformed in its own way."""
    thumbnail = pictures.decode(make_thumbnail(DAMAGED[name], SMALL).data)
    picture = thumbnail.crop((0, 8, 32, 24))
    difference = ImageChops.difference(picture, image_damages.two_halves())
    assert max(difference.tobytes()) <= 1


@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_without_its_end_marker_is_complete(name: str, missing: int) -> None:
    """Or without half of it."""
    whole = JPEGS[name]
    assert make_thumbnail(whole[:-missing], SMALL) == make_thumbnail(whole, SMALL)


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_without_some_of_its_pixels_is_unreadable(name: str) -> None:
    """A cut file gives the thumbnail of the whole one, or none: never a picture with a grey end."""
    whole = JPEGS[name]
    expected = make_thumbnail(whole, SMALL)
    length = len(whole)
    for kept in (*range(length - 20, length - 2), *range(100, length, max(1, length // 40))):
        assert _thumbnail_or_code(whole[:kept]) in {expected, "image_unreadable"}, kept
    with fails_with("image_unreadable"):
        make_thumbnail(whole[: length * 3 // 4], SMALL)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_progressive_jpeg_without_its_last_scans_is_unreadable(mode: str) -> None:
    """Each scan is complete, but the picture lacks details."""
    whole = pictures.progressive(mode=mode)
    for last in range(1, whole.count(b"\xff\xda")):
        kept = len(whole)
        for _ in range(last):
            kept = whole.rindex(b"\xff\xda", 0, kept)
        with fails_with("image_unreadable"):
            make_thumbnail(whole[:kept], SMALL)


def _thumbnail_or_code(data: bytes) -> object:
    try:
        return make_thumbnail(data, SMALL)
    except MediaError as error:
        return error.code
