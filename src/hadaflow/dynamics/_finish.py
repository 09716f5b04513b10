"""The exact end of a saddle path: its last plateau and dual state, free of the rounding of the walk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._threads import one_blas_thread
from hadaflow._validation import Index, norm
from hadaflow.dynamics._walk import Walk
from hadaflow.results import Status

Vector = NDArray[np.float64]

_REFINEMENTS = 3


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
    index = walk.working.index[walk.state.positions]
    values, signs = walk.state.values, walk.state.signs
    x = np.zeros(operator.shape[1])
    if len(index) == 0:
        return End(x, nu, status)
    positions = walk.state.positions
    support = Support(walk.working.columns[:, positions], walk.working.gram[np.ix_(positions, positions)])
    rounding = 10 * walk.rounding() if status is Status.EXACT else None
    support, values, kept = _settled(support, y, values, rounding)
    index, signs = index[kept], signs[kept]
    x[index] = values
    if status is Status.LEAST_SQUARES:
        nu = nu - walk.state.tau * (y - support.columns @ values)  # the part outside the range of A proves nothing
    nu = nu + support.dual_with(signs - np.asarray(support.columns.T @ nu))
    return End(x, _moved_inside(walk, index, nu), status)


def _settled(
    support: Support, y: Vector, walked: Vector, rounding: float | None
) -> tuple[Support, Vector, NDArray[np.bool_]]:
    """Least squares with the signs of the walk, on the entries that are more than rounding; and which these are.

    A coordinate that entered just before the residual vanished carries nothing else. Nearly dependent columns may
    change a sign; what cannot be had without those entries is left as the walk found it.
    """
    values = support.least_squares(y, walked)
    signs = np.sign(walked)
    wrong = values * signs <= 0
    spare = wrong if rounding is None else wrong | (support.lengths * np.abs(values) <= rounding)
    if spare.any() and not spare.all():
        smaller = support.part(~spare)
        fewer = smaller.least_squares(y, values[~spare])
        allowed = norm(y - support.columns @ walked) if rounding is None else rounding
        if norm(y - smaller.columns @ fewer) <= allowed and (fewer * signs[~spare] >= 0).all():
            return smaller, fewer, ~spare
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
    both = Support(working.columns[:, joined], working.gram[np.ix_(joined, joined)])
    if not both.well_conditioned():
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


class Support:
    """Least squares with the columns of a support and their transposes.

    The triangular factor comes from the Gram matrix where that is well conditioned, else from an orthogonal
    factorisation. Refinement in the data gives full accuracy; it stops where it no longer helps.
    """

    def __init__(self, columns: Any, gram: Vector) -> None:
        self.columns, self.gram = columns, gram
        self.lengths = np.sqrt(gram.diagonal())
        self.q: Vector | None = None
        self.r, failed = la.lapack.dpotrf(gram, lower=0)
        if failed or not self.well_conditioned():
            dense = columns.toarray() if sp.issparse(columns) else columns
            self.q, self.r = la.qr(dense, mode="economic", check_finite=False)

    def well_conditioned(self) -> bool:
        return bool(np.abs(self.r.diagonal() / self.lengths).min() > 1e-4)

    def part(self, kept: NDArray[np.bool_]) -> Support:
        return Support(self.columns[:, kept], self.gram[np.ix_(kept, kept)])

    def least_squares(self, y: Vector, b: Vector) -> Vector:
        """argmin ||columns b - y||, from a guess."""
        left = y - self.columns @ b
        for _ in range(_REFINEMENTS):
            trial = b + self._solve(left)
            rest = y - self.columns @ trial
            if not norm(rest) < norm(left):
                break
            b, left = trial, rest
        return b

    def dual_with(self, target: Vector) -> Vector:
        """The shortest nu with columns.T @ nu = target."""
        nu, left = np.zeros(self.columns.shape[0]), target
        for _ in range(_REFINEMENTS):
            trial = nu + self._solve_transposed(left)
            rest = target - np.asarray(self.columns.T @ trial)
            if not norm(rest) < norm(left):
                break
            nu, left = trial, rest
        return nu

    def _solve(self, r: Vector) -> Vector:
        if self.q is None:
            return np.asarray(la.lapack.dpotrs(self.r, np.asarray(self.columns.T @ r), lower=0)[0])
        return np.asarray(la.lapack.dtrtrs(self.r, self.q.T @ r)[0])

    def _solve_transposed(self, target: Vector) -> Vector:
        if self.q is None:
            return np.asarray(self.columns @ la.lapack.dpotrs(self.r, target, lower=0)[0])
        return np.asarray(self.q @ la.lapack.dtrtrs(self.r, target, trans=1)[0])
