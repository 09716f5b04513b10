"""What the library hands back: frozen records with named fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from hadaflow._span import fitted
from hadaflow._types import Float, Index
from hadaflow._validation import positive_number
from hadaflow.certificates import Certificate
from hadaflow.hints import as_html, fitted_noise, standing_out, stretch_of, with_hint
from hadaflow.models import Model
from hadaflow.problems import Problem
from hadaflow.snapshots import default_threshold


class Status(Enum):
    """What happened; the value of a member is its message.

    Attributes
    ----------
    EXACT
        Ok. x minimises ``sum_i w_i |x_i|`` (over ``x >= 0`` where that was asked for) among all solutions of
        ``A x = y``. Checked on the answer itself, by its certificate: a relative gap of at most 1e-8, or a proof that x
        is the only solution; a relative residual of at most 1e-9, rows brought to one length; and in every row, so that
        those in small units count like others, one of at most 1e3 units of what that row rounds (of a LinearOperator:
        1e-12 of a bound on its terms). In float32 1.2e-4 stands for these numbers.
    LIMIT
        Ok. x is where gradient flow from the given start ends, and solves ``A x = y``. Checked: a residual of at most
        1e-8, of all rows together and of each relative to its size, and ``x = B(A^T nu)`` to the tolerance.
    NOISE_LEVEL
        Ok. x is the first plateau of the saddle path (with products only, the first that leaps come upon) whose
        residual ``||A x - y||_2`` is at most the noise level that was given. Checked: that residual.
    LEAST_SQUARES
        Ok, if that is what you want. No x fits y; it minimises ``||A x - y||_2`` over all x, or ``x >= 0`` where
        only those were asked for, and among all such points it is the one of smallest (weighted) l1 norm (from a given
        start: the one where its flow ends). Rows count as long as they are given. Checked: ``||A x - y||`` is within
        1e-8 of a proved lower bound on that of all x, rounding of the residual aside (``certificate.fit_gap``), and the
        gap among the x with the same ``A x`` is at most 1e-8, or there is no other such x. Where y has noise such an x
        may fit it: see ``hint``.
    INEXACT
        Not ok. x solves ``A x = y``, and its certificate does not prove that it is minimal to 1e-8: A is
        ill-conditioned, or x not sparse enough. ``certificate.gap`` says how far it can be from the minimum.
    STOPPED
        Ok. A stopping rule, or the end time, was met; ``reason`` says which, and its numbers.
    INTERRUPTED
        Not ok. Ctrl-C; x is what was reached until then.
    DIVERGED
        Not ok. Steps of gradient descent were too long: the residual grew a millionfold. x is the last point before.
    NOT_CONVERGED
        Not ok. Steps or jumps ran out, or rounding lost the way, before the answer was reached. Nothing is promised of
        x; the certificate, or ``residual`` and ``reason``, say how far it got, and ``stats.tried`` by which ways.
    """

    EXACT = "a minimiser of the l1 norm among all solutions of A x = y, exact to rounding"
    LIMIT = "the end of gradient flow from the given start: A x = y holds"
    NOISE_LEVEL = "stopped on the first plateau whose residual is within the noise level"
    LEAST_SQUARES = (
        "no x fits y: this one minimises ||A x - y||_2 (among x >= 0, if such were asked for), and of all such points "
        "it has the smallest l1 norm (a limit: the smallest potential)"
    )
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
        Linear systems of the limit solver, over all that was tried.
    events : int
        Jumps or leaps along the saddle path, over all that was tried.
    method : str
        The dynamics that gave the answer.
    tried : tuple of str
        All dynamics that were tried, in order; the last need not be the one that gave the answer.
    """

    seconds: float = 0.0
    passes: float = 0.0
    newton_steps: int = 0
    events: int = 0
    method: str = ""
    tried: tuple[str, ...] = ()


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
            x[index] = fitted(self.problem.operator.columns(index), self.problem.y.astype(np.float64))
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
    hint : str or None
        Why x may have fitted noise in y, and what to call then; None where nothing speaks for it.

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
        told = f"{len(self.x)} coordinates, {self.status.name}, residual {self.residual:.0e}, {steps} Newton steps"
        return with_hint(f"Limit({told})", self.hint)

    @cached_property
    def hint(self) -> str | None:
        """Why x may have fitted noise in y, and what to call then; None where nothing speaks for it."""
        count = standing_out(self.x, self.support()) if self.product_scale > 0 else None
        stretch = partial(stretch_of, self.problem, self.x)
        return fitted_noise(self.status.name, self.problem.shape, nonzeros=count, stretch=stretch)


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
    noise_level : float
        What was given as size of the noise, in units of y.
    hint : str or None
        Why x may have fitted noise in y, and what to call then; None where nothing speaks for it.

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
    noise_level: float = 0.0

    def __repr__(self) -> str:
        m, n = self.problem.shape
        c = self.certificate
        unique = ", unique" if c.unique else ""
        told = (
            f"Recovery({m} x {n}, {self.status.name}, {len(self.support())} non-zeros, "
            f"gap {c.gap:.0e}, residual {c.residual:.0e}{unique})"
        )
        return with_hint(told, self.hint)

    def _repr_html_(self) -> str:
        """What notebooks show."""
        (m, n), c = self.problem.shape, self.certificate
        rows = {
            "status": f"{self.status.name}: {self.status}",
            "non-zeros": f"{len(self.support())} of {n}",
            "gap": f"{c.gap:.2g}",
            "residual": f"{c.residual:.2g}  (||A x - y|| / ||y||)",
            "worst row": f"{c.backward_error:.2g}  (|A x - y| / (|A| |x| + |y|), the largest)",
            "unique": "yes, proved" if c.unique else "not proved",
        }
        return as_html(f"Recovery, {m} x {n}", rows | ({} if self.hint is None else {"hint": self.hint}))

    @cached_property
    def hint(self) -> str | None:
        """Why x may have fitted noise in y, and what to call then; None where nothing speaks for it."""
        count: int | None = int(np.count_nonzero(self.x))
        if self.model is not None:  # at depth 1 no start says what counts as non-zero
            count = standing_out(self.x, self.support()) if self.product_scale > 0 else None
        return fitted_noise(
            self.status.name,
            self.problem.shape,
            nonzeros=count,
            residual=self.certificate.residual,
            noise_level=self.noise_level,
            stretch=partial(stretch_of, self.problem, self.x),
        )
