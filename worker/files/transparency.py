"""Find the pixels of a PNG that have its transparent colour.

Pillow compares only 8 bits of 16, and no scaled values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from io import BytesIO

from PIL import Image, ImageChops

from worker.files.image_metadata.parts import ImageParts

Box = tuple[int, int, int, int]
_DEEP = 16
_PART_PIXELS = 1 << 20
_LOW_BYTES = "RGB;16L"  # Pillow takes the low byte of a little-endian number for the high one
_HIGH, _LOW = "L;16", "L;16B"  # the bytes of a band of mode I;16, in the same way


@dataclass(frozen=True, slots=True)
class TransparentColour:
    """The transparent grey value or RGB colour of an image, with `depth` bits per sample.

    `low_bytes` is 255 where the low bytes of an RGB image of 16 bits are those of the colour.
    """

    samples: tuple[int, ...]
    depth: int
    low_bytes: Image.Image | None

    @classmethod
    def of(cls, parts: ImageParts) -> TransparentColour | None:
        """Return the transparent colour of an image, or None if it has none."""
        samples = parts.transparent
        if not samples:
            return None
        is_deep = parts.depth == _DEEP and len(samples) > 1
        return cls(samples, parts.depth, _match_low_bytes(parts) if is_deep else None)

    def find(self, image: Image.Image, box: Box) -> Image.Image:
        """Return an image that is 255 where the pixels of `box` have the colour, else 0."""
        part = image.crop(box)
        if part.mode == "I;16":
            data = part.tobytes()
            halves = (Image.frombytes("L", part.size, data, "raw", raw) for raw in (_HIGH, _LOW))
            return _match(halves, divmod(self.samples[0], 256))
        if self.low_bytes is not None:
            high = _match(part.split(), [sample >> 8 for sample in self.samples])
            return ImageChops.darker(high, self.low_bytes.crop(box))
        scale = 255 // ((1 << self.depth) - 1)
        bands = part.convert("L").split() if part.mode == "1" else part.split()
        return _match(bands, [sample * scale for sample in self.samples])


def _match_low_bytes(parts: ImageParts) -> Image.Image:
    """Decode the low bytes of an RGB image of 16 bits; Pillow decodes only the high ones."""
    with Image.open(BytesIO(parts.data), formats=("PNG",)) as image:
        image.tile = [tile._replace(args=_LOW_BYTES) for tile in image.tile]
        image.load()
        low_samples = [sample & 0xFF for sample in parts.transparent]
        result = Image.new("L", image.size)
        rows = max(1, _PART_PIXELS // image.width)  # at a time, to save memory
        for top in range(0, image.height, rows):
            box = (0, top, image.width, min(top + rows, image.height))
            result.paste(_match(image.crop(box).split(), low_samples), box)
        return result


def _match(bands: Iterable[Image.Image], samples: Iterable[int]) -> Image.Image:
    """Return an image that is 255 where each band has its sample, else 0."""
    matches = (
        band.point([255 * (value == sample) for value in range(256)])
        for band, sample in zip(bands, samples, strict=True)
    )
    return reduce(ImageChops.darker, matches)
