"""Pictures to upload: pixel art, a large photograph, and a file that is not an image."""

from __future__ import annotations

import colorsys
import random
from io import BytesIO
from itertools import product

from PIL import ExifTags, Image

NOT_AN_IMAGE = b"\x89PNG\r\n\x1a\n, and then nothing"
_ROTATED_LEFT = 6  # EXIF orientation: a quarter turn clockwise makes the picture upright


def creature(seed: int, *, side: int = 16) -> Image.Image:
    """Return pixel art in mode P: a symmetric creature of four colours, the same for each seed."""
    dice = random.Random(seed)  # noqa: S311 - for art, not for secrets
    image = Image.new("P", (side, side))
    image.putpalette(_palette(dice.random()))
    for x, y in product(range(side // 2), range(1, side - 1)):
        # Denser towards the middle, so that the parts are connected.
        if dice.random() < 0.25 + 0.55 * x / (side / 2):
            ink = dice.randint(1, 3)
            image.putpixel((x, y), ink)
            image.putpixel((side - 1 - x, y), ink)
    return image


def png(image: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    output = BytesIO()
    image.save(output, "PNG", compress_level=1)
    return output.getvalue()


def rotated_photo(size: tuple[int, int]) -> bytes:
    """Return a grainy JPEG that is stored rotated, with its EXIF orientation."""
    bands = (
        Image.linear_gradient("L"),
        Image.radial_gradient("L"),
        Image.effect_noise((256, 256), 40),
    )
    image = Image.merge("RGB", [band.resize(size) for band in bands])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = _ROTATED_LEFT
    output = BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(output, "JPEG", exif=exif.tobytes())
    return output.getvalue()


def _palette(hue: float) -> list[int]:
    """Return the RGB values of four colours of one hue, from dark to bright."""
    colours = [colorsys.hsv_to_rgb(hue, 0.65, value) for value in (0.15, 0.35, 0.55, 0.75)]
    return [round(255 * band) for colour in colours for band in colour]
