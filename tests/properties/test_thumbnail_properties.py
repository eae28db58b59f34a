"""What holds for the thumbnail of every image, and for every file that only pretends to be one."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests import pictures
from tests.colours import CMYK, DISPLAY_P3
from tests.pngs import KINDS
from worker.core.errors import MediaError
from worker.files.thumbnail import MAX_BYTES, ThumbnailSettings, make_thumbnail

SMALL = ThumbnailSettings(size=24, max_pixels=1 << 16)
SIDES = st.integers(1, 60)
COLOURS = st.tuples(*[st.integers(0, 255)] * 3)
LONG = b"a\0" + bytes(70_000)
PNG, JPEG = pictures.photo("PNG"), pictures.progressive()
FILES = (
    PNG[:33] + pictures.chunk(b"tEXt", LONG) + PNG[33:],
    JPEG[:2] + b"\xff\xe5\xff\xf2" + bytes(65_520) + b"\xff\xe5\x00\x80" + bytes(126) + JPEG[2:],
    PNG,
    JPEG,
    pictures.photo("JPEG"),
    pictures.photo("WEBP"),
    pictures.transparent("WEBP"),
    pictures.transparent_palette(),
    pictures.interlaced(),
    pictures.with_exif("JPEG"),
    pictures.with_exif("PNG"),
    pictures.with_exif("WEBP"),
    pictures.with_text(),
    pictures.animated("GIF"),
    pictures.animated("WEBP"),
    pictures.animated("PNG"),
    pictures.cmyk(),
    JPEG[:-2],
    pictures.encode(pictures.gradient("RGB", (9, 9)), "PNG", {"icc_profile": DISPLAY_P3.data}),
    pictures.encode(pictures.gradient("RGB", (9, 9)), "JPEG", {"icc_profile": DISPLAY_P3.data}),
    pictures.encode(pictures.gradient("CMYK", (9, 9)), "JPEG", {"icc_profile": CMYK.data}),
    *(kind.build({"PLTE": [pictures.chunk(b"tRNS", kind.transparency)]}) for kind in KINDS[::2]),
)


@given(mode=st.sampled_from(["1", "L", "LA", "RGB", "RGBA"]), width=SIDES, height=SIDES)
def test_every_size_and_mode_fits_the_square(mode: str, width: int, height: int) -> None:
    """The result is opaque, of the size and below the limit; its picture keeps its shape."""
    data = pictures.encode(pictures.gradient(mode, (width, height)), "PNG")
    thumbnail = make_thumbnail(data, SMALL)
    with Image.open(BytesIO(thumbnail.data)) as image:
        assert image.size == (24, 24)
        assert not image.has_transparency_data
    assert len(thumbnail.data) <= MAX_BYTES


@given(width=st.integers(1, 24), height=st.integers(1, 24), colours=st.lists(COLOURS, min_size=1))
def test_enlarging_invents_no_colour(
    width: int, height: int, colours: list[tuple[int, int, int]]
) -> None:
    """Every colour of the result is one of the image's, or the background's."""
    drawn = pictures.checkers((width, height), colours)
    result = pictures.decode(make_thumbnail(pictures.encode(drawn, "PNG"), SMALL).data)
    assert _colours(result) <= _colours(drawn) | {SMALL.background}


@given(st.data())
def test_a_picture_of_the_size_itself_comes_through_unchanged(data: st.DataObject) -> None:
    """With a palette or without, the PNG holds exactly the pixels that went in."""
    count = data.draw(st.sampled_from([1, 2, 200, 256, 257, 400]))
    seed = data.draw(st.integers(0, 255))
    colours = [(n % 256, (n * seed) % 256, n // 256) for n in range(count)]
    drawn = pictures.checkers((24, 24), colours)
    result = make_thumbnail(pictures.encode(drawn, "PNG"), SMALL).data
    assert pictures.decode(result) == drawn


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(
    file=st.sampled_from(FILES),
    places=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=3))
    ),
    kept=st.floats(0.1, 1),
)
def test_a_damaged_file_gives_a_thumbnail_or_a_named_error(
    file: bytes, places: list[tuple[float, bytes]], kept: float
) -> None:
    """No damage makes Pillow raise anything that is not translated."""
    damaged = bytearray(file)
    for place, replacement in places:
        start = int(place * len(damaged))
        damaged[start : start + len(replacement)] = replacement
    outcome = _outcome(bytes(damaged[: int(kept * len(damaged)) + 1]))
    assert outcome in {"made", "image_unreadable", "image_too_large"}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(
    start=st.sampled_from([b"", *(file[:size] for file in FILES for size in (12, 40, 90))]),
    rest=st.binary(max_size=200),
    filler=st.sampled_from([b"", bytes(70_000), b"\xff" * 70_000]),
)
def test_any_bytes_are_no_image_by_name(start: bytes, rest: bytes, filler: bytes) -> None:
    """Also such that begin like one, and such as are long enough to have parts left out."""
    assert _outcome(start + rest + filler) in {"made", "image_unreadable", "image_too_large"}


def _outcome(data: bytes) -> str:
    """Return the code of the error a file leads to, or that a thumbnail was made."""
    try:
        make_thumbnail(data, SMALL)
    except MediaError as error:
        return error.code
    return "made"


def _colours(image: Image.Image) -> set[object]:
    return {colour for _, colour in image.getcolors(1 << 16) or []}
