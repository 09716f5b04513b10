"""What all runs of gradient descent share at one step: arrays for all of them, and the products that fill these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hadaflow._sweep import Sweep
from hadaflow.losses import Loss
from hadaflow.models import Factors, Model
from hadaflow.operators import DenseOperator, Operator, SparseOperator

Array = NDArray[np.floating[Any]]
#: x and y to dF/dp, A^T dF/dp and F, for vectors or for columns.
Products = Callable[[Array, Array], tuple[Array, Array, Any]]

_LARGEST = 1e100  # entries of x that no run comes back from, and that operators may object to


@dataclass
class Sweeps:
    """Residual, gradient and loss for factors.

    Attributes
    ----------
    products : callable
        What computes them.
    passes : float
        Passes over A that this takes for vectors; blocks always take two.
    y : ndarray of shape (m,) or (m, k)
        The data.
    scaling : float
        What F is multiplied by.
    """

    products: Products
    passes: float
    y: Array
    scaling: float

    def at(self, model: Model, factors: Factors) -> State:
        """The state of these factors."""
        x = model.forward(factors)
        residual, gradient, loss = self.products(x, self.y)
        return State(factors, x, residual, gradient, self.scaling * loss)

    def only(self, kept: list[int]) -> Sweeps:
        """Those of some of the runs."""
        return replace(self, y=self.y[:, kept])


def of_squares(sweep: Sweep) -> Products:
    """Those of the squared loss: the fused pass knows its gradient."""

    def products(x: Array, y: Array) -> tuple[Array, Array, Any]:
        residual, gradient = sweep(x, y)
        return residual, gradient, 0.5 * dots(residual, residual)

    return products


def of_loss(operator: Operator, loss: Loss, dtype: np.dtype[Any]) -> Products:
    """Those of any loss: two products, in between the loss in float64."""

    def products(x: Array, y: Array) -> tuple[Array, Array, Any]:
        wild = ~(np.abs(x).max(axis=0, initial=0.0) < _LARGEST)  # or NaN
        p = _image(operator, np.where(wild, 0.0, x).astype(np.float64, copy=False))
        y = y.astype(np.float64, copy=False)
        residual = np.asarray(loss.gradient(p, y))
        wild |= ~np.isfinite(residual).all(axis=0)
        residual = np.where(wild, 0.0, residual)
        gradient = operator.rmatvec(residual) if x.ndim == 1 else operator.rmatmat(residual)
        value = np.where(wild, np.inf, loss.value(p, y))  # a step to there is taken back, or ends the run
        return residual.astype(dtype), np.asarray(gradient, dtype=dtype, order="F"), value[()]

    return products


def _image(operator: Operator, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """``A x``, for vectors or for columns."""
    if x.ndim == 1 or isinstance(operator, (DenseOperator, SparseOperator)):
        return operator.matvec(x)
    return np.column_stack([operator.matvec(np.ascontiguousarray(column)) for column in x.T])


def dots(a: Array, b: Array) -> Any:
    """Inner products in float64, of vectors or of columns."""
    if a.ndim == 1:
        return float(a.astype(np.float64, copy=False) @ b.astype(np.float64, copy=False))
    return np.einsum("ij,ij->j", a, b, dtype=np.float64)


@dataclass
class State:
    """All runs at one step: arrays of shape (n,) or (n, k), the loss of each run."""

    factors: Factors
    x: Array
    residual: Array
    gradient: Array
    loss: Any

    def only(self, kept: Any) -> State:
        """The state of some of the runs."""
        v = self.factors.v
        factors = Factors(self.factors.u[:, kept], None if v is None else v[:, kept])
        return State(factors, self.x[:, kept], self.residual[:, kept], self.gradient[:, kept], self.loss[kept])

    def put_back(self, old: State, j: int) -> None:
        """Undo the step of run j."""
        for new, before in zip(self.arrays(), old.arrays(), strict=True):
            new[..., j] = before[..., j]

    def arrays(self) -> list[Array]:
        """Everything, in a fixed order."""
        factors = [self.factors.u] if self.factors.v is None else [self.factors.u, self.factors.v]
        return [*factors, self.x, self.residual, self.gradient, self.loss]


@dataclass
class Sums:
    """Integrals over flow time: of -dF/dp (y - A x), of its product with A^T, and of x."""

    dual: Array
    theta: Array
    x: Array

    @classmethod
    def zero(cls, state: State) -> Sums:
        return cls(np.zeros_like(state.residual, dtype=np.float64), *(np.zeros_like(state.x) for _ in range(2)))

    def plus(self, state: State, span: Any) -> Sums:
        """After ``span`` of flow time (one per run) at ``state``. New arrays: snapshots may hold on to the old ones."""
        return Sums(
            self.dual - span * state.residual,
            self.theta - np.asarray(span, dtype=state.x.dtype) * state.gradient,
            self.x + np.asarray(span, dtype=state.x.dtype) * state.x,
        )

    def only(self, kept: list[int]) -> Sums:
        return Sums(self.dual[:, kept], self.theta[:, kept], self.x[:, kept])
