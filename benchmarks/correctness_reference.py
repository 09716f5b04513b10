"""References for small problems: HiGHS and Lawson-Hanson, polished in extended precision.

That is ``numpy.longdouble``, which has 64 bits of mantissa on x86. Nothing here imports the library.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog, nnls

Long = np.longdouble
Array = np.ndarray

EPS = float(np.finfo(np.float64).eps)
_TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
EXTENDED = float(np.finfo(Long).eps) < 1e-18  # whether this machine can be a judge


@dataclass(frozen=True, eq=False)
class Face:
    """A linear programme ``min w'|x|, A x = y`` (x >= 0 if positive), rows and columns in units of their own.

    Attributes
    ----------
    A, y, w : ndarray of longdouble
        The data in the units of the caller.
    positive : bool
        Whether x >= 0.
    """

    A: Array
    y: Array
    w: Array
    positive: bool

    def reach(self, dual: Array) -> Array:
        """``A^T dual / w``, which has to stay below 1 (in modulus, for signed x)."""
        return np.asarray(self.A.T @ dual / self.w)

    def top(self, dual: Array) -> Long:
        q = self.reach(dual)
        return Long((q if self.positive else np.abs(q)).max())


@dataclass(frozen=True, eq=False)
class Reference:
    """A short solution and a proof of how short a solution can be.

    Attributes
    ----------
    x : ndarray or None
        The shortest point found that fits every row to its rounding; None if none was found.
    norm : float
        ``w'|x|``; infinite if there is none.
    lower : float
        No solution is shorter, proved by ``dual``.
    dual : ndarray
        Scaled so that its reach is at most 1.
    """

    x: Array | None
    norm: float
    lower: float
    dual: Array

    @property
    def closed(self) -> bool:
        """Whether norm and bound agree to nine digits: then the shortest norm is known."""
        return self.x is not None and self.norm - self.lower <= 1e-9 * self.norm

    @property
    def state(self) -> str:
        """``closed``, ``open`` (a solution whose norm may not be the smallest) or ``none``."""
        return "none" if self.x is None else "closed" if self.closed else "open"


def power_of_two(size: Array) -> Array:
    """The power of two next below, 1 for 0."""
    return np.where(size > 0, np.ldexp(Long(1), np.frexp(np.where(size > 0, size, 1))[1] - 1), Long(1))


def row_rounding(A: Array, x: Array, y: Array) -> Array:
    """What rounding of each row explains: ``eps (|a_j| |x| + |y_j|)``, eps of float64."""
    return np.asarray(EPS * (np.abs(A) @ np.abs(x) + np.abs(y)))


def row_excess(A: Array, x: Array, y: Array, size: Array | None = None) -> float:
    """The largest residual of a row in units of its rounding; of no more than a point of that size has, if given."""
    residual, rounding = np.abs(A @ x - y), row_rounding(A, x, y)
    if size is not None:
        rounding = np.minimum(rounding, row_rounding(A, size, y))
    worst = np.where(residual > 0, residual / np.where(rounding > 0, rounding, 1e-300), 0)
    return float(worst.max(initial=0))


def least_squares(A: Array, b: Array, tolerance: float = 1e-17) -> Array:
    """A basic least-squares solution: Householder QR with sorted rows and pivoted columns, refined twice."""
    m, n = A.shape
    unit = power_of_two(np.abs(A).max(axis=0, initial=0))
    order = np.argsort(-np.abs(A / unit).max(axis=1, initial=0), kind="stable")
    R, right = (A / unit)[order].copy(), b[order].copy()
    columns, reflectors, rank = np.arange(n), [], 0
    first = Long(0)
    for k in range(min(m, n)):
        lengths = np.sqrt((R[k:, k:] ** 2).sum(axis=0))
        j = k + int(lengths.argmax())
        first = max(first, lengths.max())
        if lengths.max() <= tolerance * first:
            break
        R[:, [k, j]], columns[[k, j]] = R[:, [j, k]], columns[[j, k]]
        v = R[k:, k].copy()
        v[0] += np.copysign(np.sqrt(v @ v), v[0])
        v /= np.sqrt(v @ v)
        R[k:, k:] -= 2 * np.outer(v, v @ R[k:, k:])
        reflectors.append(v)
        rank = k + 1

    def solve(right: Array) -> Array:
        right = right.copy()
        for k, v in enumerate(reflectors):
            right[k:] -= 2 * v * (v @ right[k:])
        z = np.zeros(n, dtype=Long)
        for k in reversed(range(rank)):
            z[columns[k]] = (right[k] - R[k, k + 1 : rank] @ z[columns[k + 1 : rank]]) / R[k, k]
        return z

    z = solve(right)
    for _ in range(2):
        z = z + solve((b - A @ (z / unit))[order])
    return np.asarray(z / unit)


def shortest(A: Array, y: Array, w: Array | None = None, *, positive: bool = False) -> Reference:
    """The shortest solution of ``A x = y``, and the proof that it is, by as many linear programmes as it takes."""
    A, y = A.astype(Long), y.astype(Long)
    face = Face(A, y, np.ones(A.shape[1], dtype=Long) if w is None else w.astype(Long), positive)
    if not y.any():
        return Reference(np.zeros(A.shape[1], dtype=Long), 0.0, 0.0, 0 * y)
    best = Reference(None, np.inf, 0.0, 0 * y)
    for balanced, presolve in ((False, True), (True, True), (True, False), (False, False)):
        for x, dual in _optima(face, balanced=balanced, presolve=presolve):
            best = _better(face, best, x, dual)
            if best.closed:
                return best
    return best


def _optima(face: Face, *, balanced: bool, presolve: bool) -> Iterator[tuple[Array, Array]]:
    """x and dual by HiGHS, each row and column in its own unit, then refined; none where it has no optimum."""
    unit = 1 / power_of_two(face.w)
    A = face.A * unit
    row = 1 / power_of_two(np.abs(A).max(axis=1, initial=0))
    for _ in range(6 if balanced else 0):
        column = 1 / power_of_two(_middle(A * row[:, None], 0))
        row = row / power_of_two(_middle(A * column * row[:, None], 1))
        unit, A = unit * column, A * column
    A, y = A * row[:, None], face.y * row
    size = power_of_two(np.abs(y).max())
    cost = face.w * unit
    price = power_of_two(cost.max())
    n = A.shape[1]
    if not face.positive:
        A, cost = np.hstack([A, -A]), np.concatenate([cost, cost])
    for z, nu in _refined(A, y / size, cost / price, presolve=presolve):
        x = z if face.positive else z[:n] - z[n:]
        yield x * unit * size, nu * row * price


def _refined(A: Array, b: Array, c: Array, *, presolve: bool, rounds: int = 8) -> Iterator[tuple[Array, Array]]:
    """Solve ``min c'z, A z = b, z >= 0`` again and again for what the last solution left over, magnified.

    Gleixner, Steffy and Wolter 2016, "Iterative refinement for linear programming".
    """
    z, nu = np.zeros(A.shape[1], dtype=Long), np.zeros(len(b), dtype=Long)
    zoom, price_zoom = Long(1), Long(1)
    A64 = A.astype(float)
    for _ in range(rounds):
        floor = np.maximum(-zoom * z, -1e25)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            solved = linprog(
                (price_zoom * (c - A.T @ nu)).astype(float),
                A_eq=A64,
                b_eq=(zoom * (b - A @ z)).astype(float),
                bounds=[(low, None) for low in floor.astype(float)],
                method="highs-ds",
                options=_TIGHT | {"presolve": presolve},
            )
        if solved.status != 0 or solved.x is None:
            return
        z = np.maximum(z + solved.x.astype(Long) / zoom, 0)
        nu = nu + solved.eqlin.marginals.astype(Long) / price_zoom
        yield z, nu
        left = np.abs(b - A @ z).max()
        lifted = np.maximum(-(c - A.T @ nu), 0).max()
        zoom = min(power_of_two(1 / max(left, Long(1e-18))), 1e6 * zoom)
        price_zoom = min(power_of_two(1 / max(lifted, Long(1e-18))), 1e6 * price_zoom)


def _middle(A: Array, axis: int) -> Array:
    """The geometric mean of the largest and the smallest entry of each row or column, zeros left out."""
    size = np.abs(A)
    largest = size.max(axis=axis, initial=0)
    smallest = np.where(size > 0, size, np.inf).min(axis=axis, initial=np.inf)
    return np.sqrt(largest * np.where(largest > 0, smallest, 0))


def _better(face: Face, best: Reference, x: Array, dual: Array) -> Reference:
    """The better of what is known and what this optimum becomes once it is polished."""
    x_best, norm = best.x, best.norm
    rows = np.inf if x_best is None else row_excess(face.A, x_best, face.y)
    for z in _polished_points(face, x):
        length, excess = float(face.w @ np.abs(z)), row_excess(face.A, z, face.y)
        as_short = length <= norm * (1 + 1e-12)
        if excess <= 16 and (length < norm * (1 - 1e-12) or (as_short and excess < rows)):
            x_best, norm, rows = z, length, excess
    lower, dual_best = best.lower, best.dual
    for nu in _polished_duals(face, dual):
        top = face.top(nu)
        if top > 0 and (bound := float(face.y @ nu / top)) > lower:
            lower, dual_best = bound, nu / top
    return Reference(x_best, norm, lower, dual_best)


def _polished_points(face: Face, x: Array) -> list[Array]:
    """The point on its support, solved again; entries below several thresholds are left out in turn."""
    row = 1 / power_of_two(np.abs(face.A * np.abs(x)).max(axis=1, initial=0))
    size = np.abs(x) * face.w
    points = [x]
    for threshold in (1e-12, 1e-9, 1e-6):
        on = np.flatnonzero(size > threshold * size.max(initial=0))
        z = np.zeros_like(x)
        z[on] = least_squares(face.A[:, on] * row[:, None], face.y * row)
        if face.positive:
            z = np.where((z < 0) & (-z * face.w <= 1e-9 * size.max(initial=0)), 0, z)
            if z.min(initial=0) < 0:
                continue
        points.append(z)
    return points


def _polished_duals(face: Face, dual: Array) -> list[Array]:
    """The dual moved onto the bounds that it nearly meets."""
    duals = [dual]
    row = power_of_two(np.abs(face.A / face.w).max(axis=1, initial=0))
    q = face.reach(dual)
    for threshold in (1e-9, 1e-7, 1e-5):
        on = np.flatnonzero((q if face.positive else np.abs(q)) >= 1 - threshold)
        touched = (face.A[:, on] / face.w[on] / row[:, None]).T
        if len(on):
            duals.append(dual + least_squares(touched, np.sign(q[on]) - q[on]) / row)
    return duals


def another(
    A: Array, y: Array, w: Array | None, x: Array, known: Reference, *, positive: bool, seed: int
) -> list[Array]:
    """Other points of the optimal face, if it is more than one point; only candidates, to be checked by the caller."""
    face = Face(A.astype(Long), y.astype(Long), np.ones(A.shape[1], Long) if w is None else w.astype(Long), positive)
    q = face.reach(known.dual)
    on = np.flatnonzero((q if positive else np.abs(q)) >= 1 - 1e-9)
    if not len(on):
        return []
    sign = np.sign(q[on])
    unit = sign / face.w[on]
    columns = face.A[:, on] * unit
    row = 1 / power_of_two(np.abs(columns).max(axis=1, initial=0))
    size = power_of_two(np.abs(face.y * row).max())
    here = (x[on] / unit / size).astype(float)
    draws = np.random.default_rng(seed).standard_normal((2, len(on)))
    found = []
    for objective in (-(here == 0).astype(float), np.sign(here), *draws):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            solved = linprog(
                objective,
                A_eq=(columns * row[:, None]).astype(float),
                b_eq=(face.y * row / size).astype(float),
                method="highs-ds",
                options=_TIGHT,
            )
        if solved.status == 0 and solved.x is not None:
            z = np.zeros(A.shape[1], dtype=Long)
            z[on] = solved.x.astype(Long) * unit * size
            found.extend(_polished_points(face, z)[1:])
    return found


def best_fits(A: Array, y: Array, *, positive: bool) -> list[Array]:
    """Candidates for the least residual ``||A x - y||_2``, in float64 so that an answer can be as good."""
    A, y = A.astype(Long), y.astype(Long)
    unit = power_of_two(np.sqrt((A**2).sum(axis=0)))
    A = A / unit
    if positive:
        fits = [_nonnegative_fit(A, y)]
    else:
        fits = [least_squares(A, y, tolerance) for tolerance in (1e-17, 1e-14, 1e-11, 1e-8)]
    return [(z / unit).astype(float) for z in fits]


def _nonnegative_fit(A: Array, y: Array) -> Array:
    """Lawson and Hanson's active set in extended precision, begun on the support that SciPy's ends with."""
    m, n = A.shape
    size = power_of_two(np.abs(y).max())
    y = y / size
    try:
        x = nnls(A.astype(float), y.astype(float), maxiter=50 * n)[0].astype(Long)
    except RuntimeError:
        x = np.zeros(n, dtype=Long)
    for _ in range(20 * n):
        x = _inside(A, y, x)
        pull = A.T @ (y - A @ x)
        pull[x > 0] = 0
        j = int(pull.argmax())
        if pull[j] <= 1e-17 * np.sqrt(y @ y) or np.count_nonzero(x) >= m:
            break
        before = x
        x = _inside(A, y, x, extra=j)
        if np.sum((y - A @ x) ** 2) >= np.sum((y - A @ before) ** 2):
            x = before
            break
    return x * size


def _inside(A: Array, y: Array, x: Array, extra: int | None = None) -> Array:
    """Least squares on the support of x (and one coordinate more), entries that would turn negative let go."""
    on = x > 0
    if extra is not None:
        on[extra] = True
    while on.any():
        z = np.zeros_like(x)
        z[on] = least_squares(A[:, on], y)
        bad = on & (z <= 0)
        if not bad.any():
            return z
        if not (x[bad] > 0).any():
            on &= ~bad
            continue
        moving = bad & (x > 0)
        step = (x[moving] / (x[moving] - z[moving])).min()
        x = np.where(on, x + step * (z - x), 0)
        stuck = moving & (x <= 1e-18 * x.max())
        x = np.maximum(np.where(stuck, 0, x), 0)
        on &= ~stuck & ~(bad & (x <= 0))
    return np.zeros_like(x)
