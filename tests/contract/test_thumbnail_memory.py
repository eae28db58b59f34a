"""What the largest images cost that are accepted: each in a child process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import pictures
from worker.thumbnail import (
    ImageTooLargeError,
    ThumbnailSettings,
    ThumbnailTooLargeError,
    make_thumbnail,
)

# A worker with all its libraries has 122 MB, and may have 400: these are left for a file of
# 20 MB, its image, and the heap that earlier images have left in pieces.
LIMIT_MB = 250
SIDE = 4096
WEBP_SIDE = 3238
_METADATA = 17_000_000

_CHILD = """
import sys, warnings
from pathlib import Path
from worker.thumbnail import ThumbnailSettings, make_thumbnail

warnings.simplefilter("ignore")

def megabytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

before = megabytes("VmRSS:")
make_thumbnail(Path(sys.argv[1]).read_bytes(), ThumbnailSettings())
print(megabytes("VmHWM:") - before)
"""


def webp() -> bytes:
    """Return the largest WebP, lossless with alpha, with as much EXIF as fits in 20 MB."""
    picture = pictures.gradient("RGBA", (WEBP_SIDE, WEBP_SIDE))
    options = {"lossless": True, "method": 0, "quality": 0, "exif": bytes(_METADATA)}
    return pictures.encode(picture, "WEBP", options)


def jpeg() -> bytes:
    """Return a CMYK JPEG in scans, too narrow to be decoded to a fraction."""
    data = pictures.progressive((65_500, 256), "CMYK")
    segment = b"\xff\xe5" + (65_002).to_bytes(2, "big") + bytes(65_000)
    return data[:2] + segment * (_METADATA // len(segment)) + data[2:]


def png_with_texts() -> bytes:
    """Return an RGBA PNG with 63 MB of compressed text and 17 MB of a private chunk."""
    text = b"".join(pictures.compressed_text(f"Text {n}", 1 << 20) for n in range(63))
    rows = (b"\0" + bytes(4 * SIDE)) * SIDE
    extra = text + pictures.chunk(b"prVt", bytes(_METADATA))
    return pictures.png((SIDE, SIDE), depth=8, colour=6, rows=rows, extra=extra)


LARGEST: dict[str, Callable[[], bytes]] = {
    "WebP with metadata": webp,
    "CMYK JPEG with metadata": jpeg,
    "PNG with texts": png_with_texts,
    "16 bit colour PNG": lambda: pictures.colour16((SIDE, SIDE)),
    "interlaced PNG": lambda: pictures.interlaced((SIDE, SIDE)),
    "animated GIF": lambda: pictures.animated("GIF", (SIDE, SIDE)),
    "12 megapixel JPEG": lambda: pictures.progressive((4000, 3000)),
    "tall PNG": lambda: pictures.colour16((256, 65_535)),
    "wide PNG": lambda: pictures.colour16((65_535, 256)),
}


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_accepted_images_fit_into_a_worker(name: str, tmp_path: Path) -> None:
    """The peak of resident memory above that of the process, file included, is bounded."""
    file = tmp_path / "image"
    file.write_bytes(LARGEST[name]())
    child = [sys.executable, "-c", _CHILD, str(file)]
    result = subprocess.run(child, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < LIMIT_MB


def test_a_webp_above_its_share_is_refused() -> None:
    """It would take 281 MB with nothing but its pixels."""
    picture = pictures.encode(pictures.gradient("RGB", (SIDE, SIDE)), "WEBP", {"method": 0})
    with pytest.raises(ImageTooLargeError):
        make_thumbnail(picture, ThumbnailSettings())


def test_a_thumbnail_above_the_limit_is_refused() -> None:
    """A larger size set by the operator is checked, not trusted: only 512 cannot exceed it."""
    noise = pictures.encode(pictures.noise((1024, 1024)), "PNG", {"compress_level": 0})
    with pytest.raises(ThumbnailTooLargeError, match="of 1048576"):
        make_thumbnail(noise, ThumbnailSettings(size=1024))
    assert len(make_thumbnail(noise, ThumbnailSettings()).data) < 1_048_576
