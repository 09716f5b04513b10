"""Exact ends of many saddle paths, and nearest points: x and dual vectors free of the rounding of the walk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hadaflow._types import Index, Mask, Vector
from hadaflow.certificates import Supports, alike_in_size
from hadaflow.solvers.together.system import System
from hadaflow.solvers.together.walk import Walked

_EPS = float(np.finfo(np.float64).eps)
_LENGTHS = (1.0, 0.5, 0.25, 0.125, 1 / 32, 1 / 128, 0.0)  # of a step inside, tried in turn
_TOUCHING, _NEAR = 1 - 1e-6, 0.9  # dual coordinates on their bounds, and those that are moved inside with them
_CORRELATED = 16.0  # correlation with the residual, in units of rounding, at which x is not the nearest
_PIVOT = 1e-12  # of unit columns, below which orthogonal factors say nothing for sure
_WELL_CONDITIONED = 1e-8  # eigenvalue of a Gram matrix of unit columns, below which normal equations lose digits
_REACHED = 1e-9  # of y outside the range of A, which counts as more than rounding
_RANK = 1e-13


class Ends(NamedTuple):
    """Answers in units of the system, which of them were found, and which are surely the only nearest points."""

    x: Vector
    nu: Vector
    found: Mask
    only: Mask

    def part(self, good: Mask) -> Ends:
        """Some of them."""
        return Ends(self.x[good], self.nu[good], self.found[good], self.only[good])


def finish(system: System, y: Vector, walked: Walked, *, exact: bool) -> Ends:
    """x and dual vectors recomputed from the supports of the ends of walks, entries that are rounding dropped."""
    x, nu, found = np.zeros_like(walked.x), walked.nu.copy(), np.ones(len(y), dtype=bool)
    for few in alike_in_size(walked.active):
        x[few], nu[few], found[few] = _finished(system, y[few], walked.part(few), exact)
    return Ends(x, nu, found, np.zeros(len(y), dtype=bool))


def _finished(system: System, y: Vector, walked: Walked, exact: bool) -> tuple[Vector, Vector, Mask]:
    active, signs = walked.active, np.sign(walked.x)
    if not active.any():
        return walked.x, walked.nu, np.ones(len(y), dtype=bool)
    supports = Supports(system.unit, active)
    x = supports.put(supports.least_squares(y))  # times lengths
    signs = np.where(signs == 0, np.sign(x), signs)
    terms = 1 + np.abs(x).sum(axis=1)
    rounding = 10 * np.maximum(1e-14, 8 * _EPS * terms) if exact else np.zeros(len(x))
    spare = active & ((x * signs <= 0) | (np.abs(x) <= rounding[:, None]))
    again = np.flatnonzero(spare.any(axis=1) & (active & ~spare).any(axis=1))
    if len(again):
        smaller = Supports(system.unit, active[again] & ~spare[again])
        x[again] = smaller.put(smaller.least_squares(y[again]))
    lengths = np.where(system.lengths > 0, system.lengths, 1.0)
    nu = supports.moved_to(walked.nu, supports.take(signs / lengths))
    return x / lengths, _moved_inside(system, nu, active & ~spare), supports.smallest > _WELL_CONDITIONED


def _moved_inside(system: System, nu: Vector, support: Mask) -> Vector:
    """Move dual vectors off the bounds of coordinates that carry nothing, as far as the others allow.

    As at the end of a single path: what is near its bound is pulled inside together, the support stays where it is.
    """
    theta = np.where(support, 0.0, nu @ system.columns)
    sizes = np.maximum(theta, 0.0) if system.positive else np.abs(theta)
    touching = np.flatnonzero((sizes > _TOUCHING).any(axis=1))
    if not len(touching):
        return nu
    nu, sizes, theta, support = nu.copy(), sizes[touching], theta[touching], support[touching]
    room = max(1, min(sizes.shape[1], nu.shape[1] - int(support.sum(axis=1).max())) // 2)
    near = sizes >= np.maximum(_NEAR, np.partition(sizes, -room, axis=1)[:, -room])[:, None]
    lengths = np.where(system.lengths > 0, system.lengths, 1.0)
    for few in alike_in_size(support | near):
        supports = Supports(system.unit, support[few] | near[few])
        goal = np.where(near[few], (0.8 * np.sign(theta[few]) - theta[few]) / lengths, 0.0)
        step = supports.moved_to(np.zeros((len(few), nu.shape[1])), supports.take(goal))
        change = step @ system.columns
        best, top = np.zeros(len(few)), np.full(len(few), np.inf)
        sound = supports.smallest > _WELL_CONDITIONED
        for length in _LENGTHS:
            moved = theta[few] + length * change
            moved = np.where(support[few], 0.0, moved if system.positive else np.abs(moved)).max(axis=1)
            best, top = np.where(moved < top, length, best), np.minimum(moved, top)
        nu[touching[few]] += (best * sound)[:, None] * step
    return nu


# ---- nearest points ----------------------------------------------------------------------------------------


def out_of_range(system: System, y: Vector) -> Mask:
    """Which right-hand sides are surely not in the range of A."""
    u, sizes, _ = np.linalg.svd(system.columns, full_matrices=False)
    u = u[:, sizes > _RANK * sizes.max(initial=0.0)]
    if u.shape[1] >= y.shape[1]:
        return np.zeros(len(y), dtype=bool)
    rest = y - (y @ u) @ u.T
    rest = rest - (rest @ u) @ u.T
    return np.asarray(np.einsum("ij,ij->i", rest, rest) > _REACHED**2 * np.einsum("ij,ij->i", y, y))


def nearest_in_cone(system: System, y: Vector) -> Ends:
    """Non-negative least squares: supports by Lawson and Hanson's method, all else afresh on these."""
    from scipy.optimize import nnls  # not at import: nothing else needs it

    def supported(each: Vector) -> Vector:
        try:
            return np.asarray(nnls(system.columns, each)[0])
        except RuntimeError:  # too many steps
            return np.full(len(system.rows), np.nan)

    x = np.array([supported(each) for each in y])
    found = np.isfinite(x).all(axis=1)
    x[~found] = 0.0
    return _on_supports(system, y, x > 0, found)


def nearest_in_range(system: System, y: Vector) -> Ends:
    """Least squares on all columns, which have to be independent."""
    return _on_supports(system, y, np.ones((len(y), len(system.rows)), dtype=bool), np.ones(len(y), dtype=bool))


def _on_supports(system: System, y: Vector, on: Mask, found: Mask) -> Ends:
    x, nu, found = np.zeros(on.shape), np.zeros_like(y), found & on.any(axis=1) & (on.sum(axis=1) <= y.shape[1])
    magnitudes, nonempty, only = np.abs(system.columns), np.flatnonzero(found), found.copy()
    for part in alike_in_size(on[nonempty]):
        few: Index = nonempty[part]
        supports = Supports(system.unit, on[few])
        x[few] = supports.put(supports.fitted(y[few]))
        sound = supports.smallest_pivot > _PIVOT
        terms = 1 + np.abs(x[few]).sum(axis=1)
        sound &= (~on[few] | (np.abs(x[few]) > 8 * _EPS * terms[:, None])).all(axis=1)  # or they may be rounding
        residual = supports.project_out(y[few])
        lengths = np.where(system.lengths > 0, system.lengths, 1.0)
        nu[few] = supports.shortest_dual(supports.take(np.sign(x[few]) / lengths))
        if system.positive:
            sound &= (~on[few] | (x[few] > 0)).all(axis=1)
            correlation = np.where(on[few], 0.0, residual @ system.columns)
            rounding = _CORRELATED * _EPS * (np.abs(residual) @ magnitudes)
            sound &= (correlation <= rounding).all(axis=1)
            only[few] &= (on[few] | (correlation < -rounding)).all(axis=1)  # else others might join at no cost
            nu[few] = _brought_inside(system, nu[few], residual, on[few])
        found[few] &= sound
        only[few] &= sound & (supports.smallest_pivot > _WELL_CONDITIONED)
    lengths = np.where(system.lengths > 0, system.lengths, 1.0)
    return Ends(x / lengths, nu, found, only)


def _brought_inside(system: System, nu: Vector, residual: Vector, on: Mask) -> Vector:
    """As much of the residual added as brings dual coordinates off the support inside their bounds."""
    correlation = np.where(on, 0.0, residual @ system.columns)
    beyond = np.where(on, 0.0, nu @ system.columns - 1)
    over = (beyond > 0) & (correlation < 0)
    ratio = np.divide(beyond, -correlation, out=np.zeros_like(beyond), where=over).max(axis=1)
    return np.asarray(nu + 2 * ratio[:, None] * residual)


def shorter_duals(system: System, y: Vector, x: Vector) -> Vector:
    """Dual vectors of non-negative least squares about as short as can be: long ones leave a proof few digits.

    The shortest nu with ``B_i^T nu >= 1`` on the support of x and ``B_i^T nu <= 1`` everywhere, by non-negative least
    squares (Lawson and Hanson 1974, chapter 23, "least distance programming"), brought back onto its bounds.
    """
    from scipy.optimize import nnls

    on, target = x > 0, np.append(np.zeros(y.shape[1]), 1.0)
    nu = np.zeros_like(y)
    for k, support in enumerate(on):
        sides = np.hstack([system.columns[:, support], -system.columns])
        sides = np.vstack([sides, np.append(np.ones(int(support.sum())), -np.ones(len(support)))])
        try:
            rest = target - sides @ nnls(sides, target)[0]
        except RuntimeError:
            continue
        nu[k] = -rest[:-1] / rest[-1] if rest[-1] != 0 else 0.0
    supports = Supports(system.unit, on)
    aim = supports.take(1.0 / np.where(system.lengths > 0, system.lengths, 1.0))
    for _ in range(2):
        nu = nu + supports.shortest_dual(aim - supports.correlate(nu))
    return _brought_inside(system, nu, supports.project_out(y), on)
