"""Split image files into pixels and the metadata that affects them.

Malformed metadata is ignored. Malformed pixel data is kept, so that the decoder reports it.
"""

from __future__ import annotations

from worker.files.image_metadata import gif, jpeg, png, webp
from worker.files.image_metadata.parts import ImageParts


def read_image(data: bytes) -> ImageParts:
    """Return the parts of an image file; a file of an unknown format has no metadata."""
    for image_format in (png, jpeg, webp, gif):
        if image_format.is_of(data):
            return image_format.read(data)
    return ImageParts(data)
