"""The group lasso on a working set: Newton's method on the groups that a step of shrinkage leaves."""

from __future__ import annotations

import numpy as np
import scipy.linalg as la

from hadaflow._types import Mask, Vector
from hadaflow.solvers.groupwise.frame import Face

_ROUNDS = 60
_DROPS = 8  # rounds in which groups that would turn round leave a face
_PARTS = (1.0, 0.5, 0.25, 0.1, 0.03)  # of a Newton step, tried in turn
_DAMPING = (0.0, 1e-2, 1.0)  # of the curvature of each group, tried in turn where columns depend on others
_GRADIENT_STEPS = 10  # where none of them helps
_OVERHEAD = 1e6  # operations in the time that a round of small arrays takes in any case
_EPS = float(np.finfo(np.float64).eps)


class GroupLasso:
    """Minimise ``1/2 <X, G X> - <X, goal> + sum_g penalty_g |X_g|`` over X on a face, G its Gram matrix.

    Parameters
    ----------
    face : Face
        The working set.
    goal : ndarray of shape (C, L)
        What is linear.
    penalty : ndarray of shape (k,)
        Not negative; groups of penalty 0 are part of every answer.

    Attributes
    ----------
    work : float
        Operations so far.
    """

    def __init__(self, face: Face, goal: Vector, penalty: Vector) -> None:
        self.face, self.goal, self.penalty = face, goal, penalty
        self.work = 0.0
        groups = face.groups
        diagonal = groups.sums(face.gram.diagonal())
        mean = diagonal if groups.labels is None else diagonal / groups.sizes
        self._steepness = np.where(mean > 0, mean, 1.0)

    def settle(self, x: Vector, accuracy: float, most: float) -> tuple[Vector, bool]:
        """The minimiser from a guess, and whether it was found with at most so many operations.

        ``accuracy`` bounds what is left of the gradient of a group, relative to the largest penalty.
        """
        face = self.face
        enough = accuracy * float(self.penalty.max(initial=0.0))
        for _ in range(_ROUNDS):
            image = self._image(x)
            shrunk = self._shrunk(x, image, self._steepness)
            left = self._left(x, shrunk)
            if left <= enough:
                return x, True
            on = (face.norms(shrunk) > 0) | (self.penalty == 0)
            moved = self._closer(x, image, left, np.where(face.spread(face.norms(x)) > 0, x, shrunk), on)
            if moved is None:
                moved = self._descended(x)
                if not self._value(moved, self._image(moved)) < self._value(x, image):
                    return x, False
            x = moved
            if self.work > most:
                return x, False
        return x, False

    def _image(self, x: Vector) -> Vector:
        """``G x``, from the rows where x is not zero."""
        on = np.flatnonzero(x[:, 0])
        self.work += _OVERHEAD + 2.0 * len(x) * len(on) * x.shape[1]
        return np.asarray(self.face.gram[:, on] @ x[on] if 2 * len(on) < len(x) else self.face.gram @ x)

    def _value(self, x: Vector, image: Vector) -> float:
        half = 0.5 * float(np.vdot(x, image))
        return half - float(np.vdot(x, self.goal)) + float(self.penalty @ self.face.norms(x))

    def _shrunk(self, x: Vector, image: Vector, steepness: Vector) -> Vector:
        """A gradient step with shrinkage, for this curvature of each group."""
        face = self.face
        z = x - (image - self.goal) / face.spread(steepness)
        size = face.norms(z)
        left = np.maximum(size - self.penalty / steepness, 0.0)
        return np.asarray(z * face.spread(np.divide(left, size, out=np.zeros_like(size), where=size > 0)))

    def _left(self, x: Vector, shrunk: Vector) -> float:
        """What is left of the gradient of a group, at most."""
        return float((self.face.norms(shrunk - x) * self._steepness).max(initial=0.0))

    def _closer(self, x: Vector, image: Vector, left: float, guess: Vector, on: Mask) -> Vector | None:
        """A point of lower value, or of the same to rounding with less of a gradient, by steps more and more damped."""
        for damping in _DAMPING:
            trial = self._newton(guess, on, damping)
            moved = self._lower(x, image, trial)
            if moved is not None:
                return moved
            if self._left(trial, self._shrunk(trial, self._image(trial), self._steepness)) < 0.5 * left:
                return trial
        return None

    def _descended(self, x: Vector) -> Vector:
        """Some gradient steps of a length that cannot fail."""
        bound = np.full_like(self._steepness, float(np.abs(self.face.gram).sum(axis=0).max()))
        for _ in range(_GRADIENT_STEPS):
            x = self._shrunk(x, self._image(x), bound)
        return x

    def _newton(self, x: Vector, on: Mask, damping: float) -> Vector:
        """Where Newton's method leads on a face, from which groups drop that would turn round."""
        full = np.zeros_like(x)
        kept = np.flatnonzero(on)
        for _ in range(_DROPS):
            inside = self.face.inside(kept)
            part = self.face.part(kept)
            here, penalty = x[inside], self.penalty[kept]
            e, size = part.directions(here), part.norms(here)
            curvature = np.divide(penalty, size, out=np.zeros_like(size), where=size > 0)
            slope = self.goal[inside] - part.gram @ here - e * part.spread(penalty)
            end = here + curved(part, curvature, e, slope, damping * part.spread(self._steepness[kept])[:, 0])
            c = float(len(inside))
            self.work += _OVERHEAD + (c**3 / 3 if x.shape[1] == 1 else 2 * c**3) + 6 * c**2 * x.shape[1]
            turned = (part.inner(end, e) <= 0) & (penalty > 0)
            if not turned.any():
                break
            kept = kept[~turned]
        full[inside] = np.where(part.spread(turned.astype(np.float64)) > 0, 0.0, end)
        return full

    def _lower(self, x: Vector, image: Vector, trial: Vector) -> Vector | None:
        """The first part of the way to a trial that lowers the value; it is a parabola and norms along the way."""
        before, way = self._value(x, image), trial - x
        along = self._image(trial) - image
        for part in _PARTS:
            moved = x + part * way
            if self._value(moved, image + part * along) < before - _EPS * abs(before):
                return moved
        return None


def curved(face: Face, curvature: Vector, e: Vector, rhs: Vector, damping: Vector) -> Vector:
    """The d with ``G d + damping d + curvature (d - e <e, d>) = rhs``, G the Gram matrix of a face.

    For one column the matrix is formed. For several it is ``(G + diag(curvature)) (x) I`` less one term of rank one per
    group: a system of all rows, and one of all groups.
    """
    spread = np.asarray(face.groups.spread(curvature))
    if rhs.shape[1] == 1:
        matrix = hessian(face, curvature, e)
        matrix[np.diag_indices(len(matrix))] += damping
        return np.asarray(la.cho_solve(definite(matrix), rhs, check_finite=False))
    matrix = face.gram + np.diag(spread + damping)
    factor = definite(matrix)
    inverse = la.cho_solve(factor, np.eye(len(matrix)), check_finite=False)
    curved_groups = np.flatnonzero(curvature > 0)
    core = np.diag(1 / curvature[curved_groups]) - face.folded(inverse, e)[np.ix_(curved_groups, curved_groups)]
    lu = la.lu_factor(core, check_finite=False)

    def once(r: Vector) -> Vector:
        v = inverse @ r
        q = np.zeros(len(curvature))
        q[curved_groups] = la.lu_solve(lu, face.inner(e, v)[curved_groups], check_finite=False)
        return np.asarray(v + inverse @ (e * face.spread(q)))

    d = once(rhs)
    left = rhs - face.gram @ d - d * damping[:, None] - face.across(d, e) * spread[:, None]
    return d + once(left)


def hessian(face: Face, curvature: Vector, e: Vector) -> Vector:
    """``G + curvature (I - e e^T)``, shape (C, C), for one column."""
    matrix = np.array(face.gram)
    if face.groups.labels is not None:
        spread, (i, j) = face.groups.spread(curvature), face.within
        matrix[i, j] -= spread[i] * e[i, 0] * e[j, 0]
        matrix[np.diag_indices(len(matrix))] += spread
    return matrix


def definite(matrix: Vector) -> tuple[Vector, bool]:
    """Cholesky factor of a positive matrix, with as small a touch on its diagonal as keeps it alive."""
    diagonal = matrix.diagonal().copy()
    for touch in (0.0, 1e-14, 1e-12, 1e-10, 1e-8, 1e-4, 1.0):
        matrix[np.diag_indices(len(matrix))] = diagonal * (1 + touch) + touch * float(diagonal.max(initial=0.0)) * 1e-2
        factor, failed = la.lapack.dpotrf(matrix, lower=1, clean=0)
        if not failed:
            break
    return factor, True
