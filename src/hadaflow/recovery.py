"""The main job: measurements in, the sparse vector and the proof of its quality out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._validation import Index, callback, flag, one_of, positive_number, positive_vector
from hadaflow.certificates import MOST_COLUMNS, certify
from hadaflow.convergence import exact_within, quietly, told
from hadaflow.dynamics._finish import End, Support, follow
from hadaflow.dynamics._leaps import leap
from hadaflow.dynamics._scaling import UnitProblem, to_unit
from hadaflow.dynamics._walk import Walk
from hadaflow.dynamics.limit import limit
from hadaflow.models import HadamardPower
from hadaflow.models.base import Scale
from hadaflow.problems import Problem
from hadaflow.results import Limit, ProgressCallback, Recovery, Stats, Status

Vector = NDArray[np.float64]

#: Depth and product scale of the limit that hard instances are brought close with.
_APPROACH_DEPTH, _APPROACH_SCALE = 4.0, 1e-7
#: Operations of a Newton step (matrix work) in the time of one of a saddle walk (vector work); decision 0002.
_VECTOR_WORK = 4.0
#: Operations of a walk, in all or per entry of an A elsewhere, that are worth the passes that leaps would take.
_FAR_WORK, _FAR_PASSES = 1e12, 1000.0
_MOST_PRODUCTS = 4000  # of leaps with an A that is known by products alone; never more than it has columns
_MOST_PROVED = 500  # columns asked of it to prove uniqueness; never more than the products that the answer took
_MOST_ROWS = 5000  # of such an A up to which a walk can be hoped to prove what leaps did not
_MOST_RESTARTS = 8  # of a walk whose end is not proved minimal, from its own dual state


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
        ``x``, ``certificate``, ``status``, ``support()``, ``refit()``, ``stats``; and a ``hint`` where x looks like
        fitted noise.

    Raises
    ------
    TypeError
        If an argument is not real-valued data or not of the kind asked for.
    ValueError
        If a shape or range is wrong, an entry is NaN or infinite, or options exclude each other.

    Warns
    -----
    ConvergenceWarning
        If the status is ``INEXACT`` or ``NOT_CONVERGED``.

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
        return told(_from_start(problem, model, init_scale, positive, progress), "1e-08, and x = B(A^T nu) to 1e-12")
    if method == "limit" and noise_level > 0:
        raise ValueError("noise_level stops along the saddle path: use method='saddles' or 'auto'")
    return told(_vanishing_start(problem, _Options(positive, w, noise_level, method, progress)))


def _from_start(
    problem: Problem, model: HadamardPower, init_scale: Scale, positive: bool, progress: ProgressCallback | None
) -> Recovery:
    """The limit at the given scale, certified against the minimal l1 norm."""
    began = time.perf_counter()
    end: Limit = quietly(limit, problem, model, init_scale=init_scale, progress=progress)
    least_squares, support = end.status is Status.LEAST_SQUARES, end.support()
    positive = positive and model.depth > 1
    duals = [end.dual, *_sharpened(problem, end, support, positive)]
    certificates = [
        certify(problem, end.x, dual, positive=positive, least_squares=least_squares, support=support) for dual in duals
    ]
    best = int(np.argmax([certificate.lower_bound for certificate in certificates]))
    passes = end.stats.passes + 2 * len(duals) + len(duals) - 1
    stats = Stats(time.perf_counter() - began, passes, end.stats.newton_steps, 0, "limit", ("limit",))
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
    gram = columns.T @ columns
    basis = Support(columns, np.asarray(gram.toarray() if sp.issparse(gram) else gram))
    if not basis.well_conditioned():
        return []
    step = basis.dual_with(np.sign(end.x[support]) - reach[support] / top) / size
    return [end.dual / top + step] if np.isfinite(step).all() else []


@dataclass(frozen=True)
class _Options:
    positive: bool
    weights: Vector | None
    noise_level: float
    method: str
    progress: ProgressCallback | None


def _vanishing_start(problem: Problem, options: _Options) -> Recovery:
    """The scale -> 0 solution, by the first way whose end its certificate confirms; else the best of them."""
    began = time.perf_counter()
    unit = to_unit(problem, options.weights)
    found: list[Recovery] = []
    tried: list[Stats] = []
    for way in _ways(unit, options):
        if way is _walk and any(r.status is Status.INEXACT and r.stats.method == "saddles" for r in found):
            break  # it was walked to the end already
        end, newton_steps, events, name = way(unit, options)
        stats = Stats(time.perf_counter() - began, 0.0, newton_steps, events, name)
        found.append(_certified(problem, unit, options, end, stats))
        if found[-1].status is Status.INEXACT and way is not _leap:
            found.append(_refined(problem, unit, options, end, found[-1]))
        tried.append(found[-1].stats)
        if found[-1].status.ok or (found[-1].status is Status.INEXACT and problem.shape[0] > _MOST_ROWS):
            break
    best = min(found, key=_rank)
    return replace(best, stats=_in_all(best.stats, tried, time.perf_counter() - began, unit.meter.passes))


def _in_all(best: Stats, tried: list[Stats], seconds: float, passes: float) -> Stats:
    """What all ways took together that were tried, and which they were; ``best`` gave the answer."""
    newton_steps, events = sum(stats.newton_steps for stats in tried), sum(stats.events for stats in tried)
    return Stats(seconds, passes, newton_steps, events, best.method, tuple(stats.method for stats in tried))


def _refined(problem: Problem, unit: UnitProblem, options: _Options, end: End, recovery: Recovery) -> Recovery:
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
            best = min(recovery, trial, key=_rank)
            return replace(best, stats=trial.stats)
        recovery = trial
    return recovery


def _rank(recovery: Recovery) -> tuple[bool, bool, float]:
    """The smaller the better."""
    return not recovery.status.ok, recovery.certificate.residual > 1e-9, recovery.certificate.gap


class _Trip(NamedTuple):
    """Where a way ended and what it took."""

    end: End
    newton_steps: int
    events: int
    method: str


_Way = Callable[[UnitProblem, _Options], _Trip]


def _ways(unit: UnitProblem, options: _Options) -> tuple[_Way, ...]:
    """What to try, in turn."""
    if not unit.operator.resident:
        return _far_ways(unit, options)
    by_products = unit.operator.matrix_free and options.method == "auto" and not unit.zero
    if options.noise_level > 0 and unit.operator.shape[0] <= _MOST_ROWS:
        by_products = False  # a walk sees every plateau, and is affordable
    leaps = (_leap,) if by_products else ()
    if options.method == "saddles" or options.noise_level > 0 or unit.zero:
        return (*leaps, _walk)
    if options.method == "limit":
        return (_approach, _walk)
    return (*leaps, _walk_while_cheap, _approach, _walk)


def _far_ways(unit: UnitProblem, options: _Options) -> tuple[_Way, ...]:
    """The same for an A elsewhere: a walk asks it for columns now and then, leaps for one pass each iteration."""
    if options.method == "limit":
        return (_approach, _walk)
    if options.method == "saddles" or options.noise_level > 0 or unit.zero:
        return (_walk,)
    return (_walk_while_near, _leap, _walk)


def _leap(unit: UnitProblem, options: _Options) -> _Trip:
    """Implicit steps: where A is known by products, its columns would cost more than the answer does without them."""
    most = min(unit.operator.shape[1], _MOST_PRODUCTS)
    noise_level = options.noise_level / unit.size_y
    end, leaps = leap(
        unit, positive=options.positive, most_products=most, noise_level=noise_level, progress=options.progress
    )
    return _Trip(end, 0, leaps, "leaps")


def _walk(unit: UnitProblem, options: _Options, work_limit: float = math.inf) -> _Trip:
    """The saddle path from the start."""
    walk = Walk(unit, options.positive, verify_all=False, progress=options.progress, work_limit=work_limit)
    walk.noise_level = options.noise_level / unit.size_y
    end = follow(walk)
    return _Trip(end, 0, walk.events, "saddles")


def _walk_while_cheap(unit: UnitProblem, options: _Options) -> _Trip:
    """The same, given up once it has taken as long as a limit would."""
    m, n = unit.operator.shape
    newton_work = 30.0 * (float(m) * m * n + float(m) ** 3 / 3)  # about 30 systems formed and factored
    return _walk(unit, options, newton_work / _VECTOR_WORK)


def _walk_while_near(unit: UnitProblem, options: _Options) -> _Trip:
    """The same for an A elsewhere, given up once its own work has taken as long as some hundred passes would."""
    m, n = unit.operator.shape
    return _walk(unit, options, max(_FAR_WORK, _FAR_PASSES * float(m) * n))


def _certified(problem: Problem, unit: UnitProblem, options: _Options, end: End, stats: Stats) -> Recovery:
    """The end of a walk in the units and dtype of the data; exact only if its certificate says so."""
    x = unit.original_x(end.x).astype(problem.dtype)
    dual = unit.original_dual(end.nu)
    certificate = certify(
        Problem(unit.meter, problem.y),  # so that its passes are counted too
        x,
        dual,
        weights=options.weights,
        positive=options.positive,
        noise_level=options.noise_level if end.status is Status.NOISE_LEVEL else 0.0,
        least_squares=end.status is Status.LEAST_SQUARES,
        most_columns=min(_MOST_PROVED, int(unit.meter.passes)) if stats.method == "leaps" else MOST_COLUMNS,
    )
    gap, residual = exact_within(problem.dtype)
    status = end.status
    if status is Status.EXACT and not certificate.proves(gap=gap, residual=residual):
        status = Status.INEXACT
    return Recovery(
        x,
        dual,
        certificate,
        status,
        stats,
        problem,
        positive=options.positive,
        weights=options.weights,
        noise_level=options.noise_level,
    )


def _approach(unit: UnitProblem, options: _Options) -> _Trip:
    """Follow the scale down to near zero, then walk from the dual state found there: a short way to the exact end."""
    scaled = Problem(unit.operator, unit.y)
    model = HadamardPower(_APPROACH_DEPTH, "positive" if options.positive else "both")
    size = 1.0 / max(float(np.abs(unit.speed).max()), 1e-300)
    init_scale = (_APPROACH_SCALE * size) ** (1 / _APPROACH_DEPTH)
    near = quietly(limit, scaled, model, init_scale=init_scale, tolerance=1e-6, progress=options.progress)
    walk = Walk(unit, options.positive, verify_all=False, progress=options.progress)
    rate = _APPROACH_DEPTH * (_APPROACH_DEPTH - 2) * (_APPROACH_SCALE * size) ** (1 - 2 / _APPROACH_DEPTH)
    if np.isfinite(near.dual).all():
        walk.start_from(near.dual * rate)
    end = follow(walk)
    return _Trip(end, near.stats.newton_steps, walk.events, "limit + saddles")
