"""Small seeded problems on which answers go wrong, family by family; `draw(family, seed)` gives one.

Sizes are small so that thousands can be judged in extended precision. Nothing here depends on the library.
"""

from __future__ import annotations

import zlib

import correctness_constrained
import correctness_planted
import numpy as np
from correctness_drawing import FAMILIES, Drawn

__all__ = ["FAMILIES", "Drawn", "draw", "problems"]

FILES = (correctness_planted, correctness_constrained)  # importing them enters their families


def draw(name: str, seed: int) -> Drawn:
    """The problem of a family with a seed; the same on every machine up to the rounding of its products."""
    return FAMILIES[name](np.random.default_rng([zlib.crc32(name.encode()), seed]))


def problems(count: int, families: list[str] | None = None) -> list[tuple[str, int]]:
    """The first problems in turn: seed 0 of each family, seed 1 of each, and so on."""
    names = families or list(FAMILIES)
    return [(names[k % len(names)], k // len(names)) for k in range(count)]
