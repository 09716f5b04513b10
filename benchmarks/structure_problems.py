"""Seeded problems in groups: real groups, complex data, joint columns; easy, near and past the threshold, hard data."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

Rng = np.random.Generator


@dataclass(frozen=True, eq=False)
class Drawn:
    """Data with the x that made them.

    Attributes
    ----------
    A : ndarray of shape (m, n)
        Real or complex.
    y : ndarray of shape (m,) or (m, k)
        Measurements.
    groups : int or None
        Size of the groups of columns.
    joint : bool
        Whether the columns of y have one support.
    """

    A: np.ndarray
    y: np.ndarray
    groups: int | None
    joint: bool

    @property
    def options(self) -> dict[str, Any]:
        """What tells hadaflow of the structure."""
        return {"groups": self.groups, "joint": self.joint}

    def value(self, x: np.ndarray) -> float:
        """The sum of the norms of the groups of x."""
        rows = np.abs(x.reshape(len(x), -1)) ** 2
        return float(np.sqrt(rows.sum(axis=1).reshape(-1, self.groups or 1).sum(axis=1)).sum())

    def residual(self, x: np.ndarray) -> float:
        """``||A x - y|| / ||y||``."""
        return float(np.linalg.norm(self.A @ x - self.y) / np.linalg.norm(self.y))


@dataclass(frozen=True)
class Kind:
    """One class: sizes, structure and what makes it hard.

    Attributes
    ----------
    m, n : int
        Shape of A.
    count : int
        Groups that x has.
    width : int
        Coordinates in each.
    columns : int
        Columns of y; 0 for a vector.
    complex_data : bool
        Whether A and x are complex.
    data : str
        "gaussian", "ill" (condition 1e4), "neighbours" (correlation 0.95) or "fourier" (rows of a Fourier matrix).
    decades : float
        Range of the sizes of groups.
    rank_one : bool
        Whether all columns of x are multiples of one.
    """

    m: int
    n: int
    count: int
    width: int = 1
    columns: int = 0
    complex_data: bool = False
    data: str = "gaussian"
    decades: float = 0.0
    rank_one: bool = False


def _families() -> dict[str, Kind]:
    kinds: dict[str, Kind] = {}
    for width, counts in ((4, (15, 24, 60)), (10, (7, 11, 24))):
        for name, count in zip(("easy", "near", "past"), counts, strict=True):
            kinds[f"groups of {width}, {name}"] = Kind(250, 1000, count, width)
        kinds[f"groups of {width}, ill"] = Kind(250, 1000, counts[0], width, data="ill")
        kinds[f"groups of {width}, decades"] = Kind(250, 1000, counts[0], width, decades=4)
    kinds["groups of 4, neighbours"] = Kind(250, 1000, 15, 4, data="neighbours")
    for name, count in (("easy", 40), ("near", 85), ("past", 120)):
        kinds[f"complex, {name}"] = Kind(250, 1000, count, complex_data=True)
    kinds["complex, ill"] = Kind(250, 1000, 30, complex_data=True, data="ill")
    kinds["complex, Fourier"] = Kind(256, 1024, 30, complex_data=True, data="fourier")
    for columns, counts in ((5, (20, 30, 60)), (20, (20, 46, 80))):
        for name, count in zip(("easy", "near", "past"), counts, strict=True):
            kinds[f"{columns} columns, {name}"] = Kind(100, 500, count, columns=columns)
        kinds[f"{columns} columns, ill"] = Kind(100, 500, 15, columns=columns, data="ill")
    kinds["5 columns, rank one"] = Kind(100, 500, 12, columns=5, rank_one=True)
    return kinds


KINDS = _families()


def draw(name: str, seed: int) -> Drawn:
    """A problem of one class."""
    kind = KINDS[name]
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    A = _matrix(rng, kind)
    x = np.zeros((kind.n, max(1, kind.columns)), dtype=A.dtype)
    for g in rng.permutation(kind.n // kind.width)[: kind.count]:
        rows = slice(g * kind.width, (g + 1) * kind.width)
        x[rows] = 10 ** (kind.decades * (rng.random() - 1)) * _normal(rng, x[rows].shape, kind.complex_data)
    if kind.rank_one:
        x = x[:, :1] * rng.standard_normal(kind.columns)
    y = A @ x
    return Drawn(A, y if kind.columns else y[:, 0], kind.width if kind.width > 1 else None, kind.columns > 0)


def _matrix(rng: Rng, kind: Kind) -> np.ndarray:
    if kind.data == "fourier":
        return np.fft.fft(np.eye(kind.n), norm="ortho")[np.sort(rng.permutation(kind.n)[: kind.m])]
    A = _normal(rng, (kind.m, kind.n), kind.complex_data)
    if kind.data == "neighbours":
        for j in range(1, kind.n):
            A[:, j] = 0.95 * A[:, j - 1] + (1 - 0.95**2) ** 0.5 * A[:, j]
    if kind.data == "ill":
        u, s, v = np.linalg.svd(A, full_matrices=False)
        A = (u * np.geomspace(1, 1e-4, len(s))) @ v
    return A


def _normal(rng: Rng, shape: tuple[int, ...], complex_data: bool) -> np.ndarray:
    real = rng.standard_normal(shape)
    return real + 1j * rng.standard_normal(shape) if complex_data else real
