"""What the library hands back: frozen records with named fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._validation import Float, Index, norm, positive_number
from hadaflow.certificates import Certificate
from hadaflow.models import Model
from hadaflow.moments import default_threshold
from hadaflow.problems import Problem


class Status(Enum):
    """What happened; the value of a member is its message."""

    EXACT = "a minimiser of the l1 norm among all solutions of A x = y, exact to rounding"
    LIMIT = "the end of gradient flow from the given start: A x = y holds"
    NOISE_LEVEL = "stopped on the first plateau whose residual is within the noise level"
    LEAST_SQUARES = "y is outside the range of the model: the answer is a least-squares point"
    INEXACT = "a solution of A x = y that is not proved minimal (ill-conditioned or not sparse enough): see its gap"
    STOPPED = "a stopping rule was met; see reason"
    INTERRUPTED = "interrupted by the user; this is what was done until then"
    DIVERGED = "the steps were too long: the residual grew without bound; this is the last point before; see reason"
    NOT_CONVERGED = "stopped before the answer was reached; see stats and certificate for how far it got"

    @property
    def message(self) -> str:
        return self.value

    @property
    def ok(self) -> bool:
        """Whether the run reached what it was asked for."""
        return self not in (Status.INEXACT, Status.INTERRUPTED, Status.DIVERGED, Status.NOT_CONVERGED)

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Progress:
    """One report of a running computation.

    Attributes
    ----------
    stage : str
        Which dynamics is at work.
    fraction : float or None
        Share of the work done, where it can be told.
    message : str
        The state in words.
    """

    stage: str
    fraction: float | None
    message: str


#: Called now and then with a :class:`Progress`; what it returns is ignored.
ProgressCallback = Callable[[Progress], object]


@dataclass(frozen=True)
class Stats:
    """What a run cost.

    Attributes
    ----------
    seconds : float
        Wall time.
    passes : float
        How often A was read: one per product with a vector or a block, ``k / n`` for k extracted columns of a
        matrix, k for k columns of a LinearOperator.
    newton_steps : int
        Linear systems of the limit solver.
    events : int
        Jumps or leaps along the saddle path.
    method : str
        The dynamics that gave the answer.
    """

    seconds: float = 0.0
    passes: float = 0.0
    newton_steps: int = 0
    events: int = 0
    method: str = ""


class Answer:
    """What every result with an ``x`` can tell about it.

    Attributes
    ----------
    x : ndarray of shape (n,)
        The answer.
    problem : Problem
        The data.
    product_scale : float
        ``a^D`` of the flow that led to x, 0 where its start had vanished.
    """

    x: Float
    problem: Problem
    product_scale: float

    def support(self, threshold: float | None = None) -> Index:
        """Indices of the entries that count as non-zero, ascending.

        Parameters
        ----------
        threshold : float, optional
            Keep ``|x_i| > threshold``, in units of x. Default: the geometric mean of product scale and largest entry,
            ``sqrt(a^D max |x|)``; 0 for the scale -> 0 solution, whose zeros are exact.

        Returns
        -------
        ndarray of int, shape (k,)
        """
        if threshold is None:
            threshold = default_threshold(self.x, self.product_scale)
        else:
            threshold = positive_number(threshold, "threshold", strict=False)
        return np.flatnonzero(np.abs(self.x) > threshold)

    def refit(self, threshold: float | None = None) -> Float:
        """Least squares on the support: ``argmin ||A z - y||_2`` over z supported there, shape (n,).

        Parameters
        ----------
        threshold : float, optional
            As in :meth:`support`.

        Notes
        -----
        ``2 m k^2`` operations for k coordinates on the support (minimum-norm solution if its columns are dependent).
        """
        index, x = self.support(threshold), np.zeros_like(self.x)
        if len(index):
            columns = self.problem.operator.columns(index)
            dense = columns.toarray() if sp.issparse(columns) else columns
            y = self.problem.y.astype(np.float64)
            size = norm(y) or 1.0  # whose square may be beyond all numbers
            x[index] = la.lstsq(dense, y / size, check_finite=False)[0] * size
        return x


@dataclass(frozen=True, eq=False)
class Limit(Answer):
    """Where gradient flow from a given start ends.

    Attributes
    ----------
    x : ndarray of shape (n,)
        The end point. No entry is exactly zero.
    dual : ndarray of shape (m,)
        nu with ``x = B(A^T nu)``: the integral of the residual along the flow. At tiny product scales x holds more
        digits than ``B(A^T nu)`` can give.
    status : Status
        ``LIMIT``, ``LEAST_SQUARES`` or ``NOT_CONVERGED``.
    stats : Stats
        Cost.
    residual : float
        ``||A x - y|| / ||y||`` (of the projected y in the least-squares case).
    mismatch : float
        Largest ``|x_i - B(A^T nu)_i|`` relative to the largest entry of x, measured in the slack variables.
    problem : Problem
        The data.
    product_scale : float
        ``a^D`` of the start (geometric mean over coordinates); 0 at depth 1, which makes nothing sparse.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> end = hf.limit(hf.Problem(np.array([[1.0, 0.2]]), [1.0]), hf.HadamardPower(3), init_scale=1e-3)
    >>> end.x.round(6), end.support(), end.refit()
    (array([1., 0.]), array([0]), array([1., 0.]))
    """

    x: Float
    dual: NDArray[np.float64]
    status: Status
    stats: Stats
    residual: float
    mismatch: float
    problem: Problem = field(repr=False)
    product_scale: float = 0.0

    def __repr__(self) -> str:
        steps = self.stats.newton_steps
        return (
            f"Limit({len(self.x)} coordinates, {self.status.name}, residual {self.residual:.0e}, {steps} Newton steps)"
        )


@dataclass(frozen=True, eq=False)
class Recovery(Answer):
    """The answer of :func:`hadaflow.recover`.

    Attributes
    ----------
    x : ndarray of shape (n,)
        The recovered vector.
    dual : ndarray of shape (m,)
        Dual vector that proves the certificate.
    certificate : Certificate
        How good ``x`` is, proved.
    status : Status
        What happened; ``status.ok`` and ``str(status)``.
    stats : Stats
        Cost and the dynamics that gave the answer.
    problem : Problem
        The data.
    model : Model or None
        The model of a limit; None for the scale -> 0 solution.
    product_scale : float
        ``a^D`` of a limit (geometric mean over coordinates), 0 for the scale -> 0 solution.
    positive : bool
        Whether only non-negative x was looked for.
    weights : ndarray of shape (n,) or None
        Weights of the l1 norm; None if all are 1.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> r = hf.recover(np.array([[1.0, 0.5]]), np.array([2.0]))
    >>> r
    Recovery(1 x 2, EXACT, 1 non-zeros, gap ..., residual ..., unique)
    >>> r.support(), r.refit()
    (array([0]), array([2., 0.]))
    """

    x: Float
    dual: NDArray[np.float64]
    certificate: Certificate
    status: Status
    stats: Stats
    problem: Problem = field(repr=False)
    model: Model | None = None
    product_scale: float = 0.0
    positive: bool = False
    weights: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        m, n = self.problem.shape
        c = self.certificate
        unique = ", unique" if c.unique else ""
        return (
            f"Recovery({m} x {n}, {self.status.name}, {len(self.support())} non-zeros, "
            f"gap {c.gap:.0e}, residual {c.residual:.0e}{unique})"
        )
