"""Where does the flow go when the start vanishes? Along saddles, to a minimal l1 solution."""

from __future__ import annotations

import time

import numpy as np

from hadaflow._validation import (
    callback,
    check_finite,
    instance,
    positive_number,
    real_array,
    whole_number,
)
from hadaflow.certificates import gauge_of
from hadaflow.convergence import reported
from hadaflow.gauges import Gauge
from hadaflow.paths import SaddlePath
from hadaflow.problems import Problem, require_single, require_squared
from hadaflow.results import ProgressCallback, Stats
from hadaflow.solvers.judge import proved
from hadaflow.solvers.path.finish import follow
from hadaflow.solvers.path.walk import Terms, Walk
from hadaflow.units import to_unit

_INSTEAD = "the path is not piecewise constant there; ask hadaflow.recover for its end, or limit at a small scale"


def saddles(
    problem: Problem,
    *,
    positive: bool = False,
    weights: object = None,
    gauge: Gauge | None = None,
    start: object = None,
    noise_level: float = 0.0,
    max_events: int | None = None,
    progress: ProgressCallback | None = None,
) -> SaddlePath:
    """The path of gradient flow as its init scale tends to zero, in rescaled time.

    The dual state ``q = A^T nu`` moves with constant speed ``c = A^T (y - A b)`` until a coordinate meets its bound
    ``|q_i| = w_i``; then ``b`` jumps to the minimiser of ``1/2 ||A b - y||^2`` with ``b_i = 0`` where ``|q_i| <
    w_i`` and ``b_i q_i >= 0`` elsewhere, and so on until ``c = 0``. There b minimises ``sum_i w_i |b_i|`` among all
    solutions of ``A b = y``, since ``q`` is a subgradient of that norm at b.

    Parameters
    ----------
    problem : Problem
        Data, A of shape (m, n).
    positive : bool, default False
        The path of ``x = u^D``: non-negative, ``q_i <= w_i`` only.
    weights : array_like of shape (n,), optional
        Bounds w > 0 of the dual coordinates (limit of starts that differ by coordinate at depth > 2, where
        ``w_i = (a_i / a)^(2 - D)``); default all 1.
    gauge : Gauge, optional
        What takes the place of the (weighted) l1 norm (:mod:`hadaflow.gauges`); not together with positive or weights.
    start : array_like of shape (m,), optional
        Dual state nu to start from instead of 0, shortened if it leaves the dual set. The path still ends at a
        minimiser.
    noise_level : float, default 0
        Stop on the first plateau with ``||A b - y||_2 <= noise_level``, in units of y.
    max_events : int, optional
        Give up after so many jumps; default ``1000 + 50 min(m, n)``.
    progress : callable, optional
        Called with a :class:`hadaflow.Progress` between blocks of jumps.

    Returns
    -------
    SaddlePath
        Exact path, its end and the dual state there. ``status`` is ``EXACT``, ``LEAST_SQUARES`` (y outside the range of
        the model), ``NOISE_LEVEL``, ``INEXACT`` (the residual vanishes as a whole, but not in every row, or the dual
        state does not prove the end minimal) or ``NOT_CONVERGED``.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind, shape or range.

    Warns
    -----
    ConvergenceWarning
        If the status is ``NOT_CONVERGED``.

    Notes
    -----
    About as many jumps as the lasso path has knots. A jump costs O(w k + k^2) on a working set of w columns with k
    active; A itself is read once per block of jumps, in products with a block of dual states that verify each of them.
    Source: Pesme and Flammarion 2023 (arXiv 2304.00488) for depth 2; docs/mathematics.md, "The saddle path".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> path = hf.saddles(hf.Problem(np.array([[1.0, 0.5]]), np.array([2.0])))
    >>> path.final, path.times
    (array([2., 0.]), array([0. , 0.5]))
    """
    began = time.perf_counter()
    instance(problem, Problem, "problem")
    require_squared(problem, "saddles")
    callback(progress, "progress")
    gauge = gauge_of(weights, positive, gauge, problem)
    if not gauge.polyhedral:
        require_single(problem, "saddles", _INSTEAD)
        raise ValueError(f"saddles needs a gauge whose dual set is a polytope, got {gauge!r}: {_INSTEAD}")
    noise_level = positive_number(noise_level, "noise_level", strict=False)
    most = 0 if max_events is None else whole_number(max_events, "max_events")
    unit = to_unit(problem, gauge)
    walk = Walk(unit, Terms(True, noise_level / unit.size_y, most, progress=progress))
    if start is not None:
        nu = real_array(start, "start", 1, complex_too=problem.layout.complex_y)
        rows = problem.shape[0] // problem.layout.width_y
        if len(nu) != rows:
            raise ValueError(f"start must have one entry per row of A ({rows}), got {len(nu)}")
        check_finite(nu, "start")
        walk.start_from(problem.layout.real_y(nu).astype(np.float64) * unit.size_a)
    end = follow(walk)
    final, dual = unit.original_x(end.x).astype(problem.dtype), unit.original_dual(end.nu)
    status = proved(problem, unit, end)
    if status.ok and walk.events:  # the last plateau without the rounding of the walk
        walk.record.end_at(end.x)
    times, plateaus = walk.record.table(unit)
    path = SaddlePath(
        times=times,
        x=plateaus.astype(problem.dtype),
        final=final,
        dual=problem.layout.y(dual),
        status=status,
        stats=Stats(time.perf_counter() - began, unit.meter.passes, 0, walk.events, "saddles", ("saddles",)),
        problem=problem,
    )
    return reported(path, f"noise_level = {noise_level:g} in units of y" if noise_level > 0 else "0 to rounding")
