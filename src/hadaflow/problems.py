"""The data of a problem: measurements ``y`` of an unknown ``x`` through ``A``, and the loss that compares them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Float
from hadaflow._validation import check_finite, real_array
from hadaflow.losses import Loss, Squared
from hadaflow.operators import Operator, as_operator


@dataclass(frozen=True, eq=False)
class Problem:
    """Measurements ``y`` of ``A x``, checked once.

    The objective that every dynamics of the library follows downhill is ``F(x) = 1/2 ||A x - y||_2^2``, or with another
    loss l ``F(x) = sum_j l((A x)_j, y_j)``.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, scipy LinearOperator, or dask.array.Array
        Measurement matrix or operator, real. Never copied when contiguous, never written to; so do not change it while
        the problem is in use.
    y : array_like of shape (m,)
        Measurements, real; what else the loss asks for (:class:`hadaflow.losses.Logistic`: labels -1 and +1).
    loss : Loss out of ``hadaflow.losses``, default Squared()
        What compares ``A x`` with y. :func:`hadaflow.descend`, :func:`hadaflow.descend_batch` and :func:`hadaflow.flow`
        take any; all else is about the squared loss, and says so.

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
        If ``A`` or ``y`` is not real-valued data, or ``loss`` is no loss.
    ValueError
        If a shape is wrong, ``A`` is empty, an entry is NaN or infinite (the message names the entry), or the loss
        cannot take ``y``.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> hf.Problem(np.ones((2, 3)), [1.0, 1.0]).shape
    (2, 3)
    """

    A: Any
    y: Float
    loss: Loss = field(default_factory=Squared)
    operator: Operator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        operator = as_operator(self.A)
        y = real_array(self.y, "y", 1)
        if len(y) != operator.shape[0]:
            raise ValueError(f"y must have one entry per row of A: A has shape {operator.shape}, y has length {len(y)}")
        check_finite(y, "y")
        if not isinstance(self.loss, Loss):
            raise TypeError(f"loss must be a loss out of hadaflow.losses, such as Logistic(), got {self.loss!r}")
        self.loss.check(y)
        object.__setattr__(self, "operator", operator)
        object.__setattr__(self, "y", y)

    def __repr__(self) -> str:
        loss = "" if self.squared else f", {self.loss!r}"
        return f"Problem({self.shape[0]} x {self.shape[1]}, {self.dtype}, {type(self.A).__name__}{loss})"

    @property
    def shape(self) -> tuple[int, int]:
        return self.operator.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.result_type(self.operator.dtype, self.y.dtype)

    @property
    def squared(self) -> bool:
        """Whether the loss is the squared one; a subclass of it may be something else."""
        return type(self.loss) is Squared

    @property
    def negative_gradient_at_zero(self) -> NDArray[np.float64]:
        """Minus dF/dp at ``x = 0``, shape (m,), float64: y itself for the squared loss."""
        y = self.y.astype(np.float64)
        return y if self.squared else -np.asarray(self.loss.gradient(np.zeros_like(y), y))


def require_squared(problem: Problem, name: str) -> None:
    """Raise ValueError unless the loss is the squared one, naming what asks for it."""
    if not problem.squared:
        raise ValueError(
            f"{name} works for the squared loss only, but the problem has loss={problem.loss!r}: pass "
            f"Problem(A, y) without a loss; hadaflow.descend and hadaflow.flow take any"
        )
