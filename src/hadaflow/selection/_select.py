"""Which sparse x do noisy data speak for? The saddle path proposes, criteria without a hold-out decide."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hadaflow._threads import one_blas_thread
from hadaflow._types import Float, Index
from hadaflow._validation import callback, flag, instance, one_of, positive_vector, whole_number
from hadaflow.convergence import quietly
from hadaflow.dynamics.saddles import saddles
from hadaflow.paths import SaddlePath
from hadaflow.problems import Problem, require_single, require_squared
from hadaflow.results import ProgressCallback
from hadaflow.selection._explore import Explored, explore
from hadaflow.selection._search import Search
from hadaflow.selection._units import Units
from hadaflow.selection.criterion import CriterionName, criterion_prices

ReadOut = Literal["auto", "model", "average"]

_INSTEAD = "ask hadaflow.recover, or stop hadaflow.flow by hadaflow.stopping.Discrepancy(noise_level)"


@dataclass(frozen=True, eq=False)
class Selection:
    """The answer of :func:`hadaflow.select`.

    Attributes
    ----------
    x : ndarray of shape (n,)
        Coefficients, with exact zeros.
    read_out : str
        ``"model"``: least squares on a support; or ``"average"``: the running average of the saddle path.
    time : float
        Rescaled time of the path it was read at: of the average, or of the plateau with the smallest criterion.
    reason : str
        Why this one, with the numbers that decided.
    sigma : float
        Standard deviation of the noise in one measurement, estimated from the selected model, in units of y.
    model_risk, average_risk : float
        Mallows' estimates of the mean squared error of both on new measurements, in squared units of y.
    model : ndarray of int, shape (k,)
        Support of the selected model, ascending, whichever was read out.
    criteria : ndarray of shape (K,)
        Criterion of each plateau of the path: the smaller, the more plausible.
    path : SaddlePath
        The path, as far as it was followed.
    """

    x: Float
    read_out: str
    time: float
    reason: str
    sigma: float
    model_risk: float
    average_risk: float
    model: Index
    criteria: NDArray[np.float64] = field(repr=False)
    path: SaddlePath = field(repr=False)

    def __repr__(self) -> str:
        return f"Selection({np.count_nonzero(self.x)} of {len(self.x)} coordinates, {self.read_out}: {self.reason})"

    def support(self) -> Index:
        """Indices of the non-zero entries, ascending."""
        return np.flatnonzero(self.x)


def select(
    problem: Problem,
    *,
    criterion: CriterionName = "fdr",
    chance: float = 0.01,
    read_out: ReadOut = "auto",
    positive: bool = False,
    weights: Any = None,
    rows: int | None = None,
    progress: ProgressCallback | None = None,
) -> Selection:
    """A sparse x for noisy data, with nothing to tune and no data held out.

    Two candidates come out of the saddle path of ``1/2 ||A x - y||^2``:

    - the *model*: least squares on the support with the smallest ``rows log ||A x - y||^2 + prices[k]``
      (:func:`criterion_prices`). Supports of plateaus are pruned, then columns are added, dropped or exchanged until no
      single change of all n columns makes the criterion smaller;
    - the *average*: the running average of the path where ``(||A x - y||^2 + 2 sigma^2 k) / rows`` is smallest, with k
      active coordinates and sigma from the model.

    "auto" takes the one with the smaller such risk (Mallows' C_p): the model where signals are strong, the average
    where they are too weak to be told from noise one by one.

    Parameters
    ----------
    problem : Problem
        Data, A of shape (m, n).
    criterion : {"fdr", "ebic", "bic", "aic"}, default "fdr"
        Information criterion of the model.
    chance : float, default 0.01
        Level of "fdr": about the share of selected entries that may be false.
    read_out : {"auto", "model", "average"}, default "auto"
        Which candidate to take.
    positive : bool, default False
        Only non-negative x.
    weights : array_like of shape (n,), optional
        Bounds of the dual coordinates on the path, as in :func:`hadaflow.saddles`. Default: the lengths of the columns,
        so that their units do not matter (1 for a LinearOperator).
    rows : int, optional
        Degrees of freedom of y, where it is fewer or more than its m entries; default m.
    progress : callable, optional
        Called with a :class:`hadaflow.Progress` between blocks of jumps.

    Returns
    -------
    Selection
        ``x``, ``support()``, ``reason``, ``sigma``, ``path``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or range.

    Notes
    -----
    The path is followed to three times as many entries as the model has. Then O(w s^2) per change on a pool of w
    columns with s in the support, and a product of A^T with s columns per look at all of them. For a LinearOperator,
    whose columns cost a product each, only columns that the path visited are looked at.
    No theorem says that the search ends in the best of all models; benchmarks/results/regression.md says how often.
    Source: docs/mathematics.md, "Choosing a model".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((100, 400))
    >>> chosen = hf.select(hf.Problem(A, A[:, :3] @ [1.0, -1.0, 1.0] + 0.5 * rng.standard_normal(100)))
    >>> chosen.support(), chosen.read_out, round(chosen.sigma, 1)
    (array([0, 1, 2]), 'model', 0.5)
    """
    instance(problem, Problem, "problem")
    require_squared(problem, "select")
    require_single(problem, "select", _INSTEAD)
    callback(progress, "progress")
    one_of(read_out, "read_out", ("auto", "model", "average"))
    positive = flag(positive, "positive")
    m, n = problem.shape
    rows = m if rows is None else whole_number(rows, "rows")
    prices = criterion_prices(rows, n, criterion=criterion, chance=chance)
    prices = replace(prices, prices=prices.prices[: m + 1])  # more columns than rows depend on one another
    lengths = np.ones(n) if problem.operator.costs.matrix_free else np.sqrt(problem.operator.column_squares())
    if weights is None:
        weights = np.where(lengths > 0, lengths, 1.0)
    w = positive_vector(weights, "weights", n)
    units = Units.of(problem, lengths)
    scaled = units.scaled(problem)
    w = w / units.columns

    def follow(events: int) -> SaddlePath:
        return quietly(saddles, scaled, positive=positive, weights=w, max_events=events, progress=progress)

    with one_blas_thread():
        y = scaled.y.astype(np.float64)
        squares = (lengths / units.columns) ** 2
        rounding = float(np.finfo(problem.dtype).eps) * problem.operator.cancelled.before(lengths) / units.columns
        search = Search(scaled.operator, y, scaled.operator.rmatvec(y), squares, prices, rounding, positive)
        return _read_out(problem, units, search, explore(search, follow), read_out)


def _read_out(problem: Problem, units: Units, search: Search, found: Explored, read_out: str) -> Selection:
    model, count, variance = search.coordinates(found.fit), len(found.fit), search.variance(found.fit)
    path = units.path(found.path, problem)
    rows = search.criterion.rows
    model_risk = variance * (1 + count / rows)
    average_risk = found.average.risk
    chosen = read_out
    if read_out == "auto":
        rounding = 10 * search.pool.floor / rows
        chosen = "average" if average_risk + rounding < model_risk else "model"
    x = np.zeros(problem.shape[1])
    if chosen == "model":
        x[model] = found.fit.values
        x = units.x(x)
        time = float(path.times[int(found.criteria.argmin())])
        reason = _of_model(search, found)
    else:
        time = found.average.time / units.y
        if time > 0:
            x = np.asarray(path.average(time) if time < math.inf else path.final, dtype=np.float64)
        reason = _of_average(time, x)
    model_risk, average_risk = model_risk * units.y * units.y, average_risk * units.y * units.y
    if read_out == "auto":
        relation = "not below" if chosen == "model" else "below"
        reason += f"; risk of the average {average_risk:.4g}, {relation} that of the selected model, {model_risk:.4g}"
    return Selection(
        x=x.astype(problem.dtype),
        read_out=chosen,
        time=time,
        reason=reason,
        sigma=math.sqrt(variance) * units.y,
        model_risk=model_risk,
        average_risk=average_risk,
        model=np.sort(model),
        criteria=found.criteria + 2 * rows * math.log(units.y),
        path=path,
    )


def _of_model(search: Search, found: Explored) -> str:
    count = len(found.fit)
    message = f"no single change of the support ({count} of {search.operator.shape[1]} columns) improves the criterion"
    if search.operator.costs.matrix_free:
        message += " among the columns that the path visited"
    if count == 0:
        return message
    return f"{message}, and the weakest of them is worth {search.weakest(found.fit):.3g} of it"


def _of_average(time: float, x: Float) -> str:
    return f"the running average at time {time:.4g} has the smallest risk, with {np.count_nonzero(x)} columns"
