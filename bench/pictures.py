"""Pictures to upload: pixel art, flat shapes and photographs, no two files with the same bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import count

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Size = tuple[int, int]
SIZES: tuple[Size, ...] = (
    *((128, 128), (256, 256), (320, 240), (512, 512), (640, 480)),
    *((800, 600), (1024, 768), (1280, 720), (1600, 900), (1920, 1080)),
)
_PEAKS = 25


def few_sizes() -> list[Image.Image]:
    """Return eight pictures as users upload them: most are small, the largest is 1024x1024."""
    return [
        pixel_art(1, (16, 16)),
        pixel_art(2, (24, 24)),
        pixel_art(3, (128, 128)),
        flat_shapes(4, (256, 256)),
        photograph(5, (320, 200)),
        photograph(6, (512, 512)),
        photograph(7, (640, 480)),
        photograph(8, (1024, 1024)),
    ]


def all_kinds(sizes: Sequence[Size]) -> list[Image.Image]:
    """Return eight pictures of each size: pixel art, flat shapes and photographs."""
    kinds = (pixel_art, flat_shapes, flat_shapes, photograph) * 2
    return [kind(seed, size) for seed, kind in enumerate(kinds) for size in sizes]


def variations(pictures: Sequence[Image.Image]) -> Iterator[bytes]:
    """Yield different PNG files of the pictures, in another order each time through them."""
    dice = random.Random(1)
    numbers = count()
    while True:
        for picture in dice.sample(pictures, len(pictures)):
            yield png(_numbered(picture, next(numbers)))


def pixel_art(seed: int, size: Size) -> Image.Image:
    """Return 16x16 squares of four colours, in mode P."""
    dice = random.Random(seed)
    image = Image.new("P", (16, 16))
    image.putpalette(dice.randbytes(12))
    image.putdata([dice.randrange(4) for _ in range(16 * 16)])
    return image.resize(size, Image.Resampling.NEAREST)


def flat_shapes(seed: int, size: Size) -> Image.Image:
    """Return discs of coloured light on a transparent background, in RGBA."""
    dice = random.Random(seed)
    image = Image.new("RGBA", size)
    for _ in range(9):
        layer = Image.new("RGBA", size)
        ImageDraw.Draw(layer).ellipse(_circle(dice, size), fill=(*dice.randbytes(3), 150))
        image = Image.alpha_composite(image, layer)
    return image


def photograph(seed: int, size: Size) -> Image.Image:
    """Return a sky, a sun and hills with grain, in RGB."""
    dice = random.Random(seed)
    width, height = size
    top, bottom = (Image.new("RGB", size, _colour(dice)) for _ in range(2))
    image = Image.composite(top, bottom, Image.linear_gradient("L").resize(size))
    draw = ImageDraw.Draw(image)
    draw.ellipse(_circle(dice, (width, height // 2)), fill=(255, 244, 214))
    for number in range(4):
        line = height * (0.45 + 0.13 * number)
        peaks = [(width * n / _PEAKS, line * dice.uniform(0.9, 1.1)) for n in range(_PEAKS + 1)]
        draw.polygon([(0, height), *peaks, (width, height)], fill=_colour(dice))
    soft = image.filter(ImageFilter.GaussianBlur(max(1, height // 300)))
    grain = Image.effect_noise((min(width, 320), min(height, 180)), 24).resize(size).convert("RGB")
    return Image.blend(soft, ImageChops.overlay(soft, grain), 0.35)


def png(image: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    output = BytesIO()
    image.save(output, "PNG", compress_level=1)
    return output.getvalue()


def _numbered(picture: Image.Image, number: int) -> Image.Image:
    """Return a picture with a number in its first row, which its thumbnail shows as well."""
    image = picture.convert("RGBA" if picture.mode == "RGBA" else "RGB")
    for x in range(8):
        shade = number >> (3 * x) & 7
        image.putpixel((x, 0), (shade * 36, 255 - shade * 36, 128))
    return image


def _circle(dice: random.Random, size: Size) -> tuple[int, int, int, int]:
    x, y = (dice.randrange(side) for side in size)
    radius = dice.randint(min(size) // 6, min(size) // 3)
    return (x - radius, y - radius, x + radius, y + radius)


def _colour(dice: random.Random) -> tuple[int, int, int]:
    red, green, blue = dice.randbytes(3)
    return red, green, blue
