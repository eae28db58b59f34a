"""What the largest images cost that are accepted: each in a child process of its own.

`make bench-images` measures the child of a real worker, and batches; this is the short of it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.worst_images import WORST
from worker.queue.config import MAX_CHILD_MEMORY

# A worker's child with all its libraries has 127 MB when it begins, this one has 25. And 8 threads
# of a batch hold thumbnails, of which there are 50, and what they upload.
_WORKER, _BATCH = 100_000_000, 60_000_000

_CHILD = """
import sys, warnings
from pathlib import Path
from worker.files.thumbnail import ThumbnailSettings, make_thumbnail

warnings.simplefilter("ignore")
make_thumbnail(Path(sys.argv[1]).read_bytes(), ThumbnailSettings())
status = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
"""


@pytest.mark.parametrize(
    "name",
    [
        "WebP full of noise",
        "WebP with metadata",
        "CMYK JPEG in scans, with EXIF",
        "PNG with texts",
        "PNG, RGB of 16 bits with a transparent colour",
    ],
)
def test_the_worst_accepted_images_fit_into_a_worker(name: str, tmp_path: Path) -> None:
    """The peak of resident memory, file included, leaves room for the rest of a worker."""
    file = tmp_path / "image"
    file.write_bytes(WORST[name]())
    child = [sys.executable, "-c", _CHILD, str(file)]
    result = subprocess.run(child, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) * 1024 + _WORKER + _BATCH < MAX_CHILD_MEMORY
