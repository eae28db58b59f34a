"""Compare thumbnails with the same images scaled by Lanczos at full precision, lossless."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from statistics import mean
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from bench.figures import Figure, Section, Target
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

_METHOD = (
    "Compared with Lanczos, lossless: the reference has no reducing step, no rounding before its "
    "last step and no compression: each band is multiplied by its alpha channel and scaled in "
    "floating-point numbers. Smaller images are enlarged with hard edges. Mean error: of all "
    "pixels and bands, of 255. Similarity: structural_similarity of scikit-image, of RGB."
)
_MAX_ERROR = 1.5
_MIN_MEAN, _MIN_WORST = 0.99, 0.975
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Quality:
    """How close a thumbnail is to its reference: `error` of 255, and `similarity` up to 1."""

    error: float
    similarity: float


def quality(picture: bytes) -> Quality:
    """Compare the thumbnail of a picture with its reference."""
    data = make_thumbnail(picture, ThumbnailSettings()).data
    pixels, expected = _pixels(Image.open(BytesIO(data)).convert("RGB")), reference(picture)
    error = np.abs(pixels.astype(np.float32) - expected).mean()
    similarity = structural_similarity(pixels, expected, channel_axis=2)
    return Quality(float(error), float(similarity))


def reference(picture: bytes, side: int = ThumbnailSettings().size) -> Pixels:
    """Return the pixels of a lossless thumbnail of an opaque or RGBA picture, scaled by Lanczos."""
    image = Image.open(BytesIO(picture)).convert("RGBA")
    hard = Image.Resampling.NEAREST if max(image.size) < side else Image.Resampling.LANCZOS
    scale = side / max(image.size)
    width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    left, top = (side - width) // 2, (side - height) // 2
    *bands, alpha = _pixels(image).astype(np.float32).transpose(2, 0, 1)
    result = np.zeros((side, side, 3), np.float32)
    for number, band in enumerate(bands):
        scaled = Image.fromarray(band * alpha / 255).resize((width, height), hard)
        result[top : top + height, left : left + width, number] = np.asarray(scaled)
    return cast("Pixels", result.round().clip(0, 255).astype(np.uint8))


def measure_quality(pictures: Sequence[bytes]) -> Section:
    """Measure the quality of the thumbnails of pictures."""
    results = [quality(picture) for picture in pictures]
    errors, similarities = [r.error for r in results], [r.similarity for r in results]
    exact = sum(error == 0 for error in errors)
    return Section(
        "quality",
        f"Quality of the thumbnails of {len(pictures)} pictures",
        _METHOD,
        [
            Figure("mean error, average", mean(errors), "of 255", "bound", _MAX_ERROR),
            Figure("mean error, worst", max(errors), "of 255", "bound", _MAX_ERROR),
            Figure("similarity, average", mean(similarities), "", "bound", _MIN_MEAN),
            Figure("similarity, worst", min(similarities), "", "bound", _MIN_WORST),
            Figure("exact thumbnails", exact, "pictures", "all", len(pictures)),
        ],
        [
            Target("thumbnail_error", "worst mean error of a thumbnail", max(errors), _MAX_ERROR),
            _similarity("thumbnail_ssim", "average", mean(similarities), _MIN_MEAN),
            _similarity("thumbnail_ssim_worst", "worst", min(similarities), _MIN_WORST),
        ],
    )


def _similarity(key: str, name: str, value: float, bound: float) -> Target:
    return Target(key, f"{name} structural similarity of a thumbnail", value, bound, at_least=True)


def _pixels(image: Image.Image) -> Pixels:
    return np.asarray(image, np.uint8)
