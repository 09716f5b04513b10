"""How far predictions ``p = A x`` are from data y: small loss objects, entrywise maths.

``F(x)`` is the sum of a loss over the rows of A. A loss is configuration only; it is given to
:class:`hadaflow.Problem`, and the dynamics follow it downhill. Adding one: docs/adding_a_loss.md.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from array_api_compat import device as device_of

from hadaflow._validation import check_finite, flag, real_array

#: An array of any array-API namespace (NumPy, torch, CuPy, JAX ...).
Array = Any

__all__ = ["Logistic", "Loss", "Squared", "Weighted"]


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


@dataclass(frozen=True, eq=False)
class Weighted(Loss):
    """``F(x) = sum_j w_j l((A x)_j, y_j)``: each row counts as often as its weight says.

    Parameters
    ----------
    loss : Loss
        The loss l of one row.
    weights : array_like of shape (m,)
        The weights w, positive; leave out rows of weight 0.
    rooted : bool, default False
        Whether the rows of A come multiplied by ``sqrt(w_j)``, as in weighted least squares: then predictions are
        divided by it first. F is the same, but its curvature in the predictions is that of l, and the dual state has
        the length that it has with rows repeated: so the integrator takes the steps that it takes there.

    Raises
    ------
    TypeError, ValueError
        If loss is no loss, or the weights are not positive finite numbers; by :meth:`check` if there is not one per
        entry of y, or l cannot take y.

    Notes
    -----
    Gradient and curvature of the rows are multiplied by their weights (``rooted``: by their roots, and not at all). A
    rule that evaluates the loss on other rows (:class:`hadaflow.stopping.Validation`) cannot know the weights of those.
    Source: docs/mathematics.md, "Losses".

    Examples
    --------
    >>> import numpy as np, hadaflow as hf
    >>> loss = hf.losses.Weighted(hf.losses.Squared(), [3.0, 1.0])
    >>> loss.value(np.array([1.0, 2.0]), np.zeros(2))  # 3/2 + 4/2
    3.5
    """

    loss: Loss
    weights: Any = field(repr=False)
    rooted: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.loss, Loss):
            raise TypeError(f"loss must be a loss out of hadaflow.losses, such as Logistic(), got {self.loss!r}")
        weights = real_array(self.weights, "weights", 1).astype(np.float64)
        check_finite(weights, "weights")
        if len(weights) and weights.min() <= 0:
            raise ValueError(
                f"weights must be positive, but entry {int(weights.argmin())} is {weights.min():g}; "
                f"leave out rows of weight 0"
            )
        weights.flags.writeable = False
        object.__setattr__(self, "weights", weights)
        flag(self.rooted, "rooted")

    @property
    def name(self) -> str:
        return f"weighted {self.loss.name}"

    @property
    def curvature_bound(self) -> float:
        return self.loss.curvature_bound * (1.0 if self.rooted else float(self.weights.max(initial=0.0)))

    def terms(self, p: Array, y: Array) -> Array:
        return self._power(1.0, p) * self.loss.terms(self._plain(p), y)

    def gradient(self, p: Array, y: Array) -> Array:
        return self._power(0.5 if self.rooted else 1.0, p) * self.loss.gradient(self._plain(p), y)

    def curvature(self, p: Array, y: Array) -> Array:
        bend = self.loss.curvature(self._plain(p), y)
        return bend if self.rooted else self._power(1.0, p) * bend

    def check(self, y: Array) -> None:
        if len(y) != len(self.weights):
            raise ValueError(f"weights must have one entry per entry of y ({len(y)}), got {len(self.weights)}")
        self.loss.check(y)

    def _plain(self, p: Array) -> Array:
        return p / self._power(0.5, p) if self.rooted else p

    def _power(self, exponent: float, p: Array) -> Array:
        """The weights to some power, ready to meet p."""
        xp = array_namespace(p)
        factors = xp.asarray(self.weights**exponent, dtype=p.dtype, device=device_of(p))
        return factors if p.ndim == 1 else factors[:, None]
