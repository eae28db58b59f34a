"""Colours are converted to sRGB by the profile of an image.

The expected colours are computed in `tests/colours.py`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

import pytest
from PIL import Image

from tests import colours, pictures
from tests.colours import Colour
from tests.image_damages import icc_segment
from tests.pictures import chunk, encode
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

RGB: list[Colour] = [
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (200, 100, 50),
    (128, 128, 128),
    (10, 10, 10),
    (30, 60, 200),
    (250, 250, 240),
]
GREYS: list[Colour] = [(value,) for value in (0, 10, 40, 80, 128, 180, 220, 255)]
INKS: list[Colour] = [
    tuple(255 * (n >> shift & 1) for shift in (3, 2, 1, 0)) for n in (0, 1, 2, 4, 6, 8, 10, 12)
]
WIDTH = 8
EXACT = ThumbnailSettings(size=WIDTH)
BLOCKS = ThumbnailSettings(size=8 * WIDTH)
PROFILES = {
    "Display P3": colours.DISPLAY_P3,
    "Adobe RGB": colours.ADOBE_RGB,
    "linear": colours.LINEAR_RGB,
}
SRGB_XY = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
ADOBE_XY = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)


def row(mode: str, values: Sequence[Colour], scale: int = 1) -> Image.Image:
    """Return an image of one row, or of blocks for lossy formats."""
    image = Image.frombytes(mode, (len(values), 1), b"".join(map(bytes, values)))
    return image.resize((scale * len(values), scale), Image.Resampling.NEAREST)


def shown(data: bytes, settings: ThumbnailSettings = EXACT) -> list[Colour]:
    """Return the colours in the middle row of a thumbnail."""
    image = pictures.decode(make_thumbnail(data, settings).data)
    scale = settings.size // WIDTH
    places = [(n * scale + scale // 2, settings.size // 2) for n in range(WIDTH)]
    if scale == 1:
        places = [(n, (WIDTH - 1) // 2) for n in range(WIDTH)]
    return [pictures.pixel(image, place) for place in places]


def assert_close(actual: Sequence[Colour], expected: Sequence[Colour], most: int = 3) -> None:
    """Assert that no band of a colour differs by more than `most`."""
    pairs = zip(actual, expected, strict=True)
    differences = [max(abs(a - b) for a, b in zip(x, y, strict=True)) for x, y in pairs]
    assert max(differences) <= most, f"{actual} are not {expected}"


def png(*chunks: tuple[bytes, bytes], depth: int = 8) -> bytes:
    """Return a PNG of the RGB colours, with chunks before its data."""
    form = ">3B" if depth == 8 else ">3H"
    scale = 1 if depth == 8 else 257
    pixels = b"".join(struct.pack(form, *(scale * value for value in colour)) for colour in RGB)
    extra = b"".join(chunk(name, data) for name, data in chunks)
    return pictures.png((WIDTH, 1), depth=depth, colour=2, rows=b"\0" + pixels, extra=extra)


def icc_chunk(profile: bytes) -> tuple[bytes, bytes]:
    """Return the name and data of a chunk with a profile."""
    return b"iCCP", b"name\0\0" + zlib.compress(profile)


def gamma(value: float) -> tuple[bytes, bytes]:
    """Return the name and data of a gAMA chunk."""
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def chromaticities(values: Sequence[float]) -> tuple[bytes, bytes]:
    """Return the name and data of a cHRM chunk."""
    return b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values))


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_profiles_of_lossless_images_are_applied(kind: str, name: str) -> None:
    """As the mathematics of the profile says."""
    profile = PROFILES[name]
    options = {"icc_profile": profile.data, **({"lossless": True} if kind == "WEBP" else {})}
    expected = [profile.to_srgb(colour) for colour in RGB]
    assert_close(shown(encode(row("RGB", RGB), kind, options)), expected, most=2)


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB"])
def test_profiles_of_jpegs_are_applied(name: str) -> None:
    """The rest is the error of JPEG."""
    profile = PROFILES[name]
    options = {"quality": 100, "subsampling": 0, "icc_profile": profile.data}
    expected = [profile.to_srgb(colour) for colour in RGB]
    assert_close(shown(encode(row("RGB", RGB, 8), "JPEG", options), BLOCKS), expected)


def test_a_profile_in_segments_out_of_order_is_applied() -> None:
    """Each segment has its number."""
    profile = colours.DISPLAY_P3.data
    data = encode(row("RGB", RGB, 8), "JPEG", {"quality": 100, "subsampling": 0})
    segments = icc_segment(2, 2, profile[200:]) + icc_segment(1, 2, profile[:200])
    expected = [colours.DISPLAY_P3.to_srgb(colour) for colour in RGB]
    assert_close(shown(data[:2] + segments + data[2:], BLOCKS), expected)


@pytest.mark.parametrize("depth", [8, 16])
def test_profiles_of_pngs_apply_at_each_depth(depth: int) -> None:
    """Pillow decodes 16 bits as 8."""
    expected = [colours.DISPLAY_P3.to_srgb(colour) for colour in RGB]
    assert_close(shown(png(icc_chunk(colours.DISPLAY_P3.data), depth=depth)), expected)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
@pytest.mark.parametrize("profile", [colours.LINEAR_GREY, colours.LINEAR_RGB], ids=["grey", "RGB"])
def test_profiles_of_grey_images_are_applied(mode: str, profile: colours.Profile) -> None:
    """Also those of RGB: browsers do so."""
    image = row("L", GREYS)
    if mode == "I;16":
        data = struct.pack(">8H", *(257 * value for (value,) in GREYS))
        extra = chunk(*icc_chunk(profile.data))
        file = pictures.png((WIDTH, 1), depth=16, colour=0, rows=b"\0" + data, extra=extra)
    else:
        file = encode(image.convert(mode), "PNG", {"icc_profile": profile.data})
    assert_close(shown(file), [colours.LINEAR_GREY.to_srgb(grey) for grey in GREYS])


def test_transparent_pixels_get_the_background_with_a_profile() -> None:
    """The background is sRGB and stays as it is."""
    image = row("RGB", RGB).convert("RGBA")
    image.putpixel((3, 0), (200, 100, 50, 0))
    settings = ThumbnailSettings(size=WIDTH, background=(9, 80, 200))
    data = encode(image, "PNG", {"icc_profile": colours.DISPLAY_P3.data})
    expected = [colours.DISPLAY_P3.to_srgb(colour) for colour in RGB]
    assert_close(shown(data, settings), [*expected[:3], (9, 80, 200), *expected[4:]])


def test_a_palette_with_a_profile_is_converted() -> None:
    """Also one with transparency."""
    image = row("RGB", RGB).quantize(WIDTH)
    data = encode(image, "PNG", {"icc_profile": colours.DISPLAY_P3.data, "transparency": b"\xff"})
    assert_close(shown(data), [colours.DISPLAY_P3.to_srgb(colour) for colour in RGB])


def test_ink_profiles_are_applied() -> None:
    """Black stays the dark grey of its profile."""
    data = encode(row("CMYK", INKS, 8), "JPEG", {"quality": 100, "icc_profile": colours.CMYK.data})
    assert_close(shown(data, BLOCKS), [colours.CMYK.to_srgb(ink) for ink in INKS])


@pytest.mark.parametrize("adobe", [None, 0])
def test_inks_without_a_profile_are_inverted_as_in_browsers(adobe: int | None) -> None:
    """With an Adobe segment or without."""
    data = encode(row("CMYK", INKS, 8), "JPEG", {"quality": 100})
    start = data.index(b"\xff\xee")
    if adobe is None:
        data = data[:start] + data[start + 16 :]
    expected = [tuple((255 - c) * (255 - ink[3]) // 255 for c in ink[:3]) for ink in INKS]
    assert_close(shown(data, BLOCKS), expected)


CHUNKS: Mapping[str, tuple[list[tuple[bytes, bytes]], list[Colour]]] = {
    "cICP of Display P3": (
        [(b"cICP", bytes((12, 13, 0, 1)))],
        [colours.DISPLAY_P3.to_srgb(colour) for colour in RGB],
    ),
    "cICP before iCCP": (
        [(b"cICP", bytes((12, 13, 0, 1))), icc_chunk(colours.LINEAR_RGB.data)],
        [colours.DISPLAY_P3.to_srgb(colour) for colour in RGB],
    ),
    "iCCP, as cICP is of high dynamic range": (
        [(b"cICP", bytes((9, 16, 0, 1))), icc_chunk(colours.DISPLAY_P3.data)],
        [colours.DISPLAY_P3.to_srgb(colour) for colour in RGB],
    ),
    "iCCP before sRGB": (
        [(b"sRGB", b"\0"), icc_chunk(colours.DISPLAY_P3.data)],
        [colours.DISPLAY_P3.to_srgb(colour) for colour in RGB],
    ),
    "the first iCCP": (
        [icc_chunk(colours.DISPLAY_P3.data), icc_chunk(colours.LINEAR_RGB.data)],
        [colours.DISPLAY_P3.to_srgb(colour) for colour in RGB],
    ),
    "gAMA of linear values": ([gamma(1)], [colours.LINEAR_RGB.to_srgb(colour) for colour in RGB]),
    "gAMA and cHRM": (
        [gamma(256 / 563), chromaticities(ADOBE_XY)],
        [colours.ADOBE_RGB.to_srgb(colour) for colour in RGB],
    ),
    "sRGB before gAMA": ([(b"sRGB", b"\0"), gamma(1)], RGB),
    "gAMA of sRGB": ([gamma(0.45455)], RGB),
    "gAMA and cHRM of sRGB": ([gamma(0.45455), chromaticities(SRGB_XY)], RGB),
    "cHRM without gAMA": ([chromaticities(ADOBE_XY)], RGB),
    "cHRM of zeros": ([gamma(1), (b"cHRM", bytes(32))], RGB),
    "cHRM of ones": ([gamma(1), (b"cHRM", b"\xff" * 32)], RGB),
    "gAMA of zero": ([gamma(0)], RGB),
    "gAMA of one byte": ([(b"gAMA", b"\1")], RGB),
    "iCCP of sRGB": ([icc_chunk(colours.SRGB.data)], RGB),
    "iCCP of greys": ([icc_chunk(colours.LINEAR_GREY.data)], RGB),
    "iCCP of inks": ([icc_chunk(colours.CMYK.data)], RGB),
    "iCCP that is cut": ([icc_chunk(colours.DISPLAY_P3.data[:200])], RGB),
    "cICP of video range": ([(b"cICP", bytes((12, 13, 0, 0)))], RGB),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_colour_chunks_of_pngs_have_an_order(name: str) -> None:
    """cICP, iCCP, sRGB, gAMA: as in browsers. Colours without conversion are exact."""
    chunks, expected = CHUNKS[name]
    assert_close(shown(png(*chunks)), expected, most=0 if expected is RGB else 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_an_srgb_profile_changes_no_byte(kind: str) -> None:
    """Pixel art stays exact."""
    options = {"lossless": True} if kind == "WEBP" else {"quality": 90} if kind == "JPEG" else {}
    image = pictures.gradient("RGB", (60, 40))
    plain = make_thumbnail(encode(image, kind, options), BLOCKS)
    data = encode(image, kind, {**options, "icc_profile": colours.SRGB.data})
    assert make_thumbnail(data, BLOCKS) == plain


def test_a_profile_that_littlecms_rejects_is_ignored() -> None:
    """Its curve has more values than LittleCMS accepts."""
    curve = b"curv" + bytes(4) + struct.pack(">I", 100_000) + bytes(200_000)
    profile = colours.matrix_profile(((1, 0, 0), (0, 1, 0), (0, 0, 1)), curve, float)
    assert shown(png(icc_chunk(profile.data))) == RGB


@pytest.mark.parametrize("size", [0, 1, 100, 128, 200])
def test_a_profile_that_is_cut_is_ignored(size: int) -> None:
    """In its header, its table of tags or its values."""
    assert shown(png(icc_chunk(colours.DISPLAY_P3.data[:size]))) == RGB


@pytest.mark.parametrize("profile_class", [b"link", b"abst", b"nmcl", bytes(4)])
def test_a_profile_of_another_class_is_ignored(profile_class: bytes) -> None:
    """Only those of devices and colour spaces describe the colours of an image."""
    profile = colours.DISPLAY_P3.data
    assert shown(png(icc_chunk(profile[:12] + profile_class + profile[16:]))) == RGB


def test_a_profile_of_more_than_4_mib_is_ignored() -> None:
    """A small chunk may inflate to any size."""
    profile = colours.LINEAR_RGB.data
    padded = profile + bytes((1 << 22) + 1 - len(profile))
    assert shown(png(icc_chunk(padded))) == RGB
    assert shown(png(icc_chunk(padded[:-1]))) != RGB
