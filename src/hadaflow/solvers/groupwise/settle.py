"""The group lasso on a working set: Newton's method on the groups that a step of shrinkage leaves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from hadaflow._types import Mask, Vector
from hadaflow.solvers.groupwise.frame import Face

_ROUNDS = 60
_DROPS = 8  # rounds in which groups that would turn round leave a face
_PARTS = (1.0, 0.5, 0.25, 0.1, 0.03)  # of a Newton step, tried in turn
_GRADIENT_STEPS = 10  # where none of them helps
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class GroupLasso:
    """Minimise ``1/2 <X, G X> - <X, goal> + sum_g penalty_g |X_g|`` over X on a face, G its Gram matrix.

    Attributes
    ----------
    face : Face
        The working set.
    goal : ndarray of shape (C, L)
        What is linear.
    penalty : ndarray of shape (k,)
        Not negative; groups of penalty 0 are part of every answer.
    """

    face: Face
    goal: Vector
    penalty: Vector

    def value(self, x: Vector) -> float:
        half = 0.5 * float((x * (self.face.gram @ x)).sum())
        return half - float((x * self.goal).sum()) + float(self.penalty @ self.face.norms(x))

    def settle(self, x: Vector, accuracy: float) -> tuple[Vector, bool]:
        """The minimiser from a guess, and whether it was found.

        ``accuracy`` bounds what is left of the gradient of a group, relative to the largest penalty.
        """
        face = self.face
        enough = accuracy * float(self.penalty.max(initial=0.0))
        for _ in range(_ROUNDS):
            shrunk, steepness = self._shrunk(x)
            if float((face.norms(shrunk - x) * steepness).max(initial=0.0)) <= enough:
                return x, True
            on = (face.norms(shrunk) > 0) | (self.penalty == 0)
            trial = self._newton(np.where(face.spread(face.norms(x) > 0), x, shrunk), on)
            moved = self._lower(x, trial)
            if moved is None:
                moved = x
                for _ in range(_GRADIENT_STEPS):
                    moved = self._shrunk(moved, careful=True)[0]
                if not self.value(moved) < self.value(x):
                    return x, False
            x = moved
        return x, False

    def _shrunk(self, x: Vector, *, careful: bool = False) -> tuple[Vector, Vector]:
        """A gradient step with shrinkage, and the curvature of each group that it assumes."""
        face = self.face
        gradient = face.gram @ x - self.goal
        diagonal = face.groups.sums(face.gram.diagonal())
        if careful:  # a bound on the largest eigenvalue: such a step cannot fail
            diagonal = np.full_like(diagonal, float(np.abs(face.gram).sum(axis=0).max()))
        else:
            sizes = 1 if face.groups.labels is None else face.groups.sizes
            diagonal = diagonal / sizes
        steepness = np.where(diagonal > 0, diagonal, 1.0)
        z = x - gradient / face.spread(steepness)
        size = face.norms(z)
        left = np.maximum(size - self.penalty / steepness, 0.0)
        return z * face.spread(np.divide(left, size, out=np.zeros_like(size), where=size > 0)), steepness

    def _newton(self, x: Vector, on: Mask) -> Vector:
        """Where Newton's method leads on a face, from which groups drop that would turn round."""
        full = np.zeros_like(x)
        kept = np.flatnonzero(on)
        for _ in range(_DROPS):
            inside = self.face.inside(kept)
            part = self.face.part(kept)
            here = x[inside]
            e = part.directions(here)
            penalty = self.penalty[kept]
            size = part.norms(here)
            bend = np.divide(penalty, size, out=np.zeros_like(size), where=size > 0)
            slope = self.goal[inside] - part.gram @ here - e * part.spread(penalty)
            end = here + curved(part, bend, e, slope)
            turned = (part.inner(end, e) <= 0) & (penalty > 0)
            if not turned.any():
                break
            kept = kept[~turned]
        full[inside] = np.where(part.spread(turned), 0.0, end)
        return full

    def _lower(self, x: Vector, trial: Vector) -> Vector | None:
        before = self.value(x)
        for part in _PARTS:
            moved = x + part * (trial - x)
            if self.value(moved) < before - _EPS * abs(before) or part * np.abs(trial - x).max() == 0:
                return moved
        return None


def curved(face: Face, bend: Vector, e: Vector, rhs: Vector) -> Vector:
    """The d with ``G d + bend (d - e <e, d>) = rhs``, G the Gram matrix of a face.

    For one column the matrix is formed. For several it is ``(G + diag(bend)) (x) I`` less one term of rank one per
    group: a system of all rows, and one of all groups.
    """
    spread = np.asarray(face.groups.spread(bend))
    if rhs.shape[1] == 1:
        matrix = np.array(face.gram)
        if face.groups.labels is not None:
            labels = face.groups.labels
            same = labels[:, None] == labels
            matrix -= np.where(same, (e * spread[:, None]) @ e.T, 0.0)
            matrix[np.diag_indices(len(matrix))] += spread
        return la.cho_solve(definite(matrix), rhs, check_finite=False)
    matrix = face.gram + np.diag(spread)
    factor = definite(matrix)
    inverse = la.cho_solve(factor, np.eye(len(matrix)), check_finite=False)
    bent = np.flatnonzero(bend > 0)
    core = np.diag(1 / bend[bent]) - face.folded(inverse, e)[np.ix_(bent, bent)]
    lu = la.lu_factor(core, check_finite=False)

    def once(r: Vector) -> Vector:
        v = inverse @ r
        q = np.zeros(len(bend))
        q[bent] = la.lu_solve(lu, face.inner(e, v)[bent], check_finite=False)
        return v + inverse @ (e * face.spread(q))

    d = once(rhs)
    left = rhs - face.gram @ d - face.across(d, e) * spread[:, None]
    return d + once(left)


def definite(matrix: Vector) -> tuple[Vector, bool]:
    """Cholesky factor of a positive matrix, with as small a touch on its diagonal as keeps it alive."""
    diagonal = matrix.diagonal().copy()
    for touch in (0.0, 1e-14, 1e-12, 1e-10, 1e-8, 1e-4, 1.0):
        matrix[np.diag_indices(len(matrix))] = diagonal * (1 + touch) + touch * float(diagonal.max(initial=0.0)) * 1e-2
        factor, failed = la.lapack.dpotrf(matrix, lower=1, clean=0)
        if not failed:
            break
    return factor, True
