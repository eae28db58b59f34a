"""Convert the colours of images to sRGB by their ICC profiles.

Profiles that cannot be used are ignored, as in browsers.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from itertools import product

from PIL import Image, ImageChops, ImageCms

from worker.files.image_metadata.icc import srgb_profile

# The mode in which Pillow converts the colours of each colour space of profiles.
_MODES = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}
_GREY_MODES = frozenset({"1", "L", "LA", "I;16"})
# Profiles of displays, cameras, printers and colour spaces.
_CLASSES = frozenset({b"mntr", b"scnr", b"prtr", b"spac"})
# LittleCMS would compute these elements for each pixel. Browsers ignore them.
_COSTLY = b"mpet"
_MAX_DIFFERENCE = 2  # of 255


@lru_cache(maxsize=4)  # most images have one of a few profiles; a conversion takes 2 ms to build
def srgb_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the conversion of images of a mode to sRGB, or None if their colours stay the same.

    Its `input_mode` may differ from `mode`. A profile that changes no colour visibly is one of
    sRGB: images with it keep their exact colours.
    """
    # The profile of sRGB has version 2. For one of version 4, LittleCMS would make the darkest
    # colour of printers black, which browsers do not.
    source = _MODES.get(profile[16:20])
    if source is None or profile[12:16] not in _CLASSES or _COSTLY in profile:
        return None
    if source != _family(mode) and (source, _family(mode)) != ("RGB", "L"):
        return None
    try:
        transform = ImageCms.ImageCmsTransform(
            ImageCms.ImageCmsProfile(BytesIO(profile)),
            ImageCms.ImageCmsProfile(BytesIO(srgb_profile())),
            source,
            "RGB",
        )
    except (OSError, ValueError):
        return None
    return None if _keeps_colours(transform) else transform


def _family(mode: str) -> str:
    """Return the mode of profiles that suit an image of a mode."""
    if mode in _GREY_MODES:
        return "L"
    return "CMYK" if mode == "CMYK" else "RGB"


def _keeps_colours(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether a conversion changes none of some hundred colours visibly."""
    levels = (*range(0, 255, 51), 255)
    colours = [*product(levels, repeat=3), *((grey, grey, grey) for grey in range(256))]
    probe = Image.new("RGB", (len(colours), 1))
    probe.putdata(colours)
    probe = probe.convert(transform.input_mode)
    changes = ImageChops.difference(probe.convert("RGB"), transform.apply(probe))
    return max(changes.tobytes()) <= _MAX_DIFFERENCE
