"""The exact end on a face: least squares where its columns are independent, else Newton on the stationarity equations.

Unknowns are X on the face and the dual state N: ``A_S X = Y`` and ``A_S^T N = X_g / |X_g|`` in every group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la

from hadaflow._types import Vector
from hadaflow._validation import norm
from hadaflow.solvers.groupwise.frame import Face
from hadaflow.solvers.groupwise.settle import definite

_SAFE = 1e-5  # smallest pivot of a Gram matrix of unit columns whose normal equations lose no digits that matter
_TINY = 1e-11  # norm of a group, relative to the largest, that is rounding
_NEWTON = 30
_CONVERGED = 1e-13  # equations off by so much, relative, hold
_GOOD = 1e-11  # where they stop getting better, so much will do
_FALLEN = 1e-2  # norm of a group, relative to the largest, below which it may leave the face
_RANK = 1e-10  # of pivots: rows that others span


@dataclass(frozen=True, eq=False)
class Ending:
    """X on a face, and a dual state that meets its bounds there."""

    face: Face
    values: Vector
    nu: Vector


class Flat:
    """A face of independent columns: one X carries Y, found by least squares.

    Attributes
    ----------
    face : Face
        The groups left; those of rounding size are dropped.
    values : ndarray of shape (C, L)
        X.
    e : ndarray of shape (C, L)
        Its directions.
    """

    def __init__(self, face: Face, values: Vector, factor: Vector, lengths: Vector) -> None:
        self.face, self.values = face, values
        self.e = face.directions(values)
        self._factor, self._lengths = factor, lengths

    @classmethod
    def of(cls, face: Face) -> Flat | None:
        """Least squares on a face; None if its columns are nearly dependent, or X does not carry Y."""
        for _ in range(3):
            factored = _unit_factor(face)
            if factored is None:
                return None
            flat = cls(face, np.zeros_like(face.correlation), *factored)
            values = flat._coefficients(face.correlation)
            for _ in range(2):
                left = face.frame.target - face.block @ values
                values = values + flat._coefficients(face.block.T @ left)
            if norm(face.frame.target - face.block @ values) > face.frame.rounding:
                return None
            size = face.norms(values)
            kept = np.flatnonzero(size > _TINY * float(size.max(initial=0.0)))
            if len(kept) == len(size):
                return cls(face, values, *factored)
            face = face.part(kept)
        return None

    def on_bounds(self, nu: Vector) -> Vector:
        """A dual state moved as little as possible to where it meets its bounds on the face."""
        for _ in range(2):
            nu = nu + self.face.block @ self._coefficients(self.e - self.face.block.T @ nu)
        return nu

    def _coefficients(self, correlation: Vector) -> Vector:
        lengths = self._lengths[:, None]
        return np.asarray(la.lapack.dpotrs(self._factor, correlation / lengths, lower=1)[0] / lengths)


def _unit_factor(face: Face) -> tuple[Vector, Vector] | None:
    """Cholesky factor of the Gram matrix of columns of unit length, and these lengths."""
    m, _ = face.frame.shape
    lengths = np.sqrt(face.gram.diagonal())
    if not 0 < len(lengths) <= m or not lengths.all():
        return None
    factor, failed = la.lapack.dpotrf(face.gram / lengths / lengths[:, None], lower=1, clean=0)
    return None if failed or float(factor.diagonal().min()) < _SAFE else (factor, lengths)


def stationary(face: Face, values: Vector, nu: Vector) -> Ending | None:
    """Newton's method on the stationarity equations from a state close by; None if it does not lead to an end."""
    with np.errstate(all="ignore"):
        return _Stationary(face, values, nu).solve()


class _Stationary:
    """The state of Newton's method, in an orthonormal basis of the range of ``A_S`` if its rows are dependent."""

    def __init__(self, face: Face, values: Vector, nu: Vector) -> None:
        self.face, self.values, self.nu = face, values, nu
        self.basis: Vector | None = None
        self._choose_rows()

    def _choose_rows(self) -> None:
        """Rows of ``A_S`` are replaced by a basis of its range where there are more of them than it has rank."""
        m, count = self.face.block.shape
        self.block, self.target = self.face.block, self.face.frame.target
        self.basis = None
        if count == 0 or (count >= m and _independent_rows(self.block)):
            return
        q, r, _ = la.qr(self.block, mode="economic", pivoting=True, check_finite=False)
        pivots = np.abs(r.diagonal())
        rank = int(np.count_nonzero(pivots > _RANK * float(pivots.max(initial=0.0))))
        if rank < m:
            self.basis = q[:, :rank]
            self.block, self.target = self.basis.T @ self.block, self.basis.T @ self.target

    def solve(self) -> Ending | None:
        best, stalled = np.inf, 0
        for _ in range(_NEWTON):
            error = self._measure()
            if not np.isfinite(error):
                return None
            if error <= _CONVERGED or (stalled >= 2 and best <= _GOOD):
                return self._ending()
            stalled = stalled + 1 if error > 0.5 * best else 0
            best = min(best, error)
            if stalled > 6 or not self._step():
                return None
        return self._ending() if self._measure() <= _GOOD else None

    def _measure(self) -> float:
        face = self.face
        self.e = face.directions(self.values)
        self.off_bounds = face.block.T @ self.nu - self.e
        self.gap = self.target - self.block @ self.values
        size = norm(self.target) or 1.0
        return max(norm(self.gap) / size, float(face.norms(self.off_bounds).max(initial=0.0)))

    def _step(self) -> bool:
        """One Newton step, shortened where a group would turn round; False if it cannot be had."""
        face, e = self.face, self.e
        radius = face.norms(self.values)
        radial = face.inner(e, self.off_bounds)
        tangential = face.across(self.off_bounds, e)
        spread = face.spread(radius)
        half = self.block * np.sqrt(spread[:, 0])
        lower, _ = definite(half @ half.T)
        f = self.gap - self.block @ (spread * (tangential + e * face.spread(radial)))
        if e.shape[1] == 1:  # A_g e_g are single columns then
            solved = la.lapack.dtrtrs(lower, face.groups.fold(self.block, e[:, 0]), lower=1)[0]
            schur = solved.T @ solved
            right = solved.T @ la.lapack.dtrtrs(lower, f[:, 0], lower=1)[0] + radial
        else:
            solved = la.lapack.dtrtrs(lower, self.block, lower=1)[0]
            schur = face.folded(solved.T @ solved, e)
            right = face.inner(e, solved.T @ la.lapack.dtrtrs(lower, f, lower=1)[0]) + radial
        t = _shortest(schur, right, min(len(right), self.target.size))
        moved = la.cho_solve((lower, True), f - self.block @ (e * face.spread(t)), check_finite=False)
        change = e * face.spread(t) + spread * face.across(self.off_bounds + self.block.T @ moved, e)
        ahead = face.inner(e, self.values + change)
        falling = (ahead <= 0) & (radius < _FALLEN * float(radius.max(initial=0.0)))
        if falling.any():
            kept = np.flatnonzero(~falling)
            if len(kept) == 0:
                return False
            inside = face.inside(kept)
            self.face, self.values = face.part(kept), self.values[inside]
            self._choose_rows()
            return True
        along = face.inner(e, change)
        length = min(1.0, 0.9 * float((-radius[along < 0] / along[along < 0]).min(initial=np.inf)))
        self.values = self.values + length * change
        self.nu = self.nu + length * (moved if self.basis is None else self.basis @ moved)
        return bool(np.isfinite(self.values).all())

    def _ending(self) -> Ending | None:
        """The end, if X carries all of Y and not only what the range of ``A_S`` has of it."""
        left = self.face.frame.target - self.face.block @ self.values
        return Ending(self.face, self.values, self.nu) if norm(left) <= self.face.frame.rounding else None


def _shortest(matrix: Vector, rhs: Vector, rank: int) -> Vector:
    """The shortest solution of a system with a positive matrix of at most this rank, which may be singular."""
    if rank == len(rhs):
        factor, failed = la.lapack.dpotrf(matrix, lower=1, clean=0)
        if not failed and float(factor.diagonal().min()) > _SAFE * float(factor.diagonal().max()):
            return np.asarray(la.lapack.dpotrs(factor, rhs, lower=1)[0])
    eigenvalues, axes = la.eigh(matrix, check_finite=False)
    kept = eigenvalues > max(_RANK, len(rhs) * 1e-15) * float(eigenvalues[-1])
    return np.asarray(axes[:, kept] @ ((axes.T @ rhs)[kept] / eigenvalues[kept]))


def _independent_rows(block: Vector) -> bool:
    """Whether rows, brought to unit length, are independent by far."""
    gram = block @ block.T
    length = np.sqrt(gram.diagonal())
    if not length.all():
        return False
    unit = gram / length / length[:, None]
    unit[np.diag_indices(len(unit))] -= _RANK
    return bool(la.lapack.dpotrf(unit, lower=1, clean=0, overwrite_a=1)[1] == 0)
