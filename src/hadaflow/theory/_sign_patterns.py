"""The largest of many linear programmes, one per pattern of signs: exactly where few, enclosed where many.

All constants of a support are maxima over patterns c in a box of the convex function

    g(c) = max { -<c, n_S> : n in ker A, ||n_C||_1 <= 1 } = min { max |theta_C| : theta in range A^T, theta_S = c }

(positive model: ``n_C >= 0`` summing to one, and no modulus on the right).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp, minimize

from hadaflow.theory._support_split import Matrix, SupportSplit, Vector

_TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
_SMOOTHING = (0.1, 0.02)  # of the largest column sum, in turn
_DESCENT_STEPS = 60
_SMALL_SUPPORT = 50  # up to which a second climb is affordable


@dataclass(frozen=True, eq=False)
class Supremum:
    """One linear programme: its value between a feasible kernel vector and a feasible certificate.

    Attributes
    ----------
    lower, upper : float
        ``-<c, n_S>`` of the kernel vector and ``max |theta_C|`` of the certificate; equal up to rounding.
    off_support : ndarray of shape (k,)
        n_C of the kernel vector, of l1 norm one (zero where no kernel vector has one).
    mu : ndarray of shape (r,)
        The certificate: ``theta_C = -carry^T c + checks^T mu``.
    reach : ndarray of shape (k,)
        That theta_C.
    """

    lower: float
    upper: float
    off_support: Vector
    mu: Vector
    reach: Vector


def supremum(kernel: SupportSplit, pattern: Vector, *, one_sided: bool) -> Supremum:
    """g(pattern) from the kernel's side; the certificate comes from the multipliers."""
    slope: Vector = -kernel.carry.T @ pattern
    if kernel.trivial:  # also where nothing is off the support
        return _of_trivial_kernel(kernel, slope, one_sided)
    k, r = len(slope), len(kernel.checks)
    both = (lambda a: a) if one_sided else (lambda a: np.concatenate([a, -a], axis=-1))
    mass = np.ones((1, k if one_sided else 2 * k))
    size = float(np.abs(slope).max()) or 1.0
    found = linprog(
        -both(slope) / size,
        A_eq=np.vstack([both(kernel.checks), mass]),
        b_eq=np.append(np.zeros(r), 1.0),
        method="highs-ds",
        options=_TIGHT,
    )
    if found.status == 2 and one_sided:  # no kernel vector is non-negative off the support
        mu = certificate(kernel, pattern, one_sided=True, floor=0.0)
        return Supremum(-np.inf, -np.inf, np.zeros(k), mu, slope + kernel.checks.T @ mu)
    if found.status != 0:
        raise RuntimeError(f"the linear programme of the null-space constant was not solved: {found.message}")
    raw = found.x if one_sided else found.x[:k] - found.x[k:]
    off_support = kernel.project(raw)
    if np.abs(off_support).sum() < 0.5:  # both signs at once: the value is zero, which any kernel vector attains
        widest = int(np.argmin((kernel.checks**2).sum(axis=0)))
        off_support = kernel.project(np.eye(1, k, widest)[0])
    off_support = off_support / np.abs(off_support).sum()
    mu = size * np.asarray(found.eqlin.marginals[:-1])
    reach = slope + kernel.checks.T @ mu
    upper = float(reach.max() if one_sided else np.abs(reach).max())
    return Supremum(float(slope @ off_support), upper, off_support, mu, reach)


def certificate(kernel: SupportSplit, pattern: Vector, *, one_sided: bool, floor: float | None = None) -> Vector:
    """The mu of the smallest certificate, from the certificate's side; not smaller than ``floor``."""
    slope: Vector = -kernel.carry.T @ pattern
    k, r = len(slope), len(kernel.checks)
    size = float(np.abs(slope).max(initial=0.0)) or 1.0
    upper = np.hstack([kernel.checks.T, -np.ones((k, 1))])
    rows, right = upper, -slope / size
    if not one_sided:
        rows = np.vstack([upper, np.hstack([-kernel.checks.T, -np.ones((k, 1))])])
        right = np.concatenate([right, -right])
    found = linprog(
        np.append(np.zeros(r), 1.0),
        A_ub=rows,
        b_ub=right,
        bounds=[(None, None)] * r + [(floor, None)],
        method="highs",
        options=_TIGHT,
    )
    if found.status != 0:
        raise RuntimeError(f"the linear programme of the dual certificate was not solved: {found.message}")
    return size * np.asarray(found.x[:-1], dtype=np.float64)


def _of_trivial_kernel(kernel: SupportSplit, slope: Vector, one_sided: bool) -> Supremum:
    """theta_C is free: zero, or (one-sided) as far below zero as one likes."""
    value = -np.inf if one_sided else 0.0
    return Supremum(value, value, np.zeros(len(slope)), -kernel.checks @ slope, np.zeros(len(slope)))


@dataclass(frozen=True)
class Cube:
    """The patterns of one constant: entry i is ``low`` or ``high`` times sign i.

    {0, 1} for rho_minus, {-1, 0} for rho_plus, {-1, 1} for rho_tilde.
    """

    low: float
    high: float

    def gain(self, on_support: Vector) -> float:
        """``sum_S max(-low n_i, -high n_i)`` of signed entries ``sigma_i n_i``: what the best pattern makes of them."""
        return float(np.maximum(-self.low * on_support, -self.high * on_support).sum())

    def best(self, on_support: Vector) -> Vector:
        """The pattern that does."""
        return np.where(on_support < 0, self.high, self.low)

    def cover(self, carried: Matrix, *, one_sided: bool) -> float:
        """An upper bound of the constant from any left inverse: the gain of the worst single entry of n_C."""
        gains = np.maximum(-self.low * carried, -self.high * carried).sum(axis=0)
        if one_sided:
            return float(gains.max(initial=0.0))
        opposite = np.maximum(self.low * carried, self.high * carried).sum(axis=0)
        return float(max(gains.max(initial=0.0), opposite.max(initial=0.0)))


@dataclass(frozen=True)
class Limits:
    """What branch and bound may cost."""

    nodes: int
    seconds: float


def enumerate_cube(kernel: SupportSplit, signs: Vector, cube: Cube, *, one_sided: bool) -> tuple[float, float]:
    """Lower and upper bound of the constant from all patterns; equal up to rounding."""
    s = len(signs)
    patterns: Iterable[tuple[float, ...]] = itertools.product((cube.low, cube.high), repeat=s)
    if not one_sided and cube.low == -cube.high:  # n -> -n: half of them
        patterns = itertools.islice(patterns, 2 ** max(s - 1, 0))
    lower = upper = 0.0
    for pattern in patterns:
        if not any(pattern):
            continue  # its value is zero
        one = supremum(kernel, signs * np.asarray(pattern), one_sided=one_sided)
        lower, upper = max(lower, cube.gain(signs * (kernel.carry @ one.off_support))), max(upper, one.upper)
    return lower, max(lower, upper)


def climb(kernel: SupportSplit, signs: Vector, cube: Cube, off_support: Vector, *, one_sided: bool) -> float:
    """A lower bound of the constant: from n_C to its best pattern to that one's maximiser, while that gains."""
    value = 0.0
    while True:
        pattern = cube.best(signs * (kernel.carry @ off_support))
        off_support = supremum(kernel, signs * pattern, one_sided=one_sided).off_support
        gain = cube.gain(signs * (kernel.carry @ off_support))
        if gain <= value * (1 + 1e-12):
            return value
        value = gain


def climb_from_many(kernel: SupportSplit, signs: Vector, cube: Cube, known: Vector, *, one_sided: bool) -> float:
    """The best climb from a known n_C and, on small supports, from the maximiser that suits the heaviest column."""
    starts = [known]
    if len(signs) <= _SMALL_SUPPORT:
        carried = signs[:, None] * kernel.carry
        heavy = carried[:, int(np.abs(carried).sum(axis=0).argmax())]
        starts.append(supremum(kernel, signs * cube.best(heavy), one_sided=one_sided).off_support)
    return max(climb(kernel, signs, cube, start, one_sided=one_sided) for start in starts)


def branch(
    kernel: SupportSplit, signs: Vector, cube: Cube, carried: Matrix, *, one_sided: bool, limits: Limits
) -> tuple[float, float]:
    """Lower and upper bound of the constant by HiGHS's branch and bound over the signs of n_S.

    Signed entries are ``sigma n_S = q - p`` with ``p <= down z``, ``q <= up (1 - z)`` and z in {0, 1}, where ``down``
    and ``up`` are the largest values an entry can take, one linear programme each. As ``sigma n_S = M n_C`` for every
    ``carried`` M, also ``p <= M_- n_C_+ + M_+ n_C_-`` and likewise for q: with a flattened M a strong relaxation. The
    lower bound is evaluated anew at the pattern found; to the upper one HiGHS's tolerance of 1e-6 is added.
    """
    s, k, r = len(signs), len(kernel.others), len(kernel.checks)
    down, up = _entry_ranges(kernel, signs, one_sided)
    unit = float((down + up).sum()) or 1.0
    down, up, matrix = down / unit, up / unit, carried / unit
    checks, exact, falls, rises = (
        kernel.checks,
        signs[:, None] * kernel.carry / unit,
        _negative(matrix),
        _negative(-matrix),
    )
    if not one_sided:  # n_C = positive part - negative part
        checks, exact = np.hstack([checks, -checks]), np.hstack([exact, -exact])
        falls, rises = np.hstack([falls, rises]), np.hstack([rises, falls])
    width, eye, none = exact.shape[1], np.eye(s), np.zeros((s, s))
    equal = np.vstack([
        np.hstack([checks, np.zeros((r, 3 * s))]),
        np.hstack([exact, eye, -eye, none]),
        np.append(np.ones(width), np.zeros(3 * s)),
    ])  # fmt: skip
    below = np.vstack([
        np.hstack([np.zeros((s, width)), eye, none, -np.diag(down)]),
        np.hstack([np.zeros((s, width)), none, eye, np.diag(up)]),
        np.hstack([-falls, eye, none, none]),
        np.hstack([-rises, none, eye, none]),
    ])  # fmt: skip
    right, ceiling = np.append(np.zeros(r + s), 1.0), np.concatenate([np.zeros(s), up, np.zeros(2 * s)])
    found = milp(
        np.concatenate([np.zeros(width), np.full(s, -cube.high), np.full(s, cube.low), np.zeros(s)]),
        constraints=[LinearConstraint(equal, right, right), LinearConstraint(below, ub=ceiling)],
        bounds=Bounds(0.0, np.concatenate([np.full(width, np.inf), down, up, np.ones(s)])),
        integrality=np.append(np.zeros(width + 2 * s), np.ones(s)),
        options={"node_limit": limits.nodes, "time_limit": limits.seconds, "mip_rel_gap": 0.0},
    )
    lower = 0.0
    if found.x is not None:
        raw = found.x[:k] if one_sided else found.x[:k] - found.x[k : 2 * k]
        lower = climb(kernel, signs, cube, kernel.project(raw), one_sided=one_sided)
    bound = found.mip_dual_bound
    upper = np.inf if bound is None or not np.isfinite(bound) else unit * (1e-6 - float(bound))
    return lower, max(lower, upper)


def _negative(matrix: Matrix) -> Matrix:
    return np.maximum(-matrix, 0.0)


def _entry_ranges(kernel: SupportSplit, signs: Vector, one_sided: bool) -> tuple[Vector, Vector]:
    """How far each ``sigma_i n_i`` goes below and above zero."""
    units = np.diag(signs)
    down = np.array([supremum(kernel, e, one_sided=one_sided).upper for e in units])
    if not one_sided:
        return down, down
    return down.clip(min=0), np.array([supremum(kernel, -e, one_sided=True).upper for e in units]).clip(min=0)


def flattened(kernel: SupportSplit) -> Matrix:
    """``carry + Z checks`` with Z chosen to make the largest column sum of moduli small.

    ``n_S`` equals this matrix times n_C for every Z, so that any Z gives a true upper bound: the descent on a smoothed
    maximum stops early.
    """
    carry, checks = kernel.carry, kernel.checks
    z = np.zeros((len(carry), len(checks)))
    best = carry
    if 0 in carry.shape or not len(checks):
        return best
    for share in _SMOOTHING:
        top = float(np.abs(best).sum(axis=0).max())
        if top == 0.0:
            break
        z = minimize(
            _smoothed_top,
            z.ravel(),
            args=(carry, checks, share * top),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _DESCENT_STEPS},
        ).x.reshape(z.shape)
        trial = carry + z @ checks
        if np.abs(trial).sum(axis=0).max() < np.abs(best).sum(axis=0).max():
            best = trial
    return best


def _smoothed_top(flat: Vector, carry: Matrix, checks: Matrix, width: float) -> tuple[float, Vector]:
    """``width log sum_j exp(sum_i sqrt(M_ij^2 + d^2) / width)`` with M = carry + Z checks, and its gradient."""
    matrix = carry + flat.reshape(len(carry), len(checks)) @ checks
    moduli = np.sqrt(matrix**2 + (width / len(carry)) ** 2)
    sums = moduli.sum(axis=0)
    weights = np.exp((sums - sums.max()) / width)
    total = float(weights.sum())
    gradient = (matrix / moduli * (weights / total)) @ checks.T
    return float(sums.max()) + width * float(np.log(total)), gradient.ravel()
