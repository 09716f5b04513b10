"""Checks of user input, with messages that name the argument, what it was and what to do."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg.blas import ddot

from hadaflow._types import Float, Index, Vector


def reject_kind(dtype: np.dtype[Any], name: str, *, complex_too: bool = False) -> None:
    """Raise TypeError unless ``dtype`` holds real numbers, or complex ones where these will do, too."""
    if dtype.kind == "c":
        if complex_too:
            return
        raise TypeError(
            f"{name} is complex ({dtype}), but real numbers are asked for here: hadaflow.Problem, recover, limit, flow "
            f"and certify take complex A and y (real=True if x itself is real)"
        )
    if dtype.kind not in "fiub":
        raise TypeError(
            f"{name} must hold real numbers, got dtype {dtype}; convert it with np.asarray(..., dtype=float)"
        )


def float_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float32 stays float32, every other real type becomes float64; complex types likewise; in native byte order."""
    if dtype.kind == "c":
        return np.dtype(np.complex64) if dtype.newbyteorder("=") == np.complex64 else np.dtype(np.complex128)
    return np.dtype(np.float32) if dtype.newbyteorder("=") == np.float32 else np.dtype(np.float64)


def real_array(value: object, name: str, ndim: int, *, complex_too: bool = False) -> Float:
    """``value`` as a native real array of ``ndim`` dimensions (or a complex one where these will do, too).

    A view wherever possible.
    """
    if value is None or isinstance(value, (str, bytes)):
        raise TypeError(f"{name} must be an array of real numbers, got {type(value).__name__}")
    if sp.issparse(value):
        raise TypeError(f"{name} must be a dense array, got a sparse one; pass {name}.toarray()")
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries; remove or fill them before the call")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is ragged: all its rows need the same length") from error
    reject_kind(array.dtype, name, complex_too=complex_too)
    if array.ndim != ndim:
        expected = {1: "one-dimensional", 2: "two-dimensional, of shape (m, n)"}[ndim]
        remedy = f"; pass {name}.ravel()" if ndim == 1 and array.ndim == 2 and 1 in array.shape else ""
        raise ValueError(f"{name} must be {expected}, got shape {array.shape}{remedy}")
    with np.errstate(over="ignore"):  # a long double out of range becomes infinite, which check_finite reports
        return array.astype(float_dtype(array.dtype), copy=False)


def check_finite(array: Float, name: str) -> None:
    """Raise ValueError naming the first entry of ``array`` that is NaN or infinite."""
    if array.size == 0 or _surely_finite(array):
        return
    # Slow path, taken only for bad data or for values whose squares overflow: one slab at a time.
    rows = max(1, 1_000_000 // max(1, array[0].size))
    for start in range(0, len(array), rows):
        finite = np.isfinite(array[start : start + rows])
        if not finite.all():
            first = np.argwhere(~finite)[0]
            where = tuple(int(i) for i in (first[0] + start, *first[1:]))
            label = where[0] if len(where) == 1 else where
            raise ValueError(
                f"{name} contains {array[where]} (first at index {label}); "
                f"remove or replace such entries before the call"
            )


def _surely_finite(array: Float) -> bool:
    """One streaming pass at memory speed: a finite sum of squares has only finite terms."""
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        return False
    flat = array.ravel(order="K")
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.dot(flat, flat)))


def positive_number(value: object, name: str, *, minimum: float = 0.0, strict: bool = True) -> float:
    """``value`` as a float above (or, not ``strict``, at least) ``minimum``."""
    if isinstance(value, (bool, np.bool_, str, bytes)) or value is None:
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:  # an int beyond the range of floats
        number = math.inf
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a number, got {value!r}") from error
    if not math.isfinite(number) or number < minimum or (strict and number == minimum):
        raise ValueError(f"{name} must be a finite number {'>' if strict else '>='} {minimum:g}, got {value!r}")
    return number


def whole_number(value: object, name: str, *, minimum: int = 1) -> int:
    """``value`` as an int of at least ``minimum``; a float such as 1e6 counts as one."""
    number = positive_number(value, name, minimum=minimum, strict=False)
    if not number.is_integer():
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    return int(value if isinstance(value, (int, np.integer)) else number)  # a float has no room for all digits


def positive_vector(value: object, name: str, length: int, of: str = "column of A") -> NDArray[np.float64]:
    """``value`` as a float64 vector of positive finite numbers, one per column of A or whatever they are of."""
    vector = real_array(value, name, 1).astype(np.float64)
    if len(vector) != length:
        raise ValueError(f"{name} must have one entry per {of} ({length}), got {len(vector)}")
    check_finite(vector, name)
    if vector.min(initial=np.inf) <= 0:
        raise ValueError(f"{name} must be positive, but entry {int(vector.argmin())} is {vector.min():g}")
    return vector


def positive_scale(value: object, name: str, length: int) -> float | NDArray[np.float64]:
    """``value`` as one positive finite number, or as a vector of them, one per coordinate of x."""
    if isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0:
        return positive_vector(value, name, length)
    return positive_number(value, name)


def one_of(value: object, name: str, choices: Iterable[str]) -> str:
    """``value`` if it is among ``choices``."""
    names = tuple(choices)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, names))}, got {value!r}")
    return value


def flag(value: object, name: str) -> bool:
    """``value`` as a bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def instance(value: object, kind: type, name: str) -> None:
    """Raise TypeError unless ``value`` is of the given kind."""
    if not isinstance(value, kind):
        hint = "; make one with hadaflow.Problem(A, y)" if kind.__name__ == "Problem" else ""
        raise TypeError(f"{name} must be a hadaflow.{kind.__name__}, got {type(value).__name__}{hint}")


def callback(value: object, name: str) -> None:
    """Raise TypeError unless ``value`` is None or can be called."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be callable or None, got {value!r}")


def file_path(value: object, name: str) -> Path:
    """``value`` as a path."""
    if not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes):
        raise TypeError(f"{name} must be a path, got {value!r}")
    return Path(value)


def coordinates(value: object, name: str, length: int) -> Index:
    """``value`` as integer indices below ``length``."""
    index = np.asarray(value)
    if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
        raise TypeError(f"{name} must be a vector of whole numbers, got {value!r}")
    if index.size and (index.min() < 0 or index.max() >= length):
        found = f"{int(index.min())} to {int(index.max())}"
        raise ValueError(f"{name} must hold coordinates from 0 to {length - 1}, got {found}")
    return index.astype(np.intp)


def power_of_two(sizes: Vector | float) -> Any:
    """The largest power of two that is not above each size, and 1 for a size of 0: units that add no rounding."""
    return np.where(np.asarray(sizes) > 0, np.ldexp(1.0, np.frexp(sizes)[1] - 1), 1.0)[()]


def norm(vector: NDArray[np.floating[Any]]) -> float:
    """Euclidean norm in float64 that neither overflows nor underflows on the way."""
    v = np.asarray(vector, dtype=np.float64).ravel(order="K")
    squared = float(ddot(v, v)) if v.size else 0.0  # of BLAS: NumPy's would warn of an overflow
    if 1e-280 < squared < 1e280:  # what underflowed in it would not have been seen
        return math.sqrt(squared)
    top = float(np.abs(v).max(initial=0.0))
    if top == 0.0 or not math.isfinite(top):
        return top
    return top * float(np.linalg.norm(v / top))
