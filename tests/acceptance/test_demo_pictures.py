"""The pictures of the demo: pixel art, a large rotated photo, and a file that is no image."""

from __future__ import annotations

import pytest

from tests.pictures import decode
from worker.core.errors import PermanentError
from worker.dev.demo.pictures import NOT_AN_IMAGE, creature, png, rotated_photo
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail


@pytest.mark.parametrize("image", [png(creature(1)), rotated_photo((1920, 1080))])
def test_picture_becomes_a_thumbnail_of_more_than_one_colour(image: bytes) -> None:
    """Both formats can be read."""
    thumbnail = decode(make_thumbnail(image, ThumbnailSettings()).data)
    assert thumbnail.size == (512, 512)
    assert len(thumbnail.getcolors(512 * 512) or ()) > 1


def test_photo_is_stored_rotated() -> None:
    """Its thumbnail has bars above and below, as that of a landscape picture."""
    photo = rotated_photo((1920, 1080))
    assert decode(photo).size == (1080, 1920)
    thumbnail = decode(make_thumbnail(photo, ThumbnailSettings()).data)
    assert thumbnail.getpixel((256, 10)) == (0, 0, 0) != thumbnail.getpixel((10, 256))


def test_broken_image_has_no_thumbnail() -> None:
    """Although it begins as a PNG does."""
    with pytest.raises(PermanentError) as caught:
        make_thumbnail(NOT_AN_IMAGE, ThumbnailSettings())
    assert caught.value.code == "image_unreadable"


def test_creature_is_symmetric_and_the_same_for_each_seed() -> None:
    """Another seed gives another creature."""
    first = creature(7).convert("RGB")
    mirrored = [first.getpixel((15 - n % 16, n // 16)) for n in range(256)]
    assert mirrored == [first.getpixel((n % 16, n // 16)) for n in range(256)]
    assert first.tobytes() == creature(7).convert("RGB").tobytes()
    assert first.tobytes() != creature(8).convert("RGB").tobytes()
