"""Where training from a given start ends, held against the minimal l1 norm."""

from __future__ import annotations

import math
import time

import numpy as np

from hadaflow._span import Span
from hadaflow._types import Index, Vector
from hadaflow.certificates import MOST_COLUMNS, certificate_of, gauge_of
from hadaflow.convergence import quietly
from hadaflow.dynamics.limit import limit
from hadaflow.gauges import Gauge
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
    layout = problem.layout
    support = problem.groups.whole(layout.coordinates(end.support()))
    gauge = gauge_of(None, positive and model.depth > 1, None, problem)
    meter = Metered(problem.operator)
    metered = problem.with_data(meter, problem.y)
    x, dual = layout.real_x(end.x).astype(np.float64), layout.real_y(end.dual).astype(np.float64)
    duals = [dual, *_sharpened(metered, x, dual, support, gauge)]
    certificates = [
        certificate_of(
            metered,
            x,
            dual,
            gauge,
            noise_level=0.0,
            least_squares=end.status is Status.LEAST_SQUARES,
            on=support,
            measured=False,
            most_columns=MOST_COLUMNS,
        )
        for dual in duals
    ]
    best = int(np.argmax([certificate.lower_bound for certificate in certificates]))
    passes = end.stats.passes + meter.passes
    stats = Stats(time.perf_counter() - began, passes, end.stats.newton_steps, 0, "limit", ("limit",))
    return Recovery(
        end.x,
        layout.y(duals[best]),
        certificates[best],
        end.status,
        stats,
        problem,
        model=model,
        product_scale=end.product_scale,
        positive=not gauge.finite,
        gauge=gauge,
    )


def _sharpened(problem: Problem, x: Vector, dual: Vector, support: Index, gauge: Gauge) -> list[Vector]:
    """The dual of a limit, moved onto its bounds on the support: often a better proof, at times a worse one."""
    m, _ = problem.shape
    correlation = problem.operator.rmatvec(dual)
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
    step = basis.dual_with(gauge.face(x)[support] - correlation[support] / top) / size
    return [dual / top + step] if np.isfinite(step).all() else []
