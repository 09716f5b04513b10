"""The two ways a flow is known: integrated, or, where its scale is too small to be told from zero, saddle by saddle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hadaflow._types import Vector
from hadaflow.paths import SaddlePath
from hadaflow.solvers.flow.field import Field
from hadaflow.solvers.flow.ndf import Piece

# Gauss-Legendre on [0, 1]: exact for polynomials of degree 7 on each step.
_NODES, _WEIGHTS = (0.5 * (np.polynomial.legendre.leggauss(4)[0] + 1), 0.5 * np.polynomial.legendre.leggauss(4)[1])
_BLOCK = 256  # times per product with a block


@dataclass
class Integrated:
    """Steps of the integrator, each with the polynomial that it found for nu; beyond the last, x stays as it is."""

    field: Field

    def __post_init__(self) -> None:
        self.pieces: list[Piece] = []
        self._ends = np.zeros(64)
        self.nbytes = 0
        self._reached = (0.0, np.zeros(self.field.problem.shape[1]))

    def add(self, time: float, piece: Piece) -> None:
        """The next step: its end, and its polynomial."""
        count = len(self.knots)
        if count == len(self._ends):
            self._ends = np.concatenate([self._ends, np.zeros(count)])
        self._ends[count] = time
        self.pieces.append(piece)
        self.nbytes += piece.nbytes

    @property
    def knots(self) -> Vector:
        """Where the steps end, 0 first."""
        ends = self._ends[: len(self.pieces) + 1]
        ends.setflags(write=False)
        return ends

    def states(self, times: Vector) -> tuple[Vector, Vector]:
        """nu and x at these times, as columns."""
        last = float(self.knots[-1])
        duals = self._duals(np.minimum(times, last))
        x = self.field.x_of(self.field.operator.rmatmat(duals))
        for k in np.flatnonzero(times > last):
            duals[:, k] -= (times[k] - last) * self.field.residual(x[:, k])
        return duals, x

    def _duals(self, times: Vector) -> Vector:
        if not self.pieces:
            return np.zeros((len(self.field.y), len(times)))
        places = np.clip(np.searchsorted(self.knots, times, side="left") - 1, 0, len(self.pieces) - 1)
        return np.column_stack([self.pieces[k](float(t)) for k, t in zip(places, times, strict=True)])

    def residual(self, time: float) -> Vector:
        """dF/dp, ``A x - y``."""
        return self.field.residual(self.states(np.array([time]))[1][:, 0])

    def integral(self, end: float) -> Vector:
        """Integral of x from 0, by quadrature on each step; goes on from the last one asked for if that is earlier."""
        knots, last = self.knots, float(self.knots[-1])
        if end > last:
            return self.integral(last) + (end - last) * self.states(np.array([last]))[1][:, 0]
        start, total = self._reached if self._reached[0] <= end else (0.0, np.zeros(self.field.problem.shape[1]))
        edges = np.concatenate([[start], knots[(knots > start) & (knots < end)], [end]])
        spans = np.diff(edges)
        times = (edges[:-1, None] + spans[:, None] * _NODES).ravel()
        weights = (spans[:, None] * _WEIGHTS).ravel()
        for i in range(0, len(times), _BLOCK):
            total = total + self.states(times[i : i + _BLOCK])[1] @ weights[i : i + _BLOCK]
        self._reached = (end, total)
        return total


@dataclass
class Plateaus:
    """The saddle path on the clock of the flow: ``time = factor * tau``."""

    path: SaddlePath
    factor: float
    knots: Vector

    def states(self, times: Vector) -> tuple[Vector, Vector]:
        """nu and x at these times, as columns."""
        taus = times / self.factor
        real = self.path.problem.layout.real_y
        duals = np.column_stack([real(self.path.dual_at(tau)) * self.factor for tau in taus])
        return duals, np.column_stack([self.path(tau) for tau in taus]).astype(np.float64)

    def residual(self, time: float) -> Vector:
        """``A x - y``."""
        problem = self.path.problem
        return problem.operator.matvec(self.path(time / self.factor).astype(np.float64)) - problem.y

    def integral(self, end: float) -> Vector:
        """Integral of x from 0, exactly."""
        tau = end / self.factor
        return self.path.average(tau) * end if tau > 0 else np.zeros(self.path.problem.shape[1])
