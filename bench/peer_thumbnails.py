"""Make thumbnails of the same files as workers do and with `sharp`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

from bench.figures import Figure, Section, Target
from bench.peer_program import JobRun, PeerProgram
from bench.raw import thumbnail_costs

_CORES = os.cpu_count() or 1
_WARM_UP = 20
_OURS = "ours"
_USUAL = "sharp, as the script uses it"
_RECIPES = {
    _USUAL: "usualPng",
    "sharp, tuned, PNG": "fastPng",
    "sharp, tuned, JPEG": "fastJpeg",
}
_METHOD = (
    "{files} PNG files, pixel art, flat shapes and photographs, from the file to the encoded "
    f"thumbnail; all four in turn, rounds: {{rounds}}. Ours: {_CORES} processes. sharp: 10 at a "
    "time in the threads of one process. The script resizes to 512x512 with `contain` on black and "
    "calls `png()`. Tuned, sharp removes transparency, scales with its linear kernel, and writes "
    "PNG at compression level 1, or JPEG of quality 90 and 4:4:4 with standard tables. Our CPU "
    "time is that of the calls, without the pool of processes. The aim is 1.3 times the rate of "
    "the script."
)
Maker = Callable[[], JobRun]


def measure_thumbnails(
    program: PeerProgram, folder: Path, pictures: Iterable[bytes], rounds: int
) -> Section:
    """Compare rates, CPU times and sizes; the pictures are saved in a new folder."""
    files = _save(folder, pictures)
    makers = _makers(program, files)
    for name in _RECIPES:
        _makers(program, files[:_WARM_UP])[name]()
    rounds_of_runs = [{name: make() for name, make in makers.items()} for _ in range(rounds)]
    runs = {name: [each[name] for each in rounds_of_runs] for name in makers}
    rates = {name: len(files) / fmean(run.seconds for run in own) for name, own in runs.items()}
    cpu = {name: fmean(run.cpu for run in own) / len(files) for name, own in runs.items()}
    sizes = {name: fmean(own[0].result) for name, own in runs.items()}
    return Section(
        "thumbnails",
        "Thumbnails",
        _METHOD.format(files=len(files), rounds=rounds),
        [
            *_rows("thumbnails", "/s", rates),
            *_rows("CPU", "ms each", {name: value * 1000 for name, value in cpu.items()}),
            *_rows("mean size", "bytes", sizes),
        ],
        _targets(rates, sizes),
    )


def _save(folder: Path, pictures: Iterable[bytes]) -> Sequence[Path]:
    folder.mkdir()
    files = []
    for number, picture in enumerate(pictures):
        files.append(folder / f"{number}.png")
        files[-1].write_bytes(picture)
    return files


def _makers(program: PeerProgram, files: Sequence[Path]) -> Mapping[str, Maker]:
    paths = [str(file) for file in files]
    peers = {
        name: partial(program.run, recipe=recipe, files=paths) for name, recipe in _RECIPES.items()
    }
    return {_OURS: partial(_make, files), **peers}


def _make(files: Sequence[Path]) -> JobRun:
    costs, seconds = thumbnail_costs(files, _CORES)
    return JobRun([size for size, _ in costs], seconds, sum(cpu for _, cpu in costs))


def _rows(label: str, unit: str, values: Mapping[str, float]) -> list[Figure]:
    """Compare our value with each of the others."""
    return [
        Figure(label if name == _USUAL else "the same", values[_OURS], unit, name, values[name])
        for name in _RECIPES
    ]


def _targets(rates: Mapping[str, float], sizes: Mapping[str, float]) -> Sequence[Target]:
    rate, size = (values[_OURS] / values[_USUAL] for values in (rates, sizes))
    beside = "compared with sharp as the script uses it"
    return (
        Target("thumbnails_vs_sharp", f"thumbnails, {beside}", rate, 1.1, at_least=True),
        Target("thumbnail_bytes_vs_sharp", f"their mean size, {beside}", size, 0.8),
    )
