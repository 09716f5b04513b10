"""Many right-hand sides of one matrix in memory: found in step, each answer proved by itself.

What is handed over from here is proved to be the only answer; all else is left to a search of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hadaflow._span import Span
from hadaflow._types import Index, Mask, Vector
from hadaflow.certificates import CLOSEST, Certificates, Exact, Sheet, certificates_of, exact_within
from hadaflow.gauges import L1
from hadaflow.operators.around import drowning
from hadaflow.problems import Problem
from hadaflow.recovery._strategies import Options
from hadaflow.results import Status
from hadaflow.solvers.together.ends import Ends, finish, nearest_in_cone, nearest_in_range, out_of_range, shorter_duals
from hadaflow.solvers.together.system import System
from hadaflow.solvers.together.walk import ARRIVED, Walks

_MOST_ENTRIES = 1 << 18  # of A; a larger one keeps a search by itself busy, which looks at less of it
_SMALLEST, _LARGEST = 1e-60, 1e60  # lengths of columns and right-hand sides whose squares are safe
_ENTRIES_AT_A_TIME = 1 << 17  # of a block of x
_NOTICED = 1e-9  # relative residual, or margin, that is more than rounding
_PROOF = 4.0  # products of a certificate


class _Effort(NamedTuple):
    """How some answers were found, the jumps of each, and the products with A that they took together."""

    method: str
    events: Index
    passes: float

    def of(self, part: Mask) -> _Effort:
        """That of some of them, products in proportion."""
        return _Effort(self.method, self.events[part], self.passes * float(part.mean()))


@dataclass(frozen=True, eq=False)
class Proved:
    """Answers that are proved.

    Attributes
    ----------
    index : int array of shape (K,)
        Of which columns.
    x, dual : ndarrays of shapes (K, n) and (K, m)
        Answers and dual vectors in units of the data.
    certificates : Certificates
        Their proofs.
    status : Status
        What all of them are.
    effort
        How they were found, and what it took.
    """

    index: Index
    x: Vector
    dual: Vector
    certificates: Certificates
    status: Status
    effort: _Effort

    def kept(self, good: Mask) -> list[Proved]:
        """The good ones; none if there are none."""
        if not good.any():
            return []
        certificates = Certificates(*(each[good] for each in vars(self.certificates).values()))
        effort = self.effort.of(good)
        return [Proved(self.index[good], self.x[good], self.dual[good], certificates, self.status, effort)]


class Together:
    """Searches for many columns at once.

    Parameters
    ----------
    problem : Problem
        A, with any y.
    options : Options
        What was asked for.
    """

    def __init__(self, problem: Problem, options: Options) -> None:
        gauge = options.gauge
        assert isinstance(gauge, L1)
        self.exact: Exact = exact_within(problem)
        self.sheet = Sheet(problem.operator, gauge.weights, gauge.positive)
        self.system = System(self.sheet, even=True)
        self.plain = self.system if self.sheet.factors is None else System(self.sheet, even=False)
        m, n = problem.shape
        self._determined = not gauge.positive and n <= m and Span(self.plain.unit.T).rank == n
        # Of rows much longer than others the rounding hides what the others say: whether some x carries y.
        self._has_nearest = (gauge.positive or self._determined) and not drowning(self.sheet.factors)

    @classmethod
    def suits(cls, problem: Problem, options: Options) -> bool:
        """Whether these data are searched together: matrices of moderate size in memory, and l1 norms."""
        m, n = problem.shape
        operator, gauge = problem.operator, options.gauge
        if type(gauge) is not L1 or len(gauge.costless) or options.method == "limit":
            return False
        if not operator.costs.cheap_columns or operator.repeats > 1 or m * n > _MOST_ENTRIES:
            return False
        if not problem.layout.plain or problem.dtype != np.float64:
            return False
        lengths = operator.column_lengths
        if gauge.weights is not None:
            lengths = lengths / gauge.weights
        present = lengths[lengths > 0]
        return len(present) > 0 and bool(present.min() > _SMALLEST and present.max() < _LARGEST)

    def parts(self, k: int) -> list[Index]:
        """Columns 0 to k - 1 in parts that are worked on at a time."""
        count = int(np.clip(_ENTRIES_AT_A_TIME // len(self.system.rows), 16, 256))
        return [np.arange(i, min(i + count, k)) for i in range(0, k, count)]

    def search(self, index: Index, y: Vector, noise: Vector) -> list[Proved]:
        """Answers to some columns, given as rows of shape (K, m), with their noise levels; those that are proved."""
        with np.errstate(all="ignore"):  # what rounding spoils has no proof
            return self._searched(index, y, noise)

    def _searched(self, index: Index, y: Vector, noise: Vector) -> list[Proved]:
        sizes = np.sqrt(np.einsum("ij,ij->i", y, y))
        plain = ((sizes > _SMALLEST) & (sizes < _LARGEST)) | ~y.any(axis=1)
        proved: list[Proved] = []
        noisy, exact = np.flatnonzero(plain & (noise > 0)), np.flatnonzero(plain & (noise == 0))
        if len(noisy):
            proved += self._by_noise(index[noisy], y[noisy], noise[noisy])
        if not len(exact):
            return proved
        missed = self._missed(y[exact])
        off, on = exact[missed], exact[~missed]
        return proved + self._nearest(index[off], y[off]) + self._by_walk(index[on], y[on])

    def _missed(self, y: Vector) -> Mask:
        """Which columns no x carries, whatever its signs; looked for where the nearest points are known from here."""
        if not self._has_nearest:
            return np.zeros(len(y), dtype=bool)
        return out_of_range(self.plain, self.plain.data(y)[0])

    # ---- the ways ------------------------------------------------------------------------------------------

    def _by_walk(self, index: Index, y: Vector) -> list[Proved]:
        """Saddle paths; of those that come to rest before y is met, the nearest points."""
        if not len(index):
            return []
        data, sizes = self.system.data(y)
        walked = Walks(self.system, data, np.zeros(len(y))).run()
        proved, ended = [], np.flatnonzero(walked.fate == ARRIVED)
        if len(ended):
            ends = finish(self.system, data[ended], walked.part(ended), exact=True)
            answers = self._in_units(self.system, ends, sizes[ended])
            effort = _Effort("saddles", walked.events[ended], walked.products + _PROOF)
            proved = self._exact(index[ended], y[ended], *answers, effort)
        rest = np.flatnonzero(walked.fate != ARRIVED)
        return proved + self._nearest(index[rest], y[rest])

    def _by_noise(self, index: Index, y: Vector, noise: Vector) -> list[Proved]:
        """Saddle paths, up to the first plateau within the noise."""
        data, sizes = self.plain.data(y)
        walked = Walks(self.plain, data, noise / sizes).run()
        ended = np.flatnonzero(walked.fate == ARRIVED)
        ends = finish(self.plain, data[ended], walked.part(ended), exact=False)
        x, dual = self._in_units(self.plain, ends, sizes[ended])
        rest = y[ended] - x @ self.sheet.rows
        squares = np.einsum("ij,ij->i", rest, rest)
        within = ends.found & (squares <= noise[ended] ** 2) & (squares > (_NOTICED * sizes[ended]) ** 2)
        ended, x, dual = ended[within], x[within], dual[within]
        certificates, _ = certificates_of(self.sheet, y[ended], x, dual, noise=noise[ended])
        effort = _Effort("saddles", walked.events[ended], walked.products + _PROOF)
        found = Proved(index[ended], x, dual, certificates, Status.NOISE_LEVEL, effort)
        return found.kept(certificates.margin > _NOTICED)  # else others were on their bounds: which one went first?

    def _nearest(self, index: Index, y: Vector) -> list[Proved]:
        """Least squares on all columns, if they are independent, or non-negative least squares."""
        if not len(index) or not self._has_nearest:
            return []
        way = nearest_in_cone if self.sheet.positive else nearest_in_range
        ends = way(self.plain, self.plain.data(y)[0])
        index, y, sizes = index[ends.found], y[ends.found], self.plain.data(y)[1][ends.found]
        ends = ends.part(ends.found)
        x, dual = self._in_units(self.plain, ends, sizes)
        certificates, judged = certificates_of(self.sheet, y, x, dual, least_squares=True)
        fits = self._fits(certificates)  # then its zeros are for a path to find
        effort = _Effort("least squares", np.zeros(len(index), dtype=np.intp), 3 + _PROOF)
        again = np.flatnonzero(judged & ends.only & ~self._minimal(certificates) & self.sheet.positive)
        if len(again):
            dual[again] = self.plain.original_dual(shorter_duals(self.plain, self.plain.data(y[again])[0], x[again]))
            better, _ = certificates_of(self.sheet, y[again], x[again], dual[again], least_squares=True)
            certificates.fill(again, better)
        only = certificates.unique | self._determined | ends.only
        near = Proved(index, x, dual, certificates, Status.LEAST_SQUARES, effort)
        return near.kept(judged & ~fits & only & self._minimal(certificates) & (certificates.fit_gap <= CLOSEST))

    # ---- proofs --------------------------------------------------------------------------------------------

    def _exact(self, index: Index, y: Vector, x: Vector, dual: Vector, effort: _Effort) -> list[Proved]:
        """Those of some answers that carry y and are proved to be the only minimisers."""
        certificates, _ = certificates_of(self.sheet, y, x, dual)
        found = Proved(index, x, dual, certificates, Status.EXACT, effort)
        return found.kept(self._fits(certificates) & certificates.unique & self._minimal(certificates))

    def _fits(self, certificates: Certificates) -> Mask:
        return np.asarray(
            (certificates.scaled_residual <= self.exact.residual)
            & (certificates.backward_error <= self.exact.backward_error)
        )

    def _minimal(self, certificates: Certificates) -> Mask:
        return np.asarray(certificates.gap <= self.exact.gap)

    def _in_units(self, system: System, ends: Ends, sizes: Vector) -> tuple[Vector, Vector]:
        return system.original_x(ends.x, sizes), system.original_dual(ends.nu)
