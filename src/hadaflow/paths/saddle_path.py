"""The flow as its start vanishes: a path of plateaus."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from hadaflow._types import Float, Vector
from hadaflow._validation import positive_number
from hadaflow.hints import fitted_noise, stretch_of, with_hint
from hadaflow.paths.base import Path, ReadOut
from hadaflow.paths.reading import HELD, MARGIN, Reading, thinned
from hadaflow.problems import Problem
from hadaflow.results import Stats, Status

_AVERAGES = 600  # times at which the running average is looked at; it costs little
_ROOM = 2.0  # least ratio of times before the first jump, and behind the last one


@dataclass(frozen=True, eq=False)
class SaddlePath(Path):
    """The flow as its start vanishes: piecewise constant in rescaled time.

    On ``[times[k], times[k + 1])`` the iterate is ``x[k]``; after the last time it stays at ``final``. Rescaled time
    tau relates to flow time t by ``tau = k t`` with the rate ``k`` of the model (``4 / log(1 / a^2)`` at depth 2,
    ``D (D - 2) a^(D - 2)`` above).

    Attributes
    ----------
    times : ndarray of shape (K,)
        Start of each plateau; ``times[0] = 0``.
    x : scipy.sparse.csr_array of shape (K, n)
        The plateaus, one per row, with exact zeros. ``x[[0]]`` is the start, zero.
    final : ndarray of shape (n,)
        The end: a minimiser of the l1 norm among all solutions (least-squares points if y is outside the range).
    dual : ndarray of shape (m,)
        Dual state nu where the path ends, ``|A^T nu| <= 1`` with equality on the support.
    status : Status
        ``EXACT``, ``LEAST_SQUARES``, ``NOISE_LEVEL`` or ``NOT_CONVERGED``.
    stats : Stats
        Cost; ``stats.events`` counts the jumps.
    problem : Problem
        The data.
    hint : str or None
        Why ``final`` may have fitted noise in y, and what to call then; None where nothing speaks for it.

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> path = hf.saddles(hf.Problem(np.array([[1.0, 0.5]]), np.array([2.0])))
    >>> path(0.4), path(0.6), path.average(1.0)
    (array([0., 0.]), array([2., 0.]), array([1., 0.]))
    """

    times: NDArray[np.float64]
    x: sp.csr_array
    final: Float
    dual: NDArray[np.float64]
    status: Status
    stats: Stats
    problem: Problem = field(repr=False)

    call = "saddles"
    clock = "rescaled time"
    piecewise_constant = True
    product_scale: ClassVar[float] = 0.0

    def __repr__(self) -> str:
        plateaus, n = self.x.shape
        return with_hint(f"SaddlePath({plateaus} plateaus of {n} coordinates, {self.status.name})", self.hint)

    @cached_property
    def hint(self) -> str | None:
        """Why ``final`` may have fitted noise in y, and what to call then; None where nothing speaks for it."""
        count, stretch = int(np.count_nonzero(self.final)), partial(stretch_of, self.problem, self.final)
        return fitted_noise(self.status.name, self.problem.shape, nonzeros=count, stretch=stretch)

    def __call__(self, tau: float) -> Float:
        """The iterate at rescaled time ``tau >= 0``, shape (n,)."""
        k = int(np.searchsorted(self.times, _time(tau), side="right")) - 1
        return self._row(k)

    def average(self, tau: float) -> NDArray[np.float64]:
        """The running average ``1/tau int_0^tau x``, shape (n,): close to the lasso solution at penalty 1/tau."""
        tau = positive_number(tau, "tau")
        return self._integral(tau) / tau

    @property
    def end(self) -> Float:
        """x where the path ends, shape (n,)."""
        return self.final

    @property
    def last_time(self) -> float:
        """When the last plateau begins."""
        return float(self.times[-1])

    @property
    def steps_taken(self) -> int:
        """Jumps."""
        return self.stats.events

    def state_at(self, time: float, read_out: ReadOut = "iterate") -> Float:
        """A read-out at one rescaled time, shape (n,)."""
        return self(time) if read_out == "iterate" else self.average(time)

    def describe(self) -> str:
        """What kind of path it is, in a few words."""
        jumps = len(self.times) - 1
        return f"saddle path, {jumps} jump{'s' * (jumps != 1)}"

    def progress_made(self, asked: str) -> str:
        """How well the end fits compared with what was asked for, in words."""
        return f"{self.relative_residual_in_words(self.final)} (asked for: {asked}), in {self.stats.events} jumps"

    def reading(self, read_out: ReadOut = "iterate", *, until: float = 0.0) -> Reading:
        """Every plateau, or the average on a grid and at every jump that there is room for."""
        jumps = self.times[1:]
        columns = np.unique(self.x.indices[self.x.data != 0]).astype(np.intp)
        if len(columns) == 0:
            return Reading(np.empty(0), columns, np.empty((0, 0)).__getitem__, stepwise=True)
        room = max(_ROOM, float(jumps[-1] / jumps[0]) ** MARGIN)
        first, last = float(jumps[0]) / room, max(float(jumps[-1]) * room, until)
        values = self.x[:, columns]
        if read_out == "iterate":
            times = np.concatenate([[first], jumps, [last]])
            places = np.minimum(np.arange(len(times)), len(jumps))
            return Reading(times, columns, lambda part: values[places[part]].toarray(), stepwise=True)
        most = max(20, min(_AVERAGES, HELD // len(columns)))
        grid = np.geomspace(first, last, most).clip(first, last)
        times = np.union1d(grid, jumps[thinned(len(jumps), most)])
        return Reading(times, columns, averages(self.times, values, times).__getitem__)

    def dual_at(self, tau: float) -> NDArray[Any]:
        """nu(tau) = ``int_0^tau (y - A x)``, shape (m,); one pass over A."""
        tau = _time(tau)
        dual = tau * self.problem.y.astype(np.float64) - self.problem.operator.matvec(self._integral(tau))
        return self.problem.layout.y(dual)

    def _row(self, k: int) -> Float:
        return np.asarray(self.x[[k]].toarray().ravel())

    def _integral(self, tau: float) -> NDArray[np.float64]:
        ends = np.append(self.times[1:], np.inf)
        return np.asarray(self.x.T @ (np.minimum(ends, tau) - np.minimum(self.times, tau)))


def _time(tau: float) -> float:
    return positive_number(tau, "tau", strict=False)


def averages(knots: Vector, values: sp.csr_array, times: Vector) -> Vector:
    """Running averages of plateaus, exactly: between two of the times, each plateau for as long as it lasts."""
    edges = np.union1d(knots, times)
    edges = edges[edges <= times[-1]]
    pieces = np.searchsorted(times, edges[1:], side="left"), np.searchsorted(knots, edges[:-1], side="right") - 1
    spans = sp.csr_array((np.diff(edges), pieces), shape=(len(times), len(knots)))
    gained = np.asarray((spans @ values.astype(np.float64)).toarray())
    return np.asarray(np.cumsum(gained, axis=0) / times[:, None])
