"""Which images are refused, and how settings are named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import pictures
from tests.refusals import fails_with
from worker.files.thumbnail import (
    ThumbnailSettings,
    make_thumbnail,
)

SMALL = ThumbnailSettings(size=32, max_pixels=1 << 22)


@pytest.mark.parametrize(
    "size",
    [(4097, 4096), (10_000, 10_000), (60_000, 60_000), (1, 65_536), (65_536, 1), (2**31 - 1, 1)],
)
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    """Below, between and above Pillow's own two limits, without decoding a pixel."""
    with fails_with("image_too_large") as caught:
        make_thumbnail(pictures.bomb(size), ThumbnailSettings())
    assert caught.value.step == "thumbnail"


def test_the_limit_of_pixels_is_exact_and_named() -> None:
    """An image at the limit passes; one pixel more is refused with both numbers."""
    settings = ThumbnailSettings(size=32, max_pixels=40 * 30)
    make_thumbnail(pictures.photo("PNG", (40, 30)), settings)
    with fails_with("image_too_large", match="PNG image has 1201x1 pixels, and 1200 is"):
        make_thumbnail(pictures.photo("PNG", (1201, 1)), settings)


def test_webp_may_have_five_eighths_of_the_pixels() -> None:
    """Its decoder needs more memory for each."""
    settings = ThumbnailSettings(size=32, max_pixels=1600)
    make_thumbnail(pictures.photo("WEBP", (100, 10)), settings)
    with fails_with("image_too_large", match="1000 is the limit"):
        make_thumbnail(pictures.photo("WEBP", (101, 10)), settings)


def test_a_thumbnail_above_the_limit_is_refused() -> None:
    """A larger size set by the operator is checked, not trusted: only 512 cannot exceed it."""
    noise = pictures.encode(pictures.noise((1024, 1024)), "PNG", {"compress_level": 0})
    with fails_with("thumbnail_too_large", match="of 1048576"):
        make_thumbnail(noise, ThumbnailSettings(size=1024))
    assert len(make_thumbnail(noise, ThumbnailSettings()).data) < 1_048_576


def test_a_jpeg_of_countless_scans_is_refused() -> None:
    """Each scan is a pass over all pixels; what is usual for the size passes."""
    settings = ThumbnailSettings(size=32, max_pixels=48 * 36)
    make_thumbnail(pictures.many_scans(50), settings)
    with fails_with("image_too_large", match="scans"):
        make_thumbnail(pictures.many_scans(80), settings)


UNREADABLE = {**pictures.NOT_IMAGES, **{kind: pictures.photo(kind) for kind in ("BMP", "PPM")}}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_none_of_the_four_decoders_reads_is_unreadable(name: str) -> None:
    """The message names the formats that are read."""
    with fails_with("image_unreadable", match="not a PNG, GIF, JPEG or WebP") as caught:
        make_thumbnail(UNREADABLE[name], SMALL)
    assert caught.value.step == "thumbnail"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_truncated_image_is_unreadable(kind: str) -> None:
    """Half an upload must not become a half grey thumbnail."""
    with fails_with("image_unreadable"):
        make_thumbnail(pictures.truncated(pictures.photo(kind)), SMALL)


def test_threads_do_not_disturb_each_other() -> None:
    """Limits are those of the call, so a bomb in one thread does not touch the others."""
    strict = ThumbnailSettings(size=32, max_pixels=10)
    expected = make_thumbnail(pictures.photo("PNG"), SMALL)

    def attempt(number: int) -> bool:
        if number % 2:
            return make_thumbnail(pictures.photo("PNG"), SMALL) == expected
        with fails_with("image_too_large"):
            make_thumbnail(pictures.photo("PNG"), strict)
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(attempt, range(32)))


def test_the_key_changes_with_what_changes_the_result() -> None:
    """Size and background are in it; the limit, which changes no result, is not."""
    keys = {
        ThumbnailSettings().key,
        ThumbnailSettings(size=256).key,
        ThumbnailSettings(background=(1, 0, 0)).key,
    }
    assert len(keys) == 3
    assert ThumbnailSettings(max_pixels=5).key == ThumbnailSettings().key
