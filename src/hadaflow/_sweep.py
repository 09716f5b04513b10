"""Residual and gradient of a dense matrix in one pass over it: compiled where a compiler was at hand, else NumPy."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Sweep:
    """``x, y -> (A x - y, A^T (A x - y))``, and how often one call reads A."""

    products: Callable[[Array, Array], tuple[Array, Array]]
    passes: float

    def __call__(self, x: Array, y: Array) -> tuple[Array, Array]:
        return self.products(x, y)


_CACHED = 1 << 20  # bytes of a matrix that stays in cache from one product to the next: nothing to gain
_BLOCK = 1 << 18  # bytes of rows that NumPy reads twice while they are still in cache
_WORTH_A_THREAD = 1 << 21  # bytes of A that take longer to read than a second thread takes to join
_MOST_COPIED = 1 << 30  # bytes: a column-ordered matrix up to this size is copied into row order


def sweep_of(matrix: Array, threads: int = 1) -> Sweep:
    """What reads ``matrix`` once for residual and gradient, in the precision of ``matrix``.

    Parameters
    ----------
    matrix : ndarray of shape (m, n), float32 or float64
        Contiguous. In column order it is copied into row order up to 1 GiB, and read twice above.
    threads : int, default 1
        How many threads may share a large matrix.

    Returns
    -------
    Sweep
        For x of shape (n,) or (n, k), y of shape (m,) or (m, k), of the dtype of ``matrix``. Vectors take the fused
        pass, blocks two matrix products; the gradient of a block is in column order.
    """
    if not worth_fusing(matrix):
        return _two_products(matrix)
    matrix = np.ascontiguousarray(matrix)
    parts = max(1, min(threads, matrix.nbytes // _WORTH_A_THREAD))
    library = _library()
    if library is not None:
        return _fused(matrix, library, parts if library.hadaflow_has_threads() else 1)
    # In cache-sized blocks on one thread; BLAS shares whole products among more of them.
    return _blocked(matrix) if parts == 1 else _two_products(matrix)


def worth_fusing(matrix: Array) -> bool:
    """Whether one pass over ``matrix`` beats two: too large for the cache, and in row order or small enough to copy."""
    return matrix.nbytes > _CACHED and (matrix.flags.c_contiguous or matrix.nbytes <= _MOST_COPIED)


def compiled() -> bool:
    """Whether the compiled kernel is in use."""
    return _library() is not None


def _two_products(matrix: Array) -> Sweep:
    wide = matrix.itemsize == 8  # BLAS multiplies blocks of few columns faster from the left in float64

    def products(x: Array, y: Array) -> tuple[Array, Array]:
        if x.ndim == 2 and wide:
            residual = (x.T @ matrix.T).T - y
            return residual, (residual.T @ matrix).T
        residual = matrix @ x - y
        gradient = matrix.T @ residual
        return residual, gradient if x.ndim == 1 else np.asfortranarray(gradient)

    return Sweep(products, 2.0)


def _fused(matrix: Array, library: Any, parts: int) -> Sweep:
    m, n = matrix.shape
    function = library.hadaflow_sweep_f64 if matrix.itemsize == 8 else library.hadaflow_sweep_f32
    both = _two_products(matrix)

    def products(x: Array, y: Array) -> tuple[Array, Array]:
        if x.ndim == 2:
            return both(x, y)
        x, y = (np.ascontiguousarray(vector, dtype=matrix.dtype) for vector in (x, y))
        count = 1 if _forked else parts
        residual, gradient = np.empty(m, dtype=matrix.dtype), np.empty((count, n), dtype=matrix.dtype)
        function(m, n, count, *(array.ctypes.data for array in (matrix, x, y, residual, gradient)))
        return residual, gradient[0]

    return Sweep(products, 1.0)


def _blocked(matrix: Array) -> Sweep:
    step = max(8, _BLOCK // matrix.strides[0])
    both = _two_products(matrix)

    def products(x: Array, y: Array) -> tuple[Array, Array]:
        if x.ndim == 2:
            return both(x, y)
        return _slab_by_slab(matrix, np.asarray(x, matrix.dtype), np.asarray(y, matrix.dtype), step)

    return Sweep(products, 1.0)


def widened_sweep(matrix: Array, entries: int) -> Sweep:
    """The same in float64 for a float32 matrix in row order, of which so many entries are widened at a time."""
    step = max(1, entries // matrix.shape[1])
    return Sweep(lambda x, y: _slab_by_slab(matrix, x, y, step), 1.0)


def _slab_by_slab(matrix: Array, x: Array, y: Array, step: int) -> tuple[Array, Array]:
    """``A x - y`` and ``A^T (A x - y)``, so many rows at a time, in the precision of x."""
    m, n = matrix.shape
    residual, gradient = np.empty_like(y), np.zeros_like(x)
    wide = None if matrix.dtype == x.dtype else np.empty((min(step, m), n), dtype=x.dtype)  # one for all slabs
    for i in range(0, m, step):
        rows, rest = matrix[i : i + step], residual[i : i + step]
        if wide is not None:
            np.copyto(wide[: len(rows)], rows)
            rows = wide[: len(rows)]
        np.subtract(rows @ x, y[i : i + step], out=rest)
        gradient += rows.T @ rest
    return residual, gradient


@cache
def _library() -> Any:
    """The compiled kernel; None where there is none, or where the environment asks to go without it."""
    path = Path(__file__).with_name("_sweep_kernel.so")
    if os.environ.get("HADAFLOW_COMPILED", "1") == "0" or not path.exists():
        return None
    try:
        library = ctypes.CDLL(str(path))
        functions = library.hadaflow_sweep_f64, library.hadaflow_sweep_f32
        library.hadaflow_has_threads.restype = ctypes.c_int
    except (OSError, AttributeError):  # built for another machine, or from another version
        return None
    for function in functions:
        function.argtypes = [ctypes.c_size_t] * 3 + [ctypes.c_void_p] * 5
        function.restype = None
    return library


_forked = False


def _note_fork() -> None:
    global _forked  # noqa: PLW0603
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)  # threads do not survive a fork, nor does OpenMP start new ones
