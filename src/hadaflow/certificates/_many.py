"""Certificates of many answers to one matrix in memory: those of :func:`hadaflow.certify`, from products of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from hadaflow._types import Index, Mask, Vector
from hadaflow._validation import norm
from hadaflow.certificates._basis_pursuit import Certificate
from hadaflow.certificates._fit import CLOSEST, EXPLAINED, ROUNDING
from hadaflow.certificates._held_dual import BLURRED, HeldDual
from hadaflow.certificates._supports import Supports, alike_in_size
from hadaflow.certificates._uniqueness import INDEPENDENT, INSIDE, independent
from hadaflow.gauges import Gauge
from hadaflow.gauges.l1 import l1
from hadaflow.operators import Operator, Scaled
from hadaflow.operators.around import even_rows
from hadaflow.operators.block import dense

_EPS = float(np.finfo(np.float64).eps)
_PIVOT = 1e-12  # of unit columns, below which orthogonal factors of a support say nothing for sure


@dataclass(frozen=True, eq=False)
class Certificates:
    """The certificates of several answers, number by number.

    Attributes
    ----------
    residual, l1_norm, lower_bound, gap, margin, backward_error, scaled_residual, fit_gap : ndarrays of shape (k,)
        What a :class:`hadaflow.Certificate` says, of each answer.
    unique : bool array of shape (k,)
        Whether each is proved to be the only minimiser.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> r = hf.recover_each(np.array([[1.0, 0.5]]), np.array([[2.0, 3.0]]))
    >>> r.certificates.l1_norm, r.certificates[1].unique
    (array([2., 3.]), True)
    """

    residual: Vector
    l1_norm: Vector
    lower_bound: Vector
    gap: Vector
    margin: Vector
    backward_error: Vector
    scaled_residual: Vector
    fit_gap: Vector
    unique: Mask

    def __len__(self) -> int:
        return len(self.gap)

    def __getitem__(self, j: int) -> Certificate:
        """The certificate of one answer."""
        return Certificate(**{each.name: vars(self)[each.name][j].item() for each in fields(self)})

    def __repr__(self) -> str:
        if not len(self):
            return "Certificates(0)"
        worst = f"gap up to {self.gap.max():.0e}, residual up to {self.residual.max():.0e}"
        return f"Certificates({len(self)}, {worst}, {int(self.unique.sum())} unique)"

    @classmethod
    def empty(cls, k: int) -> Certificates:
        """Room for k."""
        return cls(*(np.zeros(k, dtype=bool if each.name == "unique" else np.float64) for each in fields(cls)))

    def fill(self, index: Index, given: Certificates | Sequence[Certificate]) -> None:
        """Put certificates in their places."""
        for each in fields(self):
            numbers = [vars(one)[each.name] for one in given] if isinstance(given, Sequence) else vars(given)[each.name]
            vars(self)[each.name][index] = numbers


class Sheet:
    """A matrix in memory with what certificates ask of it, measured once.

    Parameters
    ----------
    operator : Operator
        A, dense or sparse, in this process.
    weights : ndarray of shape (n,) or None
        Positive weights of the l1 norm.
    positive : bool
        Whether only non-negative x are allowed.

    Attributes
    ----------
    rows, magnitudes : ndarrays of shape (n, m)
        The columns of A in float64, one after the other, and their moduli.
    factors : ndarray of shape (m,) or None
        Powers of two that bring the rows of A to about the same length.
    lengths : ndarray of shape (n,)
        Lengths of the columns divided by the weights, rows brought to the same length.
    """

    def __init__(self, operator: Operator, weights: Vector | None, positive: bool) -> None:
        self.operator, self.weights, self.positive = operator, weights, positive
        self.rows: Vector = np.ascontiguousarray(dense(operator.columns(np.arange(operator.shape[1]))).T)
        self.magnitudes: Vector = np.abs(self.rows)
        self.factors = even_rows(operator)
        even = operator if self.factors is None else Scaled(operator, 1.0, None, self.factors)
        self.column_lengths = even.column_lengths
        self.lengths: Vector = self.column_lengths if weights is None else self.column_lengths / weights

    @cached_property
    def gauge(self) -> Gauge:
        """What x is held to minimise."""
        return l1(self.weights, self.positive)

    @cached_property
    def plain_lengths(self) -> Vector:
        """Lengths of the columns as they are."""
        return self.operator.column_lengths

    @cached_property
    def plain_unit(self) -> Vector:
        """The columns as they are, brought to unit length."""
        return _unit(self.rows, self.plain_lengths)

    @cached_property
    def unit(self) -> Vector:
        """The columns with even rows, brought to unit length."""
        return self.plain_unit if self.factors is None else _unit(self.rows * self.factors, self.column_lengths)

    @cached_property
    def independent(self) -> bool:
        """Whether all columns are independent by far."""
        return independent(self.operator)

    def weighted(self, theta: Vector) -> Vector:
        """Products with columns, shape (K, n), in units of their bounds."""
        return theta if self.weights is None else theta / self.weights

    def outward(self, theta: Vector) -> Vector:
        """What counts of products with columns: their moduli, or for non-negative x their positive parts."""
        return np.maximum(theta, 0.0) if self.positive else np.abs(theta)


def certificates_of(
    sheet: Sheet, y: Vector, x: Vector, dual: Vector, *, noise: Vector | float = 0.0, least_squares: bool = False
) -> tuple[Certificates, Mask]:
    """:func:`hadaflow.certify` of K answers, each judged by itself, and which of them could be judged.

    Parameters
    ----------
    sheet : Sheet
        A.
    y, x, dual : ndarrays of shapes (K, m), (K, n) and (K, m)
        Data and answers in their own units, in float64.
    noise : float or ndarray of shape (K,)
        Noise levels.
    least_squares : bool
        Whether the answers are held to be least-squares points.
    """
    m, factors = y.shape[1], sheet.factors
    fit, theta = x @ sheet.rows, sheet.weighted(dual @ sheet.rows.T)
    terms = np.abs(x) @ sheet.magnitudes + np.abs(y)
    vector = dual if factors is None else dual / factors
    slack = 2 * _EPS * np.sqrt(m) * _norms(vector)
    sizes = sheet.outward(theta)
    top = sizes.max(axis=1)
    doubtful = (sizes + slack[:, None] * sheet.lengths).max(axis=1) * (top > 0)
    lower = _lower_bounds(sheet, fit if least_squares else y, vector, doubtful, noise * _norms(dual))
    for j in np.flatnonzero(doubtful > (1 + BLURRED) * top):  # what rounding would blur is worth more care
        held = HeldDual.of(sheet.operator, dual[j], dual[j] @ sheet.rows.T, sheet.gauge, np.empty(0, np.intp), None)
        level = np.broadcast_to(noise, (len(y),))[j] * norm(dual[j])
        lower[j] = held.lower_bound(fit[j] if least_squares else y[j], float(level))
    total = np.abs(x).sum(axis=1) if sheet.weights is None else np.abs(x) @ sheet.weights
    residual = np.abs(fit - y)
    backward = np.divide(residual, terms, out=np.zeros_like(terms), where=terms > 0).max(axis=1)
    scaled = _relative(residual, y) if factors is None else _relative(residual * factors, y * factors)
    fit_gap, judged = np.zeros(len(y)), np.ones(len(y), dtype=bool)
    if least_squares:
        fit_gap, judged = _fit_gaps(sheet, x, y, y - fit, terms)
    feasible = fit_gap <= CLOSEST if least_squares else np.maximum(scaled, backward) <= 1e-9
    size = np.maximum(total, lower)
    gap = np.divide(np.abs(total - lower), size, out=np.zeros_like(size), where=size > 0)
    if sheet.positive:
        gap = np.where((x >= 0).all(axis=1), gap, np.maximum(gap, 1.0))
    on = x != 0
    inside = np.divide(np.where(on, 0.0, sizes).max(axis=1), top, out=np.zeros_like(top), where=top > 0)
    unique = feasible & (gap <= 1e-8) & ~on.any(axis=1)
    asked = np.flatnonzero(feasible & (gap <= 1e-8) & on.any(axis=1) & (top > 0))
    for part in alike_in_size(on[asked]):
        few = asked[part]
        unique[few] = _separate(sheet, x[few], vector[few] / top[few, None], theta[few] / top[few, None])
    open_ = feasible & (gap > 1e-8) & (gap < 1) & (np.asarray(noise) == 0)
    if open_.any():
        unique |= open_ & sheet.independent
    return Certificates(
        _relative(residual, y), total, lower, gap, 1 - inside, backward, scaled, fit_gap, unique
    ), judged


def _lower_bounds(sheet: Sheet, target: Vector, vector: Vector, doubtful: Vector, noise: Vector) -> Vector:
    terms = (target if sheet.factors is None else target * sheet.factors) * vector
    sums = terms.sum(axis=1) - noise - 2 * _EPS * np.sqrt(terms.shape[1]) * np.abs(terms).sum(axis=1)
    known = (doubtful > 0) & np.isfinite(doubtful)
    return np.asarray(np.maximum(np.divide(sums, doubtful, out=np.zeros_like(sums), where=known), 0.0))


def _separate(sheet: Sheet, x: Vector, vector: Vector, theta: Vector) -> Mask:
    """Whether dual vectors near the given ones prove that each x is the only minimiser."""
    m = vector.shape[1]
    on = x != 0
    met = on | (sheet.outward(theta) >= 1 - INSIDE)
    supports = Supports(sheet.unit, met)
    count = met.sum(axis=1)
    smallest = supports.smallest - 4 * _EPS * count * m**0.5
    good = (smallest > INDEPENDENT) & (count <= m)
    aim = np.where(on, np.sign(x), np.sign(theta)) / np.where(sheet.lengths > 0, sheet.lengths, 1.0)
    target = supports.take(aim)
    vector = supports.moved_to(vector, target)
    missed = np.abs(target - supports.correlate(vector)).max(axis=1)
    columns = sheet.rows.T if sheet.factors is None else sheet.rows.T * sheet.factors[:, None]
    theta = np.where(met, 0.0, sheet.outward(sheet.weighted(vector @ columns)))
    rounding = 2 * _EPS * m**0.5 * _norms(vector)
    missing = (missed + rounding) * np.sqrt(count / np.maximum(smallest, INDEPENDENT))
    beyond = np.where(met, 0.0, theta + sheet.lengths * (rounding + missing)[:, None]).max(axis=1)
    return np.asarray(good & (theta.max(axis=1) < 1 - INSIDE) & (beyond < 1))


def _fit_gaps(sheet: Sheet, x: Vector, y: Vector, residual: Vector, terms: Vector) -> tuple[Vector, Mask]:
    """How far each residual is from a proved lower bound, and whether that could be told."""
    gaps, rounding = np.ones(len(y)), 8 * _EPS * terms
    explained = (np.abs(residual) <= rounding).all(axis=1)
    gaps[explained] = 0.0
    judged = explained | ((x != 0).sum(axis=1) <= y.shape[1])
    asked = np.flatnonzero(~explained & judged)
    for part in alike_in_size(x[asked] != 0):
        few = asked[part]
        gaps[few], judged[few] = _fit_gaps_of(sheet, x[few], y[few], residual[few], rounding[few])
    return gaps, judged


def _fit_gaps_of(sheet: Sheet, x: Vector, y: Vector, residual: Vector, rounding: Vector) -> tuple[Vector, Mask]:
    on = x != 0
    size = _norms(residual)
    direction, judged = residual / size[:, None], np.ones(len(x), dtype=bool)
    if on.any():
        supports = Supports(sheet.plain_unit, on)
        judged = supports.smallest_pivot > _PIVOT
        direction = supports.project_out(direction)
    length = _norms(direction)
    wrong = sheet.outward(direction @ sheet.rows.T)
    lengths = sheet.operator.cancelled.before(sheet.plain_lengths)
    per_length = np.divide(wrong, lengths, out=np.zeros_like(wrong), where=lengths > 0).max(axis=1)
    safe = np.where(length > 0, length, 1.0)
    bound = np.maximum(0.0, (y * direction).sum(axis=1) - 2 * per_length * (np.abs(x) @ lengths)) / safe
    part = rounding / size[:, None]
    explained = (np.abs(residual / size[:, None]) * part).sum(axis=1) + _norms(part) ** 2
    explained = np.minimum(_norms(part), explained)
    proved = (per_length <= ROUNDING * _EPS * safe) & (explained <= EXPLAINED) & (length > 0)
    return np.where(proved, np.maximum(0.0, 1 - bound / size - explained), 1.0), judged


def _relative(residual: Vector, y: Vector) -> Vector:
    sizes = _norms(y)
    return _norms(residual) / np.where(sizes > 0, sizes, 1.0)


def _norms(v: Vector) -> Vector:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", v, v)))


def _unit(rows: Vector, lengths: Vector) -> Vector:
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0)[:, None])
