"""What the families of `correctness_problems` are made of: a drawn problem, and the ways to make and change one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import aslinearoperator

Rng = np.random.Generator
Draw = Callable[[Rng], "Drawn"]


@dataclass(frozen=True, eq=False)
class Drawn:
    """The data of one problem and what is asked of them.

    Attributes
    ----------
    A : ndarray of shape (m, n)
        The matrix; float64 or float32.
    y : ndarray of shape (m,)
        The measurements.
    planted : ndarray of shape (n,) or None
        What made the measurements where they are consistent; else None.
    options : dict
        Further arguments of the call: ``positive``, ``weights``, ``noise_level``, ``method``.
    given_as : {"array", "csc", "operator"}
        What the call is given for A.
    call : {"recover", "saddles"}
        The call.
    """

    A: np.ndarray
    y: np.ndarray
    planted: np.ndarray | None = None
    options: dict[str, Any] = field(default_factory=dict)
    given_as: str = "array"
    call: str = "recover"

    @property
    def matrix(self) -> Any:
        """A as the call is given it."""
        convert = {"array": np.asarray, "csc": sp.csc_array, "operator": aslinearoperator}
        return convert[self.given_as](self.A)


FAMILIES: dict[str, Draw] = {}


def family(draw: Draw) -> Draw:
    """Enter a family under the name of its function."""
    FAMILIES[draw.__name__] = draw
    return draw


# --- what the families are made of ---------------------------------------------------------------------------------


def wide(rng: Rng) -> tuple[int, int]:
    """A shape with more columns than rows."""
    m = int(rng.integers(5, 41))
    return m, int(m * rng.uniform(1.5, 3.5))


def sparse_vector(rng: Rng, n: int, s: int, *, positive: bool = False) -> np.ndarray:
    """A vector with s non-zeros, none of them tiny."""
    x = np.zeros(n)
    signs = 1.0 if positive else rng.choice([-1.0, 1.0], s)
    x[rng.choice(n, s, replace=False)] = signs * rng.uniform(0.3, 2, s)
    return x


def few(rng: Rng, m: int, n: int) -> int:
    """A number of non-zeros from one to somewhat beyond what m rows recover."""
    return int(rng.integers(1, max(2, min(n, m // 2) + 1)))


def decades(rng: Rng, k: int, span: float) -> np.ndarray:
    """k positive numbers over so many decades around 1: log-uniform, or powers of two, or two sizes only."""
    kind = rng.integers(3)
    exponents = rng.uniform(-span / 2, span / 2, k)
    if kind == 0:
        return np.asarray(10.0**exponents)
    if kind == 1:
        return np.asarray(2.0 ** np.round(exponents * np.log2(10)))
    return np.where(rng.random(k) < rng.uniform(0.2, 0.8), 10.0**span, 1.0)


def scaled(rng: Rng, drawn: Drawn, *, rows: float = 0.0, columns: float = 0.0) -> Drawn:
    """The same problem in other units of its rows and columns, over so many decades each."""
    m, n = drawn.A.shape
    r = decades(rng, m, rows) if rows else np.ones(m)
    c = decades(rng, n, columns) if columns else np.ones(n)
    assert drawn.planted is not None
    return planted_in(drawn.A * r[:, None] * c, drawn.planted / c, **drawn.options)


def planted_in(A: np.ndarray, x: np.ndarray, **options: Any) -> Drawn:
    """Measurements of x."""
    return Drawn(A, A @ x, x, options)


def gaussian_of(rng: Rng, m: int, n: int, *, positive: bool = False) -> Drawn:
    """A Gaussian matrix and a sparse vector."""
    x = sparse_vector(rng, n, few(rng, m, n), positive=positive)
    return planted_in(rng.standard_normal((m, n)), x, **({"positive": True} if positive else {}))


def noisy(rng: Rng, drawn: Drawn, level: float) -> Drawn:
    """The same measurements with noise, relative to their length."""
    size = level * np.linalg.norm(drawn.y) / np.sqrt(len(drawn.y))
    return Drawn(drawn.A, drawn.y + size * rng.standard_normal(len(drawn.y)), None, drawn.options)
