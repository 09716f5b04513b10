"""The exact end of a saddle path: its last plateau and dual state, free of the rounding of the walk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hadaflow._span import Span
from hadaflow._threads import one_blas_thread
from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.certificates import MOST_COLUMNS, prove_fit
from hadaflow.results import Status
from hadaflow.solvers.path.walk import Walk
from hadaflow.units import UnitProblem

_EPS = float(np.finfo(np.float64).eps)
_ROUNDING = 1e3  # units of the rounding of a row that count as no more than rounding


@dataclass(frozen=True)
class End:
    """Where a walk stopped, in units of the scaled problem."""

    x: Vector
    nu: Vector
    status: Status


def follow(walk: Walk) -> End:
    """Walk to the end and finish there."""
    with one_blas_thread():
        return finish(walk, walk.run())


def finish(walk: Walk, status: Status) -> End:
    """Recompute plateau and dual state from the support alone, and drop entries that are rounding."""
    operator, y, nu = walk.operator, walk.unit.y, walk.state.nu
    positions = walk.state.positions
    index = walk.working.index[positions]
    values, signs = walk.state.values, walk.state.signs
    x = np.zeros(operator.shape[1])
    if len(index) == 0:
        return End(x, nu, status)
    support = Span(walk.working.columns[:, positions], walk.working.gram[np.ix_(positions, positions)])
    rounding = 10 * walk.rounding() if status is Status.EXACT else None
    support, values, kept = _settled(walk, support, values, rounding)
    index, signs = index[kept], signs[kept]
    x[index] = values
    if status is Status.LEAST_SQUARES:
        nu = nu - walk.state.tau * (y - support.columns @ values)  # the part outside the range of A proves nothing
    nu = on_bounds(support, nu, signs)
    return End(x, _moved_inside(walk, index, nu), status)


def proved(unit: UnitProblem, end: End, positive: bool) -> Status:
    """The status of an end, if it proves it: every row fits and the norm is minimal, or nothing fits better."""
    operator, y, x = unit.operator, unit.y, end.x
    if end.status not in (Status.EXACT, Status.LEAST_SQUARES):
        return end.status
    eps = max(_EPS, unit.data_rounding)
    fit, pull = operator.matvec_and_rmatvec(x, end.nu)
    terms = operator.abs_matvec(np.abs(x)) + np.abs(y)
    fits = bool((np.abs(fit - y) <= _ROUNDING * eps * terms).all())
    fits = fits and norm(fit - y) <= max(1e-9, _ROUNDING * eps) * norm(y)
    reach = (pull if positive else np.abs(pull)) - unit.doubt(norm(end.nu))
    total, bound = float(np.abs(x).sum()), float(fit @ end.nu) / max(1.0, float(reach.max(initial=0.0)))
    minimal = total - bound <= max(1e-8, _ROUNDING * eps) * total
    if end.status is Status.EXACT or fits:
        return Status.EXACT if fits and minimal else Status.INEXACT
    proof = prove_fit(operator, x, y, positive=positive, eps=eps, most_columns=MOST_COLUMNS)
    return Status.LEAST_SQUARES if proof.holds and minimal else Status.NOT_CONVERGED


def on_bounds(support: Span, nu: Vector, signs: Vector) -> Vector:
    """Move nu to where its products with the columns are their signs, as nearly as rounding lets this be told.

    The rounding of a product with a long column (or one of little weight) may be much larger than that of others, and
    would lift the largest product, by which a lower bound is divided. So each aims inside by what its rounding exceeds
    that of the others.
    """
    nu = nu + support.dual_with(signs - np.asarray(support.columns.T @ nu))
    doubt = 4 * _EPS * np.sqrt(len(nu)) * norm(nu) * support.lengths
    inside = np.minimum(doubt - doubt.min(initial=np.inf), 1.0)
    if float(inside.max(initial=0.0)) < 1e-13:
        return nu
    return nu + support.dual_with(signs * (1 - inside) - np.asarray(support.columns.T @ nu))


def _settled(
    walk: Walk, support: Span, walked: Vector, rounding: float | None
) -> tuple[Span, Vector, NDArray[np.bool_]]:
    """Least squares with the signs of the walk, on the entries that are more than rounding; and which these are.

    A coordinate that entered just before the residual vanished carries nothing else. Nearly dependent columns may
    change a sign; what cannot be had without those entries is left as the walk found it.
    """
    y, positions = walk.unit.y, walk.state.positions
    values = support.least_squares(y, walked)
    signs = np.sign(walked)
    wrong = values * signs <= 0
    spare = wrong if rounding is None else wrong | (support.lengths * np.abs(values) <= rounding)
    if spare.any() and not spare.all():
        fewer = positions[~spare]
        smaller = Span(walk.working.columns[:, fewer], walk.working.gram[np.ix_(fewer, fewer)])
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
    operator, working = walk.operator, walk.working
    room = operator.shape[0] - len(index)
    dual = operator.rmatvec(nu)
    if walk.bound(nu, dual) < walk.best_bound * (1 - 1e-9):
        return walk.best_nu
    dual[index] = 0.0
    reach = dual if walk.positive else np.abs(dual)
    near = np.flatnonzero(reach > 0.9)
    touching = int(np.count_nonzero(reach[near] > 1 - 1e-6))
    near = near[np.argsort(-reach[near], kind="stable")][: max(room // 2, min(touching, room))]
    if len(near) == 0:
        return nu
    working.extend(near[~working.inside[near]])
    joined = working.positions_of(np.concatenate([index, near]))
    both = Span(working.columns[:, joined], working.gram[np.ix_(joined, joined)])
    if not both.well_conditioned:
        return nu
    pull = np.concatenate([np.zeros(len(index)), -np.sign(dual[near]) * (reach[near] - 0.8)])
    step = both.dual_with(pull)
    change = operator.rmatvec(step)
    change[index] = 0.0

    def farthest(length: float) -> float:
        moved = dual + length * change
        return float((moved if walk.positive else np.abs(moved)).max())

    best = min((0.0, 1 / 512, 1 / 128, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0), key=farthest)
    return nu + best * step
