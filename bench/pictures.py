"""Paintings to upload, no two with the same bytes: each costs a thumbnail and an upload."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from PIL import Image

from bench.drawings import landscape, mosaic, stained_glass
from worker.dev.demo.pictures import creature, png


def mixed() -> list[Image.Image]:
    """Return pictures as people upload them: most of them small, the largest 1024x1024."""
    return [
        creature(1, side=16),
        creature(2, side=24),
        mosaic(3, (64, 64)).resize((128, 128), Image.Resampling.NEAREST),
        stained_glass(4, (256, 256)),
        landscape(5, (320, 200)),
        landscape(6, (512, 512)),
        landscape(7, (640, 480)),
        landscape(8, (1024, 1024)),
    ]


class Album:
    """Endless variations of some pictures, in turn."""

    def __init__(self, pictures: Sequence[Image.Image], start: int = 0) -> None:
        self._pictures = pictures
        self._numbers = count(start)

    def next(self) -> bytes:
        """Return a PNG file that nobody has had before."""
        number = next(self._numbers)
        picture = self._pictures[number % len(self._pictures)]
        varied = picture.convert(picture.mode if picture.mode == "RGBA" else "RGB")
        # A few pixels in a row, so that they outlive being shrunk.
        for x in range(8):
            shade = number >> (3 * x) & 7
            varied.putpixel((x, 0), (shade * 36, 255 - shade * 36, 128))
        return png(varied)
