"""Create square, opaque PNG or JPEG thumbnails from untrusted images.

Images smaller than the thumbnail are enlarged with hard edges (pixel art); others are shrunk with a
smooth filter. The remaining area is filled with bars. Thumbnails contain only the first frame, in
sRGB, and no EXIF, location, profile or text.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

# WebPImagePlugin registers its decoder on import; Pillow would otherwise import all decoders.
from PIL import (
    Image,
    ImageChops,
    ImageCms,
    ImageFile,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from worker.core.errors import PermanentError
from worker.files.colour import srgb_transform
from worker.files.image_metadata import read_image
from worker.files.image_metadata.exif import read_orientation
from worker.files.image_metadata.parts import ImageParts
from worker.files.thumbnail_encoding import FORMATS, encode, target_size
from worker.files.transparency import Box, TransparentColour

MAX_BYTES = 1_048_576
_RECIPE = 2  # a change of the pixels or bytes of any thumbnail needs a new number
_FORMATS = ("PNG", "GIF", "JPEG", "WEBP")
_BAND_PIXELS = 1 << 20
# WebP needs 17 bytes of memory per pixel, because libwebp allocates two canvases; PNG needs 5 and
# JPEG 9. With this share of `max_pixels`, WebP needs little more memory than JPEG.
_WEBP_SHARE = 5 / 8
# The maximum side of GIF and JPEG images. Each row of a PNG needs 8 more bytes for its address.
_MAX_SIDE = 65_535
# The decoder processes the whole image for each scan, even for a scan of 33 bytes. Encoders write
# about ten scans. 64 scans of an image with `max_pixels` take five seconds.
_MAX_JPEG_SCANS = 64
_JPEG_SCAN = b"\xff\xda"
# By EXIF orientation. ImageOps.exif_transpose is not used, because it also writes the EXIF data.
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


@dataclass(frozen=True, slots=True)
class ThumbnailSettings:
    """The size, background and formats of thumbnails, and the maximum size of images.

    `size` is the side of a thumbnail in pixels. `max_pixels` is the maximum number of pixels of an
    image (5/8 of it for WebP). `background` is the RGB colour of bars and transparent pixels.
    `formats` are the permitted MIME types: PNG, JPEG or both.
    """

    size: int = 512
    max_pixels: int = 4096 * 4096
    background: tuple[int, int, int] = (0, 0, 0)
    formats: tuple[str, ...] = FORMATS

    @property
    def key(self) -> str:
        """Return a text that identifies the settings that affect the thumbnail."""
        formats = ",".join(self.formats)
        return f"{_RECIPE}-{self.size}-{bytes(self.background).hex()}-{formats}"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An encoded thumbnail, ready to upload."""

    data: bytes
    mime_type: str


def make_thumbnail(data: bytes, settings: ThumbnailSettings) -> Thumbnail:
    """Create the thumbnail of the first frame of an image file.

    Raises PermanentError if the image is unreadable or too large, or the thumbnail exceeds 1 MiB.
    """
    try:
        fitted = _fit(read_image(data), settings)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(f"the image is a decompression bomb: {error}") from error
    except UnidentifiedImageError as error:
        raise _unreadable("the file is not a PNG, GIF, JPEG or WebP image") from error
    except _DECODING_ERRORS as error:
        raise _unreadable(f"the image is malformed: {ascii(str(error))[:200]}") from error
    encoded, mime_type = encode(fitted, settings.size, settings.background, settings.formats)
    if len(encoded) > MAX_BYTES:
        message = f"the thumbnail has {len(encoded)} bytes of {MAX_BYTES}"
        raise PermanentError(message, step="thumbnail", code="thumbnail_too_large")
    return Thumbnail(encoded, mime_type)


def _too_large(message: str) -> PermanentError:
    return PermanentError(message, step="thumbnail", code="image_too_large")


def _unreadable(message: str) -> PermanentError:
    return PermanentError(message, step="thumbnail", code="image_unreadable")


def _fit(parts: ImageParts, settings: ThumbnailSettings) -> Image.Image:
    """Decode an image, scale it to fit the thumbnail and apply its orientation.

    Raises OSError if the end of a JPEG is missing with some of its pixels.
    """
    scaled = _decode(parts, settings)
    if any(_decode(parts.with_tail(tail), settings) != scaled for tail in parts.tails):
        raise OSError("the file is truncated")
    turn = _TURNS.get(read_orientation(parts.exif))
    return scaled if turn is None else scaled.transpose(turn)


def _decode(parts: ImageParts, settings: ThumbnailSettings) -> Image.Image:
    """Decode an image and scale it to fit the thumbnail, as opaque sRGB."""
    with Image.open(BytesIO(parts.data), formats=_FORMATS) as image:
        _check_cost(image, parts.data, settings)
        transparent = TransparentColour.of(parts)
        width, height = target_size(image.size, settings.size)
        image.draft(None, (2 * width, 2 * height))  # JPEG: decodes at reduced size
        image.load()
        transform = srgb_transform(parts.profile, image.mode)
        return _scale(image, _Flattener(settings.background, transparent, transform), settings)


def _check_cost(image: ImageFile.ImageFile, data: bytes, settings: ThumbnailSettings) -> None:
    """Raise PermanentError if decoding an image would cost too much.

    Checks the number of pixels, the longest side and the scans of a JPEG before pixels are decoded.
    Pillow's MAX_IMAGE_PIXELS is not used: it is global, and raises an error only above twice its
    value.
    """
    width, height = image.size
    share = _WEBP_SHARE if image.format == "WEBP" else 1
    limit = int(settings.max_pixels * share)
    if width * height > limit or max(width, height) > _MAX_SIDE:
        raise _too_large(
            f"the {image.format} image has {width}x{height} pixels, and {limit} is the limit, "
            f"with no side above {_MAX_SIDE}"
        )
    scans = data.count(_JPEG_SCAN) if image.format in {"JPEG", "MPO"} else 0
    if scans * width * height > _MAX_JPEG_SCANS * settings.max_pixels:
        raise _too_large(f"the JPEG image of {width}x{height} pixels has {scans} scans")


def _scale(image: Image.Image, flattener: _Flattener, settings: ThumbnailSettings) -> Image.Image:
    """Shrink an image to fit the thumbnail, convert it to sRGB and remove its transparency.

    Shrinking has two steps, like Pillow's `reducing_gap=1.5`: by an integer factor to at least 1.5
    times the target size, then to the target size. The first step works on bands to save memory.
    The bicubic filter gives almost the pixels of Lanczos, in two thirds of the time; faster filters
    blur text.
    """
    if max(image.size) < settings.size:
        return flattener.flatten(image, (0, 0, *image.size))
    width, height = target_size(image.size, settings.size)
    factor = max(1, 2 * image.width // (3 * width)), max(1, 2 * image.height // (3 * height))
    box = (0, 0, image.width / factor[0], image.height / factor[1])
    reduced = _reduce(image, factor, flattener)
    return reduced.resize((width, height), Image.Resampling.BICUBIC, box)


def _reduce(image: Image.Image, factor: tuple[int, int], flattener: _Flattener) -> Image.Image:
    """Reduce an image by integer factors, one band of rows at a time."""
    if factor == (1, 1):
        return flattener.flatten(image, (0, 0, *image.size))
    across, down = factor
    reduced = Image.new("RGB", (-(-image.width // across), -(-image.height // down)))
    rows = max(1, _BAND_PIXELS // (image.width * down)) * down
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        reduced.paste(flattener.flatten(image, box).reduce(factor), (0, top // down))
    return reduced


@dataclass(frozen=True, slots=True)
class _Flattener:
    """Converts parts of an image to RGB; transparent pixels get the background colour."""

    background: tuple[int, int, int]
    transparent: TransparentColour | None
    transform: ImageCms.ImageCmsTransform | None

    def flatten(self, image: Image.Image, box: Box) -> Image.Image:
        """Return a part of an image as opaque sRGB."""
        part = image if box == (0, 0, *image.size) else image.crop(box)
        if self.transparent:
            opaque = ImageChops.invert(self.transparent.find(image, box))
            return self._paste(self._to_srgb(part), opaque)
        if not part.has_transparency_data:
            return self._to_srgb(part)
        layer = part if part.mode == "RGBA" else part.convert("RGBA")
        return self._paste(self._to_srgb(layer) if self.transform else layer, layer)

    def _to_srgb(self, part: Image.Image) -> Image.Image:
        if part.mode == "I;16":
            # convert() would clip all values above 255 to white.
            part = part.point(lambda value: value * (1 / 257)).convert("L")
        if self.transform is None:
            return part if part.mode == "RGB" else part.convert("RGB")
        return self.transform.apply(part.convert(self.transform.input_mode))

    def _paste(self, layer: Image.Image, mask: Image.Image) -> Image.Image:
        canvas = Image.new("RGB", layer.size, self.background)
        canvas.paste(layer, mask=mask)
        return canvas
