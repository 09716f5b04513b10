"""How far predictions ``p = A x`` are from data y: small loss objects, entrywise maths.

``F(x)`` is the sum of a loss over the rows of A. A loss is configuration only; it is given to
:class:`hadaflow.Problem`, and the dynamics follow it downhill. Adding one: docs/adding_a_loss.md.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

#: An array of any array-API namespace (NumPy, torch, CuPy, JAX ...).
Array = Any

__all__ = ["Logistic", "Loss", "Squared"]


@dataclass(frozen=True)
class Loss(ABC):
    """A loss of predictions p and data y, entry by entry. Subclass it to add one.

    The objective of a problem is ``F(x) = sum_j l((A x)_j, y_j)``. The entrywise l should be convex in p, bounded below
    (best by 0) and have a continuous derivative; everything that the library says of a general loss asks for that.
    Functions of arrays are written against the array-API namespace of their argument, take p and y of shape (m,), or
    (m, k) for k runs side by side, and keep shape and dtype.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        return type(self).__name__.lower()

    @property
    def curvature_bound(self) -> float:
        """A number that d2l/dp2 never exceeds, wherever p and y are; infinite where there is none."""
        return math.inf

    @abstractmethod
    def terms(self, p: Array, y: Array) -> Array:
        """``l(p, y)``, entrywise."""

    @abstractmethod
    def gradient(self, p: Array, y: Array) -> Array:
        """``dl/dp``, entrywise: of the squared loss the residual ``p - y``."""

    @abstractmethod
    def curvature(self, p: Array, y: Array) -> Array:
        """``d2l/dp2 >= 0``, entrywise; where it jumps, a value from either side."""

    def value(self, p: Array, y: Array) -> Any:
        """The sum of the loss over the rows, in float64: a float, or for (m, k) one number per column.

        Notes
        -----
        O(m).
        """
        terms = self.terms(p, y)
        xp = array_namespace(terms)
        total = xp.sum(terms, axis=0, dtype=xp.float64)
        return float(total) if terms.ndim == 1 else total

    def check(self, y: Array) -> None:
        """Raise ValueError for data that the loss cannot take; by default it takes all finite numbers."""
        return


@dataclass(frozen=True)
class Squared(Loss):
    """``F(x) = 1/2 ||A x - y||_2^2``, the default: all of the library works with it.

    Notes
    -----
    ``l = (p - y)^2 / 2`` has the gradient ``p - y`` and curvature 1. Half a unit of y squared, no factor ``1 / m``.
    Source: docs/mathematics.md, "Notation".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> hf.losses.Squared().value(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    2.5
    """

    @property
    def curvature_bound(self) -> float:
        return 1.0

    def terms(self, p: Array, y: Array) -> Array:
        return 0.5 * (p - y) ** 2

    def gradient(self, p: Array, y: Array) -> Array:
        return p - y

    def curvature(self, p: Array, y: Array) -> Array:
        return array_namespace(p).ones_like(p)


@dataclass(frozen=True)
class Logistic(Loss):
    """``F(x) = sum_j log(1 + exp(-y_j (A x)_j))`` for labels -1 and +1: classification.

    Raises
    ------
    ValueError
        By :meth:`check`, if y holds anything but -1 and +1.

    Notes
    -----
    With ``z = y p`` the gradient is ``-y / (1 + e^z)``, between -1 and 1, and the curvature ``1 / (4 cosh(z / 2)^2)``,
    at most 1/4. Written in ``e^-|z|``, so that nothing overflows, and tails keep their relative accuracy. A column of
    ones in A is an intercept. Where some x has ``y_j (A x)_j > 0`` for all j, the data are *separable*: F has no
    minimum, and the flow no limit. Source: docs/mathematics.md, "Losses".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> problem = hf.Problem(np.array([[1.0], [1.0], [1.0]]), np.array([1.0, 1.0, -1.0]), loss=hf.losses.Logistic())
    >>> run = hf.descend(problem, hf.HadamardPower(2), init_scale=0.1)
    >>> run.x.round(3), run.status.name  # log odds: log 2
    (array([0.693]), 'STOPPED')
    """

    @property
    def curvature_bound(self) -> float:
        return 0.25

    def terms(self, p: Array, y: Array) -> Array:
        margin = y * p
        xp = array_namespace(margin)
        return xp.logaddexp(xp.zeros_like(margin), -margin)

    def gradient(self, p: Array, y: Array) -> Array:
        margin = y * p
        xp = array_namespace(margin)
        small = xp.exp(-xp.abs(margin))
        return -y * xp.where(margin > 0, small, xp.ones_like(small)) / (1 + small)

    def curvature(self, p: Array, y: Array) -> Array:
        xp = array_namespace(p)
        small = xp.exp(-xp.abs(p))
        return small / (1 + small) ** 2

    def check(self, y: Array) -> None:
        labels = np.asarray(y)
        wrong = np.flatnonzero(np.abs(labels) != 1)
        if len(wrong):
            raise ValueError(
                f"y must hold labels -1 and +1 for the logistic loss, but entry {int(wrong[0])} is "
                f"{labels.ravel()[wrong[0]]:g}; labels 0 and 1 become such by 2 * y - 1"
            )
