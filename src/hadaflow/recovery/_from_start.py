"""Where training from a given start ends, held against the minimal l1 norm."""

from __future__ import annotations

import math
import time

import numpy as np

from hadaflow._span import Span
from hadaflow._types import Index, Vector
from hadaflow.certificates import MOST_COLUMNS, certify
from hadaflow.convergence import quietly
from hadaflow.dynamics.limit import limit
from hadaflow.gauges import Gauge
from hadaflow.gauges.l1 import l1
from hadaflow.models import HadamardPower
from hadaflow.models.branches import Scale
from hadaflow.operators import Metered
from hadaflow.problems import Problem
from hadaflow.results import Limit, ProgressCallback, Recovery, Stats, Status


def from_start(
    problem: Problem, model: HadamardPower, init_scale: Scale, positive: bool, progress: ProgressCallback | None
) -> Recovery:
    """The limit at the given scale, certified against the minimal l1 norm."""
    began = time.perf_counter()
    end: Limit = quietly(limit, problem, model, init_scale=init_scale, progress=progress)
    least_squares, support = end.status is Status.LEAST_SQUARES, end.support()
    gauge = l1(None, positive and model.depth > 1)
    meter = Metered(problem.operator)
    metered = Problem(meter, problem.y)
    duals = [end.dual, *_sharpened(metered, end, support, gauge)]
    certificates = [
        certify(metered, end.x, dual, gauge=gauge, least_squares=least_squares, support=support) for dual in duals
    ]
    best = int(np.argmax([certificate.lower_bound for certificate in certificates]))
    passes = end.stats.passes + meter.passes
    stats = Stats(time.perf_counter() - began, passes, end.stats.newton_steps, 0, "limit", ("limit",))
    return Recovery(
        end.x,
        duals[best],
        certificates[best],
        end.status,
        stats,
        problem,
        model=model,
        product_scale=end.product_scale,
        positive=not gauge.finite,
        gauge=gauge,
    )


def _sharpened(problem: Problem, end: Limit, support: Index, gauge: Gauge) -> list[Vector]:
    """The dual of a limit, moved onto its bounds on the support: often a better proof, at times a worse one."""
    m, _ = problem.shape
    correlation = problem.operator.rmatvec(end.dual)
    top = gauge.dual(correlation)
    if not 0 < len(support) <= m or not 0 < top < math.inf:
        return []
    if problem.operator.costs.of_columns(len(support)) > MOST_COLUMNS:
        return []
    columns = problem.operator.columns(support)
    size = float(np.abs(columns).max())
    if size == 0.0:
        return []
    columns = columns / size  # squares of the data as they are might overflow
    basis = Span(columns)
    if not basis.well_conditioned:
        return []
    step = basis.dual_with(gauge.face(end.x[support].astype(np.float64)) - correlation[support] / top) / size
    return [end.dual / top + step] if np.isfinite(step).all() else []
