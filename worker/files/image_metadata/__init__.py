"""Split image files into pixels and the metadata that affects them.

Malformed metadata is ignored. Malformed pixel data is kept, so that the decoder reports it.
"""

from __future__ import annotations

from worker.files.image_metadata import gif, jpeg, png, webp
from worker.files.image_metadata.parts import ImageParts


def read_image(data: bytes) -> ImageParts:
    """Return the parts of an image file; a file of an unknown format has no metadata."""
    if png.is_of(data):
        return png.read(data)
    if jpeg.is_of(data):
        return jpeg.read(data)
    if webp.is_of(data):
        return webp.read(data)
    return gif.read(data) if gif.is_of(data) else ImageParts(data)
