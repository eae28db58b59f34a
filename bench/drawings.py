"""Pictures in several modes: flags, mosaics, landscapes and stained glass, by seed and size."""

from __future__ import annotations

import colorsys
import random
from itertools import product

from PIL import Image, ImageChops, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Size = tuple[int, int]
_PEAKS = 25


def flag(seed: int, size: Size) -> Image.Image:
    """Return a bilevel picture in mode 1: circles that invert each other where they overlap."""
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


def _dice(seed: int) -> random.Random:
    return random.Random(seed)


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
