"""How thumbnails are made: each trap of decoding, scaling and encoding."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from tests import pictures
from worker.files.thumbnail import Thumbnail, ThumbnailSettings, make_thumbnail

SMALL = ThumbnailSettings(size=32, max_pixels=1 << 22)
LEFT, RIGHT, TOP, BOTTOM = (4, 16), (28, 16), (16, 4), (16, 28)
READABLE = {
    "palette PNG": pictures.pixel_art(),
    "photo JPEG": pictures.photo("JPEG"),
    "photo PNG": pictures.photo("PNG"),
    "photo WebP": pictures.photo("WEBP"),
    "progressive JPEG": pictures.progressive(),
    "CMYK JPEG": pictures.cmyk(),
    "transparent PNG": pictures.transparent("PNG"),
    "transparent WebP": pictures.transparent("WEBP"),
    "transparent palette": pictures.transparent_palette(),
    "one bit": pictures.bilevel(),
    "grey": pictures.grey("L"),
    "grey with alpha": pictures.grey("LA"),
    "16 bit grey": pictures.grey16(),
    "16 bit colour": pictures.colour16(),
    "interlaced": pictures.interlaced(),
    "rotated JPEG": pictures.with_exif("JPEG"),
    "PNG with text": pictures.with_text(),
    "animated GIF": pictures.animated("GIF"),
    "animated WebP": pictures.animated("WEBP"),
    "animated PNG": pictures.animated("PNG"),
    "polyglot": pictures.polyglot(),
    "one column": pictures.photo("PNG", (1, 4096)),
    "one row": pictures.photo("PNG", (4096, 1)),
}


def opened(thumbnail: Thumbnail) -> Image.Image:
    """Return a thumbnail's picture as RGB."""
    return pictures.decode(thumbnail.data)


def is_red(thumbnail: Thumbnail, place: tuple[int, int]) -> bool:
    """Tell whether a thumbnail is red, and not blue, at a place."""
    pixel = opened(thumbnail).getpixel(place)
    return isinstance(pixel, tuple) and pixel[0] > 200 and pixel[2] < 50


@pytest.mark.parametrize("name", READABLE)
def test_every_readable_image_becomes_an_opaque_square(name: str) -> None:
    """Whatever its mode and format: one still PNG or JPEG, the same bytes each time."""
    thumbnail = make_thumbnail(READABLE[name], SMALL)
    assert make_thumbnail(READABLE[name], SMALL) == thumbnail
    with Image.open(BytesIO(thumbnail.data)) as image:
        assert (image.get_format_mimetype(), image.size) == (thumbnail.mime_type, (32, 32))
        assert image.mode in {"RGB", "P"}
        assert not image.has_transparency_data
        assert getattr(image, "n_frames", 1) == 1
    assert thumbnail.mime_type in {"image/png", "image/jpeg"}


def test_pixel_art_is_enlarged_with_hard_edges() -> None:
    """Each pixel becomes a block of its own colour, with no other; they are kept in a palette."""
    thumbnail = make_thumbnail(pictures.pixel_art((8, 8)), SMALL)
    original = pictures.decode(pictures.pixel_art((8, 8)))
    enlarged = original.resize((32, 32), Image.Resampling.NEAREST)
    assert opened(thumbnail).tobytes() == enlarged.tobytes()
    with Image.open(BytesIO(thumbnail.data)) as image:
        assert image.mode == "P"


@pytest.mark.parametrize("size", [(1210, 1000), (700, 33), (65, 4000), (2000, 1)])
def test_shrinking_in_bands_equals_shrinking_at_once(size: tuple[int, int]) -> None:
    """Bands save memory and change no pixel of what Pillow's reducing_gap gives."""
    original = pictures.gradient("RGB", size)
    scale = 32 / max(size)
    fitted = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    expected = original.resize(fitted, Image.Resampling.BICUBIC, reducing_gap=1.5)
    at_once, in_bands = (
        make_thumbnail(pictures.encode(image, "PNG", {"compress_level": 1}), SMALL)
        for image in (expected, original)
    )
    assert in_bands == at_once


@pytest.mark.parametrize("size", [(1, 4096), (4096, 1)])
def test_a_line_of_pixels_stays_visible(size: tuple[int, int]) -> None:
    """The shorter side never rounds to nothing."""
    white = pictures.encode(Image.new("RGB", size, pictures.WHITE), "PNG")
    counts = opened(make_thumbnail(white, SMALL)).getcolors() or []
    assert sorted(counts) == [(32, pictures.WHITE), (31 * 32, (0, 0, 0))]


def test_bars_and_transparency_show_the_background() -> None:
    """Letterboxing and transparent pixels are filled; what was hidden below stays hidden."""
    settings = ThumbnailSettings(size=32, background=(9, 8, 7))
    result = opened(make_thumbnail(pictures.transparent("PNG", (16, 8)), settings))
    assert result.getpixel((0, 0)) == (9, 8, 7)
    assert result.getpixel((31, 16)) == (9, 8, 7)
    assert result.getpixel((0, 16)) == pictures.RED


def test_transparent_palette_colours_show_the_background() -> None:
    """A palette entry that is transparent is, like an alpha channel."""
    result = opened(make_thumbnail(pictures.transparent_palette(), SMALL))
    assert result.getpixel((0, 0)) == (0, 0, 0)
    assert result.getpixel((31, 0)) == pictures.BLUE


def test_16_bit_grey_is_scaled_not_clipped() -> None:
    """The four greys of 16 bits come out as the same four greys of 8."""
    result = opened(make_thumbnail(pictures.grey16(), ThumbnailSettings(size=4)))
    assert [result.getpixel((x, 0)) for x in range(4)] == [
        (0, 0, 0),
        (64, 64, 64),
        (192, 192, 192),
        (255, 255, 255),
    ]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "red"),
    list(enumerate([LEFT, RIGHT, RIGHT, LEFT, TOP, TOP, BOTTOM, BOTTOM], start=1)),
)
def test_a_camera_held_sideways_gives_an_upright_picture(
    kind: str, orientation: int, red: tuple[int, int]
) -> None:
    """The EXIF orientation is applied: the red half ends up where the photographer saw it."""
    assert is_red(make_thumbnail(pictures.with_exif(kind, orientation), SMALL), red)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("keep", [7, 12, 20, 60])
def test_broken_exif_spoils_no_good_picture(kind: str, keep: int) -> None:
    """EXIF that is cut or is none at all is passed over."""
    for damage in (lambda block: block[:keep], lambda block: b"Exif\0\0" + b"X" * len(block)):
        data = pictures.with_broken_exif(kind, damage)
        assert pictures.decode(make_thumbnail(data, SMALL).data).width == 32


@pytest.mark.parametrize("name", ["rotated JPEG", "PNG with text", "polyglot"])
def test_nothing_but_pixels_gets_into_the_result(name: str) -> None:
    """No EXIF, position, profile, text or appended file."""
    data = READABLE[name]
    result = make_thumbnail(data, SMALL).data
    assert pictures.SECRET in data
    assert pictures.SECRET not in result
    with Image.open(BytesIO(result)) as image:
        image.load()
        assert set(image.info) == set()
        assert len(image.getexif()) == 0


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind: str) -> None:
    """The first frame is red, the second blue."""
    assert is_red(make_thumbnail(pictures.animated(kind), SMALL), (16, 16))
