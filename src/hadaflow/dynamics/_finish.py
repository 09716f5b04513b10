"""The exact end of a saddle path: its last plateau and dual state, free of the rounding of the walk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._validation import Index, norm
from hadaflow.results import Status

if TYPE_CHECKING:
    from hadaflow.dynamics._walk import Walk

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class End:
    """Where a walk stopped, in units of the scaled problem."""

    x: Vector
    nu: Vector
    status: Status


def finish(walk: Walk, status: Status) -> End:
    """Recompute plateau and dual state from the support alone, and drop entries that are rounding."""
    operator, y, nu = walk.operator, walk.unit.y, walk.state.nu
    index = walk.working.index[walk.state.positions]
    values, signs = walk.state.values, walk.state.signs
    x = np.zeros(operator.shape[1])
    if len(index) == 0:
        return End(x, nu, status)
    support = _Support(walk.working.columns[:, walk.state.positions])
    values = support.least_squares(y)
    # A coordinate that entered just before the residual vanished carries nothing but rounding.
    tiny = support.lengths * np.abs(values) <= 1e-13 * norm(y)
    wrong = values * signs <= 0
    if status is Status.EXACT and (tiny | wrong).any() and not (tiny | wrong).all():
        kept = ~(tiny | wrong)
        smaller = _Support(support.columns[:, kept])
        fewer = smaller.least_squares(y)
        if smaller.residual(y, fewer) <= 1e-13 * (norm(y) + float(smaller.lengths @ np.abs(fewer))):
            index, signs, values, support = index[kept], signs[kept], fewer, smaller
    x[index] = values
    if status is Status.LEAST_SQUARES:
        nu = nu - walk.state.tau * (y - support.columns @ values)  # the part outside the range of A proves nothing
    nu = nu + support.dual_with(signs - np.asarray(support.columns.T @ nu))
    return End(x, _moved_inside(walk, support, index, nu), status)


def _moved_inside(walk: Walk, support: _Support, index: Index, nu: Vector) -> Vector:
    """Move nu off the bounds of coordinates that are not on the support, where that is easy.

    A dual state strictly inside all those bounds proves that the minimiser is unique. The walk leaves nu on the bound of
    every coordinate that was active on the last plateau and carries nothing; the shortest step that pulls the nearest
    ones inside while it keeps the support on its bounds is nearly always enough.
    """
    operator, working = walk.operator, walk.working
    room = operator.shape[0] - len(index)
    dual = working.correlate(nu)
    dual[np.isin(working.index, index)] = 0.0
    reach = dual if walk.positive else np.abs(dual)
    near = np.flatnonzero(reach > 0.9)
    near = near[np.argsort(-reach[near], kind="stable")][: room // 2]
    if len(near) == 0:
        return nu
    both = _Support(_joined(support.columns, working.columns[:, near]))
    if not both.well_conditioned():
        return nu
    pull = np.concatenate([np.zeros(len(index)), -np.sign(dual[near]) * (reach[near] - 0.8)])
    step = both.dual_with(pull)
    dual, change = operator.rmatvec(nu), operator.rmatvec(step)
    dual[index], change[index] = 0.0, 0.0

    def farthest(length: float) -> float:
        moved = dual + length * change
        return float((moved if walk.positive else np.abs(moved)).max())

    best = min((0.0, 0.0625, 0.125, 0.25, 0.5, 1.0), key=farthest)
    return nu + best * step


def _joined(left: Vector, right: object) -> Vector:
    return np.hstack([left, right.toarray() if sp.issparse(right) else right])  # type: ignore[attr-defined]


class _Support:
    """Least squares with the columns of a support and their transposes, refined to full accuracy."""

    def __init__(self, columns: object) -> None:
        self.columns = columns.toarray() if sp.issparse(columns) else columns  # type: ignore[attr-defined]
        self.q, self.r = la.qr(self.columns, mode="economic", check_finite=False)
        self.lengths = np.sqrt(np.einsum("ij,ij->j", self.columns, self.columns))

    def least_squares(self, y: Vector) -> Vector:
        """argmin ||columns b - y||, with one step of refinement."""
        b = np.zeros(self.columns.shape[1])
        for _ in range(2):
            b = b + self._back(self.q.T @ (y - self.columns @ b))
        return b

    def well_conditioned(self) -> bool:
        pivots = np.abs(self.r.diagonal()) / self.lengths
        return bool(pivots.min() > 1e-6)

    def _back(self, rhs: Vector) -> Vector:
        return np.asarray(la.solve_triangular(self.r, rhs, check_finite=False))

    def dual_with(self, target: Vector) -> Vector:
        """The shortest nu with columns.T @ nu = target, with one step of refinement."""
        nu = np.zeros(self.columns.shape[0])
        for _ in range(2):
            gap = target - self.columns.T @ nu
            nu = nu + self.q @ la.solve_triangular(self.r, gap, trans="T", check_finite=False)
        return nu

    def residual(self, y: Vector, b: Vector) -> float:
        return norm(y - self.columns @ b)
