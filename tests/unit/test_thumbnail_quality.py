"""Thumbnails are exact where they should be, close to Lanczos otherwise, and reproducible."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from bench.pictures import all_kinds, flat_shapes, photograph, pixel_art, png
from bench.quality import measure_quality, quality
from tests import pictures
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

SETTINGS = ThumbnailSettings()
JPEGS = {
    "photograph": png(photograph(1, (640, 480))),
    "photograph of the size": png(photograph(2, (512, 400))),
    "transparent shapes": png(flat_shapes(3, (800, 600))),
}
_CHILD = """
import hashlib, sys
from pathlib import Path
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

for name in sys.argv[1:]:
    data = make_thumbnail(Path(name).read_bytes(), ThumbnailSettings()).data
    print(hashlib.sha256(data).hexdigest())
"""


def coloured(size: tuple[int, int], count: int) -> Image.Image:
    """Return an image with a number of colours, in order of its pixels."""
    colours = [(n % 256, 7 * n % 256, n // 256) for n in range(count)]
    image = Image.new("RGB", size)
    image.putdata([colours[n % count] for n in range(size[0] * size[1])])
    return image


def test_thumbnails_keep_the_targets_of_quality() -> None:
    """Mean errors and structural similarities, of pictures of the benchmark."""
    section = measure_quality([png(picture) for picture in all_kinds([(640, 480)])])
    assert [str(target) for target in section.targets if not target.is_met] == []


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 5000])
@pytest.mark.parametrize("size", [(80, 80), (100, 60)])
def test_enlarged_pixel_art_is_exact(size: tuple[int, int], count: int) -> None:
    """With a palette if its colours and that of the bars fit into it."""
    data = png(coloured(size, count))
    assert quality(data).error == 0
    with Image.open(BytesIO(make_thumbnail(data, SETTINGS).data)) as image:
        assert (image.format, image.mode) == ("PNG", "P" if count < 256 else "RGB")


@pytest.mark.parametrize("count", [3, 254, 255, 256])
@pytest.mark.parametrize("background", [(0, 0, 0), (200, 7, 3)])
def test_bars_of_pixel_art_have_the_background(
    background: tuple[int, int, int], count: int
) -> None:
    """Whether or not the image has this colour too."""
    image = coloured((32, 16), count)
    result = pictures.decode(
        make_thumbnail(png(image), ThumbnailSettings(size=64, background=background)).data
    )
    expected = Image.new("RGB", (64, 64), background)
    expected.paste(image.resize((64, 32), Image.Resampling.NEAREST), (0, 16))
    assert result == expected


@pytest.mark.parametrize("size", [(512, 512), (512, 300)])
def test_images_of_few_colours_are_exact(size: tuple[int, int]) -> None:
    """256 at most."""
    data = png(coloured(size, 256))
    assert make_thumbnail(data, SETTINGS).mime_type == "image/png"
    assert quality(data).error == 0


@pytest.mark.parametrize("name", JPEGS)
def test_images_of_many_colours_become_jpegs(name: str) -> None:
    """Whether shrunk or of the size of thumbnails."""
    thumbnail = make_thumbnail(JPEGS[name], SETTINGS)
    with Image.open(BytesIO(thumbnail.data)) as image:
        assert (image.format, thumbnail.mime_type) == ("JPEG", "image/jpeg")


def test_a_jpeg_thumbnail_contains_nothing_but_pixels() -> None:
    """No EXIF, profile or comment; only the header of JFIF."""
    exif = Image.Exif()
    exif[0x010E] = pictures.SECRET.decode()
    options = {"exif": exif, "comment": pictures.SECRET}
    data = pictures.encode(photograph(1, (600, 600)), "JPEG", options)
    result = make_thumbnail(data, SETTINGS).data
    assert pictures.SECRET in data
    assert pictures.SECRET not in result
    with Image.open(BytesIO(result)) as image:
        assert {str(name).partition("_")[0] for name in image.info} == {"jfif"}
        assert len(image.getexif()) == 0


def test_another_process_makes_the_same_bytes(tmp_path: Path) -> None:
    """PNGs and JPEGs: the CID of a thumbnail depends on its image and the recipe only."""
    images = [*JPEGS.values(), png(pixel_art(4, (600, 700))), pictures.pixel_art()]
    files = [tmp_path / str(number) for number in range(len(images))]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(image)
    child = [sys.executable, "-c", _CHILD, *map(str, files)]
    result = subprocess.run(child, capture_output=True, text=True, check=True, timeout=60)
    made = [make_thumbnail(file.read_bytes(), SETTINGS).data for file in files]
    assert result.stdout.split() == [hashlib.sha256(data).hexdigest() for data in made]
