"""Group lassos at one penalty after the other, each solved exactly on a working set from where the last one ended.

They are the implicit steps that leaps are made of; for noisy data the path of their answers is what is read off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from hadaflow._types import Index, Vector
from hadaflow.solvers.groupwise.frame import Face, Frame
from hadaflow.solvers.groupwise.settle import GroupLasso, definite, hessian

#: Accuracies: of a path, and of a point of it that is read off.
ROUGH, FINE = 1e-4, 1e-7
_ROUNDS = 40
_RANK = 1e-10  # singular values that are rounding


@dataclass(frozen=True, eq=False)
class LassoPoint:
    """The group lasso at one penalty, in units of the frame.

    Attributes
    ----------
    penalty : float
        Of the norms.
    face : Face
        Its groups, all of them not zero.
    values : ndarray of shape (C, L)
        X there.
    residual : ndarray of shape (m, L)
        ``Y - A X``.
    settled : bool
        Whether it was found to full accuracy.
    """

    penalty: float
    face: Face
    values: Vector
    residual: Vector
    settled: bool

    @property
    def freedom(self) -> float:
        """Degrees of freedom: the trace of the derivative of ``A X`` with respect to Y.

        The derivative is ``A_S (A_S^T A_S + T)^-1 A_S^T`` with ``T_g = penalty / |X_g| (I - e e^T)``.
        """
        face, columns = self.face, self.values.shape[1]
        if len(face.index) == 0:
            return 0.0
        e, curvature = face.directions(self.values), self.penalty / face.norms(self.values)
        if columns == 1:
            inverse = la.lapack.dpotri(definite(hessian(face, curvature, e))[0], lower=1)[0]
            return float(2 * np.vdot(np.tril(inverse), face.gram) - inverse.diagonal() @ face.gram.diagonal())
        matrix = face.gram + np.diag(face.groups.spread(curvature))
        inverse = la.cho_solve(definite(matrix), np.eye(len(matrix)), check_finite=False)
        fitted = inverse @ face.gram
        core = np.diag(1 / curvature) - face.folded(inverse, e)
        radial = la.lstsq(core, face.folded(fitted @ inverse, e), cond=_RANK, check_finite=False)[0]
        return float(columns * np.trace(fitted) + np.trace(radial))


class PenalisedPath:
    """The working set, and X on it.

    Parameters
    ----------
    frame : Frame
        The problem of unit size.

    Attributes
    ----------
    first : float
        The penalty at which the first group comes in.
    """

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        sizes = frame.unit.gauge.groups.norms(frame.unit.correlation)
        self.first = float(sizes.max(initial=0.0))
        self._face = frame.face(np.flatnonzero(sizes >= 0.9 * self.first)[:1])
        self._x = np.zeros((len(self._face.index), frame.columns))

    def at(self, penalty: float, accuracy: float = ROUGH) -> LassoPoint:
        """The group lasso at a penalty; about one product with A for each time that groups join the working set.

        ``accuracy`` bounds what is left of the gradient of a group, relative to the penalty.
        """
        frame = self._frame
        for _ in range(_ROUNDS):
            face = self._face
            lasso = GroupLasso(face, face.correlation, np.full(len(face.chosen), penalty))
            self._x, settled = lasso.settle(self._x, accuracy, np.inf)
            residual = frame.target - face.block @ self._x
            new = self._outside(residual, penalty * (1 + accuracy))
            if len(new) == 0:
                break
            self._extend(new)
        active = np.flatnonzero(self._face.norms(self._x) > 0)
        inside = self._face.inside(active)
        return LassoPoint(penalty, self._face.part(active), self._x[inside], residual, settled and len(new) == 0)

    def _outside(self, residual: Vector, penalty: float) -> Index:
        sizes = np.array(self._frame.dual_norms(residual))
        sizes[self._face.chosen] = 0.0
        return np.flatnonzero(sizes > penalty)

    def _extend(self, new: Index) -> None:
        self._face = self._face.with_groups(new)
        more = len(self._face.index) - len(self._x)
        self._x = np.vstack([self._x, np.zeros((more, self._frame.columns))])
