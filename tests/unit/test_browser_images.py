"""Images that browsers display, and that decoders reject or show wrong by themselves."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import pytest

from tests import colours, pictures, pngs
from tests.pictures import chunk
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

EXACT = ThumbnailSettings(size=pngs.SIDE)
RGB = pngs.Kind(colour=2, depth=8)
INFLATED = zlib.compress(bytes(2 << 20))
PNGS: Mapping[str, bytes] = {
    "text named xmp": chunk(b"tEXt", b"xmp\0text"),
    "text named exif": chunk(b"iTXt", b"exif\0\0\0\0\0text"),
    "text named transparency": chunk(b"tEXt", b"transparency\0text"),
    "compressed text named xmp": chunk(b"zTXt", b"xmp\0\0" + zlib.compress(b"text")),
    "text that inflates to 2 MiB": chunk(b"zTXt", b"Comment\0\0" + INFLATED),
    "international text that inflates to 2 MiB": chunk(b"iTXt", b"a\0\1\0\0\0" + INFLATED),
    "profile that inflates to 2 MiB": chunk(b"iCCP", b"name\0\0" + INFLATED),
    "text with a wrong checksum": pngs.wrong_checksum(b"tEXt", b"a\0text"),
    "time with a wrong checksum": pngs.wrong_checksum(b"tIME", bytes(7)),
    "profile without NUL": chunk(b"iCCP", b"name"),
    "gAMA of one byte": chunk(b"gAMA", b"\1"),
    "empty sRGB": chunk(b"sRGB", b""),
    "empty cHRM": chunk(b"cHRM", b""),
}


@pytest.mark.parametrize("name", PNGS)
def test_a_png_is_shown_whatever_its_ancillary_chunks_are(name: str) -> None:
    """Before and after its pixels."""
    for place in ("IHDR", "IDAT"):
        thumbnail = make_thumbnail(RGB.build({place: [PNGS[name]]}), EXACT)
        assert list(pictures.decode(thumbnail.data).get_flattened_data()) == RGB.pixels()


@pytest.mark.parametrize("kind", ["baseline", "progressive"])
def test_a_jpeg_is_shown_without_its_last_two_bytes(kind: str) -> None:
    """They are its end marker, and no pixels."""
    whole = pictures.progressive() if kind == "progressive" else pictures.photo("JPEG")
    assert make_thumbnail(whole[:-2], EXACT) == make_thumbnail(whole, EXACT)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_is_transparent_at_each_depth(depth: int) -> None:
    """The background shows in its place."""
    kind = pngs.Kind(colour=0, depth=depth)
    thumbnail = make_thumbnail(kind.build({"PLTE": [chunk(b"tRNS", kind.transparency)]}), EXACT)
    expected = kind.pixels(transparent=kind.samples[1])
    assert list(pictures.decode(thumbnail.data).get_flattened_data()) == expected


@pytest.mark.parametrize("colour", [0, 2])
def test_a_transparent_colour_of_16_bits_must_match_all_bits(colour: int) -> None:
    """Pixels that differ from it in their low bytes only are opaque."""
    values = [0x4000, 0x4001, 0x4101, 0xFFFF]
    bands = 1 if colour == 0 else 3
    row = b"\0" + b"".join(struct.pack(">H", value) * bands for value in values)
    key = chunk(b"tRNS", struct.pack(">H", 0x4001) * bands)
    data = pictures.png((4, 4), depth=16, colour=colour, rows=row * 4, extra=key)
    settings = ThumbnailSettings(size=4, background=pictures.RED)
    image = pictures.decode(make_thumbnail(data, settings).data)
    shown = [pictures.pixel(image, (x, 0)) for x in range(4)]
    assert shown[1] == pictures.RED
    assert [red == green for red, green, _ in shown] == [True, False, True, True]


def test_colours_of_display_p3_are_converted() -> None:
    """Most photos of phones have this profile."""
    data = pictures.encode(
        pictures.checkers((4, 4), [(200, 100, 50)]), "PNG", {"icc_profile": colours.DISPLAY_P3.data}
    )
    image = pictures.decode(make_thumbnail(data, EXACT).data)
    expected = colours.DISPLAY_P3.to_srgb((200, 100, 50))
    pairs = zip(pictures.pixel(image, (0, 0)), expected, strict=True)
    assert all(abs(a - b) <= 3 for a, b in pairs)
