"""The demo's pictures: as various as uploads are, and all of them good."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO

import pytest
from PIL import Image

from worker.dev.demo.pictures import Picture, creature, gallery, recording
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

GALLERY = gallery()


def test_gallery_has_every_kind_of_image() -> None:
    """Modes, formats and sizes from pixel art to a whole screen; slugs are not used twice."""
    modes, formats, sizes = set(), set(), set()
    for picture in GALLERY:
        with Image.open(BytesIO(picture.make())) as image:
            modes.add(image.mode)
            formats.add(image.format)
            sizes.add(image.size)
    assert modes >= {"P", "RGB", "RGBA", "L", "1", "I;16"}
    assert formats >= {"PNG", "JPEG", "GIF", "WEBP"}
    assert {(16, 16), (1920, 1080)} <= sizes
    assert len({picture.slug for picture in GALLERY}) == len(GALLERY) >= 24


@pytest.mark.parametrize("picture", GALLERY, ids=lambda picture: picture.slug)
def test_picture_becomes_a_thumbnail(picture: Picture) -> None:
    """Of more than one colour, or there would be nothing to recognise."""
    thumbnail = make_thumbnail(picture.make(), ThumbnailSettings())
    with Image.open(BytesIO(thumbnail.data)) as image:
        assert image.size == (512, 512)
        assert len(image.convert("RGB").getcolors(512 * 512) or ()) > 1


def test_creature_is_named_by_its_seed() -> None:
    """The same seed draws the same creature, symmetric; another seed another one."""
    first = creature(7).convert("RGB")
    assert first.tobytes() == creature(7).convert("RGB").tobytes()
    assert first.tobytes() == first.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()
    assert first.tobytes() != creature(8).convert("RGB").tobytes()


def test_recording_is_an_archive_of_frames() -> None:
    """A ZIP that opens, its frames images of one size, with a time for each."""
    with zipfile.ZipFile(BytesIO(recording(3))) as archive:
        frames = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(frames) == len(json.loads(archive.read("timing.json")))
        sizes = {Image.open(BytesIO(archive.read(name))).size for name in frames}
    assert len(sizes) == 1
