"""Training step by step: one run of gradient descent."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hadaflow._types import Float
from hadaflow.certificates import Certificate, LassoCertificate, certify, certify_lasso
from hadaflow.models import Factors, Model
from hadaflow.models.branches import Scale
from hadaflow.paths.base import PathFromStart, ReadOut
from hadaflow.paths.reading import Reading, first_visible
from hadaflow.problems import Problem
from hadaflow.recording import History
from hadaflow.results import Stats, Status


@dataclass(frozen=True, eq=False)
class Trajectory(PathFromStart):
    """One run of :func:`hadaflow.descend`, with two read-outs: the iterate and the running average.

    Attributes
    ----------
    x : ndarray of shape (n,)
        The iterate where the run stopped: nearly unbiased on its support.
    average : ndarray of shape (n,)
        The running average, weighted with the step sizes: close to a lasso solution at ``penalty``.
    dual : ndarray of shape (m,)
        Integral of ``y - A x`` over flow time (sum over the steps).
    status : Status
        ``STOPPED``, ``LEAST_SQUARES`` (nothing moves any more, though A x = y does not hold), ``NOT_CONVERGED``
        (steps or seconds ran out before a goal was reached), ``DIVERGED`` or ``INTERRUPTED``.
    reason : str
        Why it stopped, with the numbers that decided.
    steps : int
        Steps taken to reach x.
    time : float
        Flow time of x: the sum of the step sizes, in the clock of ``1/2 ||A x - y||^2``.
    penalty : float
        ``||A^T dual||_inf / time``: lambda of the lasso ``1/2 ||A x - y||^2 + lambda ||x||_1`` that the average
        approximates; infinite at the start.
    history : History
        The snapshots that were recorded.
    stats : Stats
        Cost.
    problem : Problem
        The data.
    model : Model
        The model.
    product_scale : float
        ``a^D`` (geometric mean over coordinates).
    factors : Factors
        The factors where the run stopped; ``descend(..., start=trajectory)`` goes on from them.
    init_scale : float or ndarray of shape (n,)
        What every factor entry started with.
    """

    x: Float
    average: Float
    dual: NDArray[np.float64]
    status: Status
    reason: str
    steps: int
    time: float
    penalty: float
    history: History = field(repr=False)
    stats: Stats = field(repr=False)
    problem: Problem = field(repr=False)
    model: Model
    product_scale: float = field(repr=False)
    factors: Factors = field(repr=False)
    init_scale: Scale = field(repr=False)

    call = "descend"

    def __repr__(self) -> str:
        return f"Trajectory({self.problem.size}, {self.status.name} after {self.steps} steps: {self.reason})"

    @property
    def positive(self) -> bool:
        """Whether the model reaches non-negative x only."""
        return not self.model.gauge.finite

    @property
    def last_time(self) -> float:
        """When it stopped, in flow time."""
        return self.time

    @property
    def steps_taken(self) -> int:
        """Steps of descent."""
        return self.steps

    def state_at(self, time: float, read_out: ReadOut = "iterate") -> Float:
        """A read-out at the last snapshot before a time that was recorded, shape (n,)."""
        kept = self._recorded(read_out)
        return np.asarray(kept[max(0, int(np.searchsorted(self.history.times, time, side="right")) - 1)])

    def dual_at(self, time: float) -> NDArray[np.float64]:
        """The dual state, shape (m,): a run keeps that of its last step alone."""
        self._require_end(time)
        return self.dual

    def average_at(self, time: float) -> Float:
        """The running average, shape (n,): that of the last step, or the last one before a time that was recorded."""
        return self.average if time == self.time else self.state_at(time, "average")

    def penalty_at(self, time: float) -> float:
        """The penalty that the average approximates: a run keeps that of its last step alone."""
        self._require_end(time)
        return self.penalty

    def describe(self) -> str:
        """What kind of path it is, in a few words."""
        return self._described(f"gradient descent, {self.steps} step{'s' * (self.steps != 1)}")

    @property
    def read_outs(self) -> tuple[ReadOut, ...]:
        """What was recorded."""
        kept: dict[ReadOut, object] = {"iterate": self.history.x, "average": self.history.average}
        return tuple(name for name, rows in kept.items() if rows is not None)

    def reading(self, read_out: ReadOut = "iterate", *, until: float = 0.0) -> Reading:
        """What was recorded, from where something is seen."""
        rows = self._recorded(read_out)
        x = rows if self.history.x is None else self.history.x
        times, sizes = self.history.times, np.array([np.abs(row).max() for row in x])
        first = int(np.searchsorted(times, 0.0, side="right"))
        begin = first_visible(times[first:], sizes[first:], float(np.abs(self.x).max()))
        first += int(np.searchsorted(times[first:], begin))
        return Reading(times[first:], np.arange(len(self.x)), rows[first:].__getitem__)

    def _recorded(self, read_out: ReadOut) -> Float:
        name, rows = ("x", self.history.x) if read_out == "iterate" else ("average", self.history.average)
        if rows is None:
            raise ValueError(f"the trajectory kept no {name}: run descend with record=hadaflow.Recorder({name}=True)")
        return rows

    def _require_end(self, time: float) -> None:
        if time != self.time:
            raise ValueError(f"a run of descent keeps the dual state at its end, time {self.time:g}, not at {time:g}")

    @cached_property
    def certificate(self) -> Certificate:
        """How far the iterate is from the smallest l1 norm, proved by ``dual``; two passes over A, once."""
        return certify(self.problem, self.x, self.dual, gauge=self.gauge, support=self.support())

    @cached_property
    def lasso_certificate(self) -> LassoCertificate:
        """How far the average is from the lasso at ``penalty``, proved; two passes over A, once.

        Raises
        ------
        ValueError
            At the start, where there is no average yet.
        """
        if not np.isfinite(self.penalty):
            raise ValueError("the average has no penalty at the start of the run: take at least one step")
        return certify_lasso(self.problem, self.average, self.penalty or 1e-300, gauge=self.gauge)
