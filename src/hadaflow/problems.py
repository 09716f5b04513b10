"""The data of a recovery problem: measurements ``y`` of an unknown ``x`` through ``A``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hadaflow._validation import Float, check_finite, real_array
from hadaflow.operators import Operator, as_operator


@dataclass(frozen=True, eq=False)
class Problem:
    """Measurements ``y = A x``, checked once.

    The objective that every dynamics of the library follows downhill is ``F(x) = 1/2 ||A x - y||_2^2``.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, or scipy LinearOperator
        Measurement matrix or operator, real. Never copied when contiguous, never written to; so do not change it while
        the problem is in use.
    y : array_like of shape (m,)
        Measurements, real.

    Attributes
    ----------
    operator : Operator
        ``A`` behind the library's operator protocol.
    shape : tuple of int
        ``(m, n)``.
    dtype : numpy.dtype
        dtype of the answers: float32 if ``A`` and ``y`` are, else float64.

    Raises
    ------
    TypeError
        If ``A`` or ``y`` is not real-valued data.
    ValueError
        If a shape is wrong, ``A`` is empty, or an entry is NaN or infinite; the message names the entry.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> hf.Problem(np.ones((2, 3)), [1.0, 1.0]).shape
    (2, 3)
    """

    A: Any
    y: Float
    operator: Operator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        operator = as_operator(self.A)
        y = real_array(self.y, "y", 1)
        if len(y) != operator.shape[0]:
            raise ValueError(f"y must have one entry per row of A: A has shape {operator.shape}, y has length {len(y)}")
        check_finite(y, "y")
        object.__setattr__(self, "operator", operator)
        object.__setattr__(self, "y", y)

    def __repr__(self) -> str:
        return f"Problem({self.shape[0]} x {self.shape[1]}, {self.dtype}, {type(self.A).__name__})"

    @property
    def shape(self) -> tuple[int, int]:
        return self.operator.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(self.operator.dtype, self.y.dtype)
