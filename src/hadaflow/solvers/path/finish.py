"""The exact end of a saddle path: its last plateau and dual state, free of the rounding of the walk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._span import Span
from hadaflow._threads import one_blas_thread
from hadaflow._types import Index, Mask, Vector
from hadaflow._validation import norm
from hadaflow.results import Status
from hadaflow.solvers.path.walk import Walk

_EPS = float(np.finfo(np.float64).eps)
_LENGTHS = (0.0, 1 / 512, 1 / 128, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of a step inside, tried in turn


@dataclass(frozen=True)
class End:
    """Where a path stopped, in units of the scaled problem."""

    x: Vector
    nu: Vector
    status: Status


def follow(walk: Walk) -> End:
    """Walk to the end and finish there."""
    with one_blas_thread():
        return finish(walk, walk.run())


def finish(walk: Walk, status: Status) -> End:
    """Recompute plateau and dual state from the support alone, and drop entries that are rounding."""
    at, unit = walk.at, walk.unit
    x, nu, index = np.zeros(unit.operator.shape[1]), at.nu, at.index
    if len(index) == 0:
        return End(x, nu, status)
    support = _span(walk, index)
    rounding = 10 * walk.rounding() if status is Status.EXACT else None
    support, values, kept = _settled(walk, support, rounding)
    index = index[kept]
    x[index] = values
    if status is Status.LEAST_SQUARES:
        nu = nu - at.tau * (unit.y - support.columns @ values)  # the part outside the range of A proves nothing
    nu = on_bounds(support, nu, unit.gauge.on(index).face(at.values[kept]))
    return End(x, _moved_inside(walk, index, nu), status)


def _span(walk: Walk, index: Index) -> Span:
    """The span of columns that are all in the working set."""
    working = walk.working
    positions = working.positions_of(index)
    return Span(working.columns[:, positions], working.gram[np.ix_(positions, positions)])


def on_bounds(support: Span, nu: Vector, bounds: Vector) -> Vector:
    """Move nu to where its products with the columns are their bounds, as nearly as rounding lets this be told.

    The rounding of a product with a long column (or one of little weight) may be much larger than that of others, and
    would lift the largest product, by which a lower bound is divided. So each aims inside by what its rounding exceeds
    that of the others.
    """
    nu = nu + support.dual_with(bounds - np.asarray(support.columns.T @ nu))
    doubt = 4 * _EPS * np.sqrt(len(nu)) * norm(nu) * support.lengths
    inside = np.minimum(doubt - doubt.min(initial=np.inf), 1.0)
    if float(inside.max(initial=0.0)) < 1e-13:
        return nu
    return nu + support.dual_with(bounds * (1 - inside) - np.asarray(support.columns.T @ nu))


def _settled(walk: Walk, support: Span, rounding: float | None) -> tuple[Span, Vector, Mask]:
    """Least squares with the signs of the walk, on the entries that are more than rounding; and which these are.

    A coordinate that entered just before the residual vanished carries nothing else. Nearly dependent columns may
    change a sign; what cannot be had without those entries is left as the walk found it.
    """
    y, walked, index = walk.unit.y, walk.at.values, walk.at.index
    values = support.least_squares(y, walked)
    signs = np.sign(walked)
    if len(walk.unit.gauge.free):
        signs[np.isin(index, walk.unit.gauge.free)] = 0.0
    wrong = (values * signs <= 0) & (signs != 0)
    spare = wrong if rounding is None else wrong | ((support.lengths * np.abs(values) <= rounding) & (signs != 0))
    if spare.any() and not spare.all():
        smaller = _span(walk, index[~spare])
        trial = smaller.least_squares(y, values[~spare])
        allowed = norm(y - support.columns @ walked) if rounding is None else rounding
        if norm(y - smaller.columns @ trial) <= allowed and (trial * signs[~spare] >= 0).all():
            return smaller, trial, ~spare
    return support, walked if wrong.any() else values, np.ones(len(values), dtype=bool)


def _moved_inside(walk: Walk, index: Index, nu: Vector) -> Vector:
    """Move nu off the bounds of coordinates that are not on the support, where that is easy.

    A dual state strictly inside all those bounds proves that the minimiser is unique. The walk leaves nu on the
    bound of every coordinate that was active on the last plateau and carries nothing; the shortest step that pulls
    the nearest ones inside while it keeps the support on its bounds is nearly always enough.
    """
    unit, working, gauge = walk.unit, walk.working, walk.unit.gauge
    room = unit.operator.shape[0] - len(index)
    dual = unit.operator.rmatvec(nu)
    if walk.bound(nu, dual) < walk.best_bound * (1 - 1e-9):
        return walk.best_nu
    dual[index] = 0.0
    dual[gauge.costless] = 0.0  # nothing lies inside bounds of 0
    sizes = gauge.sizes(dual)
    near = np.flatnonzero(sizes > 0.9)
    touching = int(np.count_nonzero(sizes[near] > 1 - 1e-6))
    near = near[np.argsort(-sizes[near], kind="stable")][: max(room // 2, min(touching, room))]
    if len(near) == 0:
        return nu
    working.extend(near[~working.inside[near]])
    joined = _span(walk, np.concatenate([index, near]))
    if not joined.well_conditioned:
        return nu
    goal = dual[near] / sizes[near] * 0.8
    step = joined.dual_with(np.concatenate([np.zeros(len(index)), goal - dual[near]]))
    change = unit.operator.rmatvec(step)
    change[index] = change[gauge.costless] = 0.0
    best = min(_LENGTHS, key=lambda length: gauge.dual(dual + length * change))
    return nu + best * step
