"""A test of hand-written operators: is the adjoint the adjoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hadaflow._validation import norm, positive_number, whole_number
from hadaflow.operators import as_operator
from hadaflow.operators.making import complex_operator, is_complex


@dataclass(frozen=True)
class DotTest:
    """Outcome of :func:`dot_test`.

    Attributes
    ----------
    error : float
        Largest relative mismatch ``|<A v, r> - <v, A.T r>| / (||A v|| ||r||)`` seen.
    tolerance : float
        What was allowed.
    passed : bool
        ``error <= tolerance``.
    """

    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance

    def __bool__(self) -> bool:
        return self.passed


def dot_test(A: object, *, trials: int = 3, tolerance: float | None = None, rng: Any = 0) -> DotTest:
    """Test that ``A.T @ r`` is the adjoint of ``A @ v``: <A v, r> = <v, A.T r> on random vectors.

    Of complex data the adjoint is ``A.conj().T``, and the inner products are their real parts.

    Parameters
    ----------
    A : array_like, scipy.sparse or LinearOperator, shape (m, n)
        The operator under test; most useful for operators written by hand.
    trials : int, default 3
        Number of random pairs.
    tolerance : float, optional
        Allowed relative mismatch; default ``1e-5`` for float32 operators and ``1e-11`` for float64.
    rng : int, numpy Generator or anything ``np.random.default_rng`` takes
        Source of the random vectors.

    Returns
    -------
    DotTest
        True in a boolean context when the test passed.

    Raises
    ------
    TypeError, ValueError
        As :func:`hadaflow.operators.as_operator`; or if ``trials`` or ``tolerance`` has the wrong kind or range.

    Notes
    -----
    Costs ``2 * trials`` passes over ``A``.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> hf.dot_test(np.eye(3)).passed
    True
    """
    trials = whole_number(trials, "trials")
    if tolerance is not None:
        tolerance = positive_number(tolerance, "tolerance")
    operator = complex_operator(A) if is_complex(A) else as_operator(A)
    generator = np.random.default_rng(rng)
    m, n = operator.shape
    worst = 0.0
    for _ in range(trials):
        v, r = generator.standard_normal(n), generator.standard_normal(m)
        forward, backward = operator.matvec(v), operator.rmatvec(r)
        if forward.shape != (m,) or backward.shape != (n,):
            raise ValueError(
                f"A of shape {operator.shape} returned products of shapes {forward.shape} and {backward.shape}"
            )
        size = max(norm(forward) * norm(r), norm(backward) * norm(v))
        mismatch = abs(float(forward @ r) - float(v @ backward))
        worst = max(worst, mismatch / size if size > 0 else 0.0)
    if tolerance is None:
        tolerance = 1e-5 if operator.dtype == np.float32 else 1e-11
    return DotTest(error=worst if math.isfinite(worst) else math.inf, tolerance=tolerance)
