"""Paintings as people have uploaded them over the years: 128x128 to 1920x1080, all different."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import product
from multiprocessing import get_context

from PIL import Image

from bench.drawings import Size, flag, landscape, stained_glass
from bench.pictures import Album
from worker.dev.demo.pictures import creature

SIZES: Sequence[Size] = (
    (128, 128),
    (256, 256),
    (320, 240),
    (512, 512),
    (640, 480),
    (800, 600),
    (1024, 768),
    (1280, 720),
    (1600, 900),
    (1920, 1080),
)
_SEEDS = range(2)
_CHUNK = 20


def files(number: int) -> Iterator[bytes]:
    """Make so many PNG files, no two the same, on all cores."""
    chunks = [range(n, min(n + _CHUNK, number)) for n in range(0, number, _CHUNK)]
    with ProcessPoolExecutor(mp_context=get_context("forkserver")) as pool:
        for made in pool.map(_files, chunks):
            yield from made


def _files(numbers: range) -> list[bytes]:
    return [Album([_picture(n)], start=n).next() for n in numbers]


@cache
def _order(turn: int) -> Sequence[tuple[int, int, Size]]:
    """Return kind, seed and size of every picture, in another order each turn."""
    every = list(product(range(4), _SEEDS, SIZES))
    return random.Random(turn).sample(every, len(every))


@cache
def _drawn(kind: int, seed: int, size: Size) -> Image.Image:
    if kind == 0:
        return creature(seed, side=16).resize(size, Image.Resampling.NEAREST)
    if kind == 1:
        return flag(seed, size)
    return stained_glass(seed, size) if kind == 2 else landscape(seed, size)


def _picture(number: int) -> Image.Image:
    turn, place = divmod(number, len(_order(0)))
    return _drawn(*_order(turn)[place])
