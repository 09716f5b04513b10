"""A stiff integrator of variable order that leaves its linear systems and its error norm to the caller.

Numerical differentiation formulas in backward differences, after Shampine and Reichelt, "The MATLAB ODE Suite", SIAM J.
Sci. Comput. 18 (1997). With steps of equal length h and ``D_j`` the j-th backward difference at the last end of a step,
the polynomial through the last k + 1 ends is ``sum_j D_j w_j(s)`` at ``t + s h``, with
``w_j(s) = s (s + 1) ... (s + j - 1) / j!``. Its value at s = 1 is the prediction. The next state is the prediction plus
a change d that solves::

    (1 - kappa_k) gamma_k d + sum_(j=1..k) gamma_j D_j = h f(t + h, prediction + d),      gamma_j = 1 + 1/2 + ... + 1/j.

The change is the difference of order k + 1 at the new end, so that the local error is
``(kappa_k gamma_k + 1/(k + 1)) d``. Where h changes, the polynomial is evaluated at the new distances, which gives the
new differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hadaflow._types import Vector

#: ``f(t, y)``.
RightHandSide = Callable[[float, Vector], Vector]
#: ``(I - c J)^-1`` times a vector, to a few digits.
LinearSolver = Callable[[Vector], Vector]
#: For a Jacobian J the function that takes c to a solver with ``I - c J``.
Systems = Callable[[float], LinearSolver]
#: The size of an error at state y over a step of length h: at most 1 is allowed.
ErrorNorm = Callable[[Vector, Vector, float], float]

_MOST = 5  # order
_KAPPA = np.array([0.0, -0.1850, -1 / 9, -0.0823, -0.0415, 0.0])  # of Shampine and Reichelt, by order
_GAMMA = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, _MOST + 1))])
_LEADING = (1 - _KAPPA) * _GAMMA
_ERROR = _KAPPA * _GAMMA + 1 / np.arange(1, _MOST + 2)  # local error in units of the change
_ITERATIONS = 4  # of Newton's method at most
_SOLVED = 0.1  # error left by Newton's method, in the norm of the caller
_FADING = 0.9  # of the rate of convergence of earlier steps, which is taken for the present one until it is measured
_FASTEST = 0.1  # rate that is believed of a step in which it was not measured
_SHRINK, _GROW = 0.2, 10.0  # bounds on the change of a step
_SAFETY = 0.9


class StepError(ArithmeticError):
    """No step is short enough for the error that is allowed."""


@dataclass
class Counts:
    """What an integration cost so far."""

    steps: int = 0
    rejected: int = 0
    right_hand_sides: int = 0
    jacobians: int = 0
    factorisations: int = 0


@dataclass(frozen=True)
class Piece:
    """One step: the polynomial through its end and the ends of the steps before, shape (order + 2, m)."""

    time: float
    length: float
    differences: Vector

    def __call__(self, t: float) -> Vector:
        """The state at a time within the step."""
        return np.asarray(_weights((t - self.time) / self.length, len(self.differences) - 1) @ self.differences)

    @property
    def nbytes(self) -> int:
        """Memory."""
        return self.differences.nbytes


class _Trial(NamedTuple):
    """A step before it is judged."""

    time: float
    y: Vector
    change: Vector
    iterations: int


class NDF:
    """An integration of ``y' = f(t, y)`` from a start, step by step.

    Parameters
    ----------
    rhs : callable
        ``f(t, y)``. Where it is not finite, a step is shortened.
    linearise : callable
        From ``(t, y)`` to a function of c: the solver with ``I - c J`` for the Jacobian J there. Neither J nor the
        solution need be accurate. J is asked for where the one at hand no longer lets Newton's method converge.
    error_norm : callable
        Size of an error, from the error, the state and the length of the step.
    y : ndarray of shape (m,)
        The start.
    first_step : float
        Length of the first step to try.
    end : float
        Time beyond which no step goes.
    t : float, default 0
        Time of the start.

    Attributes
    ----------
    t : float
        Time of the last end of a step.
    y : ndarray of shape (m,)
        State there.
    order : int
        Order of the next step.
    length : float
        Length of the next step to try.
    counts : Counts
        Cost.
    """

    def __init__(
        self,
        rhs: RightHandSide,
        linearise: Callable[[float, Vector], Systems],
        error_norm: ErrorNorm,
        y: Vector,
        *,
        first_step: float,
        end: float,
        t: float = 0.0,
    ) -> None:
        self._rhs, self._linearise, self._norm = rhs, linearise, error_norm
        self.t, self.y, self.end, self.length, self.order = t, y, end, first_step, 1
        self.counts = Counts()
        self._differences = np.zeros((_MOST + 3, len(y)))
        self._differences[0] = y
        self._differences[1] = first_step * self._slope(t, y)
        self._equal_steps = 0
        self._rate: float | None = None
        self._solver: LinearSolver | None = None
        self._renew(t, y)

    def step(self) -> Piece:
        """Take the next step, and return the polynomial on it.

        Raises
        ------
        StepError
            If the step would be too short to move in time.
        """
        if self.t + self.length > self.end:
            self._rescale((self.end - self.t) / self.length)
        while True:
            if not self.length > 10 * np.spacing(self.t):
                raise StepError("the step has become shorter than the spacing of doubles")
            trial = self._trial()
            if trial is None:
                self._reject(0.5)
                self._solver = None
                continue
            safety = _SAFETY * (2 * _ITERATIONS + 1) / (2 * _ITERATIONS + trial.iterations)
            size = self._norm(_ERROR[self.order] * trial.change, trial.y, self.length)
            if size <= 1:
                return self._accept(trial, size, safety)
            self._reject(max(_SHRINK, safety * size ** (-1 / (self.order + 1))))

    def refresh(self) -> None:
        """Ask for the Jacobian anew before the next step: what it is made of has changed."""
        self._renew(self.t, self.y)

    # ---- one step ------------------------------------------------------------------------------------------

    def _trial(self) -> _Trial | None:
        """Solve for the next state, with a new Jacobian if the one at hand does not do; None if neither does."""
        k = self.order
        now = min(self.t + self.length, self.end)
        predicted = self._differences[: k + 1].sum(axis=0)
        offset = _GAMMA[1 : k + 1] @ self._differences[1 : k + 1] / _LEADING[k]
        found = self._newton(now, predicted, offset)
        if found is None and not self._current:
            self._renew(now, predicted)
            found = self._newton(now, predicted, offset)
        return None if found is None else _Trial(now, predicted + found[0], *found)

    def _newton(self, now: float, predicted: Vector, offset: Vector) -> tuple[Vector, int] | None:
        """The change to the prediction, and the iterations that it took; None if they do not converge."""
        c = self.length / _LEADING[self.order]
        if self._solver is None:
            self.counts.factorisations += 1
            self._solver, self._rate = self._systems(c), None
        change, before, measured = np.zeros_like(predicted), 0.0, 1.0
        for k in range(_ITERATIONS):
            slope = self._slope(now, predicted + change)
            if not np.isfinite(slope).all():
                return None
            update = self._solver(c * slope - offset - change)
            size = self._norm(update, predicted, self.length)
            if k > 0:
                measured = size / before
                self._rate = max(_FADING * (self._rate or 0.0), measured, _FASTEST)
                if not measured < 1 or measured ** (_ITERATIONS - k) / (1 - measured) * size > _SOLVED:
                    self._rate = None
                    return None
            change += update
            rate = measured if k > 0 else self._rate
            if size == 0 or (rate is not None and rate * size < _SOLVED * (1 - rate)):
                return change, k + 1
            before = size
        self._rate = None
        return None

    def _accept(self, trial: _Trial, size: float, safety: float) -> Piece:
        """Move on to the new end, and choose order and length of the next step."""
        k, D = self.order, self._differences
        D[k + 2] = trial.change - D[k + 1]
        D[k + 1] = trial.change
        for j in reversed(range(k + 1)):
            D[j] += D[j + 1]
        self.t, self.y = trial.time, trial.y
        self.counts.steps += 1
        self._equal_steps += 1
        self._current = False
        piece = Piece(self.t, self.length, D[: k + 2].copy())  # one more than the step: free, and nearer between ends
        if self._equal_steps > k:  # before that the differences are those of other lengths
            self._adapt(size, safety)
        return piece

    def _adapt(self, size: float, safety: float) -> None:
        """Take the order, this one or its neighbours, that allows the longest step."""
        k = self.order
        sizes = {k: size}
        if k > 1:
            sizes[k - 1] = self._norm(_ERROR[k - 1] * self._differences[k], self.y, self.length)
        if k < _MOST:
            sizes[k + 1] = self._norm(_ERROR[k + 1] * self._differences[k + 2], self.y, self.length)
        factors = {order: (s ** (-1 / (order + 1)) if s > 0 else np.inf) for order, s in sizes.items()}
        self.order = max(factors, key=lambda order: factors[order])
        self._rescale(min(_GROW, safety * factors[self.order]))

    def _reject(self, factor: float) -> None:
        """Try the step again, shorter; Newton's method keeps its matrix, whose c is near enough."""
        self.counts.rejected += 1
        solver = self._solver
        self._rescale(factor)
        self._solver = solver

    def _rescale(self, factor: float) -> None:
        """Let steps be ``factor`` times as long: the polynomial stays, its differences are those of other times."""
        k = self.order
        self._differences[: k + 1] = _change_of_length(k, factor) @ self._differences[: k + 1]
        self.length *= factor
        self._equal_steps = 0
        self._solver = None

    def _renew(self, t: float, y: Vector) -> None:
        self.counts.jacobians += 1
        self._systems = self._linearise(t, y)
        self._solver = None
        self._current = True
        self._rate = None

    def _slope(self, t: float, y: Vector) -> Vector:
        self.counts.right_hand_sides += 1
        return self._rhs(t, y)


def _weights(s: float, order: int) -> Vector:
    """``w_0(s), ..., w_k(s)`` of the differences in the polynomial."""
    j = np.arange(order)
    return np.concatenate([[1.0], np.cumprod((s + j) / (j + 1))])


def _change_of_length(order: int, factor: float) -> Vector:
    """The matrix from differences at distance 1 to those at distance ``factor``, shape (order + 1, order + 1)."""
    values = np.array([_weights(-i * factor, order) for i in range(order + 1)])  # the polynomial at the new ends
    for j in range(1, order + 1):
        values[j:] = (
            values[j - 1 : -1] - values[j:]
        )  # row i becomes the j-th difference that ends at the (i - j)-th end
    return values
