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
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, linprog, milp, minimize

from hadaflow._types import Vector
from hadaflow.theory._support_split import Matrix, SupportSplit

_TIGHT = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
_ALLOWANCE = 1e-9
_GAP = 1e-10  # relative, above which a programme is solved once more
_EPS = 1e-15
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
    dual_correlations : ndarray of shape (k,)
        That theta_C.
    """

    lower: float
    upper: float
    off_support: Vector
    mu: Vector
    dual_correlations: Vector

    @property
    def unique(self) -> bool:
        """For the pattern sigma: whether g is below 1, see ``below_one``."""
        return below_one(self.upper)


def below_one(rho: float) -> bool:
    """Whether a rho counts as below 1, so that x is the only minimiser: by 1e-9, far more than its rounding.

    The one allowance of the package: a rho of 1 comes out as 1 - 1e-16 as easily as 1, and powers of 1 - rho follow.
    """
    return rho < 1 - _ALLOWANCE


def supremum(kernel: SupportSplit, pattern: Vector, *, one_sided: bool) -> Supremum:
    """g(pattern) from the kernel's side; the certificate comes from the multipliers."""
    slope: Vector = -kernel.carry.T @ pattern
    if kernel.trivial:  # also where nothing is off the support
        return _of_trivial_kernel(kernel, slope, one_sided)
    best = _one_programme(kernel, slope, np.zeros(len(kernel.checks)), one_sided)
    if best is None:  # no kernel vector is non-negative off the support
        mu = certificate(kernel, pattern, one_sided=True, floor=0.0)
        return Supremum(-np.inf, -np.inf, np.zeros(len(slope)), mu, slope + kernel.checks.T @ mu)
    if best.upper - best.lower > _GAP * abs(best.upper) + _EPS * np.abs(slope).max():
        # The solver's tolerances are relative to the slopes: from the certificate found they are relative to g.
        again = _one_programme(kernel, slope, best.mu, one_sided)
        if again is not None:
            best = _nearer(best, again)
    return best


def _one_programme(kernel: SupportSplit, slope: Vector, mu: Vector, one_sided: bool) -> Supremum | None:
    """The programme of ``slope``, which has the solutions of that of ``slope + checks^T mu``; None if infeasible."""
    k, unit = len(slope), kernel.ranges
    checks, heights = kernel.ranged_checks
    both = (lambda a: a) if one_sided else (lambda a: np.concatenate([a, -a], axis=-1))
    mass = unit if one_sided else np.concatenate([unit, unit])
    cost = (slope + kernel.checks.T @ mu) * unit
    size = float(np.abs(cost).max()) or 1.0
    for method in ("highs-ds", "highs-ipm"):
        found = linprog(
            -both(cost) / size,
            A_eq=np.vstack([both(checks), mass]),
            b_eq=np.append(np.zeros(len(checks)), 1.0),
            method=method,
            options=_TIGHT,
        )
        if found.status == 0:
            break
        if found.status == 2 and one_sided:
            return None
    else:
        raise RuntimeError(f"the linear programme of the null-space constant was not solved: {found.message}")
    off_support = kernel.project(unit * (found.x if one_sided else found.x[:k] - found.x[k:]))
    if np.abs(off_support).sum() < 0.5:  # both signs at once: the value is zero, which any kernel vector attains
        widest = int(np.argmin((kernel.basis**2).sum(axis=0)))
        off_support = kernel.project(np.eye(1, k, widest)[0])
    off_support = off_support / np.abs(off_support).sum()
    mu = mu + size * np.asarray(found.eqlin.marginals[:-1], dtype=np.float64) / heights
    dual_correlations = slope + kernel.checks.T @ mu
    upper = float(dual_correlations.max() if one_sided else np.abs(dual_correlations).max())
    return Supremum(float(slope @ off_support), upper, off_support, mu, dual_correlations)


def _nearer(one: Supremum, other: Supremum) -> Supremum:
    """The larger kernel vector and the smaller certificate of two."""
    vector = one if one.lower >= other.lower else other
    dual = one if one.upper <= other.upper else other
    return Supremum(vector.lower, dual.upper, vector.off_support, dual.mu, dual.dual_correlations)


def certificate(kernel: SupportSplit, pattern: Vector, *, one_sided: bool, floor: float | None = None) -> Vector:
    """The mu of the smallest certificate, from the certificate's side; not smaller than ``floor``."""
    checks, heights = kernel.ranged_checks
    slope: Vector = -kernel.carry.T @ pattern * kernel.ranges
    r = len(checks)
    size = float(np.abs(slope).max(initial=0.0)) or 1.0
    edge = kernel.ranges[:, None]
    upper = np.hstack([checks.T, -edge])
    rows, right = upper, -slope / size
    if not one_sided:
        rows = np.vstack([upper, np.hstack([-checks.T, -edge])])
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
    return size / heights * np.asarray(found.x[:-1], dtype=np.float64)


def _of_trivial_kernel(kernel: SupportSplit, slope: Vector, one_sided: bool) -> Supremum:
    """theta_C is free: zero, or (one-sided) as far below zero as one likes."""
    value = -np.inf if one_sided else 0.0
    mu = -np.asarray(np.linalg.solve(kernel.checks.T, slope), dtype=np.float64)
    return Supremum(value, value, np.zeros(len(slope)), mu, np.zeros(len(slope)))


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
    kernel: SupportSplit, signs: Vector, cube: Cube, carried: Matrix, known: Vector, *, one_sided: bool, limits: Limits
) -> tuple[float, float]:
    """Lower and upper bound of the constant by HiGHS's branch and bound over the signs of n_S.

    Signed entries are ``sigma n_S = q - p`` with ``p <= down z``, ``q <= up (1 - z)`` and z in {0, 1}, where ``down``
    and ``up`` are the largest values an entry can take, one linear programme each. As ``sigma n_S = M n_C`` for every
    ``carried`` M, also ``p <= M_- n_C_+ + M_+ n_C_-`` and likewise for q: with a flattened M a strong relaxation.
    Every variable is measured by the largest value it can take, so that the solver's absolute tolerances mean the same
    for all. The lower bound is the best climb from the pattern found and from a ``known`` n_C; to the upper one HiGHS's
    tolerance of 1e-6 is added. It is infinite, of no use, where it falls below the lower one.
    """
    ranges = _entry_ranges(kernel, signs, one_sided)
    lower = climb(kernel, signs, cube, known, one_sided=one_sided)
    unit = float(np.maximum(cube.high * ranges.down, -cube.low * ranges.up).sum())
    if unit == 0.0:
        return lower, lower
    found = _milp(kernel, cube, carried, ranges, unit, one_sided=one_sided, limits=limits)
    if found.x is not None:
        k = len(kernel.others)
        raw = found.x[:k] if one_sided else found.x[:k] - found.x[k : 2 * k]
        lower = max(lower, climb(kernel, signs, cube, kernel.project(raw * kernel.ranges), one_sided=one_sided))
    bound = found.mip_dual_bound
    upper = np.inf if bound is None or not np.isfinite(bound) else unit * (1e-6 - float(bound))
    return lower, upper if upper >= lower else np.inf


@dataclass(frozen=True, eq=False)
class _Ranges:
    """The largest values that ``-sigma n_S`` and ``sigma n_S`` take."""

    down: Vector
    up: Vector


def _milp(
    kernel: SupportSplit, cube: Cube, carried: Matrix, ranges: _Ranges, unit: float, *, one_sided: bool, limits: Limits
) -> OptimizeResult:
    """The mixed-integer programme of ``branch``, in units of the ranges, its objective in those of ``unit``."""
    s, r = carried.shape[0], len(kernel.checks)
    down, up = np.where(ranges.down > 0, ranges.down, 1.0), np.where(ranges.up > 0, ranges.up, 1.0)
    widest = np.maximum(ranges.down, ranges.up)[:, None]
    widest[widest == 0] = 1.0
    checks, exact, mass = kernel.ranged_checks[0], carried * kernel.ranges, kernel.ranges
    if not one_sided:  # n_C = positive part - negative part
        checks, exact, mass = np.hstack([checks, -checks]), np.hstack([exact, -exact]), np.concatenate([mass, mass])
    falls, rises, exact = _negative(exact) / down[:, None], _negative(-exact) / up[:, None], exact / widest
    width, eye, none = exact.shape[1], np.eye(s), np.zeros((s, s))
    equal = np.vstack([
        np.hstack([checks, np.zeros((r, 3 * s))]),
        np.hstack([exact, np.diag(down / widest[:, 0]), -np.diag(up / widest[:, 0]), none]),
        np.append(mass, np.zeros(3 * s)),
    ])  # fmt: skip
    below = np.vstack([
        np.hstack([np.zeros((s, width)), eye, none, -eye]),
        np.hstack([np.zeros((s, width)), none, eye, eye]),
        np.hstack([-falls, eye, none, none]),
        np.hstack([-rises, none, eye, none]),
    ])  # fmt: skip
    right, ceiling = np.append(np.zeros(r + s), 1.0), np.concatenate([np.zeros(s), np.ones(s), np.zeros(2 * s)])
    most = np.concatenate([np.ones(width), ranges.down > 0, ranges.up > 0, np.ones(s)])
    return milp(
        np.concatenate([np.zeros(width), -cube.high * down / unit, cube.low * up / unit, np.zeros(s)]),
        constraints=[LinearConstraint(equal, right, right), LinearConstraint(below, ub=ceiling)],
        bounds=Bounds(0.0, most.astype(np.float64)),
        integrality=np.append(np.zeros(width + 2 * s), np.ones(s)),
        options={"node_limit": limits.nodes, "time_limit": limits.seconds, "mip_rel_gap": 0.0},
    )


def _negative(matrix: Matrix) -> Matrix:
    return np.maximum(-matrix, 0.0)


def _entry_ranges(kernel: SupportSplit, signs: Vector, one_sided: bool) -> _Ranges:
    """How far each ``sigma_i n_i`` goes below and above zero."""
    units = np.diag(signs)
    down = up = np.array([supremum(kernel, e, one_sided=one_sided).upper for e in units])
    if one_sided:
        down, up = down.clip(min=0), np.array([supremum(kernel, -e, one_sided=True).upper for e in units]).clip(min=0)
    return _Ranges(down, up)


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
    for fraction in _SMOOTHING:
        top = float(np.abs(best).sum(axis=0).max())
        if top == 0.0:
            break
        z = minimize(
            _smoothed_top,
            z.ravel(),
            args=(carry, checks, fraction * top),
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
