"""The main job: measurements in, the sparse vector and the proof of its quality out."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hadaflow._span import Span
from hadaflow._validation import Float, Index, callback, flag, one_of, positive_number, positive_vector
from hadaflow.certificates import CLOSEST, MOST_COLUMNS, certify
from hadaflow.dynamics._finish import End, follow
from hadaflow.dynamics._nearest import nearest, start_dual, within_rounding
from hadaflow.dynamics._scaling import UnitProblem, to_unit
from hadaflow.dynamics._walk import Walk
from hadaflow.dynamics.limit import limit
from hadaflow.models import HadamardPower
from hadaflow.models.base import Scale
from hadaflow.operators import Metered
from hadaflow.operators.base import at_work
from hadaflow.problems import Problem
from hadaflow.results import Limit, ProgressCallback, Recovery, Stats, Status
from hadaflow.strategies import MOST_ROWS, Options, by_leaps, by_walk, strategies

Vector = NDArray[np.float64]

_MOST_PROVED = 500  # columns asked of it to prove uniqueness; never more than the products that the answer took
_MOST_RESTARTS = 8  # of a walk whose end is not proved minimal, from its own dual state
_ROUNDING = 1e3  # units of the rounding of a row that count as no more than rounding


def recover(
    A: Any,
    y: Any,
    *,
    depth: float | None = None,
    init_scale: Scale | None = None,
    positive: bool = False,
    weights: Any = None,
    noise_level: float = 0.0,
    method: Literal["auto", "saddles", "limit"] = "auto",
    progress: ProgressCallback | None = None,
) -> Recovery:
    """Recover a sparse x from measurements ``y = A x``, with a certificate.

    By default the answer is where gradient flow on an overparameterised model ends as its start vanishes: a
    minimiser of ``||x||_1`` subject to ``A x = y``, exact to rounding, with exact zeros. With ``depth`` and
    ``init_scale`` it is where the flow from that very start ends.

    Parameters
    ----------
    A : array_like of shape (m, n), scipy.sparse array or matrix, scipy LinearOperator, or dask.array.Array
        Measurement matrix or operator, real; a Dask array for what is larger than memory
        (:func:`hadaflow.blocks.open_matrix`).
    y : array_like of shape (m,)
        Measurements, real.
    depth : float, optional
        Number of factors of ``x = u^D - v^D``: 1 or any real number >= 2. Needs ``init_scale``.
    init_scale : float or array_like of shape (n,), optional
        Starting value of every factor entry, in units of ``x^(1/depth)``. Needs ``depth``.
    positive : bool, default False
        Only non-negative x (model ``x = u^D``).
    weights : array_like of shape (n,), optional
        Minimise ``sum_i w_i |x_i|`` instead, w > 0. For the scale -> 0 solution only: with ``init_scale`` give one
        start per coordinate.
    noise_level : float, default 0
        Bound on ``||noise||_2`` in units of y: stop on the first plateau of the saddle path with
        ``||A x - y||_2 <= noise_level`` (for a LinearOperator beyond 5000 rows on the first that leaps come upon). For
        the scale -> 0 solution only.
    method : {"auto", "saddles", "limit"}, default "auto"
        How the scale -> 0 solution is found: along the saddle path; or by a limit at small scale, whose dual state
        starts a short saddle path that ends exactly; "auto" begins with the first and changes over once the second is
        estimated to be less work. Where A is a LinearOperator "auto" leaps along the path first, with products only.
    progress : callable, optional
        Called now and then with a :class:`hadaflow.Progress`.

    Returns
    -------
    Recovery
        ``x``, ``certificate``, ``status``, ``support()``, ``refit()``, ``stats``.

    Raises
    ------
    TypeError
        If an argument is not real-valued data or not of the kind asked for.
    ValueError
        If a shape or range is wrong, an entry is NaN or infinite, or options exclude each other.

    See Also
    --------
    saddles : the whole path whose end this is.
    limit : the end of the flow from a given start.
    certify : the certificate of any x and dual vector.

    Notes
    -----
    A few to some dozen passes over A on easy instances, plus O(k) jumps of O(w k + k^2) for k non-zeros and a
    working set of w columns; Newton steps of O(m^2 n + m^3) where the path is long. A LinearOperator is asked for some
    100 to 300 products if well conditioned, whatever its size; uniqueness is proved if that takes no more, and at most
    500 (else ask :func:`certify`), and beyond 5000 rows an end that 4000 products do not prove minimal is handed over
    ``INEXACT``, with its gap. A Dask array takes two passes per look of the walk at A, some 10 to 30 in all on easy
    instances, and a working set of columns is brought here. Scale-free: ``recover(c A, d y)`` is ``d / c`` times
    ``recover(A, y)``, bit for bit if c and d are powers of two. The data are never written to.
    Source: papers A and B (model and flow), docs/mathematics.md, "The saddle path", "The limit" and "Leaps".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((50, 200))
    >>> x = np.zeros(200)
    >>> x[[3, 77, 120]] = [2.0, -1.0, 0.5]
    >>> r = hf.recover(A, A @ x)
    >>> r.support(), r.status.name, r.certificate.unique
    (array([  3,  77, 120]), 'EXACT', True)
    """
    problem = Problem(A, y)
    positive = flag(positive, "positive")
    callback(progress, "progress")
    method = one_of(method, "method", ("auto", "saddles", "limit"))  # type: ignore[assignment]
    noise_level = positive_number(noise_level, "noise_level", strict=False)
    w = None if weights is None else positive_vector(weights, "weights", problem.shape[1])
    if (depth is None) != (init_scale is None):
        given, missing = ("depth", "init_scale") if init_scale is None else ("init_scale", "depth")
        raise ValueError(f"{given} needs {missing} beside it: together they fix the start of the flow")
    if depth is not None and init_scale is not None:
        if w is not None or noise_level > 0 or method != "auto":
            raise ValueError(
                "weights, noise_level and method belong to the scale -> 0 solution: leave out depth and init_scale"
            )
        model = HadamardPower(depth, "positive" if positive else "both")
        return _from_start(problem, model, init_scale, positive, progress)
    if method == "limit" and noise_level > 0:
        raise ValueError("noise_level stops along the saddle path: use method='saddles' or 'auto'")
    return _vanishing_start(problem, Options(positive, w, noise_level, method, progress))


def _from_start(
    problem: Problem, model: HadamardPower, init_scale: Scale, positive: bool, progress: ProgressCallback | None
) -> Recovery:
    """The limit at the given scale, certified against the minimal l1 norm."""
    began = time.perf_counter()
    end: Limit = limit(problem, model, init_scale=init_scale, progress=progress)
    least_squares, support = end.status is Status.LEAST_SQUARES, end.support()
    positive = positive and model.depth > 1
    meter = Metered(problem.operator)
    metered = Problem(meter, problem.y)
    duals = [end.dual, *_sharpened(metered, end, support, positive)]
    certificates = [
        certify(metered, end.x, dual, positive=positive, least_squares=least_squares, support=support) for dual in duals
    ]
    best = int(np.argmax([certificate.lower_bound for certificate in certificates]))
    passes = end.stats.passes + meter.passes
    stats = Stats(time.perf_counter() - began, passes, end.stats.newton_steps, 0, "limit")
    return Recovery(
        end.x, duals[best], certificates[best], end.status, stats, problem, model, end.product_scale, positive
    )


def _sharpened(problem: Problem, end: Limit, support: Index, positive: bool) -> list[Vector]:
    """The dual of a limit, moved onto its bounds on the support: often a better proof, at times a worse one."""
    m, _ = problem.shape
    reach = problem.operator.rmatvec(end.dual)
    top = float((reach if positive else np.abs(reach)).max())
    if not 0 < len(support) <= m or not 0 < top < math.inf:
        return []
    if problem.operator.column_cost(len(support)) > MOST_COLUMNS:
        return []
    columns = problem.operator.columns(support)
    size = float(np.abs(columns).max())
    columns = columns / size  # squares of the data as they are might overflow
    basis = Span(columns)
    if not basis.well_conditioned:
        return []
    step = basis.dual_with(np.sign(end.x[support]) - reach[support] / top) / size
    return [end.dual / top + step] if np.isfinite(step).all() else []


def _vanishing_start(problem: Problem, options: Options, *, reachable: bool = False) -> Recovery:
    """The scale -> 0 solution, by the first strategy whose end its certificate confirms; else the best of them.

    ``reachable`` says that some x carries y, so that no least-squares point is to be looked for.
    """
    began = time.perf_counter()
    unit = to_unit(problem, options.weights, even=options.noise_level == 0)
    found: list[Recovery] = []
    passes = 0.0  # of looking for a least-squares point
    for strategy in strategies(unit, options):
        if strategy is by_walk and any(r.status is Status.INEXACT and r.stats.method == "saddles" for r in found):
            break  # it was walked to the end already
        end, newton_steps, events, name = strategy(unit, options)
        stats = Stats(time.perf_counter() - began, 0.0, newton_steps, events, name)
        found.append(_certified(problem, unit, options, end, stats))
        if found[-1].status is Status.INEXACT and strategy is not by_leaps:
            found.append(_refined(problem, unit, options, end, found[-1]))
        if found[-1].status.ok or (found[-1].status is Status.INEXACT and problem.shape[0] > MOST_ROWS):
            break
        if end.status is Status.LEAST_SQUARES and not reachable:
            reachable, found, passes = True, *_least_squares(problem, options, found)
            if found[-1].status.ok:
                break
    if not reachable and not any(_feasible(recovery) or recovery.status.ok for recovery in found):
        found, passes = _least_squares(problem, options, found)
    best = min(found, key=_rank)
    seconds = time.perf_counter() - began
    return replace(best, stats=replace(best.stats, seconds=seconds, passes=unit.meter.passes + passes))


def _least_squares(
    problem: Problem, options: Options, found: list[Recovery]
) -> tuple[list[Recovery], float]:
    """What was found, and after it the least-squares point of smallest norm; and the passes that this took.

    Where the nearest point turns out to be y itself, what was found is told to be wrong by an x that carries y.
    """
    unit = to_unit(problem, options.weights)  # rows keep their weight
    start = np.flatnonzero(min(found, key=_rank).x)
    near = nearest(unit, start, options.positive)
    if near is None:
        return found, unit.meter.passes
    x = np.zeros(problem.shape[1])
    x[near.index] = near.values
    stats = Stats(method="least squares")
    if within_rounding(unit, near, x):
        end = End(x, start_dual(unit, near, options.positive), Status.EXACT)
        return [*found, _certified(problem, unit, options, end, stats)], unit.meter.passes
    end = End(x, start_dual(unit, near, options.positive), Status.LEAST_SQUARES)
    first = _certified(problem, unit, options, end, stats)
    if first.status.ok:
        return [*found, first], unit.meter.passes
    fitted = Problem(problem.operator, near.target * unit.size_y)
    sparse = _vanishing_start(fitted, replace(options, noise_level=0.0), reachable=True)
    second = _judged(problem, unit, options, sparse.x, sparse.dual, Status.LEAST_SQUARES, sparse.stats)
    return [*found, first, second], unit.meter.passes + sparse.stats.passes


def _refined(problem: Problem, unit: UnitProblem, options: Options, end: End, recovery: Recovery) -> Recovery:
    """Walk again from the dual state of the end while that helps.

    The path that is left is short, and so is what the rounding of ill-conditioned data adds to the dual state on it.
    """
    events = recovery.stats.events
    for _ in range(_MOST_RESTARTS):
        walk = Walk(unit, options.positive, verify_all=False, progress=options.progress)
        walk.start_from(end.nu)
        end = follow(walk)
        events += walk.events
        trial = _certified(problem, unit, options, end, replace(recovery.stats, events=events))
        if trial.status.ok or trial.certificate.gap > 0.5 * recovery.certificate.gap:
            return min(recovery, trial, key=_rank)
        recovery = trial
    return recovery


def _feasible(recovery: Recovery) -> bool:
    """Whether x carries y, row by row, up to what rounding explains."""
    return recovery.certificate.backward_error <= _closest(recovery.problem)[1]


def _rank(recovery: Recovery) -> tuple[bool, bool, float]:
    """The smaller the better: what is proved, then what fits with the smaller norm, then what fits better."""
    certificate, feasible = recovery.certificate, _feasible(recovery)
    return not recovery.status.ok, not feasible, certificate.gap if feasible else certificate.residual


def _closest(problem: Problem) -> tuple[float, float]:
    """Gap and backward error up to which an x counts as exact."""
    rounding = _ROUNDING * float(np.finfo(problem.dtype).eps)
    return max(1e-8, rounding), rounding if problem.operator.at_hand else max(1e-9, rounding)


def _certified(problem: Problem, unit: UnitProblem, options: Options, end: End, stats: Stats) -> Recovery:
    """The end of a walk in the units and dtype of the data, called what its certificate proves."""
    x = unit.original_x(end.x).astype(problem.dtype)
    return _judged(problem, unit, options, x, unit.original_dual(end.nu), end.status, stats)


def _judged(
    problem: Problem, unit: UnitProblem, options: Options, x: Float, dual: Vector, status: Status, stats: Stats
) -> Recovery:
    """An x with its certificate and a status that this proves, whatever it was thought to be."""
    certificate = certify(
        Problem(unit.meter, problem.y),  # so that its passes are counted too
        x,
        dual,
        weights=options.weights,
        positive=options.positive,
        noise_level=options.noise_level if status is Status.NOISE_LEVEL else 0.0,
        least_squares=status is Status.LEAST_SQUARES,
        most_columns=min(_MOST_PROVED, int(unit.meter.passes)) if stats.method == "leaps" else MOST_COLUMNS,
    )
    gap, error = _closest(problem)
    if status is Status.LEAST_SQUARES and certificate.backward_error <= error:
        return _judged(problem, unit, options, x, dual, Status.EXACT, stats)  # it fits after all
    if status is Status.NOT_CONVERGED and certificate.backward_error <= error:
        status = Status.EXACT  # given up, but not before the end
    if status is Status.EXACT and max(certificate.gap / gap, certificate.backward_error / error) > 1:
        status = Status.INEXACT
    if status is Status.LEAST_SQUARES:
        minimal = certificate.gap <= gap or _determined(problem, x)
        if certificate.fit_gap > CLOSEST or not minimal:  # then the norm is held against those of all x that carry y
            return _judged(problem, unit, options, x, dual, Status.NOT_CONVERGED, stats)
    return Recovery(x, dual, certificate, status, stats, problem, positive=options.positive, weights=options.weights)


def _determined(problem: Problem, x: Float) -> bool:
    """Whether no other vector has the same A x: all columns are on the support, and independent."""
    m, n = problem.shape
    if not problem.operator.at_hand or not np.count_nonzero(x) == n <= m:
        return False
    return Span(at_work(problem.operator.columns(np.arange(n)))).rank == n
