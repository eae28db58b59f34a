"""Pictures as people upload them: pixel art, mosaics, photographs, in every size and mode.

Made with Pillow alone. A seed names a picture, which is the same on each call but for the grain
of a photograph.
"""

from __future__ import annotations

import colorsys
import json
import random
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import product

from PIL import ExifTags, Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Size = tuple[int, int]
_PEAKS = 25
_LYING_ON_ITS_SIDE = 6  # EXIF orientation: a quarter turn clockwise makes it upright


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to upload: the slug it is stored under, and how its file is made."""

    slug: str
    make: Callable[[], bytes]


def creature(seed: int, *, side: int = 16) -> Image.Image:
    """Return pixel art in mode P: a creature of four colours, symmetric like most of us."""
    dice = _dice(seed)
    image = Image.new("P", (side, side))
    image.putpalette([value for colour in _palette(dice, 4) for value in colour])
    for x, y in product(range(side // 2), range(1, side - 1)):
        # Denser towards the middle, so that it holds together.
        if dice.random() < 0.25 + 0.55 * x / (side / 2):
            ink = dice.randint(1, 3)
            image.putpixel((x, y), ink)
            image.putpixel((side - 1 - x, y), ink)
    return image


def flag(seed: int, size: Size) -> Image.Image:
    """Return a bilevel picture, mode 1: circles and bars that invert what they cross."""
    dice = _dice(seed)
    image = Image.new("1", size)
    for _ in range(6):
        layer = Image.new("1", size)
        x, y = dice.randrange(size[0]), dice.randrange(size[1])
        radius = dice.randint(min(size) // 8, min(size) // 2)
        ImageDraw.Draw(layer).ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
        image = ImageChops.logical_xor(image, layer)
    return image


def mosaic(seed: int, size: Size, *, stones: int = 24) -> Image.Image:
    """Return a Voronoi mosaic in RGB: every pixel in the colour of the nearest stone."""
    dice = _dice(seed)
    colours = _palette(dice, stones)
    places = [(dice.randrange(size[0]), dice.randrange(size[1])) for _ in range(stones)]
    image = Image.new("RGB", size)
    for x, y in product(range(size[0]), range(size[1])):
        nearest = min(range(stones), key=lambda n: _squared(places[n], (x, y)))
        image.putpixel((x, y), colours[nearest])
    return image


def landscape(seed: int, size: Size) -> Image.Image:
    """Return a picture in RGB like a photograph: a sky, a sun, hills in haze, and grain."""
    dice = _dice(seed)
    night, dusk, *hills = _palette(dice, 6)
    down = Image.linear_gradient("L").resize(size)
    image = Image.composite(Image.new("RGB", size, dusk), Image.new("RGB", size, night), down)
    width, height = size
    x, y, radius = dice.randrange(width), dice.randrange(height // 2), max(2, height // 8)
    draw = ImageDraw.Draw(image)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 244, 214))
    for number, colour in enumerate(hills):
        draw.polygon(_ridge(dice, size, 0.45 + 0.13 * number), fill=colour)
    soft = image.filter(ImageFilter.GaussianBlur(max(1, height // 300)))
    grain = Image.effect_noise((min(width, 320), min(height, 180)), 24).resize(size).convert("RGB")
    return Image.blend(soft, ImageChops.overlay(soft, grain), 0.35)


def stained_glass(seed: int, size: Size) -> Image.Image:
    """Return RGBA: discs of coloured light, transparent where none falls."""
    dice = _dice(seed)
    image = Image.new("RGBA", size)
    for colour in _palette(dice, 9):
        layer = Image.new("RGBA", size)
        x, y = dice.randrange(size[0]), dice.randrange(size[1])
        radius = dice.randint(min(size) // 6, min(size) // 3)
        disc = (x - radius, y - radius, x + radius, y + radius)
        ImageDraw.Draw(layer).ellipse(disc, fill=(*colour, 150))
        image = Image.alpha_composite(image, layer)
    return image


def depth_map(seed: int, size: Size) -> Image.Image:
    """Return greys of 16 bits, mode I;16: a slope with a well in it."""
    offset = _dice(seed).randrange(64)
    slope = Image.linear_gradient("L").resize(size).point(lambda value: max(0, value - offset))
    well = Image.radial_gradient("L").resize(size)
    grey = ImageChops.multiply(slope, well).convert("I")
    return grey.point(lambda value: value * 257).convert("I;16")


def png(image: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    return _file(image, "PNG", compress_level=1)


def sideways_jpeg(image: Image.Image) -> bytes:
    """Return a JPEG from a camera held on its side: turned pixels, and EXIF that says so."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = _LYING_ON_ITS_SIDE
    turned = image.transpose(Image.Transpose.ROTATE_90)
    return _file(turned, "JPEG", quality=85, exif=exif.tobytes())


def animation(frames: Sequence[Image.Image]) -> bytes:
    """Return a GIF that moves."""
    first, *rest = frames
    return _file(first, "GIF", save_all=True, append_images=rest, duration=120)


def recording(seed: int) -> bytes:
    """Return a ZIP archive of how a creature came to be: a frame a stroke, and their times."""
    finished, output = creature(seed), BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for stroke in range(1, 5):
            frame = Image.new("P", finished.size)
            frame.putpalette(finished.getpalette() or [])
            part = (0, 0, finished.width, finished.height * stroke // 4)
            frame.paste(finished.crop(part), part)
            archive.writestr(f"frame-{stroke}.png", png(frame))
        archive.writestr("timing.json", json.dumps([0, 240, 510, 800]))
    return output.getvalue()


def gallery() -> list[Picture]:
    """Return the demo's pictures: 16x16 to 1920x1080; some are no PNG, whatever their name."""
    small = [Picture(f"creature-{n}", partial(_creature_file, n)) for n in range(8)]
    mosaics = [Picture(f"mosaic-{n}", partial(_mosaic_file, n)) for n in range(3)]
    sizes = [(640, 480), (480, 640), (1024, 1024), (1280, 720), (1920, 1080), (800, 200)]
    views = [Picture(f"view-{n}", partial(_view_file, n, size)) for n, size in enumerate(sizes)]
    return [
        *small,
        *mosaics,
        *views,
        Picture("glass", lambda: png(stained_glass(1, (256, 256)))),
        Picture("window", lambda: png(stained_glass(2, (700, 300)))),
        Picture("flag", lambda: png(flag(3, (320, 200)))),
        Picture("dusk-in-grey", lambda: png(landscape(4, (500, 300)).convert("L"))),
        Picture("depths", lambda: png(depth_map(5, (256, 256)))),
        Picture("held-sideways", lambda: sideways_jpeg(landscape(6, (900, 600)))),
        Picture("dancing", lambda: animation([creature(n) for n in (40, 41, 42)])),
        Picture("web", lambda: _file(landscape(7, (512, 384)), "WEBP", quality=80)),
    ]


def _creature_file(seed: int) -> bytes:
    return png(creature(seed, side=16 if seed % 2 else 24))


def _mosaic_file(seed: int) -> bytes:
    return png(mosaic(seed, (96, 64)).resize((192, 128), Image.Resampling.NEAREST))


def _view_file(seed: int, size: Size) -> bytes:
    return png(landscape(seed, size))


def _dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - for art, not for secrets


def _palette(dice: random.Random, count: int) -> list[Colour]:
    """Return colours that go together: around one hue, from dark to bright."""
    hue = dice.random()
    return [_colour(hue + dice.uniform(-0.12, 0.12), 0.15 + 0.8 * n / count) for n in range(count)]


def _colour(hue: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, 0.65, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _squared(a: Size, b: Size) -> int:
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2


def _ridge(dice: random.Random, size: Size, top: float) -> list[tuple[float, float]]:
    width, height = size
    tops = [height * (top + dice.uniform(-0.05, 0.05)) for _ in range(_PEAKS)]
    peaks = [(width * n / (_PEAKS - 1), y) for n, y in enumerate(tops)]
    return [(0, height), *peaks, (width, height)]


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    output = BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()
