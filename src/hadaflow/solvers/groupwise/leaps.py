"""Leaps along the path of group norms on a working set: implicit steps, each a group lasso, to the end of the path.

A leap of length tau is the group lasso at penalty ``1 / tau``. Longer and longer leaps start from one another. Once the
groups of one carry y, the end of the path is near: X by least squares, the dual state as the one that meets its bounds
there. docs/mathematics.md, "Groups".
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hadaflow._types import Index, Vector
from hadaflow._validation import norm
from hadaflow.results import Progress, ProgressCallback, Status
from hadaflow.solvers.groupwise.ends import Ending, Flat
from hadaflow.solvers.groupwise.frame import Face, Frame
from hadaflow.solvers.groupwise.settle import GroupLasso
from hadaflow.solvers.path.finish import End
from hadaflow.units import UnitProblem

_FIRST = 0.25  # rows of the first working set, relative to those of A
_NEXT = 0.2  # penalty of the next leap, relative to this one's
_LOOSE = 1e-2  # accuracy of a leap
_LAST = 1e-8  # penalty, relative to the first, at which to give up
_ROUNDS = 60
_MANY = 0.8  # rows of X on the face, relative to those of A, beyond which least squares cannot tell
_INSIDE = 1 + 1e-11  # bound, with its rounding, off the face
#: Bounds off the face that the dual state at the end is sought within, and its accuracy.
_PROOFS = ((0.99, 5e-10), (1.0, 1e-10))
_EXTENSIONS = 12
_ASSEMBLIES, _ANYWAY = 3.0, 1.5e8  # of A D A^T, that leaps may take the work of; and operations besides


def leap(unit: UnitProblem, progress: ProgressCallback | None) -> tuple[End, int]:
    """Leap to the minimiser of the gauge; returns the end and the number of leaps.

    ``EXACT`` says that x carries y with a dual state that proves it minimal, as far as rounding lets this be told.
    """
    leaps = _Leaps(Frame(unit), progress)
    with np.errstate(all="ignore"):
        end = leaps.run()
    if end is None:
        x = leaps.frame.whole(leaps.face, leaps.x)
        return End(x, unit.y - unit.operator.matvec(x), Status.NOT_CONVERGED), leaps.count
    nu = np.ascontiguousarray(end.nu).ravel()
    return End(leaps.frame.whole(end.face, end.values), nu, Status.EXACT), leaps.count


@dataclass
class _Leaps:
    """The working set, X on it, and the work done."""

    frame: Frame
    progress: ProgressCallback | None
    count: int = 0
    work: float = 0.0
    face: Face = field(init=False)
    x: Vector = field(init=False)

    def __post_init__(self) -> None:
        frame = self.frame
        m, n = frame.shape
        self.sizes = frame.unit.gauge.groups.norms(frame.unit.correlation)
        order = np.argsort(-self.sizes, kind="stable")
        rows = np.cumsum(np.bincount(frame.group_of, minlength=frame.count)[order])
        first = max(1, int(np.searchsorted(rows, _FIRST * m)))
        self.face = frame.face(order[:first])
        self.x = np.zeros((len(self.face.index), frame.columns))
        self.most = _ASSEMBLIES * (float(m) * m * n + float(m) ** 3) + _ANYWAY

    def run(self) -> Ending | None:
        frame = self.frame
        top = float(self.sizes.max())
        penalty = _NEXT * top
        for _ in range(_ROUNDS):
            lasso = GroupLasso(self.face, self.face.correlation, np.full(len(self.face.chosen), penalty))
            self.x, settled = lasso.settle(self.x, _LOOSE, self.most - self.work)
            self.work += lasso.work
            residual = frame.target - self.face.block @ self.x
            norms = frame.dual_norms(residual)
            self._count(residual)
            active = np.flatnonzero(self.face.norms(self.x) > 0)
            if not settled or len(self.face.inside(active)) > _MANY * frame.shape[0] or self.work > self.most:
                return None
            end = self._finished(active, residual, penalty)
            if end is not None:
                return end
            new = self._outside(norms, penalty, max(20, 2 * len(active)))
            self._extend(new)
            if len(new) <= 0.3 * len(active) + 2:
                penalty *= _NEXT
            if penalty < _LAST * top:
                return None
        return None

    def _outside(self, norms: Vector, bound: float, most: int) -> Index:
        """Groups beyond a bound that are not in the working set, the farthest first."""
        norms = np.array(norms)
        norms[self.face.chosen] = 0.0
        beyond = np.flatnonzero(norms > bound)
        return beyond[np.argsort(-norms[beyond], kind="stable")][:most]

    def _extend(self, new: Index) -> None:
        if len(new) == 0:
            return
        self.face = self.face.with_groups(new)
        more = len(self.face.index) - len(self.x)
        self.x = np.vstack([self.x, np.zeros((more, self.frame.columns))])
        self.work += 2.0 * self.frame.shape[0] * more * len(self.face.index)

    def _count(self, residual: Vector) -> None:
        self.count += 1
        if self.progress is not None:
            self.progress(Progress("leaps", None, f"{self.count} leaps, residual {norm(residual):.1e}"))

    # ---- the end -------------------------------------------------------------------------------------------

    def _finished(self, active: Index, residual: Vector, penalty: float) -> Ending | None:
        """The end of the path, if its groups are among these."""
        flat = Flat.of(self.face.part(active)) if len(active) else None
        if flat is None:
            return None
        nu = flat.on_bounds(np.zeros_like(self.frame.target))
        if self._inside(flat, nu):
            return Ending(flat.face, flat.values, nu)
        return self._endless(flat, penalty)

    def _inside(self, flat: Flat, nu: Vector) -> bool:
        norms = self.frame.dual_norms(nu)
        norms[flat.face.chosen] = 0.0
        return float(norms.max(initial=0.0)) <= _INSIDE

    def _endless(self, flat: Flat, penalty: float) -> Ending | None:
        """A leap of infinite length, whose groups are those of X: its dual state is ``-A V``.

        V minimises ``1/2 ||A V||^2`` plus the slope of the norm at X along V, where groups of X may go any way.
        """
        v = np.zeros_like(self.x)
        pinned = np.isin(self.face.chosen, flat.face.chosen)
        v[self._rows_of(flat)] = (self.x[self._rows_of(flat)] - flat.values) / penalty
        for bound, accuracy in _PROOFS:
            for _ in range(_EXTENSIONS):
                goal = np.zeros_like(self.x)
                goal[self._rows_of(flat)] = -flat.e
                pinned = np.isin(self.face.chosen, flat.face.chosen)
                lasso = GroupLasso(self.face, goal, np.where(pinned, 0.0, bound))
                v, settled = lasso.settle(v, accuracy, self.most - self.work)
                self.work += lasso.work
                if not settled or self.work > self.most:
                    return None
                nu = -self.face.block @ v
                most = max(20, 2 * len(flat.face.chosen))
                new = self._outside(self.frame.dual_norms(nu), bound * (1 + accuracy), most)
                if len(new) == 0:
                    break
                self._extend(new)
                v = np.vstack([v, np.zeros((len(self.x) - len(v), v.shape[1]))])
            nu = flat.on_bounds(nu)
            if self._inside(flat, nu):
                return Ending(flat.face, flat.values, nu)
        return None

    def _rows_of(self, flat: Flat) -> Index:
        """The rows of the face of X, as places of the working set."""
        places = np.flatnonzero(np.isin(self.face.chosen, flat.face.chosen))
        return self.face.inside(places)
