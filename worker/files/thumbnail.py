"""Thumbnails: a square, opaque PNG of an image that anyone may have uploaded.

Pixel art is enlarged with hard edges, everything else shrunk smoothly, both letterboxed. Nothing
of the file but its first picture reaches the result: no EXIF, no position, no profile, no text.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

# WebPImagePlugin: imported for its registration, without which Pillow imports all its decoders.
from PIL import (
    ExifTags,
    Image,
    ImageFile,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from worker.core.errors import PermanentError
from worker.files.image_metadata import strip_metadata

MIME_TYPE = "image/png"
MAX_BYTES = 1_048_576
_RECIPE = 1
_FORMATS = ("PNG", "GIF", "JPEG", "WEBP")
_MAX_SIZE = 1024
_MAX_COLOURS = 256
_BAND_PIXELS = 1 << 20
# libwebp holds two canvases of its own: 17 bytes a pixel at the peak, against 5 for PNG and 9
# for JPEG. With its share of the pixels WebP needs little more memory than JPEG.
_WEBP_SHARE = 5 / 8
# What GIF and JPEG can have at most; only PNG can have more, at 8 bytes for each row's address.
_MAX_SIDE = 65_535
# Each scan of a JPEG is a pass over the whole image, and takes 33 bytes of file: a bomb of time.
# Encoders write about ten; at the limit of pixels this many take five seconds.
_MAX_JPEG_SCANS = 64
_JPEG_SCAN = b"\xff\xda"
# What the camera held upright, by EXIF orientation. ImageOps.exif_transpose does the same, but
# writes the EXIF again, which raises TypeError, AttributeError and struct.error if it is broken.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError)


class ImageUnreadableError(PermanentError):
    """The bytes are no image of a known format, or a broken one."""

    step, code = "thumbnail", "image_unreadable"


class ImageTooLargeError(PermanentError):
    """Decoding the image would take more memory or time than a worker has."""

    step, code = "thumbnail", "image_too_large"


class ThumbnailTooLargeError(PermanentError):
    """The thumbnail has more bytes than its lexicon allows."""

    step, code = "thumbnail", "thumbnail_too_large"


@dataclass(frozen=True, slots=True)
class ThumbnailSettings:
    """What thumbnails look like, and what images they are made of.

    `size` is the side in pixels (1-1024); `max_pixels` the most an image may have, of which a
    WebP may have five eighths, with no side above 65,535; `background` the RGB colour of the
    bars and below transparency.
    """

    size: int = 512
    max_pixels: int = 4096 * 4096
    background: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if not 1 <= self.size <= _MAX_SIZE:
            raise ValueError(f"the size of thumbnails must be 1 to {_MAX_SIZE}, not {self.size}")
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be at least 1, not {self.max_pixels}")
        if any(not 0 <= value <= 255 for value in self.background):  # noqa: PLR2004
            raise ValueError(f"the background must be three values of 0-255: {self.background}")

    @property
    def key(self) -> str:
        """A text that changes whenever the same image would become another thumbnail."""
        return f"png{_RECIPE}-{self.size}-{bytes(self.background).hex()}"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A finished thumbnail, ready to upload. Sides in pixels."""

    data: bytes
    mime_type: str
    width: int
    height: int


def make_thumbnail(data: bytes, settings: ThumbnailSettings) -> Thumbnail:
    """Return the thumbnail of an image's first frame.

    Raises ImageUnreadableError and ImageTooLargeError for the image, ThumbnailTooLargeError for
    a result above 1 MiB.
    """
    try:
        fitted = _fit(strip_metadata(data), settings)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError(f"the image is a decompression bomb: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageUnreadableError("the file is no PNG, GIF, JPEG or WebP image") from error
    except _DECODING_ERRORS as error:
        raise ImageUnreadableError(f"the image is broken: {ascii(str(error))[:200]}") from error
    encoded = _encode(_letterbox(fitted, settings))
    if len(encoded) > MAX_BYTES:
        raise ThumbnailTooLargeError(f"the thumbnail has {len(encoded)} bytes of {MAX_BYTES}")
    return Thumbnail(encoded, MIME_TYPE, settings.size, settings.size)


def _fit(data: bytes, settings: ThumbnailSettings) -> Image.Image:
    """Decode an image and scale it so that its longer side is that of a thumbnail."""
    with Image.open(BytesIO(data), formats=_FORMATS) as image:
        _check_cost(image, data, settings)
        width, height = _target_size(image.size, settings.size)
        image.draft(None, (2 * width, 2 * height))  # JPEG decodes to fractions, cheaply
        image.load()
        scaled = _scale(image, settings)
        turn = _TURNS.get(_read_orientation(image))
    return scaled if turn is None else scaled.transpose(turn)


def _check_cost(image: ImageFile.ImageFile, data: bytes, settings: ThumbnailSettings) -> None:
    """Refuse an image by its header, before its pixels take any memory.

    Pillow's own MAX_IMAGE_PIXELS is one for the whole process and only warns up to twice its
    value; this is for one call, exact, and safe with threads.
    """
    width, height = image.size
    share = _WEBP_SHARE if image.format == "WEBP" else 1
    limit = int(settings.max_pixels * share)
    if width * height > limit or max(width, height) > _MAX_SIDE:
        raise ImageTooLargeError(
            f"the {image.format} image has {width}x{height} pixels, and {limit} is the limit, "
            f"with no side above {_MAX_SIDE}"
        )
    scans = data.count(_JPEG_SCAN) if image.format in {"JPEG", "MPO"} else 0
    if scans * width * height > _MAX_JPEG_SCANS * settings.max_pixels:
        raise ImageTooLargeError(f"the JPEG image of {width}x{height} pixels has {scans} scans")


def _read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 when there is none; broken EXIF spoils no good picture."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except (SyntaxError, ValueError, struct.error):
        return 1
    return orientation if isinstance(orientation, int) else 1


def _target_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the size of an image within a square; the shorter side is never 0."""
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _scale(image: Image.Image, settings: ThumbnailSettings) -> Image.Image:
    """Scale an image to fit, opaque: hard edges when enlarged, smooth when shrunk.

    Shrinking goes in two steps, the first by whole numbers to at least twice the size, as
    Pillow's `reducing_gap=2.0` does; but in bands, so that no second copy is ever in memory.
    """
    width, height = _target_size(image.size, settings.size)
    if max(image.size) < settings.size:
        return _flatten(image, settings).resize((width, height), Image.Resampling.NEAREST)
    factor = max(1, image.width // (2 * width)), max(1, image.height // (2 * height))
    box = (0, 0, image.width / factor[0], image.height / factor[1])
    reduced = _reduce(image, factor, settings)
    return reduced.resize((width, height), Image.Resampling.LANCZOS, box)


def _reduce(
    image: Image.Image, factor: tuple[int, int], settings: ThumbnailSettings
) -> Image.Image:
    """Return an opaque image reduced by whole numbers, made from one band of rows at a time."""
    across, down = factor
    reduced = Image.new("RGB", (-(-image.width // across), -(-image.height // down)))
    rows = max(1, _BAND_PIXELS // (image.width * down)) * down
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        reduced.paste(_flatten(band, settings).reduce(factor), (0, top // down))
    return reduced


def _flatten(image: Image.Image, settings: ThumbnailSettings) -> Image.Image:
    """Return an image as RGB on the background, whatever its mode."""
    if image.mode == "I;16":
        # A plain conversion would clip everything above 255 to white.
        image = image.point(lambda value: value * (1 / 257)).convert("L")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    canvas = Image.new("RGB", layer.size, settings.background)
    canvas.paste(layer, mask=layer)
    return canvas


def _letterbox(image: Image.Image, settings: ThumbnailSettings) -> Image.Image:
    """Centre an image on a new canvas, which takes over its pixels and nothing else."""
    side = settings.size
    canvas = Image.new("RGB", (side, side), settings.background)
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas


def _encode(canvas: Image.Image) -> bytes:
    """Return a PNG; with at most 256 colours it has a palette, which halves pixel art."""
    colours = canvas.getcolors(_MAX_COLOURS)
    if colours:
        canvas = canvas.quantize(len(colours), dither=Image.Dither.NONE)
    output = BytesIO()
    canvas.save(output, "PNG")
    return output.getvalue()
