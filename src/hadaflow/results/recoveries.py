"""The answers of recover_each: those to many right-hand sides, each with its proof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import index as as_index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Mask, Vector
from hadaflow.certificates import Certificates
from hadaflow.gauges import Gauge
from hadaflow.hints import as_html
from hadaflow.problems import Problem
from hadaflow.results.answer import Outcome
from hadaflow.results.recovery import Recovery
from hadaflow.results.status import Stats, Status

#: The best first: what stands for all columns is the last of these that one of them has.
_FROM_BEST = (Status.EXACT, Status.NOISE_LEVEL, Status.LEAST_SQUARES, Status.INEXACT, Status.NOT_CONVERGED)


@dataclass(frozen=True, eq=False)
class Recoveries(Outcome):
    """The answers of :func:`hadaflow.recover_each`: ``r[j]`` is the :class:`hadaflow.Recovery` of column j.

    Attributes
    ----------
    x : ndarray of shape (n, k)
        The recovered vectors, in columns.
    dual : ndarray of shape (m, k)
        Dual vectors that prove the certificates, in columns.
    statuses : ndarray of Status, shape (k,)
        What happened to each column; ``r.statuses == hf.Status.EXACT`` tells which ones are exact.
    certificates : Certificates
        How good each column is, proved: ``r.certificates.gap``, ``r.certificates.residual`` and so on are arrays of
        shape (k,).
    each_stats : tuple of Stats
        What each column cost; of products and time that several shared, an equal part.
    stats : Stats
        What all cost together.
    problem : Problem
        A, with right-hand side 0; those of the columns have their own: ``r[j].problem``.
    Y : ndarray of shape (m, k)
        The right-hand sides.
    positive, weights, gauge
        As in :class:`hadaflow.Recovery`, the same for all columns.
    noise_levels : ndarray of shape (k,)
        What was given as size of the noise of each column, in units of Y.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> r = hf.recover_each(np.array([[1.0, 0.5]]), np.array([[2.0, 3.0]]))
    >>> r
    Recoveries(1 x 2, 2 columns: 2 EXACT, gap up to ..., residual up to ...)
    >>> r.x, len(r), r[1].support()
    (array([[2., 3.],
           [0., 0.]]), 2, array([0]))
    """

    x: NDArray[Any]
    dual: NDArray[Any]
    statuses: NDArray[np.object_]
    certificates: Certificates
    each_stats: tuple[Stats, ...] = field(repr=False)
    stats: Stats
    problem: Problem = field(repr=False)
    Y: NDArray[Any] = field(repr=False)
    noise_levels: Vector
    positive: bool
    weights: Vector | None
    gauge: Gauge = field(repr=False)

    call = "recover_each"

    def __len__(self) -> int:
        return len(self.statuses)

    def __getitem__(self, j: int) -> Recovery:
        """The answer to column j, as :func:`hadaflow.recover` gives it."""
        j = range(len(self))[as_index(j)]
        return Recovery(
            self.x[:, j],
            self.dual[:, j],
            self.certificates[j],
            self.statuses[j],
            self.each_stats[j],
            self.problem.with_measurements(self.Y[:, j]),
            positive=self.positive,
            weights=self.weights,
            noise_level=float(self.noise_levels[j]),
            gauge=self.gauge,
        )

    def __iter__(self) -> Iterator[Recovery]:
        return (self[j] for j in range(len(self)))

    @property
    def status(self) -> Status:
        """The worst of all columns; ``EXACT`` if there is none."""
        return max(self.statuses, key=_FROM_BEST.index, default=Status.EXACT)

    @property
    def ok(self) -> Mask:
        """Whether each column is what was asked for, shape (k,)."""
        return np.array([status.ok for status in self.statuses], dtype=bool)

    @property
    def support_mask(self) -> Mask:
        """Which entries of x are not zero, shape (n, k)."""
        return np.asarray(self.x != 0)

    def counts(self) -> dict[Status, int]:
        """How many columns have each status, the best first."""
        found = Counter(self.statuses)
        return {status: found[status] for status in _FROM_BEST if found[status]}

    def progress_made(self, asked: str) -> str:
        """How many columns are not ok, and which, in words."""
        failed = np.flatnonzero(~self.ok)
        return f"{len(failed)} of {len(self)} columns are not ok"

    def _in_words(self) -> str:
        counts = ", ".join(f"{count} {status.name}" for status, count in self.counts().items())
        return f"{len(self)} column{'' if len(self) == 1 else 's'}{': ' if counts else ''}{counts}"

    def __repr__(self) -> str:
        c = self.certificates
        worst = f", gap up to {c.gap.max():.0e}, residual up to {c.residual.max():.0e}" if len(self) else ""
        return f"Recoveries({self.problem.size}, {self._in_words()}{worst})"

    def _repr_html_(self) -> str:
        """What notebooks show."""
        c, nonzeros = self.certificates, self.support_mask.sum(axis=0)
        rows = {"status": self._in_words()}
        if len(self):
            rows |= {
                "non-zeros": f"{nonzeros.min()} to {nonzeros.max()} of {len(self.x)}",
                "gap": f"up to {c.gap.max():.2g}",
                "residual": f"up to {c.residual.max():.2g}  (||A x - y|| / ||y||)",
                "worst row": f"up to {c.backward_error.max():.2g}  (|A x - y| / (|A| |x| + |y|), the largest)",
                "unique": f"{int(c.unique.sum())} of {len(self)}, proved",
            }
        return as_html(f"Recoveries, {self.problem.size}", rows)
