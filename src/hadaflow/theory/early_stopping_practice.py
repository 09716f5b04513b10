"""What early stopping needs in practice: a step that cannot diverge, and a guess of the window from data alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq

from hadaflow._renamed import renamed_argument
from hadaflow._span import fitted
from hadaflow._types import Index, Sign
from hadaflow._validation import flag, instance, norm, positive_number, power_of_two
from hadaflow.operators.block import dense
from hadaflow.problems import Problem, require_single, require_squared
from hadaflow.selection import select
from hadaflow.theory._coordinate import Coordinate, loss_factor
from hadaflow.theory._rip_search import Reduced
from hadaflow.theory.early_stopping import Loss

_INSTEAD = "give hadaflow.flow a stop, such as hadaflow.stopping.Discrepancy(noise_level)"
_LEVEL = 0.001  # a window is better missed than guessed from a false entry


@dataclass(frozen=True)
class SafeStep:
    """Step sizes for gradient descent; see :func:`safe_step`.

    Attributes
    ----------
    along : float
        Up to here no step raises the loss, while the entries of x stay below the given size.
    end : float
        From here on the solution at the end repels: gradient descent cannot settle there.
    """

    along: float
    end: float


@renamed_argument(pull="gradient")
def safe_step(
    *,
    depth: float,
    init_scale: float,
    largest: float,
    norm: float,
    gradient: float,
    loss: Loss = "half",
    rows: int | None = None,
    sign: Sign = "both",
) -> SafeStep:
    """Constant steps of gradient descent that cannot make the loss grow.

    With ``s = 1`` (``"half"``) or ``2/m`` (``"mean"``), the slope ``B' = D^2 (U^(2D-2) + V^(2D-2))`` and the larger
    factor U of an entry of size ``largest``::

        end   = 2 / (s norm^2 B')
        along = max over g in (0, 1) of min(g / (s D gradient U^(D-2)), 1 / L(g)),
        L(g)  = s norm^2 B' (1 + g)^(2D-2) + (D-1) s D gradient U^(D-2) (1 + g)^(D-2)

    Parameters
    ----------
    depth : float
        D, any real number >= 2.
    init_scale : float
        Starting value a > 0 of every factor entry, in units of ``x^(1/depth)``.
    largest : float
        Size that no entry of x exceeds while the run lasts, in units of x.
    norm : float
        Largest singular value of A.
    gradient : float
        Bound on every ``|A_i^T (A x - y)|`` while the run lasts: ``max ||A_i||`` times ``||A x - y||_2`` at the start.
    loss : {"half", "mean"}, default "half"
        Loss the step is meant for: ``1/2 ||A x - y||^2``, or ``(1/m) ||A x - y||^2`` as in paper B.
    rows : int, optional
        m, the number of rows of A; needed for ``loss="mean"``.
    sign : {"both", "positive"}, default "both"
        Model ``x = u^D - v^D``, or ``x = u^D``.

    Returns
    -------
    SafeStep
        ``along``, a step that never raises the loss, and ``end``, beyond which a solution with an entry of size
        ``largest`` may repel; 0 or infinite where no double holds them.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Notes
    -----
    Proved: as long as no entry of x exceeds ``largest``, a step ``along`` lowers the loss by at least half of
    ``along * ||gradient||^2``, whatever A is. At a solution the Jacobian of one step is ``I - step * H`` with
    ``||H|| <= s norm^2 B'``, so ``end`` is where stability may be lost; it is lost if all of the norm falls on that
    entry. Paper B is recalled to ask for ``a^D / (8 D^2 largest^(3 - 2/D))`` (open hint, not used): less by a factor of
    about ``largest / a^D``, and exceeded by the steps of its own experiments by factors of 10^4 to 10^9. Source:
    docs/mathematics.md, "Gradient descent" (safe steps).

    Examples
    --------
    >>> steps = safe_step(depth=3, init_scale=0.01, largest=1.0, norm=1.0, gradient=1.0)
    >>> round(steps.along, 4), round(steps.end, 4)
    (0.0457, 0.2222)
    """
    point = Coordinate.of(depth, init_scale, sign)
    larger, smaller = point.factors(positive_number(largest, "largest"))
    depth, s = point.depth, loss_factor(loss, rows)
    # All in logarithms: the powers of sizes in range need not be in range themselves.
    log_size, two = math.log(larger), math.log1p((smaller / larger) ** (2 * depth - 2))
    log_slope = 2 * math.log(depth) + (2 * depth - 2) * log_size + two
    log_curvature = math.log(s) + 2 * math.log(positive_number(norm, "norm")) + log_slope
    log_rate = math.log(s) + math.log(depth) + math.log(positive_number(gradient, "gradient")) + (depth - 2) * log_size

    def excess(log_fraction: float) -> float:
        """log of ``g / rate`` over ``1 / L(g)``: its slope is at least 1, and it is not negative at g = 1."""
        grown = math.log1p(math.exp(log_fraction))
        curvature = log_curvature - log_rate + (2 * depth - 2) * grown
        return log_fraction + float(np.logaddexp(curvature, math.log(depth - 1) + (depth - 2) * grown))

    log_fraction = brentq(excess, -excess(0.0) - 1, 0.0, xtol=1e-12)
    return SafeStep(along=_exp(log_fraction - log_rate), end=_exp(math.log(2) - log_curvature))


def _exp(logarithm: float) -> float:
    try:
        return math.exp(logarithm)
    except OverflowError:
        return math.inf


@dataclass(frozen=True, eq=False)
class WindowInputs:
    """What :func:`hadaflow.theory.stopping_window` asks for, estimated; see :func:`estimate_window_inputs`.

    Attributes
    ----------
    sigma : float
        Standard deviation of the noise in one measurement, in units of y.
    noise : float
        Largest ``|A_i^T e| / ||A_i||^2`` off the support, in units of x.
    signal : float
        Smallest entry on the support, in units of x; 0 if there is none.
    column_square : float
        Mean of ``||A_i||^2``.
    support : ndarray of int, shape (k,)
        Where x does not seem to be zero.
    """

    sigma: float
    noise: float
    signal: float
    column_square: float
    support: Index = field(repr=False)

    @property
    def sparsity(self) -> int:
        """How many entries of x do not seem to be zero."""
        return len(self.support)


def estimate_window_inputs(problem: Problem, *, positive: bool = False) -> WindowInputs:
    """Noise, signal and sparsity from the data alone, for a guess of the stopping window.

    Everything is read off the model that :func:`hadaflow.select` finds with ``read_out="model"``: least squares on k
    columns with residual r, ``sigma = ||r||_2 / sqrt(m - k)`` and ``noise = max |A_i^T r| / ||A_i||^2`` off them.

    Parameters
    ----------
    problem : Problem
        Data, A of shape (m, n).
    positive : bool, default False
        Whether x is non-negative.

    Returns
    -------
    WindowInputs
        ``sigma``, ``noise``, ``signal``, ``column_square``, ``support``; 0 or infinite where no double
        holds the number.

    Raises
    ------
    TypeError
        If ``problem`` is not a Problem.
    ValueError
        If A has no more than ``4 log n`` rows.

    Notes
    -----
    No theorem. Checked by simulation of 40 draws each: 100 x 200 and 200 x 600, 5 or 8 entries between 1 and 2 in
    size, ``sigma`` 0.5 and 1.5. With signs, normal entries, and neighbours correlated by 0.5 the support was right in
    95 to 100 % of the draws; 90 % of the estimates of ``sigma`` and ``noise`` lay within 17 % of the truth (``noise``
    up to 27 % low for correlated neighbours), of ``signal`` within 25 %. With neighbours correlated by 0.9 the support
    was right in 98 to 100 % at ``sigma`` 0.5, and at 1.5 in 88 % of 200 x 600 and 53 % of 100 x 200, with ``noise``
    there from 0.6 to 1.5 times the truth. With 80 entries in 400 x 500, ``noise`` comes out 10 % low.
    An x that is not sparse is taken for noise. Cost: that of :func:`hadaflow.select`.
    Source: docs/mathematics.md, "Choosing a model" and "Early stopping".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> rng = np.random.default_rng(0)
    >>> A = rng.choice([-1.0, 1.0], (100, 200))
    >>> found = estimate_window_inputs(hf.Problem(A, A[:, :5].sum(axis=1) + 0.5 * rng.standard_normal(100)))
    >>> found.support, round(found.sigma, 1), round(found.signal, 1)
    (array([0, 1, 2, 3, 4]), 0.5, 0.9)
    """
    instance(problem, Problem, "problem")
    require_squared(problem, "estimate_window_inputs")
    require_single(problem, "estimate_window_inputs", _INSTEAD)
    m, n = problem.shape
    if m <= 4 * math.log(max(2, n)):
        raise ValueError(f"too few rows to tell noise from signal: {m} for {n} columns; at least 4 log n are needed")
    # Data of about unit size, so that squares and quotients stay in range; powers of two add no rounding.
    operator = Reduced(problem.operator)
    unit = float(power_of_two(float(np.abs(problem.y).max())))
    reduced = Problem(operator, problem.y / unit)
    squares = operator.column_squares()
    support = select(reduced, read_out="model", chance=_LEVEL, positive=flag(positive, "positive")).model
    columns = dense(operator.columns(support))
    values = fitted(columns, reduced.y.astype(np.float64))
    residual = reduced.y.astype(np.float64) - columns @ values
    outside = np.ones(n, dtype=bool)
    outside[support] = False
    correlations = np.abs(operator.rmatvec(residual)) / np.where(squares > 0, squares, np.inf)
    return WindowInputs(
        sigma=norm(residual) / math.sqrt(max(1, m - len(support))) * unit,
        noise=operator.over_unit(float(correlations[outside].max(initial=0.0)) * unit),
        signal=operator.over_unit(float(np.abs(values).min()) * unit) if len(support) else 0.0,
        column_square=operator.times_unit(operator.times_unit(float(squares.mean()))),
        support=support,
    )
